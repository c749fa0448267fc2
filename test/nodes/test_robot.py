"""The robot as a whole: five processes over real DDS."""

from __future__ import annotations

import pytest

from react_ros import assets
from react_ros.generators import registry
from react_ros.msg import Affect, Blendshapes, FaceModel, Status

pytestmark = pytest.mark.ros


def test_a_filmed_human_is_answered_by_a_face_over_dds(start_robot):
    faces = {"avatar/blendshapes": Blendshapes, "avatar/face_model": FaceModel, "avatar/affect": Affect}
    robot = start_robot(microphone=str(assets.resolve("demo-voice-1")), topics=faces)
    robot.wait_live(50)
    live = [s for s in robot.probe["avatar/status"] if s.state == Status.LIVE]
    # Now and then a frame's image is late: the face is held, and its lineage begins with the sound.
    pictured = [s for s in live if any(stage.name == "image" for stage in s.lineage.stages)]
    assert len(pictured) > len(live) / 2
    status = pictured[-1]
    stages = [stage.name for stage in status.lineage.stages]
    assert stages[0] == "image" and "face" in stages and stages[-2:] == ["listener", "motion"]
    assert status.lineage.generator == registry.DEFAULT
    assert 0 < status.latency < 1.0
    shapes = robot.probe["avatar/blendshapes"][-1]
    assert shapes.scheme == "arkit52" and len(shapes.names) == len(shapes.weights) == 52
    assert {m.lineage.frame for m in robot.probe["avatar/face_model"]} >= {status.lineage.frame}
    assert len(robot.probe["avatar/affect"][-1].action_unit_names) == 15
