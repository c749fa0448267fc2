"""The table of scores that both `react-ros evaluate` and `evaluate --bag` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.evaluation.corpora.summary import Summary


def print_tables(console: Console, summary: Summary) -> None:
    """The metrics of every row."""
    from rich.markup import escape
    from rich.table import Table

    from react_ros.evaluation.corpora.summary import METRICS
    from react_ros.evaluation.report.corpora_page import DIGITS, figure_of

    # Two narrow tables: beside a row's name, one of all columns does not fit into 80.
    official = Table("official", *METRICS, box=None)
    more = Table("sound", "FRCorr", "FRDist", "FRSyn", "FRRea-motion", "told apart", box=None)
    for r in summary.rows:
        label = escape(r.row.label)
        official.add_row(label, *(figure_of(r.official[m], DIGITS[m]) for m in METRICS))
        cells = [figure_of(r.sound[m], DIGITS[m]) for m in ("FRCorr", "FRDist", "FRSyn")]
        cells.append("–" if r.motion is None else f"{r.motion:.1f}")
        cells.append("–" if r.attributes_test is None else f"{r.attributes_test.accuracy:.2f}")
        more.add_row(label, *cells)
    for table in (official, more):
        table.columns[0].overflow = "fold"
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", True
        console.print(table)
