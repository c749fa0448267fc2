"""Which time a sensor's message is taken to be of: that of its stamp, or that of its arrival."""

from __future__ import annotations

from collections import deque
from statistics import median

from react_ros.messages.stamps import StampLimits

STAMPS = ("auto", "sensor", "arrival")
"""auto: the stamp, unless it is 0 or of another clock; sensor: always the stamp; arrival: never."""
OLDEST_S = 1.0
"""The frame clock drops what is older: older stamps are of another clock, or of a source that lags so much."""
PATIENCE_S, PATIENCE_COUNT = 1.0, 5
"""With `auto`, for how many s and messages stamps must be of another clock, or of this one again, until the choice
changes."""
AHEAD_S = 0.1
"""A message cannot be captured after it arrives: from so much on the clocks differ noticeably."""
_FORGET_S = 3.0
_WINDOW = 25


class StampSource:
    """Chooses the times of one stream's messages.

    The first message decides; then, with `auto`, only a second of messages that say otherwise changes the choice, so
    that a single odd stamp is refused and not obeyed. All times are ns on this machine's clock; results depend on the
    arguments only.
    """

    def __init__(self, what: str, mode: str = "sensor") -> None:
        """what: the stream in a sentence, e.g. "image". mode: one of STAMPS."""
        if mode not in STAMPS:
            raise ValueError(f"stamps must be one of {', '.join(STAMPS)}, not {mode!r}")
        self._what = what
        self.mode = mode
        self._arrival: bool | None = True if mode == "arrival" else None
        """Whether the arrival time is used; None before the first stamp."""
        self._differs_since: int | None = None
        self._differing = 0
        """Messages since then."""
        self._ahead: deque[float] = deque(maxlen=_WINDOW)
        """How far the newest stamps were ahead of their arrival, s."""
        self._last: int | None = None
        self._zero = False
        self._limits = StampLimits()

    def choose(self, stamp: int, now: int, limits: StampLimits, length: int = 0) -> int:
        """The capture time of a message's beginning.

        stamp: from its header; 0: it has none. now: its arrival. length: of its sound. Raises ValueError for a stamp
        outside the limits that is neither accepted nor replaced.
        """
        if now <= 0:
            raise ValueError("simulated time has not begun: nothing has been received on /clock")
        arrival = max(now - length, 0)
        self._last, self._limits, self._zero = now, limits, stamp == 0
        if self.mode == "arrival":
            return arrival
        if stamp == 0:
            if self.mode == "sensor":
                raise ValueError("its stamp is 0: the driver sets none, so set the parameter stamps to auto or arrival")
            return arrival
        ahead = (stamp + length - now) / 1e9
        self._ahead.append(ahead)
        if self.mode == "auto" and self._decide(ahead, now, limits):
            return arrival
        limits.check(stamp, now)
        return stamp

    @staticmethod
    def _usable(ahead: float, limits: StampLimits) -> bool:
        return -min(limits.past, OLDEST_S) <= ahead <= limits.future

    def _decide(self, ahead: float, now: int, limits: StampLimits) -> bool:
        """Whether to use the arrival time."""
        other_clock = not self._usable(ahead, limits)
        if self._arrival is None:
            self._arrival = other_clock
        elif other_clock == self._arrival:
            self._differs_since = None
        elif self._differs_since is None or now < self._differs_since:
            self._differs_since, self._differing = now, 1
        else:
            self._differing += 1
            if now - self._differs_since >= PATIENCE_S * 1e9 and self._differing >= PATIENCE_COUNT:
                self._arrival, self._differs_since = other_clock, None
        return self._arrival

    @property
    def used(self) -> str:
        """Which time is used at present: "sensor", "arrival", or "arrival: the driver's stamps are 0"."""
        if self.mode != "arrival" and self._zero:
            return "arrival: the driver's stamps are 0"
        return "arrival" if self._arrival else "sensor"

    def trouble(self, now: int) -> str:
        """How the stamps' clock differs from this machine's, in one sentence; empty: not at all, or nobody asks."""
        silent = self._last is None or not 0 <= now - self._last < _FORGET_S * 1e9
        if self.mode == "arrival" or self._zero or silent or not self._ahead:
            return ""
        skew = median(self._ahead)
        dropped = not self._arrival and not self._usable(skew, self._limits)
        if not self._arrival and not dropped and skew < AHEAD_S:
            return ""
        amount = f"{abs(skew):.0f}" if abs(skew) >= 10 else f"{abs(skew):.1f}"
        outcome = "the arrival time is used instead; " if self._arrival else "the messages are dropped; " * dropped
        return (
            f"{self._what} stamps are {amount} s {'ahead of' if skew > 0 else 'behind'} this machine's clock: {outcome}"
            f"synchronise the clocks (chrony, ptp4l){', or set the parameter stamps to auto' * (self.mode == 'sensor')}"
        )
