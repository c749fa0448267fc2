"""Builds this package's messages in the message classes of rclpy or of rosbags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from react_ros import face
from react_ros.face import ARKIT_SCHEME, Floats, Reaction, SpeakerFrame
from react_ros.messages.features import NAMES
from react_ros.messages.stamps import Stages
from react_ros.messages.types import (
    AFFECT_TYPE,
    BLENDSHAPES_TYPE,
    FACE_MODEL_TYPE,
    FEATURES_TYPE,
    HEADER_TYPE,
    LINEAGE_TYPE,
    REACTION_TYPE,
    STAGE_TYPE,
    TIME_TYPE,
)


class MessageFactory:
    """Builds this package's messages in given message classes: rclpy's to publish, rosbags' to write to a bag.

    new: (type, **fields) to a message of that type, e.g. "react_ros/msg/Stage"; fields not given are empty.
    floats: copies a float32 array into a value for a float32[] field.
    """

    def __init__(self, new: Callable[..., Any], floats: Callable[[Floats], Any]) -> None:
        self._new = new
        self._floats = floats

    def time(self, ns: int) -> Any:
        """builtin_interfaces/Time from ns since the epoch."""
        sec, nanosec = divmod(int(ns), 1_000_000_000)
        return self._new(TIME_TYPE, sec=sec, nanosec=nanosec)

    def header(self, stamp: Any, frame_id: str = "") -> Any:
        """std_msgs/Header. stamp: a builtin_interfaces/Time."""
        return self._new(HEADER_TYPE, stamp=stamp, frame_id=frame_id)

    def stages(self, stages: Stages) -> list[Any]:
        """The stages of a lineage: a list of react_ros/Stage."""
        return [
            self._new(STAGE_TYPE, name=name, start=self.time(start), duration=float(duration))
            for name, (start, duration) in stages.items()
        ]

    def speaker(
        self, frame: SpeakerFrame, stages: Stages, source_ns: int, landmarks: bool = False, frame_id: str = ""
    ) -> Any:
        """react_ros/SpeakerFeatures of a speaker frame.

        source_ns: capture time of the sensor data, ns since the epoch. landmarks: whether to include the landmarks.
        frame_id: of the camera.
        """
        f, s, floats = frame.face, frame.sound, self._floats
        lineage = self._new(
            LINEAGE_TYPE,
            frame=frame.index,
            source_stamp=self.time(source_ns),
            stages=self.stages(stages),
        )
        optional = {}
        if landmarks and f.landmarks is not None:
            optional["landmarks"] = floats(f.landmarks.ravel())
        if s.embedding is not None:
            optional["speech_embedding"] = floats(s.embedding)
        valence, arousal = (float(v) for v in f.attributes[face.VA])
        return self._new(
            FEATURES_TYPE,
            header=self.header(self.time(frame.stamp_ns), frame_id),
            lineage=lineage,
            face_state=int(f.state),
            faces=f.count,
            scheme=ARKIT_SCHEME,
            names=NAMES,
            blendshapes=floats(f.blendshapes),
            rotation=f.rotation,
            translation=f.translation,
            action_units=f.attributes[face.AU],
            valence=valence,
            arousal=arousal,
            expressions=f.attributes[face.EXPRESSIONS],
            sound_state=int(s.state),
            mfcc=floats(s.mfcc),
            mfcc_delta=floats(s.mfcc_delta),
            log_energy=float(s.log_energy),
            f0=float(s.f0),
            voicing=float(s.voicing),
            speech_probability=float(s.speech_probability),
            **optional,
        )

    def continued(self, lineage: Any, stages: Stages, generator: str = "", seed: int = 0) -> Any:
        """A copy of a lineage with further stages.

        generator: set by the listener, together with its seed; empty: both stay as they are.
        """
        return self._new(
            LINEAGE_TYPE,
            frame=lineage.frame,
            source_stamp=lineage.source_stamp,
            stages=[*lineage.stages, *self.stages(stages)],
            generator=generator or lineage.generator,
            seed=seed if generator else lineage.seed,
        )

    def reaction(self, reaction: Reaction, lineage: Any, delay: int = 0, notice: str = "") -> Any:
        """react_ros/Reaction of a reaction to the frame of `lineage`.

        delay: of the generator and deliberate, frames of 40 ms. notice: caveat about the generator for viewers.
        """
        floats = self._floats
        return self._new(
            REACTION_TYPE,
            header=self.header(lineage.source_stamp),
            lineage=lineage,
            samples=reaction.samples,
            delay=delay,
            notice=notice,
            action_chunk=reaction.action_chunk,
            state="live" if reaction.live else "idle",
            scheme=ARKIT_SCHEME,
            names=NAMES,
            blendshapes=floats(reaction.blendshapes.ravel()),
            rotation=floats(reaction.rotation.ravel()),
            translation=floats(reaction.translation.ravel()),
            attributes=floats(reaction.attributes.ravel()),
        )

    def face(
        self, blendshapes: Floats, rotation: Floats, translation: Floats, attributes: Floats, lineage: Any
    ) -> tuple[Any, Any, Any]:
        """(Blendshapes, FaceModel, Affect) of one face.

        blendshapes: (52,), 0 to 1. rotation: (3,) rad. translation: (3,) m. attributes: (25,).
        """
        shared = {"header": self.header(lineage.source_stamp), "lineage": lineage}
        valence, arousal = (float(v) for v in attributes[face.VA])
        return (
            self._new(
                BLENDSHAPES_TYPE,
                scheme=ARKIT_SCHEME,
                names=NAMES,
                weights=self._floats(blendshapes),
                **shared,
            ),
            self._new(
                FACE_MODEL_TYPE,
                scheme=ARKIT_SCHEME,
                expression=blendshapes,
                rotation=rotation,
                translation=translation,
                **shared,
            ),
            self._new(
                AFFECT_TYPE,
                action_unit_names=list(face.ACTION_UNIT_NAMES),
                action_units=attributes[face.AU],
                valence=valence,
                arousal=arousal,
                expression_names=list(face.EXPRESSION_NAMES),
                expressions=attributes[face.EXPRESSIONS],
                **shared,
            ),
        )
