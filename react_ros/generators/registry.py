"""Finds systems by name through the entry-point group `react_ros.systems`, and imports only what is asked for.

Any installed package may declare systems in its pyproject.toml:

    [project.entry-points."react_ros.systems"]
    my_system = "my_package.my_system:SYSTEM"
"""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from react_ros.config import did_you_mean
from react_ros.generators.contract import Generator, GeneratorInfo
from react_ros.generators.system import KINDS, System

GROUP = "react_ros.systems"
DEFAULT = "fsq"
"""The system that listens where nobody chose one."""

_log = logging.getLogger(__name__)
_registered: dict[str, System] = {}


def register(system: System) -> None:
    """Add a system to this process, in place of an installed one of the same name."""
    _registered[system.name] = system


def unregister(name: str) -> None:
    """Take back `register`."""
    _registered.pop(name, None)


def names() -> list[str]:
    """The names of all systems, in order; imports none of them."""
    return sorted({*_installed(), *_registered})


def system(name: str) -> System:
    """The declaration of a system.

    Raises ValueError, in one sentence, for an unknown name, for one that two packages claim, and for a declaration
    that cannot be imported.
    """
    if name in _registered:
        return _registered[name]
    found = _installed().get(name)
    if found is None:
        if not _installed():
            raise ValueError(
                "no system is installed: the metadata of react_ros are missing; install it with pip or colcon"
            )
        raise ValueError(f"unknown generator {name!r}{did_you_mean(name, names())}: there are {', '.join(names())}")
    if len(found) > 1:
        claims = " and ".join(sorted(f"{_package(entry)} ({entry.value})" for entry in found))
        raise ValueError(f"generator {name!r} is declared twice: by {claims}; uninstall one of them")
    try:
        declared = found[0].load()
    except Exception as error:  # another package's code
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"generator {name!r} of {_package(found[0])} cannot be imported: {reason}") from error
    if not isinstance(declared, System) or declared.name != name:
        raise ValueError(f"generator {name!r}: {found[0].value} must be a System of that name, not {declared!r:.80}")
    return declared


def systems() -> list[System]:
    """All systems that can be imported: baselines, rules and learned ones, by name within each kind."""
    out = []
    for name in names():
        try:
            out.append(system(name))
        except ValueError as error:
            _log.warning("%s", error)
    return sorted(out, key=lambda s: (KINDS.index(s.kind), s.name))


def info(name: str) -> GeneratorInfo:
    """What the system says of itself with its default parameters. Raises ValueError for an unknown name."""
    return system(name).load_generator().info


def parameters(name: str) -> dict[str, Any]:
    """The system's parameters with their defaults. Raises ValueError for an unknown name."""
    return system(name).parameters


def current_names(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters under the names of today; one that was renamed is logged."""
    renamed = system(name).renamed
    out = {}
    for parameter, value in given.items():
        new = renamed.get(parameter, parameter)
        if new != parameter and new not in given:
            _log.warning("%s: the parameter %s is called %s now", name, parameter, new)
            parameter = new
        out[parameter] = value
    return out


def create(name: str, **given: Any) -> Generator:
    """The system of that name with these parameters, the defaults for the others.

    Raises ValueError, in one sentence, for an unknown name, an unknown parameter or an impossible value.
    """
    declared = system(name)
    known = list(declared.parameters)
    given = current_names(name, given)
    for parameter in given:
        if parameter not in known:
            raise ValueError(
                f"{name} has no parameter {parameter!r}{did_you_mean(parameter, known)}: it takes {', '.join(known)}"
            )
    try:
        config = declared.Config(**given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return declared.load_generator()(config)


@lru_cache(maxsize=1)
def _installed() -> dict[str, list[EntryPoint]]:
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        # The same distribution may be found twice on the path, e.g. beside an editable installation.
        found.setdefault(entry.name, {}).setdefault(entry.value, entry)
    return {name: list(entries.values()) for name, entries in found.items()}


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(".")[0]
