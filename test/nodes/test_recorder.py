"""The recorder beside a running robot: the contents of its bag, what it publishes, and how it ends."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from recordings import person
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CompressedImage, Image
from typer.testing import CliRunner

from react_ros import assets
from react_ros.bags.manifest import read_manifest
from react_ros.bags.reader import Bag, read_bag
from react_ros.bags.writer import Storage
from react_ros.bringup import Process, environment
from react_ros.cli.main import app
from react_ros.generators import registry
from react_ros.messages.images import image_from_message
from react_ros.msg import AudioChunk, ListenerStream, Recording, SpeakerFeatures
from react_ros.nodes.base import LATCHED_QOS, OUTPUT_QOS
from react_ros.nodes.messages import FACTORY, audio_message, image_message, message_class
from react_ros.nodes.probe import Probe
from react_ros.nodes.recorder import RecorderNode, without_landmarks
from react_ros.replay.listeners import ReplayRequest
from react_ros.replay.replay import replay

pytestmark = [pytest.mark.ros, pytest.mark.slow]

PLANNING = str(Path(__file__).with_name("chunked_system.py"))


def declared(robot: Any) -> list[Recording]:
    """The messages on the topic `recording`."""
    return robot.probe["recording"]


class Studio:
    """Publishes what a robot publishes, ten times as fast: an image, audio and features, with consecutive numbers."""

    def __init__(self, probe: Probe) -> None:
        self.sent = 0
        self._frames = person(50)
        node = probe.node
        self._image = np.full((64, 64, 3), 90, np.uint8)
        self._to = {
            "speaker/features": node.create_publisher(SpeakerFeatures, "speaker/features", 50),
            "image_raw": node.create_publisher(Image, "image_raw", 5),
            "audio": node.create_publisher(AudioChunk, "audio", 50),
        }
        node.create_timer(0.004, self._send)

    def _send(self) -> None:
        frame, now = self._frames[self.sent % 50], time.time_ns()
        frame.index, frame.stamp_ns = self.sent, now
        self._to["speaker/features"].publish(FACTORY.speaker(frame, {}, now))
        self._to["image_raw"].publish(image_message(self._image, FACTORY.time(now), "camera"))
        self._to["audio"].publish(audio_message(now, 16000, 320 * self.sent, np.ones((320, 1), np.int16)))
        self.sent += 1


def change(probe: Probe, **values: Any) -> None:
    """Set the listener's parameters."""
    client = probe.node.create_client(SetParameters, "/robot/listener/set_parameters")
    probe.wait(client.service_is_ready, 20, "the parameter service")
    wanted = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    future = client.call_async(SetParameters.Request(parameters=wanted))
    probe.wait(future.done, 10, "the answer of the parameter service")
    assert [r.reason for r in future.result().results if not r.successful] == []  # type: ignore[union-attr]


# A whole session ---------------------------------------------------------------------------------------------------


def test_a_live_session_is_recorded_completely_and_replays_to_the_bit(
    start_robot: Callable[..., Any], tmp_path: Path
) -> None:
    """While recording, the generator, its seed and its delay change, and perception and listener are killed."""
    bag = tmp_path / "bag"
    robot = start_robot(
        microphone=str(assets.resolve("demo-voice-1")), generator="attentive", record=str(bag),
        topics={"recording": Recording, "listener/stream": ListenerStream},
    )  # fmt: skip
    probe = robot.probe

    def answers(generator: str, seed: int = 0, delay: int = 0, count: int = 30) -> None:
        probe.clear()
        robot.wait(
            lambda: sum(
                (m.lineage.generator, m.lineage.seed) == (generator, seed)
                and m.delay == registry.info(generator).delay_frames + delay
                for m in probe["listener/reaction"]
            ) >= count,
            40, f"{count} reactions of {generator} {seed} {delay}",
        )  # fmt: skip

    answers("attentive")
    change(probe, seed=3)
    answers("attentive", 3)
    change(probe, generator="fsq")
    answers("fsq", 3)
    change(probe, delay=0.2)
    answers("fsq", 3, 5)
    robot.kill("perception")
    answers("fsq", 3, 5)
    robot.kill("listener")
    answers("fsq", 3, 5)
    robot.wait(lambda: len(declared(robot)) > 1, 5, "the topic recording")
    last = declared(robot)[-1]
    assert (last.state, last.privacy, last.path, last.lost) == (Recording.RECORDING, "raw", str(bag), 0)
    assert not last.trouble and "/robot/speaker/features" in last.topics
    robot.runner.end()

    with Bag(bag) as read:
        assert read.notices == []
        kinds = {t.name.removeprefix("/robot/"): t.kind for t in read.topics.values() if t.count}
        assert all(t.known and t.definition is None for t in read.topics.values())
    assert {"audio", "image_raw/compressed", "speaker/features", "listener/reaction", "listener/stream", "recording",
            "avatar/status", "avatar/blendshapes", "/diagnostics"} <= set(kinds)  # fmt: skip
    first = {}
    for m in read_bag(bag, "/listener/reaction", "/listener/stream", "/speaker/features"):
        first.setdefault(m.topic.rpartition("/")[2], m.message)
    assert first["features"].lineage.frame <= first["stream"].first_frame == first["reaction"].lineage.frame

    # rclpy, too, deserialises the messages as their topics' types.
    with Reader(bag) as reader:
        for n, (connection, _, data) in enumerate(reader.messages()):
            if n % 50 == 0:
                deserialize_message(bytes(data), message_class(connection.msgtype))

    entries = read_manifest(bag)
    assert entries["code"] and entries["machine"] and entries["start"] < entries["end"] and entries["privacy"] == "raw"
    assert {"camera", "microphone", "perception", "listener", "avatar", "recorder"} <= {
        node.removeprefix("/robot/") for node in entries["parameters"]
    }
    assert entries["parameters"]["/robot/perception"]["sound_lag"] == pytest.approx(0.04)
    streams = entries["streams"]
    assert len(streams) == 5
    assert {s["generator"] for s in streams} == {"attentive", "fsq"} and {s["seed"] for s in streams} == {0, 3}
    assert all(len(s["weights"]) == 64 for s in streams if s["generator"] == "fsq")
    assert entries["topics"]["/robot/audio"] > 100 and entries["lost"] == {}

    report = replay(bag, tmp_path / "again")
    compared = report.comparison
    assert compared.compared > 200 and compared.same == compared.compared, (compared, report.notices)
    again = [m.message for m in read_bag(tmp_path / "again", "/listener/stream")]
    live = [m.message for m in read_bag(bag, "/listener/stream")]
    assert [(m.generator, m.seed, m.delay, m.first_frame) for m in again] == [
        (m.generator, m.seed, m.delay, m.first_frame) for m in live
    ]
    raw = replay(bag, tmp_path / "raw", ReplayRequest("mime"), source="raw")
    assert report.frames - 5 < raw.frames < report.seconds * 25 + 10 and raw.reactions == raw.frames


def test_late_action_chunks_of_a_recorded_session_take_effect_as_late_again(
    start_robot: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = tmp_path / "bag"
    robot = start_robot(only=("camera", "perception", "recorder"), record=str(bag))
    process = Process(
        "listener", "robot", {"generator": "planning", "generator_parameters": "{seconds: 0.3}", "seed": 4}
    )
    listener = subprocess.Popen(
        [sys.executable, PLANNING, "--ros-args", *process.ros_arguments], env={**os.environ, **environment()}
    )
    try:
        robot.wait(lambda: len(robot.probe["listener/reaction"]) > 100, 60, "four seconds of reactions")
    finally:
        robot.runner.end()
        listener.terminate()
        listener.wait()
    monkeypatch.syspath_prepend(str(Path(PLANNING).parent))
    monkeypatch.setitem(registry._registered, "planning", import_module("chunked_system").SYSTEM)
    report = replay(bag, tmp_path / "again")
    assert report.comparison.compared > 90 and report.comparison.same == report.comparison.compared, report
    chunks = [m.message.action_chunk for m in read_bag(bag, "/listener/reaction")]
    assert len(set(chunks)) > 4
    assert any(chunk != (k - 2) // 5 * 5 - 1 for k, chunk in enumerate(chunks) if k > 2), "none was late"


# What is left out ----------------------------------------------------------------------------------------------------


@pytest.fixture
def record(start_robot: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., tuple[Any, Studio]]]:
    """Starts a recorder of tmp_path/bag and a Studio, and waits until `count` messages are written."""

    def record(count: int = 300, **parameters: Any) -> tuple[Any, Studio]:
        robot = start_robot(
            only=("recorder",), record=str(tmp_path / "bag"), parameters={"recorder": parameters},
            topics={"recording": Recording},
        )  # fmt: skip
        studio = Studio(robot.probe)
        robot.wait(lambda: any(m.messages > count for m in declared(robot)), 20, f"{count} messages to be recorded")
        return robot, studio

    yield record


def topics(bag: Path) -> set[str]:
    with Bag(bag) as read:
        return {t.name for t in read.topics.values() if t.count}


def test_a_recording_of_features_holds_no_image_and_no_sound(record: Any, tmp_path: Path) -> None:
    robot, _ = record(privacy="features")
    assert declared(robot)[-1].privacy == "features"
    robot.runner.end()
    found = topics(tmp_path / "bag")
    assert "/robot/speaker/features" in found and "/robot/recording" in found
    with Bag(tmp_path / "bag") as bag:
        kinds = {t.kind for t in bag.topics.values()}
    assert not {k for k in kinds if "Image" in k or "Audio" in k}, "not even an empty topic"
    assert read_manifest(tmp_path / "bag")["privacy"] == "features"


def test_only_the_chosen_topics_are_recorded_and_that_is_published(record: Any, tmp_path: Path) -> None:
    robot, _ = record(100, privacy="topics", topics="audio, /robot/speaker/features")
    assert declared(robot)[-1].privacy == "topics"
    assert declared(robot)[-1].topics == ["/robot/audio", "/robot/speaker/features"]
    heard: list[Recording] = []
    robot.probe.node.create_subscription(Recording, "recording", heard.append, LATCHED_QOS)  # a late subscriber
    robot.wait(lambda: heard, 0.9, "the latched message")
    robot.runner.end()
    assert topics(tmp_path / "bag") == {"/robot/audio", "/robot/speaker/features"}
    entries = read_manifest(tmp_path / "bag")
    assert entries["privacy"] == "topics" and entries["topics_asked_for"] == ["/robot/audio", "/robot/speaker/features"]


def test_images_are_recorded_as_jpeg_unless_their_driver_compresses_them(record: Any, tmp_path: Path) -> None:
    robot, _ = record()
    publisher = robot.probe.publisher("image_raw/compressed", CompressedImage, seconds=5.0)
    robot.wait(lambda: publisher.get_subscription_count(), 5, "the recorder to find it")
    for _ in range(20):
        publisher.publish(CompressedImage(format="driver"))
    count = declared(robot)[-1].messages
    robot.wait(lambda: declared(robot)[-1].messages > count, 5, "them to be recorded")
    robot.runner.end()
    formats = [m.message.format for m in read_bag(tmp_path / "bag", "/image_raw/compressed")]
    assert "/robot/image_raw" not in topics(tmp_path / "bag")
    first = formats.index("driver")
    assert first > 20 and "jpeg" in formats[0]
    assert {*formats[first + 5 :]} == {"driver"}, "both are in one topic"


def test_a_drivers_own_topic_is_recorded_also_once_it_offers_less_reliability(
    start_robot: Callable[..., Any], tmp_path: Path
) -> None:
    robot = start_robot(only=("recorder", "perception"), record=str(tmp_path / "bag"), source="none",
                        image="/cam/image", topics={"recording": Recording})  # fmt: skip
    node = robot.probe.node
    drivers = [node.create_publisher(Image, "/cam/image", OUTPUT_QOS)]
    robot.wait(lambda: drivers[0].get_subscription_count() == 2, 20, "perception and recorder")
    drivers.append(node.create_publisher(Image, "/cam/image", qos_profile_sensor_data))
    robot.wait(lambda: drivers[1].get_subscription_count() == 2, 10, "both at the other driver")

    def record(driver: Any, width: int) -> None:
        before = declared(robot)[-1].messages
        message = image_message(np.zeros((48, width, 3), np.uint8), FACTORY.time(time.time_ns()), "cam")
        robot.wait(lambda: driver.publish(message) or declared(robot)[-1].messages > before + 5, 10, "images recorded")

    robot.wait(lambda: declared(robot), 5, "the topic recording")
    for driver, width in zip(drivers, (64, 80), strict=True):
        record(driver, width)
    robot.runner.end()
    images = [m.message for m in read_bag(tmp_path / "bag", "/cam/image/compressed")]
    assert {image_from_message(m).shape[1] for m in images} == {64, 80}


# Failures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["mcap"])  # both in test_bag
def test_a_killed_recorder_loses_a_second_and_the_next_one_writes_a_new_bag(
    storage: Storage, record: Any, tmp_path: Path
) -> None:
    robot, studio = record(1500, storage=storage)
    sent = studio.sent
    killed = robot.kill("recorder")
    with Bag(tmp_path / "bag") as bag:
        assert "metadata.yaml is missing" in bag.notices[0]
    times = [m.time_ns / 1e9 for m in read_bag(tmp_path / "bag", "/speaker/features")]
    frames = [m.message.lineage.frame for m in read_bag(tmp_path / "bag", "/speaker/features")]
    assert killed - times[-1] < 1.5 and frames == list(range(frames[0], frames[0] + len(frames)))
    assert frames[-1] > sent - 400
    assert replay(tmp_path / "bag", tmp_path / "again", ReplayRequest("mime")).frames == len(frames)
    entries = read_manifest(tmp_path / "bag")
    assert entries["end"] is None and entries["code"]
    robot.probe.clear()
    beside = str(tmp_path / "bag-2")
    robot.wait(lambda: any(m.path == beside and m.messages > 100 for m in declared(robot)), 20, "the second recorder")
    robot.runner.end()
    assert "/robot/speaker/features" in topics(tmp_path / "bag-2")


@pytest.mark.parametrize("storage", ["sqlite3"])  # both in test_bag
def test_a_full_disk_is_one_error_and_the_node_goes_on(
    storage: Storage, record: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    robot, _ = record(1500, storage=storage)
    size = (tmp_path / "bag" / f"recording{'.mcap' if storage == 'mcap' else '.db3'}").stat().st_size
    pid = robot.pid("recorder")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 400_000, resource.RLIM_INFINITY))
    robot.wait(lambda: declared(robot)[-1].state == Recording.FAILED, 20, "the recorder to notice")
    last = declared(robot)[-1]
    assert (
        last.trouble.startswith("recording has ended: bag ") and "all but its last second can be read" in last.trouble
    )
    robot.wait(lambda: declared(robot)[-1].lost > 200, 10, "what is lost to be counted")
    robot.wait(lambda: "recording has ended" in robot.probe.diagnostics["/robot/recorder"].message, 5, "diagnostics")
    assert robot.pid("recorder") == pid and robot.runner.children["recorder"].popen.poll() is None
    frames = [m.message.lineage.frame for m in read_bag(tmp_path / "bag", "/speaker/features")]
    assert len(frames) > 50 and frames == list(range(frames[0], frames[0] + len(frames)))
    with Bag(tmp_path / "bag") as bag:
        assert bag.notices == [] and bag.messages_count <= last.messages
    robot.runner.end()
    assert capfd.readouterr().err.count("recording has ended") == 1
    entries = read_manifest(tmp_path / "bag")
    assert entries["end"] and "all but its last second" in entries["trouble"]
    assert entries["topics"]["/robot/speaker/features"] == len(frames)


def test_errors_at_the_start_are_one_sentence(domain: int, tmp_path: Path) -> None:
    def record(*words: object) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "react_ros", "record", *map(str, words)], capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stderr

    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    for words, sentence in (
        ((tmp_path / "there",), "exists already"), ((tmp_path / "file" / "bag",), "cannot be written"),
        ((tmp_path / "x", "--storage", "csv"), "storage must be one of mcap, sqlite3"),
        ((tmp_path / "x", "--privacy", "topics"), "topics must be given if, and only if, privacy is topics"),
    ):  # fmt: skip
        code, text = record(*words)
        assert code == 2 and sentence in text and "Traceback" not in text, text
        assert len([line for line in text.splitlines() if sentence in line]) == 1
    for words, sentence in (
        (("--privacy", "features", "--topic", "image_raw"), "leave out --privacy features"),
        (("--privacy", "nothing"), "privacy must be one of"),
    ):
        result = CliRunner().invoke(app, ["record", str(tmp_path / "x"), *words])
        assert result.exit_code == 2 and sentence in result.output
    assert not (tmp_path / "x").exists()


def test_features_hold_no_landmarks_unless_asked() -> None:
    frame = person(1)[0]
    frame.face.landmarks = np.full((478, 3), 0.5, np.float32)
    drawn = FACTORY.speaker(frame, {}, 1, landmarks=True)
    kept = deserialize_message(without_landmarks(serialize_message(drawn)), SpeakerFeatures)
    assert len(drawn.landmarks) == 478 * 3 and len(kept.landmarks) == 0
    drawn.landmarks = kept.landmarks
    assert serialize_message(kept) == serialize_message(drawn)
    assert {p.name: p.default for p in RecorderNode.PARAMETERS}["landmarks"] is False


def test_a_recording_of_nobody_says_which_robots_there_are(domain: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "react_ros", "record", str(tmp_path / "bag"), "--namespace", "robto"]
    popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with Probe("/robot", {"image_raw": Image}) as probe:
        Studio(probe)
        said = "no robot at /robto; I see /robot (name it with --namespace)"
        probe.wait(lambda: said in (getattr(probe.diagnostics.get("/robto/recorder"), "message", "")), 30, "a warning")
        popen.send_signal(signal.SIGINT)
        assert said in popen.communicate(timeout=20)[1]


def test_ctrl_c_ends_a_recording_with_a_summary(domain: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "react_ros", "record", str(tmp_path / "bag"), "--storage", "sqlite3"]
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with Probe("/robot", {"recording": Recording}) as probe:
        studio = Studio(probe)
        probe.wait(lambda: any(m.messages > 200 for m in probe["recording"]), 30, "200 messages")
        popen.send_signal(signal.SIGINT)
        text = popen.communicate(timeout=20)[0]
    assert popen.returncode == 0 and studio.sent > 50
    assert f"recording /robot into {tmp_path / 'bag'} (raw); Ctrl-C ends it" in text
    with Bag(tmp_path / "bag") as bag:
        assert f"{bag.messages_count} messages of {len(bag.topics)} topics" in text and bag.notices == []
    assert read_manifest(tmp_path / "bag")["end"]
