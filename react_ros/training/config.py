"""What a person may choose of a training run: YAML to frozen dataclasses, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml

from react_ros.config import config_from, config_to, in_range, whole_in_range
from react_ros.training.training_stage import Task


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter 2019) and its rate over time. Raises ValueError for an impossible value."""

    lr: float = 3e-4
    """The highest learning rate."""
    weight_decay: float = 0.01
    """Of matrices; biases and other vectors are left alone."""
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    """one_cycle (Smith and Topin 2018): up from lr/25 and down to lr/250000, both along a cosine. cosine: up from 0
    along a line, down to 0 along a cosine. constant: up from 0 along a line."""
    warm_up: float = 0.1
    """Share of all steps in which the rate goes up."""

    def __post_init__(self) -> None:
        in_range("lr", self.lr, 1e-9, 10.0)
        in_range("weight_decay", self.weight_decay, 0.0, 10.0)
        for i, beta in enumerate(self.betas):
            in_range(f"betas[{i}]", beta, 0.0, 0.99999)
        in_range("warm_up", self.warm_up, 0.0, 0.9)


@dataclass(frozen=True, slots=True)
class StageConfig:
    """How one stage is trained. Raises ValueError for an impossible value."""

    optimizer: OptimizerConfig = OptimizerConfig()
    batch: int = 32
    """Crops a step, over all processes together."""
    crop: int = 256
    """Frames of a crop; a clip that is shorter is padded."""
    crops: int = 1
    """Crops of each clip in an epoch."""
    epochs: int = 100
    validate: int = 0
    """Most batches of the val split that are validated after an epoch, spread over all; 0: all."""
    ema: float = 0.999
    """Decay of the weights' running mean, which is validated and exported; 0: the weights themselves."""
    clip_norm: float = 1.0
    """The longest gradient; 0: any."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """On CUDA; on a CPU it is always fp32."""
    compile: bool = False
    """torch.compile, on CUDA only."""
    checkpoint_every: int = 500
    """Steps."""
    keep: int = 2
    """Checkpoints that stay."""
    export: Literal["best", "last"] = "best"
    """Which epoch the stage ends with: the best in validation, or the last."""

    def __post_init__(self) -> None:
        whole_in_range("batch", self.batch, 1, 65536)
        whole_in_range("crop", self.crop, 1, 100_000, "frames")
        whole_in_range("crops", self.crops, 1, 10_000)
        whole_in_range("epochs", self.epochs, 1, 1_000_000)
        whole_in_range("validate", self.validate, 0, 1_000_000, "batches")
        in_range("ema", self.ema, 0.0, 0.999999)
        in_range("clip_norm", self.clip_norm, 0.0, 1e6)
        whole_in_range("checkpoint_every", self.checkpoint_every, 1, 10_000_000, "steps")
        whole_in_range("keep", self.keep, 1, 1000)


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage: how it is trained, and its own config."""

    training: StageConfig
    task: Any
    """The task's `Config`."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A whole run."""

    seed: int
    frames: int
    """Frames of a clip that are used (MARS: at most)."""
    stages: Mapping[str, StagePlan]
    """Of all stages of the system, in order."""

    def plain(self) -> dict[str, Any]:
        """As the YAML that gives it again."""
        stages = {n: {**config_to(p.training), "task": config_to(p.task)} for n, p in self.stages.items()}
        return {"seed": self.seed, "frames": self.frames, "stages": stages}


def read_config(
    stages: Sequence[type[Task]], file: Path | None = None, changes: Sequence[str] = (), seed: int | None = None
) -> TrainConfig:
    """The config of a YAML file, with defaults for what it does not say, and changes of it.

    changes: "key.path=value" each, over the file, e.g. "stages.tokenizer.optimizer.lr=1e-4". seed: over both.
    Raises ValueError, in one sentence that names the file and the key.
    """
    said = {} if file is None else _read(file)
    where = "the config" if file is None else str(file)
    for change in changes:
        _change(said, change)
    if changes:
        where += " with --set"
    _expect_keys(said, ("seed", "frames", "stages"), where)
    numbers = {"seed": 0 if seed is None else seed, "frames": 750}
    for name in numbers:
        given = said.get(name, numbers[name]) if name != "seed" or seed is None else seed
        try:
            whole_in_range(name, given, 0 if name == "seed" else 1, 2**63 - 1 if name == "seed" else 1_000_000)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        numbers[name] = given
    parts = said.get("stages") or {}
    _expect_keys(parts, [task.stage for task in stages], f"{where}: stages")
    plans = {task.stage: _stage(task, parts.get(task.stage) or {}, f"{where}: stages.{task.stage}") for task in stages}
    # Known before anything is trained, not when the stage's turn comes.
    for i, task in enumerate(stages):
        try:
            task.expect_fit(plans[task.stage].task, {t.stage: plans[t.stage].task for t in stages[:i]})
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return TrainConfig(numbers["seed"], numbers["frames"], plans)


def _stage(task: type[Task], said: Any, where: str) -> StagePlan:
    if not isinstance(said, dict):
        raise ValueError(f"{where} is {said!r}, but it must hold names and values")
    own = said.get("task") or {}
    training = {key: value for key, value in said.items() if key != "task"}
    return StagePlan(config_from(StageConfig, training, where), config_from(task.Config, own, f"{where}.task"))


def _expect_keys(said: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(said, dict):
        raise ValueError(f"{where} is {said!r}, but it must hold names and values: {', '.join(known)}")
    for key in said:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            guess = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"{where}: there is no {key!r}{guess}: there are {', '.join(known)}")


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as YAML 1.2 has it; PyYAML's 1.1 takes it for a text."""


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+.0123456789")
)


def _read(file: Path) -> dict[str, Any]:
    try:
        said = yaml.load(file.read_text("utf-8"), _Loader)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if said is not None and not isinstance(said, dict):
        raise ValueError(f"{file} must hold names and values, e.g. 'seed: 0'")
    return said or {}


def _change(said: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ValueError(f"--set {change}: it must be key.path=value, e.g. stages.{{stage}}.optimizer.lr=1e-4")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise ValueError(f"--set {change}: its value cannot be read as YAML") from None
    inner = said
    for key in keys[:-1]:
        if inner.get(key) is None:
            inner[key] = {}
        inner = inner[key]
        if not isinstance(inner, dict):
            raise ValueError(f"--set {change}: {key} holds no further names")
    inner[keys[-1]] = value
