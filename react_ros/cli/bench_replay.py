"""How much faster than real time a bag is replayed here, and whether memory stays as it is."""

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
    """What a replay from features cost."""

    report: ReplayReport
    memory_mib: tuple[float, float]
    """Resident memory after a tenth of the bag, and at its end."""


def write_features(path: Path, clip: Sequence[SpeakerFrame], minutes: float) -> Path:
    """A bag of so many minutes of speaker/features: the clip over and over. Returns `path`."""
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
    """Replay a bag of so many minutes of a clip's features, once."""
    import psutil

    process = psutil.Process()
    early: list[float] = []

    def tell(done: int, total: int) -> None:
        if not early and done >= total / 10:
            early.append(process.memory_info().rss / 2**20)
        progress(done, total)

    with tempfile.TemporaryDirectory() as folder:
        bag = write_features(Path(folder) / "bag", clip, minutes)
        report = replay(bag, Path(folder) / "again", ReplayRequest(generator, samples=samples), progress=tell)
    return ReplayCost(report, (early[0], process.memory_info().rss / 2**20))
