"""The recorder node: writes the robot's topics and a manifest into a bag, of which a crash costs a second at most."""

from __future__ import annotations

import queue
import threading
import time
from array import array
from collections.abc import Callable
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
from react_ros.bags.types import learn_type
from react_ros.bags.writer import STORAGES, BagWriter
from react_ros.messages.images import image_from_message
from react_ros.messages.namespace import encloses, join_namespace, no_robot, normalize_namespace
from react_ros.messages.types import (
    AUDIO_INFO,
    AUDIO_TYPES,
    COMPRESSED_IMAGE_TYPE,
    FEATURES_TYPE,
    IMAGE_TYPE,
    IMAGE_TYPES,
    OUR_AUDIO,
    STREAM_TYPE,
)
from react_ros.msg import ListenerStream, Recording, SpeakerFeatures
from react_ros.nodes.base import LATCHED_QOS, ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import message_class, without_passwords
from react_ros.nodes.topic_input import NO_EVENTS
from react_ros.redaction import redact_all

GLOBAL_TOPICS = ("/diagnostics", "/parameter_events")
"""Topics outside the robot's namespace that are recorded too."""
FEATURES_PACKAGES = ("react_ros", "diagnostic_msgs", "rcl_interfaces", "lifecycle_msgs", "hri_msgs")
"""Packages whose messages are recorded with privacy `features`; those of others might show a person."""
SENSOR_TYPES = (*IMAGE_TYPES, *AUDIO_TYPES, AUDIO_INFO)
WITH_TEXTS = ("diagnostic_msgs/msg/DiagnosticArray", "rcl_interfaces/msg/ParameterEvent")
"""Types in which any node may publish a URL with a password, which is redacted."""
FLUSH_PERIOD_S = 1.0
"""Period at which the bag is brought to the disk: a crash costs no more than this."""
MAX_EARLY_MESSAGES = 400
"""With simulated time, how many messages are kept until /clock begins."""
RETRY_S = 1.0
"""With no answer from a node's parameter services within this time, they are called again."""


@dataclass(slots=True)
class _ParameterQuery:
    """The query for a node's parameters."""

    list_client: Any
    get_client: Any
    retry_at: float = 0.0
    """When it is sent next, by time.monotonic()."""
    answered: bool = False


class RecorderNode(RobotNode):
    """Writes the topics in its namespace, those of remapped sensors and GLOBAL_TOPICS into a bag."""

    NAME = "recorder"
    PARAMETERS = (
        Parameter("path", "", "folder of the bag; it must not exist yet"),
        Parameter("again", False, "if path exists, write into path-2, path-3, … instead of failing"),
        Parameter("storage", "mcap", "storage format of the bag", choices=STORAGES),
        Parameter("privacy", "raw", "raw: everything; features: no images, no audio; topics: only those named",
                  choices=manifest.PRIVACY),
        Parameter("landmarks", False, "with privacy features: also the 478 landmarks of a face, if they are published"),
        Parameter("topics", "", "with privacy topics: their names, comma-separated, absolute (/…) or in the namespace"),
        Parameter("images", "jpeg", "raw images: unchanged (raw), as JPEG on <topic>/compressed, or none",
                  choices=("raw", "jpeg", "none")),
        Parameter("jpeg_quality", 90, "quality of those JPEGs", 1, 100),
        Parameter("robot_within", 0.0, "warn if no robot is in the namespace after this time, s; 0: never", 0.0, 60.0),
    )  # fmt: skip

    def configure(self) -> None:
        if not self.value("path"):
            raise ConfigurationError("recorder: path must name the folder of the new bag.")
        given = [t.strip() for t in self.value("topics").split(",") if t.strip()]
        if bool(given) != (self.value("privacy") == "topics"):
            raise ConfigurationError("recorder: topics must be given if, and only if, privacy is topics.")
        self._namespace = normalize_namespace(self.get_namespace())
        self._chosen = {join_namespace(self._namespace, topic) for topic in given}
        self._path = Path(self.value("path")).expanduser()
        if self.value("again"):
            numbered = (self._path.with_name(f"{self._path.name}-{n}") for n in count(2))
            self._path = next(p for p in (self._path, *islice(numbered, 1000)) if not p.exists())
        self._unrecordable: dict[str, str] = {}
        """Topic to why it is not recorded."""
        self._subscribed: dict[str, tuple[Any, bool]] = {}
        """Topic to its subscription, and whether that is reliable."""
        self._queries: dict[str, _ParameterQuery] = {}
        self._failure = ""
        """Why recording has ended, in one sentence; empty while it goes on."""
        # Images are compressed and messages written in a thread of their own, so that slow disks lose no messages.
        self._queue: queue.Queue[tuple[str, str, int, bytes] | None] = queue.Queue(maxsize=500)
        self._early: list[tuple[str, str, bytes]] = []
        self._manifest_lock = threading.Lock()
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
        self._publisher = self.create_publisher(Recording, "recording", LATCHED_QOS)
        self._publish_recording()
        self._no_robot = ""
        """What is missing in the namespace, in one sentence; empty where a robot is there, or none is expected."""
        if self.value("robot_within"):
            self.create_timer(self.value("robot_within"), self._find_robot)
        self.create_timer(0.2, self._discover)
        self.create_timer(1.0, self._publish_recording)

    def activate(self) -> None:
        self._discover()

    def cleanup(self) -> None:
        if thread := getattr(self, "_thread", None):
            self._put_early(time.time_ns())  # if /clock never began
            self._queue.put(None)
            thread.join()
            self._thread = None
            if self.context.ok():
                self._publish_recording(ended=True)

    # Discovery

    def _discover(self) -> None:
        """Subscribe to new topics, and query new nodes for their parameters."""
        if not self.active:  # latched messages are delivered once: before activation they would be lost
            return
        for topic, types in self.get_topic_names_and_types():
            if not self._wants(topic, types[0]):
                continue
            publishers = self.get_publishers_info_by_topic(topic)
            if not publishers:
                continue
            qos = [p.qos_profile for p in publishers]
            reliable = all(q.reliability == QoSReliabilityPolicy.RELIABLE for q in qos)
            if topic in self._subscribed:
                subscription, before = self._subscribed[topic]
                if reliable or not before:
                    continue
                self.destroy_subscription(subscription)  # a publisher has joined that would not be received
            try:
                cls = message_class(types[0])
                recordable = learn_type(types[0])
            except (ImportError, AttributeError, ValueError):
                recordable = False
            if not recordable:
                self._unrecordable[topic] = f"{topic} is not recorded: its type {types[0]} is not installed here"
                continue
            self._unrecordable.pop(topic, None)
            latched = all(q.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for q in qos)
            subscription = self.create_subscription(
                cls,
                topic,
                partial(self._on_message, topic, types[0]),
                QoSProfile(
                    depth=200,
                    reliability=QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT,
                    durability=QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE,
                ),
                raw=True,
                event_callbacks=NO_EVENTS,
            )
            self._subscribed[topic] = (subscription, reliable)
        for name, namespace in self.get_node_names_and_namespaces():
            node = join_namespace(namespace, name)
            if encloses(self._namespace, node) and node not in self._queries:
                self._queries[node] = _ParameterQuery(
                    self.create_client(ListParameters, f"{node}/list_parameters"),
                    self.create_client(GetParameters, f"{node}/get_parameters"),
                )
        for node, query in self._queries.items():
            if not query.answered and time.monotonic() >= query.retry_at:
                self._send(node, query)

    def _find_robot(self) -> None:
        """Warn where nothing of what is to be recorded is there, and name the robots that are."""
        nodes = {join_namespace(space, name) for name, space in self.get_node_names_and_namespaces()}
        topics = [name for name, _ in self.get_topic_names_and_types() if self.count_publishers(name)]
        own = self.get_fully_qualified_name()
        found = no_robot(self._namespace, nodes - {own}, topics, self._chosen - set(self._subscribed))
        if found and found != self._no_robot:
            self.get_logger().warning(found)
        self._no_robot = found

    def _wants(self, topic: str, kind: str) -> bool:
        if self._chosen:
            return topic in self._chosen
        if not (encloses(self._namespace, topic) or topic in GLOBAL_TOPICS or self._perceived(topic, kind)):
            return False
        if kind == IMAGE_TYPE and self.value("images") == "none":
            return False
        package = kind.split("/")[0]
        return self.value("privacy") == "raw" or (package in FEATURES_PACKAGES and kind != OUR_AUDIO)

    def _perceived(self, topic: str, kind: str) -> bool:
        """Whether it is a sensor's topic outside of the namespace that the robot's perception subscribes to."""
        return kind in SENSOR_TYPES and any(
            s.node_name == "perception" and s.node_namespace == self._namespace
            for s in self.get_subscriptions_info_by_topic(topic)
        )

    def _send(self, node: str, query: _ParameterQuery) -> None:
        """Query a node's parameters, and put them into the manifest once it answers."""
        if not (query.list_client.service_is_ready() and query.get_client.service_is_ready()):
            return
        # A node that has not yet discovered this one cannot send its answer: hence the retry.
        query.retry_at = time.monotonic() + RETRY_S

        def on_values(names: list[str], answer: Any) -> None:
            result = answer.result()
            if result is not None:
                plain = [rclpy.parameter.parameter_value_to_python(v) for v in result.values]
                plain = [v.tolist() if isinstance(v, array) else v for v in plain]
                with self._manifest_lock:
                    self._manifest["parameters"][node] = redact_all(dict(zip(names, plain, strict=False)))
                    self._manifest_changed = True
                query.answered = True

        def on_names(answer: Any) -> None:
            result = answer.result()
            if result is not None:
                names = sorted(n for n in result.result.names if n != "use_sim_time")
                future = query.get_client.call_async(GetParameters.Request(names=names))
                future.add_done_callback(partial(on_values, names))

        query.list_client.call_async(ListParameters.Request()).add_done_callback(on_names)

    # Receiving

    def _on_message(self, topic: str, kind: str, data: Any) -> None:
        if not self.active or self._compressed_by_driver(topic, kind):
            return
        now = self.get_clock().now().nanoseconds
        if not now:  # simulated time, before the first /clock
            if len(self._early) < MAX_EARLY_MESSAGES:
                self._early.append((topic, kind, bytes(data)))
            else:
                self.counts["not written: before the clock"] += 1
            return
        self._put_early(now)
        self._put(topic, kind, now, bytes(data))

    def _put_early(self, now: int) -> None:
        """Record the messages received before simulated time began as received at its beginning."""
        early, self._early = self._early, []
        for topic, kind, data in early:
            self._put(topic, kind, now, data)

    def _put(self, topic: str, kind: str, now: int, data: bytes) -> None:
        try:
            self._queue.put_nowait((topic, kind, now, data))
        except queue.Full:
            self.counts["not written: too slow"] += 1

    def _compressed_by_driver(self, topic: str, kind: str) -> bool:
        """Whether it is a raw image of which the driver's compressed form is recorded instead."""
        return kind == IMAGE_TYPE and self.value("images") == "jpeg" and f"{topic}/compressed" in self._subscribed

    # Writing, in the thread

    def _work(self, opened: Future[None]) -> None:
        """Open the bag, and write the queue to it until None is taken from it. opened: set once the bag is open."""
        try:
            self._open()
        except (BagError, OSError) as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        due = time.monotonic() + FLUSH_PERIOD_S
        while True:
            try:
                item = self._queue.get(timeout=max(due - time.monotonic(), 0.0))
            except queue.Empty:
                item = ()
            if item is None:
                break
            if item:
                self._write(*item)
            if time.monotonic() >= due:
                self._ending_on_failure(self._flush)
                due = time.monotonic() + FLUSH_PERIOD_S
        self._ending_on_failure(self._close)

    def _open(self) -> None:
        self._bag = BagWriter(self._path, self.value("storage"))
        self._manifest = manifest.begin(
            recorded="live", start=manifest.moment(time.time_ns()), end=None, namespace=self._namespace,
            storage=self.value("storage"), privacy=self.value("privacy"),
            topics_asked_for=sorted(self._chosen) or "all", images=self.value("images"), streams=[], parameters={},
        )  # fmt: skip
        self._manifest_changed = False
        self._write_manifest()

    def _write_manifest(self) -> None:
        self._manifest["config_sha256"] = manifest.config_hash(self._manifest)
        manifest.write_manifest(self._path, self._manifest)

    def _write(self, topic: str, kind: str, now: int, data: bytes) -> None:
        if self._failure:
            self.counts["not written: no room"] += 1
            return
        try:
            if kind == IMAGE_TYPE and self.value("images") == "jpeg":
                topic, kind, data = f"{topic}/compressed", COMPRESSED_IMAGE_TYPE, self._jpeg(data)
            elif kind == FEATURES_TYPE and self.value("privacy") == "features" and not self.value("landmarks"):
                data = without_landmarks(data)
            elif kind == STREAM_TYPE:
                self._note_stream(deserialize_message(data, ListenerStream))
            elif kind in WITH_TEXTS and b"://" in data:
                data = serialize_message(without_passwords(deserialize_message(data, message_class(kind))))
            self._ending_on_failure(lambda: self._bag.write(topic, kind, now, data))
            self.counts["messages"] += 1
        except Exception as error:  # one bad message must not end the thread
            self.reject(topic, str(error))

    def _ending_on_failure(self, action: Callable[[], None]) -> None:
        """Call an action; if it fails, end the recording with one error in the log, while the node goes on."""
        if self._failure:
            return
        try:
            action()
        except Exception as error:  # the thread must survive: it empties the queue
            self._failure = f"recording has ended: {str(error).rstrip('.')}"
            self.get_logger().error(self._failure)
            with suppress(BagError, OSError):
                self._close()

    def _flush(self) -> None:
        self._bag.flush()
        with self._manifest_lock:
            changed, self._manifest_changed = self._manifest_changed, False
            if changed:
                self._write_manifest()

    def _close(self) -> None:
        self._bag.close()
        with self._manifest_lock:
            self._manifest |= {"end": manifest.moment(time.time_ns()), "topics": dict(sorted(self._bag.counts.items()))}
            self._manifest["lost"] = {n: c for n, c in self.counts.items() if n.startswith("not written")}
            if self._failure:
                self._manifest["trouble"] = self._failure
            self._write_manifest()

    def _note_stream(self, m: ListenerStream) -> None:
        with self._manifest_lock:
            self._manifest["streams"].append(manifest.of_stream(m))
            self._manifest_changed = True

    def _jpeg(self, data: bytes) -> bytes:
        import cv2

        image = deserialize_message(data, Image)
        bgr = image_from_message(image)[:, :, ::-1]
        ok, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self.value("jpeg_quality")])
        if not ok:
            raise ValueError("the image cannot be encoded as JPEG")
        out = CompressedImage(header=image.header, format="rgb8; jpeg compressed bgr8")
        out.data.frombytes(encoded.tobytes())
        return serialize_message(out)

    # Reporting

    def _publish_recording(self, ended: bool = False) -> None:
        """Publish what is being recorded."""
        lost = sum(c for n, c in self.counts.items() if n.startswith("not written"))
        m = Recording(
            privacy=self.value("privacy"), path=str(self._path), storage=self.value("storage"),
            topics=sorted(self._bag.counts), messages=self._bag.counts.total(), lost=lost, trouble=self._failure,
        )  # fmt: skip
        m.state = Recording.FAILED if self._failure else Recording.ENDED if ended else Recording.RECORDING
        m.header.stamp = self.get_clock().now().to_msg()
        self._publisher.publish(m)

    def present(self) -> str:
        return "recording has ended" if self._failure else f"recording {self.counts['messages']} messages"

    def described(self) -> str:
        return f"{self._path}, storage {self.value('storage')}, privacy {self.value('privacy')}"

    def diagnose(self) -> None:
        self.facts["privacy"] = self.value("privacy")
        missing = [self._no_robot] if self._no_robot else []
        self.warning = self._failure or "; ".join([*missing, *self._unrecordable.values()])


def without_landmarks(data: bytes) -> bytes:
    """A serialised SpeakerFeatures without the landmarks, which draw the face."""
    message = deserialize_message(data, SpeakerFeatures)
    if not len(message.landmarks):
        return data
    message.landmarks = array("f")
    return serialize_message(message)


def main() -> None:
    raise SystemExit(run(RecorderNode))


if __name__ == "__main__":
    main()
