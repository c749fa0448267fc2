"""Finds systems by name through the entry-point group `react_ros.systems`; imports each on first use.

Any installed package may declare systems in its pyproject.toml:

    [project.entry-points."react_ros.systems"]
    my_system = "my_package.my_system:SYSTEM"
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import yaml

from react_ros.config import did_you_mean, parse_yaml
from react_ros.generators.contract import Generator, GeneratorInfo
from react_ros.generators.liveliness import AS_TRAINED, check_liveliness, split_liveliness, with_liveliness
from react_ros.generators.system import KINDS, System

GROUP = "react_ros.systems"
DEFAULT = "attentive"
"""The default generator."""

_log = logging.getLogger(__name__)
_registered: dict[str, System] = {}


def register(system: System) -> None:
    """Add a system in this process; it replaces an installed one of the same name."""
    _registered[system.name] = system


def unregister(name: str) -> None:
    """Undo `register`."""
    _registered.pop(name, None)


def names() -> list[str]:
    """The names of all systems, sorted; imports none of them."""
    return sorted({*_installed(), *_registered})


def system(name: str) -> System:
    """The declaration of a system.

    Raises ValueError, in one sentence, for an unknown name, a name that two packages declare, a declaration that
    cannot be imported, and one that is not a `System` of that name.
    """
    if name in _registered:
        return _registered[name]
    found = _installed().get(name)
    if found is None:
        if not _installed():
            raise ValueError(
                "no system is installed: the metadata of react_ros is missing; install it with pip or colcon"
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
    """All systems whose declarations can be imported, by kind (see `KINDS`), then by name; the others are logged."""
    out = []
    for name in names():
        try:
            out.append(system(name))
        except ValueError as error:
            _warn_once(str(error))
    return sorted(out, key=lambda s: (KINDS.index(s.kind), s.name))


@lru_cache(maxsize=256)
def _warn_once(sentence: str) -> None:
    _log.warning("%s", sentence)


def info(name: str) -> GeneratorInfo:
    """The properties of a system with its default parameters. Raises ValueError as `system` does."""
    return system(name).load_generator().info


def describe(name: str) -> GeneratorInfo:
    """The properties of a system for lists; one that cannot be loaded has the reason as its notice."""
    try:
        return create(name).info
    except Exception as error:  # another package's code
        reason = f"Not available: {' '.join(str(error).split()) or type(error).__name__}"
    try:
        return replace(info(name), notice=reason)
    except Exception:
        return GeneratorInfo(name, "cannot be imported", (), notice=reason)


def parameters(name: str) -> dict[str, Any]:
    """The parameters of a system with their defaults, `liveliness` of all systems last.

    Raises ValueError as `system` does.
    """
    return {**system(name).parameters, "liveliness": AS_TRAINED}


def current_names(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Parameters with former names replaced by the current ones (see `System.renamed`); logs each."""
    renamed = system(name).renamed
    out = {}
    for parameter, value in given.items():
        new = renamed.get(parameter, parameter)
        if new != parameter and new not in given:
            _log.warning("%s: the parameter %s is now called %s", name, parameter, new)
            parameter = new
        out[parameter] = value
    return out


def parse_choice(text: str) -> tuple[str, dict[str, Any]]:
    """A system and its parameters from NAME[,parameter=value…], as users type it everywhere; values are YAML scalars.

    Parameters with former names have their current ones. Raises ValueError, in one sentence, for text of another form;
    neither the name nor the values are checked (see `check`).
    """
    name, *pairs = text.split(",")
    parameters = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{text[:80]!r}: {pair[:80]!r} is not parameter=value")
        try:
            parsed = parse_yaml(value[:1000])
        except (yaml.YAMLError, RecursionError):
            parsed = [value]
        if isinstance(parsed, (list, dict)) or len(value) > 1000:
            raise ValueError(f"{text[:80]!r}: {value[:80]!r} is not a value for {key.strip()[:80]}")
        parameters[key.strip()] = parsed
    return name.strip(), parameters


def check(name: str, given: dict[str, Any]) -> Any:
    """The configuration of a system with these parameters, `liveliness` among them; loads no weights.

    Raises ValueError, in one sentence, for an unknown name, an unknown parameter and an impossible value.
    """
    declared = system(name)
    known = list(parameters(name))
    own, liveliness = split_liveliness(current_names(name, given))
    for parameter in own:
        if parameter not in known:
            raise ValueError(
                f"{name} has no parameter {parameter!r}{did_you_mean(parameter, known)}: it takes {', '.join(known)}"
            )
    try:
        config = declared.Config(**own)
        check_liveliness(liveliness)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return config


def create(name: str, **given: Any) -> Generator:
    """The generator of that name with these parameters, `liveliness` among them, and defaults for the others.

    Raises ValueError, in one sentence, for an unknown name, an unknown parameter, an impossible value, and a system
    that cannot be imported or loaded.
    """
    config = check(name, given)
    _, liveliness = split_liveliness(given)
    return with_liveliness(system(name).load_generator()(config), liveliness)


@lru_cache(maxsize=1)
def _installed() -> dict[str, list[EntryPoint]]:
    found: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        # The same distribution can be found twice, e.g. on the path and as an editable installation.
        found.setdefault(entry.name, {}).setdefault(entry.value, entry)
    return {name: list(entries.values()) for name, entries in found.items()}


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(".")[0]
