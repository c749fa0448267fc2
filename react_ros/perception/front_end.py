"""Messages of a camera and a microphone in, speaker frames out: the same code live and in replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.face import SpeakerFrame
from react_ros.messages.audio import ThirdPartyAudio, chunk_from_message
from react_ros.messages.images import image_from_message
from react_ros.messages.stamps import Stages, StampLimits, nanoseconds
from react_ros.perception.pipeline import Perception


@dataclass(frozen=True, slots=True)
class Perceived:
    """A frame that has been perceived, and what its message says of it."""

    frame: SpeakerFrame
    stages: Stages
    source_ns: int
    """When the camera saw it; without an image of its own, the frame's own time."""


class SensorFrontEnd:
    """One human's camera and microphone. Times are ns on the clock of the stamps; `now` never comes from here."""

    def __init__(
        self,
        perception: Perception | None,
        clock: FrameClock,
        limits: StampLimits,
        watch: Callable[[ClockFrame], None] | None = None,
    ) -> None:
        """perception: None where frames are only watched. watch: told of each frame before it is perceived."""
        self.clock = clock
        self.limits = limits
        """How far a stamp may lie from now; may be changed at any time."""
        self._perception = perception
        self._foreign = ThirdPartyAudio()
        self._watch = watch

    def see(self, message: Any, now: int, stamp: int | None = None) -> list[Perceived]:
        """An image message of either type. Raises ValueError, in one sentence, for one that must be dropped.

        stamp: in place of the message's own.
        """
        stamp = nanoseconds(message.header.stamp) if stamp is None else stamp
        self.limits.check(stamp, now)
        image = image_from_message(message)
        # How long the image was under way travels with it, for the lineage.
        return self._perceive(self.clock.push_image(stamp, (image, (stamp, (now - stamp) / 1e9)), now))

    def hear(self, message: Any, ours: bool, now: int, stamp: int | None = None) -> list[Perceived]:
        """A stretch of sound: ours, or of another driver. Raises ValueError for one that must be dropped."""
        if stamp is None and hasattr(message, "header"):
            stamp = nanoseconds(message.header.stamp)
        if ours:
            chunk = chunk_from_message(message)
        else:
            chunk = self._foreign.chunk(message if hasattr(message, "audio") else _Wrapped(message))
        if stamp is None:  # a message without a stamp was captured its own length ago, at the latest
            stamp = now - round(len(chunk.pcm) / chunk.rate * 1e9)
        self.limits.check(stamp, now)
        first = chunk.first_sample if ours else None
        return self._perceive(self.clock.push_sound(stamp, chunk.pcm, chunk.rate, first, now))

    def inform(self, message: Any) -> None:
        """AudioInfo of ros-drivers. Raises ValueError for sound that is not understood."""
        self._foreign.info(message)

    def advance(self, now: int) -> list[Perceived]:
        """Time passes."""
        return self._perceive(self.clock.advance(now))

    def _perceive(self, frames: list[ClockFrame]) -> list[Perceived]:
        out = []
        for frame in frames:
            arrival = None
            if frame.image is not None:
                frame.image, arrival = frame.image
            if self._watch is not None:
                self._watch(frame)
            if self._perception is None:
                continue
            speaker, stages = self._perception.process(frame)
            source = frame.stamp_ns
            if frame.image_new and arrival is not None:
                source, under_way = arrival
                stages = {"image": (source, under_way), **stages}
            out.append(Perceived(speaker, stages, source))
        return out


class _Wrapped:
    """AudioData alone, as if it were stamped."""

    def __init__(self, audio: Any) -> None:
        self.audio = audio
