"""The benchmark of the metrics compares both implementations on the same data."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from rich.console import Console

from react_ros.cli import bench_metrics as bench
from react_ros.evaluation.metrics.appropriateness import concordance
from react_ros.evaluation.metrics.synchrony import frsyn_offsets


def test_both_ways_that_are_timed_give_the_same_numbers() -> None:
    rng = np.random.default_rng(0)
    predictions = bench.simulated_reactions(rng, 2, 200)
    listener = bench.simulated_reactions(rng, 200, binary=True)
    ours = concordance(predictions, listener[None], "official")[:, 0]
    assert [bench._official_ccc(p, listener) for p in predictions] == pytest.approx(ours, rel=1e-5, abs=1e-8)
    distances = [bench._official_distance()(p, listener) for p in predictions]
    assert distances == pytest.approx(bench.frdist_matrix(predictions, listener[None])[:, 0], rel=1e-6)
    speaker = bench.simulated_reactions(rng, 200)
    assert [bench._official_offset(p, speaker) for p in predictions] == frsyn_offsets(predictions, speaker).tolist()


def test_it_prints_every_metric_with_its_ratio() -> None:
    out = io.StringIO()
    rows = bench.bench_metrics(Console(file=out, width=200), rounds=1, frames=60)
    names = ["FRDist", "FRCorr", "FRSyn"]
    assert [r.name for r in rows] == names
    assert all(row.name in out.getvalue() and row.ratio > 0 for row in rows)
    assert rows[0].ratio == pytest.approx(rows[0].official_s / rows[0].ours_s)


def test_without_tslearn_the_error_names_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tslearn.metrics", None)
    with pytest.raises(bench.BenchError, match=r"pip install tslearn==0\.10\.0"):
        bench.bench_metrics(Console(file=io.StringIO()), rounds=1, frames=60)


@pytest.mark.slow
def test_a_whole_test_set_takes_less_than_4_gib() -> None:
    peak, _ = bench._whole_set()
    assert 2**28 < peak < 4 * 2**30
