"""The crossfade between listening and idle life, and the bounds of a face: the last step of a generator."""

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
from react_ros.generators.idle import Doubles, IdleLife, IdleMotion, apply_eyes
from react_ros.generators.presence import Presence

MAX_ANGLE, MAX_SHIFT = 0.55, 0.25
"""Bounds of the head's motion, rad and m."""
FADE = 0.12
"""Share by which listening and idle life replace each other in a frame: nine tenths within 0.7 s."""


class Fade:
    """Share of listening in what is shown, 0 to 1; the rest is idle life."""

    def __init__(self, first: int = 0) -> None:
        """first: the step at which the share takes its target at once, so that listening is not faded in."""
        self._until_first = first
        self._share = 0.0

    def step(self, listens: bool) -> float:
        """The share in the next frame. listens: the target, 1 or 0."""
        if self._until_first == 0:
            self._share = float(listens)
        else:
            self._share = self._share + FADE * (listens - self._share)
        self._until_first = max(self._until_first - 1, -1)
        if self._share > 0.99:
            self._share = 1.0
        return self._share


def idle_face(idle: IdleMotion) -> Doubles:
    """(S, 83) the face of idle life: eyelids, gaze, head and the attributes that these show."""
    blendshapes = np.zeros((len(idle.blink), len(ARKIT)))
    apply_eyes(blendshapes, idle.blink, idle.gaze)
    parts = [blendshapes, idle.rotation, idle.translation, attributes_of(blendshapes)]
    return np.concatenate(parts, axis=1, dtype=np.float64)


def blend(share: float, face: npt.NDArray[np.floating], idle: Doubles) -> Doubles:
    """(S, 83) the share of a face, and for the rest of the idle one."""
    return np.asarray(share * face + (1.0 - share) * idle, np.float64)


class IdleBlending:
    """S faces that show the generator's reaction while a speaker is present, and otherwise fade into idle life."""

    def __init__(self, seed: int, samples: int, *, idle_eyes_and_head: bool = False) -> None:
        """idle_eyes_and_head: add idle life's blinks, gaze and head motion while listening too, for generators that
        produce none of them."""
        self._idle_eyes_and_head = idle_eyes_and_head
        self._presence, self._idle, self._fade = Presence(), IdleLife(seed, samples), Fade()

    def step(self, frame: SpeakerFrame, reaction: Floats, *, current: bool = True, action_chunk: int = -1) -> Reaction:
        """The reaction to a frame.

        frame: sanitized. reaction: (S, 83), the 58 of the face model and the 25 attributes, these within their ranges.
        current: False where the reaction is stale, e.g. repeated from an action chunk that has ended; it is faded out.
        action_chunk: as `Reaction.action_chunk`.
        """
        present = self._presence.step(frame)
        listens = present and current
        idle = self._idle.step(engaged=float(listens)) if self._idle_eyes_and_head else self._idle.step()
        if self._idle_eyes_and_head:
            reaction = reaction.copy()
            apply_eyes(reaction[:, : len(ARKIT)], idle.blink, idle.gaze)
            reaction[:, ROTATION_58] += idle.rotation
            reaction[:, TRANSLATION_58] += idle.translation
        share = self._fade.step(listens)
        shown: npt.NDArray[np.floating] = reaction
        if share < 1.0:
            shown = blend(share, reaction, idle_face(idle))
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
