"""Which topics of a bag hold one person: recorded features, or a camera and a microphone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from react_ros.bags.audio_format import UNNAMED, AudioFormat
from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag
from react_ros.messages.namespace import nearest
from react_ros.messages.types import AUDIO_INFO, AUDIO_TYPES, FEATURES_TYPE, IMAGE_TYPES, OUR_AUDIO


@dataclass(frozen=True, slots=True)
class PersonTopics:
    """The topics of a bag that hold one person: either features, or an image, audio or both. Empty: none."""

    features: str = ""
    image: str = ""
    audio: str = ""
    info: str = ""
    """AudioInfo of ros-drivers' audio."""
    format: AudioFormat = UNNAMED
    """Of ros-drivers' audio, where a user names it."""

    @property
    def raw(self) -> bool:
        """Whether the person has to be perceived from camera and microphone."""
        return not self.features

    @property
    def first(self) -> str:
        """The topic that stands for the person, e.g. in `nearest`: features, else image, else audio."""
        return self.features or self.image or self.audio


def find_person(
    bag: Bag,
    source: Literal["auto", "features", "raw"] = "auto",
    *,
    features: str = "",
    image: str = "",
    audio: str = "",
    audio_format: AudioFormat | None = None,
) -> PersonTopics:
    """The topics of the bag's one person: those named, else the only ones of a suitable type.

    source: auto takes recorded features if there are any, else raw sensors. Raises BagError where a named topic is
    missing, no topic is suitable, or several are.
    """
    for name in (features, image, audio):
        expect_topic(bag, name)
    if source == "auto":
        source = "raw" if (image or audio) and not features else "features"
        if source == "features" and not (features or topics_of(bag, FEATURES_TYPE)):
            source = "raw"
    available = listed(list(bag.topics))
    if source == "features":
        found = features or _only(bag, topics_of(bag, FEATURES_TYPE), "speaker features", "--features")
        if not found:
            raise BagError(f"bag {bag.path} has no speaker features ({FEATURES_TYPE}): it has {available}")
        return PersonTopics(features=found, format=audio_format or UNNAMED)
    microphones = topics_of(bag, *AUDIO_TYPES)
    for undefined in [t for t in microphones if not bag.topics[t].known and t != audio]:
        microphones.remove(undefined)
        kind = bag.topics[undefined].kind
        bag.lost.append(
            f"{undefined} cannot be heard: {kind} is defined neither in the bag nor in a ROS package installed here"
        )
    image = image or _only(bag, camera_topics(bag), "cameras", "--image")
    audio = audio or _only(bag, microphones, "microphones", "--audio")
    if not image and not audio:
        raise BagError(
            f"bag {bag.path} has neither speaker features nor a camera's images ({' or '.join(IMAGE_TYPES)}) nor "
            f"sound ({', '.join(AUDIO_TYPES)}): it has {available}"
        )
    info = audio_info_topic(bag, audio)
    return PersonTopics(image=image, audio=audio, info=info, format=audio_format or UNNAMED)


def topics_of(bag: Bag, *kinds: str) -> list[str]:
    """The topics of these message types that hold at least one message, by name."""
    return [t.name for t in bag.topics.values() if t.kind in kinds and t.count]


def camera_topics(bag: Bag) -> list[str]:
    """Topics with images of people: all images but the rendered avatar's."""
    return [t for t in topics_of(bag, *IMAGE_TYPES) if "avatar/image" not in t]


def audio_info_topic(bag: Bag, audio: str) -> str:
    """The AudioInfo topic of a third-party audio topic, the nearest where there are several; empty if it needs none."""
    if not audio or bag.topics[audio].kind == OUR_AUDIO:
        return ""
    infos = [t for t in topics_of(bag, AUDIO_INFO) if bag.topics[t].known]
    return next(iter(nearest(infos, audio) or infos), "")


def expect_topic(bag: Bag, name: str) -> None:
    """Raises BagError where a topic is named (is not empty) and the bag does not have it."""
    if name and name not in bag.topics:
        raise BagError(f"bag {bag.path} has no topic {name}: it has {listed(list(bag.topics))}")


def listed(names: list[str]) -> str:
    """At most 12 names, for a sentence."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "nothing"


def _only(bag: Bag, names: list[str], what: str, option: str) -> str:
    if len(names) > 1:
        raise BagError(f"bag {bag.path} has {len(names)} {what}: say which with {option} ({listed(names)})")
    return names[0] if names else ""
