"""What the avatar's face may do from one moment to the next: limits, smoothing, idle life."""

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
    """A face at one moment, or where it is asked to go. Arrays float32."""

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
    """The limits of the face. Raises ValueError for a value that is not finite and positive.

    The defaults let through what people do: blinks that close in 50 to 100 ms, saccades, and nods of 2.6 to 6.5 Hz
    (Hale 2020); the neck's range is that of a comfortable turn.
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
    """Weight per s of a blendshape."""
    eye_speed: float = 28.0
    """Weight per s of eyelids and gaze."""
    smoothing_hz: float = 2.5
    """Cutoff of the smoothing at rest; it rises with speed (One-Euro)."""
    hold_s: float = 0.4
    """How long the last target is kept when none comes."""
    fade_out_s: float = 1.2
    """How long the face takes from its last target to idle life."""
    fade_in_s: float = 0.5
    """How long it takes back."""

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
        """(n,) Hz now."""
        return self._min + self._beta * np.abs(self._speed)

    def step(self, x: Floats, dt: float) -> Floats:
        """Filter the sample (n,) taken dt s after the last; the first passes unchanged."""
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


class Motion:
    """Turns targets, which may jump, stop or be broken, into a face that moves as a face can.

    Every pose is finite and in range, and moves no faster than the configuration says. Without a target the face
    holds still briefly, then returns to rest and idles (blinks, breath, glances); with one, it comes back smoothly.
    Same seed and same steps: same bits.
    """

    _LONGEST_STEP = 0.1

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
        # Fast motion of each kind (weights 1/s, rad 0.5/s, m 0.05/s) earns about as much cutoff as the rest has.
        beta = np.array([2.5] * 52 + [5.0] * 3 + [50.0] * 3, np.float32)
        self._filter = OneEuro(cutoff, beta)
        self._shapes = np.zeros(52, np.float32)
        self._head = np.zeros(6)
        self._speed = np.zeros(6)
        self._wanted = np.zeros(58, np.float32)
        self._presence = 0.0
        self._silence = math.inf
        self._idle_clock = 0.0
        self._idle_goal = self._next_idle()

    @property
    def presence(self) -> float:
        """0 idle life alone, 1 the target alone."""
        return self._presence

    def step(self, target: Target | None, dt: float) -> Pose:
        """The face dt s later. A target with anything but finite numbers counts as none.

        Raises ValueError for a target of other shapes, or a dt that is not finite and positive. A dt above 0.1 s (a
        stall) moves the face as far as 0.1 s would.
        """
        if not (math.isfinite(dt) and dt > 0.0):
            raise ValueError(f"dt is {dt}: a finite number of seconds above 0 is needed")
        dt = min(dt, self._LONGEST_STEP)
        self._listen(target, dt)
        self._idle_clock += dt
        while self._idle_clock >= 1.0 / FPS - 1e-9:
            self._idle_clock -= 1.0 / FPS
            self._idle_goal = self._next_idle()
        share = self._presence * self._presence * (3.0 - 2.0 * self._presence)
        goal = share * self._wanted + (1.0 - share) * self._idle_goal
        smooth = self._filter.step(goal.astype(np.float32), dt)
        # A blink is over before a smoother has seen it.
        smooth[_BLINK] = goal[_BLINK]
        self._move_shapes(smooth[:52], dt)
        self._move_head(smooth[52:].astype(np.float64), dt)
        out = self._shapes.copy()
        out[_CLOSE] = min(out[_CLOSE], out[_JAW])
        return Pose(out, self._head[:3].astype(np.float32), self._head[3:].astype(np.float32))

    def _listen(self, target: Target | None, dt: float) -> None:
        wanted = None if target is None else self._sane(target)
        if wanted is not None:
            self._wanted, self._silence = wanted, 0.0
            self._presence = min(1.0, self._presence + dt / self.config.fade_in_s)
            return
        self._silence += dt
        if self._silence > self.config.hold_s:
            self._presence = max(0.0, self._presence - dt / self.config.fade_out_s)

    def _sane(self, target: Target) -> Floats | None:
        """(58,) in range and free of contradictions, or None where a number is not finite."""
        parts = [np.asarray(p, np.float32) for p in (target.blendshapes, target.rotation, target.translation)]
        shapes = tuple(p.shape for p in parts)
        if shapes != ((52,), (3,), (3,)):
            raise ValueError(f"a target has blendshapes (52,), rotation (3,) and translation (3,), not {shapes}")
        wanted = face_model(*parts)
        if not np.isfinite(wanted).all():
            return None
        face = np.clip(wanted[:52], 0.0, 1.0)
        both = np.minimum(face[_A], face[_B])
        face[_A] -= both
        face[_B] -= both
        face[_WIDE] *= 1.0 - face[_BLINK]
        # mouthClose closes lips over an open jaw (ARKit): more than the jaw's opening means nothing.
        face[_CLOSE] = min(face[_CLOSE], face[_JAW])
        head = np.clip(wanted[52:], -self._limit, self._limit)
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
        # Never faster than can be stopped before the end of the range.
        upper = self._braking(np.maximum(self._limit - self._head, 0.0), dt)
        lower = self._braking(np.maximum(self._limit + self._head, 0.0), dt)
        speed = np.clip(speed, -np.minimum(lower, self._top_speed), np.minimum(upper, self._top_speed))
        moved = np.clip(self._head + speed * dt, -self._limit, self._limit)
        self._speed = (moved - self._head) / dt
        self._head = moved

    def _braking(self, distance: Doubles, dt: float) -> Doubles:
        """The fastest speed from which steps of dt at the top deceleration stop within the distance."""
        reach = self._top_acceleration * dt
        n = np.sqrt(0.25 + 2.0 * distance / (reach * dt)) - 0.5
        # Speeds fall by `reach` a step; what whole steps leave over is spread among them, so that the end is exact.
        whole = np.floor(n + 1e-9)
        rest = distance / (reach * dt) - whole * (whole + 1.0) / 2.0
        return reach * (whole + rest / (whole + 1.0))
