"""`react-ros corpus`: check a corpus, simulate one, compute who is appropriate for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from react_ros.commands import fail, lines, progress, sentences
from react_ros.corpus.clips import EVALUATED_FRAMES, SPLITS, Split

app = typer.Typer(no_args_is_help=True, help="Clips on disk: the REACT layouts, and simulated dyads.")

CorpusPath = Annotated[Path, typer.Argument(help="folder of the corpus", metavar="PATH")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="train, val or test; repeatable; all without")]
Frames = Annotated[int, typer.Option(help="frames that a clip must have (MARS: at most)", metavar="N")]
Jobs = Annotated[int, typer.Option(help="processes; 0: one a core", metavar="N")]


@app.command()
def check(corpus: CorpusPath, split: Splits = None, frames: Frames = EVALUATED_FRAMES, jobs: Jobs = 0) -> None:
    """Read everything once; list every missing, short, unreadable or odd file. Exit code 1 where clips are unusable."""
    from rich.markup import escape
    from rich.table import Table

    from react_ros.corpus.check import check as check_corpus
    from react_ros.corpus.reader import CorpusConfig, open_corpus

    console = lines()
    with sentences():
        opened = open_corpus(corpus, CorpusConfig(frames=frames))
        with progress("reading every clip") as tell:
            report = check_corpus(opened, _splits(split), jobs=jobs, progress=tell)
    if opened.notice:
        console.print(opened.notice, markup=False)
    if report.problems:
        table = Table("split", "", "problem", box=None, padding=(0, 2, 0, 0))
        table.columns[2].overflow = "fold"
        for p in report.problems:
            table.add_row(p.split, "odd" if p.warning else "unusable", escape(p.sentence))
        console.print(table)
    totals = Table("", "clips", "good", "missing", "unusable", box=None, padding=(0, 2, 0, 0))
    for modality, t in report.totals.items():
        totals.add_row(modality, *map(str, (t.clips, t.good, t.missing, t.bad)))
    console.print(totals)
    dyads = ", ".join(f"{name} {n}" for name, n in report.dyads.items())
    console.print(f"{opened.layout}, {opened.scheme}, {opened.source_fps:g} fps; dyads: {dyads}")
    console.print(f"{len(report.errors)} unusable, {len(report.warnings)} odd")
    if report.errors:
        raise typer.Exit(1)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="a new folder", metavar="OUT")],
    sessions: Annotated[int, typer.Option(help="clips of 30 s, of two people each")] = 200,
    seed: Annotated[int, typer.Option(help="the same seed writes the same bytes")] = 7,
    tellers: Annotated[int, typer.Option(help="sessions that tell one story: appropriate listeners a clip")] = 5,
    audio_rate: Annotated[int, typer.Option(help="Hz")] = 16000,
    jobs: Jobs = 0,
) -> None:
    """Write a corpus of simulated dyads in the layout of REACT 2024: nobody's data, and it says so everywhere."""
    from react_ros.corpus.simulation import simulate as write

    with sentences(), progress("simulating dyads") as tell:
        write(
            out, sessions=sessions, seed=seed, tellers=tellers, audio_rate=audio_rate, jobs=jobs or None, progress=tell
        )
    print(f"{out}: {sessions} simulated sessions. Look at them with: react-ros corpus check {out}")


@app.command()
def appropriateness(corpus: CorpusPath, split: Splits = None, jobs: Jobs = 0) -> None:
    """Who is appropriate for whom: read the challenge's matrix where it is there, else compute and keep it."""
    import numpy as np

    from react_ros.corpus.reader import open_corpus

    with sentences():
        opened = open_corpus(corpus)
        for name in _splits(split) or opened.splits:
            with progress(f"comparing speakers: {name}") as tell:
                matrix = opened.appropriate(name, jobs=jobs, progress=tell)
            each = matrix.sum(axis=1)
            print(
                f"{name}: {len(matrix)} dyads; appropriate listeners each: {each.min()} to {each.max()}, "
                f"median {np.median(each):g}"
            )


@app.command("mean-listener")
def mean_listener(
    corpus: CorpusPath,
    file: Annotated[
        Path, typer.Argument(help="what to write: FILE.safetensors, with its card FILE.yaml", metavar="FILE")
    ],
    split: Annotated[str, typer.Option(help="whose listeners", metavar="NAME")] = "train",
    frames: Frames = EVALUATED_FRAMES,
) -> None:
    """Write the mean of a corpus' listeners, for mean_frame and mean_sequence (statistics=FILE)."""
    from react_ros.corpus.mean_listener import write_mean_listener
    from react_ros.corpus.reader import CorpusConfig, open_corpus

    if file.suffix != ".safetensors":
        raise fail(f"{file} must end in .safetensors")
    with sentences():
        for name in _splits([split]) or ():
            for sentence in write_mean_listener(open_corpus(corpus, CorpusConfig(frames=frames)), file, name):
                print(f"left out: {sentence}")
    print(f"{file} and its card {file.with_suffix('.yaml').name}")


def _splits(names: list[str] | None) -> list[Split] | None:
    for name in names or ():
        if name not in SPLITS:
            raise fail(f"there is no split {name!r}: there are {', '.join(SPLITS)}")
    return [split for split in SPLITS if split in names] if names else None
