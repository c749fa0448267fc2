"""The evaluation as one HTML page: measured rows, published rows set apart, plots, human timing."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from react_ros.evaluation.behaviour.timing import BANDS, table
from react_ros.evaluation.corpora.plan import ANOTHER_LISTENER, GROUND_TRUTH
from react_ros.evaluation.corpora.summary import METRICS, RowSummary, Summary, timing_rows
from react_ros.evaluation.metrics.intervals import Value
from react_ros.evaluation.report.published import SOURCE, PublishedRow
from react_ros.face import ATTRIBUTE_INDEX, FPS

DIGITS = {"FRCorr": 2, "FRDist": 2, "FRDiv": 4, "FRVar": 4, "FRDvs": 4, "FRSyn": 2}
"""As the papers print them."""
BETTER = {"FRCorr": "↑", "FRDist": "↓", "FRSyn": "↓"}
_SHOWN = ("AU12", "AU1", "AU25", "valence")
_TIMED = ("blink rate", "nod frequency", "smile latency", "facial mimicry lag", "head pitch lag", "backchannel latency")
_INK, _ACCENT, _REAL, _PALE = "#2b6cc1", "#c1592b", "#8a8a8a", "#d9e5f4"


def write_report(summary: Summary, machine: str = "") -> str:
    """The whole page; it needs no other file. machine: what it was measured on."""
    plan = summary.plan
    facts = [
        ("corpus", f"{plan['corpus']}, {plan['split']} split"),
        ("clips", f"{summary.clips}, with {summary.neighbours:.1f} appropriate listeners each on average"),
        ("protocol", f"{plan['protocol']}, {plan['samples']} samples a clip, seed {plan['seed']}"),
        ("action units", "rounded (binarized) before anything is measured" if plan["binarize"] else "as generated"),
        ("intervals", f"95 %, bootstrap over {summary.groups} groups of clips that share appropriate listeners"),
        ("made by", f"react_ros evaluate{f', {machine}' if machine else ''}"),
    ]
    notices = [n for n in (summary.notice, _left_out(summary)) if n]
    rows = summary.rows
    return _PAGE.format(
        style=STYLE,
        notices="".join(f"<p class=notice>{html.escape(n)}</p>" for n in notices),
        facts="".join(f"<tr><th>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in facts),
        official=metric_table(rows, lambda r, m: r.official[m]),
        sound=metric_table(rows, lambda r, m: r.sound[m]),
        more=more_table(rows),
        bars=bars(summary),
        listens=listens(summary),
        offsets=offsets(rows),
        example=examples(rows),
        timing_plot=timing_plot(summary),
        timing="".join(timing_table(summary, r) for r in rows),
        published=_published_table(summary.published),
        source=html.escape(SOURCE),
    )


def figure_of(value: Value | None, digits: int) -> str:
    """A value as tables print it; "–" where there is none."""
    return "–" if value is None or not math.isfinite(value.mean) else f"{value.mean:.{digits}f}"


def _left_out(summary: Summary) -> str:
    failed = sum(len(r.failed) for r in summary.rows)
    said = [f"{len(summary.problems)} clips could not be used: {summary.problems[0]} …"] if summary.problems else []
    if failed:
        first = next(f for r in summary.rows for f in r.failed)
        said.append(f"{failed} clips of single rows could not be scored: {first} …")
    return " ".join(said)


def _cells(cells: Iterable[str]) -> str:
    return "".join(f"<td>{c}</td>" for c in cells)


def metric_table(rows: Sequence[RowSummary], value: Callable[[RowSummary, str], Value | None]) -> str:
    """The six metrics of every row."""
    head = "".join(f"<th>{m}{BETTER.get(m, '')}</th>" for m in METRICS)
    body = ""
    for r in rows:
        cells = []
        for m in METRICS:
            v = value(r, m)
            text = figure_of(v, DIGITS[m])
            if v is not None and v.low is not None and v.high is not None:
                text += f"<small>{v.low:.{DIGITS[m]}f} to {v.high:.{DIGITS[m]}f}</small>"
            cells.append(text)
        body += f"<tr><th>{html.escape(r.row.label)}</th>{_cells(cells)}<td>{r.clips}</td></tr>"
    return f"<table class=numbers><thead><tr><th></th>{head}<th>clips</th></tr></thead>{body}</table>"


def more_table(rows: Sequence[RowSummary]) -> str:
    """Realism, and ReactFace's metrics, of every row."""
    head = "".join(
        f"<th>{c}</th>"
        for c in ("FRRea-motion↓", "FID (avatar)", "FVD (avatar)", "told from real: attributes", "… and face", "DivC",
                  "DivF", "S-MSE", "TLCC", "TLCC sound")
    )  # fmt: skip
    body = ""
    for r in rows:
        pictures = (None, None) if r.pictures is None else (r.pictures.fid, r.pictures.fvd)
        cells = ["–" if x is None else f"{x:.2f}" for x in (r.motion, *pictures)]
        for t in (r.attributes_test, r.face_test):
            cells.append("–" if t is None else f"{t.accuracy:.2f}<small>{t.low:.2f} to {t.high:.2f}</small>")
        cells += [
            figure_of(r.reactface.get(m), d)
            for m, d in (("DivC", 4), ("DivF", 4), ("S-MSE", 4), ("TLCC", 2), ("TLCC sound", 2))
        ]
        body += f"<tr><th>{html.escape(r.row.label)}</th>{_cells(cells)}</tr>"
    return f"<table class=numbers><thead><tr><th></th>{head}</tr></thead>{body}</table>"


def _published_table(rows: Sequence[PublishedRow]) -> str:
    head = "".join(f"<th>{m}</th>" for m in (*METRICS[:5], "FRRea", "FRSyn"))
    body = ""
    for r in rows:
        values = (r.frcorr, r.frdist, r.frdiv, r.frvar, r.frdvs, r.frrea, r.frsyn)
        digits = (2, 2, 4, 4, 4, 2, 2)
        cells = ["–" if v is None else f"{v:.{d}f}" for v, d in zip(values, digits, strict=True)]
        body += f"<tr><th>{html.escape(r.system)}</th><td>{r.protocol}</td>{_cells(cells)}</tr>"
    return f"<table class=numbers><thead><tr><th></th><th>protocol</th>{head}</tr></thead>{body}</table>"


def listens(summary: Summary) -> str:
    """Each generator's own speaker against another one."""
    if not summary.gaps:
        return "<p>No row has its <code>:shuffled_speaker</code> beside it.</p>"
    body = ""
    for g in summary.gaps:
        d = g.difference
        if d.low is None or d.high is None:
            says = "too few groups of clips to tell"
        else:
            says = "listens" if d.low > 0.0 else "worse than not listening" if d.high < 0.0 else "no sign of listening"
        interval = "" if d.low is None else f"<small>{d.low:.2f} to {d.high:.2f}</small>"
        cells = _cells([f"{g.own:.2f}", f"{g.shuffled:.2f}", f"{d.mean:.2f}{interval}", says])
        body += f"<tr><th>{html.escape(g.label)}</th>{cells}</tr>"
    head = "".join(f"<th>{c}</th>" for c in ("own speaker", "another clip's", "difference", ""))
    return f"<table class=numbers><thead><tr><th>FRCorr</th>{head}</tr></thead>{body}</table>"


def timing_table(summary: Summary, row: RowSummary) -> str:
    """A row's timing against the published bands, folded away."""
    head = "".join(f"<th>{c}</th>" for c in ("value", "quartiles", "n", "published band", "inside"))
    body = "".join(
        f"<tr><th>{html.escape(name)}</th>{_cells(map(html.escape, cells))}</tr>"
        for name, *cells in table(timing_rows(summary, row))
    )
    title = f"{row.row.label}: {row.timing.minutes:.1f} minutes of listening"
    return (
        f"<details><summary>{html.escape(title)}</summary><table><thead><tr><th></th>{head}</tr></thead>{body}"
        "</table></details>"
    )


# Plots -------------------------------------------------------------------------------------------------------------


def _svg(figure: Any) -> str:
    from matplotlib import pyplot as plt

    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]


def _figure(rows: int, columns: int, size: tuple[float, float], **how: Any) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "react_ros"  # the same figures, the same page
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **how)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def bars(summary: Summary) -> str:
    """FRCorr and FRDist of every row but the ground truth, with the ceiling as a line."""
    rows = [r for r in summary.rows if r.row.name != GROUND_TRUTH]
    if not rows:
        return ""
    figure, axes = _figure(1, 2, (11, 0.9 + 0.42 * len(rows)), sharey=True)
    for axis, metric in zip(axes[0], ("FRCorr", "FRDist"), strict=True):
        for y, r in enumerate(rows):
            v = r.official[metric]
            if v is None:
                continue
            ceiling = r.row.name == ANOTHER_LISTENER
            color = _REAL if ceiling else _ACCENT if r.row.shuffled else _INK
            error = None if v.low is None or v.high is None else [[v.mean - v.low], [v.high - v.mean]]
            axis.barh(y, v.mean, 0.62, color=color, xerr=error, error_kw={"ecolor": "#333333", "lw": 1, "capsize": 2})
            if ceiling:
                axis.axvline(v.mean, color=_REAL, lw=1, ls="--", zorder=0)
        axis.set_xlabel(f"{metric} {'(higher is better, of 10)' if metric == 'FRCorr' else '(lower is better)'}")
        axis.set_yticks(range(len(rows)), [r.row.label for r in rows])
    axes[0, 0].invert_yaxis()
    return _svg(figure)


def offsets(rows: Sequence[RowSummary]) -> str:
    """Where each row's correlation with the speaker peaks."""
    shown = [r for r in rows if len(r.offsets)]
    if not shown:
        return ""
    columns = min(4, len(shown))
    figure, axes = _figure(-(-len(shown) // columns), columns, (11, 1.7 * -(-len(shown) // columns)), sharex=True)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, r in zip(axes.flat, shown, strict=False):
        axis.set_visible(True)
        axis.hist(-r.offsets / FPS, bins=np.linspace(-2, 2, 41), color=_INK)
        axis.axvline(0.0, color="#333333", lw=0.8)
        axis.set_title(r.row.label, fontsize=9)
        axis.set_yticks([])
        axis.set_xlabel("s after the speaker", fontsize=8)
    return _svg(figure)


def examples(rows: Sequence[RowSummary]) -> str:
    """The first clip's appropriate listeners, and what each row answered."""
    shown = [r for r in rows if r.example is not None and r.row.name != GROUND_TRUTH and not r.row.shuffled]
    if not shown:
        return ""
    figure, axes = _figure(len(shown), len(_SHOWN), (11, 1.25 * len(shown) + 0.5), sharex=True, sharey="col")
    for line, r in zip(axes, shown, strict=True):
        e = r.example
        assert e is not None
        time = np.arange(e.real.shape[1]) / FPS
        for axis, name in zip(line, _SHOWN, strict=True):
            channel = ATTRIBUTE_INDEX[name]
            if len(e.real):
                low, high = e.real[:, :, channel].min(axis=0), e.real[:, :, channel].max(axis=0)
                axis.fill_between(time, low, high, color="#e4e4e4", lw=0)
                axis.plot(time, e.real[:, :, channel].mean(axis=0), color=_REAL, lw=1)
            axis.plot(time, e.reaction[:, channel], color=_INK, lw=0.9)
            axis.margins(x=0)
        line[0].set_ylabel(r.row.label, fontsize=7, rotation=0, ha="right", va="center")
    for axis, name in zip(axes[0], _SHOWN, strict=True):
        axis.set_title(name, fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("s", fontsize=8)
    return _svg(figure)


def timing_plot(summary: Summary) -> str:
    """Each row's timing against the published bands."""
    if not summary.rows:
        return ""
    figure, axes = _figure(1, len(_TIMED), (11, 0.8 + 0.3 * len(summary.rows)), sharey=True)
    for axis, name in zip(axes[0], _TIMED, strict=True):
        band = BANDS[name]
        axis.axvspan(band.low, band.high, color=_PALE, lw=0)
        for y, r in enumerate(summary.rows):
            m = next((m for m in timing_rows(summary, r) if m.name == name), None)
            if m is None or m.value is None:
                axis.text(band.low, y, "not measurable", fontsize=6, color=_REAL, va="center")
                continue
            if m.low is not None and m.high is not None:
                axis.plot([m.low, m.high], [y, y], color=_INK, lw=1)
            axis.plot(m.value, y, "o", ms=4, color=_INK if m.inside else _ACCENT)
            axis.set_xlabel(m.unit, fontsize=8)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0, 0].set_yticks(range(len(summary.rows)), [r.row.label for r in summary.rows])
    axes[0, 0].invert_yaxis()
    return _svg(figure)


STYLE = """<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem; margin-bottom: .3rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
svg { width: 100%; height: auto }
table { border-collapse: collapse; width: 100%; font-size: .88rem } th { text-align: left; font-weight: 500 }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #e5e5e5; vertical-align: top }
td { font-variant-numeric: tabular-nums } small { display: block; color: #777; white-space: nowrap }
.numbers td, .numbers thead th:not(:first-child) { text-align: right }
.notice { background: #fff6e5; border-left: 4px solid #e8a33d; padding: .5rem .8rem; margin: .5rem 0 }
.apart { background: #f5f5f5; padding: .2rem 1rem 1rem; border-radius: 8px; margin-top: 2.5rem }
summary { cursor: pointer; padding: .25rem 0 }
</style>"""
"""Of every page with tables and plots."""

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Evaluation</title>
<meta name="viewport" content="width=device-width">
{style}
<h1>How appropriate, varied and timely are the reactions?</h1>
{notices}
<table>{facts}</table>
<h2>Measured, by the challenge's own definitions</h2>
<p>Mode <code>official</code>, every quirk of the challenge's code included: FRSyn is of the first sample only, and 49
wherever a channel stands still in either face; a channel that stands still scores 0 in FRCorr, so that even the ground
truth does not reach 10. <code>another_listener</code> is the ceiling: real listeners who heard a like speaker, each
held against the others only.</p>
{official}
{bars}
<p>Grey: the ceiling. Orange: the same generator hearing another clip's speaker.</p>
<h2>Does it listen?</h2>
{listens}
<h2>Measured, by the sound definitions</h2>
<p>Mode <code>sound</code>: all samples count, channels that stand still are left out where they say nothing, and
nothing is cut silently.</p>
{sound}
<h2>Realism and variety</h2>
<p>FRRea-motion is a Fréchet distance of our own between windows of 2 s of real and generated attributes; FID and FVD
are over pictures of our avatar, where the networks were given, and do not compare with published FRRea. “Told from
real” is the accuracy of a classifier on people it has not seen: 0.5 means that it cannot tell. DivC, DivF, S-MSE
and TLCC are ReactFace's, on the 58 coefficients.</p>
{more}
<h2>When reactions are closest to the speaker's own face</h2>
{offsets}
<h2>One clip</h2>
<p>Grey: all appropriate listeners, range and mean. Blue: the row's first sample.</p>
{example}
<h2>Human timing</h2>
<p>Median and quartiles; blue bands: what is published of people. Orange: outside.</p>
{timing_plot}
{timing}
<div class=apart><h2>Printed in papers</h2>
<p>{source}. They compare with the rows above only where those were measured on the same data.</p>
{published}</div>
</html>
"""
