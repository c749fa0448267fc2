"""Sound with the time it was captured, from a device or a file, behind one interface."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from react_ros.sensors.camera import SensorError, reason

STEADY_S = 0.5
"""Over how long a device's report of its own delay is steadied."""


@dataclass(frozen=True, slots=True)
class MicrophoneConfig:
    """What to open and how.

    source: "default", a device's number or part of its name, or a file (wav, flac, mp3, a film with sound, …).
    rate: samples a second asked of a device; a file has its own.
    channels: asked of a device, 1 or 2.
    block: length of a block, s.
    loop: begin a file anew at its end.
    """

    source: str = "default"
    rate: int = 16_000
    channels: int = 1
    block: float = 0.02
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One stretch of sound."""

    time_ns: int
    """Of the first sample: ns since the epoch for a device; ns since the start for a file."""
    first_sample: int
    """Index of the first sample since the source was opened; a gap shows as a jump."""
    samples: npt.NDArray[np.int16]
    """(n, channels)."""


class Microphone:
    """An open source of sound: iterate to read blocks, `close` to let go; `rate` in Hz, `channels` 1 or 2."""

    def __init__(
        self, live: bool, rate: int, channels: int, blocks: Callable[[], Iterator[Block]], close: Callable[[], None]
    ) -> None:
        self.live = live
        self.rate = rate
        self.channels = channels
        self._blocks = blocks
        self.close = close

    def __iter__(self) -> Iterator[Block]:
        return self._blocks()


def open_microphone(config: MicrophoneConfig) -> Microphone:
    """Open what `config.source` names. Raises SensorError with one sentence where that is impossible."""
    path = Path(config.source).expanduser()
    if path.is_file():
        return _file(path, config)
    if path.suffix and ("/" in config.source or path.suffix.lower() in {".wav", ".flac", ".mp3", ".ogg", ".mp4"}):
        raise SensorError(f"sound file {config.source} does not exist")
    return _device(config)


def input_devices() -> list[str]:
    """Names of the microphones that PortAudio finds. Raises SensorError where PortAudio itself is missing."""
    return [device["name"] for device in _sounddevice().query_devices() if device["max_input_channels"] > 0]


def _sounddevice():
    try:
        import sounddevice
    except OSError:
        raise SensorError("sound capture needs the PortAudio library: apt-get install libportaudio2") from None
    return sounddevice


def _device(config: MicrophoneConfig) -> Microphone:
    sounddevice = _sounddevice()
    wanted: str | int | None = None if config.source == "default" else config.source
    if isinstance(wanted, str) and wanted.isdigit():
        wanted = int(wanted)
    names = input_devices()
    if not names:
        raise SensorError("there is no microphone: plug one in, give a sound file, or none to go without")
    blocks: queue.SimpleQueue[Block | None] = queue.SimpleQueue()
    heard = 0
    start_ns = 0
    zeros: deque[int] = deque(maxlen=round(STEADY_S / config.block))

    def captured(data: np.ndarray, frames: int, times, status) -> None:
        nonlocal heard, start_ns
        now = time.time_ns()
        # PortAudio's two clocks share an origin, so their difference is how long ago the first sample was captured;
        # some hosts report no capture time at all (0): then it is the block's own length.
        age = times.currentTime - times.inputBufferAdcTime
        if not times.inputBufferAdcTime > 0 or not frames / config.rate <= age < 1.0:
            age = frames / config.rate
        stamp = now - round(age * 1e9)
        if status.input_overflow and start_ns:
            # Samples were lost: the index jumps to where the clock says we are.
            heard = max(heard, round((stamp - start_ns) * config.rate / 1e9))
            zeros.clear()
        # Sound servers now and then report an age that is far off (PulseAudio by 0.1 to 0.3 s): samples come at their
        # rate, so what most blocks of late say holds for each of them.
        zeros.append(stamp - round(heard * 1e9 / config.rate))
        stamp = sorted(zeros)[len(zeros) // 2] + round(heard * 1e9 / config.rate)
        start_ns = start_ns or stamp
        blocks.put(Block(stamp, heard, data.copy()))
        heard += frames

    try:
        stream = sounddevice.InputStream(
            device=wanted,
            samplerate=config.rate,
            channels=config.channels,
            blocksize=round(config.rate * config.block),
            dtype="int16",
            latency="low",
            callback=captured,
            finished_callback=lambda: blocks.put(None),
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        reason = str(error).split("[")[0].strip().rstrip(".")
        listing = ", ".join(names)
        raise SensorError(f"microphone {config.source!r} does not open ({reason}); there are: {listing}") from None

    def read() -> Iterator[Block]:
        while (block := blocks.get()) is not None:
            yield block

    def close() -> None:
        stream.abort(ignore_errors=True)
        stream.close(ignore_errors=True)
        blocks.put(None)

    return Microphone(True, config.rate, config.channels, read, close)


def _file(path: Path, config: MicrophoneConfig) -> Microphone:
    samples, rate = read_sound(path)
    size = max(1, round(rate * config.block))

    def blocks() -> Iterator[Block]:
        first = 0
        while True:
            for at in range(0, len(samples), size):
                yield Block(round(first * 1e9 / rate), first, samples[at : at + size])
                first += min(size, len(samples) - at)
            if not config.loop:
                return

    return Microphone(False, rate, samples.shape[1], blocks, lambda: None)


def read_sound(path: Path) -> tuple[npt.NDArray[np.int16], int]:
    """Read a whole file as ((n, channels) int16 with 1 or 2 channels, rate in Hz), through libsndfile or else FFmpeg.

    Raises SensorError with one sentence where the file holds no readable sound.
    """
    import soundfile

    try:
        data, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError:
        data, rate = _decode(path)
    if not len(data):
        raise SensorError(f"{path} has no sound in it")
    return np.ascontiguousarray(data[:, :2], np.int16), rate


def _decode(path: Path) -> tuple[npt.NDArray[np.int16], int]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise SensorError(f"{path} has no sound in it")
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="s16", layout="stereo" if stream.channels > 1 else "mono")
            parts = [
                out.to_ndarray().reshape(-1, out.layout.nb_channels)
                for frame in container.decode(stream)
                for out in resampler.resample(frame)
            ]
            rate = stream.rate
    except (OSError, ValueError) as error:
        raise SensorError(f"{path} cannot be read as sound: {reason(error)}") from None
    if not parts:
        raise SensorError(f"{path} has no sound in it")
    return np.concatenate(parts).astype(np.int16), rate
