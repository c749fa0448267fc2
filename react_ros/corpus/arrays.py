"""Reads and validates the arrays of one clip; errors are one sentence with clip, file and column."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from react_ros.corpus.clips import CorpusError, missing
from react_ros.face import ATTRIBUTE_NAMES, ATTRIBUTES, FACE_MODEL, Floats
from react_ros.io import map_npy

FACE_MODEL_NAMES = (
    *(f"coefficient {i}" for i in range(52)), "pitch", "yaw", "roll", "x", "y", "z",
)  # fmt: skip
_KNOWN = {name.lower(): i for i, name in enumerate(ATTRIBUTE_NAMES)}


def read_attributes_csv(path: Path, clip: str) -> Floats:
    """(T, 25) float32 from an Emotion csv: a header, then a row of 25 numbers per frame.

    Columns are separated by commas, semicolons or tabs, the latter two with decimal commas or points. If the header has
    the 25 names of `ATTRIBUTE_NAMES` (case-insensitive), columns are sorted by it; any other header is taken for the
    official order. A first column that numbers the frames is left out. Raises CorpusError.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise missing(clip, "attributes", path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{clip}: its attributes {path} cannot be read: {error}") from None
    if not text.strip():
        raise CorpusError(f"{clip}: {path} is empty")
    header, _, body = text.partition("\n")
    delimiter = max(",;\t", key=header.count)
    if delimiter != ",":
        body = body.replace(",", ".").replace(delimiter, ",")
    names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
    if any(_is_number(name) for name in names):
        raise CorpusError(f"{clip}: {path} begins with numbers, where a header with 25 names is expected")
    body, names = _without_numbers(body, names)
    _expect_columns(len(names), names, clip, path)
    if not body.strip():
        raise CorpusError(f"{clip}: {path} has a header and no frames")
    try:
        data = np.loadtxt(io.StringIO(body), delimiter=",", dtype=np.float32, ndmin=2, comments=None, quotechar='"')
    except ValueError:
        raise CorpusError(f"{clip}: {_first_fault(body, names)} ({path})") from None
    _expect_columns(data.shape[1], names, clip, path)
    if set(names) == set(_KNOWN) and names != list(_KNOWN):
        data = data[:, [names.index(name) for name in _KNOWN]]
    return np.ascontiguousarray(data)


def _without_numbers(body: str, names: list[str]) -> tuple[str, list[str]]:
    """A csv's rows and column names without a first column that only numbers the rows, as pandas and R write it."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(names) != ATTRIBUTES + 1 or names[0] in _KNOWN or not lines:
        return body, names
    numbers, rest = [], []
    for line in lines:
        first, _, others = line.partition(",")
        numbers.append(first.strip().strip('"'))
        rest.append(others)
    if not all(_is_number(n) for n in numbers):
        return body, names
    steps = np.diff([float(n) for n in numbers])
    counts = bool((steps > 0).all() and np.allclose(steps, steps[:1])) and float(numbers[0]) >= 0
    return ("\n".join(rest), names[1:]) if counts or names[0] in ("", "unnamed: 0") else (body, names)


def read_npy(path: Path, clip: str, columns: int, what: str) -> npt.NDArray[np.generic]:
    """A memory map of an npy file that squeezes to (T, columns). what: for error messages. Raises CorpusError."""
    try:
        array = map_npy(path)
    except FileNotFoundError:
        raise missing(clip, what, path) from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{clip}: its {what} {path} cannot be read as npy: {error}") from None
    if array.dtype.kind not in "fiu":
        raise CorpusError(f"{clip}: its {what} {path} holds {array.dtype}, but numbers are expected")
    if array.dtype.itemsize > 8:
        raise CorpusError(f"{clip}: its {what} {path} holds {array.dtype}, but float32 or float64 is expected")
    if array.shape[-1:] != (columns,) or sum(n != 1 for n in array.shape[:-1]) > 1 or not array.size:
        raise CorpusError(
            f"{clip}: the shape of its {what} is {array.shape}, but (frames, {columns}) is right ({path})"
        )
    return array.reshape(-1, columns)


def expect_finite(array: Floats, clip: str, what: str) -> Floats:
    """The same (T, 25) or (T, 58) array. Raises CorpusError for NaN or infinity, with column and first such frame."""
    bad = ~np.isfinite(array)
    if bad.any():
        frame, column = (int(i) for i in np.argwhere(bad)[0])
        names = {ATTRIBUTES: ATTRIBUTE_NAMES, FACE_MODEL: FACE_MODEL_NAMES}[array.shape[1]]
        count = int(bad.any(1).sum())
        raise CorpusError(
            f"{clip}: in its {what}, {names[column]} is {array[frame, column]} in frame {frame} (from 0; {count} such "
            f"frame{'s' * (count > 1)})"
        )
    return array


def resample(array: Floats, rate: float, wanted: float, nearest: slice | None = None) -> Floats:
    """Resample (T, C) from `rate` to `wanted` frames a second: frame k is at k / wanted s, up to the last input frame.

    Linear interpolation; columns `nearest` take the nearer frame (the later one if both are equally near).
    """
    count = int(np.floor((len(array) - 1) * wanted / rate + 1e-9)) + 1 if len(array) else 0
    position = np.arange(count) * (rate / wanted)
    before = np.minimum(np.floor(position + 1e-9).astype(np.int64), len(array) - 1)
    after = np.minimum(before + 1, len(array) - 1)
    weight = np.clip(position - before, 0.0, 1.0)[:, None].astype(np.float32)
    out = array[before] * (1.0 - weight) + array[after] * weight
    if nearest is not None:
        out[:, nearest] = array[np.where(weight[:, 0] >= 0.5, after, before), nearest]
    return out.astype(np.float32)


def _expect_columns(count: int, names: Sequence[str], clip: str, path: Path) -> None:
    if count == ATTRIBUTES:
        return
    sentence = f"{clip}: {path} has {count} column{'s' * (count != 1)}, but the {ATTRIBUTES} attributes are expected"
    if len(set(names) & set(_KNOWN)) > ATTRIBUTES // 2:
        missing = [name for name in ATTRIBUTE_NAMES if name.lower() not in names]
        beyond = [name for name in names if name not in _KNOWN]
        sentence += f": {', '.join(missing)} missing" * bool(missing) + f": {', '.join(beyond)} too many" * bool(beyond)
    raise CorpusError(sentence)


def _first_fault(body: str, names: Sequence[str]) -> str:
    for frame, row in enumerate(line for line in body.splitlines() if line.strip()):
        cells = row.split(",")
        if len(cells) != len(names):
            return f"frame {frame} has {len(cells)} columns, not {len(names)}"
        for name, cell in zip(names, cells, strict=True):
            if not _is_number(cell):
                return f"{name} is {cell.strip()!r} in frame {frame}, which is no number"
    return "its attributes cannot be read as numbers"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.strip().lower() not in ("nan", "inf", "infinity")
