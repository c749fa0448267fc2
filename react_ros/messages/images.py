"""sensor_msgs/Image and CompressedImage to RGB arrays, checked before anything is decoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_PIXELS = 4096 * 4096

_CHANNELS = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "8UC1": 1,
    "8UC3": 3,
    "mono16": 2,
    "16UC1": 2,
    "yuv422_yuy2": 2,
    "yuyv": 2,
    "yuv422": 2,
    "uyvy": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
    "nv12": 1,
    "nv21": 1,
}
"""Bytes per pixel by the encoding names of sensor_msgs, in the first plane where there are several; "yuv422" is ROS's
older name of UYVY."""

_NAMES = {name.lower(): name for name in _CHANNELS}

_PLANAR = ("nv12", "nv21")
"""4:2:0 encodings: after the rows of luma, half as many rows in which the chroma of 2 x 2 pixels alternates."""

_PAIRED = ("yuv422_yuy2", "yuyv", "yuv422", "uyvy")
"""4:2:2 encodings: two neighbouring pixels share their chroma, so rows have an even number of pixels."""


def image_from_message(message: Any) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB uint8 from a sensor_msgs/Image or CompressedImage.

    Raises ValueError for an encoding, size or length that is not supported, before any memory is allocated for it.
    """
    if hasattr(message, "format"):
        return _decompress(message)
    encoding = _NAMES.get(message.encoding.lower())
    if encoding is None:
        raise ValueError(f"encoding {message.encoding[:40]!r} is not one of {', '.join(_CHANNELS)}")
    channels = _CHANNELS[encoding]
    h, w, step = message.height, message.width, message.step
    _check_size(w, h)
    if step < w * channels:
        raise ValueError(f"a row of {w} pixels in {encoding} takes {w * channels} bytes, not {step}")
    if encoding in _PLANAR:
        return _from_planes(message, encoding)
    if len(message.data) != step * h:
        raise ValueError(f"{h} rows of {step} bytes are {step * h} bytes, not {len(message.data)}")
    if encoding in _PAIRED and w % 2:
        raise ValueError(f"{w} pixels in a row of {encoding}, which come in pairs")
    rows = np.frombuffer(message.data, np.uint8).reshape(h, step)[:, : w * channels].reshape(h, w, channels)
    if encoding == "rgb8":
        return np.ascontiguousarray(rows)
    if encoding == "16UC1":
        return np.repeat(_visible(rows.copy().view(">u2" if message.is_bigendian else "<u2")), 3, axis=2)
    if encoding == "mono16":
        return np.repeat(rows[:, :, 0 if message.is_bigendian else 1, None], 3, axis=2)
    import cv2

    code = {
        "bgr8": cv2.COLOR_BGR2RGB, "8UC3": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_RGBA2RGB, "bgra8": cv2.COLOR_BGRA2RGB,
        "mono8": cv2.COLOR_GRAY2RGB, "8UC1": cv2.COLOR_GRAY2RGB,
        "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2, "yuyv": cv2.COLOR_YUV2RGB_YUY2,
        "yuv422": cv2.COLOR_YUV2RGB_UYVY, "uyvy": cv2.COLOR_YUV2RGB_UYVY,
        # OpenCV names a Bayer pattern by the pixels of its second row and column.
        "bayer_rggb8": cv2.COLOR_BayerBG2RGB, "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
        "bayer_gbrg8": cv2.COLOR_BayerGR2RGB, "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
    }[encoding]  # fmt: skip
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows), code), np.uint8)


def _from_planes(message: Any, encoding: str) -> npt.NDArray[np.uint8]:
    """NV12 or NV21. Some drivers count the rows of chroma in the height."""
    import cv2

    h, w, step = message.height, message.width, message.step
    length = len(message.data)
    if length == step * h and h % 3 == 0:
        h = h // 3 * 2
    if length != step * h * 3 // 2:
        raise ValueError(f"{h} rows of {step} bytes in {encoding} are {step * h * 3 // 2} bytes, not {length}")
    if w % 2 or h % 2:
        raise ValueError(f"{w} x {h} pixels in {encoding}, which come in squares of 2 x 2")
    planes = np.ascontiguousarray(np.frombuffer(message.data, np.uint8).reshape(h * 3 // 2, step)[:, :w])
    code = cv2.COLOR_YUV2RGB_NV12 if encoding == "nv12" else cv2.COLOR_YUV2RGB_NV21
    return np.asarray(cv2.cvtColor(planes, code), np.uint8)


def _visible(values: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """16-bit values, whose range the encoding leaves open (infrared of 10 bits, depth in mm), to 8 bits.

    The image's brightest hundredth becomes white; every 4th pixel of every 4th row is looked at.
    """
    white = max(float(np.percentile(values[::4, ::4], 99)), 1.0)
    return np.clip(values * np.float32(255.0 / white), 0, 255).astype(np.uint8)


def _check_size(w: int, h: int) -> None:
    if not 16 <= h <= 8192 or not 16 <= w <= 8192 or h * w > MAX_PIXELS:
        raise ValueError(f"{w} x {h} pixels is not a size between 16 x 16 and 4096 x 4096")


def _coded_size(head: bytes) -> tuple[int, int] | None:
    """(width, height) from the header of a PNG or JPEG; None for anything else."""
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    at = 2 if head[:2] == b"\xff\xd8" else len(head)
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            return int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7])
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return None


def _decompress(message: Any) -> npt.NDArray[np.uint8]:
    import cv2

    if not len(message.data):
        raise ValueError("the compressed image is empty")
    if len(message.data) > 64_000_000:
        raise ValueError(f"a compressed image of {len(message.data) / 1e6:.0f} MB is over the limit of 64 MB")
    size = _coded_size(bytes(memoryview(message.data)[:65536]))
    if size is not None:
        _check_size(*size)  # before decoding: a file of a few kB may decode to gigabytes
    try:
        bgr = None if size is None else cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ValueError(f"the compressed image (format {message.format[:40]!r}) cannot be decoded: JPEG or PNG is")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
