"""Reactions to a bag's frames: of the recorded listener streams, or of another listener."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from react_ros.bags.errors import BagError
from react_ros.bags.participants import find_robot_listener
from react_ros.bags.person_topics import PersonTopics, listed
from react_ros.bags.reader import Bag
from react_ros.bags.streams import PairedReaction, RecordedStream, paired_reactions, recorded_streams
from react_ros.face import FPS, FRAME_NS, Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, Stream
from react_ros.generators.liveliness import split_liveliness, with_liveliness
from react_ros.generators.stream_settings import Delay
from react_ros.messages.features import MAX_SAMPLES
from react_ros.messages.listener_stream import ListenerSettings
from react_ros.nn.weights import weights_with_digest
from react_ros.package import code_version
from react_ros.replay.speaker_frames import BagFrame


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The settings with which a bag is replayed. None: as recorded."""

    generator: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Override the recorded ones, which are kept if the generator is the recorded one."""
    seed: int | None = None
    samples: int | None = None
    delay: int | None = None
    """Deliberate delay, frames."""
    device: str = ""
    """For the network: auto, cpu or cuda; empty: as recorded."""

    def __post_init__(self) -> None:
        """Raises ValueError for a number out of range."""
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")
        if self.samples is not None and not 1 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"samples must be between 1 and {MAX_SAMPLES}, not {self.samples}")

    @property
    def as_recorded(self) -> bool:
        """Whether nothing is changed, the device aside."""
        return not self.parameters and self.generator is self.seed is self.samples is self.delay is None

    def apply(self, recorded: ListenerSettings) -> ListenerSettings:
        """The recorded settings with the requested changes."""
        out = recorded
        if self.generator is not None and self.generator != recorded.generator:
            out = replace(out, generator=self.generator, parameters={}, weights="")
        changes = {"seed": self.seed, "samples": self.samples, "delay": self.delay}
        changes = {name: value for name, value in changes.items() if value is not None}
        parameters = {**out.parameters, **self.parameters}
        if self.device and "device" in registry.parameters(out.generator):
            parameters["device"] = self.device
        return replace(out, parameters=parameters, **changes)


@dataclass(slots=True)
class Comparison:
    """How the replayed reactions compare with the recorded ones."""

    compared: int = 0
    """Number of pairs."""
    same: int = 0
    """Number of pairs that are equal to the bit."""
    difference: float = 0.0
    """Largest absolute difference of any number."""

    def add(self, replayed: Reaction, recorded: Reaction) -> None:
        """Compare one pair."""
        self.compared += 1
        worst = 0.0
        equal = replayed.live == recorded.live and replayed.action_chunk == recorded.action_chunk
        for name in ("blendshapes", "rotation", "translation", "attributes"):
            a, b = getattr(replayed, name), getattr(recorded, name)
            if a.shape != b.shape:
                worst, equal = float("inf"), False
            elif not np.array_equal(a, b):
                worst, equal = max(worst, float(np.abs(a - b).max())), False
        self.same += equal
        self.difference = max(self.difference, worst)


class ReplayListeners:
    """Answers the frames of a bag with its recorded streams in turn, or with one listener instead of them."""

    def __init__(self, bag: Bag, request: ReplayRequest, speaker: PersonTopics) -> None:
        """Raises ValueError or BagError where a listener cannot be made."""
        self.notices: list[str] = []
        topics = find_robot_listener(bag, speaker.first)
        if topics.ambiguous:
            raise BagError(f"bag {bag.path} has several listeners: {listed([*topics.streams, *topics.reactions])}")
        recorded = recorded_streams(bag, topics) if topics.streams else []
        self._repeats = bool(recorded) and request.as_recorded and not speaker.raw
        """Whether the recorded reactions are to be reproduced."""
        self.comparison = Comparison()
        if recorded and request.generator and not self._repeats:
            recorded = recorded[:1]  # one other generator answers everything, started as the first stream was
        self._streams = recorded or [RecordedStream(ListenerSettings(registry.DEFAULT))]
        self._request = request
        self._current = -1
        """Index of the stream that answers at present; -1: none yet."""
        self._recorded: Iterator[PairedReaction] = paired_reactions(bag, topics) if self._repeats else iter(())
        self._newest: PairedReaction | None = None
        """The recorded reaction that was read last."""
        self._generators: dict[str, Generator] = {}
        self._delay: Delay[tuple[Reaction, int]] = Delay(0)
        self._last: SpeakerFrame | None = None
        """The frame that the present stream answered last, and its position in the recorded stream."""
        self._position = -1
        self._unanswered = 0
        """Frames without a recorded answer since then."""
        self._missing = 0
        self.settings = request.apply(self._streams[0].settings)
        self.generator = self._load(self.settings)  # at once, so that nothing is written where it cannot be loaded

    def step(self, bag_frame: BagFrame) -> tuple[ListenerSettings | None, tuple[Reaction, int] | None]:
        """Answer the next frame.

        Returns (settings of the stream that begins with this frame, if one does; (reaction, source stamp of the frame
        that it answers, ns), unless the frame never reached the recorded listener).
        """
        number = self._stream_for(bag_frame)
        if number is None:
            return None, None
        begun = self._begin(number, bag_frame) if number != self._current else None
        position = self._streams[number].position(bag_frame.source_ns) if self._repeats else -1
        if position >= 0:
            self._fill_in(position - self._position - 1)
            self._position, self._unanswered = position, 0
        else:
            self._unanswered += 1
        self._last = bag_frame.frame
        reaction = self._stream.step(bag_frame.frame)
        if position >= 0:
            self._compare(reaction, position)
        return begun, self._delay.step((reaction, bag_frame.source_ns), bag_frame.frame.stamp_ns)

    def _stream_for(self, bag_frame: BagFrame) -> int | None:
        """Index of the stream that answers a frame; None if the frame never reached it."""
        streams, current = self._streams, max(self._current, 0)
        if not self._repeats:
            begun = [
                n for n in range(current, len(streams)) if streams[n].settings.stamp_ns <= bag_frame.frame.stamp_ns
            ]
            return max(begun, default=current)
        for n in range(current, len(streams)):
            answered = streams[n].position(bag_frame.source_ns) >= 0
            if answered or (n > self._current and streams[n].begins_with(bag_frame.frame)):
                return n
        # A stream with a deliberate delay received its last frames, and those before a gap, too, though reactions to
        # them never appeared.
        at_end = self._position == len(streams[current].answered) - 1
        heard = at_end or streams[current].dropped_at_gap(self._position, bag_frame.source_ns, self._unanswered)
        return self._current if self._current >= 0 and heard else None

    def _fill_in(self, count: int) -> None:
        """Answer `count` frames that reached the recorded listener but are not recorded, as repetitions of the last."""
        last = self._last
        if last is None:
            return
        for k in range(1, count + 1):
            frame = replace(last, index=last.index + k, stamp_ns=last.stamp_ns + k * FRAME_NS)
            self._delay.step((self._stream.step(frame), frame.stamp_ns), frame.stamp_ns)
            self._missing += 1

    @property
    def schedule(self) -> str:
        """The present stream's schedule, as ListenerStream has it."""
        return self._stream.schedule

    def _begin(self, number: int, bag_frame: BagFrame) -> ListenerSettings:
        frame, self._current, self._last, self._position = bag_frame.frame, number, None, -1
        recorded = self._streams[number]
        settings = self._request.apply(recorded.settings)
        self.settings = replace(settings, first_frame=frame.index, stamp_ns=frame.stamp_ns)
        self.generator = self._load(self.settings)
        self._stream: Stream = self.generator.start(samples=self.settings.samples, seed=self.settings.seed)
        if self._repeats:
            late = frame.index - recorded.settings.first_frame
            if late:  # its action chunks began at other frames than these: they take effect on schedule instead
                self.notices.append(
                    f"the recording begins {late} frames ({late / FPS:.1f} s) after its listener's stream: what was "
                    "heard before is not known, and the reactions are those of a stream that begins here"
                )
            else:
                self._stream.follow(recorded.effects)
        self._delay = Delay(self.settings.delay)
        return self.settings

    def _load(self, settings: ListenerSettings) -> Generator:
        parameters, liveliness = split_liveliness(settings.parameters)
        key = repr((settings.generator, sorted(parameters.items(), key=repr)))
        if key not in self._generators:
            generator = registry.create(settings.generator, **parameters)
            found = generator.info.weights
            chosen = self._request.generator is not None or "weights" in self._request.parameters
            name = "" if chosen else weights_with_digest(settings.generator, settings.weights)
            if found != settings.weights and name:  # the recorded name is an alias that has moved to newer weights
                generator = registry.create(settings.generator, **{**parameters, "weights": name})
                found = generator.info.weights
            self._generators[key] = generator
            if settings.weights and found != settings.weights:
                self.notices.append(
                    f"{settings.generator} was recorded with weights {settings.weights[:12]}, and is replayed with "
                    f"{found[:12] or 'none'}: its reactions may differ"
                )
        return with_liveliness(self._generators[key], liveliness)

    def _compare(self, replayed: Reaction, position: int) -> None:
        while (place := self._place_of_newest()) < (self._current, position):
            paired = next(self._recorded, None)
            if paired is None:
                return
            if paired.stream >= 0:
                self._newest = paired
        if place == (self._current, position):
            assert self._newest is not None
            self.comparison.add(replayed, self._newest.reaction)

    def _place_of_newest(self) -> tuple[int, int]:
        """(stream, position in it) of the recorded reaction that was read last."""
        if self._newest is None:
            return -1, -1
        number, reaction = self._newest.stream, self._newest.reaction
        return number, self._streams[number].position(reaction.stamp_ns)

    def sentences(self) -> list[str]:
        """For users, one sentence each."""
        count, changed = self._missing, []
        if self.comparison.same < self.comparison.compared:
            then, now = {s.settings.code for s in self._streams}, code_version()
            if then != {now}:
                former = " and ".join(sorted(code or "an unknown version" for code in then))
                changed = [f"the reactions were recorded by react_ros {former}, and this is {now}: listeners changed"]
        missing = f"{count} frames that were answered are not in the recording: each is replaced by the one before"
        return self.notices + changed + ([missing] if count else [])
