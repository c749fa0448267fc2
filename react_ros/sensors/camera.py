"""Time-stamped images from a camera device, a film file, a pipe or an address, behind one interface."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from react_ros.media.errors import MediaError, Unavailable
from react_ros.media.film_reader import FilmReader, Shot
from react_ros.media.opening import OPEN_TIMEOUT_S, local_path
from react_ros.media.picture_shape import fit
from react_ros.sensors.device_time import buffer_time_ns
from react_ros.sensors.pipe import Pipe, is_pipe


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """Which camera to open, and how.

    source: a device number ("0"), a device path ("/dev/video0"), a film file, a pipe (FIFO) into which a program writes
    a video stream, or an address (rtsp://, http://, …); an address with a duration is treated as a film, one without as
    a live camera.
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

    live: True for a device, a pipe or a live address; False for a file, whose reader must pace it.
    """

    live: bool

    def __init__(
        self, live: bool, shots: Callable[[], Iterator[Shot]], close: Callable[[], None],
        damage: Callable[[], str] = lambda: "",
    ) -> None:  # fmt: skip
        self.live = live
        self._shots = shots
        self.close = close
        self.damage = damage
        """What of a film could not be decoded so far, in one sentence; empty if all of it could."""

    def __iter__(self) -> Iterator[Shot]:
        """Raises MediaError where the source cannot be decoded, or stops although it is live."""
        return self._shots()


def open_camera(config: CameraConfig) -> Camera:
    """Open `config.source`. Raises MediaError with one sentence where that is impossible: Unavailable where it may be
    possible later.
    """
    return camera_opener(config)()


def camera_opener(config: CameraConfig) -> Callable[[], Camera]:
    """A function that does what `open_camera` does, to be called again whenever the camera is lost."""
    source = config.source.strip()
    if re.fullmatch(r"\d+|/dev/video\d+", source):
        return lambda: _open_device(source, config)
    path = local_path(source)
    if path is None:
        return _Address(source, config)
    pipe = Pipe(path)
    return lambda: _open_pipe(pipe, path, config) if is_pipe(path) else _open_file(path, source, config)


class _Address:
    """Opens an address; after each attempt that took too long, with more patience (a slow camera, a thin network)."""

    def __init__(self, source: str, config: CameraConfig) -> None:
        self._source, self._config = source, config
        self._patience = 1

    def __call__(self) -> Camera:
        config, begin = self._config, time.monotonic()
        open_s = OPEN_TIMEOUT_S * self._patience
        try:
            film = FilmReader(self._source, config.width, config.height, loop=config.loop, address=True, open_s=open_s)
        except Unavailable:
            self._patience = min(self._patience + 1, 4) if time.monotonic() - begin >= open_s else 1
            raise
        self._patience = 1
        return _film(film)


def _film(film: FilmReader) -> Camera:
    return Camera(film.live, film.__iter__, film.close, lambda: film.damage)


def _open_file(path: Path, source: str, config: CameraConfig) -> Camera:
    if not path.exists():
        hint = ""
        if like := re.match(r"([A-Za-z][A-Za-z0-9+.-]*):/?[^/]", source):
            hint = f" (addresses are like {like[1].lower()}://HOST/PATH)"
        raise MediaError(f"camera source {source!r} is no device number, no address and no existing file{hint}")
    return _film(FilmReader(path, config.width, config.height, loop=config.loop))


def _open_pipe(pipe: Pipe, path: Path, config: CameraConfig) -> Camera:
    source = f"pipe:{pipe.wait()}"
    film = FilmReader(source, config.width, config.height, address=True, shown=f"the pipe {path}")
    film.live = True
    return _film(film)


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
        raise Unavailable(f"camera {number} stopped sending images: is it still connected?")

    return Camera(True, shots, capture.release)
