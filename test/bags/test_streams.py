"""Reactions belong to the stream that made them, also where topics are received in another order than published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from recordings import REACTION, STREAM, Message, answered, features, person, write

from react_ros.bags.participants import ListenerTopics
from react_ros.bags.reactions import RecordedReactions, read_reactions
from react_ros.bags.reader import Bag
from react_ros.bags.streams import paired_reactions, recorded_streams
from react_ros.bags.types import new_message, serialise
from react_ros.face import FPS
from react_ros.generators import registry
from react_ros.generators.stream_settings import MAX_DELAY
from react_ros.messages.listener_stream import MAX_DELAY_FRAMES
from react_ros.messages.types import REACTION_TYPE, STREAM_TYPE

ATTENTIVE = registry.create("attentive")
FRAMES = person(60)
BOTH = ListenerTopics((STREAM,), (REACTION,))


def late(messages: Iterable[Message], seconds: float) -> Iterator[Message]:
    """The same messages, with announcements received so much later."""
    for topic, kind, time_ns, data in messages:
        yield topic, kind, time_ns + round(seconds * 1e9) * (topic == STREAM), data


def read(bag: Path, topics: ListenerTopics = BOTH) -> tuple[list[int], RecordedReactions]:
    """(stream of each reaction, reactions as arrays)."""
    with Bag(bag) as opened:
        numbers = [paired.stream for paired in paired_reactions(opened, topics)]
        arrays = read_reactions(opened, topics, 1)
        assert arrays is not None
        return numbers, arrays


@pytest.mark.parametrize("seconds", [-0.2, 0.0, 0.13, 1.9])
def test_an_announcement_may_come_late(seconds: float, tmp_path: Path) -> None:
    said = late(answered(ATTENTIVE, FRAMES, delay=3), seconds)
    numbers, arrays = read(write(tmp_path / "bag", features(FRAMES), said))
    assert numbers == [0] * 60
    assert arrays.delays.tolist() == [3] * 60 and len(arrays.streams) == 1


@pytest.mark.parametrize("seconds", [-0.2, 0.13, 1.1, 1.9])
def test_of_two_streams_each_has_its_own_reactions(seconds: float, tmp_path: Path) -> None:
    one = answered(ATTENTIVE, FRAMES[:35], delay=2)
    two = answered(ATTENTIVE, FRAMES[35:], seed=1, delay=5)
    bag = write(tmp_path / "bag", features(FRAMES), late(one, seconds), late(two, seconds))
    numbers, arrays = read(bag)
    assert numbers == [0] * 35 + [1] * 25
    assert arrays.delays.tolist() == [2] * 35 + [5] * 25
    assert [s.delay for s in arrays.streams] == [2, 5]
    with Bag(bag) as opened:
        streams = recorded_streams(opened, BOTH)
    # A delay of n frames repeats the first reaction n times.
    assert [len(s.answered) for s in streams] == [33, 20] and [s.settings.seed for s in streams] == [0, 1]


def test_without_an_announcement_there_is_no_stream_and_no_delay(tmp_path: Path) -> None:
    said = [m for m in answered(ATTENTIVE, FRAMES) if m[0] == REACTION]
    numbers, arrays = read(write(tmp_path / "bag", said), ListenerTopics((), (REACTION,)))
    assert numbers == [-1] * 60
    assert arrays.delays.tolist() == [0] * 60 and arrays.streams == ()
    assert arrays.frames.tolist() == list(range(60))


def test_reactions_long_before_the_first_announcement_belong_to_no_stream(tmp_path: Path) -> None:
    """The recorder lost an earlier announcement; with the second stream's first reaction it begins."""
    frames = person(150)
    one = [m for m in answered(ATTENTIVE, frames[:100]) if m[0] == REACTION]
    numbers, arrays = read(write(tmp_path / "bag", one, answered(ATTENTIVE, frames[100:], delay=4)))
    assert numbers[:49] == [-1] * 49 and numbers[100:] == [0] * 50
    assert arrays.delays[:49].tolist() == [0] * 49 and arrays.delays[100:].tolist() == [4] * 50


def test_invalid_messages_are_counted_once(tmp_path: Path) -> None:
    at = FRAMES[0].stamp_ns
    invalid = [
        (REACTION, REACTION_TYPE, at, serialise(new_message(REACTION_TYPE))),
        (STREAM, STREAM_TYPE, at, serialise(new_message(STREAM_TYPE, samples=1, seed=-1))),
        (STREAM, STREAM_TYPE, at, serialise(new_message(STREAM_TYPE, samples=1, delay=MAX_DELAY_FRAMES + 1))),
        (STREAM, STREAM_TYPE, at, serialise(new_message(STREAM_TYPE, samples=1, parameters="["))),
    ]
    numbers, arrays = read(write(tmp_path / "bag", invalid, answered(ATTENTIVE, FRAMES, delay=3)))
    assert numbers == [0] * 60 and arrays.delays.tolist() == [3] * 60
    assert (arrays.dropped, arrays.ended) == (4, "")


def test_arrays_hold_the_reactions_in_the_order_received(tmp_path: Path) -> None:
    _, arrays = read(write(tmp_path / "bag", late(answered(ATTENTIVE, FRAMES), 0.13)))
    assert arrays.faces.shape == (60, 1, 83) and arrays.frames.tolist() == list(range(60))


def test_messages_and_generators_have_the_same_longest_delay() -> None:
    assert MAX_DELAY_FRAMES == MAX_DELAY * FPS
