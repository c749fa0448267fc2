"""Motion of the avatar's face: limits of range, speed and acceleration, smoothing, idle life."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from react_ros.face import ARKIT, ARKIT_INDEX, FPS, Floats, face_model
from react_ros.generators.idle import IdleLife, apply_eyes

Doubles = npt.NDArray[np.float64]


@dataclass(slots=True)
class Pose:
    """A face at one moment, or a target for it. Arrays float32."""

    blendshapes: Floats
    """(52,) in the order of `ARKIT`, 0 to 1."""
    rotation: Floats
    """(3,) rad: pitch, yaw, roll; signs as in `react_ros.face`."""
    translation: Floats
    """(3,) m from the face's rest."""


Target = Pose

_OPPOSED = tuple(
    (ARKIT_INDEX[a], ARKIT_INDEX[b])
    for a, b in (
        ("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"),
        ("eyeLookInLeft", "eyeLookOutLeft"), ("eyeLookInRight", "eyeLookOutRight"),
        ("eyeLookUpLeft", "eyeLookDownLeft"), ("eyeLookUpRight", "eyeLookDownRight"),
    )
)  # fmt: skip
_A, _B = (np.array(side) for side in zip(*_OPPOSED, strict=True))
_BLINK = np.array([ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]])
_WIDE = np.array([ARKIT_INDEX["eyeWideLeft"], ARKIT_INDEX["eyeWideRight"]])
_LOOK = np.array([i for i, name in enumerate(ARKIT) if name.startswith("eyeLook")])
_CLOSE, _JAW = ARKIT_INDEX["mouthClose"], ARKIT_INDEX["jawOpen"]


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """Limits of the face's motion. Raises ValueError for a value that is not finite and positive.

    The defaults pass human motion: blinks that close in 50 to 100 ms, saccades, and nods of 2.6 to 6.5 Hz (Hale 2020).
    The range of the head is that of a comfortable turn.
    """

    pitch_limit: float = 0.50
    """rad either way."""
    yaw_limit: float = 0.65
    """rad either way."""
    roll_limit: float = 0.45
    """rad either way."""
    translation_limit: float = 0.06
    """m either way, along each axis."""
    head_speed: float = 4.0
    """rad/s about each axis."""
    head_acceleration: float = 80.0
    """rad/s^2 about each axis."""
    translation_speed: float = 0.4
    """m/s along each axis."""
    translation_acceleration: float = 8.0
    """m/s^2 along each axis."""
    shape_speed: float = 12.0
    """Change of a blendshape weight per s."""
    eye_speed: float = 28.0
    """Change of weight per s of eyelids and gaze."""
    smoothing_hz: float = 2.5
    """Cutoff of the smoothing at rest; it rises with speed (One-Euro)."""
    hold_s: float = 0.4
    """How long the last target is held when none arrives, s."""
    fade_out_s: float = 1.2
    """Duration of the crossfade from the last target to idle life, s."""
    fade_in_s: float = 0.5
    """Duration of the crossfade from idle life to the target, s."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"{f.name} is {value}: a finite number above 0 is needed")


class OneEuro:
    """The 1-Euro filter: a low-pass whose cutoff rises with speed, cutoff = min_cutoff + beta * |speed|.

    Casiez, Roussel and Vogel, CHI 2012. min_cutoff (n,) Hz; beta (n,) Hz per unit of the signal per s.
    """

    def __init__(self, min_cutoff: Floats, beta: Floats, speed_cutoff: float = 1.0):
        self._min, self._beta, self._speed_cutoff = min_cutoff, beta, speed_cutoff
        self._x: Floats | None = None
        self._speed: Floats = np.zeros_like(min_cutoff)

    def cutoff(self) -> Floats:
        """(n,) current cutoff, Hz."""
        return self._min + self._beta * np.abs(self._speed)

    def step(self, x: Floats, dt: float) -> Floats:
        """Filter the value (n,) measured dt s after the last; the first passes unchanged."""
        if self._x is None:
            self._x = x.astype(np.float32)
            return self._x.copy()
        # Speed of the raw signal against the filtered one, as in the authors' reference code.
        change = _smoothing(self._speed_cutoff, dt) * ((x - self._x) / dt - self._speed)
        self._speed = (self._speed + change).astype(np.float32)
        self._x = (self._x + _smoothing(self.cutoff(), dt) * (x - self._x)).astype(np.float32)
        return self._x.copy()


def _smoothing(cutoff: Floats | float, dt: float) -> Floats | float:
    r = 2.0 * math.pi * cutoff * dt
    return r / (r + 1.0)


class FaceMotion:
    """Turns targets, which may jump, stop or be invalid, into a face within its limits of range, speed, acceleration.

    Every pose is finite and in range, and moves no faster than the configuration allows. Without a target the face
    holds the last one briefly, then crossfades to idle life (blinks, breathing, glances); with a target it crossfades
    back. The same seed and the same steps give the same poses to the bit.
    """

    _MAX_STEP_S = 0.1

    def __init__(self, config: MotionConfig | None = None, seed: int = 0):
        self.config = c = config or MotionConfig()
        self._idle = IdleLife(seed)
        self._limit = np.array([c.pitch_limit, c.yaw_limit, c.roll_limit] + [c.translation_limit] * 3)
        self._top_speed = np.array([c.head_speed] * 3 + [c.translation_speed] * 3)
        self._top_acceleration = np.array([c.head_acceleration] * 3 + [c.translation_acceleration] * 3)
        self._shape_speed = np.full(52, c.shape_speed, np.float32)
        self._shape_speed[np.concatenate([_BLINK, _LOOK])] = c.eye_speed
        cutoff = np.full(58, c.smoothing_hz, np.float32)
        cutoff[_LOOK] = 4.0 * c.smoothing_hz
        # Fast motion (weights 1/s, rotation 0.5 rad/s, translation 0.05 m/s) about doubles the cutoff.
        beta = np.array([2.5] * 52 + [5.0] * 3 + [50.0] * 3, np.float32)
        self._filter = OneEuro(cutoff, beta)
        self._shapes = np.zeros(52, np.float32)
        self._head = np.zeros(6)
        self._speed = np.zeros(6)
        self._target = np.zeros(58, np.float32)
        self._presence = 0.0
        self._without_target_s = math.inf
        self._idle_clock = 0.0
        self._idle_goal = self._next_idle()

    @property
    def presence(self) -> float:
        """Weight of the crossfade: 0 idle life only, 1 target only."""
        return self._presence

    def step(self, target: Target | None, dt: float) -> Pose:
        """The face dt s later. A target with a number that is not finite counts as none.

        Raises ValueError for a target of other shapes, or a dt that is not finite and positive. A dt above 0.1 s (a
        stall) counts as 0.1 s.
        """
        if not (math.isfinite(dt) and dt > 0.0):
            raise ValueError(f"dt is {dt}: a finite number of seconds above 0 is needed")
        dt = min(dt, self._MAX_STEP_S)
        self._update_target(target, dt)
        self._idle_clock += dt
        while self._idle_clock >= 1.0 / FPS - 1e-9:
            self._idle_clock -= 1.0 / FPS
            self._idle_goal = self._next_idle()
        share = self._presence * self._presence * (3.0 - 2.0 * self._presence)
        goal = share * self._target + (1.0 - share) * self._idle_goal
        smooth = self._filter.step(goal.astype(np.float32), dt)
        # Blinks are not smoothed: the filter would remove them.
        smooth[_BLINK] = goal[_BLINK]
        self._move_shapes(smooth[:52], dt)
        self._move_head(smooth[52:].astype(np.float64), dt)
        out = self._shapes.copy()
        out[_CLOSE] = min(out[_CLOSE], out[_JAW])
        return Pose(out, self._head[:3].astype(np.float32), self._head[3:].astype(np.float32))

    def _update_target(self, target: Target | None, dt: float) -> None:
        values = None if target is None else self._sanitized(target)
        if values is not None:
            self._target, self._without_target_s = values, 0.0
            self._presence = min(1.0, self._presence + dt / self.config.fade_in_s)
            return
        self._without_target_s += dt
        if self._without_target_s > self.config.hold_s:
            self._presence = max(0.0, self._presence - dt / self.config.fade_out_s)

    def _sanitized(self, target: Target) -> Floats | None:
        """(58,) clipped to range, opposing blendshapes resolved; None where a number is not finite."""
        parts = [np.asarray(p, np.float32) for p in (target.blendshapes, target.rotation, target.translation)]
        shapes = tuple(p.shape for p in parts)
        if shapes != ((52,), (3,), (3,)):
            raise ValueError(f"a target has blendshapes (52,), rotation (3,) and translation (3,), not {shapes}")
        values = face_model(*parts)
        if not np.isfinite(values).all():
            return None
        face = np.clip(values[:52], 0.0, 1.0)
        both = np.minimum(face[_A], face[_B])
        face[_A] -= both
        face[_B] -= both
        face[_WIDE] *= 1.0 - face[_BLINK]
        # mouthClose closes the lips over an open jaw (ARKit): it cannot exceed jawOpen.
        face[_CLOSE] = min(face[_CLOSE], face[_JAW])
        head = np.clip(values[52:], -self._limit, self._limit)
        return np.concatenate([face, head], dtype=np.float32)

    def _next_idle(self) -> Floats:
        life = self._idle.step()
        face = np.zeros((1, 52), np.float32)
        apply_eyes(face, life.blink, life.gaze)
        return face_model(face[0], life.rotation[0], life.translation[0])

    def _move_shapes(self, goal: Floats, dt: float) -> None:
        most = self._shape_speed * dt
        self._shapes = np.clip(self._shapes + np.clip(goal - self._shapes, -most, most), 0.0, 1.0, dtype=np.float32)

    def _move_head(self, goal: Doubles, dt: float) -> None:
        reach = self._top_acceleration * dt
        away = goal - self._head
        wished = np.sign(away) * np.minimum(self._braking(np.abs(away), dt), self._top_speed)
        speed = np.clip(wished, self._speed - reach, self._speed + reach)
        # Speed limit towards the ends of the range: from it, the head can still stop in time.
        upper = self._braking(np.maximum(self._limit - self._head, 0.0), dt)
        lower = self._braking(np.maximum(self._limit + self._head, 0.0), dt)
        speed = np.clip(speed, -np.minimum(lower, self._top_speed), np.minimum(upper, self._top_speed))
        moved = np.clip(self._head + speed * dt, -self._limit, self._limit)
        self._speed = (moved - self._head) / dt
        self._head = moved

    def _braking(self, distance: Doubles, dt: float) -> Doubles:
        """Highest speed from which steps of dt at maximal deceleration stop within a distance."""
        reach = self._top_acceleration * dt
        n = np.sqrt(0.25 + 2.0 * distance / (reach * dt)) - 0.5
        # The speed falls by `reach` per step; the remainder of the distance is spread over the steps to stop exactly.
        whole = np.floor(n + 1e-9)
        rest = distance / (reach * dt) - whole * (whole + 1.0) / 2.0
        return reach * (whole + rest / (whole + 1.0))
