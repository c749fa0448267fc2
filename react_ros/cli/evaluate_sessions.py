"""`react-ros evaluate --bag`: recorded sessions to numbers, a table, a report and films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from react_ros.cli.progress import progress_display
from react_ros.cli.terminal import fail, plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.bags.participants import Choice
    from react_ros.evaluation.sessions.results import BagResult, SessionsEvaluation, SessionsPlan


def evaluate_bags(
    bags: list[Path], texts: list[str], choice: Choice, asked: SessionsPlan, out: Path, films: bool
) -> None:
    """Evaluate and write into `out`. Raises ValueError or OSError; a bag's sentence ends it with exit code 2."""

    from react_ros.bags.errors import BagError
    from react_ros.evaluation.sessions.evaluate import evaluate_sessions
    from react_ros.evaluation.sessions.page import write_bag_report
    from react_ros.evaluation.sessions.results import write_results
    from react_ros.evaluation.sessions.sources import parse_bag_row
    from react_ros.io import atomic_write
    from react_ros.machine import describe_machine

    rows = [parse_bag_row(text) for text in texts]
    if (out / "plan.json").exists():
        raise ValueError(f"{out} holds an evaluation of a corpus: choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    with progress_display() as shown:

        def tell(what: str, done: int, total: int) -> None:
            unit = 1_000_000_000 if total > 1_000_000_000 else 1  # progress in bags is in ns
            shown.update(what, done // unit, max(total // unit, 1))

        try:
            result = evaluate_sessions(bags, rows, choice, asked, films=out / "films" if films else None, progress=tell)
        except BagError as error:
            raise fail(error) from None
    write_results(result, out / "results.json")
    page = write_bag_report(result, describe_machine()).encode()
    atomic_write(out / "report.html", page)
    console = plain_console()
    _print(console, result)
    console.print(f"\nfigures: {out / 'results.json'}\nreport:  {out / 'report.html'}", markup=False, soft_wrap=True)
    if films:
        console.print(f"films:   {out / 'films'}", markup=False, soft_wrap=True)


def _print(console: Console, result: SessionsEvaluation) -> None:
    from react_ros.cli.scores import print_tables

    for sentence in (*result.notices, *(f"left out: {sentence}" for sentence in result.left_out)):
        console.print(sentence, markup=False)
    print_tables(console, result.summary)
    failed = [f"{r.row.label}: {sentence}" for r in result.rows for sentence in r.failed]
    for sentence in failed[:10]:
        console.print(f"not scored: {sentence}", markup=False)
    if len(failed) > 10:
        console.print(f"… and {len(failed) - 10} more (results.json lists all)")
    for b in result.bags:
        console.print(_about(b), markup=False)
        for notice in b.session.notices:
            console.print(f"  {notice}", markup=False)


def _about(b: BagResult) -> str:
    """One line on a bag."""
    said = [f"{b.session.seconds:.1f} s", f"{len(b.clips)} clip{'s' * (len(b.clips) != 1)}"]
    if b.left_over:
        said.append(f"{b.left_over:.1f} s left over")
    said.append("no human listener" if b.listener_seen is None else f"listener seen in {100 * b.listener_seen:.0f} %")
    if (answers := b.health.answers) is not None:
        said.append(f"{answers.unanswered} of {answers.frames} frames unanswered")
    if (latency := b.health.latency) is not None and latency.total is not None:
        said.append(f"latency {latency.total.p50:.0f} ms, p95 {latency.total.p95:.0f} ms")
    if b.health.gaps:
        said.append(f"{len(b.health.gaps)} gaps")
    return f"{b.session.path}: {', '.join(said)}"
