"""Facts about the installed package: its shared files, DDS profile, version, exit code of configuration errors."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

CONFIGURATION_ERROR = 2
"""Exit code of a node with an invalid configuration: it must not be restarted."""


def share() -> Path:
    """Folder of config/, models/ and msg/: the source tree, or share/react_ros of the installed package."""
    source = Path(__file__).resolve().parents[1]
    if (source / "msg").is_dir() and (source / "package.xml").is_file():
        return source
    # With pip and colcon, share/ lies beside the lib/ that holds this file.
    for prefix in source.parents:
        if (prefix / "share" / "react_ros" / "package.xml").is_file():
            return prefix / "share" / "react_ros"
    raise FileNotFoundError(f"share/react_ros is not installed beside {source}: install react_ros with pip or colcon")


def dds_profile(environment: Mapping[str, str]) -> Path:
    """The Fast DDS profile for an environment: bound to loopback where ROS is restricted to this machine.

    The discovery range alone stops our own discovery, but other hosts could still find and read our topics.
    """
    only = environment.get("ROS_LOCALHOST_ONLY") == "1"
    local = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE") == "LOCALHOST" and not environment.get("ROS_STATIC_PEERS")
    return share() / "config" / ("fastdds_localhost.xml" if only or local else "fastdds.xml")


@lru_cache(maxsize=1)
def code_version() -> str:
    """The package's version and, in a checkout, its commit."""
    from react_ros import __version__

    source = Path(__file__).resolve().parents[1]
    if not (source / ".git").exists():
        return __version__
    try:
        done = subprocess.run(
            ["git", "-C", str(source), "describe", "--always", "--dirty"],
            capture_output=True, text=True, timeout=10.0, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} ({done.stdout.strip()})"
