"""The listener node with a system that takes seconds to load: no frame is lost, weights are loaded once, errors are
reported."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter as RosParameter
from typer.testing import CliRunner

from react_ros.bringup import Process, environment
from react_ros.cli.main import app
from react_ros.face import Face, FaceState, Sound, SoundState, SpeakerFrame
from react_ros.messages.listener_stream import parse_parameters
from react_ros.msg import ListenerStream, SpeakerFeatures
from react_ros.msg import Reaction as ReactionMessage
from react_ros.nodes.messages import FACTORY
from react_ros.nodes.probe import Probe
from react_ros.supervision.heartbeats import VARIABLE

pytestmark = [pytest.mark.ros, pytest.mark.slow]

SCRIPT = str(Path(__file__).with_name("slow_system.py"))


class Listener:
    """A listener process that gets 25 frames a second from the test."""

    def __init__(self, log: Path, **parameters: Any) -> None:
        self._log = log
        log.touch()
        given = {**os.environ, "REACT_ROS_TEST_LOG": str(log)}
        command = [sys.executable, SCRIPT, "--ros-args", *Process("listener", "robot", parameters).ros_arguments]
        self.probe = Probe("/robot", {"listener/reaction": ReactionMessage, "listener/stream": ListenerStream})
        self.probe.__enter__()
        self.popen = subprocess.Popen(
            command, env={**given, **environment(given)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.sent = 0

    def talk(self) -> None:
        """Begin to send frames, once there is somebody who hears them."""
        self._publisher = self.probe.publisher("speaker/features", SpeakerFeatures, seconds=30.0)
        self.probe.node.create_timer(0.04, self._send)

    def _send(self) -> None:
        frame = SpeakerFrame(self.sent, time.time_ns(), Face(FaceState.TRACKED, count=1), Sound(SoundState.SILENCE))
        self._publisher.publish(FACTORY.speaker(frame, {}, frame.stamp_ns))
        self.sent += 1

    def set(self, **values: Any) -> str:
        """Set parameters, one after the other. Returns why one was refused, or nothing."""
        client = self.probe.node.create_client(SetParameters, "/robot/listener/set_parameters")
        self.probe.wait(client.service_is_ready, 20, "the parameter service")
        messages: list[ParameterMessage] = [RosParameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        future = client.call_async(SetParameters.Request(parameters=messages))
        self.probe.wait(future.done, 10, "the answer of the parameter service")
        response = future.result()
        assert response is not None
        return "; ".join(r.reason for r in response.results if not r.successful)

    @property
    def answers(self) -> list[tuple[int, str, int]]:
        """Of each reaction so far: frame, generator, seed."""
        return [(m.lineage.frame, m.lineage.generator, m.lineage.seed) for m in self.probe["listener/reaction"]]

    def wait_answers(self, generator: str, seed: int = 0, more: int = 25) -> None:
        """Wait for so many more reactions, all by this generator."""
        first = self.sent
        self.probe.wait(
            lambda: sum(f >= first and (g, s) == (generator, seed) for f, g, s in self.answers) >= more,
            30, f"{more} answers by {generator}",
        )  # fmt: skip

    @property
    def loads(self) -> int:
        return self._log.read_text().split().count("load")

    def warning(self) -> str:
        status = self.probe.diagnostics.get("/robot/listener")
        return status.message if status else ""

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        self.popen.communicate(timeout=10)
        self.probe.__exit__(None, None, None)


@pytest.fixture
def start_listener(domain: int, tmp_path: Path) -> Iterator[Any]:
    running: list[Listener] = []

    def start(**parameters: Any) -> Listener:
        running.append(Listener(tmp_path / f"log{len(running)}", **parameters))
        return running[-1]

    yield start
    for listener in running:
        listener.close()


def test_a_change_to_a_system_that_loads_for_seconds_and_back_loses_no_frame(start_listener: Any) -> None:
    listener = start_listener(generator="attentive")
    listener.talk()
    listener.wait_answers("attentive")
    requested_at = listener.sent
    assert listener.set(generator="slow") == ""
    listener.wait_answers("slow")
    first = next(f for f, g, _ in listener.answers if g == "slow")
    assert first - requested_at >= 45, "the system was loaded at once: the test is void"
    assert listener.set(generator="attentive") == ""
    listener.wait_answers("attentive")
    frames = [f for f, *_ in listener.answers]
    assert frames == list(range(frames[0], frames[0] + len(frames))), "a frame got no reaction, or two"
    turns = [g for i, (_, g, _) in enumerate(listener.answers) if i == 0 or listener.answers[i - 1][1] != g]
    assert turns == ["attentive", "slow", "attentive"]
    assert "frames that never came" not in listener.probe.facts("/robot/listener")
    arrivals = [a / 1e9 for a, _ in list(listener.probe.messages["listener/reaction"])]
    longest = max(b - a for a, b in itertools.pairwise(arrivals))
    print(f"longest time without a reaction: {longest:.2f} s")
    assert longest < 1.5, "the listener stood still while it loaded"


def test_weights_are_loaded_once_whatever_else_changes(start_listener: Any) -> None:
    listener = start_listener(generator="slow")
    listener.talk()
    listener.wait_answers("slow", more=5)
    assert listener.loads == 1
    assert listener.set(seed=3, samples=2) == ""
    listener.wait_answers("slow", seed=3, more=5)
    assert listener.set(delay=0.2) == ""
    listener.probe.wait(lambda: listener.probe["listener/reaction"][-1].delay == 5, 10, "the deliberate delay")
    assert listener.set(liveliness=1.5) == ""
    listener.probe.wait(lambda: listener.probe.facts("/robot/listener").get("liveliness") == "1.5", 10, "the dial")
    announced = parse_parameters(listener.probe["listener/stream"][-1].parameters)
    assert announced["liveliness"] == 1.5 and "liveliness" in listener.set(liveliness=2.5)
    assert listener.loads == 1
    assert listener.set(temperature=0.5) == ""
    listener.probe.wait(lambda: listener.loads == 2, 10, "the other temperature")


def test_of_two_requests_in_a_row_the_newer_one_wins(start_listener: Any) -> None:
    listener = start_listener(generator="attentive")
    listener.talk()
    listener.wait_answers("attentive", more=5)
    assert listener.set(generator="slow", seed=4) == ""
    assert listener.set(generator="mime") == ""
    listener.wait_answers("mime", seed=4)
    assert "slow" not in {g for _, g, _ in listener.answers}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("nowhere.safetensors", "the weights 'nowhere.safetensors' are not there: train them or name others"),
        ("broken", "slow cannot be loaded: RuntimeError('a kernel is missing')"),
    ],
)
def test_a_system_that_cannot_be_loaded_is_reported_and_the_current_one_continues(
    start_listener: Any, weights: str, expected: str
) -> None:
    listener = start_listener(generator="attentive")
    listener.talk()
    listener.wait_answers("attentive", more=5)
    assert listener.set(generator="slow") == ""
    listener.wait_answers("slow", more=5)
    assert listener.set(generator_parameters=f"{{weights: {weights}}}") == ""
    listener.probe.wait(lambda: listener.warning() == expected, 15, expected)
    listener.wait_answers("slow", more=5)
    assert "YAML mapping" in listener.set(generator_parameters="[")
    assert listener.set(generator_parameters="") == ""
    listener.probe.wait(lambda: listener.warning().startswith("active"), 15, "the warning to end")


def test_missing_weights_are_one_sentence_and_exit_code_2(start_listener: Any) -> None:
    listener = start_listener(generator="slow", generator_parameters="{weights: nowhere.safetensors}")
    output = listener.popen.communicate(timeout=30)[0]
    assert listener.popen.returncode == 2
    assert "Traceback" not in output
    lines = [re.sub(r"^(\[[^]]*\] ?)*:? ?", "", line) for line in output.splitlines() if "weights" in line]
    assert lines == ["listener: the weights 'nowhere.safetensors' are not there: train them or name others."]


def test_a_listener_that_loads_for_two_seconds_answers(start_listener: Any) -> None:
    listener = start_listener(generator="slow")
    listener.talk()
    listener.probe.wait(lambda: listener.answers, 30, "the first reaction")


def test_a_listener_that_is_killed_comes_back_with_what_was_set_while_it_ran_and_says_so(
    start_listener: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "supervisor").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "supervisor"))
    launched = {"generator": "attentive", "seed": 2, "delay": 0.0}
    listener = start_listener(**launched)
    listener.talk()
    listener.wait_answers("attentive", seed=2, more=5)
    assert listener.set(generator="mime", seed=5, delay=0.2, liveliness=1.5) == ""
    listener.wait_answers("mime", seed=5, more=10)
    listener.popen.kill()
    listener.popen.wait()
    again = start_listener(**launched)
    again.talk()
    again.wait_answers("mime", seed=5, more=5)
    said = "generator mime, seed 5, liveliness 1.5, delay 0.2"
    again.probe.wait(lambda: again.probe.facts("/robot/listener").get("restored") == said, 10, said)
    assert f"with what was set before: {said}" in again.warning()
    stream = again.probe["listener/stream"][-1]
    assert (stream.generator, stream.seed, stream.delay) == ("mime", 5, 5)
    assert again.set(generator="attentive") == ""
    again.wait_answers("attentive", seed=5, more=5)
    # What ends every node that has it, or cannot be loaded, is given up.
    again.popen.kill()
    again.popen.wait()
    (kept,) = (tmp_path / "supervisor" / "settings").iterdir()
    kept.write_text(json.dumps({"values": {"generator": "slow", "generator_parameters": "{weights: nowhere}"},
                                "attempts": 0}))  # fmt: skip
    last = start_listener(**launched)
    last.talk()
    last.wait_answers("attentive", seed=2, more=5)
    last.probe.wait(lambda: "restarted without what was set: generator slow" in last.warning(), 10, "the warning")


def command(*words: str) -> tuple[int, str]:
    """Exit code and output of a command; an uncaught exception fails the test."""
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return result.exit_code, result.output


def test_a_running_robot_is_set_and_shown_without_ros2(start_listener: Any) -> None:
    listener = start_listener()
    listener.talk()
    listener.wait_answers("attentive")
    assert command("set", "generator", "attentive,nodding=0.5")[0] == 0
    told = listener.probe.messages["listener/stream"]
    listener.probe.wait(lambda: any("nodding: 0.5" in m.parameters for _, m in told), 20, "another stream")
    assert command("set", "liveliness", "0.5") == (0, "/robot/listener: liveliness = 0.5\n")
    code, text = command("status", "--json")
    (shown,) = [node for node in json.loads(text) if node["name"] == "/robot/listener"]
    assert code == 0 and shown["level"] == 0 and shown["values"]["generator"] == "attentive"
    assert "/robot/listener" in command("status")[1]
    for words, says in (
        (("generator", "atentive"), "did you mean 'attentive'?"), (("livelines", "1"), "did you mean 'liveliness'?"),
        (("generator", "attentive,nodding=9"), "must be a number from 0 to 2"),
        (("liveliness", "9"), "between 0 and 2"), (("device", "cpu"), "cannot be set while"),
        (("liveliness", "much"), "liveliness must be a number, not 'much'"), (("max_stamp_age", "1"), "name one, "),
        (("liveliness", "1", "--namespace", "robto"), "no robot at /robto; I see"),
    ):  # fmt: skip
        code, text = command("set", *words)
        assert code == 2 and says in text and len(text.strip().splitlines()) == 1, text
    assert "no robot at /robto; I see /robot" in command("status", "--namespace", "robto")[1]
