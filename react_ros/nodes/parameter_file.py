"""Checks a ROS parameter file against the nodes of a robot, before anything starts.

ROS itself ignores in silence what no node has: a misspelt parameter leaves the default, a misspelt node all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from react_ros.config import did_you_mean, excerpt, parse_yaml, shown
from react_ros.messages.namespace import join_namespace
from react_ros.nodes.base import AUTOSTART, Parameter
from react_ros.nodes.composed import CLASSES

PARAMETERS = "ros__parameters"
EVERY_NODE = ("use_sim_time", "start_type_description_service")
"""Parameters that rclpy declares for every node; also all that begin with `qos_overrides.`"""
_KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number with a point"}


def check_parameter_file(path: str, namespace: str) -> None:
    """Check the node names, parameter names and values in a parameter file for the robot in a namespace.

    Raises ValueError, in one sentence, for the first that the robot does not have.
    """
    nodes = {join_namespace(namespace, name): name for name in CLASSES}
    content = parse_yaml(Path(path).read_text("utf-8"))
    for pattern, parameters in _sections(content, ""):
        matched = [name for full, name in nodes.items() if _matches(pattern, full)]
        if not matched:
            raise ValueError(f"config {path!r}: {_no_node(pattern, nodes)}")
        if not isinstance(parameters, Mapping):
            raise ValueError(f"config {path!r}: the parameters of {pattern} must be names and values")
        tables = {name: _table(name) for name in matched}
        for parameter, value in _flat(parameters, ""):
            if problem := _problem(parameter, value, tables):
                raise ValueError(f"config {path!r}: {problem}")


def _sections(content: object, prefix: str) -> Iterator[tuple[str, object]]:
    """Node patterns with their parameters, e.g. ("/**/listener", {…})."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if key == PARAMETERS:
            yield prefix or "/", value
        else:
            yield from _sections(value, f"{prefix}/{str(key).strip('/')}")


def _matches(pattern: str, node: str) -> bool:
    """As rcl matches the names in parameter files: * is one part of a name, ** any number of them."""
    parts = [{"**": r"(/\w+)*", "*": r"/\w+"}.get(part, f"/{re.escape(part)}") for part in pattern.split("/") if part]
    return re.fullmatch("".join(parts), node) is not None


def _no_node(pattern: str, nodes: Mapping[str, str]) -> str:
    space, _, name = pattern.rpartition("/")
    if name in nodes.values():  # in another namespace
        near = next(full for full, known in nodes.items() if known == name)
        guess = f" (did you mean {near!r} or '/**/{name}'?)"
    else:
        guess = did_you_mean(pattern, [f"{space}/{known}" for known in nodes.values()])
    return f"this robot has no node {excerpt(pattern, 80)!r}{guess}: its nodes are {', '.join(nodes)}"


def _table(name: str) -> dict[str, Parameter]:
    node = getattr(import_module(f"react_ros.nodes.{name}"), CLASSES[name])
    return {p.name: p for p in (AUTOSTART, *node.PARAMETERS)}


def _flat(parameters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Parameters by their full names: nested ones are joined with points."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _problem(name: str, value: Any, tables: Mapping[str, Mapping[str, Parameter]]) -> str:
    """What is wrong with a parameter for all the nodes that it is meant for; empty: nothing."""
    if name in EVERY_NODE or name.startswith("qos_overrides."):
        return ""
    having = {node: table[name] for node, table in tables.items() if name in table}
    if not having:
        known = sorted({known for table in tables.values() for known in table})
        near = did_you_mean(name, known)
        if len(tables) > 1:
            return f"no node of this robot has a parameter {shown(name)}{near}"
        return f"{next(iter(tables))} has no parameter {shown(name)}{near}: it has {', '.join(known)}"
    for node, parameter in having.items():
        kind = type(parameter.default)
        if type(value) is not kind:
            return f"{node}: {name} must be {_KINDS.get(kind, 'another value')}, not {shown(value)}"
        if error := parameter.error(value):
            return f"{node}: {error}"
    return ""
