"""Whose topics are whose: people and robots below one parent namespace are different ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from recordings import Message, answered, features, person, write

from react_ros.bags.errors import BagError
from react_ros.bags.participants import TopicChoice, find_robot_listener, find_speaker_and_listener
from react_ros.bags.person_topics import PersonTopics, find_person
from react_ros.bags.reader import Bag
from react_ros.bags.types import new_message, serialise
from react_ros.generators import registry
from react_ros.messages.types import AUDIO_INFO, IMAGE_TYPE

ATTENTIVE = registry.create("attentive")
FRAMES = person(5)


def moved(messages: Iterable[Message], namespace: str) -> Iterator[Message]:
    for topic, kind, time_ns, data in messages:
        yield topic.replace("/robot", namespace.rstrip("/"), 1), kind, time_ns, data


def robot(namespace: str, *, listens: bool = True) -> list[Message]:
    said = [*features(FRAMES), *(answered(ATTENTIVE, FRAMES) if listens else ())]
    return list(moved(said, namespace))


def image(topic: str) -> Message:
    return topic, IMAGE_TYPE, FRAMES[0].stamp_ns, serialise(new_message(IMAGE_TYPE))


def test_two_robots_below_one_parent_have_their_own_listeners(tmp_path: Path) -> None:
    with Bag(write(tmp_path / "bag", robot("/lab/ann"), robot("/lab/bob"))) as bag:
        for name in ("ann", "bob"):
            found = find_robot_listener(bag, f"/lab/{name}/speaker/features")
            assert found.streams == (f"/lab/{name}/listener/stream",)
            assert found.reactions == (f"/lab/{name}/listener/reaction",) and not found.ambiguous
            found = find_robot_listener(bag, f"/lab/{name}/camera/image_raw")
            assert found.reactions == (f"/lab/{name}/listener/reaction",)
        assert find_robot_listener(bag, "/camera/image_raw").ambiguous


def test_the_listener_is_whoever_is_not_the_robots_speaker_in_nested_namespaces_too(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", robot("/lab/ann"), robot("/lab/bob", listens=False))
    with Bag(bag) as opened:
        speaker, listener = find_speaker_and_listener(opened, TopicChoice(), [])
    assert speaker == PersonTopics("/lab/ann/speaker/features")
    assert listener == PersonTopics("/lab/bob/speaker/features")


@pytest.mark.parametrize(
    ("robots", "cameras", "listener"),
    [
        ("/lab/ann", ("/lab/ann/image_raw", "/lab/bob/image_raw"), "/lab/bob/image_raw"),
        ("/lab/ann", ("/lab/ann/front/image_raw", "/lab/bob/image_raw"), "/lab/bob/image_raw"),
        ("/lab", ("/lab/image_raw", "/lab/bob/image_raw"), "/lab/bob/image_raw"),
        ("/", ("/image_raw", "/bob/image_raw"), "/bob/image_raw"),
        ("/lab/ann", ("/lab/ann/a/image_raw", "/lab/ann/b/image_raw"), ""),
        ("/lab/ann", ("/lab/ann/a/image_raw", "/lab/ann/listener_cam/image_raw"), "/lab/ann/listener_cam/image_raw"),
    ],
)
def test_of_two_cameras_the_listeners_is_outside_the_robots_namespace(
    robots: str, cameras: tuple[str, str], listener: str, tmp_path: Path
) -> None:
    notices: list[str] = []
    with Bag(write(tmp_path / "bag", robot(robots), [image(c) for c in cameras])) as bag:
        _, found = find_speaker_and_listener(bag, TopicChoice(), notices)
    assert (found.image if found else "") == listener
    assert bool(notices) == (not listener)


def test_audio_goes_with_the_nearest_audio_info(tmp_path: Path) -> None:
    def empty(topic: str, kind: str) -> Message:
        return topic, kind, FRAMES[0].stamp_ns, b"\0\1\0\0"

    data = "audio_common_msgs/msg/AudioData"
    topics = [empty(f"/lab/{who}/audio", data) for who in ("ann", "bob")]
    infos = [empty(f"/lab/{who}/audio_info", AUDIO_INFO) for who in ("ann", "bob")]
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind, time_ns, content in [*topics, *infos]:
            connection = writer.add_connection(topic, kind, msgdef="uint8[] data\n", rihs01="RIHS01_0")
            writer.write(connection, time_ns, content)
    with Bag(tmp_path / "bag") as bag:
        assert find_person(bag, audio="/lab/bob/audio").info == "/lab/bob/audio_info"
        with pytest.raises(BagError, match="2 microphones: say which with --audio"):
            find_person(bag)
