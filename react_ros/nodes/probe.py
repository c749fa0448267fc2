"""Collects the messages and diagnostics of a running robot, for benchmarks and tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
import rclpy.context
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from react_ros.dds import forget_profile, use_profile


class Probe:
    """Subscribes to topics of a namespace, in its own thread and context.

    with Probe("/robot", {"avatar/status": Status}) as probe:
        probe.wait(lambda: len(probe["avatar/status"]) > 25, 20, "the avatar")
    """

    def __init__(self, namespace: str, topics: dict[str, Any]) -> None:
        use_profile()
        self._context = rclpy.context.Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node("probe", context=self._context, namespace=namespace)
        forget_profile()
        self._change = threading.Condition()
        self.messages: dict[str, list[tuple[int, Any]]] = {topic: [] for topic in topics}
        """Topic to (arrival in ns since the epoch, message), in order of arrival."""
        self.diagnostics: dict[str, Any] = {}
        """Fully qualified node name to its newest DiagnosticStatus."""
        qos = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        for topic, kind in topics.items():
            self.node.create_subscription(kind, topic, lambda m, topic=topic: self._keep(topic, m), qos)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._ended = False
        self._thread = threading.Thread(target=self._spin, name="probe", daemon=True)

    def _spin(self) -> None:
        while not self._ended:
            self._executor.spin_once(timeout_sec=0.1)

    def _keep(self, topic: str, message: Any) -> None:
        with self._change:
            self.messages[topic].append((time.time_ns(), message))
            self._change.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._change:
            self.diagnostics |= {status.name: status for status in message.status}
            self._change.notify_all()

    def __getitem__(self, topic: str) -> list[Any]:
        """The messages received on a topic."""
        with self._change:
            return [message for _, message in self.messages[topic]]

    def facts(self, node: str) -> dict[str, str]:
        """The newest diagnostics of a node, by its fully qualified name; empty before the first."""
        status = self.diagnostics.get(node)
        return {v.key: v.value for v in status.values} if status else {}

    def clear(self) -> None:
        """Clear the received messages."""
        with self._change:
            for kept in self.messages.values():
                kept.clear()

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Wait until the condition is true and return its value. Raises TimeoutError with `what` after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            if outcome := condition():
                return outcome
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"timed out after {seconds:g} s waiting for {what}")
            with self._change:
                self._change.wait(min(left, 0.1))

    def publisher(self, topic: str, kind: Any, readers: int = 1, seconds: float = 10.0) -> Any:
        """A publisher, once it has the given number of subscriptions."""
        publisher = self.node.create_publisher(kind, topic, 50)
        self.wait(lambda: publisher.get_subscription_count() >= readers, seconds, f"a subscription to {topic}")
        return publisher

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join(2.0)
        self.node.destroy_node()
        self._context.try_shutdown()
