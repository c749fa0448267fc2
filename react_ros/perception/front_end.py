"""The sensor front end: image and audio messages in, perceived speaker frames out; the same live and in replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.face import SpeakerFrame
from react_ros.messages.audio import ThirdPartyAudio, chunk_from_message
from react_ros.messages.images import image_from_message
from react_ros.messages.stamp_source import StampSource
from react_ros.messages.stamps import Stages, StampLimits, nanoseconds
from react_ros.perception.pipeline import Perception


@dataclass(frozen=True, slots=True)
class Perceived:
    """A speaker frame with the timing that its message carries."""

    frame: SpeakerFrame
    stages: Stages
    source_ns: int
    """Stamp of the frame's image in ns; for a frame without a new image, the time of the frame."""
    frame_id: str = ""
    """Of the newest image; empty before the first."""


class SensorFrontEnd:
    """Checks, decodes and merges the messages of one human's camera and microphone, and runs perception on each frame.

    Times are ns on the clock of the stamps; the caller passes `now`, so results depend on the arguments only.
    """

    def __init__(
        self,
        perception: Perception | None,
        clock: FrameClock,
        limits: StampLimits,
        watch: Callable[[ClockFrame], None] | None = None,
        stamps: str = "auto",
        third_party: ThirdPartyAudio | None = None,
    ) -> None:
        """perception: None to get no frames, only calls of `watch`. watch: called with each frame before perception.

        stamps: one of `stamp_source.STAMPS`. third_party: reads third-party audio; default: 16 kHz mono until an
        AudioInfo arrives.
        """
        self.clock = clock
        self.limits = limits
        """How far a stamp may lie from now; may be replaced at any time."""
        self._perception = perception
        self._third_party = third_party or ThirdPartyAudio()
        self._watch = watch
        self.image_stamps, self.sound_stamps = StampSource("image", stamps), StampSource("audio", stamps)
        self._frame_id = ""

    def push_image(self, message: Any, now: int, stamp: int | None = None) -> list[Perceived]:
        """Add an Image or CompressedImage message. Raises ValueError with one sentence for an invalid message.

        stamp: used instead of the message's own, ns; None: `image_stamps` chooses.
        """
        if stamp is None:
            stamp = self.image_stamps.choose(nanoseconds(message.header.stamp), now, self.limits)
        else:
            self.limits.check(stamp, now)
        image = image_from_message(message)
        self._frame_id = message.header.frame_id
        # The image carries its transport time through the clock, for the lineage.
        return self._perceive(self.clock.push_image(stamp, (image, (stamp, (now - stamp) / 1e9)), now))

    def push_audio(self, message: Any, ours: bool, now: int, stamp: int | None = None) -> list[Perceived]:
        """Add an audio message: AudioChunk (ours) or third-party. Raises ValueError for an invalid message.

        stamp: used instead of the message's own, ns; None: `sound_stamps` chooses.
        """
        if ours:
            chunk = chunk_from_message(message)
        else:
            chunk = self._third_party.chunk(message if hasattr(message, "audio") else Unstamped(message))
        length = round(len(chunk.pcm) / chunk.rate * 1e9)
        if stamp is not None:
            self.limits.check(stamp, now)
        elif hasattr(message, "header"):
            stamp = self.sound_stamps.choose(nanoseconds(message.header.stamp), now, self.limits, length)
        else:  # its first sample was captured its own length ago, or earlier
            stamp = now - length
        first = chunk.first_sample if ours else None
        return self._perceive(self.clock.push_sound(stamp, chunk.pcm, chunk.rate, first, now))

    def set_audio_info(self, message: Any) -> None:
        """Apply an AudioInfo of ros-drivers. Raises ValueError for a format that is not supported."""
        self._third_party.info(message)

    def advance(self, now: int) -> list[Perceived]:
        """Return the frames whose waiting time is over."""
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
                source, transport_s = arrival
                stages = {"image": (source, transport_s), **stages}
            out.append(Perceived(speaker, stages, source, self._frame_id))
        return out


class Unstamped:
    """Gives an AudioData the `audio` field of an AudioDataStamped."""

    def __init__(self, audio: Any) -> None:
        self.audio = audio
