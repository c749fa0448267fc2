"""Dynamic time warping is exact: compared with tslearn, with closed forms, and with itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from tslearn.metrics import dtw as tslearn_dtw

import react_ros.corpus.dtw
from react_ros.corpus.dtw import LANES, dtw, frdist_matrix

LENGTHS = (2, 3, 10, 50, 99, 100, 101, 300, 750, 751)


def reactions(rng: np.random.Generator, *shape: int, smooth: bool = True, binary: bool = False) -> np.ndarray:
    """(…, T, 25) float32: slow noise between 0 and 1, or white; binary rounds the action units."""
    noise = rng.standard_normal((*shape, 25))
    if smooth:
        noise = lfilter([0.25], [1, -0.97], noise, axis=-2) + rng.standard_normal((*shape[:-1], 1, 25))
    values = 1 / (1 + np.exp(-noise))
    if binary:
        values[..., :15] = np.round(values[..., :15])
    return values.astype(np.float32)


def official_distance(a: np.ndarray, b: np.ndarray) -> float:
    """As in the challenge's code."""
    parts = ((slice(0, 15), 1 / 15), (slice(15, 17), 1.0), (slice(17, 25), 1 / 8))
    return float(sum(weight * tslearn_dtw(a[:, part], b[:, part]) for part, weight in parts))


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_distances_agree_with_tslearn_at_every_length(length: int, smooth: bool) -> None:
    rng = np.random.default_rng(length)
    a, b = reactions(rng, 2, length, smooth=smooth), reactions(rng, 3, length, smooth=smooth, binary=True)
    expected = [[official_distance(x, y) for y in b] for x in a]
    np.testing.assert_allclose(frdist_matrix(a, b), expected, rtol=1e-6)
    assert dtw(a[0], b[0]) == pytest.approx(tslearn_dtw(a[0], b[0]), rel=1e-6)


@pytest.mark.parametrize(("t", "u"), [(1, 1), (1, 40), (40, 1), (2, 300), (751, 750), (120, 77)])
def test_lengths_may_differ(t: int, u: int) -> None:
    rng = np.random.default_rng(t * 1000 + u)
    a, b = reactions(rng, 2, t), reactions(rng, 2, u, binary=True)
    expected = [[official_distance(x, y) for y in b] for x in a]
    np.testing.assert_allclose(frdist_matrix(a, b), expected, rtol=1e-6)
    assert dtw(a[0], b[1]) == pytest.approx(tslearn_dtw(a[0], b[1]), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), t=st.integers(1, 40), u=st.integers(1, 40), scale=st.floats(1e-3, 1e3))
def test_any_two_sequences_agree_with_tslearn(seed: int, t: int, u: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = scale * rng.standard_normal((t, 3)), scale * rng.standard_normal((u, 3))
    assert dtw(a, b) == pytest.approx(tslearn_dtw(a, b), rel=1e-9)


def test_a_sequence_is_at_distance_0_from_itself_and_from_a_slower_copy() -> None:
    a = reactions(np.random.default_rng(0), 1, 200)
    assert frdist_matrix(a, a)[0, 0] == 0.0
    assert frdist_matrix(a, np.repeat(a, 2, axis=1))[0, 0] == 0.0
    assert dtw(a[0], np.repeat(a[0], 3, axis=0)) == 0.0


def test_two_constants_are_as_far_apart_as_their_gap_over_time() -> None:
    a, b = np.zeros((1, 400, 25), np.float32), np.full((1, 400, 25), 0.5, np.float32)
    a_part = [np.sqrt(400 * n * 0.25) for n in (15, 2, 8)]
    assert frdist_matrix(a, b)[0, 0] == pytest.approx(a_part[0] / 15 + a_part[1] + a_part[2] / 8, rel=1e-12)


@pytest.mark.parametrize(("p", "k"), [(1, 1), (10, 1), (1, 10), (10, 2), (3, LANES), (17, 33), (10, 50)])
def test_a_pair_scores_the_same_whatever_it_is_computed_with(p: int, k: int) -> None:
    rng = np.random.default_rng(p * 100 + k)
    a, b = reactions(rng, p, 30), reactions(rng, k, 41, binary=True)
    together = frdist_matrix(a, b)
    alone = np.array([[frdist_matrix(x[None], y[None])[0, 0] for y in b] for x in a])
    assert (together == alone).all()
    assert (together == frdist_matrix(b, a).T).all()


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.zeros((0, 25)), np.zeros((3, 25)), "T and U at least 1"),
        (np.zeros((3, 25)), np.zeros((3, 24)), r"\(3, 25\) with \(3, 24\)"),
    ],
)
def test_shapes_that_cannot_be_compared_are_named(a: np.ndarray, b: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dtw(a, b)


def test_frdist_wants_25_attributes() -> None:
    with pytest.raises(ValueError, match=r"listeners of FRDist are \(count, frames, 25\).*\(2, 5, 58\)"):
        frdist_matrix(np.zeros((1, 5, 25)), np.zeros((2, 5, 58)))


@pytest.mark.slow
def test_it_runs_where_nothing_can_be_written(tmp_path: Path) -> None:
    ours, package = Path(react_ros.corpus.dtw.__file__).parents[1], tmp_path / "site" / "react_ros"
    for folder in (package, package / "corpus"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "__pycache__").write_text("no folder")  # root may write anywhere else
    for name in ("corpus/dtw.py", "face.py"):
        shutil.copy(ours / name, package / name)
    (tmp_path / "home").write_text("no folder")
    ran = subprocess.run(
        [sys.executable, "-c", "from react_ros.corpus.dtw import dtw; print(dtw([[0.0]], [[3.0]]))"],
        capture_output=True, text=True, cwd=package.parent,
        env={"PYTHONPATH": str(package.parent), "HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert ran.stdout == "3.0\n", ran.stderr
