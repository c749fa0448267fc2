"""A bag's speaker frames: read from recorded features, or perceived again from raw sensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from react_ros.bags import manifest
from react_ros.bags.errors import BagError
from react_ros.bags.inputs import Inputs
from react_ros.bags.reader import Bag, BagMessage
from react_ros.bags.types import FACTORY, serialise, typestore
from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockConfig, ClockFrame
from react_ros.face import FRAME_NS, SpeakerFrame
from react_ros.messages.features import frame_from_message
from react_ros.messages.stamps import StampLimits, nanoseconds
from react_ros.messages.types import OUR_AUDIO
from react_ros.perception.front_end import Perceived, SensorFrontEnd
from react_ros.perception.pipeline import Perception, PerceptionConfig

TICK_NS = 10_000_000
"""How often the frame clock is told the time, as the live node does."""


LONGEST_SILENCE_NS = 10_000_000_000
"""Where nothing comes for longer, the time between is skipped: the clock of the recorder jumped, or it was paused."""


Progress = Callable[[int, int], None]


Watch = Callable[[ClockFrame], None]


@dataclass(frozen=True, slots=True)
class BagFrame:
    """A speaker frame of a bag."""

    time_ns: int
    """When the robot had it, ns since the epoch."""
    frame: SpeakerFrame
    message: Any
    """SpeakerFeatures."""
    data: bytes | None
    """Its bytes in the bag, where it was recorded and is of today's definition."""

    @property
    def source_ns(self) -> int:
        """When the sensors had it, ns since the epoch."""
        return nanoseconds(self.message.lineage.source_stamp)


@dataclass(slots=True)
class UnusableData:
    """What of a bag could not be used."""

    dropped: Counter[str] = field(default_factory=Counter)
    """Messages that failed validation, by the reason."""
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """(at s from the bag's start, s long): where no frame is, though frames are on both sides."""
    ended: str = ""
    """Why reading ended before the bag did; empty where it did not."""

    def sentences(self) -> list[str]:
        """What people should know, one sentence each."""
        common = self.dropped.most_common(5)
        out = [f"{n} messages were dropped: {reason}" for reason, n in common]
        if others := self.dropped.total() - sum(n for _, n in common):
            out.append(f"{others} more were dropped, for {len(self.dropped) - len(common)} other reasons")
        if self.gaps:
            at, length = max(self.gaps, key=lambda gap: gap[1])
            out.append(f"{len(self.gaps)} gaps in the frames, the longest of {length:.1f} s at {at:.1f} s")
        if self.ended:
            out.append(f"read up to here only: {self.ended}")
        return out


def heard_frames(
    bag: Bag,
    inputs: Inputs,
    losses: UnusableData,
    progress: Progress = lambda done, total: None,
    watch: Watch | None = None,
) -> Iterator[BagFrame]:
    """The speaker frames of a bag, in order: read from recorded features, or perceived from raw sensors.

    progress: told (ns done, ns in all). watch: told of each frame of the clock, from raw sensors. A damaged
    place ends the frames, and is noted.
    """
    frames = _perceived(bag, inputs, losses, watch) if inputs.raw else _recorded(bag, inputs.features, losses)
    length = max(bag.end_ns - bag.start_ns, 1)
    last: BagFrame | None = None
    try:
        for heard in frames:
            if last is not None:
                pause = heard.frame.stamp_ns - last.frame.stamp_ns
                if pause > 3 * FRAME_NS or pause <= 0:
                    losses.gaps.append(((last.time_ns - bag.start_ns) / 1e9, abs(pause) / 1e9))
            last = heard
            if heard.frame.index % 25 == 0:
                progress(heard.time_ns - bag.start_ns, length)
            yield heard
    except BagError as error:
        losses.ended = str(error)
    progress(length, length)


def _recorded(bag: Bag, topic: str, losses: UnusableData) -> Iterator[BagFrame]:
    ours = bag.topics[topic].definition is None
    for name, time_ns, data in bag.raw([topic]):
        try:
            message = bag.read(name, data)
            yield BagFrame(time_ns, frame_from_message(message), message, data if ours else None)
        except (ValueError, AttributeError, BagError) as error:
            losses.dropped[_why(name, error)] += 1


def _perceived(bag: Bag, inputs: Inputs, losses: UnusableData, watch: Watch | None) -> Iterator[BagFrame]:
    said = perception_parameters(bag)
    lag, stale = (round(said[name] * 1e9) for name in ("sound_lag", "stale_after"))
    config = PerceptionConfig(
        max_faces=said["max_faces"], landmarks=said["landmarks"], deterministic=True,
        wav2vec2=Path(said["wav2vec2"]) if said["wav2vec2"] else None,
    )  # fmt: skip
    perception = Perception(config)
    clock = FrameClock(ClockConfig(sound_lag_ns=lag, stale_ns=stale))
    try:
        for perceived, now in sensed(bag, inputs, losses, SensorFrontEnd(perception, clock, StampLimits(), watch)):
            yield from _messages(perceived, now, config.landmarks)
    finally:
        perception.close()


def sensed(
    bag: Bag, inputs: Inputs, losses: UnusableData, senses: SensorFrontEnd
) -> Iterator[tuple[list[Perceived], int]]:
    """(what was perceived, when in ns) of a bag's raw sensors, each message and each tick of the clock in its turn."""
    stamps: dict[str, int] = {}
    tick: int | None = None
    for message in bag.messages([t for t in (inputs.image, inputs.audio, inputs.info) if t]):
        now = message.time_ns
        if tick is None or now < tick or now - tick > LONGEST_SILENCE_NS:
            tick = now
        while tick < now:
            yield senses.advance(tick), tick
            tick += TICK_NS
        try:
            perceived = _sense(senses, message, inputs, stamps, bag)
        except (ValueError, AttributeError) as error:
            losses.dropped[_why(message.topic, error)] += 1
            continue
        yield perceived, now
    # What is still waited for: an image's length and its patience.
    for after in range(0, 4 * FRAME_NS, TICK_NS):
        if tick is not None:
            yield senses.advance(bag.end_ns + after), bag.end_ns + after


def _sense(senses: SensorFrontEnd, m: BagMessage, inputs: Inputs, stamps: dict[str, int], bag: Bag) -> list[Perceived]:
    if m.topic == inputs.info:
        senses.set_audio_info(m.message)
        return []
    stamp = None
    if hasattr(m.message, "header"):
        stamp = nanoseconds(m.message.header.stamp)
        if m.topic not in stamps:
            try:
                senses.limits.check(stamp, m.time_ns)
                stamps[m.topic] = 0
            except ValueError:
                # Of a driver with a clock of its own, or with none: its first message came as it was sensed.
                stamps[m.topic] = m.time_ns - stamp
                bag.notices.append(f"the stamps of {m.topic} are of another clock: they are moved to the recorder's")
        stamp += stamps[m.topic]
    if m.topic == inputs.image:
        return senses.push_image(m.message, m.time_ns, stamp)
    return senses.push_audio(m.message, bag.topics[m.topic].kind == OUR_AUDIO, m.time_ns, stamp)


def _messages(perceived: list[Perceived], now: int, landmarks: bool) -> Iterator[BagFrame]:
    for p in perceived:
        # How long a stage took is another time's: it would make every replay another.
        message = FACTORY.speaker(p.frame, {}, p.source_ns, landmarks)
        # As a listener gets it over the wire, where numbers are of 32 bits.
        yield BagFrame(now, frame_from_message(_through(message)), message, None)


def _through(message: Any) -> Any:
    """A message as it is after it was sent."""
    return typestore().deserialize_cdr(serialise(message), message.__msgtype__)


def _why(topic: str, error: Exception) -> str:
    if isinstance(error, AttributeError):
        return f"{topic} was recorded with another definition of its type, which has no {error.name}"
    return f"{topic}: {error}"


_PERCEPTION = {"sound_lag": 0.04, "stale_after": 0.5, "max_faces": 4, "landmarks": False, "wav2vec2": ""}
"""The parameters of a robot's perception that shape its frames, and what they are where nothing tells."""


def perception_parameters(bag: Bag) -> dict[str, Any]:
    """The parameters of the recorded robot's perception, as far as the manifest has them."""
    nodes = manifest.read_manifest(bag.path).get("parameters")
    said: Any = {}
    for node, values in (nodes if isinstance(nodes, dict) else {}).items():
        if str(node).endswith("/perception") and isinstance(values, dict):
            said = values
    return {n: said[n] if type(said.get(n)) is type(usual) else usual for n, usual in _PERCEPTION.items()}
