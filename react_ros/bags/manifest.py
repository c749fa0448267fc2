"""manifest.yaml in a bag's folder: who recorded what, with which code, weights, seeds and parameters."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from react_ros.io import atomic_write, sha256
from react_ros.machine import describe_machine
from react_ros.package import code_version

FILE = "manifest.yaml"
FORMAT = 1
Privacy = Literal["raw", "features", "topics"]
PRIVACY: tuple[Privacy, ...] = get_args(Privacy)
_LIBRARIES = ("numpy", "torch", "mediapipe", "opencv-contrib-python", "rosbags", "ros-jazzy-rclpy")


def begin(**told: Any) -> dict[str, Any]:
    """A manifest of what is known at the start: the code, the libraries and the machine, and what is `told`."""
    return {
        "format": FORMAT,
        "code": code_version(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
        "python": platform.python_version(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": describe_machine(),
        **told,
    }


def moment(ns: int) -> str:
    """A time as people read it: ISO 8601, UTC, to the µs."""
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat()


def of_stream(m: Any) -> dict[str, Any]:
    """What a ListenerStream message tells of a stream."""
    names = "first_frame generator parameters weights seed samples delay schedule notice code"
    # Until version 0.1 the schedule was called protocol: bags have it.
    return {n: getattr(m, n if hasattr(m, n) else "protocol") for n in names.split()}


def config_hash(manifest: dict[str, Any]) -> str:
    """SHA-256 of how a session was configured: all nodes' parameters but the recorder's, and who listened in turn.

    Two sessions of the same hash were configured alike, and listened with the same weights: what is another each time,
    as when a film begins and with which frame a stream, does not count.
    """
    nodes = {
        node: {name: value for name, value in values.items() if name != "start_at"}
        for node, values in manifest.get("parameters", {}).items()
        if not str(node).endswith("/recorder")
    }
    names = ("generator", "parameters", "weights", "seed", "samples", "delay")
    streams = [{name: stream[name] for name in names} for stream in manifest.get("streams", [])]
    said = yaml.safe_dump({"parameters": nodes, "streams": streams}, sort_keys=True)
    return sha256(said)


def write_manifest(bag: Path, manifest: dict[str, Any]) -> None:
    """Write it beside the bag's files: whole, or the one before stays. Raises OSError."""
    atomic_write(bag / FILE, yaml.safe_dump(manifest, sort_keys=False, width=110, allow_unicode=True))


def read_manifest(bag: Path) -> dict[str, Any]:
    """What a bag's manifest says; empty where it has none, or none that can be read."""
    try:
        said = yaml.safe_load(((bag if bag.is_dir() else bag.parent) / FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return said if isinstance(said, dict) else {}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
