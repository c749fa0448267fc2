"""Camera drivers of other packages: a separate process with Fast DDS's own default profile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import third_party_driver

from react_ros import assets, dds
from react_ros.msg import SpeakerFeatures

pytestmark = pytest.mark.ros

PHOTO = "footage-single-face-photo"
IMAGES = 45
"""Published in a phase whose losses are counted."""
ATTEMPTS = 5
"""While a loaded machine stops perception for a third of a second, its queue of ten images overflows."""


class Driver:
    """third_party_driver.film."""

    def __init__(self) -> None:
        command = [sys.executable, third_party_driver.__file__, "film", assets.resolve(PHOTO)]
        environment = {name: value for name, value in os.environ.items() if name != dds.PROFILES_VARIABLE}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

    def publish(self, wait: bool = False, **phase: Any) -> None:
        """Begin a phase, once the one before has ended. wait: until its images are published."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(phase).encode() + b"\n")
        self._process.stdin.flush()
        if wait:
            assert self._process.stdout.readline()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
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


def test_the_images_of_every_driver_arrive_on_its_own_topic_and_reliability_follows_what_it_offers(start_robot, driver):
    topic = "/camera/color/image_raw"
    robot = start_robot(only=("perception",), source="none", image=topic)
    cases = [(reliable, size) for reliable in (True, False) for size in ("640x480", "1280x720")]
    if dds.socket_buffer() < dds.ENOUGH_BUFFER:
        cases = cases[:2]  # the kernel drops what a best-effort driver never sends again: the next test
    for reliable, size in cases:
        for _ in range(ATTEMPTS):
            before = received(robot)
            driver.publish(topic=topic, reliable=reliable, size=size, count=IMAGES, wait=True)
            with suppress(TimeoutError):
                robot.wait(lambda b=before: received(robot) - b >= 0.95 * IMAGES, 3, "95 % of the images")
                break
        else:
            pytest.fail(f"{size}, reliable {reliable}: never 95 % of {IMAGES} images")
    robot.wait(lambda: tracked(robot), 5, "a face")
    assert tracked(robot)[-1].header.frame_id == "camera_link"
    assert robot.probe.node.count_subscribers("/robot/image_raw") == 0


def test_lost_images_and_odd_stamps_are_named_until_they_are_good(start_robot, driver):
    robot = start_robot(only=("perception",), source="none")
    rate = "images a second arrive on /robot/image_raw"
    driver.publish(keep=0.5, reliable=False, count=75)
    robot.wait(lambda: " of about " in message(robot) and rate in message(robot), 20, "half the images, named")
    assert f"start the driver with {dds.PROFILES_VARIABLE}={dds.driver_profile()}" in message(robot)
    driver.publish(clock="hour ahead", count=75)
    skew = "image stamps are 3600 s ahead of this machine's clock: the arrival time is used instead"
    robot.wait(lambda: skew in message(robot), 20, "the skew, named")
    assert facts(robot)["image stamps"] == "arrival"
    driver.publish(clock="zero")
    robot.wait(
        lambda: facts(robot)["image stamps"] == "arrival: the driver's stamps are 0"
        and rate not in message(robot) and "stamps are" not in message(robot),
        20, "the end of the warnings",
    )  # fmt: skip
    robot.probe.clear()
    robot.wait(lambda: len(tracked(robot)) > 10, 20, "the face")
