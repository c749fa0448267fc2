"""`react-ros replay --live` publishes a bag in real time, with the bag's own times on /clock."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter
from recordings import START_NS, answered, features, person, photographs, write
from rosgraph_msgs.msg import Clock

from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag
from react_ros.bags.types import FACTORY, new_message, serialise
from react_ros.face import FRAME_NS
from react_ros.generators import registry
from react_ros.messages.stamps import nanoseconds
from react_ros.msg import ListenerStream, SpeakerFeatures
from react_ros.msg import Reaction as ReactionMessage
from react_ros.nodes.base import LATCHED_QOS
from react_ros.nodes.player import chosen_topics, published_names
from react_ros.nodes.probe import Probe

pytestmark = [pytest.mark.ros, pytest.mark.slow]

HEARD = {"speaker/features": SpeakerFeatures, "listener/reaction": ReactionMessage, "/clock": Clock}


@pytest.fixture
def play(domain: int) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `react-ros replay --live` processes, which are killed after the test."""
    running: list[subprocess.Popen[str]] = []

    def play(bag: Path, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "react_ros", "replay", str(bag), "--live", *map(str, words)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield play
    for popen in running:
        popen.kill()
        popen.communicate()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of a person and a listener, with a recorded /clock."""
    frames = person(75)
    clock = "rosgraph_msgs/msg/Clock"
    ticks = [
        ("/clock", clock, START_NS + k * FRAME_NS, serialise(new_message(clock, clock=FACTORY.time(5))))
        for k in range(75)
    ]
    return write(
        tmp_path_factory.mktemp("player") / "bag", features(frames),
        answered(registry.create("attentive"), frames), ticks,
    )  # fmt: skip


def test_nodes_with_simulated_time_receive_the_messages_at_the_bags_times(
    session: Path, play: Callable[..., subprocess.Popen[str]]
) -> None:
    late: list[float] = []
    with Probe("/lab", HEARD) as probe:
        probe.node.set_parameters([Parameter("use_sim_time", value=True)])

        def on_features(message: SpeakerFeatures) -> None:
            late.append((probe.node.get_clock().now().nanoseconds - nanoseconds(message.header.stamp)) / 1e9)

        probe.node.create_subscription(SpeakerFeatures, "speaker/features", on_features, 50)
        player = play(session, "--namespace", "lab", "--rate", 2)
        probe.wait(lambda: len(probe["speaker/features"]) > 15, 30, "the first frames")
        streams: list[ListenerStream] = []
        probe.node.create_subscription(ListenerStream, "listener/stream", streams.append, LATCHED_QOS)
        probe.wait(lambda: streams, 5, "the latched announcement of the stream, as a late subscriber")
        probe.wait(lambda: len(probe["speaker/features"]) == 75, 30, "all frames")
        out, err = player.communicate(timeout=20)
        probe.wait(lambda: len(probe["listener/reaction"]) == 75, 5, "all reactions")
    assert player.returncode == 0 and not err
    assert out == f"{session}: 3.0 s of 3 topics, 2 times real time\n"
    assert [m.lineage.frame for m in probe["speaker/features"]] == list(range(75))
    ticks = [nanoseconds(m.clock) for m in probe["/clock"]]
    assert ticks == sorted(ticks) and ticks[0] > START_NS and ticks[-1] < START_NS + 4 * 10**9, "of another clock"
    assert len(ticks) > 150
    # Each frame was recorded 50 ms after its stamp; /clock advances between messages.
    fitting = [t for t in late if 0.02 < t < 0.2]
    assert len(fitting) > 65, late
    arrivals = [arrival / 1e9 for arrival, _ in probe.messages["speaker/features"]]
    assert arrivals[-1] - arrivals[0] == pytest.approx(74 * 0.04 / 2, abs=0.4)


def test_perception_and_listener_process_a_recorded_camera_like_a_live_one(
    start_robot: Callable[..., Any], play: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    robot = start_robot(
        only=("perception", "listener", "recorder"), source="none", use_sim_time="true", generator="attentive",
        record=str(tmp_path / "again"),
    )  # fmt: skip
    robot.wait(lambda: robot.probe.node.count_subscribers("/robot/image_raw"), 20, "perception")
    robot.wait(lambda: robot.probe.node.count_subscribers("/robot/speaker/features") > 1, 20, "the listener")
    bag = write(tmp_path / "bag", photographs("bgr8", "/robot/image_raw", 100))
    play(bag)

    def seen() -> list[SpeakerFeatures]:
        return [m for m in robot.probe["speaker/features"] if m.face_state == SpeakerFeatures.FACE_TRACKED]

    robot.wait(lambda: len(seen()) > 40 and len(robot.probe["listener/reaction"]) > 40, 40, "the photographed face")
    assert {nanoseconds(m.lineage.source_stamp) for m in seen()} <= {START_NS + k * FRAME_NS for k in range(100)}
    assert all(START_NS <= nanoseconds(m.header.stamp) < START_NS + 5 * 10**9 for m in seen())
    facts = robot.probe.facts("/robot/perception") | robot.probe.facts("/robot/listener")
    assert not [name for name in facts if name.startswith("rejected")]
    robot.runner.end()
    with Bag(tmp_path / "again") as again:
        assert again.topics["/robot/listener/reaction"].count > 40
        assert again.start_ns >= START_NS and again.seconds < 10.0, "a message was recorded before simulated time began"


def test_a_looped_bag_ends_with_ctrl_c_and_errors_are_one_sentence(
    session: Path, play: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with Probe("/robot", HEARD) as probe:
        player = play(session, "--loop", "--rate", 20, "--topic", "speaker/features")
        probe.wait(lambda: len(probe["speaker/features"]) > 200, 30, "the third round")
        player.send_signal(signal.SIGINT)
        _, err = player.communicate(timeout=20)
        assert (player.returncode, err) == (130, "") and not probe["listener/reaction"]
    (tmp_path / "empty").mkdir()
    attempts = [
        (play(tmp_path / "nothing"), "does not exist"), (play(tmp_path / "empty"), "metadata.yaml is missing"),
        (play(session, "--topic", "avatar/status"), "has no topic avatar/status: it has /robot/listener/react"),
    ]  # fmt: skip
    for popen, sentence in attempts:
        out, err = popen.communicate(timeout=30)
        assert (popen.returncode, out) == (2, "") and sentence in err and len(err.strip().splitlines()) == 1


def test_the_recorded_robots_namespace_is_replaced_however_nested_it_is(tmp_path: Path) -> None:
    frames = person(2)
    listener = registry.create("attentive")

    def robot(namespace: str) -> list[Any]:
        messages = [*features(frames), *answered(listener, frames)]
        return [(topic.replace("/robot", namespace), *rest) for topic, *rest in messages]

    camera = list(photographs("jpeg", "/usb_cam/image_raw/compressed", 1))
    with Bag(write(tmp_path / "one", robot("/lab/robot_2"), camera)) as bag:
        assert published_names(bag, chosen_topics(bag, []), "robot") == {
            "/lab/robot_2/speaker/features": "/robot/speaker/features",
            "/lab/robot_2/listener/stream": "/robot/listener/stream",
            "/lab/robot_2/listener/reaction": "/robot/listener/reaction",
            "/usb_cam/image_raw/compressed": "/robot/image_raw/compressed",
        }
        assert set(published_names(bag, ["/lab/robot_2/speaker/features"], "")) == {"/lab/robot_2/speaker/features"}
    with Bag(write(tmp_path / "two", robot("/lab/ann"), robot("/lab/bob"))) as bag:
        with pytest.raises(BagError, match=r"would both be published on /robot/listener/reaction: choose with --topic"):
            published_names(bag, chosen_topics(bag, []), "robot")
        chosen = chosen_topics(bag, ["/lab/bob/speaker/features"])
        assert published_names(bag, chosen, "robot") == {"/lab/bob/speaker/features": "/robot/speaker/features"}


def test_a_skipped_silence_is_reported(play: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    frames = [*person(3), *person(3, first=3, start_ns=START_NS + 3600 * 10**9)]
    out, err = play(write(tmp_path / "bag", features(frames))).communicate(timeout=40)
    assert out.endswith("1 times real time\n")
    assert err == "a silence of 3599.9 s before 3600.0 s is skipped: it is longer than 10 s\n"
