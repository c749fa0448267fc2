"""Which listeners' reactions are appropriate for which speaker: the published matrix, or one computed by its rule.

The challenge publishes a (2n, 2n) matrix of 0 and 1 for a split of n sessions (second half: roles swapped). Entry
(i, j) = 1: the listener of dyad j is appropriate for the speaker of dyad i. The files are not part of its code.

INFERRED, not published: the rule. An early file was called `neighbour_emotion_1_7.0921.npy`, from which we infer
that two clips are neighbours if the FRDist distance of their speakers' attributes is at most the 1st percentile
of all distances, 7.0921 in the challenge's corpora. We take the percentile over the pairs of one split.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from react_ros.config import dump_yaml, parse_yaml
from react_ros.corpus.clips import CorpusError, Dyad, Split
from react_ros.corpus.pool import Progress, spread
from react_ros.face import Floats
from react_ros.io import atomic_write, map_npy, sha256, sha256_of

Mask = npt.NDArray[np.bool_]

QUANTILE = 0.01
PUBLISHED_THRESHOLD = 7.0921
"""INFERRED from the name of a file: the 1st percentile over all sessions of the challenge."""
WHOLE_FILES = ("Approprirate_facial_reaction.npy", "Appropriate_facial_reaction.npy")
"""(2m, 2m) over the m sessions of all splits, in the challenge's spelling and the right one."""
INDICES_FILE = "data_indices.csv"
_MAKER = "react_ros"


@dataclass(frozen=True, slots=True)
class Appropriateness:
    """A matrix of appropriate listeners with the distances and the threshold it was computed from."""

    matrix: Mask
    """(n, n): symmetric, the diagonal True."""
    threshold: float
    """The largest distance of neighbours."""
    distances: npt.NDArray[np.float64]
    """(n, n): symmetric, the diagonal 0."""


def appropriateness(
    speakers: Floats,
    *,
    quantile: float = QUANTILE,
    threshold: float | None = None,
    among: int | None = None,
    jobs: int = 0,
    progress: Progress | None = None,
) -> Appropriateness:
    """Pairs of similar speakers: FRDist, dtw(AU) / 15 + dtw(VA) + dtw(expressions) / 8, at most a threshold.

    speakers: (n, T, 25). threshold: a distance; None for the quantile over all pairs of the first `among` speakers
    (None: of all). jobs: processes, 0 for one a core. progress: called with (blocks of pairs done, in all).
    """
    distances = _distances(speakers, jobs, progress)
    if threshold is None:
        upper = distances[:among, :among][np.triu_indices(len(distances[:among]), 1)]
        threshold = float(np.quantile(upper, quantile)) if len(upper) else 0.0
    matrix = distances <= threshold
    np.fill_diagonal(matrix, True)
    return Appropriateness(matrix, threshold, distances)


def same_session(dyads: Sequence[Dyad]) -> Mask:
    """(N, N) for MARS: all listeners of a speaker's session are appropriate (REACT 2025).

    INFERRED: dyads with swapped roles match only other swapped ones; otherwise a speaker's own face would be an
    appropriate reaction to it.
    """
    keys = np.array([f"{d.session}/{d.swapped}" for d in dyads])
    return keys[:, None] == keys[None, :]


def _distances(speakers: Floats, jobs: int, progress: Progress | None) -> npt.NDArray[np.float64]:
    # Imported here: numba costs every process that reads a corpus half a second.
    from react_ros.corpus.dtw import LANES

    n = len(speakers)
    size = 2 * LANES if n > 8 * LANES else LANES
    starts = range(0, n, size)
    blocks = [(i, j) for i in starts for j in starts if j >= i]
    with tempfile.TemporaryDirectory(prefix="react_ros_") as folder:
        # On disk, so that the processes share one copy through a memory map.
        path = Path(folder) / "speakers.npy"
        np.save(path, np.asarray(speakers, np.float32))
        parts = spread(partial(_pairs, path, size), blocks, jobs=jobs, progress=progress)
    out = np.zeros((n, n))
    for (i, j), part in zip(blocks, parts, strict=True):
        out[i : i + size, j : j + size] = part
        out[j : j + size, i : i + size] = part.T
    # One value per pair: (i, j) and (j, i) may differ in rounding.
    out = np.triu(out, 1)
    return out + out.T


def _pairs(path: Path, size: int, block: tuple[int, int]) -> npt.NDArray[np.float64]:
    from react_ros.corpus.dtw import frdist_matrix

    speakers = map_npy(path)
    i, j = block
    return frdist_matrix(np.array(speakers[i : i + size]), np.array(speakers[j : j + size]))


# Files ------------------------------------------------------------------------------------------------------------


def split_file(folder: Path, split: Split) -> Path:
    """The file of a split's matrix."""
    return folder / f"neighbour_emotion_{split}.npy"


def read_published(root: Path, split: Split, clips: Sequence[str]) -> tuple[npt.NDArray[np.generic], Path] | None:
    """The matrix in the split's file, else cut from that of the whole corpus, with its path; None without either.

    clips: the names of the table's n speakers, in order. Raises CorpusError for what cannot be read.
    """
    path = split_file(root, split)
    if path.is_file():
        return _load(path), path
    for name in WHOLE_FILES:
        if (root / name).is_file():
            return _cut(root / name, root / INDICES_FILE, clips), root / name
    return None


def checked(matrix: npt.NDArray[np.generic], path: Path, clips: Sequence[str], *, role_swap: bool) -> Mask:
    """The validated matrix of a split of n clips: (2n, 2n), or (n, n) where the roles are not swapped.

    clips: the names of the n speakers of the table. Without swapped roles, the first n rows and columns of a larger
    matrix are taken. Raises CorpusError for another size, for entries other than 0 and 1, and for a row without any 1.
    """
    n = len(clips)
    sizes = {2 * n} if role_swap else {n, 2 * n}
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) not in sizes:
        wanted = " or ".join(f"({s}, {s})" for s in sorted(sizes))
        raise CorpusError(
            f"{path} has shape {matrix.shape}, but {wanted} is right: the split's table has {n} clips, "
            f"{2 * n} dyads with the roles swapped"
        )
    if matrix.dtype.kind not in "biuf":
        raise CorpusError(f"{path} holds {matrix.dtype}, but it must hold 0 and 1")
    odd = (matrix != 0) & (matrix != 1)
    if odd.any():
        i, j = (int(k) for k in np.argwhere(odd)[0])
        raise CorpusError(f"{path} holds {matrix[i, j]} in row {i}, column {j}, but it must hold 0 and 1")
    size = 2 * n if role_swap else n
    mask = np.asarray(matrix[:size, :size] == 1)
    empty = np.flatnonzero(~mask.any(1))
    if len(empty):
        i = int(empty[0])
        raise CorpusError(f"{path}: row {i} has no appropriate listener, not even that of {clips[i % n]} itself")
    return mask


def our_notes(path: Path) -> dict[str, object] | None:
    """The notes beside a matrix that this package computed; None for a missing file or a matrix from elsewhere."""
    try:
        notes = parse_yaml(path.with_suffix(".yaml").read_text("utf-8"), exponents=False)
        if not isinstance(notes, dict) or notes.get("computed_by") != _MAKER:
            return None
        ours = sha256_of(path) == notes.get("sha256")
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return notes if ours else None


def write_computed(path: Path, matrix: Mask, notes: dict[str, object]) -> None:
    """Write a matrix in the challenge's format (float64) with notes beside it; replaces only matrices computed here.

    Raises OSError; FileExistsError where there is a matrix from elsewhere.
    """
    if path.exists() and our_notes(path) is None:
        raise FileExistsError(path)
    npy = io.BytesIO()
    np.save(npy, matrix.astype(np.float64), allow_pickle=False)
    described = {"computed_by": _MAKER, **notes, "sha256": sha256(npy.getbuffer())}
    text = dump_yaml(described, sort_keys=False, allow_unicode=True)
    # Notes first, after deleting the old matrix: a matrix without notes would pass for the challenge's own.
    path.unlink(missing_ok=True)
    atomic_write(path.with_suffix(".yaml"), text)
    atomic_write(path, npy.getbuffer())


def _load(path: Path) -> npt.NDArray[np.generic]:
    try:
        return map_npy(path)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read as npy: {error}") from None


def _cut(path: Path, indices: Path, clips: Sequence[str]) -> npt.NDArray[np.generic]:
    whole = _load(path)
    try:
        with indices.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row][1:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path.name} needs {indices}, which cannot be read: {error}") from None
    m = len(rows)
    if whole.shape != (2 * m, 2 * m):
        raise CorpusError(f"{path} has shape {whole.shape}, but {indices.name} names {m} sessions: ({2 * m}, {2 * m})")
    if any(len(row) < 3 for row in rows):
        raise CorpusError(f"{indices}: expected site, chat and clip in every row")
    numbers = {(row[0].strip().upper(), row[1].strip(), row[2].strip()): i for i, row in enumerate(rows)}
    missing = [clip for clip in clips if _key(clip) not in numbers]
    if missing:
        raise CorpusError(f"{indices} does not name {'/'.join(_key(missing[0]))} ({len(missing)} clips in all)")
    at = np.array([numbers[_key(clip)] for clip in clips])
    at = np.concatenate([at, at + m])
    return np.asarray(whole[np.ix_(at, at)])


def _key(clip: str) -> tuple[str, str, str]:
    """Site, chat and clip of a table's entry, as in data_indices.csv; UDIVA's entries (REACT 2023) have five parts."""
    parts = clip.split("/")
    chat = f"{parts[2]}_{parts[1]}" if len(parts) > 4 else parts[1]
    return parts[0].upper(), chat, parts[-1]
