"""The processes that train together, as torchrun starts them; without it, just this one."""

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
class World:
    """All processes, seen from one of them. They share the run's folder."""

    device: torch.device
    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def first_here(self) -> bool:
        """Whether this is the machine's process that fills its cache."""
        return self.local_rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """(n,) float64: the mean over processes, the same bits in each."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def gather(self, mine: Any) -> Sequence[Any]:
        """What each process has, in their order."""
        if self.size == 1:
            return [mine]
        everybody: list[Any] = [None] * self.size
        dist.all_gather_object(everybody, mine)
        return everybody


@contextmanager
def joined(device: str) -> Iterator[World]:
    """This process' world. device: auto, cpu or cuda.

    torchrun says in RANK, WORLD_SIZE and LOCAL_RANK who is who; gloo joins CPUs, nccl GPUs. Raises ValueError for a
    device that is not there.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(choose_device(device))
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
        yield World(chosen, rank, size, local_rank)
    finally:
        dist.destroy_process_group()
