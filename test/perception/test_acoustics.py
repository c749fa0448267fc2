"""Acoustic features: the MFCC equal torchaudio's, the pitch is correct, any input gives finite values."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.face import FRAME_SAMPLES, SAMPLE_RATE, Floats, Sound, SoundState
from react_ros.perception.acoustics import Acoustics, mfcc
from react_ros.perception.embedding import import_torchaudio


def frames(signal: np.ndarray) -> list[Floats]:
    whole = signal[: len(signal) // FRAME_SAMPLES * FRAME_SAMPLES].astype(np.float32)
    return list(whole.reshape(-1, FRAME_SAMPLES))


def listen(signal: np.ndarray) -> list[Sound]:
    acoustics = Acoustics()
    return [acoustics.step(window) for window in frames(signal)]


def seconds(length: float) -> np.ndarray:
    return np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE


def noise(length: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(length * SAMPLE_RATE))


def vowel(f0: float, length: float, formants=((700, 80), (1200, 90), (2600, 120))) -> np.ndarray:
    """A pulse train through three resonances: a synthetic /a/."""
    phase = np.cumsum(np.full(round(length * SAMPLE_RATE), f0 / SAMPLE_RATE))
    x = np.diff(np.floor(phase), prepend=0.0)
    for centre, bandwidth in formants:
        r = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
        a1, a2 = 2 * r * np.cos(2 * np.pi * centre / SAMPLE_RATE), -r * r
        y1 = y2 = 0.0
        y = np.empty_like(x)
        for i, value in enumerate(x):
            y[i] = value + a1 * y1 + a2 * y2
            y1, y2 = y[i], y1
        x = y
    return 0.3 * x / np.abs(x).max()


@pytest.mark.parametrize("signal", ["noise", "quiet", "tone", "vowel", "clipped", "silence"])
def test_the_cepstrum_is_torchaudios(signal):
    import torch

    transform = import_torchaudio().transforms.MFCC(
        sample_rate=SAMPLE_RATE,
        n_mfcc=26,
        log_mels=True,
        melkwargs={"n_fft": 640, "win_length": 640, "hop_length": 640, "center": False, "n_mels": 40},
    )
    sound = {
        "noise": noise(0.4),
        "quiet": noise(0.4, 1e-4),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * seconds(0.4)),
        "vowel": vowel(120, 0.4),
        "clipped": np.clip(3 * np.sin(2 * np.pi * 200 * seconds(0.4)), -1, 1),
        "silence": np.zeros(6400),
    }[signal]
    ours = np.stack([mfcc(window) for window in frames(sound)])
    theirs = transform(torch.from_numpy(sound.astype(np.float32))).T.numpy()
    assert ours.shape == theirs.shape == (10, 26)
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize("f0", [62, 80, 110.5, 147, 220, 333, 395])
@pytest.mark.parametrize("timbre", ["sine", "harmonics", "vowel"])
def test_the_pitch_of_a_steady_voice_is_within_one_percent(f0, timbre):
    t = seconds(0.6)
    sound = {
        "sine": lambda: 0.3 * np.sin(2 * np.pi * f0 * t),
        "harmonics": lambda: sum(0.2 / k * np.sin(2 * np.pi * k * f0 * t + k) for k in range(1, 8)),
        "vowel": lambda: vowel(f0, 0.6),
    }[timbre]()
    heard = listen(sound + noise(0.6, 1e-3))[3:]
    assert all(s.voicing > 0.8 for s in heard)
    assert all(s.f0 == pytest.approx(f0, rel=0.01) for s in heard)


@pytest.mark.parametrize(("begin", "end"), [(100, 200), (300, 150), (350, 90)])
def test_the_pitch_of_a_glide_is_within_one_percent_of_its_value_40_ms_ago(begin, end):
    length = 2.0
    t = seconds(length)
    ratio = np.log(end / begin) / length
    sound = 0.3 * np.sin(2 * np.pi * begin * (np.exp(ratio * t) - 1) / ratio)
    heard = listen(sound)
    for k in range(2, len(heard)):
        middle = (k + 1) * 0.04 - 0.04
        assert heard[k].f0 == pytest.approx(begin * np.exp(ratio * middle), rel=0.01)


def test_white_noise_and_silence_are_unvoiced():
    for seed in range(5):
        heard = listen(noise(2, seed=seed))
        assert all(s.f0 == 0 and s.voicing < 0.5 for s in heard)
        assert np.mean([s.voicing for s in heard]) < 0.3
    for sound in (np.zeros(16_000), np.full(16_000, 0.5), np.sin(2 * np.pi * 150 * seconds(1)) * 1e-5):
        assert all(s.f0 == 0 and s.voicing == 0 for s in listen(sound))


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 0.01])
def test_log_energy_is_that_of_a_known_tone(amplitude):
    heard = listen(amplitude * np.sin(2 * np.pi * 100 * seconds(0.4)))
    assert all(s.log_energy == pytest.approx(np.log(amplitude**2 / 2), abs=1e-3) for s in heard)
    assert listen(np.zeros(640))[0].log_energy == -16.0


def test_deltas_are_the_slope_of_the_cepstrum_a_frame():
    rng = np.random.default_rng(0)
    level = np.exp(0.25 * np.arange(20)).repeat(FRAME_SAMPLES) * 1e-2
    sound = np.tile(rng.normal(0, 0.1, FRAME_SAMPLES), 20) * level
    heard = listen(sound)
    # A level that grows by e^0.25 a frame adds 0.5 to every log band, so 0.5 * sqrt(40) to the first coefficient.
    assert all(s.mfcc_delta[0] == pytest.approx(0.5 * np.sqrt(40), rel=0.01) for s in heard[6:])
    assert all(np.abs(s.mfcc_delta[1:]).max() < 0.02 for s in heard[6:])
    assert np.abs(heard[0].mfcc_delta).max() < 1e-6


@pytest.mark.parametrize(
    "sound",
    [np.zeros(6400), np.ones(6400), -np.ones(6400), np.sign(noise(0.4)), np.eye(1, 6400)[0], np.full(6400, 1e-30)],
    ids=["silence", "dc", "negative dc", "clipped noise", "click", "denormal"],
)
def test_extreme_sound_gives_finite_features_in_range(sound):
    for s in listen(sound):
        assert np.isfinite(s.mfcc).all() and np.isfinite(s.mfcc_delta).all()
        assert -16.0 <= s.log_energy <= 1e-6 and 0.0 <= s.voicing <= 1.0 and (s.f0 == 0 or 60 <= s.f0 <= 400)
        assert s.mfcc.dtype == s.mfcc_delta.dtype == np.float32


def test_the_future_never_changes_the_past_and_reset_forgets():
    one, other = noise(1, seed=1), noise(1, seed=1)
    other[8000:] = noise(0.5, seed=2)
    first, second = listen(one), listen(other)
    for a, b in zip(first[:12], second[:12], strict=True):
        assert np.array_equal(a.mfcc, b.mfcc) and np.array_equal(a.mfcc_delta, b.mfcc_delta)
        assert (a.f0, a.voicing, a.log_energy) == (b.f0, b.voicing, b.log_energy)
    acoustics = Acoustics()
    for window in frames(noise(1, seed=3)):
        acoustics.step(window, 1.0, 0.9)
    acoustics.reset()
    again = [acoustics.step(window) for window in frames(one)]
    assert all(np.array_equal(a.mfcc_delta, b.mfcc_delta) and a.f0 == b.f0 for a, b in zip(first, again, strict=True))
    assert again[0].state == SoundState.SILENCE


def test_speech_begins_and_ends_with_hysteresis_and_missing_sound_is_missing():
    acoustics, window = Acoustics(), noise(0.04).astype(np.float32)
    states = [acoustics.step(window, 1.0, p).state for p in (0.4, 0.6, 0.4, 0.36, 0.3, 0.4)]
    silence, speech = SoundState.SILENCE, SoundState.SPEECH
    assert states == [silence, speech, speech, speech, silence, silence]
    acoustics.step(window, 1.0, 0.9)
    missing = acoustics.step(np.zeros(640, np.float32), 0.0, 0.9)
    assert missing.state == SoundState.MISSING and not missing.mfcc.any() and missing.log_energy == -16.0
    assert acoustics.step(window, 0.5, 0.4).state == silence, "what was before the gap is forgotten"


def test_features_belong_to_the_caller():
    acoustics = Acoustics()
    window = noise(0.04).astype(np.float32)
    first = acoustics.step(window)
    kept = first.mfcc.copy()
    window[:] = 0
    acoustics.step(window)
    assert np.array_equal(first.mfcc, kept)


def test_a_window_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"shape \(640,\), not \(512,\)"):
        Acoustics().step(np.zeros(512, np.float32))
