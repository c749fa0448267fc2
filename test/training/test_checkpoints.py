"""Checkpoints are atomic, exact, and not pickled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from react_ros.training import checkpoints
from react_ros.training.checkpoints import JsonLines

TENSORS = {
    "weights": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).T,
    "half": torch.tensor([1.5, -0.0, float("nan")], dtype=torch.float16),
    "step": torch.tensor(7.0),
    "codes": torch.tensor([[2**40, -1]]),
}


def test_every_bit_comes_back(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "step-000000007", TENSORS, {"step": 7, "best": None, "seconds": 0.1}, keep=2)
    found = checkpoints.newest(tmp_path)
    assert found is not None and found[1] == {"step": 7, "best": None, "seconds": 0.1}
    for name, tensor in TENSORS.items():
        assert found[0][name].dtype == tensor.dtype
        assert found[0][name].contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes()


def test_tensors_that_share_memory_are_saved_separately(tmp_path: Path) -> None:
    weight = torch.arange(6.0)
    checkpoints.save(tmp_path / "step-1", {"a": weight, "b": weight[2:]}, {}, keep=1)
    found = checkpoints.newest(tmp_path)
    assert found is not None and torch.equal(found[0]["b"], weight[2:])


def test_only_the_newest_stay_and_hold_nothing_but_safetensors_and_json(tmp_path: Path) -> None:
    for step in range(5):
        checkpoints.save(tmp_path / f"step-{step:09d}", TENSORS, {"step": step}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000000003", "step-000000004"]
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"tensors.safetensors", "numbers.json"}


@pytest.mark.parametrize("file", ["tensors.safetensors", "numbers.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_damaged_checkpoint_is_skipped_for_the_previous_one(tmp_path: Path, file: str, share: float) -> None:
    for step in (1, 2):
        checkpoints.save(tmp_path / f"step-00000000{step}", TENSORS, {"step": step}, keep=2)
    path = tmp_path / "step-000000002" / file
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    found = checkpoints.newest(tmp_path)
    assert found is not None and found[1] == {"step": 1}


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "nowhere") is None


def test_partial_checkpoints_of_a_killed_process_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".step-000000001").mkdir()
    (tmp_path / ".step-000000001/tensors.safetensors").write_bytes(b"half")
    assert checkpoints.newest(tmp_path) is None
    checkpoints.save(tmp_path / "step-000000001", TENSORS, {}, keep=2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]


def test_lines_are_truncated_to_a_step_and_partial_lines_dropped(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "losses.jsonl")
    for step in range(1, 6):
        lines.add({"step": step, "loss": 0.1 * step, "odd": float("inf")})
    lines.write()
    with (tmp_path / "losses.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    lines.truncate_to(3)
    kept = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 2, 3] and kept[2]["loss"] == 0.1 * 3 and kept[0]["odd"] is None
