"""Renders a pose to a picture: headless, on the CPU, with OpenCV only.

The skin is a surface: its points are displaced by the blendshapes, rotated, lit and splatted at a third of the
picture's size (shading varies slowly over a face). Sharp details such as lids, lashes, lips and creases are projected
from the face's frontal plane onto that surface, then to the picture, and drawn at full size.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from react_ros.avatar.features import EYE, EYEBALL_RADIUS, IRIS_RADIUS, Eye, Features, Mouth, features
from react_ros.avatar.head import DEPTH, HALF_HEIGHT, HALF_WIDTH, Array, Camera, Head, Place, crest, lift
from react_ros.avatar.motion import Pose
from react_ros.face import Floats

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_SHIFT = 4
_COARSE = 3

_KEY = np.array([-0.46, 0.55, 0.70], np.float32) / np.float32(1.0027)
_FILL = np.array([0.80, 0.10, 0.45], np.float32) / np.float32(0.9233)
_HALFWAY = (_KEY + np.array([0, 0, 1], np.float32)) / np.linalg.norm(_KEY + np.array([0, 0, 1], np.float32))

_LIGHT_STOPS = (0.0, 0.30, 0.58, 0.80, 1.0, 1.30)
_SKIN = np.array(
    [(70, 36, 34), (146, 88, 72), (205, 145, 116), (231, 177, 145), (247, 205, 176), (255, 236, 218)], np.float32
)
_HOOD = np.array([(10, 15, 24), (21, 33, 47), (38, 60, 78), (58, 91, 111), (92, 133, 150), (190, 222, 228)], np.float32)

_LASH: Colour = (46, 27, 27)
_BROW: Colour = (74, 47, 40)
_LIP_UPPER: Colour = (184, 96, 88)
_LIP_LOWER: Colour = (207, 120, 108)
_LIP_LINE: Colour = (128, 60, 58)
_MOUTH: Colour = (74, 22, 28)
_TEETH: Colour = (244, 240, 232)
_TONGUE: Colour = (214, 104, 104)
_SCLERA: Colour = (243, 240, 236)
_IRIS_RIM: Colour = (16, 52, 62)
_IRIS: Colour = (38, 116, 126)
_IRIS_LIGHT: Colour = (104, 188, 184)
_PUPIL: Colour = (10, 14, 18)
_GLOW: Colour = (120, 226, 222)


_A = np.linspace(0, 2 * np.pi, 40, endpoint=False, dtype=np.float32)
_CIRCLE = np.stack([np.cos(_A), 0 * _A, np.sin(_A)], axis=1)


def _fixed(points: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def _fill(image: Image, points: npt.NDArray[Any], colour: Any) -> None:
    cv2.fillPoly(image, [_fixed(points)], colour, cv2.LINE_AA, _SHIFT)


def _line(image: Image, points: Array, colour: Any, width: float, closed: bool = False) -> None:
    cv2.polylines(image, [_fixed(points)], closed, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def _normals(points: Array) -> Floats:
    """(n, 2) unit vectors to the left of a walk along the points, in px (y down)."""
    d = np.empty_like(points)
    d[1:-1] = points[2:] - points[:-2]
    d[0], d[-1] = points[1] - points[0], points[-1] - points[-2]
    d /= np.sqrt((d * d).sum(1, keepdims=True)) + 1e-6
    return np.stack([d[:, 1], -d[:, 0]], axis=1).astype(np.float32)


def _ribbon(points: Array, left: Array | float, right: Array | float) -> Floats:
    """Outline of a stroke of varying width, given in px to either side of the line."""
    n = _normals(points)
    a = points + n * np.reshape(np.asarray(left, np.float32), (-1, 1))
    b = points - n * np.reshape(np.asarray(right, np.float32), (-1, 1))
    return np.concatenate([a, b[::-1]]).astype(np.float32, copy=False)


def _composite(target: Image, source: Image, mask: Image) -> None:
    """Composite source over target with mask as alpha (255: source); all of one size."""
    m = mask.astype(np.float32)
    m *= 1 / 255.0
    cv2.blendLinear(source, target, m, 1.0 - m, target)


def _fade(strength: float) -> Image:
    """Lookup table from mask to brightness: 255 at mask 0, 255 * (1 - strength) at mask 255."""
    return (255.0 - strength * np.arange(256)).round().astype(np.uint8)


def _soften(image: npt.NDArray[Any], sigma: float) -> Image:
    """Two box filters: approximates a Gaussian of that sigma in px at a fraction of its cost."""
    k = 2 * max(1, round(sigma)) + 1
    return cv2.blur(cv2.blur(image, (k, k)), (k, k)).astype(np.uint8, copy=False)


def _ramp(light: Array | float, colours: Floats) -> Floats:
    return np.stack([np.interp(light, _LIGHT_STOPS, colours[:, c]) for c in range(3)], axis=-1).astype(np.float32)


class _Tile:
    """A rectangle of the picture at twice its resolution, painted separately and composited through a mask."""

    factor = 2

    def __init__(self, picture: Image, points: Array, margin: float):
        height, width = picture.shape[:2]
        low = np.floor(points.min(0) - margin).astype(int)
        high = np.ceil(points.max(0) + margin).astype(int) + 1
        self.x0, self.y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        self.x1, self.y1 = min(int(high[0]), width), min(int(high[1]), height)
        self.visible = self.x1 - self.x0 > 1 and self.y1 - self.y0 > 1
        if not self.visible:
            return
        self._target = picture[self.y0 : self.y1, self.x0 : self.x1]
        self.shape = ((self.y1 - self.y0) * self.factor, (self.x1 - self.x0) * self.factor)
        self.paint = np.empty((*self.shape, 3), np.uint8)

    def to(self, points: Array) -> Floats:
        """Picture px to tile px (pixel centres at integers)."""
        return ((points - (self.x0, self.y0) + 0.5) * self.factor - 0.5).astype(np.float32)

    def mask(self, *outlines: Array) -> Image:
        m = np.zeros(self.shape, np.uint8)
        for outline in outlines:
            _fill(m, outline, 255)
        return m

    def lay(self, mask: Image) -> None:
        size = (self.x1 - self.x0, self.y1 - self.y0)
        _composite(
            self._target,
            cv2.resize(self.paint, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False),
            cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False),
        )

    def darken(self, mask: Image, strength: float, colour: Colour) -> None:
        """Multiply the paint towards colour/255 where mask is high."""
        shade = cv2.merge([cv2.LUT(mask, _fade(strength * (1.0 - c / 255.0))) for c in colour])
        cv2.multiply(self.paint, shade, self.paint, 1 / 255.0)


class Renderer:
    """Renders poses; deterministic in pose and size.

    width, height: px, at least 64 each. Raises ValueError otherwise.
    """

    def __init__(self, width: int = 512, height: int = 512):
        if min(width, height) < 64:
            raise ValueError(f"a picture of {width}x{height} px is too small for a face: use 64x64 or more")
        cv2.setNumThreads(1)
        self.width, self.height = width, height
        self._camera = Camera(width, height)
        self._head = Head()
        self._seams = [crest(side) for side in (-0.13, 0.13)]
        points, normals = crest(0.0, n=69)
        self._lamp = points[0], normals[0]
        self._coarse = (-(-height // _COARSE), -(-width // _COARSE))
        self._backdrop = self._paint_backdrop()

    def draw(self, pose: Pose) -> Image:
        """The face: (height, width, 3) uint8 RGB. The pose must be finite and in range, as `FaceMotion` returns it."""
        weights = np.asarray(pose.blendshapes, np.float32)
        place = Place(pose.rotation, pose.translation)
        image = self._backdrop.copy()
        self._paint_neck(image, place)
        points, normals, rim = self._head.shape(weights)
        face = features(weights)
        self._paint_ears(image, place, far=True)
        self._paint_surface(image, place, points, normals, rim, weights, face)
        for eye in sorted(face.eyes, key=lambda e: e.side * float(place.matrix[0, 2]), reverse=True):
            self._paint_eye(image, place, eye)
        self._paint_nose(image, place, face)
        for line, half in face.brows:
            self._paint_brow(image, place, line, half)
        self._paint_mouth(image, place, face.mouth)
        self._paint_ears(image, place, far=False)
        return image

    def _on(self, place: Place, xy: Array, forward: Array | float = 0.0) -> Floats:
        """Points of the frontal plane to px."""
        return self._camera.project(place(lift(xy, forward)))

    def _px(self, dm: float) -> float:
        return dm * 152.0 * self._camera.scale

    # Backdrop and body, which do not rotate with the head.

    def _paint_backdrop(self) -> Image:
        h, w, s = self.height, self.width, self._camera.scale
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        cx, cy = self._camera.centre
        r = np.hypot((x - cx) / (330 * s), (y - cy + 30 * s) / (360 * s))
        glow = np.exp(-(r**2) * 1.1)[..., None]
        image = np.array([36, 46, 58], np.float32) + glow * np.array([106, 122, 126], np.float32)
        # Fixed noise of one grey level prevents banding of the gradient.
        image += np.random.default_rng(7).uniform(-1.0, 1.0, (h, w, 1)).astype(np.float32)
        image = np.clip(image, 0, 255)

        def px(points: Array) -> Floats:
            return self._camera.project(np.asarray(points, np.float32))

        t = np.linspace(-1, 1, 81)
        slope = -1.62 - 0.60 * np.abs(t) ** 2.6 - 0.10 * np.abs(t)
        body = px(np.stack([2.3 * t, slope, -0.3 + 0 * t], 1))
        body = np.concatenate([body, [[body[-1, 0], h + 9], [body[0, 0], h + 9]]]).astype(np.float32)
        mask = np.zeros((h, w), np.uint8)
        _fill(mask, body, 255)
        inside = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 26 * s) / 255.0
        gy, gx = np.gradient(inside)
        lean = (-gx * _KEY[0] + gy * _KEY[1]) * -60 * s
        side = np.clip((cx - x) / (260 * s), -1, 1) * 0.10
        light = np.clip(0.46 + side + np.clip(-lean, -0.3, 0.4) - 0.25 * (1 - inside), 0.05, 1.0)
        shoulders = _ramp(light, _HOOD)
        a = (mask.astype(np.float32) / 255.0)[..., None]
        image = image * (1 - a) + shoulders * a
        out = np.clip(image, 0, 255).astype(np.uint8)
        for side_ in (-1, 1):
            seam = px(np.array([[side_ * (0.62 + 0.9 * v), -1.70 - 0.9 * v**1.4, 0.1] for v in np.linspace(0, 1, 20)]))
            _line(out, seam, (24, 38, 52), 3 * s)
            _line(out, seam + np.array([0, 2 * s], np.float32), (74, 108, 126), 1 * s)
        return out

    def _ring(self, centre: Array, rx: float, rz: float) -> Floats:
        return self._camera.project(_CIRCLE * (rx, 0, rz) + centre)

    def _paint_neck(self, image: Image, place: Place) -> None:
        """A bellows: its top follows the head, its base is fixed in the collar."""
        s = self._camera.scale
        top = place(np.array([[0.0, -0.88, -0.28]], np.float32))[0]
        foot = np.array([0.0, -1.78, -0.42], np.float32)
        _fill(image, self._ring(_raised(foot, 0.06), 0.72, 0.40), (16, 25, 36))
        v = np.linspace(0.0, 1.0, 7, dtype=np.float32)
        tilt = np.eye(3, dtype=np.float32) * (1 - v)[:, None, None] + place.matrix * v[:, None, None]
        radius = (0.53 - 0.06 * np.sin(np.pi * v))[:, None, None]
        low = _CIRCLE[None] * radius * np.array([1.0, 0.0, 0.8], np.float32)
        both = np.concatenate([low, low * 0.985 + (0.0, 0.16, 0.0)], axis=1) @ tilt.transpose(0, 2, 1)
        both += (foot + (top - foot) * v[:, None])[:, None]
        px = self._camera.project(both.reshape(-1, 3)).reshape(len(v), -1, 2)
        for ring, dim in zip(px, 1.0 - 0.42 * v, strict=True):
            _fill(image, cv2.convexHull(ring).reshape(-1, 2), tuple(int(c * dim) for c in (44, 66, 83)))
            front = _front(ring[: len(_CIRCLE)])
            _line(image, front, (20, 30, 42), 3 * s)
            bright = front[2:11] - np.array([0, 4.0 * s], np.float32)
            width = self._px(0.010) * np.sin(np.pi * np.linspace(0.05, 0.95, len(bright)))
            _fill(image, _ribbon(bright, width, width), tuple(int(c * dim) for c in (80, 114, 132)))
        lip = self._ring(_raised(foot, 0.02), 0.74, 0.40)
        front = _front(lip)
        band = _ribbon(front, self._px(0.02), self._px(0.09))
        _fill(image, band, (50, 76, 94))
        _line(image, front, (106, 146, 162), 1.6 * self._camera.scale)

    def _paint_ears(self, image: Image, place: Place, far: bool) -> None:
        """Round ear cups at the sides; those facing away from the camera are painted behind the head."""
        for side in (-1.0, 1.0):
            axis = place.matrix @ np.array([side, 0.0, 0.12], np.float32)
            if (axis[2] < -0.02) != far:
                continue
            a = np.linspace(0, 2 * np.pi, 48, endpoint=False)

            def disc(radius: float, out: float, side: float = side, a: Array = a) -> Floats:
                x = np.full_like(a, side * (0.885 + out))
                ring = np.stack([x, 0.02 + radius * np.sin(a), -0.10 + 0.8 * radius * np.cos(a)], 1)
                return self._camera.project(place(ring.astype(np.float32)))

            lit = 0.66 - 0.10 * side
            shell = cv2.convexHull(np.concatenate([disc(0.27, -0.08), disc(0.25, 0.075)])).reshape(-1, 2)
            base = _ramp(lit, _HOOD)
            _fill(image, shell, tuple(int(c) for c in base * 0.88))
            if not far or abs(float(axis[2])) < 0.3:
                _fill(image, disc(0.25, 0.08), tuple(int(c) for c in base))
                _line(image, disc(0.17, 0.085), _GLOW, 2.2 * self._camera.scale, closed=True)
                _fill(image, disc(0.13, 0.085), tuple(int(c) for c in base * 0.62))

    # Skin and hood.

    def _paint_surface(
        self, image: Image, place: Place, points: Floats, normals: Floats, rim: Floats, weights: Floats, face: Features
    ) -> None:
        world = place(points)
        n = normals @ place.matrix.T
        px = self._camera.project(world)
        # Only points whose normals are nearly perpendicular to the view can be on the outline.
        hull = cv2.approxPolyDP(cv2.convexHull(px[np.abs(n[:, 2]) < 0.5]), 0.12 * self._camera.scale, True).reshape(
            -1, 2
        )
        s = self._camera.scale
        x0, y0 = np.maximum(np.floor(hull.min(0)).astype(int) - 3, 0)
        x1, y1 = np.minimum(np.ceil(hull.max(0)).astype(int) + 4, (self.width, self.height))
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        box = np.array([x0, y0], np.float32)
        size = (int(x1 - x0), int(y1 - y0))

        light, flush = self._light(n, world, weights)
        skin, hood = self._splat(px - box, n, world, light, flush, size)

        target = image[y0:y1, x0:x1]
        mask = np.zeros(size[::-1], np.uint8)
        _fill(mask, hull - box, 255)
        _composite(target, hood, mask)

        edge, nz = self._rim(place, rim, points)
        edge = edge - box
        ink = np.zeros(size[::-1], np.uint8)
        self._ink(ink, place, face, box)
        ink = cv2.GaussianBlur(ink, (3, 3), 0.9)
        tint = cv2.merge([cv2.LUT(ink, _fade(k)) for k in (0.62, 0.80, 0.82)])
        skin = cv2.multiply(skin, tint, scale=1 / 255.0).astype(np.uint8, copy=False)

        opening = np.zeros(size[::-1], np.uint8)
        _fill(opening, edge, 255)
        cv2.bitwise_and(opening, mask, opening)
        _composite(target, skin, opening)
        self._paint_crest(target, place, box)
        visible = nz > 0.04
        for start, stop in _runs(visible):
            part = np.take(edge, range(start, stop), axis=0, mode="wrap")
            fade = np.clip(np.take(nz, range(start, stop), mode="wrap") * 5.0, 0.0, 1.0)
            if len(part) > 2:
                _fill(target, _ribbon(part, 5.0 * s * fade, 5.0 * s * fade), (22, 35, 48))
                _fill(target, _ribbon(part, -0.6 * s * fade, 3.6 * s * fade), (66, 101, 119))

    def _paint_crest(self, target: Image, place: Place, box: Floats) -> None:
        """Two seams over the crown and a lamp between them."""
        s = self._camera.scale
        for points, normals in self._seams:
            facing = np.clip((normals @ place.matrix.T)[:, 2] * 5.0, 0.0, 1.0)
            if facing.max() > 0.0:
                px = (self._camera.project(place(points)) - box)[facing > 0.0]
                fade = facing[facing > 0.0]
                if len(px) > 2:
                    _fill(target, _ribbon(px, 1.4 * s * fade, 1.4 * s * fade), (24, 40, 54))
                    _fill(target, _ribbon(px + np.array([1.8 * s, 0]), 0.5 * s * fade, 0.5 * s * fade), (82, 120, 138))
        point, normal = self._lamp
        facing = float((normal @ place.matrix.T)[2])
        if facing > 0.05:
            a = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            centre = self._camera.project(place(point[None]))[0] - box
            ring = np.stack([np.cos(a), facing * np.sin(a)], 1)
            for radius, colour in ((8.0, (28, 46, 60)), (5.6, (58, 150, 154)), (4.0, _GLOW), (1.8, (226, 255, 252))):
                _fill(target, centre + ring * radius * s, colour)

    def _rim(self, place: Place, rim: Floats, points: Floats) -> tuple[Floats, Floats]:
        """The hood's edge in px, and the z of each point's normal; points facing away are moved outside the outline."""
        w = place(rim)
        middle = place(np.array([[0.0, -0.05, 0.0]], np.float32))[0]
        outward = rim / np.array([HALF_WIDTH, HALF_HEIGHT, DEPTH], np.float32) ** 2
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        nz = (outward @ place.matrix.T)[:, 2]
        behind = np.maximum(-nz, 0.0)[:, None]
        w[:, :2] += (w[:, :2] - middle[:2]) * behind * 1.6
        return self._camera.project(w), nz.astype(np.float32)

    def _light(self, n: Floats, world: Floats, weights: Floats) -> tuple[Floats, Floats]:
        key = np.clip((n @ _KEY + 0.30) / 1.30, 0.0, 1.0)
        fill = np.clip(n @ _FILL, 0.0, 1.0)
        gloss = np.clip(n @ _HALFWAY, 0.0, 1.0) ** 22
        rim = np.clip(1.0 - n[:, 2], 0.0, 1.0) ** 4 * np.clip(n[:, 0] + 0.4, 0, 1)
        light = (0.26 + 0.60 * key + 0.15 * fill) * self._head.shadow + 0.12 * gloss + 0.12 * rim
        flush = self._head.flush * 0.55
        for cheek, smile, squint in zip(self._head.cheeks, (23, 24), (47, 48), strict=True):
            flush = flush + cheek * (0.22 * weights[smile] + 0.25 * weights[squint] + 0.15 * weights[46])
        return light.astype(np.float32), flush.astype(np.float32)

    def _splat(
        self, px: Floats, n: Floats, world: Floats, light: Floats, flush: Floats, size: tuple[int, int]
    ) -> tuple[Image, Image]:
        """Lit points to two pictures of size (width, height): one entirely skin, one entirely hood."""
        toward = np.array([0, 0, Camera.distance], np.float32) - world
        seen = np.einsum("ij,ij->i", n, toward) > 0
        cw, ch = size[0] // _COARSE + 2, size[1] // _COARSE + 2
        q = np.clip((px[seen] + 0.5) / _COARSE - 0.5, 0, (cw - 1.001, ch - 1.001))
        # The nearest surface dominates, where the nose occludes the far cheek.
        weight = np.exp(7.0 * world[seen, 2])
        i = q.astype(np.int32)
        f = (q - i).astype(np.float32)
        flat = i[:, 1] * cw + i[:, 0]
        sums = np.zeros((3, ch * cw + cw + 1), np.float32)
        values = (weight, weight * light[seen], weight * flush[seen])
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            share = np.abs(1 - dx - f[:, 0]) * np.abs(1 - dy - f[:, 1])
            at = flat + dx + dy * cw
            for k in range(3):
                sums[k] += np.bincount(at, share * values[k], sums.shape[1])
        maps = [cv2.GaussianBlur(v[: ch * cw].reshape(ch, cw), (0, 0), 0.9) for v in sums]
        wide = [cv2.GaussianBlur(v, (0, 0), 4.0) * 1e-4 for v in maps]
        total = maps[0] + wide[0] + 1e-9
        shade = (maps[1] + wide[1]) / total
        red = ((maps[2] + wide[2]) / total)[..., None]
        skin = _ramp(shade, _SKIN) * (1.0 - red * np.array([0.02, 0.26, 0.22], np.float32))
        hood = _ramp(shade * 0.92, _HOOD)
        full = (cw * _COARSE, ch * _COARSE)
        out = []
        for picture in (skin, hood):
            big = cv2.resize(picture.astype(np.uint8), full, interpolation=cv2.INTER_LINEAR)
            out.append(np.ascontiguousarray(big[: size[1], : size[0]]))
        return out[0], out[1]

    def _ink(self, ink: Image, place: Place, face: Features, box: Floats) -> None:
        """Darkening of the skin: creases, folds, shadows of nose and lids."""
        creases = face.creases
        m, n = creases.curves.shape[:2]
        px = (self._on(place, creases.curves.reshape(-1, 2)) - box).reshape(m, n, 2)
        d: Floats = np.asarray(np.gradient(px, axis=1), np.float32)
        d /= np.sqrt((d * d).sum(-1, keepdims=True)) + 1e-6
        taper = np.sin(np.pi * np.linspace(0.04, 0.96, n, dtype=np.float32)) ** 0.7
        side = np.stack([d[..., 1], -d[..., 0]], -1) * (self._px(1.0) * creases.widths[:, None, None] * taper[:, None])
        outlines = np.concatenate([px + side, (px - side)[:, ::-1]], axis=1)
        for k in np.argsort(creases.depths):
            _fill(ink, outlines[k], int(158 * min(float(creases.depths[k]), 1.0)))

    # Details drawn at full size.

    def _eye_centre(self, side: float) -> Floats:
        surface = lift(np.array([[side * EYE[0], EYE[1]]], np.float32))[0]
        return surface + np.array([0, 0, 0.012 - EYEBALL_RADIUS], np.float32)

    def _paint_eye(self, image: Image, place: Place, eye: Eye) -> None:
        curves = self._on(place, np.concatenate([eye.upper, eye.lower]), 0.01)
        n = len(eye.upper)
        upper, lower = curves[:n], curves[n:]
        s = self._camera.scale
        tile = _Tile(image, curves, 10 * s)
        if not tile.visible:
            return
        up, low = tile.to(upper), tile.to(lower)
        k = tile.factor
        tile.paint[:] = _SCLERA
        centre = self._eye_centre(eye.side)
        cy, sy, cp, sp = np.cos(eye.yaw), np.sin(eye.yaw), np.cos(eye.pitch), np.sin(eye.pitch)
        a = np.linspace(0, 2 * np.pi, 36, endpoint=False)

        def disc(radius: float, squeeze: float = 1.0, lower_by: float = 0.0) -> Floats:
            depth = np.sqrt(EYEBALL_RADIUS**2 - radius**2)
            x = radius * np.cos(a) * squeeze
            y = radius * np.sin(a) * squeeze - lower_by
            z = np.full_like(a, depth)
            y, z = cp * y + sp * z, -sp * y + cp * z
            x, z = cy * x + sy * z, -sy * x + cy * z
            p = np.stack([x, y, z], 1).astype(np.float32) + centre
            return tile.to(self._camera.project(place(p)))

        corner = np.abs(np.linspace(-1, 1, n)) ** 3 * 26
        shade = np.zeros(tile.shape, np.uint8)
        for end in (0, -1):
            cv2.circle(shade, tuple(int(v) for v in up[end]), int(16 * s * k), int(3 * corner[0]), -1)
        shade = _soften(shade, 5 * s * k)
        tile.darken(shade, 1.0, (196, 150, 142))
        _fill(tile.paint, disc(IRIS_RADIUS), _IRIS_RIM)
        _fill(tile.paint, disc(IRIS_RADIUS * 0.87), _IRIS)
        _fill(
            tile.paint,
            disc(IRIS_RADIUS * 0.80, 0.88, 0.012),
            tuple(int(0.55 * p + 0.45 * q) for p, q in zip(_IRIS, _IRIS_LIGHT, strict=True)),
        )
        _fill(tile.paint, disc(IRIS_RADIUS * 0.68, 0.80, 0.026), _IRIS_LIGHT)
        tile.paint[:] = _soften(tile.paint, 0.8 * s * k)
        _fill(tile.paint, disc(IRIS_RADIUS * 0.50), _PUPIL)
        band = _ribbon(up, 8 * s * k, 8.5 * s * k) if eye.side > 0 else _ribbon(up, 8.5 * s * k, 8 * s * k)
        lid_shadow = _soften(tile.mask(band), 3.2 * s * k)
        tile.darken(lid_shadow, 0.62, (92, 66, 72))
        mid = disc(IRIS_RADIUS * 0.9).mean(0)
        r = self._px(IRIS_RADIUS) * k
        for dx, dy, size, colour in ((-0.34, -0.38, 0.24, (255, 255, 255)), (0.36, 0.34, 0.11, (206, 238, 238))):
            _fill(tile.paint, mid + np.array([dx, dy]) * r + np.stack([np.cos(a), np.sin(a)], 1) * r * size, colour)
        opening = np.concatenate([up, low[::-1]])
        tile.lay(tile.mask(opening))

        t = np.linspace(0, 1, n)
        thick = s * (1.3 + 2.3 * t**1.3) * (1 - 0.35 * np.maximum(t - 0.8, 0) / 0.2)
        out = upper[-1] - upper[-3]
        flick = np.concatenate([upper, [upper[-1] + out * 0.62 - np.array([0, 1.6 * s])]]).astype(np.float32)
        widths = np.append(thick, 0.2 * s)
        lash = _ribbon(flick, widths, 0.5 * s) if eye.side > 0 else _ribbon(flick, 0.5 * s, widths)
        _line(image, lower[3:-1], (150, 92, 82), 1.2 * s)
        tile.paint[:] = _LASH
        tile.lay(tile.mask(tile.to(lash)))

    def _paint_brow(self, image: Image, place: Place, line: Floats, half: Floats) -> None:
        px = self._on(place, line, 0.012)
        w = half * 152.0 * self._camera.scale
        tile = _Tile(image, px, 6 * self._camera.scale)
        if tile.visible:
            tile.paint[:] = _BROW
            tile.lay(tile.mask(tile.to(_ribbon(px, w, w))))

    def _paint_nose(self, image: Image, place: Place, face: Features) -> None:
        for nostril in face.nostrils:
            _fill(image, self._on(place, nostril, 0.0), (104, 52, 48))

    def _paint_mouth(self, image: Image, place: Place, mouth: Mouth) -> None:
        s = self._camera.scale
        n = len(mouth.inner_upper)
        groups = (mouth.outer_upper, mouth.inner_upper, mouth.inner_lower, mouth.outer_lower)
        forward = np.concatenate([mouth.forward * 0.6, mouth.forward, mouth.lower_forward, mouth.lower_forward * 0.8])
        px = self._on(place, np.concatenate(groups), forward)
        tile = _Tile(image, px, 6 * s)
        if not tile.visible:
            return
        k = tile.factor
        outer_up, inner_up, inner_low, outer_low = (tile.to(px[i * n : (i + 1) * n]) for i in range(4))

        tile.paint[:] = _MOUTH
        jaw_z = mouth.lower_forward[n // 2]
        _fill(tile.paint, tile.to(self._on(place, mouth.tongue, jaw_z - 0.12)), tuple(int(0.8 * c) for c in _TONGUE))
        tile.paint[:] = _soften(tile.paint, 1.6 * s * k)
        _fill(
            tile.paint, tile.to(self._on(place, mouth.lower_teeth, jaw_z - 0.06)), tuple(int(0.86 * c) for c in _TEETH)
        )
        _fill(tile.paint, tile.to(self._on(place, mouth.upper_teeth, -0.05)), _TEETH)
        band = _ribbon(inner_up, 7 * s * k, 6 * s * k)
        shade = _soften(tile.mask(band), 3.0 * s * k)
        tile.darken(shade, 0.85, (110, 60, 64))
        hole = tile.mask(np.concatenate([inner_up, inner_low[::-1]]))
        tile.lay(hole)

        tile.paint[:] = _LIP_UPPER
        lower_lip = np.concatenate([inner_low, outer_low[::-1]])
        upper_lip = np.concatenate([outer_up, inner_up[::-1]])
        _fill(tile.paint, np.concatenate([inner_low, outer_low[::-1] + np.array([0, 20 * s * k])]), _LIP_LOWER)
        q = slice(n // 4, n - n // 4)
        middle = (0.55 * inner_low + 0.45 * outer_low)[q]
        thick = np.abs(outer_low - inner_low)[q, 1] * 0.16 * np.sin(np.pi * np.linspace(0, 1, len(middle)))
        _fill(tile.paint, _ribbon(middle, thick, thick), (240, 174, 160))
        top = (0.5 * inner_up + 0.5 * outer_up)[q]
        thin = np.abs(outer_up - inner_up)[q, 1] * 0.10
        _fill(tile.paint, _ribbon(top, thin, thin), (204, 122, 112))
        tile.paint[:] = _soften(tile.paint, 2.2 * s * k)
        seam = tile.mask(_ribbon(inner_up, 1.6 * s * k, 1.2 * s * k), _ribbon(inner_low, 1.2 * s * k, 1.4 * s * k))
        tile.darken(_soften(seam, 0.8 * s * k), 0.9, _LIP_LINE)
        lips = tile.mask(upper_lip, lower_lip, _ribbon(inner_up, 0.8 * s * k, 0.8 * s * k))
        lips[hole > 200] = 0
        tile.lay(lips)

        if mouth.tongue_out_amount > 0.01:
            self._paint_tongue(image, place, mouth)

    def _paint_tongue(self, image: Image, place: Place, mouth: Mouth) -> None:
        s = self._camera.scale
        n = len(mouth.tongue_out) // 2
        v = np.linspace(0, 1, n)
        bulge = 0.16 * np.sin(np.pi * np.clip(v * 0.8 + 0.1, 0, 1)) * mouth.tongue_out_amount
        px = self._on(place, mouth.tongue_out, np.concatenate([bulge, bulge[::-1]]))
        tile = _Tile(image, px, 4 * s)
        if not tile.visible:
            return
        k = tile.factor
        q = tile.to(px)
        tile.paint[:] = tuple(int(0.80 * c) for c in _TONGUE)
        middle = (q[:n] + q[: n - 1 : -1]) / 2
        half = np.linalg.norm(q[:n] - q[: n - 1 : -1], axis=1) / 2
        _fill(tile.paint, _ribbon(middle, half * 0.72, half * 0.72), _TONGUE)
        _fill(tile.paint, _ribbon(middle[n // 2 :], half[n // 2 :] * 0.3, half[n // 2 :] * 0.3), (236, 140, 134))
        tile.paint[:] = _soften(tile.paint, 2.4 * s * k)
        groove = tile.mask(_ribbon(middle[: n - 3], 0.9 * s * k, 0.9 * s * k))
        root = tile.mask(_ribbon(middle[:2], half[:2], half[:2])) if n > 3 else groove
        tile.darken(_soften(groove, 1.2 * s * k), 0.6, (170, 70, 74))
        tile.darken(_soften(root, 3.0 * s * k), 0.7, (110, 40, 46))
        tile.lay(tile.mask(q))


def _raised(point: Floats, by: float) -> Floats:
    return point + np.array([0.0, by, 0.0], np.float32)


def _front(ring: Floats) -> Floats:
    """The half of a ring, px, that is nearer to the camera (lower in the picture), from left to right."""
    n = len(ring)
    start = int(np.argmin(ring[:, 0]))
    walk = np.take(ring, range(start, start + n), axis=0, mode="wrap")
    stop = int(np.argmax(walk[:, 0]))
    one, other = walk[: stop + 1], np.concatenate([walk[stop:], walk[:1]])[::-1]
    return one if one[:, 1].mean() > other[:, 1].mean() else other


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of True around a ring, as (start, stop) with stop possibly beyond the length."""
    if flags.all():
        return [(0, len(flags) + 1)]
    starts = np.flatnonzero(flags & ~np.roll(flags, 1))
    out = []
    for start in starts:
        length = int(np.argmin(np.roll(flags, -start)))
        out.append((int(start), int(start) + length))
    return out
