"""Claims about the papers' tables: what they say is what was printed, and what holds here is told as it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from react_ros.evaluation.corpora.plan import Row, parse_row
from react_ros.evaluation.corpora.summary import METRICS
from react_ros.evaluation.metrics.intervals import Value
from react_ros.evaluation.report import tables
from react_ros.evaluation.report.tables import findings, markdown, paper_table, printed, table_names, table_rows
from react_ros.generators.system import Direction, PaperTable

every_table = pytest.mark.parametrize("name", table_names())


@every_table
@pytest.mark.parametrize("protocol", ["online", "offline"])
def test_every_row_has_a_printed_one(name: str, protocol: Any) -> None:
    for system in paper_table(name).rows:
        assert printed(system, protocol).system == system


@every_table
def test_what_a_paper_finds_is_what_it_printed(name: str) -> None:
    for d in paper_table(name).directions:
        high, low = (getattr(printed(s, paper_table(name).printed_for), d.metric.lower()) for s in (d.higher, d.lower))
        assert high > low, d


@every_table
def test_a_direction_is_between_rows_of_its_table(name: str) -> None:
    for d in paper_table(name).directions:
        assert {d.higher, d.lower} <= set(paper_table(name).rows)
        assert d.metric in METRICS


def test_an_unknown_table_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"there is no table 'nobody': there are vqdiff, reactdiff"):
        paper_table("nobody")


SMALL = PaperTable(
    {"Mime": "mime", "Random": "random"},
    (Direction("FRCorr", "Mime", "Random"), Direction("FRDiv", "Mime", "Random")),
    more=("attentive",),
)


def summary_of(**frcorr: float) -> Any:
    def scored(text: str, value: float) -> Any:
        figures: dict[str, Value | None] = dict.fromkeys(METRICS, None)
        figures["FRCorr"] = Value(value, None, None)
        return SimpleNamespace(row=parse_row(text), official=figures)

    rows = [scored(name, value) for name, value in frcorr.items()]
    return SimpleNamespace(rows=rows, plan={"protocol": "online"})


def test_a_direction_holds_or_does_not_by_what_was_measured_and_is_left_out_where_nothing_was() -> None:
    for mime, holds in ((0.5, True), (0.2, False)):
        found = findings(SMALL, summary_of(mime=mime, random=0.3, attentive=1.0))
        assert [(f.direction.metric, f.holds) for f in found] == [("FRCorr", holds)]
        assert ("does not hold" in found[0].sentence) is not holds


def test_the_page_has_measured_and_printed_rows() -> None:
    text = markdown(SMALL, summary_of(mime=0.5, random=0.25, attentive=1.0))
    assert "| `mime` | Mime | 0.50 |" in text and "| `attentive` | – | 1.00 |" in text
    assert "| Mime | offline | 0.38 | 92.94 |" in text, "printed, of the offline table: there is no other"
    assert "FRCorr of Mime above that of Random: holds (0.5, 0.25)" in text
    assert table_rows(SMALL) == [Row("mime"), Row("random"), Row("attentive")]
    assert tables.SOURCE in text


@every_table
def test_every_row_can_be_run_with_what_is_packaged(name: str) -> None:
    table = paper_table(name)
    assert len(table_rows(table)) == len(table.rows) + len(table.more)
