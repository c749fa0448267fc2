"""`react-ros evaluate --bag`: recorded sessions to figures, a table on the terminal, a report and films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from react_ros.cli.progress import progress_display
from react_ros.cli.terminal import fail, lost_sensors, plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.bags.participants import TopicChoice
    from react_ros.evaluation.sessions.results import BagResult, SessionEvaluation, SessionOptions


OPTIONS = frozenset({
    "features", "image", "audio", "listener_features", "listener_image", "listener_audio", "films", "audio_rate",
    "audio_channels",
})  # fmt: skip
"""Options that apply to recorded sessions only."""


def refuse_without_bags(given: set[str]) -> None:
    """Raise ValueError, in one sentence, where an option of recorded sessions is given without --bag."""
    if wrong := sorted(given & OPTIONS):
        raise ValueError(f"--{wrong[0].replace('_', '-')} applies to recorded sessions: it needs --bag")


def evaluate_bags(
    bags: list[Path], rows: list[str], choice: TopicChoice, options: SessionOptions, out: Path, films: bool
) -> None:
    """Evaluate bags into the folder `out`, and print the figures.

    Raises ValueError or OSError; where no bag can be read, exits with its sentence and code 2.
    """
    from react_ros.bags.errors import BagError
    from react_ros.evaluation.report.sessions_page import write_sessions_report
    from react_ros.evaluation.sessions.evaluate import evaluate_sessions
    from react_ros.evaluation.sessions.results import write_results
    from react_ros.evaluation.sessions.sources import parse_session_row
    from react_ros.io import atomic_write
    from react_ros.machine import describe_machine

    parsed = [parse_session_row(text) for text in rows]
    if (out / "plan.json").exists():
        raise ValueError(f"{out} holds an evaluation of a corpus: choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    with progress_display() as shown:

        def report(what: str, done: int, total: int) -> None:
            unit = 1_000_000_000 if total > 1_000_000_000 else 1  # progress in bags is in ns
            shown.update(what, done // unit, max(total // unit, 1))

        try:
            result = evaluate_sessions(
                bags, parsed, choice, options, films=out / "films" if films else None, progress=report
            )
        except BagError as error:
            raise fail(error) from None
    write_results(result, out / "results.json")
    page = write_sessions_report(result, describe_machine()).encode()
    atomic_write(out / "report.html", page)
    console = plain_console()
    _print(console, result)
    console.print(f"\nfigures: {out / 'results.json'}\nreport:  {out / 'report.html'}", markup=False, soft_wrap=True)
    if films:
        console.print(f"films:   {out / 'films'}", markup=False, soft_wrap=True)
    lost_sensors([f"{b.session.path}: {sentence}" for b in result.bags for sentence in b.session.lost])


def _print(console: Console, result: SessionEvaluation) -> None:
    from react_ros.cli.scores import print_tables

    for sentence in (*result.notices, *(f"left out: {sentence}" for sentence in result.left_out)):
        console.print(sentence, markup=False)
    print_tables(console, result.summary)
    failed = [f"{r.row.label}: {sentence}" for r in result.rows for sentence in r.failed]
    for sentence in failed[:10]:
        console.print(f"not scored: {sentence}", markup=False)
    if len(failed) > 10:
        console.print(f"… and {len(failed) - 10} more (all are in results.json)")
    for b in result.bags:
        console.print(_bag_line(b), markup=False)
        for notice in b.session.notices:
            console.print(f"  {notice}", markup=False)


def _bag_line(b: BagResult) -> str:
    """One line about a bag."""
    parts = [f"{b.session.seconds:.1f} s", f"{len(b.clips)} clip{'s' * (len(b.clips) != 1)}"]
    if b.left_over:
        parts.append(f"{b.left_over:.1f} s left over")
    parts.append("no human listener" if b.listener_seen is None else f"listener seen in {100 * b.listener_seen:.0f} %")
    if (answers := b.health.answers) is not None:
        parts.append(f"{answers.unanswered} of {answers.frames} frames unanswered")
    if (latency := b.health.latency) is not None and latency.total is not None:
        parts.append(f"latency {latency.total.p50:.0f} ms, p95 {latency.total.p95:.0f} ms")
    if b.health.gaps:
        parts.append(f"{len(b.health.gaps)} gaps")
    return f"{b.session.path}: {', '.join(parts)}"
