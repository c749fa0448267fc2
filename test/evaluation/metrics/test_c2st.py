"""The two-sample test: chance level for two samples of the same people, high accuracy for noise."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from react_ros.evaluation.metrics.c2st import two_sample_test
from react_ros.face import AU


def person(seed: int, frames: int = 500) -> np.ndarray:
    """A synthetic listener (T, 25): units are 0 or 1 as in the corpora, the rest drifts with tracking noise."""
    rng = np.random.default_rng(seed)
    kernel = np.hanning(27) / np.hanning(27).sum()
    slow = np.stack([np.convolve(c, kernel, "same") for c in rng.standard_normal((25, frames))], axis=1)
    x = 0.3 + 0.6 * slow + rng.uniform(-0.1, 0.1, 25) + rng.normal(0, 0.02, (frames, 25))
    x[:, AU] = x[:, AU] > 0.4
    return x


@cache
def people(first: int, count: int = 40) -> list[np.ndarray]:
    return [person(k) for k in range(first, first + count)]


def test_two_samples_of_the_same_people_are_at_chance_level() -> None:
    results = [two_sample_test(people(100 * k, 16), people(100 * k + 50, 16)) for k in range(5)]
    covered = [r.low <= 0.5 <= r.high for r in results]
    assert sum(covered) >= 4
    assert sum(r.p_value < 0.05 for r in results) <= 1
    assert abs(np.mean([r.accuracy for r in results]) - 0.5) < 0.04


def test_noise_is_always_distinguished_from_people() -> None:
    rng = np.random.default_rng(0)
    r = two_sample_test(people(0), [rng.random((500, 25)) for _ in people(0)])
    assert r.accuracy > 0.99 and r.high <= 1.0 and r.low > 0.9 and r.p_value == 1e-4
    assert (r.clips, r.groups, r.windows, r.features) == (40, 40, 2 * 40 * 19, 25 * 13)


@pytest.mark.slow
def test_accuracy_grows_with_the_size_of_the_defect() -> None:
    """A growing share of clips is noise; then, growing noise is added to all clips."""
    rng = np.random.default_rng(1)
    real, others = people(0, 24), people(300, 24)
    mixed = [
        two_sample_test(real, [rng.random(x.shape) if k % 3 < n else x for k, x in enumerate(others)]).accuracy
        for n in range(4)
    ]
    assert all(b > a + 0.05 for a, b in pairwise(mixed))
    noisy = [
        two_sample_test(real, [x + rng.normal(0, s, x.shape) for x in others]).accuracy
        for s in (0.0, 0.006, 0.01, 0.02)
    ]
    assert all(b > a for a, b in pairwise(noisy)) and noisy[0] < 0.6 and noisy[-1] > 0.9


def test_continuous_action_units_are_distinguished_only_without_rounding() -> None:
    rng = np.random.default_rng(2)
    soft = [x.copy() for x in people(300)]
    for x in soft:
        x[:, AU] = np.where(x[:, AU] > 0.5, 0.8, 0.2) + rng.uniform(-0.1, 0.1, x[:, AU].shape)
    assert two_sample_test(people(0), soft, binarize=False).accuracy > 0.99
    rounded = two_sample_test(people(0), soft)
    assert rounded.low <= 0.5 <= rounded.high


def test_people_in_several_clips_are_never_in_training_and_test_set() -> None:
    """Both sides have random traits per session: a classifier that knows the session would distinguish them."""
    rng = np.random.default_rng(3)
    sessions = [f"session {k % 8}" for k in range(40)]
    habits = rng.normal(0, 0.3, (2, 8, 25)) * (np.arange(25) >= 15)
    real = [x + habits[0, k % 8] for k, x in enumerate(people(0))]
    other = [x + habits[1, k % 8] for k, x in enumerate(people(300))]
    leaked, honest = two_sample_test(real, other), two_sample_test(real, other, sessions)
    assert leaked.accuracy > 0.95
    assert honest.groups == 8 and honest.accuracy < 0.8 and honest.p_value > 0.01


def test_the_face_model_is_used_where_it_is_given() -> None:
    """Real attributes with a trembling head."""
    rng = np.random.default_rng(4)
    real = [np.concatenate([x, person(1000 + k)[:, [20] * 58] * 0.1], axis=1) for k, x in enumerate(people(0))]
    shaken = [np.concatenate([x, person(2000 + k)[:, [20] * 58] * 0.1], axis=1) for k, x in enumerate(people(300))]
    for x in shaken:
        x[:, -6:-3] += rng.normal(0, 0.02, (500, 3))
    r = two_sample_test(real, shaken)
    assert r.features == 83 * 13 and r.accuracy > 0.95


def test_the_same_clips_and_seed_give_the_same_result() -> None:
    a, b = (two_sample_test(people(0, 12), people(300, 12), seed=5) for _ in range(2))
    assert a == b


@pytest.mark.parametrize(
    ("real", "generated", "groups", "message"),
    [
        ((3, 100, 25), (2, 100, 25), None, "3 real listeners, 2 generated ones and 3 group names"),
        ((3, 100, 25), (3, 100, 25), ["a", "a", "a"], "clips of at least 2 groups"),
        ((3, 49, 25), (3, 49, 25), None, "clip 0 is shorter than a window of 2 s"),
        ((3, 100, 24), (3, 100, 24), None, r"clip 0 has a listener of shape \(100, 24\)"),
        ((3, 100, 83), (3, 100, 25), None, "the real and the generated listener of clip 0 have different channels"),
    ],
)
def test_unusable_input_is_refused_in_one_sentence(real, generated, groups, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        two_sample_test(list(np.zeros(real, np.float64)), list(np.zeros(generated)), groups)  # type: ignore[arg-type]
