"""The folder of a run: run.yaml describes it, and each finished stage leaves its weights and its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from react_ros.config import dump_yaml, excerpt, parse_yaml
from react_ros.corpus.clips import Split
from react_ros.corpus.reader import Corpus
from react_ros.io import atomic_write, sha256, sha256_of
from react_ros.package import code_version
from react_ros.training import checkpoints
from react_ros.training.config import TrainConfig, with_current_keys
from react_ros.training.data import Clips
from react_ros.training.stage_run import StageOutcome
from react_ros.training.training_stage import FinishedStage


def describe(
    system: str, config: TrainConfig, corpora: Sequence[Corpus], clips: Mapping[Split, Clips], steps_limit: int
) -> dict[str, Any]:
    """Everything that determines a run's result, as run.yaml holds it."""
    return {
        "system": system,
        **config.plain(),
        "steps_limit": steps_limit,
        "corpora": [str(corpus.root.resolve()) for corpus in corpora],
        "data": {split: found.digest for split, found in clips.items()},
        "code": code_version(),
    }


def claim(folder: Path, run: Mapping[str, Any]) -> list[Path]:
    """Raise ValueError, in one sentence, where the folder has a stage that was begun with other settings or data.

    A trial, which had a limit of steps, makes way for a run without one: returns the folders of its stages, which are
    to be removed.

    Settings of stages that have not begun, or whose folder was removed, may change; so may the code. Folders of
    version 0.1 are accepted.
    """
    path = folder / "run.yaml"
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no run: choose another folder with --out")
        return []
    try:
        kept = parse_yaml(path.read_text("utf-8"), exponents=False)
        if not isinstance(kept, dict):
            raise ValueError("it holds no names and values")
        kept = with_current_keys(kept)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {excerpt(str(error))}") from None
    begun = [name for name in run["stages"] if (folder / name).is_dir()]
    if not begun:
        return []
    if kept.get("steps_limit") and not run["steps_limit"]:
        return [folder / name for name in begun]
    before, now = _flat(kept), _flat(run)
    # Data last: a changed setting, e.g. the number of frames, changes their digest too and is the better message.
    for key in sorted(before.keys() | now.keys(), key=lambda key: (key.startswith("data."), key)):
        parts = key.split(".")
        if key == "code" or (parts[0] == "stages" and parts[1] not in begun):
            continue
        if before.get(key) != now.get(key):
            stage = parts[1] if parts[0] == "stages" else None
            remove = f"remove {folder / stage} to train that stage anew" if stage else "choose another with --out"
            if parts[0] == "data":
                raise ValueError(f"{folder} was begun when the {parts[1]} split had other content: {remove}")
            raise ValueError(f"{folder} was begun with {key} {before.get(key)!r}, not {now.get(key)!r}: {remove}")
    return []


def write(folder: Path, run: Mapping[str, Any]) -> None:
    """Write run.yaml. Raises OSError."""
    atomic_write(folder / "run.yaml", dump_yaml(dict(run), sort_keys=False, allow_unicode=True, width=120))


def finish(folder: Path, outcome: StageOutcome, previous: str) -> None:
    """Mark the stage in this folder as finished, after its finished.safetensors was written. Raises OSError."""
    checkpoints.write_json(folder / "finished.json", {**asdict(outcome), "previous": previous})


def finished(folder: Path, config: Any, previous: str) -> tuple[FinishedStage, StageOutcome] | None:
    """Weights and outcome of the stage in this folder; None where it is not finished.

    previous: `digest` of the stages before it. Raises ValueError where the stage was trained after others, or cannot
    be read.
    """
    path = folder / "finished.json"
    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text("utf-8"))
        trained_after = kept.pop("previous")
        outcome = StageOutcome(**kept)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read: {error}; remove {folder} to train the stage anew") from None
    if trained_after != previous:
        raise ValueError(f"{folder} was trained on other weights of the stages before it: remove it to train it anew")
    return FinishedStage(checkpoints.load_tensors(folder / "finished.safetensors"), config), outcome


def digest(folders: Sequence[Path]) -> str:
    """SHA-256 over the digests of these stages' final weights; empty without stages."""
    digests = [bytes.fromhex(sha256_of(folder / "finished.safetensors")) for folder in folders]
    return sha256(b"".join(digests)) if digests else ""


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """{"a.b": value} of nested mappings, with tuples as lists, so that YAML and dataclasses compare."""
    if isinstance(value, Mapping) and value:
        inner = [_flat(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()]
        return {key: v for part in inner for key, v in part.items()}
    return {path: list(value) if isinstance(value, tuple) else value}
