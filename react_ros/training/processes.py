"""The processes that train together, as torchrun starts them; without torchrun, a group of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from react_ros.nn.device import choose_device


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The group as seen from this process. All processes share the run folder."""

    device: torch.device
    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and reports progress: rank 0."""
        return self.rank == 0

    @property
    def is_local_main(self) -> bool:
        """Whether this is the process that fills its machine's cache: local rank 0."""
        return self.local_rank == 0

    def barrier(self) -> None:
        """Wait until every process has reached this call."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """(n,) float64: the mean over processes, bitwise equal in each."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite the tensors of every process with those of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def gather(self, value: Any) -> Sequence[Any]:
        """The value of every process, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """The group that torchrun's RANK, WORLD_SIZE and LOCAL_RANK describe; gloo connects CPUs, nccl GPUs.

    device: auto, cpu or cuda. Raises ValueError for a device that is not there.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(choose_device(device))
        return
    rank = int(os.environ["RANK"])
    local_rank = int(os.environ.get("LOCAL_RANK", rank))
    chosen = choose_device(device)
    if chosen.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise ValueError(
                f"process {local_rank} of this machine has no GPU of its own: "
                f"there are {torch.cuda.device_count()}, so start no more processes"
            )
        chosen = torch.device("cuda", local_rank)
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=size)
    try:
        yield ProcessGroup(chosen, rank, size, local_rank)
    finally:
        dist.destroy_process_group()
