"""Which topics of a bag hold the speaker, the human listener, and the robot's listener."""

from __future__ import annotations

from dataclasses import dataclass, replace

from react_ros.bags.audio_format import UNNAMED, AudioFormat
from react_ros.bags.person_topics import (
    PersonTopics,
    audio_info_topic,
    camera_topics,
    expect_topic,
    find_person,
    topics_of,
)
from react_ros.bags.reader import Bag
from react_ros.messages.namespace import ROOT, encloses, namespace_of, nearest
from react_ros.messages.types import AUDIO_TYPES, FEATURES_TYPE, REACTION_TYPE, STREAM_TYPE


@dataclass(frozen=True, slots=True)
class TopicChoice:
    """The topics that a user names for the speaker and for the human listener. Empty: to be found."""

    features: str = ""
    image: str = ""
    audio: str = ""
    listener_features: str = ""
    listener_image: str = ""
    listener_audio: str = ""
    audio_format: AudioFormat = UNNAMED
    """Of ros-drivers' audio without an AudioInfo, of both people."""

    def __post_init__(self) -> None:
        """Raises ValueError for a contradictory choice."""
        if self.listener_features and (self.listener_image or self.listener_audio):
            raise ValueError("the human listener has recorded features, or an image and sound: name one or the other")
        if self.listener_audio and not self.listener_image:
            raise ValueError("a listener's sound alone shows no reaction: name the listener's image as well")


@dataclass(frozen=True, slots=True)
class ListenerTopics:
    """The topics of the robot's listener; several of a kind where the bag holds several robots."""

    streams: tuple[str, ...] = ()
    """ListenerStream: the announcements of its streams."""
    reactions: tuple[str, ...] = ()

    @property
    def ambiguous(self) -> bool:
        return max(len(self.streams), len(self.reactions)) > 1


def find_speaker_and_listener(
    bag: Bag, choice: TopicChoice, notices: list[str]
) -> tuple[PersonTopics, PersonTopics | None]:
    """The topics of the speaker, and of the human listener if there is one. Raises BagError.

    Of exactly two topics of features, or else two cameras, the listener's is the one with "listener" in its name, else
    the one that is not in a robot's namespace.
    """
    for name in (choice.listener_features, choice.listener_image, choice.listener_audio):
        expect_topic(bag, name)
    features, cameras = topics_of(bag, FEATURES_TYPE), _cameras(bag)
    robots = {namespace_of(t) for t in topics_of(bag, REACTION_TYPE)}
    listener = PersonTopics(choice.listener_features, choice.listener_image, choice.listener_audio)
    if listener == PersonTopics():
        if len(features) == 2:
            listener = PersonTopics(features=_listener_of_two(features, choice.features, robots))
        elif len(cameras) == 2:
            listener = PersonTopics(image=_listener_of_two(cameras, choice.image, robots))
            if not listener.image:
                both = " and ".join(cameras)
                notices.append(f"{both} are two cameras, and which one shows a human listener is not clear: name it")
    speaker = PersonTopics(choice.features, choice.image, choice.audio)
    if speaker == PersonTopics():
        if listener.features and len(features) == 2:
            speaker = PersonTopics(features=next(n for n in features if n != listener.features))
        elif listener.image and not features and len(cameras) == 2:
            speaker = PersonTopics(image=next(n for n in cameras if n != listener.image))
    found = find_person(
        bag, features=speaker.features, image=speaker.image, audio=speaker.audio, audio_format=choice.audio_format
    )
    if listener == PersonTopics():
        return found, None
    return found, replace(listener, info=audio_info_topic(bag, listener.audio), format=choice.audio_format)


def find_robot_listener(bag: Bag, near: str) -> ListenerTopics:
    """The topics of the robot's listener that belong with the topic `near`; all of them where none does."""
    every = topics_of(bag, STREAM_TYPE), topics_of(bag, REACTION_TYPE)
    found = nearest(every[0], near), nearest(every[1], near)
    streams, reactions = found if any(found) else every
    return ListenerTopics(tuple(streams), tuple(reactions))


def camera_of(bag: Bag, speaker: PersonTopics, listener: PersonTopics | None) -> str:
    """The topic of the speaker's images, for films; empty where there is none."""
    return speaker.image or _of_person([c for c in _cameras(bag) if listener is None or c != listener.image], speaker)


def microphone_of(bag: Bag, speaker: PersonTopics, listener: PersonTopics | None) -> str:
    """The topic of the speaker's audio, for films; empty where there is none."""
    microphones = topics_of(bag, *AUDIO_TYPES)
    return speaker.audio or _of_person([m for m in microphones if listener is None or m != listener.audio], speaker)


def _cameras(bag: Bag) -> list[str]:
    """One topic per camera: without the compressed form of an image that is recorded raw as well."""
    names = camera_topics(bag)
    return [n for n in names if n.removesuffix("/compressed") not in names or not n.endswith("/compressed")]


def _listener_of_two(names: list[str], speaker: str, robots: set[str]) -> str:
    """Of two topics the human listener's; empty where that is not clear."""
    if speaker in names:
        return next(n for n in names if n != speaker)
    named = [n for n in names if "listener" in n]
    if len(named) == 1:
        return named[0]
    elsewhere = [n for n in names if namespace_of(n) not in robots]
    outside = [n for n in elsewhere if not any(encloses(robot, n) for robot in robots - {ROOT})]
    found = elsewhere if len(elsewhere) == 1 else outside
    return found[0] if len(found) == 1 else ""


def _of_person(names: list[str], person: PersonTopics) -> str:
    """The only one of some topics, else the only one that belongs with the person's; empty otherwise."""
    found = names if len(names) == 1 else nearest(names, person.first)
    return found[0] if len(found) == 1 else ""
