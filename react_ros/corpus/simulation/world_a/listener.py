"""The listeners of world A: they answer what they see and hear, as strongly and as long as it lasts.

Smiles follow the speaker's smile continuously; other feelings are answered for as long as they are shown; pauses, low
pitch and questions are answered by nods and brows. Delays and kinds of nods are published ones. A style from still to
lively scales everything. The rules share no code with the live generator `attentive`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation import motion
from react_ros.corpus.simulation.expressions import annotate, face_of, weights_of
from react_ros.corpus.simulation.listener import Answer, Nod
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Blink, Doubles, lognormal, swell
from react_ros.corpus.simulation.speaker import draw_person
from react_ros.corpus.simulation.world_a.feelings import DISTRESSED, HOSTILE, JOYFUL
from react_ros.corpus.simulation.world_a.speaker import Performance
from react_ros.face import ARKIT, FPS, FRAME_SAMPLES, Floats
from react_ros.generators.idle import apply_eyes

LONGEST_TALK_S = 1.0
"""Least speech before a pause that invites an answer."""
LEAST_PAUSE_S = 0.2

FACES: Mapping[str, Mapping[str, float]] = {
    "concern": {
        "browInnerUp": 0.65, "browDown": 0.18, "mouthPress": 0.35, "mouthRollLower": 0.2, "mouthShrugLower": 0.3,
        "mouthFrown": 0.25, "eyeSquint": 0.08,
    },
    "unease": {"browDown": 0.35, "browInnerUp": 0.25, "mouthPress": 0.35, "eyeSquint": 0.15, "mouthShrugLower": 0.2},
    "dismay": {"browInnerUp": 0.45, "browDown": 0.2, "noseSneer": 0.25, "mouthUpperUp": 0.15, "mouthStretch": 0.2,
               "eyeSquint": 0.1},
    "interest": {"browInnerUp": 0.2, "browOuterUp": 0.22, "eyeWide": 0.1},
    "surprise": {"browInnerUp": 0.6, "browOuterUp": 0.65, "eyeWide": 0.4, "jawOpen": 0.2, "mouthLowerDown": 0.08},
}  # fmt: skip
"""A listener's answers, true faces; smiles and the others are those of `expressions.FACES`."""


def _face(name: str) -> Doubles:
    return weights_of(FACES[name])


@dataclass(frozen=True, slots=True)
class ListenerStyle:
    """The individual style of a listener; strengths are factors around 1."""

    liveliness: float
    """0.4 still to 1.6 lively: of the head, brows and spontaneous motion; half as much of smiles."""
    smiling: float
    empathy: float
    brows: float
    delay: float
    """Median delay of mimicry, s (300 to 400 ms, Dimberg 1998)."""
    laughs: float
    """Probability of answering laughter with laughter instead of a smile."""
    readiness: float
    """Probability of answering a pause."""
    cue_delay: float
    """Mean time from the end of speech, or the low pitch, to the nod, s (about 700 ms, Ward and Tsukahara 2000)."""
    nod_size: float
    """rad."""
    nod_hz: float
    nod_more: float
    """Mean number of cycles after the first."""
    head_mimicry: float
    head_lag: float
    """s (about 600 ms, Hale 2020)."""
    interest: float
    pleasantness: float
    """Smile at rest, 0 to 1."""
    blinks_per_minute: float
    away: float
    posture_pitch: float
    posture_yaw: float
    posture_roll: float


def draw_style(rng: np.random.Generator, blinks_per_minute: float, away: float) -> ListenerStyle:
    """A random style."""
    liveliness = float(np.clip(lognormal(rng, 1.0, 0.3), 0.5, 1.8))
    posture = np.array([0.015, 0.02, 0.035]) * np.clip(rng.standard_normal(3), -2.0, 2.0)
    return ListenerStyle(
        liveliness=liveliness,
        smiling=float(np.sqrt(liveliness)) ** 0.5 * lognormal(rng, 1.0, 0.08),
        empathy=lognormal(rng, 1.0, 0.15),
        brows=lognormal(rng, 1.0, 0.2),
        delay=lognormal(rng, 0.33, 0.1),
        laughs=float(rng.uniform(0.5, 1.0)),
        readiness=float(np.clip(rng.normal(0.85, 0.08), 0.6, 1.0)),
        cue_delay=lognormal(rng, 0.55, 0.12),
        nod_size=liveliness**0.5 * lognormal(rng, 0.085, 0.2),
        nod_hz=lognormal(rng, 3.2, 0.12),
        nod_more=float(rng.uniform(0.2, 0.9)),
        head_mimicry=lognormal(rng, 0.25, 0.25),
        head_lag=lognormal(rng, 0.6, 0.1),
        interest=float(rng.uniform(0.3, 1.2)),
        pleasantness=float(rng.uniform(0.0, 0.04)),
        blinks_per_minute=blinks_per_minute,
        away=away,
        posture_pitch=float(posture[0]),
        posture_yaw=float(posture[1]),
        posture_roll=float(posture[2]),
    )


@dataclass(slots=True)
class ListenerResponse:
    """A listener's reactions to a performance, with the events from which they were rendered."""

    style: ListenerStyle
    answers: list[Answer]
    nods: list[Nod]
    blinks: list[Blink]
    sound: Floats
    """PCM (n,), -1 to 1: a quiet room."""
    blendshapes: Floats
    """(751, 52) the true face, without tracking errors."""
    rotation: Floats
    """(751, 3) rad, relative to rest."""
    translation: Floats
    """(751, 3) m, relative to rest."""
    attributes: Floats
    """(751, 25)."""


def respond(performance: Performance, rng: np.random.Generator) -> ListenerResponse:
    """A random person's response to a performance."""
    person = draw_person(rng, away=(0.04, 0.15))
    style = draw_style(rng, person.blinks_per_minute, person.away)
    answers: list[Answer] = []
    smile, laughing = _smile(performance, style, rng, answers)
    troubled, face = _sympathise(performance, style, rng, answers)
    # A smile and concern exclude each other: the one that was shown longer gives way.
    smile *= 1.0 - np.clip(1.6 * troubled, 0.0, 1.0)
    laughing *= 1.0 - np.clip(1.6 * troubled, 0.0, 1.0)
    # The brows are not lowered while one smiles.
    calm = 1.0 - np.clip(1.8 * smile, 0.0, 1.0)
    face *= calm[:, None]
    face += smile[:, None] * (face_of("joy") / 0.8) * 0.97 + laughing[:, None] * (face_of("laughter") - face_of("joy"))
    face += (calm[:, None] ** 0.3) * _raise_brows(performance, style, rng, answers)
    face += (0.6 * calm + 0.4)[:, None] * _interest(performance, style, rng)
    nods, assent = _acknowledge(performance, style, rng, answers)
    face += calm[:, None] * assent
    tremor = 1.0 + 0.05 * motion.smooth_noise(rng, len(ARKIT), 0.25)
    face *= np.clip(tremor, 0.85, 1.15)
    face += style.pleasantness * (1.0 - np.clip(2.0 * troubled, 0.0, 1.0))[:, None] * face_of("smile")
    face += style.liveliness * calm[:, None] * _restlessness(rng)
    face = np.clip(face, 0.0, 1.0)

    attributes = annotate(face, np.zeros_like(face), rng)
    occasions = [n.start for n in nods] + [p.end for p in performance.speech.phrases]
    blinks = motion.draw_blinks(rng, style.blinks_per_minute, occasions)
    gaze = motion.draw_gaze(rng, style.away, [])
    rotation = _move_head(performance, style, nods, gaze, smile, troubled, rng)
    shown = np.clip(face * person.asymmetry, 0.0, 1.0)
    apply_eyes(shown, motion.eyelids(blinks).astype(np.float32), gaze - 0.85 * rotation[:, 1::-1])
    breath = np.sin(2.0 * np.pi * (rng.uniform(0.2, 0.3) * TIMES + rng.random()))
    translation = 0.0012 * style.liveliness * motion.smooth_noise(rng, 3, 1.2)
    translation[:, 1] += 0.001 * breath
    # The head rotates about the neck, about 8 cm below and 6 cm behind the face.
    translation[:, 2] += 0.06 * rotation[:, 0]
    translation[:, 0] -= 0.08 * rotation[:, 2]
    return ListenerResponse(
        style,
        sorted(answers, key=lambda a: a.time),
        nods,
        blinks,
        (0.0005 * rng.standard_normal(CLIP_FRAMES * FRAME_SAMPLES)).astype(np.float32),
        shown.astype(np.float32),
        rotation.astype(np.float32),
        translation.astype(np.float32),
        attributes,
    )


def _delayed(track: Doubles, delay: float) -> Doubles:
    """(751,) the track, later; before its beginning 0: what is there in the first frame is answered when it is seen."""
    return np.interp(TIMES - delay, TIMES, track, left=0.0)


def _followed(target: Doubles, rise_s: float, fall_s: float) -> Doubles:
    """(751,) a muscle that follows a target with time constants of two poles, slower when it is released."""
    up, down = 1.0 - np.exp(-1.0 / (rise_s * FPS)), 1.0 - np.exp(-1.0 / (fall_s * FPS))
    first, second, out = 0.0, 0.0, np.empty(len(target))
    for k, value in enumerate(target):
        first += (up if value > first else down) * (value - first)
        second += (up if first > second else down) * (first - second)
        out[k] = second
    return out


def _smile(
    performance: Performance, style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> tuple[Doubles, Doubles]:
    """(751,) the smile that answers the speaker's, and (751,) how much of it is laughter."""
    target, laughing = np.zeros(CLIP_FRAMES), np.zeros(CLIP_FRAMES)
    for f in performance.story.feelings:
        if f.kind not in JOYFUL and f.kind != "contempt":
            continue
        envelope = f.envelope()
        delay = max(0.2, lognormal(rng, style.delay, 0.15))
        unmoved = rng.random() < (0.1 if f.strength < 0.4 else 0.01)
        strength, mirth = lognormal(rng, 1.15 * style.smiling, 0.08), rng.random()
        if f.kind == "contempt":
            strength, unmoved = 0.4 * strength, rng.random() < 0.4
        if unmoved:
            continue
        answer = strength * _delayed(envelope, delay)
        target = np.maximum(target, answer)
        if f.kind == "laughter" and mirth < style.laughs:
            laughing = np.maximum(laughing, 0.8 * np.clip(answer, 0.0, 1.0))
        answers.append(Answer("joy", f.kind, f.onset, max(f.onset, 0.0) + delay))
    return np.minimum(_followed(target, 0.07, 0.18), 1.0), _followed(laughing, 0.1, 0.25)


def _sympathise(
    performance: Performance, style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> tuple[Doubles, Doubles]:
    """(751,) how troubled the listener is, 0 to 1, and (751, 52) the answers to all that is not joyful."""
    face = np.zeros((CLIP_FRAMES, len(ARKIT)))
    troubled = np.zeros(CLIP_FRAMES)
    for f in performance.story.feelings:
        if f.kind in JOYFUL or f.kind == "contempt":
            continue
        kind = "concern" if f.kind in DISTRESSED else "surprise" if f.kind == "surprise" else "unease"
        if f.kind == "disgust":
            kind = "dismay"
        delay = max(0.2, lognormal(rng, style.delay * (0.85 if kind == "surprise" else 1.3), 0.15))
        strength = style.empathy * lognormal(rng, 1.0, 0.15) * (0.95 if kind != "surprise" else 0.9)
        if rng.random() < (0.15 if f.strength < 0.4 else 0.03):
            continue
        envelope = _delayed(np.clip(1.15 * f.envelope(), 0.0, 1.0), delay)
        if kind == "surprise":  # nobody stays surprised
            envelope *= np.exp(-np.clip(TIMES - f.onset - 2.0, 0.0, None) / 1.5)
        shown = _followed(strength * envelope, 0.09 if kind == "surprise" else 0.2, 0.3 if kind == "surprise" else 0.6)
        face = np.maximum(face, shown[:, None] * _face(kind))
        if f.kind in DISTRESSED + HOSTILE:
            troubled = np.maximum(troubled, np.minimum(shown, 1.0))
        answers.append(Answer(kind, f.kind, f.onset, max(f.onset, 0.0) + delay))
    return troubled, face


def _raise_brows(
    performance: Performance, style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> Doubles:
    """(751, 52) brow raises at questions, and at some stressed syllables."""
    face = np.zeros((CLIP_FRAMES, len(ARKIT)))
    free = 0.0
    for p in performance.speech.phrases:
        if p.laughed:
            continue
        causes = [("emphasis", t, 0.12, 0.4) for t in p.stresses]
        if p.ending == "rise":
            causes.append(("question", p.end, 0.75, 0.7))
        for cause, time, probability, size in causes:
            answered = rng.random() < probability and time > free
            onset = time + max(0.2, lognormal(rng, style.delay, 0.15))
            size, hold = size * lognormal(rng, style.brows, 0.15), lognormal(rng, 0.4, 0.3)
            if answered:
                raised = swell(TIMES, onset, onset + 0.16, onset + 0.16 + hold, onset + 0.5 + hold)
                face = np.maximum(face, size * raised[:, None] * face_of("brow"))
                answers.append(Answer("brow", cause, time, onset))
                free = time + 2.0
    return face


def _interest(performance: Performance, style: ListenerStyle, rng: np.random.Generator) -> Doubles:
    """(751, 52) attentive brows and eyes while the speaker talks."""
    talking = np.zeros(CLIP_FRAMES)
    for p in performance.speech.phrases:
        talking[(p.start + 0.3 <= TIMES) & (p.end + 0.6 >= TIMES)] = 1.0
    talking = np.asarray(gaussian_filter1d(talking, 0.5 * FPS))
    swaying = np.clip(0.6 + 0.4 * motion.smooth_noise(rng, 1, 1.5)[:, 0], 0.0, 1.5)
    return (style.interest * talking * swaying)[:, None] * _face("interest")


def _acknowledge(
    performance: Performance, style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> tuple[list[Nod], Doubles]:
    """Nods at pauses and low pitch, and (751, 52) the accompanying assent of lips and chin.

    The longer the speech before a pause, and the lower its ending, the likelier and the larger the nod. A gaze back to
    the listener adds to it.
    """
    nods: list[Nod] = []
    face = np.zeros((CLIP_FRAMES, len(ARKIT)))
    phrases = [p for p in performance.speech.phrases if not p.laughed]
    since = 0.0
    for p, following in pairwise([*phrases, None]):
        assert p is not None
        pause = (following.start if following else SECONDS) - p.end
        if not since:
            since = p.start
        talked = p.end - since
        if pause >= LEAST_PAUSE_S:
            since = 0.0
        low = p.ending == "fall" and p.low > 0.1
        looks = performance.gaze_off[min(int(p.end * FPS), CLIP_FRAMES - 1)] < 0.5
        held = p.ending == "held"  # a hesitation: the speaker goes on
        if pause >= LEAST_PAUSE_S and talked >= 0.9 * LONGEST_TALK_S:
            willing = style.readiness * (0.5 if held else 1.0) + 0.05 * low + 0.05 * looks
        elif low:
            willing = 0.25
        else:
            willing = 0.04
        answered, nodded, kind = rng.random() < willing, rng.random() < 0.92, rng.random()
        # The cue is complete when the pause is noticed, or 110 ms of low pitch are over.
        time = p.end + max(0.3, style.cue_delay + 0.09 * float(np.clip(rng.standard_normal(), -2.0, 2.0)))
        cue_strength = float(np.clip(0.5 + 0.12 * talked + 0.15 * low + 0.1 * p.turn_end, 0.5, 1.3))
        cycles = int(np.clip(1 + rng.poisson(style.nod_more * cue_strength), 1, 4))
        hz = float(np.clip(lognormal(rng, style.nod_hz, 0.1), 2.6, 5.0)) * (0.8 if cycles == 1 else 1.0)
        size = style.nod_size * cue_strength * (3.2 / hz) * lognormal(rng, 1.0, 0.15) * (1.2 if cycles >= 3 else 1.0)
        strength, hold = lognormal(rng, 0.7, 0.2), lognormal(rng, 0.6, 0.3)
        if not answered or (nods and time < nods[-1].end + 0.9) or time + cycles / hz > SECONDS - 0.1:
            continue
        cause = "low pitch" if low else "pause"
        if nodded:
            nods.append(Nod(time, hz, cycles, min(size, 0.16)))
            answers.append(Answer("nod", cause, p.end, time))
            if kind < 0.2:  # up first, then down
                nods.append(Nod(time - 0.6 / hz, 0.8 * hz, 1, -0.35 * min(size, 0.16)))
        if kind > 0.4:
            shown = swell(TIMES, time, time + 0.2, time + hold, time + hold + 0.4)
            face = np.maximum(face, strength * shown[:, None] * face_of("assent"))
            answers.append(Answer("assent", cause, p.end, time))
    return nods, face


def _restlessness(rng: np.random.Generator) -> Doubles:
    """(751, 52) spontaneous facial motion."""
    parts = ("assent", "brow", "smile")
    noise = np.clip(motion.smooth_noise(rng, len(parts), 0.8), 0.0, 2.0)
    return 0.035 * noise @ np.stack([face_of(part) for part in parts])


def _move_head(
    performance: Performance,
    style: ListenerStyle,
    nods: list[Nod],
    gaze: Doubles,
    smile: Doubles,
    troubled: Doubles,
    rng: np.random.Generator,
) -> Doubles:
    """(751, 3) rad: the speaker's slow motion, mirrored and delayed; nods; posture; what feelings do to the head."""
    seen = gaussian_filter1d(
        performance.rotation.astype(np.float64) - performance.rotation.mean(axis=0), 0.3 * FPS, axis=0
    )
    late = np.stack([np.interp(TIMES - style.head_lag, TIMES, seen[:, axis]) for axis in range(3)], axis=1)
    out = style.head_mimicry * late * (0.6, -1.0, -1.0)  # mirrored: the speaker's right is the listener's left
    for nod in nods:
        out[:, 0] += motion.swing(TIMES, nod.start, nod.hz, nod.cycles, nod.size, 0.35)
        # After a nod the head stays slightly lower for a while.
        out[:, 0] += 0.12 * max(nod.size, 0.0) * swell(TIMES, nod.start, nod.end, nod.end + 0.4, nod.end + 1.4)
    slow = np.asarray(gaussian_filter1d(np.stack([smile, troubled]), 0.4 * FPS, axis=1))
    out[:, 2] += float(rng.normal(0.0, 0.04)) * slow[0] + float(rng.normal(0.0, 0.07)) * slow[1]
    out[:, 0] += float(rng.uniform(-0.03, 0.01)) * slow[0] + float(rng.uniform(0.02, 0.08)) * slow[1]
    out += (style.posture_pitch, style.posture_yaw, style.posture_roll)
    out += style.liveliness * motion.smooth_noise(rng, 3, 3.0) * (0.006, 0.012, 0.016)
    out += style.liveliness * motion.smooth_noise(rng, 3, 0.6) * (0.0012, 0.003, 0.002)
    out[:, 1::-1] += 0.15 * gaussian_filter1d(gaze, 4.0, axis=0)
    return np.clip(out, -0.5, 0.5)
