"""Runs several nodes in one process."""

from __future__ import annotations

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
