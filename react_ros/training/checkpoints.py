"""Keeps the state of a run on disk: tensors as safetensors, numbers as JSON, whole or not at all, never pickled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


def save(path: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], keep: int) -> None:
    """Write the folder `path`, "step-…", and delete all but the newest `keep` beside it. Raises OSError."""
    temporary = path.with_name(f".{path.name}")
    # Whatever a killed process left: only one process writes into a run's folder.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_tensors(temporary / "tensors.safetensors", tensors)
    write_json(temporary / "numbers.json", numbers)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    for old in _all(path.parent)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and numbers of the newest checkpoint that can be read; None without one."""
    for path in reversed(_all(folder)):
        with suppress(OSError, ValueError):
            return load_tensors(path / "tensors.safetensors"), json.loads((path / "numbers.json").read_text("utf-8"))
    return None


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of any device as safetensors, whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A copy each: safetensors refuses tensors that share memory, and some layouts.
    plain = {n: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for n, t in tensors.items()}
    try:
        save_file(plain, temporary)
    except SafetensorError as error:  # so it tells of a full disk
        raise OSError(f"{path} cannot be written: {error}") from None
    _sync(temporary)
    temporary.replace(path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors that `save_tensors` wrote, on the CPU. Raises ValueError, in one sentence, where they cannot be read."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(temporary, json.dumps(value, indent=1).encode())
    temporary.replace(path)


class Lines:
    """A file of JSON lines, one a step, that can be taken back to an earlier step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new: list[str] = []

    def add(self, line: Mapping[str, Any]) -> None:
        """line: with its "step"; numbers that are not finite become null."""
        plain = {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in line.items()}
        self._new.append(json.dumps(plain) + "\n")

    def write(self) -> None:
        """Bring what was added to disk. Raises OSError."""
        if self._new:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(self._new)
            self._new.clear()

    def back_to(self, step: int) -> None:
        """Keep the lines of steps up to `step`: what a killed process wrote after its last checkpoint comes again."""
        kept = [line for line in self.read() if line["step"] <= step]
        temporary = self._path.with_name(f".{self._path.name}.new")
        _write(temporary, "".join(json.dumps(line) + "\n" for line in kept).encode())
        temporary.replace(self._path)

    def read(self) -> list[dict[str, Any]]:
        """All whole lines on disk."""
        if not self._path.is_file():
            return []
        out = []
        for line in self._path.read_text("utf-8").splitlines():
            with suppress(ValueError):  # the last one, half written
                out.append(json.loads(line))
        return out


def _all(folder: Path) -> list[Path]:
    """The checkpoints, oldest first."""
    return sorted(folder.glob("step-*"))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
