"""`react-ros bench metrics`: our metrics against the official way to compute them, on one core, and their memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from react_ros.corpus.dtw import frdist_matrix
from react_ros.evaluation.metrics.appropriateness import frcorr
from react_ros.evaluation.metrics.challenge import evaluate_arrays
from react_ros.evaluation.metrics.synchrony import MOST_LAG, frsyn_offsets
from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, VA, Floats
from react_ros.machine import describe_machine

if TYPE_CHECKING:
    from rich.console import Console

CLIPS, SAMPLES, NEIGHBOURS, FRAMES = 1612, 10, 50, 750
"""REACT 2024's test set, and the appropriate listeners per clip to which totals are extrapolated."""
_MEMORY_NEIGHBOURS = 3


class BenchError(ValueError):
    """Nothing could be measured; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric, the official way and ours; medians over alternating rounds."""

    name: str
    unit: str
    official_s: float
    """Core-seconds per unit."""
    ours_s: float
    """Core-seconds per unit."""
    ratio: float
    """official / ours: the median of the ratios of the rounds."""
    units: int
    """Units in the whole test set."""


def bench_metrics(
    console: Console | None = None, *, rounds: int = 7, frames: int = FRAMES, memory: bool = False
) -> list[Comparison]:
    """Time both ways in turn on simulated reactions, and print the results.

    rounds: number of timings of each. frames: length of a clip. memory: also evaluate a whole test set (a file with
    1.2 GB of predictions, about a minute) and measure its peak memory. Raises BenchError without tslearn.
    """
    from rich.console import Console
    from rich.table import Table

    show = (console or Console(highlight=False)).print
    show(describe_machine())
    comparisons = _one_core(lambda: _compare(rounds, frames))
    table = Table("", "official ms", "ours ms", "times", "all, official", "all, ours", box=None)
    for c in comparisons:
        table.add_row(
            f"{c.name}, per {c.unit}",
            f"{c.official_s * 1e3:.2f}",
            f"{c.ours_s * 1e3:.4f}",
            f"{c.ratio:.0f}",
            _duration(c.official_s * c.units),
            _duration(c.ours_s * c.units),
        )
    show(table)
    show(
        f"Core time, one thread, medians of {rounds} alternating rounds; {SAMPLES} predictions of {frames} frames. "
        f"All: {CLIPS} clips, extrapolated to {NEIGHBOURS} appropriate listeners each, FRSyn over all {SAMPLES} "
        "predictions. Simulated reactions: slow noise; the listeners' action units are 0 or 1."
    )
    if memory:
        peak, seconds = _whole_set()
        show(
            f"Memory of all {CLIPS} clips x {SAMPLES} predictions ({_MEMORY_NEIGHBOURS} listeners per clip, "
            f"predictions memory-mapped, all six metrics, one process): peak {peak / 2**30:.2f} GiB, {seconds:.0f} s."
        )
    return comparisons


def simulated_reactions(rng: np.random.Generator, *shape: int, binary: bool = False) -> Floats:
    """(…, T, 25) low-pass noise: AU in [0, 1] (binary: 0 or 1), VA in [-1, 1], expressions sum to 1."""
    from scipy.signal import lfilter

    noise = np.asarray(lfilter([0.25], [1.0, -0.97], rng.standard_normal((*shape, ATTRIBUTES)), axis=-2))
    out = 1.0 / (1.0 + np.exp(-2.0 * noise))
    out[..., VA] = 2.0 * out[..., VA] - 1.0
    out[..., EXPRESSIONS] /= out[..., EXPRESSIONS].sum(axis=-1, keepdims=True)
    if binary:
        out[..., AU] = np.round(out[..., AU])
    return out.astype(np.float32)


def _compare(rounds: int, frames: int) -> list[Comparison]:
    official_distance = _official_distance()
    rng = np.random.default_rng(0)
    predictions = simulated_reactions(rng, SAMPLES, frames)
    listeners = simulated_reactions(rng, NEIGHBOURS, frames, binary=True)
    speaker = simulated_reactions(rng, frames)
    pairs = SAMPLES * NEIGHBOURS
    few = [(p, k) for p in range(2) for k in range(2)]

    def official(score: Callable[[Floats, Floats], float]) -> Callable[[], object]:
        return lambda: [score(predictions[p], listeners[k]) for p, k in few]

    whole = CLIPS * pairs
    cases: list[tuple[str, str, Callable[[], object], int, Callable[[], object], int, int]] = [
        ("FRDist", "pair", official(official_distance), len(few),
         lambda: frdist_matrix(predictions, listeners), pairs, whole),
        ("FRCorr", "pair", official(_official_ccc), len(few), lambda: frcorr(predictions, listeners), pairs, whole),
        ("FRSyn", "prediction", lambda: _official_offset(predictions[0], speaker), 1,
         lambda: frsyn_offsets(predictions, speaker), SAMPLES, CLIPS * SAMPLES),
    ]  # fmt: skip
    out = []
    for name, unit, reference, reference_units, ours, our_units, total in cases:
        _time(reference)  # compile, fill caches
        _time(ours)
        timed = np.array([(_time(reference) / reference_units, _time(ours) / our_units) for _ in range(rounds)])
        reference_s, our_s = (float(s) for s in np.median(timed, axis=0))
        out.append(Comparison(name, unit, reference_s, our_s, float(np.median(timed[:, 0] / timed[:, 1])), total))
    return out


def _time(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _one_core(work: Callable[[], Any]) -> Any:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return work()


def _official_distance() -> Callable[[Floats, Floats], float]:
    try:
        from tslearn.metrics import dtw  # type: ignore[import-not-found]
    except ImportError:
        raise BenchError(
            "the official FRDist is computed by tslearn, which is not installed: pip install tslearn==0.10.0"
        ) from None

    def distance(a: Floats, b: Floats) -> float:
        units, affect, expressions = (float(dtw(a[:, part], b[:, part])) for part in (AU, VA, EXPRESSIONS))
        return units / 15 + affect + expressions / 8

    return distance


def _official_ccc(prediction: Floats, listener: Floats) -> float:
    """One pair and one channel at a time, like the official code."""
    out = []
    for d in range(ATTRIBUTES):
        x, y = prediction[:, d], listener[:, d]
        with np.errstate(all="ignore"):
            rho = np.nan_to_num(np.corrcoef(x, y)[0, 1])
        out.append(2 * rho * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2 + 1e-8))
    return float(np.mean(out))


def _official_offset(prediction: Floats, speaker: Floats) -> int:
    """One lag and one channel at a time, like the official code."""
    means = []
    for lag in range(-MOST_LAG, MOST_LAG + 1):
        x = prediction[lag:] if lag >= 0 else prediction[:lag]
        y = speaker[-lag:] if lag < 0 else speaker[: len(speaker) - lag]
        with np.errstate(all="ignore"):
            means.append(np.mean([np.corrcoef(x[:, d], y[:, d])[0, 1] for d in range(ATTRIBUTES)]))
    return MOST_LAG - int(np.argmax(means))


def _whole_set() -> tuple[int, float]:
    """(peak bytes, seconds) of a separate process that evaluates predictions for all clips from a file."""
    with tempfile.TemporaryDirectory(prefix="react_ros_bench_") as folder:
        path = Path(folder) / "predictions.npy"
        rng = np.random.default_rng(1)
        few = simulated_reactions(rng, 8, SAMPLES, FRAMES)
        with path.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (CLIPS, SAMPLES, FRAMES, ATTRIBUTES)}
            np.lib.format.write_array_header_1_0(file, header)
            for i in range(CLIPS):
                file.write((few[i % len(few)] * np.float32(rng.uniform(0.5, 1.0))).tobytes())
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        package = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-c", "from react_ros.cli.bench_metrics import evaluate_file as e; e()", str(path)],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        raise BenchError(f"the evaluation of a whole test set failed: {done.stderr.strip().splitlines()[-1:]}")
    printed = json.loads(done.stdout)
    return printed["peak"], printed["seconds"]


def evaluate_file() -> None:
    """Main function of a separate process: evaluate the predictions file in sys.argv, and print JSON."""
    predictions = np.load(sys.argv[1], mmap_mode="r")
    rng = np.random.default_rng(2)
    few = simulated_reactions(rng, 64, FRAMES, binary=True)
    listeners = few[rng.integers(0, len(few), CLIPS)]
    speakers = few[rng.integers(0, len(few), CLIPS)]
    indices = np.arange(CLIPS)
    appropriate = np.zeros((CLIPS, CLIPS), bool)
    for k in range(_MEMORY_NEIGHBOURS):
        appropriate[indices, (indices + k) % CLIPS] = True
    start = time.perf_counter()
    evaluate_arrays(predictions, speakers, listeners, appropriate, "corrected")
    seconds = time.perf_counter() - start
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak": kilobytes * 1024, "seconds": seconds}))


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} core-h"
    return f"{seconds / 60:.1f} core-min" if seconds >= 60 else f"{seconds:.1f} core-s"
