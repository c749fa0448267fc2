"""Diagnostics say what is: rates, rejections, what cannot be seen or heard, a second robot of the same name."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request

import pytest

from react_ros import assets
from react_ros.nodes.health import CLEAR_S, EXPECTED_S, LOST_S, Rate, Rejections, Source
from react_ros.nodes.neighbours import FORGOTTEN_S, SILENT_S, Neighbours
from react_ros.supervision.kept_settings import ATTEMPTS, KeptSettings


class Status:
    def __init__(self, name: str, level: bytes, message: str) -> None:
        self.name, self.level, self.message = name, level, message


# Without ROS


def test_rejections_are_named_until_ten_seconds_of_health():
    rejections = Rejections()
    assert rejections.sentences(0.0) == []
    for n in range(3):
        rejections.add("audio", f"reason {n}", 5.0 + n)
    rejections.add("image_raw", "no image", 9.0)
    assert rejections.sentences(9.0) == [
        "3 messages on audio rejected in the last 10 s: reason 2",
        "1 message on image_raw rejected in the last 10 s: no image",
    ]
    assert rejections.sentences(16.5)[0].startswith("1 message on audio")
    assert rejections.sentences(9.1 + CLEAR_S) == []


def test_a_source_says_when_it_begins_is_lost_and_is_back():
    said: list[tuple[str, bool]] = []
    source = Source(
        "images", "/r/image_raw", lambda: "nothing publishes them", lambda *a: said.append(a), "it is blind: "
    )
    source.begin(100.0)
    assert source.trouble(100.0 + EXPECTED_S - 0.1) == ""
    assert source.trouble(100.1 + EXPECTED_S) == "it is blind: no images on /r/image_raw yet: nothing publishes them"
    source.arrived(103.0, "640x480")
    for k in range(20):
        source.arrived(103.0 + 0.04 * k)
    assert source.trouble(103.8) == "" and said[-1] == ("first images on /r/image_raw: 640x480", False)
    lost = 103.76 + LOST_S
    assert source.trouble(lost - 0.1) == ""
    assert source.trouble(lost + 3.0) == "it is blind: no images on /r/image_raw for 4 s: nothing publishes them"
    assert source.trouble(lost + 4.0) and len(said) == 3 and said[-1][1], "a loss is logged once, as a warning"
    source.arrived(110.0)
    assert said[-1] == ("images on /r/image_raw are back after 6.2 s", False)
    assert "back after 6.2 s" in source.trouble(110.0)
    source.arrived(110.1 + CLEAR_S - 0.2)
    source._last = 110.1 + CLEAR_S
    assert "back after" in source.trouble(110.05 + CLEAR_S - 0.1) and source.count == 23


def test_rates_are_of_the_last_seconds_and_begin_anew_with_their_counter():
    rate = Rate()
    assert rate.read(0.0, 0) is None
    assert [rate.read(float(t), 25 * t) for t in range(1, 6)] == [25.0] * 5
    assert [round(rate.read(5.0 + t, 125) or 0.0) for t in range(1, 5)] == [17, 8, 0, 0]
    assert rate.read(10.0, 3) is None and rate.read(11.0, 13) == 10.0


def test_the_page_hears_of_nodes_that_warn_or_are_silent():
    robot = Neighbours("/robot")
    robot.heard([Status("/robot/camera", b"\1", "it is gone"), Status("/other/camera", b"\1", "x")], 0.0)
    robot.heard([Status("/robot/avatar", b"\0", "active")], 1.0)
    assert robot.trouble(1.0) == "camera: it is gone"
    assert robot.trouble(SILENT_S + 1.5) == "avatar has been silent for 4 s; camera has been silent for 4 s"
    assert robot.trouble(FORGOTTEN_S + 2.0) == ""


def test_settings_with_which_no_node_lasts_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("REACT_ROS_SUPERVISOR", str(tmp_path))
    KeptSettings("/lab/listener").keep({"delay": 0.4})
    assert KeptSettings("/other/listener").restore() == {}
    for _ in range(ATTEMPTS):
        assert KeptSettings("/lab/listener").restore() == {"delay": 0.4}
    last = KeptSettings("/lab/listener")
    assert last.restore() == {} and last.suspected == {"delay": 0.4}
    assert KeptSettings("/lab/listener").restore() == {}
    KeptSettings("/lab/listener").keep({"delay": 0.4})
    for _ in range(2 * ATTEMPTS):
        node = KeptSettings("/lab/listener")
        assert node.restore() == {"delay": 0.4}
        node.settled()
    monkeypatch.delenv("REACT_ROS_SUPERVISOR")
    node = KeptSettings("/lab/listener")
    node.keep({"delay": 1.0})
    assert node.restore() == {}, "nobody supervises: nothing is kept"


# A running robot


@pytest.mark.ros
@pytest.mark.slow
def test_a_blind_and_deaf_robot_says_so_on_its_page_too_and_recovers(start_robot):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    voice = str(assets.resolve("demo-voice-1"))
    robot = start_robot(microphone=voice, view_port=str(port), watch_hangs=False)
    robot.wait_live(10)

    def said(node: str = "perception") -> str:
        status = robot.probe.diagnostics.get(f"/robot/{node}")
        return f"{status.level[0]} {status.message}" if status else ""

    robot.wait(lambda: said().startswith("0 active: face "), 30, "health")
    robot.wait(lambda: "images a second" in said() and "sound messages a second" in said(), 10, "the rates")
    assert robot.probe.diagnostics["/robot/perception"].hardware_id == "/robot"
    for executable in ("camera", "microphone"):
        os.kill(robot.pid(executable), signal.SIGSTOP)
    blind = "it sees nothing: no images on /robot/image_raw for"
    deaf = "it hears nothing: no sound messages on /robot/audio for"
    robot.wait(lambda: said().startswith("1 ") and blind in said() and deaf in said(), 10, "blindness and deafness")
    assert "/robot/camera sends none" in said() and "/robot/microphone sends none" in said()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=20) as page:
        shown = ""
        while "camera has been silent" not in shown or blind not in shown:
            line = page.readline().decode()
            shown = json.loads(line[6:]).get("trouble", "") if line.startswith("data: ") else shown
            robot.runner.poll()
    for executable in ("camera", "microphone"):
        os.kill(robot.pid(executable), signal.SIGCONT)
    robot.wait(lambda: "images on /robot/image_raw are back after" in said(), 10, "the images to be back")
    robot.wait(lambda: said().startswith("0 active: face "), 40, "the warning to end")


@pytest.mark.ros
@pytest.mark.slow
def test_two_robots_of_one_name_warn_of_each_other_and_a_restarted_node_does_not(start_robot):
    first, second = start_robot(only=["avatar"]), start_robot(only=["avatar"])
    probe = first.probe

    def said() -> set[str]:
        status = probe.diagnostics.get("/robot/avatar")
        values = {v.key: v.value for v in status.values} if status else {}
        return (
            {values["instance"]} if status and "another node is called /robot/avatar, too" in status.message else set()
        )

    warned: set[str] = set()
    first.wait(lambda: second.runner.poll() or warned.update(said()) or len(warned) == 2, 30, "both to warn")
    second.runner.end()
    first.wait(lambda: not said() and probe.diagnostics["/robot/avatar"].message, 20, "the warning to end")
    before = first.probe.facts("/robot/avatar")["instance"]
    first.kill("avatar")
    first.wait(lambda: probe.facts("/robot/avatar")["instance"] != before, 20, "the next one")
    seen = len(probe["avatar/status"])
    first.wait(lambda: len(probe["avatar/status"]) > seen + 75, 20, "three seconds of it")
    assert not said(), "the one that was killed is still in the graph, but says nothing"
