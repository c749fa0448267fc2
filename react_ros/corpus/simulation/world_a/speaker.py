"""The speakers of world A: they talk, feel and move, as a face tracker and a microphone report it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation import motion
from react_ros.corpus.simulation.motion import TIMES, Doubles, lognormal, swell
from react_ros.corpus.simulation.mouth import lips
from react_ros.corpus.simulation.speech import Speech, draw_speaker, draw_talk, render
from react_ros.corpus.simulation.world_a.faces import as_tracked, background, draw_face, tracked
from react_ros.corpus.simulation.world_a.feelings import JOYFUL, Feeling, Story
from react_ros.face import ARKIT_INDEX, FPS, FRAME_SAMPLES, Floats

_PITCH = {"joy": 1.08, "laughter": 1.1, "surprise": 1.15, "worry": 1.05, "sadness": 0.92, "crying": 1.05,
          "anger": 1.08, "shouting": 1.3, "disgust": 0.96}  # fmt: skip
_EFFORT = {"joy": 0.25, "laughter": 0.3, "surprise": 0.3, "sadness": -0.4, "anger": 0.5, "shouting": 1.0, "pain": 0.2}
_REPORTED_LIPS = (
    ("mouthLowerDown", 0.18, 0.9), ("mouthUpperUp", 0.4, 0.6), ("mouthStretch", 0.3, 0.8), ("mouthPucker", 0.7, 0.6),
    ("jawOpen", 0.65, 0.5), ("mouthRollLower", 0.3, 0.8), ("mouthRollUpper", 0.5, 0.6), ("mouthClose", 1.6, 0.5),
    ("mouthFunnel", 0.7, 0.6),
)  # fmt: skip
"""Shapes of speech, the median over people of how much of them is reported, and the spread of its logarithm."""
_EYES = tuple(ARKIT_INDEX[f"eye{n}{side}"] for n in ("LookDown", "LookUp") for side in ("Left", "Right"))


@dataclass(slots=True)
class Performance:
    """What one speaker does in 30 s: what perception reports, and the underlying events."""

    story: Story
    """With this speaker's timing."""
    speech: Speech
    sound: Floats
    """PCM (n,), -1 to 1."""
    blendshapes: Floats
    """(751, 52) as reported by a face tracker."""
    rotation: Floats
    """(751, 3) rad."""
    translation: Floats
    """(751, 3) m from the camera."""
    attributes: Floats
    """(751, 25) of `AffectEstimator`."""
    smile: Doubles
    """(751,) how much they smile with joy, 0 to 1."""
    gaze_off: Doubles
    """(751,) 1 where they look away."""


def perform(story: Story, rng: np.random.Generator) -> Performance:
    """A random person's performance of a story."""
    story = story.retold(rng)
    face, voice = draw_face(rng), draw_speaker(rng)
    feelings = story.feelings
    laughs = [
        (max(f.onset, 0.0) + 0.1, min(f.release, 30.0) - max(f.onset, 0.0))
        for f in feelings
        if f.kind == "laughter" and f.release - f.onset > 0.8 and story.talk > 0.0 and rng.random() < 0.7
    ]
    pitch, effort = np.ones(CLIP_FRAMES), np.ones(CLIP_FRAMES)
    for f in feelings:
        envelope = f.envelope()
        pitch *= 1.0 + (_PITCH.get(f.kind, 1.0) - 1.0) * envelope
        effort += _EFFORT.get(f.kind, 0.0) * envelope
    effort = np.clip(effort, 0.4, 2.5)
    speech = render(draw_talk(rng, voice, story.talk), voice, rng, pitch=pitch, effort=effort, laughs=laughs)

    deviation, smile = np.zeros((CLIP_FRAMES, 52)), np.zeros(CLIP_FRAMES)
    for f in (*feelings, *story.movements):
        envelope = f.envelope()[:, None]
        if f.kind in JOYFUL:
            open_part = f.openness * np.clip((envelope - 0.35) / 0.5, 0.0, 1.2)
            deviation += envelope * face.smile + open_part * face.grin
            deviation += f.knitted * envelope * tracked("knitted")
            smile = np.maximum(smile, envelope[:, 0])
        else:
            deviation += envelope * tracked(f.kind) * np.exp(0.25 * rng.standard_normal(52))
    deviation += _chewing(rng) if rng.random() < 0.06 else 0.0
    mouth = lips(speech.sounds, jaw=voice.jaw, lips=voice.lips, effort=effort)
    deviation += mouth * _lips_as_tracked(rng)
    # Rounded and closed lips, and the tracker, pull at a smile.
    pulled = np.clip(mouth[:, ARKIT_INDEX["mouthPucker"]] + mouth[:, ARKIT_INDEX["mouthPressLeft"]], 0.0, 1.0)
    shaking = float(rng.uniform(0.04, 0.3)) * motion.smooth_noise(rng, 1, 0.06)[:, 0]
    flutter = np.clip(1.0 + shaking, 0.3, 1.5)
    drawn = float(rng.uniform(0.0, 1.4))  # spread vowels draw the corners of the mouth as a smile does
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        deviation[:, ARKIT_INDEX[name]] *= flutter * (1.0 - 0.4 * pulled)
        deviation[:, ARKIT_INDEX[name]] += drawn * mouth[:, ARKIT_INDEX["mouthStretchLeft"]]
    deviation += _brows_of_speech(speech, rng, plain=rng.random() < 0.4)

    blinks = motion.draw_blinks(rng, float(rng.uniform(8.0, 34.0)), [p.end for p in speech.phrases])
    closure = motion.eyelids(blinks)
    gaze, off = _gaze(rng, speech)
    wander = background(face, rng)
    deviation += wander[:, :52]
    rotation = wander[:, 52:55] + _gestures(story, speech, rng)
    rotation[:, 1::-1] += 0.3 * gaussian_filter1d(gaze, 4.0, axis=0)
    _add_eyes(deviation, gaze - 0.8 * rotation[:, 1::-1], closure, rng)
    shown = as_tracked(deviation, face, rng)
    rotation = rotation + face.pose
    translation = face.place + wander[:, 55:58] + _neck(rotation - face.pose)
    rotation = rotation + 0.0025 * rng.standard_normal(rotation.shape)
    translation = translation + 0.0004 * rng.standard_normal(translation.shape)
    return Performance(
        story,
        speech,
        speech.sound[: CLIP_FRAMES * FRAME_SAMPLES],
        shown.astype(np.float32),
        rotation.astype(np.float32),
        translation.astype(np.float32),
        _attributes(shown, (*feelings, *story.movements), rng),
        np.clip(smile, 0.0, 1.0),
        off,
    )


def _attributes(shown: Doubles, movements: tuple[Feeling, ...], rng: np.random.Generator) -> Floats:
    """(751, 25) as the live estimator derives them; landmarks are replaced by simulated measures."""
    from react_ros.corpus.simulation.world_a.geometry import simulated_geometry
    from react_ros.perception.affect import AffectEstimator

    estimator, measures = AffectEstimator(), simulated_geometry(movements, shown, rng)
    rows = shown.astype(np.float32)
    return np.stack([estimator.step(rows[k], measures=measures[k]) for k in range(len(rows))]).astype(np.float32)


def _lips_as_tracked(rng: np.random.Generator) -> Doubles:
    """(52,) how much of each movement of speech the tracker reports of this person."""
    out = np.full(52, lognormal(rng, 0.7, 0.4))
    for name, median, spread in _REPORTED_LIPS:
        share = lognormal(rng, median, spread)
        for side in [name] if name in ARKIT_INDEX else [f"{name}Left", f"{name}Right"]:
            out[ARKIT_INDEX[side]] = share
    return out


def _brows_of_speech(speech: Speech, rng: np.random.Generator, plain: bool) -> Doubles:
    """(751, 52) brow raises at stressed syllables and at questions; none where stress is in the voice alone."""
    out = np.zeros((CLIP_FRAMES, 52))
    if plain:
        return out
    size = float(rng.uniform(0.2, 1.0))
    for phrase in speech.phrases:
        if phrase.laughed:
            continue
        times = [(t, 0.12) for t in phrase.stresses if rng.random() < 0.5]
        if phrase.ending == "rise":
            times.append((phrase.end - 0.2, 0.4))
        for time, hold in times:
            raised = swell(TIMES, time - 0.15, time, time + hold, time + hold + 0.3)
            out += size * lognormal(rng, 0.8, 0.4) * raised[:, None] * tracked("brow")
    return out


def _chewing(rng: np.random.Generator) -> Doubles:
    """(751, 52) chewing at 1.2 to 1.8 Hz over a part of the clip."""
    start, length = rng.uniform(0.0, 20.0), rng.uniform(3.0, 12.0)
    inside = swell(TIMES, start, start + 0.5, start + length, start + length + 0.5)
    beat = 0.5 - 0.5 * np.cos(2.0 * np.pi * rng.uniform(1.2, 1.8) * TIMES)
    out = np.zeros((CLIP_FRAMES, 52))
    for name, size in (("jawOpen", 0.12), ("mouthPucker", 0.15), ("mouthPressLeft", 0.1), ("mouthPressRight", 0.1),
                       ("mouthRollLower", 0.1), ("mouthLeft", 0.1), ("mouthShrugLower", 0.08)):  # fmt: skip
        out[:, ARKIT_INDEX[name]] = (
            size * rng.uniform(0.3, 1.5) * inside * (beat if name != "mouthPressLeft" else 1.0 - beat)
        )
    return out


def _gaze(rng: np.random.Generator, speech: Speech) -> tuple[Doubles, Doubles]:
    """(751, 2) yaw and pitch of gaze, rad, relative to the camera, and (751,) 1 where it is off the listener.

    Speakers look away when they begin to speak, and back at the end of turns; some look at notes or past the camera.
    """
    thinking = [p.start for p in speech.phrases if rng.random() < 0.3]
    gaze = motion.draw_gaze(rng, float(rng.uniform(0.02, 0.45)) ** 1.3, thinking)
    gaze[:, 0] *= 0.85
    off = (np.abs(gaze).max(axis=1) > 0.1).astype(float)
    if rng.random() < 0.25:  # notes, a screen beside the camera
        for _ in range(int(rng.integers(1, 5))):
            start, length = rng.uniform(0.0, 29.0), lognormal(rng, 2.0, 0.6)
            held = swell(TIMES, start, start + 0.12, start + length, start + length + 0.15)
            gaze += held[:, None] * np.array([rng.uniform(-0.25, 0.25), rng.uniform(0.1, 0.35)])
            off = np.maximum(off, (held > 0.5).astype(float))
    # The camera is above, below or beside the listener's face.
    return 0.8 * gaze + np.array([rng.normal(0.0, 0.08), rng.uniform(-0.1, 0.12)]), off


def _add_eyes(deviation: Doubles, gaze: Doubles, closure: Doubles, rng: np.random.Generator) -> None:
    """Add gaze (751, 2), rad in the head, and blinks, as tracked, to (751, 52) deviations, in place."""
    reach = 0.45 * np.exp(0.2 * rng.standard_normal(4))
    turned_out = max(float(rng.normal(0.03, 0.03)), -0.02)  # as trackers report eyes that look at the camera
    down, up = (np.clip(value / r, 0.0, 1.0) for value, r in zip((gaze[:, 1], -gaze[:, 1]), reach[2:], strict=True))
    for side, outwards in (("Left", gaze[:, 0]), ("Right", -gaze[:, 0])):
        outwards = outwards + turned_out
        deviation[:, ARKIT_INDEX[f"eyeLookOut{side}"]] += np.clip(outwards / reach[0], 0.0, 1.0)
        deviation[:, ARKIT_INDEX[f"eyeLookIn{side}"]] += np.clip(-outwards / reach[1], 0.0, 1.0)
        deviation[:, ARKIT_INDEX[f"eyeLookDown{side}"]] += down
        deviation[:, ARKIT_INDEX[f"eyeLookUp{side}"]] += 0.6 * up
    deep = rng.uniform(0.5, 0.8)
    for side in ("Left", "Right"):
        deviation[:, ARKIT_INDEX[f"eyeBlink{side}"]] += 0.3 * down
        lid = ARKIT_INDEX[f"eyeBlink{side}"]
        deviation[:, lid] = np.maximum(deviation[:, lid], deep * closure)
        # A shut eye is reported as looking down, and squints.
        deviation[:, ARKIT_INDEX[f"eyeLookDown{side}"]] += 0.5 * closure * (1.0 - np.clip(down, 0.0, 1.0))
        deviation[:, ARKIT_INDEX[f"eyeSquint{side}"]] += 0.2 * closure


def _gestures(story: Story, speech: Speech, rng: np.random.Generator) -> Doubles:
    """(751, 3) rad: beats on stressed syllables, turns at phrases, shakes and bows with feelings."""
    out = np.zeros((CLIP_FRAMES, 3))
    size = lognormal(rng, 0.6, 0.5)
    for phrase in speech.phrases:
        for time in phrase.stresses:
            if rng.random() < 0.5:
                out[:, 0] += motion.swing(TIMES, time - 0.08, 2.6, 1, size * float(rng.uniform(0.015, 0.06)), 0.0)
        if rng.random() < 0.35 and phrase.end - phrase.start > 0.6:
            axis, sign = int(rng.integers(3)), float(rng.choice([-1.0, 1.0]))
            held = swell(TIMES, phrase.start, phrase.start + 0.5, phrase.end, phrase.end + 0.7)
            out[:, axis] += sign * size * float(rng.uniform(0.03, 0.13)) * held
        if phrase.turn_end and rng.random() < 0.3:
            out[:, 0] += motion.swing(TIMES, phrase.end - 0.3, 2.2, 2, size * float(rng.uniform(0.03, 0.08)), 0.3)
    for f in story.feelings:
        envelope = np.asarray(gaussian_filter1d(f.envelope(), 0.15 * FPS))
        if f.kind in ("sadness", "crying", "sobbing", "pout"):
            out[:, 0] += float(rng.uniform(0.02, 0.16)) * envelope
        elif f.kind in ("surprise", "shouting"):
            out[:, 0] -= float(rng.uniform(0.0, 0.08)) * envelope
        elif f.kind in ("joy", "laughter", "polite", "contempt"):
            out[:, 2] += float(rng.normal(0.0, 0.06)) * envelope
            out[:, 0] -= float(rng.normal(0.02, 0.06)) * envelope
        if f.kind in ("anger", "disgust", "sobbing") and rng.random() < 0.4:
            phase = np.clip((TIMES - f.onset) / 1.0, 0.0, 1.0)
            out[:, 1] += float(rng.uniform(0.04, 0.1)) * np.sin(4.0 * np.pi * phase) * np.sin(np.pi * phase)
    return out


def _neck(rotation: Doubles) -> Doubles:
    """(751, 3) translation of the face, m, as the head rotates about the neck, about 8 cm below and 6 cm behind."""
    return np.stack([-0.08 * rotation[:, 2], np.zeros(len(rotation)), 0.06 * rotation[:, 0]], axis=1)
