"""Listens to a recorded session again: without ROS, faster than real time, the same bytes every time.

The perception and the generator are the robot's own code. Time is the bag's: nothing here reads a clock, but to say at
the end what took how long.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from react_ros.clock import ClockConfig, ClockFrame, FrameClock
from react_ros.face import FRAME_NS, Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, Stream
from react_ros.perception.pipeline import Perception, PerceptionConfig
from react_ros.session import manifest
from react_ros.session.bag import WIRE, Bag, BagError, BagWriter, Recorded, Storage, new_message, serialise, typestore
from react_ros.session.listening import Delay, parameters_from, parameters_text
from react_ros.session.messages import StampLimits, frame_from_message, nanoseconds, reaction_from_message
from react_ros.session.senses import AUDIO_INFO, AUDIO_TYPES, IMAGE_TYPES, OUR_AUDIO, Perceived, Senses

FEATURES_TYPE = "react_ros/msg/SpeakerFeatures"
REACTION_TYPE = "react_ros/msg/Reaction"
STREAM_TYPE = "react_ros/msg/ListenerStream"

TICK_NS = 10_000_000
"""How often the frame clock is told the time, as the live node does."""
LONGEST_SILENCE_NS = 10_000_000_000
"""Where nothing comes for longer, the time between is skipped: the clock of the recorder jumped, or it was paused."""

Progress = Callable[[int, int], None]
Watch = Callable[[ClockFrame], None]


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
    image = image or _only(bag, cameras, "cameras", "--image")
    audio = audio or _only(bag, topics_of(bag, *AUDIO_TYPES), "microphones", "--audio")
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
        out = [f"{n} messages were dropped: {reason}" for reason, n in self.dropped.most_common(5)]
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
    lag, stale = (round(said.get(name, default) * 1e9) for name, default in (("sound_lag", 0.04), ("stale_after", 0.5)))
    config = PerceptionConfig(
        max_faces=said.get("max_faces", 4), landmarks=said.get("landmarks", False), deterministic=True,
        wav2vec2=Path(said["wav2vec2"]) if said.get("wav2vec2") else None,
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


def perception_parameters(bag: Bag) -> dict[str, Any]:
    """The parameters of the recorded robot's perception, as far as the manifest has them."""
    for node, values in (manifest.read_manifest(bag.path).get("parameters") or {}).items():
        if node.endswith("/perception") and isinstance(values, dict):
            return values
    return {}


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

    def of_message(self, m: Any) -> Listening:
        """As a ListenerStream tells it. Raises ValueError where it cannot be so."""
        return replace(
            self, generator=m.generator, parameters=parameters_from(m.parameters), seed=int(m.seed),
            samples=int(m.samples), delay=int(m.delay), first_frame=int(m.first_frame), weights=m.weights,
        )  # fmt: skip


@dataclass(slots=True)
class RecordedStream:
    """A listener's stream as it was recorded: all of it that a repetition needs, and no reaction."""

    listening: Listening
    answered: set[int] = field(default_factory=set)
    """The numbers of the frames that it answered; others never reached it."""
    effects: dict[int, int] = field(default_factory=dict)
    """Of each plan the frame at which it took effect, as `Stream.follow` takes it."""


def listener_topics(bag: Bag, near: str = "") -> list[str]:
    """The topics of one listener, [streams, reactions]; empty where the bag has none. near: a topic of its robot.

    Raises BagError where there are several.
    """
    space = near.rsplit("/", 2)[0] if near.count("/") > 1 else ""
    told, said = ([t for t in topics_of(bag, kind) if t.startswith(space)] for kind in (STREAM_TYPE, REACTION_TYPE))
    if max(len(told), len(said)) > 1:
        raise BagError(f"bag {bag.path} has several listeners: {_list(told + said)}")
    return told + said if told else []


def recorded_reactions(bag: Bag, topics: list[str]) -> Iterator[tuple[int, Listening | Reaction]]:
    """(number of the stream, how it began or what it answered), in order; ends at a damaged place.

    What came before any stream was announced belongs to none, and is left out.
    """
    number = -1
    with suppress(BagError):
        for m in bag.messages(topics):
            with suppress(ValueError, AttributeError):  # of another definition, or damaged: as if it were not there
                if bag.topics[m.topic].kind == STREAM_TYPE:
                    listening = Listening().of_message(m.message)
                    number += 1
                    yield number, listening
                elif number >= 0:
                    yield number, reaction_from_message(m.message)


def recorded_streams(bag: Bag, topics: list[str]) -> list[RecordedStream]:
    """The streams of one listener, in order."""
    streams: list[RecordedStream] = []
    for number, told in recorded_reactions(bag, topics):
        if isinstance(told, Listening):
            streams.append(RecordedStream(told))
        else:
            streams[number].answered.add(told.index)
            streams[number].effects.setdefault(told.plan, told.index)
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
        if self.device:
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
        topics = listener_topics(bag, inputs.features)
        recorded = recorded_streams(bag, topics)
        self.repeats = bool(recorded) and wanted.as_recorded and not inputs.raw
        """Whether the recorded reactions are to come again."""
        self.comparison = Comparison()
        if recorded and not self.repeats:
            # Who is asked something else is asked once, from the first frame on.
            recorded = [replace(recorded[0], answered=set(), effects={})] if wanted.generator else recorded
        self._streams = recorded or [RecordedStream(Listening())]
        self._wanted = wanted
        self._at = -1
        self._topics = topics
        self._theirs = recorded_reactions(bag, topics) if self.repeats else iter(())
        self._next: tuple[int, Reaction] | None = None
        self._loaded: dict[str, Generator] = {}
        self._delay: Delay[Reaction] = Delay(0)
        self.listening = wanted.of(self._streams[0].listening)
        self.generator = self._load(self.listening)  # at once: what cannot be is said before anything is written

    def step(self, frame: SpeakerFrame) -> tuple[Listening | None, Reaction | None]:
        """(who listens from this frame on, where that changed; the reaction, where the frame was heard)."""
        began = None
        later = self._streams[self._at + 1 :]
        if later and (self._at < 0 or frame.index >= later[0].listening.first_frame > self._first):
            if self._at < 0 and self.repeats and frame.index < min(later[0].answered, default=0):
                return None, None
            began = self._begin(frame)
        elif self.repeats and self._streams[self._at].answered:
            answered = self._streams[self._at].answered
            if frame.index not in answered and frame.index < self._last:
                return None, None
        reaction = self._stream.step(frame)
        if self.repeats:
            self._compare(reaction)
        return began, self._delay.step(reaction)

    @property
    def protocol(self) -> str:
        """How the present stream's reactions come about."""
        return self._stream.protocol

    def _begin(self, frame: SpeakerFrame) -> Listening:
        self._at += 1
        recorded = self._streams[self._at]
        self.listening = replace(self._wanted.of(recorded.listening), first_frame=frame.index)
        self.generator = self._load(self.listening)
        self._stream: Stream = self.generator.start(samples=self.listening.samples, seed=self.listening.seed)
        if self.repeats:
            self._stream.follow(recorded.effects)
            late = frame.index - recorded.listening.first_frame
            if late:
                self.notices.append(
                    f"the recording begins {late} frames ({late / 25:.1f} s) after its listener's stream: what was "
                    "heard before is not known, and the reactions are those of a stream that begins here"
                )
        self._first = frame.index
        self._last = max(recorded.answered, default=-1)
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

    def _compare(self, ours: Reaction) -> None:
        while self._next is None or self._next[0] < self._at or self._before(self._next[1], ours):
            told = next(self._theirs, None)
            if told is None:
                self._theirs = iter(())
                return
            number, reaction = told
            if isinstance(reaction, Reaction):
                self._next = number, reaction
        if self._next[0] == self._at and self._next[1].index == ours.index:
            self.comparison.take(ours, self._next[1])

    def _before(self, theirs: Reaction, ours: Reaction) -> bool:
        assert self._next is not None
        return self._next[0] == self._at and theirs.index < ours.index


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
        writer = BagWriter(out, storage)
        space = (inputs.features or inputs.image or inputs.audio).rsplit("/", 2)[0]
        names = [f"{space}/{end}" for end in ("speaker/features", "listener/stream", "listener/reaction")]
        streams: dict[str, Any] = {}
        try:
            frames = heard_frames(bag, inputs, losses, progress)
            while True:
                before = time.perf_counter()
                heard = next(frames, None)
                report.perceiving += time.perf_counter() - before
                if heard is None:
                    break
                report.frames += 1
                writer.write(names[0], FEATURES_TYPE, heard.time_ns, heard.data or serialise(heard.message))
                listening, reaction = listeners.step(heard.frame)
                if listening is not None:
                    message = _stream_message(listening, listeners, heard)
                    writer.write(names[1], STREAM_TYPE, heard.time_ns, serialise(message))
                    streams[str(listening.first_frame)] = _told(message)
                if reaction is not None:
                    message = _reaction_message(reaction, heard, listeners)
                    writer.write(names[2], REACTION_TYPE, heard.time_ns, serialise(message))
                    report.reactions += 1
        finally:
            with suppress(BagError):
                writer.close()
        report.notices = [*bag.notices, *listeners.notices, *losses.sentences()]
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


def _told(m: Any) -> dict[str, Any]:
    return {name: getattr(m, name) for name in ("generator", "parameters", "weights", "seed", "samples", "delay")}


def _reaction_message(reaction: Reaction, heard: Heard, listeners: Listeners) -> Any:
    info, listening = listeners.generator.info, listeners.listening
    own = heard.message.lineage
    source = own.source_stamp if reaction.index == heard.frame.index else WIRE.time(reaction.stamp_ns)
    lineage = new_message(
        "react_ros/msg/Lineage", frame=reaction.index, source_stamp=source, generator=info.name, seed=listening.seed
    )
    return WIRE.reaction(reaction, lineage, info.delay_frames + listening.delay, info.notice)
