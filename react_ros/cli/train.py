"""`react-ros train`: a corpus to weights, for every system that learns."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from react_ros.cli.progress import ProgressDisplay, progress_display
from react_ros.cli.terminal import fail, user_errors

if TYPE_CHECKING:
    from react_ros.training.stage_run import Watcher


def train(
    system: Annotated[str, typer.Argument(help="which system, e.g. fsq", metavar="SYSTEM")],
    corpus: Annotated[list[Path], typer.Option(help="folder of a corpus; repeatable", metavar="DIR")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="a YAML file, or the name of one of the system's own; default: the one named as the system",
            metavar="FILE",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="over the config, e.g. stages.NAME.optimizer.lr=1e-4", metavar="KEY.PATH=VALUE"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder of the run; default: runs/SYSTEM; the same command again goes on", metavar="DIR"),
    ] = None,
    name: Annotated[str, typer.Option(help="of the weights; default: the system's", metavar="NAME")] = "",
    stage: Annotated[str, typer.Option(help="only this stage; the ones before must be finished", metavar="NAME")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda", metavar="NAME")] = "auto",
    seed: Annotated[int | None, typer.Option(help="over the config's", metavar="N")] = None,
    steps_limit: Annotated[int, typer.Option(help="a trial: no stage is longer; 0: all", min=0, metavar="N")] = 0,
    jobs: Annotated[int, typer.Option(help="processes that read; 0: one a core", min=0, metavar="N")] = 0,
) -> None:
    """Train a system on one or more corpora; leaves OUT/NAME.safetensors with its card.

    After a Ctrl-C, a crash or a kill the same command goes on, with the very numbers of an unbroken run. For many
    GPUs: torchrun --nproc-per-node N -m react_ros train SYSTEM …
    """
    folder = out or Path("runs") / system
    first = os.environ.get("RANK", "0") == "0"
    if Path(name).name != name:
        raise fail(f"--name {name}: it must be a name without folders")
    if "WORLD_SIZE" in os.environ:
        # Else torch warns, once a process, that a search for unused parameters found none.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with user_errors(f"the same command goes on where it was ({folder})"), _quiet(not first):
        from react_ros.corpus.reader import CorpusConfig, open_corpus
        from react_ros.training.config import read_config
        from react_ros.training.processes import joined
        from react_ros.training.trainer import Run
        from react_ros.training.trainer import train as run_training
        from react_ros.training.training_stage import tasks

        stages = tasks(system)
        chosen = read_config(stages, training_config(system, config), changes or (), seed)
        corpora = [open_corpus(path, CorpusConfig(frames=chosen.frames)) for path in dict.fromkeys(corpus)]
        command = shlex.join(["react-ros", *sys.argv[1:]])
        run = Run(system, chosen, corpora, folder.expanduser(), name, stage, steps_limit, jobs, command)
        with joined(device) as world, watcher(world.first) as (shown, reading):
            shown.say(f"{system} on {world.device}, {world.size} process{'es' if world.size > 1 else ''}; {folder}")
            path = run_training(run, world, shown, reading)
    if not first:
        return
    if path is None:
        print(f"stage {stage} is finished; without --stage the same command goes on with the others")
    else:
        print(f"{path}.safetensors, its card {path.name}.md and config {path.name}.yaml")


def training_config(system: str, given: Path | None) -> Path | None:
    """The YAML file of a training: a path, or the name of one in the system's folder; None: defaults.

    Raises ValueError, in one sentence, where there is neither.
    """
    from react_ros.config import did_you_mean
    from react_ros.generators import registry

    own = registry.system(system).training_configs()
    if given is None:
        return own.get(system)
    if given.is_file():
        return given
    name = given.name.removesuffix(".yaml")
    if name not in own:
        there = f"{system} has {', '.join(own)}" if own else f"{system} has none"
        raise ValueError(f"there is no training configuration {str(given)!r}{did_you_mean(name, own)}: {there}")
    if given.name != str(given):  # until version 0.1 they lay in config/train/
        print(f"react-ros: {given} is called {name} now (--config {name})", file=sys.stderr)
    return own[name]


@contextmanager
def _quiet(quiet: bool) -> Iterator[None]:
    """Ctrl-C reaches every process, but one word of it is enough."""
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            raise
        raise typer.Exit(130) from None


@contextmanager
def watcher(first: bool) -> Iterator[tuple[Watcher, Callable[[str], Callable[[int, int], None]] | None]]:
    """Bars for reading and for steps, and sentences above them; on no terminal, sentences only."""
    if not first:
        yield _Silent(), None
        return
    with progress_display() as bars:
        shown = _Shown(bars)

        def reading(split: str) -> Callable[[int, int], None]:
            return lambda done, total: shown.show(f"reading the {split} split", done, total)

        yield shown, reading


class _Silent:
    def say(self, sentence: str) -> None:
        pass

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        pass


class _Shown:
    def __init__(self, bars: ProgressDisplay) -> None:
        self._bars = bars

    def say(self, sentence: str) -> None:
        self._bars.print(sentence)

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self._bars.update(stage, done, steps, f"{stage}: loss {loss:.4g}")

    def show(self, key: str, done: int, total: int) -> None:
        self._bars.update(key, done, total)
