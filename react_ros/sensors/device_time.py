"""The capture time of a camera device's image, from the driver's time of its buffer."""

from __future__ import annotations

MAX_AGE_NS = 1_000_000_000
"""An older buffer, or one from the future, has a time of another clock."""


def buffer_time_ns(reported_ms: float, now_ns: int, monotonic_ns: int) -> int:
    """When an image was captured, ns since the epoch.

    reported_ms: OpenCV's CAP_PROP_POS_MSEC. With V4L2 it is the time of the buffer, of the monotonic clock (kernel
    documentation, V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC) or, with older drivers, since the epoch; 0 or less: none. now_ns,
    monotonic_ns: of both clocks, after the image was taken from the driver. Where the reported time is of neither clock
    and at most 1 s old, now_ns is returned.
    """
    reported_ns = round(reported_ms * 1e6)
    for clock_ns in (monotonic_ns, now_ns):
        if 0 <= clock_ns - reported_ns <= MAX_AGE_NS and reported_ns > 0:
            return now_ns - (clock_ns - reported_ns)
    return now_ns
