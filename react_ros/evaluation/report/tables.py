"""The papers' tables: which of our rows stands for which printed one, and what the papers conclude from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from react_ros.evaluation.corpora.plan import Row, parse_row
from react_ros.evaluation.report.published import SOURCE, Protocol, PublishedRow, published

if TYPE_CHECKING:
    from react_ros.evaluation.corpora.summary import RowSummary, Summary


@dataclass(frozen=True, slots=True)
class Direction:
    """What a paper finds: a figure of one system is higher than that of another."""

    metric: str
    higher: str
    """A `PublishedRow.system`, as is `lower`."""
    lower: str


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One paper's table."""

    rows: Mapping[str, str]
    """The row that is run here (see `parse_row`), by the name of the printed one."""
    directions: tuple[Direction, ...]
    """Each of them true of the rows as they are printed for the protocol `printed_for`."""
    printed_for: Protocol = "online"
    more: tuple[str, ...] = ()
    """Rows that no paper has, for comparison."""

    @property
    def chosen(self) -> list[Row]:
        """All rows, in order. Raises ValueError where one cannot be run: its weights are missing."""
        return [parse_row(text) for text in (*self.rows.values(), *self.more)]


_WINDOW = "protocol=window,guidance=1.0"
"""The papers' protocol, as they drew: the robot's default is live and guided."""
_BINARIZED, _CODELESS = "VQ-Diff + binarized AUs", "VQ-Diff w/o codebook"

TABLES: Mapping[str, PaperTable] = {
    "vqdiff": PaperTable(
        {
            "BeLFusion k=1": f"belfusion,{_WINDOW},weights=belfusion-k1",
            "BeLFusion k=10": f"belfusion,{_WINDOW}",
            "BeLFusion k=10 + binarized AUs": f"belfusion,{_WINDOW},binarize=true",
            "VQ-Diff": f"vqdiff,{_WINDOW}",
            _BINARIZED: f"vqdiff,{_WINDOW},binarize=true",
            _CODELESS: f"vqdiff,{_WINDOW},codebook=false",
            f"{_CODELESS} + binarized AUs": f"vqdiff,{_WINDOW},codebook=false,binarize=true",
        },
        (
            Direction("FRCorr", "VQ-Diff", "BeLFusion k=10"),
            Direction("FRDiv", "VQ-Diff", "BeLFusion k=10"),
            Direction("FRDiv", "BeLFusion k=10", "BeLFusion k=1"),
            Direction("FRDiv", _CODELESS, "VQ-Diff"),
            Direction("FRVar", _CODELESS, "VQ-Diff"),
            Direction("FRDist", _CODELESS, "VQ-Diff"),
            Direction("FRDist", _BINARIZED, "VQ-Diff"),
            Direction("FRDiv", _BINARIZED, "VQ-Diff"),
            Direction("FRDist", "BeLFusion k=10 + binarized AUs", "BeLFusion k=10"),
        ),
        more=("belfusion", "vqdiff"),
    ),
    "reactdiff": PaperTable(
        {
            "ReactDiff": "reactdiff,protocol=window",
            "ReactDiff (LRS)": "reactdiff,protocol=window,style=lively",
            "ReactDiff w/o MMT": "reactdiff,protocol=window,weights=reactdiff-no-mmt",
            "ReactDiff w/o diffusion": "reactdiff,protocol=window,diffusion=false",
            "ReactDiff w/o video": "reactdiff,protocol=window,weights=reactdiff-no-video",
            "ReactDiff w/o audio": "reactdiff,protocol=window,weights=reactdiff-no-audio",
        },
        (
            Direction("FRCorr", "ReactDiff w/o diffusion", "ReactDiff"),
            Direction("FRDiv", "ReactDiff", "ReactDiff w/o diffusion"),
            Direction("FRDvs", "ReactDiff w/o diffusion", "ReactDiff"),
            Direction("FRCorr", "ReactDiff", "ReactDiff w/o MMT"),
            Direction("FRDiv", "ReactDiff", "ReactDiff w/o MMT"),
            Direction("FRDist", "ReactDiff w/o MMT", "ReactDiff"),
            Direction("FRCorr", "ReactDiff", "ReactDiff w/o video"),
            Direction("FRDiv", "ReactDiff", "ReactDiff w/o video"),
            Direction("FRCorr", "ReactDiff", "ReactDiff w/o audio"),
            Direction("FRCorr", "ReactDiff (LRS)", "ReactDiff"),
            Direction("FRDiv", "ReactDiff", "ReactDiff (LRS)"),
            Direction("FRDvs", "ReactDiff (LRS)", "ReactDiff"),
        ),
        printed_for="offline",
        more=("reactdiff",),
    ),
}


def paper_table(name: str) -> PaperTable:
    """Raises ValueError, in one sentence, for a name that is not in `TABLES`."""
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}: there are {', '.join(TABLES)}")
    return TABLES[name]


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
