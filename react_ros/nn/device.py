"""Where a learned step runs: the device by name, one CPU thread, and a step captured once as a CUDA graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from react_ros.config import DEVICES

_log = logging.getLogger(__name__)

WARM_UP = 3
"""Runs before a capture: libraries choose their kernels and take their workspaces in the first ones."""


def choose_device(wanted: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is a usable GPU, else the CPU.

    Raises ValueError, in one sentence, for another name, or where CUDA is asked for and there is none.
    """
    if wanted not in DEVICES:
        raise ValueError(f"device is {wanted!r}: it must be one of {', '.join(DEVICES)}")
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "sees no NVIDIA GPU" if torch.version.cuda else "is built without CUDA"
        raise ValueError(f"device is 'cuda', but this PyTorch ({torch.__version__}) {why}: it must be cpu or auto here")
    return torch.device("cuda", torch.cuda.current_device())


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread for what runs inside, and as many as before after it.

    A step is many small products. Shared among threads they wait for the slowest, which is late whenever perception
    has its core: of 4 layers of width 256 on two busy cores, one thread took 0.7 ms (median), two took 12 ms. It also
    keeps the order of sums, and so the bits, whatever the machine's number of cores. Changing it costs 0.2 µs.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class CapturedStep:
    """A function of tensors to call again and again: plainly on the CPU, as a replayed CUDA graph on a GPU.

    On CUDA the function's Python runs only while it is captured. So it must do the same work in every call: shapes
    fixed, no branch on a tensor's value, nothing read back to the host, and no random numbers of its own (they are
    inputs). It may change tensors in place, its `state`, which lie where they lay at the capture: to begin anew, fill
    them in place. Each stream has one of its own.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        state: Sequence[Tensor],
        device: torch.device,
    ) -> None:
        """inputs: examples on `device`, with the shapes and types of every call, and values the function can take.

        state: every tensor on `device` that the function changes; it is left as it was. Where the capture fails, the
        reason is logged and the function runs step by step on the GPU.
        """
        self._function = function
        self._inputs = [example.detach().clone() for example in inputs]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: tuple[Tensor, ...] = ()
        if device.type == "cuda":
            before = [tensor.clone() for tensor in state]
            try:
                with torch.inference_mode():
                    self._graph, self._outputs = self._capture(device)
            except RuntimeError as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                _log.warning("the step could not be captured as a CUDA graph and runs without one: %s", reason)
            with torch.inference_mode():
                for tensor, value in zip(state, before, strict=True):
                    tensor.copy_(value)

    @property
    def captured(self) -> bool:
        """Whether calls replay a CUDA graph."""
        return self._graph is not None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function's outputs, on its device, valid until the next call; inputs may come from the CPU.

        Raises ValueError where the inputs' number or shapes are not those of the examples.
        """
        if [x.shape for x in inputs] != [x.shape for x in self._inputs]:
            given, wanted = ([tuple(x.shape) for x in xs] for xs in (inputs, self._inputs))
            raise ValueError(f"the step's inputs have the shapes {given}: they must be {wanted}, as at its beginning")
        with torch.inference_mode(), one_thread():
            for static, value in zip(self._inputs, inputs, strict=True):
                static.copy_(value)
            if self._graph is None:
                return self._function(*self._inputs)
            self._graph.replay()
            return self._outputs

    def _capture(self, device: torch.device) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...]]:
        with torch.cuda.device(device):
            here, side = torch.cuda.current_stream(), torch.cuda.Stream()
            side.wait_stream(here)
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._function(*self._inputs)
            here.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Another stream may be answering in another thread while this one is captured: it must not spoil it.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = self._function(*self._inputs)
        return graph, outputs
