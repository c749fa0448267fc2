"""A resumed evaluation never reprints figures of other weights, styles, statistics, data or code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_corpus import write_react2024

from react_ros.evaluation.corpora import run as evaluation
from react_ros.evaluation.corpora import source_digest
from react_ros.evaluation.corpora.plan import Plan, Shard, parse_row
from react_ros.evaluation.corpora.run import Prepared, prepare, run
from react_ros.generators import registry
from react_ros.nn import weights as weights_module
from react_ros.nn.weights import models_folder, save_weights

FRAMES = 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus") / "react"
    write_react2024(
        root, sessions=5, splits=("train", "test"), frames=FRAMES + 1, seed=3, arkit=True,
        settings={"scheme": "arkit52", "simulated": True, "role_swap": False, "notice": "Made for a test."},
    )  # fmt: skip
    np.save(root / "neighbour_emotion_test.npy", np.kron(np.eye(2), np.ones((5, 5))))
    return root


@pytest.fixture
def prepared(corpus: Path) -> Prepared:
    return prepare(Plan(corpus, frames=FRAMES, samples=2, limit=1))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of models/ that a test may change."""
    copy = shutil.copytree(models_folder(), tmp_path / "models")
    monkeypatch.setattr(weights_module, "models_folder", lambda: copy)
    monkeypatch.setattr("react_ros.systems.reactdiff.style.models_folder", lambda: copy)
    return copy


def zero(path: Path) -> None:
    """What a retraining does: other numbers under the same name. path: without suffix."""
    card = yaml.safe_load(path.with_name(f"{path.name}.yaml").read_text())
    tensors = load_file(path.with_name(f"{path.name}.safetensors"))
    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    save_weights(path, zeros, card["system"], card["config"], card["training"], card["notice"])


def refused_after(change: Callable[[], object], prepared: Prepared, row: str, out: Path, what: str) -> None:
    """The row is evaluated, resumed, and refused after the change, in a sentence that names it."""
    parsed = [parse_row(row)]
    assert run(prepared, parsed, out, jobs=1)
    assert run(prepared, parsed, out, jobs=1), "unchanged, it is resumed"
    change()
    with pytest.raises(ValueError, match=rf"its {what} changed after .* was begun: choose another folder"):
        run(prepared, parsed, out, jobs=1)


# Files of generators


def test_weights_by_alias(prepared: Prepared, models: Path, tmp_path: Path) -> None:
    name = weights_module.aliases()["fsq"]
    refused_after(lambda: zero(models / name), prepared, "fsq", tmp_path / "out", "weights")


def test_an_alias_that_moves_to_other_weights(prepared: Prepared, models: Path, tmp_path: Path) -> None:
    name = weights_module.aliases()["fsq"]

    def move() -> None:
        for suffix in (".safetensors", ".yaml"):
            shutil.copy(models / f"{name}{suffix}", models / f"fsq-later{suffix}")
        zero(models / "fsq-later")
        (models / "aliases.yaml").write_text("fsq: fsq-later\n")

    refused_after(move, prepared, "fsq", tmp_path / "out", "weights")


def test_weights_by_dated_name(prepared: Prepared, models: Path, tmp_path: Path) -> None:
    name = weights_module.aliases()["fsq"]
    refused_after(lambda: zero(models / name), prepared, f"fsq,weights={name}", tmp_path / "out", "weights")


def test_weights_by_path_without_suffix(prepared: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "runs" / "mine"
    path.parent.mkdir()
    for suffix in (".safetensors", ".yaml"):
        shutil.copy(models_folder() / f"{weights_module.aliases()['fsq']}{suffix}", path.with_name(f"mine{suffix}"))
    refused_after(lambda: zero(path), prepared, f"fsq,weights={path}", tmp_path / "out", "weights")


def test_the_sampling_advice_beside_the_weights(prepared: Prepared, models: Path, tmp_path: Path) -> None:
    card = models / f"{weights_module.aliases()['fsq']}.yaml"

    def advise() -> None:
        values = yaml.safe_load(card.read_text())
        values["config"]["sampling"]["temperature"] = 0.5
        card.write_text(yaml.safe_dump(values))

    refused_after(advise, prepared, "fsq", tmp_path / "out", "weights' config")


def clip(path: Path, level: float) -> None:
    np.savez(path, face_model=np.full((50, 58), level, np.float32), attributes=np.full((50, 25), level, np.float32))


@pytest.mark.parametrize("kind", ["packaged", "file", "folder"])
def test_styles(prepared: Prepared, models: Path, tmp_path: Path, kind: str) -> None:
    style = tmp_path / "somebody"
    style.mkdir()
    clip(style / "1.npz", 0.1)
    given, change = {
        "packaged": ("lively", lambda: clip(models / "listeners" / "lively.npz", 0.3)),
        "file": (str(style / "1.npz"), lambda: clip(style / "1.npz", 0.3)),
        "folder": (str(style), lambda: clip(style / "2.npz", 0.3)),
    }[kind]
    refused_after(change, prepared, f"reactdiff,steps=2,style={given}", tmp_path / "out", "style")


def test_statistics_given_as_a_file(prepared: Prepared, tmp_path: Path) -> None:
    for suffix in (".safetensors", ".yaml"):
        shutil.copy(models_folder() / f"mean_listener{suffix}", tmp_path / f"mine{suffix}")
    path = tmp_path / "mine.safetensors"

    def change() -> None:
        from safetensors.numpy import load_file, save_file

        save_file({name: array / 2 for name, array in load_file(path).items()}, path)

    refused_after(change, prepared, f"mean_frame,statistics={path}", tmp_path / "out", "statistics")


def test_statistics_of_a_train_split_that_changed(corpus: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(corpus, tmp_path / "changed")
    files = sorted((changed / "train" / "Emotion").rglob("*.csv"))

    def change() -> None:
        for file in files:
            head, *rows = file.read_text().splitlines()
            file.write_text("\n".join([head, *(",".join(["1", *row.split(",")[1:]]) for row in rows)]))

    prepared = prepare(Plan(changed, frames=FRAMES, samples=2, limit=1))
    refused_after(change, prepared, "mean_frame", tmp_path / "out", "statistics")


def test_predictions(prepared: Prepared, tmp_path: Path) -> None:
    path = tmp_path / "mine.npy"
    np.save(path, np.full((5, 2, FRAMES, 25), 0.5, np.float32))
    change = lambda: np.save(path, np.full((5, 2, FRAMES, 25), 0.6, np.float32))  # noqa: E731
    refused_after(change, prepared, f"predictions={path}", tmp_path / "out", "predictions")


def test_every_learned_system_reports_its_weights() -> None:
    for name in registry.names():
        generator = registry.create(name)
        assert ("weights" in generator.content()) is generator.info.learned, name


def test_a_shard_made_with_other_weights_is_not_merged(corpus: Path, models: Path, tmp_path: Path) -> None:
    prepared, rows = prepare(Plan(corpus, frames=FRAMES, samples=2)), [parse_row("fsq")]
    run(prepared, rows, tmp_path / "1", shard=Shard(1, 2), jobs=1)
    zero(models / weights_module.aliases()["fsq"])
    run(prepared, rows, tmp_path / "2", shard=Shard(2, 2), jobs=1)
    with pytest.raises(ValueError, match=r"fsq: its weights in .*2 differ from those in .*1"):
        run(prepared, rows, tmp_path / "1", merge=[tmp_path / "2"], jobs=1)


# Data


@pytest.mark.parametrize(
    "what",
    [
        "Emotion/NoXI/chat_0/Novice_video/1.csv",
        "3D_FV_files/NoXI/chat_0/Novice_video/1.npy",
        "3D_FV_files/NoXI/chat_0/Expert_video/1.npy",
        "Audio_files/NoXI/chat_0/Expert_video/1.wav",
    ],
)
def test_every_file_that_is_scored_or_heard_counts(corpus: Path, tmp_path: Path, what: str) -> None:
    copy = shutil.copytree(corpus, tmp_path / "copy")
    plan = Plan(copy, frames=FRAMES, samples=2, limit=1)
    before = prepare(plan).fingerprint
    path = copy / "test" / what
    if path.suffix == ".npy":
        np.save(path, np.load(path) * np.float32(0.5))
    elif path.suffix == ".wav":
        data = bytearray(path.read_bytes())
        data[-200:] = bytes(200)  # other sound, of the same length
        path.write_bytes(data)
    else:
        head, first, *rows = path.read_text().splitlines()
        path.write_text("\n".join([head, ",".join(["0.25", *first.split(",")[1:]]), *rows]))
    assert prepare(plan).fingerprint != before


# Code


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the source of a module another one, as after an edit."""
    read = source_digest.read_source

    def edited(module: str) -> None:
        assert read(module) is not None
        monkeypatch.setattr(
            source_digest, "read_source", lambda name: (read(name) or b"") + b"\n#" if name == module else read(name)
        )

    return edited


def fingerprint(prepared: Prepared, pictures: Path | None) -> str:
    plan = replace(prepared.plan, inception=str(pictures) if pictures else "")
    return evaluation._fingerprint(plan, prepared.corpus, prepared.dyads, prepared.appropriate)


@pytest.mark.parametrize(
    ("module", "scores", "pictures"),
    [
        ("react_ros.evaluation.metrics.synchrony", True, True),
        ("react_ros.perception.acoustics", True, True),
        ("react_ros.face", True, True),
        ("react_ros.avatar.render", False, True),
        ("react_ros.avatar.head", False, True),
        ("react_ros.evaluation.metrics.pictures", False, True),
        ("react_ros.evaluation.report.corpora_page", False, False),
        ("react_ros.pages", False, False),
        ("react_ros.cli.evaluate", False, False),
        ("react_ros.systems.mime.generator", False, False),
        ("react_ros.training.trainer", False, False),
    ],
)
def test_code_counts_where_it_makes_numbers(
    prepared: Prepared, tmp_path: Path, edit: Callable[[str], None], module: str, scores: bool, pictures: bool
) -> None:
    network = tmp_path / "network.pt"
    network.write_bytes(b"a network")
    before = [fingerprint(prepared, network if with_pictures else None) for with_pictures in (False, True)]
    edit(module)
    after = [fingerprint(prepared, network if with_pictures else None) for with_pictures in (False, True)]
    assert [a != b for a, b in zip(after, before, strict=True)] == [scores, pictures]


def test_code_of_one_system_counts_for_its_own_rows_only(
    prepared: Prepared, tmp_path: Path, edit: Callable[[str], None]
) -> None:
    run(prepared, [parse_row("mime"), parse_row("random")], tmp_path / "out", jobs=1)
    edit("react_ros.systems.mime.generator")
    assert run(prepared, [parse_row("random")], tmp_path / "out", jobs=1)
    with pytest.raises(ValueError, match="mime: its code changed"):
        run(prepared, [parse_row("mime")], tmp_path / "out", jobs=1)


def test_imports_are_followed_into_the_packages_of_third_party_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "their_package"
    package.mkdir()
    files = {
        "__init__.py": "",
        "generator.py": "from typing import TYPE_CHECKING\nfrom .deep import x\nimport json\n"
        "if TYPE_CHECKING:\n    from . import types_only\ndef f():\n    from their_package import late\n",
        "deep.py": "x = 1\n", "late.py": "", "types_only.py": "", "unused.py": "",
    }  # fmt: skip
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def digest() -> str:
        return source_digest.source_digest("their_package.generator")

    before = digest()
    for name, counts in (("unused.py", False), ("types_only.py", False), ("deep.py", True), ("late.py", True)):
        (package / name).write_text("y = 2\n")
        assert (digest() != before) is counts, name
        (package / name).write_text(files[name])
    assert digest() == before
    with pytest.raises(ModuleNotFoundError):
        source_digest.source_digest("their_package.nothing")
