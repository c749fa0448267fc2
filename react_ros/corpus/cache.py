"""Cache of features computed from corpus files, keyed by the SHA-256 of the file's content."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from react_ros import assets
from react_ros.face import Floats
from react_ros.io import atomic_write, map_npy, private_folder, sha256_of


class FeatureCache:
    """Arrays of (T, columns) float32 on disk, one npy file each.

    Any number of processes may share a folder. Damaged files are recomputed; without write permission everything is
    computed at each call.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """folder: None for "features" in the package's cache (`assets.cache_dir`: ~/.cache/react_ros)."""
        self.folder = folder or assets.cache_dir() / "features"
        self._digests: dict[Path, tuple[int, int, str]] = {}

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's content; remembered while size and modification time stay the same. Raises OSError."""
        stat = path.stat()
        size, changed, digest = self._digests.get(path, (-1, -1, ""))
        if (size, changed) != (stat.st_size, stat.st_mtime_ns):
            digest = sha256_of(path)
            self._digests[path] = (stat.st_size, stat.st_mtime_ns, digest)
        return digest

    def path(self, kind: str, digest: str) -> Path:
        """The file of an array. kind: what it holds, with a version, e.g. "sound-1"."""
        return self.folder / kind / digest[:2] / f"{digest}.npy"

    def array(self, kind: str, source: Path, columns: int, compute: Callable[[], Floats]) -> Floats:
        """The (T, columns) float32 that `compute` gives for the file `source`; computed once per content."""
        path = self.path(kind, self.digest(source))
        array = _read(path, columns)
        if array is None:
            array = compute()
            with suppress(OSError):
                private_folder(self.folder)
                private_folder(self.folder / kind)
                atomic_write(path, lambda file: np.save(file, array, allow_pickle=False))
        return array


def _read(path: Path, columns: int) -> Floats | None:
    # Not memory-mapped: a map keeps the file open, and a split has more clips than a process may have open files.
    try:
        array = np.array(map_npy(path))
    except (OSError, ValueError):
        return None
    good = array.dtype == np.float32 and array.ndim == 2
    return array if good and array.shape[1] == columns else None
