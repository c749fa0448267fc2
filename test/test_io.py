"""Files are written whole or not at all, and errors name them."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from typer.testing import CliRunner

from react_ros.bags import manifest
from react_ros.bags.types import new_message, serialise
from react_ros.bags.writer import STORAGES, BagWriter
from react_ros.cli.main import app
from react_ros.corpus.cache import FeatureCache
from react_ros.corpus.recorded import RecordedCorpus
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


def test_what_shows_people_is_for_its_owner_only(tmp_path: Path) -> None:
    """Recordings, kept features, corpora of recorded people: whatever the umask."""
    before = os.umask(0)
    try:
        for storage in STORAGES:
            bag = BagWriter(tmp_path / storage, storage)
            bag.write("/chat", "std_msgs/msg/String", 1, serialise(new_message("std_msgs/msg/String", data="x")))
            bag.flush()
            assert modes(tmp_path / storage) == {0o700, 0o600}
            bag.close()
            manifest.write_manifest(tmp_path / storage, {"a": 1})
            assert modes(tmp_path / storage) == {0o700, 0o600}
        (tmp_path / "source").write_bytes(b"1")
        FeatureCache(tmp_path / "features").array(
            "sound-1", tmp_path / "source", 2, lambda: np.zeros((3, 2), np.float32)
        )
        RecordedCorpus(tmp_path / "people").begin()
        for folder in ("features", "features/sound-1", "people"):
            assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700, folder
    finally:
        os.umask(before)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


def test_what_is_kept_of_people_can_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REACT_ROS_CACHE", str(tmp_path))
    (tmp_path / "face_landmarker.task").write_bytes(b"model")
    FeatureCache().array("sound-1", tmp_path / "face_landmarker.task", 2, lambda: np.zeros((3, 2), np.float32))
    result = CliRunner().invoke(app, ["assets", "clear"], catch_exceptions=False)
    assert result.exit_code == 0 and "1 files" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["face_landmarker.task"]
    assert "1 files" in CliRunner().invoke(app, ["assets", "clear", "--downloads"]).output
    assert list(tmp_path.iterdir()) == []
