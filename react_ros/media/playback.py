"""The time of a film: when its pictures and its sound begin, and its sound block by block, however long it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.clock.types import MAX_RATE, MIN_RATE
from react_ros.sensors.camera import SensorError, reason
from react_ros.sensors.microphone import Block

BLOCK_S = 0.02
_JUMP_S = 0.04
"""A stamp that is further from where the samples before it ended is a hole in the sound (or an overlap)."""


@dataclass(frozen=True, slots=True)
class FilmTimes:
    """ns on the film's own time, which begins with the first of its streams, as players show it."""

    pictures_ns: int
    """Of the first picture."""
    stop_ns: int | None
    """When the pictures end, as the film's head tells; None where it does not."""
    sound: bool
    """Whether it has any."""


def film_times(path: Path) -> FilmTimes:
    """Decode the first picture of a film. Raises SensorError with one sentence where there is none."""
    import av

    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise SensorError(f"{path} has no picture in it")
            stream, start = film.streams.video[0], _start_ns(film)
            first = next(film.decode(stream), None)
            if first is None:
                raise SensorError(f"{path} has no readable image in it")
            stop = None
            if stream.duration is not None and stream.time_base is not None:
                stop = round(((stream.start_time or 0) + stream.duration) * stream.time_base * 1_000_000_000) - start
            elif film.duration is not None:
                stop = film.duration * 1000
            return FilmTimes(round((first.time or 0.0) * 1e9) - start, stop, bool(film.streams.audio))
    except (OSError, ValueError) as error:  # PyAV's own errors are OSErrors or ValueErrors
        raise SensorError(f"{path} cannot be read as a film: {reason(error)}") from None


def sound_rate(path: Path) -> int:
    """Rate in Hz of a sound file, or of a film's sound.

    Raises SensorError with one sentence where there is none, or its rate is not one that the clock takes.
    """
    import av

    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise SensorError(f"{path} has no sound in it")
            rate = file.streams.audio[0].rate
    except (OSError, ValueError) as error:
        raise SensorError(f"{path} cannot be read as sound: {reason(error)}") from None
    if not MIN_RATE <= rate <= MAX_RATE:
        raise SensorError(f"the sound of {path} has {rate} Hz, but {MIN_RATE} to {MAX_RATE} are taken")
    return rate


def sound_blocks(path: Path) -> Iterator[Block]:
    """The sound of a film or sound file in blocks of 20 ms; it is never in memory as a whole.

    Block.time_ns: on the file's own time (see `FilmTimes`), by its stamps, so that sound which begins after the
    picture does so here too; a hole in the stamps is one in `first_sample`. samples: (n, 1 or 2) at the file's rate.
    Raises SensorError with one sentence where nothing can be decoded; a file that breaks off ends there.
    """
    import av

    waiting = np.zeros((0, 1), np.int16)
    count = time = 0
    expected: int | None = None
    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise SensorError(f"{path} has no sound in it")
            start, stream = _start_ns(file), file.streams.audio[0]
            rate, size = stream.rate, max(1, round(stream.rate * BLOCK_S))
            for stamp, samples in _decoded(file, stream):
                stamp -= start
                if expected is not None and abs(stamp - expected) > _JUMP_S * 1e9:
                    if len(waiting):
                        yield Block(time, count, waiting)
                    count = max(count + len(waiting) + round((stamp - expected) * rate / 1e9), 0)
                    waiting = waiting[:0]
                if not len(waiting):
                    time = stamp
                expected = stamp + round(len(samples) * 1e9 / rate)
                waiting = np.concatenate([waiting, samples]) if len(waiting) else samples
                while len(waiting) >= size:
                    yield Block(time, count, waiting[:size])
                    waiting = waiting[size:]
                    count += size
                    time = expected - round(len(waiting) * 1e9 / rate)
    except (OSError, ValueError) as error:
        if expected is None:
            raise SensorError(f"{path} cannot be read as sound: {reason(error)}") from None
    if expected is None:
        raise SensorError(f"{path} has no sound in it")
    if len(waiting):
        yield Block(time, count, waiting)


def _decoded(file: Any, stream: Any) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
    """(stamp in ns, (n, channels)) of each decoded frame; one without a stamp follows the one before."""
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


def _start_ns(container: Any) -> int:
    return round((container.start_time or 0) * 1000)
