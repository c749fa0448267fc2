"""The gate of real speakers chooses between checkpoints, and is named in the model card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_listener
from made_speakers import Mirror, speaker
from safetensors.torch import load_file

from react_ros.evaluation.responsiveness.clips import SpeakerClip, write_clip
from react_ros.evaluation.responsiveness.score import responsiveness
from react_ros.training.card import with_responsiveness
from react_ros.training.gate import Candidate, candidates_left, choose

Trained = Callable[..., Any]

QUICK = (
    "stages.code.epochs=1", "stages.code.batch=2", "stages.code.crop=20", "stages.listener.epochs=6",
    "stages.listener.batch=4", "stages.listener.crop=16", "stages.listener.crops=2",
    "stages.listener.checkpoint_every=4", "stages.listener.optimizer.lr=0.01", "stages.listener.ema=0.9",
)  # fmt: skip


@pytest.fixture(scope="session")
def speakers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "six-smiles"
    for n in range(2):
        write_clip(folder / f"clip-{n}.npz", speaker(150, ((30 + 9 * n, 100 + 9 * n),)))
    return folder


def gated(speakers: Path, **options: Any) -> tuple[str, ...]:
    given = {"clips": str(speakers), "samples": 1, **options}
    return (*QUICK, *(f"stages.listener.gate.{key}={value}" for key, value in given.items()))


def epochs(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "listener/validation.jsonl").read_text().splitlines()]


def told(out: Path) -> dict[str, Any]:
    return json.loads((out / "listener/finished.json").read_text())


def candidate(step: int, loss: float, score: float) -> Candidate:
    return Candidate(step, loss, score, {})


def test_the_best_score_within_the_tolerance_of_the_lowest_loss_is_chosen() -> None:
    each = [candidate(1, 1.20, 0.9), candidate(2, 1.04, 0.7), candidate(3, 1.00, 0.5), candidate(4, 1.03, 0.7)]
    assert choose(each, 1.00, 0.0) == each[2]
    assert choose(each, 1.00, 0.05) == each[3], "of equal scores that of lower loss"
    assert choose(each, 1.00, 0.2) == each[0]
    assert choose(each[:1], 1.00, 0.05) is None, "the lowest loss was of a checkpoint that was not gated"
    assert choose([candidate(1, -2.0, 0.1), candidate(2, -1.95, 0.9)], -2.0, 0.05) is not None, "losses may be negative"
    chosen = choose([candidate(1, -2.0, 0.1), candidate(2, -1.95, 0.9)], -2.0, 0.05)
    assert chosen is not None and chosen.step == 2
    assert [c.step for c in candidates_left(each, 1.00, 0.2)] == [1, 3, 4], "behind another in both: not kept"
    assert [c.step for c in candidates_left([each[2], each[2]], 1.0, 0.05)] == [3, 3]


@pytest.mark.parametrize("tolerance", [0.02, 5.0])
def test_training_ends_with_the_checkpoint_that_the_rule_chooses(
    trained: Trained, speakers: Path, tmp_path: Path, tolerance: float
) -> None:
    out = tmp_path / "run"
    watcher = trained(out, *gated(speakers, tolerance=tolerance))
    found = epochs(out)
    assert all(0.0 < e["gate"] < 1.0 and "gate: smile gain" in e for e in found)
    lowest = min(found, key=lambda e: e["loss"])
    chosen = max((e for e in found if e["loss"] <= (1 + tolerance) * lowest["loss"]), key=lambda e: e["gate"])
    assert tolerance < 1.0 or chosen is not lowest, "a test in which both are the same shows nothing"
    result = told(out)
    assert result["chosen_step"] == chosen["step"] and result["figures"]["loss"] == chosen["loss"]
    assert result["gate"]["score"] == chosen["gate"] and result["gate"]["lowest_loss_step"] == lowest["step"]
    assert result["gate"]["clips"] == "six-smiles" and result["gate"]["count"] == 2
    weights = load_file(out / "listener/finished.safetensors")
    kept = load_file(out / f"listener/gated/step-{chosen['step']:09d}.safetensors")
    assert all(bool((weights[name] == tensor).all()) for name, tensor in kept.items())
    card = (out / "tiny.md").read_text()
    assert "## Responsiveness\nBefore 2 clips of 2 speakers (six-smiles, digest " in card
    assert "These clips also chose the checkpoint" in card and f"{100 * tolerance:g} % above the lowest" in card
    assert "| smile correlation | 1 |" in card
    assert any(f"gate at step {chosen['step']}: smile gain " in sentence for sentence in watcher.sentences)


def test_an_interrupted_gated_run_resumes_to_the_same_choice(
    trained: Trained, speakers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    steps, loss = 0, tiny_listener.Listener.loss

    def cut(self: Any, *given: Any) -> Any:
        nonlocal steps
        steps += self.training
        if self.training and steps == 11:
            raise PowerCut
        return loss(self, *given)

    trained(tmp_path / "whole", *gated(speakers, tolerance=5.0, every=2))
    with monkeypatch.context() as broken, pytest.raises(PowerCut):
        broken.setattr(tiny_listener.Listener, "loss", cut)
        trained(tmp_path / "run", *gated(speakers, tolerance=5.0, every=2))
    trained(tmp_path / "run", *gated(speakers, tolerance=5.0, every=2))
    assert epochs(tmp_path / "run") == epochs(tmp_path / "whole")
    assert ["gate" in e for e in epochs(tmp_path / "run")] == [False, True] * 3
    assert {**told(tmp_path / "run"), "seconds": 0} == {**told(tmp_path / "whole"), "seconds": 0}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("stages.code.gate.clips={clips}",), r"stages\.code\.gate: this stage makes no reactions"),
        (("stages.listener.gate.clips={clips}/none",), "none does not exist: give a folder of clips"),
        (("stages.listener.gate.every=2",), r"gate\.clips is missing"),
        (("stages.listener.gate.clips={clips}", "stages.listener.export=last"), "export must be best"),
    ],
)
def test_an_impossible_gate_is_one_sentence_before_anything_is_trained(
    trained: Trained, speakers: Path, tmp_path: Path, changes: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        trained(tmp_path / "run", *QUICK, *(change.format(clips=speakers) for change in changes))
    assert not (tmp_path / "run").exists()


def test_a_card_has_one_section_of_responsiveness_before_its_limits() -> None:
    clips = [SpeakerClip("ann", speaker(150, ((30, 100),)))]
    card = "# tiny\n\n## Figures\nSome.\n\n## Limits\n- None.\n"
    once = with_responsiveness(card, responsiveness(Mirror(0.5), clips, 1), source="here")
    twice = with_responsiveness(once, responsiveness(Mirror(0.7), clips, 1), source="there")
    assert once.count("## ") == twice.count("## ") == 3
    assert once.index("## Figures") < once.index("## Responsiveness") < once.index("## Limits")
    assert "| smile gain | 0.5 |  | at least 0.6 | not met |" in once and "(here)" in once
    assert "| smile gain | 0.7 |  | at least 0.6 | met |" in twice and "(here)" not in twice
    assert "| pauses above chance | – | | at least 0.3 | not measurable |" in twice
