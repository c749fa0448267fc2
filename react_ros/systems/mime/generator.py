"""The mime baseline: the speaker's own face, optionally delayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from react_ros.face import (
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
from react_ros.generators.contract import Generator, GeneratorInfo, Stream
from react_ros.generators.idle import IdleLife
from react_ros.generators.idle_blending import MAX_ANGLE, MAX_SHIFT, Fade, blend, idle_face
from react_ros.generators.sanitize import sanitize
from react_ros.systems.mime.config import MimeConfig

REST_FRAMES = 250
"""Time constant of the speaker's rest pose, and the absence after which it is estimated anew."""


class MimeStream(Stream):
    """S equal copies of the speaker's face; head motion is relative to the speaker's running rest pose (10 s).

    Where the face goes missing, the copy fades into idle life, and back when it returns. A clip is mimed from its first
    frame on, without a fade.
    """

    def __init__(self, config: MimeConfig, samples: int, seed: int) -> None:
        self._idle = IdleLife(seed, samples)
        self.samples, self.seed = samples, seed
        rows = config.delay_frames + 1
        self._seen = np.zeros((rows, FACE_MODEL + ATTRIBUTES))
        """Ring of the speaker's frames: the face model, then the attributes."""
        self._present = np.zeros(rows, bool)
        self._row = 0
        self._rest = np.zeros(6)
        self._absent = REST_FRAMES
        self._shown = np.zeros(FACE_MODEL + ATTRIBUTES)
        self._fade = Fade(config.delay_frames)

    def step(self, frame: SpeakerFrame) -> Reaction:
        self._add(sanitize(frame).face)
        self._row = (self._row + 1) % len(self._present)  # the oldest row: delay_frames ago
        present = bool(self._present[self._row])
        if present:
            self._shown = self._seen[self._row].copy()
        out = blend(self._fade.step(present), self._shown, idle_face(self._idle.step())).astype(np.float32)
        blendshapes, rotation, translation = split_face_model(out[:, :FACE_MODEL])
        return Reaction(frame.index, frame.stamp_ns, blendshapes, rotation, translation, out[:, FACE_MODEL:], present)

    def _add(self, face: Face) -> None:
        """Write a frame into the ring."""
        self._present[self._row] = face.state.present
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
    """The REACT challenge's mime baseline, as a stream."""

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
