"""A story: the script of 30 s of talk (phrases, emotions, head gestures), and its timing with another speaker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from react_ros.corpus.clips import CLIP_FRAMES, SPLITS, Split
from react_ros.corpus.simulation.expressions import SPOKEN, face_of
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Doubles, lognormal, swell
from react_ros.face import FPS
from react_ros.generators.attributes import attributes_of

Ending = Literal["fall", "level", "rise"]

CONSONANTS = ("m", "b", "p", "s", "f", "t", "l", "")
VOWELS = ("a", "e", "i", "o", "u", "ə")


@dataclass(frozen=True, slots=True)
class Syllable:
    """A consonant and a vowel; times in s."""

    start: float
    end: float
    consonant: str
    vowel: str
    stress: float
    """0 unstressed to 1 emphasised."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Talk between two pauses, or a burst of laughter."""

    syllables: tuple[Syllable, ...]
    ending: Ending
    low: float
    """Length of the region of low pitch at the end of a falling phrase, s."""
    yields: bool = False
    """Whether the speaker yields the turn in the pause after it."""
    laughed: bool = False
    plain: bool = False
    """Whether stress and questions are in the voice alone, without raised brows."""

    @property
    def start(self) -> float:
        return self.syllables[0].start

    @property
    def end(self) -> float:
        return self.syllables[-1].end


@dataclass(frozen=True, slots=True)
class Episode:
    """An emotion with its envelope; times in s."""

    kind: str
    onset: float
    apex: float
    release: float
    end: float
    intensity: float
    """0 to 1 of the full expression."""

    def envelope(self) -> Doubles:
        """(751,) 0 to intensity."""
        return self.intensity * swell(TIMES, self.onset, self.apex, self.release, self.end)


@dataclass(frozen=True, slots=True)
class Gesture:
    """A movement of the head about one axis."""

    axis: int
    """0 pitch, 1 yaw, 2 roll."""
    start: float
    seconds: float
    size: float
    """rad, signed."""
    cycles: int = 0
    """Whole cycles of a nod or a shake; 0 for a pose that is held."""


@dataclass(frozen=True, slots=True)
class Story:
    """The script that all speakers of a story share."""

    number: int
    neutral: bool
    """Whether emotions are few and slight."""
    phrases: tuple[Phrase, ...]
    episodes: tuple[Episode, ...]
    gestures: tuple[Gesture, ...]

    @property
    def split(self) -> Split:
        return split_of(self.number)

    def retold(self, rng: np.random.Generator) -> Story:
        """The story with another speaker's timing: times are shifted smoothly by up to 120 ms."""
        knots = np.arange(0.0, SECONDS + 3.0, 3.0)
        shifts = 0.06 * np.clip(rng.standard_normal(len(knots)), -2.0, 2.0)
        shifts[0] = abs(shifts[0])

        def at(time: float) -> float:
            return float(time + np.interp(time, knots, shifts))

        return replace(
            self,
            phrases=tuple(
                replace(p, syllables=tuple(replace(s, start=at(s.start), end=at(s.end)) for s in p.syllables))
                for p in self.phrases
            ),
            episodes=tuple(
                replace(e, onset=at(e.onset), apex=at(e.apex), release=at(e.release), end=at(e.end))
                for e in self.episodes
            ),
            gestures=tuple(replace(g, start=at(g.start)) for g in self.gestures),
        )


PLAIN = 0.6
"""Share of phrases whose stress is in the voice alone, so that video does not suffice."""
SEPARATION = 5.0
"""Least FRDist between the emotions of two stories, so that they stay distinct with any speaker."""
_COARSE = 10
"""Stories are compared at a tenth of the frame rate."""


def split_of(number: int) -> Split:
    """Three of five stories are for training; the first three are in different splits."""
    return SPLITS[(0, 1, 2, 0, 0)[number % 5]]


def stories(seed: int, count: int) -> tuple[Story, ...]:
    """The first `count` stories of a seed, independent of `count`. Any two differ by `SEPARATION`, so that the test
    stories are not close to training stories.

    Raises ValueError where so many different stories cannot be found (above about 200).
    """
    known = _STORIES.setdefault(seed, [])
    while len(known) < count:
        known.append(_draw_distinct(seed, known))
    return tuple(story for story, _ in known[:count])


_STORIES: dict[int, list[tuple[Story, Doubles]]] = {}
"""Stories by seed, each with its emotions (76, 25)."""


def _draw_distinct(seed: int, known: list[tuple[Story, Doubles]]) -> tuple[Story, Doubles]:
    from react_ros.corpus.dtw import frdist_matrix

    others = np.stack([emotions for _, emotions in known]) if known else None
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, len(known))))
    for _ in range(200):
        # A third are neutral, evenly spread over the splits.
        neutral = (len(known) * 7 + 3) % 15 in (0, 2, 5, 9, 12)
        episodes = _draw_episodes(rng, neutral)
        emotions = _emotions(episodes)
        # Each coarse frame stands for ten, so that the sum of squares under the root is ten times as large.
        if others is None or frdist_matrix(emotions[None], others).min() * np.sqrt(_COARSE) >= SEPARATION:
            phrases = draw_phrases(rng, episodes)
            shown = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2, len(known))))
            phrases = tuple(replace(p, plain=bool(shown.random() < PLAIN)) for p in phrases)
            return Story(len(known), neutral, phrases, episodes, draw_gestures(rng, phrases, episodes)), emotions
    raise ValueError(f"no room for more than {len(known)} stories that differ: ask for fewer sessions")


def _emotions(episodes: tuple[Episode, ...]) -> Doubles:
    """(76, 25) attributes of the emotions alone, at a tenth of the frame rate."""
    face = sum((e.envelope()[:, None] * _face(e.kind) for e in episodes), np.zeros((CLIP_FRAMES, 52)))
    return attributes_of(face[::_COARSE]).astype(np.float64)


@cache
def _face(kind: str) -> Doubles:
    return face_of(kind)


def _draw_episodes(rng: np.random.Generator, neutral: bool) -> tuple[Episode, ...]:
    """Emotions one after the other with pauses; consecutive ones differ."""
    count = int(rng.integers(3, 5)) if neutral else int(rng.integers(4, 7))
    lengths = rng.uniform(1.8, 3.0, count) if neutral else rng.uniform(2.2, 4.2, count)
    free = SECONDS - 1.6 - lengths.sum()
    gaps = rng.dirichlet(np.full(count + 1, 2.0)) * free
    out: list[Episode] = []
    time = 0.8
    for gap, length in zip(gaps, lengths, strict=False):
        kinds = [k for k in SPOKEN if not (out and k == out[-1].kind) and not (neutral and k == "laughter")]
        kind = kinds[int(rng.integers(len(kinds)))]
        onset = time + gap
        rise = rng.uniform(0.16, 0.3) if kind == "surprise" else rng.uniform(0.35, 0.7)
        fall = rng.uniform(0.5, 0.9)
        level = float(rng.choice([0.55, 0.7])) if neutral else float(rng.choice([0.7, 0.85, 1.0]))
        out.append(Episode(kind, onset, onset + rise, onset + length - fall, onset + length, level))
        time = onset + length
    return tuple(out)


def draw_phrases(rng: np.random.Generator, episodes: tuple[Episode, ...]) -> tuple[Phrase, ...]:
    """Phrases and pauses between the laughs."""
    laughs = [e for e in episodes if e.kind == "laughter"]
    out: list[Phrase] = []
    time = float(rng.uniform(0.2, 0.9))
    for laugh in [*laughs, None]:
        stop = laugh.onset - 0.1 if laugh else SECONDS - 0.6
        while stop - time >= 0.8:
            length = float(np.clip(lognormal(rng, 1.8, 0.5), 0.8, 4.0))
            # The last phrase is cut at the next laugh.
            length = min(length, stop - time)
            yields = bool(rng.random() < 0.35)
            pause = rng.uniform(0.8, 2.2) if yields else rng.uniform(0.25, 0.75)
            endings: tuple[Ending, ...] = ("fall", "level", "rise")
            ending = endings[int(rng.choice(3, p=(0.6, 0.1, 0.3) if yields else (0.45, 0.45, 0.1)))]
            syllables = _draw_syllables(rng, time, length)
            out.append(Phrase(syllables, ending, float(rng.uniform(0.26, 0.4)), yields))
            time += length + pause
        if laugh:
            out.append(_draw_laughter(rng, laugh))
            time = laugh.release + float(rng.uniform(0.3, 0.6))
    return tuple(out)


def _draw_syllables(rng: np.random.Generator, start: float, length: float) -> tuple[Syllable, ...]:
    count = max(3, round(length * rng.uniform(4.2, 5.6)))
    shares = rng.uniform(0.7, 1.3, count)
    shares[-1] *= 1.5  # final lengthening
    edges = start + length * np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    stressed = rng.random(count) < 0.3
    emphasised = int(rng.integers(0, max(1, count - 2))) if rng.random() < 0.7 else -1
    return tuple(
        Syllable(
            float(edges[i]),
            float(edges[i + 1]),
            CONSONANTS[int(rng.integers(len(CONSONANTS)))],
            VOWELS[int(rng.integers(len(VOWELS)))],
            1.0 if i == emphasised else 0.3 if stressed[i] else 0.0,
        )
        for i in range(count)
    )


def _draw_laughter(rng: np.random.Generator, laugh: Episode) -> Phrase:
    """Breathy bursts, about five a second."""
    period = 1.0 / float(rng.uniform(4.6, 5.4))
    count = max(3, int((laugh.release - laugh.onset) / period))
    starts = laugh.onset + 0.05 + period * (np.arange(count) + 0.1 * np.clip(rng.standard_normal(count), -2.0, 2.0))
    vowel = ("a", "ə", "e")[int(rng.integers(3))]
    bursts = tuple(Syllable(float(s), float(s + 0.85 * period), "h", vowel, 0.6) for s in starts)
    return Phrase(bursts, "level", 0.0, laughed=True)


def draw_gestures(
    rng: np.random.Generator, phrases: tuple[Phrase, ...], episodes: tuple[Episode, ...]
) -> tuple[Gesture, ...]:
    """Beats on emphasised syllables, shakes and tilts with emotions, turns and nods in between."""
    out: list[Gesture] = []
    for phrase in phrases:
        if phrase.laughed:
            out.append(Gesture(0, phrase.start, phrase.end - phrase.start, -rng.uniform(0.06, 0.12)))
            continue
        out += [Gesture(0, s.start - 0.06, 0.36, rng.uniform(0.03, 0.06), 1) for s in phrase.syllables if s.stress >= 1]
        pose = float(rng.choice([-1.0, 1.0])) * rng.uniform(0.05, 0.14)
        if phrase.ending == "rise":
            out.append(Gesture(2, phrase.end - 0.6, 1.5, pose))
        elif rng.random() < 0.5:
            out.append(
                Gesture(int(rng.integers(3)), phrase.start - 0.1, max(1.1, 0.7 * (phrase.end - phrase.start)), pose)
            )
        if phrase.yields and phrase.ending == "fall" and rng.random() < 0.5:
            out.append(Gesture(0, phrase.end - 0.3, 0.7, rng.uniform(0.05, 0.09), 2))
    for e in episodes:
        if e.kind in ("sadness", "disgust", "indignation"):
            out.append(Gesture(1, e.apex, 1.0, rng.uniform(0.06, 0.1), 2))
        if e.kind in ("sadness", "worry"):
            out.append(Gesture(0, e.onset, e.end - e.onset, rng.uniform(0.06, 0.12)))
        elif e.kind in ("surprise", "disgust"):
            out.append(Gesture(0, e.onset, min(1.6, e.end - e.onset), -rng.uniform(0.05, 0.1)))
        elif e.kind in ("irony", "joy"):
            out.append(Gesture(2, e.onset, e.end - e.onset, float(rng.choice([-1.0, 1.0])) * rng.uniform(0.05, 0.12)))
    return tuple(out)


def frames_of(phrases: tuple[Phrase, ...]) -> np.ndarray:
    """(751,) whether a frame lies in a phrase, laughter excluded."""
    inside = np.zeros(CLIP_FRAMES, bool)
    for phrase in phrases:
        if not phrase.laughed:
            inside[int(np.ceil(phrase.start * FPS)) : int(phrase.end * FPS) + 1] = True
    return inside
