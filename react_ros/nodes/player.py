"""Publishes a bag in real time, with /clock, for nodes that run with use_sim_time: `react-ros replay --live`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
import rclpy.context
import rclpy.duration
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag
from react_ros.dds import forget_profile, use_profile
from react_ros.messages.namespace import move, parse_namespace, robot_namespaces
from react_ros.messages.types import RECORDING_TYPE, STREAM_TYPE
from react_ros.nodes.base import LATCHED_QOS
from react_ros.nodes.messages import FACTORY, message_class
from react_ros.replay.pacing import Pacer, describe_skip, play_paced
from react_ros.supervision.stop_signals import StopSignals

LATCHED_TYPES = (STREAM_TYPE, RECORDING_TYPE)
PLAYED_QOS = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
SUBSCRIBERS_WAIT_S = 2.0
"""Longest wait, before the first message, until each topic has a subscriber."""


def play(path: Path, *, rate: float = 1.0, loop: bool = False, namespace: str = "", topics: Sequence[str] = ()) -> int:
    """Publish a bag until its end, or looped until Ctrl-C. Returns the exit code: 0, or 130 after Ctrl-C.

    rate: times real time. namespace: replaces the recorded robot's, by the rule of `messages.namespace.move`. topics:
    publish only these, given in full or by their ending. A topic whose type is not installed here is left out, which
    is reported on stderr, as is each silence that is skipped. Raises BagError or ValueError.
    """
    use_profile()
    with Bag(path) as bag, StopSignals() as interrupted:
        names = published_names(bag, chosen_topics(bag, topics), namespace)
        for notice in bag.notices:
            print(notice, file=sys.stderr)
        context = rclpy.context.Context()
        rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
        try:
            node = rclpy.create_node("player", context=context)
            forget_profile()
            clock = node.create_publisher(Clock, "/clock", QoSProfile(depth=10))
            publishers = _create_publishers(node, bag, names)
            _wait_for_subscribers(publishers.values(), interrupted)
            print(f"{path}: {bag.seconds:.1f} s of {len(publishers)} topics, {rate:g} times real time", flush=True)

            def report_skip(time_ns: int, silence_ns: int) -> None:
                print(describe_skip(silence_ns, (time_ns - bag.start_ns) / 1e9), file=sys.stderr, flush=True)

            while play_paced(
                bag.raw(list(publishers)), Pacer(bag.start_ns, rate),
                publish=lambda topic, data: publishers[topic].publish(data),
                tick=lambda ns: clock.publish(Clock(clock=FACTORY.time(ns))),
                wait=interrupted.wait, skipped=report_skip,
            ) and loop:  # fmt: skip
                pass
            for publisher in publishers.values():
                publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=1.0))
        finally:
            context.try_shutdown()
    return 130 if interrupted.is_set() else 0


def chosen_topics(bag: Bag, topics: Sequence[str]) -> list[str]:
    """The bag's topics that are to be published. Raises BagError for one that the bag does not have."""
    # Not the recorded /clock: the player publishes its own.
    recorded = [t.name for t in bag.topics.values() if t.count and t.name != "/clock"]
    if not topics:
        return recorded
    chosen = [name for name in recorded if name.endswith(tuple(t if t.startswith("/") else f"/{t}" for t in topics))]
    for topic in topics:
        if not any(name.endswith(topic) for name in chosen):
            raise BagError(f"bag {bag.path} has no topic {topic}: it has {', '.join(recorded)}")
    return chosen


def published_names(bag: Bag, chosen: Sequence[str], namespace: str) -> dict[str, str]:
    """Recorded topic to the topic it is published on.

    Raises ValueError for an invalid namespace, BagError where two topics would be published on one.
    """
    if not namespace:
        return {name: name for name in chosen}
    robots, target = robot_namespaces(bag.topics), parse_namespace(namespace)
    names = {name: move(name, robots, target) for name in chosen}
    recorded_as: dict[str, str] = {}
    for recorded, name in names.items():
        if name in recorded_as:
            both = f"{recorded_as[name]} and {recorded}"
            raise BagError(f"{both} of bag {bag.path} would both be published on {name}: choose with --topic")
        recorded_as[name] = recorded
    return names


def _create_publishers(node: Any, bag: Bag, names: dict[str, str]) -> dict[str, Any]:
    """Recorded topic to its publisher, without those whose message type is not installed."""
    out = {}
    for recorded, name in names.items():
        topic = bag.topics[recorded]
        try:
            if topic.definition is not None and topic.kind.startswith("react_ros/"):
                raise ImportError
            cls = message_class(topic.kind)
        except (ImportError, AttributeError):
            print(f"{recorded} is left out: {topic.kind}, as it was recorded, is not installed here", file=sys.stderr)
            continue
        out[recorded] = node.create_publisher(cls, name, LATCHED_QOS if topic.kind in LATCHED_TYPES else PLAYED_QOS)
    if not out:
        raise BagError(f"bag {bag.path} holds nothing that can be published here")
    return out


def _wait_for_subscribers(publishers: Any, interrupted: StopSignals) -> None:
    deadline = time.monotonic() + SUBSCRIBERS_WAIT_S
    while time.monotonic() < deadline and not interrupted.is_set():
        if all(p.get_subscription_count() for p in publishers):
            return
        interrupted.wait(0.05)
