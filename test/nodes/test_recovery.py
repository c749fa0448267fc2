"""Recovery: killed nodes are restarted, and the others continue."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from functools import partial

import numpy as np
import psutil
import pytest

from react_ros import assets
from react_ros.face import FaceState, SoundState
from react_ros.msg import Blendshapes, Status

pytestmark = [pytest.mark.ros, pytest.mark.slow]

NODES = ("camera", "microphone", "perception", "listener", "avatar")
STOPPED = ("perception", "avatar")


def test_a_node_that_is_killed_or_hangs_is_restarted_while_the_others_and_the_face_continue(start_robot):
    robot = start_robot(microphone=str(assets.resolve("demo-voice-1")))
    probe = robot.probe

    def back(executable: str, killed: float) -> float:
        """Time of the first message that needs this node, after its absence showed; 0 before."""
        topic = "speaker/features" if executable in ("camera", "microphone") else "avatar/status"
        absent = executable == "avatar"  # with the others, messages in transit may still arrive
        for arrival, message in list(probe.messages[topic]):
            if arrival / 1e9 < killed:
                continue
            if executable == "camera":
                present, missing = message.face_state == FaceState.TRACKED, message.face_state != FaceState.TRACKED
            elif executable == "microphone":
                present = message.sound_state == SoundState.SPEECH
                missing = message.sound_state == SoundState.MISSING
            else:
                present, missing = message.state == Status.LIVE, message.state != Status.LIVE
            if absent and present:
                return arrival / 1e9
            absent = absent or missing
        return 0.0

    robot.wait_live(25)
    for executable, number in (*((name, signal.SIGKILL) for name in NODES), *((n, signal.SIGSTOP) for n in STOPPED)):
        probe.wait(lambda: any(m.sound_state == SoundState.SPEECH for m in probe["speaker/features"][-25:]), 20, "talk")
        before = {name: robot.pid(name) for name in NODES}
        probe.clear()
        killed = robot.kill(executable, number)
        at = robot.wait(partial(back, executable, killed), 20, f"the {executable}")
        assert robot.pid(executable) != before[executable]
        took = at - killed
        cpu = psutil.Process(robot.pid(executable)).cpu_times()
        print(f"{executable}, {number.name}: back after {took:.2f} s; {cpu.user + cpu.system:.2f} s of processor time")
        assert {name: robot.pid(name) for name in NODES if name != executable} == {
            name: pid for name, pid in before.items() if name != executable
        }
        shown = [(a / 1e9, s) for a, s in list(probe.messages["avatar/status"]) if killed < a / 1e9 < at]
        if executable != "avatar":
            outputs = [s.output for _, s in shown]
            assert outputs == list(range(outputs[0], outputs[0] + len(outputs)))
            assert len(outputs) >= 0.8 * 25 * took - 2, "the face stood still"
        if executable in ("perception", "listener"):
            assert {s.state for _, s in shown} & {Status.LATE, Status.STALE}, "the status shows missing reactions"
        robot.wait_live(10)
        why = "hung: it was stopped (SIGSTOP)" if number == signal.SIGSTOP else "ended with SIGKILL"
        assert why in robot.lines[-1], robot.lines


def test_a_restarted_avatar_serves_its_page_although_a_browser_still_holds_the_old_connection(start_robot):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    robot = start_robot(only=["avatar"], view_port=str(port))
    robot.wait(lambda: robot.probe["avatar/status"], 20, "the avatar")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=10) as browser:
        assert browser.readline()
        killed = robot.kill("avatar")
        robot.wait(
            lambda: any(a / 1e9 > killed + 0.1 for a, _ in robot.probe.messages["avatar/status"]), 20, "a new avatar"
        )
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=10) as browser:
        assert browser.readline().startswith(b"data:")


def test_without_sensors_the_face_shows_idle_life_and_listens_again_when_they_return(start_robot):
    voice = str(assets.resolve("demo-voice-1"))
    robot = start_robot(microphone=voice, topics={"avatar/blendshapes": Blendshapes}, watch_hangs=False)
    probe = robot.probe
    robot.wait_live(25)
    for executable in ("camera", "microphone"):
        os.kill(robot.pid(executable), signal.SIGSTOP)
    robot.wait(lambda: probe["speaker/features"][-1].face_state == FaceState.MISSING, 5, "perception to notice")
    robot.wait(lambda: probe["speaker/features"][-1].sound_state == SoundState.MISSING, 5, "perception to notice")
    robot.wait(lambda: probe["avatar/status"][-1].state == Status.IDLE, 5, "idle life")
    probe.clear()
    robot.wait(lambda: len(probe["avatar/blendshapes"]) >= 75, 20, "75 frames of idle life")
    assert {s.state for s in probe["avatar/status"]} <= {Status.IDLE, Status.LATE}
    weights = np.array([m.weights for m in probe["avatar/blendshapes"]])
    assert np.isfinite(weights).all() and weights.std(0).max() > 1e-3, "the idle face does not move"
    for executable in ("camera", "microphone"):
        os.kill(robot.pid(executable), signal.SIGCONT)
    robot.wait_live(10, 20.0)
    assert not robot.lines, "no node was restarted"
