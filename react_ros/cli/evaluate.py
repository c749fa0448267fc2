"""`react-ros evaluate`: the command line of three evaluations: of corpora, recorded sessions and responsiveness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from react_ros.cli import evaluate_corpus, evaluate_responsiveness, evaluate_sessions
from react_ros.cli.choices import choice
from react_ros.cli.terminal import AudioChannels, AudioRate, user_errors
from react_ros.corpus.clips import SPLITS
from react_ros.evaluation.corpora.paper_tables import table_names
from react_ros.evaluation.corpora.plan import default_rows

_BAGS, _SPEAKERS = "Recorded sessions (--bag)", "Responsiveness (--responsiveness)"
"""Panels of the help page."""


def evaluate(
    context: typer.Context,
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            help="NAME[,parameter=value…][:shuffled_speaker], ground_truth, another_listener or predictions=FILE.npy; "
            f"default: {', '.join(default_rows())}; with --bag also recorded, the reactions in the bag",
            metavar="ROW",
        ),
    ] = None,
    corpus: Annotated[Path, typer.Option(help="folder of the corpus", metavar="DIR")] = Path("corpus"),
    table: Annotated[
        str,
        typer.Option(
            help=f"the rows of a paper's table, compared with the printed ones: {', '.join(table_names())}",
            metavar="NAME",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder of the results; the same command resumes it; default: evaluation, with --bag "
            "evaluation-sessions, with --responsiveness evaluation-responsiveness",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, choice(SPLITS, "split of the corpus")] = "test",
    protocol: Annotated[str, choice(("online", "offline"), "the challenge's protocol")] = "online",
    samples: Annotated[int, typer.Option(help="reactions per clip", metavar="N")] = 10,
    seed: Annotated[int, typer.Option(help="seed of generators and of shuffling", metavar="N")] = 0,
    frames: Annotated[int, typer.Option(help="frames per clip (MARS: at most)", metavar="N")] = 750,
    binarize: Annotated[
        bool, typer.Option("--binarize", help="round action units to 0 or 1 first, as “+ Binarized AUs”")
    ] = False,
    limit: Annotated[int, typer.Option(help="evaluate the first N clips only; 0: all", metavar="N")] = 0,
    role_swap: Annotated[
        bool | None,
        typer.Option(
            "--role-swap/--no-role-swap", help="also evaluate dyads with roles swapped; default: as the corpus does"
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="processes; 0: one per core", metavar="N")] = 0,
    shard: Annotated[str, typer.Option(help="part I of N of the clips, for N machines", metavar="I/N")] = "1/1",
    merge: Annotated[
        list[Path] | None, typer.Option(help="folder of another shard to merge; repeatable", metavar="DIR")
    ] = None,
    save_predictions: Annotated[bool, typer.Option("--save-predictions", help="store the reactions as npz")] = False,
    inception: Annotated[
        str, typer.Option(help="FRRea's FID: inception-2015-12-05.pt (TorchScript)", metavar="FILE")
    ] = "",
    i3d: Annotated[str, typer.Option(help="FRRea's FVD: i3d_torchscript.pt", metavar="FILE")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first unusable clip")] = False,
    bag: Annotated[
        list[Path] | None,
        typer.Option(rich_help_panel=_BAGS, help="evaluate a recorded session instead of a corpus; repeatable"),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            rich_help_panel=_BAGS, help="with --bag: the speaker's features, where there are several", metavar="TOPIC"
        ),
    ] = "",
    image: Annotated[
        str,
        typer.Option(
            rich_help_panel=_BAGS, help="with --bag: the speaker's camera, where there are several", metavar="TOPIC"
        ),
    ] = "",
    audio: Annotated[
        str,
        typer.Option(
            rich_help_panel=_BAGS, help="with --bag: the speaker's microphone, where there are several", metavar="TOPIC"
        ),
    ] = "",
    audio_rate: AudioRate = 0,
    audio_channels: AudioChannels = 0,
    listener_features: Annotated[
        str, typer.Option(rich_help_panel=_BAGS, help="with --bag: the human listener's features", metavar="TOPIC")
    ] = "",
    listener_image: Annotated[
        str, typer.Option(rich_help_panel=_BAGS, help="with --bag: the human listener's camera", metavar="TOPIC")
    ] = "",
    listener_audio: Annotated[
        str,
        typer.Option(
            rich_help_panel=_BAGS, help="with --listener-image: the human listener's microphone", metavar="TOPIC"
        ),
    ] = "",
    films: Annotated[
        bool, typer.Option("--films", rich_help_panel=_BAGS, help="with --bag: one film per bag and row, in OUT/films")
    ] = False,
    responsiveness: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_SPEAKERS,
            help="do generators answer the speakers in a folder of clips (npz or films), a bag, a corpus, or the "
            "demo's and tests' own footage (the word footage)? Needs no recorded listener; 4 samples; default rows: "
            "every rule and learned system",
            metavar="PATH",
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(rich_help_panel=_SPEAKERS, help="with --responsiveness: seeds; default: 1,2,3", metavar="N,…")
    ] = "",
    card: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_SPEAKERS,
            help="with --responsiveness: write the one row's figures into this model card",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Score generators on a corpus, on recorded sessions (--bag), or before speakers (--responsiveness).

    Writes results.json and report.html into the folder of the results; with --responsiveness responsiveness.json, .md
    and .html.
    """
    given = {n for n in context.params if (how := context.get_parameter_source(n)) and how.name == "COMMANDLINE"}
    kind = "-responsiveness" if responsiveness is not None else "-sessions" if bag else ""
    out = out or Path(f"evaluation{kind}")
    with user_errors():
        evaluate_responsiveness.refuse(given)
    if responsiveness is not None:
        with user_errors(f"the same command resumes it ({out})"):
            evaluate_responsiveness.evaluate(
                responsiveness, rows or (), out, samples=samples if "samples" in given else None,
                seeds=seeds or (str(seed) if "seed" in given else ""), split=split, limit=limit, card=card,
            )  # fmt: skip
        return
    if bag:
        from react_ros.bags.audio_format import AudioFormat
        from react_ros.bags.participants import TopicChoice
        from react_ros.evaluation.sessions.results import SessionOptions

        with user_errors():
            evaluate_corpus.refuse_with_bags(given)
            choice = TopicChoice(
                features, image, audio, listener_features, listener_image, listener_audio,
                AudioFormat(audio_rate, audio_channels),
            )  # fmt: skip
            options = SessionOptions(samples, seed, frames, binarize)
            evaluate_sessions.evaluate_bags(bag, rows or [], choice, options, out, films)
        return
    from react_ros.evaluation.corpora.plan import Plan

    with user_errors(f"the same command resumes it ({out})"):
        evaluate_sessions.refuse_without_bags(given)
        plan = Plan(
            corpus, split, protocol, samples, seed, frames, binarize, limit, role_swap, inception, i3d  # type: ignore[arg-type]
        )  # fmt: skip
        evaluate_corpus.evaluate_corpus(
            plan, rows or (), out, table=table, shard=shard, merge=merge or (), jobs=jobs,
            save_predictions=save_predictions, strict=strict,
        )  # fmt: skip
