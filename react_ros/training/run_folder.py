"""A run's folder: run.yaml says what it is, and each stage that is finished what it ended with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from react_ros.corpus.cache import atomically
from react_ros.corpus.clips import Split
from react_ros.corpus.reader import Corpus
from react_ros.package import code_version
from react_ros.training import checkpoints
from react_ros.training.config import TrainConfig
from react_ros.training.data import Clips
from react_ros.training.stage_run import Outcome
from react_ros.training.training_stage import Finished


def describe(
    system: str, config: TrainConfig, corpora: Sequence[Corpus], clips: Mapping[Split, Clips], steps_limit: int
) -> dict[str, Any]:
    """What makes a run what it is, as run.yaml holds it."""
    return {
        "system": system,
        **config.plain(),
        "steps_limit": steps_limit,
        "corpora": [str(corpus.root.resolve()) for corpus in corpora],
        "data": {split: found.digest for split, found in clips.items()},
        "code": code_version(),
    }


def claim(folder: Path, run: Mapping[str, Any]) -> None:
    """Raises ValueError, in one sentence, where a stage that has begun in the folder belongs to another run.

    A stage that has not begun, or whose folder was removed, may change. The code may, too.
    """
    path = folder / "run.yaml"
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no run: choose another folder with --out")
        return
    try:
        kept = yaml.safe_load(path.read_text("utf-8"))
        if not isinstance(kept, dict):
            raise ValueError("it holds no names and values")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    begun = [name for name in run["stages"] if (folder / name).is_dir()]
    if not begun:
        return
    before, now = _flat(kept), _flat(run)
    # The data last: other frames, say, are other data too.
    for key in sorted(before.keys() | now.keys(), key=lambda key: (key.startswith("data."), key)):
        parts = key.split(".")
        if key == "code" or (parts[0] == "stages" and parts[1] not in begun):
            continue
        if before.get(key) != now.get(key):
            which = parts[1] if parts[0] == "stages" else None
            remove = f"remove {folder / which} to train that stage anew" if which else "choose another with --out"
            if parts[0] == "data":
                raise ValueError(f"{folder} was begun when the {parts[1]} split had other content: {remove}")
            raise ValueError(f"{folder} was begun with {key} {before.get(key)!r}, not {now.get(key)!r}: {remove}")


def write(folder: Path, run: Mapping[str, Any]) -> None:
    """Write run.yaml. Raises OSError."""
    text = yaml.safe_dump(dict(run), sort_keys=False, allow_unicode=True, width=120)
    atomically(folder / "run.yaml", lambda file: file.write(text.encode()))


def finish(folder: Path, outcome: Outcome, previous: str) -> None:
    """Say that the stage in this folder is finished; finished.safetensors is there already. Raises OSError."""
    checkpoints.write_json(folder / "finished.json", {**asdict(outcome), "previous": previous})


def finished(folder: Path, config: Any, previous: str) -> tuple[Finished, Outcome] | None:
    """What the stage in this folder ended with; None where it is not finished.

    previous: digest of the stages before it. Raises ValueError where it was trained on others, or cannot be read.
    """
    path = folder / "finished.json"
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text("utf-8"))
        trained_on = told.pop("previous")
        outcome = Outcome(**told)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read: {error}; remove {folder} to train the stage anew") from None
    if trained_on != previous:
        raise ValueError(f"{folder} was trained on other weights of the stages before it: remove it to train it anew")
    return Finished(checkpoints.load_tensors(folder / "finished.safetensors"), config), outcome


def digest(folders: Sequence[Path]) -> str:
    """Of the weights that these stages ended with."""
    whole = hashlib.sha256()
    for folder in folders:
        with (folder / "finished.safetensors").open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest() if folders else ""


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """{"a.b": value} of nested mappings, which no longer tells lists from tuples."""
    if isinstance(value, Mapping) and value:
        inner = [_flat(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()]
        return {key: v for part in inner for key, v in part.items()}
    return {path: list(value) if isinstance(value, tuple) else value}
