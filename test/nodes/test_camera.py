"""The camera node reopens a camera that was lost."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sensor_msgs.msg import Image

from react_ros.avatar.view import ViewServer

pytestmark = pytest.mark.ros


class NetworkCamera:
    """An MJPEG camera on a port of this machine."""

    def __init__(self, port: int = 0) -> None:
        self._server = ViewServer(port=port)
        self.port = self._server.port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._thread.start()

    def _show(self) -> None:
        level = 0
        while not self._stop.wait(0.04):
            level = (level + 5) % 256
            self._server.show(np.full((120, 160, 3), level, np.uint8))

    def unplug(self) -> None:
        self._stop.set()
        self._thread.join()
        self._server.close()


def test_a_lost_network_camera_is_reported_and_reopened(start_robot):
    camera = NetworkCamera()
    source = f"http://127.0.0.1:{camera.port}/stream.mjpg"
    robot = start_robot(only=("camera",), source=source, topics={"image_raw": Image})
    robot.wait(lambda: len(robot.probe["image_raw"]) > 10, 20, "images")

    def warns(text: str) -> bool:
        status = robot.probe.diagnostics.get("/robot/camera")
        return status is not None and text in status.message

    camera.unplug()
    robot.wait(lambda: warns("retrying"), 20, "a warning")
    robot.probe.clear()
    camera = NetworkCamera(camera.port)
    try:
        robot.wait(lambda: len(robot.probe["image_raw"]) > 10, 20, "images again")
        robot.wait(lambda: warns("active"), 20, "the warning to go")
    finally:
        camera.unplug()
    assert not robot.lines, "the node went on all the while"
