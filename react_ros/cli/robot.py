"""`react-ros set`, `react-ros status`: a running robot, without the command ros2."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from react_ros.cli.terminal import fail, plain_console, user_errors

Namespace = Annotated[str, typer.Option(help="namespace of the robot", metavar="NAME")]
LEVELS = ("ok", "warning", "error", "stale")


def set_parameter(
    name: Annotated[str, typer.Argument(help="parameter; NODE.PARAMETER if several have it", metavar="NAME")],
    value: Annotated[str, typer.Argument(help="for generator: NAME[,parameter=value…]", metavar="VALUE")],
    namespace: Namespace = "robot",
) -> None:
    """Set a parameter of a running robot, e.g. react-ros set generator attentive,nodding=0.5."""
    from react_ros.generators import registry
    from react_ros.messages.namespace import parse_namespace

    with user_errors():
        space = parse_namespace(namespace)
        from react_ros.nodes.remote import NoRobot, live_parameter, parse_value, set_parameters

        node, parameter = live_parameter(name)
        values = {parameter.name: parse_value(parameter, value)}
        if parameter.name == "generator":
            generator, parameters = registry.parse_choice(value)
            registry.check(generator, parameters)
            text = json.dumps(parameters, ensure_ascii=False) if parameters else ""
            values = {"generator": generator, "generator_parameters": text}
        try:
            set_parameters(space, node, values)
        except NoRobot as error:
            raise fail(error) from None
    shown = ", ".join(f"{key} = {text}" for key, text in values.items() if text != "")
    print(f"{space.rstrip('/')}/{node}: {shown}")


def status(
    namespace: Namespace = "robot",
    as_json: Annotated[bool, typer.Option("--json", help="print everything as JSON")] = False,
) -> None:
    """What a running robot says of itself: each node's state, counters and warnings. Exit code 1 if any node warns."""
    from rich.table import Table
    from rich.text import Text

    from react_ros.messages.namespace import parse_namespace

    with user_errors():
        space = parse_namespace(namespace)
        from react_ros.nodes.remote import NoRobot, read_status

        try:
            nodes = read_status(space)
        except NoRobot as error:
            raise fail(error) from None
    if as_json:
        print(json.dumps([asdict(node) for node in nodes], indent=1, ensure_ascii=False))
    else:
        table = Table("node", "", "says", box=None, padding=(0, 2, 0, 0))
        for node in nodes:
            facts = ", ".join(f"{key} {text}" for key, text in node.values.items() if text)
            level = LEVELS[min(node.level, len(LEVELS) - 1)]
            table.add_row(node.name, level, Text(node.message + (f": {facts}" if facts else "")))
        plain_console().print(table)
    if any(node.level for node in nodes):
        raise typer.Exit(1)
