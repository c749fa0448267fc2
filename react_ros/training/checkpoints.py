"""Checkpoints: the state of a run on disk, tensors as safetensors and numbers as JSON; nothing is pickled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from react_ros.io import atomic_write, replacing


def save(path: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], keep: int) -> None:
    """Write the checkpoint folder `path`, named "step-…", and delete all but the newest `keep` beside it.

    The folder appears under its name only when it is complete. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}")
    # Left by a killed process: only one process writes into a run folder.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_tensors(temporary / "tensors.safetensors", tensors)
    write_json(temporary / "numbers.json", numbers)
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
    for old in _all(path.parent)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and numbers of the newest readable checkpoint in a folder; None without one."""
    for path in reversed(_all(folder)):
        with suppress(OSError, ValueError):
            return load_tensors(path / "tensors.safetensors"), json.loads((path / "numbers.json").read_text("utf-8"))
    return None


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of any device as safetensors, atomically and flushed to the device. Raises OSError."""
    # A copy each: safetensors refuses tensors that share memory, and some layouts.
    plain = {n: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format) for n, t in tensors.items()}
    with replacing(path, fsync=True) as temporary:
        try:
            save_file(plain, temporary)
        except SafetensorError as error:  # its only sign of a full disk
            raise OSError(f"{path} cannot be written: {error}") from None


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors that `save_tensors` wrote, on the CPU. Raises ValueError, in one sentence, for an unreadable file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON, atomically and flushed to the device. Raises OSError."""
    atomic_write(path, json.dumps(value, indent=1), fsync=True)


class JsonLines:
    """A log file of JSON lines, one a step, that can be truncated to an earlier step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new: list[str] = []

    def add(self, line: Mapping[str, Any]) -> None:
        """Queue a line until `write`. line: with its "step"; non-finite numbers become null."""
        plain = {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in line.items()}
        self._new.append(json.dumps(plain) + "\n")

    def write(self) -> None:
        """Append the queued lines to the file. Raises OSError."""
        if self._new:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(self._new)
            self._new.clear()

    def truncate_to(self, step: int) -> None:
        """Keep the lines up to a step: steps that a killed process did after its last checkpoint are done again."""
        kept = [line for line in self.read() if line["step"] <= step]
        atomic_write(self._path, "".join(json.dumps(line) + "\n" for line in kept), fsync=True)

    def read(self) -> list[dict[str, Any]]:
        """All complete lines in the file."""
        if not self._path.is_file():
            return []
        out = []
        for line in self._path.read_text("utf-8").splitlines():
            with suppress(ValueError):  # the last one may be cut off
                out.append(json.loads(line))
        return out


def _all(folder: Path) -> list[Path]:
    """The checkpoint folders, oldest first."""
    return sorted(folder.glob("step-*"))
