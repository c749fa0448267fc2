"""Atomic file writes, SHA-256 digests, and arrays from files that may be damaged."""

from __future__ import annotations

import hashlib
import math
import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt


def atomic_write(
    path: Path, content: bytes | memoryview | str | Callable[[BinaryIO], object], *, fsync: bool = False
) -> None:
    """Write a file such that other processes see the old content or all of the new; makes the parent folder.

    content: the bytes, text (stored as UTF-8), or a function that writes to the open file. fsync: also force the data
    to the device before the file appears under its name, so that it survives a power failure. Raises OSError, which
    names the file.
    """
    with replacing(path, fsync=fsync) as temporary, temporary.open("xb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, fsync: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to, for libraries that open files themselves; it replaces `path` on success.

    On an exception the temporary file is removed and `path` stays as it was. Arguments and errors as `atomic_write`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each writer, hidden from globs.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        if fsync:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = error.filename or str(path)  # a full disk names no file
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def private_folder(path: Path) -> Path:
    """Make a folder for what shows people, which only its owner may enter; one that is there keeps its mode. Raises
    OSError."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def keep_private(path: Path) -> None:
    """Let only the owner enter a folder of a recording and read its files; not on file systems without modes."""
    with suppress(OSError):
        path.chmod(0o700)
        for file in path.iterdir():
            if file.is_file() and not file.is_symlink():
                file.chmod(0o600)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(data: bytes | memoryview | str) -> str:
    """Hexadecimal SHA-256 of bytes, or of text as UTF-8."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def map_npy(path: Path) -> npt.NDArray[Any]:
    """A memory map of an npy file. Raises OSError for a missing file, ValueError with the reason for another format."""
    with path.open("rb") as file:
        magic = file.read(len(np.lib.format.MAGIC_PREFIX))
    # np.load takes other files for pickles, and its error message advises to allow pickles.
    if magic != np.lib.format.MAGIC_PREFIX:
        raise ValueError("it is no npy file" if magic else "it is empty")
    try:
        with warnings.catch_warnings(action="ignore"):  # overflows, and headers of Python 2
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError:
        raise
    except Exception as error:  # parsers of damaged bytes raise anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"it is damaged: {reason}") from None
    # numpy's product of the lengths may overflow.
    if min(array.shape, default=0) < 0 or math.prod(array.shape) * array.dtype.itemsize > path.stat().st_size:
        raise ValueError(f"it is damaged: its shape is {array.shape}")
    return array
