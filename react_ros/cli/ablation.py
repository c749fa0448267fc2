"""`react-ros ablation`: the token listener with three quantizers, all else equal, in one table."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from react_ros.cli.progress import progress
from react_ros.cli.terminal import plain_console, user_errors
from react_ros.cli.train import training_config, watcher
from react_ros.generators.system import PublishedRow

if TYPE_CHECKING:
    from rich.console import Console

    from react_ros.evaluation.corpora.plan import Row
    from react_ros.evaluation.corpora.summary import RowSummary, Summary
    from react_ros.evaluation.metrics.intervals import Value
    from react_ros.nn.quantizers import Kind
    from react_ros.systems.fsq.ablation import TrainedQuantizer

POSTER = (
    PublishedRow("FSQ-val", "online", 0.2737, 86.6145, 0.1163, 0.0345, 0.1162, 81.2801, 45.7206),
    PublishedRow("LFQ-val", "online", 0.2625, 99.8672, 0.1213, 0.0434, 0.1213, 73.2092, 45.8896),
    PublishedRow("VQ-val", "online", 0.2693, 91.5249, 0.0943, 0.0370, 0.0943, 96.1280, 46.2099),
)
"""The poster's ablation (Dam et al., REACT 2024) on the challenge's validation set of real people."""

_METRICS = {"FRCorr": ("↑", 4), "FRDist": ("↓", 2), "FRDvs": ("", 4), "FRVar": ("", 4), "FRDiv": ("", 4)}
_UNITS = {"rotation": ", rad", "translation": ", m"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured column: a quantizer's weights and their scores."""

    trained: TrainedQuantizer
    guidance: float | None
    """None: the scale stored in the weights' config."""
    scored: RowSummary

    @property
    def label(self) -> str:
        return self.trained.kind + ("" if self.guidance is None else f", guidance {self.guidance:g}")


def ablation(
    corpus: Annotated[list[Path], typer.Option(help="folder of a corpus to train on; repeatable", metavar="DIR")],
    evaluate: Annotated[Path, typer.Option(help="folder of the corpus to evaluate on", metavar="DIR")],
    split: Annotated[
        str, typer.Option(help="split of the corpus to evaluate on: train, val or test", metavar="NAME")
    ] = "test",
    out: Annotated[
        Path, typer.Option(help="folder of runs and results; the same command resumes it", metavar="DIR")
    ] = Path("runs/ablation"),
    config: Annotated[
        Path | None, typer.Option(help="YAML file, as for train; default: fsq-ablation", metavar="FILE")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="change a value of the config, e.g. stages.predictor.epochs=10", metavar="KEY.PATH=VALUE"
        ),
    ] = None,
    kinds: Annotated[str, typer.Option(help="quantizers, separated by commas", metavar="NAMES")] = "fsq,lfq,vq",
    guidance: Annotated[
        str,
        typer.Option(
            help="guidance scales, one column each, 0: none; default: the one stored in the weights", metavar="NUMBERS"
        ),
    ] = "",
    samples: Annotated[int, typer.Option(help="reactions per clip", metavar="N")] = 10,
    limit: Annotated[int, typer.Option(help="evaluate the first N clips only; 0: all", metavar="N")] = 0,
    seed: Annotated[
        int | None, typer.Option(help="seed of training and evaluation; default: the config's", metavar="N")
    ] = None,
    steps_limit: Annotated[
        int, typer.Option(help="most steps of each stage, for a trial; 0: all", min=0, metavar="N")
    ] = 0,
    device: Annotated[str, typer.Option(help="device for training: auto, cpu or cuda", metavar="NAME")] = "auto",
    jobs: Annotated[
        int, typer.Option(help="processes that read and evaluate; 0: one per core", min=0, metavar="N")
    ] = 0,
) -> None:
    """Train the token listener with FSQ, LFQ and VQ and evaluate each; writes OUT/ablation.json and OUT/ablation.md.

    Same data, seed, steps and sizes: only the quantizer differs. After a Ctrl-C, a crash or a kill the same command
    resumes.
    """
    out = out.expanduser()
    console = plain_console()
    goes_on = f"the same command resumes the run ({out})"
    with user_errors(goes_on):
        from react_ros.corpus.reader import CorpusConfig, open_corpus
        from react_ros.evaluation.corpora.plan import Plan, Row
        from react_ros.evaluation.corpora.run import prepare, run
        from react_ros.evaluation.corpora.summary import summarise, write_results
        from react_ros.evaluation.report.corpora_page import write_report
        from react_ros.io import atomic_write
        from react_ros.machine import describe_machine
        from react_ros.package import code_version
        from react_ros.systems.fsq.ablation import train_kinds
        from react_ros.training.config import read_config
        from react_ros.training.processes import process_group
        from react_ros.training.trainer import Run
        from react_ros.training.training_stage import training_stages

        chosen = _kinds(kinds)
        scales = _guidances(guidance)
        own = training_config("fsq", Path("fsq-ablation"))
        plan = read_config(training_stages("fsq"), config or own, changes or (), seed)
        corpora = [open_corpus(path, CorpusConfig(frames=plan.frames)) for path in dict.fromkeys(corpus)]
        command = shlex.join(["react-ros", *sys.argv[1:]])
        # Before training, so that data that cannot be evaluated are reported at once.
        to_score = Plan(evaluate, split, "online", samples, plan.seed, plan.frames, limit=limit)  # type: ignore[arg-type]
        with progress("reading the corpus") as tell:
            prepared = prepare(to_score, jobs=jobs, progress=tell)
        with process_group(device) as processes, watcher(processes.is_main) as (shown, reading):
            whole = Run("fsq", plan, corpora, out, steps_limit=steps_limit, jobs=jobs, command=command)
            trained = train_kinds(whole, chosen, processes, shown, reading)
        rows: dict[Row, tuple[TrainedQuantizer, float | None]] = {}
        for one in trained:
            for scale in scales:
                given: dict[str, Any] = {"weights": str(one.weights)} | ({} if scale is None else {"guidance": scale})
                rows[Row("fsq", tuple(sorted(given.items())))] = (one, scale)
        folder = out / "evaluation"
        with progress(f"{len(rows)} rows, clips scored") as report:
            results = run(prepared, list(rows), folder, jobs=jobs, progress=report)
        with console.status("figures, two-sample test, report"):
            summary = summarise(prepared, results)
            write_results(summary, folder / "results.json")
            page = write_report(summary, describe_machine()).encode()
            atomic_write(folder / "report.html", page)
        measured = [Measured(*rows[scored.row], scored) for scored in summary.rows]
        about = {
            "command": command,
            "seed": plan.seed,
            "trained_on": [str(c.settings.get("made_by", c.root.name)) for c in corpora],
            "evaluated_on": str(prepared.corpus.settings.get("made_by", prepared.corpus.root.name)),
            "code": code_version(),
            "machine": describe_machine(),
        }
        told = json.dumps(_figures(measured, about, plan.plain(), folder / "results.json"), indent=1).encode()
        atomic_write(out / "ablation.json", told)
        text = markdown(measured, summary, about).encode()
        atomic_write(out / "ablation.md", text)
    _print(console, measured, summary)
    console.print(f"\nfigures: {out / 'ablation.json'}\ntable:   {out / 'ablation.md'}", markup=False, soft_wrap=True)
    console.print(f"report:  {folder / 'report.html'}", markup=False, soft_wrap=True)


def _kinds(text: str) -> list[Kind]:
    from react_ros.config import did_you_mean
    from react_ros.nn.quantizers import Kind

    known = get_args(Kind)
    chosen = list(dict.fromkeys(kind.strip() for kind in text.split(",")))
    for kind in chosen:
        if kind not in known:
            near = did_you_mean(kind, known)
            raise ValueError(f"--kinds {text}: there is no quantizer {kind!r}{near}: there are {', '.join(known)}")
    return cast("list[Kind]", chosen)


def _guidances(text: str) -> list[float | None]:
    if not text:
        return [None]
    try:
        scales = [float(part) for part in text.split(",")]
    except ValueError:
        scales = [-1.0]
    if not all(0.0 <= scale <= 10.0 for scale in scales):
        raise ValueError(f"--guidance {text}: it must be numbers from 0 to 10, separated by commas, e.g. 0,0.5")
    return list(dict.fromkeys(scales))


def table(measured: Sequence[Measured], *, intervals: bool) -> list[tuple[str, list[str]]]:
    """The rows of the table: a heading, and one cell per measured column, then one per column of the poster."""

    def cell(value: Value | None, digits: int) -> str:
        if value is None:
            return "–"
        shown = f"{value.mean:.{digits}f}"
        if not intervals or value.low is None or value.high is None:
            return shown
        return f"{shown} ({value.low:.{digits}f} to {value.high:.{digits}f})"

    def tokenizer(name: str, digits: int, scale: float = 1.0) -> list[str]:
        values = [m.trained.tokenizer.figures.get(name) for m in measured]
        return ["–" if v is None else f"{scale * v:.{digits}f}" for v in values]

    none = ["–"] * len(POSTER)
    rows = []
    for name, (better, digits) in _METRICS.items():
        printed = [f"{getattr(p, name.lower()):.{digits}f}" for p in POSTER]
        rows.append((f"{name} {better}".strip(), [cell(m.scored.official[name], digits) for m in measured] + printed))
    motions = ["–" if m.scored.motion is None else f"{m.scored.motion:.2f}" for m in measured]
    rows.append(("FRRea-motion ↓", motions + none))
    rows.append(("FRRea, FID of pictures ↓", ["–"] * len(measured) + [f"{p.frrea:.2f}" for p in POSTER]))
    synchrony = [cell(m.scored.official["FRSyn"], 2) for m in measured]
    rows.append(("FRSyn ↓", synchrony + [f"{p.frsyn:.2f}" for p in POSTER]))
    rows.append(
        ("groups x codes", [f"{m.trained.quantizer.groups} x {m.trained.quantizer.size}" for m in measured] + none)
    )
    rows.append(("token perplexity", tokenizer("perplexity", 1) + none))
    rows.append(("dead codes, %", tokenizer("dead_codes", 1, 100.0) + none))
    regions = dict.fromkeys(n for m in measured for n in m.trained.tokenizer.figures if n.startswith("RMSE of "))
    for name in regions:
        rows.append((f"{name}{_UNITS.get(name.removeprefix('RMSE of '), '')}", tokenizer(name, 4) + none))
    rows.append(("wrong action units, %", tokenizer("wrong action units", 2, 100.0) + none))
    return rows


def notes(measured: Sequence[Measured], summary: Summary) -> list[str]:
    """Notes below the table."""
    out = [
        "Measured here: same data, seed, steps and networks; only the quantizer differs. The speaker's encoder does "
        "not depend on tokens and was trained once for all columns.",
        "Published: the poster's ablation (Dam et al., REACT 2024 validation set, real people). The data differ: "
        "compare the quantizers with each other, not with the measured columns. FRRea-motion is not FRRea.",
    ]
    sizes = {m.trained.kind: m.trained.quantizer.size for m in measured}
    if "lfq" in sizes and set(sizes.values()) != {sizes["lfq"]}:
        others = " and ".join(str(n) for n in sorted(set(sizes.values()) - {sizes["lfq"]}))
        out.append(f"lfq needs a power of two codes per group: {sizes['lfq']}, the nearest one to {others}.")
    if any(not m.trained.tokenizer.figures for m in measured):
        out.append("The training corpora have no val split, and so there are no figures of the tokens.")
    out += [f"{note}." for note in dict.fromkeys(note for m in measured for note in m.scored.notes)]
    failed = [sentence for m in measured for sentence in m.scored.failed]
    if summary.problems or failed:
        out.append(f"Left out: {len(summary.problems)} clips, and {len(failed)} of single columns (ablation.json).")
    return out


def markdown(measured: Sequence[Measured], summary: Summary, about: Mapping[str, Any]) -> str:
    """The table as Markdown, with 95 % intervals and what is needed to reproduce it."""
    heads = [m.label for m in measured] + [f"*published: {p.system}*" for p in POSTER]
    body = table(measured, intervals=True)
    plan = summary.plan
    steps = {m.trained.kind: (m.trained.tokenizer.steps, m.trained.predictor.steps) for m in measured}
    trained = "; ".join(f"{kind} {a} of the tokenizer, {b} of the predictor" for kind, (a, b) in steps.items())
    text = [
        *([f"**{summary.notice}**", ""] if summary.notice else []),
        "```", about["command"], "```", "",
        f"Seed {about['seed']}. Trained on: {'; '.join(about['trained_on'])}. Evaluated on: {about['evaluated_on']}, "
        f"{plan['split']} split, {summary.clips} clips, {plan['samples']} samples, {plan['protocol']}. "
        f"In brackets: 95 % intervals over {summary.groups} groups of clips. Steps: {trained}. "
        f"react_ros {about['code']}; {about['machine']}.",
        "",
        f"| | {' | '.join(heads)} |",
        f"|---|{'---:|' * len(heads)}",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in body),
        "",
        *(f"- {note}" for note in notes(measured, summary)),
        "",
    ]  # fmt: skip
    return "\n".join(text)


def _figures(
    measured: Sequence[Measured], about: Mapping[str, Any], config: Mapping[str, Any], results: Path
) -> dict[str, Any]:
    """All figures in plain types, for JSON."""
    scored = json.loads(results.read_text("utf-8"))
    columns = [
        {
            "kind": m.trained.kind,
            "guidance": m.guidance,
            "quantizer": asdict(m.trained.quantizer),
            "codes_a_group": m.trained.quantizer.size,
            "weights": str(m.trained.weights),
            "tokenizer": asdict(m.trained.tokenizer),
            "predictor": asdict(m.trained.predictor),
            "evaluation": row,
        }
        for m, row in zip(measured, scored["rows"], strict=True)
    ]
    evaluation = {name: scored[name] for name in ("notice", "plan", "clips", "groups", "left_out")}
    return {**about, "config": config, "evaluation": evaluation, "measured": columns,
            "published": [asdict(p) for p in POSTER]}  # fmt: skip


def _print(console: Console, measured: Sequence[Measured], summary: Summary) -> None:
    """The table for the terminal."""
    from rich.markup import escape
    from rich.table import Table

    if summary.notice:
        console.print(summary.notice, markup=False)
    shown = Table("", box=None, padding=(0, 1, 0, 0))
    for m in measured:
        shown.add_column(f"here\n{m.label}".replace(", ", "\n"), justify="right", no_wrap=True)
    shown.add_column("│\n│")
    for p in POSTER:
        shown.add_column(f"poster\n{p.system}", justify="right", style="dim", no_wrap=True)
    for name, cells in table(measured, intervals=False):
        shown.add_row(escape(name), *cells[: len(measured)], "│", *cells[len(measured) :])
    console.print(shown)
    for note in notes(measured, summary):
        console.print(note, markup=False)
