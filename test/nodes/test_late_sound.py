"""Sound that arrives late is heard, sound that is missing is named, and an overloaded robot goes on hearing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from react_ros import assets
from react_ros.media.sound_reader import read_sound
from react_ros.msg import AudioChunk, SpeakerFeatures
from react_ros.nodes.messages import audio_message

pytestmark = pytest.mark.ros

RATE, BLOCK = 16_000, 320


class Driver:
    """Publishes a voice in blocks of 20 ms, each `late` s after its end, until it is closed."""

    def __init__(self, probe) -> None:
        voice, rate = read_sound(assets.resolve("demo-voice-1"))
        assert rate == RATE
        self._voice = voice
        self.late = 0.15
        self.says = "voice"
        """voice, zeros, or nothing."""
        self._publisher = probe.node.create_publisher(AudioChunk, "audio", 50)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        start, number = time.time(), 0
        while True:
            begin = start + number * BLOCK / RATE
            wait = begin + BLOCK / RATE + self.late - time.time()
            if self._stop.wait(max(wait, 0)):
                return
            at = number * BLOCK % (len(self._voice) - BLOCK)
            pcm = self._voice[at : at + BLOCK] if self.says == "voice" else np.zeros((BLOCK, 1), np.int16)
            if self.says != "nothing":
                self._publisher.publish(audio_message(round(begin * 1e9), RATE, number * BLOCK, pcm))
            number += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def drive() -> Iterator[Callable[..., Driver]]:
    running: list[Driver] = []

    def start(probe) -> Driver:
        running.append(Driver(probe))
        return running[-1]

    yield start
    for driver in running:
        driver.close()


def states(robot) -> list[int]:
    return [m.sound_state for m in robot.probe["speaker/features"]]


def heard(robot, frames: int) -> bool:
    """Whether the last frames all have sound, with speech among it."""
    last = states(robot)[-frames:]
    return len(last) == frames and SpeakerFeatures.SOUND_MISSING not in last and SpeakerFeatures.SOUND_SPEECH in last


def test_sound_late_by_150_ms_is_heard_and_missing_sound_is_named(start_robot, drive):
    robot = start_robot(only=("camera", "perception"))

    def says(text: str) -> bool:
        status = robot.probe.diagnostics.get("/robot/perception")
        return status is not None and text in status.message

    robot.wait(lambda: len(robot.probe["speaker/features"]) > 10, 40, "perception")
    driver = drive(robot.probe)
    robot.wait(lambda: heard(robot, 75), 30, "three seconds of late sound")
    robot.wait(lambda: robot.probe.facts("/robot/perception")["sound lag"] >= "160 ms", 20, "the lag in diagnostics")
    robot.wait(lambda: not says("sound arrives") and not says("no sound"), 20, "no warning")
    driver.says = "nothing"
    robot.wait(
        lambda: says("no sound messages on /robot/audio for") and says("sends none"), 20, "the silence to be named"
    )
    driver.says = "zeros"
    robot.wait(lambda: says("digital silence"), 20, "zeros to be named")
    driver.says = "voice"
    robot.wait(lambda: not says("silence"), 20, "the warning to go")
    driver.late = 0.7
    robot.wait(lambda: says("sound arrives") and says("sound_lag_max"), 20, "lateness to be named")
    driver.close()
    robot.probe.node.destroy_publisher(driver._publisher)
    robot.wait(lambda: says("nothing publishes them"), 20, "the end of the driver to be named")


def test_an_overloaded_perception_sees_less_but_hears_everything(start_robot):
    """150 ms for each of 24 images a second."""
    robot = start_robot(only=("camera", "microphone"), microphone=str(assets.resolve("demo-voice-1")))
    script = Path(__file__).with_name("slow_perception.py")
    slow = subprocess.Popen([sys.executable, str(script), "--ros-args", "-r", "__ns:=/robot"])
    try:
        robot.wait(lambda: heard(robot, 100), 60, "four seconds of sound without a gap")
        faces = [m.face_state for m in robot.probe["speaker/features"][-100:]]
        assert faces.count(SpeakerFeatures.FACE_TRACKED) < 50, "it is not overloaded"
        assert SpeakerFeatures.FACE_TRACKED in faces
    finally:
        slow.terminate()
        slow.wait(10)
