"""Runs an evaluation over all cores, block by block: resumable after a kill, and in shards that merge exactly."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros import __version__
from react_ros.corpus.check import usable_dyads
from react_ros.corpus.clips import CorpusError, Dyad, PersonClip
from react_ros.corpus.mean_listener import write_mean_listener
from react_ros.corpus.pool import Progress, as_done, processes
from react_ros.corpus.reader import Corpus, CorpusConfig, open_corpus
from react_ros.evaluation.corpora.plan import Plan, Row, Shard, block_size
from react_ros.evaluation.corpora.scoring import Block, Scorer, read_block, write_block
from react_ros.evaluation.corpora.source_digest import source_digest
from react_ros.evaluation.corpora.sources import Mask, Source, open_source
from react_ros.evaluation.metrics.intervals import connected
from react_ros.evaluation.metrics.pictures import PictureScorer
from react_ros.face import ARKIT_SCHEME
from react_ros.generators import registry
from react_ros.io import atomic_write, sha256_of

_SCORING = ("react_ros.evaluation.corpora.scoring", "react_ros.evaluation.corpora.sources")
"""The modules whose code, with all that they import, every block depends on. Generators are hashed with their rows."""
_PICTURES = "react_ros.evaluation.metrics.pictures"
"""The module that draws and scores pictures; blocks without pictures do not depend on it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An evaluation whose data have been opened and checked."""

    plan: Plan
    corpus: Corpus
    dyads: list[Dyad]
    """All usable ones, in order."""
    appropriate: Mask
    """(N, N) over all N dyads of the split; rows and columns of unusable ones are False."""
    problems: list[str]
    """A sentence per clip that is left out."""
    fingerprint: str
    """Digest of the options, the data and the scoring code."""
    shortest: int | None
    """Frames of the shortest clip, where lengths differ (MARS); else None."""
    together: npt.NDArray[np.intp] | None = None
    """(N,) group number of each dyad; clips of a group are not independent. None: clips that share listeners."""

    @property
    def evaluated(self) -> list[Dyad]:
        """The dyads that are scored: the first `limit`."""
        return self.dyads[: self.plan.limit] if self.plan.limit else self.dyads

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """(N,) group number of each dyad, for intervals and the two-sample test."""
        if self.together is not None:
            return self.together
        return connected(self.appropriate | np.eye(len(self.appropriate), dtype=bool))

    @property
    def blocks(self) -> list[list[Dyad]]:
        """The evaluated dyads in blocks."""
        size = block_size(len(self.evaluated))
        return [self.evaluated[i : i + size] for i in range(0, len(self.evaluated), size)]


def prepare(plan: Plan, *, strict: bool = False, progress: Progress | None = None, jobs: int = 1) -> Prepared:
    """Open the corpus, find the usable clips, and read the appropriateness matrix (or compute it).

    strict: raise for the first bad clip instead of leaving it out. Raises CorpusError or ValueError in one sentence.
    """
    corpus = open_corpus(plan.corpus, CorpusConfig(frames=plan.frames, role_swap=plan.role_swap))
    dyads, problems = usable_dyads(corpus, plan.split, strict=strict)
    if not dyads:
        raise CorpusError(f"{plan.corpus} has no usable clips in its {plan.split} split, e.g. {problems[0]}")
    if plan.pictures:
        if corpus.scheme != ARKIT_SCHEME:
            raise ValueError(f"FID and FVD need faces of scheme {ARKIT_SCHEME}, but {corpus.root} has {corpus.scheme}")
        PictureScorer(plan.inception or None, plan.i3d or None)  # reports a wrong file here, not once per block
    matrix = corpus.appropriate(plan.split, jobs=jobs, progress=progress)
    corpus.precompute_sounds([d.speaker for d in dyads], jobs=jobs, progress=progress)
    usable = np.zeros(len(matrix), bool)
    usable[[d.index for d in dyads]] = True
    appropriate = matrix & usable & usable[:, None]
    shortest = None
    if corpus.layout == "mars":
        lengths = [len(corpus.attributes(person)) for d in dyads for person in (d.speaker, d.listener)]
        shortest = min(lengths)
    fingerprint = _fingerprint(plan, corpus, dyads, appropriate)
    return Prepared(plan, corpus, dyads, appropriate, [str(p) for p in problems], fingerprint, shortest)


def run(
    prepared: Prepared,
    rows: Sequence[Row],
    out: Path,
    *,
    shard: Shard | None = None,
    merge: Iterable[Path] = (),
    jobs: int = 0,
    save_predictions: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> dict[Row, list[Block]]:
    """Compute all blocks that do not exist yet. Returns the blocks of every complete row, in order.

    out: a new folder, or one of the same evaluation, which is resumed. merge: folders of other shards of the same
    evaluation. jobs: processes; 0 for one per core. save_predictions: whether reactions are stored beside each block,
    an npz with one array (P, T, 25) per dyad, named by its index. progress: called with (clips done, clips in all),
    over all rows. Raises ValueError where a folder holds another evaluation or a row's weights have changed, OSError
    where nothing can be written; finished blocks are kept.
    """
    _claim(out, prepared)
    for folder in merge:
        _merge(folder, out, prepared)
    if any(row.generator and registry.system(row.name).corpus_statistics for row in rows):
        _write_mean(prepared.corpus, out)
    blocks, shard = prepared.blocks, shard or Shard()
    for row in rows:
        # Opened in this process first: a faulty row is reported once, not once per block.
        _claim_row(out, row, _open(prepared, row, out).content())
    todo = [
        (row, number)
        for row in rows
        for number in range(len(blocks))
        if shard.has(number)
        and not (
            _block_path(out, row, number).is_file()
            and (not save_predictions or _reactions_path(out, row, number).is_file())
        )
    ]
    total = len(rows) * sum(len(b) for n, b in enumerate(blocks) if shard.has(n))
    done = total - sum(len(blocks[number]) for _, number in todo)
    report = progress or (lambda _done, _total: None)
    report(done, total)
    for number in _work(prepared, out, todo, processes(jobs), save_predictions, strict):
        done += len(blocks[number])
        report(done, total)
    complete = {}
    for row in rows:
        paths = [_block_path(out, row, number) for number in range(len(blocks))]
        if all(path.is_file() for path in paths):
            complete[row] = [read_block(path) for path in paths]
    return complete


def _work(
    prepared: Prepared, out: Path, todo: Sequence[tuple[Row, int]], jobs: int, save: bool, strict: bool
) -> Iterable[int]:
    """Compute blocks in `jobs` processes; yields the number of each finished block."""
    if not todo:
        return
    if jobs == 1 or len(todo) == 1:  # starting a process takes seconds
        compute = _Worker(prepared, out, save, strict)
        for row, number in todo:
            compute(row, number)
            yield number
        return
    for done, _ in as_done(_compute, todo, min(jobs, len(todo)), _begin, (prepared, out, save, strict)):
        yield todo[done][1]


class _Worker:
    """Computes blocks; the row's source is kept from one block to the next."""

    def __init__(self, prepared: Prepared, out: Path, save: bool, strict: bool) -> None:
        self._prepared, self._out, self._save, self._strict = prepared, out, save, strict
        self._scorer = Scorer(prepared.corpus, prepared.plan, prepared.dyads, prepared.appropriate, prepared.shortest)
        self._row: Row | None = None

    def __call__(self, row: Row, number: int) -> None:
        if row != self._row:
            self._source = _open(self._prepared, row, self._out)
            # Weights may have been replaced between the check in `run` and this load.
            _claim_row(self._out, row, self._source.content())
            self._row = row
        dyads = self._prepared.blocks[number]
        block, reactions = self._scorer.score(self._source, dyads, keep=self._save, strict=self._strict)
        path = _block_path(self._out, row, number)
        if self._save:
            kept = {str(int(clip)): x for clip, x in zip(block.values["clip"], reactions, strict=True)}
            atomic_write(
                _reactions_path(self._out, row, number), lambda file: np.savez(file, allow_pickle=False, **kept)
            )
        atomic_write(path, lambda file: write_block(file, block))


_worker: _Worker | None = None


def _begin(prepared: Prepared, out: Path, save: bool, strict: bool) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    global _worker
    _worker = _Worker(prepared, out, save, strict)


def _compute(task: tuple[Row, int]) -> None:
    assert _worker is not None
    _worker(*task)


def _open(prepared: Prepared, row: Row, out: Path) -> Source:
    p, mean = prepared, _mean_path(out)
    return open_source(row, p.corpus, p.plan, p.dyads, p.appropriate, mean if mean.is_file() else None)


# Files of an evaluation ----------------------------------------------------------------------------------------------


def _block_path(out: Path, row: Row, number: int) -> Path:
    return out / "rows" / row.key / f"block-{number:04}.npz"


def _reactions_path(out: Path, row: Row, number: int) -> Path:
    return out / "rows" / row.key / f"reactions-{number:04}.npz"


def _mean_path(out: Path) -> Path:
    return out / "mean_listener.safetensors"


def _write_mean(corpus: Corpus, out: Path) -> None:
    """Write the statistics of the training listeners; again on each run, since the train split may have changed."""
    path = _mean_path(out)
    # In a temporary folder: another run of the same evaluation may be writing too.
    with tempfile.TemporaryDirectory(dir=out, prefix=".mean_listener") as folder:
        whole = Path(folder) / path.name
        write_mean_listener(corpus, whole)
        whole.with_suffix(".yaml").replace(path.with_suffix(".yaml"))
        whole.replace(path)


def _claim(out: Path, prepared: Prepared) -> None:
    """Create the folder, or check that it holds this evaluation. Raises ValueError, in one sentence, where not."""
    plan_file = out / "plan.json"
    description = _description(prepared)
    if plan_file.is_file():
        _expect_same(out, _read_json(plan_file), description)
        return
    if out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
        raise ValueError(f"{out} {_holds(out)}: choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(plan_file, json.dumps(description, indent=1))


def _holds(out: Path) -> str:
    """What a folder holds instead of an evaluation of a corpus."""
    if (out / "responsiveness.json").is_file():
        return "holds an evaluation of responsiveness"
    if (out / "results.json").is_file() and (out / "report.html").is_file():
        return "holds an evaluation of recorded sessions"
    return "exists and holds no evaluation"


def _description(prepared: Prepared) -> dict[str, Any]:
    """The content of plan.json."""
    return {**prepared.plan.to_dict(), "react_ros": __version__, "fingerprint": prepared.fingerprint}


def _read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises OSError, or ValueError in one sentence."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} was not written by react_ros")
    return values


def _expect_same(out: Path, found: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    for key, value in description.items():
        if key not in ("corpus", "fingerprint") and found.get(key) != value:
            raise ValueError(f"{out} holds an evaluation with {key} {found.get(key)!r}, not {value!r}: choose another")
    if found.get("fingerprint") != description["fingerprint"]:
        raise ValueError(f"{out} holds an evaluation of other data or by other code: choose another folder")


def _claim_row(out: Path, row: Row, content: Mapping[str, str]) -> None:
    """Create the row's folder with the digests of what its reactions depend on. Raises ValueError where they differ."""
    folder = out / "rows" / row.key
    row_file = folder / "row.json"
    if row_file.is_file():
        if changed := _changed(_read_json(row_file).get("content"), content):
            raise ValueError(f"{row.label}: its {changed} changed after {out} was begun: choose another folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    values = {"row": row.label, "content": dict(content)}
    atomic_write(row_file, json.dumps(values, indent=1))


def _changed(before: Any, now: Mapping[str, str]) -> str:
    """What differs, for people, e.g. "weights and style"; empty where nothing does."""
    before = before if isinstance(before, dict) else {}
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    names = list(dict.fromkeys(key.partition("/")[0] for key in keys))
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _merge(folder: Path, out: Path, prepared: Prepared) -> None:
    """Copy another shard's blocks. Raises ValueError where the folder holds none, or another evaluation's."""
    try:
        found = _read_json(folder / "plan.json")
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no evaluation to merge: it has no plan.json") from None
    _expect_same(folder, found, _description(prepared))
    for path in sorted(folder.glob("rows/*/row.json")):
        target, theirs = out / path.relative_to(folder), _read_json(path)
        if target.is_file() and (changed := _changed(_read_json(target).get("content"), theirs.get("content") or {})):
            raise ValueError(f"{theirs.get('row')}: its {changed} in {folder} differ from those in {out}")
    for path in sorted(folder.glob("rows/*/*")):
        target = out / path.relative_to(folder)
        if path.name.startswith(".") or target.is_file() or (path.suffix == ".npz" and not zipfile.is_zipfile(path)):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, lambda file, path=path: shutil.copyfileobj(path.open("rb"), file))


# The fingerprint -----------------------------------------------------------------------------------------------------


def _fingerprint(plan: Plan, corpus: Corpus, dyads: Sequence[Dyad], appropriate: Mask) -> str:
    """SHA-256 of the options, of the data and of the scoring code; the corpus may lie in another folder elsewhere."""
    digest = hashlib.sha256()
    options = {**plan.to_dict(), "corpus": None, "scheme": corpus.scheme}
    for name in ("inception", "i3d"):
        options[name] = sha256_of(Path(options[name])) if options[name] else ""
    digest.update(json.dumps(options, sort_keys=True).encode())
    digest.update(np.packbits(appropriate).tobytes())
    for dyad in dyads:
        digest.update(f"{dyad.index} {dyad.speaker.name} {dyad.listener.name}".encode())
    for person in dict.fromkeys(person for dyad in dyads for person in (dyad.speaker, dyad.listener)):
        _hash_person(digest, corpus, person)
    for audio in dict.fromkeys(dyad.speaker.audio for dyad in dyads):
        if audio is not None and audio.is_file():
            digest.update(sha256_of(audio).encode())
    digest.update(source_digest(*_SCORING, without=() if plan.pictures else (_PICTURES,)).encode())
    return digest.hexdigest()


def _hash_person(digest: Any, corpus: Corpus, person: PersonClip) -> None:
    """Add a person's attributes and face model."""
    if person.attributes is not None:
        digest.update(np.ascontiguousarray(corpus.attributes(person)).tobytes())
    if person.face_model is not None:
        digest.update(np.ascontiguousarray(corpus.face_model(person)).tobytes())
