"""The one-page report of the demo: what it answered, motion of human and avatar, latency, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from react_ros import pages
from react_ros.evaluation.behaviour.responsiveness import Moment, Responsiveness
from react_ros.evaluation.metrics.latency import LatencyReport
from react_ros.evaluation.report.figures import latency_table
from react_ros.evaluation.report.plots import svg
from react_ros.evaluation.report.responsiveness_page import gate_table, moment_table

Series = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """One face over time."""

    time: Series
    """(n,) s from the session's start."""
    smile: Series
    """(n,) mean of mouthSmileLeft and mouthSmileRight, 0 to 1."""
    rotation: Series
    """(n, 3) rad: pitch, yaw, roll."""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """The content of the page."""

    title: str
    human: FaceTrack
    avatar: FaceTrack
    speech: tuple[Series, Series]
    """(n,) s and (n,) speech probability."""
    latency: LatencyReport
    states: Mapping[str, int]
    """Number of outputs in each state."""
    facts: Sequence[tuple[str, str]]
    """Further (name, value) rows, e.g. generator and machine."""
    notices: Sequence[str]
    """Sentences on sources and on what is simulated or derived."""
    files: Sequence[tuple[str, str]]
    """(file name beside the page, description)."""
    film: str = ""
    """Name of the film beside the page; empty: none."""
    answers: tuple[Responsiveness, Sequence[Moment]] | None = None
    """Responsiveness and moments of the session; None: it was too short."""


def write_page(facts: SessionFacts) -> str:
    """The HTML page; of other files, it shows only the film."""
    outputs = max(sum(facts.states.values()), 1)
    states = ", ".join(f"{name} {100 * n / outputs:.1f} %" for name, n in facts.states.items() if n)
    latency = facts.latency
    answered = f"{latency.answered} of {latency.frames} ({100 * latency.answered_share:.1f} %)"
    return pages.render(
        "demo.html.j2",
        title=facts.title,
        film=facts.film,
        gate=None if facts.answers is None else gate_table([("this session", facts.answers[0])]),
        moments=None if facts.answers is None else moment_table(facts.answers[1]),
        notices=[sentence for sentence in facts.notices if sentence],
        plot=_plot(facts),
        latency=latency_table(latency),
        facts=[
            ("frames of the human answered", answered),
            ("outputs", f"{latency.outputs}, of them {states}"),
            ("jitter of the output", f"{latency.jitter_p99:.1f} ms from 40 ms at the 99th percentile"),
            *facts.facts,
        ],
        files=facts.files,
    )


def _plot(facts: SessionFacts) -> Markup:
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
        for track, line in ((facts.human, human), (facts.avatar, avatar)):
            degrees = np.degrees(track.rotation[:, column]) if len(track.rotation) else track.time
            axis.plot(track.time, degrees - np.median(degrees) if len(degrees) else degrees, **line)
        axis.set_ylabel(f"head {name} (°)")
    axes[3].fill_between(*facts.speech, color="#888888", linewidth=0)
    axes[3].set_ylabel("speech")
    axes[3].set_ylim(0, 1)
    axes[3].set_xlabel("time (s); head angles from each one's median, chin down and own left positive")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
    return svg(figure)
