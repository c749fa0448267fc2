"""HTML pages from jinja2 templates with one style sheet; every page is self-contained and fits a phone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jinja2 import Environment


class Cell(NamedTuple):
    """A cell with a second, smaller line, e.g. a confidence interval."""

    text: str
    small: str = ""


class Table(NamedTuple):
    """A table whose first column holds row headings."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]


def render(template: str, **values: Any) -> str:
    """The page of a template in this folder, e.g. "live.html.j2".

    Values are escaped unless they are `markupsafe.Markup`. Raises jinja2.UndefinedError for a value that the template
    needs and that is missing.
    """
    return _environment().get_template(template).render(values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files(__name__)
    return Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
