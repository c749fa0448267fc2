"""The mime baseline: the speaker's own face, at once or after a delay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from react_ros.face import (
    ARKIT,
    ATTRIBUTES,
    EXPRESSION_58,
    FACE_MODEL,
    ROTATION_58,
    TRANSLATION_58,
    VA,
    Face,
    Reaction,
    SpeakerFrame,
    split_face_model,
)
from react_ros.generators.attributes import attributes_of
from react_ros.generators.contract import Generator, GeneratorInfo, Stream
from react_ros.generators.idle import IdleLife, wear_eyes
from react_ros.generators.sanitize import sanitize
from react_ros.systems.mime.config import MimeConfig

REST_FRAMES = 250
"""Time constant of the speaker's rest, and the absence after which it is taken anew."""


FADE = 0.12


MAX_ANGLE, MAX_SHIFT = 0.55, 0.25
"""Bounds of the mimed head's motion, rad and m."""


class MimeStream(Stream):
    """S times the speaker's face; the head's motion is relative to the speaker's own running rest (10 s).

    A face that goes missing fades, within half a second, into idle life, and back when it returns.
    """

    def __init__(self, config: MimeConfig, samples: int, seed: int) -> None:
        self._idle = IdleLife(seed, samples)
        self.samples, self.seed = samples, seed
        rows = config.delay_frames + 1
        self._seen = np.zeros((rows, FACE_MODEL + ATTRIBUTES))
        """Ring of what the listener saw: the face model, then the attributes."""
        self._there = np.zeros(rows, bool)
        self._row = 0
        self._before = rows
        """Steps until the first frame is due."""
        self._rest = np.zeros(6)
        self._absent = REST_FRAMES
        self._shown = np.zeros(FACE_MODEL + ATTRIBUTES)
        self._weight = 0.0
        """Share of the speaker's face in what is shown; the rest is idle life."""

    def step(self, frame: SpeakerFrame) -> Reaction:
        self._take(sanitize(frame).face)
        self._row = (self._row + 1) % len(self._there)  # the oldest row: delay_frames ago
        present = bool(self._there[self._row])
        if present:
            self._shown = self._seen[self._row].copy()
        self._before = max(self._before - 1, -1)
        # A clip is mimed from its first frame on; whoever comes later is faded in.
        self._weight = float(present) if self._before == 0 else self._weight + FADE * (present - self._weight)
        if present and self._weight > 0.99:
            self._weight = 1.0
        w, idle = self._weight, self._idle.step()
        calm = np.zeros((self.samples, len(ARKIT)))
        wear_eyes(calm, idle.blink, idle.gaze)
        calm_face = np.concatenate([calm, idle.rotation, idle.translation, attributes_of(calm)], axis=1)
        out = (w * self._shown + (1.0 - w) * calm_face).astype(np.float32)
        blendshapes, rotation, translation = split_face_model(out[:, :FACE_MODEL])
        return Reaction(frame.index, frame.stamp_ns, blendshapes, rotation, translation, out[:, FACE_MODEL:], present)

    def _take(self, face: Face) -> None:
        """Write a frame into the ring."""
        self._there[self._row] = face.state.present
        if not face.state.present:
            self._absent = min(self._absent + 1, REST_FRAMES)
            return
        pose = np.concatenate([face.rotation, face.translation], dtype=np.float64)
        if self._absent >= REST_FRAMES:
            self._rest = pose.copy()
        self._absent = 0
        self._rest += (pose - self._rest) / REST_FRAMES
        row = self._seen[self._row]
        row[EXPRESSION_58] = np.clip(face.blendshapes, 0.0, 1.0)
        row[ROTATION_58] = np.clip(pose[:3] - self._rest[:3], -MAX_ANGLE, MAX_ANGLE)
        row[TRANSLATION_58] = np.clip(pose[3:] - self._rest[3:], -MAX_SHIFT, MAX_SHIFT)
        attributes = row[FACE_MODEL:]
        attributes[:] = np.clip(face.attributes, 0.0, 1.0)
        attributes[VA] = np.clip(face.attributes[VA], -1.0, 1.0)


class Mime(Generator):
    """The challenge's mime baseline, made live."""

    Config = MimeConfig
    info = GeneratorInfo(
        name="mime",
        summary="baseline: the speaker's own face, at once or delayed",
        inputs=("blendshapes", "rotation", "translation", "attributes"),
        stochastic=False,
    )

    def __init__(self, config: MimeConfig | None = None) -> None:
        self.config = config or MimeConfig()
        self.info = replace(type(self).info, delay_frames=self.config.delay_frames)

    def start(self, *, samples: int = 1, seed: int = 0) -> MimeStream:
        return MimeStream(self.config, samples, seed)
