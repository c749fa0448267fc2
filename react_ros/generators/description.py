"""What a system's parameters mean, read from its configuration: names, defaults, ranges, choices, meanings."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import typing
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Literal

from react_ros.config import noted_ranges
from react_ros.generators import registry
from react_ros.generators.liveliness import AS_TRAINED, LIVELINESS


@dataclass(frozen=True, slots=True)
class ParameterDescription:
    """One parameter of a generator."""

    name: str
    default: Any
    allowed: str
    """Range or choices, for people; empty: any."""
    meaning: str
    """One or two sentences; empty where the configuration does not say."""


def describe_parameters(name: str) -> list[ParameterDescription]:
    """The parameters of a system, `liveliness` of all systems last. Raises ValueError as `registry.system` does."""
    Config = registry.system(name).Config
    meanings = _meanings(Config)
    ranges = _ranges(Config)
    hints = typing.get_type_hints(Config)
    out = [
        ParameterDescription(
            f.name, default, ranges.get(f.name) or _choices(hints.get(f.name, str)),
            meanings.get(f.name) or _COMMON.get(f.name, ""),
        )
        for f, default in zip(fields(Config), registry.system(name).parameters.values(), strict=True)
    ]  # fmt: skip
    low, high = LIVELINESS
    return [*out, ParameterDescription("liveliness", AS_TRAINED, f"{low:g} to {high:g}", _LIVELINESS)]


_COMMON = {
    "device": "What computes the network.",
    "weights": "Name in models/, or a path.",
}
_LIVELINESS = "How much the face and head move: 0 still, 1 as the system is, 2 lively."


def _meanings(Config: type[Any]) -> dict[str, str]:
    """Field to the text below it in the source; without those of classes whose source is not there."""
    out: dict[str, str] = {}
    for cls in reversed(Config.__mro__):
        with suppress(OSError, TypeError, SyntaxError):
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
            assert isinstance(tree, ast.ClassDef)
            for field, text in zip(tree.body, tree.body[1:], strict=False):
                named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
                if named and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    out[field.target.id] = " ".join(str(text.value.value).split())  # type: ignore[union-attr]
    return out


def _ranges(Config: type[Any]) -> dict[str, str]:
    """Field to its range, as the configuration checks it with `in_range` and `whole_in_range`."""
    # A parameter that is None by default is checked only where it is given.
    given = {f.name: 0 for f in fields(Config) if getattr(Config(), f.name) is None}
    with noted_ranges() as noted, suppress(Exception):  # of another package's configuration
        Config(**given)
    return noted


def _choices(hint: Any) -> str:
    """The values of a Literal, or true or false; empty for other types."""
    if hint is bool:
        return "true or false"
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next((text for inner in typing.get_args(hint) if (text := _choices(inner))), "")
    if typing.get_origin(hint) is Literal:
        return " or ".join("empty" if value == "" else str(value) for value in typing.get_args(hint))
    return ""
