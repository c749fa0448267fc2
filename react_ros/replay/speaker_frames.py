"""A bag's speaker frames: read from recorded features, or perceived anew from raw sensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from react_ros.bags import manifest
from react_ros.bags.errors import BagError
from react_ros.bags.person_topics import PersonTopics
from react_ros.bags.reader import Bag, BagMessage
from react_ros.bags.types import FACTORY, serialise, typestore
from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockConfig, ClockFrame
from react_ros.face import FRAME_NS, SpeakerFrame
from react_ros.messages.features import frame_from_message
from react_ros.messages.namespace import nearest
from react_ros.messages.stamps import StampLimits, nanoseconds
from react_ros.messages.types import OUR_AUDIO
from react_ros.perception.front_end import Perceived, SensorFrontEnd
from react_ros.perception.pipeline import Perception, PerceptionConfig
from react_ros.replay.pacing import LONGEST_SILENCE_NS

TICK_NS = 10_000_000
"""Period at which the frame clock is advanced, as in the live node."""

Progress = Callable[[int, int], None]
Watch = Callable[[ClockFrame], None]


@dataclass(frozen=True, slots=True)
class BagFrame:
    """A speaker frame of a bag."""

    time_ns: int
    """When it was received or perceived, ns since the epoch."""
    frame: SpeakerFrame
    message: Any
    """react_ros/SpeakerFeatures."""
    data: bytes | None
    """The recorded CDR bytes; None if it was perceived, or recorded with another definition of the type."""

    @property
    def source_ns(self) -> int:
        """Capture time of the sensor data, ns since the epoch."""
        return nanoseconds(self.message.lineage.source_stamp)


@dataclass(slots=True)
class UnusableData:
    """What in a bag could not be used."""

    dropped: Counter[str] = field(default_factory=Counter)
    """Number of messages that failed validation, by reason."""
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Missing frames between others: (start in s from the bag's start, length in s)."""
    ended: str = ""
    """Why reading ended before the end of the bag; empty if it did not."""

    def sentences(self) -> list[str]:
        """For users, one sentence each."""
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


def bag_frames(
    bag: Bag,
    topics: PersonTopics,
    losses: UnusableData,
    progress: Progress = lambda done, total: None,
    watch: Watch | None = None,
) -> Iterator[BagFrame]:
    """One person's speaker frames in a bag, in order; up to a damaged place, which is noted in `losses`.

    progress: called with (ns done, ns in total). watch: called with each frame of the frame clock before it is
    perceived; from raw sensors only.
    """
    frames = _perceived_frames(bag, topics, losses, watch) if topics.raw else _recorded_frames(bag, topics, losses)
    length = max(bag.end_ns - bag.start_ns, 1)
    last: BagFrame | None = None
    try:
        for bag_frame in frames:
            if last is not None:
                pause = bag_frame.frame.stamp_ns - last.frame.stamp_ns
                if pause > 3 * FRAME_NS or pause <= 0:
                    losses.gaps.append(((last.time_ns - bag.start_ns) / 1e9, abs(pause) / 1e9))
            last = bag_frame
            if bag_frame.frame.index % 25 == 0:
                progress(bag_frame.time_ns - bag.start_ns, length)
            yield bag_frame
    except BagError as error:
        losses.ended = str(error)
    progress(length, length)


def _recorded_frames(bag: Bag, topics: PersonTopics, losses: UnusableData) -> Iterator[BagFrame]:
    current = bag.topics[topics.features].definition is None
    for name, time_ns, data in bag.raw([topics.features]):
        try:
            message = bag.read(name, data)
            yield BagFrame(time_ns, frame_from_message(message), message, data if current else None)
        except (ValueError, AttributeError, BagError) as error:
            losses.dropped[_reason(name, error)] += 1


def _perceived_frames(bag: Bag, topics: PersonTopics, losses: UnusableData, watch: Watch | None) -> Iterator[BagFrame]:
    recorded = perception_parameters(bag, topics.first)
    lag, longest, stale = (round(recorded[name] * 1e9) for name in ("sound_lag", "sound_lag_max", "stale_after"))
    config = PerceptionConfig(
        max_faces=recorded["max_faces"], landmarks=recorded["landmarks"], deterministic=True,
        wav2vec2=Path(recorded["wav2vec2"]) if recorded["wav2vec2"] else None,
    )  # fmt: skip
    perception = Perception(config)
    clock = FrameClock(ClockConfig(sound_lag_ns=lag, sound_lag_max_ns=longest, stale_ns=stale))
    try:
        front_end = SensorFrontEnd(perception, clock, StampLimits(), watch)
        for perceived, now in run_front_end(bag, topics, losses, front_end):
            yield from _as_bag_frames(perceived, now, config.landmarks)
    finally:
        perception.close()


def run_front_end(
    bag: Bag, topics: PersonTopics, losses: UnusableData, front_end: SensorFrontEnd
) -> Iterator[tuple[list[Perceived], int]]:
    """Feed a bag's raw sensor messages to a sensor front end, advancing its clock every TICK_NS between them.

    Yields (perceived frames, time in ns) for each message and tick. A silence longer than LONGEST_SILENCE_NS is not
    ticked through. Stamps of another clock are shifted by a constant for each topic, which is noted in `bag.notices`.
    """
    shifts: dict[str, int] = {}
    tick: int | None = None
    for message in bag.messages([t for t in (topics.image, topics.audio, topics.info) if t]):
        now = message.time_ns
        if tick is None or now < tick or now - tick > LONGEST_SILENCE_NS:
            tick = now
        while tick < now:
            yield front_end.advance(tick), tick
            tick += TICK_NS
        try:
            perceived = _feed(front_end, message, topics, shifts, bag)
        except (ValueError, AttributeError) as error:
            losses.dropped[_reason(message.topic, error)] += 1
            continue
        yield perceived, now
    # Frames that the clock still holds back for a late image.
    for after in range(0, 4 * FRAME_NS, TICK_NS):
        if tick is not None:
            yield front_end.advance(bag.end_ns + after), bag.end_ns + after


def _feed(
    front_end: SensorFrontEnd, m: BagMessage, topics: PersonTopics, shifts: dict[str, int], bag: Bag
) -> list[Perceived]:
    """One message into the front end. shifts: ns to add to each topic's stamps, decided at its first message."""
    if m.topic == topics.info:
        front_end.set_audio_info(m.message)
        return []
    stamp = None
    if hasattr(m.message, "header"):
        stamp = nanoseconds(m.message.header.stamp)
        if m.topic not in shifts:
            try:
                front_end.limits.check(stamp, m.time_ns)
                shifts[m.topic] = 0
            except ValueError:
                # A driver with a clock of its own, or none: assume that its first message was received when captured.
                shifts[m.topic] = m.time_ns - stamp
                bag.notices.append(f"the stamps of {m.topic} are of another clock: they are moved to the recorder's")
        stamp += shifts[m.topic]
    if m.topic == topics.image:
        return front_end.push_image(m.message, m.time_ns, stamp)
    return front_end.push_audio(m.message, bag.topics[m.topic].kind == OUR_AUDIO, m.time_ns, stamp)


def _as_bag_frames(perceived: list[Perceived], now: int, landmarks: bool) -> Iterator[BagFrame]:
    for p in perceived:
        # Without the durations of stages, which differ in every replay.
        message = FACTORY.speaker(p.frame, {}, p.source_ns, landmarks)
        # A live listener receives the serialised message, whose numbers have 32 bits.
        yield BagFrame(now, frame_from_message(_round_trip(message)), message, None)


def _round_trip(message: Any) -> Any:
    """A message serialised and deserialised."""
    return typestore().deserialize_cdr(serialise(message), message.__msgtype__)


def _reason(topic: str, error: Exception) -> str:
    if isinstance(error, AttributeError):
        return f"{topic} was recorded with another definition of its type, which has no {error.name}"
    return f"{topic}: {error}"


_PERCEPTION = {
    "sound_lag": 0.04, "sound_lag_max": 0.0, "stale_after": 0.5, "max_faces": 4, "landmarks": False, "wav2vec2": "",
}  # fmt: skip
"""The perception node's parameters that affect its frames, with the values used where they are not recorded."""


def perception_parameters(bag: Bag, near: str) -> dict[str, Any]:
    """The parameters, in the bag's manifest, of the perception node that belongs with the topic `near`.

    Of parameters that are missing or of another type, the defaults.
    """
    nodes = manifest.read_manifest(bag.path).get("parameters")
    recorded = {
        str(node): values
        for node, values in (nodes if isinstance(nodes, dict) else {}).items()
        if str(node).endswith("/perception") and isinstance(values, dict)
    }
    chosen = nearest(recorded, near) or list(recorded)
    values = recorded[chosen[-1]] if chosen else {}
    return {n: values[n] if type(values.get(n)) is type(usual) else usual for n, usual in _PERCEPTION.items()}
