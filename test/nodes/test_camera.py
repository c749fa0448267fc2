"""The camera node on a network camera: it is reopened when it was lost, and its password stays in the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from network_camera import NetworkCamera
from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image

from react_ros.bags.reader import Bag

pytestmark = pytest.mark.ros


@pytest.fixture
def camera() -> Iterator[NetworkCamera]:
    camera = NetworkCamera(login="ann:geheim")
    yield camera
    camera.unplug()


def test_a_network_camera_is_waited_for_reported_and_reopened(start_robot, camera):
    camera.behaviour = "503"
    robot = start_robot(only=("camera",), source=camera.url, topics={"image_raw": Image})

    def says(*texts: str) -> bool:
        status = robot.probe.diagnostics.get("/robot/camera")
        return status is not None and all(text in status.message for text in texts)

    robot.wait(lambda: says("is out of service", "retrying"), 20, "the absence at the start to be named")
    camera.behaviour = "good"
    robot.wait(lambda: len(robot.probe["image_raw"]) > 10, 20, "images")
    robot.wait(lambda: says("active"), 20, "the warning to go")
    camera.behaviour = "silent"
    robot.wait(lambda: says("has sent nothing for"), 20, "the silence to be named")
    robot.wait(lambda: says("sends nothing", "retrying"), 20, "further attempts")
    robot.probe.clear()
    camera.behaviour = "good"
    robot.wait(lambda: len(robot.probe["image_raw"]) > 10, 20, "images again")
    robot.wait(lambda: says("active"), 20, "the warning to go")
    assert not robot.lines, "the node went on all the while"


def test_passwords_are_neither_published_nor_recorded(start_robot, camera, tmp_path: Path):
    """Neither the camera's, which the node goes on using, nor one among the parameters of another driver."""
    bag = tmp_path / "bag"
    robot = start_robot(
        only=("camera", "recorder"), source=camera.url, record=str(bag), privacy="features",
        topics={"image_raw": Image, "/parameter_events": ParameterEvent},
    )  # fmt: skip
    robot.probe.node.declare_parameter("rtsp_url", "rtsp://bob:geheim@10.0.0.1/x")
    robot.wait(lambda: len(robot.probe["image_raw"]) > 10, 20, "images")
    robot.wait(lambda: "source" in robot.probe.facts("/robot/camera"), 20, "diagnostics")
    shown = f"http://***@127.0.0.1:{camera.port}/video"
    assert robot.probe.facts("/robot/camera")["source"] == shown
    client = robot.probe.node.create_client(GetParameters, "/robot/camera/get_parameters")
    assert client.wait_for_service(10)
    answer = client.call_async(GetParameters.Request(names=["source"]))
    robot.wait(answer.done, 20, "the parameter")
    assert answer.result().values[0].string_value == shown
    manifest = bag / "manifest.yaml"
    robot.wait(lambda: all(t in manifest.read_text() for t in ("/robot/camera", "/robot/probe")), 20, "parameters")
    robot.probe.node.set_parameters([robot.probe.node.get_parameter("rtsp_url")])
    events = lambda: [e for e in robot.probe["/parameter_events"] if e.node == "/robot/probe"]  # noqa: E731
    robot.wait(events, 20, "its event")
    robot.runner.end()
    with Bag(bag) as read:
        recorded = list(read.raw(["/diagnostics", "/parameter_events"]))
    assert any(b"rtsp://***@10.0.0.1/x" in data for _, _, data in recorded)
    assert not [topic for topic, _, data in recorded if b"geheim" in data]
    text = manifest.read_text()
    assert "geheim" not in text and shown in text and "rtsp://***@10.0.0.1/x" in text
