"""When the pictures of a film are shown: the container's times where they are right, and else what can be inferred."""

from __future__ import annotations

from typing import Any

DEFAULT_FPS = 25.0
_JUMP_BACK_NS = 200_000_000
"""A time further back than this begins a new time axis, as in recordings that were joined."""
_LEAST_NS = 1_000_000
"""Least time between two pictures."""
_DECODE_TIMES_ONLY = {"avi"}
"""Containers that store only the order of decoding; FFmpeg's guess of the time of display goes back with B-frames."""


class PictureTimes:
    """Times in ns of the pictures of one open PyAV container, in the order in which they are decoded: always growing.

    Pictures without a time (a raw H.264 stream) follow each other at the stream's frame rate.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        rate = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
        self.period_ns = round(1e9 / (rate if 0.1 <= rate <= 1000.0 else DEFAULT_FPS))
        """Time from the last picture but one to the last one; at first, as the header says."""
        self._decoded_only = container.format.name in _DECODE_TIMES_ONLY
        self._base = float(stream.time_base or 0)
        self._first = round((stream.start_time or 0) * self._base * 1e9)
        self._zero = start_ns(container)
        self._last: int | None = None
        self._shift = 0
        self._delay: int | None = None

    def next_ns(self, frame: Any) -> int:
        """Time of the next decoded frame in ns, on the container's time axis, which begins with its first stream."""
        stamp = self._stamp(frame)
        last = self._last
        if last is None:
            self._last = (self._first if stamp is None else stamp) - self._zero
            return self._last
        now = last + self.period_ns if stamp is None else stamp - self._zero + self._shift
        if now < last - _JUMP_BACK_NS:
            self._shift += last + self.period_ns - now
            now = last + self.period_ns
        now = max(now, last + _LEAST_NS)
        self.period_ns, self._last = now - last, now
        return now

    def _stamp(self, frame: Any) -> int | None:
        if not self._decoded_only:
            return None if frame.time is None else round(frame.time * 1e9)
        if frame.dts is None:
            return None
        # The decoder returns a picture some packets after its own: by the same number for all.
        self._delay = frame.dts if self._delay is None else self._delay
        return self._first + round((frame.dts - self._delay) * self._base * 1e9)


def start_ns(container: Any) -> int:
    """Start in ns of an open PyAV container: the earliest start of its streams, which players take as time 0."""
    return round((container.start_time or 0) * 1000)
