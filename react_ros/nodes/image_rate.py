"""Watches how many of a camera's images arrive, and says what helps where most do not."""

from __future__ import annotations

import os

from react_ros import dds
from react_ros.clock.stream_rate import StreamRate
from react_ros.face import FPS
from react_ros.nodes.middleware import middleware
from react_ros.nodes.topic_input import ImageInput

LOW_RATE = 10.0
"""Images a second below which the robot hardly sees motion."""
LOST_SHARE = 0.2
"""Share of lost images from which it is said, where perception gets fewer than its 25 a second."""
_FRAGMENTED = 60_000
"""Bytes; a smaller message goes into one UDP datagram or shared-memory buffer, and is not lost for its size."""


class ImageRate:
    """The images of one camera."""

    def __init__(self) -> None:
        self._rate = StreamRate()
        self._size = 0

    def add(self, stamp: int, now: int, size: int) -> None:
        """Count an image of `size` bytes. stamp, now: ns."""
        self._rate.add(stamp, now)
        self._size = size

    def text(self, now: int) -> str:
        """For diagnostics: images a second."""
        rate = self._rate.rate(now)
        return "not known yet" if rate is None else f"{rate:.1f}"

    def trouble(self, images: ImageInput, now: int) -> str:
        """Which images are lost and what helps, in one sentence; empty: enough arrive."""
        rate = self._rate.rate(now)
        if rate is None:
            return ""
        sent = self._rate.sent(now)
        lost = sent is not None and rate < FPS - 1 and rate < (1 - LOST_SHARE) * sent
        if not lost and rate >= LOW_RATE:
            return ""
        if lost and sent is not None:
            said = f"{rate:.0f} of about {sent:.0f} images a second arrive on {images.topic}"
        else:
            said = f"only {rate:.1f} images a second arrive on {images.topic}"
        return f"{said}: {self._remedy(lost, images)}"

    def _remedy(self, lost: bool, images: ImageInput) -> str:
        """What helps, most probable first."""
        if not lost and dds.own_camera(os.environ):
            return "check the camera's frame rate; many cameras expose for longer where it is dark"
        if self._size < _FRAGMENTED:
            return "check the network to the driver" if lost else "check the driver's frame rate and its exposure time"
        helps = []
        if middleware().startswith("rmw_fastrtps"):
            helps.append(f"start the driver with {dds.PROFILES_VARIABLE}={dds.driver_profile()}")
        if dds.socket_buffer() < dds.ENOUGH_BUFFER:
            helps.append(dds.BUFFER_REMEDY)
        if not images.reliable:
            helps.append("let it publish reliable")
        if dds.shared_memory().small:
            helps.append(f"give /dev/shm more room ({dds.SHARED_MEMORY_REMEDY})")
        if not lost:
            helps.append("check its frame rate")
        return ", or ".join(helps) or "check the load of this machine"
