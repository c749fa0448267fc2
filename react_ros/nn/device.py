"""Devices of learned generators: choice by name, one CPU thread, and steps captured as CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from react_ros.config import expect_device

_log = logging.getLogger(__name__)

WARM_UP = 3
"""Runs before a capture, in which libraries choose kernels and allocate workspaces."""


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is a usable GPU, else the CPU.

    Raises ValueError, in one sentence, for another name, and for "cuda" where there is no usable GPU.
    """
    expect_device(name)
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        reason = "sees no NVIDIA GPU" if torch.version.cuda else "is built without CUDA"
        raise ValueError(
            f"device is 'cuda', but this PyTorch ({torch.__version__}) {reason}: it must be cpu or auto here"
        )
    return torch.device("cuda", torch.cuda.current_device())


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread inside the context; the former number of threads after it.

    A step is many small matrix products. Several threads wait for the slowest, which is late whenever another process
    has its core: 4 layers of width 256 on two busy cores took 0.7 ms (median) with one thread, 12 ms with two. One
    thread also fixes the order of sums, and so the bits, on any number of cores. Setting it costs 0.2 µs.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class CapturedStep:
    """A function of tensors for repeated calls: called plainly on the CPU, replayed as a CUDA graph on a GPU.

    On CUDA the function's Python code runs only during the capture. So every call must do the same work: fixed shapes,
    no branch on a tensor's value, no copy to the host, and no random numbers of its own (pass them as inputs). It may
    change tensors in place (its `state`); their memory is bound at the capture, so reset them in place. Each stream
    needs its own captured step.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        state: Sequence[Tensor],
        device: torch.device,
    ) -> None:
        """inputs: examples on `device`, with the shapes and types of every call and valid values.

        state: every tensor on `device` that the function changes; restored after the capture. Where the capture fails,
        the reason is logged and the function runs on the GPU without a graph.
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
                _log.warning("the step cannot be captured as a CUDA graph and runs without one: %s", reason)
            with torch.inference_mode():
                for tensor, value in zip(state, before, strict=True):
                    tensor.copy_(value)

    @property
    def captured(self) -> bool:
        """Whether calls replay a CUDA graph."""
        return self._graph is not None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function's outputs, on its device, valid until the next call; inputs may be on the CPU.

        Raises ValueError where the number or shapes of inputs differ from the examples.
        """
        if [x.shape for x in inputs] != [x.shape for x in self._inputs]:
            given, expected = ([tuple(x.shape) for x in xs] for xs in (inputs, self._inputs))
            raise ValueError(f"the inputs of the step have the shapes {given}: they must be {expected}")
        with torch.inference_mode(), one_thread():
            for static, value in zip(self._inputs, inputs, strict=True):
                static.copy_(value)
            if self._graph is None:
                return self._function(*self._inputs)
            self._graph.replay()
            return self._outputs

    def _capture(self, device: torch.device) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...]]:
        with torch.cuda.device(device):
            current, side = torch.cuda.current_stream(), torch.cuda.Stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._function(*self._inputs)
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # A step of another stream in another thread must not invalidate this capture.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = self._function(*self._inputs)
        return graph, outputs
