"""When the messages of a recorded sensor were captured, on the recorder's clock, whatever clock their stamps are of.

A message's delay is the time from its stamp to its receipt. Stamps whose delay no sensor has (missing stamps, which are
0, a clock of the driver's own, a clock that was set during the recording, a stamp that never changes) are moved by a
constant, so that the delay goes on as it was; nothing is left out because of its stamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from react_ros.messages.stamps import nanoseconds

LONGEST_DELAY_NS = 900_000_000
"""Longest delay of a stamp that is taken as it is; the frame clock drops what is older than 1 s as late."""
FURTHEST_AHEAD_NS = 500_000_000
"""Furthest that a stamp may lie after its receipt."""
STEP_BACK_NS = 200_000_000
"""A stamp that is earlier by more than the one before is of a clock that was set back."""
LATE_FOR_NS = 1_000_000_000
"""Stamps that are late for longer are of a clock that lags; for a shorter time, of a recorder that stalled."""
FROZEN = 2
"""Repetitions after which a stamp is one that never changes, and not a message that was sent twice."""


@dataclass(slots=True)
class _Source:
    """The stamps of one topic."""

    shift: int = 0
    """ns to add to its stamps."""
    decided: bool = False
    """Whether any stamp was seen."""
    stamp: int = 0
    """The last stamp."""
    repeated: int = 0
    """How often the last stamp was repeated."""
    delay: int = 0
    """Of the last message that was not late, after the shift, ns."""
    late_since: int | None = None
    """When the first of the late messages up to now was received."""
    other_clock: bool = False
    messages: int = 0
    unstamped: int = 0
    steps: int = 0
    furthest: int = 0
    """Largest step, ns."""


class SourceStamps:
    """Moves the stamps of a bag's sensor topics to the recorder's clock. For the messages of a topic in their order."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}

    def captured(self, topic: str, message: Any, time_ns: int) -> int | None:
        """When a message was captured, ns since the epoch; None where it has no stamp, nor had one before.

        time_ns: when it was received.
        """
        source = self._sources.setdefault(topic, _Source())
        source.messages += 1
        stamped = hasattr(message, "header")
        stamp = nanoseconds(message.header.stamp) if stamped else 0
        source.repeated = source.repeated + 1 if source.decided and stamp == source.stamp else 0
        if stamp <= 0 or source.repeated >= FROZEN:
            source.unstamped += stamped
            return time_ns - max(source.delay, 0) if source.decided else None
        delay = time_ns - stamp - source.shift
        if not source.decided:
            source.decided = True
            if not _likely(delay):
                # A driver with a clock of its own, or none: assume that it was received when captured.
                source.shift, source.other_clock = delay, True
        else:
            if delay <= LONGEST_DELAY_NS:
                source.late_since = None
            elif source.late_since is None:
                source.late_since = time_ns
            lags = source.late_since is not None and time_ns - source.late_since > LATE_FOR_NS
            back = stamp < source.stamp - STEP_BACK_NS and delay > source.delay + STEP_BACK_NS
            if back or lags or delay < -FURTHEST_AHEAD_NS:
                _set_clock(source, time_ns - stamp)
        source.stamp = stamp
        delay = time_ns - stamp - source.shift
        if _likely(delay):
            source.delay = delay
        return stamp + source.shift

    def sentences(self) -> list[str]:
        """What was moved, for users, one sentence for each topic and kind."""
        out = []
        for topic, s in self._sources.items():
            if s.unstamped:
                out.append(
                    f"{s.unstamped} of {s.messages} messages of {topic} have no stamp of their own: the time when they "
                    "were received stands for it"
                )
            if s.other_clock:
                out.append(f"the stamps of {topic} are of another clock: they are moved to the recorder's")
            if s.steps:
                times = "once" if s.steps == 1 else f"{s.steps} times"
                out.append(
                    f"the clock of {topic} was set {times}, by up to {s.furthest / 1e9:.1f} s: its stamps are moved "
                    "to the recorder's"
                )
        return out


def _set_clock(source: _Source, delay: int) -> None:
    """Move a topic's stamps by another constant: by none where its clock is right again, else so that the delay goes on
    as it was. delay: of its present message, ns, without any shift."""
    shift = delay - source.delay
    if _likely(delay) and abs(shift) < STEP_BACK_NS:
        shift = 0
    if shift != source.shift:
        source.steps += 1
        source.furthest = max(source.furthest, abs(shift - source.shift))
    source.shift, source.late_since = shift, None


def _likely(delay_ns: int) -> bool:
    """Whether a sensor's message may have this delay."""
    return -FURTHEST_AHEAD_NS <= delay_ns <= LONGEST_DELAY_NS
