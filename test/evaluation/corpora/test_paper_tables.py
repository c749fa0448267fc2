"""Papers' tables: printed rows, the rows that stand for them, findings, and rows whose weights are not shipped."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from react_ros.evaluation.corpora.paper_tables import findings, paper_table, printed_row, runnable, table_names
from react_ros.evaluation.corpora.plan import Row, parse_row
from react_ros.evaluation.corpora.published import SOURCE
from react_ros.evaluation.corpora.summary import METRICS
from react_ros.evaluation.metrics.intervals import Value
from react_ros.evaluation.report.paper_table import markdown
from react_ros.generators.system import Direction, PaperTable
from react_ros.nn.weights import aliases, models_folder

every_table = pytest.mark.parametrize("name", table_names())


@every_table
@pytest.mark.parametrize("protocol", ["online", "offline"])
def test_every_row_has_a_printed_one(name: str, protocol: Any) -> None:
    for system in paper_table(name).rows:
        assert printed_row(system, protocol).system == system


@every_table
def test_a_papers_findings_agree_with_its_printed_figures(name: str) -> None:
    table = paper_table(name)
    for d in table.directions:
        high, low = (getattr(printed_row(s, table.printed_for), d.metric.lower()) for s in (d.higher, d.lower))
        assert high > low, d


@every_table
def test_a_direction_is_between_rows_of_its_table(name: str) -> None:
    for d in paper_table(name).directions:
        assert {d.higher, d.lower} <= set(paper_table(name).rows)
        assert d.metric in METRICS


def test_an_unknown_table_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"there is no table 'nobody': there are reactdiff, vqdiff"):
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


def test_a_direction_is_judged_by_the_measured_values_and_left_out_without_them() -> None:
    for mime, holds in ((0.5, True), (0.2, False)):
        found = findings(runnable(SMALL), summary_of(mime=mime, random=0.3, attentive=1.0))
        assert [(f.direction.metric, f.holds) for f in found] == [("FRCorr", holds)]
        assert ("does not hold" in found[0].sentence) is not holds


def test_the_table_has_measured_and_printed_rows() -> None:
    text = markdown(runnable(SMALL), summary_of(mime=0.5, random=0.25, attentive=1.0))
    assert "| `mime` | Mime | 0.50 |" in text and "| `attentive` | – | 1.00 |" in text
    assert "| Mime | offline | 0.38 | 92.94 |" in text, "printed, of the offline table: there is no other"
    assert "FRCorr of Mime above that of Random: holds (0.5, 0.25)" in text
    assert runnable(SMALL).rows == [Row("mime"), Row("random"), Row("attentive")]
    assert SOURCE in text and "Not measured" not in text


@every_table
def test_rows_without_weights_name_their_command_and_the_others_run(name: str, tmp_path: Path) -> None:
    table = paper_table(name)
    found = runnable(table, tmp_path)
    assert len(found.rows) + len(found.missing) == len(table.rows) + len(table.more)
    assert set(found.printed) | set(found.missing) == set(table.rows)
    for weights, command in table.missing.items():
        (sentence,) = (s for s in found.missing.values() if f"weights {weights} " in s)
        assert sentence.endswith(command) and f"--name {weights} --out runs/{weights}" in command
    assert markdown(found, SimpleNamespace(rows=[], plan={"protocol": "online"})).count("are not shipped") == len(  # type: ignore[arg-type]
        table.missing
    )


def test_weights_that_were_trained_by_the_command_are_used(tmp_path: Path) -> None:
    trained = tmp_path / "reactdiff-no-mmt"
    trained.mkdir()
    for suffix in (".safetensors", ".yaml"):
        shutil.copy(models_folder() / f"{aliases()['reactdiff']}{suffix}", trained / f"reactdiff-no-mmt{suffix}")
    found = runnable(paper_table("reactdiff"), tmp_path)
    assert "ReactDiff w/o MMT" not in found.missing and "ReactDiff w/o video" in found.missing
    assert dict(found.printed["ReactDiff w/o MMT"].parameters)["weights"] == str(trained / "reactdiff-no-mmt")


def test_a_finding_on_a_missing_row_is_left_out(tmp_path: Path) -> None:
    table = paper_table("reactdiff")
    found = runnable(table, tmp_path)
    scored = [
        SimpleNamespace(row=row, official=dict.fromkeys(METRICS, Value(0.1 * k)))
        for k, row in enumerate(found.printed.values())
    ]
    directions = {f.direction for f in findings(found, SimpleNamespace(rows=scored))}  # type: ignore[arg-type]
    assert directions == {d for d in table.directions if not {d.higher, d.lower} & set(found.missing)}
