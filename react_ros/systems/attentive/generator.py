"""The attentive listener: responds by rule, with the timing of human listeners.

It returns smiles for as long as they last, open ones open, and mirrors brows, follows the head's motion with a lag,
responds to backchannel cues with nods, brow flashes and short smiles, answers distress with concern instead of a smile,
looks at the speaker with short aversions, and idles while nobody is present. Each listener has a personality.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from react_ros.face import FPS, Reaction, SpeakerFrame
from react_ros.generators.attributes import attributes_of
from react_ros.generators.contract import Generator, GeneratorInfo, Stream, sample_rngs
from react_ros.generators.idle import DT, Doubles, IdleLife, SmoothNoise, apply_eyes
from react_ros.generators.presence import Presence
from react_ros.generators.sanitize import sanitize
from react_ros.systems.attentive.config import AttentiveConfig
from react_ros.systems.attentive.cues import PAUSE_FRAMES, CueDetector
from react_ros.systems.attentive.face import (
    ALERT_DRIVE,
    BASIS,
    CONCERN_DRIVE,
    DOWN_DRIVE,
    DRIVES,
    FALL,
    GRIN_DRIVE,
    MICRO,
    RISE,
    SMILE_DRIVE,
    UP_DRIVE,
)
from react_ros.systems.attentive.motion import (
    BROW_DOWN,
    BROW_UP,
    HEAD,
    HISTORY,
    NEW_SMILE,
    OPEN_SMILE,
    SMILE,
    SpeakerMotion,
)
from react_ros.systems.attentive.personality import HEAD_POLE, sample_personality

NOD_HZ = (2.6, 6.5)
"""Listeners' fast nods (Hale 2020)."""
MAX_ANGLE = 0.5
"""Bound of the head's rotation, rad."""
RETURNED, RENEWED = 0.68, 0.3
"""Shares of the speaker's smile that are returned, where the personality is the median one: of the smile as long as it
lasts, and of what of it is new, so that a smile that begins again is answered again."""
GRINNED = 0.8
"""Share of how open the speaker's smile is that is returned."""
RESPONSES_PER_S = 10.0 / 60.0
"""Responses to cues that a listener has time for: too many hurt as too few do (Poppe 2011)."""
SPARED = 2.2
"""Most responses that are spared for a speaker who pauses often."""
APART_S = 0.6
"""Least time from a response to a pause that is answered too."""
LOW_PITCH_ANSWERED = 0.15
"""Share of regions of low pitch that are answered, of the share of pauses: most are at the end of a phrase, and the
pause that follows is answered instead."""
UNANSWERED_S = 6.0
"""Time without a response after which low pitch is answered as often as a pause."""


@dataclass(slots=True)
class State:
    """The state of S listeners; (S,) unless noted, times in s."""

    engaged: float
    """0 alone, 1 listening, smoothed."""
    talking: float
    """0 silence, 1 speech, smoothed."""
    smile_delay: npt.NDArray[np.int64]
    """Frames; sampled anew for every smile of the speaker."""
    smile_gain: Doubles
    """Sampled anew for every smile of the speaker."""
    until_response: Doubles
    """Time to the response to a cue; infinite where there is none."""
    since_response: Doubles
    nod_time: Doubles
    """Time since the nod began."""
    nod_hz: Doubles
    nod_cycles: Doubles
    nod_size: Doubles
    nod_lead: Doubles
    """Cycles by which an up-down nod is preceded by its upward motion; 0 for the other kinds."""
    nod_low: Doubles
    """rad by which the head stays lower during a nod."""
    strength: Doubles
    """Of the cue that the next response answers."""
    rising: npt.NDArray[np.bool_]
    """Whether that cue is the end of a question."""
    spared: Doubles
    """Responses that the listener has time for."""
    flash_left: Doubles
    """Remaining time of a brow flash or short smile."""
    flash: Doubles
    """(S, 2) smile and brow of the flash."""
    drives: Doubles
    """(S, 12) first pole."""
    drives_out: Doubles
    """(S, 12) second pole."""
    head: Doubles
    """(S, 3) rad, first pole of the mimicry."""
    head_out: Doubles
    """(S, 3) rad, second pole."""
    until_shift: Doubles
    """Time to the next shift of posture."""
    shift: Doubles
    """(S, 3) rad, target of the posture."""
    pose: Doubles
    """(S, 3) rad, first pole of the posture."""
    pose_out: Doubles
    """(S, 3) rad, second pole."""


class AttentiveStream(Stream):
    """S attentive listeners of one speaker."""

    _NORMALS = 4 + MICRO.stop
    _UNIFORMS = 8

    def __init__(self, config: AttentiveConfig, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self._config = config
        self._rngs = sample_rngs(seed, samples, purpose=0)
        self.personality = sample_personality(self._rngs, config)
        self._idle = IdleLife(seed, samples)
        self._micro = SmoothNoise(samples, MICRO.stop - MICRO.start, seconds=1.0)
        self._presence, self._motion, self._cues = Presence(), SpeakerMotion(), CueDetector()
        self._z = np.zeros((samples, self._NORMALS))
        self._u = np.zeros((samples, self._UNIFORMS))
        one, three = np.zeros(samples), np.zeros((samples, 3))
        self.state = State(
            engaged=0.0,
            talking=0.0,
            smile_delay=np.rint(self.personality.smile_delay).astype(np.int64),
            smile_gain=one + 1.0,
            until_response=one + np.inf,
            since_response=one + 2.0,
            nod_time=one + 100.0,
            nod_hz=self.personality.nod_hz.copy(),
            nod_cycles=one + 1.0,
            nod_size=one.copy(),
            nod_lead=one.copy(),
            nod_low=one.copy(),
            strength=one + 1.0,
            rising=np.zeros(samples, bool),
            spared=one + SPARED,
            flash_left=one.copy(),
            flash=np.zeros((samples, 2)),
            drives=np.zeros((samples, len(DRIVES))),
            drives_out=np.zeros((samples, len(DRIVES))),
            head=three.copy(),
            head_out=three.copy(),
            until_shift=one.copy(),
            shift=three.copy(),
            pose=three.copy(),
            pose_out=three.copy(),
        )

    def step(self, frame: SpeakerFrame) -> Reaction:
        frame = sanitize(frame)
        # The same number of random numbers every frame, so that input never shifts the later ones.
        for i, rng in enumerate(self._rngs):
            rng.standard_normal(out=self._z[i])
            rng.random(out=self._u[i])
        s = self.state
        live = self._presence.step(frame)
        low_pitch, pause = self._cues.step(frame.sound)
        smile_begins = self._motion.step(frame.face)
        s.engaged += 0.07 * (live - s.engaged)
        s.talking += 0.08 * ((live and self._cues.pause < FPS // 2) - s.talking)

        nod, responding = self._step_nods(live, low_pitch, pause)
        blendshapes = self._step_face(smile_begins)
        idle = self._idle.step(engaged=s.engaged, blink_urge=np.where(responding, 0.3, 0.2 if live and pause else 0.0))
        rotation = self._step_head(idle.gaze) + idle.rotation
        rotation[:, 0] += nod
        translation = idle.translation.astype(np.float64)
        # The head turns about the neck, about 8 cm below and behind it.
        translation[:, 2] += 0.06 * rotation[:, 0] + 0.01 * s.drives_out[:, ALERT_DRIVE]
        translation[:, 0] -= 0.08 * rotation[:, 2]
        # The gaze stays on the speaker while the head moves (vestibulo-ocular reflex).
        gaze = idle.gaze - 0.85 * s.engaged * rotation[:, 1::-1]
        apply_eyes(blendshapes, idle.blink, gaze)
        return Reaction(
            frame.index,
            frame.stamp_ns,
            blendshapes.astype(np.float32),
            np.clip(rotation, -MAX_ANGLE, MAX_ANGLE).astype(np.float32),
            translation.astype(np.float32),
            attributes_of(blendshapes),
            live,
        )

    def _step_nods(self, live: bool, low_pitch: bool, pause: bool) -> tuple[Doubles, npt.NDArray[np.bool_]]:
        """Respond to cues. Returns (S,) pitch in rad, and (S,) whether a response begins in this frame."""
        s = self.state
        s.since_response += DT
        s.nod_time += DT
        s.until_response -= DT
        s.flash_left -= DT
        s.spared = np.minimum(s.spared + RESPONSES_PER_S * self._config.nodding * DT, SPARED)
        if not live:
            s.until_response[:] = np.inf
        elif low_pitch or pause:
            self._plan_responses(pause)
        begins = s.until_response <= 0.0
        if begins.any():
            self._begin_responses(begins)
        phase = s.nod_time * s.nod_hz
        active = phase < s.nod_cycles + s.nod_lead
        down = np.maximum(phase - s.nod_lead, 0.0)
        first = np.where((down < 1.0) & (s.nod_cycles >= 3.0), 1.25, 1.0)
        size = np.where(active, s.nod_size * first * np.exp(-0.35 * down), 0.0)
        up = np.where(
            phase < s.nod_lead,
            0.4 * s.nod_size * (0.5 - 0.5 * np.cos(2.0 * np.pi * phase / np.maximum(s.nod_lead, 0.1))),
            0.0,
        )
        s.nod_low += 0.12 * (np.where(active, 0.2 * s.nod_size, 0.0) - s.nod_low)
        return size * (0.5 - 0.5 * np.cos(2.0 * np.pi * down)) - up + s.nod_low, begins

    def _plan_responses(self, pause: bool) -> None:
        """Decide who responds to the cue in this frame, and when."""
        s, p, z, u = self.state, self.personality, self._z, self._u
        mean = self._config.nod_delay_ms / 1000.0
        # Pauses are answered somewhat sooner than low pitch, which mostly comes before the end of a phrase.
        delay = (mean - 0.1 if pause else mean) + 0.1 * np.clip(z[:, 0], -2.0, 2.0)
        if pause:
            delay = np.maximum(delay - PAUSE_FRAMES * DT, 0.0)  # the delay counts from the beginning of the pause
            ready = (s.since_response > APART_S) & (s.spared >= 1.0)
            probability = p.readiness
        else:
            # Of the responses that are spared, one is kept for the next pause.
            unanswered = s.since_response > UNANSWERED_S
            ready = (s.since_response > p.refractory) & (s.spared >= np.where(unanswered, 1.5, 2.0))
            probability = p.readiness * np.where(unanswered, 1.0, LOW_PITCH_ANSWERED)
        nodding = s.nod_time + delay < (s.nod_cycles + s.nod_lead) / s.nod_hz  # a nod is not cut by the next
        will = ready & ~nodding & np.isinf(s.until_response) & (u[:, 0] < probability)
        s.until_response = np.where(will, delay, s.until_response)
        s.strength = np.where(will, self._cues.strength, s.strength)
        s.rising = np.where(will, self._cues.rising, s.rising)
        s.spared -= will

    def _begin_responses(self, begins: npt.NDArray[np.bool_]) -> None:
        """Choose the kind of response: a single, repeated or up-down nod, a brow flash, a short smile."""
        s, p, z, u = self.state, self.personality, self._z, self._u
        nods = begins & (u[:, 1] < p.nod_share)
        # The stronger the cue, the larger and the longer the nod.
        cycles = np.minimum(1.0 + np.floor(-np.log1p(-u[:, 2]) * p.nod_more * s.strength), 5.0)
        hz = np.clip(p.nod_hz * np.exp(0.1 * z[:, 1]) * (1.0 + 0.04 * cycles), NOD_HZ[0] + 0.1, NOD_HZ[1] - 0.5)
        # Faster nods are smaller, and the first cycle of a long nod is the largest (Mori 2025).
        size = p.nod_size * s.strength * (3.2 / hz) * (0.85 + 0.15 * cycles) * np.exp(0.15 * z[:, 2])
        s.nod_time = np.where(nods, -s.until_response, s.nod_time)
        s.nod_hz = np.where(nods, hz, s.nod_hz)
        s.nod_cycles = np.where(nods, cycles, s.nod_cycles)
        s.nod_size = np.where(nods, size, s.nod_size)
        s.nod_lead = np.where(nods, np.where((cycles <= 2.0) & (u[:, 6] < 0.15), 0.7, 0.0), s.nod_lead)
        smiles = ~s.rising & (u[:, 4] < 0.35)
        height = np.where(nods & ~s.rising, 0.5, 1.0)
        flash = np.stack([smiles * (0.1 + 0.15 * u[:, 3]), ~smiles * (0.2 + 0.4 * u[:, 3])], axis=1) * height[:, None]
        # A question gets a brow flash, and so do a third of the other nods, or a short smile.
        flash *= (~nods | s.rising | (u[:, 5] < 0.35))[:, None]
        s.flash = np.where(begins[:, None], flash * p.expressiveness[:, None], s.flash)
        s.flash_left = np.where(begins, 0.4 + 0.3 * u[:, 7], s.flash_left)
        s.since_response = np.where(begins, 0.0, s.since_response)
        s.until_response = np.where(begins, np.inf, s.until_response)

    def _step_face(self, smile_begins: bool) -> Doubles:
        """(S, 52) blendshapes, without eyelids and gaze."""
        s, p, z = self.state, self.personality, self._z
        if smile_begins:
            spread = np.exp(0.2 * np.clip(z[:, 3], -2.0, 2.0))
            # A floor just below the median: no response is faster than the muscles.
            floor = 0.85 * self._config.mimicry_delay_ms / 1000.0 * FPS
            delay = np.rint(np.maximum(p.smile_delay * spread, floor))
            s.smile_delay = np.minimum(delay, HISTORY - 1).astype(np.int64)
            s.smile_gain = np.clip(1.0 + 0.12 * z[:, 4], 0.7, 1.3)
        history, now = self._motion.history, self._motion.now
        gain, calm = p.expressiveness * p.mimicry, 1.0 - self._motion.distress
        seen = now - s.smile_delay
        smile = (RETURNED * history[seen, SMILE] + RENEWED * history[seen, NEW_SMILE]) * s.smile_gain * gain
        brow_up = history[now - p.brow_delay, BROW_UP] * 0.6 * gain
        brow_down = history[now - p.brow_delay, BROW_DOWN] * 0.5 * gain
        flash = s.flash * (s.flash_left > 0.0)[:, None]
        target = np.empty_like(s.drives)
        pleasant = p.pleasantness * s.engaged
        smile_to = np.minimum(smile + pleasant + flash[:, 0], 1.0) * calm
        # No smile begins at signs of distress; one that is there waits until the signs have lasted.
        smile_to -= self._motion.doubt * np.maximum(smile_to - s.drives[:, SMILE_DRIVE], 0.0)
        target[:, SMILE_DRIVE] = smile_to
        target[:, UP_DRIVE] = brow_up + flash[:, 1]
        # Brows are never lowered during a smile.
        smiling = np.maximum(np.maximum(smile, target[:, SMILE_DRIVE]), s.drives_out[:, SMILE_DRIVE])
        target[:, DOWN_DRIVE] = brow_down * (1.0 - np.clip((smiling - 0.1) / 0.15, 0.0, 1.0))
        target[:, ALERT_DRIVE] = s.engaged * (0.35 + 0.65 * s.talking) * p.expressiveness * calm
        target[:, CONCERN_DRIVE] = s.engaged * self._motion.distress * p.expressiveness
        # An open smile is returned open, once the listener smiles.
        target[:, GRIN_DRIVE] = (
            GRINNED * history[seen, OPEN_SMILE] * np.clip(2.0 * s.drives[:, SMILE_DRIVE], 0.0, 1.0) * gain
        )
        micro = self._micro.step(z[:, MICRO])
        target[:, MICRO] = np.clip(micro, 0.0, 1.6) * p.expressiveness[:, None]
        s.drives += np.where(target > s.drives, RISE, FALL) * (target - s.drives)
        s.drives_out += np.where(s.drives > s.drives_out, RISE, FALL) * (s.drives - s.drives_out)
        return np.clip(s.drives_out @ BASIS * p.asymmetry, 0.0, 1.0)

    def _step_head(self, gaze: npt.NDArray[np.floating]) -> Doubles:
        """(S, 3) rad: mimicry of the speaker's head, posture, and the head's share of gaze aversions."""
        s, p, u = self.state, self.personality, self._u
        moved = self._motion.history[self._motion.now - p.head_delay, HEAD] * p.head_mimicry[:, None]
        moved[:, 1:] *= -1.0  # mirrored: the speaker's right is the listener's left
        s.head += HEAD_POLE * (moved - s.head)
        s.head_out += HEAD_POLE * (s.head - s.head_out)
        s.until_shift -= DT
        due = s.until_shift <= 0.0
        if due.any():
            away = (u[:, 3:6] - 0.5) * (0.05, 0.08, 0.09)
            s.shift = np.where(due[:, None], away, s.shift)
            s.until_shift = np.where(due, 5.0 + 15.0 * u[:, 2], s.until_shift)
        goal = s.engaged * (p.posture + s.shift)
        concern = s.engaged * self._motion.distress
        goal[:, 0] += 0.06 * concern
        goal[:, 2] += p.tilt * concern
        goal[:, 1] += 0.2 * gaze[:, 0]
        goal[:, 0] += 0.15 * gaze[:, 1]
        s.pose += 0.09 * (goal - s.pose)
        s.pose_out += 0.09 * (s.pose - s.pose_out)
        return s.head_out + s.pose_out


class Attentive(Generator):
    """A listener by rule, with the published figures of human timing; nothing is learned."""

    Config = AttentiveConfig
    info = GeneratorInfo(
        name="attentive",
        summary="by rule: mimicry, nods at phrase ends, gaze and blinks, with human timing",
        inputs=("blendshapes", "rotation", "attributes", "sound"),
        delay_frames=9,
    )

    def __init__(self, config: AttentiveConfig | None = None) -> None:
        self.config = config or AttentiveConfig()
        self.info = replace(type(self).info, delay_frames=round(self.config.mimicry_delay_ms / 1000.0 * FPS))

    def start(self, *, samples: int = 1, seed: int = 0) -> AttentiveStream:
        return AttentiveStream(self.config, samples, seed)
