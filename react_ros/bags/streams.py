"""Listener streams as they were recorded, and which of them each recorded reaction belongs to."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from react_ros.bags.errors import BagError
from react_ros.bags.participants import ListenerTopics
from react_ros.bags.reader import Bag
from react_ros.face import FRAME_NS, Reaction, SpeakerFrame
from react_ros.generators.stream_settings import GAP_NS
from react_ros.messages.features import reaction_from_message
from react_ros.messages.listener_stream import ListenerSettings, settings_from_message

REORDERING_NS = 2_000_000_000
"""Longest time by which a recorder may receive messages of two topics in another order than they were published."""

Content = TypeVar("Content")


@dataclass(slots=True)
class RecordedStream:
    """A recorded listener stream: what is needed to repeat it, without its reactions."""

    settings: ListenerSettings
    effects: dict[int, int] = field(default_factory=dict)
    """Number of an action chunk to the index of the frame at which it took effect, as `Stream.follow` takes it."""
    answered: array[int] = field(default_factory=lambda: array("q"))
    """Source stamps of the frames that the listener answered, ns, in the order of its answers; other frames never
    reached it. Stamps, because frame indices start again at 0 when perception restarts."""
    _sorted: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def position(self, source_ns: int) -> int:
        """Index into `answered` of the frame with this source stamp; -1 if it was not answered."""
        if self._sorted is None:
            stamps = np.array(self.answered, np.int64)
            order = np.argsort(stamps, kind="stable")
            self._sorted = stamps[order], order
        stamps, order = self._sorted
        at = int(np.searchsorted(stamps, source_ns))
        return int(order[at]) if at < len(stamps) and stamps[at] == source_ns else -1

    def dropped_at_gap(self, position: int, source_ns: int, since: int) -> bool:
        """Whether a frame was heard, although it has no answer, because a gap followed (`stream_settings.Delay`).

        position: index into `answered` of the last answer before it. source_ns: the frame's source stamp. since: number
        of frames without an answer since that answer.
        """
        if not 0 <= position < len(self.answered) - 1:
            return False
        before, after = self.answered[position], self.answered[position + 1]
        gap = after - before > GAP_NS + self.settings.delay * FRAME_NS
        return gap and before < source_ns < after and since < self.settings.delay

    def begins_with(self, frame: SpeakerFrame) -> bool:
        """Whether this is the first frame that the stream answers."""
        return frame.index == self.settings.first_frame and frame.stamp_ns == self.settings.stamp_ns


@dataclass(slots=True)
class UnreadMessages:
    """What of a listener's topics could not be read."""

    invalid: int = 0
    """Messages that failed validation."""
    ended: str = ""
    """Why reading ended before the end of the bag; empty if it did not."""


@dataclass(frozen=True, slots=True)
class PairedReaction:
    """A recorded reaction and the stream that it belongs to."""

    stream: int
    """Index of the stream, in the order of announcement; -1: received before any stream began."""
    reaction: Reaction
    notice: str
    """The message's caveat about the generator for viewers."""


def announced_streams(bag: Bag, topics: ListenerTopics, unread: UnreadMessages | None = None) -> list[ListenerSettings]:
    """The streams announced on a listener's topics, in order."""
    return [settings for _, settings in _announcements(bag, topics, unread or UnreadMessages())]


def paired_reactions(
    bag: Bag, topics: ListenerTopics, unread: UnreadMessages | None = None
) -> Iterator[PairedReaction]:
    """The reactions of one listener in the order they were received, each with its stream; up to a damaged place.

    Announcements and reactions are different topics, which DDS may deliver in another order than they were published.
    A stream therefore begins not where its announcement was received, but with the reaction to its first frame, within
    REORDERING_NS. Where that reaction was not recorded (the recorder started later, or it was lost), the first stream
    begins REORDERING_NS before its announcement and any other one REORDERING_NS after it.
    """
    streams = _announcements(bag, topics, UnreadMessages())
    number = -1
    for time_ns, (reaction, notice) in _contents(bag, topics.reactions, _reaction, unread or UnreadMessages()):
        for n in range(number + 1, len(streams)):
            announced_ns, settings = streams[n]
            apart = abs(reaction.stamp_ns - settings.stamp_ns)
            answers_first = reaction.index == settings.first_frame and apart < REORDERING_NS
            overdue = time_ns > announced_ns + REORDERING_NS
            may_precede = number < 0 and n == 0 and time_ns > announced_ns - REORDERING_NS
            if answers_first or overdue or may_precede:
                number = n
        yield PairedReaction(number, reaction, notice)


def recorded_streams(bag: Bag, topics: ListenerTopics) -> list[RecordedStream]:
    """The recorded streams of one listener, in order."""
    streams = [RecordedStream(settings) for settings in announced_streams(bag, topics)]
    for paired in paired_reactions(bag, topics):
        if paired.stream < 0:
            continue
        stream, reaction = streams[paired.stream], paired.reaction
        if stream.answered[-1:] != array("q", [reaction.stamp_ns]):  # a deliberate delay repeats the first reaction
            stream.answered.append(reaction.stamp_ns)
        stream.effects.setdefault(reaction.action_chunk, reaction.index)
    return streams


def _announcements(bag: Bag, topics: ListenerTopics, unread: UnreadMessages) -> list[tuple[int, ListenerSettings]]:
    return list(_contents(bag, topics.streams, settings_from_message, unread))


def _reaction(message: Any) -> tuple[Reaction, str]:
    return reaction_from_message(message), getattr(message, "notice", "")


def _contents(
    bag: Bag, topics: tuple[str, ...], parse: Callable[[Any], Content], unread: UnreadMessages
) -> Iterator[tuple[int, Content]]:
    """(time of receipt in ns, parsed message) of these topics, without messages that fail validation."""
    try:
        for m in bag.messages(topics):
            try:
                content = parse(m.message)
            except (ValueError, AttributeError):  # AttributeError: of another definition
                unread.invalid += 1
                continue
            yield m.time_ns, content
    except BagError as error:
        unread.ended = str(error)
