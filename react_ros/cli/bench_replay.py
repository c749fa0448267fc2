"""Benchmark of replay from recorded features: real-time factor, and growth of memory."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from react_ros.bags.types import FACTORY, serialise
from react_ros.bags.writer import BagWriter
from react_ros.face import FPS, FRAME_NS, SpeakerFrame
from react_ros.messages.types import FEATURES_TYPE
from react_ros.replay.listeners import ReplayRequest
from react_ros.replay.replay import ReplayReport, replay

START_NS = 1_800_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class ReplayCost:
    """Cost of a replay from features."""

    report: ReplayReport
    memory_mib: tuple[float, float]
    """Resident memory after a tenth of the bag and at its end, MiB."""


def write_features(path: Path, clip: Sequence[SpeakerFrame], minutes: float) -> Path:
    """Write a bag of speaker/features that repeats a clip. Returns `path`."""
    bag = BagWriter(path)
    for k, frame in enumerate(itertools.islice(itertools.cycle(clip), round(60 * minutes * FPS))):
        stamp = START_NS + k * FRAME_NS
        message = FACTORY.speaker(replace(frame, index=k, stamp_ns=stamp), {}, stamp)
        bag.write("/robot/speaker/features", FEATURES_TYPE, stamp + FRAME_NS // 2, serialise(message))
    bag.close()
    return path


def bench_replay(
    clip: Sequence[SpeakerFrame],
    minutes: float,
    generator: str,
    samples: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ReplayCost:
    """Replay, once, a bag of features that repeats a clip for so many minutes."""
    import psutil

    process = psutil.Process()
    early: list[float] = []

    def on_progress(done: int, total: int) -> None:
        if not early and done >= total / 10:
            early.append(process.memory_info().rss / 2**20)
        progress(done, total)

    with tempfile.TemporaryDirectory() as folder:
        bag = write_features(Path(folder) / "bag", clip, minutes)
        report = replay(bag, Path(folder) / "again", ReplayRequest(generator, samples=samples), progress=on_progress)
    return ReplayCost(report, (early[0], process.memory_info().rss / 2**20))
