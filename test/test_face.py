"""Names, layouts and signs of face data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from react_ros import face


def test_the_names_are_arkits_52_and_each_stands_once():
    assert len(face.ARKIT) == len(set(face.ARKIT)) == 52
    assert face.ARKIT[0] == "eyeBlinkLeft" and face.ARKIT[-1] == "tongueOut"
    lefts = {n.removesuffix("Left") for n in face.ARKIT if n.endswith("Left")} - {"jaw", "mouth"}
    assert all(f"{n}Right" in face.ARKIT for n in lefts)


def test_mediapipes_51_shapes_are_ordered_by_name_and_the_tongue_stays_in():
    names = ["_neutral", *sorted(face.ARKIT[:-1])]
    weights = np.linspace(0.0, 1.0, len(names))
    ordered = face.arkit_from_names(names, weights)
    for name, weight in zip(names[1:], weights[1:], strict=True):
        assert ordered[face.ARKIT_INDEX[name]] == pytest.approx(weight)
    assert ordered[face.ARKIT_INDEX["tongueOut"]] == 0.0


@pytest.mark.parametrize(
    ("names", "weights", "sentence"),
    [
        (["jawOpen"], [0.1, 0.2], "1 blendshape names but 2 weights"),
        (["jawOpened"], [0.1], "unknown blendshape 'jawOpened'"),
        (["jawOpen", "jawOpen"], [0.1, 0.2], "named twice"),
    ],
)
def test_wrong_names_are_refused_by_name(names, weights, sentence):
    with pytest.raises(ValueError, match=sentence):
        face.arkit_from_names(names, weights)


def test_weights_out_of_range_are_clipped():
    assert face.arkit_from_names(["jawOpen", "cheekPuff"], [1.2, -0.1]).sum() == 1.0


def test_the_25_attributes_are_15_units_2_affects_and_8_expressions():
    assert face.ATTRIBUTES == 25
    assert face.ATTRIBUTE_NAMES[face.AU] == tuple(
        f"AU{n}" for n in (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 23, 24, 25, 26)
    )
    assert face.ATTRIBUTE_NAMES[face.VA] == ("valence", "arousal")
    assert face.ATTRIBUTE_NAMES[face.EXPRESSIONS][0] == "neutral"
    joined = face.join_attributes(np.zeros((7, 15)), np.ones((7, 2)), np.full((7, 8), 2.0))
    assert joined.shape == (7, 25)
    assert (joined[:, face.VA] == 1).all() and (joined[:, face.EXPRESSIONS] == 2).all()


def test_the_58_coefficients_split_into_what_they_were_joined_from():
    rng = np.random.default_rng(0)
    parts = rng.random((4, 52), np.float32), rng.random((4, 3), np.float32), rng.random((4, 3), np.float32)
    joined = face.face_model(*parts)
    assert joined.shape == (4, face.FACE_MODEL)
    for part, again in zip(parts, face.split_face_model(joined), strict=True):
        np.testing.assert_array_equal(part, again)
    with pytest.raises(ValueError, match="58 coefficients, not 57"):
        face.split_face_model(np.zeros((2, 57)))


@given(st.floats(-1.5, 1.5), st.floats(-3, 3), st.floats(-3, 3))
def test_angles_survive_the_matrix(pitch, yaw, roll):
    matrix = face.rotation_matrix((pitch, yaw, roll))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(face.rotation_matrix(face.angles_from_matrix(matrix)), matrix, atol=1e-5)


def test_the_signs_are_those_of_the_documentation():
    forwards, up = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    assert (face.rotation_matrix((0.3, 0, 0)) @ forwards)[1] < 0, "pitch > 0 lowers the chin"
    assert (face.rotation_matrix((0, 0.3, 0)) @ forwards)[0] > 0, "yaw > 0 turns to the own left, image right"
    assert (face.rotation_matrix((0, 0, 0.3)) @ up)[0] < 0, "roll > 0 tilts to the own right, image left"


def test_frames_do_not_share_their_arrays():
    one, other = face.SpeakerFrame(0, 0), face.SpeakerFrame(1, 0)
    one.face.blendshapes[0] = 1.0
    one.face.attributes[0] = 1.0
    assert other.face.blendshapes[0] == other.face.attributes[0] == 0.0
    assert one.face_model.shape == (58,)
