"""Images to faces: blendshapes, head pose and landmarks through MediaPipe's FaceLandmarker."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.face import Floats, angles_from_matrix, arkit_from_names

_open_trackers: set[Any] = set()
# A MediaPipe object that is garbage-collected closes itself by joining its own thread, and deadlocks if it is collected
# in that thread. These references keep every object from being collected before `close`.


@dataclass(frozen=True, slots=True, eq=False)
class DetectedFace:
    """One face in one image. Arrays float32; angles and axes as in `react_ros.face`."""

    blendshapes: Floats
    """(52,) in the order of `ARKIT`, 0 to 1."""
    rotation: Floats
    """(3,) rad: pitch, yaw, roll."""
    translation: Floats
    """(3,) m in the camera's frame, for a vertical field of view of 63 degrees (MediaPipe's assumption)."""
    landmarks: Floats
    """(478, 3) in fractions of the image's width (x, z) and height (y); y grows downwards."""
    box: Floats
    """(4,) left, top, right, bottom of the landmarks, in fractions of the image's width and height."""
    aspect: float
    """Height of the image over its width."""


class FaceLandmarker:
    """MediaPipe's FaceLandmarker in video mode: tracks up to `max_faces` from image to image.

    The model gives 51 of ARKit's 52 blendshapes: tongueOut is always 0, and cheekSquint, noseSneer, cheekPuff and
    jawForward hardly respond. Faces narrower than about a tenth of the image are not found. The same images and stamps
    from the start (or `reset`) give the same results to the bit on the same machine.
    Source: MediaPipe Tasks, Face landmark detection (Google, 2023).
    """

    def __init__(self, model: Path, max_faces: int = 4) -> None:
        """Load the model. Raises ValueError where it cannot be read or max_faces < 1."""
        if max_faces < 1:
            raise ValueError(f"max_faces is {max_faces}: the landmarker needs room for at least 1 face")
        self._mediapipe = _mediapipe()
        self._model = model
        self._max_faces = max_faces
        self._tracker = self._open()
        self._last_ms = 0
        self._first_ns: int | None = None

    def reset(self) -> None:
        """Clear all tracked faces and stamps (creates a new model instance: about 0.1 s)."""
        self.close()
        self._tracker = self._open()
        self._last_ms = 0
        self._first_ns = None

    def close(self) -> None:
        """Free the model; `detect` must not be called afterwards. Unclosed models live until the process ends."""
        self._tracker.close()
        _open_trackers.discard(self._tracker)

    def detect(self, image_rgb: npt.NDArray[np.uint8], stamp_ns: int) -> list[DetectedFace]:
        """Faces in an image, in no particular order.

        image_rgb: (H, W, 3) uint8. stamp_ns: its time in ns. MediaPipe requires strictly increasing ms; a stamp
        that does not increase is replaced by 1 ms after the last.
        Raises ValueError for an image of another shape or type.
        """
        if not isinstance(image_rgb, np.ndarray) or image_rgb.dtype != np.uint8 or image_rgb.ndim != 3:
            raise ValueError("the image must be an array (H, W, 3) of uint8 in RGB order")
        height, width, channels = image_rgb.shape
        if channels != 3 or min(height, width) < 1:
            raise ValueError(f"the image has shape {image_rgb.shape}: expected (H, W, 3) in RGB order")
        if self._first_ns is None:
            self._first_ns = stamp_ns
        # + 1: the warm-up image has time 0.
        self._last_ms = max(self._last_ms + 1, (stamp_ns - self._first_ns) // 1_000_000 + 1)
        result = self._detect(self._tracker, image_rgb, self._last_ms)
        return [
            _face(marks, shapes, matrix, height / width)
            for marks, shapes, matrix in zip(
                result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=True
            )
        ]

    def _detect(self, tracker: Any, image_rgb: npt.NDArray[np.uint8], stamp_ms: int) -> Any:
        image = self._mediapipe.Image(self._mediapipe.ImageFormat.SRGB, np.ascontiguousarray(image_rgb))
        return tracker.detect_for_video(image, stamp_ms)

    def _open(self) -> Any:
        mp = self._mediapipe
        if not self._model.is_file():
            raise ValueError(f"the face model {self._model} does not exist: expected a face_landmarker.task")
        options = mp.FaceLandmarkerOptions(
            base_options=mp.BaseOptions(model_asset_path=str(self._model)),
            running_mode=mp.VisionTaskRunningMode.VIDEO,
            num_faces=self._max_faces,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        try:
            with _quiet_stderr():
                tracker = mp.FaceLandmarker.create_from_options(options)
                # Warm-up: the graph's threads allocate, and log to stderr, at their first image.
                self._detect(tracker, np.zeros((64, 64, 3), np.uint8), 0)
        except (RuntimeError, ValueError, OSError) as error:
            raise ValueError(f"the face model {self._model} cannot be read: expected a face_landmarker.task") from error
        _open_trackers.add(tracker)
        return tracker


def _face(marks: Any, shapes: Any, matrix: Any, aspect: float) -> DetectedFace:
    landmarks = np.array([(p.x, p.y, p.z) for p in marks], np.float32)
    pose = np.asarray(matrix, np.float64)
    return DetectedFace(
        blendshapes=arkit_from_names([s.category_name for s in shapes], [s.score for s in shapes]),
        # MediaPipe's canonical face model has the axes of `react_ros.face` (x right, y up, z to the camera), in cm.
        rotation=angles_from_matrix(pose[:3, :3]),
        translation=(pose[:3, 3] / 100.0).astype(np.float32),
        landmarks=landmarks,
        box=np.concatenate([landmarks[:, :2].min(0), landmarks[:, :2].max(0)]),
        aspect=aspect,
    )


class _Mediapipe:
    """The names of MediaPipe that are used here."""

    def __init__(self) -> None:
        tasks = "mediapipe.tasks.python"
        landmarker = importlib.import_module(f"{tasks}.vision.face_landmarker")
        image = importlib.import_module(f"{tasks}.vision.core.image")
        self.FaceLandmarker = landmarker.FaceLandmarker
        self.FaceLandmarkerOptions = landmarker.FaceLandmarkerOptions
        self.BaseOptions = importlib.import_module(f"{tasks}.core.base_options").BaseOptions
        self.Image = image.Image
        self.ImageFormat = image.ImageFormat
        self.VisionTaskRunningMode = importlib.import_module(
            f"{tasks}.vision.core.vision_task_running_mode"
        ).VisionTaskRunningMode
        # Load libmediapipe.so now: later its package is no longer importable without its siblings.
        importlib.import_module(f"{tasks}.core.mediapipe_c_bindings").load_raw_library()


_loaded: _Mediapipe | None = None


def _mediapipe() -> _Mediapipe:
    """Import the required parts of MediaPipe, once, in 0.1 s.

    `import mediapipe` also imports matplotlib, cv2 and sounddevice and takes 0.6 s longer, which would delay the
    restart of a killed perception node.
    """
    global _loaded
    if _loaded is None:
        if "mediapipe" in sys.modules:
            _loaded = _Mediapipe()
        else:
            with _bare_packages("mediapipe", ("tasks", "tasks.python", "tasks.python.vision")):
                _loaded = _Mediapipe()
    return _loaded


@contextmanager
def _bare_packages(root: str, packages: tuple[str, ...]) -> Iterator[None]:
    """Allow imports of submodules of these packages without running the packages' __init__."""
    spec = importlib.util.find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{root} is not installed: face detection needs mediapipe 0.10.33 (pip install mediapipe)")
    folder = Path(spec.submodule_search_locations[0])
    before = set(sys.modules)
    for name in ("", *packages):
        package = ModuleType(f"{root}.{name}".rstrip("."))
        package.__path__ = [str(folder.joinpath(*name.split(".")))]
        sys.modules[package.__name__] = package
    try:
        yield
    finally:
        # A later `import mediapipe` must load the real package, not these empty ones.
        for name in set(sys.modules) - before:
            if name == root or name.startswith(f"{root}."):
                del sys.modules[name]


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr: MediaPipe's C++ start-up lines, which no log level suppresses."""
    sys.stderr.flush()
    saved = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(devnull)
        os.close(saved)
