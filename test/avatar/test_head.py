"""The surface of the head, its normals and deformations."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.avatar.head import Head, lift
from react_ros.face import ARKIT_INDEX


def test_points_of_the_frontal_plane_are_projected_onto_the_mesh():
    points, _, _ = Head().shape(np.zeros(52, np.float32))
    front = points[(points[:, 2] > 0.6) & (np.abs(points[:, 0]) < 0.6) & (np.abs(points[:, 1]) < 0.8)]
    assert len(front) > 1000
    assert np.abs(lift(front[:, :2])[:, 2] - front[:, 2]).max() < 0.02
    one_by_one = np.concatenate([lift(p[None, :2]) for p in front[::97]])
    assert np.array_equal(one_by_one, lift(front[::97, :2])), "alone or in company"


def test_the_surface_has_outward_normals_of_unit_length():
    points, normals, _ = Head().shape(np.zeros(52, np.float32))
    assert np.allclose(np.linalg.norm(normals, axis=1), 1.0, atol=2e-3)
    assert (np.einsum("ij,ij->i", points, normals) > 0).mean() > 0.99


@pytest.mark.parametrize("name", ["mouthSmile", "cheekSquint", "noseSneer", "browDown"])
def test_left_and_right_deformations_mirror_each_other(name):
    head = Head()
    shapes = []
    for side in ("Left", "Right"):
        weights = np.zeros(52, np.float32)
        weights[ARKIT_INDEX[name + side]] = 1.0
        shapes.append(head.shape(weights)[0].reshape(*head.grid, 3))
    mirrored = shapes[1][:, ::-1] * np.array([-1, 1, 1], np.float32)
    assert np.abs(shapes[0] - mirrored).max() < 1e-4
