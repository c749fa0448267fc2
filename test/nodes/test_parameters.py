"""Parameters and lifecycle of every node, through the services that `ros2 param` and `ros2 lifecycle` use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter as RosParameter
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import Image

from react_ros import assets
from react_ros.face import FaceState, SoundState
from react_ros.generators import registry
from react_ros.msg import AudioChunk, Status
from react_ros.nodes.base import AUTOSTART, RobotNode
from react_ros.nodes.composed import CLASSES

pytestmark = [pytest.mark.ros, pytest.mark.slow]

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE, "cleanup": Transition.TRANSITION_CLEANUP,
    "activate": Transition.TRANSITION_ACTIVATE, "deactivate": Transition.TRANSITION_DEACTIVATE,
}  # fmt: skip


class Services:
    """Client of the parameter and lifecycle services of a robot's nodes."""

    def __init__(self, robot: Any) -> None:
        self._robot = robot
        self._clients: dict[str, Any] = {}

    def call(self, node: str, kind: Any, service: str, **fields: Any) -> Any:
        name = f"/robot/{node}/{service}"
        client = self._clients.get(name) or self._robot.probe.node.create_client(kind, name)
        self._clients[name] = client
        self._robot.wait(client.service_is_ready, 20, name)
        future = client.call_async(kind.Request(**fields))
        self._robot.wait(future.done, 10, f"the answer of {name}")
        return future.result()

    def set(self, node: str, **values: Any) -> str:
        """Set parameters, one after the other. Returns why one was refused, or nothing."""
        messages: list[ParameterMessage] = [RosParameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        results = self.call(node, SetParameters, "set_parameters", parameters=messages).results
        return "; ".join(r.reason for r in results if not r.successful)

    def get(self, node: str, name: str) -> Any:
        values = self.call(node, GetParameters, "get_parameters", names=[name]).values
        return parameter_value_to_python(values[0])

    def change(self, node: str, transition: str) -> bool:
        request = Transition(id=TRANSITIONS[transition])
        return self.call(node, ChangeState, "change_state", transition=request).success

    def state(self, node: str) -> str:
        return self.call(node, GetState, "get_state").current_state.label


def table(node: str) -> dict[str, Any]:
    cls: type[RobotNode] = getattr(import_module(f"react_ros.nodes.{node}"), CLASSES[node])
    return {p.name: p for p in (AUTOSTART, *cls.PARAMETERS)}


def outside(d: ParameterDescriptor) -> Any:
    """A value just beyond the range, or None where there is no range."""
    for span in (*d.integer_range, *d.floating_point_range):
        return span.to_value + 1
    return None


def test_every_parameter_is_described_checked_and_fixed_at_run_time_unless_live(start_robot, tmp_path: Path):
    robot = start_robot(
        microphone=str(assets.resolve("demo-voice-1")), record=str(tmp_path / "bag"),
        parameters={"recorder": {"images": "none"}},
    )  # fmt: skip
    services = Services(robot)
    for node in CLASSES:
        robot.wait(lambda n=node: services.state(n) == "active", 20, f"{node} to be active")
        names = services.call(node, ListParameters, "list_parameters").result.names
        declared = table(node)
        assert set(declared) <= set(names)
        described = services.call(node, DescribeParameters, "describe_parameters", names=list(declared)).descriptors
        for d in described:
            parameter = declared[d.name]
            assert len(d.description) > 10, f"{node}.{d.name} is not described"
            if parameter.low is not None:
                assert d.integer_range or d.floating_point_range, f"{node}.{d.name} does not tell its range"
            value = services.get(node, d.name)
            if not parameter.live:
                assert "set before the node is configured" in d.description
                reason = services.set(node, **{d.name: value})
                assert reason == f"{d.name} cannot change while the node runs: clean it up first", reason
            elif (wrong := outside(d)) is not None:
                assert d.name in services.set(node, **{d.name: wrong}), f"{node}.{d.name} took {wrong}"
            wrong_type = services.set(node, **{d.name: [1, 2]})
            assert wrong_type, f"{node}.{d.name} took a list"
            assert services.get(node, d.name) == value


def test_listener_parameters_change_at_run_time_and_messages_show_it(start_robot):
    robot = start_robot(only=["camera", "perception", "listener"])
    probe, services = robot.probe, Services(robot)
    robot.wait(lambda: len(probe["listener/reaction"]) > 10, 30, "reactions")

    def soon(condition: Callable[[Any], bool], what: str) -> None:
        probe.clear()
        robot.wait(lambda: probe["listener/reaction"] and condition(probe["listener/reaction"][-1]), 60, what)

    for generator in registry.names():
        assert services.set("listener", generator=generator) == ""
        soon(lambda r, g=generator: r.lineage.generator == g, f"{generator} to listen")
    assert services.set("listener", generator="attentive", seed=5, samples=3) == ""
    soon(lambda r: (r.lineage.generator, r.lineage.seed, r.samples) == ("attentive", 5, 3), "seed and samples")
    assert len(probe["listener/reaction"][-1].blendshapes) == 3 * 52
    assert services.set("listener", generator_parameters="{expressiveness: 0.5}") == ""
    # Deliberate delay: the frame that is answered lies that far behind the newest.
    assert services.set("listener", delay=1.0) == ""

    def behind() -> float:
        newest, answered = probe["speaker/features"], probe["listener/reaction"]
        return newest[-1].lineage.frame - answered[-1].lineage.frame if newest and answered else 0

    robot.wait(lambda: 25 <= behind() <= 27, 10, "a delay of 25 frames")
    assert services.set("listener", delay=0.0) == ""
    robot.wait(lambda: behind() <= 2, 10, "no delay")

    refused = services.set("listener", generator="atentive")
    listing = ", ".join(registry.names())
    assert refused == f"unknown generator 'atentive' (did you mean 'attentive'?): there are {listing}"
    assert "livelyness" in services.set("listener", generator_parameters="{livelyness: 1}")
    assert "YAML mapping" in services.set("listener", generator_parameters="[")
    assert "samples" in services.set("listener", samples=0)
    assert "cannot change while the node runs" in services.set("listener", device="cpu")
    soon(lambda r: (r.lineage.generator, r.lineage.seed, r.samples) == ("attentive", 5, 3), "what was before")
    assert services.get("listener", "generator") == "attentive" and services.get("listener", "samples") == 3
    assert not robot.lines


OUTPUTS = {"camera": "image_raw", "microphone": "audio", "perception": "speaker/features",
           "listener": "listener/reaction", "avatar": "avatar/status"}  # fmt: skip


def test_every_node_deactivates_reactivates_and_reconfigures(start_robot):
    robot = start_robot(
        microphone=str(assets.resolve("demo-voice-1")), topics={"image_raw": Image, "audio": AudioChunk},
        parameters={"avatar": {"autostart": False}},
    )  # fmt: skip
    probe, services = robot.probe, Services(robot)

    def flows(topic: str, messages: int = 5) -> None:
        probe.clear()
        robot.wait(lambda: len(probe[topic]) >= messages, 10, f"{messages} messages on {topic}")

    # autostart:=false
    robot.wait(lambda: len(probe["listener/reaction"]) > 10, 30, "reactions")
    assert services.state("avatar") == "unconfigured"
    assert not probe["avatar/status"] and not probe.node.count_publishers("/robot/avatar/status")
    assert not services.change("avatar", "activate")
    assert services.set("avatar", width=256) == "", "an unconfigured node takes any parameter"
    assert services.change("avatar", "configure") and services.state("avatar") == "inactive"
    assert services.change("avatar", "activate")
    flows("avatar/status")

    def topics_of(node: str) -> tuple[int, int]:
        graph = probe.node
        return (
            sum(len(kinds) for _, kinds in graph.get_subscriber_names_and_types_by_node(node, "/robot")),
            sum(len(kinds) for _, kinds in graph.get_publisher_names_and_types_by_node(node, "/robot")),
        )

    for node, topic in OUTPUTS.items():
        full = f"/robot/{topic}"
        assert services.change(node, "deactivate") and services.state(node) == "inactive"
        silent = len(probe[topic])
        others = "speaker/features" if node in ("avatar", "listener") else "avatar/status"
        flows(others, 10)
        assert len(probe[topic]) <= 1 and silent, f"{node} still speaks"
        assert services.change(node, "activate")
        flows(topic)
        before = topics_of(node)
        for _ in range(2):
            assert services.change(node, "deactivate")
            assert services.change(node, "cleanup") and services.state(node) == "unconfigured"
            robot.wait(lambda f=full: not probe.node.count_publishers(f), 5, f"{topic} to be gone")
            assert services.change(node, "configure")
            assert services.change(node, "activate")
        robot.wait(lambda n=node, b=before: topics_of(n) == b, 5, f"the topics of {node} to be as before")
        robot.wait(lambda f=full: probe.node.count_publishers(f) == 1, 5, f"one publisher of {topic}")
        flows(topic)

    robot.wait(lambda: probe["avatar/status"][-1].state == Status.LIVE, 20, "a live face")
    robot.wait(lambda: probe["speaker/features"][-1].sound_state != SoundState.MISSING, 20, "sound")
    flows("avatar/status", 50)
    for topic in ("speaker/features", "listener/reaction"):
        frames = [m.lineage.frame for m in probe[topic]]
        assert len(frames) == len(set(frames)), f"a frame came twice on {topic}"
    outputs = [s.output for s in probe["avatar/status"]]
    assert outputs == sorted(set(outputs)), "the face shows frames twice"
    assert any(f.face_state == FaceState.TRACKED for f in probe["speaker/features"])
    assert not robot.lines
