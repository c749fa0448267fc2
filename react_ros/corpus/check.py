"""Validates a corpus before a run does: lists every missing, short, unreadable or odd file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from react_ros.corpus.clips import CorpusError, Dyad, PersonClip, Split, missing
from react_ros.corpus.layouts import MODALITIES
from react_ros.corpus.pool import Progress, spread
from react_ros.corpus.reader import Corpus
from react_ros.face import ACTION_UNIT_NAMES, ARKIT_SCHEME, AU, EXPRESSIONS, VA, Floats

_SUM_TOLERANCE = 0.02
_SILENT = 8
"""Audio whose amplitude never exceeds this, in int16 units, counts as silent."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of one clip."""

    split: Split
    clip: str
    modality: str
    """attributes, face_model, audio or video; "dyad" for a mismatch of two clips."""
    sentence: str
    warning: bool = False
    """Whether the clip is usable nevertheless."""

    def __str__(self) -> str:
        return self.sentence


@dataclass(slots=True)
class Total:
    """File counts of one modality."""

    clips: int = 0
    """Expected files: one per person's clip."""
    good: int = 0
    missing: int = 0
    bad: int = 0
    """Existing, but unusable."""


@dataclass(slots=True)
class CheckReport:
    """The result of `check`."""

    dyads: dict[Split, int] = field(default_factory=dict)
    """Dyads of each split, including swapped ones."""
    totals: dict[str, Total] = field(default_factory=dict)
    """By modality."""
    problems: list[Problem] = field(default_factory=list)
    """Errors before warnings, sorted by split and clip."""

    @property
    def errors(self) -> list[Problem]:
        """Problems that make a clip unusable."""
        return [p for p in self.problems if not p.warning]

    @property
    def warnings(self) -> list[Problem]:
        """Problems of usable clips."""
        return [p for p in self.problems if p.warning]


def check(
    corpus: Corpus, splits: Sequence[Split] | None = None, *, jobs: int = 0, progress: Progress | None = None
) -> CheckReport:
    """Read every clip of these splits (None: all splits) once. jobs: processes, 0 for one per core.

    Missing, short, unreadable and non-finite files are errors; values out of range and mismatched lengths are warnings.
    Of videos, only existence and the number of frames are checked. Raises CorpusError where a split's table cannot be
    read.
    """
    splits = corpus.splits if splits is None else splits
    report = CheckReport({split: len(corpus.dyads(split)) for split in splits})
    items: list[tuple[Split, PersonClip]] = [(split, person) for split in splits for person in corpus.persons(split)]
    found = spread(partial(_inspect, corpus), items, jobs=jobs, progress=progress)
    frames: dict[str, int | None] = {}
    for (_, person), inspected in zip(items, found, strict=True):
        frames[person.name] = inspected.frames
        report.problems += inspected.problems
        for modality, state in inspected.states.items():
            total = report.totals.setdefault(modality, Total())
            total.clips += 1
            setattr(total, state, getattr(total, state) + 1)
    for split in splits:
        for dyad in corpus.dyads(split):
            speaker, listener = frames[dyad.speaker.name], frames[dyad.listener.name]
            if not dyad.swapped and None not in (speaker, listener) and speaker != listener:
                sentence = f"{dyad.name}: the speaker has {speaker} frames, but {dyad.listener.name} has {listener}"
                report.problems.append(Problem(split, dyad.name, "dyad", sentence, warning=True))
    order = {split: i for i, split in enumerate(splits)}
    report.problems.sort(key=lambda p: (p.warning, order[p.split], p.clip))
    return report


def usable_dyads(corpus: Corpus, split: Split, *, strict: bool = False) -> tuple[list[Dyad], list[Problem]]:
    """The usable dyads of a split, in order, and the problems of the others.

    A speaker needs attributes, and the face model and audio if the corpus has them (of audio only the header is read);
    a listener attributes and face model. strict: raise CorpusError for the first unusable clip. Raises CorpusError
    where the split's table cannot be read.
    """
    known: dict[tuple[str, bool], Problem | None] = {}

    def problem(person: PersonClip, speaks: bool) -> Problem | None:
        if (person.name, speaks) not in known:
            known[person.name, speaks] = _first_problem(corpus, split, person, speaks)
        return known[person.name, speaks]

    good: list[Dyad] = []
    problems: dict[str, Problem] = {}
    for dyad in corpus.dyads(split):
        found = [p for p in (problem(dyad.speaker, True), problem(dyad.listener, False)) if p is not None]
        if found and strict:
            raise CorpusError(found[0].sentence)
        problems |= {p.sentence: p for p in found}
        if not found:
            good.append(dyad)
    return good, list(problems.values())


def _first_problem(corpus: Corpus, split: Split, person: PersonClip, speaks: bool) -> Problem | None:
    modality = ""
    try:
        modality = "attributes"
        corpus.attributes(person)
        modality = "face_model"
        if person.face_model is not None:
            corpus.face_model(person)
        modality = "audio"
        if speaks and person.audio is not None:
            _duration(person.audio, person.name)
    except (CorpusError, OSError) as error:
        return Problem(split, person.name, modality, _sentence(person, error))
    return None


def _is_there(path: Path) -> bool:
    """Whether the file exists; True also without permission to look: reading it then gives the error."""
    try:
        return path.exists()
    except OSError:
        return True


def _sentence(person: PersonClip, error: CorpusError | OSError) -> str:
    return f"{person.name}: {error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


@dataclass(slots=True)
class _Inspected:
    states: dict[str, str] = field(default_factory=dict)
    """By modality, the field of `Total` to increment."""
    problems: list[Problem] = field(default_factory=list)
    frames: int | None = None
    """Frames of the attributes, else of the face model; None where neither is readable."""


def _inspect(corpus: Corpus, item: tuple[Split, PersonClip]) -> _Inspected:
    split, person = item
    out = _Inspected()
    arrays: dict[str, Floats] = {}
    readers = {"attributes": corpus.attributes, "face_model": corpus.face_model}
    for modality in MODALITIES:
        path: Path | None = getattr(person, modality)
        if path is None:
            continue
        if not _is_there(path):
            out.states[modality] = "missing"
            if modality != "video":
                sentence = str(missing(person.name, modality.replace("_", " "), path))
                out.problems.append(Problem(split, person.name, modality, sentence))
            continue
        try:
            if modality in readers:
                arrays[modality] = readers[modality](person)
                odd = _odd_values(corpus, arrays[modality]) if modality == "attributes" else []
                length = corpus.length(person, modality)
                if out.frames is not None and length != out.frames:
                    odd.append(f"its face model has {length} frames, but its attributes {out.frames}")
                out.frames = length if out.frames is None else out.frames
            elif modality == "audio":
                odd = _odd_sound(path, person.name, out.frames, corpus.fps)
            else:
                odd = _odd_film(path, person.name, out.frames, corpus)
        except (CorpusError, OSError) as error:
            out.states[modality] = "bad"
            out.problems.append(Problem(split, person.name, modality, _sentence(person, error)))
            continue
        out.states[modality] = "good"
        out.problems += [Problem(split, person.name, modality, f"{person.name}: {o}", warning=True) for o in odd]
    return out


def _odd_values(corpus: Corpus, attributes: Floats) -> list[str]:
    out = []
    units = attributes[:, AU]
    # Action units of ARKit corpora are intensities; the challenge's are occurrences.
    intensities = corpus.scheme == ARKIT_SCHEME
    odd = (units < 0) | (units > 1) if intensities else (units != 0) & (units != 1)
    if odd.any():
        frame, unit = (int(i) for i in np.argwhere(odd)[0])
        wanted = "from 0 to 1" if intensities else "0 or 1"
        out.append(
            f"{ACTION_UNIT_NAMES[unit]} is {units[frame, unit]:g} in frame {frame}, not {wanted} "
            f"({int(odd.any(1).sum())} such frames)"
        )
    affect = np.abs(attributes[:, VA]).max(1)
    if (affect > 1).any():
        frame = int(np.argmax(affect > 1))
        out.append(f"valence or arousal leaves -1 to 1 in frame {frame} ({int((affect > 1).sum())} such frames)")
    total = attributes[:, EXPRESSIONS].sum(1)
    off = np.abs(total - 1) > _SUM_TOLERANCE
    if off.any():
        frame = int(np.argmax(off))
        out.append(
            f"the 8 expression probabilities sum to {total[frame]:.3f}, not 1, in frame {frame} "
            f"({int(off.sum())} such frames)"
        )
    return out


def _odd_sound(path: Path, clip: str, frames: int | None, fps: float) -> list[str]:
    from react_ros.media.errors import MediaError
    from react_ros.media.sound_reader import sound_blocks, sound_rate

    peak = length = 0
    try:
        rate = sound_rate(path)
        for block in sound_blocks(path, 1.0):
            peak = max(peak, int(block.pcm.max()), -int(block.pcm.min()))
            length = block.first_sample + len(block.pcm)
    except MediaError as error:
        raise CorpusError(f"{clip}: {error}") from None
    out = []
    seconds = length / rate
    if frames is not None and seconds < (frames - 1) / fps:
        out.append(f"its audio lasts {seconds:.2f} s, but its {frames} frames {frames / fps:.2f} s")
    if peak <= _SILENT:
        out.append("its audio is silent throughout")
    return out


def _odd_film(path: Path, clip: str, frames: int | None, corpus: Corpus) -> list[str]:
    if path.is_dir():
        count = sum(1 for p in path.iterdir() if p.suffix.lower() in (".png", ".jpg"))
        shown = "images"
    else:
        count, shown = _film_frames(path, clip), "frames"
    # Videos have the frame rate of the files.
    wanted = None if frames is None else int(frames * corpus.source_fps / corpus.fps)
    if count == 0 or (wanted is not None and count < wanted):
        return [f"its film has {count} {shown}, but its attributes {wanted} ({path})"]
    return []


def _film_frames(path: Path, clip: str) -> int:
    """Number of frames by a video's header. Raises CorpusError for another file."""
    from contextlib import closing

    import av

    from react_ros.media.errors import MediaError
    from react_ros.media.opening import open_file

    try:
        with closing(open_file(path)) as film:
            if not film.streams.video:
                raise CorpusError(f"{clip}: its film {path} has no picture in it")
            stream = film.streams.video[0]
            if stream.frames:
                return stream.frames
            rate = stream.average_rate or stream.guessed_rate
            return int(float(film.duration or 0) / av.time_base * float(rate or 0))
    except MediaError as error:
        raise CorpusError(f"{clip}: its film {error}") from None


def _duration(path: Path, clip: str) -> float:
    """Duration of an audio file by its header, s. Raises CorpusError for another file."""
    from react_ros.media.errors import MediaError
    from react_ros.media.sound_reader import sound_seconds

    if not path.is_file():
        raise missing(clip, "audio", path)
    try:
        seconds = sound_seconds(path)
    except MediaError as error:
        raise CorpusError(f"{clip}: {error}") from None
    if not seconds:
        raise CorpusError(f"{clip}: its audio {path} has no sound in it")
    return seconds
