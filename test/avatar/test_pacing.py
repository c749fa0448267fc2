"""Outputs at a fixed rate, with little delay after the reactions."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from react_ros.avatar.pacing import OutputPacer
from react_ros.face import FRAME_NS

MS = 1_000_000


def play(arrivals: list[int], end: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Run a pacer to `end`. Returns the outputs' times, and (arrival, shown) of each reaction that was shown."""
    pacer = OutputPacer(0)
    waiting: int | None = None
    outputs, shown = [], []
    queue = sorted(arrivals)
    while True:
        due = pacer.due_ns
        if queue and queue[0] <= due and queue[0] < end:
            waiting = queue.pop(0)
            pacer.arrived(waiting)
            now = waiting
        else:
            now = due
        if now >= end:
            return outputs, shown
        if now >= pacer.due_ns:
            if waiting is not None:
                shown.append((waiting, now))
                waiting = None
            pacer.shown(now)
            outputs.append(now)


def test_steady_reactions_are_shown_the_moment_they_come():
    arrivals = [100 * MS + k * FRAME_NS for k in range(500)]
    _, shown = play(arrivals, arrivals[-1] + 1)
    assert len(shown) >= 499
    assert all(at == came for came, at in shown[5:])


def test_jitter_within_ten_ms_costs_no_frame_and_little_time():
    rng = np.random.default_rng(1)
    arrivals = [int(100 * MS + k * FRAME_NS + rng.uniform(0, 15) * MS) for k in range(1000)]
    _, shown = play(arrivals, arrivals[-1] + FRAME_NS)
    waits = np.array([at - came for came, at in shown]) / MS
    assert len(shown) >= 998
    assert np.percentile(waits, 95) < 2.0


def test_after_one_late_reaction_the_face_does_not_stay_behind():
    arrivals = [100 * MS + k * FRAME_NS for k in range(200)]
    arrivals[100] += 30 * MS
    _, shown = play(arrivals, arrivals[-1] + 1)
    lags = {came: at - came for came, at in shown}
    assert max(lags.get(came, 0) for came in arrivals[103:]) == 0
    assert len(shown) >= 197


def test_without_reactions_the_face_goes_on_25_times_a_second():
    outputs, _ = play([], 10_000 * MS)
    assert len(outputs) in (249, 250)
    assert set(np.diff(outputs)) == {FRAME_NS}


def test_after_a_stall_missed_outputs_are_skipped():
    pacer = OutputPacer(0)
    pacer.shown(1_000 * MS)
    assert pacer.due_ns > 1_000 * MS


@settings(deadline=None, max_examples=100)
@given(
    gaps=st.lists(st.integers(0, 400 * MS), max_size=200),
    start=st.integers(0, 10**12),
)
def test_for_any_input_the_rate_stays_near_25(gaps, start):
    arrivals = list(np.cumsum([start, *gaps]))
    end = int(arrivals[-1]) + 2_000 * MS
    pacer_outputs, shown = play([int(a) for a in arrivals], end)
    steps = np.diff(pacer_outputs)
    assert (steps > 0).all()
    # Two grid points lie 40 ms apart and move by at most 2 ms a reaction (20 ms after a silence).
    assert not len(steps) or steps.max() <= FRAME_NS + 30 * MS + 25 * MS
    assert len(pacer_outputs) <= (end / FRAME_NS) * 1.5 + 2
    assert all(at >= came for came, at in shown)
