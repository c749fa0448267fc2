"""Bags for tests, made without ROS: of a simulated speaker and a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from footage import first_image
from rehearsal import simulated_speaker

from react_ros.bags.reader import read_bag
from react_ros.bags.types import FACTORY, new_message, serialise
from react_ros.bags.writer import BagWriter, Storage
from react_ros.face import FRAME_NS, Reaction, SpeakerFrame
from react_ros.generators.contract import Generator
from react_ros.generators.stream_settings import Delay, parameters_text
from react_ros.messages.types import (
    COMPRESSED_IMAGE_TYPE,
    FEATURES_TYPE,
    IMAGE_TYPE,
    LINEAGE_TYPE,
    REACTION_TYPE,
    STREAM_TYPE,
)

START_NS = 1_800_000_000_000_000_000
"""Start of the recordings, ns since the epoch."""
FEATURES, STREAM, REACTION = (f"/robot/{end}" for end in ("speaker/features", "listener/stream", "listener/reaction"))
KINDS = {FEATURES: FEATURES_TYPE, STREAM: STREAM_TYPE, REACTION: REACTION_TYPE}
Message = tuple[str, str, int, bytes]
"""Topic, type, time in ns, CDR bytes."""


def person(frames: int = 50, seed: int = 0, first: int = 0, start_ns: int = START_NS) -> list[SpeakerFrame]:
    """Frames of a simulated speaker, with indices from `first` on."""
    return [
        replace(f, index=first + k, stamp_ns=start_ns + k * FRAME_NS)
        for k, f in enumerate(simulated_speaker(seed, frames))
    ]


def source_ns(frame: SpeakerFrame) -> int:
    """Source stamp of a frame: of its image, 45 ms earlier; its own for every 25th frame, which has no image."""
    return frame.stamp_ns if frame.index % 25 == 24 else frame.stamp_ns - 45_000_000


def features(frames: Iterable[SpeakerFrame], topic: str = FEATURES) -> Iterator[Message]:
    """The frames as perception publishes them, received 50 ms after their stamps."""
    for f in frames:
        yield topic, KINDS[FEATURES], f.stamp_ns + 50_000_000, serialise(FACTORY.speaker(f, {}, source_ns(f)))


def answered(
    generator: Generator, frames: Iterable[SpeakerFrame], *, seed: int = 0, samples: int = 1, delay: int = 0,
    deaf: Callable[[SpeakerFrame], bool] = lambda frame: False, asynchronous: bool = False,
) -> Iterator[Message]:  # fmt: skip
    """What a listener node publishes, 10 ms after each frame: the announcement of its stream, then its reactions.

    deaf: whether a frame never reaches the listener. asynchronous: action chunks are computed beside the clock, as
    live, and may be late.
    """
    stream = generator.start(samples=samples, seed=seed)
    if asynchronous:
        stream.run_asynchronously()
    waiting: Delay[tuple[Reaction, int]] = Delay(delay)
    announced = False
    for f in frames:
        if deaf(f):
            continue
        now = f.stamp_ns + 60_000_000
        if not announced:
            announced = True
            yield STREAM, KINDS[STREAM], now, serialise(new_message(
                KINDS[STREAM], header=FACTORY.header(FACTORY.time(f.stamp_ns)), first_frame=f.index,
                generator=generator.info.name, parameters=parameters_text(generator), weights=generator.info.weights,
                seed=seed, samples=samples, delay=delay, schedule=stream.schedule,
            ))  # fmt: skip
        reaction, source = waiting.step((stream.step(f), source_ns(f)), f.stamp_ns)
        lineage = new_message(LINEAGE_TYPE, frame=reaction.index, source_stamp=FACTORY.time(source))
        message = FACTORY.reaction(reaction, lineage, generator.info.delay_frames + delay)
        yield REACTION, KINDS[REACTION], now, serialise(message)


def _bytes(kind: str, **fields: Any) -> bytes:
    return serialise(new_message(kind, **fields))


def photographs(encoding: str, topic: str, count: int) -> Iterator[Message]:
    """A photograph 25 times a second, as ROS camera drivers publish it."""
    rgb = np.ascontiguousarray(first_image("footage-single-face-photo"))
    step = max(1, len(rgb) // 480)
    rgb = np.ascontiguousarray(rgb[::step, ::step][:, : rgb[::step, ::step].shape[1] // 2 * 2])
    h, w = rgb.shape[:2]
    for k in range(count):
        header = FACTORY.header(FACTORY.time(START_NS + k * FRAME_NS))
        at = START_NS + k * FRAME_NS + 20_000_000
        if encoding in ("jpeg", "png"):
            ok, data = cv2.imencode(f".{encoding}", rgb[:, :, ::-1])
            assert ok
            kind = COMPRESSED_IMAGE_TYPE
            yield topic, kind, at, _bytes(kind, header=header, format=encoding, data=data.ravel())
            continue
        pixels = {
            "rgb8": lambda: rgb, "bgr8": lambda: rgb[:, :, ::-1],
            "mono8": lambda: cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY),
            "rgba8": lambda: cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA),
            "yuv422_yuy2": lambda: cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUY2),
        }[encoding]()  # fmt: skip
        data = np.ascontiguousarray(pixels).reshape(-1)
        kind = IMAGE_TYPE
        yield (
            topic,
            kind,
            at,
            _bytes(kind, header=header, height=h, width=w, encoding=encoding, step=len(data) // h, data=data),
        )


def write(path: Path, *messages: Iterable[Message], storage: Storage = "mcap") -> Path:
    """Write a bag of these messages, ordered by time. Returns `path`."""
    writer = BagWriter(path, storage)
    for topic, kind, time_ns, data in sorted((m for some in messages for m in some), key=lambda m: m[2]):
        writer.write(topic, kind, time_ns, data)
    writer.close()
    return path


def everything(path: Path) -> dict[str, bytes]:
    """Name to content of a folder's files."""
    return {f.name: f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


def reactions(path: Path) -> list[Any]:
    """The reactions in a bag."""
    return [m.message for m in read_bag(path, "/listener/reaction")]
