"""The one rule by which a topic's namespace is found, and topics are compared and moved by namespace.

A topic is a namespace and a name. The name is the last part, with two exceptions: topics of this package that have two
parts (`speaker/features`), and the suffix that an image transport adds (`image_raw/compressed`). All before the name is
the namespace, however deeply nested:

    /robot/speaker/features           /robot        speaker/features
    /lab/ann/image_raw/compressed     /lab/ann      image_raw/compressed
    /camera/color/image_raw           /camera/color image_raw
    /audio                            /             audio

Whether a third-party camera's namespace is that of a person or that of the camera alone cannot be told from its name;
`nearest` and `move` therefore also compare enclosing namespaces. A namespace is written "/lab/ann"; the root is "/".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from react_ros.config import did_you_mean

ROOT = "/"

TWO_PART_NAMES = frozenset(
    {
        "speaker/features", "listener/stream", "listener/reaction", "avatar/blendshapes", "avatar/face_model",
        "avatar/affect", "avatar/status", "avatar/image",
    }
)  # fmt: skip
"""Topics of this package's nodes, relative to their namespace, that have two parts."""
ONE_PART_NAMES = frozenset({"image_raw", "audio", "audio_info", "recording"})
"""The other topics of this package's nodes, relative to their namespace."""
IMAGE_TRANSPORTS = frozenset({"compressed", "compressedDepth", "theora", "ffmpeg", "zstd"})
"""Suffixes by which ROS's image_transport names the encoded form of an image topic."""


def normalize_namespace(text: str) -> str:
    """A namespace as ROS writes it, "/lab/ann", from any form: lab/ann, /lab/ann/, an empty text for the root."""
    return ROOT + "/".join(part for part in text.split("/") if part)


def parse_namespace(text: str) -> str:
    """A namespace from a user, normalized. Raises ValueError for one that ROS does not allow."""
    namespace = normalize_namespace(text)
    if not re.fullmatch(r"/|(/[A-Za-z_][A-Za-z0-9_]*)+", namespace):
        raise ValueError(f"namespace must be of letters, digits and _, like robot or lab/robot_2, not {text!r}")
    return namespace


def namespace_of(topic: str) -> str:
    """The namespace in which a topic lies, by the rule above."""
    return _split(topic)[0]


def name_of(topic: str) -> str:
    """A topic's name relative to its namespace, with the suffix of an image transport."""
    return _split(topic)[1]


def _split(topic: str) -> tuple[str, str]:
    parts = [part for part in topic.split("/") if part]
    end = len(parts) - (len(parts) > 1 and parts[-1] in IMAGE_TRANSPORTS)
    begin = max(end - (2 if "/".join(parts[max(end - 2, 0) : end]) in TWO_PART_NAMES else 1), 0)
    return ROOT + "/".join(parts[:begin]), "/".join(parts[begin:])


def join_namespace(namespace: str, name: str) -> str:
    """The full topic of a name in a namespace; a name that begins with / is one already."""
    return name if name.startswith("/") else f"{normalize_namespace(namespace).rstrip('/')}/{name}"


def beside(topic: str, name: str) -> str:
    """The topic with another last part: beside("/mic/audio", "audio_info") is "/mic/audio_info"."""
    return f"{topic.rpartition('/')[0]}/{name}"


def encloses(namespace: str, topic: str) -> bool:
    """Whether a topic or namespace lies in a namespace or below it; all lie below the root."""
    return namespace == ROOT or f"{topic}/".startswith(f"{namespace}/")


def nearest(topics: Iterable[str], to: str) -> list[str]:
    """Those of `topics` that belong with the topic `to`, in their order.

    They are those in its namespace; without any, those in the closest namespace that encloses it or lies below it, the
    root apart, which encloses unrelated topics as well. Empty where there are none of these either.
    """
    here = namespace_of(to)
    distances: dict[str, int] = {}
    for topic in topics:
        outer, inner = sorted((here, namespace_of(topic)), key=len)
        if outer == inner:
            distances[topic] = 0
        elif outer != ROOT and encloses(outer, inner):
            distances[topic] = inner.count("/") - outer.count("/")
    closest = min(distances.values(), default=0)
    return [topic for topic, distance in distances.items() if distance == closest]


def robot_namespaces(topics: Iterable[str]) -> set[str]:
    """The namespaces in which this package's nodes published: those of topics with one of TWO_PART_NAMES."""
    return {namespace_of(t) for t in topics if _without_transport(name_of(t)) in TWO_PART_NAMES}


def no_robot(namespace: str, nodes: Collection[str], topics: Collection[str], unpublished: Collection[str] = ()) -> str:
    """Why there is nothing to record in a namespace, in one sentence; empty where there is.

    nodes: all other nodes, by full name. topics: all published topics. unpublished: topics that were asked for by name
    and that nobody publishes; with them, no robot is needed.
    """
    if unpublished:
        near = did_you_mean(sorted(unpublished)[0], topics)
        return f"nobody publishes {', '.join(sorted(unpublished)[:5])}{near}"
    if any(encloses(namespace, node) for node in nodes):
        return ""
    others = sorted(robot_namespaces(topics))
    if not others:
        return f"no robot at {namespace}, nor anywhere else (react-ros run starts one)"
    return f"no robot at {namespace}; I see {', '.join(others[:5])} (name it with --namespace)"


def move(topic: str, robots: Collection[str], to: str) -> str:
    """The topic after the namespace around it is replaced by `to`.

    robots: namespaces as `robot_namespaces` gives them. A topic below one keeps its path below it (the innermost, where
    several enclose it): with the robot /lab/ann, /lab/ann/left/image_raw becomes TO/left/image_raw. Of any other topic
    its own namespace is replaced: /usb_cam/image_raw becomes TO/image_raw. A topic in the root namespace moves if it is
    one of this package's names; others there (/diagnostics, /tf, /clock) belong to the whole ROS graph and stay.
    """
    around = max((r for r in robots if r != ROOT and encloses(r, topic)), key=len, default=namespace_of(topic))
    if around == ROOT:
        known = _without_transport(name_of(topic)) in TWO_PART_NAMES | ONE_PART_NAMES
        return join_namespace(to, name_of(topic)) if known else topic
    return join_namespace(to, topic.removeprefix(around).lstrip("/"))


def _without_transport(name: str) -> str:
    head, _, last = name.rpartition("/")
    return head if head and last in IMAGE_TRANSPORTS else name
