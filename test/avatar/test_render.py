"""The rendered face shows every blendshape, on the correct side, and gradually."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from react_ros.avatar.gallery import POSES, contact_sheet, pose
from react_ros.avatar.render import Renderer
from react_ros.face import ARKIT

RENDERER = Renderer()
NEUTRAL = RENDERER.draw(pose()).astype(int)
BOXES = {
    "eye": (185, 285), "brow": (160, 235), "nose": (190, 345), "mouth": (260, 425), "jaw": (260, 460),
    "cheek": (205, 400), "tongue": (320, 430),
}  # fmt: skip
"""Rows of the 512 px picture in which the blendshapes of each region show."""


def change(weights: dict[str, float], scale: float = 1.0) -> np.ndarray:
    """(512, 512) largest difference of a channel from the neutral face."""
    image = RENDERER.draw(pose({k: v * scale for k, v in weights.items()})).astype(int)
    return np.abs(image - NEUTRAL).max(-1)


@pytest.mark.parametrize("name", ARKIT)
def test_each_blendshape_shows_in_its_own_region(name):
    needs_jaw = {"mouthClose": {"jawOpen": 0.5}}.get(name, {})
    base = RENDERER.draw(pose(needs_jaw)).astype(int) if needs_jaw else NEUTRAL
    diff = np.abs(RENDERER.draw(pose({**needs_jaw, name: 1.0})).astype(int) - base).max(-1)
    assert (diff > 12).sum() > 100, "it is visible"
    prefix = next(p for p in BOXES if name.startswith(p))
    top, bottom = BOXES[prefix]
    if name == "browInnerUp" or name.startswith("browOuterUp"):
        top = 110  # the forehead wrinkles with it
    if name.startswith("mouthSmile"):
        top = 205  # so do the lower lids
    if name.startswith("noseSneer"):
        bottom = 375  # the fold from nose to mouth deepens
    rows = diff.sum(1)
    assert rows[top:bottom].sum() > 0.90 * rows.sum()


@pytest.mark.parametrize("name", [n for n in ARKIT if n.endswith(("Left", "Right"))])
def test_left_and_right_are_the_faces_own(name):
    if name in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
        before, after = _mouth_centre(pose()), _mouth_centre(pose({name: 1.0}))
        assert (after - before) * (1 if name.endswith("Left") else -1) > 3.0
        return
    diff = change({name: 1.0})
    left, right = diff[:, 256:].sum(), diff[:, :256].sum()
    assert (left > 2.5 * right) if name.endswith("Left") else (right > 2.5 * left)


def _mouth_centre(shown) -> float:
    """Mean column of the lip-coloured pixels in the lower face."""
    image = RENDERER.draw(shown).astype(int)[320:400]
    red = np.clip(image[..., 0] - image[..., 1] - 75, 0, None) * 1.0
    return float((red.sum(0) * np.arange(512)).sum() / red.sum())


@pytest.mark.parametrize("name", ARKIT)
def test_a_gradual_weight_changes_the_picture_gradually(name):
    needs_jaw = {"mouthClose": {"jawOpen": 0.5}}.get(name, {})
    images = [RENDERER.draw(pose({**needs_jaw, name: w})).astype(np.int16) for w in np.linspace(0, 1, 26)]
    steps = np.array([np.abs(b - a).sum(dtype=np.int64) for a, b in itertools.pairwise(images)])
    assert steps.max() < 5.0 * steps.mean(), "nothing pops"
    assert (steps > 0).mean() > 0.85, "no dead range"


def _centroid_of_face(rotation) -> tuple[float, float]:
    """Centroid of the skin pixels, (x, y)."""
    image = RENDERER.draw(pose(rotation=rotation)).astype(int)
    r, b = image[..., 0], image[..., 2]
    skin = (r > 190) & (r - b > 40)
    ys, xs = np.nonzero(skin)
    return float(xs.mean()), float(ys.mean())


def test_the_head_turns_as_the_signs_of_the_project_say():
    x0, y0 = _centroid_of_face((0, 0, 0))
    assert _centroid_of_face((0, 0.4, 0))[0] > x0 + 15, "yaw > 0: own left, image right"
    assert _centroid_of_face((0, -0.4, 0))[0] < x0 - 15
    assert _centroid_of_face((0.3, 0, 0))[1] > y0 + 10, "pitch > 0: chin down"
    assert _centroid_of_face((-0.3, 0, 0))[1] < y0 - 10
    assert _centroid_of_face((0, 0, 0.3))[0] < x0 - 10, "roll > 0: head to its own right, image left"


def test_translation_moves_the_head_and_not_the_shoulders():
    near = RENDERER.draw(pose(translation=(0.03, 0.01, 0.0))).astype(int)
    diff = np.abs(near - NEUTRAL).max(-1)
    assert (diff[100:400] > 20).sum() > 3000
    assert diff[490:, :120].max() == 0 and diff[490:, 400:].max() == 0


def test_the_gaze_goes_to_its_side():
    def dark(shown) -> float:
        eye = RENDERER.draw(shown)[215:255, 270:345].astype(float).sum(-1)
        pupil = eye < 120
        return float(np.nonzero(pupil)[1].mean())

    assert dark(pose({"eyeLookOutLeft": 0.7})) > dark(pose()) + 4
    assert dark(pose({"eyeLookInLeft": 0.7})) < dark(pose()) - 4


def test_a_blink_hides_the_iris():
    def teal(shown) -> int:
        image = RENDERER.draw(shown)[200:270, 165:345].astype(int)
        return int(((image[..., 2] - image[..., 0]) > 40).sum())

    assert teal(pose()) > 300
    assert teal(pose({"eyeBlink": 1.0})) == 0


def test_the_same_pose_gives_the_same_picture_in_any_order():
    first = RENDERER.draw(POSES["laugh"])
    RENDERER.draw(POSES["yaw +0.5"])
    assert np.array_equal(first, RENDERER.draw(POSES["laugh"]))
    assert np.array_equal(first, Renderer().draw(POSES["laugh"]))


@pytest.mark.parametrize("size", [(64, 64), (320, 240), (240, 426)])
def test_every_pose_can_be_drawn_at_any_size_and_at_the_ends_of_the_head_s_range(size):
    renderer = Renderer(*size)
    extremes = [pose(dict.fromkeys(ARKIT, 1.0))]
    for s in (-1, 1):
        extremes += [
            pose(rotation=(0.5 * s, 0.65 * t, 0.45 * s), translation=(0.06 * s, 0.06 * t, 0.06)) for t in (-1, 1)
        ]
    for shown in (*POSES.values(), *extremes):
        image = renderer.draw(shown)
        assert image.shape == (size[1], size[0], 3) and image.dtype == np.uint8


def test_too_small_a_picture_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="32x512 px is too small"):
        Renderer(32, 512)


def test_the_contact_sheet_shows_every_pose():
    sheet = contact_sheet(size=64, columns=6)
    assert sheet.shape == (4 * 64, 6 * 64, 3)
    cells = sheet.reshape(4, 64, 6, 64, 3).swapaxes(1, 2).reshape(24, -1).astype(int)
    distances = np.abs(cells[:, None] - cells[None]).sum(-1) + 10**9 * np.eye(24, dtype=int)
    assert distances.min() > 1500, "no two poses look alike"
