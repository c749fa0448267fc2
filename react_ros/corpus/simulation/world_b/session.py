"""Sessions of world B: faces from a copula, formant voices behind other channels, event-based listeners, other stories.

The listeners are those of `simulation.listener`, a model of events with other rules and timings than world A's: each
feeling, low pitch, pause, question and emphasis may trigger one answer with a delay, strength and length of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation import motion, rendered, voice
from react_ros.corpus.simulation.channel import draw_channel, through
from react_ros.corpus.simulation.expressions import face_of
from react_ros.corpus.simulation.listener import ListenerResponse, respond
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Doubles, lognormal, swell
from react_ros.corpus.simulation.speaker import Performance, draw_person, gesture_rotation
from react_ros.corpus.simulation.story import Episode, Story, draw_gestures, draw_phrases
from react_ros.corpus.simulation.world_b.faces import draw_face, show
from react_ros.face import ACTION_UNITS, ARKIT, ARKIT_INDEX, SAMPLE_RATE, Floats
from react_ros.perception.affect import AffectEstimator, simulated_measures, simulated_rest

KINDS = {"joy": 0.34, "laughter": 0.14, "sadness": 0.14, "surprise": 0.12, "worry": 0.1, "indignation": 0.08,
         "disgust": 0.04, "irony": 0.04}  # fmt: skip
_SMILES = ("joy", "laughter")
_TRACKED = {"browDown": 0.5, "mouthFrown": 0.1, "mouthShrugLower": 0.4, "mouthRollLower": 0.4, "mouthRollUpper": 0.3,
            "mouthStretch": 0.5, "eyeWide": 0.7, "cheekSquint": 0.0, "noseSneer": 0.0}  # fmt: skip
"""How much of a movement the tracker reports."""
_GEOMETRY = {"joy": {6: 0.6}, "laughter": {6: 0.8}, "sadness": {1: 0.8, 4: 0.6, 15: 0.7}, "worry": {1: 0.8, 4: 0.4},
             "indignation": {4: 0.9}, "disgust": {9: 0.9, 4: 0.3}, "surprise": {1: 0.8}, "irony": {}}  # fmt: skip


Session = rendered.Session[Story, Performance, ListenerResponse]


def draw_story(number: int, seed: int) -> Story:
    """Story `number` of a seed: feelings of .5 to 12 s in any strength, talk with the pauses of a monologue."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(20, number)))
    names, shares = list(KINDS), np.array(list(KINDS.values()))
    episodes: list[Episode] = []
    time = float(rng.uniform(-6.0, 6.0))
    while time < SECONDS - 1.0:
        kind = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        length = float(np.clip(rng.gamma(1.6, 2.2), 0.5, 12.0))
        rise, fall = (float(rng.uniform(0.15, 0.6)) * min(length, 1.5) for _ in range(2))
        strength = float(np.clip(rng.beta(2.2, 1.6), 0.2, 1.0))
        if time + length > 0.4:
            episodes.append(Episode(kind, time, time + rise, time + length - 0.6 * fall, time + length, strength))
        time += length + float(rng.gamma(1.2, 3.0)) + 0.3
    # A laugh that began before the first frame is seen and not heard.
    heard = tuple(e for e in episodes if e.onset > 0.5)
    story = Story(number, False, draw_phrases(rng, heard), tuple(episodes), ())
    phrases = tuple(replace(p, plain=bool(rng.random() < 0.5)) for p in story.phrases)
    return replace(story, phrases=phrases, gestures=draw_gestures(rng, phrases, story.episodes))


def render_session(index: int, seed: int, tellers: int, audio_rate: int = SAMPLE_RATE) -> Session:
    """Session `index` of a seed; `tellers` consecutive sessions share a story. audio_rate: Hz."""
    story = draw_story(index // tellers, seed)
    root = np.random.SeedSequence(seed, spawn_key=(21, index))
    of_speaker, of_listener = (np.random.default_rng(child) for child in root.spawn(2))
    performance = _perform(story, of_speaker)
    return rendered.Session.of(index, story, performance, respond(performance, of_listener), audio_rate)


def _perform(story: Story, rng: np.random.Generator) -> Performance:
    """A random person's performance of a story."""
    person, story, face = draw_person(rng, away=(0.1, 0.4)), story.retold(rng), draw_face(rng)
    feelings = [(e, e.envelope() * _waver(rng)) for e in story.episodes]
    articulation = voice.articulate(story.phrases, person.voice.f0)
    clean = voice.sound_of(articulation, replace(person.voice, room=1e-5), rng)
    smile, further = np.zeros(CLIP_FRAMES), np.zeros((CLIP_FRAMES, len(ARKIT)))
    reported = _reported()
    for e, envelope in feelings:
        if e.kind in _SMILES:
            smile = np.maximum(smile, 0.95 * envelope)
            if e.kind == "laughter":
                further[:, ARKIT_INDEX["jawOpen"]] += 0.2 * envelope
        else:
            further += envelope[:, None] * face_of(e.kind) * reported * np.exp(0.2 * rng.standard_normal(len(ARKIT)))
    further += lognormal(rng, 0.9, 0.3) * voice.lips_of(articulation)
    for p in story.phrases:
        if not p.laughed and not p.plain and p.ending == "rise":
            raised = swell(TIMES, p.end - 0.5, p.end - 0.2, p.end + 0.3, p.end + 0.7)
            further += 0.4 * raised[:, None] * face_of("brow")
    blinks = motion.draw_blinks(rng, float(rng.uniform(10.0, 30.0)), [p.end for p in story.phrases])
    closure = motion.eyelids(blinks)
    gaze = motion.draw_gaze(rng, person.away, [p.start for p in story.phrases if rng.random() < 0.3])
    rotation = lognormal(rng, 0.5, 0.4) * gesture_rotation(story.gestures)
    rotation[:, 1::-1] += 0.25 * gaussian_filter1d(gaze, 4.0, axis=0)
    down = np.clip(gaze[:, 1] / 0.4, 0.0, 1.0)
    for side in ("Left", "Right"):
        further[:, ARKIT_INDEX[f"eyeBlink{side}"]] += 0.6 * closure
        further[:, ARKIT_INDEX[f"eyeLookDown{side}"]] += 0.5 * down
    weights, pose = show(face, smile, further, rng)
    rotation = rotation + pose[:, :3]
    return Performance(
        story, articulation, through(clean, draw_channel(rng), rng), weights.astype(np.float32),
        rotation.astype(np.float32), pose[:, 3:].astype(np.float32), _attributes(weights, feelings, rng), blinks,
    )  # fmt: skip


def _waver(rng: np.random.Generator) -> Doubles:
    """(751,) a factor about .85 that drifts over a second or two."""
    return np.clip(0.85 + 0.15 * motion.smooth_noise(rng, 1, float(rng.uniform(0.4, 1.2)))[:, 0], 0.4, 1.1)


def _reported() -> Doubles:
    out = np.ones(len(ARKIT))
    for i, name in enumerate(ARKIT):
        out[i] = _TRACKED.get(name.removesuffix("Left").removesuffix("Right"), 0.85)
    return out


def _attributes(weights: Doubles, feelings: list[tuple[Episode, Doubles]], rng: np.random.Generator) -> Floats:
    """(751, 25) as the live estimator derives them, with simulated measures in place of landmarks."""
    units = np.zeros((CLIP_FRAMES, len(ACTION_UNITS)))
    for e, envelope in feelings:
        for unit, share in _GEOMETRY[e.kind].items():
            column = ACTION_UNITS.index(unit)
            units[:, column] = np.maximum(units[:, column], share * envelope)
    measures = simulated_measures(simulated_rest(rng), units, weights, rng)
    estimator, rows = AffectEstimator(), weights.astype(np.float32)
    return np.stack([estimator.step(rows[k], measures=measures[k]) for k in range(len(rows))]).astype(np.float32)
