"""A bag's speaker frames: read from recorded features, or perceived anew from raw sensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from react_ros.bags import manifest
from react_ros.bags.audio_format import third_party_audio
from react_ros.bags.errors import BagError, UnknownAudioFormat
from react_ros.bags.person_topics import PersonTopics
from react_ros.bags.reader import Bag
from react_ros.bags.types import FACTORY, serialise, typestore
from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockConfig, ClockFrame
from react_ros.face import FPS, FRAME_NS, SpeakerFrame
from react_ros.messages.features import frame_from_message
from react_ros.messages.namespace import nearest
from react_ros.messages.stamps import StampLimits, nanoseconds
from react_ros.messages.types import OUR_AUDIO
from react_ros.perception.front_end import Perceived, SensorFrontEnd
from react_ros.perception.pipeline import Perception, PerceptionConfig
from react_ros.replay.pacing import LONGEST_SILENCE_NS
from react_ros.replay.source_stamps import SourceStamps

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
    stamps: list[str] = field(default_factory=list)
    """Which stamps were moved to the recorder's clock, one sentence each."""
    unused: list[str] = field(default_factory=list)
    """Which messages came too late for their frame, one sentence each."""
    lost: list[str] = field(default_factory=list)
    """Sensors of which most could not be used, one sentence each."""

    def sentences(self) -> list[str]:
        """For users, one sentence each."""
        common = self.dropped.most_common(5)
        out = [*self.stamps, *(f"{n} messages were dropped: {reason}" for reason, n in common), *self.unused]
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
    """One person's speaker frames in a bag, in order; up to a damaged place, which is noted in `losses`. Raises
    UnknownAudioFormat.

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
    except UnknownAudioFormat:
        raise
    except BagError as error:
        losses.ended = str(error)
        if last is not None and last.time_ns - bag.start_ns < length / 2:
            losses.lost.append(f"only {(last.time_ns - bag.start_ns) / 1e9:.1f} of {length / 1e9:.1f} s could be read")
    losses.lost += bag.lost
    progress(length, length)


def _recorded_frames(bag: Bag, topics: PersonTopics, losses: UnusableData) -> Iterator[BagFrame]:
    current = bag.topics[topics.features].definition is None
    use = SensorUse(topics.features)
    for name, time_ns, data in bag.raw([topics.features]):
        use.received(time_ns)
        try:
            message = bag.read(name, data)
            yield BagFrame(time_ns, frame_from_message(message), message, data if current else None)
        except (ValueError, AttributeError, BagError) as error:
            losses.dropped[_reason(name, error)] += 1
            use.refused += 1
    losses.lost += use.sentences()


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
        for perceived, now in run_front_end(bag, topics, losses, perception, clock, watch):
            yield from _as_bag_frames(perceived, now, config.landmarks)
    finally:
        perception.close()


def run_front_end(
    bag: Bag,
    topics: PersonTopics,
    losses: UnusableData,
    perception: Perception | None,
    clock: FrameClock,
    watch: Watch | None = None,
) -> Iterator[tuple[list[Perceived], int]]:
    """Feed a bag's raw sensor messages to a sensor front end, advancing its clock every TICK_NS between them.

    Yields (perceived frames, time in ns) for each message and tick. A silence longer than LONGEST_SILENCE_NS is not
    ticked through. Stamps of another clock, and missing ones, are moved to the recorder's clock. What could not be used
    is in `losses` at the end. Raises BagError where the format of the audio is not known.
    """
    third_party = third_party_audio(bag, topics.audio, topics.info, topics.format)
    front_end = SensorFrontEnd(perception, clock, StampLimits(), watch, third_party=third_party)
    stamps = SourceStamps()
    uses = {name: SensorUse(name) for name in (topics.image, topics.audio) if name}
    tick: int | None = None
    for message in bag.messages([t for t in (*uses, topics.info) if t]):
        now = message.time_ns
        if tick is None or now < tick or now - tick > LONGEST_SILENCE_NS:
            tick = now
        while tick < now:
            yield front_end.advance(tick), tick
            tick += TICK_NS
        try:
            if message.topic == topics.info:
                front_end.set_audio_info(message.message)
                continue
            uses[message.topic].received(now)
            stamp = stamps.captured(message.topic, message.message, now)
            if message.topic == topics.image:
                perceived = front_end.push_image(message.message, now, now if stamp is None else stamp)
            else:
                ours = bag.topics[message.topic].kind == OUR_AUDIO
                perceived = front_end.push_audio(message.message, ours, now, stamp)
        except (ValueError, AttributeError) as error:
            losses.dropped[_reason(message.topic, error)] += 1
            if message.topic in uses:
                uses[message.topic].refused += 1
            continue
        yield perceived, now
    if tick is not None:
        end = now if bag.stepped_back else bag.end_ns
        # Frames that the clock still holds back for a late image.
        for after in range(0, 4 * FRAME_NS, TICK_NS):
            yield front_end.advance(end + after), end + after
    losses.stamps += stamps.sentences()
    counters = clock.counters
    if topics.image:
        use = uses[topics.image]
        use.late, use.repeated = counters.late_images, counters.duplicate_images
        use.skipped = counters.skipped_images
    if topics.audio:
        uses[topics.audio].late = counters.late_sound
    for use in uses.values():
        losses.unused += use.left_out()
        losses.lost += use.sentences()


@dataclass(slots=True)
class SensorUse:
    """How many of a topic's messages were used."""

    topic: str
    messages: int = 0
    refused: int = 0
    """Failed validation."""
    late: int = 0
    repeated: int = 0
    """With the stamp of another message."""
    skipped: int = 0
    """Images of a camera with more than 25 a second."""
    seconds: float = 0.0
    """Duration, without long pauses."""
    _last: int = 0

    def received(self, time_ns: int) -> None:
        """Count a message. time_ns: when the recorder received it."""
        if self.messages:
            self.seconds += min(max(time_ns - self._last, 0) / 1e9, 1.0)
        self.messages, self._last = self.messages + 1, time_ns

    @property
    def used(self) -> int:
        """Number of messages that are in a frame."""
        return max(self.messages - self.refused - self.late - self.repeated - self.skipped, 0)

    def left_out(self) -> list[str]:
        """A sentence about late and repeated messages, where there are some."""
        if not self.late + self.repeated:
            return []
        return [
            f"{self.late + self.repeated} of {self.messages} messages of {self.topic} were not used: {self.late} came "
            f"after their frame, {self.repeated} have the stamp of another"
        ]

    def sentences(self) -> list[str]:
        """A sentence where less than half of the messages were used (of a fast camera, of 25 a second)."""
        wanted = min(self.messages, self.seconds * FPS) if self.skipped else self.messages
        if self.messages == 0 or self.used >= wanted / 2:
            return []
        return [f"only {self.used} of {self.messages} messages of {self.topic} could be used"]


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
