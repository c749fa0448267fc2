"""Time-stamped sound from a microphone device or a sound file, behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from react_ros.media.errors import MediaError
from react_ros.media.opening import local_path
from react_ros.media.sound_reader import AudioBlock, sound_blocks, sound_format
from react_ros.sensors.device_sound import MIX, StreamResampler, chosen_channels, parse_channel
from react_ros.sensors.portaudio import DeviceStream, input_names

_SUFFIXES = {".wav", ".w64", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".caf", ".au",
             ".mp4", ".mkv", ".mov", ".avi", ".webm", ".ts"}  # fmt: skip

_ROUNDING_NS = 100_000_000
"""By so much, the sound of a film may be longer than its header says."""


@dataclass(frozen=True, slots=True)
class MicrophoneConfig:
    """Which microphone to open, and how.

    source: "default", a device's number or part of its name, or a file (wav, flac, mp3, a film with sound, …).
    rate: sample rate in Hz of a device's sound; it is resampled where the device has another one. A file has its own.
    channels: of a device, 1 or 2. channel: which of its channels: "mix" takes the mean of all (or the first two, if two
    are asked for), "1" or "3,4" these. block: length of a block, s. loop: start a file again when it ends.
    """

    source: str = "default"
    rate: int = 16_000
    channels: int = 1
    block: float = 0.02
    loop: bool = False
    channel: str = MIX


class Microphone:
    """An open source of sound: iterate for `AudioBlock`s, then `close`.

    live: True for a device; False for a file, whose reader must pace it. rate: Hz. channels: 1 or 2. device: rate in Hz
    and channels of the device itself, in words; empty for a file.
    """

    def __init__(
        self, live: bool, rate: int, channels: int, blocks: Callable[[], Iterator[AudioBlock]],
        close: Callable[[], None], device: str = "",
    ) -> None:  # fmt: skip
        self.live = live
        self.rate = rate
        self.channels = channels
        self._blocks = blocks
        self.close = close
        self.device = device

    def __iter__(self) -> Iterator[AudioBlock]:
        """Raises MediaError where the source stops although it is live, or cannot be decoded."""
        return self._blocks()


def open_microphone(config: MicrophoneConfig) -> Microphone:
    """Open `config.source`. Raises MediaError with one sentence where that is impossible."""
    path = local_path(config.source)
    if path is None:
        raise MediaError(f"microphone {config.source} is an address: give a device, or a sound file or film")
    if path.exists() and (path.is_file() or "/" in config.source):
        return _open_file(path, config)
    if "/" in config.source or path.suffix.lower() in _SUFFIXES:
        raise MediaError(f"sound file {config.source} does not exist")
    return _open_device(config)


def input_devices() -> list[str]:
    """Names of the input devices that PortAudio lists. Raises MediaError where PortAudio is not installed."""
    return input_names()


def _open_device(config: MicrophoneConfig) -> Microphone:
    picked = parse_channel(config.channel)
    channels = len(picked) or config.channels
    stream = DeviceStream(config.source, config.rate, channels, config.block, max(picked, default=-1) + 1)
    channels = min(channels, stream.channels)

    def blocks() -> Iterator[AudioBlock]:
        resampler = None
        if stream.rate != config.rate:
            resampler = StreamResampler(stream.rate, config.rate, channels)
        for block in stream:
            first, pcm = block.first_sample, chosen_channels(block.pcm, picked, channels)
            if resampler is None:
                yield AudioBlock(block.time_ns, first, pcm)
                continue
            origin = block.time_ns - round(first * 1e9 / stream.rate)
            first, pcm = resampler.push(first, pcm)
            if len(pcm):
                yield AudioBlock(origin + round(first * 1e9 / config.rate), first, pcm)

    kind = f"{stream.rate} Hz, {stream.channels} channel{'s' if stream.channels > 1 else ''}"
    return Microphone(True, config.rate, channels, blocks, stream.close, kind)


def _open_file(path: Path, config: MicrophoneConfig) -> Microphone:
    kind = sound_format(path)

    def blocks() -> Iterator[AudioBlock]:
        later = 0
        while True:
            end, first = 0, round(later * kind.rate / 1e9)
            for block in sound_blocks(path, config.block):
                yield AudioBlock(later + block.time_ns, first + block.first_sample, block.pcm)
                end = block.time_ns + round(len(block.pcm) * 1e9 / kind.rate)
            if not config.loop:
                return
            # A film begins again together with its pictures.
            later += kind.with_pictures_ns if kind.with_pictures_ns > end - _ROUNDING_NS else end

    return Microphone(False, kind.rate, kind.channels, blocks, lambda: None)
