"""Names of the topics that the nodes publish on and subscribe to."""

from __future__ import annotations

import pytest

from react_ros.nodes.avatar import hri_namespace


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [("/robot", "/robot_face"), ("/", "/robot_face"), ("/ann", "/ann/robot_face"), ("/lab/two", "/lab/two/robot_face")],
)
def test_several_robots_do_not_publish_their_faces_as_hri_msgs_on_one_topic(namespace, expected):
    assert hri_namespace(namespace) == expected
