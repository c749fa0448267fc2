"""Trains a system, stage after stage, in a run folder, up to weights that the live robot loads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from react_ros.config import did_you_mean
from react_ros.corpus.clips import Split
from react_ros.corpus.pool import Progress
from react_ros.corpus.reader import Corpus
from react_ros.generators.speaker_inputs import RUNNING_MEAN, InputScheme, input_scheme
from react_ros.package import code_version
from react_ros.training import run_folder
from react_ros.training.card import Provenance, add_responsiveness, write_weights
from react_ros.training.config import TrainConfig
from react_ros.training.data import Clips, expect_modalities, load_clips
from react_ros.training.gate import Gate
from react_ros.training.processes import ProcessGroup
from react_ros.training.stage_run import StageOutcome, StageRun, Watcher, seed_for
from react_ros.training.training_stage import FinishedStage, TrainingStage, training_stages


@dataclass(frozen=True, slots=True)
class Run:
    """What to train, on which data, and where."""

    system: str
    config: TrainConfig
    corpora: Sequence[Corpus]
    out: Path
    """The run folder. The same run in the same folder resumes."""
    name: str = ""
    """Of the weights; empty: the system's."""
    stage: str = ""
    """The only stage to train; empty: all."""
    steps_limit: int = 0
    """Most steps of each stage, for a trial; 0: as many as its epochs have."""
    jobs: int = 0
    """Processes that read the corpora; 0: one a core."""
    command: str = ""
    """The command line, for the model card."""


def train(
    run: Run,
    processes: ProcessGroup,
    watcher: Watcher,
    progress: Callable[[Split], Progress] | None = None,
) -> Path | None:
    """Train the stages that are not finished; returns the weights' path without suffix, None with stages left to do.

    progress: called with a split's name before it is read; the result is called with (clips done, clips in all).
    Raises CorpusError, ValueError or OSError in one sentence; KeyboardInterrupt, after writing a checkpoint, when
    interrupted.
    """
    stages = [kind for kind in training_stages(run.system) if kind.applies(run.config.stages[kind.stage].stage)]
    names = [kind.stage for kind in stages]
    if run.stage and run.stage not in names:
        known = [kind.stage for kind in training_stages(run.system)]
        here = " with this configuration" if run.stage in known else ""
        near = did_you_mean(run.stage, names)
        raise ValueError(f"{run.system} has no stage {run.stage!r}{here}{near}: there are {', '.join(names)}")
    # Before hours of training, not when a stage's turn comes.
    gates = _gates(run)
    clips = _read(run, stages, processes, progress)
    for found in clips.values():
        for sentence in found.left_out:
            watcher.say(f"left out: {sentence}")
    description = run_folder.describe(run.system, run.config, run.corpora, clips, run.steps_limit)
    trial = run_folder.claim(run.out, description)
    processes.barrier()  # until all have compared run.yaml
    if processes.is_main:
        if trial:
            watcher.say(f"{run.out} held a trial with a limit of steps, which is replaced")
        for stage in trial:
            shutil.rmtree(stage)
        run_folder.write(run.out, description)
    processes.barrier()

    previous: dict[str, FinishedStage] = {}
    outcomes: dict[str, StageOutcome] = {}
    for kind in stages:
        folder = run.out / kind.stage
        before = run_folder.digest([run.out / name for name in previous])
        done = run_folder.finished(folder, run.config.stages[kind.stage].stage, before)
        if done is None and run.stage and run.stage != kind.stage:
            if names.index(kind.stage) > names.index(run.stage):
                return None
            raise ValueError(f"{run.out}: stage {kind.stage} comes before {run.stage}, and is not finished")
        if done is None:
            gate = gates.get(kind.stage)
            done = _train_stage(run, kind, previous, before, clips, processes, watcher, gate)
        elif run.stage in ("", kind.stage):
            watcher.say(f"{kind.stage}: finished already, at step {done[1].steps}")
        previous[kind.stage], outcomes[kind.stage] = done
    path = run.out / (run.name or run.system)
    if processes.is_main:
        last = stages[-1](run.config.stages[names[-1]].stage, {name: previous[name] for name in names[:-1]})
        last.load_state_dict(previous[names[-1]])
        last.eval()
        provenance = Provenance(
            run.system, run.corpora, clips, outcomes, run.command, run.config.seed, code_version(),
            processes.device, processes.size,
        )  # fmt: skip
        write_weights(path, last, provenance)
        if (gate := gates.get(names[-1])) is not None:
            watcher.say(f"responsiveness of the finished weights, {len(gate.clips)} clips")
            add_responsiveness(path, run.system, gate, outcomes[names[-1]].gate)
    processes.barrier()
    return path


def _read(
    run: Run,
    stages: Sequence[type[TrainingStage]],
    processes: ProcessGroup,
    progress: Callable[[Split], Progress] | None,
) -> dict[Split, Clips]:
    """The train split, and the val split where there is one."""
    wanted: list[Split] = ["train", *(["val"] if any("val" in c.splits for c in run.corpora) else [])]  # type: ignore[list-item]
    # Missing modalities are reported before hours of reading.
    for kind in stages:
        if run.stage in ("", kind.stage):
            expect_modalities(run.corpora, kind.needs, f"stage {kind.stage} of {run.system}")

    inputs = _inputs(run, stages)

    def read() -> dict[Split, Clips]:
        return {
            split: load_clips(
                run.corpora,
                split,
                run.config.frames,
                inputs=inputs,
                jobs=run.jobs,
                progress=progress(split) if progress else None,
            )
            for split in wanted
        }

    # One process of each machine fills the cache; the others read it from there.
    if processes.is_local_main:
        found = read()
        processes.barrier()
        return found
    processes.barrier()
    return read()


def _gates(run: Run) -> dict[str, Gate]:
    """The gates of the stages, with their clips read. Raises ValueError, in one sentence, where there are none."""
    configs = {n: s.optimization.gate for n, s in run.config.stages.items() if s.optimization.gate is not None}
    return {name: Gate.open(config) for name, config in configs.items()}


def _inputs(run: Run, stages: Sequence[type[TrainingStage]]) -> InputScheme:
    """The speaker rows that all stages share. Raises ValueError where they want different ones."""
    wanted = {kind.stage: kind.inputs(run.config.stages[kind.stage].stage) for kind in stages}
    names = list(dict.fromkeys(name for name in wanted.values() if name is not None))
    if len(names) > 1:
        each = ", ".join(f"{stage}: {name}" for stage, name in wanted.items() if name is not None)
        raise ValueError(f"the stages of {run.system} want different rows of the speaker ({each}): they share one")
    return input_scheme(names[0]) if names else RUNNING_MEAN


def _train_stage(
    run: Run,
    kind: type[TrainingStage],
    previous: Mapping[str, FinishedStage],
    before: str,
    clips: Mapping[Split, Clips],
    processes: ProcessGroup,
    watcher: Watcher,
    gate: Gate | None,
) -> tuple[FinishedStage, StageOutcome]:
    settings = run.config.stages[kind.stage]
    folder = run.out / kind.stage
    seed_for(run.config.seed, kind.stage, processes.device)
    stage_run = StageRun(
        kind(settings.stage, previous), settings.optimization, clips["train"], clips.get("val"), folder, processes,
        watcher, seed=run.config.seed, steps_limit=run.steps_limit, previous=before, gate=gate,
    )  # fmt: skip
    outcome = stage_run.run()
    if processes.is_main:
        run_folder.finish(folder, outcome, before)
    processes.barrier()
    done = run_folder.finished(folder, settings.stage, before)
    assert done is not None
    return done
