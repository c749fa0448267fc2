"""Finds the files of a corpus on disk, in the layouts that the REACT challenges publish."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from react_ros.corpus.clips import SPLITS, CorpusError, Dyad, Layout, PersonClip, Split

MODALITIES = ("attributes", "face_model", "audio", "video")
Persons = Mapping[str, Mapping[str, str]]
"""By modality, the folder of each person of the table: {"attributes": {"Expert_video": "P1"}}."""

_REACT_FOLDERS = {"attributes": "Emotion", "face_model": "3D_FV_files", "audio": "Audio_files", "video": "Video_files"}
_MARS_FOLDERS = {
    "attributes": ("facial-attributes",),
    "face_model": ("coefficients",),
    "audio": ("audio",),
    "video": ("video-face-crop", "video-raw"),
}
_SUFFIXES = {"attributes": ".csv", "face_model": ".npy", "audio": ".wav"}
_FILMS = (".mp4", ".avi", ".mkv", ".mov", ".webm")
_ROLES = ("speaker", "listener")
_PATH_COLUMNS = ("speaker_path", "listener_path")
"""Names of the columns of a table; columns without these names are index, speaker, listener, in this order."""

Pair = tuple[PersonClip, PersonClip, str]
"""Speaker, listener, session."""


def detect(root: Path) -> Layout:
    """The layout of a folder. Raises CorpusError for a folder that is no corpus."""
    if not root.is_dir():
        raise CorpusError(f"there is no corpus folder {root}")
    if any((root / f"{split}.csv").is_file() for split in SPLITS):
        return "react2024"
    for split in SPLITS:
        if any((root / split / folder).is_dir() for folders in _MARS_FOLDERS.values() for folder in folders):
            return "mars"
        if any((root / split / folder).is_dir() for folder in _REACT_FOLDERS.values()):
            raise CorpusError(f"{root / f'{split}.csv'} is missing: it names the clips of the {split} split")
    raise CorpusError(
        f"{root} is no corpus: expected train.csv, val.csv or test.csv (REACT 2023/24) or "
        "train/facial-attributes/speaker/… (REACT 2025)"
    )


def splits(root: Path, layout: Layout) -> list[Split]:
    """The existing splits of a corpus."""
    if layout == "react2024":
        return [split for split in SPLITS if (root / f"{split}.csv").is_file()]
    return [split for split in SPLITS if (root / split).is_dir()]


def find_dyads(root: Path, layout: Layout, split: Split, persons: Persons, *, role_swap: bool) -> list[Dyad]:
    """The dyads of a split in the official order: all of the table, then (role_swap) all with the roles swapped.

    Raises CorpusError where the split is missing or its table cannot be read.
    """
    if split not in SPLITS:
        raise CorpusError(f"there is no split {split!r}: there are {', '.join(SPLITS)}")
    pairs = list(_react_pairs(root, split, persons) if layout == "react2024" else _mars_pairs(root, split, persons))
    if not pairs:
        raise CorpusError(f"the {split} split of {root} has no clips")
    n = len(pairs)
    dyads = [Dyad(i, split, a, b, session=session) for i, (a, b, session) in enumerate(pairs)]
    if role_swap:
        dyads += [Dyad(n + i, split, b, a, True, session) for i, (a, b, session) in enumerate(pairs)]
    return dyads


# REACT 2023 and 2024 ----------------------------------------------------------------------------------------------


def _react_pairs(root: Path, split: Split, persons: Persons) -> Iterable[Pair]:
    table = root / f"{split}.csv"
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            text = file.read()
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        header, *rows = list(csv.reader(text.splitlines(), delimiter=delimiter)) or [[]]
    except FileNotFoundError:
        raise CorpusError(f"{table} is missing: it names the clips of the {split} split") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{table} cannot be read as csv: {error}") from None
    if any("/" in cell or "\\" in cell for cell in header):
        # The challenge's loader drops the first row, whatever it holds: a clip would be lost silently.
        raise CorpusError(
            f"{table}, line 1 names a clip, but a header such as idx,speaker_path,listener_path is expected"
        )
    folders = _SplitFolders(root / split, persons)
    names = [cell.strip().strip('"').lower() for cell in header]
    named = set(_PATH_COLUMNS) <= set(names)
    columns = [names.index(name) for name in _PATH_COLUMNS] if named else [1, 2]
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) <= max(columns):
            raise CorpusError(f"{table}, line {line}: expected index, speaker and listener, not {','.join(row)[:80]!r}")
        speaker, listener = (folders.person(row[column], f"{table}, line {line}") for column in columns)
        yield speaker, listener, ""


class _SplitFolders:
    """The modality folders of one split."""

    def __init__(self, folder: Path, persons: Persons) -> None:
        self._persons = persons
        self._folders = {m: folder / name for m, name in _REACT_FOLDERS.items() if (folder / name).is_dir()}
        # Case-insensitive: tables and folders have NoXI, NoXi and NOXI.
        self._sites = {m: {p.name.casefold(): p for p in f.iterdir()} for m, f in self._folders.items()}

    def person(self, text: str, where: str) -> PersonClip:
        """The clip of a table's entry, e.g. NoXI/010_2016-03-25_Paris/Expert_video/1. where: for the error message."""
        parts = [part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        if len(parts) < 4 or ".." in parts:
            raise CorpusError(f"{where}: {text!r} is no clip: expected site/chat/person/clip")
        film = self._path("video", parts)
        return PersonClip(
            "/".join(parts),
            self._path("attributes", parts),
            self._path("face_model", parts),
            self._path("audio", parts),
            None if film is None else _film(film),
        )

    def _path(self, modality: str, parts: list[str]) -> Path | None:
        if modality not in self._folders:
            return None
        site = self._sites[modality].get(parts[0].casefold(), self._folders[modality] / parts[0])
        person = self._persons.get(modality, {}).get(parts[-2], parts[-2])
        return _any_case(site.joinpath(*parts[1:-2], person, parts[-1] + _SUFFIXES.get(modality, "")))


def _film(path: Path) -> Path:
    """A folder of images, or the video file of that name."""
    # os.path, not Path: it returns False for folders without permission, where Path raises an error.
    if os.path.isdir(path):
        return path
    films = [_any_case(path.with_name(path.name + suffix)) for suffix in _FILMS]
    return next((film for film in films if os.path.isfile(film)), films[0])


def _any_case(path: Path) -> Path:
    """The file, or the one beside it whose name differs in upper and lower case only: cameras write .MP4 and .WAV."""
    if os.path.exists(path) or not path.suffix:
        return path
    return path.with_name(_names_in(path.parent).get(path.name.casefold(), path.name))


@lru_cache(maxsize=64)
def _names_in(folder: Path) -> Mapping[str, str]:
    """Names in a folder by their lower-case form; empty where it cannot be listed."""
    try:
        return {name.casefold(): name for name in os.listdir(folder)}
    except OSError:
        return {}


# MARS (REACT 2025) ------------------------------------------------------------------------------------------------


def _mars_pairs(root: Path, split: Split, persons: Persons) -> Iterable[Pair]:
    folders: dict[str, Path] = {}
    for modality, names in _MARS_FOLDERS.items():
        found = [root / split / name for name in names if (root / split / name).is_dir()]
        if found:
            folders[modality] = found[0]
    if not folders:
        raise CorpusError(f"{root / split} is missing or empty: expected facial-attributes, coefficients, audio, …")
    roles = {m: [persons.get(m, {}).get(role, role) for role in _ROLES] for m in folders}
    # From all modalities, so that clips with a missing file are found and reported.
    known = {
        (path.parent.name, path.stem): None
        for modality, folder in folders.items()
        for role in roles[modality]
        for path in folder.glob(f"{role}/*/*.*")
        if not path.name.startswith(".")
    }
    for session, clip in sorted(known, key=lambda pair: (_natural(pair[0]), _natural(pair[1]))):

        def person(role: int, session: str = session, clip: str = clip) -> PersonClip:
            paths = {m: folders[m] / roles[m][role] / session for m in folders}
            return PersonClip(
                f"{_ROLES[role]}/{session}/{clip}",
                _any_case(paths["attributes"] / f"{clip}.npy") if "attributes" in paths else None,
                _any_case(paths["face_model"] / f"{clip}.npy") if "face_model" in paths else None,
                _any_case(paths["audio"] / f"{clip}.wav") if "audio" in paths else None,
                _film(paths["video"] / clip) if "video" in paths else None,
            )

        yield person(0), person(1), session


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key that puts session2 before session10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
