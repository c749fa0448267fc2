"""Trains the token listener once with each quantizer, and everything else equal: the poster's ablation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from react_ros.corpus.clips import Split
from react_ros.corpus.pool import Progress
from react_ros.nn.quantizers import Kind, QuantizerConfig
from react_ros.training import checkpoints
from react_ros.training import run_folder as runfolder
from react_ros.training.config import TrainConfig
from react_ros.training.processes import World
from react_ros.training.stage_run import Outcome, Watcher
from react_ros.training.trainer import Run, train


@dataclass(frozen=True, slots=True)
class Trained:
    """What one quantizer's run ended with."""

    kind: Kind
    quantizer: QuantizerConfig
    weights: Path
    """The safetensors file."""
    tokenizer: Outcome
    predictor: Outcome


def of_kind(config: TrainConfig, kind: Kind) -> TrainConfig:
    """The same run with another quantizer, of as many codes a group as the config's levels make.

    lfq can only have a power of two: it gets the nearest one, by ratio.
    """
    plan = config.stages["tokenizer"]
    size = math.prod(plan.task.model.quantizer.levels)
    if kind == "lfq":
        size = 2 ** max(round(math.log2(size)), 1)
    quantizer = replace(plan.task.model.quantizer, kind=kind, codebook_size=size)
    task = replace(plan.task, model=replace(plan.task.model, quantizer=quantizer))
    return replace(config, stages={**config.stages, "tokenizer": replace(plan, task=task)})


def train_kinds(
    run: Run, kinds: Sequence[Kind], world: World, watcher: Watcher, progress: Callable[[Split], Progress] | None = None
) -> list[Trained]:
    """Train a run's system with each kind of quantizer, in a run's folder of its own below `run.out`.

    The encoder hears no tokens: it is trained with the first kind, and the others get that one. What is finished is
    not trained again. progress, and what is raised: as `train`; also ValueError for more than one process.
    """
    if world.size > 1:
        # The library's entropy for lfq is then that of one process' own batch.
        raise ValueError(f"the ablation trains in one process, not in {world.size}: start it without torchrun")
    trained: list[Trained] = []
    for kind in kinds:
        one = replace(run, config=of_kind(run.config, kind), out=run.out / kind, name=kind)
        named = _Named(watcher, kind)
        if trained:
            train(replace(one, stage="tokenizer"), world, named, progress)
            _share_encoder(run.out / trained[0].kind, one.out)
        path = train(one, world, named, progress)
        assert path is not None
        outcomes = _outcomes(one.out, list(one.config.stages))
        quantizer = one.config.stages["tokenizer"].task.model.quantizer
        weights = path.with_name(f"{path.name}.safetensors")
        trained.append(Trained(kind, quantizer, weights, outcomes["tokenizer"], outcomes["predictor"]))
    return trained


def _share_encoder(first: Path, other: Path) -> None:
    """Finish the other run's encoder with the first one's: by the same seed and data it would get the same numbers."""
    folder = other / "encoder"
    if (folder / "finished.json").is_file():
        return
    done = runfolder.finished(first / "encoder", None, runfolder.digest([first / "tokenizer"]))
    assert done is not None
    checkpoints.save_tensors(folder / "finished.safetensors", done[0])
    runfolder.finish(folder, done[1], runfolder.digest([other / "tokenizer"]))


def _outcomes(folder: Path, stages: Sequence[str]) -> dict[str, Outcome]:
    found = {}
    for i, stage in enumerate(stages):
        done = runfolder.finished(folder / stage, None, runfolder.digest([folder / name for name in stages[:i]]))
        assert done is not None
        found[stage] = done[1]
    return found


class _Named:
    """Says which quantizer a stage belongs to."""

    def __init__(self, watcher: Watcher, kind: Kind) -> None:
        self._watcher, self._kind = watcher, kind

    def say(self, sentence: str) -> None:
        self._watcher.say(f"{self._kind}: {sentence}")

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self._watcher.step(f"{self._kind}, {stage}", done, steps, loss)
