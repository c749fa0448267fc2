"""Idle life: blinks, gaze, breathing and head sway of a face that reacts to nothing.

Used by generators, and by the avatar when reactions stop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from react_ros.config import in_range
from react_ros.face import ARKIT_INDEX, FPS, Floats
from react_ros.generators.contract import sample_rngs

DT = 1.0 / FPS
Doubles = npt.NDArray[np.float64]

EYE_RANGE = 0.6
"""Rotation of an eye, rad, at a look blendshape of 1 (about 35 degrees, the eye's range)."""


@dataclass(frozen=True, slots=True)
class IdleConfig:
    """Parameters of idle life. Pairs are bounds; each listener's own value is sampled between them.

    Raises ValueError for a value outside the human range.
    """

    blinks_per_minute: tuple[float, float] = (13.0, 24.0)
    """Within 10.5 to 32.5 (Doughty 2001, conversation), with a margin, since pauses and nods cause more blinks."""
    blink_seconds: float = 0.208
    """Median length of a blink from first to last motion (short ones, Hömke 2018)."""
    breaths_per_minute: tuple[float, float] = (12.0, 18.0)
    sway: float = 1.0
    """Amplitude of breathing and head sway; 1 is about half a degree."""

    def __post_init__(self) -> None:
        for name, (low, high), bounds in (
            ("blinks_per_minute", self.blinks_per_minute, (2.0, 60.0)),
            ("breaths_per_minute", self.breaths_per_minute, (4.0, 30.0)),
        ):
            in_range(name, low, *bounds)
            in_range(name, high, low, bounds[1])
        in_range("blink_seconds", self.blink_seconds, 0.12, 0.6, "s")
        in_range("sway", self.sway, 0.0, 3.0)


@dataclass(slots=True)
class IdleMotion:
    """Idle motion of S faces in one frame. Arrays float32."""

    blink: Floats
    """(S,) closure of both eyelids, 0 open to 1 shut."""
    gaze: Floats
    """(S, 2) rad, yaw (> 0 to the own left) and pitch (> 0 down) of the eyes in the head."""
    rotation: Floats
    """(S, 3) rad: pitch, yaw, roll."""
    translation: Floats
    """(S, 3) m."""


class SmoothNoise:
    """Band-limited noise of unit variance: white noise through two equal one-pole filters."""

    def __init__(self, samples: int, channels: int, seconds: float) -> None:
        """seconds: the time constant of each pole."""
        self._a = 1.0 - np.exp(-DT / seconds)
        r = (1.0 - self._a) ** 2
        # Variance of the cascade's impulse response a^2 (k + 1) (1 - a)^k, summed in closed form.
        self._gain = np.sqrt((1.0 - r) ** 3 / (self._a**4 * (1.0 + r)))
        self._inner = np.zeros((samples, channels))
        self._outer = np.zeros((samples, channels))

    def step(self, white: Doubles) -> Doubles:
        """white: (S, C) standard normal. Returns (S, C); starts from 0."""
        self._inner += self._a * (white - self._inner)
        self._outer += self._a * (self._inner - self._outer)
        return self._outer * self._gain


def blink_shape(phase: Doubles) -> Doubles:
    """Closure, 0 to 1, at a phase of the blink (0 start, 1 end; 0 closure outside): closes fast, opens slowly.

    The lid is shut from 0.28 to 0.48 of the blink, about one frame, so that 25 frames a second always see it shut.
    """
    closing = np.clip(phase / 0.28, 0.0, 1.0)
    opening = np.clip((phase - 0.48) / 0.52, 0.0, 1.0)
    return closing * closing * (3.0 - 2.0 * closing) * (1.0 - opening) ** 2 * (1.0 + 2.0 * opening)


@dataclass(slots=True)
class _State:
    """The state of S faces; (S,) unless noted, times in s."""

    until_blink: Doubles
    since_blink: Doubles
    blink_length: Doubles
    until_shift: Doubles
    averted: npt.NDArray[np.bool_]
    gaze_target: Doubles  # (S, 2) rad
    gaze: Doubles  # (S, 2) rad
    breath: Doubles  # phase, rad


class IdleLife:
    """Idle life of S faces at 25 frames a second.

    Face i depends on the seed and on i only, not on S.
    """

    _NORMALS = 8
    _UNIFORMS = 7

    def __init__(self, seed: int, samples: int = 1, config: IdleConfig | None = None) -> None:
        """Raises ValueError for seed < 0 or samples < 1."""
        config = config or IdleConfig()
        self._rngs = sample_rngs(seed, samples, purpose=1)
        self._z = np.zeros((samples, self._NORMALS))
        self._u = np.zeros((samples, self._UNIFORMS))
        self._next_random()
        low, high = config.blinks_per_minute
        self._blink_gap = 60.0 / (low + (high - low) * self._u[:, 0])  # (S,) mean s from blink to blink
        low, high = config.breaths_per_minute
        self._breath_step = 2.0 * np.pi * DT / 60.0 * (low + (high - low) * self._u[:, 1])
        self._config = config
        self._sway = SmoothNoise(samples, 5, seconds=0.9)
        self._breath_drift = SmoothNoise(samples, 1, seconds=3.0)
        self._state = _State(
            until_blink=self._blink_gap * self._u[:, 2],
            since_blink=np.full(samples, 10.0),
            blink_length=np.full(samples, config.blink_seconds),
            until_shift=0.3 + self._u[:, 3],
            averted=np.zeros(samples, bool),
            gaze_target=np.zeros((samples, 2)),
            gaze=np.zeros((samples, 2)),
            breath=2.0 * np.pi * self._u[:, 4],
        )

    def step(self, *, engaged: float = 0.0, blink_urge: float | Doubles = 0.0) -> IdleMotion:
        """The next frame.

        engaged: 0 where nobody is present; 1 where somebody is, whom the gaze then leaves for short aversions only.
        blink_urge: (S,) or one probability, 0 to 1, that an event (a pause, a nod) triggers the next blink early.
        """
        self._next_random()
        shifted = self._step_gaze(engaged)
        blink = self._step_blink(np.maximum(blink_urge, np.where(shifted, 0.2, 0.0)))
        rotation, translation = self._step_body()
        return IdleMotion(
            blink.astype(np.float32),
            self._state.gaze.astype(np.float32),
            rotation.astype(np.float32),
            translation.astype(np.float32),
        )

    def _next_random(self) -> None:
        # The same number of random numbers every frame, so that input never shifts the later ones.
        for i, rng in enumerate(self._rngs):
            rng.standard_normal(out=self._z[i])
            rng.random(out=self._u[i])

    def _step_blink(self, urge: Doubles) -> Doubles:
        s, z, u = self._state, self._z, self._u
        s.since_blink += DT
        s.until_blink -= DT
        triggered = (u[:, 0] < urge) & (s.since_blink > 1.0)
        due = (triggered | (s.until_blink <= 0.0)) & (s.since_blink >= s.blink_length)
        if due.any():
            # The blink begins between frames: keep the fraction, so that lengths are not rounded to frames.
            began = np.clip(-s.until_blink, 0.0, DT)
            s.since_blink = np.where(due, began, s.since_blink)
            median = self._config.blink_seconds
            length = np.clip(median * np.exp(0.12 * z[:, 0]), 0.75 * median, 1.2 * median)
            s.blink_length = np.where(due, length, s.blink_length)
            spread = 0.6
            gap = self._blink_gap * np.exp(spread * z[:, 1] - spread**2 / 2.0)
            s.until_blink = np.where(due, np.clip(gap, length + 0.3, 15.0), s.until_blink)
        return blink_shape(s.since_blink / s.blink_length)

    def _step_gaze(self, engaged: float) -> npt.NDArray[np.bool_]:
        """Move the eyes; returns (S,) whether a gaze shift away or back begins."""
        s, u = self._state, self._u
        s.until_shift -= DT
        due = s.until_shift <= 0.0
        shifted = np.zeros_like(due)
        if due.any():
            away = ~s.averted & (u[:, 1] < 0.45 - 0.2 * engaged)
            side = np.where(u[:, 2] < 0.5, -1.0, 1.0)
            aside = np.stack([side * (0.12 + 0.16 * u[:, 3]), -0.06 + 0.2 * u[:, 4]], axis=1)
            # Face to face, the gaze moves between the other's eyes and mouth, within 1.5 degrees.
            facing = np.stack([side * 0.022 * u[:, 3], np.where(u[:, 4] < 0.7, -0.008, 0.03)], axis=1)
            s.gaze_target = np.where(due[:, None], np.where(away[:, None], aside, facing), s.gaze_target)
            wait = -np.log1p(-u[:, 5])
            stay = np.where(away, 0.4 + wait * (0.9 - 0.55 * engaged), 0.5 + wait * 0.8)
            s.until_shift = np.where(due, np.minimum(stay, 5.0), s.until_shift)
            shifted = due & (away | s.averted)
            s.averted = np.where(due, away, s.averted)
        # A saccade of 10 degrees takes about 50 ms: nearly complete within two frames.
        s.gaze += 0.7 * (s.gaze_target - s.gaze)
        return shifted

    def _step_body(self) -> tuple[Doubles, Doubles]:
        s, z = self._state, self._z
        s.breath += self._breath_step * (1.0 + 0.15 * np.clip(self._breath_drift.step(z[:, 7:8])[:, 0], -2.0, 2.0))
        s.breath %= 2.0 * np.pi
        lung = np.sin(s.breath + 0.35 * np.sin(s.breath))  # in faster than out
        sway = np.clip(self._sway.step(z[:, 2:7]), -2.5, 2.5) * self._config.sway
        lift = lung * self._config.sway
        rotation = sway[:, :3] * (0.008, 0.009, 0.006)
        rotation[:, 0] -= 0.004 * lift
        translation = np.stack([0.0012 * sway[:, 3], 0.0012 * lift, 0.001 * sway[:, 4] + 0.0006 * lift], axis=1)
        return rotation, translation


_BLINK = np.array([ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]])
_WIDE = np.array([ARKIT_INDEX["eyeWideLeft"], ARKIT_INDEX["eyeWideRight"]])
_LOOK = np.array(
    [
        ARKIT_INDEX[f"eyeLook{way}"]
        for way in ("OutLeft", "InRight", "DownLeft", "DownRight", "InLeft", "OutRight", "UpLeft", "UpRight")
    ]
)
_LOOK_SOURCE = np.array([0, 0, 1, 1, 2, 2, 3, 3])


def apply_eyes(blendshapes: npt.NDArray[np.floating], blink: Floats, gaze: npt.NDArray[np.floating]) -> None:
    """Write eyelids and gaze into blendshapes, in place.

    blendshapes: (S, 52), 0 to 1; own eyelids are kept where they are lower, own gaze is overwritten.
    blink: (S,) 0 to 1; gaze: (S, 2) rad, yaw and pitch of the eyes in the head.
    """
    directions = np.concatenate([gaze, -gaze], axis=1) / EYE_RANGE  # (S, 4): left, down, right, up
    blendshapes[:, _LOOK] = np.clip(directions, 0.0, 1.0)[:, _LOOK_SOURCE]
    # The upper lid follows the eye down.
    lid = np.maximum(blink, 0.25 * np.clip(directions[:, 1], 0.0, 1.0))[:, None]
    blendshapes[:, _BLINK] = np.maximum(blendshapes[:, _BLINK], lid)
    blendshapes[:, _WIDE] *= 1.0 - lid
