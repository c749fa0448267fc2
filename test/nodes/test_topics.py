"""Topics that nodes publish on and subscribe to."""

from __future__ import annotations

from array import array

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from react_ros.nodes.avatar import hri_namespace
from react_ros.nodes.topic_input import serialized_stamp


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [("/robot", "/robot_face"), ("/", "/robot_face"), ("/ann", "/ann/robot_face"), ("/lab/two", "/lab/two/robot_face")],
)
def test_several_robots_do_not_publish_their_faces_as_hri_msgs_on_one_topic(namespace, expected):
    assert hri_namespace(namespace) == expected


@pytest.mark.parametrize("message", [Image(), CompressedImage()])
def test_the_stamp_of_a_message_is_read_without_the_rest(message):
    message.header.stamp.sec, message.header.stamp.nanosec = 1_800_000_000, 999_999_999
    message.data = array("B", bytes(1000))
    assert serialized_stamp(serialize_message(message)) == 1_800_000_000_999_999_999
