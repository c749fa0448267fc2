"""A paper's table as Markdown: measured and printed rows, and whether the paper's findings hold."""

from __future__ import annotations

from collections.abc import Sequence

from react_ros.evaluation.corpora.paper_tables import RunnableTable, findings, printed_row
from react_ros.evaluation.corpora.published import SOURCE
from react_ros.evaluation.corpora.summary import METRICS, RowSummary, Summary
from react_ros.evaluation.report.figures import BETTER, DIGITS, format_value
from react_ros.generators.system import Protocol


def markdown(runnable: RunnableTable, summary: Summary) -> str:
    """The measured rows, the printed rows below them, the findings, and the rows whose weights are missing."""
    protocol: Protocol = summary.plan["protocol"]
    names = {row: system for system, row in runnable.printed.items()}
    heads = [f"{m} {BETTER.get(m, '')}".strip() for m in METRICS]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    def measured(scored: RowSummary) -> str:
        figures = [format_value(scored.official[m], DIGITS[m]) for m in METRICS]
        return line([f"`{scored.row.label}`", names.get(scored.row, "–"), *figures])

    lines = [line(["row", "stands for", *heads]), line(["---"] * (len(heads) + 2))]
    lines += [measured(scored) for scored in summary.rows]
    lines += ["", f"As printed ({SOURCE}):", ""]
    lines += [line(["system", "protocol", *heads]), line(["---"] * (len(heads) + 2))]
    for system in runnable.table.rows:
        row = printed_row(system, protocol)
        figures = [f"{getattr(row, m.lower()):.{DIGITS[m]}f}" for m in METRICS]
        lines.append(line([system, row.protocol, *figures]))
    lines += ["", "The paper's findings on these data:", ""]
    lines += [f"- {finding.sentence}" for finding in findings(runnable, summary)]
    if runnable.missing:
        lines += ["", "Not measured:", ""]
        lines += [f"- {sentence}" for sentence in runnable.missing.values()]
    return "\n".join(lines) + "\n"
