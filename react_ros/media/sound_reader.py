"""Sound of sound files and films: in blocks with their times, or a whole file at once.

Whatever the file holds (integers of 8 to 32 bits, floats of 32 or 64, coded sound) becomes 16-bit PCM; more than two
channels become one. libsndfile reads sound files, FFmpeg films and everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.clock.types import MAX_RATE, MIN_RATE
from react_ros.media.channel_mix import channel_weights, mean_squares, mixed
from react_ros.media.errors import MediaError, reading
from react_ros.media.film_reader import sounding_ns, start_ns
from react_ros.media.opening import expect_file, open_file

Pcm = npt.NDArray[np.int16]

BLOCK_S = 0.02
_JUMP_S = 0.04
"""A stamp further than this from the end of the samples before it is a gap in the sound, or an overlap."""
_JUMP_BACK_S = 1.0
"""A stamp further back than this begins a new time axis, as in recordings that were joined."""
_STAMP_S = 0.002
"""Rounding of a container's stamps: within it, samples follow each other without a gap."""
_LARGEST_FLOAT = 32.0
"""Float samples beyond this are not scaled to ±1 (full scale): probably to the integers' ±32768."""
_WHOLE_NUMBERS = {"PCM_16", "PCM_24", "PCM_32", "PCM_S8", "PCM_U8", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM",
                  "GSM610", "G721_32", "G723_24", "G723_40", "DPCM_8", "DPCM_16", "DWVW_12", "DWVW_16", "DWVW_24",
                  "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32", "VOX_ADPCM", "NMS_ADPCM_16", "NMS_ADPCM_24",
                  "NMS_ADPCM_32"}  # fmt: skip
"""libsndfile's subtypes whose samples it converts to 16 bits itself; others are read as floats."""


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Consecutive audio samples with the time of the first one."""

    time_ns: int
    """Time of the first sample: ns since the epoch for a device; ns since the start for a file."""
    first_sample: int
    """Index of the first sample since the source was opened; a gap shows as a jump."""
    pcm: Pcm
    """(n, channels)."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """What a file's sound is, before it is decoded."""

    rate: int
    """Hz."""
    channels: int
    """Of the blocks: 1 or 2."""
    converted: bool
    """Whether its samples are floats or more than two channels."""
    with_pictures_ns: int = 0
    """Length of the film that the sound is part of, ns; 0 for a sound file."""


def sound_format(path: Path) -> SoundFormat:
    """Format of a sound file, or of a film's sound; decodes its beginning.

    Raises MediaError where there is no sound, or where its rate is outside what the frame clock accepts.
    """
    with closing(_Sound(path)) as sound:
        if next(sound.pieces(), None) is None:
            raise MediaError(f"{path} has no sound in it")
        channels = 1 if sound.mixes else sound.channels
        return SoundFormat(sound.rate, channels, sound.mixes or sound.floats, sound.with_pictures_ns)


def sound_rate(path: Path) -> int:
    """Sample rate in Hz of a sound file, or of a film's sound. Raises MediaError as `sound_format` does."""
    return sound_format(path).rate


def sound_seconds(path: Path) -> float:
    """Length of a sound file, or of a film's sound, by its header, s; where it states none, by decoding it.

    Raises MediaError as `sound_format` does.
    """
    with closing(_Sound(path)) as sound:
        stated = sound.stated_seconds()
    if stated is None:
        pcm, rate = read_sound(path)
        stated = len(pcm) / rate
    return stated


def sound_blocks(path: Path, block_s: float = BLOCK_S) -> Iterator[AudioBlock]:
    """Decode the sound of a film or sound file in blocks, without holding the whole file in memory.

    AudioBlock.time_ns: on the file's own time axis (see `FilmTimes`), from its timestamps, so sound that begins after
    the picture keeps its offset; a gap in the timestamps is a gap in `first_sample`. pcm: (n, 1 or 2), file's rate;
    more than two channels are mixed to one (`channel_mix`), for which the file is read twice. Raises MediaError where
    nothing can be decoded; a truncated file ends at the last block that can be decoded.
    """
    waiting = np.zeros((0, 1), np.int16)
    count = 0
    origin: int | None = None
    """Time of sample 0 according to the stamps, ns."""
    shift = 0

    def time(sample: int) -> int:
        assert origin is not None
        return origin + round(sample * 1e9 / rate)

    with closing(_Sound(path)) as sound:
        rate, size = sound.rate, max(1, round(sound.rate * block_s))
        for stamp, samples in sound.mono_or_stereo():
            begin = count + len(waiting)
            if origin is None:
                origin = stamp
            ahead = stamp + shift - time(begin)
            if ahead < -_JUMP_BACK_S * 1e9:
                shift, ahead = shift - ahead, 0
            if abs(ahead) > _JUMP_S * 1e9:
                if len(waiting):
                    yield AudioBlock(time(count), count, waiting)
                count = max(begin + round(ahead * rate / 1e9), 0)
                waiting = waiting[:0]
            elif abs(ahead) > _STAMP_S * 1e9:
                origin += ahead
            waiting = np.concatenate([waiting, samples]) if len(waiting) else samples
            while len(waiting) >= size:
                yield AudioBlock(time(count), count, waiting[:size])
                waiting = waiting[size:]
                count += size
    if origin is None:
        raise MediaError(f"{path} has no sound in it")
    if len(waiting):
        yield AudioBlock(time(count), count, waiting)


def read_sound(path: Path) -> tuple[Pcm, int]:
    """Read a whole file as ((n, channels) int16 with 1 or 2 channels, rate in Hz), on its own time axis: a film's sound
    that begins after the picture has silence before it.

    Raises MediaError where the file has no readable sound, or a rate that is not supported.
    """
    blocks = list(sound_blocks(path, 1.0))
    rate = sound_rate(path)
    lead = max(round(blocks[0].time_ns * rate / 1e9), 0) - blocks[0].first_sample
    out = np.zeros((max(lead + b.first_sample + len(b.pcm) for b in blocks), blocks[0].pcm.shape[1]), np.int16)
    for block in blocks:
        out[lead + block.first_sample : lead + block.first_sample + len(block.pcm)] = block.pcm
    return out, rate


def _channel_names(path: Path, channels: int) -> list[str]:
    """FFmpeg's names of the channels of a file, which libsndfile does not give; empty ones where FFmpeg has none."""
    with suppress(MediaError), closing(open_file(path, "sound")) as container:
        names = [channel.name for channel in container.streams.audio[0].layout.channels]
        if len(names) == channels:
            return names
    return [""] * channels


class _Sound:
    """An open file's sound."""

    def __init__(self, path: Path) -> None:
        import soundfile

        self._path = path
        self._container: Any = None
        self._file: Any = None
        expect_file(path, "sound")
        with suppress(soundfile.LibsndfileError, OSError, TypeError):
            self._file = soundfile.SoundFile(path)
        self.with_pictures_ns = 0
        if self._file is not None:
            self.rate, self.channels = self._file.samplerate, self._file.channels
        else:
            self._container = open_file(path, "sound")
            if not self._container.streams.audio:
                self._container.close()
                raise MediaError(f"{path} has no sound in it")
            self._stream = self._container.streams.audio[0]
            self.rate, self.channels = self._stream.rate, self._stream.channels
            self.with_pictures_ns = sounding_ns(self._container)
        self.mixes = self.channels > 2
        self.floats = self._file is None or self._file.subtype not in _WHOLE_NUMBERS
        if not MIN_RATE <= self.rate <= MAX_RATE:
            self.close()
            raise MediaError(f"the sound of {path} has {self.rate} Hz, but it must have {MIN_RATE} to {MAX_RATE} Hz")

    def stated_seconds(self) -> float | None:
        """Length by the header, s; None where it states none."""
        if self._file is not None:
            return self._file.frames / self.rate
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        return None

    def close(self) -> None:
        for opened in (self._file, self._container):
            if opened is not None:
                opened.close()

    def mono_or_stereo(self) -> Iterator[tuple[int, Pcm]]:
        """(timestamp in ns from the start of the file, (n, 1 or 2)) of each piece."""
        if not self.mixes:
            yield from self.pieces()
            return
        names = _channel_names(self._path, self.channels)
        with closing(_Sound(self._path)) as first:
            weights = channel_weights(names, mean_squares((part for _, part in first.pieces()), self.channels))
        for stamp, part in self.pieces():
            yield stamp, mixed(part, weights)

    def pieces(self) -> Iterator[tuple[int, Pcm]]:
        """(timestamp in ns from the start of the file, (n, channels)) of each piece."""
        yield from self._from_libsndfile() if self._file is not None else self._from_ffmpeg()

    def _from_libsndfile(self) -> Iterator[tuple[int, Pcm]]:
        import soundfile

        whole, at = not self.floats, 0
        while True:
            try:
                part = self._file.read(self.rate, "int16" if whole else "float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                if not at:
                    raise MediaError(f"{self._path} cannot be read as sound: {error.error_string.lower()}") from None
                return
            if not len(part):
                return
            yield round(at * 1e9 / self.rate), part if whole else self._whole_numbers(part)
            at += len(part)

    def _whole_numbers(self, floats: npt.NDArray[np.float32]) -> Pcm:
        if not np.isfinite(floats).all():
            raise MediaError(f"the sound of {self._path} has values that are not finite")
        if (peak := float(np.abs(floats).max(initial=0.0))) > _LARGEST_FLOAT:
            raise MediaError(f"the sound of {self._path} goes to {peak:.6g}, but floats have to be within -1 and 1")
        return np.rint(floats * np.float32(32768.0)).clip(-32768, 32767).astype(np.int16)

    def _from_ffmpeg(self) -> Iterator[tuple[int, Pcm]]:
        """A frame without a timestamp follows its predecessor. Packets that cannot be decoded are passed over."""
        start, after, failure = start_ns(self._container), 0, ""
        packets = self._container.demux(self._stream)
        some = False
        while True:
            try:
                with reading(self._path, "sound"):
                    packet = next(packets, None)
            except MediaError as error:
                failure = str(error)
                break
            if packet is None:
                break
            try:
                with reading(self._path, "sound"):
                    frames = packet.decode()
            except MediaError as error:
                failure = str(error)
                continue
            for frame in frames:
                part = self._samples(frame)
                if not len(part):
                    continue
                stamp = after if frame.time is None else round(frame.time * 1e9) - start
                some, after = True, stamp + round(len(part) * 1e9 / self.rate)
                yield stamp, part
        if failure and not some:
            raise MediaError(failure)

    def _samples(self, frame: Any) -> Pcm:
        """(n, channels) of a decoded frame. FFmpeg's own conversion to 16 bits: scaled and clipped."""
        import av

        planes: npt.NDArray[Any] = frame.to_ndarray()
        channels = frame.layout.nb_channels
        if channels != self.channels:  # it changed within the file
            wanted = "mono" if self.channels == 1 else "stereo" if self.channels == 2 else self._stream.layout.name
            resampler = av.AudioResampler(format="s16", layout=wanted)
            frame.pts = None
            parts = [f.to_ndarray().reshape(-1, self.channels) for f in resampler.resample(frame)]
            return np.concatenate(parts).astype(np.int16)
        part = planes.T if frame.format.is_planar else planes.reshape(-1, channels)
        if part.dtype == np.int16:
            return np.ascontiguousarray(part, np.int16)
        if part.dtype.kind == "f":
            return self._whole_numbers(part.astype(np.float32))
        if part.dtype == np.uint8:
            return ((part.astype(np.int16) - 128) << 8).astype(np.int16)
        return (part >> (part.dtype.itemsize * 8 - 16)).astype(np.int16)
