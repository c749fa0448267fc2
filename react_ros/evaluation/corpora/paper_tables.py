"""Papers' tables: which of our rows stands for which printed one, which can be run, and what the papers conclude."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from react_ros.config import did_you_mean
from react_ros.evaluation.corpora.plan import Row, parse_row
from react_ros.evaluation.corpora.published import published
from react_ros.generators import registry
from react_ros.generators.system import Direction, PaperTable, Protocol, PublishedRow

if TYPE_CHECKING:
    from react_ros.evaluation.corpora.summary import Summary


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


@dataclass(frozen=True, slots=True)
class RunnableTable:
    """A paper's table with the weights that are there."""

    table: PaperTable
    printed: Mapping[str, Row]
    """The row that stands for each printed one that can be run, by its name, in order."""
    more: tuple[Row, ...]
    """Rows that no paper has."""
    missing: Mapping[str, str]
    """By the name of a printed row that cannot be run: one sentence with the command that trains its weights."""

    @property
    def rows(self) -> list[Row]:
        """All rows that can be run, in order."""
        return [*self.printed.values(), *self.more]


def runnable(table: PaperTable, folder: Path = Path("runs")) -> RunnableTable:
    """Find the weights of a table's rows: those of `table.missing` in models/, else in FOLDER/NAME/NAME.

    Rows whose weights are in neither place are listed as missing. Raises ValueError, in one sentence, for a row that
    cannot be run for another reason.
    """
    printed: dict[str, Row] = {}
    missing: dict[str, str] = {}
    for system, text in table.rows.items():
        name = next((n for n in table.missing if f"weights={n}" in text.split(",")), None)
        if name is not None and not _packaged(name, text):
            trained = folder / name / name
            if not trained.with_name(f"{name}.safetensors").is_file():
                missing[system] = (
                    f"{system}: its weights {name} are not shipped; they are trained by: {table.missing[name]}"
                )
                continue
            text = text.replace(f"weights={name}", f"weights={trained}")
        printed[system] = parse_row(text)
    return RunnableTable(table, printed, tuple(parse_row(text) for text in table.more), missing)


def _packaged(name: str, row: str) -> bool:
    from react_ros.nn.weights import weights_names

    return name in weights_names(row.partition(",")[0])


def printed_row(system: str, protocol: Protocol) -> PublishedRow:
    """The printed row of a system in a protocol; in the other one where the papers have it there only."""
    rows = [row for row in published() if row.system == system]
    return next((row for row in rows if row.protocol == protocol), rows[0])


@dataclass(frozen=True, slots=True)
class Finding:
    """A paper's direction, and the two values measured here."""

    direction: Direction
    higher: float
    lower: float

    @property
    def holds(self) -> bool:
        """Whether the direction is the same here."""
        return self.higher > self.lower

    @property
    def sentence(self) -> str:
        """The finding and whether it holds, with both values."""
        d = self.direction
        verdict = "holds" if self.holds else "does not hold"
        return f"{d.metric} of {d.higher} above that of {d.lower}: {verdict} ({self.higher:.4g}, {self.lower:.4g})"


def findings(runnable: RunnableTable, summary: Summary) -> list[Finding]:
    """The paper's directions on the measured rows; those with a row or value missing are left out."""
    scored = {row.row: row for row in summary.rows}
    out = []
    for direction in runnable.table.directions:
        rows = [scored.get(runnable.printed[s]) for s in (direction.higher, direction.lower) if s in runnable.printed]
        values = [row.official[direction.metric] for row in rows if row is not None]
        measured = [value.mean for value in values if value is not None]
        if len(measured) == 2:
            out.append(Finding(direction, *measured))
    return out
