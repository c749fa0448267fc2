"""Measures what generators cost: time per step, batch throughput, parameters, memory, loading time, delay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from react_ros.config import DEVICES
from react_ros.face import FPS, FRAME_NS, Face, FaceState, Sound, SoundState, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator

if TYPE_CHECKING:
    from rich.table import Table

SAMPLES = (1, 10)
"""Numbers of samples: a robot's, and the challenge's."""
BLOCK = FPS
"""Frames per turn; systems take turns."""
WARM_UP = 2 * FPS
ALONE_STEPS = 500
MIB = 2**20


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Percentiles of the time per step, ms."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Alone:
    """Measurements in a fresh process, in addition to Python, numpy and the registry."""

    load_s: float
    """From `create` to the first reaction of a stream with one sample."""
    memory_mib: float
    """Resident memory added by loading and 500 steps with one sample."""
    gpu_mib: float
    """GPU memory reserved by PyTorch after that."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one system on one device."""

    name: str
    device: str
    """ "cpu" or "cuda"."""
    delay_frames: int
    parameters: int
    """Number of learned parameters; 0 for a rule."""
    steps: dict[int, StepTimes]
    """By number of samples."""
    chunks: dict[int, float]
    """Median time per action chunk, ms, by number of samples; empty for systems without action chunks."""
    batch: float
    """Reactions per second of `generate` over a clip: frames times samples, with the most samples of `SAMPLES`."""
    alone: Alone


class SpeakerArrays:
    """Speaker frames as plain arrays, so that a fresh process can read them with numpy alone."""

    FACE = ("blendshapes", "rotation", "translation", "attributes")
    SOUND = ("mfcc", "mfcc_delta", "log_energy", "f0", "voicing", "speech_probability")

    @classmethod
    def write(cls, path: Path, frames: Sequence[SpeakerFrame]) -> None:
        arrays: dict[str, Any] = {n: np.stack([getattr(f.face, n) for f in frames]) for n in cls.FACE}
        arrays |= {n: np.stack([getattr(f.sound, n) for f in frames]) for n in cls.SOUND}
        arrays["states"] = np.array([(f.face.state, f.sound.state) for f in frames])
        np.savez(path, **arrays)

    @classmethod
    def read(cls, path: Path) -> list[SpeakerFrame]:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}

        def frame(k: int) -> SpeakerFrame:
            face, sound = arrays["states"][k]
            rows: list[Any] = [arrays[n][k] for n in cls.FACE]
            sound_rows: list[Any] = [a[k] if a.ndim > 1 else float(a[k]) for a in (arrays[n] for n in cls.SOUND)]
            return SpeakerFrame(k, k * FRAME_NS, Face(FaceState(face), *rows), Sound(SoundState(sound), *sound_rows))

        return [frame(k) for k in range(len(arrays["states"]))]


def places(names: Sequence[str], device: str) -> list[tuple[str, str]]:
    """The pairs (system, device) to measure. device: "auto" is the CPU, and CUDA where available.

    Raises ValueError, in one sentence, for an unknown name or device, or where nothing can be measured.
    """
    if device not in DEVICES:
        raise ValueError(f"device is {device!r}: it must be one of auto, cpu, cuda")
    names = list(dict.fromkeys(names)) or registry.names()
    on_gpu = [name for name in names if "device" in registry.parameters(name)]
    if device == "cuda" and not on_gpu:
        raise ValueError(f"{', '.join(names)} cannot run on a GPU: device must be cpu or auto")
    gpu = bool(on_gpu) and device != "cpu" and _has_gpu(must=device == "cuda")
    out = [(name, "cpu") for name in names if device != "cuda"]
    return out + [(name, "cuda") for name in on_gpu if gpu]


def bench_generators(
    frames: Sequence[SpeakerFrame],
    where: Sequence[tuple[str, str]],
    *,
    seconds: float = 30.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Cost]:
    """Measure systems with their default parameters, in turns of one second of frames.

    frames: of one speaker; repeated where they do not suffice. where: as `places` returns it. seconds: of frames per
    system and number of samples. progress: called with (done, in all). Everything runs on one CPU thread, like each of
    the robot's processes, and steps follow each other without a pause. Raises ValueError, in one sentence, where a
    system cannot be loaded.
    """
    rounds = max(1, round(seconds * FPS / BLOCK))
    total = len(where) * 2 + rounds
    alone = []
    with tempfile.TemporaryDirectory(prefix="react_ros_bench_") as folder:
        path = Path(folder) / "speaker.npz"
        SpeakerArrays.write(path, frames)
        for name, device in where:
            alone.append(_alone(name, device, path))
            progress(len(alone), total)
    generators = [_create(name, device) for name, device in where]
    with _one_thread():
        times, chunks = _step_times(generators, frames, rounds, lambda done: progress(len(where) + done, total))
        costs = []
        for i, ((name, device), generator) in enumerate(zip(where, generators, strict=True)):
            batch = _throughput(generator, frames[: round(seconds * FPS)])
            delay, parameters = generator.info.delay_frames, generator.parameters
            costs.append(Cost(name, device, delay, parameters, times[i], chunks[i], batch, alone[i]))
            progress(len(where) + rounds + i + 1, total)
    return costs


def cost_table(costs: Sequence[Cost]) -> Table:
    """One row per system and device."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for heading in ("", "on", "delay", "parameters", "load", "memory", "GPU"):
        table.add_column(heading, justify="left" if heading in ("", "on") else "right")
    for samples in SAMPLES:
        for heading in (f"{samples} p50", "p95", "p99"):
            table.add_column(heading, justify="right")
    for heading in (*(f"chunk {samples}" for samples in SAMPLES), "batch"):
        table.add_column(heading, justify="right")
    for c in costs:
        steps = [f"{t:.3f}" for s in SAMPLES for t in (c.steps[s].p50, c.steps[s].p95, c.steps[s].p99)]
        table.add_row(
            c.name, c.device, f"{c.delay_frames * 1000 // FPS} ms", f"{c.parameters:,}" if c.parameters else "-",
            f"{c.alone.load_s:.2f} s", f"{c.alone.memory_mib:.0f} MiB",
            f"{c.alone.gpu_mib:.0f} MiB" if c.alone.gpu_mib else "-", *steps,
            *(f"{c.chunks[s]:.1f}" if s in c.chunks else "-" for s in SAMPLES), f"{c.batch:,.0f}/s",
        )  # fmt: skip
    return table


def measure_alone() -> None:
    """Main function of a fresh process: load the system named on the command line, step, and print JSON."""
    import psutil

    name, device, path = sys.argv[1:]
    frames = SpeakerArrays.read(Path(path))
    process = psutil.Process()
    before = process.memory_info().rss
    began = time.perf_counter()
    try:
        stream = _create(name, device).start()
    except (ValueError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return
    stream.step(frames[0])
    load_s = time.perf_counter() - began
    for k in range(1, ALONE_STEPS):
        stream.step(frames[k % len(frames)])
    added = process.memory_info().rss - before
    torch = sys.modules.get("torch")
    gpu = torch.cuda.memory_reserved() if torch is not None and device == "cuda" else 0
    print(json.dumps({"load_s": load_s, "memory_mib": added / MIB, "gpu_mib": gpu / MIB}))


def _alone(name: str, device: str, path: Path) -> Alone:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    package = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    code = "from react_ros.cli.generator_costs import measure_alone as m; m()"
    command = [sys.executable, "-c", code, name, device, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{name} cannot be measured on {device}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    printed = json.loads(done.stdout.splitlines()[-1])
    if "error" in printed:
        raise ValueError(printed["error"])
    return Alone(**printed)


def _create(name: str, device: str) -> Generator:
    return registry.create(name, **({"device": device} if "device" in registry.parameters(name) else {}))


def _step_times(
    generators: Sequence[Generator],
    frames: Sequence[SpeakerFrame],
    rounds: int,
    progress: Callable[[int], None],
) -> tuple[list[dict[int, StepTimes]], list[dict[int, float]]]:
    """Time steps in turns, and one action chunk per turn, so that other load on the machine affects all systems."""
    streams = [(i, s, g.start(samples=s)) for i, g in enumerate(generators) for s in SAMPLES]
    times = {(i, s): np.empty(rounds * BLOCK) for i, s, _ in streams}
    makers = {(i, s): make for i, s, _ in streams if (make := generators[i].chunk_function(s)) is not None}
    taken: dict[tuple[int, int], list[int]] = {key: [] for key in makers}
    for _, _, stream in streams:
        for k in range(WARM_UP):
            stream.step(frames[k % len(frames)])
    for turn in range(rounds):
        for i, s, stream in streams:
            for k in range(turn * BLOCK, (turn + 1) * BLOCK):
                frame = frames[(WARM_UP + k) % len(frames)]
                began = time.perf_counter_ns()
                stream.step(frame)
                times[i, s][k] = time.perf_counter_ns() - began
        for key, make in makers.items():
            began = time.perf_counter_ns()
            make()
            taken[key].append(time.perf_counter_ns() - began)
        progress(turn + 1)
    numbers = range(len(generators))
    steps = [
        {s: StepTimes(*(float(t) for t in np.percentile(times[i, s], (50, 95, 99)) / 1e6)) for s in SAMPLES}
        for i in numbers
    ]
    return steps, [{s: float(np.median(taken[i, s])) / 1e6 for s in SAMPLES if (i, s) in makers} for i in numbers]


def _throughput(generator: Generator, clip: Sequence[SpeakerFrame]) -> float:
    """Reactions per second: the median of three runs."""
    samples = max(SAMPLES)
    seconds = []
    for seed in range(3):
        began = time.perf_counter()
        generator.generate(clip, samples=samples, seed=seed)
        seconds.append(time.perf_counter() - began)
    return samples * len(clip) / float(np.median(seconds))


def _has_gpu(must: bool) -> bool:
    from react_ros.nn.device import choose_device

    return choose_device("cuda" if must else "auto").type == "cuda"


@contextmanager
def _one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        if "torch" not in sys.modules:
            yield
            return
        from react_ros.nn.device import one_thread

        with one_thread():
            yield
