"""One page on a recorded session: who moved how, and how quickly the face answered."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.metrics.latency import STAGES, Distribution, LatencyReport

Series = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Track:
    """One face over time."""

    time: Series
    """(n,) s from the session's start."""
    smile: Series
    """(n,) mean of mouthSmileLeft and mouthSmileRight, 0 to 1."""
    rotation: Series
    """(n, 3) rad: pitch, yaw, roll."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What the page says."""

    title: str
    human: Track
    avatar: Track
    speech: tuple[Series, Series]
    """(n,) s and (n,) speech probability."""
    latency: LatencyReport
    states: Mapping[str, int]
    """How many outputs were in each state."""
    facts: Sequence[tuple[str, str]]
    """Further rows: what was used, on which machine."""
    notices: Sequence[str]
    """What a reader must know: sources, what is simulated or derived."""
    files: Sequence[tuple[str, str]]
    """(file name beside the page, what it is)."""
    film: str = ""
    """Name of the film beside the page, shown at its top."""


def write_page(facts: SessionFacts) -> str:
    """The HTML page, whole in itself but for the film."""
    outputs = max(sum(facts.states.values()), 1)
    states = ", ".join(f"{name} {100 * n / outputs:.1f} %" for name, n in facts.states.items() if n)
    summary = [
        ("frames of the human answered", f"{facts.latency.answered} of {facts.latency.frames}"
         f" ({100 * facts.latency.answered_share:.1f} %)"),
        ("outputs", f"{facts.latency.outputs}, of them {states}"),
        ("jitter of the output", f"{facts.latency.jitter_p99:.1f} ms from 40 ms at the 99th percentile"),
        *facts.facts,
    ]  # fmt: skip
    film = f'<video controls src="{html.escape(facts.film)}"></video>' if facts.film else ""
    return _PAGE.format(
        title=html.escape(facts.title),
        film=film,
        notices="".join(f"<p class=notice>{html.escape(n)}</p>" for n in facts.notices if n),
        plot=_plot(facts),
        latency=latency_table(facts.latency),
        summary="".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in summary),
        files="".join(
            f'<li><a href="{html.escape(f)}">{html.escape(f)}</a> {html.escape(w)}</li>' for f, w in facts.files
        ),
    )


def latency_table(latency: LatencyReport) -> str:
    """Where the time goes, as an HTML table."""
    rows = [("sensor stamp to face message", latency.total)]
    rows += [(STAGES[name], d) for name, d in latency.stages.items()]
    rows += [("between two outputs", latency.interval)]
    body = "".join(_latency_row(name, d) for name, d in rows)
    head = "".join(f"<th>{c}</th>" for c in ("stage (ms)", "p50", "p95", "p99", "frames"))
    return f"<table class=latency><thead><tr>{head}</tr></thead>{body}</table>"


def _latency_row(name: str, d: Distribution | None) -> str:
    if d is None:
        return f"<tr><th>{html.escape(name)}</th><td colspan=4>none measured</td></tr>"
    cells = "".join(f"<td>{v:.1f}</td>" for v in (d.p50, d.p95, d.p99))
    return f"<tr><th>{html.escape(name)}</th>{cells}<td>{d.count}</td></tr>"


def _plot(facts: SessionFacts) -> str:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(4, 1, figsize=(11, 8.4), sharex=True, height_ratios=[3, 2, 2, 1], layout="constrained")
    human, avatar = {"color": "#c1592b", "label": "human"}, {"color": "#2b6cc1", "label": "avatar"}
    axes[0].plot(facts.human.time, facts.human.smile, **human)
    axes[0].plot(facts.avatar.time, facts.avatar.smile, **avatar)
    axes[0].set_ylabel("smile (0 to 1)")
    axes[0].legend(loc="upper right", frameon=False, ncols=2)
    for axis, column, name in ((axes[1], 0, "pitch: nods"), (axes[2], 1, "yaw: turns")):
        for track, style in ((facts.human, human), (facts.avatar, avatar)):
            degrees = np.degrees(track.rotation[:, column]) if len(track.rotation) else track.time
            axis.plot(track.time, degrees - np.median(degrees) if len(degrees) else degrees, **style)
        axis.set_ylabel(f"head {name} (°)")
    axes[3].fill_between(*facts.speech, color="#888888", linewidth=0)
    axes[3].set_ylabel("speech")
    axes[3].set_ylim(0, 1)
    axes[3].set_xlabel("time (s); head angles from each one's median, chin down and own left positive")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
h1 {{ font-size: 1.6rem; margin-bottom: .3rem }} h2 {{ font-size: 1.15rem; margin-top: 2rem }}
video, svg {{ width: 100%; height: auto; border-radius: 8px }}
table {{ border-collapse: collapse; width: 100% }} th {{ text-align: left; font-weight: 500 }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid #e5e5e5 }} td {{ font-variant-numeric: tabular-nums }}
.latency td, .latency thead th:not(:first-child) {{ text-align: right }}
.notice {{ background: #fff6e5; border-left: 4px solid #e8a33d; padding: .5rem .8rem; margin: .5rem 0 }}
</style>
<h1>{title}</h1>
{film}
{notices}
<h2>Smile and head motion of both</h2>
{plot}
<h2>Latency, from the lineage on the wire</h2>
{latency}
<h2>The session</h2>
<table>{summary}</table>
<h2>Files</h2>
<ul>{files}</ul>
</html>
"""
