"""A run's config: defaults, a file, changes on the command line, and errors in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_listener import Code, Listener

from react_ros.training.config import read_config
from react_ros.training.training_stage import training_stages

STAGES = [Code, Listener]


def test_without_a_file_everything_has_a_default() -> None:
    config = read_config(STAGES)
    assert list(config.stages) == ["code", "listener"] and (config.seed, config.frames) == (0, 750)
    assert config.stages["listener"].stage.width == 12 and config.stages["code"].optimization.batch == 32


def test_a_file_overrides_defaults_changes_the_file_and_the_seed_both(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text("seed: 4\nstages:\n  code: {batch: 8, optimizer: {lr: 1e-3}}\n  listener:\n    stage: {width: 5}\n")
    config = read_config(STAGES, file, ["stages.code.optimizer.lr=2e-4", "stages.code.stage.noise=0.5"], 9)
    code = config.stages["code"]
    assert (config.seed, code.optimization.batch, code.optimization.optimizer.lr, code.stage.noise) == (9, 8, 2e-4, 0.5)
    assert config.stages["listener"].stage.width == 5
    assert (
        read_config(STAGES, file).seed == 4
        and read_config(STAGES, file).stages["code"].optimization.optimizer.lr == 1e-3
    )


def test_the_key_task_of_version_0_1_is_read_with_a_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("stages:\n  code: {task: {noise: 0.25}}\n  listener: {batch: 8, task: {width: 5}}\n")
    config = read_config(STAGES, file, ["stages.listener.task.dropout=0.5", "stages.code.stage.noise=0.75"])
    listener = config.stages["listener"]
    assert (listener.stage.width, listener.stage.dropout, listener.optimization.batch) == (5, 0.5, 8)
    assert config.stages["code"].stage.noise == 0.75
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: stages.code.task is called stages.code.stage now",
        f"{file}: stages.listener.task is called stages.listener.stage now",
        "--set stages.listener.task.dropout=0.5: stages.listener.task is called stages.listener.stage now",
    ]


def test_a_stage_with_both_keys_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text("stages: {code: {task: {noise: 0.25}, stage: {noise: 0.5}}}")
    with pytest.raises(ValueError, match=r"both\.yaml: stages\.code has both 'stage' and 'task', its former name"):
        read_config(STAGES, file)


def test_a_config_written_as_yaml_is_read_back_the_same(tmp_path: Path) -> None:
    config = read_config(STAGES, None, ["stages.code.optimizer.betas=[0.8, 0.9]", "frames=60", "stages.code.epochs=3"])
    file = tmp_path / "again.yaml"
    file.write_text(yaml.safe_dump(config.plain()))
    assert read_config(STAGES, file) == config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sead: 1", r"there is no 'sead' \(did you mean 'seed'\?\)"),
        ("seed: -1", "seed is -1"),
        ("frames: 0", "frames is 0"),
        ("stages: {codes: {}}", r"stages: there is no 'codes' \(did you mean 'code'\?\)"),
        ("stages: {code: {batches: 3}}", r"stages\.code.*batch"),
        ("stages: {code: {batch: 0}}", r"stages\.code.*batch is 0"),
        ("stages: {code: {batch: many}}", r"stages\.code.*batch.*many"),
        ("stages: {code: 3}", r"stages\.code is 3"),
        ("stages: {code: {ema: 1.0}}", r"stages\.code.*ema is 1"),
        ("stages: {code: {precision: fp8}}", r"stages\.code.*precision.*fp8"),
        ("stages: {code: {optimizer: {lr: 0}}}", r"stages\.code.*lr is 0"),
        ("stages: {code: {optimizer: {schedule: square}}}", r"stages\.code.*schedule.*square"),
        ("stages: {code: {stage: {nois: 0.1}}}", r"stages\.code.*stage.*nois"),
        ("stages: {code: {stage: {noise: 2.0}}}", r"stages\.code.*stage.*noise is 2"),
        ("[1, 2]", "must hold names and values"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_an_impossible_config_is_refused_in_one_sentence_with_file_and_key(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"mine.yaml.*{says}") as caught:
        read_config(STAGES, file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("stages.code.batch", "--set stages.code.batch: it must be key.path=value"),
        ("=3", "must be key.path=value"),
        ("seed.x=3", "seed"),
        ("stages.code.batch=[", "cannot be read as YAML"),
        ("stages.code.bach=3", "the config with --set: stages.code.*bach"),
    ],
)
def test_an_impossible_change_is_refused_in_one_sentence(tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_config(STAGES, None, ["seed=1", change])


def test_a_missing_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml cannot be read: No such file"):
        read_config(STAGES, tmp_path / "none.yaml")


def test_systems_are_found_by_name_in_the_order_of_their_stages() -> None:
    assert [stage.stage for stage in training_stages("tiny")] == ["code", "listener"]
    with pytest.raises(ValueError, match=r"no system 'tinny' can be trained \(did you mean 'tiny'\?\)"):
        training_stages("tinny")
