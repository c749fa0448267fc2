"""Stamps of this machine's clock are used, others are replaced by the arrival time, and the difference is named."""

from __future__ import annotations

import pytest

from react_ros.messages.stamp_source import StampSource
from react_ros.messages.stamps import StampLimits

NOW = 1_800_000_000_000_000_000
S = 1_000_000_000
LIMITS = StampLimits()


def feed(source: StampSource, ahead: float, seconds: float = 2.0, start: int = NOW, refused: bool = False) -> list[int]:
    """Messages at 25 Hz whose stamps are `ahead` s ahead of their arrival. Returns chosen time - arrival, ns."""
    out = []
    for k in range(round(25 * seconds)):
        now = start + k * S // 25
        try:
            out.append(source.choose(now + round(ahead * 1e9), now, LIMITS) - now)
        except ValueError:
            assert refused
    return out


@pytest.mark.parametrize("ahead", [0.0, -0.03, -0.9, 0.05])
def test_a_stamp_of_this_machines_clock_is_used(ahead):
    source = StampSource("image", "auto")
    assert feed(source, ahead) == [round(ahead * 1e9)] * 50
    assert source.used == "sensor" and source.trouble(NOW + 2 * S) == ""


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (
            3600.0,
            "image stamps are 3600 s ahead of this machine's clock: the arrival time is used instead; synchronise",
        ),
        (-3600.0, "image stamps are 3600 s behind this machine's clock: the arrival time is used instead; synchronise"),
        (-3.0, "image stamps are 3.0 s behind this machine's clock: the arrival time"),
        (0.7, "image stamps are 0.7 s ahead of this machine's clock: the arrival time"),
        (-1_799_990_000.0, "image stamps are 1799990000 s behind this machine's clock"),
    ],
    ids=["an hour ahead", "an hour behind", "older than the frame clock takes", "a little ahead", "monotonic"],
)
def test_with_stamps_of_another_clock_the_arrival_time_is_used_from_the_first_message_on(ahead, said):
    source = StampSource("image", "auto")
    assert feed(source, ahead) == [0] * 50
    assert source.used == "arrival"
    assert source.trouble(NOW + 2 * S).startswith(said)
    assert source.trouble(NOW + 10 * S) == "", "not once the stream has ended"


def test_stamps_a_little_ahead_are_used_and_named():
    source = StampSource("audio", "auto")
    assert feed(source, 0.3) == [300_000_000] * 50
    assert source.trouble(NOW + 2 * S) == (
        "audio stamps are 0.3 s ahead of this machine's clock: synchronise the clocks (chrony, ptp4l)"
    )


@pytest.mark.parametrize("mode", ["auto", "arrival"])
def test_without_a_stamp_the_arrival_time_is_used(mode):
    source = StampSource("image", mode)
    assert source.choose(0, NOW, LIMITS) == NOW
    assert source.choose(0, NOW, LIMITS, length=S // 50) == NOW - S // 50, "sound began its length before it arrived"
    assert source.used == ("arrival: the driver's stamps are 0" if mode == "auto" else "arrival")
    assert source.trouble(NOW) == ""


def test_a_single_zero_stamp_does_not_change_the_choice():
    source = StampSource("image", "auto")
    assert source.choose(0, NOW, LIMITS) == NOW
    assert source.choose(NOW - S // 50, NOW, LIMITS) == NOW - S // 50


def test_a_single_odd_stamp_is_refused_and_a_lasting_difference_is_followed_both_ways():
    source = StampSource("image", "auto")
    feed(source, -0.02)
    with pytest.raises(ValueError, match=r"3600.0 s in the future"):
        source.choose(NOW + 3602 * S, NOW + 2 * S, LIMITS)
    assert feed(source, -0.02, start=NOW + 2 * S) == [-20_000_000] * 50
    stepped = feed(source, 3600.0, start=NOW + 4 * S, refused=True)
    assert set(stepped) == {0} and len(stepped) in range(20, 30), "after a second"
    back = feed(source, -0.02, start=NOW + 6 * S)
    assert back[:20] == [0] * 20 and back[-20:] == [-20_000_000] * 20


def test_sensor_takes_stamps_as_they_are_and_names_what_is_dropped():
    source = StampSource("image", "sensor")
    assert feed(source, -0.03, 0.2) == [-30_000_000] * 5
    with pytest.raises(ValueError, match="its stamp is 0: the driver sets none"):
        source.choose(0, NOW, LIMITS)
    assert feed(source, 3600.0, refused=True) == []
    assert source.trouble(NOW + 2 * S) == (
        "image stamps are 3600 s ahead of this machine's clock: the messages are dropped; synchronise the clocks "
        "(chrony, ptp4l), or set the parameter stamps to auto"
    )


def test_arrival_never_uses_a_stamp():
    source = StampSource("image", "arrival")
    assert feed(source, -0.03) == feed(source, 3600.0) == [0] * 50
    assert source.trouble(NOW + 2 * S) == ""


def test_before_simulated_time_begins_nothing_is_accepted():
    with pytest.raises(ValueError, match="/clock"):
        StampSource("image", "auto").choose(NOW, 0, LIMITS)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="stamps must be one of auto, sensor, arrival, not 'device'"):
        StampSource("image", "device")
