"""FRRea-motion: an exact Fréchet distance, and a score that grows with defects."""

from __future__ import annotations

import io
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import sqrtm

from react_ros.evaluation.metrics.realism import (
    AXES,
    MomentSums,
    frechet,
    frechet_of,
    merge,
    motion_distance,
    motion_sums,
)
from react_ros.evaluation.metrics.windows import STATISTICS, window_statistics
from react_ros.face import AU, EXPRESSIONS


def covariance(rng: np.random.Generator, dims: int, rank: int) -> np.ndarray:
    f = rng.normal(size=(dims, rank))
    return f @ f.T / rank


def smooth(x: np.ndarray, frames: int) -> np.ndarray:
    kernel = np.hanning(frames + 2)
    return np.stack([np.convolve(c, kernel / kernel.sum(), "same") for c in x.T], axis=1)


def person(seed: int, frames: int = 750) -> np.ndarray:
    """A synthetic listener (T, 25): expressions rise quickly and decay."""
    rng = np.random.default_rng(seed)
    jumps = rng.exponential(1.0, (frames, 25)) * (rng.random((frames, 25)) < 0.02)
    x = np.zeros((frames, 25))
    for k in range(1, frames):
        x[k] = 0.96 * x[k - 1] + 0.3 * jumps[k]
    x = np.clip(0.6 * x + rng.uniform(0.0, 0.2, 25) + rng.normal(0, 0.005, x.shape), 0.0, 1.0)
    x[:, EXPRESSIONS] /= x[:, EXPRESSIONS].sum(axis=1, keepdims=True)
    return x


@cache
def people(first: int, count: int = 60) -> list[np.ndarray]:
    return [person(seed) for seed in range(first, first + count)]


def score(generated: list[np.ndarray]) -> float:
    return motion_distance(merge(map(motion_sums, people(0))), merge(map(motion_sums, generated)))


# --- the Fréchet distance


@pytest.mark.parametrize("dims", [1, 3, 20, 64])
def test_the_distance_is_that_of_the_matrix_square_root(dims: int) -> None:
    rng = np.random.default_rng(dims)
    a, b = covariance(rng, dims, 3 * dims), covariance(rng, dims, 2 * dims)
    m, n = rng.normal(size=(2, dims))
    root = np.real(np.asarray(sqrtm(a @ b)))
    assert frechet(m, a, n, b) == pytest.approx(np.sum((m - n) ** 2) + np.trace(a + b - 2 * root), rel=1e-9)


def test_the_distance_of_one_dimension_is_that_of_mean_and_deviation() -> None:
    one = np.ones((1, 1))
    assert frechet(np.array([2.0]), 9.0 * one, np.array([5.0]), 4.0 * one) == pytest.approx(3.0**2 + (3.0 - 2.0) ** 2)


@pytest.mark.parametrize("rank", [1, 5, 40])
def test_a_covariance_of_low_rank_needs_nothing_added_to_it(rank: int) -> None:
    """Closed form: scaling x by s moves a Gaussian by (1 - s)^2 tr C; equal Gaussians are 0 apart."""
    c = covariance(np.random.default_rng(rank), 200, rank)
    zero = np.zeros(200)
    assert frechet(zero, c, zero, c) == pytest.approx(0.0, abs=1e-9)
    assert frechet(zero, c, zero, 4.0 * c) == pytest.approx(np.trace(c), rel=1e-9)


def test_covariances_that_share_no_direction_are_their_traces_apart() -> None:
    a, b = np.diag([2.0, 0.0, 0.0]), np.diag([0.0, 3.0, 1.0])
    assert frechet(np.zeros(3), a, np.zeros(3), b) == pytest.approx(6.0)


def test_the_distance_to_constant_samples_is_the_trace() -> None:
    c = covariance(np.random.default_rng(1), 10, 30)
    assert frechet(np.zeros(10), c, np.ones(10), np.zeros((10, 10))) == pytest.approx(10.0 + np.trace(c))


# --- sums


def test_sums_give_numpys_mean_and_covariance() -> None:
    x = np.random.default_rng(0).normal(0.3, 2.0, (500, 12))
    s = MomentSums.of(x)
    assert np.allclose(s.mean, x.mean(axis=0), atol=1e-5)
    assert np.allclose(s.covariance, np.cov(x.T), atol=1e-4)


def test_shards_merge_to_the_same_bits_in_any_order_also_through_a_file() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (20_000, 30))
    whole = MomentSums.of(x)
    for _ in range(3):
        parts = [MomentSums.of(p) for p in np.split(x, np.sort(rng.choice(20_000, 6, replace=False)))]
        rng.shuffle(parts)  # type: ignore[arg-type]
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **parts[0].to_arrays())
        file.seek(0)
        merged = merge([MomentSums.from_arrays(np.load(file)), *parts[1:]])
        assert merged.n == whole.n
        assert np.array_equal(merged.total, whole.total) and np.array_equal(merged.squares, whole.squares)
    assert frechet_of(whole, whole) == pytest.approx(0.0, abs=1e-9)


# --- FRRea-motion


def test_the_score_is_0_for_the_same_listeners_and_small_for_others_of_the_population() -> None:
    assert score(people(0)) == pytest.approx(0.0, abs=1e-9)
    assert score(people(1000)) < 2.0


def test_frozen_slow_noisy_faint_or_reversed_listeners_score_above_real_ones() -> None:
    real, rng = people(0), np.random.default_rng(3)
    floor = score(people(1000))
    unreal = {
        "frozen": [np.repeat(x[:1], len(x), axis=0) for x in real],
        "slow": [np.repeat(x[: len(x) // 3], 3, axis=0) for x in real],
        "faint": [x.mean(axis=0) + 0.5 * (x - x.mean(axis=0)) for x in real],
        "noise": [x + rng.normal(0, 0.03, x.shape) for x in real],
        "always the same": [real[0]] * len(real),
        "random": [rng.random(x.shape) for x in real],
    }
    for name, listeners in unreal.items():
        assert score(listeners) > 4.0 * floor, name
    assert score([x[::-1] for x in real]) > 1.5 * floor


@pytest.mark.parametrize("kind", ["noise", "slowness", "still faces"])
def test_the_score_grows_with_the_size_of_the_defect(kind: str) -> None:
    real, rng = people(0), np.random.default_rng(4)
    levels = {
        "noise": [[x + rng.normal(0, s, x.shape) for x in real] for s in (0.0, 0.01, 0.03, 0.1, 0.3)],
        "slowness": [[smooth(x, k)[25:-25] if k else x for x in real] for k in (0, 5, 12, 25, 50)],
        "still faces": [
            [np.repeat(x[:1], len(x), axis=0) if k < share * len(real) else x for k, x in enumerate(real)]
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ],
    }
    scores = [score(level) for level in levels[kind]]
    assert scores[0] == pytest.approx(0.0, abs=1e-9) and scores[-1] > 10.0
    assert all(b > a for a, b in pairwise(scores))


def test_a_channel_that_is_constant_in_real_listeners_has_a_limited_weight() -> None:
    still = [np.where(np.arange(25) == 3, 0.0, x) for x in people(0)]
    nearly = [x + 0.001 * (np.arange(25) == 3) for x in still]
    assert motion_distance(merge(map(motion_sums, still)), merge(map(motion_sums, nearly))) < 0.01


def test_the_face_model_has_a_separate_score_that_penalises_head_tremor() -> None:
    rng = np.random.default_rng(5)
    real = [smooth(rng.normal(0, 0.3, (500, 58)), 20) for _ in range(10)]
    tremor = [x + rng.normal(0, 0.01, x.shape) * (np.arange(58) >= 52) for x in real]
    sums = merge(map(motion_sums, real))
    assert motion_distance(sums, merge(map(motion_sums, tremor))) > 0.05
    with pytest.raises(ValueError, match="the same channels"):
        motion_distance(sums, merge(map(motion_sums, people(0))))


def test_too_few_windows_are_refused() -> None:
    few, many = motion_sums(person(0, 60 * 25)), merge(map(motion_sums, people(0)))
    assert few.n == 59 <= AXES
    with pytest.raises(ValueError, match="needs 65 windows or more, but the generated listeners have 59"):
        motion_distance(many, few)
    assert motion_sums(person(0, 49)).n == 0
    with pytest.raises(ValueError, match=r"shape \(750, 24\)"):
        motion_sums(person(0)[:, :24])


# --- windows


def test_window_statistics_match_their_names() -> None:
    rng = np.random.default_rng(6)
    x = rng.random((75, 3))
    s = window_statistics(x).reshape(2, 3, len(STATISTICS))
    w = x[25:75, 1]
    mean, deviation, speed, skewness = s[1, 1, :4]
    assert mean == pytest.approx(w.mean()) and deviation == pytest.approx(w.std())
    assert speed == pytest.approx(np.sqrt(np.mean(np.diff(w) ** 2)))
    assert skewness**3 == pytest.approx(np.mean(np.diff(w) ** 3))
    wave = np.sqrt(2.0) * 0.3 * np.cos(np.pi * 2 * (np.arange(50) + 0.5) / 50)
    assert window_statistics(wave[:, None])[0, 4:] == pytest.approx([0.0, 0.3, 0.0, 0.0], abs=1e-12)


def test_reversed_motion_flips_the_skewness_and_keeps_the_speed() -> None:
    x = person(9, 50)[:, AU]
    there, back = (window_statistics(v).reshape(-1, len(STATISTICS)) for v in (x, x[::-1]))
    assert np.allclose(there[:, :3], back[:, :3])
    assert np.allclose(there[:, 3], -back[:, 3])
