"""The processes of the robot, described once: `react-ros run` and `launch/avatar.launch.py` both read this table."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from react_ros.config import DEVICES
from react_ros.generators import registry
from react_ros.package import dds_profile

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Argument:
    """One thing that people choose when they start the robot."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


ARGUMENTS = (
    Argument("source", "0", "camera: device number, film file or address; none: another driver publishes image_raw"),
    Argument("microphone", "default", "microphone: default, a device's name, a sound file; none: there is none"),
    Argument("generator", registry.DEFAULT, "which system listens (react-ros generators lists them)"),
    Argument("seed", "0", "seed of the listener: the same seed and input give the same face"),
    Argument("samples", "1", "how many listeners are drawn at once; the avatar shows one"),
    Argument("namespace", "robot", "namespace of all topics and nodes"),
    Argument("device", "auto", "where a learned generator runs", DEVICES),
    Argument("rendering", "true", "draw the face and publish avatar/image", ("true", "false")),
    Argument("view_port", "0", "show human and avatar as a page on this port; 0: no page"),
    Argument("window", "false", "show the avatar in a window", ("true", "false")),
    Argument("loop", "false", "begin a film or sound file anew at its end", ("true", "false")),
    Argument("start_at", "0.0", "when files begin, s since the epoch, so that picture and sound agree; 0: at once"),
    Argument("record", "", "write a bag of every topic into this folder; empty: none"),
    Argument("privacy", "raw", "what a bag holds: raw, or features (no image, no sound)", ("raw", "features")),
    Argument("use_sim_time", "false", "time is /clock's, as `react-ros replay --live` tells it", ("true", "false")),
    Argument("config", "", "ROS parameter file on top of these; empty: none"),
)


@dataclass(frozen=True, slots=True)
class Process:
    """One node in a process of its own."""

    executable: str
    namespace: str
    parameters: dict[str, Value] = field(default_factory=dict)
    parameter_files: tuple[str, ...] = ()
    remappings: dict[str, str] = field(default_factory=dict)

    @property
    def ros_arguments(self) -> list[str]:
        """What follows `--ros-args` on the node's command line."""
        out = ["-r", f"__ns:=/{self.namespace.strip('/')}"] if self.namespace.strip("/") else []
        for name, value in self.parameters.items():
            # rcl reads the value as YAML, of which JSON is a part (but for its escapes of signs beyond 16 bits): quotes
            # keep a text a text ("0" is no number).
            out += ["-p", f"{name}:={json.dumps(value, ensure_ascii=False)}"]
        for file in self.parameter_files:
            out += ["--params-file", file]
        for old, new in self.remappings.items():
            out += ["-r", f"{old}:={new}"]
        return out

    @property
    def command(self) -> list[str]:
        """The command line that starts it."""
        return [sys.executable, "-m", f"react_ros.nodes.{self.executable}", "--ros-args", *self.ros_arguments]


def processes(chosen: Mapping[str, str]) -> list[Process]:
    """The robot's processes for the chosen values of `ARGUMENTS` (the defaults for the others).

    Raises ValueError, in one sentence, for an unknown name or an impossible value.
    """
    known = {argument.name: argument for argument in ARGUMENTS}
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(f"unknown argument {unknown[0]!r}: there are {', '.join(known)}")
    value = {name: chosen.get(name, argument.default) for name, argument in known.items()}
    for name, argument in known.items():
        if argument.choices and value[name] not in argument.choices:
            raise ValueError(f"{name} must be one of {', '.join(argument.choices)}, not {value[name]!r}")
    if not re.fullmatch(r"/?(\w+/)*\w*", value["namespace"], re.ASCII) or re.search(r"(^|/)\d", value["namespace"]):
        example = "letters, digits and _, like robot or lab/robot_2"
        raise ValueError(f"namespace must be of {example}, not {value['namespace']!r}")
    yes = {name: value[name] == "true" for name in ("rendering", "window", "loop")}
    seed, samples = _whole("seed", value["seed"]), _whole("samples", value["samples"])
    try:
        start_at = float(value["start_at"])
    except ValueError:
        start_at = math.nan
    if not 0 <= start_at < math.inf:
        raise ValueError(f"start_at must be a number of seconds, 0 or more, not {value['start_at']!r}")
    files: tuple[str, ...] = ()
    if value["config"]:
        if not Path(value["config"]).is_file():
            raise ValueError(f"config {value['config']!r} is no file")
        _check_config(value["config"])
        files = (value["config"],)
    filed: dict[str, Value] = {"loop": yes["loop"], "start_at": start_at}
    nodes: list[tuple[str, dict[str, Value]]] = []
    if value["record"]:
        if Path(value["record"]).expanduser().exists():
            raise ValueError(f"record {value['record']!r} exists already: name a new folder")
        # Should the recorder die, the one that is started in its place writes beside its bag.
        nodes.append(("recorder", {"path": value["record"], "privacy": value["privacy"], "again": True}))
    nodes += [
        ("avatar", {"render": yes["rendering"], "window": yes["window"], "seed": seed,
                    "view_port": _whole("view_port", value["view_port"], 65535)}),
        ("listener", {"generator": value["generator"], "seed": seed, "samples": samples, "device": value["device"]}),
        ("perception", {}),
    ]  # fmt: skip
    if value["microphone"] != "none":
        nodes.append(("microphone", {"source": value["microphone"], **filed}))
    if value["source"] != "none":
        nodes.append(("camera", {"source": value["source"], **filed}))
    shared: dict[str, Value] = {"use_sim_time": True} if value["use_sim_time"] == "true" else {}
    return [Process(name, value["namespace"], {**parameters, **shared}, files) for name, parameters in nodes]


def _check_config(path: str) -> None:
    # Here once, and not by every node at its start.
    example = "expected ROS parameters, like {/**/listener: {ros__parameters: {samples: 3}}}"
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"config {path!r} is no YAML file: {example}") from None
    if not isinstance(content, dict) or "ros__parameters" not in str(content):
        raise ValueError(f"config {path!r} names no node's parameters: {example}")


def _whole(name: str, text: str, highest: int = 2**31 - 1) -> int:
    if text.isdecimal() and int(text) > highest:
        raise ValueError(f"{name} must be at most {highest}, not {text}")
    if not text.isdecimal():
        raise ValueError(f"{name} must be a whole number, 0 or more, not {text!r}")
    return int(text)


def environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the processes need in their environment, beside what they are given (by default, this process's own)."""
    given = os.environ if given is None else given
    wanted = {
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(dds_profile(given)),
        # Five processes share the cores with whatever else the robot does: no library takes them all.
        "OMP_NUM_THREADS": "1",
    }
    return {name: value for name, value in wanted.items() if name not in given}
