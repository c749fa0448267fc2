"""The tables of scores on the terminal, of corpora and of recorded sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.evaluation.corpora.summary import Summary


def print_tables(console: Console, summary: Summary) -> None:
    """Print the metrics of every row."""
    from rich.markup import escape
    from rich.table import Table

    from react_ros.evaluation.corpora.summary import METRICS
    from react_ros.evaluation.report.figures import DIGITS, format_value

    # Two narrow tables: a single one with all columns does not fit into 80 characters.
    official = Table("official", *METRICS, box=None)
    more = Table("corrected", "FRCorr", "FRDist", "FRSyn", "FRRea-motion", "C2ST accuracy", box=None)
    for r in summary.rows:
        label = escape(r.row.label)
        official.add_row(label, *(format_value(r.official[m], DIGITS[m]) for m in METRICS))
        cells = [format_value(r.corrected[m], DIGITS[m]) for m in ("FRCorr", "FRDist", "FRSyn")]
        cells.append("–" if r.motion is None else f"{r.motion:.1f}")
        cells.append("–" if r.attributes_test is None else f"{r.attributes_test.accuracy:.2f}")
        more.add_row(label, *cells)
    for table in (official, more):
        table.columns[0].overflow = "fold"
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", True
        console.print(table)
