"""Devices and captured steps. CUDA is replaced by a fake that records operations and replays them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from react_ros.nn.device import WARM_UP, CapturedStep, choose_device, one_thread

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Recorder(TorchDispatchMode):
    """Records operations, as a capture does, without executing them: in-place operations change nothing yet."""

    def __init__(self, operations: list[Any]) -> None:
        super().__init__()
        self._operations = operations

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = args[0] if func._schema.is_mutable else func(*args, **kwargs)
        self._operations.append((func, args, kwargs, out))
        return out


class FakeGraph:
    """A CUDA graph on the CPU: replays the recorded operations on the tensors of the capture."""

    def __init__(self) -> None:
        self.operations: list[Any] = []

    def replay(self) -> None:
        for func, args, kwargs, out in self.operations:
            result = func(*args, **kwargs)
            if result.data_ptr() != out.data_ptr():
                out.copy_(result)


class FakeStream:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self._log = name, log

    def wait_stream(self, other: FakeStream) -> None:
        self._log.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a capture does, in order."""
    log: list[str] = []
    main = FakeStream("main", log)

    @contextmanager
    def on(stream: FakeStream) -> Iterator[None]:
        log.append(f"on {stream.name}")
        yield
        log.append(f"off {stream.name}")

    @contextmanager
    def capture(graph: FakeGraph, capture_error_mode: str) -> Iterator[None]:
        log.append(f"capture, {capture_error_mode}")
        with Recorder(graph.operations):
            yield

    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: FakeStream("side", log))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    return log


class Leaky:
    """A recurrent step with a ring, as in a stream; counts the runs of its Python code."""

    def __init__(self) -> None:
        self.ring, self.position, self.calls = torch.zeros(4, 3), torch.zeros((), dtype=torch.int64), 0

    @property
    def state(self) -> list[Tensor]:
        return [self.ring, self.position]

    def __call__(self, x: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        self.ring.index_copy_(0, (self.position % 4).reshape(1), (gain * x).reshape(1, 3))
        self.position.add_(1)
        return self.ring.sum(0), self.ring.amax(0)


def outputs(step: CapturedStep, seed: int = 0, frames: int = 30) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(frames):
        x, gain = torch.randn(3, generator=rng), torch.rand((), generator=rng)
        rows.append(torch.cat(step(x, gain)).clone())
    return rows


def captured(function: Leaky, device: torch.device) -> CapturedStep:
    return CapturedStep(function, [torch.zeros(3), torch.zeros(())], function.state, device)


def test_a_captured_step_gives_the_results_of_the_plain_one(fake_cuda: list[str]) -> None:
    plain, graph = Leaky(), Leaky()
    ours = captured(graph, CUDA)
    assert ours.captured
    for a, b in zip(outputs(captured(plain, CPU)), outputs(ours), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert plain.calls == 30 and graph.calls == WARM_UP + 1  # the rest were replays
    assert int(graph.position) == 30
    assert fake_cuda == [
        "side waits for main", "on side", "off side", "main waits for side", "capture, thread_local",
    ]  # fmt: skip


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_a_capture_restores_the_state(fake_cuda: list[str], device: torch.device) -> None:
    step = Leaky()
    step.ring += 2.0
    captured(step, device)
    assert int(step.position) == 0 and bool((step.ring == 2.0).all())


def test_a_failed_capture_is_logged_and_the_step_runs_without_one(
    fake_cuda: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    step = Leaky()
    ours = captured(step, CUDA)
    assert not ours.captured
    assert "operation not permitted when stream is capturing" in caplog.text and "more lines" not in caplog.text
    assert int(step.position) == 0 and not step.ring.any()
    for a, b in zip(outputs(captured(Leaky(), CPU)), outputs(ours), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_the_callers_tensors_are_copied(fake_cuda: list[str], device: torch.device) -> None:
    kept: list[Tensor] = []
    step = CapturedStep(lambda x: (kept.append(x) or x + 1.0,), [torch.zeros(3)], [], device)
    x = torch.ones(3)
    (first,) = step(x)
    x += 5.0
    assert bool((first == 2.0).all())
    assert len({t.data_ptr() for t in kept}) == 1 and kept[0].data_ptr() != x.data_ptr()


def test_inputs_of_another_shape_are_refused_with_both_shapes() -> None:
    step = captured(Leaky(), CPU)
    with pytest.raises(ValueError, match=r"shapes \[\(1, 3\), \(\)\]: they must be \[\(3,\), \(\)\]"):
        step(torch.zeros(1, 3), torch.zeros(()))


def test_a_step_uses_one_thread_and_restores_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        CapturedStep(lambda x: (seen.append(torch.get_num_threads()) or x,), [torch.zeros(1)], [], CPU)(torch.zeros(1))
        assert seen == [1] and torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_device_is_the_named_one_or_the_best_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == choose_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device("cpu") == CPU
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("wanted", "built_for", "sentence"),
    [
        (
            "cuda",
            None,
            r"device is 'cuda', but this PyTorch \(.*\) is built without CUDA: it must be cpu or auto",
        ),
        ("cuda", "13.0", r"device is 'cuda', but this PyTorch \(.*\) sees no NVIDIA GPU: it must be cpu or auto"),
        ("gpu", None, r"device is 'gpu': it must be one of auto, cpu, cuda$"),
    ],
)
def test_an_unavailable_device_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, wanted: str, built_for: str | None, sentence: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    with pytest.raises(ValueError, match=sentence):
        choose_device(wanted)
