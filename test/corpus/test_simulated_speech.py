"""Simulated speech: reproducible, timed exactly, and heard by our own perception as planned."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from react_ros.corpus.clips import CorpusError
from react_ros.corpus.simulation import speech
from react_ros.corpus.simulation.channel import draw_channel, through
from react_ros.corpus.simulation.prosody import Clause, Talk, clause_text, draw_pause
from react_ros.corpus.simulation.speech import Speaker, Speech, draw_speaker, draw_talk, lips, render
from react_ros.face import ARKIT_INDEX
from react_ros.perception.acoustics import pitch

RATE, FRAME = 16_000, 640


def person(f0: float = 120.0, seed: int = 0) -> Speaker:
    return replace(draw_speaker(np.random.default_rng(seed)), source="network", f0=f0, breath=-0.5, inhales=0.0)


def said(*clauses: Clause, f0: float = 120.0, **more) -> Speech:
    return render(Talk(1.0, clauses), person(f0), np.random.default_rng(1), **more)


def heard_pitch(sound: np.ndarray) -> np.ndarray:
    """(750,) F0 of each boundary of frames, as the live code reads it; 0 where unvoiced."""
    return np.array([pitch(sound[k * FRAME : (k + 2) * FRAME])[0] for k in range(750)])


def loudness(sound: np.ndarray) -> np.ndarray:
    """(3004,) root mean square of 10 ms."""
    return np.sqrt((sound.reshape(-1, 160).astype(np.float64) ** 2).mean(axis=1))


@pytest.fixture(scope="module")
def talk() -> Speech:
    rng = np.random.default_rng(5)
    speaker = person(seed=5)
    return render(draw_talk(rng, speaker, 0.9), speaker, rng, laughs=[(8.0, 1.2)])


def test_the_same_seed_gives_the_same_bytes() -> None:
    def one(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        speaker = draw_speaker(rng)
        speaker = replace(speaker, source="network", channel=replace(speaker.channel, babble=0.0))
        return render(draw_talk(rng, speaker, 0.3), speaker, rng).sound.tobytes()

    assert one(3) == one(3) != one(4)


def test_phonemes_are_where_the_sound_is(talk: Speech) -> None:
    level = loudness(talk.clean)
    talking = np.zeros(len(level), bool)
    for s in talk.sounds:
        assert 0.0 <= s.start < s.end <= 30.04
        talking[int(s.start * 100) : int(np.ceil(s.end * 100))] = True
    loud = level > 0.1 * np.quantile(level, 0.95)
    assert talking[loud].mean() > 0.97
    away = ~np.convolve(talking, np.ones(21), "same").astype(bool)
    assert away.sum() > 100 and level[away].max() < 0.1 * np.quantile(level, 0.95)
    vowels = np.zeros(len(level), bool)
    for s in talk.sounds:
        if s.kind in speech.VOWELS:
            vowels[int(s.start * 100) : int(s.end * 100)] = True
    assert np.median(level[vowels]) > 2.0 * np.median(level[talking & ~vowels])


def test_phrases_hold_their_sounds_in_order(talk: Speech) -> None:
    for p, q in zip(talk.phrases, talk.phrases[1:], strict=False):
        assert 0.0 <= p.start < p.end <= q.start + 1e-9
    for s in talk.sounds:
        assert any(p.start - 0.05 <= s.start and s.end <= p.end + 0.05 for p in talk.phrases), s


def test_talk_pauses_around_a_laugh(talk: Speech) -> None:
    (laugh,) = [p for p in talk.phrases if p.laughed]
    assert laugh.start == pytest.approx(8.0, abs=0.02) and laugh.end <= 9.2
    assert all(p.end <= 8.0 or p.start >= 9.2 for p in talk.phrases if not p.laughed)
    bursts = [s for s in talk.sounds if s.kind == "laugh"]
    assert 3 <= len(bursts) <= 7


@pytest.mark.parametrize("f0", (105.0, 200.0))
def test_endings_have_the_pitch_that_they_claim(f0: float) -> None:
    """A rise ends well above its middle; a low ending stays below the rest for 110 ms at least."""
    text = "they wanted to move away"
    spoken = said(
        *(Clause(text, "", "rise", 0.8, rise=6.0) for _ in range(3)),
        *(Clause(text, "", "fall", 0.8, low=0.32) for _ in range(3)),
        f0=f0,
    )  # fmt: skip
    heard = heard_pitch(spoken.clean / np.abs(spoken.clean).max())
    assert [p.ending for p in spoken.phrases] == ["rise"] * 3 + ["fall"] * 3
    middles = []
    for p in spoken.phrases:
        at = slice(int(p.start * 25), int(p.end * 25))
        middles.append(np.median(heard[at][heard[at] > 0.0]))
    level = float(np.median(middles))
    for p in spoken.phrases:
        last = heard[int((p.end - 0.45) * 25) : int(p.end * 25)]
        voiced = last[last > 0.0]
        if p.ending == "rise":
            assert voiced[-3:].max() > 1.18 * level, p
        else:
            assert p.low >= 0.11 and (voiced < 0.85 * level).sum() * 0.04 >= 0.11, p


def test_emphasis_is_heard_where_it_is_claimed() -> None:
    plain = said(Clause("he told me that the doctor sold the house", "", "level", 0.5))
    strong = said(Clause("he told me that the doctor sold the house", "", "level", 0.5, emphasis=2))
    assert not plain.phrases[0].stresses and len(strong.phrases[0].stresses) == 2
    before, after = (heard_pitch(s.clean / np.abs(s.clean).max()) for s in (plain, strong))
    both = (before > 0.0) & (after > 0.0)
    higher = np.where(both, after / np.maximum(before, 1.0), 1.0)
    times = (np.arange(750) + 1) / 25
    for t in strong.phrases[0].stresses:
        assert higher[np.abs(times - t) < 0.1].max() > 1.15
    far = both & (np.abs(times[:, None] - strong.phrases[0].stresses).min(axis=1) > 0.35)
    assert far.sum() > 2 and np.median(higher[far]) == pytest.approx(1.0, abs=0.03)


def test_mood_moves_pitch_and_loudness() -> None:
    clause = Clause("nobody knew about the wedding", "", "level", 0.5)
    calm, high, loud = (
        said(clause, pitch=np.full(751, p), effort=np.full(751, e)) for p, e in ((1.0, 1.0), (1.2, 1.0), (1.0, 1.5))
    )
    a, b = (heard_pitch(s.clean / np.abs(s.clean).max()) for s in (calm, high))
    assert np.median(b[b > 0]) == pytest.approx(1.2 * np.median(a[a > 0]), rel=0.06)
    assert loud.clean.std() == pytest.approx(1.5 * calm.clean.std(), rel=0.12)


def test_a_silent_speaker_leaves_the_rooms_noise() -> None:
    speaker = person()
    rng = np.random.default_rng(0)
    quiet = render(draw_talk(rng, speaker, 0.0), speaker, rng)
    assert not quiet.sounds and not quiet.phrases and not quiet.clean.any()
    assert 0.0 < quiet.sound.std() < 0.02


def test_pauses_are_of_three_kinds() -> None:
    rng = np.random.default_rng(0)
    pauses = np.array([draw_pause(rng) for _ in range(4000)])
    brief, long = (pauses < 0.2).mean(), (pauses > 1.0).mean()
    assert 0.33 < brief < 0.52 and 0.08 < long < 0.2 and pauses.min() >= 0.04 and pauses.max() <= 3.5


def test_amount_is_the_share_of_talk() -> None:
    shares = []
    for amount in (0.15, 0.5, 0.95):
        spoken = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            _, clauses = (
                draw_talk(rng, person(seed=seed), amount).start,
                draw_talk(rng, person(seed=seed), amount).clauses,
            )
            words, silence = sum(0.26 * max(c.words, 1) for c in clauses), sum(c.pause for c in clauses)
            spoken.append(words / (words + silence))
        shares.append(np.mean(spoken))
    assert shares[0] < 0.3 < shares[1] < 0.65 < shares[2]


def test_turns_end_with_a_long_pause() -> None:
    clauses = [c for seed in range(8) for c in draw_talk(np.random.default_rng(seed), person(seed=seed), 0.6).clauses]
    ends = [c for c in clauses if c.turn_end]
    assert ends and min(c.pause for c in ends[:-1]) >= 1.4
    assert any(c.ending == "held" for c in clauses) and not all(c.clause_end for c in clauses)


def test_clauses_are_many() -> None:
    rng = np.random.default_rng(0)
    assert len({clause_text(rng) for _ in range(500)}) > 400


def test_formants_are_one_more_source() -> None:
    rng = np.random.default_rng(2)
    speaker = replace(person(), source="formants")
    spoken = render(draw_talk(rng, speaker, 0.9), speaker, rng, laughs=[(12.0, 1.0)])
    assert len(spoken.phrases) > 6 and spoken.sound.shape == (480640,) and spoken.sound.std() > 0.005


def test_lips_close_for_bilabials_and_open_for_vowels(talk: Speech) -> None:
    face = lips(talk.sounds)
    jaw, press = face[:, ARKIT_INDEX["jawOpen"]], face[:, ARKIT_INDEX["mouthPressLeft"]]
    at = {
        kinds: [min(round((s.start + s.end) / 2 * 25), 750) for s in talk.sounds if s.kind in kinds]
        for kinds in ("ɑæWI", "mbp")
    }
    assert jaw[at["ɑæWI"]].mean() > 2.5 * jaw[at["mbp"]].mean()
    assert press[at["mbp"]].mean() > 4.0 * press[at["ɑæWI"]].mean()
    assert face.min() >= 0.0 and face.max() <= 1.0 and not lips(()).any()
    assert lips(talk.sounds, jaw=1.5)[:, ARKIT_INDEX["jawOpen"]].max() > 1.3 * jaw.max()


def test_the_channel_sets_level_and_noise() -> None:
    rng = np.random.default_rng(0)
    channel = replace(draw_channel(rng), level=-6.0, noise=30.0, babble=0.0)
    tone = np.zeros(480640, np.float32)
    tone[160_000:320_000] = np.sin(np.arange(160_000) * 2 * np.pi * 300 / RATE)
    out = through(tone, channel, rng)
    energy = np.log((out.reshape(-1, FRAME) ** 2).mean(axis=1))
    assert energy[300:450].mean() == pytest.approx(-6.0, abs=0.3)
    assert energy[:200].mean() == pytest.approx(-6.0 - 30.0 / 4.343, abs=0.7)
    assert np.abs(through(100.0 * tone, replace(channel, level=0.5), rng)).max() <= 1.0


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    speech._network.cache_clear()
    try:
        with pytest.raises(CorpusError, match=r'pip install "react_ros\[corpus\]"'):
            said(Clause("hello there nobody", "", "level", 0.1))
    finally:
        speech._network.cache_clear()


def test_the_package_is_imported_on_use_only() -> None:
    code = "import sys, react_ros.corpus.simulation.speech; print(sorted({'hibari', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
