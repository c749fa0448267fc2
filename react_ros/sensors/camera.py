"""Time-stamped images from a camera device, a film file or an address, behind one interface."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from react_ros.media.errors import MediaError
from react_ros.media.film_reader import FilmReader, Shot, fit
from react_ros.sensors.device_time import buffer_time_ns


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """Which camera to open, and how.

    source: a device number ("0"), a device path ("/dev/video0"), a film file, or an address (rtsp://, http://, …);
    an address with a duration is treated as a film, one without as a live camera.
    width, height: pixels that the images are scaled to fit in, uncropped; 0 keeps the size of the source.
    fps: frame rate requested from a device; files and addresses have their own.
    loop: start a file again when it ends.
    """

    source: str
    width: int = 640
    height: int = 480
    fps: float = 25.0
    loop: bool = False


class Camera:
    """An open source of images: iterate for `Shot`s, then `close`.

    live: True for a device or a live address; False for a file, whose reader must pace it.
    """

    live: bool

    def __init__(self, live: bool, shots: Callable[[], Iterator[Shot]], close: Callable[[], None]) -> None:
        self.live = live
        self._shots = shots
        self.close = close

    def __iter__(self) -> Iterator[Shot]:
        """Raises MediaError where the source cannot be decoded, or stops although it is live."""
        return self._shots()


def open_camera(config: CameraConfig) -> Camera:
    """Open `config.source`. Raises MediaError with one sentence where that is impossible."""
    source = config.source.strip()
    if re.fullmatch(r"\d+|/dev/video\d+", source):
        return _open_device(source, config)
    address = re.match(r"[a-z][a-z0-9+]*://", source) is not None
    if not address:
        path = Path(source).expanduser()
        if not path.exists():
            raise MediaError(f"camera source {source!r} is no device number, no address and no existing file")
        source = str(path)
    film = FilmReader(source, config.width, config.height, loop=config.loop, address=address)
    return Camera(film.live, film.__iter__, film.close)


def _open_device(source: str, config: CameraConfig) -> Camera:
    number = int(re.sub(r"\D", "", source))
    if not Path(f"/dev/video{number}").exists():
        raise MediaError(f"there is no camera {number} (/dev/video{number}): connect one, or give a film file")
    import cv2

    capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise MediaError(f"camera {number} does not open: another program may be using it")
    if config.width and config.height:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
    capture.set(cv2.CAP_PROP_FPS, config.fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def shots() -> Iterator[Shot]:
        while capture.grab():
            reported_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
            stamp = buffer_time_ns(reported_ms, time.time_ns(), time.monotonic_ns())
            ok, image = capture.retrieve()
            if ok:
                rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                yield Shot(stamp, fit(rgb, config.width, config.height))
        raise MediaError(f"camera {number} stopped sending images: is it still connected?")

    return Camera(True, shots, capture.release)
