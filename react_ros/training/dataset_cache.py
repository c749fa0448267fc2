"""The dataset cache: the clips of one split as arrays on disk, computed by the live code, for memory-mapping."""

from __future__ import annotations

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
from react_ros.corpus.cache import FeatureCache
from react_ros.corpus.clips import CorpusError, Dyad, PersonClip, Split
from react_ros.corpus.pool import Progress, processes, spread
from react_ros.corpus.reader import Corpus
from react_ros.corpus.sounds import VERSION as SOUND_VERSION
from react_ros.face import ATTRIBUTES, FACE_MODEL, Floats
from react_ros.generators.speaker_inputs import InputScheme, attribute_inputs
from react_ros.io import atomic_write, map_npy, sha256, sha256_of

# No torch here: importing it would cost each process that reads clips seconds.

Integers = npt.NDArray[np.int64]
_ARRAYS = ("speaker", "speaker_attributes", "face_model", "attributes")
OF_SPEAKER = _ARRAYS[:2]


def widths(inputs: InputScheme) -> dict[str, int]:
    """The arrays of a clip, with their widths."""
    return {
        "speaker": inputs.inputs, "speaker_attributes": ATTRIBUTES, "face_model": FACE_MODEL, "attributes": ATTRIBUTES
    }  # fmt: skip


_CODE = (
    face,
    react_ros.corpus.arrays,
    react_ros.corpus.faceverse,
    react_ros.corpus.reader,
    react_ros.generators.attributes,
    react_ros.generators.speaker_inputs,
)
"""Modules that the cached numbers depend on: a change of their source invalidates the cache."""

Role = Literal["speaker", "listener"]


@dataclass(frozen=True, slots=True)
class CachedSplit:
    """One split of one corpus, opened from the dataset cache."""

    corpus: Corpus
    split: Split
    content: str
    """SHA-256 over names, settings and source files."""
    dyads: list[Dyad]
    """The usable ones."""
    speaker_rows: Integers
    """(N,) each dyad's row in the speakers' arrays."""
    listener_rows: Integers
    """(N,) each dyad's row in the listeners' arrays."""
    lengths: Integers
    """(N,) frames."""
    left_out: list[str]
    """A sentence for each unusable clip."""
    arrays: dict[str, Floats]
    """(persons, frames, width) each, memory-mapped."""
    inputs: InputScheme
    """The rows of the speakers."""
    has: dict[str, bool]
    """Whether the corpus has attributes, face_model, audio."""


def open_split(
    corpus: Corpus, split: Split, frames: int, inputs: InputScheme, jobs: int, progress: Progress | None
) -> CachedSplit:
    """The split's clips from the cache; computed and cached at the first call.

    frames: of each clip (MARS: at most). inputs: the speakers' rows. Raises CorpusError for a split without clips, and
    for a corpus with neither attributes nor face models.
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
    key = sha256("".join([content, inputs.name, str(SOUND_VERSION), *map(_source, (*_CODE, None))]))
    folder = store.folder / "clips" / key
    opened = _open(folder)
    if opened is None:
        _build(corpus, persons, frames, inputs, folder, jobs, progress)
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
    return CachedSplit(
        corpus,
        split,
        content,
        [dyads[i] for i in used],
        np.array([rows["speaker"][dyads[i].speaker] for i in used], np.int64),
        np.array([rows["listener"][dyads[i].listener] for i in used], np.int64),
        np.array([lengths[i] for i in used], np.int64),
        index["left_out"],
        arrays,
        inputs,
        has,
    )


def _source(module: Any) -> str:
    """A module's source text; None: of this module."""
    return Path(__file__ if module is None else module.__file__).read_text("utf-8")


def _content(corpus: Corpus, persons: dict[Role, list[PersonClip]], frames: int, folder: Path, jobs: int) -> str:
    """SHA-256 over names, settings and the content of every file.

    Files are hashed once; the stored digest is used while a file's size and modification time stay the same.
    """
    everybody = dict.fromkeys(person for people in persons.values() for person in people)
    files = [f for p in everybody for f in (p.attributes, p.face_model, p.audio) if f is not None]
    place = folder / "digests" / f"{sha256(str(corpus.root.resolve()))[:16]}.json"
    known: dict[str, list[Any]] = {}
    with suppress(OSError, ValueError):
        known = json.loads(place.read_text("utf-8"))
    stats = [_stat(file) for file in files]
    new = [f for f, stat in zip(files, stats, strict=True) if stat is not None and known.get(str(f), [])[:2] != stat]
    with ThreadPoolExecutor(processes(jobs)) as pool:
        digests = dict(zip(new, pool.map(_digest, new), strict=True))
    contents = []
    for file, stat in zip(files, stats, strict=True):
        if file in digests and stat is not None:
            known[str(file)] = [*stat, digests[file]]
        contents.append("missing" if stat is None else known[str(file)][2])
    if digests:
        with suppress(OSError):
            atomic_write(place, json.dumps(known))
    names = {role: [person.name for person in people] for role, people in persons.items()}
    settings = [corpus.layout, corpus.scheme, corpus.source_fps, corpus.fps, frames]
    return sha256(json.dumps([settings, names, contents]))


def _stat(file: Path) -> list[int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _digest(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return "unreadable"


def _build(
    corpus: Corpus,
    persons: dict[Role, list[PersonClip]],
    frames: int,
    inputs: InputScheme,
    folder: Path,
    jobs: int,
    progress: Progress | None,
) -> None:
    """Compute the arrays of a split in a temporary folder, which is renamed when complete."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        for name, width in widths(inputs).items():
            count = len(persons["speaker" if name in OF_SPEAKER else "listener"])
            np.lib.format.open_memmap(temporary / f"{name}.npy", "w+", np.float32, (count, frames, width)).flush()
        items: list[tuple[Role, int, PersonClip]] = [
            (role, row, person) for role, people in persons.items() for row, person in enumerate(people)
        ]
        done = spread(partial(_fill, corpus, temporary, frames, inputs), items, jobs=jobs, progress=progress)
        index: dict[str, Any] = {role: [] for role in persons}
        for (role, _, _), (length, _) in zip(items, done, strict=True):
            index[role].append(length)
        index["left_out"] = list(dict.fromkeys(sentence for _, sentence in done if sentence))
        (temporary / "index.json").write_text(json.dumps(index), "utf-8")
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
            if _open(folder) is None:  # damaged
                shutil.rmtree(folder)
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(
    corpus: Corpus, folder: Path, frames: int, inputs: InputScheme, item: tuple[Role, int, PersonClip]
) -> tuple[int, str]:
    """Write one person's rows; returns the number of frames and "", or 0 and the reason in a sentence."""
    role, row, person = item
    try:
        if role == "speaker":
            speaker = list(corpus.frames(person, frames))
            arrays = {"speaker": inputs.rows(speaker), "speaker_attributes": attribute_inputs(speaker)}
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
        stored = np.load(folder / f"{name}.npy", mmap_mode="r+", allow_pickle=False)
        stored[row, :length] = array[:length]
    return length, ""


def _open(folder: Path) -> tuple[dict[str, Floats], dict[str, Any]] | None:
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        arrays = {name: map_npy(folder / f"{name}.npy") for name in _ARRAYS}
    except (OSError, ValueError):
        return None
    return arrays, index
