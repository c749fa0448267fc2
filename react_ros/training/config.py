"""The configuration of a training run: YAML and command-line changes to frozen dataclasses, and back."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from react_ros.config import config_from, config_to, did_you_mean, in_range, load_yaml, parse_yaml, whole_in_range
from react_ros.training.gate import GateConfig
from react_ros.training.training_stage import TrainingStage

_OLD_KEY = "task"
"""What the key `stage` of a stage was called in version 0.1."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter 2019) and its learning-rate schedule. Raises ValueError for impossible values."""

    lr: float = 3e-4
    """The highest learning rate."""
    weight_decay: float = 0.01
    """Of matrices and larger tensors; vectors (biases, gains) are not decayed."""
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    """one_cycle (Smith and Topin 2018): cosine from lr/25 up to lr and down to lr/250000. cosine: linear from 0 up to
    lr, cosine down to 0. constant: linear from 0 up to lr, then lr."""
    warm_up: float = 0.1
    """Share of all steps in which the rate rises."""

    def __post_init__(self) -> None:
        in_range("lr", self.lr, 1e-9, 10.0)
        in_range("weight_decay", self.weight_decay, 0.0, 10.0)
        for i, beta in enumerate(self.betas):
            in_range(f"betas[{i}]", beta, 0.0, 0.99999)
        in_range("warm_up", self.warm_up, 0.0, 0.9)


@dataclass(frozen=True, slots=True)
class OptimizationConfig:
    """How a stage is optimised, the same for every stage. Raises ValueError for an impossible value."""

    optimizer: OptimizerConfig = OptimizerConfig()
    batch: int = 32
    """Crops a step, over all processes together."""
    crop: int = 256
    """Frames of a crop; shorter clips are padded."""
    crops: int = 1
    """Crops of each clip in an epoch."""
    epochs: int = 100
    validate: int = 0
    """Number of batches of the val split to validate after an epoch, evenly spread over the split; 0: all."""
    ema: float = 0.999
    """Decay of the exponential moving average of the weights, which is validated and exported; 0: no averaging."""
    clip_norm: float = 1.0
    """Largest gradient norm; 0: no clipping."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """On CUDA; on a CPU always fp32."""
    compile: bool = False
    """torch.compile, on CUDA only."""
    checkpoint_every: int = 500
    """Steps."""
    keep: int = 2
    """Number of checkpoints kept."""
    export: Literal["best", "last"] = "best"
    """Which weights the stage ends with: of the epoch with the best validation, or of the last step."""
    gate: GateConfig | None = None
    """Whether checkpoints are also chosen by how they answer real speakers, see `gate`; None: by validation alone."""

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
        if self.gate is not None and self.export == "last":
            raise ValueError("a gate chooses between checkpoints: export must be best")


@dataclass(frozen=True, slots=True)
class StageSettings:
    """One stage of a run: how it is optimised, and the stage's own configuration."""

    optimization: OptimizationConfig
    stage: Any
    """An instance of the stage's `Config`."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The configuration of a run."""

    seed: int
    frames: int
    """Frames used of each clip (MARS, whose clips differ in length: at most)."""
    stages: Mapping[str, StageSettings]
    """All stages of the system by name, in order."""

    def plain(self) -> dict[str, Any]:
        """The mapping that, as YAML, reads back as this configuration."""
        stages = {n: {**config_to(s.optimization), "stage": config_to(s.stage)} for n, s in self.stages.items()}
        return {"seed": self.seed, "frames": self.frames, "stages": stages}


def read_config(
    stages: Sequence[type[TrainingStage]],
    file: Path | None = None,
    changes: Sequence[str] = (),
    seed: int | None = None,
) -> TrainConfig:
    """The configuration of a run of these stages: defaults, overridden by a file, then by changes, then by `seed`.

    changes: "key.path=value" each. Raises ValueError, in one sentence that names the file and the key.
    """
    given = {} if file is None else load_yaml(file, "seed: 0", aliases=True)
    where = "the config" if file is None else str(file)
    _rename_old_keys(given, where)
    for change in changes:
        _apply(given, change)
        _rename_old_keys(given, f"--set {change}")
    if changes:
        where += " with --set"
    _expect_keys(given, ("seed", "frames", "stages"), where)
    numbers = {"seed": 0 if seed is None else seed, "frames": 750}
    for name in numbers:
        value = given.get(name, numbers[name]) if name != "seed" or seed is None else seed
        try:
            whole_in_range(name, value, 0 if name == "seed" else 1, 2**63 - 1 if name == "seed" else 1_000_000)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        numbers[name] = value
    by_stage = given.get("stages") or {}
    _expect_keys(by_stage, [kind.stage for kind in stages], f"{where}: stages")
    settings = {
        kind.stage: _settings(kind, by_stage.get(kind.stage) or {}, f"{where}: stages.{kind.stage}") for kind in stages
    }
    # Checked before anything is trained, not when the stage's turn comes.
    for i, kind in enumerate(stages):
        try:
            if settings[kind.stage].optimization.gate is not None and not kind.reacts():
                raise ValueError(f"stages.{kind.stage}.gate: this stage makes no reactions that could be gated")
            kind.expect_fit(settings[kind.stage].stage, {k.stage: settings[k.stage].stage for k in stages[:i]})
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return TrainConfig(numbers["seed"], numbers["frames"], settings)


def with_current_keys(run: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a run (run.yaml) of any version, with the keys of today."""
    renamed: dict[str, Any] = dict(copy.deepcopy(run))
    _rename_old_keys(renamed, "")
    return renamed


def _rename_old_keys(given: dict[str, Any], where: str) -> None:
    """Rename `task` to `stage` in every stage, in place. where: for a logged notice; empty: no notice."""
    stages = given.get("stages")
    for name, stage in stages.items() if isinstance(stages, dict) else ():
        if not isinstance(stage, dict) or _OLD_KEY not in stage:
            continue
        if "stage" in stage:
            raise ValueError(f"{where}: stages.{name} has both 'stage' and {_OLD_KEY!r}, its former name: keep one")
        stage["stage"] = stage.pop(_OLD_KEY)
        if where:
            _log.warning("%s: stages.%s.%s is called stages.%s.stage now", where, name, _OLD_KEY, name)


def _settings(kind: type[TrainingStage], given: Any, where: str) -> StageSettings:
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {given!r}, but it must hold names and values")
    own = given.get("stage") or {}
    optimization = {key: value for key, value in given.items() if key != "stage"}
    return StageSettings(
        config_from(OptimizationConfig, optimization, where), config_from(kind.Config, own, f"{where}.stage")
    )


def _expect_keys(given: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {given!r}, but it must hold names and values: {', '.join(known)}")
    for key in given:
        if key not in known:
            raise ValueError(f"{where}: there is no {key!r}{did_you_mean(key, known)}: there are {', '.join(known)}")


def _apply(given: dict[str, Any], change: str) -> None:
    """Set one value in the mapping, in place."""
    import yaml

    path, equals, text = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ValueError(f"--set {change}: it must be key.path=value, e.g. stages.{{stage}}.optimizer.lr=1e-4")
    if len(keys) > 2 and keys[0] == "stages" and keys[2] == _OLD_KEY:
        _log.warning("--set %s: stages.%s.%s is called stages.%s.stage now", change, keys[1], _OLD_KEY, keys[1])
        keys[2] = "stage"
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        raise ValueError(f"--set {change}: its value cannot be read as YAML") from None
    inner = given
    for key in keys[:-1]:
        if inner.get(key) is None:
            inner[key] = {}
        inner = inner[key]
        if not isinstance(inner, dict):
            raise ValueError(f"--set {change}: {key} holds no further names")
    inner[keys[-1]] = value
