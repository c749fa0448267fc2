"""The listener node with a chunked system: chunks never delay a frame, and late or failed chunks are reported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from react_ros.bringup import Process, environment
from react_ros.face import Face, FaceState, Sound, SoundState, SpeakerFrame
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.msg import Reaction as ReactionMessage
from react_ros.msg import SpeakerFeatures
from react_ros.nodes.messages import FACTORY
from react_ros.nodes.probe import Probe

pytestmark = [pytest.mark.ros, pytest.mark.slow]

SCRIPT = str(Path(__file__).with_name("chunked_system.py"))
NODE = "/robot/listener"


class Listener:
    """A listener process that gets 25 frames a second from the test."""

    def __init__(self, **parameters: Any) -> None:
        command = [sys.executable, SCRIPT, "--ros-args", *Process("listener", "robot", parameters).ros_arguments]
        self.probe = Probe("/robot", {"listener/reaction": ReactionMessage})
        self.probe.__enter__()
        self.popen = subprocess.Popen(
            command, env={**os.environ, **environment()}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._sent = 0
        self._publisher = self.probe.publisher("speaker/features", SpeakerFeatures, seconds=60.0)
        self.probe.node.create_timer(0.04, self._send)

    def _send(self) -> None:
        frame = SpeakerFrame(self._sent, time.time_ns(), Face(FaceState.TRACKED, count=1), Sound(SoundState.SILENCE))
        self._publisher.publish(FACTORY.speaker(frame, {}, frame.stamp_ns))
        self._sent += 1

    def wait(self, condition: Any, what: str) -> None:
        self.probe.wait(condition, 60.0, what)

    def wait_reactions(self, count: int) -> list[Any]:
        self.wait(lambda: len(self.probe["listener/reaction"]) >= count, f"{count} reactions")
        return self.probe["listener/reaction"]

    @property
    def facts(self) -> dict[str, str]:
        return self.probe.facts(NODE)

    @property
    def status(self) -> str:
        return self.probe.diagnostics[NODE].message if NODE in self.probe.diagnostics else ""

    def close(self) -> str:
        """End it with SIGTERM. Returns its output."""
        self.popen.send_signal(signal.SIGTERM)
        output = self.popen.communicate(timeout=20)[0]
        self.probe.__exit__(None, None, None)
        return output


@pytest.fixture
def start_listener(domain: int) -> Iterator[Any]:
    running: list[Listener] = []

    def start(**parameters: Any) -> Listener:
        running.append(Listener(generator="planning", **parameters))
        return running[-1]

    yield start
    for listener in running:
        if listener.popen.poll() is None:
            listener.close()


def test_each_reaction_names_its_action_chunk_and_the_diagnostics_the_schedule(start_listener: Any) -> None:
    listener = start_listener()
    reactions = listener.wait_reactions(60)
    listener.probe.diagnostics.clear()
    listener.wait(lambda: listener.facts.get("schedule"), "new diagnostics")
    punctual = [(m.lineage.frame - 2) // 5 * 5 - 1 if m.lineage.frame >= 2 else -1 for m in reactions]
    shown = [m.action_chunk for m in reactions]
    assert all(chunk <= due and (chunk + 1) % 5 == 0 for chunk, due in zip(shown, punctual, strict=True))
    assert shown == punctual or listener.facts.get("late chunks"), "a chunk was late but not counted"
    assert max(m.action_chunk for m in reactions) > 20
    assert listener.facts["schedule"] == str(ChunkSchedule(50, 5, 2, 3))
    assert "WARN" not in (said := listener.close()) and "rror" not in said and listener.popen.returncode == 0


def test_chunks_that_take_half_a_second_delay_no_frame_and_are_counted_as_late(start_listener: Any) -> None:
    listener = start_listener(generator_parameters="{seconds: 0.5}")
    reactions = listener.wait_reactions(100)
    frames = [m.lineage.frame for m in reactions]
    assert frames == list(range(frames[0], frames[0] + len(frames)))
    steps = [s.duration for m in reactions for s in m.lineage.stages if s.name == "listener"]
    assert len(steps) == len(reactions) and max(steps) < 0.4, "a step waited for its chunk"
    listener.wait(lambda: int(listener.facts.get("late chunks", 0)) >= 10, "late chunks in the diagnostics")
    assert len({m.action_chunk for m in reactions}) >= 4, "no late chunk ever took effect"
    assert "WARN" not in (said := listener.close()) and "rror" not in said and listener.popen.returncode == 0


def test_chunks_that_fail_are_a_warning_and_reactions_continue(start_listener: Any) -> None:
    listener = start_listener(generator_parameters="{fails: true}")
    listener.wait(lambda: "a kernel is missing" in listener.status, "the warning")
    so_far = len(listener.probe["listener/reaction"])
    reactions = listener.wait_reactions(so_far + 50)
    frames = [m.lineage.frame for m in reactions]
    assert frames == list(range(frames[0], frames[0] + len(frames)))
    assert {m.action_chunk for m in reactions} == {-1}
    output = listener.close()
    assert output.count("RuntimeError: a kernel is missing") == 1
    assert listener.popen.returncode == 0
