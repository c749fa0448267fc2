"""Two films of one conversation to a session of a corpus, seen and heard by the robot's own perception.

The path is the live one: pictures at their own times and sound in blocks of 20 ms go through the frame clock, whose
frames go through `Perception`. Both people's clocks begin at one instant, the first at which both films have a picture.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.corpus.clips import CLIP_FRAMES, CorpusError
from react_ros.corpus.pool import Progress
from react_ros.corpus.recorded import LEAST_FACE, Record, RecordedCorpus, Session, Track, expect_share
from react_ros.face import FPS, FRAME_NS, SpeakerFrame
from react_ros.media.errors import MediaError
from react_ros.media.film_reader import Shot, film_times
from react_ros.media.film_writer import FilmWriter
from react_ros.media.sound_reader import AudioBlock, sound_blocks, sound_rate
from react_ros.messages.stamps import Stages
from react_ros.perception.pipeline import Perception, PerceptionConfig
from react_ros.sensors.camera import CameraConfig, open_camera

START_NS = 1_000_000_000
"""Frame 0 of both people on their clocks, whose times must not be negative: sound begins a little before it."""
_LEAD_NS = 5 * FRAME_NS
"""Sound is heard from so long before frame 0, whose sound ends 40 ms before its picture."""
_STEP_NS = FRAME_NS // 2

Watch = Callable[[ClockFrame], None]


class Perceives(Protocol):
    """What is needed of `Perception`."""

    def reset(self) -> None: ...

    def process(self, frame: ClockFrame) -> tuple[SpeakerFrame, Stages]: ...


@dataclass(frozen=True, slots=True)
class Footage:
    """One person, filmed."""

    film: Path
    sound: Path | None = None
    """A sound file that begins with the film; None: the film's own sound."""
    later_ns: int = 0
    """How much later the film begins than the time that the people of a session share."""


def from_video(
    footage: tuple[Footage, Footage],
    corpus: RecordedCorpus,
    session: Session,
    *,
    least_face: float = LEAST_FACE,
    clip_frames: int = CLIP_FRAMES,
    video: bool = False,
    perceptions: Sequence[Perceives] = (),
    progress: Progress | None = None,
) -> Record:
    """Perceive two people and write their session's clips; the tables are left to `corpus.finish`.

    least_face, clip_frames: see `RecordedCorpus.write`. video: whether the clips' films are written too, 25 frames a
    second, as perception saw them (within 640x480). perceptions: one, for one person after the other, or two, side by
    side in threads; none makes two. progress: told of frames, of about how many. Raises CorpusError, in one sentence,
    for films that cannot be used; MissingAsset for a model that is not there; OSError.
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
    tracks = (Track(START_NS), Track(START_NS))
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
            # Within the corpus, so that they can be moved to their places.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=corpus.root, prefix=".films-")))
            folders = (folder / "0", folder / "1")
            films = [_ClipFilms(place, clip_frames) for place in folders]
            for film in films:
                stack.callback(film.close)
        until = start + common if known else None
        people = [
            _Person(
                perceptions[i % len(perceptions)], footage[i], extents[i], start, until, tracks[i],
                films[i].add if films else None,
            )
            for i in range(2)
        ]  # fmt: skip
        try:
            _run(people, len(perceptions) > 1, 2 * max(common, 0) // FRAME_NS, progress)
        except MediaError as error:
            raise CorpusError(str(error)) from None
        for film in films:
            film.close()
        notes = [sentence for person in people if (sentence := person.breaks_off())]
        return corpus.write(session, tracks, least_face=least_face, clip_frames=clip_frames, films=folders, notes=notes)


def perceive(
    perception: Perceives,
    shots: Iterable[Shot],
    blocks: Iterable[AudioBlock],
    rate: int,
    track: Track,
    watch: Watch | None = None,
) -> None:
    """Let perception see and hear one person from `track.start_ns` to the last picture.

    shots, blocks: in order of their times, which are on the track's own clock; the first shot is what is to be seen at
    the track's start, whatever its time. rate: of the sound, Hz. watch: told of each frame of the clock. The frames
    are those of a live robot whose first image came at that instant.
    """
    clock, start = FrameClock(), track.start_ns
    lag = clock.config.sound_lag_ns
    pictures = iter(shots)
    first = next(pictures, None)
    if first is None:
        return
    last: int | None = None

    def seen() -> Iterator[tuple[int, int, Any]]:
        nonlocal last
        newest = start
        for shot in pictures:
            newest = shot.time_ns
            yield newest, 0, shot
        last = newest

    def heard() -> Iterator[tuple[int, int, Any]]:
        for block in blocks:
            yield block.time_ns + len(block.pcm) * 1_000_000_000 // rate, 1, block

    def take(frames: list[ClockFrame]) -> None:
        for frame in frames:
            if last is None or frame.stamp_ns <= last + FRAME_NS:
                track.see(perception.process(frame)[0])
            track.hear(frame.stamp_ns - lag - FRAME_NS, frame.sound, frame.sound_valid)
            if watch is not None:
                watch(frame)

    now = start - _LEAD_NS
    take(clock.push_image(start, first.image, now))
    for arrival, kind, event in heapq.merge(seen(), heard(), key=lambda e: e[:2]):
        if last is not None and arrival > last + _LEAD_NS:
            break
        while now + _STEP_NS < arrival:  # time passes, whether or not a camera or microphone says anything
            now += _STEP_NS
            take(clock.advance(now))
        now = max(now, arrival)
        if kind == 0:
            take(clock.push_image(event.time_ns, event.image, now))
        else:
            take(clock.push_sound(event.time_ns, event.pcm, rate, event.first_sample, now))
    assert last is not None
    # The sound of the last frames' own time is heard with the two after them.
    for later in range(max(now, last), last + _LEAD_NS + clock.config.image_wait_ns + FRAME_NS, _STEP_NS):
        take(clock.advance(later))
    track.end((last - start) // FRAME_NS + 1)


@dataclass(frozen=True, slots=True)
class _Extent:
    start_ns: int
    """Of the first picture, on the people's shared time."""
    stop_ns: int | None
    """Of the film, where its head tells."""
    rate: int
    """Of the sound, Hz."""


def _extent(footage: Footage) -> _Extent:
    """Raises MediaError for a film or sound that cannot be used."""
    times = film_times(footage.film)
    if footage.sound is None and not times.sound:
        raise MediaError(f"{footage.film} has no sound in it: give a sound file that begins with it")
    rate = sound_rate(footage.sound or footage.film)
    stop = None if times.stop_ns is None else times.stop_ns + footage.later_ns
    return _Extent(times.pictures_ns + footage.later_ns, stop, rate)


class _Person:
    """One of the two at work."""

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
        """start_ns, until_ns: when both people's films have begun, and when the first of them ends, where that is
        known; on the shared time."""
        self._perception, self._footage, self._extent = perception, footage, extent
        self._until, self._track, self._watch = until_ns, track, watch
        self._begin = track.start_ns - start_ns
        """Added to a shared time, it is on the track's clock."""
        self.done = 0
        """Frames."""
        self.stop = False

    def reset(self) -> None:
        """Let perception forget whom it has seen before."""
        self._perception.reset()

    def __call__(self) -> None:
        perceive(self._perception, self._shots(), self._blocks(), self._extent.rate, self._track, self._take)

    def breaks_off(self) -> str:
        """A sentence where the film is shorter than it says."""
        if self._extent.stop_ns is None:
            return ""
        end = self._extent.stop_ns if self._until is None else min(self._extent.stop_ns, self._until)
        missing = (end + self._begin - self._track.start_ns) / 1e9 - self._track.frames / FPS
        return f"{self._footage.film} ends {missing:.1f} s before it says it does" if missing > 1.0 else ""

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
                time = shot.time_ns + self._extent.start_ns + self._begin
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
    """The other thread failed, or somebody pressed Ctrl-C."""


def _run(people: Sequence[_Person], side_by_side: bool, total: int, progress: Progress | None) -> None:
    tell = progress or (lambda _done, _total: None)
    if side_by_side:
        # Not in the threads: while a model is loaded, the process' stderr is turned away.
        for person in people:
            person.reset()

    def work(person: _Person) -> None:
        if not side_by_side:
            person.reset()
        person()

    with ThreadPoolExecutor(2 if side_by_side else 1) as threads:
        futures = [threads.submit(work, person) for person in people]
        try:
            waiting: set[Any] = set(futures)
            while waiting and not any(f.done() and f.exception() for f in futures):
                _, waiting = wait(waiting, timeout=0.2, return_when=FIRST_EXCEPTION)
                done = sum(person.done for person in people)
                tell(min(done, total) if total else done, total or done)
        finally:
            for person in people:
                person.stop = True
            threads.shutdown(wait=True, cancel_futures=True)
    for future in futures:
        if not future.cancelled() and (error := future.exception()) and not isinstance(error, _Stopped):
            raise error


class _ClipFilms:
    """Films of the clips, as perception saw them: FOLDER/NUMBER.mp4."""

    def __init__(self, folder: Path, clip_frames: int) -> None:
        folder.mkdir()
        self._folder, self._clip_frames = folder, clip_frames
        self._count = 0
        self._film: FilmWriter | None = None
        self._image: npt.NDArray[np.uint8] | None = None

    def add(self, frame: ClockFrame) -> None:
        """The next frame; without an image, the last one again."""
        image = self._image if frame.image is None else frame.image
        if image is None:
            image = np.zeros((480, 640, 3), np.uint8)
        self._image = image
        height, width = (n - n % 2 for n in image.shape[:2])
        if self._count % self._clip_frames == 0:
            self.close()
            path = self._folder / f"{self._count // self._clip_frames + 1}.mp4"
            self._film = FilmWriter(path, FPS, (width, height))
        self._count += 1
        assert self._film is not None
        self._film.add_image(np.ascontiguousarray(image[:height, :width]))

    def close(self) -> None:
        """Finish the film that is being written."""
        if self._film is not None:
            self._film.close()
            self._film = None
