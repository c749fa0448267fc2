"""Latency from the lineage in the messages."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.evaluation.metrics.latency import measure
from react_ros.evaluation.report.demo_page import FaceTrack, SessionFacts, write_page
from react_ros.msg import Lineage, Stage, Status
from react_ros.nodes.messages import FACTORY

MS = 1_000_000


def status(frame: int, state: int = Status.LIVE, stages=(), latency: float = 0.03) -> Status:
    lineage = Lineage(frame=frame, stages=[Stage(name=n, start=FACTORY.time(s), duration=d) for n, s, d in stages])
    return Status(lineage=lineage, state=state, latency=latency)


def test_stages_and_the_time_between_them_are_separate():
    stages = [
        ("image", 1000 * MS, 0.002),
        ("face", 1002 * MS, 0.010),
        ("speech", 1012 * MS, 0.001),
        ("acoustics", 1013 * MS, 0.001),
        ("listener", 1016 * MS, 0.0005),
        ("motion", 1020 * MS, 0.0005),
    ]
    report = measure([(0, status(0, stages=stages))])
    figures = {name: d.p50 for name, d in report.stages.items()}
    assert figures["face"] == pytest.approx(10, abs=1e-3)
    assert figures["to listener"] == pytest.approx(2, abs=1e-3)
    assert figures["to avatar"] == pytest.approx(3.5, abs=1e-3)
    assert report.total is not None and report.total.p50 == pytest.approx(30, abs=1e-3)


def test_frames_that_were_never_answered_are_counted():
    shown = [0, 1, 2, 5, 6]
    report = measure([(k * 40 * MS, status(k)) for k in shown] + [(280 * MS, status(6, Status.LATE))])
    assert (report.frames, report.answered, report.outputs, report.late) == (7, 5, 6, 1)
    assert report.answered_share == pytest.approx(5 / 7)


def test_jitter_is_the_distance_of_intervals_from_40_ms():
    times = np.cumsum([0, *[40] * 50, 55, *[40] * 50])
    report = measure([(int(t) * MS, status(k)) for k, t in enumerate(times)])
    assert report.interval is not None and report.interval.p50 == 40
    assert 0 <= report.jitter_p99 <= 15


def test_without_measurements_there_are_no_figures():
    report = measure([])
    assert report.total is None and report.stages == {} and report.answered_share == 0
    empty = FaceTrack(np.zeros(0), np.zeros(0), np.zeros((0, 3)))
    page = write_page(
        SessionFacts("t <&>", empty, empty, (np.zeros(0), np.zeros(0)), report, {}, [("k", "<v>")], ["notice"], [])
    )
    assert "<td>–</td>" in page and "t &lt;&amp;&gt;" in page and "&lt;v&gt;" in page
