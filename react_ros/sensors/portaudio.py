"""PortAudio: the devices that it lists, a stream of one of them, and getting rid of both when they hang."""

from __future__ import annotations

import difflib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from react_ros.media.errors import MediaError, Unavailable
from react_ros.media.sound_reader import AudioBlock

AGE_MEDIAN_S = 0.5
"""Length of the median filter over the capture delay that a device reports."""
FIRST_BLOCK_S = 6.0
"""Longest wait for a device's first block."""
NEXT_BLOCK_S = 3.0
"""Longest wait for a device's next block; it is then opened again."""
CLOSE_S = 1.0
"""Longest wait for a stream to close: those of a sound server that hangs do not."""
_RATES = (48_000, 44_100, 32_000, 96_000, 22_050, 16_000, 8_000, 192_000)
"""Rates tried where a device has neither the one asked for nor its own default, Hz."""
_LARGEST = 64
"""Most channels opened: virtual devices claim any number."""
_MISMATCH = (-9997, -9998)
"""PortAudio's errors paInvalidSampleRate and paInvalidChannelCount."""

_streams = 0
"""Open streams in this process."""
_closing: list[threading.Thread] = []


def library() -> Any:
    """The module sounddevice. Raises MediaError where PortAudio is not installed."""
    try:
        import sounddevice
    except OSError:
        raise MediaError("sound capture needs the PortAudio library: apt-get install libportaudio2") from None
    return sounddevice


def refresh() -> None:
    """Make PortAudio look for devices again: it lists those that there were at its start.

    Raises Unavailable where a stream still hangs.
    """
    _closing[:] = [thread for thread in _closing if thread.is_alive()]
    if _closing:
        raise Unavailable("the sound library hangs on a microphone that it cannot close")
    sounddevice = library()
    if not _streams:
        with suppress(Exception):
            sounddevice._terminate()
        sounddevice._initialize()


def input_names() -> list[str]:
    """Names of the input devices. Raises MediaError where PortAudio is not installed."""
    return [device["name"] for device in library().query_devices() if device["max_input_channels"] > 0]


class DeviceStream:
    """A running capture: iterate for `AudioBlock`s at the device's own rate and channels, then `close`."""

    def __init__(self, source: str, rate: int, channels: int, block_s: float, least_channels: int) -> None:
        """source: "default", a device's number, or a part of its name. rate, channels: asked for; the device's own are
        taken where it does not have them, with `least_channels` or more. Raises MediaError with one sentence.
        """
        refresh()
        sounddevice = library()
        names = input_names()
        if not names:
            raise MediaError(
                f"there is no microphone {source!r}: this machine has no sound input; connect one, give a sound file, "
                'or "none" to run without'
            )
        self._source, self._names = source, names
        device: str | int | None = None if source == "default" else int(source) if source.isdigit() else source
        try:
            info = sounddevice.query_devices(device, "input")
            self.rate, self.channels = self._settings(sounddevice, device, info, rate, channels, least_channels)
        except (sounddevice.PortAudioError, ValueError) as error:
            raise self._refusal(error) from None
        self._blocks: queue.SimpleQueue[AudioBlock | None] = queue.SimpleQueue()
        self._count = self._start_ns = 0
        # Time of sample 0 according to each recent block, ns.
        self._origins: deque[int] = deque(maxlen=max(round(AGE_MEDIAN_S / block_s), 1))
        self._open(sounddevice, device, block_s)

    def _settings(
        self, sounddevice: Any, device: Any, info: Any, rate: int, channels: int, least_channels: int
    ) -> tuple[int, int]:
        """Rate and number of channels that the device opens with: those asked for where possible."""
        most = min(int(info["max_input_channels"]), _LARGEST)
        if least_channels > most:
            raise MediaError(f"microphone {self._source!r} has {most} channels: channel {least_channels} is not there")
        numbers = [n for n in (max(channels, least_channels), most, 2, 1) if least_channels <= n <= most]
        rates = [rate, round(info["default_samplerate"]), *_RATES]
        failure: Exception | None = None
        for number in dict.fromkeys(numbers):
            for hz in dict.fromkeys(rates):
                try:
                    sounddevice.check_input_settings(device=device, channels=number, dtype="int16", samplerate=hz)
                    return hz, number
                except sounddevice.PortAudioError as error:
                    failure = failure or error
                    if len(error.args) > 1 and error.args[1] not in _MISMATCH:
                        raise
        assert failure is not None
        raise failure

    def _refusal(self, error: Exception) -> MediaError:
        reason = " ".join(str(error).split("[")[0].split()).rstrip(".:")
        near = difflib.get_close_matches(self._source, self._names, 1, 0.5)
        hint = f", did you mean {near[0]!r}?" if near else ""
        listing = ", ".join(dict.fromkeys(self._names))
        return MediaError(f"microphone {self._source!r} does not open ({reason}{hint}); there are: {listing}")

    def _open(self, sounddevice: Any, device: Any, block_s: float) -> None:
        global _streams
        try:
            self._stream = sounddevice.InputStream(
                device=device,
                samplerate=self.rate,
                channels=self.channels,
                blocksize=round(self.rate * block_s),
                dtype="int16",
                latency="low",
                callback=self._on_block,
                finished_callback=lambda: self._blocks.put(None),
            )
            _streams += 1
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            if hasattr(self, "_stream"):
                self.close()
            raise self._refusal(error) from None

    def _on_block(self, data: np.ndarray, frames: int, times: Any, status: Any) -> None:
        now = time.time_ns()
        # PortAudio's two times share an origin: their difference is the age of the first sample. Some host APIs report
        # no capture time (0): the age is then taken as the length of the block.
        age = times.currentTime - times.inputBufferAdcTime
        if not times.inputBufferAdcTime > 0 or not frames / self.rate <= age < 1.0:
            age = frames / self.rate
        stamp = now - round(age * 1e9)
        if status.input_overflow and self._start_ns:
            # Samples were lost: advance the sample index to where the clock puts it.
            self._count = max(self._count, round((stamp - self._start_ns) * self.rate / 1e9))
            self._origins.clear()
        # Sound servers sometimes report a wrong age (PulseAudio by 0.1 to 0.3 s). Samples arrive at a constant rate, so
        # the median over the recent blocks holds for each of them.
        at = round(self._count * 1e9 / self.rate)
        self._origins.append(stamp - at)
        stamp = sorted(self._origins)[len(self._origins) // 2] + at
        self._start_ns = self._start_ns or stamp
        self._blocks.put(AudioBlock(stamp, self._count, data.copy()))
        self._count += frames

    def __iter__(self) -> Iterator[AudioBlock]:
        """Raises Unavailable where the device stops, or delivers nothing for `NEXT_BLOCK_S`; ends after `close`."""
        longest = FIRST_BLOCK_S
        while True:
            try:
                block = self._blocks.get(timeout=longest)
            except queue.Empty:
                raise Unavailable(f"microphone {self._source!r} delivers no audio: is it still connected?") from None
            if block is None:
                raise Unavailable(f"microphone {self._source!r} stopped: is it still connected?")
            longest = NEXT_BLOCK_S
            yield block

    def close(self) -> None:
        """End the capture; returns after `CLOSE_S` at most."""
        global _streams
        stream, self._stream = self._stream, None
        if stream is None:
            return

        def end() -> None:
            global _streams
            with suppress(Exception):
                stream.abort(ignore_errors=True)
            with suppress(Exception):
                stream.close(ignore_errors=True)
            _streams -= 1

        thread = threading.Thread(target=end, name="closing", daemon=True)
        thread.start()
        thread.join(CLOSE_S)
        if thread.is_alive():
            _closing.append(thread)
        self._blocks.put(None)
