"""Nodes of other packages: `python third_party_driver.py NAME ARGUMENTS…` runs one until it is killed.

They import no module of react_ros.
"""

from __future__ import annotations

import json
import random
import sys
import time
from array import array
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import soundfile
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

BLOCK = 0.05


def _array(kind: str, values: np.ndarray) -> array:
    out = array(kind)
    out.frombytes(np.ascontiguousarray(values).tobytes())
    return out


def _ros_drivers(samples: np.ndarray, stamp: Any, stamped: bool) -> Any:
    m = import_module("audio_common_msgs.msg")
    data = m.AudioData(data=_array("B", samples.astype("<i2").view(np.uint8)))
    if not stamped:
        return data
    message = m.AudioDataStamped(audio=data)
    message.header.stamp = stamp
    return message


def _mgonzs13(samples: np.ndarray, stamp: Any, rate: int, field: str) -> Any:
    m = import_module("audio_common_msgs.msg")
    message = m.AudioStamped()
    message.header.stamp = stamp
    info = message.audio.info
    info.format = {"float32": 1, "int32": 2, "int16": 8, "uint8": 32}[field]  # PortAudio's numbers
    info.channels, info.rate, info.chunk = 1, rate, len(samples)
    wide = samples.astype(np.int32)
    kind, values = {
        "int16": ("h", samples.astype(np.int16)), "float32": ("f", (samples / 32768).astype(np.float32)),
        "int32": ("i", wide << 16), "uint8": ("B", ((wide >> 8) + 128).astype(np.uint8)),
    }[field]  # fmt: skip
    setattr(message.audio.audio_data, f"{field}_data", _array(kind, values))
    return message


def speak(node: Node, kind: str, file: str, coding: str = "wave") -> None:
    """Publish a looped sound file on /robot/audio, as one of the two packages named audio_common_msgs does."""
    samples, rate = soundfile.read(file, dtype="int16")
    # Not the default rate: three times the file's.
    samples = np.interp(np.arange(3 * len(samples)) / 3, np.arange(len(samples)), samples).astype(np.int16)
    rate = 3 * rate
    size = round(rate * BLOCK)
    m = import_module("audio_common_msgs.msg")
    if kind in ("AudioData", "AudioDataStamped"):
        message_type, stamped = getattr(m, kind), kind.endswith("Stamped")

        def make(block: np.ndarray, stamp: Any) -> Any:
            return _ros_drivers(block, stamp, stamped)

        info = m.AudioInfo(channels=1, sample_rate=rate, sample_format="S16LE", bitrate=128, coding_format=coding)
        # audio_capture publishes it once, latched; others repeat it.
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        infos = node.create_publisher(m.AudioInfo, "/robot/audio_info", latched if stamped else 10)
        infos.publish(info)
        if not stamped:
            node.create_timer(0.5, lambda: infos.publish(info))
    else:
        message_type = m.AudioStamped

        def make(block: np.ndarray, stamp: Any) -> Any:
            return _mgonzs13(block, stamp, rate, kind)

    publisher = node.create_publisher(message_type, "/robot/audio", 10)
    at = 0

    def publish() -> None:
        nonlocal at
        block = samples[at : at + size]
        at = (at + size) % (len(samples) - size)
        stamp = node.get_clock().now() - Duration(seconds=BLOCK)
        publisher.publish(make(block, stamp.to_msg()))

    node.create_timer(BLOCK, publish)


def show(node: Node, kind: str, file: str) -> None:
    """Publish a JPEG file at 25 Hz, as image_transport does."""
    topic = {"compressed": "/robot/image_raw/compressed", "compressed_as_raw": "/robot/image_raw"}[kind]
    image = CompressedImage(format="jpeg", data=_array("B", np.frombuffer(Path(file).read_bytes(), np.uint8)))
    publisher = node.create_publisher(CompressedImage, topic, 10)

    def publish() -> None:
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)

    node.create_timer(0.04, publish)


CLOCKS = {
    "epoch": time.time_ns,
    "zero": lambda: 0,
    "monotonic": time.monotonic_ns,
    "hour ahead": lambda: time.time_ns() + 3600 * 10**9,
    "hour behind": lambda: time.time_ns() - 3600 * 10**9,
}


def film(node: Node, file: str) -> None:
    """Publish a photograph as bgr8 at 30 Hz, in phases with a publisher each; each begins when somebody subscribes.

    A phase is a line on stdin, JSON with topic, size ("640x480"), reliable, count (of images; 0: endless), keep (share
    of the images that is published, drawn at random), clock. At the end of its images a line is printed.
    """
    import cv2

    bgr = cv2.imread(file)
    assert bgr is not None
    publisher = None
    for phase in sys.stdin:
        if publisher is not None:
            node.destroy_publisher(publisher)
        o = {"topic": "/robot/image_raw", "size": "640x480", "reliable": True, "count": 0, "keep": 1.0,
             "clock": "epoch", **json.loads(phase)}  # fmt: skip
        w, h = map(int, o["size"].split("x"))
        image = Image(height=h, width=w, encoding="bgr8", step=3 * w, data=_array("B", cv2.resize(bgr, (w, h))))
        image.header.frame_id = "camera_link"
        publisher = node.create_publisher(Image, o["topic"], QoSProfile(depth=10) if o["reliable"] else
                                          qos_profile_sensor_data)  # fmt: skip
        while not publisher.get_subscription_count():
            time.sleep(0.05)
        time.sleep(1.0)  # subscribers that now know the publisher may subscribe anew, reliably
        published, due, draw = 0, time.monotonic(), random.Random(0)
        stamp = CLOCKS[o["clock"]]()
        while not o["count"] or published < o["count"]:
            due += 1 / 30
            stamp += 10**9 // 30 if stamp else 0  # as regular as a camera's
            time.sleep(max(0.0, due - time.monotonic()))
            if draw.random() < o["keep"]:
                image.header.stamp.sec, image.header.stamp.nanosec = divmod(stamp, 10**9)
                publisher.publish(image)
                published += 1
        print(published, flush=True)


def listen(node: Node, kind: str, file: str) -> None:
    """Write the hri_msgs that the robot publishes to a file, one JSON object per line."""
    m = import_module("hri_msgs.msg")
    out = Path(file).open("w", buffering=1)  # noqa: SIM115 (open until the process is ended)

    def keep(name: str, message: Any) -> None:
        fields = {f: getattr(message, f) for f in message.get_fields_and_field_types() if f != "header"}
        plain = {f: list(map(float, v)) if name == "facs" else v for f, v in fields.items()}
        out.write(json.dumps({"topic": name, "stamp": message.header.stamp.sec, **plain}) + "\n")

    node.create_subscription(m.Expression, "/robot_face/expression", lambda x: keep("expression", x), 10)
    node.create_subscription(m.FacialActionUnits, "/robot_face/facs", lambda x: keep("facs", x), 10)


def main() -> None:
    rclpy.init()
    node = rclpy.create_node(f"third_party_{time.monotonic_ns() % 10_000}")
    name, *arguments = sys.argv[1:]
    {"speak": speak, "show": show, "film": film, "listen": listen}[name](node, *arguments)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
