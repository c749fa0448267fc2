"""The robot's processes and launch arguments, declared once for `react-ros run` and `launch/avatar.launch.py`."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from react_ros.config import DEVICES, LONGEST_YAML, did_you_mean, excerpt, parse_yaml
from react_ros.dds import IMAGES_VARIABLE
from react_ros.generators import registry
from react_ros.messages.namespace import join_namespace, parse_namespace

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Argument:
    """A launch argument: `name:=value` of `ros2 launch`, an option of `react-ros run`."""

    name: str
    value: Value
    """The default. Its type is the argument's: str, int (0 or more), float (0 or more) or bool."""
    description: str
    sets: tuple[str, ...] = ()
    """Node parameters that take the value, as "node.parameter"."""
    one_of: tuple[str, ...] = ()
    """Allowed values; empty: any."""
    high: int = 2**31 - 1
    """Largest value of an int or float."""
    flag: str | None = ""
    """Flag of `react-ros run`; empty: --NAME; None: `react-ros run` has no such option."""
    run_value: Value | None = None
    """Default of `react-ros run` where it differs."""

    @property
    def default(self) -> str:
        """The default as text."""
        return as_text(self.value)

    @property
    def choices(self) -> tuple[str, ...]:
        """Allowed values as text; empty: any."""
        return ("true", "false") if isinstance(self.value, bool) else self.one_of

    def parse(self, text: str) -> Value:
        """The value of a text. Raises ValueError with one sentence."""
        if self.choices and text not in self.choices:
            near = did_you_mean(text, self.choices)
            raise ValueError(f"{self.name} must be one of {', '.join(self.choices)}, not {text!r}{near}")
        if isinstance(self.value, bool):
            return text == "true"
        if isinstance(self.value, int):
            if not text.isdecimal():
                raise ValueError(f"{self.name} must be a whole number, 0 or more, not {text!r}")
            if int(text) > self.high:
                raise ValueError(f"{self.name} must be at most {self.high}, not {text}")
            return int(text)
        if isinstance(self.value, float):
            try:
                number = float(text)
            except ValueError:
                number = math.nan
            if not 0 <= number < math.inf:
                raise ValueError(f"{self.name} must be a number, 0 or more, not {text!r}")
            if number > self.high:
                raise ValueError(f"{self.name} must be at most {self.high}, not {text}")
            return number
        return text


def as_text(value: Value) -> str:
    """A value as `ros2 launch` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


ARGUMENTS = (
    Argument("source", "0", "camera: device number, film file or address; none: another driver publishes image_raw",
             ("camera.source",), flag="--camera"),
    Argument("microphone", "default", "microphone: default, device name or sound file; none: no microphone node",
             ("microphone.source",), flag="--mic"),
    Argument("image", "", "topic on which another driver publishes its images, with /compressed beside it, in place of "
             "image_raw; with source:=none; empty: image_raw"),
    Argument("audio", "", "topic on which another driver publishes its sound, in place of audio; with "
             "microphone:=none; empty: audio"),
    Argument("generator", registry.DEFAULT, "NAME[,parameter=value…] of the listener, e.g. attentive,nodding=0.5 "
             "(react-ros generators lists them)", ("listener.generator",)),
    Argument("seed", 0, "random seed of the listener: the same seed and input give the same reactions",
             ("avatar.seed", "listener.seed")),
    Argument("samples", 1, "number of sampled listeners; the avatar shows one", ("listener.samples",)),
    Argument("liveliness", 1.0, "how much the face and head move: 0 still, 1 as the system is, 2 lively",
             ("listener.liveliness",), high=2),
    Argument("namespace", "robot", "namespace of all nodes and topics"),
    Argument("device", "auto", "device of a learned generator", ("listener.device",), one_of=DEVICES),
    Argument("rendering", True, "render the face and publish avatar/image", ("avatar.render",)),
    Argument("view_port", 0, "port of the live page with human and avatar; 0: no page", ("avatar.view_port",),
             high=65535, run_value=8025),
    Argument("window", False, "show the avatar in a window", ("avatar.window",)),
    Argument("loop", False, "restart a film or sound file when it ends", ("camera.loop", "microphone.loop")),
    Argument("start_at", 0.0, "time at which files start, s since the epoch, for picture and sound in step; 0: at once",
             ("camera.start_at", "microphone.start_at"), flag=None),
    Argument("composed", False, "run all nodes in one process"),
    Argument("record", "", "folder of a new bag with every topic; empty: no recording", ("recorder.path",)),
    Argument("privacy", "raw", "content of the bag: raw, or features (no image, no sound)", ("recorder.privacy",),
             one_of=("raw", "features")),
    Argument("use_sim_time", False, "take the time from /clock, which `react-ros replay --live` publishes",
             flag="--sim-time"),
    Argument("config", "", "ROS parameter file that overrides the other arguments; empty: none"),
)  # fmt: skip

START_S = 8.0
"""Time from the start of the processes to that of film and sound files: every node is up, also on a slow machine."""
NODES = ("recorder", "avatar", "listener", "perception", "microphone", "camera")
"""In the order in which they start: subscribers before publishers."""
SENSORS = ("microphone", "camera")


@dataclass(frozen=True, slots=True)
class Process:
    """A process with one node, or with several (`composed`)."""

    executable: str
    namespace: str
    parameters: dict[str, Value] = field(default_factory=dict)
    parameter_files: tuple[str, ...] = ()
    remappings: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    """On the command line before `--ros-args`."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables in addition to those of `environment`."""

    @property
    def ros_arguments(self) -> list[str]:
        """The arguments after `--ros-args` on the node's command line."""
        out = ["-r", f"__ns:=/{self.namespace.strip('/')}"] if self.namespace.strip("/") else []
        for name, value in self.parameters.items():
            # rcl parses the value as YAML, a superset of JSON (except for \u escapes of characters beyond 16 bits, so
            # they are not escaped). The quotes keep a string a string ("0" is not a number).
            out += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
        for file in self.parameter_files:
            out += ["--params-file", file]
        for old, new in self.remappings.items():
            out += ["-r", f"{old}:={new}"]
        return out

    @property
    def command(self) -> list[str]:
        """The command line that starts it, with the environment of `package.package_environment`."""
        # -P: no module is taken from the current folder.
        return [sys.executable, "-P", "-m", "react_ros.nodes", self.executable, *self.arguments, "--ros-args",
                *self.ros_arguments]  # fmt: skip


def processes(chosen: Mapping[str, str]) -> list[Process]:
    """The robot's processes for values of `ARGUMENTS` as text; arguments not given take their defaults.

    Raises ValueError with one sentence for an unknown name or an invalid value.
    """
    known = {argument.name: argument for argument in ARGUMENTS}
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(
            f"unknown argument {unknown[0]!r}{did_you_mean(unknown[0], known)}: there are {', '.join(known)}"
        )
    values = {name: argument.parse(chosen.get(name, argument.default)) for name, argument in known.items()}
    namespace, config, record = (str(values[name]) for name in ("namespace", "config", "record"))
    parse_namespace(namespace)
    generator, generator_parameters = registry.parse_choice(str(values["generator"]))
    registry.check(generator, generator_parameters)
    values["generator"] = generator
    if config:
        _check_config(config)
    if record and Path(record).expanduser().exists():
        raise ValueError(f"record {record!r} exists already: name a new folder")
    parameters: dict[str, dict[str, Value]] = {node: {} for node in NODES}
    # A recorder that is restarted after a crash writes a second bag beside the first.
    parameters["recorder"]["again"] = True
    for argument in ARGUMENTS:
        for target in argument.sets:
            node, _, parameter = target.partition(".")
            parameters[node][parameter] = values[argument.name]
    if generator_parameters:
        parameters["listener"]["generator_parameters"] = yaml.safe_dump(generator_parameters, default_flow_style=True,
                                                                        width=2**20).strip()  # fmt: skip
    if values["use_sim_time"]:
        for node in NODES:
            parameters[node]["use_sim_time"] = True
    absent = {
        node
        for node, missing in (
            ("recorder", not record),
            ("microphone", values["microphone"] == "none"),
            ("camera", values["source"] == "none"),
        )
        if missing
    }
    files = (config,) if config else ()
    remappings = {
        name: _topic(argument, topic)
        for name, argument in (("image_raw", "image"), ("audio", "audio"))
        if (topic := str(values[argument]))
    }
    images = join_namespace(namespace, remappings.get("image_raw", "image_raw"))
    third_party = {IMAGES_VARIABLE: images if values["source"] == "none" else ""}
    table = [
        Process(node, namespace, parameters[node], files, remappings, environment=third_party)
        for node in NODES
        if node not in absent
    ]
    return [_composed(table)] if values["composed"] else table


def _topic(argument: str, text: str) -> str:
    """A topic that a user names, relative to the robot's namespace or absolute. Raises ValueError."""
    if not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", text, re.ASCII):
        raise ValueError(f"{argument} must be a topic like /camera/image_raw, not {text!r}")
    return text


def _composed(table: Sequence[Process]) -> Process:
    """One process with the nodes of a table, which react_ros/nodes/composed.py takes apart again."""
    nodes = json.dumps([[process.executable, process.ros_arguments] for process in table], ensure_ascii=False)
    return Process("composed", "", arguments=(nodes,), environment=table[0].environment)


def _check_config(path: str) -> None:
    """Checks that it is a parameter file; nodes/parameter_file.py checks what is in it."""
    if not Path(path).is_file():
        raise ValueError(f"config {path!r} is no file")
    example = "expected ROS parameters, like {/**/listener: {ros__parameters: {samples: 3}}}"
    try:
        with open(path, "rb") as file:
            content = parse_yaml(file.read(LONGEST_YAML + 1).decode("utf-8"))
    except OSError as error:
        raise ValueError(f"config {path!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"config {path!r} is no YAML file: {example}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"config {path!r} is no YAML file ({excerpt(str(error), 160)}): {example}") from None
    if not isinstance(content, dict) or not _names_parameters(content):
        raise ValueError(f"config {path!r} names no node's parameters: {example}")


def _names_parameters(content: Mapping[str, object]) -> bool:
    return any(
        name == "ros__parameters" or (isinstance(inner, dict) and _names_parameters(inner))
        for name, inner in content.items()
    )


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables for the processes that are not already set in `given` (default: os.environ)."""
    given = os.environ if given is None else given
    variables = {
        # Several processes share the cores: no numerical library may use all of them.
        "OMP_NUM_THREADS": "1",
    }
    return {name: value for name, value in variables.items() if name not in given}
