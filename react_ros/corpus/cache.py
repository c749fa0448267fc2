"""Keeps what was computed from a corpus' files, under the digest of their content."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from react_ros import assets
from react_ros.face import Floats


def atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is there whole or not at all, whoever else writes it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("xb") as file:
            write(file)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = error.filename or str(path)  # a full disk names nothing
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class FeatureCache:
    """Arrays of (T, columns) float32 on disk, one npy each, which other programs may memory-map.

    Any number of processes may share a folder. A damaged file is computed anew; where nothing can be written,
    everything is computed each time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """folder: None takes "features" in the project's cache (`assets.cache_dir`: ~/.cache/react_ros)."""
        self.folder = folder or assets.cache_dir() / "features"
        self._digests: dict[Path, tuple[int, int, str]] = {}

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's content, read once while its size and time stay the same. Raises OSError."""
        stat = path.stat()
        size, changed, digest = self._digests.get(path, (-1, -1, ""))
        if (size, changed) != (stat.st_size, stat.st_mtime_ns):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._digests[path] = (stat.st_size, stat.st_mtime_ns, digest)
        return digest

    def path(self, kind: str, digest: str) -> Path:
        """Where an array lies. kind: what it is, with a version, e.g. "sound-1"."""
        return self.folder / kind / digest[:2] / f"{digest}.npy"

    def array(self, kind: str, source: Path, columns: int, compute: Callable[[], Floats]) -> Floats:
        """The (T, columns) float32 that `compute` makes of the file `source`; computed once for the same content."""
        path = self.path(kind, self.digest(source))
        array = _read(path, columns)
        if array is None:
            array = compute()
            with suppress(OSError):
                atomically(path, lambda file: np.save(file, array, allow_pickle=False))
        return array


def _read(path: Path, columns: int) -> Floats | None:
    # Read whole: a memory map keeps a file open, and a split has more clips than a process may have open files.
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim == 2
    return array if good and array.shape[1] == columns else None
