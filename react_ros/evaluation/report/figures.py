"""How figures are printed: digits, direction, tables of metrics for pages and terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from react_ros.evaluation.behaviour.timing import table as timing_text
from react_ros.evaluation.corpora.summary import METRICS, RowSummary, Summary, timing_rows
from react_ros.evaluation.metrics.c2st import TwoSampleResult
from react_ros.evaluation.metrics.intervals import Value
from react_ros.evaluation.metrics.latency import STAGES, Distribution, LatencyReport
from react_ros.generators.system import PublishedRow
from react_ros.pages import Cell, Table

DIGITS = {"FRCorr": 2, "FRDist": 2, "FRDiv": 4, "FRVar": 4, "FRDvs": 4, "FRSyn": 2}
"""Decimals, as in the papers."""
BETTER = {"FRCorr": "↑", "FRDist": "↓", "FRSyn": "↓"}
"""Metrics that are better when higher or lower; the others are compared with the ground truth."""


def format_value(value: Value | None, digits: int) -> str:
    """The mean with so many decimals; "–" where there is none."""
    return "–" if value is None or not math.isfinite(value.mean) else f"{value.mean:.{digits}f}"


def _with_interval(value: Value | None, digits: int) -> Cell:
    text = format_value(value, digits)
    if value is None or value.low is None or value.high is None:
        return Cell(text)
    return Cell(text, f"{value.low:.{digits}f} to {value.high:.{digits}f}")


def metric_table(rows: Sequence[tuple[RowSummary, Mapping[str, Value | None]]]) -> Table:
    """The six metrics of every row. rows: each with its values of one mode."""
    return Table(
        ["", *(f"{m} {BETTER.get(m, '')}".strip() for m in METRICS), "clips"],
        [[r.row.label, *(_with_interval(values[m], DIGITS[m]) for m in METRICS), str(r.clips)] for r, values in rows],
    )


def official(summary: Summary) -> Table:
    """The metrics of the official mode."""
    return metric_table([(r, r.official) for r in summary.rows])


def corrected(summary: Summary) -> Table:
    """The metrics of the corrected mode."""
    return metric_table([(r, r.corrected) for r in summary.rows])


def realism(rows: Sequence[RowSummary]) -> Table:
    """Realism, C2ST accuracy and ReactFace's metrics of every row."""
    reactface = {"DivC": 4, "DivF": 4, "S-MSE": 4, "TLCC": 2, "TLCC corrected": 2}
    body = []
    for r in rows:
        pictures = (None, None) if r.pictures is None else (r.pictures.fid, r.pictures.fvd)
        cells: list[str | Cell] = ["–" if x is None else f"{x:.2f}" for x in (r.motion, *pictures)]
        cells += [_accuracy(t) for t in (r.attributes_test, r.face_test)]
        cells += [format_value(r.reactface.get(m), digits) for m, digits in reactface.items()]
        body.append([r.row.label, *cells])
    head = ["", "FRRea-motion ↓", "FID (avatar)", "FVD (avatar)", "C2ST accuracy: attributes", "… and face", *reactface]
    return Table(head, body)


def _accuracy(test: TwoSampleResult | None) -> Cell:
    return Cell("–") if test is None else Cell(f"{test.accuracy:.2f}", f"{test.low:.2f} to {test.high:.2f}")


def gaps(summary: Summary) -> Table:
    """FRCorr of each generator when it hears its own speaker and when it hears another clip's."""
    body = []
    for g in summary.gaps:
        d = g.difference
        if d.low is None or d.high is None:
            verdict = "too few groups of clips to tell"
        elif d.low > 0.0:
            verdict = "listens"
        else:
            verdict = "worse than not listening" if d.high < 0.0 else "no sign of listening"
        interval = "" if d.low is None else f"{d.low:.2f} to {d.high:.2f}"
        body.append([g.label, f"{g.own:.2f}", f"{g.shuffled:.2f}", Cell(f"{d.mean:.2f}", interval), verdict])
    return Table(["FRCorr", "own speaker", "another clip's", "difference", ""], body)


def timing_tables(summary: Summary) -> list[tuple[str, Table]]:
    """Per row, a title and its timing beside the published bands."""
    head = ["", "value", "quartiles", "n", "published band", "inside"]
    return [
        (
            f"{r.row.label}: {r.timing.minutes:.1f} minutes of listening",
            Table(head, timing_text(timing_rows(summary, r))),
        )
        for r in summary.rows
    ]


def published_table(rows: Sequence[PublishedRow]) -> Table:
    """The printed rows of papers."""
    digits = (2, 2, 4, 4, 4, 2, 2)
    body = []
    for r in rows:
        values = (r.frcorr, r.frdist, r.frdiv, r.frvar, r.frdvs, r.frrea, r.frsyn)
        cells = ["–" if v is None else f"{v:.{d}f}" for v, d in zip(values, digits, strict=True)]
        body.append([r.system, r.protocol, *cells])
    return Table(["", "protocol", *METRICS[:5], "FRRea", "FRSyn"], body)


def latency_table(latency: LatencyReport) -> Table:
    """Total latency, latency by stage, and the output interval, ms."""
    rows: list[tuple[str, Distribution | None]] = [("sensor stamp to face message", latency.total)]
    rows += [(STAGES[name], d) for name, d in latency.stages.items()]
    rows += [("between two outputs", latency.interval)]
    body = [
        [name, "–", "–", "–", "0"] if d is None else [name, *(f"{v:.1f}" for v in (d.p50, d.p95, d.p99)), str(d.count)]
        for name, d in rows
    ]
    return Table(["stage (ms)", "p50", "p95", "p99", "frames"], body)
