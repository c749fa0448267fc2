"""Camera drivers of other packages: a separate process with Fast DDS's own default profile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import third_party_driver

from react_ros import assets, dds
from react_ros.msg import SpeakerFeatures

pytestmark = pytest.mark.ros

PHOTO = "footage-single-face-photo"
IMAGES = 45
"""Published in a phase whose losses are counted."""


class Driver:
    """third_party_driver.film, in the phases given."""

    def __init__(self, *phases: dict[str, Any]) -> None:
        command = [sys.executable, third_party_driver.__file__, "film", json.dumps(phases), assets.resolve(PHOTO)]
        environment = {name: value for name, value in os.environ.items() if name != dds.PROFILES_VARIABLE}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

    def end_of_phase(self) -> None:
        """Wait until all its images are published."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def next_phase(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    running: list[Driver] = []

    def drive(*phases: dict[str, Any]) -> Driver:
        running.append(Driver(*phases))
        return running[-1]

    yield drive
    for driver in running:
        driver.close()


def facts(robot: Any) -> dict[str, str]:
    return robot.probe.facts("/robot/perception")


def message(robot: Any) -> str:
    status = robot.probe.diagnostics.get("/robot/perception")
    return status.message if status else ""


def received(robot: Any) -> int:
    """Images that arrived: perceived ones, and those that a newer one superseded while perception was busy."""
    return int(facts(robot).get("images", "0")) + int(facts(robot).get("superseded images", "0"))


def tracked(robot: Any) -> list[SpeakerFeatures]:
    return [f for f in robot.probe["speaker/features"] if f.face_state == SpeakerFeatures.FACE_TRACKED]


def test_the_images_of_every_driver_arrive_on_its_own_topic_and_reliability_follows_what_it_offers(start_robot, drive):
    topic = "/camera/color/image_raw"
    robot = start_robot(only=("perception",), source="none", image=topic)
    cases = [(reliable, size) for reliable in (True, False) for size in ("640x480", "1280x720")]
    driver = drive(*({"topic": topic, "reliable": r, "size": size, "count": IMAGES} for r, size in cases))
    before = 0
    for reliable, size in cases:
        driver.end_of_phase()
        # Without a large buffer, the kernel drops what a best-effort driver never sends again: the next test.
        if reliable or dds.socket_buffer() >= dds.ENOUGH_BUFFER:
            wanted = before + 0.95 * IMAGES
            robot.wait(lambda wanted=wanted: received(robot) >= wanted, 10, f"{size}, reliable {reliable}: 95 %")
        before = received(robot)
        driver.next_phase()
    robot.wait(lambda: tracked(robot), 5, "a face")
    assert tracked(robot)[-1].header.frame_id == "camera_link"
    assert robot.probe.node.count_subscribers("/robot/image_raw") == 0


def test_lost_images_and_odd_stamps_are_named_until_they_are_good(start_robot, drive):
    robot = start_robot(only=("perception",), source="none")
    driver = drive(
        {"keep": 0.5, "reliable": False, "count": 60}, {"clock": "hour ahead", "count": 75}, {"clock": "zero"}
    )
    rate = "images a second arrive on /robot/image_raw"
    robot.wait(lambda: " of about 3" in message(robot) and rate in message(robot), 20, "half the images, named")
    assert f"start the driver with {dds.PROFILES_VARIABLE}={dds.driver_profile()}" in message(robot)
    driver.end_of_phase()
    driver.next_phase()
    skew = "image stamps are 3600 s ahead of this machine's clock: the arrival time is used instead"
    robot.wait(lambda: message(robot).startswith(skew), 20, "the skew, named")
    assert facts(robot)["image stamps"] == "arrival"
    driver.end_of_phase()
    driver.next_phase()
    robot.wait(lambda: float(facts(robot)["images per second"].replace("not known yet", "0")) > 25, 20, "all images")
    robot.wait(lambda: rate not in message(robot) and "stamps are" not in message(robot), 5, "the end of the warnings")
    assert facts(robot)["image stamps"] == "arrival: the driver's stamps are 0"
    robot.probe.clear()
    robot.wait(lambda: len(tracked(robot)) > 10, 5, "the face")
