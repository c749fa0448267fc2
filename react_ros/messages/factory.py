"""Builds the project's messages in the message classes of rclpy or of rosbags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from react_ros import face
from react_ros.face import ARKIT_SCHEME, Floats, Reaction, SpeakerFrame
from react_ros.messages.features import NAMES
from react_ros.messages.stamps import Stages


class MessageFactory:
    """Builds the project's messages, in the classes of whoever sends or writes them.

    new: makes a message of a type ("react_ros/msg/Stage") from its fields, the others empty.
    floats: makes what a float32[] field holds of an array, copied.
    """

    def __init__(self, new: Callable[..., Any], floats: Callable[[Floats], Any]) -> None:
        self._new = new
        self._floats = floats

    def time(self, ns: int) -> Any:
        """builtin_interfaces/Time of ns since the epoch."""
        sec, nanosec = divmod(int(ns), 1_000_000_000)
        return self._new("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)

    def header(self, stamp: Any, frame_id: str = "") -> Any:
        """std_msgs/Header with a Time."""
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def stages(self, stages: Stages) -> list[Any]:
        """A lineage's stages."""
        return [
            self._new("react_ros/msg/Stage", name=name, start=self.time(start), duration=float(duration))
            for name, (start, duration) in stages.items()
        ]

    def speaker(self, frame: SpeakerFrame, stages: Stages, source_ns: int, landmarks: bool = False) -> Any:
        """SpeakerFeatures of a speaker frame; source_ns: when the sensor saw or heard it."""
        f, s, floats = frame.face, frame.sound, self._floats
        lineage = self._new(
            "react_ros/msg/Lineage",
            frame=frame.index,
            source_stamp=self.time(source_ns),
            stages=self.stages(stages),
        )
        more = {}
        if landmarks and f.landmarks is not None:
            more["landmarks"] = floats(f.landmarks.ravel())
        if s.embedding is not None:
            more["speech_embedding"] = floats(s.embedding)
        valence, arousal = (float(v) for v in f.attributes[face.VA])
        return self._new(
            "react_ros/msg/SpeakerFeatures",
            header=self.header(self.time(frame.stamp_ns)),
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
            **more,
        )

    def continued(self, lineage: Any, stages: Stages, generator: str = "", seed: int = 0) -> Any:
        """A lineage with further stages, and with the generator where it passes the listener."""
        return self._new(
            "react_ros/msg/Lineage",
            frame=lineage.frame,
            source_stamp=lineage.source_stamp,
            stages=[*lineage.stages, *self.stages(stages)],
            generator=generator or lineage.generator,
            seed=seed if generator else lineage.seed,
        )

    def reaction(self, reaction: Reaction, lineage: Any, delay: int = 0, notice: str = "") -> Any:
        """The Reaction message. delay: frames; notice: what a viewer must know of the generator."""
        floats = self._floats
        return self._new(
            "react_ros/msg/Reaction",
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
        """Blendshapes, FaceModel and Affect of a face: (52,), (3,) rad, (3,) m and (25,)."""
        shared = {"header": self.header(lineage.source_stamp), "lineage": lineage}
        valence, arousal = (float(v) for v in attributes[face.VA])
        return (
            self._new(
                "react_ros/msg/Blendshapes",
                scheme=ARKIT_SCHEME,
                names=NAMES,
                weights=self._floats(blendshapes),
                **shared,
            ),
            self._new(
                "react_ros/msg/FaceModel",
                scheme=ARKIT_SCHEME,
                expression=blendshapes,
                rotation=rotation,
                translation=translation,
                **shared,
            ),
            self._new(
                "react_ros/msg/Affect",
                action_unit_names=list(face.ACTION_UNIT_NAMES),
                action_units=attributes[face.AU],
                valence=valence,
                arousal=arousal,
                expression_names=list(face.EXPRESSION_NAMES),
                expressions=attributes[face.EXPRESSIONS],
                **shared,
            ),
        )
