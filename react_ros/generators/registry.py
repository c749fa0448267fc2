"""Finds a generator by name, without importing any other."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from react_ros.generators.contract import Generator, GeneratorInfo

DEFAULT = "fsq"
"""Who listens where nobody chose."""

_SYSTEMS: dict[str, str] = {
    "attentive": "react_ros.systems.attentive.generator:Attentive",
    "belfusion": "react_ros.systems.belfusion.generator:Belfusion",
    "fsq": "react_ros.systems.fsq.generator:Fsq",
    "mean_frame": "react_ros.systems.mean.generator:MeanFrame",
    "mean_sequence": "react_ros.systems.mean.generator:MeanSequence",
    "mime": "react_ros.systems.mime.generator:Mime",
    "random": "react_ros.systems.random.generator:Random",
    "reactdiff": "react_ros.systems.reactdiff.generator:ReactDiff",
    "vqdiff": "react_ros.systems.vqdiff.generator:VqDiff",
}


def names() -> list[str]:
    """The names of all systems, in order; imports none of them."""
    return sorted(_SYSTEMS)


def info(name: str) -> GeneratorInfo:
    """What the system says of itself with its default parameters. Raises ValueError for an unknown name."""
    return _system(name).info


def parameters(name: str) -> dict[str, Any]:
    """The system's parameters with their defaults. Raises ValueError for an unknown name."""
    return {f.name: f.default for f in fields(_system(name).Config)}


def create(name: str, **given: Any) -> Generator:
    """The system of that name with these parameters, the defaults for the others.

    Raises ValueError, in one sentence, for an unknown name, an unknown parameter or an impossible value.
    """
    system = _system(name)
    known = [f.name for f in fields(system.Config)]
    for parameter in given:
        if parameter not in known:
            raise ValueError(
                f"{name} has no parameter {parameter!r}{_guess(parameter, known)}: it takes {', '.join(known)}"
            )
    try:
        config = system.Config(**given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return system(config)


def _system(name: str) -> Any:
    if name not in _SYSTEMS:
        raise ValueError(f"unknown generator {name!r}{_guess(name, names())}: there are {', '.join(names())}")
    module, attribute = _SYSTEMS[name].split(":")
    return getattr(import_module(module), attribute)


def _guess(word: str, known: list[str]) -> str:
    close = get_close_matches(str(word), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
