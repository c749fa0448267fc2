"""The head in 3D: its surface, the deformation of the surface by blendshapes, and the camera.

Lengths are in dm. Axes are those of `react_ros.face`: x to the face's own left (image right), y up, z out of the
face. Eyes, brows, nose and mouth are defined in the frontal plane (x, y) and projected onto the surface along z.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from react_ros.face import ARKIT, ARKIT_INDEX, Floats, rotation_matrix

Array = npt.NDArray[np.floating]

CENTRE_Y = 0.03
HALF_HEIGHT = 1.19
HALF_WIDTH = 0.90
DEPTH = 0.98
PIVOT = np.array([0.0, -0.75, -0.25], np.float32)
"""Centre of rotation: the top of the neck."""
_ROUNDNESS = 2.0 / 2.25
_ROWS, _COLUMNS = 104, 112
_REACH = np.deg2rad(142.0)


def smoothstep(low: float, high: float, x: Array | float) -> Array:
    """Smooth step from 0 at low to 1 at high (falling if low > high)."""
    t = np.clip((np.asarray(x, np.float32) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _blob(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


def _both(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    return _blob(np.abs(x), y, cx, cy, sx, sy)


def _section(y: Array) -> tuple[Array, Array]:
    """Half width and front depth of the horizontal cross-section at height y."""
    s = np.clip((y - CENTRE_Y) / HALF_HEIGHT, -1.0, 1.0)
    c = np.sqrt(np.maximum(1.0 - s * s, 1e-6))
    low = np.clip(-s, 0.0, 1.0)
    width = HALF_WIDTH * np.where(s < 0, c * (1.0 - 0.07 * low + 0.09 * np.sin(np.pi * low)), c**0.96)
    depth = DEPTH * np.where(s < 0, c**0.62, c**0.94)
    return width, depth


def _relief(x: Array, y: Array) -> Array:
    """Height of the facial features above the plain egg, along z."""
    ridge = np.clip((0.20 - y) / 0.45, 0.0, 1.0) * smoothstep(-0.37, -0.27, y)
    return (
        0.17 * ridge * np.exp(-((x / 0.085) ** 2))
        + 0.09 * _blob(x, y, 0.0, -0.245, 0.10, 0.085)
        + 0.07 * _both(x, y, 0.105, -0.275, 0.055, 0.055)
        - 0.10 * _both(x, y, 0.31, 0.14, 0.19, 0.13)
        + 0.045 * _both(x, y, 0.31, 0.09, 0.13, 0.09)
        + 0.04 * _both(x, y, 0.30, 0.36, 0.24, 0.09)
        + 0.05 * _both(x, y, 0.47, -0.16, 0.19, 0.17)
        + 0.05 * _blob(x, y, 0.0, -0.58, 0.27, 0.17)
        - 0.05 * _blob(x, y, 0.0, -0.80, 0.17, 0.055)
        + 0.07 * _blob(x, y, 0.0, -0.96, 0.19, 0.13)
        - 0.03 * _both(x, y, 0.66, 0.36, 0.13, 0.2)
    )


def _height(x: Array, y: Array) -> Array:
    width, depth = _section(y)
    s = np.clip(np.abs(x) / width, 0.0, 0.995)
    return depth * (1.0 - s**2.25) ** (1 / 2.25) + _relief(x, y)


_STEP = 0.01
_CORNER = np.array([1.0, 1.5], np.float32)
_HEIGHTS = _height(*np.meshgrid(np.arange(-1, 1 + _STEP, _STEP), np.arange(-1.5, 1.5, _STEP))).astype(np.float32)


def lift(xy: Array, forward: Array | float = 0.0) -> Floats:
    """(n, 2) points of the frontal plane to (n, 3) points on the resting surface, moved by `forward` along z."""
    # (n, 1): OpenCV 5 misreads one-dimensional maps.
    across, along = ((xy + _CORNER) / _STEP).astype(np.float32).T[..., None].copy()
    out = np.empty((len(xy), 3), np.float32)
    out[:, :2] = xy
    out[:, 2] = cv2.remap(_HEIGHTS, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    out[:, 2] += forward
    return out


def _egg() -> Floats:
    """(rows, columns, 3) points of the resting head, chin to crown, own right to own left."""
    phi = np.linspace(-np.pi / 2 + 0.02, np.pi / 2 - 0.004, _ROWS)[:, None]
    theta = np.linspace(-_REACH, _REACH, _COLUMNS)[None, :]
    y = CENTRE_Y + HALF_HEIGHT * np.sin(phi) + 0.0 * theta
    width, depth = _section(y)
    sin, cos = np.sin(theta), np.cos(theta)
    x = width * np.sign(sin) * np.abs(sin) ** _ROUNDNESS
    back = 1.02 * np.sqrt(np.maximum(1.0 - ((y - CENTRE_Y) / HALF_HEIGHT) ** 2, 0.0))
    z = np.where(cos > 0, depth, back) * np.sign(cos) * np.abs(cos) ** _ROUNDNESS
    z = z + _relief(x, y) * smoothstep(0.0, 0.35, cos) * smoothstep(1.2, 0.9, np.abs(y))
    return np.stack([x, y, z], axis=-1).astype(np.float32)


def _deformations(p: Floats) -> tuple[list[int], Floats]:
    """Deformation of the surface at points (n, 3): indices of m blendshapes, displacements (m, n, 3) at weight 1.

    Directions follow Apple's descriptions of the ARKit blendshapes; amounts are set by hand.
    """
    x, y, z = p.T
    front = smoothstep(-0.2, 0.35, z)
    jaw = smoothstep(-0.42, -0.86, y) * smoothstep(-0.75, 0.35, z)
    fields: dict[str, Floats] = {}

    def push(name: str, dx: Array | float = 0.0, dy: Array | float = 0.0, dz: Array | float = 0.0) -> None:
        delta = np.zeros((len(p), 3), np.float32)
        delta[:, 0], delta[:, 1], delta[:, 2] = dx, dy, dz
        fields[name] = fields.get(name, 0.0) + delta

    push("jawOpen", 0.0, -0.36 * jaw, -0.10 * jaw)
    push("jawForward", 0.0, -0.035 * jaw, 0.17 * jaw)
    push("jawLeft", 0.13 * jaw)
    push("jawRight", -0.13 * jaw)
    cheeks = _both(x, y, 0.47, -0.52, 0.21, 0.23) * front
    push("cheekPuff", np.sign(x) * 0.13 * cheeks, 0.0, 0.15 * cheeks)
    lips = _blob(x, y, 0.0, -0.6, 0.22, 0.16) * front
    push("mouthPucker", -0.25 * x * _blob(x, y, 0, -0.6, 0.5, 0.3), 0.0, 0.10 * lips)
    push("mouthFunnel", -0.15 * x * _blob(x, y, 0, -0.6, 0.5, 0.3), 0.0, 0.10 * lips)
    chin = _blob(x, y, 0.0, -0.93, 0.2, 0.14) * front
    push("mouthShrugLower", 0.0, 0.03 * chin, 0.08 * chin)
    push("mouthRollLower", 0.0, 0.02 * chin, 0.04 * chin)
    for side, name in ((1.0, "Left"), (-1.0, "Right")):
        here = smoothstep(-0.12, 0.12, side * x) * front
        apple = _blob(x, y, side * 0.43, -0.22, 0.19, 0.14) * here
        push("mouthSmile" + name, side * 0.03 * apple, 0.06 * apple, 0.085 * apple)
        high = _blob(x, y, side * 0.42, -0.10, 0.20, 0.12) * here
        push("cheekSquint" + name, 0.0, 0.06 * high, 0.08 * high)
        wing = _blob(x, y, side * 0.14, -0.20, 0.10, 0.13) * here
        push("noseSneer" + name, 0.0, 0.05 * wing, 0.06 * wing)
        brow = _blob(x, y, side * 0.26, 0.33, 0.22, 0.10) * here
        push("browDown" + name, 0.0, -0.05 * brow, 0.05 * brow)
        corner = _blob(x, y, side * 0.33, -0.66, 0.10, 0.12) * here
        push("mouthDimple" + name, 0.0, 0.0, -0.09 * corner)
        push("mouthFrown" + name, 0.0, -0.03 * corner, -0.06 * corner)
        jowl = _blob(x, y, side * 0.40, -0.68, 0.18, 0.2) * here
        push("mouthStretch" + name, side * 0.06 * jowl, 0.0, -0.02 * jowl)
    names = [n for n in ARKIT if n in fields]
    return [ARKIT_INDEX[n] for n in names], np.stack([fields[n] for n in names])


def _outline(top: float, bottom: float, half: float, n: int = 96) -> Floats:
    """Edge of the hood around the face: (n, 3) points on the front of the head, counter-clockwise from its left."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    middle, radius = (top + bottom) / 2, (top - bottom) / 2
    y = middle + radius * np.sign(np.sin(a)) * np.abs(np.sin(a)) ** 0.92
    width, depth = _section(y)
    x = np.clip(half * np.sign(np.cos(a)) * np.abs(np.cos(a)) ** 0.80, -0.965 * width, 0.965 * width)
    z = depth * (1.0 - (np.abs(x) / width) ** 2.25) ** (1 / 2.25)
    return np.stack([x, y, z], axis=1).astype(np.float32)


def crest(x: float, low: float = 60.0, high: float = 128.0, n: int = 24) -> tuple[Floats, Floats]:
    """A seam of the hood over the crown, at x, between two angles in degrees: points and normals (n, 3)."""
    a = np.deg2rad(np.linspace(low, high, n))
    y = CENTRE_Y + HALF_HEIGHT * 0.992 * np.sin(a)
    _, depth = _section(y)
    z = np.where(np.cos(a) > 0, depth, -1.02 * np.abs(np.cos(a)))
    points = np.stack([x + 0 * a, y, z], axis=1).astype(np.float32)
    normals = np.stack([0 * a, np.sin(a), np.cos(a)], axis=1).astype(np.float32)
    return points, normals


_Y_DOWN = np.array([1.0, -1.0], np.float32)


class Camera:
    """A pinhole camera 0.9 m in front of the head. `width`, `height` in px."""

    distance = 9.0

    def __init__(self, width: int, height: int):
        self.scale = min(width, height) / 512.0
        self.focal = 152.0 * self.scale * (self.distance - 0.6)
        self.centre = np.array([(width - 1) / 2, (height - 1) / 2 - 2.0 * self.scale], np.float32)

    def project(self, points: Array) -> Floats:
        """(n, 3) points in dm to (n, 2) px, x right, y down."""
        k = self.focal / (self.distance - points[:, 2:3])
        out = (points[:, :2] * k).astype(np.float32, copy=False)
        out *= _Y_DOWN
        out += self.centre
        return out


class Head:
    """The deformable surface of the head and the edge of the hood on it."""

    def __init__(self) -> None:
        mesh = _egg()
        self.grid = mesh.shape[:2]
        rim = _outline(0.86, -1.09, 0.745)
        self._n, self._rim = mesh.shape[0] * mesh.shape[1], len(rim)
        self._rest = np.concatenate([mesh.reshape(-1, 3), rim]).astype(np.float32)
        self._index, fields = _deformations(self._rest)
        self._fields = np.ascontiguousarray(fields.reshape(len(self._index), -1))
        x, y, z = mesh.reshape(-1, 3).T
        front = smoothstep(0.1, 0.5, z)
        self.shadow = (
            1.0
            - front * 0.26 * _both(x, y, 0.27, 0.17, 0.19, 0.10)
            - front * 0.20 * _blob(x, y, 0.0, -0.40, 0.13, 0.07)
            - front * 0.20 * _blob(x, y, 0.0, -0.78, 0.20, 0.06)
            - 0.45 * smoothstep(-0.85, -1.25, y)
        ).astype(np.float32)
        """(n,) ambient light at each point of the surface, 0 to 1."""
        self.flush = (
            front * (0.6 * _both(x, y, 0.46, -0.22, 0.20, 0.17) + 0.5 * _blob(x, y, 0, -0.24, 0.11, 0.09))
        ).astype(np.float32)
        self.cheeks = [(front * _blob(x, y, s * 0.46, -0.22, 0.22, 0.18)).astype(np.float32) for s in (1, -1)]

    def shape(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Surface points (n, 3), their outward normals (n, 3) and the hood's edge (m, 3), in the head's own axes."""
        points: Floats = self._rest + (weights[self._index] @ self._fields).reshape(-1, 3).astype(
            np.float32, copy=False
        )
        mesh = points[: self._n]
        g = mesh.reshape(*self.grid, 3)
        along = np.empty_like(g)
        along[:, 1:-1] = g[:, 2:] - g[:, :-2]
        along[:, 0], along[:, -1] = along[:, 1], along[:, -2]
        up = np.empty_like(g)
        up[1:-1] = g[2:] - g[:-2]
        up[0], up[-1] = up[1], up[-2]
        ax, ay, az = along[..., 0], along[..., 1], along[..., 2]
        bx, by, bz = up[..., 0], up[..., 1], up[..., 2]
        normal = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
        normal *= 1.0 / np.sqrt(np.einsum("ijk,ijk->ij", normal, normal) + 1e-12)[..., None]
        return mesh, normal.reshape(-1, 3).astype(np.float32, copy=False), points[self._n :]


class Place:
    """The rigid transform of the head: rotation in rad (pitch, yaw, roll), translation in m."""

    def __init__(self, rotation: Array, translation: Array):
        self.matrix = rotation_matrix(rotation).astype(np.float32)
        self.offset = PIVOT + 10.0 * np.asarray(translation, np.float32)

    def __call__(self, points: Array) -> Floats:
        """(n, 3) dm in the head's frame to (n, 3) dm in the world frame."""
        return ((points - PIVOT) @ self.matrix.T + self.offset).astype(np.float32)
