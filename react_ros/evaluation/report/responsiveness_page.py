"""The responsiveness of systems before real speakers: tables, plots, one HTML page, one Markdown table."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from react_ros import pages
from react_ros.evaluation.behaviour.responsiveness import (
    CONDITIONS,
    FIGURES,
    OWN,
    TARGETS,
    UNITS,
    Moment,
    Responsiveness,
    Target,
    Verdict,
)
from react_ros.evaluation.metrics.intervals import Value
from react_ros.evaluation.report.plots import ACCENT, INK, PALE, REAL, axes_grid, svg
from react_ros.evaluation.responsiveness.clips import SpeakerClip
from react_ros.evaluation.responsiveness.run import Options, RowResult
from react_ros.face import FPS
from react_ros.pages import Cell, Table

_CONTRASTED = (
    "smile gain", "smile correlation", "onsets answered", "smiles held", "pauses answered", "nods a minute",
    "blinks a minute", "mean smile", "motion energy",
)  # fmt: skip
_DIGITS = {"frown at smiles": 3, "smile at distress": 3, "motion energy": 1}


def digits(figure: str) -> int:
    """Decimals of a figure."""
    return _DIGITS.get(figure, 1 if UNITS.get(figure) == "1/min" else 2)


def _number(value: Value | None, figure: str) -> str:
    return "–" if value is None or not math.isfinite(value.mean) else f"{value.mean:.{digits(figure)}f}"


def _cell(value: Value | None, figure: str, verdict: str = "") -> Cell:
    small = verdict
    if value is not None and value.low is not None and value.high is not None:
        interval = f"{value.low:.{digits(figure)}f} to {value.high:.{digits(figure)}f}"
        small = f"{interval}; {verdict}" if verdict else interval
    return Cell(_number(value, figure), small)


def verdict_word(verdict: Verdict) -> str:
    """ "met", "not met" or "not measurable"."""
    return "not measurable" if verdict.met is None else "met" if verdict.met else "not met"


def gate_table(results: Sequence[tuple[str, Responsiveness]]) -> Table:
    """Every target with each row's figure, its interval, and whether it is met. results: label and result of each."""
    body = []
    for target in TARGETS:
        if not any(target.condition in r.conditions for _, r in results):
            continue
        each = [Verdict(target, r.figure(target.figure, target.condition)) for _, r in results]
        cells = [_cell(v.value, target.figure, verdict_word(v)) for v in each]
        body.append([each[0].name, target.text, *cells])
    counts = []
    for _, r in results:
        verdicts = [v for v in r.verdicts() if v.met is not None]
        counts.append(Cell(f"{sum(bool(v.met) for v in verdicts)} of {len(verdicts)}", f"score {r.score:.2f}"))
    return Table(["", "target", *(label for label, _ in results)], [*body, ["targets met", "", *counts]])


def figure_table(result: Responsiveness) -> Table:
    """Every figure of one row: before the own speaker, then in each other condition."""
    others = [c for c in result.conditions if c != OWN]
    body = []
    for figure, what in FIGURES.items():
        cells = [_cell(result.figure(figure, c), figure) for c in (OWN, *others)]
        body.append([f"{figure} ({UNITS[figure]})" if figure in UNITS else figure, *cells, what])
    return Table(["", OWN, *others, "what it is"], body)


def contrast_table(result: Responsiveness) -> Table:
    """What the same listener does in each condition, and how much lower that is than before the own speaker."""
    others = [c for c in result.conditions if c != OWN]
    body = []
    for figure in _CONTRASTED:
        cells: list[str | Cell] = [Cell(_number(result.figure(figure), figure))]
        for c in others:
            drop = result.drop(figure, c)
            cells.append(Cell(_number(result.figure(figure, c), figure), "" if drop is None else _fall(drop, figure)))
        body.append([figure, *cells])
    return Table(["", "own speaker", *others], body)


def _fall(drop: Value, figure: str) -> str:
    n = digits(figure)
    interval = "" if drop.low is None else f" ({drop.low:.{n}f} to {drop.high:.{n}f})"
    return f"lower by {drop.mean:.{n}f}{interval}"


def seed_table(result: Responsiveness) -> Table:
    """The figures with targets, seed by seed."""
    by_seed = result.to_dict()["by_seed"]
    names = list(dict.fromkeys(name for values in by_seed.values() for name in values))
    rows = [[f"seed {s}", *(f"{v[n]:.{digits(n)}f}" if n in v else "–" for n in names)] for s, v in by_seed.items()]
    return Table(["", *names], rows)


def moment_table(moments: Sequence[Moment]) -> Table:
    """What the speaker did, what the listener did, and how late."""
    rows = [
        [f"{m.time:.1f}", m.speaker, m.listener or "no answer", "–" if m.delay is None else f"{m.delay:.2f}"]
        for m in moments
    ]
    return Table(["s", "the speaker", "the listener", "s later"], rows)


def markdown(results: Sequence[tuple[str, Responsiveness]]) -> str:
    """The targets as a Markdown table, a row a system."""
    targets = [t for t in TARGETS if all(t.condition in r.conditions for _, r in results)]
    names = [Verdict(t, None).name for t in targets]
    lines = ["| | " + " | ".join(f"{n} ({t.text})" for n, t in zip(names, targets, strict=True)) + " | met |"]
    lines.append("|---|" + "---:|" * (len(targets) + 1))
    for label, r in results:
        verdicts = [Verdict(t, r.figure(t.figure, t.condition)) for t in targets]
        cells = [_in_words(v) for v in verdicts]
        measured = [v for v in verdicts if v.met is not None]
        lines.append(f"| {label} | " + " | ".join(cells) + f" | {sum(bool(v.met) for v in measured)}/{len(measured)} |")
    return "\n".join(lines) + "\n"


def _in_words(v: Verdict) -> str:
    """A figure with its interval; bold where the target is met."""
    text = _number(v.value, v.target.figure)
    if v.met:
        text = f"**{text}**"
    if v.value is not None and v.value.low is not None:
        n = digits(v.target.figure)
        text += f" ({v.value.low:.{n}f} to {v.value.high:.{n}f})"
    return text


def target_bars(results: Sequence[tuple[str, Responsiveness]]) -> Markup:
    """A bar a row for every target, with its interval; pale: where the target is met."""
    columns = 4
    lines = -(-len(TARGETS) // columns)
    figure, axes = axes_grid(lines, columns, (11, lines * (0.7 + 0.26 * len(results))), sharey=True)
    for axis in axes.flat[len(TARGETS) :]:
        axis.set_visible(False)
    for axis, target in zip(axes.flat, TARGETS, strict=False):
        each = [r.figure(target.figure, target.condition) for _, r in results]
        for y, value in enumerate(each):
            if value is None:
                axis.text(0, y, "not measurable", fontsize=6, color=REAL, va="center")
                continue
            error = None if value.low is None else [[value.mean - value.low], [(value.high or 0.0) - value.mean]]
            error = None if error is None else np.maximum(error, 0.0)
            color = INK if target.met(value.mean) else ACCENT
            axis.barh(y, value.mean, 0.62, color=color, xerr=error, error_kw={"ecolor": "#333333", "lw": 1})
        _shade(axis, target)
        axis.set_title(Verdict(target, None).name, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_yticks(range(len(results)), [label for label, _ in results])
    axes[0, 0].invert_yaxis()
    return svg(figure)


def _shade(axis, target: Target) -> None:
    low, high = axis.get_xlim()
    ends = [e for e in (target.low, target.high) if math.isfinite(e)]
    low, high = min(low, *ends, 0.0), max(high, *(1.15 * e for e in ends))
    axis.axvspan(max(target.low, low), min(target.high, high), color=PALE, lw=0, zorder=0)
    axis.set_xlim(low, high)


def smile_plot(clips: Sequence[SpeakerClip], row: RowResult) -> Markup:
    """The speaker's smile, and the listeners' (mean and range of the samples), over each clip."""
    shown = [c for c in clips if c.name in row.smiles]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure, axes = axes_grid(lines, columns, (11, 1.25 * lines + 0.3), sharey=True)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, clip in zip(axes.flat, shown, strict=False):
        step = max(len(clip.frames) // 400, 1)  # more points than pixels only make the page heavier
        time = np.arange(len(clip.frames))[::step] / FPS
        own = row.smiles[clip.name][:, ::step]
        axis.fill_between(time, own.min(axis=0), own.max(axis=0), color=PALE, lw=0)
        axis.plot(time, own.mean(axis=0), color=INK, lw=1)
        axis.plot(time, clip.track.smile[::step], color=ACCENT, lw=1)
        axis.set_title(clip.name, fontsize=7)
        axis.tick_params(labelsize=6)
        axis.set_ylim(0, 1)
        axis.margins(x=0)
    return svg(figure)


def write_page(
    rows: Sequence[RowResult], clips: Sequence[SpeakerClip], options: Options, source: str, notices: Sequence[str],
    machine: str = "",
) -> str:  # fmt: skip
    """The whole page; it shows no other file. source: where the clips come from. notices: sentences to show on top."""
    results = [(r.row.label, r.result) for r in rows]
    first = rows[0].result
    events = first.events
    facts = [
        ("clips", f"{source}: {events['clips']} of {events['people']} people, "
                  f"{sum(len(c.frames) for c in clips) / FPS / 60:.1f} minutes"),
        ("they hold", f"{events['onsets']} smile onsets, {events['long smiles']} smiles of 2 s or more, "
                      f"{events['pauses']} pauses, {events['frames of distress'] / FPS:.1f} s of distress"),
        ("listeners", f"{options.samples} samples, seeds {', '.join(map(str, options.seeds))}; other conditions than "
                      f"the own speaker with seed {options.seeds[0]}"),
        ("intervals", "95 %, bootstrap over people; none with fewer than 5 people who show what is measured"),
        ("made by", f"react-ros evaluate --responsiveness{f', {machine}' if machine else ''}"),
    ]  # fmt: skip
    return pages.render(
        "responsiveness.html.j2",
        notices=[*notices, *dict.fromkeys(r.info.notice for r in rows if r.info.notice)],
        facts=facts,
        gate=gate_table(results),
        bars=target_bars(results),
        conditions=list(CONDITIONS.items()),
        rows=[
            {
                "label": r.row.label,
                "contrasts": contrast_table(r.result),
                "smiles": smile_plot(clips, r),
                "figures": figure_table(r.result),
                "seeds": seed_table(r.result),
            }
            for r in rows
        ],
        left_out=list(first.notes),
    )
