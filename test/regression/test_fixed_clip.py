"""A change of structure changes no number: reactions, metrics and old bags are those recorded before it."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import fixed_clip
import numpy as np
import pytest

from react_ros.nn import weights
from react_ros.replay.listeners import ReplayRequest
from react_ros.replay.replay import replay

RECORDED: dict[str, Any] = json.loads((fixed_clip.HERE / "reactions.json").read_text())
SAME_ARITHMETIC = RECORDED["arithmetic"] == fixed_clip.arithmetic()


@pytest.mark.parametrize("case", fixed_clip.CASES)
def test_reactions_are_the_recorded_ones_to_the_bit(case: str) -> None:
    """The recorded case of the same weights counts; on another processor, the same faces within 1e-3 in most
    frames: a token or a code that is sampled at the edge of two may become the other one there."""
    name, parameters = fixed_clip.CASES[case]
    reactions, digest = fixed_clip.react(name, parameters)
    keys = [k for k, r in RECORDED["cases"].items() if r["case"] == case and r["weights"] == digest]
    assert keys, f"{case} was recorded with other weights than {digest or 'none'}"
    if SAME_ARITHMETIC:
        assert fixed_clip.digest_of(reactions) == RECORDED["cases"][keys[0]]["sha256"]
    with np.load(fixed_clip.REACTIONS) as file:
        kept = file[keys[0]]
    near = np.abs(reactions[:: fixed_clip.EVERY] - kept).max(axis=(1, 2)) < 1e-3
    assert near.mean() > 0.5, f"{near.mean():.0%} of the frames are the recorded ones"


def test_metrics_are_the_recorded_ones() -> None:
    recorded = json.loads(fixed_clip.METRICS.read_text())
    assert fixed_clip.metrics() == {name: pytest.approx(value, rel=1e-9) for name, value in recorded.items()}


def old_bag(system: str, folder: Path) -> Path:
    """A bag of version 0.1.0, unpacked."""
    bag = folder / "bag"
    shutil.copytree(fixed_clip.HERE / "bags" / system, bag)
    packed = bag / "recording.mcap.xz"
    packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    packed.unlink()
    return bag


@pytest.mark.parametrize("system", ["fsq", "reactdiff", "vqdiff"])
def test_a_bag_of_the_code_before_the_move_replays_to_the_bit(system: str, tmp_path: Path) -> None:
    """Recorded by version 0.1.0 (commit 0888db6), whose messages have fields of other names."""
    report = replay(old_bag(system, tmp_path), tmp_path / "out", ReplayRequest())
    assert report.frames == 75
    if SAME_ARITHMETIC:
        assert report.comparison.same == report.comparison.compared >= 72
    else:
        assert report.comparison.compared >= 72 and report.comparison.difference < 0.5


def test_a_bag_is_replayed_with_its_own_weights_after_their_alias_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, own = tmp_path / "models", weights.load_weights("fsq-2026-11-21", "fsq")
    folder.mkdir()
    for path in (own.path, own.path.with_suffix(".yaml")):
        shutil.copy(path, folder)
    silent = {name: tensor * 0 for name, tensor in own.tensors.items()}
    weights.save_weights(folder / "fsq-2099-01-01", silent, "fsq", own.config, own.training, own.notice)
    (folder / weights.ALIASES).write_text("fsq: fsq-2099-01-01\n")
    monkeypatch.setattr(weights, "models_folder", lambda: folder)
    report = replay(old_bag("fsq", tmp_path), tmp_path / "out", ReplayRequest())
    assert report.comparison.same == report.comparison.compared >= 72 or not SAME_ARITHMETIC
    assert not [notice for notice in report.notices if "recorded with weights" in notice]
    other = replay(tmp_path / "bag", tmp_path / "other", ReplayRequest(parameters={"weights": "fsq"}))
    assert any("recorded with weights" in notice for notice in other.notices)
