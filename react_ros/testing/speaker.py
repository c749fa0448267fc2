"""A simulated speaker for tests, as speaker frames: made by rule, never data about people.

Phrases and pauses, pitch that falls at the end of a phrase, jaw motion with the syllables, smiles, raised brows, head
sway and blinks. All statistics are plausible values set by hand; nothing is fitted to recordings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from react_ros.face import ARKIT, ARKIT_INDEX, FPS, FRAME_NS, Face, FaceState, Sound, SoundState, SpeakerFrame
from react_ros.generators.attributes import attributes_of
from react_ros.generators.idle import IdleConfig, IdleLife, SmoothNoise, apply_eyes


@dataclass(frozen=True, slots=True)
class SimulatedParts:
    """Which parts of the simulated speaker are on."""

    talks: bool = True
    smiles: bool = True
    moves: bool = True
    gaps: bool = False
    """Whether face and sound go missing at times, for 0.1 to 2 s."""


def simulated_speaker(seed: int, frames: int = 750, parts: SimulatedParts | None = None) -> list[SpeakerFrame]:
    """`frames` frames of one simulated speaker; each seed is another person and another talk."""
    parts = parts or SimulatedParts()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    speech, f0, loud = (
        _voice(rng, frames) if parts.talks else (np.zeros(frames, bool), np.zeros(frames), np.zeros(frames))
    )
    smile = _events(rng, frames, every=9.0, hold=(0.8, 3.0), height=(0.3, 0.9)) * parts.smiles
    brow = _events(rng, frames, every=5.0, hold=(0.1, 0.5), height=(0.2, 0.6))
    frown = _events(rng, frames, every=14.0, hold=(0.5, 1.5), height=(0.2, 0.6))
    idle_life = IdleLife(seed, 1, IdleConfig(sway=2.0 if parts.moves else 0.0))
    turn = _smooth(rng.standard_normal((frames, 3)), 0.5) * (0.06, 0.09, 0.05) * parts.moves
    mfcc = _smooth(rng.standard_normal((frames, 26)), 0.08)
    face_present = _presence(rng, frames) if parts.gaps else np.ones(frames, bool)
    sound_present = _presence(rng, frames) if parts.gaps else np.ones(frames, bool)
    out = []
    for k in range(frames):
        idle = idle_life.step(engaged=1.0)
        b = np.zeros((1, len(ARKIT)), np.float32)
        for names, value in (
            (("mouthSmileLeft", "mouthSmileRight"), smile[k]),
            (("eyeSquintLeft", "eyeSquintRight"), 0.3 * smile[k]),
            (("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), brow[k]),
            (("browDownLeft", "browDownRight"), frown[k]),
            (("jawOpen",), 0.4 * loud[k]),
        ):
            b[0, [ARKIT_INDEX[n] for n in names]] = value
        apply_eyes(b, idle.blink, idle.gaze)
        face = Face(FaceState.MISSING)
        if face_present[k]:
            rotation = (turn[k] + idle.rotation[0]).astype(np.float32)
            translation = (np.array([0.02, -0.05, -0.6]) + idle.translation[0]).astype(np.float32)
            face = Face(FaceState.TRACKED, b[0], rotation, translation, attributes_of(b)[0], count=1)
        sound = Sound()
        if sound_present[k]:
            sound = Sound(
                SoundState.SPEECH if speech[k] else SoundState.SILENCE,
                mfcc[k].astype(np.float32),
                (mfcc[k] - mfcc[k - 1] if k else np.zeros(26)).astype(np.float32),
                float(-10.0 + 6.0 * loud[k]),
                float(f0[k]),
                float(f0[k] > 0.0),
                0.95 if speech[k] else 0.03,
            )
        out.append(SpeakerFrame(k, k * FRAME_NS, face, sound))
    return out


def _voice(rng: np.random.Generator, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per frame: whether there is speech, f0 in Hz (0 where unvoiced), loudness 0 to 1."""
    speech, f0, loud = np.zeros(frames, bool), np.zeros(frames), np.zeros(frames)
    base = rng.uniform(95.0, 220.0)
    k = int(rng.uniform(0.2, 1.0) * FPS)
    while k < frames:
        length = int(rng.uniform(0.8, 3.6) * FPS)
        t = np.arange(length) / FPS
        to_end = t[-1] - t
        tune = (
            base
            * (1.15 - 0.04 * t)
            * np.exp(0.08 * np.sin(2.0 * np.pi * rng.uniform(0.8, 1.6) * t + rng.uniform(0, 6)))
        )
        if rng.random() < 0.65:
            tune = np.where(to_end < rng.uniform(0.2, 0.4), 0.8 * base, tune)
        syllable = 0.5 - 0.5 * np.cos(2.0 * np.pi * rng.uniform(3.0, 5.0) * t)
        voiced = (syllable > 0.12) | (to_end < 0.2)
        part = slice(k, min(k + length, frames))
        n = part.stop - part.start
        speech[part], f0[part], loud[part] = True, np.where(voiced, tune, 0.0)[:n], (0.2 + 0.8 * syllable)[:n]
        k += length + int(rng.choice([rng.uniform(0.25, 0.8), rng.uniform(0.8, 2.5)]) * FPS)
    return speech, f0, loud


def _events(
    rng: np.random.Generator, frames: int, every: float, hold: tuple[float, float], height: tuple[float, float]
) -> np.ndarray:
    """(frames,) events that rise, hold and fall, one about every `every` s.

    hold: bounds of the time at full height, s. height: bounds of the height.
    """
    out = np.zeros(frames)
    k = int(rng.exponential(every) * FPS)
    while k < frames:
        rise, keep, fall = 8, int(rng.uniform(*hold) * FPS), 14
        up, down = np.linspace(0.0, 1.0, rise), np.linspace(1.0, 0.0, fall)
        wave = rng.uniform(*height) * np.concatenate([up, np.ones(keep), down])
        n = min(len(wave), frames - k)
        out[k : k + n] = wave[:n]
        k += len(wave) + int((1.0 + rng.exponential(every)) * FPS)
    return out


def _smooth(white: np.ndarray, seconds: float) -> np.ndarray:
    """(frames, C) noise of unit variance with this time constant, from (frames, C) white noise."""
    noise = SmoothNoise(1, white.shape[1], seconds)
    return np.concatenate([noise.step(row[None]) for row in white])


def _presence(rng: np.random.Generator, frames: int) -> np.ndarray:
    """(frames,) bool: False in gaps of 0.1 to 2 s."""
    present = np.ones(frames, bool)
    k = int(rng.exponential(6.0) * FPS)
    while k < frames:
        gap = int(rng.uniform(0.1, 2.0) * FPS)
        present[k : k + gap] = False
        k += gap + int(rng.exponential(8.0) * FPS)
    return present
