"""The listener node with a system of another package."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tiny_package

from react_ros.bringup import Process, environment
from react_ros.face import Face, FaceState, Sound, SoundState, SpeakerFrame
from react_ros.msg import Reaction, SpeakerFeatures
from react_ros.nodes.messages import FACTORY
from react_ros.nodes.probe import Probe

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def test_a_third_party_system_runs_in_the_listener_node(domain: int, tmp_path: Path) -> None:
    tiny_package.save_level(tiny_package.install(tmp_path / "site"), 0.5)
    variables = tiny_package.environment(tmp_path / "site", tmp_path / "cache")
    with Probe("/robot", {"listener/reaction": Reaction}) as probe:
        process = subprocess.Popen(
            Process("listener", "robot", {"generator": "tiny"}).command,
            env={**os.environ, **variables, **environment(variables)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        try:
            publisher = probe.publisher("speaker/features", SpeakerFeatures, seconds=60.0)
            sent = 0

            def send() -> None:
                nonlocal sent
                face, sound = Face(FaceState.TRACKED, count=1), Sound(SoundState.SILENCE)
                publisher.publish(FACTORY.speaker(SpeakerFrame(sent, time.time_ns(), face, sound), {}, time.time_ns()))
                sent += 1

            probe.node.create_timer(0.04, send)
            probe.wait(lambda: len(probe["listener/reaction"]) >= 10, 60.0, "10 reactions")
            assert {m.lineage.generator for m in probe["listener/reaction"]} == {"tiny"}
        finally:
            process.send_signal(signal.SIGTERM)
            output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
