"""Sound devices that have neither 16 kHz nor one channel, or are not there. (The devices are simulated: a stand-in for
sounddevice with one input of fixed rates and channels; `test/nodes/test_microphone.py` records from a real server.)"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from react_ros.media.errors import MediaError, Unavailable
from react_ros.sensors import portaudio
from react_ros.sensors.device_sound import StreamResampler, chosen_channels, parse_channel
from react_ros.sensors.microphone import MicrophoneConfig, open_microphone


class Library:
    """Stands in for sounddevice: `devices` are name to (rates, channels); each delivers tones, 200 Hz times the number
    of the channel, in real time."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.devices: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {"ReSpeaker 6 Mic Array": ((48_000,), (6,))}
        self.scans = 0
        self.opened: list[Any] = []

    def _initialize(self) -> None:
        self.scans += 1

    def _terminate(self) -> None:
        return

    def query_devices(self, device: Any = None, kind: str = "") -> Any:
        listed = [
            {"name": name, "max_input_channels": max(c), "default_samplerate": float(r[0]), "index": i}
            for i, (name, (r, c)) in enumerate(self.devices.items())
        ]
        if not kind:
            return listed
        if device is None:
            return listed[0]
        found = [d for d in listed if device == d["index"] or (isinstance(device, str) and device in d["name"])]
        if not found:
            raise ValueError(f"No input device matching {device!r}")
        return found[0]

    def check_input_settings(self, device: Any, channels: int, dtype: str, samplerate: float) -> None:
        rates, counts = self.devices[self.query_devices(device, "input")["name"]]
        if channels not in counts:
            raise self.PortAudioError("Error: Invalid number of channels [PaErrorCode -9998]", -9998)
        if samplerate not in rates:
            raise self.PortAudioError("Error: Invalid sample rate [PaErrorCode -9997]", -9997)

    def InputStream(self, **options: Any) -> Any:
        self.check_input_settings(options["device"], options["channels"], options["dtype"], options["samplerate"])
        stop, rate, size = threading.Event(), options["samplerate"], options["blocksize"]

        def run() -> None:
            n = 0
            while not stop.wait(0.002):  # faster than real time
                t = (n + np.arange(size))[:, None] / rate
                tones = 9000 * np.sin(2 * np.pi * 200 * (1 + np.arange(options["channels"])) * t)
                times = SimpleNamespace(currentTime=0.0, inputBufferAdcTime=0.0)
                options["callback"](tones.astype(np.int16), size, times, SimpleNamespace(input_overflow=False))
                n += size
            options["finished_callback"]()

        thread = threading.Thread(target=run, daemon=True)
        stream = SimpleNamespace(
            start=thread.start, abort=lambda ignore_errors: stop.set(), close=lambda ignore_errors: None,
            options=options, unplug=stop.set,
        )  # fmt: skip
        self.opened.append(stream)
        return stream


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    library = Library()
    monkeypatch.setattr(portaudio, "library", lambda: library)
    yield library
    assert portaudio._streams == 0, "a stream is left open"


def heard(config: MicrophoneConfig, seconds: float = 0.5) -> tuple[np.ndarray, Any]:
    """(n, channels) audio samples, and the microphone."""
    microphone, parts, at = open_microphone(config), [], 0
    for block in microphone:
        assert block.first_sample == at, "a gap or an overlap"
        at += len(block.pcm)
        parts.append(block.pcm)
        if at > seconds * microphone.rate:
            break
    microphone.close()
    return np.concatenate(parts), microphone


def pitch(sound: np.ndarray, rate: int) -> float:
    part = sound[rate // 20 : rate // 20 + rate // 4].astype(float)
    return float(np.abs(np.fft.rfft(part)).argmax()) * rate / len(part)


@pytest.mark.parametrize(("channel", "tone"), [("1", 200), ("3", 600), ("6", 1200)])
def test_one_channel_of_an_array_of_six_at_48_khz_is_heard_at_16_khz(library, channel: str, tone: int) -> None:
    sound, microphone = heard(MicrophoneConfig("ReSpeaker", channel=channel))
    assert (microphone.rate, microphone.channels, microphone.device) == (16_000, 1, "48000 Hz, 6 channels")
    assert pitch(sound[:, 0], 16_000) == pytest.approx(tone, abs=4)
    # Sample for sample the tone: nothing clicks where blocks meet.
    t = np.arange(1000, len(sound)) / 16_000
    assert np.abs(sound[1000:, 0] - 9000 * np.sin(2 * np.pi * tone * t)).max() < 60


def test_channels_are_mixed_or_picked_in_pairs(library) -> None:
    sound, _ = heard(MicrophoneConfig("default"))
    spectrum = np.abs(np.fft.rfft(sound[1000:5000, 0].astype(float)))
    loudest = sorted(np.argsort(spectrum)[-6:] * 4)
    assert loudest == [200, 400, 600, 800, 1000, 1200], "the mix holds every channel"
    sound, microphone = heard(MicrophoneConfig("default", channel="2,4"))
    assert microphone.channels == 2 and [pitch(sound[:, i], 16_000) for i in (0, 1)] == pytest.approx([400, 800], abs=4)


def test_a_device_with_what_is_asked_for_is_left_as_it_is(library) -> None:
    library.devices = {"usb": ((44_100, 16_000), (1, 2))}
    sound, microphone = heard(MicrophoneConfig("default"))
    assert microphone.device == "16000 Hz, 1 channel" and pitch(sound[:, 0], 16_000) == pytest.approx(200, abs=4)
    library.devices = {"usb": ((44_100,), (2,))}
    sound, microphone = heard(MicrophoneConfig("default", channels=2))
    assert (microphone.device, sound.shape[1]) == ("44100 Hz, 2 channels", 2)
    assert pitch(sound[:, 1], 16_000) == pytest.approx(400, abs=4)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (MicrophoneConfig("ReSpaeker 6 Mic Array"), "microphone 'ReSpaeker 6 Mic Array' does not open (No input device "
         "matching 'ReSpaeker 6 Mic Array', did you mean 'ReSpeaker 6 Mic Array'?); there are: ReSpeaker 6 Mic Array"),
        (MicrophoneConfig("9"), "microphone '9' does not open"),
        (MicrophoneConfig(channel="7"), "has 6 channels: channel 7 is not there"),
        (MicrophoneConfig(channel="left"), "channel must be mix, a number from 1, or two numbers"),
        (MicrophoneConfig("http://ann:geheim@h/x"), "microphone http://***@h/x is an address"),
    ],
)  # fmt: skip
def test_a_microphone_that_cannot_be_opened_is_named_with_those_that_can(library, config: Any, says: str) -> None:
    with pytest.raises(MediaError) as caught:
        open_microphone(config)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_machine_without_any_microphone_says_so(library) -> None:
    library.devices = {}
    with pytest.raises(MediaError, match="there is no microphone 'Yeti': this machine has no sound input; connect one"):
        open_microphone(MicrophoneConfig("Yeti"))


def test_an_unplugged_microphone_says_so_and_is_looked_for_anew(library) -> None:
    microphone = open_microphone(MicrophoneConfig("ReSpeaker"))
    blocks = iter(microphone)
    next(blocks)
    library.opened[-1].unplug()
    with pytest.raises(Unavailable, match="microphone 'ReSpeaker' stopped: is it still connected"):
        for _ in blocks:
            pass
    microphone.close()
    scans = library.scans
    open_microphone(MicrophoneConfig("ReSpeaker")).close()
    assert library.scans == scans + 1, "PortAudio knows only the devices of its start"


def test_a_library_that_hangs_does_not_take_the_node_with_it(library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portaudio, "CLOSE_S", 0.05)
    microphone, released = open_microphone(MicrophoneConfig("ReSpeaker")), threading.Event()
    library.opened[-1].close = lambda ignore_errors: released.wait()
    microphone.close()
    with pytest.raises(Unavailable, match="the sound library hangs"):
        open_microphone(MicrophoneConfig("ReSpeaker"))
    released.set()
    end = time.monotonic() + 10
    opened = None
    while opened is None and time.monotonic() < end:
        try:
            opened = open_microphone(MicrophoneConfig("ReSpeaker"))
        except Unavailable:
            time.sleep(0.01)
    assert opened is not None
    opened.close()


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_a_gap_of_the_device_is_a_gap_of_the_resampled_sound(rate: int) -> None:
    resampler = StreamResampler(rate, 16_000, 1)
    t = np.arange(rate) / rate
    tone = (9000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)[:, None]
    size, out = rate // 50, []
    for k in range(50):
        if k not in (20, 21):  # lost
            out.append(resampler.push(k * size, tone[k * size : (k + 1) * size]))
    for first, pcm in out[3:]:
        ideal = 9000 * np.sin(2 * np.pi * 440 * (first + np.arange(len(pcm))) / 16_000)
        if not 20 <= first // 320 < 24:
            assert np.abs(pcm[:, 0] - ideal).max() < 300
    ends = [first + len(pcm) for first, pcm in out]
    jumps = [b[0] - end for end, b in zip(ends, out[1:], strict=False)]
    assert sum(jump > 0 for jump in jumps) == 1 and max(jumps) == pytest.approx(640, abs=80)


def test_channel_texts() -> None:
    assert (parse_channel("mix"), parse_channel("1"), parse_channel("3, 4")) == ((), (0,), (2, 3))
    four = np.arange(8, dtype=np.int16).reshape(2, 4)
    cases: list[tuple[tuple[int, ...], int, Callable[[], Any]]] = [
        ((), 1, lambda: [[2], [6]]), ((), 2, lambda: four[:, :2]), ((3,), 1, lambda: four[:, 3:]),
    ]  # fmt: skip
    for picked, wanted, expected in cases:
        assert np.array_equal(chosen_channels(four, picked, wanted), expected())
