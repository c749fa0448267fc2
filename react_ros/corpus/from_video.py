"""Imports two video files of one conversation as a session of a recorded corpus, with the robot's own perception.

The path is the live one: images at their timestamps and audio in blocks of 20 ms go through the frame clock, whose
frames go through `Perception`. Both people's clocks begin at the first time at which both videos have an image.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.corpus.clips import CLIP_FRAMES, CorpusError
from react_ros.corpus.pool import Progress
from react_ros.corpus.recorded import (
    LEAST_FACE,
    DyadRecording,
    PersonTrack,
    RecordedCorpus,
    SessionRecord,
    expect_share,
)
from react_ros.face import FPS, FRAME_NS, SAMPLE_RATE, Floats, SpeakerFrame
from react_ros.media.errors import MediaError
from react_ros.media.film_reader import Shot, film_times
from react_ros.media.film_writer import FilmError, FilmWriter
from react_ros.media.picture_shape import framed
from react_ros.media.sound_reader import AudioBlock, sound_blocks, sound_rate
from react_ros.messages.stamps import Stages
from react_ros.perception.pipeline import Perception, PerceptionConfig
from react_ros.sensors.camera import CameraConfig, open_camera

START_NS = 1_000_000_000
"""Time of frame 0 on both people's clocks: above 0, because audio begins earlier and times must not be negative."""
_LEAD_NS = 5 * FRAME_NS
"""Audio is read from this long before frame 0, whose audio ends 40 ms before its image."""
_STEP_NS = FRAME_NS // 2

Watch = Callable[[ClockFrame], None]


class Perceives(Protocol):
    """The interface of `Perception` that is used here."""

    def reset(self) -> None: ...

    def process(self, frame: ClockFrame) -> tuple[SpeakerFrame, Stages]: ...


class Track(Protocol):
    """What perceived frames and audio are added to: a `PersonTrack`, or the part of it that is used here."""

    start_ns: int
    frames: int

    def add_face(self, frame: SpeakerFrame) -> None: ...

    def add_sound(self, stamp_ns: int, pcm: Floats, valid: float = 1.0) -> None: ...

    def truncate(self, frames: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Footage:
    """The video of one person."""

    film: Path
    sound: Path | None = None
    """An audio file that begins with the video; None: the audio of the video file."""
    later_ns: int = 0
    """Start of the video on the shared time of the session."""


def from_video(
    footage: tuple[Footage, Footage],
    corpus: RecordedCorpus,
    session: DyadRecording,
    *,
    least_face: float = LEAST_FACE,
    clip_frames: int = CLIP_FRAMES,
    video: bool = False,
    perceptions: Sequence[Perceives] = (),
    progress: Progress | None = None,
) -> SessionRecord:
    """Perceive two people and write their session's clips; call `corpus.finish` afterwards.

    least_face, clip_frames: see `RecordedCorpus.write`. video: also write the clips' videos, 25 frames a second, as
    perception received them (at most 640x480). perceptions: one, to process the people one after the other, or two, in
    parallel threads; none: two are made. progress: called with (frames done, frames in all, estimated). Raises
    CorpusError, in one sentence, for unusable videos; MissingAsset for a missing model; OSError.
    """
    expect_share(least_face)
    corpus.expect_new(session.name)
    try:
        extents = [_extent(f) for f in footage]
    except MediaError as error:
        raise CorpusError(str(error)) from None
    start = max(e.start_ns for e in extents)
    common = min((e.stop_ns for e in extents if e.stop_ns is not None), default=start) - start
    known = all(e.stop_ns is not None for e in extents)
    if known and common < clip_frames * FRAME_NS - FRAME_NS // 2:
        raise CorpusError(
            f"{footage[0].film} and {footage[1].film} show both people for {max(common, 0) / 1e9:.2f} s only, but a "
            f"clip takes {clip_frames / FPS:.2f} s"
        )
    tracks = (PersonTrack(START_NS), PersonTrack(START_NS))
    with ExitStack() as stack:
        if not perceptions:
            made = [Perception(PerceptionConfig(deterministic=True)) for _ in footage]
            for perception in made:
                stack.callback(perception.close)
            perceptions = made
        folders: tuple[Path, Path] | None = None
        films: list[_ClipFilms] = []
        if video:
            corpus.begin()
            # Inside the corpus, on the same file system, so that they can be moved.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=corpus.root, prefix=".films-")))
            folders = (folder / "0", folder / "1")
            films = [_ClipFilms(place, clip_frames) for place in folders]
            for film in films:
                stack.callback(film.close)
        until = start + common if known else None
        people = [
            _PersonRun(
                perceptions[i % len(perceptions)], footage[i], extents[i], start, until, tracks[i],
                films[i].add if films else None,
            )
            for i in range(2)
        ]  # fmt: skip
        try:
            _run(people, len(perceptions) > 1, 2 * max(common, 0) // FRAME_NS, progress)
        except (MediaError, FilmError) as error:
            raise CorpusError(str(error)) from None
        for film in films:
            film.close()
        notes = [sentence for person in people if (sentence := person.truncation())]
        return corpus.write(session, tracks, least_face=least_face, clip_frames=clip_frames, films=folders, notes=notes)


def perceive(
    perception: Perceives,
    shots: Iterable[Shot],
    blocks: Iterable[AudioBlock],
    rate: int,
    track: Track,
    watch: Watch | None = None,
) -> None:
    """Perceive one person from `track.start_ns` to the last image, into the track.

    shots, blocks: sorted by time, on the track's clock; the first shot is shown at the track's start, whatever its
    time. rate: of the audio, Hz. watch: called with each frame of the clock. The frames are those of a live robot
    that received its first image at the track's start.
    """
    clock, start = FrameClock(), track.start_ns
    lag = clock.config.sound_lag_ns
    pictures = iter(shots)
    first = next(pictures, None)
    if first is None:
        return
    last: int | None = None

    def image_events() -> Iterator[tuple[int, int, Any]]:
        nonlocal last
        newest = start
        for shot in pictures:
            newest = shot.time_ns
            yield newest, 0, shot
        last = newest

    def sound_events() -> Iterator[tuple[int, int, Any]]:
        for block in blocks:
            yield block.time_ns + len(block.pcm) * 1_000_000_000 // rate, 1, block

    def take(frames: list[ClockFrame]) -> None:
        for frame in frames:
            if last is None or frame.stamp_ns <= last + FRAME_NS:
                track.add_face(perception.process(frame)[0])
            track.add_sound(frame.stamp_ns - lag - FRAME_NS, frame.sound, frame.sound_valid)
            if watch is not None:
                watch(frame)

    now = start - _LEAD_NS
    take(clock.push_image(start, first.image, now))
    for arrival, kind, event in heapq.merge(image_events(), sound_events(), key=lambda e: e[:2]):
        if last is not None and arrival > last + _LEAD_NS:
            break
        while now + _STEP_NS < arrival:  # advance the clock while no data arrive
            now += _STEP_NS
            take(clock.advance(now))
        now = max(now, arrival)
        if kind == 0:
            take(clock.push_image(event.time_ns, event.image, now))
        else:
            take(clock.push_sound(event.time_ns, event.pcm, rate, event.first_sample, now))
    assert last is not None
    # The audio of a frame's own time arrives with the two frames after it.
    for later in range(max(now, last), last + _LEAD_NS + clock.config.image_wait_ns + FRAME_NS, _STEP_NS):
        take(clock.advance(later))
    track.truncate((last - start) // FRAME_NS + 1)


def film_frames(film: Path, perception: Perceives | None = None, sound: Path | None = None) -> list[SpeakerFrame]:
    """The speaker frames of one film, numbered and stamped from 0, as a live robot before it would perceive them.

    perception: None: one is made. sound: an audio file that begins with the film; None: the film's own, where it has
    any. Raises MediaError for a film or sound that cannot be read, MissingAsset for a missing model.
    """
    footage = Footage(film, sound)
    extent, track = _extent(footage, silent=True), _FrameTrack(START_NS)
    with ExitStack() as stack:
        if perception is None:
            made = Perception(PerceptionConfig(deterministic=True))
            stack.callback(made.close)
            perception = made
        person = _PersonRun(perception, footage, extent, extent.start_ns, None, track, None)
        person.reset()
        person()
    return [replace(f, index=k, stamp_ns=k * FRAME_NS) for k, f in enumerate(track.kept)]


class _FrameTrack:
    """Keeps the perceived frames themselves."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns, self.frames = start_ns, 0
        self.kept: list[SpeakerFrame] = []

    def add_face(self, frame: SpeakerFrame) -> None:
        if frame.stamp_ns >= self.start_ns - FRAME_NS // 2:
            self.kept.append(frame)
            self.frames += 1

    def add_sound(self, stamp_ns: int, pcm: Floats, valid: float = 1.0) -> None:
        return

    def truncate(self, frames: int) -> None:
        self.kept = self.kept[:frames]
        self.frames = len(self.kept)


@dataclass(frozen=True, slots=True)
class _Extent:
    start_ns: int
    """Time of the first image, on the shared time."""
    stop_ns: int | None
    """End of the video on the shared time, if its header states it."""
    rate: int
    """Sample rate of the audio, Hz; 0: there is none."""


def _extent(footage: Footage, *, silent: bool = False) -> _Extent:
    """Raises MediaError for a film or sound that cannot be used. silent: whether it may be without sound."""
    times = film_times(footage.film)
    if footage.sound is None and not times.sound:
        if silent:
            return _Extent(times.pictures_ns + footage.later_ns, None, 0)
        raise MediaError(f"{footage.film} has no sound in it: give a sound file that begins with it")
    rate = sound_rate(footage.sound or footage.film)
    stop = None if times.stop_ns is None else times.stop_ns + footage.later_ns
    return _Extent(times.pictures_ns + footage.later_ns, stop, rate)


class _PersonRun:
    """The processing of one person."""

    def __init__(
        self,
        perception: Perceives,
        footage: Footage,
        extent: _Extent,
        start_ns: int,
        until_ns: int | None,
        track: Track,
        watch: Watch | None,
    ) -> None:
        """start_ns, until_ns: when both videos have begun, and the end of the shorter one if known; shared time."""
        self._perception, self._footage, self._extent = perception, footage, extent
        self._until, self._track, self._watch = until_ns, track, watch
        self._begin = track.start_ns - start_ns
        """Offset from the shared time to the track's clock."""
        self.done = 0
        """Number of frames."""
        self.stop = False

    def reset(self) -> None:
        """Reset the state of perception."""
        self._perception.reset()

    def __call__(self) -> None:
        blocks, rate = (self._blocks(), self._extent.rate) if self._extent.rate else ((), SAMPLE_RATE)
        perceive(self._perception, self._shots(), blocks, rate, self._track, self._take)

    def truncation(self) -> str:
        """A sentence where the video is more than 1 s shorter than its header states; else empty."""
        if self._extent.stop_ns is None:
            return ""
        end = self._extent.stop_ns if self._until is None else min(self._extent.stop_ns, self._until)
        missing = (end + self._begin - self._track.start_ns) / 1e9 - self._track.frames / FPS
        return f"{self._footage.film} ends {missing:.1f} s earlier than its header states" if missing > 1.0 else ""

    def _take(self, frame: ClockFrame) -> None:
        self.done += 1
        if self.stop:
            raise _Stopped
        if self._watch is not None:
            self._watch(frame)

    def _shots(self) -> Iterator[Shot]:
        camera = open_camera(CameraConfig(str(self._footage.film.absolute())))
        at_start: Shot | None = None
        try:
            for shot in camera:
                time = shot.time_ns + self._footage.later_ns + self._begin
                if self.stop:
                    raise _Stopped
                if self._until is not None and time > self._until + self._begin:
                    break
                if time <= self._track.start_ns:
                    at_start = shot
                    continue
                if at_start is not None:
                    yield Shot(self._track.start_ns, at_start.image)
                    at_start = None
                yield Shot(time, shot.image)
            if at_start is not None:
                yield Shot(self._track.start_ns, at_start.image)
        finally:
            camera.close()

    def _blocks(self) -> Iterator[AudioBlock]:
        for block in sound_blocks(self._footage.sound or self._footage.film):
            time = block.time_ns + self._footage.later_ns + self._begin
            if time >= self._track.start_ns - _LEAD_NS:
                yield AudioBlock(time, block.first_sample, block.pcm)


class _Stopped(Exception):
    """The other thread failed, or Ctrl-C was pressed."""


def _run(people: Sequence[_PersonRun], parallel: bool, total: int, progress: Progress | None) -> None:
    report = progress or (lambda _done, _total: None)
    if parallel:
        # Not in the threads: loading a model redirects the stderr of the process.
        for person in people:
            person.reset()

    def work(person: _PersonRun) -> None:
        if not parallel:
            person.reset()
        person()

    with ThreadPoolExecutor(2 if parallel else 1) as threads:
        futures = [threads.submit(work, person) for person in people]
        try:
            waiting: set[Any] = set(futures)
            while waiting and not any(f.done() and f.exception() for f in futures):
                _, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
                done = sum(person.done for person in people)
                report(min(done, total) if total else done, total or done)
        finally:
            for person in people:
                person.stop = True
            threads.shutdown(wait=True, cancel_futures=True)
    for future in futures:
        if not future.cancelled() and (error := future.exception()) and not isinstance(error, _Stopped):
            raise error


class _ClipFilms:
    """Writes the clips' videos, as perception received them: FOLDER/NUMBER.mp4."""

    def __init__(self, folder: Path, clip_frames: int) -> None:
        folder.mkdir()
        self._folder, self._clip_frames = folder, clip_frames
        self._count = 0
        self._film: FilmWriter | None = None
        self._image: npt.NDArray[np.uint8] | None = None

    def add(self, frame: ClockFrame) -> None:
        """Add a frame; one without an image repeats the last image."""
        image = self._image if frame.image is None else frame.image
        if image is None:
            image = np.zeros((480, 640, 3), np.uint8)
        self._image = image
        if self._count % self._clip_frames == 0:
            self.close()
            path = self._folder / f"{self._count // self._clip_frames + 1}.mp4"
            height, width = (max(n - n % 2, 16) for n in image.shape[:2])
            self._film = FilmWriter(path, FPS, (width, height))
        self._count += 1
        assert self._film is not None
        self._film.add_image(framed(image, *self._film.size))

    def close(self) -> None:
        """Finish the current file."""
        if self._film is not None:
            self._film.close()
            self._film = None
