"""The evaluation of recorded sessions as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from react_ros import pages
from react_ros.evaluation.report import figures, plots
from react_ros.evaluation.sessions.clips import LEAST_SEEN
from react_ros.evaluation.sessions.health import Health, Rate
from react_ros.evaluation.sessions.results import BagResult, SessionEvaluation
from react_ros.face import FPS
from react_ros.pages import Table


def write_sessions_report(evaluation: SessionEvaluation, machine: str = "") -> str:
    """The whole page; of other files, it shows only the films. machine: description of the machine that made it."""
    e, summary = evaluation, evaluation.summary
    with_listener = sum(b.listener_seen is not None for b in e.bags)
    without = "in no bag: FRCorr, FRDist, FRRea-motion and C2ST accuracy, which compare with one, are not known"
    facts = [
        ("bags", f"{len(e.bags)}, {sum(b.session.seconds for b in e.bags) / 60:.1f} minutes in all"),
        ("clips", f"{summary.clips} of at most {e.options.frames / FPS:g} s"),
        ("human listener", f"in {with_listener} of {len(e.bags)} bags" if with_listener else without),
        ("generators", f"{e.options.samples} samples, seed {e.options.seed}; one stream per bag, as live"),
        ("action units", "rounded (binarized) before all metrics" if e.options.binarize else "as generated"),
        ("intervals", "95 %, bootstrap over bags; none with fewer than 5 bags"),
        ("made by", f"react-ros evaluate --bag{f', {machine}' if machine else ''}"),
    ]
    notices = [f"left out: {sentence}" for sentence in e.left_out] + e.notices
    failed = [f"{r.row.label}: {sentence}" for r in e.rows for sentence in r.failed]
    if failed:
        notices.append(f"{len(failed)} clips of single rows could not be scored: {failed[0]}")
    return pages.render(
        "sessions.html.j2",
        notices=notices,
        facts=facts,
        least_seen=round(100 * LEAST_SEEN),
        official=figures.official(summary),
        bars=plots.bars(summary) if e.with_listener else "",
        corrected=figures.corrected(summary),
        gaps=figures.gaps(summary),
        realism=figures.realism(e.rows),
        timing_plot=plots.timing_plot(summary),
        timing=figures.timing_tables(summary),
        offsets=plots.offsets(e.rows),
        example=plots.examples(e.rows),
        bags=[_bag(b) for b in e.bags],
    )


def _bag(b: BagResult) -> dict[str, Any]:
    """The values of one bag's section."""
    s, h = b.session, b.health
    seen, heard = 100 * s.speaker.seen.mean(), 100 * s.speaker.heard.mean()
    topics = " and ".join(t for t in (s.inputs.features, s.inputs.image, s.inputs.audio) if t)
    facts = [
        ("length", f"{s.seconds:.1f} s; cut into {len(b.clips)}, from {b.clips[0][0]:g} to {b.clips[-1][1]:g} s"
         + (f", {b.left_over:.1f} s left over" if b.left_over else "")),
        ("speaker", f"{topics}: {len(s.speaker)} frames; face seen in {seen:.0f} %, sound in {heard:.0f} % of them"),
        ("human listener", _listener(b)),
        ("recorded reactions", _recorded(b)),
        *_health(h),
    ]  # fmt: skip
    prefix = "none: "
    return {
        "path": str(s.path),
        "notices": s.notices,
        "films": [film for film in b.films.values() if not film.startswith(prefix)],
        "no_films": [(row, film.removeprefix(prefix)) for row, film in b.films.items() if film.startswith(prefix)],
        "official": figures.official(b.summary),
        "facts": facts,
        "latency": None if h.latency is None else figures.latency_table(h.latency),
        "rates": _rates(h.rates),
    }


def _listener(b: BagResult) -> str:
    if b.session.listener_inputs is None or b.listener_seen is None:
        return "none"
    inputs = b.session.listener_inputs
    return f"{inputs.features or inputs.image}: seen in {100 * b.listener_seen:.0f} % of the clips"


def _recorded(b: BagResult) -> str:
    reactions = b.session.reactions
    if reactions is None:
        return "none"
    names = ", ".join(dict.fromkeys(f"{x.generator}, seed {x.seed}" for x in reactions.streams))
    delay = int(reactions.delays.max())
    text = f"{reactions.topic}: {len(reactions.frames)} of {names or 'an unknown generator'}"
    return text + (f"; delayed by {delay} frames" if delay else "")


def _health(h: Health) -> list[tuple[str, str]]:
    longest = max((length for _, length in h.gaps), default=0.0)
    out = [("gaps in the speaker's frames", f"{len(h.gaps)}, the longest {longest:.2f} s" if h.gaps else "none")]
    if h.answers is not None:
        a = h.answers
        run = f", at most {a.longest} in a row" if a.unanswered else ""
        out.append(("frames without a reaction", f"{a.unanswered} of {a.frames}{run}"))
        if a.rejected:
            out.append(("reactions that fail validation", str(a.rejected)))
    if h.late_chunks is not None:
        out.append(("late action chunks", str(h.late_chunks)))
    if h.dropped:
        out.append(("speaker's messages dropped", "; ".join(f"{n}: {reason}" for reason, n in h.dropped.items())))
    if h.latency is not None:
        states = ", ".join(f"{100 * n / h.latency.outputs:.1f} % {name}" for name, n in h.states.items())
        out.append(("the face's outputs", f"{h.latency.outputs}: {states}"))
        out.append(("jitter of the output", f"{h.latency.jitter_p99:.1f} ms from 40 ms at the 99th percentile"))
    if h.not_written:
        out.append(("not written by the recorder", "; ".join(f"{n}: {reason}" for reason, n in h.not_written.items())))
    losses = [f"{n} {name} ({node})" for node, c in h.counted.items() for name, n in c.items() if n]
    return [*out, ("losses counted by the nodes", ", ".join(losses) or "none")] if h.diagnosed else out


def _rates(rates: Iterable[Rate]) -> Table:
    return Table(
        ["topic", "messages", "Hz", "longest pause (ms)"],
        [
            [
                r.topic,
                str(r.messages),
                "–" if r.hertz is None else f"{r.hertz:.2f}",
                "–" if r.longest_pause is None else f"{1e3 * r.longest_pause:.0f}",
            ]
            for r in rates
        ],
    )
