"""What every learned listener shows beside its networks' answer: presence, idle life, and a face within bounds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from react_ros.face import (
    ARKIT,
    FACE_MODEL,
    ROTATION_58,
    TRANSLATION_58,
    Floats,
    Reaction,
    SpeakerFrame,
    split_face_model,
)
from react_ros.generators.attributes import attributes_of
from react_ros.generators.idle import IdleLife, wear_eyes
from react_ros.generators.presence import Presence

MAX_ANGLE, MAX_SHIFT = 0.55, 0.25
"""Bounds of the head's motion, rad and m."""
FADE = 0.12
"""Share by which listening and idle life replace each other in a frame: nine tenths within 0.7 s."""


class IdleBlending:
    """S faces that listen while somebody is there and there is an answer, and otherwise fade into idle life."""

    def __init__(self, seed: int, samples: int, *, idle_eyes_and_head: bool = False) -> None:
        """idle_eyes_and_head: eyes and sway of the head are idle life's while listening, too, for answers that know of neither."""
        self._samples, self._idle_eyes_and_head = samples, idle_eyes_and_head
        self._presence, self._idle = Presence(), IdleLife(seed, samples)
        self._weight = 0.0
        """Share of listening in what is shown; the rest is idle life."""
        self._begun = False

    def step(self, frame: SpeakerFrame, answer: Floats, *, answered: bool = True, action_chunk: int = -1) -> Reaction:
        """The reaction to a frame.

        frame: as `sanitize` gives it. answer: (S, 83), the 58 of the face model and the 25 attributes, these within
        their ranges. answered: False where the answer is an old one that only stands in for one that is missing.
        action_chunk: as `Reaction.action_chunk`.
        """
        present = self._presence.step(frame)
        listens = present and answered
        idle = self._idle.step(engaged=float(listens)) if self._idle_eyes_and_head else self._idle.step()
        if self._idle_eyes_and_head:
            answer = answer.copy()
            wear_eyes(answer[:, : len(ARKIT)], idle.blink, idle.gaze)
            answer[:, ROTATION_58] += idle.rotation
            answer[:, TRANSLATION_58] += idle.translation
        # Whoever is there from the first frame on is listened to from the first frame on.
        self._weight = self._weight + FADE * (listens - self._weight) if self._begun else float(listens)
        self._weight = 1.0 if self._weight > 0.99 else self._weight
        self._begun = True
        shown: npt.NDArray[np.floating] = answer
        if self._weight < 1.0:
            calm = np.zeros((self._samples, len(ARKIT)))
            wear_eyes(calm, idle.blink, idle.gaze)
            calm_face = np.concatenate([calm, idle.rotation, idle.translation, attributes_of(calm)], axis=1)
            shown = self._weight * answer + (1.0 - self._weight) * calm_face
        shown = shown.astype(np.float32)
        blendshapes, rotation, translation = split_face_model(shown[:, :FACE_MODEL])
        return Reaction(
            frame.index,
            frame.stamp_ns,
            np.clip(blendshapes, 0.0, 1.0),
            np.clip(rotation, -MAX_ANGLE, MAX_ANGLE),
            np.clip(translation, -MAX_SHIFT, MAX_SHIFT),
            shown[:, FACE_MODEL:].copy(),
            present,
            action_chunk,
        )
