"""`react-ros evaluate` on a corpus: rows to figures, a table on the terminal and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from react_ros.cli.progress import progress
from react_ros.cli.terminal import plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.evaluation.corpora.paper_tables import RunnableTable
    from react_ros.evaluation.corpora.plan import Plan
    from react_ros.evaluation.corpora.summary import Summary

OPTIONS = frozenset({
    "corpus", "table", "split", "protocol", "limit", "role_swap", "jobs", "shard", "merge", "save_predictions",
    "inception", "i3d", "strict",
})  # fmt: skip
"""Options that apply to corpora only."""


def refuse_with_bags(given: set[str]) -> None:
    """Raise ValueError, in one sentence, where an option of corpora is given with --bag."""
    if wrong := sorted(given & OPTIONS):
        raise ValueError(f"--{wrong[0].replace('_', '-')} applies to corpora: it cannot be given with --bag")


def evaluate_corpus(
    plan: Plan,
    rows: Sequence[str],
    out: Path,
    *,
    table: str = "",
    shard: str = "1/1",
    merge: Sequence[Path] = (),
    jobs: int = 0,
    save_predictions: bool = False,
    strict: bool = False,
) -> None:
    """Evaluate rows and the rows of a paper's table into the folder `out`, and print the figures.

    Raises CorpusError, ValueError or OSError in one sentence.
    """
    from react_ros.corpus.clips import CorpusError
    from react_ros.evaluation.corpora.paper_tables import paper_table, runnable
    from react_ros.evaluation.corpora.plan import default_rows, parse_row, parse_shard
    from react_ros.evaluation.corpora.run import prepare, run
    from react_ros.evaluation.corpora.summary import summarise, write_results
    from react_ros.evaluation.report.corpora_page import write_report
    from react_ros.io import atomic_write
    from react_ros.machine import describe_machine

    console = plain_console()
    paper = runnable(paper_table(table)) if table else None
    for sentence in paper.missing.values() if paper else ():
        console.print(f"left out: {sentence}", markup=False, soft_wrap=True)
    texts = rows or (() if paper else default_rows())
    chosen = list(dict.fromkeys([*(paper.rows if paper else ()), *(parse_row(text) for text in texts)]))
    for row in chosen:
        if row.file and not Path(row.file).is_file():
            raise ValueError(f"{row.label}: there is no such file")
    part = parse_shard(shard)
    with progress("reading the corpus") as report:
        prepared = prepare(plan, strict=strict, jobs=jobs, progress=report)
    with progress(f"{len(chosen)} rows, clips scored") as report:
        results = run(
            prepared, chosen, out, shard=part, merge=merge, jobs=jobs, save_predictions=save_predictions,
            strict=strict, progress=report,
        )  # fmt: skip
    incomplete = [row.label for row in chosen if row not in results]
    if incomplete:
        console.print(f"shard {shard} is complete. Other shards are needed for: {', '.join(incomplete)}", markup=False)
        console.print(f"then: react-ros evaluate … --out OUT --merge {out}", markup=False)
        return
    with console.status("figures, two-sample test, report"):
        summary = summarise(prepared, results)
        write_results(summary, out / "results.json")
        page = write_report(summary, describe_machine()).encode()
        atomic_write(out / "report.html", page)
    _print(console, summary)
    if not any(row.clips for row in summary.rows):
        first = next((sentence for row in summary.rows for sentence in row.failed), "there is none")
        raise CorpusError(f"no clip could be scored, see {out / 'results.json'}; the first was left out: {first}")
    if paper is not None:
        _write_table(console, paper, summary, out)
    console.print(f"\nfigures: {out / 'results.json'}\nreport:  {out / 'report.html'}", markup=False, soft_wrap=True)


def _write_table(console: Console, paper: RunnableTable, summary: Summary, out: Path) -> None:
    from react_ros.evaluation.corpora.paper_tables import findings
    from react_ros.evaluation.report.paper_table import markdown
    from react_ros.io import atomic_write

    text = markdown(paper, summary).encode()
    atomic_write(out / "table.md", text)
    for finding in findings(paper, summary):
        console.print(finding.sentence, markup=False, soft_wrap=True)
    console.print(f"\ntable:   {out / 'table.md'}", markup=False, soft_wrap=True)


def _print(console: Console, summary: Summary) -> None:
    """The tables for the terminal."""
    from react_ros.cli.scores import print_tables

    if summary.notice:
        console.print(summary.notice, markup=False)
    print_tables(console, summary)
    for g in summary.gaps:
        d = g.difference
        interval = "" if d.low is None else f" (95 %: {d.low:.2f} to {d.high:.2f})"
        console.print(
            f"{g.label}: FRCorr {g.own:.2f}, with another clip's speaker {g.shuffled:.2f}; gap {d.mean:.2f}{interval}",
            markup=False,
        )
    skipped = summary.problems + [f for r in summary.rows for f in r.failed]
    for sentence in skipped[:10]:
        console.print(f"left out: {sentence}", markup=False)
    if len(skipped) > 10:
        console.print(f"… and {len(skipped) - 10} more (all are in results.json)")
