"""The recorder node: the robot's topics go into a bag, with a manifest, up to the last second whatever happens."""

from __future__ import annotations

import queue
import threading
import time
from array import array
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import rclpy.parameter
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from react_ros.bags import manifest
from react_ros.bags.errors import BagError
from react_ros.bags.types import know
from react_ros.bags.writer import STORAGES, BagWriter
from react_ros.messages.images import image_from_message
from react_ros.msg import ListenerStream, Recording
from react_ros.nodes.base import LATCHED_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import message_class

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
STREAM = "react_ros/msg/ListenerStream"
BESIDE = ("/diagnostics", "/parameter_events")
"""Topics outside the robot's namespace that belong to a recording."""
WITHOUT_PEOPLE = ("react_ros", "diagnostic_msgs", "rcl_interfaces", "lifecycle_msgs", "hri_msgs")
"""Packages of which a recording of features only takes the topics: an unknown one might show somebody."""
SOUND = "react_ros/msg/AudioChunk"
FLUSH_S = 1.0
"""A crash costs no more than this."""
EARLY = 400
"""Messages that wait for /clock to begin, where time is /clock's."""
ASK_AGAIN_S = 1.0
"""How long a node is given to tell its parameters, before it is asked once more."""


@dataclass(slots=True)
class _Asked:
    """A node that is asked for its parameters."""

    names: Any
    values: Any
    again: float = 0.0
    """When it is asked next, as time.monotonic()."""
    answered: bool = False


class RecorderNode(RobotNode):
    """Subscribes to what is published in its namespace, and to what belongs to it, and writes a bag."""

    NAME = "recorder"
    PARAMETERS = (
        Parameter("path", "", "folder of the bag; it must not exist yet"),
        Parameter("again", False, "where path exists, write beside it, into path-2, path-3, …, instead of refusing"),
        Parameter("storage", "mcap", "how rosbag2 lays it on the disk", choices=STORAGES),
        Parameter("privacy", "raw", "raw: everything; features: no image, no sound; topics: only those named",
                  choices=manifest.PRIVACY),
        Parameter("topics", "", "with privacy topics: which, separated by commas, relative to the namespace or from /"),
        Parameter("images", "jpeg", "raw images are written as they are, as JPEG on <topic>/compressed, or not at all",
                  choices=("raw", "jpeg", "none")),
        Parameter("jpeg_quality", 90, "quality of those JPEGs", 1, 100),
    )  # fmt: skip

    def configure(self) -> None:
        if not self.value("path"):
            raise ConfigurationError("recorder: path must name the folder of the new bag.")
        given = [t.strip() for t in self.value("topics").split(",") if t.strip()]
        if bool(given) != (self.value("privacy") == "topics"):
            raise ConfigurationError("recorder: topics are named if, and only if, privacy is topics.")
        self._mine = self.get_namespace().rstrip("/") + "/"
        self._chosen = {t if t.startswith("/") else self._mine + t for t in given}
        self._path = Path(self.value("path")).expanduser()
        if self.value("again"):
            beside = (self._path.with_name(f"{self._path.name}-{n}") for n in count(2))
            self._path = next(p for p in (self._path, *islice(beside, 1000)) if not p.exists())
        self._refused: dict[str, str] = {}
        self._heard: set[str] = set()
        self._asked: dict[str, _Asked] = {}
        self._trouble = ""
        # Compressing and writing have a thread of their own, so that nothing is lost while they take their time.
        self._queue: queue.Queue[tuple[str, str, int, bytes] | None] = queue.Queue(maxsize=500)
        self._early: list[tuple[str, str, bytes]] = []
        self._told = threading.Lock()
        opened: Future[None] = Future()
        self._thread: threading.Thread | None = threading.Thread(
            target=self._work, args=(opened,), name="recorder", daemon=True
        )
        self._thread.start()
        try:
            opened.result()
        except (BagError, OSError) as error:
            self._thread = None
            raise ConfigurationError(f"recorder: {str(error).rstrip('.')}.") from None
        self._declaration = self.create_publisher(Recording, "recording", LATCHED_QOS)
        self._declare()
        self.create_timer(0.2, self._look)
        self.create_timer(1.0, self._declare)

    def activate(self) -> None:
        self._look()

    def cleanup(self) -> None:
        if thread := getattr(self, "_thread", None):
            self._take_early(time.time_ns())  # /clock never told the time
            self._queue.put(None)
            thread.join()
            self._thread = None
            if self.context.ok():
                self._declare(ended=True)

    # What there is to record

    def _look(self) -> None:
        """Subscribe to topics as they appear, and ask nodes for their parameters."""
        if not self.active:  # what is kept for who comes later comes once: now, it would be lost
            return
        for topic, types in self.get_topic_names_and_types():
            if topic in self._heard or not self._wants(topic, types[0]):
                continue
            publishers = self.get_publishers_info_by_topic(topic)
            if not publishers:
                continue
            try:
                cls = message_class(types[0])
                known = know(types[0])
            except (ImportError, AttributeError, ValueError):
                known = False
            if not known:
                self._refused[topic] = f"{topic} is not recorded: its type {types[0]} is not installed here"
                continue
            self._refused.pop(topic, None)
            self._heard.add(topic)
            qos = [p.qos_profile for p in publishers]
            reliable = all(q.reliability == QoSReliabilityPolicy.RELIABLE for q in qos)
            kept = all(q.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for q in qos)
            self.create_subscription(
                cls,
                topic,
                partial(self._on_message, topic, types[0]),
                QoSProfile(
                    depth=200,
                    reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
                    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if kept else QoSDurabilityPolicy.VOLATILE,
                ),
                raw=True,
            )
        for name, namespace in self.get_node_names_and_namespaces():
            node = f"{namespace.rstrip('/')}/{name}"
            if node.startswith(self._mine) and node not in self._asked:
                self._asked[node] = _Asked(
                    self.create_client(ListParameters, f"{node}/list_parameters"),
                    self.create_client(GetParameters, f"{node}/get_parameters"),
                )
        for node, asked in self._asked.items():
            if not asked.answered and time.monotonic() >= asked.again:
                self._ask(node, asked)

    def _wants(self, topic: str, kind: str) -> bool:
        if self._chosen:
            return topic in self._chosen
        if not (topic.startswith(self._mine) or topic in BESIDE):
            return False
        if kind == IMAGE and self.value("images") == "none":
            return False
        package = kind.split("/")[0]
        return self.value("privacy") == "raw" or (package in WITHOUT_PEOPLE and kind != SOUND)

    def _ask(self, node: str, asked: _Asked) -> None:
        """Put a node's parameters into the manifest, once it answers."""
        if not (asked.names.service_is_ready() and asked.values.service_is_ready()):
            return
        # A node that does not know us yet, as we know it, loses its answer: it is asked again.
        asked.again = time.monotonic() + ASK_AGAIN_S

        def got(wanted: list[str], answer: Any) -> None:
            result = answer.result()
            if result is not None:
                plain = [rclpy.parameter.parameter_value_to_python(v) for v in result.values]
                plain = [v.tolist() if isinstance(v, array) else v for v in plain]
                with self._told:
                    self._manifest["parameters"][node] = dict(zip(wanted, plain, strict=False))
                    self._manifest_changed = True
                asked.answered = True

        def listed(answer: Any) -> None:
            result = answer.result()
            if result is not None:
                wanted = sorted(n for n in result.result.names if n != "use_sim_time")
                asked.values.call_async(GetParameters.Request(names=wanted)).add_done_callback(partial(got, wanted))

        asked.names.call_async(ListParameters.Request()).add_done_callback(listed)

    # What is written

    def _on_message(self, topic: str, kind: str, data: Any) -> None:
        if not self.active or self._twice(topic, kind):
            return
        now = self.get_clock().now().nanoseconds
        if not now:  # time is /clock's, and has not begun
            if len(self._early) < EARLY:
                self._early.append((topic, kind, bytes(data)))
            else:
                self.counts["not written: before the clock"] += 1
            return
        self._take_early(now)
        self._put(topic, kind, now, bytes(data))

    def _take_early(self, now: int) -> None:
        """What came before time began came as it began."""
        early, self._early = self._early, []
        for topic, kind, data in early:
            self._put(topic, kind, now, data)

    def _put(self, topic: str, kind: str, now: int, data: bytes) -> None:
        try:
            self._queue.put_nowait((topic, kind, now, data))
        except queue.Full:
            self.counts["not written: too slow"] += 1

    def _twice(self, topic: str, kind: str) -> bool:
        """Whether the image's driver compresses it itself, and that is recorded."""
        return kind == IMAGE and self.value("images") == "jpeg" and f"{topic}/compressed" in self._heard

    def _work(self, opened: Future[None]) -> None:
        try:
            self._open()
        except (BagError, OSError) as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        due = time.monotonic() + FLUSH_S
        while True:
            try:
                item = self._queue.get(timeout=max(due - time.monotonic(), 0.0))
            except queue.Empty:
                item = ()
            if item is None:
                break
            if item:
                self._keep(*item)
            if time.monotonic() >= due:
                self._safely(self._flush)
                due = time.monotonic() + FLUSH_S
        self._safely(self._close)

    def _open(self) -> None:
        self._bag = BagWriter(self._path, self.value("storage"))
        self._manifest = manifest.begin(
            recorded="live", start=manifest.moment(time.time_ns()), end=None, namespace=self._mine,
            storage=self.value("storage"), privacy=self.value("privacy"),
            topics_asked_for=sorted(self._chosen) or "all", images=self.value("images"), streams=[], parameters={},
        )  # fmt: skip
        self._manifest_changed = False
        self._write_manifest()

    def _write_manifest(self) -> None:
        self._manifest["config_sha256"] = manifest.config_hash(self._manifest)
        manifest.write_manifest(self._path, self._manifest)

    def _keep(self, topic: str, kind: str, now: int, data: bytes) -> None:
        if self._trouble:
            self.counts["not written: no room"] += 1
            return
        try:
            if kind == IMAGE and self.value("images") == "jpeg":
                topic, kind, data = f"{topic}/compressed", COMPRESSED, self._jpeg(data)
            elif kind == STREAM:
                self._note_stream(deserialize_message(data, ListenerStream))
            self._safely(lambda: self._bag.write(topic, kind, now, data))
            self.counts["messages"] += 1
        except Exception as error:  # whatever is wrong with one message: the thread goes on with the next
            self.reject(topic, str(error))

    def _safely(self, act: Any) -> None:
        """Once the bag cannot be written any more, that is said, and the robot goes on."""
        if self._trouble:
            return
        try:
            act()
        except Exception as error:  # with the thread, the node would hang: the queue is never emptied
            self._trouble = f"recording has ended: {str(error).rstrip('.')}"
            self.get_logger().error(self._trouble)
            with suppress(BagError, OSError):
                self._close()

    def _flush(self) -> None:
        self._bag.flush()
        with self._told:
            changed, self._manifest_changed = self._manifest_changed, False
            if changed:
                self._write_manifest()

    def _close(self) -> None:
        self._bag.close()
        with self._told:
            self._manifest |= {"end": manifest.moment(time.time_ns()), "topics": dict(sorted(self._bag.counts.items()))}
            self._manifest["lost"] = {n: c for n, c in self.counts.items() if n.startswith("not written")}
            if self._trouble:
                self._manifest["trouble"] = self._trouble
            self._write_manifest()

    def _note_stream(self, m: ListenerStream) -> None:
        with self._told:
            self._manifest["streams"].append(manifest.of_stream(m))
            self._manifest_changed = True

    def _jpeg(self, data: bytes) -> bytes:
        import cv2

        image = deserialize_message(data, Image)
        bgr = image_from_message(image)[:, :, ::-1]
        ok, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self.value("jpeg_quality")])
        if not ok:
            raise ValueError("the image cannot be coded as JPEG")
        out = CompressedImage(header=image.header, format="rgb8; jpeg compressed bgr8")
        out.data.frombytes(coded.tobytes())
        return serialize_message(out)

    # What is said of it

    def _declare(self, ended: bool = False) -> None:
        """Say what is recorded of the people here."""
        lost = sum(c for n, c in self.counts.items() if n.startswith("not written"))
        m = Recording(
            privacy=self.value("privacy"), path=str(self._path), storage=self.value("storage"),
            topics=sorted(self._bag.counts), messages=self._bag.counts.total(), lost=lost, trouble=self._trouble,
        )  # fmt: skip
        m.state = Recording.FAILED if self._trouble else Recording.ENDED if ended else Recording.RECORDING
        m.header.stamp = self.get_clock().now().to_msg()
        self._declaration.publish(m)

    def diagnose(self) -> None:
        self.facts["privacy"] = self.value("privacy")
        self.warning = self._trouble or "; ".join(self._refused.values())


def main() -> None:
    raise SystemExit(run(RecorderNode))


if __name__ == "__main__":
    main()
