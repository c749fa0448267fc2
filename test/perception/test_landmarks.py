"""Detected faces: shapes, units, ranges and signs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from footage import first_image, images

from react_ros import assets
from react_ros.face import ARKIT_INDEX, rotation_matrix
from react_ros.perception.landmarks import DetectedFace, FaceLandmarker

# Landmarks of the canonical face model.
NOSE_TIP, CHIN, OUTER_EYE_OWN_RIGHT, OUTER_EYE_OWN_LEFT = 1, 152, 33, 263


@pytest.fixture(scope="module")
def model():
    return assets.resolve("face-landmarker")


@pytest.fixture(scope="module")
def landmarker(model):
    landmarker = FaceLandmarker(model)
    yield landmarker
    landmarker.close()


@pytest.fixture(scope="module")
def talking(landmarker) -> list[tuple[DetectedFace, DetectedFace]]:
    """Every 8th image of the demo face with its mirror image; the head turns, nods and tilts."""
    chosen = [image for k, (_, image) in enumerate(images("demo-face")) if k % 8 == 0]
    faces = []
    for mirrored in (False, True):
        landmarker.reset()
        seen = [landmarker.detect(i[:, ::-1] if mirrored else i, k * 320_000_000) for k, i in enumerate(chosen)]
        assert all(len(s) == 1 for s in seen)
        faces.append([s[0] for s in seen])
    return list(zip(*faces, strict=True))


def test_a_face_has_the_documented_shapes_units_and_ranges(talking):
    for face, _ in talking:
        assert face.blendshapes.shape == (52,) and face.blendshapes.dtype == np.float32
        assert face.blendshapes.min() >= 0 and face.blendshapes.max() <= 1
        assert face.blendshapes[ARKIT_INDEX["tongueOut"]] == 0
        assert face.rotation.shape == face.translation.shape == (3,)
        assert -1.0 < face.translation[2] < -0.1, "a person is in front of the camera, less than a metre away"
        assert face.landmarks.shape == (478, 3)
        assert np.allclose(face.box[:2], face.landmarks[:, :2].min(0))


def test_yaw_roll_and_sideways_place_change_sign_in_a_mirror_and_the_others_do_not(talking):
    seen = np.array([np.concatenate([a.rotation, a.translation]) for a, _ in talking])
    mirrored = np.array([np.concatenate([b.rotation, b.translation]) for _, b in talking])
    for axis, sign in enumerate([1, -1, -1, -1, 1, 1]):
        correlation = np.corrcoef(seen[:, axis], mirrored[:, axis])[0, 1]
        assert sign * correlation > 0.6, (axis, correlation)
    assert np.abs(seen[:, [1, 2]] + mirrored[:, [1, 2]]).mean() < 0.15


def test_left_and_right_blendshapes_change_places_in_a_mirror(talking):
    left, right = ARKIT_INDEX["browOuterUpLeft"], ARKIT_INDEX["browOuterUpRight"]
    seen = np.array([a.blendshapes[left] - a.blendshapes[right] for a, _ in talking])
    mirrored = np.array([b.blendshapes[left] - b.blendshapes[right] for _, b in talking])
    assert np.corrcoef(seen, mirrored)[0, 1] < -0.5


def test_roll_is_positive_where_the_own_left_eye_is_the_higher_one(talking):
    roll = np.array([face.rotation[2] for face, _ in talking])
    eyes = [face.landmarks[OUTER_EYE_OWN_LEFT] - face.landmarks[OUTER_EYE_OWN_RIGHT] for face, _ in talking]
    lift = np.array([np.arctan2(-e[1] * f.aspect, e[0]) for e, (f, _) in zip(eyes, talking, strict=True)])
    assert np.corrcoef(roll, lift)[0, 1] > 0.95
    assert roll.max() - roll.min() > 0.5, "the footage must tilt for this to mean anything"


def test_yaw_is_positive_where_the_nose_points_to_the_own_left(talking):
    yaw = np.array([face.rotation[1] for face, _ in talking])
    across = np.array([_nose_offset(face)[0] for face, _ in talking])
    assert np.corrcoef(yaw, across)[0, 1] > 0.8


def test_pitch_is_positive_where_the_chin_is_lowered(talking):
    pitch = np.array([face.rotation[0] for face, _ in talking])
    # A lowered chin comes nearer to the neck: away from the camera, compared with the forehead (z grows away from it).
    lean = np.array([(f.landmarks[CHIN, 2] - f.landmarks[10, 2]) / _width(f) for f, _ in talking])
    assert np.corrcoef(pitch, lean)[0, 1] > 0.9


def test_the_pose_turns_the_canonical_nose_to_where_the_landmarks_show_it(talking):
    for face, _ in talking:
        nose = rotation_matrix(face.rotation) @ np.array([0.0, 0.0, 1.0])
        offset = _nose_offset(face)[0]
        assert abs(nose[0] - offset * 1.5) < 0.5, "the same side, and about as far"


def _width(face: DetectedFace) -> float:
    return float(np.linalg.norm(face.landmarks[OUTER_EYE_OWN_LEFT] - face.landmarks[OUTER_EYE_OWN_RIGHT]))


def _nose_offset(face: DetectedFace) -> np.ndarray:
    middle = (face.landmarks[OUTER_EYE_OWN_LEFT] + face.landmarks[OUTER_EYE_OWN_RIGHT]) / 2
    return (face.landmarks[NOSE_TIP] - middle) / _width(face)


def test_two_people_in_a_photograph_are_two_faces(landmarker):
    landmarker.reset()
    assert len(landmarker.detect(first_image("footage-several-faces"), 0)) >= 2


def test_an_empty_room_has_no_face(landmarker):
    landmarker.reset()
    assert sum(len(landmarker.detect(i, t)) for k, (t, i) in enumerate(images("footage-no-face")) if k % 4 == 0) == 0


def test_the_same_images_give_the_same_bits_after_a_reset(landmarker):
    film = list(images("footage-single-face-video"))[:12]
    runs = []
    for _ in range(2):
        landmarker.reset()
        runs.append([landmarker.detect(image, t)[0] for t, image in film])
    for a, b in zip(*runs, strict=True):
        assert np.array_equal(a.blendshapes, b.blendshapes) and np.array_equal(a.landmarks, b.landmarks)
        assert np.array_equal(a.rotation, b.rotation)


def test_stamps_that_repeat_or_go_back_do_not_stop_the_landmarker(landmarker):
    landmarker.reset()
    image = first_image("footage-single-face-photo")
    for stamp_ns in (10**18, 10**18, 10**18 - 5_000_000_000, 10**18 + 1, 10**18 + 40_000_000):
        assert len(landmarker.detect(image, stamp_ns)) == 1


@pytest.mark.parametrize(
    "image",
    [np.zeros((480, 640), np.uint8), np.zeros((480, 640, 4), np.uint8), np.zeros((4, 4, 3), np.float32),
     np.zeros((0, 640, 3), np.uint8), "image"],
)  # fmt: skip
def test_an_image_of_another_shape_or_type_is_refused_in_a_sentence(landmarker, image):
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\)|array \(H, W, 3\) of uint8"):
        landmarker.detect(image, 0)


def test_a_model_that_is_not_there_or_not_readable_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.task does not exist"):
        FaceLandmarker(tmp_path / "nothing.task")
    (tmp_path / "torn.task").write_bytes(b"PK\x03\x04 half of it")
    with pytest.raises(ValueError, match=r"torn\.task cannot be read"):
        FaceLandmarker(tmp_path / "torn.task")
    with pytest.raises(ValueError, match="at least 1 face"):
        FaceLandmarker(tmp_path / "torn.task", max_faces=0)


def test_loading_mediapipe_is_silent_imports_no_plotting_library_and_leaves_the_package_importable(model):
    code = (
        "import sys, pathlib\n"
        "from react_ros.perception.landmarks import FaceLandmarker\n"
        f"FaceLandmarker(pathlib.Path({str(model)!r}))\n"
        "assert not {'matplotlib', 'cv2', 'sounddevice'} & set(sys.modules), 'slow imports are back'\n"
        "import mediapipe\n"
        "assert mediapipe.tasks.vision.FaceLandmarker and mediapipe.Image\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
