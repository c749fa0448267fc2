"""The bench of generators measures the work that is done, and refuses what it cannot measure."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import typer
from rehearsal import Speaker, simulated_speaker
from typer.testing import CliRunner

from react_ros.cli import generator_costs as bench
from react_ros.cli.bench_generators import bench_generators as command
from react_ros.cli.bench_generators import simulated_speaker as packaged_speaker
from react_ros.face import FPS, Reaction, SoundState, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, GeneratorInfo, Stream
from react_ros.generators.system import System

STEP_S = 0.0005


@dataclass(frozen=True, slots=True)
class BusyConfig:
    device: str = "auto"


class BusyStream(Stream):
    def __init__(self, samples: int, seed: int, log: list[str]) -> None:
        self.samples, self.seed, self._log = samples, seed, log
        self._inner = registry.create("mean_frame").start(samples=samples, seed=seed)

    def step(self, frame: SpeakerFrame) -> Reaction:
        self._log.append(f"busy {self.samples}")
        end = time.perf_counter() + STEP_S * self.samples
        while time.perf_counter() < end:
            pass
        return self._inner.step(frame)


class Busy(Generator):
    """A generator whose steps take 0.5 ms per sample, with 44 parameters."""

    Config = BusyConfig
    info = GeneratorInfo("busy", "for tests", (), delay_frames=3, learned=True)

    def __init__(self, config: BusyConfig | None = None) -> None:
        self.config = config or BusyConfig()
        self.log: list[str] = []

    @property
    def parameters(self) -> int:
        return 44

    def start(self, *, samples: int = 1, seed: int = 0) -> BusyStream:
        return BusyStream(samples, seed, self.log)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`busy` is in the registry of this process; nothing is measured in fresh processes."""
    monkeypatch.setitem(sys.modules, "busy_for_tests", SimpleNamespace(Busy=Busy))  # type: ignore[arg-type]
    busy = System("busy", BusyConfig, generator="busy_for_tests:Busy")
    monkeypatch.setitem(registry._registered, "busy", busy)
    monkeypatch.setattr(bench, "_alone", lambda *_: bench.Alone(0.0, 0.0, 0.0))
    yield


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setattr("react_ros.cli.bench_generators.simulated_speaker", lambda: simulated_speaker(0, 75))
    app = typer.Typer()
    app.command()(command)
    return app


def test_the_measured_times_are_those_of_the_steps(busy: None) -> None:
    (cost,) = bench.bench_generators(simulated_speaker(0, 75), [("busy", "cpu")], seconds=1.0)
    assert (cost.name, cost.device, cost.delay_frames) == ("busy", "cpu", 3)
    assert cost.parameters == 44
    fsq = registry.create("fsq", device="cpu")
    assert fsq.parameters == sum(p.numel() for p in fsq._loaded.networks.parameters())  # pyright: ignore
    for samples in bench.SAMPLES:
        times = cost.steps[samples]
        assert 1e3 * STEP_S * samples <= times.p50 <= times.p95 <= times.p99
    # Other load on the machine makes it slower, never faster.
    assert cost.batch <= 1.0 / STEP_S


def test_action_chunks_are_timed_in_addition_to_steps(busy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunk_function(self: Busy, samples: int) -> Any:
        return lambda: time.sleep(0.002 * samples)

    (still,) = bench.bench_generators(simulated_speaker(0, 75), [("busy", "cpu")], seconds=1.0)
    monkeypatch.setattr(Busy, "chunk_function", chunk_function)
    (chunked,) = bench.bench_generators(simulated_speaker(0, 75), [("busy", "cpu")], seconds=3.0)
    assert still.chunks == {}
    assert all(2.0 * samples <= chunked.chunks[samples] for samples in bench.SAMPLES)
    shown = [next(str(cell) for cell in column.cells) for column in bench.cost_table([still, chunked]).columns]
    assert shown.count("-") >= len(bench.SAMPLES)


def test_the_chunk_benchmark_makes_the_action_chunks_of_a_stream() -> None:
    system = registry.create("vqdiff", device="cpu")
    make = system.chunk_function(3)
    assert make is not None
    first: Any = make()
    assert first.shape == (1, 3, 50, 83) and np.isfinite(first).all()
    np.testing.assert_array_equal(make(), first)


def test_systems_take_turns_of_a_second(busy: None) -> None:
    one, other = Busy(), Busy()
    other.log = one.log
    rounds: list[int] = []
    bench._step_times([one, other], simulated_speaker(0, 60), 2, rounds.append)
    assert rounds == [1, 2]
    turns = [name for i, name in enumerate(one.log) if i % bench.BLOCK == 0]
    warm_up = ["busy 1", "busy 1", "busy 10", "busy 10"] * 2
    assert turns == [*warm_up, *(["busy 1", "busy 10"] * 2 * 2)]


def test_frames_written_to_a_file_are_read_back_unchanged(tmp_path: Path) -> None:
    frames = simulated_speaker(3, 100, Speaker(gaps=True))
    bench.SpeakerArrays.write(tmp_path / "frames.npz", frames)
    for read, frame in zip(bench.SpeakerArrays.read(tmp_path / "frames.npz"), frames, strict=True):
        assert (read.index, read.stamp_ns) == (frame.index, frame.stamp_ns)
        assert (read.face.state, read.sound.state) == (frame.face.state, frame.sound.state)
        np.testing.assert_array_equal(read.face_model, frame.face_model)
        np.testing.assert_array_equal(read.face.attributes, frame.face.attributes)
        assert (read.sound.f0, read.sound.log_energy) == (frame.sound.f0, frame.sound.log_energy)
        np.testing.assert_array_equal(read.sound.mfcc_delta, frame.sound.mfcc_delta)


@pytest.mark.parametrize(
    ("gpu", "names", "device", "expected"),
    [
        (False, ["mime", "busy"], "auto", [("mime", "cpu"), ("busy", "cpu")]),
        (True, ["mime", "busy", "mime"], "auto", [("mime", "cpu"), ("busy", "cpu"), ("busy", "cuda")]),
        (True, ["mime", "busy"], "cpu", [("mime", "cpu"), ("busy", "cpu")]),
        (True, ["mime", "busy"], "cuda", [("busy", "cuda")]),
    ],
)
def test_a_gpu_is_measured_where_there_is_one_and_a_system_that_uses_it(
    busy: None, monkeypatch: pytest.MonkeyPatch, gpu: bool, names: Sequence[str], device: str, expected: object
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert bench.places(names, device) == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mine"], "unknown generator 'mine' (did you mean 'mime'?)"),
        (["mime", "--device", "cuda"], "mime cannot run on a GPU: device must be cpu or auto"),
        (["busy", "--device", "cuda"], "device is 'cuda', but this PyTorch"),
        (["--device", "gpu"], "device is 'gpu': it must be one of auto, cpu, cuda"),
    ],
)
def test_an_impossible_request_is_one_sentence_and_exit_code_2(
    busy: None, monkeypatch: pytest.MonkeyPatch, cli: typer.Typer, words: list[str], sentence: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 2
    assert sentence in result.output and len(result.output.strip().splitlines()) == 1


def test_a_system_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.SpeakerArrays.write(tmp_path / "frames.npz", simulated_speaker(0, 5))
    with pytest.raises(ValueError, match="unknown generator 'nobody'"):
        bench._alone("nobody", "cpu", tmp_path / "frames.npz")


def test_every_system_is_measured_and_the_figures_are_written(cli: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    result = CliRunner().invoke(cli, ["--seconds", "1", "--device", "cpu", "--json", str(file)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures = json.loads(file.read_text())
    assert [g["name"] for g in figures["generators"]] == registry.names()
    for g in figures["generators"]:
        assert g["name"] in result.output
        assert all(0.0 < t["p50"] <= t["p95"] <= t["p99"] for t in g["steps"].values())
        assert g["batch"] > 0.0 and g["alone"]["load_s"] > 0.0 and 0.0 < g["alone"]["memory_mib"] < 4096.0
    assert figures["machine"] in result.output


def test_the_commands_speaker_has_a_face_and_speech() -> None:
    frames = packaged_speaker()
    assert len(frames) == 30 * FPS
    assert all(f.face.state.present and np.isfinite(f.face_model).all() for f in frames)
    heard = [f.sound.state for f in frames]
    assert heard.count(SoundState.SPEECH) > 200 and heard.count(SoundState.SILENCE) > 50


def test_listing_what_to_measure_does_not_import_torch() -> None:
    code = "import sys; from react_ros.cli.generator_costs import places as p; p(['mime'], 'auto'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "react_ros.systems.mime" in loaded and "torch" not in loaded
