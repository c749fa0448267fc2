"""Sound features of a corpus equal those of the live robot, and are cached."""

from __future__ import annotations

import multiprocessing
import wave
from pathlib import Path

import numpy as np
import pytest
import tiny_corpus

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.corpus import sounds
from react_ros.corpus.cache import FeatureCache
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.face import FRAME_NS, SoundState
from react_ros.perception.acoustics import Acoustics
from react_ros.perception.speech import SpeechDetector

NAMES = ("mfcc", "mfcc_delta", "log_energy", "f0", "voicing", "speech_probability", "state")


def voice(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    mono = tiny_corpus.voice(np.random.default_rng(3), seconds, rate)
    return mono if channels == 1 else np.stack([mono, mono // 2], 1)


def live(samples: np.ndarray, rate: int, frames: int) -> dict[str, np.ndarray]:
    """The features of a robot with a 25 fps camera and a microphone that delivers blocks of 20 ms in real time."""
    clock, heard = FrameClock(), list[ClockFrame]()
    events: list[tuple[int, int, np.ndarray | None]] = [(k * FRAME_NS, k, None) for k in range(frames + 3)]
    size = rate // 50
    for at in range(0, len(samples), size):
        block = samples[at : at + size]
        events.append((round((at + len(block)) * 1e9 / rate), at, block))
    for now, number, block in sorted(events, key=lambda e: e[0]):
        if block is None:
            heard += clock.push_image(now, number, now)
        else:
            heard += clock.push_sound(round(number * 1e9 / rate), block, rate, number, now)
    speech, acoustics = SpeechDetector(), Acoustics()
    table = [acoustics.step(f.sound, f.sound_valid, speech.step(f.sound)) for f in heard[:frames]]
    return {name: np.array([getattr(s, name) for s in table]) for name in NAMES}


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 1), (48_000, 2), (8_000, 1)])
def test_the_table_is_what_the_live_robot_computes(rate: int, channels: int) -> None:
    samples = voice(3.0, rate, channels)
    table = sounds.listen(samples, rate).first(70)
    expected = live(samples, rate, 70)
    for name in NAMES:
        np.testing.assert_allclose(getattr(table, name), expected[name], atol=1e-5, err_msg=name)
    assert (table.state[:2] == SoundState.MISSING).all() and (table.state[2:] != SoundState.MISSING).all()


def test_a_frame_has_the_audio_up_to_40_ms_before_it() -> None:
    samples = np.zeros(16_000, np.int16)
    samples[6_400:7_040] = 8_000  # from 0.40 s to 0.44 s: the window of frame 12, which lies at 0.48 s
    table = sounds.listen(samples, 16_000)
    assert np.flatnonzero(table.log_energy > -10).tolist() == [12]


def test_rows_after_the_end_of_the_audio_are_missing() -> None:
    table = sounds.listen(voice(1.0, 16_000), 16_000)
    assert len(table) == 27
    longer = table.first(40)
    assert len(longer) == 40 and (longer.state[27:] == SoundState.MISSING).all()
    assert longer.frame(30).log_energy == -16.0 and longer.frame(30).state is SoundState.MISSING
    np.testing.assert_array_equal(longer.mfcc[:27], table.mfcc)


def test_a_row_is_the_live_features_of_one_frame() -> None:
    table = sounds.listen(voice(1.0, 16_000), 16_000)
    sound = table.frame(9)
    np.testing.assert_array_equal(sound.mfcc, table.mfcc[9])
    assert (sound.f0, sound.voicing) == (float(table.f0[9]), float(table.voicing[9])) and sound.f0 > 60


def test_the_features_of_version_1_are_pinned() -> None:
    """If this fails because the live features changed, increment `sounds.VERSION`: caches hold the old ones."""
    t = np.arange(16_000) / 16_000
    hum = 8_000 * np.sin(2 * np.pi * 200 * t) + 4_000 * np.sin(2 * np.pi * 400 * t)
    table = sounds.listen(hum.astype(np.int16), 16_000)
    assert sounds.VERSION == 1
    np.testing.assert_allclose(table.f0[10], 200.0, atol=0.2)
    np.testing.assert_allclose(table.log_energy[10], np.log((8_000**2 + 4_000**2) / 2 / 32_768**2), atol=1e-3)
    np.testing.assert_allclose(table.mfcc[10, :4], [-68.138, 22.540, 17.558, 8.506], atol=0.01)


def test_a_sound_is_computed_once_for_the_same_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    real = sounds.listen
    monkeypatch.setattr(sounds, "listen", lambda *a: counted.append(1) or real(*a))
    for name in ("a.wav", "b.wav"):
        tiny_corpus.write_wav(tmp_path / name, voice(1.0, 16_000), 16_000)
    first = sounds.sound_table(tmp_path / "a.wav", "a", FeatureCache(tmp_path / "cache"))
    again = sounds.sound_table(tmp_path / "b.wav", "b", FeatureCache(tmp_path / "cache"))
    assert len(counted) == 1
    for name in NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    assert np.load(kept, mmap_mode="r").shape == (27, 57)
    kept.write_bytes(kept.read_bytes()[:1000])
    sounds.sound_table(tmp_path / "a.wav", "a", FeatureCache(tmp_path / "cache"))
    assert len(counted) == 2 and np.load(kept).shape == (27, 57)
    tiny_corpus.write_wav(tmp_path / "a.wav", voice(1.2, 16_000), 16_000)
    assert len(sounds.sound_table(tmp_path / "a.wav", "a", FeatureCache(tmp_path / "cache"))) == 32


def test_unreadable_audio_is_refused_in_one_sentence(tmp_path: Path) -> None:
    store = FeatureCache(tmp_path / "cache")
    with pytest.raises(CorpusError, match=r"clip 1: its audio is missing"):
        sounds.sound_table(tmp_path / "none.wav", "clip 1", store)
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(CorpusError, match=r"clip 1: .*text\.wav"):
        sounds.sound_table(tmp_path / "text.wav", "clip 1", store)
    with wave.open(str(tmp_path / "slow.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(4_000)
        file.writeframes(bytes(8_000))
    with pytest.raises(CorpusError, match="has 4000 Hz, but it must have 6000 to 192000 Hz"):
        sounds.sound_table(tmp_path / "slow.wav", "clip 1", store)


def test_the_cache_is_filled_by_processes_and_unreadable_audio_is_skipped(tmp_path: Path) -> None:
    root = tiny_corpus.write_react2024(tmp_path, sessions=2, frames=30)
    corpus = open_corpus(root, CorpusConfig(frames=30, cache=tmp_path / "cache"))
    persons = corpus.persons("test")
    assert persons[0].audio is not None
    persons[0].audio.write_bytes(b"nothing")
    told: list[tuple[int, int]] = []
    corpus.precompute_sounds(persons, jobs=2, progress=lambda *t: told.append(t))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 3
    assert not multiprocessing.active_children()
    assert len(corpus.sound(persons[1])) == 30


def test_at_30_fps_a_frame_has_the_newest_sound_of_the_live_grid(tmp_path: Path) -> None:
    root = tiny_corpus.write_mars(tmp_path, sessions=(0,), clips=1, frames=61)
    person = open_corpus(root).dyads("test")[0].speaker
    slow = open_corpus(root, CorpusConfig(cache=tmp_path / "c")).sound(person, 50)
    fast = open_corpus(root, CorpusConfig(cache=tmp_path / "c", native_rate=True)).sound(person, 60)
    np.testing.assert_array_equal(fast.mfcc, slow.mfcc[np.arange(60) * 5 // 6])
