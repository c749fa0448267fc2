"""The papers' tables: which of our rows stands for which printed one, and what the papers conclude from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from react_ros.config import did_you_mean
from react_ros.evaluation.corpora.plan import Row, parse_row
from react_ros.evaluation.report.published import SOURCE, published
from react_ros.generators import registry
from react_ros.generators.system import Direction, PaperTable, Protocol, PublishedRow

if TYPE_CHECKING:
    from react_ros.evaluation.corpora.summary import RowSummary, Summary


def table_names() -> list[str]:
    """The systems whose papers have a table here."""
    return [s.name for s in registry.systems() if s.table]


def paper_table(name: str) -> PaperTable:
    """The table of a system's paper. Raises ValueError, in one sentence, where there is none."""
    if name not in table_names():
        raise ValueError(
            f"there is no table {name!r}{did_you_mean(name, table_names())}: there are {', '.join(table_names())}"
        )
    return registry.system(name).load_table()


def table_rows(table: PaperTable) -> list[Row]:
    """All rows of a table, in order. Raises ValueError, in one sentence, where one cannot be run."""
    return [parse_row(text) for text in table.row_texts]


def printed(system: str, protocol: Protocol) -> PublishedRow:
    """The printed row of a system: of the protocol, or of the other one where the papers have it there only."""
    rows = [row for row in published() if row.system == system]
    return next((row for row in rows if row.protocol == protocol), rows[0])


@dataclass(frozen=True, slots=True)
class Finding:
    """A paper's direction, and what was measured here."""

    direction: Direction
    higher: float
    lower: float

    @property
    def holds(self) -> bool:
        return self.higher > self.lower

    @property
    def sentence(self) -> str:
        d = self.direction
        verdict = "holds" if self.holds else "does not hold"
        return f"{d.metric} of {d.higher} above that of {d.lower}: {verdict} ({self.higher:.4g}, {self.lower:.4g})"


def findings(table: PaperTable, summary: Summary) -> list[Finding]:
    """The paper's directions on what was measured here; those that could not be measured are left out."""
    scored = {row.row: row for row in summary.rows}
    out = []
    for direction in table.directions:
        values = [
            scored[parse_row(table.rows[s])].official[direction.metric] for s in (direction.higher, direction.lower)
        ]
        higher, lower = values
        if higher is not None and lower is not None:
            out.append(Finding(direction, higher.mean, lower.mean))
    return out


def markdown(table: PaperTable, summary: Summary) -> str:
    """Measured and printed rows under each other, and the directions."""
    from react_ros.evaluation.corpora.summary import METRICS
    from react_ros.evaluation.report.corpora_page import BETTER, DIGITS, figure_of

    protocol: Protocol = summary.plan["protocol"]
    names = {parse_row(text): system for system, text in table.rows.items()}
    heads = [f"{m} {BETTER.get(m, '')}".strip() for m in METRICS]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def measured(scored: RowSummary) -> str:
        figures = [figure_of(scored.official[m], DIGITS[m]) for m in METRICS]
        return line([f"`{scored.row.label}`", names.get(scored.row, "–"), *figures])

    lines = [line(["row", "stands for", *heads]), line(["---"] * (len(heads) + 2))]
    lines += [measured(scored) for scored in summary.rows]
    lines += ["", f"As printed ({SOURCE}):", ""]
    lines += [line(["system", "protocol", *heads]), line(["---"] * (len(heads) + 2))]
    for system in table.rows:
        row = printed(system, protocol)
        figures = [f"{getattr(row, m.lower()):.{DIGITS[m]}f}" for m in METRICS]
        lines.append(line([system, row.protocol, *figures]))
    lines += ["", "What the paper finds, here:", ""]
    lines += [f"- {finding.sentence}" for finding in findings(table, summary)]
    return "\n".join(lines) + "\n"
