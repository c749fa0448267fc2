"""What every room may need to know of the installed package itself."""

from __future__ import annotations

from pathlib import Path

CONFIGURATION_ERROR = 2
"""Exit code of a node that was asked for something impossible: starting it again would not help."""


def share() -> Path:
    """The folder of config/, models/ and msg/: the source tree's, or the installed package's share/react_ros."""
    source = Path(__file__).resolve().parents[1]
    if (source / "msg").is_dir() and (source / "package.xml").is_file():
        return source
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory("react_ros"))
