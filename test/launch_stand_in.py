"""Stand-in for the parts of launch and launch_ros that the launch file uses (PyPI has neither).

Names, arguments and errors follow ROS 2 Jazzy; nothing is started.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


class Context:
    """launch.LaunchContext: the values of the launch configurations."""

    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}
        self.environment: dict[str, str] = {}


class LaunchDescription:
    def __init__(self, initial_entities: Sequence[Any] | None = None) -> None:
        self.entities = list(initial_entities or ())

    def start(self, given: dict[str, str]) -> tuple[Context, list[Any]]:
        """Run the description as `ros2 launch … name:=value` does. Returns the context and the actions in order."""
        context, run = Context(), []
        context.launch_configurations.update(given)
        waiting = list(self.entities)
        while waiting:
            entity = waiting.pop(0)
            run.append(entity)
            waiting = [*(entity.execute(context) or ()), *waiting]
        return context, run


class DeclareLaunchArgument:
    def __init__(
        self, name: str, *, default_value: Any = None, description: str | None = None, choices: list[str] | None = None
    ) -> None:
        self.name, self.default_value, self.description, self.choices = name, default_value, description, choices
        if choices is not None and not choices:
            raise ValueError("no choices")
        if choices and default_value is not None and default_value not in choices:
            raise ValueError(f"{default_value!r} is none of the choices of {name}")

    def execute(self, context: Context) -> None:
        if not isinstance(self.default_value, str):
            raise TypeError(f"the default of {self.name} is no text")
        value = context.launch_configurations.setdefault(self.name, self.default_value)
        if self.choices and value not in self.choices:
            raise RuntimeError(f"{self.name} must be one of {self.choices}, not {value!r}")


class SetEnvironmentVariable:
    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value

    def execute(self, context: Context) -> None:
        context.environment[self.name] = self.value


class LaunchConfiguration:
    def __init__(self, variable_name: str, *, default: Any = None) -> None:
        self.name = variable_name

    def perform(self, context: Context) -> str:
        return context.launch_configurations[self.name]


class OpaqueFunction:
    def __init__(self, *, function: Callable[..., Any], args: Any = None, kwargs: Any = None) -> None:
        self.function = function

    def execute(self, context: Context) -> Any:
        return self.function(context)


class Shutdown:
    def __init__(self, *, reason: str = "reason not given") -> None:
        self.reason = reason


class OnProcessExit:
    def __init__(self, *, target_action: Any = None, on_exit: Any = None) -> None:
        self.target_action, self.on_exit = target_action, on_exit


class RegisterEventHandler:
    def __init__(self, event_handler: OnProcessExit) -> None:
        self.handler = event_handler

    def execute(self, context: Context) -> None:
        context.launch_configurations[f"handler of {id(self.handler.target_action)}"] = "registered"


@dataclass
class ParameterValue:
    value: Any
    value_type: Any = None


@dataclass(kw_only=True)
class Node:
    """launch_ros.actions.Node, with the arguments of its base classes that are used here."""

    executable: str
    package: str
    name: str | None = None
    namespace: str | None = None
    parameters: Sequence[Any] = ()
    remappings: Sequence[tuple[str, str]] = ()
    ros_arguments: Sequence[str] = ()
    arguments: Sequence[str] = ()
    additional_env: dict[str, str] | None = None
    output: str = "log"
    respawn: bool = False
    respawn_delay: float | None = None
    watched: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        for parameter in self.parameters:
            if not isinstance(parameter, (dict, str)):
                raise TypeError(f"a parameter is a dictionary or a file, not {parameter!r}")

    def execute(self, context: Context) -> None:
        self.watched = f"handler of {id(self)}" in context.launch_configurations


def modules() -> dict[str, ModuleType]:
    """Modules by name, for sys.modules."""
    contents: dict[str, tuple[Any, ...]] = {
        "launch": (LaunchDescription,),
        "launch.actions": (
            DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler, SetEnvironmentVariable, Shutdown
        ),
        "launch.event_handlers": (OnProcessExit,),
        "launch.substitutions": (LaunchConfiguration,),
        "launch_ros": (),
        "launch_ros.actions": (Node,),
        "launch_ros.parameter_descriptions": (ParameterValue,),
    }  # fmt: skip
    out = {}
    for name, classes in contents.items():
        out[name] = ModuleType(name)
        for cls in classes:
            setattr(out[name], cls.__name__, cls)
    return out


def installed() -> bool:
    """Whether the real packages are installed."""
    return "launch_ros" not in sys.modules and _found("launch") and _found("launch_ros")


def _found(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
