"""How many of a stream's messages arrive, and how many there were by their stamps."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.clock.stream_rate import SPAN_NS, StreamRate

PERIOD = 33_333_333
START = 1_800_000_000_000_000_000


def stream(keep, *, seconds: float = 4.0, period: int = PERIOD, jitter: float = 0.0) -> tuple[StreamRate, int]:
    """A rate that has seen the messages k for which keep(k), and the time at the end."""
    rate, noise = StreamRate(), np.random.default_rng(0)
    count = round(seconds * 1e9 / period)
    for k in range(count):
        if keep(k):
            stamp = START + k * period + round(noise.normal(0, jitter * period))
            rate.add(stamp, stamp + 5_000_000)
    return rate, START + count * period


def test_all_messages_arrive():
    rate, now = stream(lambda k: True, jitter=0.03)
    assert rate.rate(now) == pytest.approx(30, abs=1)
    assert rate.sent(now) == pytest.approx(30, abs=1)


@pytest.mark.parametrize("lost", [0.3, 0.5, 0.7])
def test_lost_messages_leave_gaps_in_the_stamps(lost):
    kept = np.random.default_rng(1).random(1000) > lost
    rate, now = stream(lambda k: kept[k], jitter=0.03)
    assert rate.rate(now) == pytest.approx(30 * (1 - lost), abs=5)
    assert rate.sent(now) == pytest.approx(30, abs=4)


def test_a_slow_sender_loses_nothing():
    rate, now = stream(lambda k: True, period=200_000_000)
    assert rate.rate(now) == pytest.approx(5, abs=0.5)
    assert rate.sent(now) == pytest.approx(5, abs=0.5)


def test_irregular_stamps_say_nothing_about_losses():
    times = np.cumsum(np.random.default_rng(2).uniform(5e6, 90e6, 80)).astype(int)
    rate = StreamRate()
    for t in times:
        rate.add(START + int(t), START + int(t))
    assert rate.sent(START + int(times[-1])) is None


def test_stamps_that_stand_still_say_nothing_about_losses():
    rate = StreamRate()
    for k in range(100):
        rate.add(0, START + k * PERIOD)
    assert rate.rate(START + 100 * PERIOD) == pytest.approx(30, abs=1)
    assert rate.sent(START + 100 * PERIOD) is None


def test_nothing_is_said_before_the_window_is_full_nor_after_the_end():
    rate, now = stream(lambda k: True, seconds=1.0)
    assert rate.rate(now) is None
    rate, now = stream(lambda k: True)
    assert rate.rate(now + 2 * SPAN_NS) is None
    rate.add(now, now + 3 * SPAN_NS)
    assert rate.rate(now + 3 * SPAN_NS) is None, "a stream that comes back begins anew"


def test_a_clock_that_steps_back_begins_the_window_anew():
    rate, now = stream(lambda k: True)
    rate.add(0, now - 100 * SPAN_NS)
    assert rate.rate(now - 100 * SPAN_NS) is None
