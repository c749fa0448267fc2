"""Nodes of other packages: `python third_party_driver.py NAME ARGUMENTS…` runs one until it is killed.

They import no module of react_ros.
"""

from __future__ import annotations

import json
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
    """Publish a photograph at 25 Hz, as ROS camera drivers do."""
    import cv2

    bgr = cv2.imread(file)
    assert bgr is not None
    if kind.startswith("raw"):
        topic, qos = "/robot/image_raw", QoSProfile(depth=10) if kind == "raw_reliable" else qos_profile_sensor_data
        small = np.ascontiguousarray(bgr[:: max(1, len(bgr) // 480), :: max(1, len(bgr) // 480)])
        h, w = small.shape[:2]
        image: Any = Image(height=h, width=w, encoding="bgr8", step=3 * w, data=_array("B", small))
    else:
        topic, qos = {"compressed": "/robot/image_raw/compressed", "compressed_as_raw": "/robot/image_raw"}[kind], 10
        image = CompressedImage(format="jpeg", data=_array("B", np.frombuffer(Path(file).read_bytes(), np.uint8)))
    publisher = node.create_publisher(type(image), topic, qos)

    def publish() -> None:
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)

    node.create_timer(0.04, publish)


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
    {"speak": speak, "show": show, "listen": listen}[name](node, *arguments)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
