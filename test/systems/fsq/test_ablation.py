"""`react-ros ablation`: one command, one table, and only the quantizer differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from tiny_corpus import write_react2024
from typer.testing import CliRunner, Result

from react_ros.cli.ablation import POSTER, ablation
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.evaluation.corpora.plan import parse_row
from react_ros.generators import registry
from react_ros.systems.fsq.ablation import train_kinds, with_quantizer
from react_ros.training.checkpoints import load_tensors
from react_ros.training.config import TrainConfig, read_config
from react_ros.training.processes import ProcessGroup
from react_ros.training.trainer import Run, train
from react_ros.training.training_stage import training_stages

_MODEL = "{width: 16, layers: 1, heads: 2, feedforward: 16, self_window: 8, cross_window: 8}"
TINY = (
    "frames=300",
    "stages.tokenizer.stage.model.width=8",
    "stages.predictor.stage.sampling.guidance=0",
    *(f"stages.{stage}.stage.model={_MODEL}" for stage in ("encoder", "predictor")),
    *(f"stages.{stage}.crop=30" for stage in ("tokenizer", "encoder", "predictor")),
    *(f"stages.{stage}.batch=4" for stage in ("tokenizer", "encoder", "predictor")),
)
SETTINGS = {"scheme": "arkit52", "simulated": True, "role_swap": False, "notice": "Made for a test."}
PARTS = ("tokenizer", "encoder", "predictor")


class Quiet:
    """A watcher that shows nothing."""

    def say(self, sentence: str) -> None:
        pass

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        pass


@pytest.fixture(scope="module")
def dyads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s a clip, so that 6 clips to evaluate have the 65 windows that FRRea-motion needs."""
    folder = tmp_path_factory.mktemp("ablation") / "dyads"
    for split, sessions in (("train", 6), ("val", 3), ("test", 6)):
        write_react2024(
            folder, sessions=sessions, splits=(split,), frames=301, modalities=("attributes", "face_model"),
            arkit=True, seed=len(split), settings=SETTINGS,
        )  # fmt: skip
    return folder


def tiny(*changes: str) -> TrainConfig:
    return read_config(training_stages("fsq"), None, (*TINY, *changes), 3)


def a_run(corpus: Path, out: Path, *changes: str) -> Run:
    opened = [open_corpus(corpus, CorpusConfig(frames=300))]
    return Run("fsq", tiny(*changes), opened, out, steps_limit=2, jobs=1)


def typed(dyads: Path, out: Path, *more: str, changes: Sequence[str] = TINY) -> Result:
    """The result of the command with these arguments."""
    app = typer.Typer()
    app.command()(ablation)
    words = ["--corpus", dyads, "--evaluate", dyads, "--out", out, "--samples", "2", "--steps-limit", "2"]
    words += ["--jobs", "1", "--device", "cpu", *more, *(word for change in changes for word in ("--set", change))]
    return CliRunner().invoke(app, [str(word) for word in words])


def written(folder: Path) -> dict[str, int]:
    """The modification time of each file of runs and evaluation, ns."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_every_kind_gets_as_many_codes_as_the_levels_make_and_lfq_the_nearest_power_of_two() -> None:
    def quantizer(kind: str, *changes: str) -> tuple[str, int]:
        config = with_quantizer(tiny(*changes), kind)  # type: ignore[arg-type]
        model = config.stages["tokenizer"].stage.model
        return model.quantizer.kind, model.quantizer.size

    assert [quantizer(kind) for kind in ("fsq", "lfq", "vq")] == [("fsq", 81), ("lfq", 64), ("vq", 81)]
    levels = "stages.tokenizer.stage.model.quantizer.levels=[5, 5]"
    assert [quantizer(kind, levels) for kind in ("fsq", "lfq", "vq")] == [("fsq", 25), ("lfq", 32), ("vq", 25)]


def test_nothing_but_the_quantizer_differs() -> None:
    configs = [with_quantizer(tiny(), kind).plain() for kind in ("fsq", "lfq", "vq")]
    for config in configs:
        del config["stages"]["tokenizer"]["stage"]["model"]["quantizer"]
    assert configs[0] == configs[1] == configs[2] == {**configs[0], "seed": 3}


def test_the_config_that_comes_with_the_package_differs_from_the_systems_own_in_length_only() -> None:
    folder = registry.system("fsq").training_configs()
    short, own = (read_config(training_stages("fsq"), folder[name]).plain() for name in ("fsq-ablation", "fsq"))
    for stage in PARTS:
        assert short["stages"][stage].pop("epochs") < own["stages"][stage].pop("epochs")
    assert short["stages"] == own["stages"]


@pytest.mark.slow
def test_a_shared_encoder_is_the_one_that_the_run_would_have_trained_itself(dyads: Path, tmp_path: Path) -> None:
    group = ProcessGroup(torch.device("cpu"))
    shared = train_kinds(a_run(dyads, tmp_path / "shared"), ("fsq", "lfq"), group, Quiet())
    run = a_run(dyads, tmp_path / "alone")
    alone = train(
        Run(run.system, with_quantizer(run.config, "lfq"), run.corpora, run.out, steps_limit=2, jobs=1), group, Quiet()
    )
    assert alone is not None
    ours, theirs = load_tensors(shared[1].weights), load_tensors(alone.with_name(f"{alone.name}.safetensors"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_more_than_one_process_is_refused_in_one_sentence(dyads: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^the ablation trains in one process, not in 2: start it without torchrun$"):
        train_kinds(a_run(dyads, tmp_path), ("fsq",), ProcessGroup(torch.device("cpu"), 0, 2), Quiet())


@pytest.mark.slow
def test_one_command_makes_the_whole_table_and_resumes(dyads: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = typed(dyads, out)
    assert done.exit_code == 0, done.output
    told = json.loads((out / "ablation.json").read_text())
    assert [(m["kind"], m["codes_a_group"]) for m in told["measured"]] == [("fsq", 81), ("lfq", 64), ("vq", 81)]
    for column in told["measured"]:
        assert column["tokenizer"]["steps"] == column["predictor"]["steps"] == 2
        assert column["evaluation"]["official"]["FRVar"]["mean"] > 0.0
        assert column["evaluation"]["clips"] == 6
        kept = yaml.safe_load(Path(column["weights"]).with_suffix(".yaml").read_text())
        assert kept["config"]["tokenizer"]["quantizer"]["kind"] == column["kind"]
    page = (out / "ablation.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    for name in ("FRCorr ↑", "FRDist ↓", "FRDvs", "FRVar", "FRDiv", "FRRea-motion ↓", "FRSyn ↓", "groups x codes",
                 "token perplexity", "dead codes, %", "RMSE of brows", "RMSE of translation, m"):  # fmt: skip
        cells = [cell.strip() for cell in rows[name].split("|")[2:-1]]
        assert len(cells) == 3 + len(POSTER) and "–" not in cells[:3], rows[name]
        assert name.removesuffix(" ↑").removesuffix(" ↓") in done.output
    assert "86.61" in rows["FRDist ↓"] and "81.28" in rows["FRRea, FID of pictures ↓"]
    assert "Made for a test" in page and "Made for a test" in done.output
    assert "lfq needs a power of two codes per group: 64, the nearest one to 81." in page

    _goes_on(dyads, out, told)
    _adds_guidance(dyads, out, told)
    other = typed(dyads, out, changes=(*TINY, "stages.encoder.optimizer.lr=1e-5"))
    assert other.exit_code == 2
    assert other.output.strip().splitlines()[-1].startswith(f"react-ros: {out / 'fsq'} was begun with")


def _goes_on(dyads: Path, out: Path, told: dict[str, Any]) -> None:
    """Killed while the last predictor was trained, then while lfq was evaluated."""
    row = parse_row(told["measured"][1]["evaluation"]["row"])
    block = out / "evaluation" / "rows" / row.key / "block-0001.npz"
    shutil.rmtree(out / "vq" / "predictor")
    for path in (block, *out.glob("vq/vq.*"), *out.glob("ablation.*")):
        path.unlink()
    before = written(out)
    done = typed(dyads, out)
    assert done.exit_code == 0, done.output
    again = json.loads((out / "ablation.json").read_text())
    for first, second in zip(told["measured"], again["measured"], strict=True):
        assert first["evaluation"] == second["evaluation"]
        assert first["tokenizer"] == second["tokenizer"]
    after = written(out)
    assert {"vq/predictor/finished.safetensors", str(block.relative_to(out))} <= after.keys() - before.keys()
    kept = [name for name in before if "finished" in name or "block" in name]
    assert len(kept) == 2 * 8 + 5 and all(after[name] == before[name] for name in kept)


def _adds_guidance(dyads: Path, out: Path, told: dict[str, Any]) -> None:
    """More columns of what is trained already: only they are computed.

    A guidance of 0 is what these weights advise, and a strong one changes what is shown.
    """
    done = typed(dyads, out, "--kinds", "fsq", "--guidance", "0,4.0")
    assert done.exit_code == 0 and "guidance 4" in done.output
    none, strong = json.loads((out / "ablation.json").read_text())["measured"]
    assert (none["guidance"], strong["guidance"]) == (0.0, 4.0)
    assert none["evaluation"]["official"] == told["measured"][0]["evaluation"]["official"]
    assert strong["evaluation"]["official"] != none["evaluation"]["official"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--kinds", "fsq,rvq"),
            "--kinds fsq,rvq: there is no quantizer 'rvq' (did you mean 'vq'?): there are fsq, lfq, vq",
        ),
        (("--guidance", "1,x"), "--guidance 1,x: it must be numbers from 0 to 10, separated by commas, e.g. 0,0.5"),
        (("--guidance", "-0.5"), "--guidance -0.5: it must be numbers from 0 to 10, separated by commas, e.g. 0,0.5"),
        (("--guidance", "nan"), "--guidance nan: it must be numbers from 0 to 10, separated by commas, e.g. 0,0.5"),
        (("--split", "dev"), "split is 'dev': there are train, val, test"),
        (("--evaluate", "nowhere"), "nowhere"),
        (("--set", "stages.quantizer.lr=1"), "there is no 'quantizer'"),
    ],
)
def test_user_errors_are_one_sentence_before_anything_is_trained(
    words: Sequence[str], sentence: str, dyads: Path, tmp_path: Path
) -> None:
    done = typed(dyads, tmp_path / "out", *words)
    assert done.exit_code == 2
    assert sentence in done.output and len(done.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
