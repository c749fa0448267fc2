"""Films of a session: what the camera saw beside a face, each at its time, with the session's sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.avatar.motion import FaceMotion, Pose
from react_ros.avatar.render import Renderer
from react_ros.bags.errors import BagError
from react_ros.bags.inputs import topics_of
from react_ros.bags.reader import Bag
from react_ros.bags.timeline import Timeline
from react_ros.face import EXPRESSION_58, FPS, FRAME_NS, ROTATION_58, TRANSLATION_58, Floats
from react_ros.media.film_writer import FilmWriter, Image, Pcm, side_by_side
from react_ros.messages.audio import ThirdPartyAudio, chunk_from_message
from react_ros.messages.images import image_from_message
from react_ros.messages.stamps import nanoseconds
from react_ros.messages.types import AUDIO_INFO, OUR_AUDIO

Progress = Callable[[int, int], None]
HEIGHT = 480
"""px of a film's panes."""
_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Hz that a film's sound may have."""


class Pictures:
    """The pictures of a topic, each shown from its time on; one at a time is in memory."""

    def __init__(self, bag: Bag, topic: str, *, by_arrival: bool = False) -> None:
        """by_arrival: whether a picture's time is when the recorder had it, and not its stamp."""
        self._coming = self._read(bag, topic, by_arrival) if topic else iter(())
        self._next: tuple[int, Any] | None = next(self._coming, None)
        self._shown: Image | None = None
        if self._next is not None:
            with suppress(ValueError):
                self._shown = np.zeros_like(image_from_message(self._next[1]))

    def at(self, now_ns: int) -> Image | None:
        """The newest picture from before a time, which never falls from call to call; before the first it is black.

        None where the topic has no picture.
        """
        newest = None
        while self._next is not None and self._next[0] < now_ns:
            newest, self._next = self._next[1], next(self._coming, None)
        if newest is not None:
            with suppress(ValueError):  # a broken picture: the one before stays
                self._shown = image_from_message(newest)
        return self._shown

    @staticmethod
    def _read(bag: Bag, topic: str, by_arrival: bool) -> Iterator[tuple[int, Any]]:
        with suppress(BagError):  # a damaged place ends the pictures
            for m in bag.messages([topic]):
                yield (m.time_ns if by_arrival else nanoseconds(m.message.header.stamp)), m.message


def read_sound(bag: Bag, topic: str, timeline: Timeline) -> tuple[int, Pcm] | None:
    """(rate in Hz, (n,) mono): a microphone's sound laid at the times of its stamps, silence between; as long as the
    timeline. None without any, or at a rate that no film takes."""
    if not topic:
        return None
    infos = topics_of(bag, AUDIO_INFO)
    foreign = None if bag.topics[topic].kind == OUR_AUDIO else ThirdPartyAudio()
    rate, out = 0, np.zeros(0, np.int16)
    with suppress(BagError):
        for m in bag.messages([topic, *(infos if foreign else ())]):
            try:
                if m.topic != topic:
                    assert foreign is not None
                    foreign.info(m.message)
                    continue
                chunk = chunk_from_message(m.message) if foreign is None else foreign.chunk(m.message)
            except (ValueError, AttributeError):
                continue
            if not rate:
                rate = chunk.rate
                out = np.zeros(len(timeline) * rate // FPS, np.int16)
            if chunk.rate != rate or rate not in _RATES:
                continue
            samples = chunk.pcm.mean(1).astype(np.int16)
            stamped = hasattr(m.message, "header")
            stamp = nanoseconds(m.message.header.stamp) if stamped else m.time_ns - len(samples) * 10**9 // rate
            _lay(samples, stamp, rate, timeline, out)
    return (rate, out) if rate in _RATES else None


def _lay(samples: Pcm, stamp: int, rate: int, timeline: Timeline, out: Pcm) -> None:
    for begin, end in timeline.stretches:
        low, high = begin * rate // FPS, end * rate // FPS
        at = low + round((stamp - int(timeline.times[begin])) * rate / 1e9)
        first, last = max(at, low), min(at + len(samples), high)
        if first < last:
            out[first:last] = samples[first - at : last - at]


def write_film(
    path: Path,
    moments: Sequence[int] | npt.NDArray[np.int64],
    human: Callable[[int], Image | None],
    avatar: Callable[[int], Image | None],
    sound: tuple[int, Pcm] | None,
    progress: Progress = lambda done, total: None,
    captions: tuple[str, str] = ("human", "avatar"),
) -> None:
    """A film of so many frames; what is shown in each is asked for with the time of its end, ns.

    human, avatar: None leaves a pane empty. sound: as `read_sound` gives it. Raises FilmError.
    """
    panes: list[Image] = [np.zeros((HEIGHT, HEIGHT * 4 // 3, 3), np.uint8), np.zeros((HEIGHT, HEIGHT, 3), np.uint8)]
    rate, samples = sound or (None, np.zeros(0, np.int16))
    film: FilmWriter | None = None
    try:
        for k, moment in enumerate(moments):
            for side, ask in enumerate((human, avatar)):
                shown = ask(int(moment) + FRAME_NS)
                panes[side] = panes[side] if shown is None else shown
            frame = side_by_side(panes[0], panes[1], HEIGHT, captions)
            if film is None:
                film = FilmWriter(path, FPS, (frame.shape[1], frame.shape[0]), rate)
            film.add_image(_fit(frame, film.size))
            if rate:
                film.add_sound(samples[k * rate // FPS : (k + 1) * rate // FPS])
            progress(k + 1, len(moments))
    finally:
        if film is not None:
            film.close()


def _fit(frame: Image, size: tuple[int, int]) -> Image:
    """The frame itself, but for a camera that changed its size on the way."""
    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    import cv2

    return np.asarray(cv2.resize(frame, size), np.uint8)


class ReactionRenderer:
    """A face that wears a row of reactions as the avatar would: its limits, its smoothing, its idle life."""

    def __init__(self, faces: Floats, there: npt.NDArray[np.bool_], seed: int = 0) -> None:
        """faces: (T, 58), worn one a call; there: (T,), where not, the face lives by itself."""
        self._faces, self._there, self._k = faces, there, 0
        self._motion, self._renderer = FaceMotion(seed=seed), Renderer(512, 512)

    def at(self, _now_ns: int) -> Image:
        """The next frame's picture."""
        face, there = self._faces[self._k], self._there[self._k]
        self._k += 1
        target = Pose(face[EXPRESSION_58], face[ROTATION_58], face[TRANSLATION_58]) if there else None
        return self._renderer.draw(self._motion.step(target, 1.0 / FPS))
