"""Pictures of film files and of video streams at an address (rtsp://, http://, …), with their times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from react_ros.media.errors import MediaError, Unavailable, reading
from react_ros.media.opening import OPEN_TIMEOUT_S, longest_silence, open_address, open_file
from react_ros.media.picture_shape import Image, display_matrix, fit, pixel_aspect, upright
from react_ros.media.picture_times import PictureTimes, start_ns

__all__ = ["FilmReader", "FilmTimes", "Image", "Shot", "film_times", "fit"]


_WITHOUT_LENGTH = {"mpegts", "mpeg"}
"""Containers that do not state their length; FFmpeg's estimate is wrong where recordings were joined."""
UNDECODABLE_S = 15.0
"""A live stream of which nothing could be decoded for longer is opened again: longer than from key frame to key frame
of usual cameras."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture and its time."""

    time_ns: int
    """Capture time in ns since the epoch for a live source; for a file, ns on its own time axis (see `FilmTimes`)."""
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
    Pictures are turned and mirrored as the container asks, and have square pixels. Packets that cannot be decoded are
    passed over.
    """

    def __init__(
        self, source: str | Path, width: int = 0, height: int = 0, *, loop: bool = False, address: bool = False,
        shown: str = "", open_s: float = OPEN_TIMEOUT_S,
    ) -> None:  # fmt: skip
        """width, height: pixels that the pictures are scaled to fit in (see `fit`); 0 keeps the film's own size.

        loop: start a file again when it ends; where it has sound, both begin again together. address: `source` is a
        URL and not a path. shown: its name in errors. open_s: longest time for opening an address. Raises
        MediaError where the source cannot be opened or has no video stream.
        """
        self._source = str(source)
        self._shown = shown or self._source
        self._size = width, height
        self._loop = loop
        self._address = address
        self._open_s = open_s
        self._container = self._open()
        # A film behind an address has a duration, a camera behind one has none.
        self.live = address and self._container.duration is None
        """May be set for a source that is live whatever its header says."""
        self.damage = ""
        """What of the film could not be decoded, in one sentence; empty if all of it could."""

    def _open(self) -> Any:
        opened = open_address(self._source, self._shown, self._open_s) if self._address else open_file(self._source)
        if not opened.streams.video:
            opened.close()
            raise MediaError(f"{self._shown} has no picture in it")
        opened.streams.video[0].thread_count = 1
        return opened

    def __iter__(self) -> Iterator[Shot]:
        """Raises MediaError where nothing can be decoded, and Unavailable where a live stream ends or falls silent."""
        offset = 0
        while True:
            stream = self._container.streams.video[0]
            aspect = pixel_aspect(stream)
            times = PictureTimes(self._container, stream)
            now: int | None = None
            for frame in self._frames(stream):
                now = times.next_ns(frame)
                matrix = display_matrix(frame)
                rgb = upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), matrix)
                rgb = fit(rgb, *self._size, 1 / aspect if matrix is not None and not matrix[0] else aspect)
                yield Shot(time.time_ns() if self.live else offset + now, rgb)
            if self.live:
                raise Unavailable(f"{self._shown} ended")
            if now is None:
                raise MediaError(f"{self._shown} has no readable image in it")
            if not self._loop:
                return
            together = sounding_ns(self._container)
            offset += together if together > now else now + times.period_ns
            self._container.close()
            self._container = self._open()

    def _frames(self, stream: Any) -> Iterator[Any]:
        """The decoded frames. Packets that cannot be decoded are passed over: at the end of a file that is cut off
        there are many of them, in a live stream those of a few lost network packets."""
        timeout = longest_silence(self._source) if self._address else None
        begin, decoded, failure = time.monotonic(), False, ""
        packets = self._container.demux(stream)
        while True:
            try:
                with reading(self._shown, timeout=timeout):
                    packet = next(packets, None)
            except MediaError as error:
                if self.live or not decoded:
                    raise
                self.damage = str(error)
                return
            if packet is None:
                break
            try:
                with reading(self._shown):
                    frames = packet.decode()
            except MediaError as error:
                frames, failure = [], str(error)
                if self.live and time.monotonic() - begin > UNDECODABLE_S:
                    raise Unavailable(f"{self._shown} sends pictures that cannot be decoded") from None
            for frame in frames:
                begin, decoded = time.monotonic(), True
                yield frame
        if failure and not decoded:
            raise MediaError(f"{self._shown} cannot be decoded: {failure.rpartition(': ')[2]}")
        if failure:
            self.damage = f"a part of {self._shown} cannot be decoded"

    def times(self) -> FilmTimes:
        """Times of the film; decodes its first picture. Raises MediaError where there is none."""
        film, stream = self._container, self._container.streams.video[0]
        first = next(self._frames(stream), None)
        if first is None:
            raise MediaError(f"{self._shown} has no readable image in it")
        stop = None
        stated = film.format.name not in _WITHOUT_LENGTH
        if stated and stream.duration is not None and stream.time_base is not None:
            end = ((stream.start_time or 0) + stream.duration) * stream.time_base
            stop = round(end * 1_000_000_000) - start_ns(film)
        elif stated and film.duration is not None:
            stop = film.duration * 1000
        return FilmTimes(PictureTimes(film, stream).next_ns(first), stop, bool(film.streams.audio))

    def close(self) -> None:
        """Close the file or connection."""
        self._container.close()


def sounding_ns(container: Any) -> int:
    """Length in ns of a film with picture and sound, by its header: both begin again together when it is looped.

    0 where it has only one of them, or no length: each then has its own.
    """
    both = container.streams.video and container.streams.audio
    return round(container.duration * 1000) if both and container.duration else 0


def film_times(path: Path) -> FilmTimes:
    """Times of a film; decodes its first picture. Raises MediaError with one sentence where there is none."""
    with closing(FilmReader(path)) as reader:
        return reader.times()
