"""Time-stamped sound from a microphone device or a sound file, behind one interface."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from react_ros.media.errors import MediaError
from react_ros.media.sound_reader import AudioBlock, read_sound

AGE_MEDIAN_S = 0.5
"""Length of the median filter over the capture delay that a device reports."""


@dataclass(frozen=True, slots=True)
class MicrophoneConfig:
    """Which microphone to open, and how.

    source: "default", a device's number or part of its name, or a file (wav, flac, mp3, a film with sound, …).
    rate: sample rate in Hz requested from a device; a file has its own.
    channels: requested from a device, 1 or 2.
    block: length of a block, s.
    loop: start a file again when it ends.
    """

    source: str = "default"
    rate: int = 16_000
    channels: int = 1
    block: float = 0.02
    loop: bool = False


class Microphone:
    """An open source of sound: iterate for `AudioBlock`s, then `close`.

    live: True for a device; False for a file, whose reader must pace it. rate: Hz. channels: 1 or 2.
    """

    def __init__(
        self,
        live: bool,
        rate: int,
        channels: int,
        blocks: Callable[[], Iterator[AudioBlock]],
        close: Callable[[], None],
    ) -> None:
        self.live = live
        self.rate = rate
        self.channels = channels
        self._blocks = blocks
        self.close = close

    def __iter__(self) -> Iterator[AudioBlock]:
        return self._blocks()


def open_microphone(config: MicrophoneConfig) -> Microphone:
    """Open `config.source`. Raises MediaError with one sentence where that is impossible."""
    path = Path(config.source).expanduser()
    if path.is_file():
        return _open_file(path, config)
    if path.suffix and ("/" in config.source or path.suffix.lower() in {".wav", ".flac", ".mp3", ".ogg", ".mp4"}):
        raise MediaError(f"sound file {config.source} does not exist")
    return _open_device(config)


def input_devices() -> list[str]:
    """Names of the input devices that PortAudio lists. Raises MediaError where PortAudio is not installed."""
    return [device["name"] for device in _sounddevice().query_devices() if device["max_input_channels"] > 0]


def _sounddevice():
    try:
        import sounddevice
    except OSError:
        raise MediaError("sound capture needs the PortAudio library: apt-get install libportaudio2") from None
    return sounddevice


def _open_device(config: MicrophoneConfig) -> Microphone:
    sounddevice = _sounddevice()
    device: str | int | None = None if config.source == "default" else config.source
    if isinstance(device, str) and device.isdigit():
        device = int(device)
    names = input_devices()
    if not names:
        raise MediaError('there is no microphone: connect one, give a sound file, or "none" to run without')
    blocks: queue.SimpleQueue[AudioBlock | None] = queue.SimpleQueue()
    count = 0
    start_ns = 0
    # Time of sample 0 according to each recent block, ns.
    origins: deque[int] = deque(maxlen=round(AGE_MEDIAN_S / config.block))

    def on_block(data: np.ndarray, frames: int, times, status) -> None:
        nonlocal count, start_ns
        now = time.time_ns()
        # PortAudio's two times share an origin: their difference is the age of the first sample. Some host APIs report
        # no capture time (0): the age is then taken as the length of the block.
        age = times.currentTime - times.inputBufferAdcTime
        if not times.inputBufferAdcTime > 0 or not frames / config.rate <= age < 1.0:
            age = frames / config.rate
        stamp = now - round(age * 1e9)
        if status.input_overflow and start_ns:
            # Samples were lost: advance the sample index to where the clock puts it.
            count = max(count, round((stamp - start_ns) * config.rate / 1e9))
            origins.clear()
        # Sound servers sometimes report a wrong age (PulseAudio by 0.1 to 0.3 s). Samples arrive at a constant rate, so
        # the median over the recent blocks holds for each of them.
        origins.append(stamp - round(count * 1e9 / config.rate))
        stamp = sorted(origins)[len(origins) // 2] + round(count * 1e9 / config.rate)
        start_ns = start_ns or stamp
        blocks.put(AudioBlock(stamp, count, data.copy()))
        count += frames

    try:
        stream = sounddevice.InputStream(
            device=device,
            samplerate=config.rate,
            channels=config.channels,
            blocksize=round(config.rate * config.block),
            dtype="int16",
            latency="low",
            callback=on_block,
            finished_callback=lambda: blocks.put(None),
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        reason = str(error).split("[")[0].strip().rstrip(".")
        listing = ", ".join(names)
        raise MediaError(f"microphone {config.source!r} does not open ({reason}); there are: {listing}") from None

    def read() -> Iterator[AudioBlock]:
        while (block := blocks.get()) is not None:
            yield block

    def close() -> None:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
        blocks.put(None)

    return Microphone(True, config.rate, config.channels, read, close)


def _open_file(path: Path, config: MicrophoneConfig) -> Microphone:
    pcm, rate = read_sound(path)
    size = max(1, round(rate * config.block))

    def blocks() -> Iterator[AudioBlock]:
        first = 0
        while True:
            for at in range(0, len(pcm), size):
                yield AudioBlock(round(first * 1e9 / rate), first, pcm[at : at + size])
                first += min(size, len(pcm) - at)
            if not config.loop:
                return

    return Microphone(False, rate, pcm.shape[1], blocks, lambda: None)
