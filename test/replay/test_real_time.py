"""A recording is played at its own pace: pauses as they are, except silences too long to wait for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from react_ros.replay.pacing import LONGEST_SILENCE_NS, Pacer, describe_skip, play_paced

START = 1_800_000_000_000_000_000
LIMIT_S = LONGEST_SILENCE_NS / 1e9


class Played:
    """Plays messages at given times, s from the beginning of a recording, by a clock that only waiting advances."""

    def __init__(self, *times: float, rate: float = 1.0, publishing: float = 0.0, interrupted_at: float = 1e12) -> None:
        """publishing: how long it takes to publish a message, s. interrupted_at: when the user ends it, s."""
        self.now = 100.0
        self.published: list[float] = []
        """When each message was published, s from the start."""
        self.ticks: list[tuple[float, float]] = []
        """(s from the start, s of the recording)."""
        self.skipped: list[tuple[float, float]] = []

        def publish(topic: str, data: bytes) -> None:
            self.published.append(self.now - 100.0)
            self.now += publishing

        def wait(seconds: float) -> bool:
            self.now += max(seconds, 1e-6) if seconds else 0.0  # real time always advances
            return self.now - 100.0 >= interrupted_at

        messages = [("/t", START + round(t * 1e9), b"") for t in times]
        self.finished = play_paced(
            messages, Pacer(START, rate, lambda: self.now), publish=publish, wait=wait,
            tick=lambda ns: self.ticks.append((self.now - 100.0, (ns - START) / 1e9)),
            skipped=lambda ns, silence: self.skipped.append(((ns - START) / 1e9, silence / 1e9)),
        )  # fmt: skip


def near(*times: float) -> Any:
    return pytest.approx(list(times), abs=1e-3)


def test_messages_at_0_5_and_13_s_are_published_at_0_5_and_13_s() -> None:
    played = Played(0, 5, 13)
    assert played.published == near(0, 5, 13) and not played.skipped and played.finished


@pytest.mark.parametrize("pause", [0.0, 1.0, 5.0, 9.9, LIMIT_S])
def test_pauses_up_to_the_limit_are_played_as_they_are(pause: float) -> None:
    times = [k * pause for k in range(5)]
    played = Played(*times)
    assert played.published == near(*times) and not played.skipped


def test_an_hour_of_silence_is_skipped_and_reported() -> None:
    played = Played(0, 2, 3602, 3604)
    assert played.published == near(0, 2, 2, 4)
    assert played.skipped == [(3602.0, 3600.0)]
    sentence = describe_skip(3_600_000_000_000, 3602.0)
    assert sentence == "a silence of 3600.0 s before 3602.0 s is skipped: it is longer than 10 s"


def test_a_clock_that_steps_back_is_followed_at_once() -> None:
    played = Played(0, 4, 1, 3, -50, -48)
    assert played.published == near(0, 4, 4, 6, 6, 8)
    assert played.skipped == [(1.0, -3.0), (-50.0, -53.0)]
    assert "steps back by 3.0 s at 1.0 s" in describe_skip(-3_000_000_000, 1.0)


def test_the_first_message_is_due_as_long_after_the_beginning_as_it_was() -> None:
    assert Played(3, 4).published == near(3, 4)
    assert Played(60, 61).published == near(0, 1), "with --topic, the first of them may come late"


def test_the_rate_changes_the_pace_and_not_what_is_skipped() -> None:
    assert Played(0, 5, 13, rate=2.0).published == near(0, 2.5, 6.5)
    slow = Played(0, 5, 16, rate=0.5)
    assert slow.published == near(0, 10, 10) and slow.skipped == [(16.0, 11.0)]


def test_slow_publishing_delays_nothing_that_comes_later() -> None:
    assert Played(*(k * 0.04 for k in range(100)), publishing=0.03).published == near(*(k * 0.04 for k in range(100)))


def test_the_simulated_clock_runs_between_messages_and_agrees_with_them() -> None:
    played = Played(0, 1, 1.04, 30, 31)
    for (at, told), (later, after) in pairwise(played.ticks):
        assert later - at < 0.0101 and after >= told
    assert {0.0, 1.0, 1.04, 30.0, 31.0} <= {round(told, 6) for _, told in played.ticks}


def test_an_interruption_ends_a_pause_and_a_burst() -> None:
    played = Played(0, 8, 9, interrupted_at=3.0)
    assert played.published == near(0) and played.now < 103.1 and not played.finished
    burst = Played(*[0.0] * 1000, publishing=0.01, interrupted_at=0.5)
    assert len(burst.published) < 60 and not burst.finished


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-100.0, 4000.0), max_size=12), st.floats(0.25, 20.0))
def test_each_pause_is_played_or_skipped_as_a_whole(pauses: list[float], rate: float) -> None:
    times = [0.0]
    for pause in pauses:
        times.append(round(times[-1] + pause, 3))
    played = Played(*times, rate=rate)
    steps = [b - a for a, b in pairwise(times)]
    kept = [step if 0 <= step <= LIMIT_S else 0.0 for step in steps]
    assert [b - a for a, b in pairwise(played.published)] == near(*(step / rate for step in kept))
    assert len(played.skipped) == sum(not 0 <= step <= LIMIT_S for step in steps)
