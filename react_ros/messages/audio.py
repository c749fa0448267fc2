"""Audio messages of this package and of both third-party packages to PCM, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_CHUNK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PcmChunk:
    """A stretch of sound as the frame clock takes it."""

    pcm: npt.NDArray[np.int16]
    """(n, channels), full scale -32768 to 32767."""
    rate: int
    first_sample: int


def chunk_from_message(message: Any) -> PcmChunk:
    """The PCM of a react_ros/AudioChunk, checked."""
    # Until version 0.1 the field was called samples: bags have it.
    pcm = message.pcm if hasattr(message, "pcm") else message.samples
    return _pcm_chunk(np.frombuffer(pcm, np.int16), message.sample_rate, message.channels, message.first_sample)


def _pcm_chunk(pcm: npt.NDArray[np.int16], rate: int, channels: int, first_sample: int) -> PcmChunk:
    if not 8000 <= rate <= 192_000:
        raise ValueError(f"a sample rate of {rate} Hz is not between 8000 and 192000")
    if channels not in (1, 2):
        raise ValueError(f"{channels} channels: sound has 1 or 2")
    if not len(pcm):
        raise ValueError("the chunk is empty")
    if len(pcm) % channels:
        raise ValueError(f"{len(pcm)} pcm do not divide into {channels} channels")
    if len(pcm) > MAX_CHUNK_SECONDS * rate * channels:
        raise ValueError(f"{len(pcm) / rate / channels:.1f} s of sound in one chunk; at most {MAX_CHUNK_SECONDS:g} s")
    return PcmChunk(pcm.reshape(-1, channels), rate, first_sample)


class ThirdPartyAudio:
    """Chunks from either package that is called audio_common_msgs (told apart by their fields, not their name).

    ros-drivers: AudioDataStamped {header, audio{data uint8[]}} with rate, channels and format told apart in AudioInfo.
    mgonzs13: AudioStamped {header, audio{audio_data{int16_data, …}, info{format, channels, rate, chunk}}}.
    """

    def __init__(self, rate: int = 16_000, channels: int = 1) -> None:
        self.rate = rate
        self.channels = channels
        self._refused = ""
        self._heard = 0

    def info(self, message: Any) -> None:
        """AudioInfo of ros-drivers. Raises ValueError for coded sound (mp3), which cannot be cut into frames."""
        self._refused = ""
        if message.coding_format and message.coding_format.lower() not in ("wave", "raw", "pcm"):
            self._refused = f"coding format {message.coding_format!r}: start the audio node with format:=wave"
        elif message.sample_format and message.sample_format.upper() != "S16LE":
            self._refused = f"sample format {message.sample_format!r}: only S16LE is understood"
        if self._refused:
            raise ValueError(self._refused)
        self.rate, self.channels = message.sample_rate or self.rate, message.channels or self.channels

    def chunk(self, message: Any) -> PcmChunk:
        data = message.audio
        if hasattr(data, "audio_data"):
            info, data = data.info, data.audio_data
            self.rate, self.channels = int(info.rate), int(info.channels)
            if len(data.int16_data):
                pcm = np.asarray(data.int16_data, np.int16)
            elif len(data.float32_data):
                floats = np.asarray(data.float32_data, np.float32)
                if not np.isfinite(floats).all():
                    raise ValueError("its pcm are not finite")
                pcm = np.round(np.clip(floats, -1, 1) * 32767).astype(np.int16)
            elif len(data.int32_data):
                pcm = (np.asarray(data.int32_data, np.int32) >> 16).astype(np.int16)
            elif len(data.uint8_data):
                pcm = ((np.asarray(data.uint8_data, np.int16) - 128) << 8).astype(np.int16)
            else:
                raise ValueError("the chunk is empty or holds 8-bit sound with a sign, which is not understood")
        else:
            if self._refused:
                raise ValueError(self._refused)
            raw = bytes(data.data)
            if len(raw) % 2:
                raise ValueError(f"{len(raw)} bytes are not whole 16-bit pcm")
            pcm = np.frombuffer(raw, "<i2").astype(np.int16)
        chunk = _pcm_chunk(pcm, self.rate, self.channels, self._heard)
        self._heard += len(chunk.pcm)
        return chunk
