"""Trains a system, stage after stage, in a run's folder, up to weights that the live robot loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from react_ros.corpus.clips import Split
from react_ros.corpus.pool import Progress
from react_ros.corpus.reader import Corpus
from react_ros.package import code_version
from react_ros.training import run_folder as runfolder
from react_ros.training.card import Story, write_weights
from react_ros.training.config import TrainConfig
from react_ros.training.data import Clips, expect_modalities, load_clips
from react_ros.training.processes import World
from react_ros.training.stage_run import Outcome, StageRun, Watcher, seed_for
from react_ros.training.training_stage import Finished, Task, tasks


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be trained, from what, and where it is kept."""

    system: str
    config: TrainConfig
    corpora: Sequence[Corpus]
    out: Path
    """The run's folder. The same run in the same folder goes on where it was."""
    name: str = ""
    """Of the weights; empty: the system's."""
    stage: str = ""
    """The only stage to be trained; empty: all."""
    steps_limit: int = 0
    """The longest that each stage may be, for a trial; 0: as its epochs say."""
    jobs: int = 0
    """Processes that read the corpora; 0: one a core."""
    command: str = ""
    """What was typed, for the card."""


def train(run: Run, world: World, watcher: Watcher, progress: Callable[[Split], Progress] | None = None) -> Path | None:
    """Train what is not finished yet; returns where the weights lie, without suffix, or None with stages still to come.

    progress: what is told while a split is read. Raises CorpusError, ValueError or OSError in one sentence;
    KeyboardInterrupt, with a checkpoint written, where somebody wants it to stop.
    """
    stages = tasks(run.system)
    names = [task.stage for task in stages]
    if run.stage and run.stage not in names:
        raise ValueError(f"{run.system} has no stage {run.stage!r}: there are {', '.join(names)}")
    clips = _read(run, stages, world, progress)
    for found in clips.values():
        for sentence in found.left_out:
            watcher.say(f"left out: {sentence}")
    described = runfolder.describe(run.system, run.config, run.corpora, clips, run.steps_limit)
    runfolder.claim(run.out, described)
    world.wait()  # until all have looked
    if world.first:
        runfolder.write(run.out, described)

    previous: dict[str, Finished] = {}
    outcomes: dict[str, Outcome] = {}
    for task in stages:
        folder = run.out / task.stage
        before = runfolder.digest([run.out / name for name in previous])
        done = runfolder.finished(folder, run.config.stages[task.stage].task, before)
        if done is None and run.stage and run.stage != task.stage:
            if names.index(task.stage) > names.index(run.stage):
                return None
            raise ValueError(f"{run.out}: stage {task.stage} comes before {run.stage}, and is not finished")
        if done is None:
            done = _stage(run, task, previous, before, clips, world, watcher)
        elif run.stage in ("", task.stage):
            watcher.say(f"{task.stage}: finished already, at step {done[1].steps}")
        previous[task.stage], outcomes[task.stage] = done
    path = run.out / (run.name or run.system)
    if world.first:
        last = stages[-1](run.config.stages[names[-1]].task, {name: previous[name] for name in names[:-1]})
        last.load_state_dict(previous[names[-1]])
        last.eval()
        story = Story(
            run.system, run.corpora, clips, outcomes, run.command, run.config.seed, code_version(),
            world.device, world.size,
        )  # fmt: skip
        write_weights(path, last, story)
    world.wait()
    return path


def _read(
    run: Run, stages: Sequence[type[Task]], world: World, progress: Callable[[Split], Progress] | None
) -> dict[Split, Clips]:
    """The train split, and the val split where there is one."""
    wanted: list[Split] = ["train", *(["val"] if any("val" in c.splits for c in run.corpora) else [])]  # type: ignore[list-item]
    # What one stage needs is known before anything is read for another.
    for task in stages:
        if run.stage in ("", task.stage):
            expect_modalities(run.corpora, task.needs, f"stage {task.stage} of {run.system}")

    def read() -> dict[Split, Clips]:
        return {
            split: load_clips(
                run.corpora, split, run.config.frames, jobs=run.jobs, progress=progress(split) if progress else None
            )
            for split in wanted
        }

    # One process a machine fills the cache; then the others find it there.
    if world.first_here:
        found = read()
        world.wait()
        return found
    world.wait()
    return read()


def _stage(
    run: Run,
    task: type[Task],
    previous: Mapping[str, Finished],
    before: str,
    clips: Mapping[Split, Clips],
    world: World,
    watcher: Watcher,
) -> tuple[Finished, Outcome]:
    plan = run.config.stages[task.stage]
    folder = run.out / task.stage
    seed_for(run.config.seed, task.stage, world.device)
    made = task(plan.task, previous)
    stage = StageRun(
        made, plan, clips["train"], clips.get("val"), folder, world, watcher,
        seed=run.config.seed, steps_limit=run.steps_limit, previous=before,
    )  # fmt: skip
    outcome = stage.run()
    if world.first:
        runfolder.finish(folder, outcome, before)
    world.wait()
    done = runfolder.finished(folder, plan.task, before)
    assert done is not None
    return done
