"""Runs several nodes in one process: `composed NODES`; NODES is bringup.py's JSON, [[name, ROS arguments], …]."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module

from react_ros.nodes.base import RobotNode, run

CLASSES = {
    "camera": "CameraNode", "microphone": "MicrophoneNode", "perception": "PerceptionNode",
    "listener": "ListenerNode", "avatar": "AvatarNode", "recorder": "RecorderNode",
}  # fmt: skip


def run_composed(nodes: Sequence[tuple[str, list[str]]]) -> int:
    """Run nodes, given as (name, ROS arguments), until SIGINT or SIGTERM. Returns the exit code."""
    arguments: list[list[str]] = []
    classes: list[type[RobotNode]] = []
    for name, ros_arguments in nodes:
        classes.append(getattr(import_module(f"react_ros.nodes.{name}"), CLASSES[name]))
        arguments.append(["--ros-args", *ros_arguments])
    return run(*classes, node_arguments=arguments)


def main() -> None:
    # What follows, `--ros-args …` of the launch system, is for none of the nodes.
    raise SystemExit(run_composed(json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
