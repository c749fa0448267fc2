"""Clips of speakers: from npz files, films, bags and corpora; and what a listener has before it in each condition."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from react_ros.config import load_yaml
from react_ros.corpus.clips import Split
from react_ros.evaluation.behaviour.responsiveness import CONDITIONS, Intervals, SpeakerTrack
from react_ros.face import (
    ATTRIBUTES,
    FPS,
    FRAME_NS,
    FRAME_SAMPLES,
    Face,
    FaceState,
    Sound,
    SoundState,
    SpeakerFrame,
)
from react_ros.io import atomic_write, private_folder, sha256, sha256_of

FILMS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
FOOTAGE = "footage"
"""In place of a path: the films of real people that the demo and the tests use."""
LABELS = "clips.yaml"
"""In a folder of clips: NAME: {person: NAME, distress: [[from, to], …]}, s; both may be left out."""
CLIP_FRAMES = 750
"""Length into which bags are cut, frames; a rest of at least 10 s is a clip. Most frames of a corpus' clip."""
LEAST_FRAMES = 50
"""Shorter clips are left out."""

Progress = Callable[[float, float | None], None]

_WIDTHS = {"blendshapes": 52, "rotation": 3, "translation": 3, "attributes": ATTRIBUTES, "mfcc": 26, "mfcc_delta": 26}
_SCALARS = ("state", "count", "sound_state", "log_energy", "f0", "voicing", "speech_probability")
_LEAST_REST = 10 * FPS


@dataclass(frozen=True)
class SpeakerClip:
    """One clip of a speaker."""

    name: str
    frames: Sequence[SpeakerFrame]
    """T consecutive frames, from frame 0."""
    person: str = ""
    """Clips of one person are not independent; empty: nobody else's clip."""
    distress: Intervals | None = None
    """Distress labelled by hand, (from, to) in s; None: found in the attributes."""

    @cached_property
    def track(self) -> SpeakerTrack:
        """What is to be answered. Raises ValueError for a clip without frames."""
        return SpeakerTrack.of(self.frames, self.distress)

    @property
    def group(self) -> str:
        """The person, or the clip where the person is not known."""
        return self.person or self.name

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the figures depend on."""
        arrays = _arrays(self.frames)
        parts = [sha256(np.ascontiguousarray(arrays[name]).tobytes()) for name in sorted(arrays)]
        return sha256(f"{self.group} {self.distress} {' '.join(parts)}")


def clips_digest(clips: Sequence[SpeakerClip]) -> str:
    """SHA-256 of clips with their names."""
    return sha256(" ".join(f"{c.name} {c.digest}" for c in clips))


# Conditions ----------------------------------------------------------------------------------------------------------


def condition_frames(clip: SpeakerClip, condition: str, clips: Sequence[SpeakerClip]) -> list[SpeakerFrame] | str:
    """What the listener has before it in a condition (`CONDITIONS`), or a sentence why the clip has no such condition.

    clips: all clips, for another person's: the next one, from its beginning, repeated where it is shorter.
    """
    frames = list(clip.frames)
    heard = any(f.sound.state != SoundState.MISSING for f in frames)
    if condition == "own":
        return frames
    if condition == "still":
        first = next((f.face for f in frames if f.face.state == FaceState.TRACKED), None)
        if first is None:
            return f"{clip.name} has no tracked face to hold still"
        silence = silent()
        return [SpeakerFrame(f.index, f.stamp_ns, first, silence) for f in frames]
    if condition == "face only":
        return [replace(f, sound=Sound()) for f in frames] if heard else f"{clip.name} has no sound to leave out"
    if condition == "sound only":
        return [replace(f, face=Face()) for f in frames] if heard else f"{clip.name} has no sound to be heard alone"
    if condition != "other":
        raise ValueError(f"there is no condition {condition!r}: there are {', '.join(CONDITIONS)}")
    at = next(i for i, c in enumerate(clips) if c is clip)
    others = [*clips[at + 1 :], *clips[:at]]
    other = next((c for c in others if c.group != clip.group), None)
    if other is None:
        return f"{clip.name}: there is no clip of another person"
    return [
        replace(other.frames[k % len(other.frames)], index=f.index, stamp_ns=f.stamp_ns) for k, f in enumerate(frames)
    ]


def silent() -> Sound:
    """The live features of digital silence."""
    from react_ros.perception.acoustics import Acoustics

    return Acoustics().step(np.zeros(FRAME_SAMPLES, np.float32))


_MAX_CLIP_BYTES = 500_000_000
"""Largest npz that is read as a clip, unpacked: three hours of a speaker."""

# Files ---------------------------------------------------------------------------------------------------------------


def read_clip(path: Path) -> list[SpeakerFrame]:
    """The frames of an npz file as `write_clip` writes it. Raises ValueError, in one sentence."""
    try:
        with zipfile.ZipFile(path) as whole:
            size = sum(inside.file_size for inside in whole.infolist())
        if size > _MAX_CLIP_BYTES:
            raise ValueError(f"it holds {size} bytes; at most {_MAX_CLIP_BYTES} are read")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        count = len(arrays["state"]) if "state" in arrays else 0
    except Exception as error:  # parsers of damaged bytes raise anything
        text = " ".join(str(error).split())[:160]
        raise ValueError(f"{path} cannot be read as a clip: {text or type(error).__name__}") from None
    missing = [name for name in (*_WIDTHS, *_SCALARS) if name not in arrays]
    if missing:
        raise ValueError(f"{path} is no clip of a speaker: it has no array {missing[0]!r}")
    for name in (*_WIDTHS, *_SCALARS):
        shape = (count, _WIDTHS[name]) if name in _WIDTHS else (count,)
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "fiu":
            raise ValueError(f"{path}: {name} has shape {arrays[name].shape}, but {shape} numbers are needed")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path}: {name} holds a value that is not finite")
    try:
        states = [FaceState(int(n)) for n in arrays["state"]]
        sound_states = [SoundState(int(n)) for n in arrays["sound_state"]]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    f32 = {name: array.astype(np.float32) for name, array in arrays.items()}
    out = []
    for k in range(count):
        face = Face(
            states[k], *(f32[n][k] for n in ("blendshapes", "rotation", "translation", "attributes")),
            count=int(arrays["count"][k]),
        )  # fmt: skip
        sound = Sound(
            sound_states[k], f32["mfcc"][k], f32["mfcc_delta"][k], float(f32["log_energy"][k]), float(arrays["f0"][k]),
            float(f32["voicing"][k]), float(f32["speech_probability"][k]),
        )  # fmt: skip
        out.append(SpeakerFrame(k, k * FRAME_NS, face, sound))
    return out


def write_clip(path: Path, frames: Sequence[SpeakerFrame]) -> None:
    """Write frames as an npz file: one array a field, one row a frame. Raises OSError."""
    arrays = _arrays(frames)
    atomic_write(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def _arrays(frames: Sequence[SpeakerFrame]) -> dict[str, Any]:
    face = {name: np.stack([getattr(f.face, name) for f in frames]) for name in list(_WIDTHS)[:4]}
    sound = {name: np.stack([getattr(f.sound, name) for f in frames]) for name in list(_WIDTHS)[4:]}
    numbers = {name: np.array([getattr(f.sound, name) for f in frames]) for name in _SCALARS[3:]}
    return {
        **face, **sound, **numbers,
        "state": np.array([f.face.state for f in frames], np.int8),
        "sound_state": np.array([f.sound.state for f in frames], np.int8),
        "count": np.array([f.face.count for f in frames], np.int16),
    }  # fmt: skip


def read_clips(
    path: Path, *, split: Split = "test", limit: int = 0, progress: Progress | None = None
) -> tuple[list[SpeakerClip], list[str]]:
    """The speakers in a folder of clips (npz, films), one such file, a bag, or a corpus (its split's speakers).

    path: also the word "footage", where no file has that name: the films of real people that the demo and the tests
    use, the demo's with its voice. limit: at most so many clips; 0: all. progress: called with (done, in all). Returns
    the clips in order of name, and a sentence for each that could not be used. Raises ValueError, in one sentence,
    where nothing can be used.
    """
    report = progress or (lambda _done, _total: None)
    path = path.expanduser()
    footage = str(path) == FOOTAGE and not path.exists()
    if not footage and not path.exists():
        raise ValueError(f"{path} does not exist: give a folder of clips (npz or films), a bag or a corpus")
    if footage:
        clips, problems = _of_footage(report), []
    elif _is_bag(path):
        clips, problems = _of_bag(path, report)
    elif path.is_dir() and not _files(path):
        clips, problems = _of_corpus(path, split, limit, report)
    else:
        clips, problems = _of_files(path, limit, report)
    if limit:
        clips = clips[:limit]
    short = [c for c in clips if len(c.frames) < LEAST_FRAMES]
    problems += [f"{c.name} has {len(c.frames)} frames, fewer than {LEAST_FRAMES}" for c in short]
    clips = [c for c in clips if len(c.frames) >= LEAST_FRAMES]
    if not clips:
        raise ValueError(f"{path} holds no clip that can be used" + (f": {problems[0]}" if problems else ""))
    return clips, problems


def _files(path: Path) -> list[Path]:
    """The npz files and films in a folder, or the file itself."""
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    return [p for p in found if p.suffix.lower() in (".npz", *FILMS) and not p.name.startswith(".")]


def _is_bag(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in (".mcap", ".db3")
    return (path / "metadata.yaml").is_file() or any(path.glob("*.mcap")) or any(path.glob("*.db3"))


def _of_files(path: Path, limit: int, report: Progress) -> tuple[list[SpeakerClip], list[str]]:
    from react_ros.media.errors import MediaError

    files = _files(path)
    if not files:
        raise ValueError(f"{path} is neither a clip (npz or film), nor a bag, nor a corpus")
    files = files[:limit] if limit else files
    labels = _labels(path if path.is_dir() else path.parent)
    clips, problems = [], []
    for number, file in enumerate(files):
        report(number, len(files))
        try:
            frames = read_clip(file) if file.suffix.lower() == ".npz" else film_clip(file)
        except (ValueError, MediaError) as error:
            problems.append(str(error))
            continue
        label = labels.get(file.stem, {})
        clips.append(SpeakerClip(file.stem, frames, label.get("person", ""), label.get("distress")))
    report(len(files), len(files))
    return clips, problems


def _labels(folder: Path) -> dict[str, dict[str, Any]]:
    """The labels of a folder's clips. Raises ValueError, in one sentence, for others than `LABELS` describes."""
    file = folder / LABELS
    if not file.is_file():
        return {}
    out: dict[str, dict[str, Any]] = {}
    for name, given in load_yaml(file, "laugh-1: {distress: [[0.4, 1.5]]}").items():
        if not isinstance(given, Mapping) or set(given) - {"person", "distress"}:
            raise ValueError(f"{file}: {name} must hold person and distress only, not {given!r}")
        label = dict(given)
        if "person" in label:
            label["person"] = str(label["person"])
        if "distress" in label:
            try:
                label["distress"] = tuple((float(a), float(b)) for a, b in label["distress"] or ())
            except (TypeError, ValueError):
                raise ValueError(
                    f"{file}: distress of {name} is {given['distress']!r}: it must be pairs of seconds, [[0.4, 1.5]]"
                ) from None
        out[str(name)] = label
    return out


def film_clip(film: Path, sound: Path | None = None) -> list[SpeakerFrame]:
    """The frames of a film's speaker as the live robot perceives them; cached by the film and the perception's code.

    sound: an audio file that begins with the film; None: the film's own, where it has any. Raises MediaError, in one
    sentence, for a film that cannot be read, and MissingAsset for a missing model.
    """
    from react_ros import assets
    from react_ros.corpus.from_video import film_frames
    from react_ros.evaluation.corpora.source_digest import source_digest

    code = source_digest("react_ros.perception.pipeline", "react_ros.corpus.from_video")
    heard = sha256_of(sound) if sound is not None else ""
    cached = assets.cache_dir() / "speaker-clips" / f"{sha256(sha256_of(film) + heard + code)}.npz"
    with suppress(ValueError):
        return read_clip(cached)
    frames = film_frames(film, sound=sound)
    with suppress(OSError):
        private_folder(cached.parent)
        write_clip(cached, frames)
    return frames


def _of_footage(report: Progress) -> list[SpeakerClip]:
    from react_ros import assets
    from react_ros.media import footage
    from react_ros.media.film_reader import film_times

    clips = []
    for number, (name, person) in enumerate(footage.FILMS.items()):
        report(number, len(footage.FILMS))
        film = assets.resolve(name)
        if name != footage.FACE:
            clips.append(SpeakerClip(name, film_clip(film), person))
            continue
        times = film_times(film)
        assert times.stop_ns is not None
        with TemporaryDirectory(prefix="footage-") as folder:
            voice = footage.write_voice(Path(folder) / "voice.wav", (times.stop_ns - times.pictures_ns) / 1e9)
            clips.append(SpeakerClip(name, film_clip(film, voice), person, footage.DISTRESS))
    report(len(clips), len(clips))
    return clips


def _of_bag(path: Path, report: Progress) -> tuple[list[SpeakerClip], list[str]]:
    from react_ros.bags.errors import BagError
    from react_ros.bags.participants import TopicChoice
    from react_ros.replay.recorded_session import read_session

    try:
        session = read_session(
            path, TopicChoice(), samples=1, progress=lambda done, total: report(done / 1e9, total / 1e9)
        )
    except BagError as error:
        raise ValueError(str(error)) from None
    length, name = len(session.timeline), path.resolve().name
    begins = [b for b in range(0, length, CLIP_FRAMES) if b == 0 or length - b >= _LEAST_REST]
    clips = []
    for number, begin in enumerate(begins):
        frames = session.frames(begin, min(begin + CLIP_FRAMES, length))
        frames = [replace(f, index=k, stamp_ns=k * FRAME_NS) for k, f in enumerate(frames)]
        clips.append(SpeakerClip(f"{name}-{number + 1}", frames, name))
    return clips, list(session.notices)


def _of_corpus(path: Path, split: Split, limit: int, report: Progress) -> tuple[list[SpeakerClip], list[str]]:
    from react_ros.corpus.clips import CorpusError
    from react_ros.corpus.reader import open_corpus

    try:
        corpus = open_corpus(path)
        speakers = list(dict.fromkeys(d.speaker for d in corpus.dyads(split)))
    except CorpusError as error:
        raise ValueError(f"{path} holds neither clips (npz or films) nor a corpus: {error}") from None
    speakers = speakers[:limit] if limit else speakers
    clips, problems = [], []
    for number, person in enumerate(speakers):
        report(number, len(speakers))
        try:
            modality = "attributes" if person.face_model is None else "face_model"
            frames = corpus.frames(person, min(corpus.length(person, modality), CLIP_FRAMES))
            clips.append(SpeakerClip(person.name, frames))
        except CorpusError as error:
            problems.append(str(error))
    report(len(speakers), len(speakers))
    return clips, problems
