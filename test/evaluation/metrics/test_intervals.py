"""Intervals over clips: coverage, and the effect of clips that are not independent."""

from __future__ import annotations

import numpy as np

from react_ros.evaluation.metrics.intervals import connected, mean_with_interval


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        group_means = rng.normal(3.0, 1.0, 60)
        groups = np.repeat(np.arange(60), 4)
        value = mean_with_interval(group_means[groups] + rng.normal(0.0, 0.1, 240), groups)
        assert value is not None and value.low is not None and value.high is not None
        covered += value.low <= 3.0 <= value.high
    assert 178 <= covered <= 199


def test_dependent_clips_of_one_group_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    means = rng.normal(0.0, 1.0, 30)
    once = mean_with_interval(means, np.arange(30))
    often = mean_with_interval(np.repeat(means, 10), np.repeat(np.arange(30), 10))
    assert once is not None and often is not None and once.low is not None and often.low is not None
    assert np.isclose(once.low, often.low)


def test_unknown_values_are_left_out_and_none_at_all_is_none() -> None:
    value = mean_with_interval(np.array([1.0, np.nan, 3.0]), np.array([0, 1, 2]))
    assert value is not None and value.mean == 2.0
    assert mean_with_interval(np.array([np.nan]), np.array([0])) is None


def test_clips_are_connected_through_shared_listeners() -> None:
    related = np.eye(5, dtype=bool)
    related[0, 3] = related[3, 4] = True
    group = connected(related)
    assert group[0] == group[3] == group[4]
    assert len({group[0], group[1], group[2]}) == 3
