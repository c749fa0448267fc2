"""Listens to a recorded session again: without ROS, faster than real time, the same bytes every time.

The perception and the generator are the robot's own code. Time is the bag's: nothing here reads a clock, but to say at
the end what took how long.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from react_ros.clock import ClockConfig, ClockFrame, FrameClock
from react_ros.face import FPS, FRAME_NS, Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, Stream
from react_ros.perception.pipeline import Perception, PerceptionConfig
from react_ros.session import manifest
from react_ros.session.bag import WIRE, Bag, BagError, BagWriter, Recorded, Storage, new_message, serialise, typestore
from react_ros.session.listening import MAX_DELAY, Delay, parameters_from, parameters_text
from react_ros.session.messages import MAX_SAMPLES, StampLimits, frame_from_message, nanoseconds, reaction_from_message
from react_ros.session.senses import AUDIO_INFO, AUDIO_TYPES, IMAGE_TYPES, OUR_AUDIO, Perceived, Senses

FEATURES_TYPE = "react_ros/msg/SpeakerFeatures"
REACTION_TYPE = "react_ros/msg/Reaction"
STREAM_TYPE = "react_ros/msg/ListenerStream"

TICK_NS = 10_000_000
"""How often the frame clock is told the time, as the live node does."""
LONGEST_SILENCE_NS = 10_000_000_000
"""Where nothing comes for longer, the time between is skipped: the clock of the recorder jumped, or it was paused."""

ORDER_NS = 2_000_000_000
"""How far apart a recorder may get what was published on two topics at once: so much is kept for who comes later."""

FLUSHED_FRAMES = 250
"""How often a replay brings its bag to the disk: by frames, so that the same bag gives the same chunks."""

Progress = Callable[[int, int], None]
Watch = Callable[[ClockFrame], None]
Read = TypeVar("Read")


# What is in the bag -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inputs:
    """The topics of a bag in which the human is. Either features, or an image or sound or both."""

    features: str = ""
    image: str = ""
    audio: str = ""
    info: str = ""
    """AudioInfo of ros-drivers, which goes with its sound."""

    @property
    def raw(self) -> bool:
        return not self.features


def find_inputs(
    bag: Bag,
    source: Literal["auto", "features", "raw"] = "auto",
    *,
    features: str = "",
    image: str = "",
    audio: str = "",
) -> Inputs:
    """Which topics hold the human: those named, else the only ones that can.

    auto: recorded features where there are some, else raw sensors. Raises BagError where there is none, or a choice.
    """
    there = bag.topics
    for name in (features, image, audio):
        if name and name not in there:
            raise BagError(f"bag {bag.path} has no topic {name}: it has {_list(list(there))}")
    if source == "auto":
        source = "raw" if (image or audio) and not features else "features"
        if source == "features" and not (features or topics_of(bag, FEATURES_TYPE)):
            source = "raw"
    if source == "features":
        found = features or _only(bag, topics_of(bag, FEATURES_TYPE), "speaker features", "--features")
        if not found:
            raise BagError(f"bag {bag.path} has no speaker features ({FEATURES_TYPE}): it has {_list(list(there))}")
        return Inputs(features=found)
    # What the robot itself shows is no human.
    cameras = [t for t in topics_of(bag, *IMAGE_TYPES) if "avatar/image" not in t]
    microphones = topics_of(bag, *AUDIO_TYPES)
    for unknown in [t for t in microphones if not there[t].known and t != audio]:
        microphones.remove(unknown)
        bag.notices.append(f"{unknown} is left out: {there[unknown].kind} is not defined in the bag")
    image = image or _only(bag, cameras, "cameras", "--image")
    audio = audio or _only(bag, microphones, "microphones", "--audio")
    if not image and not audio:
        raise BagError(
            f"bag {bag.path} has neither speaker features nor a camera's images ({' or '.join(IMAGE_TYPES)}) nor "
            f"sound ({', '.join(AUDIO_TYPES)}): it has {_list(list(there))}"
        )
    infos = topics_of(bag, AUDIO_INFO)
    return Inputs(image=image, audio=audio, info=infos[0] if audio and there[audio].kind != OUR_AUDIO and infos else "")


def topics_of(bag: Bag, *kinds: str) -> list[str]:
    """The topics of these types that hold a message, by name."""
    return [t.name for t in bag.topics.values() if t.kind in kinds and t.count]


def _only(bag: Bag, names: list[str], what: str, option: str) -> str:
    if len(names) > 1:
        raise BagError(f"bag {bag.path} has {len(names)} {what}: say which with {option} ({_list(names)})")
    return names[0] if names else ""


def _namespace(topic: str) -> str:
    """A robot's namespace, of one of its topics; of a topic of others, the one in which it lies."""
    for end in ("/speaker/features", "/image_raw/compressed", "/image_raw", "/audio"):
        if topic.endswith(end):
            return topic.removesuffix(end)
    return topic.rpartition("/")[0]


def _list(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "nothing"


# The human --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
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
class Losses:
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
    losses: Losses,
    progress: Progress = lambda done, total: None,
    watch: Watch | None = None,
) -> Iterator[Heard]:
    """The speaker frames of a bag, in order: read from recorded features, or perceived from raw sensors.

    progress: told (ns done, ns in all). watch: told of each frame of the clock, from raw sensors. A damaged
    place ends the frames, and is noted.
    """
    frames = _perceived(bag, inputs, losses, watch) if inputs.raw else _recorded(bag, inputs.features, losses)
    length = max(bag.end_ns - bag.start_ns, 1)
    last: Heard | None = None
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


def _recorded(bag: Bag, topic: str, losses: Losses) -> Iterator[Heard]:
    ours = bag.topics[topic].definition is None
    for name, time_ns, data in bag.raw([topic]):
        try:
            message = bag.read(name, data)
            yield Heard(time_ns, frame_from_message(message), message, data if ours else None)
        except (ValueError, AttributeError, BagError) as error:
            losses.dropped[_why(name, error)] += 1


def _perceived(bag: Bag, inputs: Inputs, losses: Losses, watch: Watch | None) -> Iterator[Heard]:
    said = perception_parameters(bag)
    lag, stale = (round(said[name] * 1e9) for name in ("sound_lag", "stale_after"))
    config = PerceptionConfig(
        max_faces=said["max_faces"], landmarks=said["landmarks"], deterministic=True,
        wav2vec2=Path(said["wav2vec2"]) if said["wav2vec2"] else None,
    )  # fmt: skip
    perception = Perception(config)
    clock = FrameClock(ClockConfig(sound_lag_ns=lag, stale_ns=stale))
    try:
        for perceived, now in sensed(bag, inputs, losses, Senses(perception, clock, StampLimits(), watch)):
            yield from _messages(perceived, now, config.landmarks)
    finally:
        perception.close()


def sensed(bag: Bag, inputs: Inputs, losses: Losses, senses: Senses) -> Iterator[tuple[list[Perceived], int]]:
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


def _sense(senses: Senses, m: Recorded, inputs: Inputs, stamps: dict[str, int], bag: Bag) -> list[Perceived]:
    if m.topic == inputs.info:
        senses.inform(m.message)
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
        return senses.see(m.message, m.time_ns, stamp)
    return senses.hear(m.message, bag.topics[m.topic].kind == OUR_AUDIO, m.time_ns, stamp)


def _messages(perceived: list[Perceived], now: int, landmarks: bool) -> Iterator[Heard]:
    for p in perceived:
        # How long a stage took is another time's: it would make every replay another.
        message = WIRE.speaker(p.frame, {}, p.source_ns, landmarks)
        # As a listener gets it over the wire, where numbers are of 32 bits.
        yield Heard(now, frame_from_message(_through(message)), message, None)


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


# The listener -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listening:
    """Who listens: a system, its parameters, and how its stream is begun."""

    generator: str = registry.DEFAULT
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    samples: int = 1
    delay: int = 0
    """Deliberate, frames."""
    first_frame: int = 0
    weights: str = ""
    """SHA-256 of the weights that were recorded; empty: none, or unknown."""
    stamp_ns: int = 0
    """Of the first frame."""

    def of_message(self, m: Any) -> Listening:
        """As a ListenerStream tells it. Raises ValueError where it cannot be so."""
        if not 1 <= m.samples <= MAX_SAMPLES or m.delay > MAX_DELAY * FPS or m.seed < 0:
            raise ValueError(f"no listener has {m.samples} samples, seed {m.seed} and a delay of {m.delay} frames")
        return replace(
            self, generator=m.generator, parameters=parameters_from(m.parameters), seed=int(m.seed),
            samples=int(m.samples), delay=int(m.delay), first_frame=int(m.first_frame), weights=m.weights,
            stamp_ns=nanoseconds(m.header.stamp),
        )  # fmt: skip


@dataclass(slots=True)
class RecordedStream:
    """A listener's stream as it was recorded: all of it that a repetition needs, and no reaction."""

    listening: Listening
    effects: dict[int, int] = field(default_factory=dict)
    """Of each plan the frame at which it took effect, as `Stream.follow` takes it."""
    answered: array[int] = field(default_factory=lambda: array("q"))
    """When the sensors had the frames that it answered, ns, in the order of its answers; others never reached it.
    Frames' numbers would not do: they begin again with each new perception."""
    _order: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def position(self, source_ns: int) -> int:
        """The place of a frame among the answered ones; -1 where it was not answered."""
        if self._order is None:
            stamps = np.array(self.answered, np.int64)
            sort = np.argsort(stamps, kind="stable")
            self._order = stamps[sort], sort
        stamps, sort = self._order
        at = int(np.searchsorted(stamps, source_ns))
        return int(sort[at]) if at < len(stamps) and stamps[at] == source_ns else -1

    def begins(self, heard: Heard) -> bool:
        """Whether the frame is its first one."""
        return heard.frame.index == self.listening.first_frame and heard.frame.stamp_ns == self.listening.stamp_ns


def listener_topics(bag: Bag, near: str = "") -> list[str]:
    """The topics of one listener, [streams, reactions]; empty where the bag has none. near: a topic of its robot.

    Raises BagError where there are several.
    """
    told, said = topics_of(bag, STREAM_TYPE), topics_of(bag, REACTION_TYPE)
    space = _namespace(near) + "/"
    if any(t.startswith(space) for t in told):
        told, said = ([t for t in topics if t.startswith(space)] for topics in (told, said))
    if max(len(told), len(said)) > 1:
        raise BagError(f"bag {bag.path} has several listeners: {_list(told + said)}")
    return told + said if told else []


def recorded_reactions(bag: Bag, topics: list[str]) -> Iterator[tuple[int, Listening | Reaction]]:
    """(number of the stream, how it began or what it answered), in order; ends at a damaged place.

    Two topics have no common order: a stream begins with the reaction to its first frame, which the recorder may have
    got before the stream was announced. What came before any stream belongs to none, and is left out.
    """
    streams = [t for t in topics if bag.topics[t].kind == STREAM_TYPE]
    announced = list(_understood(bag, streams, lambda m: Listening().of_message(m)))
    number = -1
    for time_ns, reaction in _understood(bag, [t for t in topics if t not in streams], reaction_from_message):
        begun = number
        for n in range(number + 1, len(announced)):
            told_ns, listening = announced[n]
            apart = abs(reaction.stamp_ns - listening.stamp_ns)
            first = reaction.index == listening.first_frame and apart < ORDER_NS
            # The reaction to its first frame may be missing: the recorder came later.
            if first or time_ns > told_ns + ORDER_NS or (number < 0 == n and time_ns > told_ns - ORDER_NS):
                begun = n
        for n in range(number + 1, begun + 1):
            yield n, announced[n][1]
        number = begun
        if number >= 0:
            yield number, reaction
    for n in range(number + 1, len(announced)):
        yield n, announced[n][1]


def _understood(bag: Bag, topics: list[str], read: Callable[[Any], Read]) -> Iterator[tuple[int, Read]]:
    """(time in ns, what its message says) of these topics; without those of another definition, or damaged."""
    with suppress(BagError):
        for m in bag.messages(topics):
            with suppress(ValueError, AttributeError):
                yield m.time_ns, read(m.message)


def recorded_streams(bag: Bag, topics: list[str]) -> list[RecordedStream]:
    """The streams of one listener, in order."""
    streams: list[RecordedStream] = []
    for number, told in recorded_reactions(bag, topics):
        if isinstance(told, Listening):
            streams.append(RecordedStream(told))
            continue
        stream = streams[number]
        if stream.answered[-1:] != array("q", [told.stamp_ns]):  # a delayed stream's first reaction stands still
            stream.answered.append(told.stamp_ns)
        stream.effects.setdefault(told.plan, told.index)
    return streams


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a replay is asked for; None: as it was recorded."""

    generator: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """On top of the recorded ones, where the generator is the recorded one."""
    seed: int | None = None
    samples: int | None = None
    delay: int | None = None
    device: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a number that cannot be."""
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")
        if self.samples is not None and not 1 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"samples must be between 1 and {MAX_SAMPLES}, not {self.samples}")

    @property
    def as_recorded(self) -> bool:
        return not self.parameters and self.generator is self.seed is self.samples is self.delay is None

    def of(self, recorded: Listening) -> Listening:
        """The recorded listener, changed as is wanted."""
        out = recorded
        if self.generator is not None and self.generator != recorded.generator:
            out = replace(out, generator=self.generator, parameters={}, weights="")
        given = {"seed": self.seed, "samples": self.samples, "delay": self.delay}
        given = {name: value for name, value in given.items() if value is not None}
        parameters = {**out.parameters, **self.parameters}
        if self.device and "device" in registry.parameters(out.generator):
            parameters["device"] = self.device
        return replace(out, parameters=parameters, **given)


@dataclass(slots=True)
class Comparison:
    """The reactions beside the recorded ones."""

    compared: int = 0
    same: int = 0
    """How many are the same to the bit."""
    difference: float = 0.0
    """The largest, of any number."""

    def take(self, ours: Reaction, theirs: Reaction) -> None:
        """Count one more pair."""
        self.compared += 1
        worst = 0.0
        equal = ours.live == theirs.live and ours.plan == theirs.plan
        for name in ("blendshapes", "rotation", "translation", "attributes"):
            a, b = getattr(ours, name), getattr(theirs, name)
            if a.shape != b.shape:
                worst, equal = float("inf"), False
            elif not np.array_equal(a, b):
                worst, equal = max(worst, float(np.abs(a - b).max())), False
        self.same += equal
        self.difference = max(self.difference, worst)


class Listeners:
    """Answers the frames of a bag: with each recorded stream in its turn, or with one that is wanted instead."""

    def __init__(self, bag: Bag, wanted: Wanted, inputs: Inputs) -> None:
        """Raises ValueError or BagError where a listener cannot be had."""
        self.notices: list[str] = []
        topics = listener_topics(bag, inputs.features or inputs.image or inputs.audio)
        recorded = recorded_streams(bag, topics)
        self.repeats = bool(recorded) and wanted.as_recorded and not inputs.raw
        """Whether the recorded reactions are to come again."""
        self.comparison = Comparison()
        if recorded and not self.repeats:
            # Who is asked something else is asked once, from the first frame on.
            recorded = recorded[:1] if wanted.generator else recorded
        self._streams = recorded or [RecordedStream(Listening())]
        self._wanted = wanted
        self._at = -1
        self._theirs = recorded_reactions(bag, topics) if self.repeats else iter(())
        self._next: tuple[int, Reaction] | None = None
        self._loaded: dict[str, Generator] = {}
        self._delay: Delay[tuple[Reaction, int]] = Delay(0)
        self._last: SpeakerFrame | None = None
        """The frame that the present stream has answered last, and its place among those of the recording."""
        self._position = -1
        self._lost = 0
        self.listening = wanted.of(self._streams[0].listening)
        self.generator = self._load(self.listening)  # at once: what cannot be is said before anything is written

    def step(self, heard: Heard) -> tuple[Listening | None, tuple[Reaction, int] | None]:
        """(who listens from this frame on, where that changed; the reaction and when the sensors had its frame, where
        the frame was heard)."""
        number = self._listener_of(heard)
        if number is None:
            return None, None
        began = self._begin(number, heard) if number != self._at else None
        position = self._streams[number].position(heard.source_ns) if self.repeats else -1
        if position >= 0:
            self._make_up(position - self._position - 1)
            self._position = position
        self._last = heard.frame
        reaction = self._stream.step(heard.frame)
        if position >= 0:
            self._compare(reaction, position)
        return began, self._delay.step((reaction, heard.source_ns))

    def _listener_of(self, heard: Heard) -> int | None:
        """The number of the stream that answers a frame; None where it never reached one."""
        streams, at = self._streams, max(self._at, 0)
        if not self.repeats:
            began = [n for n in range(at, len(streams)) if streams[n].listening.stamp_ns <= heard.frame.stamp_ns]
            return max(began, default=at)
        for n in range(at, len(streams)):
            if streams[n].position(heard.source_ns) >= 0 or (n > self._at and streams[n].begins(heard)):
                return n
        # The last frames of a delayed stream are heard, and their reactions never shown.
        return self._at if self._at >= 0 and self._position == len(streams[at].answered) - 1 else None

    def _make_up(self, count: int) -> None:
        """The listener counted frames that the recorder lost: each is taken to be as the one before."""
        last = self._last
        if last is None:
            return
        for k in range(1, count + 1):
            frame = replace(last, index=last.index + k, stamp_ns=last.stamp_ns + k * FRAME_NS)
            self._delay.step((self._stream.step(frame), frame.stamp_ns))
            self._lost += 1

    @property
    def protocol(self) -> str:
        """How the present stream's reactions come about."""
        return self._stream.protocol

    def _begin(self, number: int, heard: Heard) -> Listening:
        frame, self._at, self._last, self._position = heard.frame, number, None, -1
        recorded = self._streams[number]
        self.listening = replace(self._wanted.of(recorded.listening), first_frame=frame.index, stamp_ns=frame.stamp_ns)
        self.generator = self._load(self.listening)
        self._stream: Stream = self.generator.start(samples=self.listening.samples, seed=self.listening.seed)
        if self.repeats:
            late = frame.index - recorded.listening.first_frame
            if late:  # its plans were begun at other frames than ours are: they are made when they are due
                self.notices.append(
                    f"the recording begins {late} frames ({late / FPS:.1f} s) after its listener's stream: what was "
                    "heard before is not known, and the reactions are those of a stream that begins here"
                )
            else:
                self._stream.follow(recorded.effects)
        self._delay = Delay(self.listening.delay)
        return self.listening

    def _load(self, listening: Listening) -> Generator:
        key = repr((listening.generator, sorted(listening.parameters.items(), key=repr)))
        if key not in self._loaded:
            self._loaded[key] = registry.create(listening.generator, **listening.parameters)
            found = self._loaded[key].info.weights
            if listening.weights and found != listening.weights:
                self.notices.append(
                    f"{listening.generator} was recorded with weights {listening.weights[:12]}, and is replayed with "
                    f"{found[:12] or 'none'}: its reactions may differ"
                )
        return self._loaded[key]

    def _compare(self, ours: Reaction, position: int) -> None:
        while (theirs := self._place_of_next()) < (self._at, position):
            told = next(self._theirs, None)
            if told is None:
                return
            if isinstance(told[1], Reaction):
                self._next = told[0], told[1]
        if theirs == (self._at, position):
            assert self._next is not None
            self.comparison.take(ours, self._next[1])

    def _place_of_next(self) -> tuple[int, int]:
        """(stream, place in it) of the recorded reaction that was read last."""
        if self._next is None:
            return -1, -1
        number, reaction = self._next
        return number, self._streams[number].position(reaction.stamp_ns)

    def sentences(self) -> list[str]:
        """What people should know, one sentence each."""
        lost = f"{self._lost} frames that were answered are not in the recording: each is taken to be as the one before"
        return self.notices + ([lost] if self._lost else [])


# The whole --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ReplayReport:
    """What a replay did."""

    frames: int = 0
    reactions: int = 0
    seconds: float = 0.0
    """Of the recording, from its first message to its last."""
    took: float = 0.0
    """s of this machine."""
    perceiving: float = 0.0
    """s of it for camera and microphone; 0 from features."""
    comparison: Comparison = field(default_factory=Comparison)
    notices: list[str] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Times real time."""
        return self.seconds / self.took if self.took else float("inf")


def replay(
    path: Path,
    out: Path,
    wanted: Wanted | None = None,
    *,
    source: Literal["auto", "features", "raw"] = "auto",
    features: str = "",
    image: str = "",
    audio: str = "",
    storage: Storage = "mcap",
    progress: Progress = lambda done, total: None,
) -> ReplayReport:
    """Listen to a bag again, into a new bag: speaker/features, listener/stream, listener/reaction and a manifest.

    The same bag, parameters, seed and machine give the same bytes. Raises BagError, ValueError or FileNotFoundError,
    in one sentence.
    """
    wanted = wanted or Wanted()
    began = time.perf_counter()
    report, losses = ReplayReport(), Losses()
    with Bag(path) as bag:
        inputs = find_inputs(bag, source, features=features, image=image, audio=audio)
        listeners = Listeners(bag, wanted, inputs)
        one_thread()
        frames = heard_frames(bag, inputs, losses, progress)
        before = time.perf_counter()
        heard = next(frames, None)
        if heard is None:
            why = "; ".join([*losses.sentences(), *bag.notices]) or "nothing that a frame could be made of"
            raise BagError(f"bag {path} has no frame to listen to: {why}")
        writer = BagWriter(out, storage)
        space = _namespace(inputs.features or inputs.image or inputs.audio)
        names = [f"{space}/{end}" for end in ("speaker/features", "listener/stream", "listener/reaction")]
        streams: list[dict[str, Any]] = []
        try:
            while heard is not None:
                report.perceiving += time.perf_counter() - before
                report.frames += 1
                if report.frames % FLUSHED_FRAMES == 0:
                    writer.flush()
                writer.write(names[0], FEATURES_TYPE, heard.time_ns, heard.data or serialise(heard.message))
                listening, answer = listeners.step(heard)
                if listening is not None:
                    message = _stream_message(listening, listeners, heard)
                    writer.write(names[1], STREAM_TYPE, heard.time_ns, serialise(message))
                    streams.append(manifest.of_stream(message))
                if answer is not None:
                    message = _reaction_message(*answer, listeners)
                    writer.write(names[2], REACTION_TYPE, heard.time_ns, serialise(message))
                    report.reactions += 1
                before = time.perf_counter()
                heard = next(frames, None)
            writer.close()
        finally:
            with suppress(BagError):
                writer.close()
        report.notices = [*bag.notices, *listeners.sentences(), *losses.sentences()]
        report.seconds, report.comparison = bag.seconds, listeners.comparison
        if not inputs.raw:
            report.perceiving = 0.0
        # No time of day and no duration: the folder, too, is the same the next time.
        told = manifest.begin(
            recorded="replay", of=str(path), source="raw" if inputs.raw else "features",
            of_manifest=manifest.read_manifest(path) or None, start=manifest.moment(bag.start_ns),
            end=manifest.moment(bag.end_ns), namespace=space + "/", storage=storage, streams=streams,
            topics=dict(sorted(writer.counts.items())), notices=report.notices,
        )  # fmt: skip
        del told["command"]  # it names the folder
        manifest.write_manifest(out, told)
    report.took = time.perf_counter() - began
    return report


def one_thread() -> None:
    """Once a generator is loaded: the robot's processes have one thread each, and a matrix product may round otherwise
    with two."""
    import sys

    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def _stream_message(listening: Listening, listeners: Listeners, heard: Heard) -> Any:
    from react_ros.package import code_version

    generator = listeners.generator
    return new_message(
        STREAM_TYPE, header=heard.message.header, first_frame=listening.first_frame, generator=generator.info.name,
        parameters=parameters_text(generator), weights=generator.info.weights, seed=listening.seed,
        samples=listening.samples, delay=listening.delay, protocol=listeners.protocol, notice=generator.info.notice,
        code=code_version(),
    )  # fmt: skip


def _reaction_message(reaction: Reaction, source_ns: int, listeners: Listeners) -> Any:
    info, listening = listeners.generator.info, listeners.listening
    lineage = new_message(
        "react_ros/msg/Lineage", frame=reaction.index, source_stamp=WIRE.time(source_ns), generator=info.name,
        seed=listening.seed,
    )  # fmt: skip
    return WIRE.reaction(reaction, lineage, info.delay_frames + listening.delay, info.notice)
