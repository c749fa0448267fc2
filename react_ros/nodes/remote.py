"""A running robot from outside: what it says of itself, and its live parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter as RosParameter

from react_ros.config import did_you_mean
from react_ros.messages.namespace import join_namespace, no_robot
from react_ros.nodes.base import Parameter
from react_ros.nodes.composed import CLASSES
from react_ros.nodes.probe import Probe

FIND_S = 3.0
"""Time in which a running robot is found."""
ANSWER_S = 5.0
"""Time in which a node must answer."""


class NoRobot(Exception):
    """There is no robot, or it does not answer; the message is one sentence for users."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node says of itself in /diagnostics."""

    name: str
    """Full name."""
    level: int
    """0 OK, 1 warning, 2 error, 3 stale."""
    message: str
    values: dict[str, str]


def tables() -> dict[str, tuple[Parameter, ...]]:
    """Node name to its parameters."""
    out = {}
    for name, cls in CLASSES.items():
        out[name] = tuple(getattr(import_module(f"react_ros.nodes.{name}"), cls).PARAMETERS)
    return out


def live_parameter(name: str) -> tuple[str, Parameter]:
    """(node, parameter) of a parameter that may be set live, as NAME or NODE.NAME.

    Raises ValueError, in one sentence, for an unknown one, one that cannot be set live, and one of several nodes.
    """
    node, _, own = name.rpartition(".")
    every = [(n, p) for n, table in tables().items() for p in table if not node or n == node]
    live = {f"{n}.{p.name}" if node else p.name: (n, p) for n, p in every if p.live}
    found = [(n, p) for n, p in every if p.name == own]
    if not found:
        near = did_you_mean(name, live)
        raise ValueError(f"no node has a parameter {name!r}{near}: those that can be set are {', '.join(sorted(live))}")
    settable = [(n, p) for n, p in found if p.live]
    if not settable:
        raise ValueError(f"{name} cannot be set while the robot runs: end it, and start it with another value")
    if len(settable) > 1:
        names = " or ".join(f"{n}.{own}" for n, _ in settable)
        raise ValueError(f"{own} is a parameter of several nodes: name one, {names}")
    return settable[0]


def parse_value(parameter: Parameter, text: str) -> Any:
    """The value of a text, of the parameter's type. Raises ValueError with one sentence."""
    kind = type(parameter.default)
    try:
        if kind is bool:
            value: Any = {"true": True, "false": False}[text.lower()]
        else:
            value = kind(text)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"{parameter.name} must be {wanted}, not {text[:80]!r}") from None
    if error := parameter.error(value):
        raise ValueError(error)
    return value


def set_parameters(namespace: str, node: str, values: Mapping[str, Any]) -> None:
    """Set parameters of a running robot's node, all or none. Raises NoRobot, and ValueError where the node refuses."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    full = join_namespace(namespace, node)
    with Probe("/", {}) as probe:
        client = probe.node.create_client(SetParametersAtomically, f"{full}/set_parameters_atomically")
        _find(probe, client.service_is_ready, namespace, f"{full} does not answer")
        wanted = [RosParameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        future = client.call_async(SetParametersAtomically.Request(parameters=wanted))
        _find(probe, future.done, namespace, f"{full} does not answer", ANSWER_S)
        answer = future.result()
    if answer is None or not answer.result.successful:
        raise ValueError(f"{full}: {answer.result.reason if answer is not None else 'it does not answer'}")


def read_status(namespace: str) -> list[NodeStatus]:
    """The newest diagnostics of each node of a robot, by name; waits until all nodes have spoken. Raises NoRobot."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    prefix = namespace.rstrip("/") + "/"
    with Probe("/", {}) as probe:

        def spoken() -> dict[str, Any]:
            return {name: status for name, status in probe.diagnostics.items() if name.startswith(prefix)}

        def everybody() -> bool:
            nodes = {join_namespace(space, name) for name, space in probe.node.get_node_names_and_namespaces()}
            ours = {n for n in nodes if n.startswith(prefix) and n.rpartition("/")[2] in CLASSES}
            return bool(ours) and ours <= set(spoken())

        try:
            probe.wait(everybody, FIND_S, "the robot")
        except TimeoutError:
            if not spoken():
                raise NoRobot(_missing(probe, namespace) or f"no node of {namespace} says anything") from None
        return [
            NodeStatus(name, int.from_bytes(s.level, "big") if isinstance(s.level, bytes) else int(s.level), s.message,
                       {v.key: v.value for v in s.values})
            for name, s in sorted(spoken().items())
        ]  # fmt: skip


def _find(probe: Probe, condition: Any, namespace: str, otherwise: str, seconds: float = FIND_S) -> None:
    try:
        probe.wait(condition, seconds, otherwise)
    except TimeoutError:
        raise NoRobot(_missing(probe, namespace) or otherwise) from None


def _missing(probe: Probe, namespace: str) -> str:
    """Why there is no robot in a namespace; empty where there is one."""
    graph = probe.node
    nodes = {join_namespace(space, name) for name, space in graph.get_node_names_and_namespaces()}
    own = graph.get_fully_qualified_name()
    topics = [name for name, _ in graph.get_topic_names_and_types() if graph.count_publishers(name)]
    return no_robot(namespace, nodes - {own}, topics)
