"""Motion over a whole clip: envelopes, smooth noise, blinks and gaze, rendered from events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.face import FPS
from react_ros.generators.idle import blink_shape

Doubles = npt.NDArray[np.float64]

SECONDS = CLIP_FRAMES / FPS
"""Length of a clip, 30.04 s."""
TIMES: Doubles = np.arange(CLIP_FRAMES) / FPS
"""(751,) times of the frames, s. Read-only."""
TIMES.setflags(write=False)

SHORT_BLINK, LONG_BLINK = 0.208, 0.607
"""Durations of blinks, s (Hömke 2018)."""


def lognormal(rng: np.random.Generator, median: float, spread: float) -> float:
    """A log-normal sample, truncated at two standard deviations. spread: standard deviation of the logarithm."""
    return float(median * np.exp(spread * np.clip(rng.standard_normal(), -2.0, 2.0)))


def swell(times: Doubles, onset: float, apex: float, release: float, end: float) -> Doubles:
    """Envelope: 0 until onset, rising smoothly to 1 at apex, 1 until release, falling smoothly to 0 at end; s."""
    up = np.clip((times - onset) / (apex - onset), 0.0, 1.0)
    down = np.clip((times - release) / (end - release), 0.0, 1.0)
    return up * up * (3.0 - 2.0 * up) * (1.0 - down * down * (3.0 - 2.0 * down))


def smooth_noise(rng: np.random.Generator, channels: int, seconds: float) -> Doubles:
    """(751, channels) Gaussian noise of unit variance, smoothed with a Gaussian of this standard deviation."""
    sigma = seconds * FPS
    margin = int(4.0 * sigma) + 1
    white = rng.standard_normal((CLIP_FRAMES + 2 * margin, channels))
    # A Gaussian kernel leaves 1 / (2 sqrt(pi) sigma) of white noise's variance.
    smooth = gaussian_filter1d(white, sigma, axis=0) * np.sqrt(2.0 * np.sqrt(np.pi) * sigma)
    return smooth[margin : margin + CLIP_FRAMES]


@dataclass(frozen=True, slots=True)
class Blink:
    """One blink: start and duration of the lids' movement, s."""

    start: float
    seconds: float


def draw_blinks(rng: np.random.Generator, per_minute: float, occasions: list[float]) -> list[Blink]:
    """Blinks of a person over a clip at a mean rate, some of them moved to the nearest occasion.

    occasions: times in s (pauses, nods, looks away) at which blinks are more likely, and more often long.
    """
    count = int(np.floor(per_minute * SECONDS / 60.0 + rng.random()))
    gaps = rng.gamma(3.0, size=count + 1)
    starts = np.cumsum(gaps)[:count] / gaps.sum() * (SECONDS - 0.5)
    blinks: list[Blink] = []
    for start in starts:
        near = min(occasions, key=lambda o: abs(o - start), default=np.inf)
        invited = abs(near - start) < 1.2 and rng.random() < 0.5
        if invited:
            start = near + rng.uniform(0.0, 0.25)
        long = rng.random() < (0.25 if invited else 0.06)
        length = float(np.clip(lognormal(rng, LONG_BLINK if long else SHORT_BLINK, 0.1), 0.16, 0.75))
        blinks.append(Blink(float(start), length))
    blinks.sort(key=lambda b: b.start)
    apart: list[Blink] = []
    for blink in blinks:
        floor = apart[-1].start + apart[-1].seconds + 0.2 if apart else 0.0
        blink = Blink(max(blink.start, floor), blink.seconds)
        if blink.start + blink.seconds < SECONDS:
            apart.append(blink)
    return apart


def eyelids(blinks: list[Blink]) -> Doubles:
    """(751,) closure of both lids, 0 open to 1 closed."""
    closure = np.zeros(CLIP_FRAMES)
    for blink in blinks:
        closure = np.maximum(closure, blink_shape((TIMES - blink.start) / blink.seconds))
    return closure


def draw_gaze(rng: np.random.Generator, away_share: float, away_at: list[float]) -> Doubles:
    """(751, 2) yaw and pitch of gaze (head and eyes together), rad: fixations on the other's face, and looks away.

    away_share: share of fixations off the face, 0 to 1. away_at: times in s at which the person always looks away.
    Saccades take about two frames.
    """
    starts: list[float] = []
    looks: list[tuple[float, float]] = []
    time = 0.0
    while time < SECONDS:
        starts.append(time)
        side = 1.0 if rng.random() < 0.5 else -1.0
        wait = rng.exponential(0.7)
        if rng.random() < away_share or any(time - 0.5 < at <= time + 0.3 for at in away_at):
            looks.append((side * rng.uniform(0.12, 0.3), rng.uniform(-0.08, 0.15)))
            time += 0.3 + min(0.6 * wait, 1.2)
        else:
            # Within the face, between eyes and mouth: about 1.5 degrees.
            looks.append((side * rng.uniform(0.0, 0.024), -0.008 if rng.random() < 0.7 else 0.03))
            time += 0.35 + min(wait, 3.0)
    held = np.array(looks)[np.searchsorted(starts, TIMES, side="right") - 1]
    return np.asarray(lfilter([0.7], [1.0, -0.3], held, axis=0))


def swing(times: Doubles, start: float, hz: float, cycles: int, size: float, decline: float) -> Doubles:
    """Whole cycles to one side and back, in units of `size`; each is exp(-decline) times the previous one."""
    phase = (times - start) * hz
    inside = (phase >= 0.0) & (phase < cycles)
    return np.where(inside, size * np.exp(-decline * np.floor(phase)) * np.sin(np.pi * phase) ** 2, 0.0)
