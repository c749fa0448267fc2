"""Real-time pacing of recorded messages: when each is due, and what is skipped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

LONGEST_SILENCE_NS = 10_000_000_000
"""Longest silence of a recording that is played or perceived as it is; a longer one (the recorder's clock was set, or
recording was suspended) is skipped."""
CLOCK_PERIOD_S = 0.01
"""Period at which the simulated clock is advanced between two messages, s of real time."""


class Pacer:
    """Maps a recording's times to real time.

    Times within a stretch are due at their distance from its beginning, so that delays in publishing do not add up. A
    new stretch begins, at once, after a silence longer than LONGEST_SILENCE_NS and where the recording steps back.
    """

    def __init__(self, start_ns: int, rate: float = 1.0, now: Callable[[], float] = time.monotonic) -> None:
        """start_ns: the recording's time that is due now. rate: times real time. now: real time, s."""
        self._rate, self._now = rate, now
        self._due_ns = start_ns
        self._begin(start_ns)

    def _begin(self, time_ns: int) -> None:
        self._start_ns, self._start_s = time_ns, self._now()

    def advance(self, time_ns: int) -> int:
        """Make `time_ns` the next time that is due.

        Returns the ns of the recording that are skipped before it: 0 if none, negative where its times step back.
        """
        silence = time_ns - self._due_ns
        self._due_ns = time_ns
        if 0 <= silence <= LONGEST_SILENCE_NS:
            return 0
        self._begin(time_ns)
        return silence

    @property
    def seconds_left(self) -> float:
        """Real time until the next time is due, s; 0 or less: it is due."""
        return (self._due_ns - self._start_ns) / 1e9 / self._rate - (self._now() - self._start_s)

    @property
    def recording_ns(self) -> int:
        """The present time of the recording, ns since the epoch."""
        return self._start_ns + round((self._now() - self._start_s) * self._rate * 1e9)


def play_paced(
    messages: Iterable[tuple[str, int, bytes]],
    pacer: Pacer,
    *,
    publish: Callable[[str, bytes], None],
    tick: Callable[[int], None],
    wait: Callable[[float], bool],
    skipped: Callable[[int, int], None] = lambda time_ns, silence_ns: None,
) -> bool:
    """Publish recorded messages, (topic, time in ns, CDR bytes), each at its time. False if it was interrupted.

    tick: called with the recording's time, ns, at least every CLOCK_PERIOD_S and before each message. wait: called with
    seconds; returns whether to stop. skipped: called with the time of a message and the ns that are skipped before it.
    """
    for topic, time_ns, data in messages:
        if silence := pacer.advance(time_ns):
            skipped(time_ns, silence)
        while (left := pacer.seconds_left) > 0:
            tick(pacer.recording_ns)
            if wait(min(left, CLOCK_PERIOD_S)):
                return False
        if wait(0.0):
            return False
        tick(time_ns)
        publish(topic, data)
    return True


def describe_skip(silence_ns: int, at_s: float) -> str:
    """One sentence on a skip reported by `play_paced`. at_s: where in the recording, s from its start."""
    if silence_ns < 0:
        return f"the recording's clock steps back by {-silence_ns / 1e9:.1f} s at {at_s:.1f} s: it goes on at once"
    limit = LONGEST_SILENCE_NS / 1e9
    return f"a silence of {silence_ns / 1e9:.1f} s before {at_s:.1f} s is skipped: it is longer than {limit:g} s"
