"""`react-ros corpus`: check corpora, make them from recordings or by simulation, compute appropriateness matrices."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from react_ros.cli.choices import choice
from react_ros.cli.compare_people import compare
from react_ros.cli.progress import progress
from react_ros.cli.terminal import AudioChannels, AudioRate, fail, plain_console, shortened, user_errors
from react_ros.config import did_you_mean
from react_ros.corpus.clips import EVALUATED_FRAMES, SPLITS, CorpusError, Split

if TYPE_CHECKING:
    from react_ros.corpus.recorded import SessionRecord

app = typer.Typer(
    no_args_is_help=True, help="Corpora: clips of dyads on disk, in the REACT layouts, recorded or simulated."
)

app.command("compare")(compare)

CorpusPath = Annotated[Path, typer.Argument(help="folder of the corpus", metavar="PATH")]
Splits = Annotated[list[str] | None, choice(SPLITS, "repeatable; default: all", "--split")]
Frames = Annotated[int, typer.Option(help="frames that are read of a clip (MARS: at most)", metavar="N")]
Jobs = Annotated[int, typer.Option(help="processes; 0: one per core", metavar="N")]
LeastFace = Annotated[
    float, typer.Option(help="share of a clip's frames in which each face must be detected, 0 to 1", metavar="SHARE")
]
Out = Annotated[Path, typer.Option(help="folder of the corpus, to which sessions are added", metavar="DIR")]

MOST_COMPARED = 1000
"""Clips of a split up to which the appropriateness matrix is computed at once: the time grows with the square."""


@app.command()
def check(corpus: CorpusPath, split: Splits = None, frames: Frames = EVALUATED_FRAMES, jobs: Jobs = 0) -> None:
    """Read every clip; list missing, short, unreadable and odd files. Exit code 1 if clips are unusable."""
    from rich.markup import escape
    from rich.table import Table

    from react_ros.corpus.check import check as check_corpus
    from react_ros.corpus.reader import CorpusConfig, open_corpus

    console = plain_console()
    with user_errors():
        opened = open_corpus(corpus, CorpusConfig(frames=frames))
        with progress("reading every clip") as report:
            checked = check_corpus(opened, _splits(split), jobs=jobs, progress=report)
    if opened.notice:
        console.print(opened.notice, markup=False)
    if checked.problems:
        table = Table("split", "", "problem", box=None, padding=(0, 2, 0, 0))
        table.columns[2].overflow = "fold"
        for p in checked.problems:
            table.add_row(p.split, "odd" if p.warning else "unusable", escape(p.sentence))
        console.print(table)
    totals = Table("", "clips", "good", "missing", "unusable", box=None, padding=(0, 2, 0, 0))
    for modality, t in checked.totals.items():
        totals.add_row(modality, *map(str, (t.clips, t.good, t.missing, t.bad)))
    console.print(totals)
    dyads = ", ".join(f"{name} {n}" for name, n in checked.dyads.items())
    console.print(f"{opened.layout}, {opened.scheme}, {opened.source_fps:g} fps; dyads: {dyads}")
    console.print(f"{len(checked.errors)} unusable, {len(checked.warnings)} odd")
    if checked.errors:
        raise typer.Exit(1)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="a new folder", metavar="OUT")],
    world: Annotated[
        str,
        choice(
            ("a", "b", "early"),
            "a: people like real ones (needs hibari-tts); b: others, for figures; early: those of version 0.1",
        ),
    ] = "a",
    sessions: Annotated[int, typer.Option(help="number of sessions: two people, 30 s")] = 200,
    seed: Annotated[int, typer.Option(help="the same seed writes the same files")] = 7,
    tellers: Annotated[
        int, typer.Option(help="sessions per story, 4 to 6: the number of appropriate listeners of a clip")
    ] = 5,
    audio_rate: Annotated[int, typer.Option(help="sample rate, Hz")] = 16000,
    jobs: Jobs = 0,
) -> None:
    """Write a corpus of simulated dyads in the layout of REACT 2024; it and all results made from it are marked.

    If it is interrupted, run it again: finished sessions are kept.
    """
    from react_ros.corpus.simulation import simulate as write

    with user_errors(f"the same command continues it ({out})"), progress("simulating dyads") as report:
        write(
            out,
            world=world,
            sessions=sessions,
            seed=seed,
            tellers=tellers,
            audio_rate=audio_rate,
            jobs=jobs or None,
            progress=report,
        )
    print(f"{out}: {sessions} simulated sessions. To check them: react-ros corpus check {out}")


@app.command("from-video")
def from_video(
    films: Annotated[
        tuple[Path, Path],
        typer.Argument(help="two video files of one conversation, one person each", metavar="A.mp4 B.mp4"),
    ],
    out: Out,
    audio_a: Annotated[
        Path | None, typer.Option(help="audio file that begins with A; default: A's audio", metavar="FILE")
    ] = None,
    audio_b: Annotated[
        Path | None, typer.Option(help="audio file that begins with B; default: B's audio", metavar="FILE")
    ] = None,
    offset: Annotated[
        float, typer.Option(help="how much later B was started than A; negative: earlier", metavar="SECONDS")
    ] = 0.0,
    session: Annotated[
        str, typer.Option(help="name of the session; default: from the file names", metavar="NAME")
    ] = "",
    split: Annotated[str, choice(SPLITS, "split that the session is added to")] = "train",
    site: Annotated[str, typer.Option(help="name of the recording site", metavar="NAME")] = "recorded",
    least_face: LeastFace = 0.8,
    video: Annotated[bool, typer.Option("--video/--no-video", help="also write the clips' videos")] = False,
) -> None:
    """Add two videos of one conversation to a corpus as a session, with the perception of the live robot."""
    from react_ros.corpus.from_video import Footage
    from react_ros.corpus.from_video import from_video as perceive
    from react_ros.corpus.recorded import DyadRecording, RecordedCorpus

    if not abs(offset) <= 86_400:
        raise fail(f"--offset {offset:g}: it must be a number of seconds within a day")
    with user_errors():
        name = session or "_".join(re.sub(r"[^A-Za-z0-9.+-]", "-", film.stem).strip("-.") for film in films)
        chosen = _splits([split]) or []
        recording = DyadRecording(name, chosen[0], site, made_by="react-ros corpus from-video")
        # Starts on a shared time, neither of them negative.
        later = (round(max(-offset, 0.0) * 1e9), round(max(offset, 0.0) * 1e9))
        footage = (Footage(films[0], audio_a, later[0]), Footage(films[1], audio_b, later[1]))
        corpus = RecordedCorpus(out)
        with progress("frames of both people") as report:
            record = perceive(footage, corpus, recording, least_face=least_face, video=video, progress=report)
        if not record.written:
            corpus.remove(recording)  # so that it can be repeated with another --offset or --least-face
        corpus.finish()
    _report(record)
    if not record.written:
        raise fail(f"{name}: no clip can be used")
    _write_appropriateness(out)


@app.command("from-bags")
def from_bags(
    bags: Annotated[list[Path], typer.Argument(help="bags, each a session of two people", metavar="BAG…")],
    out: Out,
    image_a: Annotated[str, typer.Option(help="camera topic of person A; default: that of the first namespace")] = "",
    audio_a: Annotated[str, typer.Option(help="microphone topic of person A")] = "",
    features_a: Annotated[str, typer.Option(help="recorded features of person A, instead of a camera")] = "",
    image_b: Annotated[str, typer.Option(help="camera topic of person B; default: that of the second namespace")] = "",
    audio_b: Annotated[str, typer.Option(help="microphone topic of person B")] = "",
    features_b: Annotated[str, typer.Option(help="recorded features of person B")] = "",
    perceive: Annotated[
        bool, typer.Option("--perceive", help="perceive the images, even if features were recorded")
    ] = False,
    split: Annotated[str, choice(SPLITS, "split that the session is added to")] = "train",
    site: Annotated[str, typer.Option(help="name of the recording site", metavar="NAME")] = "recorded",
    least_face: LeastFace = 0.8,
    audio_rate: AudioRate = 0,
    audio_channels: AudioChannels = 0,
) -> None:
    """Add bags to a corpus, a session each: two people, each with a camera (or features) and a microphone.

    If it is interrupted, run it again: bags that are in the corpus already are skipped.
    """
    from react_ros.bags.audio_format import AudioFormat
    from react_ros.bags.errors import BagError
    from react_ros.corpus.from_bags import from_bag
    from react_ros.corpus.recorded import DyadRecording, RecordedCorpus

    pairs = (
        {"image": image_a, "audio": audio_a, "features": features_a},
        {"image": image_b, "audio": audio_b, "features": features_b},
    )
    given = [{what: topic for what, topic in topics.items() if topic} for topics in pairs]
    if any(given) and not all(given):
        raise fail("topics are given for one person only: give the other person's, too")
    chosen = (_splits([split]) or [])[0]
    unusable = 0
    with user_errors(f"the same command continues the import ({out})"):
        corpus = RecordedCorpus(out)
        for bag in bags:
            recording = DyadRecording(
                re.sub(r"[^A-Za-z0-9.+-]", "-", re.sub(r"(?i)\.(mcap|db3)$", "", bag.name)).strip("-."),
                chosen, site, made_by="react-ros corpus from-bags",
            )  # fmt: skip
            if corpus.has(recording.name):
                print(f"{recording.name} is in the corpus already")
                continue
            try:
                with progress(f"{bag.name}: both people") as report:
                    record = from_bag(
                        bag, corpus, recording, given, perceive=perceive, least_face=least_face,
                        audio_format=AudioFormat(audio_rate, audio_channels),
                        progress=lambda done, total, report=report: report(done // 1_000_000, total // 1_000_000),
                    )  # fmt: skip
            except (BagError, CorpusError) as error:
                print(f"unusable: {shortened(str(error))}")
                unusable += 1
                continue
            _report(record)
            if not record.written:
                corpus.remove(record.session)  # so that it can be repeated with another --least-face
                unusable += 1
        if corpus.records():
            corpus.finish()
    if unusable == len(bags):
        raise fail("no bag can be used")
    _write_appropriateness(out)
    if unusable:
        print(f"{unusable} of {len(bags)} bags are unusable")
        raise typer.Exit(1)


@app.command("from-seamless")
def from_seamless(
    folder: Annotated[
        Path, typer.Argument(help="the Seamless Interaction data set, or a split or batch of it", metavar="FOLDER")
    ],
    out: Out,
    split: Annotated[str, choice(SPLITS, "default: by the folders' names")] = "",
    limit: Annotated[
        int, typer.Option(help="at most this many interactions of each split; 0: all", min=0, metavar="N")
    ] = 0,
    least_face: LeastFace = 0.8,
    jobs: Jobs = 0,
) -> None:
    """Import the Seamless Interaction data set as a corpus, with the perception of the live robot.

    If it is interrupted, run it again: finished interactions are skipped.
    """
    from react_ros.corpus.from_seamless import UNUSABLE
    from react_ros.corpus.from_seamless import from_seamless as perceive

    chosen = _splits([split] if split else None)
    with user_errors(f"the same command continues the import ({out})"), progress("interactions") as report:
        outcome = perceive(
            folder, out, split=chosen[0] if chosen else None, least_face=least_face, limit=limit, jobs=jobs,
            made_by="react-ros corpus from-seamless", progress=report,
        )  # fmt: skip
    good = outcome.found - len(outcome.unusable)
    print(f"{outcome.found} interactions: {good} are in the corpus ({outcome.before} were done before)")
    for name, reason in outcome.unusable[:10]:
        print(f"unusable: {name}: {reason}")
    if outcome.unusable:
        print(f"{len(outcome.unusable)} unusable in total: {out / UNUSABLE}")
    if not good:
        raise fail(f"nothing of {folder} can be used")
    _write_appropriateness(out)


def _report(record: SessionRecord) -> None:
    """Print which clips of a session were written, and why others were not."""
    for clip in record.clips:
        faces = " and ".join(f"{share:.0%}" for share in clip.face)
        verdict = f"LEFT OUT, {clip.left_out}" if clip.left_out else "written"
        print(f"clip {clip.number} ({clip.seconds:.2f} s): faces seen in {faces} of it; {verdict}")
    for note in record.notes:
        print(f"note: {note}")
    print(
        f"{record.session.name}: {len(record.written)} of {len(record.clips)} clips of "
        f"{record.clip_frames / 25:.2f} s; the last {record.rest_s:.2f} s are too short for a clip"
    )


def _write_appropriateness(folder: Path) -> None:
    """Compute the appropriateness matrices of small splits; for large ones, print the command that does."""
    from react_ros.corpus.reader import open_corpus

    with user_errors(f"react-ros corpus appropriateness {folder}"):
        corpus = open_corpus(folder)
        for name in corpus.splits:
            clips = len(corpus.dyads(name)) // 2
            if clips > MOST_COMPARED:
                print(
                    f"{name}: comparing all speakers of {clips} clips takes long, and only evaluation needs it: "
                    f"react-ros corpus appropriateness {folder} --split {name}"
                )
                continue
            with progress(f"comparing speakers: {name}") as report:
                corpus.appropriate(name, progress=report)
            print(f"{name}: {clips} clips of two people, each of them speaker and listener")
    print(f"To check it: react-ros corpus check {folder}")


@app.command()
def appropriateness(corpus: CorpusPath, split: Splits = None, jobs: Jobs = 0) -> None:
    """Appropriateness matrices: read the challenge's files where they exist, else compute and store them."""
    import numpy as np

    from react_ros.corpus.reader import open_corpus

    with user_errors():
        splits = _splits(split)
        opened = open_corpus(corpus)
        for name in splits or opened.splits:
            with progress(f"comparing speakers: {name}") as report:
                matrix = opened.appropriate(name, jobs=jobs, progress=report)
            each = matrix.sum(axis=1)
            print(
                f"{name}: {len(matrix)} dyads; appropriate listeners each: {each.min()} to {each.max()}, "
                f"median {np.median(each):g}"
            )


@app.command("mean-listener")
def mean_listener(
    corpus: CorpusPath,
    file: Annotated[Path, typer.Argument(help="output: FILE.safetensors, with its card FILE.yaml", metavar="FILE")],
    split: Annotated[str, typer.Option(help="split of the listeners", metavar="NAME")] = "train",
    frames: Frames = EVALUATED_FRAMES,
) -> None:
    """Write the mean of a corpus' listeners, the parameter `statistics` of mean_frame and mean_sequence."""
    from react_ros.corpus.mean_listener import write_mean_listener
    from react_ros.corpus.reader import CorpusConfig, open_corpus

    if file.suffix != ".safetensors":
        raise fail(f"{file} must end in .safetensors")
    with user_errors():
        for name in _splits([split]) or ():
            for sentence in write_mean_listener(open_corpus(corpus, CorpusConfig(frames=frames)), file, name):
                print(f"left out: {sentence}")
    print(f"{file} and its card {file.with_suffix('.yaml').name}")


def _splits(names: list[str] | None) -> list[Split] | None:
    for name in names or ():
        if name not in SPLITS:
            raise fail(f"there is no split {name!r}{did_you_mean(name, SPLITS)}: there are {', '.join(SPLITS)}")
    return [split for split in SPLITS if split in names] if names else None
