"""manifest.yaml in a bag's folder: the code, libraries, weights, seeds and parameters that made the bag."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from react_ros.config import dump_yaml, parse_yaml
from react_ros.io import atomic_write, keep_private, sha256
from react_ros.machine import describe_machine
from react_ros.messages.compatibility import read_field
from react_ros.package import code_version
from react_ros.redaction import redact_all

FILE = "manifest.yaml"
FORMAT = 1
Privacy = Literal["raw", "features", "topics"]
PRIVACY: tuple[Privacy, ...] = get_args(Privacy)
_LIBRARIES = ("numpy", "torch", "mediapipe", "opencv-contrib-python", "rosbags", "ros-jazzy-rclpy")


def begin(**entries: Any) -> dict[str, Any]:
    """A new manifest: versions of the code and of libraries, the command and the machine, then `entries`."""
    return {
        "format": FORMAT,
        "code": code_version(),
        "libraries": {name: found for name in _LIBRARIES if (found := _version_of(name))},
        "python": platform.python_version(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": describe_machine(),
        **entries,
    }


def moment(ns: int) -> str:
    """A time in ns since the epoch as ISO 8601, UTC, to the µs."""
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat()


def of_stream(m: Any) -> dict[str, Any]:
    """The entry for a listener's stream, from a react_ros/ListenerStream of this or an earlier version."""
    names = "first_frame generator parameters weights seed samples delay schedule notice code"
    return {name: read_field(m, name) for name in names.split()}


def config_hash(manifest: dict[str, Any]) -> str:
    """SHA-256 of a session's configuration: all nodes' parameters but the recorder's, and the listeners in order.

    Two sessions with the same hash had the same configuration and weights. Values that differ in every session, such as
    the start time of a film and the first frame of a stream, are left out.
    """
    nodes = {
        node: {name: value for name, value in values.items() if name != "start_at"}
        for node, values in manifest.get("parameters", {}).items()
        if not str(node).endswith("/recorder")
    }
    names = ("generator", "parameters", "weights", "seed", "samples", "delay")
    streams = [{name: stream[name] for name in names} for stream in manifest.get("streams", [])]
    text = yaml.safe_dump({"parameters": nodes, "streams": streams}, sort_keys=True)
    return sha256(text)


def write_manifest(bag: Path, manifest: dict[str, Any]) -> None:
    """Write or replace a bag's manifest atomically, with passwords in URLs redacted. Raises OSError."""
    atomic_write(bag / FILE, dump_yaml(redact_all(manifest), sort_keys=False, width=110, allow_unicode=True))
    keep_private(bag)


def read_manifest(bag: Path) -> dict[str, Any]:
    """A bag's manifest; empty where it is missing or cannot be read."""
    try:
        entries = parse_yaml(((bag if bag.is_dir() else bag.parent) / FILE).read_text("utf-8"), exponents=False)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
