"""Which topics of a bag hold the speaker, and which the human listener."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.bags.errors import BagError
from react_ros.bags.inputs import Inputs, find_inputs, topics_of
from react_ros.bags.reader import Bag
from react_ros.messages.types import AUDIO_TYPES, FEATURES_TYPE, IMAGE_TYPES, REACTION_TYPE


@dataclass(frozen=True, slots=True)
class Choice:
    """Which topics hold whom; empty: found, where there is no choice."""

    features: str = ""
    image: str = ""
    audio: str = ""
    listener_features: str = ""
    listener_image: str = ""
    listener_audio: str = ""

    def __post_init__(self) -> None:
        if self.listener_features and (self.listener_image or self.listener_audio):
            raise ValueError("the human listener has recorded features, or an image and sound: name one or the other")
        if self.listener_audio and not self.listener_image:
            raise ValueError("a listener's sound alone shows no reaction: name the listener's image as well")


def find_speaker_and_listener(bag: Bag, choice: Choice, notices: list[str]) -> tuple[Inputs, Inputs | None]:
    """The topics of the speaker, and of the human listener where there is one. Raises BagError, in one sentence.

    Of exactly two topics of features, or two cameras, the listener's is the one that is called so, else the one
    outside of the robot's namespace.
    """
    for name in (choice.listener_features, choice.listener_image, choice.listener_audio):
        if name and name not in bag.topics:
            there = ", ".join(sorted(bag.topics)[:12])
            raise BagError(f"bag {bag.path} has no topic {name}: it has {there}")
    features = topics_of(bag, FEATURES_TYPE)
    cameras = _cameras(bag)
    spaces = [t.rsplit("/", 2)[0] for t in topics_of(bag, REACTION_TYPE)]
    listener = Inputs(features=choice.listener_features, image=choice.listener_image, audio=choice.listener_audio)
    if listener == Inputs():
        if len(features) == 2:
            listener = Inputs(features=_listener_of(features, choice.features, spaces))
        elif len(cameras) == 2:
            listener = Inputs(image=_listener_of(cameras, choice.image, spaces))
            if not listener.image:
                both = " and ".join(cameras)
                notices.append(f"{both} are two cameras, and neither is taken for a human listener's: name it")
    speaker = Inputs(choice.features, choice.image, choice.audio)
    if speaker == Inputs():
        if listener.features and len(features) == 2:
            speaker = Inputs(features=next(n for n in features if n != listener.features))
        elif listener.image and not features and len(cameras) == 2:
            speaker = Inputs(image=next(n for n in cameras if n != listener.image))
    inputs = find_inputs(bag, features=speaker.features, image=speaker.image, audio=speaker.audio)
    return inputs, None if listener == Inputs() else listener


def _cameras(bag: Bag) -> list[str]:
    """Topics of people's images, one a camera: a compressed one that lies beside the raw one is left out."""
    names = [t for t in topics_of(bag, *IMAGE_TYPES) if "avatar/image" not in t]
    return [n for n in names if n.removesuffix("/compressed") not in names or not n.endswith("/compressed")]


def _listener_of(names: list[str], speaker: str, spaces: list[str]) -> str:
    if speaker in names:
        return next(n for n in names if n != speaker)
    called = [n for n in names if "listener" in n]
    if len(called) == 1:
        return called[0]
    outside = [n for n in names if not any(n.startswith(f"{space}/") for space in spaces if space)]
    return outside[0] if len(outside) == 1 else ""


def camera_of(bag: Bag, inputs: Inputs, listener: Inputs | None) -> str:
    """The topic of the speaker's pictures, for films; empty without any."""
    return inputs.image or _near([c for c in _cameras(bag) if listener is None or c != listener.image], inputs)


def microphone_of(bag: Bag, inputs: Inputs, listener: Inputs | None) -> str:
    """The topic of the speaker's sound, for films; empty without any."""
    names = topics_of(bag, *AUDIO_TYPES)
    return inputs.audio or _near([n for n in names if listener is None or n != listener.audio], inputs)


def _near(names: list[str], inputs: Inputs) -> str:
    """The only one of some topics, or the only one in the speaker's namespace."""
    space = (inputs.features or inputs.image or inputs.audio).rsplit("/", 2)[0]
    inside = [n for n in names if space and n.startswith(f"{space}/")]
    return names[0] if len(names) == 1 else inside[0] if len(inside) == 1 else ""
