"""The robot with third-party packages: their camera and audio drivers, and hri_msgs.

The interface packages are compiled here from their published definitions; their nodes are separate processes, and the
robot finds the packages where a sourced workspace puts them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import third_party_driver
import workshop
from third_party_messages import HEADER, MGONZS13, ROS_DRIVERS

from react_ros import assets
from react_ros.face import ACTION_UNITS, EXPRESSION_NAMES
from react_ros.msg import Affect, SpeakerFeatures
from react_ros.nodes.avatar import ROS4HRI_NAMES

pytestmark = [pytest.mark.ros, pytest.mark.slow]

PACKAGES = {
    "ros-drivers": ("audio_common_msgs", ROS_DRIVERS),
    "mgonzs13": ("audio_common_msgs", MGONZS13),
    "hri": ("hri_msgs", {
        "Expression": HEADER + "string expression\nfloat32 valence\nfloat32 arousal\nfloat32 confidence\n",
        "FacialActionUnits": HEADER + "float32[99] intensity\nfloat32[99] confidence\n",
    }),
}  # fmt: skip


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Package flavour to install prefix."""
    python = workshop.build_python()
    folder = tmp_path_factory.mktemp("third_party")

    def build(flavour: str) -> Path:
        name, messages = PACKAGES[flavour]
        return workshop.compile_interfaces(python, folder / flavour, name, messages, ["std_msgs"])

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PACKAGES, pool.map(build, PACKAGES), strict=True))


@pytest.fixture
def install(packages: dict[str, Path], domain: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def install(flavour: str) -> None:
        for name, value in workshop.with_package(packages[flavour], os.environ).items():
            monkeypatch.setenv(name, value)

    return install


@pytest.fixture
def drive() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts nodes of other packages: see third_party_driver."""
    running = []

    def drive(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, third_party_driver.__file__, *map(str, arguments)]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return running[-1]

    yield drive
    for process in running:
        process.kill()
        process.wait()


def hears_speech(robot) -> None:
    def speech() -> list[SpeakerFeatures]:
        return [f for f in robot.probe["speaker/features"] if f.sound_state == SpeakerFeatures.SOUND_SPEECH]

    robot.wait(lambda: len(speech()) >= 25, 30, "a second of speech")
    # Wrongly decoded audio is noise, which has neither the pitch nor the level of the voice.
    pitches = [f.f0 for f in speech() if f.f0 > 0]
    assert 80 < np.median(pitches) < 350
    assert -10 < np.median([f.log_energy for f in speech()]) < -2


def facts(robot) -> dict[str, str]:
    return robot.probe.facts("/robot/perception")


@pytest.mark.parametrize("kind", ["AudioData", "AudioDataStamped"])
def test_audio_of_ros_drivers_is_received_and_encoded_audio_rejected(kind, install, drive, start_robot):
    install("ros-drivers")
    robot = start_robot(only=("perception",), source="none")
    driver = drive("speak", kind, assets.resolve("demo-voice-1"))
    hears_speech(robot)
    its_type = f"audio_common_msgs/msg/{kind}"
    robot.wait(lambda: facts(robot).get("type of audio") == its_type, 3, "its type in diagnostics")
    assert not [key for key in facts(robot) if key.startswith("rejected")]
    if kind == "AudioData":
        return
    driver.kill()
    drive("speak", kind, assets.resolve("demo-voice-1"), "mp3")
    robot.wait(lambda: "mp3" in facts(robot).get("last rejected audio_info", ""), 15, "the refusal of mp3")
    assert "format:=wave" in facts(robot)["last rejected audio_info"]
    # Encoded bytes are not PCM: they must not be interpreted as audio.
    robot.wait(lambda: int(facts(robot).get("rejected audio", "0")) > 20, 10, "the coded sound to be dropped")
    robot.probe.clear()
    robot.wait(lambda: len(robot.probe["speaker/features"]) > 50, 10, "two seconds more")
    assert robot.probe["speaker/features"][-1].sound_state == SpeakerFeatures.SOUND_MISSING


def test_audio_of_mgonzs13_is_received_in_each_sample_format(install, drive, start_robot):
    install("mgonzs13")
    robot = start_robot(only=("perception",), source="none")
    for field in ("int16", "float32", "int32", "uint8"):
        driver = drive("speak", field, assets.resolve("demo-voice-1"))
        robot.probe.clear()
        hears_speech(robot)
        driver.kill()
        driver.wait()
        robot.wait(
            lambda: robot.probe["speaker/features"][-1].sound_state == SpeakerFeatures.SOUND_MISSING, 10, "the silence"
        )
    robot.wait(lambda: "type of audio" in facts(robot), 3, "diagnostics")
    assert facts(robot)["type of audio"] == "audio_common_msgs/msg/AudioStamped"
    assert not [key for key in facts(robot) if key.startswith("rejected")]


def test_where_hri_msgs_is_installed_the_face_is_published_as_hri_msgs_too(install, drive, start_robot, tmp_path):
    install("hri")
    robot = start_robot(topics={"avatar/affect": Affect}, microphone=str(assets.resolve("demo-voice-1")))
    drive("listen", "hri", tmp_path / "hri.jsonl")
    robot.wait_live(50)

    def lines(topic: str) -> list[dict]:
        text = (tmp_path / "hri.jsonl").read_text() if (tmp_path / "hri.jsonl").exists() else ""
        return [m for m in map(json.loads, text.splitlines(keepends=False)[:-1]) if m["topic"] == topic]

    robot.wait(lambda: len(lines("expression")) > 50 and len(lines("facs")) > 50, 20, "expression and facs")
    affects = {(round(m.valence, 5), round(m.arousal, 5)): m for m in robot.probe["avatar/affect"]}
    keyed = [(m, (round(m["valence"], 5), round(m["arousal"], 5))) for m in lines("expression")]
    same = [(m, affects[key]) for m, key in keyed if key in affects]
    assert len(same) > 40
    assert len({round(m["valence"], 4) for m, _ in same}) > 10, "a moving face, not a constant"
    for message, affect in same:
        likeliest = int(np.argmax(affect.expressions))
        assert message["expression"] == ROS4HRI_NAMES[EXPRESSION_NAMES[likeliest]]
        assert message["confidence"] == pytest.approx(affect.expressions[likeliest], abs=1e-5)
    units = {tuple(round(float(x), 5) for x in m.action_units) for m in robot.probe["avatar/affect"]}
    others = [n for n in range(99) if n not in ACTION_UNITS]
    facs = lines("facs")
    assert sum(tuple(round(m["intensity"][u], 5) for u in ACTION_UNITS) in units for m in facs) > 40
    assert all(m["intensity"][n] == m["confidence"][n] == 0 for m in facs for n in others)


@pytest.mark.parametrize("kind", ["compressed", "compressed_as_raw"])
def test_compressed_images_are_received_on_either_topic(kind, drive, start_robot):
    robot = start_robot(only=("perception",), source="none")
    drive("show", kind, assets.resolve("footage-single-face-photo"))
    tracked = lambda: [f for f in robot.probe["speaker/features"] if f.face_state == SpeakerFeatures.FACE_TRACKED]  # noqa: E731
    robot.wait(lambda: len(tracked()) > 25, 30, "a second of the face")
    assert tracked()[-1].faces == 1
    smile = [tracked()[-1].names.index(n) for n in ("mouthSmileLeft", "mouthSmileRight")]
    assert min(tracked()[-1].blendshapes[i] for i in smile) > 0.3
