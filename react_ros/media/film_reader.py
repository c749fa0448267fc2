"""Pictures of film files and of video streams at an address (rtsp://, http://, …), with their times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.media.errors import MediaError, error_text

Image = npt.NDArray[np.uint8]
ADDRESS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture and its time."""

    time_ns: int
    """Capture time in ns since the epoch for a live source; ns since the start of the film for a file."""
    image: Image
    """(H, W, 3) RGB."""


@dataclass(frozen=True, slots=True)
class FilmTimes:
    """Times in ns on the film's own time axis, which begins with the first of its streams, as players show it."""

    pictures_ns: int
    """Time of the first picture."""
    stop_ns: int | None
    """End of the pictures according to the container; None where the container does not give it."""
    sound: bool
    """Whether the film has an audio stream."""


class FilmReader:
    """Decodes the pictures of a film or video stream: iterate for `Shot`s, then `close`.

    live: True for an address without a duration (a camera); pictures are then stamped with the time of their arrival.
    """

    def __init__(
        self, source: str | Path, width: int = 0, height: int = 0, *, loop: bool = False, address: bool = False
    ) -> None:
        """width, height: pixels that the pictures are scaled to fit in (see `fit`); 0 keeps the film's own size.

        loop: start a file again when it ends. address: `source` is a URL and not a path.
        Raises MediaError where the source cannot be opened or has no video stream.
        """
        self._source = str(source)
        self._size = width, height
        self._loop = loop
        self._timeout = ADDRESS_TIMEOUT_S if address else None
        self._container = self._open()
        # A film behind an address has a duration, a camera behind one has none.
        self.live = address and self._container.duration is None

    def _open(self) -> Any:
        import av

        try:
            opened = av.open(self._source, timeout=self._timeout)
        except (OSError, ValueError) as error:  # PyAV's own errors are OSErrors or ValueErrors
            raise MediaError(f"{self._source} cannot be read as a film: {error_text(error)}") from None
        if not opened.streams.video:
            opened.close()
            raise MediaError(f"{self._source} has no picture in it")
        opened.streams.video[0].thread_count = 1
        return opened

    def __iter__(self) -> Iterator[Shot]:
        """Raises MediaError where nothing can be decoded, and where a live stream ends."""
        offset = 0
        while True:
            stream = self._container.streams.video[0]
            start = None
            last = period = 0
            decoded = False
            try:
                for frame in self._container.decode(stream):
                    stamp = round((frame.time or 0.0) * 1e9)
                    start = stamp if start is None else start
                    now = stamp - start
                    period, last, decoded = max(now - last, 0) or period, now, True
                    rgb = _upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame.rotation)
                    rgb = fit(rgb, *self._size)
                    yield Shot(time.time_ns() if self.live else offset + now, rgb)
            except (OSError, ValueError) as error:
                if not decoded:
                    raise MediaError(f"{self._source} cannot be decoded: {error_text(error)}") from None
            if self.live:
                raise MediaError(f"{self._source} ended")
            if not decoded:
                raise MediaError(f"{self._source} has no readable image in it")
            if not self._loop:
                return
            offset += last + period
            self._container.close()
            self._container = self._open()

    def close(self) -> None:
        """Close the file or connection."""
        self._container.close()


def fit(image: Image, width: int, height: int) -> Image:
    """Scale an (H, W, 3) image to fit into width x height px, uncropped, aspect ratio kept (one side may be shorter).

    A width or height of 0 leaves the image as it is.
    """
    import cv2

    if not width or not height or image.shape[:2] == (height, width):
        return image
    h, w = image.shape[:2]
    scale = min(width / w, height / h)
    size = (round(w * scale), round(h * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def _upright(image: Image, degrees: int) -> Image:
    """Apply the container's display rotation: phones store pictures on their side, with the angle beside them."""
    quarters = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def film_times(path: Path) -> FilmTimes:
    """Times of a film; decodes its first picture. Raises MediaError with one sentence where there is none."""
    import av

    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise MediaError(f"{path} has no picture in it")
            stream, start = film.streams.video[0], start_ns(film)
            first = next(film.decode(stream), None)
            if first is None:
                raise MediaError(f"{path} has no readable image in it")
            stop = None
            if stream.duration is not None and stream.time_base is not None:
                stop = round(((stream.start_time or 0) + stream.duration) * stream.time_base * 1_000_000_000) - start
            elif film.duration is not None:
                stop = film.duration * 1000
            return FilmTimes(round((first.time or 0.0) * 1e9) - start, stop, bool(film.streams.audio))
    except (OSError, ValueError) as error:  # PyAV's own errors are OSErrors or ValueErrors
        raise MediaError(f"{path} cannot be read as a film: {error_text(error)}") from None


def start_ns(container: Any) -> int:
    """Start in ns of an open PyAV container: the earliest start of its streams, which players take as time 0."""
    return round((container.start_time or 0) * 1000)
