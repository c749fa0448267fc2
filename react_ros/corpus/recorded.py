"""Corpora of recorded conversations of two people, written from the output of the robot's own perception.

A `PersonTrack` is one person on a grid of 25 frames a second; frames k of the two tracks of a session are simultaneous.
`RecordedCorpus` cuts sessions into clips and writes them in the layout of REACT 2024. The clips hold what the live
robot would have received, with three differences, because the layout cannot mark frames without a face:

- a lost face keeps its last values (before the first detection: its first ones) for at most `HOLD_FRAMES`; clips with
  longer gaps, or with too few frames with a face or too little audio, are left out and listed with the reason;
- rotation and translation are relative to the person's rest (the median around the clip), as a listener's reactions
  are. Generators subtract a running mean from a speaker's pose, so their input does not change;
- audio is 16 kHz mono int16, as resampled by the frame clock.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros import __version__
from react_ros.corpus.clips import CLIP_FRAMES, SPLITS, CorpusError, Split
from react_ros.corpus.settings import FILE, read_settings
from react_ros.corpus.writing import (
    ATTRIBUTES,
    FACE_MODEL,
    SOUND,
    VIDEO,
    write_csv,
    write_person,
    write_settings,
    write_split,
)
from react_ros.face import (
    ARKIT_SCHEME,
    FPS,
    FRAME_NS,
    FRAME_SAMPLES,
    ROTATION_58,
    SAMPLE_RATE,
    TRANSLATION_58,
    FaceState,
    Floats,
    SpeakerFrame,
)
from react_ros.face import ATTRIBUTES as ATTRIBUTE_COUNT
from react_ros.face import FACE_MODEL as FACE_MODEL_COUNT
from react_ros.io import atomic_write, private_folder
from react_ros.perception.speaker import SpeakerConfig

HOLD_FRAMES = round(SpeakerConfig().lost_s * FPS)
"""Frames for which a lost face keeps its last values, as it does live; clips with longer gaps are left out."""
LEAST_FACE = 0.8
"""Share of a clip's frames in which each person's face must be detected."""
LEAST_SOUND = 0.8
"""Share of a clip for which there must be audio of each person (silent audio counts)."""
REST_CLIPS = 2
"""A person's rest is the median pose over a clip and this many clips on either side: people shift on their chairs."""

NOTICE = (
    "Real people, recorded: faces, action units and affect as the perception of react_ros derived them, by rule and "
    "unvalidated; nobody annotated them."
)
_RECORDS = "recordings"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_POSE = slice(ROTATION_58.start, TRANSLATION_58.stop)


class _GrowingArray:
    """Rows that can be written in any order; unwritten rows are 0."""

    def __init__(self, width: int, dtype: npt.DTypeLike) -> None:
        self._rows = np.zeros((1024, width), dtype)
        self._used = 0

    def put(self, at: int, rows: npt.NDArray[np.generic]) -> None:
        """Write (n, width) rows from row `at` on."""
        end = at + len(rows)
        if end > len(self._rows):
            grown = np.zeros((end + end // 4, self._rows.shape[1]), self._rows.dtype)
            grown[: self._used] = self._rows[: self._used]
            self._rows = grown
        self._rows[at:end] = rows
        self._used = max(self._used, end)

    def rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """(stop - start, width) copy; 0 beyond the end."""
        out = np.zeros((stop - start, self._rows.shape[1]), self._rows.dtype)
        part = self._rows[start : min(stop, self._used)]
        out[: len(part)] = part
        return out


class PersonTrack:
    """One person on a grid: frame k at start_ns + k * 40 ms. An hour takes about 250 MB.

    Frames and audio are placed by their stamps, so they may come from `from_video.perceive`, from recorded features,
    or from anywhere else.
    """

    def __init__(self, start_ns: int) -> None:
        """start_ns: time of frame 0, on the clock of all stamps; the same for both people of a session."""
        self.start_ns = start_ns
        self.frames = 0
        """Number of frames up to the last one added."""
        self._state = _GrowingArray(1, np.int8)
        self._face_model = _GrowingArray(FACE_MODEL_COUNT, np.float32)
        self._attributes = _GrowingArray(ATTRIBUTE_COUNT, np.float32)
        self._sound = _GrowingArray(1, np.int16)
        self._has_sound = _GrowingArray(1, np.bool_)

    def add_face(self, frame: SpeakerFrame) -> None:
        """Set the face of the grid frame nearest to `frame.stamp_ns`; ignored before frame 0. Its sound is not used."""
        k = (frame.stamp_ns - self.start_ns + FRAME_NS // 2) // FRAME_NS
        if k < 0:
            return
        self._state.put(k, np.array([[frame.face.state]], np.int8))
        self._face_model.put(k, frame.face_model[None])
        self._attributes.put(k, frame.face.attributes[None])
        self.frames = max(self.frames, k + 1)

    def add_sound(self, stamp_ns: int, pcm: Floats, valid: float = 1.0) -> None:
        """Set audio: pcm (n,) at 16 kHz, -1 to 1, the first at stamp_ns; replaces what is there.

        valid: the share of it that was captured; below half, it counts as missing.
        """
        at = round((stamp_ns - self.start_ns) * SAMPLE_RATE / 1e9)
        pcm, at = pcm[max(-at, 0) :], max(at, 0)
        pcm16 = np.clip(np.rint(pcm * 32768.0), -32768, 32767).astype(np.int16)
        self._sound.put(at, pcm16[:, None])
        self._has_sound.put(at, np.full((len(pcm16), 1), valid >= 0.5))

    def truncate(self, frames: int) -> None:
        """Limit the track to this many frames."""
        self.frames = min(self.frames, frames)

    def states(self) -> npt.NDArray[np.int8]:
        """(T,) `FaceState` of each frame; MISSING where none was added."""
        return self._state.rows(0, self.frames)[:, 0]

    def face_model(self) -> Floats:
        """(T, 58) as perceived: translation from the camera; 0 where none was added."""
        return self._face_model.rows(0, self.frames)

    def attributes(self) -> Floats:
        """(T, 25) as perceived."""
        return self._attributes.rows(0, self.frames)

    def sound(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """((stop - start) * 640,) PCM from the time of frame `start` to that of frame `stop`; 0 where it is missing."""
        return self._sound.rows(start * FRAME_SAMPLES, stop * FRAME_SAMPLES)[:, 0]

    def sound_share(self, start: int, stop: int) -> float:
        """The share of the time from frame `start` to frame `stop` for which there is audio."""
        return float(self._has_sound.rows(start * FRAME_SAMPLES, stop * FRAME_SAMPLES).mean())


@dataclass(frozen=True, slots=True)
class DyadRecording:
    """Name and origin of one recorded conversation. Raises ValueError for an impossible name."""

    name: str
    """Unique in a corpus, across splits; part of paths."""
    split: Split = "train"
    site: str = "recorded"
    persons: tuple[str, str] = ("P1", "P2")
    source: str = ""
    """One sentence for the corpus' notice: origin and licence."""
    made_by: str = ""
    """The command, for model cards."""

    def __post_init__(self) -> None:
        for what, name in (("session", self.name), ("site", self.site), *(("person", p) for p in self.persons)):
            if not _NAME.fullmatch(name):
                raise ValueError(f"the {what} {name!r} must be letters, digits, '.', '_', '+' and '-' only")
        if self.split not in SPLITS:
            raise ValueError(f"there is no split {self.split!r}: there are {', '.join(SPLITS)}")
        if self.persons[0] == self.persons[1]:
            raise ValueError(f"both people of {self.name} are called {self.persons[0]}")

    def clip(self, person: int, number: int) -> str:
        """The name of a person's clip in the split's table. person: 0 or 1."""
        return f"{self.site}/{self.name}/{self.persons[person]}/{number}"


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """One clip of a session: coverage of both people, and whether it was written."""

    number: int
    """From 1; clips that are left out are counted."""
    seconds: float
    """Start of the clip after the start of the session."""
    face: tuple[float, float]
    """Share of frames in which each person's face was detected."""
    sound: tuple[float, float]
    """Share of the time for which there is audio of each person."""
    rest: tuple[list[float], list[float]]
    """Each person's rest, subtracted from the pose: pitch, yaw, roll in rad; x, y, z in m from the camera."""
    left_out: str = ""
    """Why the clip was not written; empty where it was."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The result of one session, stored as recordings/NAME.json; the file exists only for finished sessions."""

    session: DyadRecording
    frames: int
    """Frames for which there are both people."""
    clip_frames: int
    least_face: float
    clips: list[ClipRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Further remarks, a sentence each."""

    @property
    def written(self) -> list[ClipRecord]:
        """The clips that are in the corpus."""
        return [clip for clip in self.clips if not clip.left_out]

    @property
    def rest_s(self) -> float:
        """Time at the end that is too short for another clip, s."""
        return (self.frames - len(self.clips) * self.clip_frames) / FPS


def expect_share(least_face: float) -> None:
    """Raise ValueError, in one sentence, unless it is from 0 to 1: called before hours of work."""
    if not 0.0 <= least_face <= 1.0:
        raise ValueError(f"least_face is {least_face:g}: it must be from 0 to 1")


class RecordedCorpus:
    """A corpus to which sessions are added, by any number of processes at once; `finish` writes the tables.

    A session's record is written last, and only sessions with a record are in the tables: a killed process leaves no
    partial session in the corpus, and the session can be written again.
    """

    def __init__(self, root: Path) -> None:
        """root: a new or empty folder, or a corpus of recordings. Raises CorpusError for any other. Writes nothing."""
        self.root = root
        if root.is_dir() and any(root.iterdir()):
            if not (root / FILE).is_file() or not read_settings(root).all.get("recorded"):
                raise CorpusError(f"{root} holds something else than a corpus of recordings: name a new folder")
        elif root.exists() and not root.is_dir():
            raise CorpusError(f"{root} is no folder")

    def begin(self) -> None:
        """Make the folder and its corpus.yaml, if they do not exist. Raises OSError."""
        private_folder(self.root)
        if not (self.root / FILE).is_file():
            write_settings(self.root, _settings([]))

    def has(self, session: str) -> bool:
        """Whether a session of this name is finished."""
        return self._record(session).is_file()

    def records(self) -> list[SessionRecord]:
        """Records of all finished sessions, by site and name. Raises CorpusError for one that cannot be read."""
        found = [_read(path) for path in (self.root / _RECORDS).glob("[!.]*.json")]
        return sorted(found, key=lambda r: (r.session.site, r.session.name))

    def write(
        self,
        session: DyadRecording,
        tracks: tuple[PersonTrack, PersonTrack],
        *,
        least_face: float = LEAST_FACE,
        clip_frames: int = CLIP_FRAMES,
        films: tuple[Path, Path] | None = None,
        notes: Sequence[str] = (),
    ) -> SessionRecord:
        """Cut two people's tracks into clips and write the usable ones.

        least_face: 0 to 1, see `LEAST_FACE`. clip_frames: frames of a clip; training and evaluation expect the default.
        films: for each person a folder with NUMBER.mp4 for each clip, which are moved into the corpus. notes: remarks
        for the record. Frames at the end that do not fill a clip are dropped. A session without usable clips counts as
        finished. Raises CorpusError where the session exists already, or is shorter than one clip; OSError.
        """
        expect_share(least_face)
        if tracks[0].start_ns != tracks[1].start_ns:
            raise ValueError("the two tracks must have the same start_ns")
        self.expect_new(session.name)
        frames = min(track.frames for track in tracks)
        if frames < clip_frames:
            raise CorpusError(
                f"{session.name}: both people are there for {frames / FPS:.2f} s only, but a clip takes "
                f"{clip_frames / FPS:.2f} s"
            )
        self.begin()
        self._clear(session)
        people = [_FilledTrack(track, frames) for track in tracks]
        clips = [_examine(people, i, clip_frames, least_face) for i in range(frames // clip_frames)]
        for clip in clips:
            if not clip.left_out:
                for i, person in enumerate(people):
                    self._write_clip(session, i, clip, person, clip_frames, films and films[i])
        record = SessionRecord(session, frames, clip_frames, least_face, clips, list(notes))
        text = json.dumps(asdict(record), indent=1)
        atomic_write(self._record(session.name), text)
        return record

    def expect_new(self, session: str) -> None:
        """Raise CorpusError where a session of this name is finished."""
        if self.has(session):
            raise CorpusError(f"{self.root} has a session {session} already: give another --session, or another folder")

    def remove(self, session: DyadRecording) -> None:
        """Delete a session; call `finish` to update the tables."""
        self._record(session.name).unlink(missing_ok=True)
        self._clear(session)

    def finish(self) -> list[SessionRecord]:
        """Rewrite the splits' tables, corpus.yaml and left_out.csv from all records; returns the records.

        Raises CorpusError, OSError.
        """
        self.begin()
        with self._lock():
            records = self.records()
            for split in SPLITS:
                pairs = [
                    (r.session.clip(0, clip.number), r.session.clip(1, clip.number))
                    for r in records
                    if r.session.split == split
                    for clip in r.written
                ]
                if pairs:
                    write_split(self.root, split, pairs)
                else:
                    (self.root / f"{split}.csv").unlink(missing_ok=True)
            write_csv(
                self.root / "left_out.csv",
                ["session", "clip", "second", "why"],
                [
                    [r.session.name, clip.number, f"{clip.seconds:.2f}", clip.left_out]
                    for r in records
                    for clip in r.clips
                    if clip.left_out
                ],
            )
            write_settings(self.root, _settings(records))
        return records

    def _record(self, session: str) -> Path:
        return self.root / _RECORDS / f"{session}.json"

    def _clear(self, session: DyadRecording) -> None:
        """Delete the session's files, e.g. those that a killed process left."""
        for split in SPLITS:
            for kind in (SOUND, ATTRIBUTES, FACE_MODEL, VIDEO):
                shutil.rmtree(self.root / split / kind / session.site / session.name, ignore_errors=True)

    def _write_clip(
        self,
        session: DyadRecording,
        i: int,
        clip: ClipRecord,
        person: _FilledTrack,
        clip_frames: int,
        films: Path | None,
    ) -> None:
        start = (clip.number - 1) * clip_frames
        stop = start + clip_frames
        model = person.face_model[start:stop].copy()
        model[:, _POSE] -= np.array(clip.rest[i], np.float32)
        folder, name = self.root / session.split, session.clip(i, clip.number)
        sound = person.track.sound(start, stop)
        write_person(folder, name, person.attributes[start:stop], model, sound, SAMPLE_RATE, occurrences=False)
        if films is not None:
            film = folder / VIDEO / f"{name}.mp4"
            film.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(films / f"{clip.number}.mp4", film)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        folder = self.root / _RECORDS
        folder.mkdir(exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class _FilledTrack:
    """A track in which frames without a face have the last detected one (before the first: the first)."""

    def __init__(self, track: PersonTrack, frames: int) -> None:
        self.track = track
        numbers = np.arange(frames)
        self.seen = track.states()[:frames] >= FaceState.HELD
        """(T,) whether the face was detected or held."""
        last = np.maximum.accumulate(np.where(self.seen, numbers, -1))
        first = int(np.argmax(self.seen)) if self.seen.any() else 0
        source = np.where(last < 0, first, last)
        self.age = np.abs(numbers - source) if self.seen.any() else np.full(frames, frames)
        """(T,) frames since the last detection, before the first one until it."""
        self.face_model = track.face_model()[source]
        self.attributes = track.attributes()[source]

    def rest(self, start: int, stop: int) -> list[float]:
        """(6,) median pose over the frames with a detected face from `start` to `stop`; 0 without any."""
        pose = self.face_model[max(start, 0) : stop, _POSE][self.seen[max(start, 0) : stop]]
        return [round(float(x), 6) for x in np.median(pose, axis=0)] if len(pose) else [0.0] * 6


def _examine(people: Sequence[_FilledTrack], i: int, clip_frames: int, least_face: float) -> ClipRecord:
    start, stop = i * clip_frames, (i + 1) * clip_frames
    face = [float(p.seen[start:stop].mean()) for p in people]
    sound = [p.track.sound_share(start, stop) for p in people]
    around = REST_CLIPS * clip_frames
    rest = [p.rest(start - around, stop + around) for p in people]
    reasons = [
        sentence
        for who, p, f, s in zip(("first", "second"), people, face, sound, strict=True)
        if (sentence := _reason(f"the {who} person", int(p.age[start:stop].max()), f, s, least_face))
    ]
    return ClipRecord(
        i + 1,
        start / FPS,
        (round(face[0], 4), round(face[1], 4)),
        (round(sound[0], 4), round(sound[1], 4)),
        (rest[0], rest[1]),
        "; ".join(reasons),
    )


def _reason(who: str, age: int, face: float, sound: float, least_face: float) -> str:
    """Why a person's clip is unusable; empty where it is usable. age: longest gap without a detected face, frames."""
    if face == 0.0:
        return f"{who} has no face in it"
    if face < least_face:
        return f"the face of {who} is there in {face:.0%} of it only"
    if age > HOLD_FRAMES:
        return f"the face of {who} is away for longer than {HOLD_FRAMES / FPS:g} s at once"
    if sound < LEAST_SOUND:
        return f"there is sound of {who} for {sound:.0%} of it only"
    return ""


def _settings(records: Sequence[SessionRecord]) -> dict[str, Any]:
    sources = dict.fromkeys(r.session.source for r in records if r.session.source)
    commands = dict.fromkeys(r.session.made_by for r in records if r.session.made_by)
    return {
        "layout": "react2024",
        "scheme": ARKIT_SCHEME,
        "fps": FPS,
        "simulated": False,
        "recorded": True,
        "role_swap": True,
        "notice": " ".join([NOTICE, *sources]),
        "made_by": "; ".join(commands),
        "sessions": len(records),
        "perception": {"react_ros": __version__, "mediapipe": version_of("mediapipe")},
    }


def _read(path: Path) -> SessionRecord:
    try:
        stored = json.loads(path.read_text("utf-8"))
        session, clips = stored.pop("session"), stored.pop("clips")
        session["persons"] = tuple(session["persons"])
        return SessionRecord(DyadRecording(**session), clips=[ClipRecord(**clip) for clip in clips], **stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{path} cannot be read as the record of a session: {error}") from None
