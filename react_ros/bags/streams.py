"""Listener streams as recorded: who listened from which frame on, and which reactions belong to which stream."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from react_ros.bags.errors import BagError
from react_ros.bags.inputs import listed, namespace_of, topics_of
from react_ros.bags.reader import Bag
from react_ros.face import FPS, Reaction
from react_ros.generators import registry
from react_ros.generators.stream_settings import MAX_DELAY, parameters_from
from react_ros.messages.features import MAX_SAMPLES, reaction_from_message
from react_ros.messages.stamps import nanoseconds
from react_ros.messages.types import REACTION_TYPE, STREAM_TYPE
from react_ros.replay.speaker_frames import BagFrame

ORDER_NS = 2_000_000_000
"""How far apart a recorder may get what was published on two topics at once: so much is kept for who comes later."""


Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class ListenerSettings:
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

    def of_message(self, m: Any) -> ListenerSettings:
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

    listening: ListenerSettings
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

    def begins(self, heard: BagFrame) -> bool:
        """Whether the frame is its first one."""
        return heard.frame.index == self.listening.first_frame and heard.frame.stamp_ns == self.listening.stamp_ns


def listener_topics(bag: Bag, near: str = "") -> list[str]:
    """The topics of one listener, [streams, reactions]; empty where the bag has none. near: a topic of its robot.

    Raises BagError where there are several.
    """
    told, said = topics_of(bag, STREAM_TYPE), topics_of(bag, REACTION_TYPE)
    space = namespace_of(near) + "/"
    if any(t.startswith(space) for t in told):
        told, said = ([t for t in topics if t.startswith(space)] for topics in (told, said))
    if max(len(told), len(said)) > 1:
        raise BagError(f"bag {bag.path} has several listeners: {listed(told + said)}")
    return told + said if told else []


def recorded_reactions(bag: Bag, topics: list[str]) -> Iterator[tuple[int, ListenerSettings | Reaction]]:
    """(number of the stream, how it began or what it answered), in order; ends at a damaged place.

    Two topics have no common order: a stream begins with the reaction to its first frame, which the recorder may have
    got before the stream was announced. What came before any stream belongs to none, and is left out.
    """
    streams = [t for t in topics if bag.topics[t].kind == STREAM_TYPE]
    announced = list(_understood(bag, streams, lambda m: ListenerSettings().of_message(m)))
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
        if isinstance(told, ListenerSettings):
            streams.append(RecordedStream(told))
            continue
        stream = streams[number]
        if stream.answered[-1:] != array("q", [told.stamp_ns]):  # a delayed stream's first reaction stands still
            stream.answered.append(told.stamp_ns)
        stream.effects.setdefault(told.action_chunk, told.index)
    return streams
