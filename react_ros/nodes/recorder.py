"""The recorder node: every topic of the robot goes into a bag."""

from __future__ import annotations

import queue
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from react_ros.nodes.base import ConfigurationError, Parameter, RobotNode, run
from react_ros.nodes.messages import image_from_message
from react_ros.session.bag import BagError, BagWriter, typestore

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


class RecorderNode(RobotNode):
    """Subscribes to whatever is published in its namespace, and to /diagnostics, and writes an mcap bag."""

    NAME = "recorder"
    PARAMETERS = (
        Parameter("path", "", "folder of the bag; it must not exist yet"),
        Parameter("images", "jpeg", "raw images are written as they are, as JPEG on <topic>/compressed, or not at all",
                  choices=("raw", "jpeg", "none")),
        Parameter("jpeg_quality", 90, "quality of those JPEGs", 1, 100),
    )  # fmt: skip

    def configure(self) -> None:
        if not self.value("path"):
            raise ConfigurationError("recorder: path must name the folder of the new bag.")
        try:
            self._bag: BagWriter | None = BagWriter(Path(self.value("path")).expanduser())
        except BagError as error:
            raise ConfigurationError(f"recorder: {error}.") from None
        self._heard: set[str] = set()
        # Compressing and writing have a thread of their own, so that nothing is lost while they take their time.
        self._queue: queue.Queue[tuple[str, str, int, bytes] | None] = queue.Queue(maxsize=500)
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()
        self._look()
        self.create_timer(0.2, self._look)

    def cleanup(self) -> None:
        if bag := getattr(self, "_bag", None):
            self._queue.put(None)
            self._thread.join()
            bag.close()
            self._bag = None

    def _look(self) -> None:
        """Subscribe to topics as they appear."""
        mine = self.get_namespace().rstrip("/") + "/"
        for topic, types in self.get_topic_names_and_types():
            if topic in self._heard or not (topic.startswith(mine) or topic == "/diagnostics"):
                continue
            publishers = self.get_publishers_info_by_topic(topic)
            if not publishers or (types[0] == IMAGE and self.value("images") == "none"):
                continue
            if types[0] not in typestore().fielddefs:
                self.warning = f"{topic} is not recorded: its type {types[0]} is unknown"
                continue
            self._heard.add(topic)
            package, name = types[0].split("/msg/")
            reliable = all(p.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE for p in publishers)
            reliability = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
            self.create_subscription(
                getattr(import_module(f"{package}.msg"), name),
                topic,
                lambda data, topic=topic, kind=types[0]: self._on_message(topic, kind, data),
                QoSProfile(depth=100, reliability=reliability),
                raw=True,
            )

    def _on_message(self, topic: str, kind: str, data: Any) -> None:
        if not self.active:
            return
        try:
            self._queue.put_nowait((topic, kind, self.get_clock().now().nanoseconds, bytes(data)))
        except queue.Full:
            self.counts["not written: too slow"] += 1

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            topic, kind, now, data = item
            assert self._bag is not None
            try:
                if kind == IMAGE and self.value("images") == "jpeg":
                    topic, kind, data = f"{topic}/compressed", COMPRESSED, self._jpeg(data)
                self._bag.write(topic, kind, now, data)
                self.counts["messages"] += 1
            except ValueError as error:
                self.reject(topic, str(error))
            except OSError as error:
                self.warning = f"the bag cannot be written any more: {error.strerror}"
                self.counts["not written: error"] += 1

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


def main() -> None:
    raise SystemExit(run(RecorderNode))


if __name__ == "__main__":
    main()
