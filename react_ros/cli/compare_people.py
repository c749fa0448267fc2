"""`react-ros corpus compare`: can a classifier tell simulated people from real ones?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from react_ros.cli.progress import progress
from react_ros.cli.terminal import plain_console, user_errors
from react_ros.corpus.clips import SPLITS, Split

Clips = Annotated[Path, typer.Argument(help="a folder of clips (npz, films), a bag, a corpus, or footage")]


def compare(
    real: Clips,
    simulated: Clips,
    split: Annotated[str, typer.Option(help="of a corpus: train, val or test")] = "test",
    most: Annotated[int, typer.Option(help="most clips of each; 0: all", metavar="N")] = 100,
    seed: Annotated[int, typer.Option(help="of the windows that are drawn and of the folds", metavar="N")] = 0,
) -> None:
    """Tell the speakers of two sets of clips apart by a classifier; say by which channels. 0.5 is chance."""
    from rich.table import Table

    from react_ros.evaluation.behaviour.telling_apart import MOST_WINDOWS, tell_apart
    from react_ros.evaluation.responsiveness.clips import read_clips

    chosen: Split | None = next((s for s in SPLITS if s == split), None)
    if chosen is None:
        raise typer.BadParameter(f"{split!r} is no split: there are {', '.join(SPLITS)}", param_hint="--split")
    console = plain_console()
    with user_errors():
        sides = []
        for path in (real, simulated):
            with progress(f"reading {path}") as report:
                clips, problems = read_clips(path, split=chosen, limit=most, progress=report)
            for problem in problems:
                console.print(problem, markup=False)
            sides.append(clips)
        with progress("classifying") as report:
            views = tell_apart(
                *([c.frames for c in side] for side in sides),
                people=([c.group for c in sides[0]], [c.group for c in sides[1]]),
                seed=seed,
                progress=report,
            )
    table = Table("", "accuracy", "AUC", "trees", "windows", box=None, padding=(0, 2, 0, 0))
    for v in views:
        table.add_row(v.view, f"{v.accuracy:.2f}", f"{v.auc:.2f}", f"{v.trees:.2f}", f"{v.windows[0]} / {v.windows[1]}")
    console.print(table)
    for v in views:
        telling = ", ".join(f"{name} {value:+.1f}" for name, value in v.telling[:6])
        console.print(f"{v.view}: {telling}", markup=False, soft_wrap=True)
    console.print(
        f"Balanced accuracy of a logistic regression, and of trees, on windows of 2 s (at most {MOST_WINDOWS} of a "
        "clip) of people that were not trained on; 0.5: cannot be told apart. Differences: second minus first, in "
        "standard deviations.",
        markup=False,
    )
