"""Audio messages to PCM, checked: this package's AudioChunk, and both packages called audio_common_msgs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.clock.types import MAX_RATE, MIN_RATE
from react_ros.messages.compatibility import read_field

MAX_CHUNK_SECONDS = 2.0
"""Longest audio in one message, s."""
MAX_CHANNELS = 64
"""Most channels of a microphone array; they are mixed."""


@dataclass(frozen=True, slots=True)
class PcmChunk:
    """A chunk of PCM audio, the frame clock's input."""

    pcm: npt.NDArray[np.int16]
    """(n, channels), full scale -32768 to 32767."""
    rate: int
    """Hz."""
    first_sample: int
    """Index, per channel, of the first audio sample since the stream began."""


def chunk_from_message(message: Any) -> PcmChunk:
    """The PCM of a react_ros/AudioChunk. Raises ValueError where its format or length is not supported."""
    return _pcm_chunk(
        np.frombuffer(read_field(message, "pcm"), np.int16), message.sample_rate, message.channels, message.first_sample
    )


def _pcm_chunk(pcm: npt.NDArray[np.int16], rate: int, channels: int, first_sample: int) -> PcmChunk:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"a sample rate of {rate} Hz is not between {MIN_RATE} and {MAX_RATE}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"{channels} channels: sound has 1 to {MAX_CHANNELS}")
    if not len(pcm):
        raise ValueError("the chunk is empty")
    if len(pcm) % channels:
        raise ValueError(f"{len(pcm)} audio samples do not divide into {channels} channels")
    if len(pcm) > MAX_CHUNK_SECONDS * rate * channels:
        raise ValueError(f"{len(pcm) / rate / channels:.1f} s of sound in one chunk; at most {MAX_CHUNK_SECONDS:g} s")
    return PcmChunk(pcm.reshape(-1, channels), rate, first_sample)


class ThirdPartyAudio:
    """PCM chunks from the messages of either package called audio_common_msgs, which differ in fields, not in name.

    ros-drivers: AudioDataStamped {header, audio{data uint8[]}}; rate, channels and format are in AudioInfo.
    mgonzs13: AudioStamped {header, audio{audio_data{int16_data, …}, info{format, channels, rate, chunk}}}.
    rate (Hz), channels: of ros-drivers' audio until its AudioInfo arrives.
    """

    def __init__(self, rate: int = 16_000, channels: int = 1) -> None:
        self.rate = rate
        self.channels = channels
        self.given = False
        """Whether rate and channels are given by a user: AudioInfo does not change them then."""
        self._unsupported = ""
        self._samples_read = 0

    def info(self, message: Any) -> None:
        """Take the format from ros-drivers' AudioInfo.

        Raises ValueError for coded audio (mp3) and for sample formats other than S16LE; `chunk` then raises it as well.
        """
        self._unsupported = ""
        if message.coding_format and message.coding_format.lower() not in ("wave", "raw", "pcm"):
            self._unsupported = f"coding format {message.coding_format!r}: start the audio node with format:=wave"
        elif message.sample_format and message.sample_format.upper() != "S16LE":
            self._unsupported = f"sample format {message.sample_format!r}: only S16LE is supported"
        if self._unsupported:
            raise ValueError(self._unsupported)
        if not self.given:
            self.rate, self.channels = message.sample_rate or self.rate, message.channels or self.channels

    def chunk(self, message: Any) -> PcmChunk:
        """The PCM of an AudioDataStamped or AudioStamped. Raises ValueError where its format is not supported."""
        data = message.audio
        if hasattr(data, "audio_data"):
            info, data = data.info, data.audio_data
            self.rate, self.channels = int(info.rate), int(info.channels)
            if len(data.int16_data):
                pcm = np.asarray(data.int16_data, np.int16)
            elif len(data.float32_data):
                floats = np.asarray(data.float32_data, np.float32)
                if not np.isfinite(floats).all():
                    raise ValueError("its PCM has values that are not finite")
                pcm = np.round(np.clip(floats, -1, 1) * 32767).astype(np.int16)
            elif len(data.int32_data):
                pcm = (np.asarray(data.int32_data, np.int32) >> 16).astype(np.int16)
            elif len(data.uint8_data):
                pcm = ((np.asarray(data.uint8_data, np.int16) - 128) << 8).astype(np.int16)
            else:
                raise ValueError("the chunk is empty or holds signed 8-bit audio, which is not supported")
        else:
            if self._unsupported:
                raise ValueError(self._unsupported)
            raw = bytes(data.data)
            if len(raw) % 2:
                raise ValueError(f"{len(raw)} bytes are not whole 16-bit audio samples")
            pcm = np.frombuffer(raw, "<i2").astype(np.int16)
        chunk = _pcm_chunk(pcm, self.rate, self.channels, self._samples_read)
        self._samples_read += len(chunk.pcm)
        return chunk
