"""The perception pipeline: a frame of the clock in, a `SpeakerFrame` with face and audio features out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from react_ros import assets
from react_ros.clock.types import ClockFrame
from react_ros.face import Face, FaceState, SpeakerFrame
from react_ros.messages.stamps import Stages
from react_ros.perception.acoustics import Acoustics
from react_ros.perception.affect import AffectEstimator
from react_ros.perception.embedding import open_embedder
from react_ros.perception.landmarks import FaceLandmarker
from react_ros.perception.speaker import SpeakerConfig, SpeakerTracker
from react_ros.perception.speech import SpeechDetector


@dataclass(frozen=True, slots=True)
class PerceptionConfig:
    """Parameters of perception. Raises ValueError for a value out of range."""

    model: Path | None = None
    """Path of face_landmarker.task; None: the asset "face-landmarker"."""
    max_faces: int = 4
    """Most faces detected in an image, from which the speaker is selected; 1 to 16."""
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    landmarks: bool = False
    """Whether frames carry the 478 landmarks."""
    wav2vec2: Path | None = None
    """Weights of wav2vec 2.0 base for the speech embedding; None: no embedding."""
    deterministic: bool = False
    """True: the speech embedding takes effect at fixed frame numbers (replay). False: when it is ready (live)."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_faces <= 16:
            raise ValueError(f"max_faces is {self.max_faces}: expected 1 to 16")


class Perception:
    """Perceives one human. The same frames from the start (or `reset`) give the same results to the bit on the same
    machine (with a speech embedding only if the configuration is deterministic).

    The landmarker runs for new images only. A frame without a new image repeats the last values (HELD); where the
    image stream is stale, the face is MISSING. The arrays of a frame are shared with frames that repeat it: read-only.
    """

    def __init__(self, config: PerceptionConfig | None = None) -> None:
        """Load the models.

        Raises FileNotFoundError (MissingAsset) for a missing file, ValueError for one that cannot be read.
        """
        self.config = config or PerceptionConfig()
        self._landmarker = FaceLandmarker(
            assets.resolve("face-landmarker", self.config.model), max_faces=self.config.max_faces
        )
        self._tracker = SpeakerTracker(self.config.speaker)
        self._affect = AffectEstimator()
        self._speech = SpeechDetector()
        self._acoustics = Acoustics()
        self._embedder = open_embedder(self.config.wav2vec2, deterministic=self.config.deterministic)
        self._face = Face()
        self._person = 0

    def reset(self) -> None:
        """Clear all state."""
        self._landmarker.reset()
        self._tracker.reset()
        self._affect.reset()
        self._speech.reset()
        self._acoustics.reset()
        if self._embedder is not None:
            self._embedder.reset()
        self._face = Face()
        self._person = 0

    def close(self) -> None:
        """Free the models; `process` must not be called afterwards."""
        self._landmarker.close()
        if self._embedder is not None:
            self._embedder.close()

    def process(self, frame: ClockFrame) -> tuple[SpeakerFrame, Stages]:
        """Perceive frame k.

        frame.image: (H, W, 3) uint8 RGB, or None.
        Returns the speaker frame and the stages that ran: "face" and "affect" for a new image, "speech", "acoustics",
        and "embedding" if there is one. Raises ValueError for an image of another shape or type.
        """
        stages: Stages = {}
        if frame.video_stale or frame.image is None:
            self._face = Face()
        elif frame.image_new:
            stamp_ns = frame.stamp_ns if frame.image_stamp_ns is None else frame.image_stamp_ns
            self._face = self._perceive_face(frame.image, stamp_ns, stages)
        elif self._face.state == FaceState.TRACKED:
            # Only TRACKED becomes HELD: LOST and NOBODY stay as they are until the next image.
            self._face = replace(self._face, state=FaceState.HELD)
        with _timed(stages, "speech"):
            speech = self._speech.step(frame.sound)
        with _timed(stages, "acoustics"):
            sound = self._acoustics.step(frame.sound, frame.sound_valid, speech)
        if self._embedder is not None:
            with _timed(stages, "embedding"):
                sound.embedding = self._embedder.step(frame.sound)
        return SpeakerFrame(frame.index, frame.stamp_ns, self._face, sound), stages

    def _perceive_face(self, image: npt.NDArray[np.uint8], stamp_ns: int, stages: Stages) -> Face:
        with _timed(stages, "face"):
            view = self._tracker.step(self._landmarker.detect(image, stamp_ns), stamp_ns)
        if view.state == FaceState.NOBODY:
            return Face(state=FaceState.NOBODY, count=view.count)
        if view.state == FaceState.LOST or view.face is None:
            return replace(self._face, state=FaceState.LOST, count=view.count)
        with _timed(stages, "affect"):
            if view.person != self._person:
                self._affect.reset()
                self._person = view.person
            attributes = self._affect.step(view.face.blendshapes, view.face.landmarks, view.face.aspect)
        return Face(
            state=FaceState.TRACKED,
            blendshapes=view.face.blendshapes,
            rotation=view.face.rotation,
            translation=view.face.translation,
            attributes=attributes,
            landmarks=view.face.landmarks if self.config.landmarks else None,
            count=view.count,
        )


@contextmanager
def _timed(stages: Stages, name: str) -> Iterator[None]:
    start_ns, start = time.time_ns(), time.perf_counter()
    yield
    stages[name] = (start_ns, time.perf_counter() - start)
