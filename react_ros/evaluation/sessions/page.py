"""The evaluation of recorded sessions as one HTML page."""

from __future__ import annotations

import html
from collections.abc import Iterable

from react_ros.evaluation.report.corpora_page import (
    STYLE,
    bars,
    examples,
    listens,
    metric_table,
    more_table,
    offsets,
    timing_plot,
    timing_table,
)
from react_ros.evaluation.report.demo_page import latency_table
from react_ros.evaluation.sessions.clips import LEAST_SEEN
from react_ros.evaluation.sessions.health import Health, Rate
from react_ros.evaluation.sessions.results import BagResult, SessionsEvaluation


def write_bag_report(a: SessionsEvaluation, machine: str = "") -> str:
    """The whole page; it needs no other file but the films. machine: what it was made on."""
    rows, summary = a.rows, a.summary
    listened = sum(b.listener_seen is not None for b in a.bags)
    facts = [
        ("bags", f"{len(a.bags)}, {sum(b.session.seconds for b in a.bags) / 60:.1f} minutes in all"),
        ("clips", f"{summary.clips} of at most {a.asked.frames / 25:g} s"),
        ("human listener", f"in {listened} of {len(a.bags)} bags" if listened else "in no bag: nothing to hold "
         "reactions against, so that FRCorr, FRDist, FRRea-motion and “told from real” are not known"),
        ("generators", f"{a.asked.samples} samples, seed {a.asked.seed}; one stream a bag, as live"),
        ("action units", "rounded (binarized) before anything is measured" if a.asked.binarize else "as generated"),
        ("intervals", "95 %, bootstrap over bags; of fewer than 5 bags, none"),
        ("made by", f"react-ros evaluate --bag{f', {machine}' if machine else ''}"),
    ]  # fmt: skip
    notices = [f"left out: {sentence}" for sentence in a.left_out] + a.notices
    failed = [f"{r.row.label}: {sentence}" for r in rows for sentence in r.failed]
    if failed:
        notices.append(f"{len(failed)} clips of single rows could not be scored: {failed[0]}")
    return _PAGE.format(
        style=STYLE,
        notices=_notices(notices),
        facts=_facts(facts),
        official=metric_table(rows, lambda r, m: r.official[m]),
        sound=metric_table(rows, lambda r, m: r.sound[m]),
        bars=bars(summary) if a.with_listener else "",
        seen=round(100 * LEAST_SEEN),
        listens=f"<h2>Does it listen?</h2>{listens(summary)}" if summary.gaps else "",
        more=more_table(rows),
        timing_plot=timing_plot(summary),
        timing="".join(timing_table(summary, r) for r in rows),
        offsets=offsets(rows),
        example=examples(rows),
        bags="".join(_bag(b) for b in a.bags),
    )


def _notices(sentences: Iterable[str]) -> str:
    return "".join(f"<p class=notice>{html.escape(s)}</p>" for s in sentences)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><th>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in facts) + "</table>"


def _bag(b: BagResult) -> str:
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
    latency = "" if h.latency is None else latency_table(h.latency)  # from the lineage on the wire
    return (
        f"<h2>{html.escape(str(s.path))}</h2>{_notices(s.notices)}{_films(b)}"
        f"{metric_table(b.summary.rows, lambda r, m: r.official[m])}"
        f"<h3>As it was recorded</h3>{_facts(facts)}{latency}{_rates(h.rates)}"
    )


def _listener(b: BagResult) -> str:
    if b.session.listener_inputs is None or b.listener_seen is None:
        return "none"
    inputs = b.session.listener_inputs
    return f"{inputs.features or inputs.image}: seen in {100 * b.listener_seen:.0f} % of the clips"


def _recorded(b: BagResult) -> str:
    reactions = b.session.reactions
    if reactions is None:
        return "none"
    names = ", ".join(dict.fromkeys(f"{x.generator}, seed {x.seed}" for x in reactions.streams)) or "of an unknown one"
    delay = int(reactions.delays.max())
    return f"{reactions.topic}: {len(reactions.frames)} of {names}" + (f"; delayed by {delay} frames" if delay else "")


def _health(h: Health) -> list[tuple[str, str]]:
    longest = max((length for _, length in h.gaps), default=0.0)
    out = [("gaps in the speaker's frames", f"{len(h.gaps)}, the longest of {longest:.2f} s" if h.gaps else "none")]
    if h.answers is not None:
        a = h.answers
        run = f", at most {a.longest} in a row" if a.unanswered else ""
        out.append(("frames that no reaction answered", f"{a.unanswered} of {a.frames}{run}"))
        if a.rejected:
            out.append(("reactions that fail validation", str(a.rejected)))
    if h.late_chunks is not None:
        out.append(("late plans", str(h.late_chunks)))
    if h.dropped:
        out.append(("speaker's messages dropped", "; ".join(f"{n}: {why}" for why, n in h.dropped.items())))
    if h.latency is not None:
        states = ", ".join(f"{100 * n / h.latency.outputs:.1f} % {name}" for name, n in h.states.items())
        out.append(("the face's outputs", f"{h.latency.outputs}: {states}"))
        out.append(("jitter of the output", f"{h.latency.jitter_p99:.1f} ms from 40 ms at the 99th percentile"))
    if h.not_written:
        out.append(("not written by the recorder", "; ".join(f"{n}: {why}" for why, n in h.not_written.items())))
    counted = [f"{n} {name} ({node})" for node, c in h.counted.items() for name, n in c.items() if n]
    return [*out, ("counted by the nodes", ", ".join(counted) or "nothing amiss")] if h.diagnosed else out


def _films(b: BagResult) -> str:
    out = ""
    for row, film in b.films.items():
        if film.startswith("none: "):
            out += f"<p>{html.escape(row)}: no film, {html.escape(film.removeprefix('none: '))}</p>"
        else:
            out += f'<video controls preload=metadata src="{html.escape(film)}"></video>'
    return f"<div class=films>{out}</div>" if out else ""


def _rates(rates: Iterable[Rate]) -> str:
    body = "".join(
        f"<tr><th>{html.escape(r.topic)}</th><td>{r.messages}</td>"
        f"<td>{'–' if r.hertz is None else f'{r.hertz:.2f}'}</td>"
        f"<td>{'–' if r.longest_pause is None else f'{1e3 * r.longest_pause:.0f}'}</td></tr>"
        for r in rates
    )
    head = "".join(f"<th>{c}</th>" for c in ("topic", "messages", "Hz", "longest pause (ms)"))
    return (
        f"<details><summary>How often messages came</summary><table class=numbers><thead><tr>{head}</tr></thead>"
        f"{body}</table></details>"
    )


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Evaluation of recorded sessions</title>
<meta name="viewport" content="width=device-width">
{style}
<style>
video {{ width: 100%; border-radius: 8px }}
.films {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: .8rem; margin: .8rem 0 }}
h3 {{ font-size: 1rem; margin-top: 1.4rem }} .latency {{ margin-top: 1.2rem }}
.latency td, .latency thead th:not(:first-child) {{ text-align: right }}
</style>
<h1>How did the face listen in these sessions?</h1>
{notices}
{facts}
<h2>Held against the human who listened, by the challenge's own definitions</h2>
<p>Mode <code>official</code>. The one appropriate listener of a clip is the human who was recorded with it, moment by
moment by the stamps; clips in which they are seen in less than {seen} % are left out of FRCorr and FRDist. FRDiv is 0
where there is one sample; FRDvs is between clips, and over the length of the shortest.</p>
{official}
{bars}
<h2>By the sound definitions</h2>
{sound}
{listens}
<h2>Realism and variety</h2>
<p>“Told from real” needs two bags or more: it is asked about people it has not seen.</p>
{more}
<h2>Human timing</h2>
<p>Median and quartiles; blue bands: what is published of people. Orange: outside.</p>
{timing_plot}
{timing}
<h2>When reactions are closest to the speaker's own face</h2>
{offsets}
<h2>One clip</h2>
<p>Grey: the human who listened, where there was one. Blue: the row's first sample.</p>
{example}
{bags}
</html>
"""
