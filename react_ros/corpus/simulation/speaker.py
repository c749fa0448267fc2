"""The simulated speaker: performs a story with an individual voice, face and head motion, as tracked by a camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation import motion, voice
from react_ros.corpus.simulation.expressions import annotate, face_of
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Blink, Doubles, lognormal, swell
from react_ros.corpus.simulation.story import Gesture, Story
from react_ros.face import ARKIT, ARKIT_INDEX, SAMPLE_RATE, Floats
from react_ros.generators.idle import apply_eyes

_LEFT = np.array([name.endswith("Left") for name in ARKIT])
_RIGHT = np.array([name.endswith("Right") for name in ARKIT])
_PITCH_OF_EMOTION = {
    "joy": 1.1, "surprise": 1.14, "worry": 1.06, "sadness": 0.92, "indignation": 1.05, "disgust": 0.97,
}  # fmt: skip

REST = {
    "eyeSquint": (0.2, 0.4),
    "browInnerUp": (0.0, 0.2),
    "browOuterUp": (0.0, 0.12),
    "browDown": (0.0, 0.12),
    "mouthPress": (0.02, 0.08),
    "mouthPucker": (0.0, 0.1),
    "mouthShrugLower": (0.0, 0.06),
    "mouthSmile": (0.0, 0.04),
}
"""Range of the values that a tracker like MediaPipe reports for faces at rest; a person's values lie between."""
DEAD = ("cheekSquint", "noseSneer", "tongueOut", "cheekPuff")
"""Blendshapes that such a tracker hardly ever reports."""


@dataclass(frozen=True, slots=True)
class Persona:
    """The individual traits of a simulated person, speaker or listener."""

    voice: voice.Voice
    asymmetry: Doubles
    """(52,) gain of each blendshape."""
    blinks_per_minute: float
    away: float
    """Share of fixations off the other's face."""


def draw_person(rng: np.random.Generator, away: tuple[float, float]) -> Persona:
    """Random traits. away: range of the share of fixations off the other's face (higher for speakers)."""
    lean = 0.06 * np.clip(rng.standard_normal(), -2.0, 2.0)
    asymmetry = 1.0 + 0.03 * np.clip(rng.standard_normal(len(ARKIT)), -2.0, 2.0)
    asymmetry[_LEFT] += lean
    asymmetry[_RIGHT] -= lean
    return Persona(voice.draw_voice(rng), asymmetry, float(rng.uniform(13.0, 28.0)), float(rng.uniform(*away)))


@dataclass(slots=True)
class Performance:
    """One speaker's performance of a story: all that a listener can see and hear, and the underlying events."""

    story: Story
    """With this speaker's timing."""
    articulation: voice.Articulation
    sound: Floats
    """PCM (n,), -1 to 1."""
    blendshapes: Floats
    """(751, 52) as reported by a face tracker."""
    rotation: Floats
    """(751, 3) rad."""
    translation: Floats
    """(751, 3) m from the camera."""
    attributes: Floats
    """(751, 25)."""
    blinks: list[Blink]


def perform(story: Story, rng: np.random.Generator, rate: int = SAMPLE_RATE) -> Performance:
    """A random person's performance of a story. rate: of the audio, Hz."""
    person = draw_person(rng, away=(0.15, 0.35))
    story = story.retold(rng)
    expressive, articulate, head = (lognormal(rng, 1.0, s) for s in (0.05, 0.1, 0.2))

    feelings = {e.onset: e.envelope() for e in story.episodes}
    mood = np.ones(CLIP_FRAMES)
    for e in story.episodes:
        mood *= 1.0 + (_PITCH_OF_EMOTION.get(e.kind, 1.0) - 1.0) * feelings[e.onset]
    steps = np.arange(0.0, SECONDS, 1.0 / voice.CONTROL_RATE)
    articulation = voice.articulate(story.phrases, person.voice.f0, np.interp(steps, TIMES, mood))
    sound = voice.sound_of(articulation, person.voice, rng, rate)

    face = np.zeros((CLIP_FRAMES, len(ARKIT)))
    for e in story.episodes:
        face += feelings[e.onset][:, None] * face_of(e.kind) * lognormal(rng, 1.0, 0.03)
    shown = [p for p in story.phrases if not p.laughed and not p.plain]
    stressed = [s for p in shown for s in p.syllables if s.stress >= 1.0]
    for s in stressed:
        raised = swell(TIMES, s.start - 0.1, s.start + 0.04, s.end, s.end + 0.3)
        face += 0.5 * lognormal(rng, 1.0, 0.15) * raised[:, None] * face_of("brow")
    for p in shown:
        if p.ending == "rise":
            raised = swell(TIMES, p.end - 0.5, p.end - 0.2, p.end + 0.3, p.end + 0.7)
            face += 0.55 * raised[:, None] * face_of("brow")
    face = np.clip(expressive * face, 0.0, 1.0)
    lips = articulate * voice.lips_of(articulation)
    attributes = annotate(face, lips, rng)

    breaks = [p.end for p in story.phrases]
    blinks = motion.draw_blinks(rng, person.blinks_per_minute, breaks)
    thinking = [p.start for p in story.phrases if rng.random() < 0.35]
    rotation = head * gesture_rotation(story.gestures) + motion.smooth_noise(rng, 3, 0.9) * (0.008, 0.012, 0.006)
    gaze = motion.draw_gaze(rng, person.away, thinking)
    # With large gaze shifts the head follows, later and less.
    rotation[:, 1::-1] += 0.25 * gaussian_filter1d(gaze, 4.0, axis=0)
    seen = np.clip((face + lips) * person.asymmetry, 0.0, 1.0)
    apply_eyes(seen, motion.eyelids(blinks).astype(np.float32), gaze - 0.85 * rotation[:, 1::-1])
    place = np.array([rng.uniform(-0.05, 0.05), rng.uniform(-0.08, 0.04), rng.uniform(-0.75, -0.5)])
    translation = place + _neck(rotation) + 0.003 * motion.smooth_noise(rng, 3, 1.5)
    posture = np.array([0.05, 0.05, 0.03]) * np.clip(rng.standard_normal(3), -2.0, 2.0)
    return Performance(
        story,
        articulation,
        sound,
        _tracked(seen, rng),
        (rotation + posture + 0.003 * rng.standard_normal(rotation.shape)).astype(np.float32),
        (translation + 0.0008 * rng.standard_normal(translation.shape)).astype(np.float32),
        attributes,
        blinks,
    )


def gesture_rotation(gestures: tuple[Gesture, ...]) -> Doubles:
    """(751, 3) rad of the head."""
    out = np.zeros((CLIP_FRAMES, 3))
    for g in gestures:
        if not g.cycles:
            ramp = 0.3 * g.seconds
            out[:, g.axis] += g.size * swell(
                TIMES, g.start, g.start + ramp, g.start + g.seconds - ramp, g.start + g.seconds
            )
        elif g.axis == 1:
            phase = np.clip((TIMES - g.start) / g.seconds, 0.0, 1.0)
            out[:, 1] += g.size * np.sin(2.0 * np.pi * g.cycles * phase) * np.sin(np.pi * phase)
        else:
            out[:, g.axis] += motion.swing(TIMES, g.start, g.cycles / g.seconds, g.cycles, g.size, 0.3)
    return out


def _neck(rotation: Doubles) -> Doubles:
    """(751, 3) translation of the face, m, as the head rotates about the neck, about 8 cm below and 6 cm behind."""
    return np.stack([-0.08 * rotation[:, 2], np.zeros(len(rotation)), 0.06 * rotation[:, 0]], axis=1)


def _tracked(shown: Doubles, rng: np.random.Generator) -> Floats:
    """(751, 52) as reported by a tracker like MediaPipe: with individual biases, noise, dead channels."""
    out = shown.copy()
    for shape, bounds in REST.items():
        bias = rng.uniform(*bounds)
        for side in [shape] if shape in ARKIT_INDEX else [f"{shape}Left", f"{shape}Right"]:
            out[:, ARKIT_INDEX[side]] += bias * (1.0 - out[:, ARKIT_INDEX[side]])
    noise = rng.uniform(0.01, 0.02) * rng.standard_normal(out.shape)
    # Little noise on weights near 0, where trackers saturate.
    out += noise * (0.25 + 0.75 * np.clip(out / 0.1, 0.0, 1.0))
    for shape in DEAD:
        for side in [shape] if shape in ARKIT_INDEX else [f"{shape}Left", f"{shape}Right"]:
            out[:, ARKIT_INDEX[side]] *= 0.0 if shape == "tongueOut" else 0.04
    return np.clip(out, 0.0, 1.0).astype(np.float32)
