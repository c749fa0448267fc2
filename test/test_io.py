"""Files are written whole or not at all, and errors name them."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import BinaryIO

import pytest

from react_ros.io import atomic_write, replacing, sha256, sha256_of


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("content", ["für", "für".encode(), lambda file: file.write("für".encode())])
def test_content_is_written_and_the_parent_folder_made(tmp_path: Path, content: object, fsync: bool) -> None:
    path = tmp_path / "new" / "file.txt"
    atomic_write(path, content, fsync=fsync)  # type: ignore[arg-type]
    assert path.read_text("utf-8") == "für"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]
    assert sha256_of(path) == sha256("für") == sha256("für".encode()) == hashlib.sha256("für".encode()).hexdigest()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    atomic_write(path, "old")

    def interrupted(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, interrupted)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_without_a_file_name_gets_that_of_the_file(tmp_path: Path) -> None:
    def full(_: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        atomic_write(tmp_path / "file.txt", full)
    assert caught.value.filename == str(tmp_path / "file.txt") and not list(tmp_path.iterdir())


def test_a_library_may_write_to_the_temporary_path_itself(tmp_path: Path) -> None:
    with replacing(tmp_path / "file.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "file.txt").exists()
    assert (tmp_path / "file.txt").read_text() == "new" and len(list(tmp_path.iterdir())) == 1
