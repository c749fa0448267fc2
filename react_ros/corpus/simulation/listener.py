"""The simulated listener: reacts to a performance in an individual style, with human delays and randomness.

A whole-clip model of events: each action of the speaker may trigger an answer, which gets a delay, a strength and a
duration; all answers are rendered as envelopes on the face. It shares neither state nor rules with the live generator
`attentive`, which is evaluated on these data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation import motion, voice
from react_ros.corpus.simulation.expressions import annotate, face_of
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Blink, Doubles, lognormal, swell
from react_ros.corpus.simulation.speaker import Performance, draw_person
from react_ros.corpus.simulation.story import Episode, Phrase, Syllable
from react_ros.face import ARKIT, FPS, SAMPLE_RATE, Floats
from react_ros.generators.backchannel_cues import LOW_PITCH_S
from react_ros.generators.idle import apply_eyes

ANSWERS = {
    "joy": "joy", "laughter": "laughter", "surprise": "surprise", "irony": "amusement", "sadness": "concern",
    "worry": "attention", "disgust": "dismay", "indignation": "sympathy",
}  # fmt: skip
"""The listener's answer to an emotion of the speaker: pleasant and surprising ones are mirrored, unpleasant ones are
answered differently. Otherwise the best listener would be a mirror, which people are not (in the challenge's corpora
the mime baseline scores FRCorr 0.38 of 10)."""

BRIEF = ("surprise", "dismay")
"""Expressions that are short, however long the speaker's last."""


@dataclass(frozen=True, slots=True)
class ListenerStyle:
    """The individual style of a listener; strengths are factors around 1."""

    expressiveness: float
    smiling: float
    """Strength of the answers to joy, laughter and irony."""
    empathy: float
    """Strength of the answers to unpleasant feelings."""
    brows: float
    """Strength of raised brows."""
    mimicry_delay: float
    """Median, s (300 to 400 ms, Dimberg 1998)."""
    laughs: float
    """Probability of answering laughter with laughter instead of a smile."""
    readiness: float
    """Probability of answering a backchannel cue."""
    cue_delay: float
    """Mean time from the cue to the answer, s (about 700 ms, Ward and Tsukahara 2000)."""
    nod_size: float
    """rad."""
    nod_hz: float
    nod_cycles: float
    """Mean number of cycles."""
    vocal: float
    """Probability of a short word when the speaker yields the turn."""
    head_mimicry: float
    """Share of the speaker's head motion that is copied."""
    head_lag: float
    """s (about 600 ms, Hale 2020)."""
    pleasantness: float
    """Smile at rest, 0 to 1."""
    blinks_per_minute: float
    away: float
    """Share of fixations off the speaker's face."""
    posture_pitch: float
    posture_yaw: float
    posture_roll: float


def draw_style(rng: np.random.Generator, blinks_per_minute: float, away: float) -> ListenerStyle:
    """A random style."""
    posture = np.array([0.015, 0.02, 0.035]) * np.clip(rng.standard_normal(3), -2.0, 2.0)
    return ListenerStyle(
        expressiveness=lognormal(rng, 1.0, 0.15),
        smiling=lognormal(rng, 1.0, 0.15),
        empathy=lognormal(rng, 1.0, 0.15),
        brows=lognormal(rng, 1.0, 0.15),
        mimicry_delay=lognormal(rng, 0.35, 0.1),
        laughs=float(rng.uniform(0.6, 1.0)),
        readiness=float(rng.uniform(0.5, 0.9)),
        cue_delay=lognormal(rng, 0.7, 0.08),
        nod_size=lognormal(rng, 0.075, 0.25),
        nod_hz=lognormal(rng, 3.5, 0.1),
        nod_cycles=float(rng.uniform(1.4, 2.6)),
        vocal=float(rng.uniform(0.3, 0.8)),
        head_mimicry=lognormal(rng, 0.4, 0.2),
        head_lag=lognormal(rng, 0.6, 0.1),
        pleasantness=float(rng.uniform(0.0, 0.12)),
        blinks_per_minute=blinks_per_minute,
        away=away,
        posture_pitch=float(posture[0]),
        posture_yaw=float(posture[1]),
        posture_roll=float(posture[2]),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """One action of the listener with its cause; times in s."""

    kind: str
    """A face of `expressions.FACES`, "nod", or "word"."""
    cause: str
    """The emotion, or "low pitch", "pause", "question", "emphasis", "turn"."""
    cause_time: float
    time: float


@dataclass(frozen=True, slots=True)
class Nod:
    start: float
    hz: float
    cycles: int
    size: float
    """rad, the first cycle."""

    @property
    def end(self) -> float:
        return self.start + self.cycles / self.hz


@dataclass(slots=True)
class ListenerResponse:
    """A listener's reactions to a performance, with the events from which they were rendered."""

    style: ListenerStyle
    answers: list[Answer]
    nods: list[Nod]
    blinks: list[Blink]
    sound: Floats
    """PCM (n,), -1 to 1: occasional words, and room noise."""
    blendshapes: Floats
    """(751, 52) the true face, without tracking errors."""
    rotation: Floats
    """(751, 3) rad, relative to rest."""
    translation: Floats
    """(751, 3) m, relative to rest."""
    attributes: Floats
    """(751, 25)."""


def respond(performance: Performance, rng: np.random.Generator, rate: int = SAMPLE_RATE) -> ListenerResponse:
    """A random person's response to a performance. rate: of the audio, Hz."""
    person = draw_person(rng, away=(0.05, 0.2))
    style = draw_style(rng, person.blinks_per_minute, person.away)
    # Attention fluctuates over about ten seconds.
    attention = np.clip(1.0 + 0.08 * motion.smooth_noise(rng, 1, 5.0)[:, 0], 0.75, 1.2)
    answers: list[Answer] = []
    words = _words(performance.story.phrases, style, rng, answers)
    face = _mirror_emotions(performance.story.episodes, style, rng, answers)
    face += _raise_brows(performance.story.phrases, style, rng, answers)
    nods, assent = _acknowledge(performance.story.phrases, style, rng, answers)
    face += assent
    # Muscle tremor.
    tremor = 1.0 + 0.06 * motion.smooth_noise(rng, len(ARKIT), 0.25)
    face *= (attention * style.expressiveness)[:, None] * np.clip(tremor, 0.8, 1.2)
    face += style.pleasantness * face_of("smile")
    face += _restlessness(rng)
    face = np.clip(face, 0.0, 1.0)

    articulation = voice.articulate(words, person.voice.f0)
    lips = voice.lips_of(articulation)
    attributes = annotate(face, lips, rng)
    occasions = [n.start for n in nods] + [p.end for p in performance.story.phrases]
    blinks = motion.draw_blinks(rng, style.blinks_per_minute, occasions)
    gaze = motion.draw_gaze(rng, style.away, [])
    rotation = _move_head(performance, style, nods, gaze, rng)
    shown = np.clip((face + lips) * person.asymmetry, 0.0, 1.0)
    apply_eyes(shown, motion.eyelids(blinks).astype(np.float32), gaze - 0.85 * rotation[:, 1::-1])
    breath = np.sin(2.0 * np.pi * (rng.uniform(0.2, 0.3) * TIMES + rng.random()))
    translation = 0.0012 * motion.smooth_noise(rng, 3, 1.2)
    translation[:, 1] += 0.001 * breath
    # The head rotates about the neck, about 8 cm below and 6 cm behind the face.
    translation[:, 2] += 0.06 * rotation[:, 0]
    translation[:, 0] -= 0.08 * rotation[:, 2]
    return ListenerResponse(
        style,
        sorted(answers, key=lambda a: a.time),
        nods,
        blinks,
        voice.sound_of(articulation, person.voice, rng, rate),
        shown.astype(np.float32),
        rotation.astype(np.float32),
        translation.astype(np.float32),
        attributes,
    )


def _mirror_emotions(
    episodes: tuple[Episode, ...], style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> Doubles:
    """(751, 52) answers to the speaker's emotions: delayed, with individual strength, and with a slower release."""
    face = np.zeros((CLIP_FRAMES, len(ARKIT)))
    for e in episodes:
        kind = ANSWERS[e.kind]
        unmoved, mirth = rng.random() > 0.86, rng.random()
        onset = e.onset + max(0.2, lognormal(rng, style.mimicry_delay, 0.15))
        rise = lognormal(rng, 0.3 if e.kind == "surprise" else 0.45, 0.15)
        release = max(e.release + lognormal(rng, 0.45, 0.45), onset + rise + 0.1)
        if kind in BRIEF:
            release = min(release, onset + 3.0 * rise)
        end = release + lognormal(rng, 0.8, 0.2)
        strength = e.intensity * lognormal(rng, 1.0, 0.3)
        if e.kind == "laughter" and mirth > style.laughs:
            kind = "joy"
        strength *= style.smiling if e.kind in ("joy", "laughter", "irony") else 0.95 * style.empathy
        if unmoved:
            continue
        face += strength * swell(TIMES, onset, onset + rise, release, end)[:, None] * face_of(kind)
        answers.append(Answer(kind, e.kind, e.onset, onset))
    return face


def _raise_brows(
    phrases: tuple[Phrase, ...], style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> Doubles:
    """(751, 52) brow raises at stressed syllables and questions."""
    face = np.zeros((CLIP_FRAMES, len(ARKIT)))
    for p in phrases:
        if p.laughed:
            continue
        causes = [("emphasis", 0.5 * (s.start + s.end), 0.65, 0.5) for s in p.syllables if s.stress >= 1.0]
        if p.ending == "rise":
            causes.append(("question", p.end, 0.92, 0.75))
        for cause, time, probability, size in causes:
            answered = rng.random() < probability
            onset = time + max(0.2, lognormal(rng, style.mimicry_delay, 0.15))
            size, hold = size * lognormal(rng, style.brows, 0.15), lognormal(rng, 0.45, 0.2)
            if answered:
                raised = swell(TIMES, onset, onset + 0.16, onset + 0.16 + hold, onset + 0.5 + hold)
                face += size * raised[:, None] * face_of("brow")
                answers.append(Answer("brow", cause, time, onset))
    return face


def _acknowledge(
    phrases: tuple[Phrase, ...], style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> tuple[list[Nod], Doubles]:
    """Nods after low pitch and pauses, and (751, 52) the accompanying assent of lips and chin."""
    nods: list[Nod] = []
    face = np.zeros((CLIP_FRAMES, len(ARKIT)))
    for p in phrases:
        if p.laughed:
            continue
        low = p.ending == "fall"
        cue = p.end - p.low + LOW_PITCH_S if low else p.end
        willing = style.readiness * (1.2 if low else 0.55 if p.yields else 0.3)
        answered, nodded = rng.random() < willing, rng.random() < 0.9
        time = cue + max(0.25, style.cue_delay + 0.1 * float(np.clip(rng.standard_normal(), -2.0, 2.0)))
        cycles = int(np.clip(1 + rng.poisson(style.nod_cycles - 1.0), 1, 5))
        hz = float(np.clip(lognormal(rng, style.nod_hz, 0.08), 2.7, 5.5))
        # Faster nods are smaller; in longer ones the first cycle is the larger (Mori 2025).
        size = lognormal(rng, style.nod_size, 0.15) * (3.5 / hz) * (1.25 if cycles >= 3 else 0.9)
        strength, hold = lognormal(rng, 0.85, 0.15), lognormal(rng, 0.7, 0.2)
        if not answered or (nods and time < nods[-1].end + 0.3) or time + cycles / hz > SECONDS - 0.2:
            continue
        cause = "low pitch" if low else "pause"
        if nodded:
            nods.append(Nod(time, hz, cycles, size))
            answers.append(Answer("nod", cause, cue, time))
        face += strength * swell(TIMES, time, time + 0.2, time + hold, time + hold + 0.35)[:, None] * face_of("assent")
        answers.append(Answer("assent", cause, cue, time))
    return nods, face


def _words(
    phrases: tuple[Phrase, ...], style: ListenerStyle, rng: np.random.Generator, answers: list[Answer]
) -> tuple[Phrase, ...]:
    """A short word ("mhm", "oh", "yeah") about 200 ms after the speaker yields the turn (Levinson 2015)."""
    words: list[Phrase] = []
    for p, following in zip(phrases, [*phrases[1:], None], strict=True):
        gap, length, chance = lognormal(rng, 0.2, 0.4), float(rng.uniform(0.25, 0.6)), rng.random()
        which = int(rng.integers(3))
        pause = (following.start if following else SECONDS) - p.end
        if not p.yields or chance > style.vocal or pause < gap + length + 0.1:
            continue
        start, middle, end = (p.end + gap + share * length for share in (0.0, 0.5, 1.0))
        if which == 0:
            word = (Syllable(start, middle, "m", "m", 0.0), Syllable(middle, end, "h", "m", 0.3))
        elif which == 1:
            word = (Syllable(start, end, "", "o", 0.3),)
        else:
            word = (Syllable(start, middle, "l", "e", 0.3), Syllable(middle, end, "", "a", 0.0))
        words.append(Phrase(word, "fall" if which else "level", 0.4 * length))
        answers.append(Answer("word", "turn", p.end, start))
    return tuple(words)


def _restlessness(rng: np.random.Generator) -> Doubles:
    """(751, 52) spontaneous facial motion, below the annotation threshold."""
    parts = ("assent", "brow", "smile", "attention")
    noise = np.clip(motion.smooth_noise(rng, len(parts), 0.8), 0.0, 2.0)
    return 0.05 * noise @ np.stack([face_of(part) for part in parts])


def _move_head(
    performance: Performance, style: ListenerStyle, nods: list[Nod], gaze: Doubles, rng: np.random.Generator
) -> Doubles:
    """(751, 3) rad: the speaker's slow motion, mirrored and delayed; nods; posture; the head's part of gaze shifts."""
    seen = gaussian_filter1d(
        performance.rotation.astype(np.float64) - performance.rotation.mean(axis=0), 0.12 * FPS, axis=0
    )
    late = np.stack([np.interp(TIMES - style.head_lag, TIMES, seen[:, axis]) for axis in range(3)], axis=1)
    out = style.head_mimicry * late * (1.0, -1.0, -1.0)  # mirrored: the speaker's right is the listener's left
    for nod in nods:
        out[:, 0] += motion.swing(TIMES, nod.start, nod.hz, nod.cycles, nod.size, 0.35)
        # After a nod the head stays slightly lower for a while.
        out[:, 0] += 0.15 * nod.size * swell(TIMES, nod.start, nod.end, nod.end + 0.3, nod.end + 1.2)
    out += (style.posture_pitch, style.posture_yaw, style.posture_roll)
    out += motion.smooth_noise(rng, 3, 3.0) * (0.008, 0.012, 0.016)
    out += motion.smooth_noise(rng, 3, 0.5) * (0.002, 0.003, 0.002)
    out[:, 1::-1] += 0.2 * gaussian_filter1d(gaze, 4.0, axis=0)
    return np.clip(out, -0.5, 0.5)
