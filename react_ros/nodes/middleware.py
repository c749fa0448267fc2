"""The installed ROS client library and middleware, for `react-ros doctor`."""

from __future__ import annotations

from pathlib import Path

import rclpy
from rclpy.utilities import get_rmw_implementation_identifier


def rclpy_folder() -> Path:
    """Folder of the installed rclpy."""
    return Path(rclpy.__file__ or "").parent


def middleware() -> str:
    """Name of the ROS middleware implementation, e.g. rmw_fastrtps_cpp."""
    return get_rmw_implementation_identifier()
