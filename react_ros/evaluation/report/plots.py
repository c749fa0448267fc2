"""Plots of an evaluation as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from react_ros.evaluation.behaviour.timing import BANDS
from react_ros.evaluation.corpora.plan import ANOTHER_LISTENER, GROUND_TRUTH
from react_ros.evaluation.corpora.summary import RowSummary, Summary, timing_rows
from react_ros.face import ATTRIBUTE_INDEX, FPS

_SHOWN = ("AU12", "AU1", "AU25", "valence")
"""Attributes of the example clip."""
_TIMED = ("blink rate", "nod frequency", "smile latency", "facial mimicry lag", "head pitch lag", "backchannel latency")
INK, ACCENT, REAL, PALE = "#2b6cc1", "#c1592b", "#8a8a8a", "#d9e5f4"


def svg(figure: Any) -> Markup:
    """The SVG element of a figure, which is closed; the same figure gives the same bytes."""
    from matplotlib import pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    return Markup(out.getvalue()[out.getvalue().index("<svg") :])


def axes_grid(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure of so many inches with (rows, columns) axes. options: of `pyplot.subplots`."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "react_ros"  # otherwise element ids are random
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def bars(summary: Summary) -> Markup:
    """FRCorr and FRDist of all rows except the ground truth, with the ceiling as a line."""
    rows = [r for r in summary.rows if r.row.name != GROUND_TRUTH]
    if not rows:
        return Markup()
    figure, axes = axes_grid(1, 2, (11, 0.9 + 0.42 * len(rows)), sharey=True)
    for axis, metric in zip(axes[0], ("FRCorr", "FRDist"), strict=True):
        for y, r in enumerate(rows):
            v = r.official[metric]
            if v is None:
                continue
            ceiling = r.row.name == ANOTHER_LISTENER
            color = REAL if ceiling else ACCENT if r.row.shuffled else INK
            error = None if v.low is None or v.high is None else [[v.mean - v.low], [v.high - v.mean]]
            axis.barh(y, v.mean, 0.62, color=color, xerr=error, error_kw={"ecolor": "#333333", "lw": 1, "capsize": 2})
            if ceiling:
                axis.axvline(v.mean, color=REAL, lw=1, ls="--", zorder=0)
        axis.set_xlabel(f"{metric} {'(higher is better, of 10)' if metric == 'FRCorr' else '(lower is better)'}")
        axis.set_yticks(range(len(rows)), [r.row.label for r in rows])
    axes[0, 0].invert_yaxis()
    return svg(figure)


def offsets(rows: Sequence[RowSummary]) -> Markup:
    """Histograms of each row's FRSyn offsets."""
    shown = [r for r in rows if len(r.offsets)]
    if not shown:
        return Markup()
    columns = min(4, len(shown))
    figure, axes = axes_grid(-(-len(shown) // columns), columns, (11, 1.7 * -(-len(shown) // columns)), sharex=True)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, r in zip(axes.flat, shown, strict=False):
        axis.set_visible(True)
        axis.hist(-r.offsets / FPS, bins=np.linspace(-2, 2, 41), color=INK)
        axis.axvline(0.0, color="#333333", lw=0.8)
        axis.set_title(r.row.label, fontsize=9)
        axis.set_yticks([])
        axis.set_xlabel("s after the speaker", fontsize=8)
    return svg(figure)


def examples(rows: Sequence[RowSummary]) -> Markup:
    """The first clip: its appropriate listeners, and the reaction of each row."""
    shown = [r for r in rows if r.example is not None and r.row.name != GROUND_TRUTH and not r.row.shuffled]
    if not shown:
        return Markup()
    figure, axes = axes_grid(len(shown), len(_SHOWN), (11, 1.25 * len(shown) + 0.5), sharex=True, sharey="col")
    for line, r in zip(axes, shown, strict=True):
        e = r.example
        assert e is not None
        time = np.arange(e.real.shape[1]) / FPS
        for axis, name in zip(line, _SHOWN, strict=True):
            channel = ATTRIBUTE_INDEX[name]
            if len(e.real):
                low, high = e.real[:, :, channel].min(axis=0), e.real[:, :, channel].max(axis=0)
                axis.fill_between(time, low, high, color="#e4e4e4", lw=0)
                axis.plot(time, e.real[:, :, channel].mean(axis=0), color=REAL, lw=1)
            axis.plot(time, e.reaction[:, channel], color=INK, lw=0.9)
            axis.margins(x=0)
        line[0].set_ylabel(r.row.label, fontsize=7, rotation=0, ha="right", va="center")
    for axis, name in zip(axes[0], _SHOWN, strict=True):
        axis.set_title(name, fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("s", fontsize=8)
    return svg(figure)


def timing_plot(summary: Summary) -> Markup:
    """Median and quartiles of each row's timing, with the published bands."""
    if not summary.rows:
        return Markup()
    figure, axes = axes_grid(1, len(_TIMED), (11, 0.8 + 0.3 * len(summary.rows)), sharey=True)
    for axis, name in zip(axes[0], _TIMED, strict=True):
        band = BANDS[name]
        axis.axvspan(band.low, band.high, color=PALE, lw=0)
        for y, r in enumerate(summary.rows):
            m = next((m for m in timing_rows(summary, r) if m.name == name), None)
            if m is None or m.value is None:
                axis.text(band.low, y, "not measurable", fontsize=6, color=REAL, va="center")
                continue
            if m.low is not None and m.high is not None:
                axis.plot([m.low, m.high], [y, y], color=INK, lw=1)
            axis.plot(m.value, y, "o", ms=4, color=INK if m.inside else ACCENT)
            axis.set_xlabel(m.unit, fontsize=8)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0, 0].set_yticks(range(len(summary.rows)), [r.row.label for r in summary.rows])
    axes[0, 0].invert_yaxis()
    return svg(figure)
