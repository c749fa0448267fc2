"""Microphones: blocks of audio with the time of their first sample."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import soundfile

from react_ros.media.errors import MediaError
from react_ros.media.film_writer import FilmWriter
from react_ros.media.sound_reader import read_sound
from react_ros.sensors.microphone import MicrophoneConfig, open_microphone


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_is_read_completely_in_blocks_with_sample_indices(tmp_path, rate, channels):
    samples = np.random.default_rng(0).integers(-9000, 9000, (rate // 3, channels)).astype(np.int16)
    path = tmp_path / "sound.wav"
    soundfile.write(path, samples, rate)
    microphone = open_microphone(MicrophoneConfig(str(path)))
    blocks = list(microphone)
    assert (microphone.rate, microphone.channels, microphone.live) == (rate, channels, False)
    np.testing.assert_array_equal(np.concatenate([b.pcm for b in blocks]), samples)
    ends = np.cumsum([len(b.pcm) for b in blocks])
    assert [b.first_sample for b in blocks] == [0, *ends[:-1]]
    assert all(abs(b.time_ns - b.first_sample * 1e9 / rate) < 1 for b in blocks)


def test_the_sound_of_a_film_is_read_as_well(tmp_path):
    path = tmp_path / "film.mp4"
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.int16)
    with FilmWriter(path, 25, (64, 64), 16000) as film:
        for _ in range(25):
            film.add_image(np.zeros((64, 64, 3), np.uint8))
        film.add_sound(tone)
    samples, rate = read_sound(path)
    assert rate == 16000 and abs(len(samples) - 16000) < 3000
    spectrum = np.abs(np.fft.rfft(samples[2000:14000, 0].astype(float)))
    assert np.argmax(spectrum) * 16000 / 12000 == pytest.approx(440, abs=3)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: str(p / "missing.wav"), "does not exist"),
        (lambda p: _text(p / "text.wav"), "cannot be read as sound"),
        (lambda p: _silent_film(p / "film.mp4"), "no sound"),
        (lambda p: _empty(p / "empty.wav"), "no sound"),
    ],
)
def test_a_file_without_sound_is_named_in_one_sentence(tmp_path, make, sentence):
    with pytest.raises(MediaError, match=sentence) as error:
        open_microphone(MicrophoneConfig(make(tmp_path)))
    assert "\n" not in str(error.value)


def _text(path):
    path.write_text("this is no sound")
    return str(path)


def _silent_film(path):
    with FilmWriter(path, 25, (64, 64)) as film:
        film.add_image(np.zeros((64, 64, 3), np.uint8))
    return str(path)


def _empty(path):
    soundfile.write(path, np.zeros(0, np.int16), 16000)
    return str(path)


def test_a_missing_portaudio_is_named_with_its_remedy(monkeypatch):
    def refuse(name, *rest):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")  # what sounddevice itself says then
        return imported(name, *rest)

    imported = builtins.__import__
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MediaError, match="apt-get install libportaudio2"):
        open_microphone(MicrophoneConfig("default"))
