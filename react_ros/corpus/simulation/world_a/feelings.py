"""What a speaker of world A feels over 30 s, and what else their face does: a story that several speakers share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from react_ros.corpus.clips import CLIP_FRAMES, Split
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Doubles, lognormal, swell
from react_ros.corpus.simulation.story import split_of
from react_ros.corpus.simulation.world_a.faces import BENIGN
from react_ros.face import FPS

JOYFUL = ("joy", "laughter", "polite")
DISTRESSED = ("sadness", "pout", "crying", "sobbing", "pain", "worry")
HOSTILE = ("anger", "shouting", "disgust")
FEELINGS = {
    "joy": 0.3, "laughter": 0.13, "polite": 0.1, "sadness": 0.07, "pout": 0.02, "crying": 0.05, "sobbing": 0.03,
    "pain": 0.03, "worry": 0.06, "anger": 0.05, "shouting": 0.02, "disgust": 0.03, "surprise": 0.08, "contempt": 0.03,
}  # fmt: skip
"""Share of each feeling. "polite" is a slight closed smile while talking."""


@dataclass(frozen=True, slots=True)
class Feeling:
    """One feeling, or one benign movement, with its envelope; times in s, onset below 0 where it began before."""

    kind: str
    onset: float
    rise: float
    release: float
    """When it begins to ebb."""
    fall: float
    strength: float
    """0 to 1.1 of the full expression."""
    sway: float
    """Share by which it ebbs and grows meanwhile."""
    openness: float
    """Of a smile: 0 closed to 1 open."""
    knitted: float
    """Of joyful feelings: how far the brows are lowered with it."""
    seed: int

    @property
    def end(self) -> float:
        return self.release + self.fall

    def envelope(self) -> Doubles:
        """(751,) 0 to strength."""
        rng = np.random.default_rng(self.seed)
        shape = swell(TIMES, self.onset, self.onset + self.rise, self.release, self.end)
        knots = np.arange(-25.0, SECONDS + 25.0, rng.uniform(0.3, 2.0))
        slow = np.interp(TIMES, knots, rng.random(len(knots)))
        width = max(int(0.2 * FPS), 1)
        slow = np.convolve(np.pad(slow, width, "edge"), np.hanning(2 * width + 1) / width, "same")[width:-width]
        return self.strength * shape * (1.0 - self.sway * np.clip(slow, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Story:
    """30 s of feelings and movements."""

    number: int
    feelings: tuple[Feeling, ...]
    movements: tuple[Feeling, ...]
    """Benign: no listener answers them."""
    talk: float
    """How much the speakers talk, 0 (silent) to 1 (without end)."""

    @property
    def split(self) -> Split:
        return split_of(self.number)

    def retold(self, rng: np.random.Generator) -> Story:
        """With another speaker's timing: each feeling is shifted by up to 150 ms."""

        def moved(f: Feeling) -> Feeling:
            shift = 0.075 * float(np.clip(rng.standard_normal(), -2.0, 2.0))
            return replace(f, onset=f.onset + shift, release=f.release + shift, seed=f.seed)

        return replace(self, feelings=tuple(map(moved, self.feelings)), movements=tuple(map(moved, self.movements)))


def draw_story(number: int, seed: int) -> Story:
    """Story `number` of a seed."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(10, number)))
    kind = rng.random()
    talk = 0.0 if kind < 0.2 else 1.0 if kind < 0.4 else float(rng.uniform(0.35, 0.95))
    density = rng.random()
    # Some people hardly show anything, some are moved all the time.
    gap = 60.0 if density < 0.12 else 12.0 if density < 0.3 else 4.0 if density < 0.65 else 1.6
    mood = rng.choice(["mixed", "glad", "troubled"], p=(0.55, 0.27, 0.18))
    return Story(number, _draw_feelings(rng, gap, str(mood)), _draw_movements(rng), talk)


def _draw_feelings(rng: np.random.Generator, gap: float, mood: str) -> tuple[Feeling, ...]:
    shares = {
        kind: share * (3.0 if mood == "glad" and kind in JOYFUL else 1.0)
        * (5.0 if mood == "troubled" and kind in DISTRESSED else 1.0)
        for kind, share in FEELINGS.items()
    }  # fmt: skip
    total = sum(shares.values())
    names, p = list(shares), [share / total for share in shares.values()]
    out: list[Feeling] = []
    begun = rng.random() < 0.3
    time = -float(rng.uniform(0.5, 8.0)) if begun else float(rng.exponential(0.7 * gap))
    while time < SECONDS - 0.4:
        kind = names[int(rng.choice(len(names), p=p))]
        median = {"surprise": 1.2, "laughter": 2.4, "contempt": 1.5, "polite": 2.0, "crying": 4.0}.get(kind, 2.5)
        length = float(np.clip(lognormal(rng, median, 0.95), 0.3, 20.0))
        if begun and not out:
            length = max(length, 0.8 - time)
        if kind in ("joy", "polite", "laughter") and rng.random() < 0.35:  # a smile flits by
            length = float(rng.uniform(0.3, 1.3))
        quick = kind == "surprise" or rng.random() < 0.5
        rise = min(float(rng.uniform(0.1, 0.3) if quick else rng.uniform(0.2, 0.9)), 0.45 * length)
        fall = min(float(rng.uniform(0.12, 0.5) if rng.random() < 0.5 else rng.uniform(0.3, 1.2)), 0.5 * length)
        strength = float(rng.uniform(0.2, 0.55) if kind == "polite" else rng.uniform(0.25, 1.1))
        out.append(
            Feeling(
                kind,
                time,
                rise,
                time + length - fall,
                fall,
                strength,
                float(rng.uniform(0.0, 0.5)),
                float(np.clip(rng.normal(0.75 if kind == "laughter" else 0.4, 0.35), 0.0, 1.0)),
                float(rng.uniform(0.0, 1.0) if rng.random() < 0.25 else 0.0),
                int(rng.integers(2**31)),
            )
        )
        mixed = rng.random() < 0.15
        time += length * float(rng.uniform(0.3, 0.9)) if mixed else length + float(rng.exponential(gap)) + 0.2
    return tuple(out)


def _draw_movements(rng: np.random.Generator) -> tuple[Feeling, ...]:
    """Up to a dozen movements that mean nothing by themselves, and for some speakers chewing."""
    out: list[Feeling] = []
    time = float(rng.exponential(3.0))
    pause = float(rng.choice([2.0, 6.0, 20.0]))
    while time < SECONDS:
        kind = BENIGN[int(rng.integers(len(BENIGN)))]
        length = float(np.clip(lognormal(rng, 0.9, 0.7), 0.2, 6.0))
        out.append(
            Feeling(
                kind,
                time,
                0.3 * length,
                time + 0.65 * length,
                0.35 * length,
                float(rng.uniform(0.2, 1.1)),
                0.2,
                0.0,
                0.0,
                int(rng.integers(2**31)),
            )
        )
        time += length + float(rng.exponential(pause))
    return tuple(out)


def sum_of(feelings: tuple[Feeling, ...], kinds: tuple[str, ...]) -> Doubles:
    """(751,) the largest envelope of these kinds."""
    out = np.zeros(CLIP_FRAMES)
    for feeling in feelings:
        if feeling.kind in kinds:
            out = np.maximum(out, feeling.envelope())
    return out
