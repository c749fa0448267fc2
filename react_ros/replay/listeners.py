"""Answers a bag's frames: with the recorded listener streams, or with another listener."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from react_ros.bags.inputs import Inputs
from react_ros.bags.reader import Bag
from react_ros.bags.streams import (
    ListenerSettings,
    RecordedStream,
    listener_topics,
    recorded_reactions,
    recorded_streams,
)
from react_ros.face import FPS, FRAME_NS, Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, Stream
from react_ros.generators.stream_settings import Delay
from react_ros.messages.features import MAX_SAMPLES
from react_ros.replay.speaker_frames import BagFrame


@dataclass(frozen=True, slots=True)
class ReplayRequest:
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

    def of(self, recorded: ListenerSettings) -> ListenerSettings:
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
        equal = ours.live == theirs.live and ours.action_chunk == theirs.action_chunk
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

    def __init__(self, bag: Bag, wanted: ReplayRequest, inputs: Inputs) -> None:
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
        self._streams = recorded or [RecordedStream(ListenerSettings())]
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

    def step(self, heard: BagFrame) -> tuple[ListenerSettings | None, tuple[Reaction, int] | None]:
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

    def _listener_of(self, heard: BagFrame) -> int | None:
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
    def schedule(self) -> str:
        """How the present stream's reactions come about."""
        return self._stream.schedule

    def _begin(self, number: int, heard: BagFrame) -> ListenerSettings:
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

    def _load(self, listening: ListenerSettings) -> Generator:
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
