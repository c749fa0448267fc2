"""SpeakerFeatures and Reaction messages to `SpeakerFrame` and `Reaction`, every field checked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from react_ros import face
from react_ros.face import ARKIT, ARKIT_SCHEME, Face, FaceState, Floats, Reaction, Sound, SoundState, SpeakerFrame
from react_ros.messages.compatibility import read_field
from react_ros.messages.stamps import nanoseconds

MAX_STAGES = 64
"""Most stages that a lineage may have."""
MAX_SAMPLES = 1000
"""Most sampled listeners that a reaction may have."""
NAMES = list(ARKIT)


def _array(values: Any, name: str, length: int) -> Floats:
    out = np.asarray(values, np.float32)
    if len(out) != length:
        raise ValueError(f"{name} has {len(out)} values, not {length}")
    if not np.isfinite(out).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return out


def _check_lineage(lineage: Any) -> None:
    if len(lineage.stages) > MAX_STAGES:
        raise ValueError(f"its lineage has {len(lineage.stages)} stages; at most {MAX_STAGES} are accepted")
    for stage in lineage.stages:
        if not math.isfinite(stage.duration):
            raise ValueError(f"the duration of stage {stage.name[:40]!r} is {stage.duration}")


def _within(out: Floats, name: str, low: float, high: float) -> Floats:
    if out.size and not (out.min() >= low - 1e-4 and out.max() <= high + 1e-4):
        raise ValueError(f"{name} holds a value outside {low:g} to {high:g}")
    return out


def _number(value: float, name: str, low: float, high: float) -> float:
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} is {value}, not between {low:g} and {high:g}")
    return value


def _weights(scheme: str, names: Any, values: Any, rows: int, name: str) -> Floats:
    """rows x names weights, as (rows, 52) in ARKit's order."""
    if scheme != ARKIT_SCHEME:
        raise ValueError(f"scheme {scheme[:40]!r} is not {ARKIT_SCHEME!r}")
    out = _within(_array(values, name, rows * len(names)), name, 0.0, 1.0).reshape(rows, len(names))
    if names == NAMES:
        return out.copy()
    if not names:
        raise ValueError("no blendshape is named")
    return np.stack([face.arkit_from_names(names, row) for row in out])


def frame_from_message(message: Any) -> SpeakerFrame:
    """The speaker frame of a react_ros/SpeakerFeatures. Raises ValueError for a field that is out of range."""
    _check_lineage(message.lineage)
    if message.face_state > max(FaceState):
        raise ValueError(f"face_state {message.face_state} is not one of 0 to {int(max(FaceState))}")
    if message.sound_state > max(SoundState):
        raise ValueError(f"sound_state {message.sound_state} is not one of 0 to {int(max(SoundState))}")
    affect = [_number(message.valence, "valence", -1.01, 1.01), _number(message.arousal, "arousal", -1.01, 1.01)]
    units = _within(_array(message.action_units, "action_units", 15), "action_units", 0.0, 1.0)
    expressions = _within(_array(message.expressions, "expressions", 8), "expressions", 0.0, 1.0)
    embedding = message.speech_embedding
    points = len(message.landmarks)
    if points % 3 or points > 3 * 1000:
        raise ValueError(f"landmarks has {points} values, not x, y, z for at most 1000 points")
    return SpeakerFrame(
        index=message.lineage.frame,
        stamp_ns=nanoseconds(message.header.stamp),
        face=Face(
            state=FaceState(message.face_state),
            blendshapes=_weights(message.scheme, message.names, message.blendshapes, 1, "blendshapes")[0],
            rotation=_within(_array(message.rotation, "rotation", 3), "rotation", -3.2, 3.2),
            translation=_within(_array(message.translation, "translation", 3), "translation", -100.0, 100.0),
            attributes=face.join_attributes(units, np.array(affect, np.float32), expressions),
            landmarks=_array(message.landmarks, "landmarks", points).reshape(-1, 3) if points else None,
            count=message.faces,
        ),
        sound=Sound(
            state=SoundState(message.sound_state),
            mfcc=_array(message.mfcc, "mfcc", 26),
            mfcc_delta=_array(message.mfcc_delta, "mfcc_delta", 26),
            log_energy=_number(message.log_energy, "log_energy", -17.0, 1.0),
            f0=_number(message.f0, "f0", 0.0, 2000.0),
            voicing=_number(message.voicing, "voicing", 0.0, 1.0),
            speech_probability=_number(message.speech_probability, "speech_probability", 0.0, 1.0),
            embedding=_array(embedding, "speech_embedding", len(embedding)) if len(embedding) else None,
        ),
    )


def reaction_from_message(message: Any) -> Reaction:
    """The reaction of a react_ros/Reaction. Raises ValueError for a field that is out of range."""
    _check_lineage(message.lineage)
    n = message.samples
    if not 1 <= n <= MAX_SAMPLES:
        raise ValueError(f"{n} samples: a reaction has 1 to {MAX_SAMPLES}")
    if message.state not in ("live", "idle"):
        raise ValueError(f"state {message.state[:40]!r} is not live or idle")
    number = read_field(message, "action_chunk")
    if number < -1:
        raise ValueError(f"action_chunk {number} is not the number of a frame, or -1 for none")
    attributes = _array(message.attributes, "attributes", n * face.ATTRIBUTES).reshape(n, -1)
    _within(attributes[:, face.AU], "attributes (action units)", 0.0, 1.0)
    _within(attributes[:, face.EXPRESSIONS], "attributes (expressions)", 0.0, 1.0)
    return Reaction(
        index=message.lineage.frame,
        stamp_ns=nanoseconds(message.header.stamp),
        blendshapes=_weights(message.scheme, message.names, message.blendshapes, n, "blendshapes"),
        rotation=_within(_array(message.rotation, "rotation", n * 3), "rotation", -3.2, 3.2).reshape(n, 3),
        translation=_within(_array(message.translation, "translation", n * 3), "translation", -10, 10).reshape(n, 3),
        attributes=_within(attributes, "attributes", -1.0, 1.0),
        live=message.state == "live",
        action_chunk=number,
    )
