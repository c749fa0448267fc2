"""Two real people, recorded: from what the robot's own perception made of each to the clips of a corpus.

A `Track` is one person on a grid of 25 frames a second; frames k of the two tracks of a session are one instant.
`RecordedCorpus` cuts sessions into clips and writes them in the layout of REACT 2024. What it writes is what the live
robot would have been given, with three differences, which files without a "no face" column need:

- a face that is not seen holds its last values (before the first, its first ones) for at most `HOLD_FRAMES`; a clip
  with a longer gap, or with too little of a face or of sound, is left out, and the corpus says which and why;
- rotation and translation are from the person's own rest (the median around the clip), as a listener's are produced.
  A speaker's enter every generator less their own running mean, so nothing of what it is told changes;
- sound is 16 kHz mono, int16: what the clock made of it.
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
from react_ros.corpus.cache import atomically
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
from react_ros.perception.speaker import SpeakerConfig

HOLD_FRAMES = round(SpeakerConfig().lost_s * FPS)
"""How long a lost face keeps its last values, as long as it does live; a longer gap leaves the clip out."""
LEAST_FACE = 0.8
"""Share of a clip's frames in which each person's face must have been seen."""
LEAST_SOUND = 0.8
"""Share of a clip for which there must be sound of each person (silence is sound)."""
REST_CLIPS = 2
"""A person's rest is the median pose over a clip and so many to each side: people shift on their chairs."""

NOTICE = (
    "Real people, recorded: faces, action units and affect as the perception of react_ros derived them, by rule and "
    "unvalidated; nobody annotated them."
)
_RECORDS = "recordings"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_POSE = slice(ROTATION_58.start, TRANSLATION_58.stop)


class _Column:
    """Rows that grow at their end; rows that nobody wrote are 0."""

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
        """(stop - start, width), a copy; 0 beyond the end."""
        out = np.zeros((stop - start, self._rows.shape[1]), self._rows.dtype)
        part = self._rows[start : min(stop, self._used)]
        out[: len(part)] = part
        return out


class Track:
    """One person on a grid: frame k at start_ns + k * 40 ms. An hour of it takes about 250 MB.

    Frames and sound are placed by their stamps, so that they may come from anywhere: from `video.perceive`, or from
    features and sound that somebody recorded.
    """

    def __init__(self, start_ns: int) -> None:
        """start_ns: frame 0, on the same clock as all stamps; the same for both people of a session."""
        self.start_ns = start_ns
        self.frames = 0
        """Frames so far: up to the last that was seen."""
        self._state = _Column(1, np.int8)
        self._face_model = _Column(FACE_MODEL_COUNT, np.float32)
        self._attributes = _Column(ATTRIBUTE_COUNT, np.float32)
        self._sound = _Column(1, np.int16)
        self._heard = _Column(1, np.bool_)

    def see(self, frame: SpeakerFrame) -> None:
        """The face of the grid's frame nearest to `frame.stamp_ns`; before frame 0, nothing. Its sound is not used."""
        k = (frame.stamp_ns - self.start_ns + FRAME_NS // 2) // FRAME_NS
        if k < 0:
            return
        self._state.put(k, np.array([[frame.face.state]], np.int8))
        self._face_model.put(k, frame.face_model[None])
        self._attributes.put(k, frame.face.attributes[None])
        self.frames = max(self.frames, k + 1)

    def hear(self, stamp_ns: int, samples: Floats, valid: float = 1.0) -> None:
        """(n,) samples at 16 kHz, -1 to 1, the first of which was heard at stamp_ns; later ones replace earlier ones.

        valid: the share of them that was really heard; below half, they count as missing.
        """
        at = round((stamp_ns - self.start_ns) * SAMPLE_RATE / 1e9)
        samples, at = samples[max(-at, 0) :], max(at, 0)
        whole = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
        self._sound.put(at, whole[:, None])
        self._heard.put(at, np.full((len(whole), 1), valid >= 0.5))

    def end(self, frames: int) -> None:
        """There are at most so many frames, whatever was seen after them."""
        self.frames = min(self.frames, frames)

    def states(self) -> npt.NDArray[np.int8]:
        """(T,) `FaceState` of each frame; MISSING where none came."""
        return self._state.rows(0, self.frames)[:, 0]

    def face_model(self) -> Floats:
        """(T, 58) as perceived: translation from the camera; 0 where no frame came."""
        return self._face_model.rows(0, self.frames)

    def attributes(self) -> Floats:
        """(T, 25) as perceived."""
        return self._attributes.rows(0, self.frames)

    def sound(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """((stop - start) * 640,) from the instant of frame `start` to that of frame `stop`; 0 where nothing came."""
        return self._sound.rows(start * FRAME_SAMPLES, stop * FRAME_SAMPLES)[:, 0]

    def heard(self, start: int, stop: int) -> float:
        """The share of that time for which there is sound."""
        return float(self._heard.rows(start * FRAME_SAMPLES, stop * FRAME_SAMPLES).mean())


@dataclass(frozen=True, slots=True)
class Session:
    """What a recorded conversation is called, and where it goes. Raises ValueError for what is no name."""

    name: str
    """Of its folder; one of a kind in a corpus, whatever the split."""
    split: Split = "train"
    site: str = "recorded"
    persons: tuple[str, str] = ("P1", "P2")
    source: str = ""
    """One sentence for the corpus' notice: where it comes from, its licence."""
    made_by: str = ""
    """The command, for cards."""

    def __post_init__(self) -> None:
        for what, name in (("session", self.name), ("site", self.site), *(("person", p) for p in self.persons)):
            if not _NAME.fullmatch(name):
                raise ValueError(f"the {what} {name!r} must be letters, digits, '.', '_', '+' and '-' only")
        if self.split not in SPLITS:
            raise ValueError(f"there is no split {self.split!r}: there are {', '.join(SPLITS)}")
        if self.persons[0] == self.persons[1]:
            raise ValueError(f"both people of {self.name} are called {self.persons[0]}")

    def clip(self, person: int, number: int) -> str:
        """A clip's name, as the split's table has it."""
        return f"{self.site}/{self.name}/{self.persons[person]}/{number}"


@dataclass(frozen=True, slots=True)
class Cut:
    """One clip of a session: what there was of both people in it."""

    number: int
    """From 1; those that were left out are counted."""
    seconds: float
    """When it begins, after the session's start."""
    face: tuple[float, float]
    """Share of frames in which each person's face was seen."""
    sound: tuple[float, float]
    """Share of the time for which there is sound of each."""
    rest: tuple[list[float], list[float]]
    """Each person's rest, which was taken off the pose: pitch, yaw, roll in rad, x, y, z in m from the camera."""
    left_out: str = ""
    """Why it was not written; empty where it was."""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one session; kept as recordings/NAME.json, whose presence says that the session is finished."""

    session: Session
    frames: int
    """That both people have."""
    clip_frames: int
    least_face: float
    clips: list[Cut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What else somebody should know, a sentence each."""

    @property
    def written(self) -> list[Cut]:
        """The clips that are in the corpus."""
        return [cut for cut in self.clips if not cut.left_out]

    @property
    def rest_s(self) -> float:
        """What was too short for another clip, s."""
        return (self.frames - len(self.clips) * self.clip_frames) / FPS


def expect_share(least_face: float) -> None:
    """Raises ValueError, in one sentence, for what is no share: before hours of work rather than after."""
    if not 0.0 <= least_face <= 1.0:
        raise ValueError(f"least_face is {least_face:g}: it must be from 0 to 1")


class RecordedCorpus:
    """A folder that grows by sessions. Any number of processes may add sessions at once; `finish` makes the tables.

    A session's clips count once its record is there, which comes last: whoever is killed leaves nothing half done that
    a reader would see, and the session can be written again.
    """

    def __init__(self, root: Path) -> None:
        """root: a new or empty folder, or one that this class has made. Raises CorpusError for any other.

        Nothing is written before there is something to be written.
        """
        self.root = root
        if root.is_dir() and any(root.iterdir()):
            if not (root / FILE).is_file() or not read_settings(root).all.get("recorded"):
                raise CorpusError(f"{root} holds something else than a corpus of recordings: name a new folder")
        elif root.exists() and not root.is_dir():
            raise CorpusError(f"{root} is no folder")

    def begin(self) -> None:
        """Make the folder, if it is not there. Raises OSError."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not (self.root / FILE).is_file():
            write_settings(self.root, _settings([]))

    def has(self, session: str) -> bool:
        """Whether a session of this name is finished."""
        return self._record(session).is_file()

    def records(self) -> list[Record]:
        """Of all finished sessions, by site and name. Raises CorpusError for one that cannot be read."""
        found = [_read(path) for path in (self.root / _RECORDS).glob("[!.]*.json")]
        return sorted(found, key=lambda r: (r.session.site, r.session.name))

    def write(
        self,
        session: Session,
        tracks: tuple[Track, Track],
        *,
        least_face: float = LEAST_FACE,
        clip_frames: int = CLIP_FRAMES,
        films: tuple[Path, Path] | None = None,
        notes: Sequence[str] = (),
    ) -> Record:
        """Cut two people's tracks into clips and write those that can be used.

        least_face: 0 to 1, see `LEAST_FACE`. clip_frames: frames of a clip; training and evaluation expect the default.
        films: for each person a folder with NUMBER.mp4 for each clip, which are moved into the corpus.
        notes: what else the record is to say.
        What is shorter than a clip at the end is not written. A session of which no clip can be used is finished too.
        Raises CorpusError where there is such a session already, and where the two are shorter than one clip; OSError.
        """
        expect_share(least_face)
        if tracks[0].start_ns != tracks[1].start_ns:
            raise ValueError("the two tracks must be on one grid: their frames 0 are at different instants")
        self.expect_new(session.name)
        frames = min(track.frames for track in tracks)
        if frames < clip_frames:
            raise CorpusError(
                f"{session.name}: both people are there for {frames / FPS:.2f} s only, but a clip takes "
                f"{clip_frames / FPS:.2f} s"
            )
        self.begin()
        self._clear(session)
        people = [_Person(track, frames) for track in tracks]
        cuts = [_cut(people, i, clip_frames, least_face) for i in range(frames // clip_frames)]
        for cut in cuts:
            if not cut.left_out:
                for i, person in enumerate(people):
                    self._write_clip(session, i, cut, person, clip_frames, films and films[i])
        record = Record(session, frames, clip_frames, least_face, cuts, list(notes))
        text = json.dumps(asdict(record), indent=1)
        atomically(self._record(session.name), lambda file: file.write(text.encode()))
        return record

    def expect_new(self, session: str) -> None:
        """Raises CorpusError where a session of this name is finished."""
        if self.has(session):
            raise CorpusError(f"{self.root} has a session {session} already: give another --session, or another folder")

    def forget(self, session: Session) -> None:
        """Take a session out again; `finish` then takes it out of the tables."""
        self._record(session.name).unlink(missing_ok=True)
        self._clear(session)

    def finish(self) -> list[Record]:
        """Write the splits' tables, corpus.yaml and left_out.csv anew from all records, which are returned.

        Raises CorpusError, OSError.
        """
        self.begin()
        with self._alone():
            records = self.records()
            for split in SPLITS:
                pairs = [
                    (r.session.clip(0, cut.number), r.session.clip(1, cut.number))
                    for r in records
                    if r.session.split == split
                    for cut in r.written
                ]
                if pairs:
                    write_split(self.root, split, pairs)
                else:
                    (self.root / f"{split}.csv").unlink(missing_ok=True)
            write_csv(
                self.root / "left_out.csv",
                ["session", "clip", "second", "why"],
                [
                    [r.session.name, cut.number, f"{cut.seconds:.2f}", cut.left_out]
                    for r in records
                    for cut in r.clips
                    if cut.left_out
                ],
            )
            write_settings(self.root, _settings(records))
        return records

    def _record(self, session: str) -> Path:
        return self.root / _RECORDS / f"{session}.json"

    def _clear(self, session: Session) -> None:
        """What a killed process left of this session."""
        for split in SPLITS:
            for kind in (SOUND, ATTRIBUTES, FACE_MODEL, VIDEO):
                shutil.rmtree(self.root / split / kind / session.site / session.name, ignore_errors=True)

    def _write_clip(
        self, session: Session, i: int, cut: Cut, person: _Person, clip_frames: int, films: Path | None
    ) -> None:
        start = (cut.number - 1) * clip_frames
        stop = start + clip_frames
        model = person.face_model[start:stop].copy()
        model[:, _POSE] -= np.array(cut.rest[i], np.float32)
        folder, name = self.root / session.split, session.clip(i, cut.number)
        sound = person.track.sound(start, stop)
        write_person(folder, name, person.attributes[start:stop], model, sound, SAMPLE_RATE, occurrences=False)
        if films is not None:
            film = folder / VIDEO / f"{name}.mp4"
            film.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(films / f"{cut.number}.mp4", film)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = self.root / _RECORDS
        folder.mkdir(exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class _Person:
    """A track of which every frame has a face: the last one seen."""

    def __init__(self, track: Track, frames: int) -> None:
        self.track = track
        numbers = np.arange(frames)
        self.seen = track.states()[:frames] >= FaceState.HELD
        """(T,)."""
        last = np.maximum.accumulate(np.where(self.seen, numbers, -1))
        first = int(np.argmax(self.seen)) if self.seen.any() else 0
        source = np.where(last < 0, first, last)
        self.age = np.abs(numbers - source) if self.seen.any() else np.full(frames, frames)
        """(T,) frames since (at the beginning: until) the face was seen."""
        self.face_model = track.face_model()[source]
        self.attributes = track.attributes()[source]

    def rest(self, start: int, stop: int) -> list[float]:
        """(6,) median pose of the frames in which the face was seen; 0 without any."""
        pose = self.face_model[max(start, 0) : stop, _POSE][self.seen[max(start, 0) : stop]]
        return [round(float(x), 6) for x in np.median(pose, axis=0)] if len(pose) else [0.0] * 6


def _cut(people: Sequence[_Person], i: int, clip_frames: int, least_face: float) -> Cut:
    start, stop = i * clip_frames, (i + 1) * clip_frames
    face = [float(p.seen[start:stop].mean()) for p in people]
    sound = [p.track.heard(start, stop) for p in people]
    around = REST_CLIPS * clip_frames
    rest = [p.rest(start - around, stop + around) for p in people]
    why = [
        sentence
        for who, p, f, s in zip(("first", "second"), people, face, sound, strict=True)
        if (sentence := _reason(f"the {who} person", int(p.age[start:stop].max()), f, s, least_face))
    ]
    return Cut(
        i + 1,
        start / FPS,
        (round(face[0], 4), round(face[1], 4)),
        (round(sound[0], 4), round(sound[1], 4)),
        (rest[0], rest[1]),
        "; ".join(why),
    )


def _reason(who: str, age: int, face: float, sound: float, least_face: float) -> str:
    """Why a person's clip cannot be used, or nothing. age: most frames since the face was seen."""
    if face == 0.0:
        return f"{who} has no face in it"
    if face < least_face:
        return f"the face of {who} is there in {face:.0%} of it only"
    if age > HOLD_FRAMES:
        return f"the face of {who} is away for longer than {HOLD_FRAMES / FPS:g} s at once"
    if sound < LEAST_SOUND:
        return f"there is sound of {who} for {sound:.0%} of it only"
    return ""


def _settings(records: Sequence[Record]) -> dict[str, Any]:
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


def _read(path: Path) -> Record:
    try:
        said = json.loads(path.read_text("utf-8"))
        session, clips = said.pop("session"), said.pop("clips")
        session["persons"] = tuple(session["persons"])
        return Record(Session(**session), clips=[Cut(**clip) for clip in clips], **said)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{path} cannot be read as the record of a session: {error}") from None
