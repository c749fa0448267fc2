"""Creates messages of rclpy's classes; `react_ros.messages` reads and fills them."""

from __future__ import annotations

from array import array
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image

from react_ros.face import Floats
from react_ros.messages.factory import MessageFactory
from react_ros.msg import AudioChunk
from react_ros.redaction import redact_all


@lru_cache(maxsize=256)
def message_class(kind: str) -> type[Any]:
    """rclpy's class of a message type "package/msg/Name". Raises ImportError or AttributeError if not installed."""
    package, name = kind.split("/msg/")
    return getattr(import_module(f"{package}.msg"), name)


def _new(kind: str, **fields: Any) -> Any:
    return message_class(kind)(**fields)


def _floats(values: Floats) -> array:
    out = array("f")  # rclpy copies an array of the right type in one step, other sequences element by element
    out.frombytes(np.ascontiguousarray(values, np.float32).tobytes())
    return out


FACTORY = MessageFactory(_new, _floats)


def without_passwords(message: Any) -> Any:
    """The message, with passwords in URLs redacted in all its texts, at any depth."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if "string" in kind:
            setattr(message, name, redact_all(value))
        elif isinstance(value, list):
            for item in value:
                without_passwords(item)
        elif hasattr(value, "get_fields_and_field_types"):
            without_passwords(value)
    return message


def image_message(rgb: npt.NDArray[np.uint8], stamp: Any, frame_id: str) -> Image:
    """sensor_msgs/Image (rgb8) of (H, W, 3) RGB uint8."""
    h, w = rgb.shape[:2]
    message = Image(header=FACTORY.header(stamp, frame_id), height=h, width=w, encoding="rgb8", step=3 * w)
    data = array("B")
    data.frombytes(np.ascontiguousarray(rgb).data.cast("B"))
    message.data = data
    return message


def audio_message(stamp_ns: int, rate: int, first_sample: int, pcm: npt.NDArray[np.int16]) -> AudioChunk:
    """AudioChunk of (n, channels) int16."""
    message = AudioChunk(sample_rate=rate, channels=pcm.shape[1], first_sample=first_sample)
    message.header = FACTORY.header(FACTORY.time(stamp_ns))
    data = array("h")
    data.frombytes(np.ascontiguousarray(pcm).tobytes())
    message.pcm = data
    return message
