"""Imports the Seamless Interaction data set (Meta, 2025) as a recorded corpus, on all cores.

Its files lie in {improvised,naturalistic}/{train,dev,test}/BATCH/ARCHIVE/ and are called
V<vendor>_S<session>_I<interaction>_P<participant>.{mp4,wav,npz,json}; the two people of one interaction share V, S
and I. Only the mp4 (one person's video) and the wav (one person's audio) are read: features come from our perception,
as on a live robot.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from react_ros.corpus.clips import CLIP_FRAMES, SPLITS, CorpusError, Split
from react_ros.corpus.from_video import Footage, from_video
from react_ros.corpus.pool import Progress, as_done, processes
from react_ros.corpus.recorded import LEAST_FACE, DyadRecording, RecordedCorpus, expect_share
from react_ros.corpus.writing import write_csv
from react_ros.perception.pipeline import Perception, PerceptionConfig

SOURCE = "Seamless Interaction data set (Meta, 2025), CC-BY-NC 4.0: not for commercial use."
UNUSABLE = "unusable.csv"
_FILE = re.compile(r"(?P<interaction>V[^_]+_S[^_]+_I[^_]+)_P(?P<participant>[^_.]+)\.(?P<kind>(?i:mp4|wav))")
_SPLITS: dict[str, Split] = {"train": "train", "dev": "val", "val": "val", "test": "test"}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_LEAST_ROOM = 16_000_000
"""Free bytes below which an error counts as a full disk: libraries report it with errors of their own."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """The files of two people, or the reason why they are unusable."""

    name: str
    """V…_S…_I…"""
    session: DyadRecording | None = None
    footage: tuple[Footage, Footage] | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """The result of `from_seamless`."""

    found: int
    """Interactions in the folder, at most `limit` of each split."""
    before: int
    """Those of them that an earlier run had finished."""
    unusable: list[tuple[str, str]]
    """Name and reason of each interaction without clips in the corpus."""


def find_interactions(folder: Path, split: Split | None = None) -> list[Interaction]:
    """All interactions below a folder (the data set's root, a split, a batch, …), sorted by split and name.

    split: assigned to all; None: by the names of the parent folders, including those above `folder`. Raises CorpusError
    where there are none.
    """
    if not folder.is_dir():
        raise CorpusError(f"there is no folder {folder}")
    files: dict[str, dict[str, dict[str, Path]]] = defaultdict(lambda: defaultdict(dict))
    twice: dict[str, str] = {}
    for path in sorted(folder.rglob("V*_S*_I*_P*.*")):
        match = _FILE.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        name, participant, kind = match["interaction"], match["participant"], match["kind"].lower()
        if kind in files[name][participant]:
            twice[name] = f"{path.name} is there twice: {files[name][participant][kind]} and {path}"
        files[name][participant][kind] = path
    if not files:
        raise CorpusError(
            f"{folder} has no files of the Seamless Interaction data set, whose names are like "
            "V00_S0039_I00000582_P0061.mp4"
        )
    found = [_interaction(name, people, twice.get(name, ""), split) for name, people in files.items()]
    return sorted(found, key=lambda i: (SPLITS.index(i.session.split) if i.session else len(SPLITS), i.name))


def from_seamless(
    folder: Path,
    out: Path,
    *,
    split: Split | None = None,
    least_face: float = LEAST_FACE,
    clip_frames: int = CLIP_FRAMES,
    limit: int = 0,
    jobs: int = 0,
    made_by: str = "",
    progress: Progress | None = None,
) -> ImportOutcome:
    """Perceive every interaction below a folder into the corpus `out`.

    Finished interactions are skipped, so that a killed run can be continued. Unusable ones are listed in
    OUT/unusable.csv. The tables are written at the end, also after an interruption. split: see `find_interactions`.
    limit: the first so many of each split, by name; 0: all. jobs: processes; 0: one per core. progress: called with
    (interactions done, in all). Raises CorpusError for unusable folders; MissingAsset; OSError where the disk is full.
    """
    expect_share(least_face)
    count = processes(jobs)
    interactions = find_interactions(folder, split)
    if limit:
        by_split: dict[str | None, list[Interaction]] = defaultdict(list)
        for interaction in interactions:
            by_split[interaction.session.split if interaction.session else None].append(interaction)
        interactions = [i for some in by_split.values() for i in some[:limit]]
    corpus = RecordedCorpus(out)
    # A missing model is reported once here, not once per interaction.
    Perception(PerceptionConfig()).close()
    unusable = [(i.name, i.problem) for i in interactions if i.problem]
    good = [i for i in interactions if not i.problem]
    todo = [i for i in good if not corpus.has(i.name)]
    before = done = len(good) - len(todo)
    report = progress or (lambda _done, _total: None)
    report(done, len(good))
    corpus.begin()
    settings = _Settings(out, least_face, clip_frames, made_by)
    try:
        for name, problem in _each(settings, todo, count):
            done += 1
            report(done, len(good))
            if problem:
                unusable.append((name, problem))
    finally:
        empty = {r.session.name: r.clips for r in corpus.finish() if not r.written}
        unusable += [(i.name, f"no clip can be used: {empty[i.name][0].left_out}") for i in good if i.name in empty]
        unusable.sort()
        write_csv(out / UNUSABLE, ["interaction", "why"], unusable)
    return ImportOutcome(len(interactions), before, unusable)


def _interaction(name: str, people: dict[str, dict[str, Path]], twice: str, chosen: Split | None) -> Interaction:
    paths = [path for kinds in people.values() for path in kinds.values()]
    splits: set[Split | None] = {chosen or _split_of(path) for path in paths}
    if twice:
        return Interaction(name, problem=twice)
    if len(people) != 2:
        who = ", ".join(sorted(people))
        return Interaction(
            name, problem=f"it has {len(people)} participants ({who}), but a conversation of two takes 2"
        )
    if len(splits) > 1:
        return Interaction(name, problem=f"its files lie in more than one split: {', '.join(map(str, paths))}")
    split = splits.pop()
    if split is None:
        return Interaction(name, problem=f"no folder around {paths[0]} is called train, dev or test: give --split")
    for participant, kinds in sorted(people.items()):
        for kind in ("mp4", "wav"):
            if kind not in kinds:
                return Interaction(name, problem=f"the {kind} of participant {participant} is missing")
    first, second = sorted(people)
    try:
        session = DyadRecording(name, split, "seamless", (f"P{first}", f"P{second}"), SOURCE)
    except ValueError as error:
        return Interaction(name, problem=str(error))
    footage = (
        Footage(people[first]["mp4"], people[first]["wav"]),
        Footage(people[second]["mp4"], people[second]["wav"]),
    )
    return Interaction(name, session, footage)


def _split_of(path: Path) -> Split | None:
    """The split of the nearest parent folder with a split's name."""
    return next((_SPLITS[f.name] for f in path.absolute().parents if f.name in _SPLITS), None)


@dataclass(frozen=True, slots=True)
class _Settings:
    out: Path
    least_face: float
    clip_frames: int
    made_by: str


def _each(settings: _Settings, todo: Sequence[Interaction], count: int) -> Iterator[tuple[str, str]]:
    """Yield (name, reason why it is unusable or "") of each interaction as it is done.

    If a file kills a process (a crash of a decoder, lack of memory), the interactions in progress are retried one at a
    time: the one at fault is reported, and the others continue.
    """
    with tempfile.TemporaryDirectory(prefix="react_ros_") as begun:
        work = partial(_work, settings, Path(begun))
        left = {i.name: i for i in todo}
        while left:
            batch = list(left.values())
            try:
                for number, problem in as_done(work, batch, min(count, len(batch)), _begin):
                    yield batch[number].name, problem
                    del left[batch[number].name]
            except ChildProcessError:
                suspects = [left[path.name] for path in Path(begun).iterdir() if path.name in left]
                if not suspects:
                    raise
                for suspect in suspects:
                    try:
                        ((_, problem),) = as_done(work, [suspect], 1, _begin)
                    except ChildProcessError:
                        problem = "perceiving it crashed the process, also when it ran alone"
                    (Path(begun) / suspect.name).unlink(missing_ok=True)
                    yield suspect.name, problem
                    del left[suspect.name]


@cache
def _perception() -> Perception:
    """One per process."""
    return Perception(PerceptionConfig(deterministic=True))


def _begin() -> None:
    _perception()


def _work(settings: _Settings, begun: Path, interaction: Interaction) -> str:
    """Import one interaction; returns why it is unusable, or "" when it is in the corpus."""
    assert interaction.session is not None and interaction.footage is not None
    mark = begun / interaction.name
    mark.touch()
    try:
        from_video(
            interaction.footage,
            RecordedCorpus(settings.out),
            replace(interaction.session, made_by=settings.made_by),
            least_face=settings.least_face,
            clip_frames=settings.clip_frames,
            perceptions=[_perception()],
        )
    except Exception as error:  # one broken file must not stop the others
        room = shutil.disk_usage(settings.out).free
        if room < _LEAST_ROOM or (isinstance(error, OSError) and error.errno in _NO_ROOM):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(settings.out)) from None
        mark.unlink()
        return str(error) if isinstance(error, CorpusError) else f"{type(error).__name__}: {error}"
    mark.unlink()
    return ""
