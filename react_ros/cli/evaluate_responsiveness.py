"""`react-ros evaluate --responsiveness`: clips of speakers to figures, a table on the terminal and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from react_ros.cli.progress import progress
from react_ros.cli.terminal import plain_console
from react_ros.corpus.clips import SPLITS, Split

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.evaluation.responsiveness.run import RowResult

ALSO = frozenset({"responsiveness", "rows", "out", "samples", "seed", "seeds", "split", "limit", "card"})
"""Options of `react-ros evaluate` that apply here."""
ONLY = frozenset({"seeds", "card"})
"""Options that apply here only."""


def refuse(given: set[str]) -> None:
    """Raise ValueError, in one sentence, for an option that does not go with --responsiveness, or not without it."""
    if "responsiveness" in given and (wrong := sorted(given - ALSO)):
        raise ValueError(f"--{wrong[0].replace('_', '-')} cannot be given with --responsiveness")
    if "responsiveness" not in given and (wrong := sorted(given & ONLY)):
        raise ValueError(f"--{wrong[0]} applies to speakers only: it needs --responsiveness")


def evaluate(
    path: Path,
    names: Sequence[str],
    out: Path,
    *,
    samples: int | None = None,
    seeds: str = "",
    split: str = "test",
    limit: int = 0,
    card: Path | None = None,
) -> None:
    """Run rows before the clips of `path` into the folder `out`, and print whether the targets are met.

    Raises ValueError or OSError, in one sentence.
    """
    from react_ros.evaluation.report.responsiveness_page import markdown, write_page
    from react_ros.evaluation.responsiveness.clips import read_clips
    from react_ros.evaluation.responsiveness.run import Options, gate_rows, results, run_row
    from react_ros.io import atomic_write
    from react_ros.machine import describe_machine
    from react_ros.training.card import with_responsiveness

    options = Options(samples=4 if samples is None else samples, seeds=_seeds(seeds))
    chosen = gate_rows(names)
    if card is not None:
        if len(chosen) != 1:
            raise ValueError(f"--card takes the figures of one row, but there are {len(chosen)}: name one")
        if not card.is_file():
            raise ValueError(f"--card {card}: there is no such file")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder")
    known: dict[str, Split] = {name: name for name in SPLITS}
    if split not in known:
        raise ValueError(f"--split is {split!r}: it must be one of {', '.join(SPLITS)}")
    with progress("reading the clips") as report:
        clips, problems = read_clips(path, split=known[split], limit=limit, progress=report)
    console = plain_console()
    for sentence in problems:
        console.print(f"left out: {sentence}", markup=False, soft_wrap=True)
    rows: list[RowResult] = []
    for row in chosen:
        with progress(row.label) as report:
            rows.append(run_row(row, clips, options, out, report))
        console.print(f"{row.label}: {rows[-1].result.line}", markup=False, soft_wrap=True)
    found = results(rows, clips, options, path)
    pairs = [(r.row.label, r.result) for r in rows]
    atomic_write(out / "responsiveness.json", json.dumps(found, indent=1))
    atomic_write(out / "responsiveness.md", markdown(pairs))
    page = write_page(rows, clips, options, str(path), [f"left out: {p}" for p in problems], describe_machine())
    atomic_write(out / "responsiveness.html", page)
    _print(console, rows)
    files = {"figures": "json", "table": "md", "report": "html"}
    for what, suffix in files.items():
        console.print(f"{what + ':':9}{out / f'responsiveness.{suffix}'}", markup=False, soft_wrap=True)
    if card is not None:
        text = with_responsiveness(card.read_text("utf-8"), rows[0].result, source=str(path.name))
        atomic_write(card, text)
        console.print(f"card:    {card}", markup=False, soft_wrap=True)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else (1, 2, 3)
    except ValueError:
        raise ValueError(f"--seeds {text}: they must be whole numbers with commas between, e.g. 1,2,3") from None


def _print(console: Console, rows: Sequence[RowResult]) -> None:
    """Each target of each row: reached or not."""
    from rich.markup import escape
    from rich.table import Table

    from react_ros.evaluation.report.responsiveness_page import digits, verdict_word

    for r in rows:
        table = Table(escape(r.row.label), "figure", "95 %", "target", "", box=None)
        for v in r.result.verdicts():
            n, value = digits(v.target.figure), v.value
            interval = "" if value is None or value.low is None else f"{value.low:.{n}f} to {value.high:.{n}f}"
            figure = "–" if value is None else f"{value.mean:.{n}f}"
            table.add_row(v.name, figure, interval, v.target.text, verdict_word(v))
        table.columns[1].justify = "right"
        console.print(table)
