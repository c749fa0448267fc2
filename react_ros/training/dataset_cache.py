"""The clips of one split as arrays on disk, made once by the live code, for training to map into memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import react_ros.corpus.arrays
import react_ros.corpus.faceverse
import react_ros.corpus.reader
import react_ros.generators.attributes
import react_ros.generators.speaker_inputs
from react_ros import face
from react_ros.corpus.cache import FeatureCache, atomically
from react_ros.corpus.clips import CorpusError, Dyad, PersonClip, Split
from react_ros.corpus.pool import Progress, processes, spread
from react_ros.corpus.reader import Corpus
from react_ros.corpus.sounds import VERSION as SOUND_VERSION
from react_ros.face import ATTRIBUTES, FACE_MODEL, Floats
from react_ros.generators.speaker_inputs import INPUTS, attribute_inputs, speaker_inputs

# No torch here: each process that reads clips would spend seconds on importing it.

Whole = npt.NDArray[np.int64]
OF_SPEAKER = {"speaker": INPUTS, "speaker_attributes": ATTRIBUTES}
OF_LISTENER = {"face_model": FACE_MODEL, "attributes": ATTRIBUTES}
WIDTHS = OF_SPEAKER | OF_LISTENER

_CODE = (
    face,
    react_ros.corpus.arrays,
    react_ros.corpus.faceverse,
    react_ros.corpus.reader,
    react_ros.generators.attributes,
    react_ros.generators.speaker_inputs,
)
"""Modules that the numbers on disk depend on: when one changes, they are computed anew."""

Role = Literal["speaker", "listener"]


@dataclass(frozen=True, slots=True)
class Pack:
    """One split of one corpus, opened."""

    corpus: Corpus
    split: Split
    content: str
    dyads: list[Dyad]
    """Those that can be used."""
    speaker_rows: Whole
    listener_rows: Whole
    lengths: Whole
    left_out: list[str]
    arrays: dict[str, Floats]
    """(persons, frames, width) each, memory-mapped."""
    has: dict[str, bool]


def open_pack(corpus: Corpus, split: Split, frames: int, jobs: int, progress: Progress | None) -> Pack:
    """The split's clips, from the cache where they are there, else made and kept there.

    Raises CorpusError for a split without clips, or with nothing to learn from.
    """
    dyads = corpus.dyads(split)
    if not dyads:
        raise CorpusError(f"{corpus.root} has no clips in its {split} split")
    has = {m: getattr(dyads[0].listener, m) is not None for m in ("attributes", "face_model", "audio")}
    if not has["attributes"] and not has["face_model"]:
        raise CorpusError(f"{corpus.root} has neither attributes nor face models: there is nothing to learn from it")
    persons: dict[Role, list[PersonClip]] = {
        "speaker": list(dict.fromkeys(d.speaker for d in dyads)),
        "listener": list(dict.fromkeys(d.listener for d in dyads)),
    }
    store = FeatureCache(corpus.config.cache)
    content = _content(corpus, persons, frames, store.folder, jobs)
    key = hashlib.sha256("".join([content, str(SOUND_VERSION), *map(_source, (*_CODE, None))]).encode()).hexdigest()
    folder = store.folder / "clips" / key
    opened = _open(folder)
    if opened is None:
        _build(corpus, persons, frames, folder, jobs, progress)
        opened = _open(folder)
        if opened is None:
            raise CorpusError(f"{folder} cannot be read back: is the disk full or failing")
    arrays, index = opened
    rows = {role: {person: row for row, person in enumerate(persons[role])} for role in persons}
    lengths = [
        min(index["speaker"][rows["speaker"][d.speaker]], index["listener"][rows["listener"][d.listener]])
        for d in dyads
    ]
    used = [i for i, length in enumerate(lengths) if length > 0]
    return Pack(
        corpus,
        split,
        content,
        [dyads[i] for i in used],
        np.array([rows["speaker"][dyads[i].speaker] for i in used], np.int64),
        np.array([rows["listener"][dyads[i].listener] for i in used], np.int64),
        np.array([lengths[i] for i in used], np.int64),
        index["left_out"],
        arrays,
        has,
    )


def _source(module: Any) -> str:
    """A module's source text; None is this one's."""
    return Path(__file__ if module is None else module.__file__).read_text("utf-8")


def _content(corpus: Corpus, persons: dict[Role, list[PersonClip]], frames: int, folder: Path, jobs: int) -> str:
    """Digest of all that the numbers are made of: names, settings and the content of every file.

    Files are hashed once; while size and time stay the same, what is remembered of them holds.
    """
    everybody = dict.fromkeys(person for people in persons.values() for person in people)
    files = [f for p in everybody for f in (p.attributes, p.face_model, p.audio) if f is not None]
    place = folder / "digests" / f"{hashlib.sha256(str(corpus.root.resolve()).encode()).hexdigest()[:16]}.json"
    known: dict[str, list[Any]] = {}
    with suppress(OSError, ValueError):
        known = json.loads(place.read_text("utf-8"))
    stats = [_stat(file) for file in files]
    new = [f for f, stat in zip(files, stats, strict=True) if stat is not None and known.get(str(f), [])[:2] != stat]
    with ThreadPoolExecutor(processes(jobs)) as pool:
        digests = dict(zip(new, pool.map(_digest, new), strict=True))
    said = []
    for file, stat in zip(files, stats, strict=True):
        if file in digests and stat is not None:
            known[str(file)] = [*stat, digests[file]]
        said.append("missing" if stat is None else known[str(file)][2])
    if digests:
        with suppress(OSError):
            atomically(place, lambda out: out.write(json.dumps(known).encode()))
    names = {role: [person.name for person in people] for role, people in persons.items()}
    settings = [corpus.layout, corpus.scheme, corpus.source_fps, corpus.fps, frames]
    return hashlib.sha256(json.dumps([settings, names, said]).encode()).hexdigest()


def _stat(file: Path) -> list[int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def _build(
    corpus: Corpus,
    persons: dict[Role, list[PersonClip]],
    frames: int,
    folder: Path,
    jobs: int,
    progress: Progress | None,
) -> None:
    """Compute a pack: whole at its place, or not there at all."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        for name, width in WIDTHS.items():
            count = len(persons["speaker" if name in OF_SPEAKER else "listener"])
            np.lib.format.open_memmap(temporary / f"{name}.npy", "w+", np.float32, (count, frames, width)).flush()
        items: list[tuple[Role, int, PersonClip]] = [
            (role, row, person) for role, people in persons.items() for row, person in enumerate(people)
        ]
        done = spread(partial(_fill, corpus, temporary, frames), items, jobs=jobs, progress=progress)
        index: dict[str, Any] = {role: [] for role in persons}
        for (role, _, _), (length, _) in zip(items, done, strict=True):
            index[role].append(length)
        index["left_out"] = list(dict.fromkeys(sentence for _, sentence in done if sentence))
        (temporary / "index.json").write_text(json.dumps(index), "utf-8")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
            if _open(folder) is None:  # damaged
                shutil.rmtree(folder)
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(corpus: Corpus, folder: Path, frames: int, item: tuple[Role, int, PersonClip]) -> tuple[int, str]:
    """Write one person's rows; returns how many frames there are, or 0 and the sentence that says why."""
    role, row, person = item
    try:
        if role == "speaker":
            heard = list(corpus.frames(person, frames))
            arrays = {"speaker": speaker_inputs(heard), "speaker_attributes": attribute_inputs(heard)}
        else:
            arrays = {}
            if person.face_model is not None:
                arrays["face_model"] = corpus.face_model(person, frames)
            if person.attributes is not None:
                arrays["attributes"] = corpus.attributes(person, frames)
    except CorpusError as error:
        return 0, str(error)
    length = min(len(array) for array in arrays.values())  # MARS: a clip's files may differ by a frame
    for name, array in arrays.items():
        whole = np.load(folder / f"{name}.npy", mmap_mode="r+", allow_pickle=False)
        whole[row, :length] = array[:length]
    return length, ""


def _open(folder: Path) -> tuple[dict[str, Floats], dict[str, Any]] | None:
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in WIDTHS}
    except (OSError, ValueError, EOFError):
        return None
    return arrays, index
