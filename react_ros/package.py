"""Facts about the installed package: its shared files, DDS profile, version, exit code of configuration errors."""

from __future__ import annotations

import os
import subprocess
import sys
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


def package_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables with which a child process runs this very package, whatever its current folder holds.

    PYTHONPATH gets this package's folder, unless it is installed, and loses entries that mean the current folder:
    empty and relative ones.
    """
    own = Path(__file__).resolve().parents[1]
    installed = any(own == Path(entry).resolve() for entry in _site_folders())
    given = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    entries = given if installed or str(own) in given[:1] else [str(own), *given]
    return {"PYTHONPATH": os.pathsep.join(entries), "PYTHONSAFEPATH": "1"}


def _site_folders() -> list[str]:
    import site

    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [*site.getsitepackages([sys.prefix, sys.base_prefix]), *user]


COMMIT_FILE = "commit.txt"
"""Beside this module in an installed package: the commit that it was built from (cmake/commit.cmake)."""


@lru_cache(maxsize=1)
def code_version() -> str:
    """The package's version and its commit: of the checkout, or the one that it was built from; as far as known."""
    from react_ros import __version__

    commit = _commit(Path(__file__).resolve().parent)
    return f"{__version__} ({commit})" if commit else __version__


def _commit(package: Path) -> str:
    """The commit of a folder with this package; empty if unknown."""
    try:
        return (package / COMMIT_FILE).read_text("utf-8").strip()[:60]
    except (OSError, UnicodeDecodeError):
        pass
    if not (package.parent / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(package.parent), "describe", "--always", "--dirty"],
            capture_output=True, text=True, timeout=10.0, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
