"""Films of a session: the camera's images beside a rendered face, with the session's audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.avatar.motion import FaceMotion, Pose
from react_ros.avatar.render import Renderer
from react_ros.bags.audio_format import AudioFormat, third_party_audio
from react_ros.bags.errors import BagError, UnknownAudioFormat
from react_ros.bags.person_topics import audio_info_topic
from react_ros.bags.reader import Bag
from react_ros.bags.timeline import Timeline
from react_ros.face import EXPRESSION_58, FPS, FRAME_NS, ROTATION_58, TRANSLATION_58, Floats
from react_ros.media.film_writer import FilmWriter, Image, Pcm, side_by_side
from react_ros.messages.audio import chunk_from_message
from react_ros.messages.images import image_from_message
from react_ros.messages.types import OUR_AUDIO
from react_ros.perception.front_end import Unstamped
from react_ros.replay.source_stamps import SourceStamps

Progress = Callable[[int, int], None]
HEIGHT = 480
"""Height of a film's panes, px."""
_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Sample rates that a film's audio may have, Hz."""


class Pictures:
    """The images of a topic, each shown from its time on. One image at a time is in memory."""

    def __init__(self, bag: Bag, topic: str, *, by_arrival: bool = False) -> None:
        """by_arrival: an image's time is when the recorder received it, instead of its stamp."""
        self._rest = self._read(bag, topic, by_arrival) if topic else iter(())
        self._next: tuple[int, Any] | None = next(self._rest, None)
        self._shown: Image | None = None
        if self._next is not None:
            with suppress(ValueError):
                self._shown = np.zeros_like(image_from_message(self._next[1]))

    def at(self, now_ns: int) -> Image | None:
        """The newest image before a time; black before the first one, None if the topic has no image.

        now_ns: must not decrease from call to call.
        """
        newest = None
        while self._next is not None and self._next[0] < now_ns:
            newest, self._next = self._next[1], next(self._rest, None)
        if newest is not None:
            with suppress(ValueError):  # keep the image before a broken one
                self._shown = image_from_message(newest)
        return self._shown

    @staticmethod
    def _read(bag: Bag, topic: str, by_arrival: bool) -> Iterator[tuple[int, Any]]:
        stamps = SourceStamps()
        with suppress(BagError):  # a damaged place ends the images
            for m in bag.messages([topic]):
                captured = None if by_arrival else stamps.captured(topic, m.message, m.time_ns)
                yield (m.time_ns if captured is None else captured), m.message


def read_sound(
    bag: Bag, topic: str, timeline: Timeline, audio_format: AudioFormat | None = None
) -> tuple[int, Pcm] | None:
    """A microphone's audio on a timeline: (rate in Hz, (n,) mono int16 of the timeline's length), silence in gaps.

    audio_format: of ros-drivers' audio without an AudioInfo. None where there is no audio, or its rate is not one that
    films support.
    """
    if not topic or not bag.topics[topic].known:
        return None
    info, stamps = audio_info_topic(bag, topic), SourceStamps()
    third_party = None
    if bag.topics[topic].kind != OUR_AUDIO:
        try:
            third_party = third_party_audio(bag, topic, info, audio_format or AudioFormat())
        except UnknownAudioFormat:
            return None
    rate, out = 0, np.zeros(0, np.int16)
    with suppress(BagError):
        for m in bag.messages([t for t in (topic, info) if t]):
            try:
                if m.topic != topic:
                    assert third_party is not None
                    third_party.info(m.message)
                    continue
                audio = m.message if third_party is None or hasattr(m.message, "audio") else Unstamped(m.message)
                chunk = chunk_from_message(audio) if third_party is None else third_party.chunk(audio)
            except (ValueError, AttributeError):
                continue
            if not rate:
                rate = chunk.rate
                out = np.zeros(len(timeline) * rate // FPS, np.int16)
            if chunk.rate != rate or rate not in _RATES:
                continue
            pcm = chunk.pcm.mean(1).astype(np.int16)
            captured = stamps.captured(topic, m.message, m.time_ns)
            stamp = m.time_ns - len(pcm) * 10**9 // rate if captured is None else captured
            _place(pcm, stamp, rate, timeline, out)
    return (rate, out) if rate in _RATES else None


def _place(pcm: Pcm, stamp: int, rate: int, timeline: Timeline, out: Pcm) -> None:
    """Copy audio that begins at a stamp to its place in `out`, in each stretch of the timeline that it overlaps."""
    for begin, end in timeline.stretches:
        low, high = begin * rate // FPS, end * rate // FPS
        at = low + round((stamp - int(timeline.times[begin])) * rate / 1e9)
        first, last = max(at, low), min(at + len(pcm), high)
        if first < last:
            out[first:last] = pcm[first - at : last - at]


def write_film(
    path: Path,
    moments: Sequence[int] | npt.NDArray[np.int64],
    human: Callable[[int], Image | None],
    avatar: Callable[[int], Image | None],
    sound: tuple[int, Pcm] | None,
    progress: Progress = lambda done, total: None,
    captions: tuple[str, str] = ("human", "avatar"),
) -> None:
    """Write a film at 25 Hz: a human's images beside an avatar's, with audio.

    moments: start of each frame, ns since the epoch. human, avatar: called with the end of each frame, ns; None keeps
    what the pane shows. sound: as `read_sound` returns it. Raises FilmError.
    """
    panes: list[Image] = [np.zeros((HEIGHT, HEIGHT * 4 // 3, 3), np.uint8), np.zeros((HEIGHT, HEIGHT, 3), np.uint8)]
    rate, pcm = sound or (None, np.zeros(0, np.int16))
    film: FilmWriter | None = None
    try:
        for k, moment in enumerate(moments):
            for side, image_at in enumerate((human, avatar)):
                image = image_at(int(moment) + FRAME_NS)
                panes[side] = panes[side] if image is None else image
            frame = side_by_side(panes[0], panes[1], HEIGHT, captions)
            if film is None:
                film = FilmWriter(path, FPS, (frame.shape[1], frame.shape[0]), rate)
            film.add_image(_fit(frame, film.size))
            if rate:
                film.add_sound(pcm[k * rate // FPS : (k + 1) * rate // FPS])
            progress(k + 1, len(moments))
    finally:
        if film is not None:
            film.close()


def _fit(frame: Image, size: tuple[int, int]) -> Image:
    """The frame in the film's size, which differs if the camera changed its resolution."""
    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    import cv2

    return np.asarray(cv2.resize(frame, size), np.uint8)


class ReactionRenderer:
    """Renders reactions as the avatar node does, with its motion limits, smoothing and idle life."""

    def __init__(self, faces: Floats, present: npt.NDArray[np.bool_], seed: int = 0) -> None:
        """faces: (T, 58) face model coefficients, one for each call. present: (T,); where False, the face is idle."""
        self._faces, self._present, self._k = faces, present, 0
        self._motion, self._renderer = FaceMotion(seed=seed), Renderer(512, 512)

    def at(self, _now_ns: int) -> Image:
        """The image of the next frame, (512, 512, 3); the time is ignored."""
        face, present = self._faces[self._k], self._present[self._k]
        self._k += 1
        target = Pose(face[EXPRESSION_58], face[ROTATION_58], face[TRANSLATION_58]) if present else None
        return self._renderer.draw(self._motion.step(target, 1.0 / FPS))
