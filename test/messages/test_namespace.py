"""One rule says in which namespace a topic lies: two people below one parent are two people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from react_ros.messages import namespace
from react_ros.messages.namespace import (
    encloses,
    join_namespace,
    move,
    name_of,
    namespace_of,
    nearest,
    no_robot,
    normalize_namespace,
    parse_namespace,
    robot_namespaces,
)


@pytest.mark.parametrize(
    ("topic", "space", "name"),
    [
        ("/robot/speaker/features", "/robot", "speaker/features"),
        ("/lab/ann/speaker/features", "/lab/ann", "speaker/features"),
        ("/speaker/features", "/", "speaker/features"),
        ("/robot/listener/reaction", "/robot", "listener/reaction"),
        ("/a/b/c/listener/stream", "/a/b/c", "listener/stream"),
        ("/robot/avatar/image", "/robot", "avatar/image"),
        ("/robot/avatar/image/compressed", "/robot", "avatar/image/compressed"),
        ("/avatar/status", "/", "avatar/status"),
        ("/robot/recording", "/robot", "recording"),
        ("/recording", "/", "recording"),
        ("/lab/ann/image_raw", "/lab/ann", "image_raw"),
        ("/lab/ann/image_raw/compressed", "/lab/ann", "image_raw/compressed"),
        ("/lab/ann/audio", "/lab/ann", "audio"),
        ("/audio", "/", "audio"),
        ("/image_raw/compressed", "/", "image_raw/compressed"),
        # third-party
        ("/camera/image_raw", "/camera", "image_raw"),
        ("/usb_cam/image_raw/compressed", "/usb_cam", "image_raw/compressed"),
        ("/camera/color/image_raw", "/camera/color", "image_raw"),
        ("/usb_cam/image_color/compressed", "/usb_cam", "image_color/compressed"),
        ("/usb_cam/image_raw/theora", "/usb_cam", "image_raw/theora"),
        ("/audio/audio", "/audio", "audio"),
        ("/lab/mic/audio/audio", "/lab/mic/audio", "audio"),
        ("/audio/audio_info", "/audio", "audio_info"),
        ("/diagnostics", "/", "diagnostics"),
        # names that only resemble those of this package
        ("/robot/speaker/image_raw", "/robot/speaker", "image_raw"),
        ("/robot/listener/image_raw/compressed", "/robot/listener", "image_raw/compressed"),
        ("/robot/loudspeaker/features", "/robot/loudspeaker", "features"),
        # in any form
        ("lab/ann/image_raw", "/lab/ann", "image_raw"),
        ("/lab//ann/image_raw/", "/lab/ann", "image_raw"),
        ("/compressed", "/", "compressed"),
        ("", "/", ""),
    ],
)
def test_a_topic_is_a_namespace_and_a_name(topic: str, space: str, name: str) -> None:
    assert (namespace_of(topic), name_of(topic)) == (space, name)
    if name:
        assert join_namespace(space, name) == "/" + "/".join(part for part in topic.split("/") if part)


@pytest.mark.parametrize("text", ["lab/ann", "/lab/ann", "/lab/ann/", "lab/ann//", "//lab/ann"])
def test_a_namespace_is_written_in_one_way(text: str) -> None:
    assert normalize_namespace(text) == "/lab/ann"
    assert join_namespace(text, "audio") == "/lab/ann/audio" and join_namespace(text, "/audio") == "/audio"


@pytest.mark.parametrize("text", ["", "/", "//"])
def test_the_root_namespace_is_one_slash(text: str) -> None:
    assert normalize_namespace(text) == "/" and join_namespace(text, "audio") == "/audio"


@pytest.mark.parametrize("text", ["1lab", "lab/2", "lab ann", "lab-ann", "~", "lab/ännchen"])
def test_a_namespace_that_ros_does_not_allow_is_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="namespace must be of letters, digits and _"):
        parse_namespace(text)
    assert parse_namespace("lab/robot_2/") == "/lab/robot_2" and parse_namespace("") == "/"


def test_a_namespace_encloses_topics_and_not_names_that_begin_alike() -> None:
    assert encloses("/lab/ann", "/lab/ann/audio") and encloses("/lab", "/lab/ann/audio") and encloses("/", "/audio")
    assert not encloses("/lab/ann", "/lab/anna/audio") and not encloses("/lab/ann", "/lab/audio")


ANN, BOB = "/lab/ann/speaker/features", "/lab/bob/speaker/features"


def test_two_people_below_one_parent_are_two_people() -> None:
    reactions = ["/lab/ann/listener/reaction", "/lab/bob/listener/reaction"]
    assert nearest(reactions, ANN) == reactions[:1] and nearest(reactions, BOB) == reactions[1:]
    assert nearest(["/lab/ann/camera/image_raw", "/lab/bob/camera/image_raw"], BOB) == ["/lab/bob/camera/image_raw"]


def test_the_nearest_are_those_of_the_namespace_then_of_the_closest_around_or_below() -> None:
    every = ["/lab/image_raw", "/lab/ann/image_raw", "/lab/ann/left/image_raw", "/other/image_raw", "/image_raw"]
    assert nearest(every, ANN) == ["/lab/ann/image_raw"]
    assert nearest([t for t in every if t != "/lab/ann/image_raw"], ANN) == every[0:1] + every[2:3]
    assert nearest(every, "/lab/ann/left/right/audio") == ["/lab/ann/left/image_raw"]
    assert nearest(every, "/audio") == ["/image_raw"]
    assert nearest(every, "/nowhere/audio") == [], "the root encloses everything, and so tells nothing"
    assert nearest([], ANN) == [] and nearest(every, "") == ["/image_raw"]


def test_robots_are_found_by_the_topics_of_this_package() -> None:
    topics = ["/lab/robot_2/speaker/features", "/lab/robot_2/avatar/image/compressed", "/cam/image_raw", "/diagnostics"]
    assert robot_namespaces(topics) == {"/lab/robot_2"}
    assert robot_namespaces(["/listener/reaction"]) == {"/"}


@pytest.mark.parametrize(
    ("topic", "moved"),
    [
        ("/lab/robot_2/speaker/features", "/robot/speaker/features"),
        ("/lab/robot_2/image_raw/compressed", "/robot/image_raw/compressed"),
        ("/lab/robot_2/left/image_raw", "/robot/left/image_raw"),
        ("/lab/robot_2/lab_msgs/heat", "/robot/lab_msgs/heat"),
        ("/lab/robot_22/audio", "/robot/audio"),
        ("/usb_cam/image_raw/compressed", "/robot/image_raw/compressed"),
        ("/audio/audio", "/robot/audio"),
        ("/audio", "/robot/audio"),
        ("/image_raw", "/robot/image_raw"),
        ("/diagnostics", "/diagnostics"),
        ("/tf", "/tf"),
    ],
)
@pytest.mark.parametrize("to", ["robot", "/robot", "/robot/"])
def test_the_recorded_robots_namespace_is_replaced_by_another(topic: str, moved: str, to: str) -> None:
    assert move(topic, {"/lab/robot_2"}, to) == moved


def test_namespaces_move_from_and_to_the_root_and_deeper_ones() -> None:
    assert move("/speaker/features", {"/"}, "lab/ann") == "/lab/ann/speaker/features"
    assert move("/avatar/image/compressed", {"/"}, "lab") == "/lab/avatar/image/compressed"
    assert move("/parameter_events", {"/"}, "lab") == "/parameter_events"
    assert move("/lab/ann/listener/stream", {"/lab/ann"}, "/") == "/listener/stream"
    assert move("/lab/ann/audio", {"/lab", "/lab/ann"}, "x") == "/x/audio", "the innermost robot counts"
    assert move("/lab/bob/audio", {"/lab", "/lab/ann"}, "x") == "/x/bob/audio"


def test_every_topic_of_the_nodes_is_known_to_the_rule() -> None:
    nodes = Path(namespace.__file__).parents[1] / "nodes"
    text = "".join(path.read_text() for path in nodes.glob("*.py"))
    published = set(re.findall(r'create_(?:lifecycle_)?publisher\(\s*\w+,\s*"([^"/][^"]*)"', text))
    assert len(published) > 10
    assert published <= namespace.TWO_PART_NAMES | namespace.ONE_PART_NAMES


@pytest.mark.parametrize(
    ("nodes", "topics", "unpublished", "says"),
    [
        ({"/robto/listener"}, [], (), ""),
        ({"/robot/listener"}, ["/robot/speaker/features"], (), "no robot at /robto; I see /robot "),
        ((), ["/a/avatar/status", "/b/avatar/status"], (), "no robot at /robto; I see /a, /b "),
        ((), ["/usb_cam/image_raw"], (), "no robot at /robto, nor anywhere else"),
        ({"/robto/listener"}, ["/cam/image_raw"], {"/cam/image"}, "nobody publishes /cam/image (did you mean '/cam"),
    ],
)  # fmt: skip
def test_where_no_robot_is_the_others_are_named(
    nodes: set[str], topics: list[str], unpublished: set[str], says: str
) -> None:
    said = no_robot("/robto", nodes, topics, unpublished)
    assert said.startswith(says) and bool(said) == bool(says)
