"""Typer options made from the launch arguments of `react_ros.bringup`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from react_ros.bringup import ARGUMENTS, Argument, as_text
from react_ros.cli.choices import completing
from react_ros.generators import registry


def option(name: str) -> Any:
    """A typer option with the flag and help of a launch argument."""
    return _option(next(a for a in ARGUMENTS if a.name == name))


def _option(argument: Argument) -> Any:
    flag = argument.flag or f"--{argument.name.replace('_', '-')}"
    if argument.value is True:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    names = registry.names() if argument.name == "generator" else list(argument.one_of)
    return typer.Option(
        flag, help=argument.description, metavar="|".join(argument.one_of) or None, rich_help_panel=_panel(argument),
        autocompletion=completing(names) if names else None,
    )  # fmt: skip


_PANELS = {
    "camera": "Camera and microphone", "microphone": "Camera and microphone", "listener": "Listener",
    "avatar": "Avatar", "recorder": "Recording",
}  # fmt: skip


def _panel(argument: Argument) -> str | None:
    """The panel of the help page: that of the last node whose parameter the argument sets."""
    return _PANELS[argument.sets[-1].partition(".")[0]] if argument.sets else None


def with_launch_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace `chosen`, the first parameter of a command, by one option for each launch argument.

    The command gets them as a dictionary from name to text, as `bringup.processes` takes it.
    """
    arguments = [a for a in ARGUMENTS if a.flag is not None]
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    options = [
        inspect.Parameter(
            a.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=a.value if a.run_value is None else a.run_value,
            annotation=Annotated[type(a.value), _option(a)],
        )
        for a in arguments
    ]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        chosen = {a.name: as_text(values.pop(a.name)) for a in arguments}
        command(chosen, **values)

    signature = inspect.Signature([*options, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own)])
    with_options.__signature__ = signature  # type: ignore[attr-defined]
    return with_options
