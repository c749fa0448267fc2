"""Bags hold our own messages and are readable without ROS."""

from __future__ import annotations

import pytest
from rclpy.serialization import serialize_message

from react_ros.face import ARKIT
from react_ros.msg import Blendshapes
from react_ros.session.bag import BagError, BagWriter, read_bag


def test_what_is_written_is_read_again(tmp_path):
    writer = BagWriter(tmp_path / "bag")
    for k in range(5):
        message = Blendshapes(scheme="arkit52", names=list(ARKIT), weights=[k / 10] * 52)
        message.lineage.frame = k
        writer.write("/robot/avatar/blendshapes", "react_ros/msg/Blendshapes", k * 1000, serialize_message(message))
    writer.close()
    back = list(read_bag(tmp_path / "bag", "/avatar/blendshapes"))
    assert [(r.time_ns, r.message.lineage.frame) for r in back] == [(k * 1000, k) for k in range(5)]
    assert tuple(back[0].message.names) == ARKIT and back[3].message.weights[0] == pytest.approx(0.3)
    assert list(read_bag(tmp_path / "bag", "/other")) == []


def test_a_bag_is_never_overwritten(tmp_path):
    BagWriter(tmp_path / "bag").close()
    with pytest.raises(BagError, match="cannot be written"):
        BagWriter(tmp_path / "bag")


def test_what_is_no_bag_is_named(tmp_path):
    with pytest.raises(BagError, match="cannot be read"):
        list(read_bag(tmp_path / "nothing"))
    (tmp_path / "metadata.yaml").write_text("no: bag")
    with pytest.raises(BagError, match="cannot be read"):
        list(read_bag(tmp_path))
