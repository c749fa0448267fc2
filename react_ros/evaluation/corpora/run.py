"""Runs an evaluation over all cores: block by block, resumable after a kill, in shards that merge exactly."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros import __version__
from react_ros.corpus.check import usable_dyads
from react_ros.corpus.clips import CorpusError, Dyad
from react_ros.corpus.mean_listener import write_mean_listener
from react_ros.corpus.pool import Progress, as_done, processes
from react_ros.corpus.reader import Corpus, CorpusConfig, open_corpus
from react_ros.evaluation.corpora.plan import Plan, Row, Shard, block_size
from react_ros.evaluation.corpora.scoring import Block, Scorer, read_block, write_block
from react_ros.evaluation.corpora.sources import Mask, open_source
from react_ros.evaluation.metrics.intervals import connected
from react_ros.evaluation.metrics.pictures import PictureScorer
from react_ros.face import ARKIT_SCHEME
from react_ros.generators import registry
from react_ros.io import atomic_write, sha256_of

_ONLY_SHOWS = ("bench", "intervals", "latency", "page", "published", "report", "summary")
"""Modules that no block depends on: they may change while an evaluation is resumed."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An evaluation whose data have been opened."""

    plan: Plan
    corpus: Corpus
    dyads: list[Dyad]
    """All that can be used, in order."""
    appropriate: Mask
    """(N, N), N dyads of the split; rows and columns of unusable ones are False."""
    problems: list[str]
    """A sentence for each clip that is left out."""
    fingerprint: str
    """Digest of the plan, the data and the code."""
    shortest: int | None
    """Frames of the shortest clip, where lengths differ (MARS); else None."""
    together: npt.NDArray[np.intp] | None = None
    """(N,) the group of each dyad: clips of a group say the same thing. None: those that share listeners do."""

    @property
    def evaluated(self) -> list[Dyad]:
        """The dyads that get a score: the first `limit`."""
        return self.dyads[: self.plan.limit] if self.plan.limit else self.dyads

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """(N,) the group of each dyad, on which intervals and the two-sample test rest."""
        if self.together is not None:
            return self.together
        return connected(self.appropriate | np.eye(len(self.appropriate), dtype=bool))

    @property
    def blocks(self) -> list[list[Dyad]]:
        """The evaluated dyads in blocks."""
        size = block_size(len(self.evaluated))
        return [self.evaluated[i : i + size] for i in range(0, len(self.evaluated), size)]


def prepare(plan: Plan, *, strict: bool = False, progress: Progress | None = None, jobs: int = 1) -> Prepared:
    """Open the corpus, find what can be used, and the appropriateness matrix (computed where it is not there).

    strict: whether one bad clip stops everything. Raises CorpusError or ValueError in one sentence.
    """
    corpus = open_corpus(plan.corpus, CorpusConfig(frames=plan.frames, role_swap=plan.role_swap))
    dyads, problems = usable_dyads(corpus, plan.split, strict=strict)
    if not dyads:
        raise CorpusError(f"{plan.corpus} has no usable clips in its {plan.split} split, e.g. {problems[0]}")
    if plan.inception or plan.i3d:
        if corpus.scheme != ARKIT_SCHEME:
            raise ValueError(f"FID and FVD need faces of scheme {ARKIT_SCHEME}, but {corpus.root} has {corpus.scheme}")
        PictureScorer(plan.inception or None, plan.i3d or None)  # here, once, is where a wrong file is one sentence
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
    """Compute every block that is not there yet; the rows whose blocks are all there, in order.

    out: a new folder, or one of the same plan, which is resumed. merge: folders of other shards of the same plan.
    jobs: processes; 0 for one a core. save_predictions: whether the reactions are kept, an npz beside each block with
    an array (P, T, 25) a dyad, named by its index. progress: told of clips, over all rows. Raises ValueError where a
    folder holds another evaluation, OSError where nothing can be written: what is there stays, to be resumed.
    """
    _claim(out, prepared)
    for folder in merge:
        _take(folder, out, prepared)
    mean = out / "mean_listener.safetensors"
    if any(row.generator and registry.system(row.name).corpus_statistics for row in rows) and not mean.is_file():
        # In a folder of its own: another run of the same evaluation may be at it too.
        with tempfile.TemporaryDirectory(dir=out, prefix=".mean_listener") as folder:
            whole = Path(folder) / mean.name
            write_mean_listener(prepared.corpus, whole)
            whole.with_suffix(".yaml").replace(mean.with_suffix(".yaml"))
            whole.replace(mean)
    blocks, shard = prepared.blocks, shard or Shard()
    for row in rows:
        _claim_row(out, row)
        # In this process first: what is wrong with a row is one sentence, not one a block.
        open_source(row, prepared.corpus, prepared.plan, prepared.dyads, prepared.appropriate, _mean(out))
    todo = [
        (row, number)
        for row in rows
        for number in range(len(blocks))
        if shard.has(number)
        and not (
            _block_path(out, row, number).is_file() and (not save_predictions or _kept_path(out, row, number).is_file())
        )
    ]
    total = len(rows) * sum(len(b) for n, b in enumerate(blocks) if shard.has(n))
    done = total - sum(len(blocks[number]) for _, number in todo)
    tell = progress or (lambda _done, _total: None)
    tell(done, total)
    for number in _work(prepared, out, todo, processes(jobs), save_predictions, strict):
        done += len(blocks[number])
        tell(done, total)
    complete = {}
    for row in rows:
        paths = [_block_path(out, row, number) for number in range(len(blocks))]
        if all(path.is_file() for path in paths):
            complete[row] = [read_block(path) for path in paths]
    return complete


def _work(
    prepared: Prepared, out: Path, todo: Sequence[tuple[Row, int]], jobs: int, save: bool, strict: bool
) -> Iterable[int]:
    """Compute blocks in processes; yields the number of each as it is there."""
    if not todo:
        return
    if jobs == 1 or len(todo) == 1:  # a process of its own costs seconds to start
        compute = _Worker(prepared, out, save, strict)
        for row, number in todo:
            compute(row, number)
            yield number
        return
    for done, _ in as_done(_compute, todo, min(jobs, len(todo)), _begin, (prepared, out, save, strict)):
        yield todo[done][1]


class _Worker:
    """Computes blocks, keeping the row's source from one to the next."""

    def __init__(self, prepared: Prepared, out: Path, save: bool, strict: bool) -> None:
        self._prepared, self._out, self._save, self._strict = prepared, out, save, strict
        self._scorer = Scorer(prepared.corpus, prepared.plan, prepared.dyads, prepared.appropriate, prepared.shortest)
        self._row: Row | None = None

    def __call__(self, row: Row, number: int) -> None:
        p = self._prepared
        if row != self._row:
            self._source = open_source(row, p.corpus, p.plan, p.dyads, p.appropriate, _mean(self._out))
            self._row = row
        block, reactions = self._scorer.score(self._source, p.blocks[number], keep=self._save, strict=self._strict)
        path = _block_path(self._out, row, number)
        if self._save:
            kept = {str(int(clip)): x for clip, x in zip(block.values["clip"], reactions, strict=True)}
            atomic_write(_kept_path(self._out, row, number), lambda file: np.savez(file, allow_pickle=False, **kept))
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


def _block_path(out: Path, row: Row, number: int) -> Path:
    return out / "rows" / row.key / f"block-{number:04}.npz"


def _kept_path(out: Path, row: Row, number: int) -> Path:
    return out / "rows" / row.key / f"reactions-{number:04}.npz"


def _mean(out: Path) -> Path | None:
    path = out / "mean_listener.safetensors"
    return path if path.is_file() else None


def _claim(out: Path, prepared: Prepared) -> None:
    """Make the folder this plan's, or see that it is. Raises ValueError, in one sentence, where it is not."""
    plan_file = out / "plan.json"
    mine = {**prepared.plan.described(), "react_ros": __version__, "fingerprint": prepared.fingerprint}
    if plan_file.is_file():
        _compare(out, _told(plan_file), mine)
        return
    if out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
        raise ValueError(f"{out} is there already and holds no evaluation: choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(plan_file, json.dumps(mine, indent=1))


def _told(path: Path) -> dict[str, Any]:
    """What a file of ours says. Raises OSError, or ValueError in one sentence."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(said, dict):
        raise ValueError(f"{path} was not written by react_ros")
    return said


def _compare(out: Path, theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    for key, value in mine.items():
        if key not in ("corpus", "fingerprint") and theirs.get(key) != value:
            raise ValueError(f"{out} holds an evaluation with {key} {theirs.get(key)!r}, not {value!r}: choose another")
    if theirs.get("fingerprint") != mine["fingerprint"]:
        raise ValueError(f"{out} holds an evaluation of other data or by other code: choose another folder")


def _claim_row(out: Path, row: Row) -> None:
    """Begin the row's folder, which also holds what its generator is made of. Raises ValueError where that changed."""
    folder = out / "rows" / row.key
    mine = {"row": row.label, "files": {k: sha256_of(v) for k, v in _files(row).items()}}
    row_file = folder / "row.json"
    if row_file.is_file():
        theirs = _told(row_file)
        if theirs.get("files") != mine["files"]:
            raise ValueError(f"{row.label}: its files have changed since {out} was begun: choose another folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(row_file, json.dumps(mine, indent=1))


def _files(row: Row) -> dict[str, Path]:
    """The files that the row's reactions depend on."""
    named = {"predictions": row.file} | {k: v for k, v in row.parameters if isinstance(v, str)}
    return {k: Path(v) for k, v in named.items() if v and Path(v).is_file()}


def _take(folder: Path, out: Path, prepared: Prepared) -> None:
    """Copy another shard's blocks. Raises ValueError where the folder is none, or of another plan."""
    try:
        theirs = _told(folder / "plan.json")
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no evaluation to merge: it has no plan.json") from None
    _compare(
        folder, theirs, {**prepared.plan.described(), "react_ros": __version__, "fingerprint": prepared.fingerprint}
    )
    for path in sorted(folder.glob("rows/*/*")):
        target = out / path.relative_to(folder)
        if path.name.startswith(".") or target.is_file() or (path.suffix == ".npz" and not zipfile.is_zipfile(path)):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, lambda file, path=path: shutil.copyfileobj(path.open("rb"), file))


def _fingerprint(plan: Plan, corpus: Corpus, dyads: Sequence[Dyad], appropriate: Mask) -> str:
    """Of the data that are scored and of the code that scores; the corpus may lie elsewhere on another machine."""
    digest = hashlib.sha256()
    said = {**plan.described(), "corpus": None, "scheme": corpus.scheme}
    for name in ("inception", "i3d"):
        said[name] = sha256_of(Path(said[name])) if said[name] else ""
    digest.update(json.dumps(said, sort_keys=True).encode())
    digest.update(np.packbits(appropriate).tobytes())
    for dyad in dyads:
        digest.update(f"{dyad.index} {dyad.speaker.name} {dyad.listener.name}".encode())
        digest.update(np.ascontiguousarray(corpus.attributes(dyad.speaker)).tobytes())
        audio = dyad.speaker.audio
        digest.update(str(audio.stat().st_size if audio is not None and audio.is_file() else 0).encode())
    package = Path(__file__).resolve().parents[2]
    for room in ("dtw.py", "face.py", "corpus", "evaluation", "generators", "perception"):
        root = package / room
        for source in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            if source.stem not in _ONLY_SHOWS:
                digest.update(source.read_bytes())
    return digest.hexdigest()
