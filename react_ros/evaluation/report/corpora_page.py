"""The evaluation of a corpus as one HTML page: measured rows, plots, human timing, and printed rows set apart."""

from __future__ import annotations

from react_ros import pages
from react_ros.evaluation.corpora.published import SOURCE
from react_ros.evaluation.corpora.summary import Summary
from react_ros.evaluation.report import figures, plots


def write_report(summary: Summary, machine: str = "") -> str:
    """The whole page, without references to other files. machine: description of the machine that made it."""
    plan = summary.plan
    facts = [
        ("corpus", f"{plan['corpus']}, {plan['split']} split"),
        ("clips", f"{summary.clips}, with {summary.neighbours:.1f} appropriate listeners each on average"),
        ("protocol", f"{plan['protocol']}, {plan['samples']} samples per clip, seed {plan['seed']}"),
        ("action units", "rounded (binarized) before all metrics" if plan["binarize"] else "as generated"),
        ("intervals", f"95 %, bootstrap over {summary.groups} groups of clips that share appropriate listeners"),
        ("made by", f"react-ros evaluate{f', {machine}' if machine else ''}"),
    ]
    return pages.render(
        "corpora.html.j2",
        notices=[n for n in (summary.notice, _left_out(summary)) if n],
        facts=facts,
        official=figures.official(summary),
        bars=plots.bars(summary),
        gaps=figures.gaps(summary),
        corrected=figures.corrected(summary),
        realism=figures.realism(summary.rows),
        offsets=plots.offsets(summary.rows),
        example=plots.examples(summary.rows),
        timing_plot=plots.timing_plot(summary),
        timing=figures.timing_tables(summary),
        source=SOURCE,
        published=figures.published_table(summary.published),
    )


def _left_out(summary: Summary) -> str:
    sentences = []
    if summary.problems:
        sentences.append(f"{len(summary.problems)} clips could not be used: {summary.problems[0]} …")
    failed = [sentence for row in summary.rows for sentence in row.failed]
    if failed:
        sentences.append(f"{len(failed)} clips of single rows could not be scored: {failed[0]} …")
    return " ".join(sentences)
