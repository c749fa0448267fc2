"""Which topics of a bag hold the speaker: recorded features, or an image and audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag
from react_ros.messages.types import AUDIO_INFO, AUDIO_TYPES, FEATURES_TYPE, IMAGE_TYPES, OUR_AUDIO


@dataclass(frozen=True, slots=True)
class Inputs:
    """The topics of a bag in which the human is. Either features, or an image or sound or both."""

    features: str = ""
    image: str = ""
    audio: str = ""
    info: str = ""
    """AudioInfo of ros-drivers, which goes with its sound."""

    @property
    def raw(self) -> bool:
        return not self.features


def find_inputs(
    bag: Bag,
    source: Literal["auto", "features", "raw"] = "auto",
    *,
    features: str = "",
    image: str = "",
    audio: str = "",
) -> Inputs:
    """Which topics hold the human: those named, else the only ones that can.

    auto: recorded features where there are some, else raw sensors. Raises BagError where there is none, or a choice.
    """
    there = bag.topics
    for name in (features, image, audio):
        if name and name not in there:
            raise BagError(f"bag {bag.path} has no topic {name}: it has {listed(list(there))}")
    if source == "auto":
        source = "raw" if (image or audio) and not features else "features"
        if source == "features" and not (features or topics_of(bag, FEATURES_TYPE)):
            source = "raw"
    if source == "features":
        found = features or _only(bag, topics_of(bag, FEATURES_TYPE), "speaker features", "--features")
        if not found:
            raise BagError(f"bag {bag.path} has no speaker features ({FEATURES_TYPE}): it has {listed(list(there))}")
        return Inputs(features=found)
    # What the robot itself shows is no human.
    cameras = [t for t in topics_of(bag, *IMAGE_TYPES) if "avatar/image" not in t]
    microphones = topics_of(bag, *AUDIO_TYPES)
    for unknown in [t for t in microphones if not there[t].known and t != audio]:
        microphones.remove(unknown)
        bag.notices.append(f"{unknown} is left out: {there[unknown].kind} is not defined in the bag")
    image = image or _only(bag, cameras, "cameras", "--image")
    audio = audio or _only(bag, microphones, "microphones", "--audio")
    if not image and not audio:
        raise BagError(
            f"bag {bag.path} has neither speaker features nor a camera's images ({' or '.join(IMAGE_TYPES)}) nor "
            f"sound ({', '.join(AUDIO_TYPES)}): it has {listed(list(there))}"
        )
    infos = topics_of(bag, AUDIO_INFO)
    return Inputs(image=image, audio=audio, info=infos[0] if audio and there[audio].kind != OUR_AUDIO and infos else "")


def topics_of(bag: Bag, *kinds: str) -> list[str]:
    """The topics of these types that hold a message, by name."""
    return [t.name for t in bag.topics.values() if t.kind in kinds and t.count]


def _only(bag: Bag, names: list[str], what: str, option: str) -> str:
    if len(names) > 1:
        raise BagError(f"bag {bag.path} has {len(names)} {what}: say which with {option} ({listed(names)})")
    return names[0] if names else ""


def namespace_of(topic: str) -> str:
    """A robot's namespace, of one of its topics; of a topic of others, the one in which it lies."""
    for end in ("/speaker/features", "/image_raw/compressed", "/image_raw", "/audio"):
        if topic.endswith(end):
            return topic.removesuffix(end)
    return topic.rpartition("/")[0]


def listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "nothing"
