"""A run resumes exactly, reports errors in one sentence, and ends with weights and their model card."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_listener
import torch
import typer
import yaml
from safetensors.torch import load_file
from tiny_corpus import write_react2024
from torch import Tensor
from typer.testing import CliRunner

from react_ros.cli.train import train as command
from react_ros.corpus.clips import CorpusError
from react_ros.training import checkpoints

Trained = Callable[..., Any]

QUICK = (
    "stages.code.epochs=4", "stages.code.batch=2", "stages.code.crop=20", "stages.code.checkpoint_every=5",
    "stages.code.optimizer.lr=0.01",
    "stages.listener.epochs=5", "stages.listener.batch=4", "stages.listener.crop=16", "stages.listener.crops=2",
    "stages.listener.checkpoint_every=4", "stages.listener.optimizer.lr=0.01", "stages.listener.ema=0.9",
)  # fmt: skip
STEPS = {"code": 12, "listener": 15}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def story(out: Path) -> dict[str, str]:
    """Everything that must be reproduced bit for bit."""
    texts = {f"{s}/{f}": (out / s / f).read_text() for s in STEPS for f in ("losses.jsonl", "validation.jsonl")}
    weights = load_file(out / "tiny.safetensors")
    return texts | {name: tensor.numpy().tobytes().hex() for name, tensor in weights.items()}


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unbroken") / "run"


@pytest.fixture
def whole(trained: Trained, unbroken: Path) -> Path:
    """An uninterrupted run of the tiny system, made once."""
    if not (unbroken / "tiny.md").is_file():
        trained(unbroken, *QUICK)
    return unbroken


def breaking(monkeypatch: pytest.MonkeyPatch, at: int, accident: Callable[[], None]) -> None:
    """Call `accident` in training step `at` over all stages, counted from 1."""
    done = 0
    for stage in (tiny_listener.Code, tiny_listener.Listener):

        def counted(self: Any, *given: Any, loss: Any = stage.loss) -> dict[str, Tensor]:
            nonlocal done
            done += self.training
            if self.training and done == at:
                accident()
            return loss(self, *given)

        monkeypatch.setattr(stage, "loss", counted)


def test_a_run_learns_and_keeps_every_step_and_every_epoch(whole: Path) -> None:
    for stage, steps in STEPS.items():
        losses, epochs = lines(whole / stage / "losses.jsonl"), lines(whole / stage / "validation.jsonl")
        assert [line["step"] for line in losses] == list(range(1, steps + 1))
        assert [line["step"] for line in epochs] == list(range(3, steps + 1, 3))
        assert epochs[-1]["loss"] < epochs[0]["loss"]
        assert {"loss", "rate", "norm"} <= losses[0].keys()
    assert "size" in lines(whole / "code/losses.jsonl")[0], "all parts of a loss are logged"


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    trained: Trained, whole: Path, tmp_path: Path
) -> None:
    trained(tmp_path / "same", *QUICK)
    assert story(tmp_path / "same") == story(whole)
    trained(tmp_path / "other", *QUICK, seed=4)
    assert lines(tmp_path / "other/code/losses.jsonl")[0]["loss"] != lines(whole / "code/losses.jsonl")[0]["loss"]


@pytest.mark.parametrize("at", [1, 4, 6, 12, 13, 18, 27])
def test_a_run_that_is_interrupted_in_any_step_resumes_to_the_same_bits(
    trained: Trained, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    class PowerCut(BaseException):
        pass

    def cut() -> None:
        raise PowerCut

    with monkeypatch.context() as broken, pytest.raises(PowerCut):
        breaking(broken, at, cut)
        trained(tmp_path / "run", *QUICK)
    trained(tmp_path / "run", *QUICK)
    assert story(tmp_path / "run") == story(whole)


def typed(corpus: Path, out: Path, *more: str) -> list[str]:
    sets = [word for change in ("frames=60", *QUICK) for word in ("--set", change)]
    return ["tiny", "--corpus", str(corpus), "--out", str(out), "--seed", "3", "--jobs", "1", *sets, *more]


def program(words: list[str], **environment: str) -> subprocess.Popen[str]:
    given = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(sys.path), **environment)
    return subprocess.Popen(
        [sys.executable, tiny_listener.__file__, *words], env=given, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_a_stage_is_prepared_once_and_not_again_when_it_resumes(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    monkeypatch.setattr(tiny_listener.Code, "prepare", lambda _self, clips: prepared.append(len(clips)))

    def cut() -> None:
        raise KeyError("cut")

    with monkeypatch.context() as broken, pytest.raises(KeyError):
        breaking(broken, 8, cut)
        trained(tmp_path / "run", *QUICK)
    trained(tmp_path / "run", *QUICK)
    assert prepared == [6]


@pytest.mark.slow
def test_after_each_kill_9_the_same_command_resumes_to_the_same_bits(
    corpus_folder: Path, whole: Path, tmp_path: Path
) -> None:
    # In a step; while a checkpoint is written; in the next stage; while its result is written.
    for kill, goes_on in (("step 9", ""), ("file 2", "code"), ("step 13", "code"), ("file 9", "listener")):
        process = program(typed(corpus_folder, tmp_path / "run"), TINY_KILL=kill)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, said
        assert (f"{goes_on}: resumes at step" in said) == bool(goes_on), said
    process = program(typed(corpus_folder, tmp_path / "run"))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "listener: resumes at step" in said, said
    assert story(tmp_path / "run") == story(whole)


def runs(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return result.exit_code, result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_a_checkpoint_prints_one_line_and_the_same_command_resumes(
    corpus_folder: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    out = tmp_path / "run"
    before = signal.getsignal(number)
    with monkeypatch.context() as broken:
        breaking(broken, 7, lambda: os.kill(os.getpid(), number))
        code, text = runs(*typed(corpus_folder, out))
    assert code == 130
    assert text.splitlines()[-1] == f"stopped; the same command resumes the run ({out})"
    found = checkpoints.newest(out / "code/checkpoints")
    assert found is not None and found[1]["step"] == 7, "the step was done whole"
    assert signal.getsignal(number) == before
    code, text = runs(*typed(corpus_folder, out))
    assert code == 0 and "code: resumes at step 7 of 12" in text
    assert story(out) == story(whole)
    code, text = runs(*typed(corpus_folder, out))
    assert code == 0 and "code: finished already" in text and "listener: finished already" in text


@pytest.mark.slow
def test_two_processes_with_half_the_batch_learn_what_one_learns(corpus_folder: Path, tmp_path: Path) -> None:
    # All clips are as long as a crop and nothing is random: the mean over two halves is the mean over the whole.
    quiet = ["--set", "stages.code.stage.noise=0.0", "--set", "stages.listener.stage.dropout=0.0"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for out, ranks in (("one", [{}]), ("two", [{"RANK": "0"}, {"RANK": "1"}])):
        world = {"WORLD_SIZE": str(len(ranks)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes = [program(typed(corpus_folder, tmp_path / out, *quiet), **world, **rank) for rank in ranks]
        said = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(ranks), said
    for file in ("code/losses.jsonl", "code/validation.jsonl", "listener/losses.jsonl", "listener/validation.jsonl"):
        one, two = lines(tmp_path / "one" / file), lines(tmp_path / "two" / file)
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert a["step"] == b["step"] and a["loss"] == pytest.approx(b["loss"], abs=1e-5)
    assert "2 processes" in (tmp_path / "two/tiny.md").read_text()


def test_a_batch_that_cannot_be_shared_is_one_sentence(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from react_ros.training.processes import ProcessGroup

    monkeypatch.setattr(ProcessGroup, "barrier", lambda _self: None)
    monkeypatch.setattr(ProcessGroup.__init__, "__defaults__", (0, 4, 0))
    with pytest.raises(ValueError, match=r"a batch of 2 crops cannot be shared among 4 processes: stages\.code\.batch"):
        trained(tmp_path / "run", *QUICK)


def poison(monkeypatch: pytest.MonkeyPatch, steps: range) -> None:
    """Make the loss NaN in some steps of the first stage, and its buffers with it."""
    done, loss = 0, tiny_listener.Code.loss

    def poisoned(self: Any, *given: Any) -> dict[str, Tensor]:
        nonlocal done
        out = loss(self, *given)
        done += self.training
        if self.training and done in steps:
            self.seen += torch.nan
            return {**out, "loss": out["loss"] * torch.nan}
        return out

    monkeypatch.setattr(tiny_listener.Code, "loss", poisoned)


def test_a_non_finite_loss_skips_one_step_without_side_effects(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, range(4, 7))
    trained(tmp_path / "run", *QUICK)
    losses = lines(tmp_path / "run/code/losses.jsonl")
    assert [line["step"] for line in losses if line["loss"] is None] == [4, 5, 6]
    assert json.loads((tmp_path / "run/code/finished.json").read_text())["skipped"] == 3
    weights = load_file(tmp_path / "run/code/finished.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert "| code | 12 | 12 | 3 |" in (tmp_path / "run/tiny.md").read_text()


def test_ten_consecutive_non_finite_losses_end_the_stage_with_one_sentence(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, range(2, 100))
    with pytest.raises(ValueError, match=r"^code: the loss was not finite 10 steps in a row, up to step 11: .*\.lr"):
        trained(tmp_path / "run", *QUICK)


def test_what_is_validated_and_exported_is_the_moving_average(trained: Trained, tmp_path: Path) -> None:
    trained(tmp_path / "run", *QUICK, "stages.listener.export=last")
    found = checkpoints.newest(tmp_path / "run/listener/checkpoints")
    assert found is not None
    weights = load_file(tmp_path / "run/tiny.safetensors")
    means = {name.removeprefix("mean."): t for name, t in found[0].items() if name.startswith("mean.")}
    assert {"out.weight", "gru.bias_hh_l0"} <= means.keys()
    for name, mean in means.items():
        assert torch.equal(weights[name], mean) and not torch.equal(mean, found[0][f"stage.{name}"])
    own = {name for name in weights if name.startswith("code.")}
    assert own and not own & means.keys(), "frozen parameters have no average"


def test_the_best_epoch_is_taken_where_the_last_is_worse(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a rate far too high after the first epochs, the last epoch is not the best.
    high = ("stages.code.optimizer.schedule=constant", "stages.code.optimizer.lr=0.5", "stages.code.ema=0.0")
    for export in ("best", "last"):
        trained(tmp_path / export, *QUICK, *high, f"stages.code.export={export}")
    epochs = lines(tmp_path / "best/code/validation.jsonl")
    best = min(epochs, key=lambda line: line["loss"])
    assert best != epochs[-1]
    for export, epoch in (("best", best), ("last", epochs[-1])):
        told = json.loads((tmp_path / export / "code/finished.json").read_text())
        assert told["chosen_step"] == epoch["step"] and told["figures"]["loss"] == epoch["loss"]
        weights = (tmp_path / export / "code/finished.safetensors").read_bytes()
        assert (weights == (tmp_path / "best/code/best.safetensors").read_bytes()) == (export == "best")


def test_a_run_folder_is_described_and_refuses_other_settings(
    trained: Trained, corpus_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    trained(out, *QUICK)
    told = yaml.safe_load((out / "run.yaml").read_text())
    assert told["system"] == "tiny" and told["seed"] == 3 and told["corpora"] == [str(corpus_folder)]
    assert told["stages"]["listener"]["stage"]["width"] == 12 and "code" in told
    for change, says in (
        (
            "stages.code.optimizer.lr=0.02",
            r"begun with stages\.code\.optimizer\.lr 0\.01, not 0\.02: remove .*run/code",
        ),
        ("stages.listener.stage.width=13", r"stages\.listener\.stage\.width 12, not 13: remove .*run/listener"),
        ("frames=50", r"begun with frames 60, not 50: choose another with --out"),
    ):
        with pytest.raises(ValueError, match=says):
            trained(out, *QUICK, change)
    with pytest.raises(ValueError, match="begun with seed 3, not 5"):
        trained(out, *QUICK, seed=5)
    other = shutil.copytree(corpus_folder, tmp_path / "corpus")
    with pytest.raises(ValueError, match="begun with corpora"):
        trained(out, *QUICK, corpora=[other])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    with pytest.raises(ValueError, match=r"mine is not empty and holds no run"):
        trained(tmp_path / "mine", *QUICK)


def test_a_run_of_version_0_1_resumes_to_the_same_bits(
    trained: Trained, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut() -> None:
        raise KeyError("cut")

    out = tmp_path / "run"
    with monkeypatch.context() as broken, pytest.raises(KeyError):
        breaking(broken, 8, cut)
        trained(out, *QUICK)
    # As version 0.1 wrote it: the stage's own settings and tensors were called task.
    described = yaml.safe_load((out / "run.yaml").read_text())
    for stage in described["stages"].values():
        stage["task"] = stage.pop("stage")
    (out / "run.yaml").write_text(yaml.safe_dump(described))
    for path in (out / "code/checkpoints").glob("*/tensors.safetensors"):
        tensors = {re.sub(r"^stage\.", "task.", name): t for name, t in load_file(path).items()}
        assert any(name.startswith("task.") for name in tensors)
        checkpoints.save_tensors(path, tensors)
    watcher = trained(out, *QUICK)
    assert any("code: resumes at step" in sentence for sentence in watcher.sentences)
    assert story(out) == story(whole)


def test_a_stage_whose_folder_is_removed_is_trained_anew_with_another_config(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained(out, *QUICK)
    before = (out / "code/finished.safetensors").read_bytes()
    shutil.rmtree(out / "listener")
    watcher = trained(out, *QUICK, "stages.listener.stage.width=5")
    assert "code: finished already, at step 12" in watcher.sentences
    assert (out / "code/finished.safetensors").read_bytes() == before
    assert load_file(out / "tiny.safetensors")["out.weight"].shape == (8, 5)
    # The later stage depends on the earlier one's weights.
    shutil.rmtree(out / "code")
    with pytest.raises(ValueError, match=r"run/listener was trained on other weights of the stages before it"):
        trained(out, *QUICK, "stages.listener.stage.width=5", "stages.code.epochs=2")


def test_stages_can_be_trained_one_by_one(trained: Trained, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=r"stage code comes before listener, and is not finished"):
        trained(out, *QUICK, stage="listener")
    with pytest.raises(ValueError, match=r"tiny has no stage 'liszt' \(did you mean 'listener'\?\): there are code"):
        trained(out, *QUICK, stage="liszt")
    trained(out, *QUICK, stage="code")
    assert not (out / "tiny.safetensors").exists() and not (out / "listener").exists()
    trained(out, *QUICK, stage="listener")
    assert story(out) == story(whole)


def test_the_weights_have_a_card_with_their_provenance(whole: Path) -> None:
    from react_ros.nn.weights import load_weights

    weights = load_weights(whole / "tiny", "tiny")
    assert weights.notice.startswith("Trained on simulated people: ")
    assert weights.config == {"code": {"noise": 0.1}, "listener": {"width": 12, "dropout": 0.2}}
    training = weights.training
    assert training["seed"] == 3 and training["steps"] == STEPS and training["clips"] == {"train": 6, "val": 3}
    assert training["figures"]["listener"]["clips"] == 3.0, "figures of the stage itself are on the card"
    epochs = lines(whole / "listener/validation.jsonl")
    assert training["figures"]["listener"]["loss"] == min(epoch["loss"] for epoch in epochs)
    card = (whole / "tiny.md").read_text()
    assert weights.notice in card and "Made for a test." in str(training["data"])
    assert f"| listener | loss | {training['figures']['listener']['loss']:.5g} |" in card


def test_notices_distinguish_simulated_and_recorded_people(tmp_path: Path) -> None:
    from react_ros.corpus.reader import open_corpus
    from react_ros.training.card import notice

    real = write_react2024(tmp_path / "real", sessions=1, frames=5, settings={"notice": "Ask before use."})
    unreal = write_react2024(tmp_path / "unreal", sessions=1, frames=5, settings={"simulated": True})
    assert notice([open_corpus(real)]) == "Ask before use."
    assert notice([open_corpus(unreal)]).startswith("Trained on simulated people: ")
    assert notice([open_corpus(real), open_corpus(unreal)]).startswith(
        "Trained on simulated people in 1 of 2 corpora: "
    )


def test_without_a_val_split_the_last_step_is_exported_and_the_card_states_it(trained: Trained, tmp_path: Path) -> None:
    root = write_react2024(
        tmp_path / "c", sessions=4, splits=("train",), frames=61, modalities=("attributes",),
        settings={"role_swap": False},
    )  # fmt: skip
    watcher = trained(tmp_path / "run", *QUICK, corpora=[root])
    assert any("without a val split there is no validation" in sentence for sentence in watcher.sentences)
    assert "there was no val split" in (tmp_path / "run/tiny.md").read_text()
    assert (tmp_path / "run/code/validation.jsonl").read_text() == ""


def test_a_corpus_without_a_needed_modality_is_refused_in_one_sentence(trained: Trained, tmp_path: Path) -> None:
    root = write_react2024(
        tmp_path / "c", sessions=2, splits=("train",), frames=61, modalities=("face_model",), arkit=True,
        settings={"scheme": "arkit52", "role_swap": False},
    )  # fmt: skip
    with pytest.raises(CorpusError, match=r"c has no attributes, without which stage code of tiny cannot be trained"):
        trained(tmp_path / "run", *QUICK, corpora=[root])
    assert not (tmp_path / "run").exists()


def test_a_trial_ends_every_stage_early_and_still_writes_weights(trained: Trained, tmp_path: Path) -> None:
    watcher = trained(tmp_path / "run", *QUICK, steps_limit=2)
    assert watcher.steps == [("code", 1, 2), ("code", 2, 2), ("listener", 1, 2), ("listener", 2, 2)]
    assert (tmp_path / "run/tiny.md").is_file() and len(lines(tmp_path / "run/code/validation.jsonl")) == 1


def test_a_trial_makes_way_for_the_run(trained: Trained, tmp_path: Path, whole: Path) -> None:
    trained(tmp_path / "run", *QUICK, steps_limit=2)
    watcher = trained(tmp_path / "run", *QUICK)
    assert any("held a trial with a limit of steps, which is replaced" in sentence for sentence in watcher.sentences)
    assert lines(tmp_path / "run/code/losses.jsonl") == lines(whole / "code/losses.jsonl")
    with pytest.raises(ValueError, match="was begun with steps_limit 0, not 2"):
        trained(tmp_path / "run", *QUICK, steps_limit=2)


def test_on_a_cpu_lower_precision_and_compiling_are_ignored_with_a_message(trained: Trained, tmp_path: Path) -> None:
    lower = ("stages.code.precision=bf16", "stages.code.compile=true")
    watcher = trained(tmp_path / "run", *QUICK, *lower, steps_limit=1)
    assert "code: on a CPU precision is fp32 and nothing is compiled" in watcher.sentences
    assert not any(sentence.startswith("listener: on a CPU") for sentence in watcher.sentences)


def test_curves_are_in_tensorboard(whole: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard/listener")).Reload()
    losses = [line["loss"] for line in lines(whole / "listener/losses.jsonl")]
    assert [event.value for event in events.Scalars("step/loss")] == pytest.approx(losses, rel=1e-6)
    assert [event.step for event in events.Scalars("validation/loss")] == [3, 6, 9, 12, 15]


def test_only_safetensors_json_yaml_and_text_are_written(whole: Path) -> None:
    kinds = {path.suffix for path in whole.rglob("*") if path.is_file() and "tensorboard" not in path.parts}
    assert kinds == {".safetensors", ".json", ".jsonl", ".yaml", ".md"}
    assert len(list((whole / "code/checkpoints").iterdir())) == 2, "the latest two stay"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tinny"], r"no system 'tinny' can be trained \(did you mean 'tiny'\?\)"),
        (["tiny", "--set", "stages.code.bach=3"], r"the config with --set: stages\.code.*bach"),
        (["tiny", "--config", "{tmp}/none.yaml"], r"there is no training configuration .*none\.yaml.*: tiny has none"),
        (["tiny", "--corpus", "{tmp}/nowhere"], "there is no corpus folder"),
        (["tiny", "--device", "tpu"], "device is 'tpu'"),
        (["tiny", "--stage", "liszt"], "tiny has no stage 'liszt'"),
        (["tiny", "--name", "a/b"], "--name a/b: it must be a name without folders"),
    ],
)
def test_user_errors_are_one_sentence_with_exit_code_2(
    corpus_folder: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    given = [word.format(tmp=tmp_path) for word in words]
    corpus = [] if "--corpus" in given else ["--corpus", str(corpus_folder)]
    code, text = runs(*given, *corpus, "--out", str(tmp_path / "out"), "--jobs", "1")
    assert code == 2
    assert re.search(says, text) and re.search(r"^react-ros: [^\n]*\.\n\Z", text, re.MULTILINE)


def test_checkpoints_of_another_version_of_a_system_are_refused(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut() -> None:
        raise KeyError("cut")

    with monkeypatch.context() as broken, pytest.raises(KeyError):
        breaking(broken, 8, cut)
        trained(tmp_path / "run", *QUICK)
    monkeypatch.setattr(tiny_listener, "CODE", 9)
    with pytest.raises(ValueError, match=r"run/code holds checkpoints of another version of this system: remove it"):
        trained(tmp_path / "run", *QUICK)
