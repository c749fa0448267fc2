"""The poster's ablation: trains the token listener once with each quantizer, all else equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from react_ros.corpus.clips import Split
from react_ros.corpus.pool import Progress
from react_ros.nn.quantizers import Kind, QuantizerConfig
from react_ros.training import checkpoints, run_folder
from react_ros.training.config import TrainConfig
from react_ros.training.processes import ProcessGroup
from react_ros.training.stage_run import StageOutcome, Watcher
from react_ros.training.trainer import Run, train


@dataclass(frozen=True, slots=True)
class TrainedQuantizer:
    """The result of one quantizer's run."""

    kind: Kind
    quantizer: QuantizerConfig
    weights: Path
    """The safetensors file."""
    tokenizer: StageOutcome
    predictor: StageOutcome


def with_quantizer(config: TrainConfig, kind: Kind) -> TrainConfig:
    """The same configuration with another quantizer, with as many codes a group as the configured levels give.

    lfq needs a power of two: the nearest one, by ratio.
    """
    settings = config.stages["tokenizer"]
    size = math.prod(settings.stage.model.quantizer.levels)
    if kind == "lfq":
        size = 2 ** max(round(math.log2(size)), 1)
    quantizer = replace(settings.stage.model.quantizer, kind=kind, codebook_size=size)
    stage = replace(settings.stage, model=replace(settings.stage.model, quantizer=quantizer))
    return replace(config, stages={**config.stages, "tokenizer": replace(settings, stage=stage)})


def train_kinds(
    run: Run,
    kinds: Sequence[Kind],
    processes: ProcessGroup,
    watcher: Watcher,
    progress: Callable[[Split], Progress] | None = None,
) -> list[TrainedQuantizer]:
    """Train a run's system with each kind of quantizer, each in a run folder of its own below `run.out`.

    The encoder does not depend on the tokens: it is trained with the first kind and copied to the others. Finished
    runs are not repeated. progress, errors: as `train`; also ValueError for more than one process.
    """
    if processes.size > 1:
        # The library would compute the entropy of lfq over each process' batch alone.
        raise ValueError(f"the ablation trains in one process, not in {processes.size}: start it without torchrun")
    trained: list[TrainedQuantizer] = []
    for kind in kinds:
        one = replace(run, config=with_quantizer(run.config, kind), out=run.out / kind, name=kind)
        labelled = _Labelled(watcher, kind)
        if trained:
            train(replace(one, stage="tokenizer"), processes, labelled, progress)
            _share_encoder(run.out / trained[0].kind, one.out)
        path = train(one, processes, labelled, progress)
        assert path is not None
        outcomes = _outcomes(one.out, list(one.config.stages))
        quantizer = one.config.stages["tokenizer"].stage.model.quantizer
        weights = path.with_name(f"{path.name}.safetensors")
        trained.append(TrainedQuantizer(kind, quantizer, weights, outcomes["tokenizer"], outcomes["predictor"]))
    return trained


def _share_encoder(first: Path, other: Path) -> None:
    """Copy the first run's encoder to another run, which would train the same weights from the same seed and data."""
    folder = other / "encoder"
    if (folder / "finished.json").is_file():
        return
    done = run_folder.finished(first / "encoder", None, run_folder.digest([first / "tokenizer"]))
    assert done is not None
    checkpoints.save_tensors(folder / "finished.safetensors", done[0])
    run_folder.finish(folder, done[1], run_folder.digest([other / "tokenizer"]))


def _outcomes(folder: Path, stages: Sequence[str]) -> dict[str, StageOutcome]:
    found = {}
    for i, stage in enumerate(stages):
        done = run_folder.finished(folder / stage, None, run_folder.digest([folder / name for name in stages[:i]]))
        assert done is not None
        found[stage] = done[1]
    return found


class _Labelled:
    """A watcher that adds the quantizer to every message."""

    def __init__(self, watcher: Watcher, kind: Kind) -> None:
        self._watcher, self._kind = watcher, kind

    def say(self, sentence: str) -> None:
        self._watcher.say(f"{self._kind}: {sentence}")

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self._watcher.step(f"{self._kind}, {stage}", done, steps, loss)
