"""Unusable weights of the token listener are refused with one sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rehearsal import simulated_speaker
from safetensors.torch import load_file, save
from torch import Tensor

from react_ros.generators import registry
from react_ros.nn.weights import save_weights


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def card(path: Path) -> dict[str, Any]:
    return yaml.safe_load(beside(path, ".yaml").read_text())


def written(path: Path, tensors: dict[str, Tensor], said: dict[str, Any]) -> None:
    """Write both files without the checks of `save_weights`."""
    data = save(tensors, metadata={"system": said["system"], "format": "1"})
    beside(path, ".safetensors").write_bytes(data)
    beside(path, ".yaml").write_text(yaml.safe_dump(said | {"sha256": hashlib.sha256(data).hexdigest()}))


def tensors(path: Path) -> dict[str, Tensor]:
    return load_file(beside(path, ".safetensors"))


def spoiled(change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        own, said = tensors(path), card(path)
        change(own, said)
        written(path, own, said)

    return spoil


def corrupt(path: Path) -> None:
    file = beside(path, ".safetensors")
    data = bytearray(file.read_bytes())
    data[-100] ^= 0x01
    file.write_bytes(data)


def truncate(path: Path) -> None:
    file = beside(path, ".safetensors")
    file.write_bytes(file.read_bytes()[:-1000])


def test_valid_weights_can_be_streamed(saved: Path) -> None:
    generator = registry.create("fsq", weights=str(saved), device="cpu")
    assert generator.info.notice == "Random numbers." and generator.info.learned
    assert generator.parameters == sum(  # type: ignore[attr-defined]
        t.numel() for n, t in tensors(saved).items() if not n.startswith("annotation_")
        and n not in ("tokenizer.moves", "predictor.encoder.mean", "predictor.encoder.deviation")
    )  # fmt: skip
    stream = generator.start(samples=2)
    for frame in simulated_speaker(0, 30):
        reaction = stream.step(frame)
    assert np.isfinite(reaction.blendshapes).all() and np.isfinite(reaction.attributes).all()
    suffixed = registry.create("fsq", weights=str(beside(saved, ".safetensors")), device="cpu")
    again = suffixed.start(samples=2)
    for frame in simulated_speaker(0, 30):
        same = again.step(frame)
    np.testing.assert_array_equal(same.blendshapes, reaction.blendshapes)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (corrupt, r"small\.safetensors is not the file that small\.yaml describes: its sha256 begins with"),
        (truncate, r"small\.safetensors is truncated or no safetensors file"),
        (lambda p: beside(p, ".yaml").unlink(), r"small\.yaml is missing: it must lie beside small\.safetensors"),
        (lambda p: beside(p, ".safetensors").unlink(), r"small\.safetensors is missing: it must lie beside small"),
        (spoiled(lambda t, c: c.update(system="vq_diff")), r"is the card of weights of vq_diff: fsq is expected"),
        (spoiled(lambda t, c: c.update(format=2)), r"small\.yaml has format 2: this version .* reads format 1"),
        (
            spoiled(lambda t, c: t.update({"predictor.nobody": torch.zeros(17)})),
            r"tensor predictor\.nobody has shape \(17,\), but its config needs \(16,\)",
        ),
        (spoiled(lambda t, c: t.pop("predictor.nobody")), r"has no tensor predictor\.nobody, which its config needs"),
        (
            spoiled(lambda t, c: t.update({"more": torch.zeros(1)})),
            r"has a tensor more, which its config does not have",
        ),
        (
            spoiled(lambda t, c: t["tokenizer.face.weight"].fill_(torch.nan)),
            r"tensor tokenizer\.face\.weight has values that are not finite",
        ),
        (
            spoiled(lambda t, c: c["config"]["predictor"].update(widht=3)),
            r"config\.predictor: there is no 'widht' \(did you mean 'width'\?\)",
        ),
        (
            spoiled(lambda t, c: c["config"]["predictor"].update(layers=0)),
            r"config\.predictor: layers is 0: it must be a whole number from 1",
        ),
        (
            spoiled(lambda t, c: c["config"]["tokenizer"]["quantizer"].update(kind="rvq")),
            r"config\.tokenizer\.quantizer\.kind is 'rvq': it must be fsq or lfq or vq",
        ),
        (
            spoiled(lambda t, c: c["config"]["sampling"].update(temperature="hot")),
            r"config\.sampling\.temperature is 'hot': it must be a",
        ),
        (
            spoiled(lambda t, c: c["config"]["sampling"].update(forgetting=1.5)),
            r"config\.sampling: forgetting is 1\.5: it must be a number from 0 to 1",
        ),
        (spoiled(lambda t, c: c["config"].update(guidance=1.0)), r"config: there is no 'guidance'"),
        (spoiled(lambda t, c: t.pop("annotation_circumplex")), r"has no tensor annotation_circumplex"),
        (spoiled(lambda t, c: c["config"]["predictor"].update(layers=3)), r"has no tensor predictor\.layers\.2"),
    ],
    ids=["one bit", "truncated", "no card", "no tensors", "another system", "another format", "shape", "missing",
         "too many", "NaN", "unknown key", "impossible", "unknown kind", "text",
         "too forgetful", "a key out of place", "no circumplex", "other layers"],
)  # fmt: skip
def test_unusable_weights_are_refused_with_a_sentence(
    saved: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(saved)
    with pytest.raises(ValueError, match=sentence) as error:
        registry.create("fsq", weights=str(saved))
    said = str(error.value)
    assert "\n" not in said and str(saved) in said and not said.endswith(".")


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ("fsq.pt", r"fsq\.pt is not opened: such a file can run code when it is read; give weights as \.safetensors"),
        ("/nowhere/fsq.ckpt", r"/nowhere/fsq\.ckpt is not opened"),
        ("fqs", r"no weights 'fqs' for fsq \(did you mean 'fsq'\?\): the names are .*fsq"),
        ("/nowhere/at/all", r"no weights '/nowhere/at/all' for fsq"),
        ("mean_listener", r"mean_listener"),
        ("", r"fsq: weights are '': they must be a name in models/ or a path"),
    ],
)
def test_missing_weights_are_refused_with_a_sentence(weights: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        registry.create("fsq", weights=weights)
    assert "\n" not in str(error.value)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    trap = tmp_path / "fsq.pt"
    torch.save({"a": torch.zeros(1)}, trap)
    with pytest.raises(ValueError, match=r"fsq\.pt is not opened"):
        registry.create("fsq", weights=str(trap))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"temperature": -1.0}, r"fsq: temperature is -1\.0: it must be a number from 0 to 10"),
        ({"top_p": 0.0}, r"fsq: top_p is 0\.0: it must be a number from 0\.01 to 1"),
        ({"forgetting": 1.01}, r"fsq: forgetting is 1\.01: it must be a number from 0 to 1"),
        ({"guidance": float("nan")}, r"fsq: guidance is nan: it must be a number from 0 to 10"),
        ({"device": "tpu"}, r"fsq: device is 'tpu': it must be one of auto, cpu, cuda"),
        ({"temprature": 1.0}, r"fsq has no parameter 'temprature' \(did you mean 'temperature'\?\)"),
    ],
)
def test_impossible_parameters_are_refused_with_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        registry.create("fsq", **given)


def test_sampling_defaults_to_that_of_the_weights(saved: Path) -> None:
    said, advised = card(saved), {"temperature": 0.8, "top_p": 0.9, "forgetting": 0.3, "guidance": 0.7}
    said["config"]["sampling"] = advised
    written(saved, tensors(saved), said)

    def drawn(**given: float) -> dict[str, float]:
        generator = registry.create("fsq", weights=str(saved), device="cpu", **given)
        return asdict(generator._loaded.sampling)  # type: ignore[attr-defined]

    assert drawn() == advised
    assert drawn(temperature=0.5) == pytest.approx(advised | {"temperature": 0.4}), "times what is advised"
    for name in ("top_p", "forgetting", "guidance"):
        assert drawn(**{name: 0.25}) == advised | {name: 0.25}
    assert drawn(forgetting=0.0, guidance=0.0) == advised | {"forgetting": 0.0, "guidance": 0.0}


@pytest.mark.parametrize("kind", ["lfq", "vq"])
def test_weights_of_the_other_quantizers_can_be_streamed(tmp_path: Path, kind: str) -> None:
    from react_ros.config import config_from, config_to
    from react_ros.systems.fsq.model import ModelConfig, Networks, Predictor, Tokenizer

    config = config_from(
        ModelConfig,
        {
            "tokenizer": {"width": 8, "quantizer": {"kind": kind, "groups": 2, "codebook_size": 8, "code_width": 4}},
            "predictor": {"width": 8, "layers": 1, "heads": 2, "feedforward": 8},
        },
        "test",
    )
    torch.manual_seed(0)
    tokenizer = Tokenizer(config.tokenizer)
    networks = Networks(tokenizer, Predictor(config.predictor, tokenizer.quantizer.groups, tokenizer.quantizer.size))
    save_weights(tmp_path / "w", networks.state_dict(), "fsq", config_to(config), {}, "")
    stream = registry.create("fsq", weights=str(tmp_path), device="cpu").start(samples=2)
    for frame in simulated_speaker(0, 10):
        assert np.isfinite(stream.step(frame).face_model).all()
