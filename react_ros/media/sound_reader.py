"""Sound of sound files and films: in blocks with their times, or a whole file at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.clock.types import MAX_RATE, MIN_RATE
from react_ros.media.errors import MediaError, error_text
from react_ros.media.film_reader import start_ns

BLOCK_S = 0.02
_JUMP_S = 0.04
"""A stamp further than this from the end of the samples before it is a gap in the sound, or an overlap."""


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Consecutive audio samples with the time of the first one."""

    time_ns: int
    """Time of the first sample: ns since the epoch for a device; ns since the start for a file."""
    first_sample: int
    """Index of the first sample since the source was opened; a gap shows as a jump."""
    pcm: npt.NDArray[np.int16]
    """(n, channels)."""


def sound_rate(path: Path) -> int:
    """Sample rate in Hz of a sound file, or of a film's sound.

    Raises MediaError where there is no sound, or where its rate is outside what the frame clock accepts.
    """
    import av

    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise MediaError(f"{path} has no sound in it")
            rate = file.streams.audio[0].rate
    except (OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be read as sound: {error_text(error)}") from None
    if not MIN_RATE <= rate <= MAX_RATE:
        raise MediaError(f"the sound of {path} has {rate} Hz, but it must have {MIN_RATE} to {MAX_RATE} Hz")
    return rate


def sound_blocks(path: Path) -> Iterator[AudioBlock]:
    """Decode the sound of a film or sound file in blocks of 20 ms, without holding the whole file in memory.

    AudioBlock.time_ns: on the file's own time axis (see `FilmTimes`), from its timestamps, so sound that begins after
    the picture keeps its offset; a gap in the timestamps is a gap in `first_sample`. pcm: (n, 1 or 2), file's rate.
    Raises MediaError where nothing can be decoded; a truncated file ends at the last block that can be decoded.
    """
    import av

    waiting = np.zeros((0, 1), np.int16)
    count = time = 0
    expected: int | None = None
    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise MediaError(f"{path} has no sound in it")
            start, stream = start_ns(file), file.streams.audio[0]
            rate, size = stream.rate, max(1, round(stream.rate * BLOCK_S))
            for stamp, samples in _decoded(file, stream):
                stamp -= start
                if expected is not None and abs(stamp - expected) > _JUMP_S * 1e9:
                    if len(waiting):
                        yield AudioBlock(time, count, waiting)
                    count = max(count + len(waiting) + round((stamp - expected) * rate / 1e9), 0)
                    waiting = waiting[:0]
                if not len(waiting):
                    time = stamp
                expected = stamp + round(len(samples) * 1e9 / rate)
                waiting = np.concatenate([waiting, samples]) if len(waiting) else samples
                while len(waiting) >= size:
                    yield AudioBlock(time, count, waiting[:size])
                    waiting = waiting[size:]
                    count += size
                    time = expected - round(len(waiting) * 1e9 / rate)
    except (OSError, ValueError) as error:
        if expected is None:
            raise MediaError(f"{path} cannot be read as sound: {error_text(error)}") from None
    if expected is None:
        raise MediaError(f"{path} has no sound in it")
    if len(waiting):
        yield AudioBlock(time, count, waiting)


def _decoded(file: Any, stream: Any) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    """(timestamp in ns, (n, channels)) of each decoded frame; a frame without a timestamp follows its predecessor."""
    import av

    resampler = av.AudioResampler(format="s16", layout="stereo" if stream.channels > 1 else "mono")
    after = 0
    for frame in file.decode(stream):
        stamp = after if frame.time is None else round(frame.time * 1e9)
        parts = [out.to_ndarray().reshape(-1, out.layout.nb_channels) for out in resampler.resample(frame)]
        if parts:
            samples = np.concatenate(parts).astype(np.int16, copy=False)
            after = stamp + round(len(samples) * 1e9 / stream.rate)
            yield stamp, samples


def read_sound(path: Path) -> tuple[npt.NDArray[np.int16], int]:
    """Read a whole file as ((n, channels) int16 with 1 or 2 channels, rate in Hz), with libsndfile or else FFmpeg.

    Raises MediaError where the file has no readable sound.
    """
    import soundfile

    try:
        data, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError:
        data, rate = _decode(path)
    if not len(data):
        raise MediaError(f"{path} has no sound in it")
    return np.ascontiguousarray(data[:, :2], np.int16), rate


def _decode(path: Path) -> tuple[npt.NDArray[np.int16], int]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path} has no sound in it")
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="s16", layout="stereo" if stream.channels > 1 else "mono")
            parts = [
                out.to_ndarray().reshape(-1, out.layout.nb_channels)
                for frame in container.decode(stream)
                for out in resampler.resample(frame)
            ]
            rate = stream.rate
    except (OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be read as sound: {error_text(error)}") from None
    if not parts:
        raise MediaError(f"{path} has no sound in it")
    return np.concatenate(parts).astype(np.int16), rate
