"""Configuration: ranges, frozen dataclasses from and to mappings, YAML, and suggestions for misspelt names."""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import numpy as np

T = TypeVar("T")


def did_you_mean(word: object, known: Iterable[str], similarity: float = 0.6) -> str:
    """ " (did you mean 'x'?)" for the known name nearest to a word; empty where none is near.

    similarity: the least ratio that counts as near, 0 to 1 (difflib).
    """
    spelled = {name.lower(): name for name in known}
    close = get_close_matches(str(word).lower()[:100], list(spelled), n=1, cutoff=similarity)
    return f" (did you mean {spelled[close[0]]!r}?)" if close else ""


def excerpt(text: str, longest: int = 300) -> str:
    """A text of any origin for a message: one line, at most `longest` characters."""
    line = " ".join(text[: 4 * longest].split())
    return line if len(line) <= longest and len(text) <= 4 * longest else f"{line[: longest - 2]} …"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlong = 40
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 12
_SHORT.maxlevel = 4


def shown(value: object) -> str:
    """A value for an error message: its repr, shortened where it is long or deep."""
    try:
        return excerpt(_SHORT.repr(value))
    except ValueError:  # Python refuses to write integers of thousands of digits
        return "a number of thousands of digits"


LONGEST_YAML = 2_000_000
"""Characters of a YAML text, at most."""
DEEPEST_YAML = 32
"""Levels of mappings and lists in a YAML text, at most."""


MOST_NODES = 50_000
"""Values of a YAML text with aliases, at most, each counted as often as it stands for itself or behind an alias."""


def load_yaml(file: Path, example: str, *, aliases: bool = False) -> dict[str, Any]:
    """The mapping in a YAML file; empty for an empty file.

    example: a valid line, for the error message. aliases: as in `parse_yaml`. Raises ValueError, in one sentence, for a
    file that cannot be read or holds something else than a mapping.
    """
    import yaml

    try:
        if file.stat().st_size > 4 * LONGEST_YAML:
            raise ValueError(f"{file} has {file.stat().st_size} bytes: it is no file of names and values")
        loaded = parse_yaml(file.read_text("utf-8"), aliases=aliases)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read as YAML: {excerpt(str(error))}") from None
    if loaded is not None and not isinstance(loaded, dict):
        raise ValueError(f"{file} must hold names and values, e.g. {example!r}")
    return loaded or {}


def parse_yaml(text: str, *, exponents: bool = True, aliases: bool = False, longest: int = LONGEST_YAML) -> Any:
    """The value of a YAML text of any origin; the one way by which YAML is read.

    Refused are what can make a short text large or a parser slow, and what hides mistakes: anchors and aliases, more
    than `DEEPEST_YAML` levels, keys that are not text or are given twice, texts longer than `longest` characters.
    aliases: allow them, for files that their user has written, as long as what they stand for stays small.
    exponents: read 1e-4 as a number, as YAML 1.2 does; False: as text, as PyYAML writes it, for files of our own.
    Raises yaml.YAMLError, with one sentence, for all that cannot be read.
    """
    import yaml

    if len(text) > longest:
        raise yaml.YAMLError(f"it has {len(text)} characters: at most {longest} are read")
    try:
        return yaml.load(text, _yaml_loader(exponents, aliases))
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML's own constructors let impossible dates, numbers and encodings through to Python's.
        raise yaml.YAMLError(f"a value cannot be read: {excerpt(str(error), 120)}") from None


def dump_yaml(value: object, **options: Any) -> str:
    """A plain value as YAML that `parse_yaml` reads: without anchors. options: of yaml.dump. Raises yaml.YAMLError."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump(value, Dumper=Dumper, **options)


@lru_cache(maxsize=4)
def _yaml_loader(exponents: bool, aliases: bool) -> Any:
    import yaml  # here: the live path needs ranges from this module, and no YAML

    text_tag, merge_tag = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"

    def refuse(sentence: str, mark: Any) -> yaml.YAMLError:
        return yaml.YAMLError(f"{sentence} (line {mark.line + 1}, column {mark.column + 1})")

    class Loader(yaml.SafeLoader):
        depth = 0
        """Levels around the node that is being composed."""

        def __init__(self, stream: Any) -> None:
            super().__init__(stream)
            self.sizes: dict[int, tuple[int, int]] = {}
            """Of each composed node, by its id: values in it, and its levels, with those behind aliases."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()
            if getattr(event, "anchor", None) is not None and not aliases:
                raise refuse("anchors and aliases (& and *) are not allowed: write the value itself", event.start_mark)
            if isinstance(event, yaml.AliasEvent) and id(self.anchors.get(event.anchor, event)) not in self.sizes:
                raise refuse("an alias stands for nothing, or for what it is part of", event.start_mark)
            self.depth += 1
            if self.depth > DEEPEST_YAML:
                raise refuse(f"it is nested deeper than {DEEPEST_YAML} levels", event.start_mark)
            node: Any = super().compose_node(parent, index)
            if id(node) not in self.sizes:
                self.measure(node)
            values, levels = self.sizes[id(node)]
            if (aliases and values > MOST_NODES) or self.depth + levels - 1 > DEEPEST_YAML:
                raise refuse("its aliases stand for too much", event.start_mark)
            self.depth -= 1
            return node

        def measure(self, node: Any) -> None:
            if isinstance(node, yaml.MappingNode):
                self.check_keys(node)
                inner = [child for pair in node.value for child in pair]
            else:
                inner = node.value if isinstance(node, yaml.SequenceNode) else []
            sizes = [self.sizes.get(id(child), (1, 1)) for child in inner]
            self.sizes[id(node)] = 1 + sum(n for n, _ in sizes), 1 + max((levels for _, levels in sizes), default=0)

        def check_keys(self, node: Any) -> None:
            seen = set()
            for key, _ in node.value:
                if key.tag == merge_tag and aliases:
                    continue
                if key.tag != text_tag:
                    what = f" {shown(key.value)}" if isinstance(key, yaml.ScalarNode) else ""
                    raise refuse(f"the name{what} is not text: quote it", key.start_mark)
                if key.value in seen:
                    raise refuse(f"{shown(key.value)} is given twice", key.start_mark)
                seen.add(key.value)

    Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    if exponents:
        Loader.add_implicit_resolver(
            "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+.0123456789")
        )
    return Loader


def config_from(cls: type[T], mapping: object, where: str) -> T:
    """Build the frozen dataclass `cls` from a nested mapping, strictly; missing keys take the defaults.

    where: the name of the mapping in error messages, e.g. "model.yaml: config"; keys follow after a dot. Fields may be
    bool, int, float (finite; an int is accepted), str, Literal, tuples and lists (from lists), Mapping or dict with
    str keys, nested dataclasses, any of these or None, and Any. Raises ValueError, in one sentence that names the key,
    for an unknown or missing key, a value of another type, or one that the dataclass itself refuses.
    """
    return _value(cls, mapping, where)


def config_to(config: object) -> dict[str, Any]:
    """The plain mapping of a dataclass, for YAML and `config_from`. Raises ValueError for other values."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ValueError(f"a config must be a dataclass, not {shown(config)}")
    return {f.name: _plain(getattr(config, f.name), f.name) for f in dataclasses.fields(config) if f.init}


def _plain(value: object, where: str) -> Any:
    if dataclasses.is_dataclass(value):
        return config_to(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, f"{where}[{i}]") for i, inner in enumerate(value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError(f"{where} is {shown(value)}: a config holds only numbers, text, lists and mappings")


_NAMES: dict[object, str] = {
    bool: "true or false", int: "a whole number", float: "a finite number", str: "text", type(None): "null",
}  # fmt: skip


def _value(kind: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast(type, kind), value, where)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise ValueError(f"{where} is {shown(value)}: it must be {' or '.join(map(str, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return _first_that_fits(arguments, value, where)
    if origin in (tuple, list):
        return _sequence(origin, arguments, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{where} is {shown(value)}: it must hold names and values")
        return {key: _value(arguments[1], inner, f"{where}.{key}") for key, inner in value.items()}
    if kind not in _NAMES:
        raise TypeError(f"{where}: a config cannot hold fields of {kind!r}")
    if kind is float and type(value) is int and abs(value) < 2**1000:
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{where} is {shown(value)}: it must be {_NAMES[kind]}")
    return value


def _dataclass(cls: type[T], value: object, where: str) -> T:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {shown(value)}: it must hold names and values")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls)) if f.init}
    for key in value:
        if key not in fields:
            raise ValueError(
                f"{where}: there is no {shown(key)}{did_you_mean(key, fields)}: there are {', '.join(fields)}"
            )
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in value:
            raise ValueError(f"{where}.{name} is missing: it has no default")
    given = {key: _value(hints[key], inner, f"{where}.{key}") for key, inner in value.items()}
    try:
        return cls(**given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _first_that_fits(kinds: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if len(others) == 1:
        return _value(others[0], value, where)  # its own message is more precise
    for kind in sorted(
        others, key=lambda kind: kind is not type(value)
    ):  # 1 stays an int where both int and float are allowed
        try:
            return _value(kind, value, where)
        except ValueError:
            continue
    raise ValueError(f"{where} is {shown(value)}: it must be {' or '.join(_NAMES.get(k, str(k)) for k in kinds)}")


def _sequence(origin: type, arguments: tuple[Any, ...], value: object, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} is {shown(value)}: it must be a list")
    if origin is tuple and Ellipsis not in arguments:
        if len(value) != len(arguments):
            raise ValueError(f"{where} is {shown(value)}: it must be a list of {len(arguments)}")
        kinds = arguments
    else:
        kinds = (arguments[0],) * len(value)
    return origin(
        _value(kind, inner, f"{where}[{i}]") for i, (kind, inner) in enumerate(zip(kinds, value, strict=True))
    )


DEVICES = ("auto", "cpu", "cuda")
"""Devices of learned generators; auto is CUDA where there is a usable GPU, else the CPU."""


_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)


@contextmanager
def noted_ranges() -> Iterator[dict[str, str]]:
    """Within it `in_range` and `whole_in_range` refuse nothing: they note each name's range, for descriptions."""
    noted: dict[str, str] = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def _note(name: str, low: float, high: float, unit: str) -> bool:
    """Note a range within `noted_ranges`; False elsewhere."""
    noted = _noted.get()
    if noted is None:
        return False
    noted[name] = f"{low:g} to {high:g}{f' {unit}' if unit else ''}"
    return True


def in_range(name: str, value: object, low: float, high: float, unit: str = "") -> None:
    """Raise ValueError, in one sentence, unless `value` is a finite number in [low, high]."""
    if _note(name, low, high, unit):
        return
    expected = f"a number from {low:g} to {high:g}{f' {unit}' if unit else ''}"
    if (
        not isinstance(value, (int, float, np.floating, np.integer))
        or isinstance(value, bool)
        or not low <= value <= high  # false for NaN; exact for whole numbers that no float holds
        or not math.isfinite(float(value))
    ):
        raise ValueError(f"{name} is {shown(value)}: it must be {expected}")


def whole_in_range(name: str, value: object, low: int, high: int, unit: str = "") -> None:
    """Raise ValueError, in one sentence, unless `value` is a whole number in [low, high]."""
    if _note(name, low, high, unit):
        return
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(
            f"{name} is {shown(value)}: it must be a whole number from {low} to {high}{f' {unit}' if unit else ''}"
        )


def expect_flags(config: object, *names: str) -> None:
    """Raise ValueError, in one sentence, unless each of these fields of a config is true or false."""
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise ValueError(f"{name} is {shown(getattr(config, name))}: it must be true or false")


def expect_device(device: object) -> None:
    """Raise ValueError, in one sentence, unless `device` is one of `DEVICES`."""
    if device not in DEVICES:
        raise ValueError(f"device is {shown(device)}: it must be one of {', '.join(DEVICES)}")


def expect_weights_name(weights: object) -> None:
    """Raise ValueError, in one sentence, unless `weights` is a text that is not empty: a name or a path of weights."""
    if not isinstance(weights, str) or not weights:
        raise ValueError(f"weights are {shown(weights)}: they must be a name in models/ or a path")
