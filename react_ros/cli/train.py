"""`react-ros train`: from corpora to weights, for every system with training stages."""

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
    system: Annotated[str, typer.Argument(help="the system to train, e.g. fsq", metavar="SYSTEM")],
    corpus: Annotated[list[Path], typer.Option(help="folder of a corpus; repeatable", metavar="DIR")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="a YAML file, or the name of a configuration of the system; default: the one named as the system",
            metavar="FILE",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="override a value of the config, e.g. stages.NAME.optimizer.lr=1e-4", metavar="KEY.PATH=VALUE"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="run folder; default: runs/SYSTEM, of a trial runs/SYSTEM-trial; an interrupted run resumes from it",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="name of the weights; default: the system's", metavar="NAME")] = "",
    stage: Annotated[
        str, typer.Option(help="train this stage only; the stages before it must be finished", metavar="NAME")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda", metavar="NAME")] = "auto",
    seed: Annotated[int | None, typer.Option(help="override the config's seed", metavar="N")] = None,
    steps_limit: Annotated[
        int, typer.Option(help="most steps of each stage, for a trial; 0: no limit", min=0, metavar="N")
    ] = 0,
    jobs: Annotated[int, typer.Option(help="processes that read the corpora; 0: one per core", min=0, metavar="N")] = 0,
) -> None:
    """Train a system on one or more corpora; writes OUT/NAME.safetensors, its configuration and its model card.

    After Ctrl-C, a crash or a kill, the same command resumes the run, with exactly the numbers of an uninterrupted
    one. For several GPUs: torchrun --nproc-per-node N -m react_ros train SYSTEM …
    """
    folder = out or Path("runs") / (f"{system}-trial" if steps_limit else system)
    is_main = os.environ.get("RANK", "0") == "0"
    if Path(name).name != name:
        raise fail(f"--name {name}: it must be a name without folders")
    if "WORLD_SIZE" in os.environ:
        # Otherwise torch warns in each process that a search for unused parameters found none.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with user_errors(f"the same command resumes the run ({folder})"), _quiet(not is_main):
        from react_ros.corpus.reader import CorpusConfig, open_corpus
        from react_ros.training.config import read_config
        from react_ros.training.processes import process_group
        from react_ros.training.trainer import Run
        from react_ros.training.trainer import train as run_training
        from react_ros.training.training_stage import training_stages

        stages = training_stages(system)
        chosen = read_config(stages, training_config(system, config), changes or (), seed)
        corpora = [open_corpus(path, CorpusConfig(frames=chosen.frames)) for path in dict.fromkeys(corpus)]
        command = shlex.join(["react-ros", *sys.argv[1:]])
        run = Run(system, chosen, corpora, folder.expanduser(), name, stage, steps_limit, jobs, command)
        with process_group(device) as processes, watcher(processes.is_main) as (shown, reading):
            count = f"{processes.size} process{'es' if processes.size > 1 else ''}"
            shown.say(f"{system} on {processes.device}, {count}; {folder}")
            path = run_training(run, processes, shown, reading)
    if not is_main:
        return
    if path is None:
        print(f"stage {stage} is finished; the same command without --stage trains the others")
    else:
        print(f"{path}.safetensors, its card {path.name}.md and config {path.name}.yaml")


def training_config(system: str, given: Path | None) -> Path | None:
    """The YAML file of a training configuration. given: a path, or a name in the system's folder; None: its default.

    Returns None where the system has no configuration of its own name: every setting has a default. Raises ValueError,
    in one sentence, for an unknown name.
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
        available = f"{system} has {', '.join(own)}" if own else f"{system} has none"
        raise ValueError(f"there is no training configuration {str(given)!r}{did_you_mean(name, own)}: {available}")
    if given.name != str(given):  # in version 0.1 they were files in config/train/
        print(f"react-ros: {given} is called {name} now (--config {name})", file=sys.stderr)
    return own[name]


@contextmanager
def _quiet(quiet: bool) -> Iterator[None]:
    """End silently after Ctrl-C, which reaches every process: only the main process reports it."""
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            raise
        raise typer.Exit(130) from None


@contextmanager
def watcher(is_main: bool) -> Iterator[tuple[Watcher, Callable[[str], Callable[[int, int], None]] | None]]:
    """The watcher of a training, and progress by split for reading: bars, or a line every 30 s without a terminal.

    Processes other than the main one show nothing.
    """
    if not is_main:
        yield _NoOutput(), None
        return
    with progress_display() as bars:
        shown = _ProgressWatcher(bars)

        def reading(split: str) -> Callable[[int, int], None]:
            return lambda done, total: shown.show(f"reading the {split} split", done, total)

        yield shown, reading


class _NoOutput:
    def say(self, sentence: str) -> None:
        pass

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        pass


class _ProgressWatcher:
    def __init__(self, bars: ProgressDisplay) -> None:
        self._bars = bars

    def say(self, sentence: str) -> None:
        self._bars.print(sentence)

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self._bars.update(stage, done, steps, f"{stage}: loss {loss:.4g}")

    def show(self, key: str, done: int, total: int) -> None:
        self._bars.update(key, done, total)
