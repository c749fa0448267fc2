"""Subscribes to a sensor's topic as its publishers are: their message type, and the reliability that they offer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message

from react_ros.messages.namespace import beside
from react_ros.messages.types import COMPRESSED_IMAGE_TYPE, IMAGE_TYPES
from react_ros.nodes.messages import message_class

NO_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)
"""For subscriptions that are replaced: an event of one that is destroyed before the executor comes to it would end the
process (InvalidHandle). That a publisher offers less needs no warning where it is followed."""
FOLLOW_S = 0.2
"""Period of `follow`, s."""
IMAGE_DEPTH = 10
"""A large image that is sent again arrives after its successors' first parts: with depth 1 it would be evicted."""
SOUND_DEPTH = 200
"""Four seconds of 20 ms chunks, which arrive while the callback of an image runs."""


class TopicInput:
    """A subscription that is replaced when the topic's publishers change.

    Reliable where every publisher offers it, else best effort, which matches every publisher: reliable delivery sends
    again what a driver's shared-memory segment or a socket buffer did not hold.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        kinds: Sequence[str],
        receive: Callable[[str, Any], None],
        *,
        depth: int,
        newest_only: bool = False,
    ) -> None:
        """topic: absolute. kinds: message types that are supported; the first is expected where nobody publishes.

        receive: called with (message type, message). newest_only: pass on the newest of the waiting messages only, so
        that a slow receiver builds no queue; `superseded` is called with the serialised others.
        """
        self.topic = topic
        self.kind = ""
        self.reliable = True
        self.uninstalled = ""
        """Why the type of the publishers cannot be received, one sentence; empty: it can."""
        self.superseded: Callable[[bytes], None] = lambda data: None
        self._node = node
        self._kinds = kinds
        self._receive = receive
        self._depth = depth
        self._newest_only = newest_only
        self._subscription: Any = None
        self._cls: Any = None
        self._subscribe(kinds[0], reliable=True)

    def follow(self) -> None:
        """Subscribe anew where the publishers' type or reliability has changed; call it every FOLLOW_S."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not publishers:
            return
        found = {p.topic_type for p in publishers}
        kind = found.pop() if len(found) == 1 else self.kind
        reliable = all(p.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE for p in publishers)
        if kind not in self._kinds:
            kind = self.kind
        if not kind:
            return
        if kind != self.kind:
            try:
                message_class(kind)
            except (ImportError, AttributeError):
                self.uninstalled = f"{self.topic} carries {kind}, which is not installed here"
                return
            if self._subscription is not None:
                # One participant cannot have a topic with two types, and the old subscription is destroyed only after
                # this callback: the next call creates the new one.
                self.close()
                return
        elif self._subscription is not None and reliable == self.reliable:
            return
        self._subscribe(kind, reliable)

    def take_waiting(self) -> None:
        """Receive the messages that have arrived but whose callback is still to come."""
        subscription = self._subscription
        while subscription is not None and (waiting := subscription.handle.take_message(self._cls, False)) is not None:
            self._receive(self.kind, waiting[0])

    def close(self) -> None:
        """End the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription, self.kind = None, ""

    def _subscribe(self, kind: str, reliable: bool) -> None:
        try:
            cls = message_class(kind)
        except (ImportError, AttributeError):
            self.uninstalled = f"{self.topic} carries {kind}, which is not installed here"
            return
        before, self._cls, self.kind, self.reliable, self.uninstalled = self._subscription, cls, kind, reliable, ""
        self._subscription = self._node.create_subscription(
            cls,
            self.topic,
            self._on_message,
            QoSProfile(
                depth=self._depth,
                history=QoSHistoryPolicy.KEEP_LAST,
                reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
            ),
            raw=self._newest_only,
            event_callbacks=NO_EVENTS,
        )
        if before is not None:
            self._node.destroy_subscription(before)

    def _on_message(self, message: Any) -> None:
        if self._newest_only:
            subscription = self._subscription
            if subscription is None:  # it was closed before the executor came to the message
                return
            while (waiting := subscription.handle.take_message(self._cls, True)) is not None:
                self.superseded(message)
                message = waiting[0]
            message = deserialize_message(message, self._cls)
        self._receive(self.kind, message)


def serialized_stamp(data: bytes) -> int:
    """The stamp of a serialised message that begins with a header, ns: CDR, whose second byte tells the byte order."""
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return sec * 1_000_000_000 + nanosec


def audio_info_topic(node: Node) -> str:
    """Where the AudioInfo of ros-drivers' audio is: beside a remapped `audio`, unless it is remapped itself."""
    info = node.resolve_topic_name("audio_info")
    if info != node.resolve_topic_name("audio_info", only_expand=True):
        return info
    return beside(node.resolve_topic_name("audio"), "audio_info")


class ImageInput:
    """The images of a camera, on a topic or on its compressed form as image_transport names it.

    The compressed form is subscribed to where only that is published; a topic that ends in /compressed itself, or that
    carries CompressedImage, is read as well.
    """

    def __init__(self, node: Node, receive: Callable[[str, Any], None]) -> None:
        """receive: called with (image_raw or image_raw/compressed, message)."""
        self._node = node
        self._receive = receive
        self.topic = node.resolve_topic_name("image_raw")
        """Absolute, after remapping."""
        self.inputs = [self._input("", IMAGE_TYPES)]
        self.superseded: Callable[[bytes], None] = lambda data: None

    @property
    def kind(self) -> str:
        """Message type of the raw topic; empty while it changes."""
        return self.inputs[0].kind

    @property
    def reliable(self) -> bool:
        """Whether every subscription is reliable."""
        return all(each.reliable for each in self.inputs)

    def follow(self) -> None:
        """See TopicInput.follow."""
        compressed = f"{self.topic}/compressed"
        if len(self.inputs) == 1 and not self._node.count_publishers(self.topic):
            kinds = {p.topic_type for p in self._node.get_publishers_info_by_topic(compressed)}
            if kinds == {COMPRESSED_IMAGE_TYPE}:
                self.inputs.append(self._input("/compressed", (COMPRESSED_IMAGE_TYPE,)))
        for each in self.inputs:
            each.follow()

    def _input(self, suffix: str, kinds: Sequence[str]) -> TopicInput:
        out = TopicInput(
            self._node, self.topic + suffix, kinds, lambda _, message: self._receive(f"image_raw{suffix}", message),
            depth=IMAGE_DEPTH, newest_only=True,
        )  # fmt: skip
        out.superseded = lambda data: self.superseded(data)
        return out
