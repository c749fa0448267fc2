"""Publishes a bag in real time, with /clock, for nodes that run with use_sim_time: `react-ros replay --live`."""

from __future__ import annotations

import signal
import sys
import threading
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
from react_ros.nodes.base import LATCHED_QOS, use_dds_profile
from react_ros.nodes.messages import FACTORY, message_class

CLOCK_S = 0.01
"""How often /clock is told between messages, s of real time."""
LONGEST_PAUSE_NS = 10_000_000_000
"""A longer pause of the bag is made as long: nobody waits for a clock that jumped by years."""
LATCHED = ("react_ros/msg/ListenerStream", "react_ros/msg/Recording")
PLAYED_QOS = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.RELIABLE)
WAIT_S = 2.0
"""How long the first message waits for somebody to listen to its topic."""


def play(path: Path, *, rate: float = 1.0, loop: bool = False, namespace: str = "", topics: Sequence[str] = ()) -> int:
    """Publish a bag until its end (or, looped, Ctrl-C). Returns the exit code: 0, or 130 after Ctrl-C.

    rate: times real time. namespace: takes the place of the recorded robot's. topics: only these, as the bag names
    them, or as they end. What is not installed here is left out, and said. Raises BagError.
    """
    use_dds_profile()
    ended = threading.Event()
    with Bag(path) as bag:
        chosen = _choose(bag, topics)
        for notice in bag.notices:
            print(notice, file=sys.stderr)
        context = rclpy.context.Context()
        rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
        before = {n: signal.signal(n, lambda *_: ended.set()) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            node = rclpy.create_node("player", context=context)
            clock = node.create_publisher(Clock, "/clock", QoSProfile(depth=10))
            publishers = _publishers(node, bag, chosen, namespace)
            deadline = time.monotonic() + WAIT_S
            while time.monotonic() < deadline and not ended.is_set():
                if all(p.get_subscription_count() for p in publishers.values()):
                    break
                ended.wait(0.05)
            print(f"{path}: {bag.seconds:.1f} s of {len(publishers)} topics, {rate:g} times real time", flush=True)
            while not ended.is_set():
                _once(bag, publishers, clock, rate, ended)
                if not loop:
                    break
            # What was sent last is still under way.
            for publisher in publishers.values():
                publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=1.0))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            context.try_shutdown()
    return 130 if ended.is_set() else 0


def _choose(bag: Bag, topics: Sequence[str]) -> list[str]:
    there = [t.name for t in bag.topics.values() if t.count and t.name != "/clock"]  # there is one clock: ours
    if not topics:
        return there
    chosen = [name for name in there if name.endswith(tuple(t if t.startswith("/") else f"/{t}" for t in topics))]
    for topic in topics:
        if not any(name.endswith(topic) for name in chosen):
            raise BagError(f"bag {bag.path} has no topic {topic}: it has {', '.join(there)}")
    return chosen


def _publishers(node: Any, bag: Bag, chosen: list[str], namespace: str) -> dict[str, Any]:
    out = {}
    for name in chosen:
        topic = bag.topics[name]
        try:
            if topic.definition is not None and topic.kind.startswith("react_ros/"):
                raise ImportError
            cls = message_class(topic.kind)
        except (ImportError, AttributeError):
            print(f"{name} is left out: {topic.kind}, as it was recorded, is not installed here", file=sys.stderr)
            continue
        parts = name.strip("/").split("/")
        now = "/" + "/".join([namespace.strip("/"), *parts[1:]]) if namespace and len(parts) > 1 else name
        out[name] = node.create_publisher(cls, now, LATCHED_QOS if topic.kind in LATCHED else PLAYED_QOS)
    if not out:
        raise BagError(f"bag {bag.path} holds nothing that can be published here")
    return out


def _once(bag: Bag, publishers: dict[str, Any], clock: Any, rate: float, ended: threading.Event) -> None:
    """All messages at their times."""
    told = bag.start_ns
    wall = time.monotonic()
    for topic, time_ns, data in bag.raw(list(publishers)):
        if time_ns - told > LONGEST_PAUSE_NS:
            told = time_ns  # as if nothing had been between
            wall = time.monotonic()
        while True:
            left = (time_ns - told) / 1e9 / rate - (time.monotonic() - wall)
            if left <= 0 or ended.is_set():
                break
            _tell(clock, told + round((time.monotonic() - wall) * rate * 1e9))
            ended.wait(min(left, CLOCK_S))
        if ended.is_set():
            return
        _tell(clock, time_ns)
        publishers[topic].publish(data)


def _tell(clock: Any, ns: int) -> None:
    clock.publish(Clock(clock=FACTORY.time(ns)))
