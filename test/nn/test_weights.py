"""Weights on disk: saving and loading, and one sentence for each invalid file."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml
from torch import Tensor, nn

from react_ros.config import config_from, config_to
from react_ros.nn import weights as module
from react_ros.nn.weights import FORMAT, load_into, load_weights, models_folder, save_weights, weights_names
from react_ros.package import share

CONFIG = {"model": {"width": 4, "rate": 0.5}, "levels": [3, 3]}
TRAINING = {"data": "simulated, seed 7", "steps": 12, "figures": {"loss": 0.25}}
NOTICE = "Simulated: trained on nobody’s face."


def tensors(scale: float = 1.0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "a.weight": scale * torch.randn(3, 4, generator=random),
        "a.bias": torch.randn(3, generator=random).half(),
        "started": torch.tensor(True),
        "count": torch.tensor([7, 2**40]),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "listener-0.1"
    save_weights(path, tensors(), "fsq", CONFIG, TRAINING, NOTICE)
    return path


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def refused(sentence: str, call: Callable[..., object], *arguments: Any) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        call(*arguments)
    assert "\n" not in str(error.value) and not str(error.value).endswith(".")


def change_card(path: Path, **changes: object) -> None:
    card = yaml.safe_load(beside(path, ".yaml").read_text("utf-8"))
    card.update(changes)
    beside(path, ".yaml").write_text(yaml.safe_dump(card), "utf-8")


def test_what_was_saved_is_loaded(saved: Path) -> None:
    weights = load_weights(saved, "fsq")
    assert weights.name == "listener-0.1" and weights.path == beside(saved, ".safetensors")
    assert (weights.config, weights.training, weights.notice) == (CONFIG, TRAINING, NOTICE)
    assert weights.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert torch.equal(weights.tensors[name], tensor) and weights.tensors[name].dtype == tensor.dtype


def test_the_card_describes_the_file(saved: Path) -> None:
    card = yaml.safe_load(beside(saved, ".yaml").read_text("utf-8"))
    assert card["system"] == "fsq" and card["format"] == FORMAT and card["notice"] == NOTICE
    assert card["parameters"] == 12 + 3 + 1 + 2
    from hashlib import sha256

    assert card["sha256"] == sha256(beside(saved, ".safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", ["", ".safetensors", ".yaml"])
def test_a_path_may_have_either_suffix_or_none(saved: Path, suffix: str) -> None:
    assert load_weights(str(saved) + suffix, "fsq").name == "listener-0.1"
    save_weights(str(saved) + suffix, tensors(2.0), "fsq", CONFIG, TRAINING, NOTICE)
    assert torch.equal(load_weights(saved, "fsq").tensors["a.weight"], tensors(2.0)["a.weight"])
    assert sorted(p.name for p in saved.parent.iterdir()) == ["listener-0.1.safetensors", "listener-0.1.yaml"]


def test_a_folder_with_one_set_of_weights_is_accepted(saved: Path) -> None:
    assert load_weights(saved.parent, "fsq").name == "listener-0.1"
    save_weights(saved.parent / "other", tensors(), "fsq", CONFIG, TRAINING, NOTICE)
    refused("holds weights listener-0.1.safetensors, other.safetensors: give one", load_weights, saved.parent, "fsq")
    (saved.parent / "empty").mkdir()
    refused("empty holds no weights", load_weights, saved.parent / "empty", "fsq")


def test_a_path_may_begin_with_a_tilde(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load_weights("~/listener-0.1", "fsq").name == "listener-0.1"


def test_names_are_those_of_the_packaged_models_of_that_system(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_folder() == share() / "models" and models_folder().is_dir()
    monkeypatch.setattr(module, "models_folder", lambda: saved.parent)
    save_weights(saved.parent / "face", tensors(), "reactface", CONFIG, TRAINING, NOTICE)
    (saved.parent / "broken.yaml").write_text("{")
    assert weights_names("fsq") == ["listener-0.1"] and weights_names("reactface") == ["face"]
    assert load_weights("listener-0.1", "fsq").path.parent == saved.parent
    refused(
        r"no weights 'listner-0.1' for fsq \(did you mean 'listener-0.1'\?\): the names are listener-0.1, or give",
        load_weights, "listner-0.1", "fsq",
    )  # fmt: skip
    refused("no weights 'x' for mime: there are none by name, or give the path", load_weights, "x", "mime")
    refused("no weights '' for fsq", load_weights, "", "fsq")
    refused(f"no weights '{saved.parent}/no.safetensors'", load_weights, saved.parent / "no.safetensors", "fsq")


def test_a_packaged_name_has_priority_over_a_file_of_that_name(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    save_weights(here / "listener-0.1", tensors(2.0), "fsq", CONFIG, TRAINING, NOTICE)
    monkeypatch.chdir(here)
    monkeypatch.setattr(module, "models_folder", lambda: saved.parent)
    assert load_weights("listener-0.1", "fsq").path.parent == saved.parent
    assert load_weights("./listener-0.1", "fsq").path.parent == Path(".")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl"])
def test_a_pickle_is_refused_unopened(tmp_path: Path, suffix: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "went off"),))

    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))
    refused("is not opened: such a file can run code", load_weights, path, "fsq")
    disguised = tmp_path / "model.safetensors"
    path.rename(disguised)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(_card()))
    refused("is truncated or no safetensors file", load_weights, disguised, "fsq")
    assert not (tmp_path / "went off").exists()


def _card() -> dict[str, Any]:
    return {
        "system": "fsq", "format": FORMAT, "notice": "", "sha256": "0" * 64, "parameters": 1, "config": {},
        "training": {},
    }  # fmt: skip


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_truncated_file_is_named(saved: Path, keep: int) -> None:
    file = beside(saved, ".safetensors")
    file.write_bytes(file.read_bytes()[:keep])
    refused(f"{re.escape(str(file))} is truncated", load_weights, saved, "fsq")


def test_a_file_with_a_flipped_bit_is_not_the_one_described(saved: Path) -> None:
    file = beside(saved, ".safetensors")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    refused("is not the file that listener-0.1.yaml describes: its sha256 begins with", load_weights, saved, "fsq")


def test_weights_of_another_system_are_refused(saved: Path) -> None:
    refused("listener-0.1.yaml is the card of weights of fsq: reactface is expected", load_weights, saved, "reactface")
    change_card(saved, system="reactface")
    refused("holds weights of fsq in format 1: reactface in format 1", load_weights, saved, "reactface")


def test_another_version_of_the_format_is_refused(saved: Path) -> None:
    change_card(saved, format=2)
    refused("has format 2: this version of react_ros reads format 1", load_weights, saved, "fsq")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot be read as YAML"),
        ("a list", "is not a card of weights: it needs system, format"),
        ("!!python/object/apply:os.getcwd []", "cannot be read as YAML"),
        ("\x80", "cannot be read as YAML"),
    ],
)
def test_an_invalid_card_is_refused(saved: Path, text: str, sentence: str) -> None:
    beside(saved, ".yaml").write_bytes(text.encode("latin-1"))
    refused(sentence, load_weights, saved, "fsq")


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [("notice", None, "text"), ("sha256", 5, "text"), ("parameters", "many", "a whole number")]
    + [(key, [1], "names and values") for key in ("config", "training")],
)
def test_a_card_with_a_wrong_entry_is_refused(saved: Path, key: str, value: object, wanted: str) -> None:
    change_card(saved, **{key: value})
    refused(f"is not a card of weights: its {key} must be {wanted}", load_weights, saved, "fsq")


@pytest.mark.parametrize(("gone", "left"), [(".yaml", ".safetensors"), (".safetensors", ".yaml")])
def test_half_a_pair_is_refused(saved: Path, gone: str, left: str) -> None:
    beside(saved, gone).unlink()
    for given in (saved, beside(saved, left)):
        refused(rf"0.1\{gone} is missing: it must lie beside", load_weights, given, "fsq")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_neither_saved_nor_loaded(
    saved: Path, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tensors() | {"a.bias": torch.tensor([1.0, bad]).half()}
    before = beside(saved, ".safetensors").read_bytes()
    refused(
        "is not written: tensor a.bias has values that are not finite",
        save_weights, saved, broken, "fsq", CONFIG, TRAINING, NOTICE,
    )  # fmt: skip
    assert beside(saved, ".safetensors").read_bytes() == before
    with monkeypatch.context() as careless:
        careless.setattr(torch, "isfinite", lambda tensor: torch.ones_like(tensor, dtype=torch.bool))
        save_weights(saved, broken, "fsq", CONFIG, TRAINING, NOTICE)
    refused("tensor a.bias has values that are not finite", load_weights, saved, "fsq")


def test_a_failed_write_leaves_the_old_weights(saved: Path) -> None:
    before = {path: path.read_bytes() for path in saved.parent.iterdir()}
    refused("YAML cannot hold", save_weights, saved, tensors(2.0), "fsq", {"x": torch.ones(1)}, TRAINING, NOTICE)
    refused("would hold no tensor", save_weights, saved, {}, "fsq", CONFIG, TRAINING, NOTICE)
    assert {path: path.read_bytes() for path in saved.parent.iterdir()} == before
    with pytest.raises(OSError):
        save_weights(saved.parent / f"{saved.name}.yaml" / "x", tensors(), "fsq", CONFIG, TRAINING, NOTICE)


def test_an_interrupted_write_leaves_no_partial_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in saved.parent.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(saved, tensors(2.0), "fsq", CONFIG, TRAINING, NOTICE)
    assert {path: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_tied_and_transposed_tensors_are_saved(tmp_path: Path) -> None:
    matrix = torch.randn(3, 5)
    save_weights(tmp_path / "w", {"a": matrix, "b": matrix, "c": matrix.T}, "fsq", CONFIG, TRAINING, NOTICE)
    loaded = load_weights(tmp_path / "w", "fsq").tensors
    assert torch.equal(loaded["a"], loaded["b"]) and torch.equal(loaded["c"], matrix.T)


def _save_module(path: Path, built: nn.Module, half: bool = False) -> None:
    stored = {name: t.half() if half else t for name, t in built.state_dict().items()}
    save_weights(path, stored, "fsq", CONFIG, TRAINING, NOTICE)


def test_weights_go_into_the_module_they_came_from(tmp_path: Path) -> None:
    built, other = nn.Linear(4, 3), nn.Linear(4, 3)
    for half in (False, True):
        _save_module(tmp_path / "w", built, half)
        load_into(other, load_weights(tmp_path / "w", "fsq"))
        assert other.weight.dtype == torch.float32
        torch.testing.assert_close(other.weight, built.weight, rtol=0, atol=1e-3 if half else 0.0)


@pytest.mark.parametrize(
    ("built", "sentence"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), "has no tensor 1.weight, 1.bias, which its config needs"),
        (nn.Sequential(nn.Linear(4, 3, bias=False)), "has a tensor 0.bias, which its config does not have"),
        (nn.Sequential(nn.Linear(5, 3)), r"tensor 0.weight has shape \(3, 4\), but its config needs \(3, 5\)"),
    ],
)
def test_weights_of_another_shape_are_refused_and_change_nothing(
    tmp_path: Path, built: nn.Module, sentence: str
) -> None:
    _save_module(tmp_path / "w", nn.Sequential(nn.Linear(4, 3)))
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    refused(sentence, load_into, built, load_weights(tmp_path / "w", "fsq"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in built.state_dict().items())


@dataclass(frozen=True, slots=True)
class Inner:
    width: int = 8
    rate: float = 0.5
    kind: Literal["fsq", "vq"] = "fsq"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width is {self.width}: it must be at least 1")


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    levels: tuple[int, ...] = (3, 3)
    betas: tuple[float, float] = (0.9, 0.99)
    losses: dict[str, float] = field(default_factory=dict)
    stages: Mapping[str, Inner] = field(default_factory=dict)
    limit: int | None = None
    start: int | str = 0
    on: bool = True
    extra: Any = None


FULL = {
    "name": "x",
    "inner": {"width": 3, "rate": 1, "kind": "vq"},
    "levels": [5, 5, 5],
    "betas": [0.5, 1],
    "losses": {"mouth": 2, "brow": 0.1},
    "stages": {"first": {"width": 2}},
    "limit": 4,
    "start": "now",
    "on": False,
    "extra": {"any": [1, "x"]},
}


def test_a_mapping_becomes_a_dataclass_and_a_mapping_again() -> None:
    config = config_from(Outer, FULL, "f.yaml: config")
    assert config == Outer(
        "x", Inner(3, 1.0, "vq"), (5, 5, 5), (0.5, 1.0), {"mouth": 2.0, "brow": 0.1}, {"first": Inner(2)}, 4, "now",
        False, {"any": [1, "x"]},
    )  # fmt: skip
    assert isinstance(config.inner.rate, float) and isinstance(config.levels, tuple)
    plain = config_to(config)
    assert plain["stages"] == {"first": {"width": 2, "rate": 0.5, "kind": "fsq"}} and plain["levels"] == [5, 5, 5]
    assert config_from(Outer, yaml.safe_load(yaml.safe_dump(plain)), "w") == config


def test_missing_keys_take_the_defaults() -> None:
    assert config_from(Outer, {"name": "x"}, "w") == Outer("x")
    assert config_from(Outer, {"name": "x", "limit": None, "start": 3}, "w").start == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"lveels": [3]}, r"^f.yaml: config: there is no 'lveels' \(did you mean 'levels'\?\): there are name, inner"),
        ({"inner": {"widht": 3}}, r"^f.yaml: config.inner: there is no 'widht' \(did you mean 'width'\?\)"),
        ({7: 1}, "^f.yaml: config: there is no 7: there are"),
        ({"inner": {"width": "3"}}, "^f.yaml: config.inner.width is '3': it must be a whole number$"),
        ({"inner": {"width": 3.0}}, "inner.width is 3.0: it must be a whole number"),
        ({"inner": {"width": True}}, "inner.width is True: it must be a whole number"),
        ({"inner": {"rate": "1e-4"}}, "inner.rate is '1e-4': it must be a finite number"),
        ({"inner": {"rate": float("nan")}}, "inner.rate is nan: it must be a finite number"),
        ({"inner": {"rate": False}}, "inner.rate is False"),
        ({"inner": {"kind": "vg"}}, "inner.kind is 'vg': it must be fsq or vq"),
        ({"inner": {"width": 0}}, "^f.yaml: config.inner: width is 0: it must be at least 1$"),
        ({"inner": 5}, "config.inner is 5: it must hold names and values"),
        ({"inner": None}, "config.inner is None: it must hold names and values"),
        ({"levels": [3, "x"]}, r"config.levels\[1\] is 'x': it must be a whole number"),
        ({"levels": 3}, "config.levels is 3: it must be a list"),
        ({"betas": [0.9]}, r"config.betas is \[0.9\]: it must be a list of 2"),
        ({"losses": {"mouth": "big"}}, "config.losses.mouth is 'big': it must be a finite number"),
        ({"losses": {3: 1.0}}, "config.losses is .*: it must hold names and values"),
        ({"stages": {"first": {"width": None}}}, "config.stages.first.width is None: it must be a whole number"),
        ({"limit": "4"}, "config.limit is '4': it must be a whole number"),
        ({"start": [1]}, r"config.start is \[1\]: it must be a whole number or text"),
        ({"on": 1}, "config.on is 1: it must be true or false"),
        ({"name": None}, "config.name is None: it must be text"),
    ],
)
def test_an_invalid_entry_is_refused_with_its_path(change: dict[Any, Any], sentence: str) -> None:
    refused(sentence, config_from, Outer, {**FULL, **change}, "f.yaml: config")


def test_a_missing_entry_is_named() -> None:
    refused("^w.name is missing: it has no default$", config_from, Outer, {}, "w")


def test_only_plain_values_are_written() -> None:
    refused("extra is tensor", config_to, Outer("x", extra=torch.ones(())))
    refused("a config must be a dataclass", config_to, {"a": 1})


def test_reading_a_config_does_not_import_pytorch() -> None:
    import subprocess
    import sys

    code = "import sys, react_ros.nn.weights; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
