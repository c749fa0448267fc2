"""Images with the time they were taken, from a device, a file or an address, behind one interface."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class SensorError(Exception):
    """A camera or microphone cannot be opened or read; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """What to open and how.

    source: a device number ("0"), a device path ("/dev/video0"), a film file, or an address (rtsp://, http://, …):
    what has a length is a film, what has none is live.
    width, height: pixels that the images are scaled to fit in, whole and undistorted; 0 keeps the source's own.
    fps: asked of a device; files and addresses have their own.
    loop: begin a file anew at its end.
    """

    source: str
    width: int = 640
    height: int = 480
    fps: float = 25.0
    loop: bool = False


@dataclass(frozen=True, slots=True)
class Shot:
    """One image and when it was taken."""

    time_ns: int
    """ns since the epoch for a live source; ns since the start of the film for a file."""
    image: Image
    """(H, W, 3) RGB."""


class Camera:
    """An open source of images: iterate to read them, `close` to let go.

    live: whether time passes by itself (a device or an address) or the reader must pace it (a file).
    """

    live: bool

    def __init__(self, live: bool, shots: Callable[[], Iterator[Shot]], close: Callable[[], None]) -> None:
        self.live = live
        self._shots = shots
        self.close = close

    def __iter__(self) -> Iterator[Shot]:
        return self._shots()


def fit(image: Image, width: int, height: int) -> Image:
    """Scale an (H, W, 3) image to fit into width x height, whole and undistorted (so one side may stay shorter)."""
    import cv2

    if not width or not height or image.shape[:2] == (height, width):
        return image
    h, w = image.shape[:2]
    scale = min(width / w, height / h)
    size = (round(w * scale), round(h * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def open_camera(config: CameraConfig) -> Camera:
    """Open what `config.source` names. Raises SensorError with one sentence where that is impossible."""
    source = config.source.strip()
    if re.fullmatch(r"\d+|/dev/video\d+", source):
        return _device(source, config)
    if re.match(r"[a-z][a-z0-9+]*://", source):
        return _stream(source, config, address=True)
    path = Path(source).expanduser()
    if not path.exists():
        raise SensorError(f"camera source {source!r} is no device number, no address and no existing file")
    return _stream(str(path), config, address=False)


def _device(source: str, config: CameraConfig) -> Camera:
    number = int(re.sub(r"\D", "", source))
    if not Path(f"/dev/video{number}").exists():
        raise SensorError(f"there is no camera {number} (/dev/video{number}): plug one in, or give a film file")
    import cv2

    capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise SensorError(f"camera {number} does not open: another program may be using it")
    if config.width and config.height:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
    capture.set(cv2.CAP_PROP_FPS, config.fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def shots() -> Iterator[Shot]:
        while capture.grab():
            stamp = time.time_ns()
            ok, image = capture.retrieve()
            if ok:
                rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                yield Shot(stamp, fit(rgb, config.width, config.height))
        raise SensorError(f"camera {number} stopped giving images: is it still plugged in?")

    return Camera(True, shots, capture.release)


def _stream(source: str, config: CameraConfig, address: bool) -> Camera:
    import av

    def container():
        try:
            opened = av.open(source, timeout=10.0 if address else None)
        except (OSError, ValueError) as error:  # PyAV's own errors are OSErrors or ValueErrors
            raise SensorError(f"{source} cannot be read as a film: {reason(error)}") from None
        if not opened.streams.video:
            opened.close()
            raise SensorError(f"{source} has no picture in it")
        opened.streams.video[0].thread_count = 1
        return opened

    holder = [container()]
    # A film behind an address has a length, a camera behind one has none.
    live = address and holder[0].duration is None

    def shots() -> Iterator[Shot]:
        offset = 0
        while True:
            opened = holder[0]
            stream = opened.streams.video[0]
            start = None
            last = period = 0
            seen = False
            try:
                for frame in opened.decode(stream):
                    stamp = round((frame.time or 0.0) * 1e9)
                    start = stamp if start is None else start
                    now = stamp - start
                    period, last, seen = max(now - last, 0) or period, now, True
                    rgb = _upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame.rotation)
                    rgb = fit(rgb, config.width, config.height)
                    yield Shot(time.time_ns() if live else offset + now, rgb)
            except (OSError, ValueError) as error:
                if not seen:
                    raise SensorError(f"{source} cannot be decoded: {reason(error)}") from None
            if live:
                raise SensorError(f"{source} ended")
            if not seen:
                raise SensorError(f"{source} has no readable image in it")
            if not config.loop:
                return
            offset += last + period
            opened.close()
            holder[0] = container()

    return Camera(live, shots, lambda: holder[0].close())


def _upright(image: Image, degrees: int) -> Image:
    """A picture as players show it: telephones write it lying, and beside it how it is to be turned."""
    quarters = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").lower() or type(error).__name__
