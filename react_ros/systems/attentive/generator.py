"""The attentive listener: a live reaction by rule, timed as human listeners time theirs.

It answers smiles and brows with mimicry, the head's motion with a lag, the speaker's phrase ends with nods, looks at
the speaker but for short aversions, and idles when nobody is there. Every listener draws a personality of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from react_ros.face import ARKIT, ARKIT_INDEX, FPS, Face, Reaction, Sound, SoundState, SpeakerFrame
from react_ros.generators.attributes import attributes_of
from react_ros.generators.contract import Generator, GeneratorInfo, Stream, sample_rngs
from react_ros.generators.idle import DT, Doubles, IdleLife, SmoothNoise, wear_eyes
from react_ros.generators.presence import Presence
from react_ros.generators.sanitize import sanitize
from react_ros.systems.attentive.config import AttentiveConfig

# Cues to a backchannel, after Ward and Tsukahara 2000.
LOW_PITCH_PERCENTILE = 0.26


LOW_PITCH_FRAMES = 3  # at least 110 ms


TALK_FRAMES = 18  # at least 700 ms of speech before


PAUSE_FRAMES = 5  # 200 ms of silence: the usual gap between turns (Levinson 2015)


NOD_HZ = (2.6, 6.5)
"""Listeners' fast nods (Hale 2020)."""


HISTORY = 64
"""Frames that a delayed answer can reach back: 2.56 s."""


SMILE, BROW_UP, BROW_DOWN = 0, 1, 2


HEAD = slice(3, 6)


DRIVES: Mapping[str, Mapping[str, float]] = {
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.5, "eyeSquint": 0.3, "mouthDimple": 0.12, "mouthUpperUp": 0.1},
    "brow_up": {"browInnerUp": 0.7, "browOuterUp": 0.6, "eyeWide": 0.2},
    "brow_down": {"browDown": 0.7, "eyeSquint": 0.2},
    "alert": {"eyeWide": 0.14, "browInnerUp": 0.06, "browOuterUp": 0.09},
    "lips_together": {"mouthPress": 0.09, "mouthRollLower": 0.05, "mouthRollUpper": 0.04},
    "chin": {"mouthShrugLower": 0.09, "mouthShrugUpper": 0.04},
    "pout": {"mouthPucker": 0.06, "mouthFunnel": 0.02},
    "lips_apart": {"jawOpen": 0.03, "mouthLowerDown": 0.02},
    "inner_brow": {"browInnerUp": 0.04},
    "lids": {"eyeSquint": 0.07},
}
"""What the listener feels, as weights of the face; a name without Left or Right moves both sides."""


MICRO = slice(4, len(DRIVES))
"""Drives that only micro-variation moves."""


def _basis() -> Doubles:
    basis = np.zeros((len(DRIVES), len(ARKIT)))
    for row, shapes in enumerate(DRIVES.values()):
        for name, weight in shapes.items():
            for side in [name] if name in ARKIT_INDEX else [f"{name}Left", f"{name}Right"]:
                basis[row, ARKIT_INDEX[side]] = weight
    return basis


BASIS = _basis()  # (10, 52)


# Faces come up faster than they go; alertness is a mood and takes a second. Weights a frame of each of two poles.
RISE = np.array([0.34, 0.3, 0.3, 0.08] + [0.25] * 6)


FALL = np.array([0.14, 0.2, 0.16, 0.05] + [0.25] * 6)


_SMILES = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]


_BROWS_UP = [ARKIT_INDEX[n] for n in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]


_BROWS_DOWN = [ARKIT_INDEX["browDownLeft"], ARKIT_INDEX["browDownRight"]]


_LEFT = np.array([name.endswith("Left") for name in ARKIT])


_RIGHT = np.array([name.endswith("Right") for name in ARKIT])


class Hearing:
    """Finds backchannel cues in the speaker's voice: low pitch after talk, and pauses after talk."""

    BINS = 64
    F0_LOW, F0_HIGH = 60.0, 500.0

    def __init__(self) -> None:
        # A forgetting histogram of log f0: the speaker's own pitch range, in constant memory.
        self._histogram = np.zeros(self.BINS)
        self.talk = 0
        """Frames of speech since the last second of silence."""
        self.pause = FPS
        """Frames since speech."""
        self._low_run = 0
        self._gap = 0

    def step(self, sound: Sound) -> tuple[bool, bool]:
        """Returns whether a region of low pitch, and whether a pause, has become a cue in this very frame."""
        if sound.state == SoundState.SPEECH:
            self.talk += 1
            self.pause = 0
        else:
            self.pause = min(self.pause + 1, 10 * FPS)
            if self.pause > FPS:
                self.talk = 0
        talked = self.talk >= TALK_FRAMES
        low = self._step_pitch(sound) and talked
        return low, talked and self.pause == PAUSE_FRAMES

    def _step_pitch(self, sound: Sound) -> bool:
        voiced = sound.state == SoundState.SPEECH and self.F0_LOW < sound.f0 < self.F0_HIGH
        if not voiced:
            # A consonant does not end a region of low pitch; a pause does.
            self._gap += 1
            if self._gap > 2:
                self._low_run = 0
            return False
        self._gap = 0
        place = np.log(sound.f0 / self.F0_LOW) / np.log(self.F0_HIGH / self.F0_LOW)
        bin_ = int(place * self.BINS)
        self._histogram *= 0.998  # forgets over 20 s of voice
        self._histogram[bin_] += 1.0
        total = self._histogram.sum()
        below = self._histogram[:bin_].sum() + 0.5 * self._histogram[bin_]
        is_low = total > FPS and below < LOW_PITCH_PERCENTILE * total
        self._low_run = self._low_run + 1 if is_low else 0
        return self._low_run == LOW_PITCH_FRAMES


class Sight:
    """Remembers the speaker's smile, brows and head, each relative to that speaker's own running rest."""

    def __init__(self) -> None:
        self.history = np.zeros((HISTORY, 6))
        """(64, 6) ring: smile, brow up, brow down from 0 to 1; pitch, yaw, roll in rad."""
        self.now = 0
        """Row of the ring that holds this frame."""
        self.smileless = HISTORY
        """Frames since the speaker last smiled."""
        self._rest = np.zeros(3)
        self._head_rest = np.zeros(3)
        self._absent = HISTORY

    def step(self, face: Face) -> bool:
        """Take in a frame. Returns whether a smile begins in it, after a time without."""
        self.now = (self.now + 1) % HISTORY
        row = self.history[self.now]
        if not face.state.present:
            self._absent = min(self._absent + 1, HISTORY)
            row[:] = 0.0
        else:
            b = face.blendshapes
            seen = np.array([b[_SMILES].sum() / 2.0, b[_BROWS_UP].sum() / 3.0, b[_BROWS_DOWN].sum() / 2.0])
            seen = np.minimum(np.maximum(seen, 0.0), 1.0)
            if self._absent >= FPS:
                self._head_rest = np.array(face.rotation, np.float64)
                self._rest = np.minimum(seen, 0.1)
            self._absent = 0
            # Rest is the least lately: it falls at once and rises over a minute, so a long smile stays a smile.
            self._rest += np.where(seen < self._rest, 0.1, 0.0006) * (seen - self._rest)
            self._head_rest += (face.rotation - self._head_rest) / 150.0
            row[:3] = np.minimum(np.maximum((seen - self._rest - 0.07) / 0.6, 0.0), 1.0)
            row[HEAD] = np.minimum(np.maximum(face.rotation - self._head_rest, -0.35), 0.35)
        begins = row[SMILE] > 0.0 and self.smileless >= HISTORY
        self.smileless = 0 if row[SMILE] > 0.0 else min(self.smileless + 1, HISTORY)
        return begins


@dataclass(frozen=True, slots=True)
class Personality:
    """What makes S listeners different people; (S,) unless noted."""

    expressiveness: Doubles
    mimicry: Doubles
    smile_delay: Doubles
    """Median, frames."""
    brow_delay: npt.NDArray[np.int64]
    """Frames."""
    head_delay: npt.NDArray[np.int64]
    """Frames, without the filter's own."""
    head_mimicry: Doubles
    """Share of the speaker's head motion that is taken over, 0 to 1."""
    pleasantness: Doubles
    """Smile at rest while listening."""
    readiness: Doubles
    """Probability of answering a cue."""
    nod_share: Doubles
    """Of all answers to cues, how many are nods; the others are brow flashes and short smiles."""
    nod_size: Doubles
    """Rad, of a single nod at 3.2 Hz."""
    nod_hz: Doubles
    nod_more: Doubles
    """Mean number of cycles after the first."""
    refractory: Doubles
    """Least time between answers, s."""
    posture: Doubles
    """(S, 3) habitual head pose while listening, rad."""
    asymmetry: Doubles
    """(S, 52) gain of each blendshape: no face is symmetric."""


# Mean delay, in frames, of two poles of 0.25 a frame: 3 each.
_HEAD_POLE = 0.25


_HEAD_FILTER_FRAMES = 6


def draw_personality(rngs: list[np.random.Generator], config: AttentiveConfig) -> Personality:
    """One personality a generator, S in all."""
    z = config.temperature * np.clip(np.stack([rng.standard_normal(16) for rng in rngs]), -2.0, 2.0)
    skew = np.clip(np.stack([rng.standard_normal(len(ARKIT)) for rng in rngs]), -2.0, 2.0)
    asymmetry = np.ones_like(skew)
    lean = 0.05 * z[:, 14:15]  # one side of a face is stronger throughout
    asymmetry[:, _LEFT] += lean + 0.03 * skew[:, _LEFT]
    asymmetry[:, _RIGHT] += -lean + 0.03 * skew[:, _RIGHT]
    mimicry_frames = config.mimicry_delay_ms / 1000.0 * FPS
    head_frames = config.head_lag_ms / 1000.0 * FPS * np.exp(0.1 * z[:, 4]) - _HEAD_FILTER_FRAMES
    return Personality(
        expressiveness=config.expressiveness * np.exp(0.3 * z[:, 0]),
        mimicry=config.mimicry * np.exp(0.2 * z[:, 1]),
        smile_delay=mimicry_frames * np.exp(0.12 * z[:, 2]),
        brow_delay=np.clip(np.rint(mimicry_frames * np.exp(0.15 * z[:, 3])), 0, HISTORY - 1).astype(np.int64),
        head_delay=np.clip(np.rint(head_frames), 0, HISTORY - 1).astype(np.int64),
        head_mimicry=0.3 * config.mimicry * np.exp(0.3 * z[:, 5]),
        pleasantness=0.07 * config.expressiveness * np.exp(0.6 * z[:, 6]),
        readiness=np.clip(config.nodding * 0.62 * np.exp(0.2 * z[:, 7]), 0.0, 1.0),
        nod_share=np.clip(0.8 + 0.08 * z[:, 8], 0.0, 1.0),
        nod_size=0.075 * np.exp(0.25 * z[:, 9]),
        nod_hz=3.3 * np.exp(0.08 * z[:, 10]),
        nod_more=0.9 * np.exp(0.35 * z[:, 11]),
        refractory=2.0 * np.exp(0.2 * z[:, 12]),
        posture=np.stack([0.015 * z[:, 13], 0.02 * z[:, 14], 0.035 * z[:, 15]], axis=1),
        asymmetry=asymmetry,
    )


@dataclass(slots=True)
class State:
    """All that changes in S listeners, (S,) unless noted; times in s."""

    engaged: float
    """0 alone, 1 listening."""
    talking: float
    """0 silence, 1 speech, smoothed."""
    smile_delay: npt.NDArray[np.int64]
    """Frames; drawn anew for every smile of the speaker."""
    smile_gain: Doubles
    """Drawn anew for every smile of the speaker."""
    until_answer: Doubles
    """Time to the answer that a cue called for; infinite where none did."""
    since_answer: Doubles
    nod_time: Doubles
    """Since the nod began."""
    nod_hz: Doubles
    nod_cycles: Doubles
    nod_size: Doubles
    nod_low: Doubles
    """Rad by which a nod leaves the head lower."""
    flash_left: Doubles
    """Time that a brow flash or short smile still lasts."""
    flash: Doubles
    """(S, 2) its smile and brow."""
    drives: Doubles
    """(S, 10) first pole."""
    felt: Doubles
    """(S, 10) second pole."""
    head: Doubles
    """(S, 3) rad, first pole of the mimicry."""
    head_felt: Doubles
    """(S, 3) rad, second pole."""
    until_shift: Doubles
    """To the next shift of posture."""
    shift: Doubles
    """(S, 3) rad, where posture goes."""
    pose: Doubles
    """(S, 3) rad, first pole of the posture."""
    pose_felt: Doubles
    """(S, 3) rad, second pole."""


class AttentiveStream(Stream):
    """S attentive listeners of one speaker."""

    _NORMALS = 4 + len(DRIVES)
    _UNIFORMS = 6

    def __init__(self, config: AttentiveConfig, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self._config = config
        self.listener_rngs = sample_rngs(seed, samples, purpose=0)
        self.personality = draw_personality(self.listener_rngs, config)
        self._idle = IdleLife(seed, samples)
        self._micro = SmoothNoise(samples, len(DRIVES) - MICRO.start, seconds=1.0)
        self._presence, self._sight, self._hearing = Presence(), Sight(), Hearing()
        self._z = np.zeros((samples, self._NORMALS))
        self._u = np.zeros((samples, self._UNIFORMS))
        one, three = np.zeros(samples), np.zeros((samples, 3))
        self.state = State(
            engaged=0.0,
            talking=0.0,
            smile_delay=np.rint(self.personality.smile_delay).astype(np.int64),
            smile_gain=one + 1.0,
            until_answer=one + np.inf,
            since_answer=one + 10.0,
            nod_time=one + 100.0,
            nod_hz=self.personality.nod_hz.copy(),
            nod_cycles=one + 1.0,
            nod_size=one.copy(),
            nod_low=one.copy(),
            flash_left=one.copy(),
            flash=np.zeros((samples, 2)),
            drives=np.zeros((samples, len(DRIVES))),
            felt=np.zeros((samples, len(DRIVES))),
            head=three.copy(),
            head_felt=three.copy(),
            until_shift=one.copy(),
            shift=three.copy(),
            pose=three.copy(),
            pose_felt=three.copy(),
        )

    def step(self, frame: SpeakerFrame) -> Reaction:
        frame = sanitize(frame)
        # As many draws every frame, whatever happens: what is heard never shifts later chances.
        for i, rng in enumerate(self.listener_rngs):
            rng.standard_normal(out=self._z[i])
            rng.random(out=self._u[i])
        s = self.state
        live = self._presence.step(frame)
        low_pitch, pause = self._hearing.step(frame.sound)
        smile_begins = self._sight.step(frame.face)
        s.engaged += 0.07 * (live - s.engaged)
        s.talking += 0.08 * ((live and self._hearing.pause < FPS // 2) - s.talking)

        nod, answering = self._step_nods(live, low_pitch, pause)
        blendshapes = self._step_face(smile_begins)
        idle = self._idle.step(engaged=s.engaged, blink_urge=np.where(answering, 0.3, 0.2 if live and pause else 0.0))
        rotation = self._step_head(idle.gaze) + idle.rotation
        rotation[:, 0] += nod
        translation = idle.translation.astype(np.float64)
        # The head turns about the neck, a hand's breadth below and behind it.
        translation[:, 2] += 0.06 * rotation[:, 0] + 0.01 * s.felt[:, 3]
        translation[:, 0] -= 0.08 * rotation[:, 2]
        # Who looks at somebody keeps looking while the own head moves (the vestibulo-ocular reflex).
        gaze = idle.gaze - 0.85 * s.engaged * rotation[:, 1::-1]
        wear_eyes(blendshapes, idle.blink, gaze)
        return Reaction(
            frame.index,
            frame.stamp_ns,
            blendshapes.astype(np.float32),
            np.clip(rotation, -0.5, 0.5).astype(np.float32),
            translation.astype(np.float32),
            attributes_of(blendshapes),
            live,
        )

    def _step_nods(self, live: bool, low_pitch: bool, pause: bool) -> tuple[Doubles, npt.NDArray[np.bool_]]:
        """Answer cues. Returns (S,) pitch in rad, and (S,) whether an answer begins in this frame."""
        s, p, z, u = self.state, self.personality, self._z, self._u
        s.since_answer += DT
        s.nod_time += DT
        s.until_answer -= DT
        s.flash_left -= DT
        if not live:
            s.until_answer[:] = np.inf
        elif low_pitch or pause:
            ready = np.isinf(s.until_answer) & (s.since_answer > p.refractory)
            will = ready & (u[:, 0] < p.readiness * (1.0 if pause else 0.8))
            mean = self._config.nod_delay_ms / 1000.0
            delay = mean + 0.12 * np.clip(z[:, 0], -2.0, 2.0)
            # A pause is known for one only after a while of it: that while counts.
            s.until_answer = np.where(will, delay - (PAUSE_FRAMES * DT if pause else 0.0), s.until_answer)
        begins = s.until_answer <= 0.0
        if begins.any():
            nods = begins & (u[:, 1] < p.nod_share)
            cycles = np.minimum(1.0 + np.floor(-np.log1p(-u[:, 2]) * p.nod_more), 5.0)
            hz = np.clip(p.nod_hz * np.exp(0.1 * z[:, 1]) * (1.0 + 0.04 * cycles), NOD_HZ[0] + 0.1, NOD_HZ[1] - 0.5)
            # Faster nods are smaller, and in longer ones the first cycle is the larger (Mori 2025).
            size = p.nod_size * (3.2 / hz) * (0.85 + 0.15 * cycles) * np.exp(0.15 * z[:, 2])
            s.nod_time = np.where(nods, -s.until_answer, s.nod_time)
            s.nod_hz = np.where(nods, hz, s.nod_hz)
            s.nod_cycles = np.where(nods, cycles, s.nod_cycles)
            s.nod_size = np.where(nods, size, s.nod_size)
            flash = np.stack([0.15 + 0.2 * u[:, 3], 0.1 + 0.5 * u[:, 3]], axis=1)
            flash[:, 0] *= u[:, 4] < 0.6
            flash[:, 1] *= u[:, 4] > 0.4
            # Half of the nods come with something in the face.
            flash *= np.where(nods, np.where(u[:, 5] < 0.5, 0.5, 0.0), 1.0)[:, None]
            s.flash = np.where(begins[:, None], flash * p.expressiveness[:, None], s.flash)
            s.flash_left = np.where(begins, 0.4 + 0.3 * u[:, 5], s.flash_left)
            s.since_answer = np.where(begins, 0.0, s.since_answer)
            s.until_answer = np.where(begins, np.inf, s.until_answer)
        phase = s.nod_time * s.nod_hz
        active = phase < s.nod_cycles
        first = np.where((phase < 1.0) & (s.nod_cycles >= 3.0), 1.25, 1.0)
        size = np.where(active, s.nod_size * first * np.exp(-0.35 * phase), 0.0)
        s.nod_low += 0.12 * (np.where(active, 0.2 * s.nod_size, 0.0) - s.nod_low)
        return size * (0.5 - 0.5 * np.cos(2.0 * np.pi * phase)) + s.nod_low, begins

    def _step_face(self, smile_begins: bool) -> Doubles:
        """(S, 52) the face without eyelids and gaze."""
        s, p, z = self.state, self.personality, self._z
        if smile_begins:
            spread = np.exp(0.2 * np.clip(z[:, 3], -2.0, 2.0))
            # Nobody answers sooner than the muscles can: a floor just below the median.
            floor = 0.85 * self._config.mimicry_delay_ms / 1000.0 * FPS
            delay = np.rint(np.maximum(p.smile_delay * spread, floor))
            s.smile_delay = np.minimum(delay, HISTORY - 1).astype(np.int64)
            s.smile_gain = np.clip(1.0 + 0.25 * z[:, 4], 0.4, 1.6)
        seen, now = self._sight.history, self._sight.now
        gain = p.expressiveness * p.mimicry
        smile = seen[now - s.smile_delay, SMILE] * s.smile_gain * gain
        brow_up = seen[now - p.brow_delay, BROW_UP] * 0.6 * gain
        brow_down = seen[now - p.brow_delay, BROW_DOWN] * 0.5 * gain
        flash = s.flash * (s.flash_left > 0.0)[:, None]
        target = np.empty_like(s.drives)
        target[:, 0] = 0.95 * (1.0 - np.exp(-0.9 * smile)) + p.pleasantness * s.engaged + flash[:, 0]
        target[:, 1] = brow_up + flash[:, 1]
        target[:, 2] = brow_down
        target[:, 3] = s.engaged * (0.35 + 0.65 * s.talking) * p.expressiveness
        micro = self._micro.step(z[:, MICRO])
        target[:, MICRO] = np.clip(micro, 0.0, 1.6) * p.expressiveness[:, None]
        s.drives += np.where(target > s.drives, RISE, FALL) * (target - s.drives)
        s.felt += np.where(s.drives > s.felt, RISE, FALL) * (s.drives - s.felt)
        return np.clip(s.felt @ BASIS * p.asymmetry, 0.0, 1.0)

    def _step_head(self, gaze: npt.NDArray[np.floating]) -> Doubles:
        """(S, 3) rad: mimicry of the speaker's head, posture, and the head's part in looking away."""
        s, p, u = self.state, self.personality, self._u
        moved = self._sight.history[self._sight.now - p.head_delay, HEAD] * p.head_mimicry[:, None]
        moved[:, 1:] *= -1.0  # mimicry is a mirror's: the speaker's right is answered with the left
        s.head += _HEAD_POLE * (moved - s.head)
        s.head_felt += _HEAD_POLE * (s.head - s.head_felt)
        s.until_shift -= DT
        due = s.until_shift <= 0.0
        if due.any():
            away = (u[:, 3:6] - 0.5) * (0.05, 0.08, 0.09)
            s.shift = np.where(due[:, None], away, s.shift)
            s.until_shift = np.where(due, 5.0 + 15.0 * u[:, 2], s.until_shift)
        goal = s.engaged * (p.posture + s.shift)
        goal[:, 1] += 0.2 * gaze[:, 0]
        goal[:, 0] += 0.15 * gaze[:, 1]
        s.pose += 0.09 * (goal - s.pose)
        s.pose_felt += 0.09 * (s.pose - s.pose_felt)
        return s.head_felt + s.pose_felt


class Attentive(Generator):
    """A live listener without learning: rules from the figures of human timing, no weights."""

    Config = AttentiveConfig
    info = GeneratorInfo(
        name="attentive",
        summary="listens by rule: mimicry, nods at phrase ends, gaze and blinks, with human timing",
        inputs=("blendshapes", "rotation", "sound"),
        delay_frames=9,
    )

    def __init__(self, config: AttentiveConfig | None = None) -> None:
        self.config = config or AttentiveConfig()
        self.info = replace(type(self).info, delay_frames=round(self.config.mimicry_delay_ms / 1000.0 * FPS))

    def start(self, *, samples: int = 1, seed: int = 0) -> AttentiveStream:
        return AttentiveStream(self.config, samples, seed)
