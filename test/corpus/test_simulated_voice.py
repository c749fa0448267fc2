"""Simulated voices: detected as speech, with measurable pitch, and with matching lips."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.corpus.simulation import SimulatedSession, simulate_session
from react_ros.corpus.simulation.story import Phrase, Syllable, frames_of
from react_ros.corpus.simulation.voice import Voice, articulate, draw_voice, lips_of, sound_of
from react_ros.face import ARKIT_INDEX
from react_ros.perception.acoustics import mfcc, pitch
from react_ros.perception.speech import SpeechDetector

FRAME = 640


@pytest.fixture(scope="module")
def sessions() -> list[SimulatedSession]:
    return [simulate_session(i, seed=3) for i in range(0, 40, 4)]


def windows(session: SimulatedSession) -> np.ndarray:
    return session.speaker.sound.reshape(-1, FRAME)


def laughter(session: SimulatedSession) -> np.ndarray:
    """Frames in and just after laughter."""
    out = np.zeros(len(windows(session)), bool)
    for p in session.performance.story.phrases:
        if p.laughed:
            out[int(p.start * 25) - 2 : int(p.end * 25) + 5] = True
    return out


def say(*phrases: Phrase, voice: Voice | None = None) -> np.ndarray:
    voice = voice or Voice(120.0, 1.0, 0.03, 0.005, 0.03, 0.08, 0.0005)
    return sound_of(articulate(phrases, voice.f0), voice, np.random.default_rng(0))


def held(vowel: str, start: float = 1.0, stress: float = 0.0, ending: str = "level") -> Phrase:
    syllables = (Syllable(start, start + 0.5, "", vowel, stress), Syllable(start + 0.5, start + 1.0, "", vowel, stress))
    return Phrase(syllables, ending, 0.4)  # type: ignore[arg-type]


def rms(sound: np.ndarray, start: float, end: float) -> float:
    return float(np.sqrt(np.mean(sound[int(start * 16_000) : int(end * 16_000)] ** 2)))


def test_speech_detection_hears_phrases_and_pauses(sessions):
    right, of = 0, 0
    for s in sessions:
        detector = SpeechDetector()
        heard = np.array([detector.step(w) > 0.5 for w in windows(s)])
        counted = ~laughter(s)
        right += (heard == frames_of(s.performance.story.phrases))[counted].sum()
        of += counted.sum()
    assert right / of > 0.93


def test_the_estimated_pitch_follows_the_simulated_one(sessions):
    errors, voices = [], []
    for s in sessions:
        plan, sound = s.performance.articulation, s.speaker.sound
        for k in range(1, 750):
            # `pitch` of a stretch belongs to its middle: the beginning of frame k.
            if plan.voicing[8 * k - 2 : 8 * k + 3].min() < 0.5:
                continue
            f0, _ = pitch(sound[(k - 1) * FRAME : (k + 1) * FRAME])
            errors.append(1.0 if f0 == 0.0 else abs(f0 / plan.f0[8 * k] - 1.0))
        voices.append(np.median(plan.f0))
    assert np.median(errors) < 0.01
    assert np.mean(np.array(errors) < 0.05) > 0.93
    assert max(voices) > 1.4 * min(voices)


def test_voices_span_men_and_women():
    drawn = [draw_voice(np.random.default_rng(i)) for i in range(200)]
    f0 = np.array([v.f0 for v in drawn])
    assert f0.min() >= 95.0 and f0.max() <= 230.0 and f0.min() < 105.0 and f0.max() > 215.0
    assert np.corrcoef(f0, [v.tract for v in drawn])[0, 1] > 0.8


def test_formants_stand_where_the_vowel_puts_them():
    for vowel, f1, f2 in (("a", 730.0, 1150.0), ("i", 290.0, 2250.0), ("u", 320.0, 850.0)):
        sound = say(held(vowel))[18_000:30_000]
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / 16_000)
        first, second, beyond = (power[np.abs(hertz - f) < 130.0].sum() for f in (f1, f2, 1.45 * f2 + 150.0))
        assert first > second > 3.0 * beyond, vowel


def test_vowels_have_different_cepstra():
    cepstra = {v: mfcc(say(held(v))[20_000 : 20_000 + FRAME])[1:] for v in "aeiou"}
    again = {v: mfcc(say(held(v))[24_000 : 24_000 + FRAME])[1:] for v in "aeiou"}
    for v in "aeiou":
        distance = {w: np.linalg.norm(again[v] - cepstra[w]) for w in "aeiou"}
        assert min(distance, key=lambda w: distance[w]) == v


def test_emphasis_is_louder_and_higher():
    plan = articulate((held("a"), held("a", 4.0, stress=1.0)), 120.0)
    sound = say(held("a"), held("a", 4.0, stress=1.0))
    assert rms(sound, 4.1, 4.9) > 1.3 * rms(sound, 1.1, 1.9)
    assert plan.f0[800:1000].max() > 1.1 * plan.f0[200:400].max()


def test_phrases_fall_or_rise_at_their_end():
    falls, rises = (articulate((held("a", ending=e),), 120.0).f0 for e in ("fall", "rise"))
    low = falls[330:395]
    assert np.ptp(low) < 2.0 and low.mean() < 0.85 * falls[230]
    assert rises[395] > 1.15 * rises[300]


def test_pauses_hold_only_the_rooms_faint_noise():
    sound = say(held("a"))
    assert 0.0003 < rms(sound, 5.0, 6.0) < 0.0007
    assert rms(sound, 1.2, 1.8) > 50.0 * rms(sound, 5.0, 6.0)


def test_laughter_comes_in_five_bursts_a_second(sessions):
    found = [
        (s, p) for s in [*sessions, *(simulate_session(i, 3) for i in range(1, 40, 5))]
        for p in s.performance.story.phrases if p.laughed
    ]  # fmt: skip
    assert found
    for s, p in found:
        sound = s.speaker.sound[int(p.start * 16_000) : int(p.end * 16_000)].astype(np.float64)
        envelope = np.sqrt(np.convolve(sound**2, np.ones(640) / 640, "same"))[::160]
        spectrum = np.abs(np.fft.rfft(envelope - envelope.mean(), 4096))
        hertz = np.fft.rfftfreq(4096, 0.01)
        band = (hertz > 1.5) & (hertz < 12.0)
        assert hertz[band][spectrum[band].argmax()] == pytest.approx(5.0, abs=0.8)
        assert envelope.max() > 0.02


def test_the_jaw_moves_with_the_sound(sessions):
    best = []
    for s in sessions:
        envelope = np.sqrt((windows(s) ** 2).mean(axis=1))
        jaw = s.speaker.face_model[:, ARKIT_INDEX["jawOpen"]]
        # A frame's sound follows its image: the frame before it is at lag 0, its own at lag 1.
        lags = [np.corrcoef(jaw[2:-2], envelope[1 - lag : len(jaw) - 3 - lag])[0, 1] for lag in (0, 1)]
        best.append(max(*lags, np.corrcoef(jaw[2:-2], envelope[2:-2])[0, 1]))
    assert np.mean(best) > 0.6


def test_lips_close_for_m_b_and_p():
    syllables = tuple(Syllable(1.0 + i, 1.4 + i, c, "a", 0.0) for i, c in enumerate(("m", "b", "p", "s", "l")))
    lips = lips_of(articulate((Phrase(syllables, "level", 0.0),), 120.0))
    press, jaw = lips[:, ARKIT_INDEX["mouthPressLeft"]], lips[:, ARKIT_INDEX["jawOpen"]]
    for i in range(5):
        at = slice(25 * (1 + i), 25 * (1 + i) + 3)
        assert (press[at].max() > 0.08) == (i < 3)
        assert jaw[25 * (1 + i) + 7] > 2.0 * jaw[at].min()


def test_round_vowels_round_the_lips():
    funnel = {v: lips_of(articulate((held(v),), 120.0))[35, ARKIT_INDEX["mouthPucker"]] for v in "aiou"}
    assert min(funnel["o"], funnel["u"]) > 0.2 > 0.05 > max(funnel["a"], funnel["i"])
