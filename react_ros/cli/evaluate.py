"""`react-ros evaluate`: reactions to numbers, a table and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from react_ros.cli.progress import progress
from react_ros.cli.scores import print_tables
from react_ros.cli.terminal import fail, plain_console, user_errors
from react_ros.evaluation.corpora.plan import default_rows
from react_ros.evaluation.report.tables import table_names

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.evaluation.corpora.summary import Summary

OF_CORPORA = {
    "corpus", "table", "split", "protocol", "limit", "role_swap", "jobs", "shard", "merge", "save_predictions",
    "inception", "i3d", "strict",
}  # fmt: skip
OF_BAGS = {
    "features", "image", "audio", "listener_features", "listener_image", "listener_audio", "films",
}  # fmt: skip
"""Options that make sense of the one, and not of the other."""


def evaluate(
    context: typer.Context,
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            help="NAME[,parameter=value…][:shuffled_speaker], ground_truth, another_listener or predictions=FILE.npy; "
            f"without any: {', '.join(default_rows())}; with --bag also recorded, the reactions in the bag",
            metavar="ROW",
        ),
    ] = None,
    corpus: Annotated[Path, typer.Option(help="folder of the corpus", metavar="DIR")] = Path("corpus"),
    table: Annotated[
        str, typer.Option(help=f"a paper's rows, beside its printed ones: {', '.join(table_names())}", metavar="NAME")
    ] = "",
    out: Annotated[
        Path, typer.Option(help="folder of the results; the same command again goes on", metavar="DIR")
    ] = Path("evaluation"),
    split: Annotated[str, typer.Option(help="train, val or test", metavar="NAME")] = "test",
    protocol: Annotated[str, typer.Option(help="online or offline", metavar="NAME")] = "online",
    samples: Annotated[int, typer.Option(help="reactions a clip", metavar="N")] = 10,
    seed: Annotated[int, typer.Option(help="of generators and of shuffling", metavar="N")] = 0,
    frames: Annotated[int, typer.Option(help="frames a clip (MARS: at most)", metavar="N")] = 750,
    binarize: Annotated[
        bool, typer.Option("--binarize", help="round action units first, as “+ Binarized AUs”")
    ] = False,
    limit: Annotated[int, typer.Option(help="only the first so many clips; 0: all", metavar="N")] = 0,
    role_swap: Annotated[
        bool | None,
        typer.Option("--role-swap/--no-role-swap", help="also with roles swapped; default: the corpus' own"),
    ] = None,
    jobs: Annotated[int, typer.Option(help="processes; 0: one a core", metavar="N")] = 0,
    shard: Annotated[str, typer.Option(help="i/n: only every n-th block, for n machines", metavar="I/N")] = "1/1",
    merge: Annotated[list[Path] | None, typer.Option(help="folder of another shard; repeatable", metavar="DIR")] = None,
    save_predictions: Annotated[bool, typer.Option("--save-predictions", help="keep the reactions, npz")] = False,
    inception: Annotated[
        str, typer.Option(help="FRRea's FID: inception-2015-12-05.pt (TorchScript)", metavar="FILE")
    ] = "",
    i3d: Annotated[str, typer.Option(help="FRRea's FVD: i3d_torchscript.pt", metavar="FILE")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first clip that cannot be used")] = False,
    bag: Annotated[
        list[Path] | None,
        typer.Option(help="evaluate a recorded session instead of a corpus; repeatable; row `recorded`: its reactions"),
    ] = None,
    features: Annotated[str, typer.Option(help="with --bag: the speaker's features, of several", metavar="TOPIC")] = "",
    image: Annotated[str, typer.Option(help="with --bag: the speaker's camera, of several", metavar="TOPIC")] = "",
    audio: Annotated[str, typer.Option(help="with --bag: the speaker's microphone, of several", metavar="TOPIC")] = "",
    listener_features: Annotated[
        str, typer.Option(help="with --bag: the human listener's features", metavar="TOPIC")
    ] = "",
    listener_image: Annotated[str, typer.Option(help="with --bag: the human listener's camera", metavar="TOPIC")] = "",
    listener_audio: Annotated[
        str, typer.Option(help="with --listener-image: the human listener's microphone", metavar="TOPIC")
    ] = "",
    films: Annotated[bool, typer.Option("--films", help="with --bag: a film a bag and row, OUT/films")] = False,
) -> None:
    """Score generators on a corpus, or on recorded sessions (--bag); leaves OUT/results.json and OUT/report.html."""
    given = {n for n in context.params if (how := context.get_parameter_source(n)) and how.name == "COMMANDLINE"}
    if wrong := sorted(given & (OF_CORPORA if bag else OF_BAGS)):
        option = f"--{wrong[0].replace('_', '-')}"
        raise fail(f"{option} is of corpora: it does not go with --bag" if bag else f"{option} goes with --bag only")
    if bag:
        from react_ros.bags.participants import Choice
        from react_ros.cli.evaluate_sessions import evaluate_bags
        from react_ros.evaluation.sessions.results import SessionsPlan

        with user_errors():
            choice = Choice(features, image, audio, listener_features, listener_image, listener_audio)
            evaluate_bags(bag, rows or [], choice, SessionsPlan(samples, seed, frames, binarize), out, films)
        return
    from react_ros.evaluation.corpora.plan import Plan, parse_row, parse_shard
    from react_ros.evaluation.corpora.run import prepare, run
    from react_ros.evaluation.corpora.summary import summarise, write_results
    from react_ros.evaluation.report.corpora_page import write_report
    from react_ros.evaluation.report.tables import findings, markdown, paper_table, table_rows
    from react_ros.io import atomic_write
    from react_ros.machine import describe_machine

    console = plain_console()
    goes_on = f"the same command goes on where it was ({out})"
    with user_errors(goes_on):
        paper = paper_table(table) if table else None
        texts = rows or (() if paper else default_rows())
        chosen = list(dict.fromkeys([*(table_rows(paper) if paper else ()), *(parse_row(text) for text in texts)]))
        plan = Plan(
            corpus, split, protocol, samples, seed, frames, binarize, limit, role_swap, inception, i3d  # type: ignore[arg-type]
        )  # fmt: skip
        part = parse_shard(shard)
        with progress("reading the corpus") as tell:
            prepared = prepare(plan, strict=strict, jobs=jobs, progress=tell)
        with progress(f"{len(chosen)} rows, clips scored") as tell:
            results = run(
                prepared, chosen, out, shard=part, merge=merge or (), jobs=jobs, save_predictions=save_predictions,
                strict=strict, progress=tell,
            )  # fmt: skip
    missing = [row.label for row in chosen if row not in results]
    if missing:
        console.print(f"shard {shard} is done. Still to come from others: {', '.join(missing)}", markup=False)
        console.print(f"then: react-ros evaluate … --out OUT --merge {out}", markup=False)
        return
    with user_errors(goes_on), console.status("figures, two-sample test, report"):
        summary = summarise(prepared, results)
        write_results(summary, out / "results.json")
        page = write_report(summary, describe_machine()).encode()
        atomic_write(out / "report.html", page)
    _print(console, summary)
    if paper is not None:
        told = markdown(paper, summary).encode()
        atomic_write(out / "table.md", told)
        for finding in findings(paper, summary):
            console.print(finding.sentence, markup=False, soft_wrap=True)
        console.print(f"\ntable:   {out / 'table.md'}", markup=False, soft_wrap=True)
    console.print(f"\nfigures: {out / 'results.json'}\nreport:  {out / 'report.html'}", markup=False, soft_wrap=True)


def _print(console: Console, summary: Summary) -> None:
    """The tables for the terminal."""
    if summary.notice:
        console.print(summary.notice, markup=False)
    print_tables(console, summary)
    for g in summary.gaps:
        d = g.difference
        interval = "" if d.low is None else f" (95 %: {d.low:.2f} to {d.high:.2f})"
        console.print(
            f"{g.label}: FRCorr {g.own:.2f}, to another clip's speaker {g.shuffled:.2f}; gap {d.mean:.2f}{interval}",
            markup=False,
        )
    skipped = summary.problems + [f for r in summary.rows for f in r.failed]
    for sentence in skipped[:10]:
        console.print(f"left out: {sentence}", markup=False)
    if len(skipped) > 10:
        console.print(f"… and {len(skipped) - 10} more (results.json lists all)")
