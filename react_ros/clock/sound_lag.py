"""How far the sound of a frame lies behind it: as far as the sound arrives late, within bounds."""

from __future__ import annotations

from collections import deque

from react_ros.clock.types import MS, ClockConfig
from react_ros.face import FRAME_NS

_MEMORY_NS = 2_000 * MS
"""Length of the memory over which the age of sound is estimated."""
_LEAST_NS = 400 * MS
_LEAST_BLOCKS = 4
"""Sound that must have been received before the lag changes."""
_SHARE = 0.9
"""Share of the blocks that must arrive in time: single late ones do not count."""
_SHRINK_NS = 10_000 * MS
"""For so long, sound must have arrived early enough for a lag that is shorter by one frame."""


class SoundLag:
    """Adapts the lag to the age that sound has when it arrives; a function of its arguments only.

    The age of a block is the time from the capture of its first sample to its arrival: its length, and what the sound
    server, a radio link or the network add. Where it exceeds the lag and the time that a frame waits, frames lose their
    sound: the lag grows at once, in whole frames, so that one stretch of sound is repeated. It shrinks by one frame
    after ten seconds in which that would have been enough.
    """

    def __init__(self, config: ClockConfig) -> None:
        self._low, self._high = config.sound_lag_ns, max(config.sound_lag_max_ns, config.sound_lag_ns)
        self._wait = config.sound_wait_ns
        self.ns = self._low
        """The present lag."""
        self._ages: deque[tuple[int, int]] = deque()
        self._heard_ns = 0
        self._early_since: int | None = None

    @property
    def adapts(self) -> bool:
        """Whether the lag may change."""
        return self._high > self._low

    @property
    def age_ns(self) -> int:
        """The age of sound that `_SHARE` of the blocks of the last two seconds do not exceed; 0 without any."""
        if not self._ages:
            return 0
        ages = sorted(age for _, age in self._ages)
        return ages[min(round(_SHARE * len(ages)), len(ages) - 1)]

    @property
    def too_late(self) -> bool:
        """Whether sound arrives too late for the present lag, which cannot grow any more."""
        return self._known and self.age_ns > self.ns + self._wait

    @property
    def _known(self) -> bool:
        return self._heard_ns >= _LEAST_NS and len(self._ages) >= _LEAST_BLOCKS

    def arrived(self, begin_ns: int, end_ns: int, look_ahead_ns: int, now_ns: int) -> None:
        """Note a block with sound from begin_ns to end_ns, of which `look_ahead_ns` cannot be used before the next."""
        self._heard_ns += end_ns - begin_ns
        self._ages.append((now_ns, now_ns - begin_ns + look_ahead_ns))
        while self._ages[0][0] < now_ns - _MEMORY_NS:
            self._ages.popleft()
        if not self.adapts or not self._known:
            return
        age = self.age_ns
        if age > self.ns + self._wait:
            more = -(-(age - self.ns) // FRAME_NS)
            self.ns += min(more, (self._high - self.ns) // FRAME_NS) * FRAME_NS
            self._early_since = None
        elif self.ns - FRAME_NS < self._low or age > self.ns - FRAME_NS:
            self._early_since = None
        elif self._early_since is None:
            self._early_since = now_ns
        elif now_ns - self._early_since >= _SHRINK_NS:
            self.ns -= FRAME_NS
            self._early_since = None

    def restart(self) -> None:
        """Forget the ages: the clock or the source has changed. The lag stays until others are known."""
        self._ages.clear()
        self._heard_ns = 0
        self._early_since = None
