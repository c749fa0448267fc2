"""Every page is self-contained, escapes its values, and fits a phone."""

from __future__ import annotations

import re

import jinja2
import pytest

from react_ros import pages
from react_ros.pages import Cell, Table

EMPTY = Table(["", "x"], [])
DEMO = {
    "title": "t", "film": "", "notices": [], "plot": "", "latency": EMPTY, "facts": [], "files": [], "gate": None,
    "moments": None,
}  # fmt: skip


def test_values_are_escaped() -> None:
    table = Table(["<i>", "b"], [["<row>", Cell("<1>", "<small>")], ["r", "<2>"]])
    page = pages.render("demo.html.j2", **{**DEMO, "title": "<t>", "latency": table, "notices": ["<script>"]})
    assert not re.search(r"<(t|i|row|1|2|script)>", page)
    assert "&lt;script&gt;" in page and "<small>&lt;small&gt;</small>" in page


@pytest.mark.parametrize("page", [pages.render("demo.html.j2", **DEMO), pages.render("live.html.j2")])
def test_a_page_fits_a_phone_and_loads_nothing_from_other_hosts(page: str) -> None:
    assert page.startswith("<!doctype html>") and 'lang="en"' in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "@media (max-width" in page, "the style sheet is inside"
    assert not re.search(r"https?://|//[a-z]", page)


def test_tables_scroll_inside_their_own_box() -> None:
    page = pages.render("demo.html.j2", **{**DEMO, "latency": Table(["", "x"], [["row", "1"]])})
    tables = re.findall(r'(<div class="scroll">)?<table class="([^"]*)"', page)
    assert tables and all(box for box, kind in tables if "data" in kind)


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        pages.render("demo.html.j2", title="t")
