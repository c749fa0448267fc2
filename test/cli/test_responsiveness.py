"""`react-ros evaluate --responsiveness`: what is printed and written, what is kept, and one sentence for errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_speakers import speaker
from typer.testing import CliRunner

from react_ros.cli.main import app
from react_ros.evaluation.responsiveness.clips import read_clips, write_clip
from react_ros.evaluation.responsiveness.run import Options, gate_rows, run_row


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speakers")
    for n in range(2):
        frames = speaker(200, ((40 + 40 * n, 100 + 40 * n),), ((10, 40 + n),))
        write_clip(folder / f"clip-{n}.npz", frames)
    (folder / "clips.yaml").write_text("clip-0: {distress: [[0, 1]]}\n")
    return folder


def said(*words: object) -> tuple[int, str]:
    """Exit code and output; an uncaught exception fails the test."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.exit_code, result.output


def test_rows_become_a_table_a_page_and_a_section_of_a_card(clips: Path, tmp_path: Path) -> None:
    out, card = tmp_path / "out", tmp_path / "mime.md"
    card.write_text("# mime\n\n## Figures\nNone.\n\n## Limits\n- Some.\n")
    code, text = said("evaluate", "--responsiveness", clips, "mime", "--out", out, "--samples", "2", "--seeds", "1,2",
                      "--card", card)  # fmt: skip
    assert code == 0, text
    told = json.loads((out / "responsiveness.json").read_text())
    row = told["rows"]["mime"]
    assert told["samples"] == 2 and told["seeds"] == [1, 2] and len(row["clips"]) == 2 * (5 + 1)
    assert row["events"]["onsets"] == 2 and row["events"]["pauses"] == 2
    assert row["figures"]["own"]["smile gain"]["mean"] == pytest.approx(1.0, abs=1e-3), "mime copies the speaker"
    assert row["figures"]["still"]["smile gain"]["mean"] == 0.0
    targets = {t["figure"]: t for t in row["targets"]}
    assert targets["smile gain"]["met"] and targets["smile gain"]["target"] == "at least 0.6"
    assert not targets["nods a minute, talking"]["met"]
    assert re.search(r"smile gain +1\.00 +at least 0\.6 +met", text), text
    assert "| mime | **1.00** |" in (out / "responsiveness.md").read_text()
    page = (out / "responsiveness.html").read_text()
    assert page.count("<svg") == 2 and "another person&#39;s clip" in page and "not met" in page
    before, _, after = card.read_text().partition("## Responsiveness\n")
    assert before == "# mime\n\n## Figures\nNone.\n\n" and after.endswith("\n\n## Limits\n- Some.\n")
    assert "Before 2 clips of 2 speakers" in after and "| smile gain | 1 |  | at least 0.6 | met |" in after


def test_finished_clips_are_kept_until_what_they_depend_on_changes(clips: Path, tmp_path: Path) -> None:
    (row,) = gate_rows(["mime"])
    speakers, _ = read_clips(clips)

    def run(samples: int = 2) -> dict[str, int]:
        run_row(row, speakers, Options(samples, (1,), ("own", "still")), tmp_path)
        return {p.name: p.stat().st_mtime_ns for p in sorted((tmp_path / "responsiveness").rglob("*.json"))}

    first = run()
    assert len(first) == 2 and run() == first
    kept = min(first)
    next((tmp_path / "responsiveness").rglob(kept)).write_text("{ cut off")
    again = run()
    assert again.keys() == first.keys() and again[kept] != first[kept] and again[max(first)] == first[max(first)]
    assert len(run(samples=1)) == 4, "other samples are other results"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--responsiveness", "{clips}", "ground_truth"], "--responsiveness runs generators"),
        (["--responsiveness", "{clips}", "mime:shuffled_speaker"], "another person's clip is one of its conditions"),
        (["--responsiveness", "{clips}", "mimee"], "did you mean 'mime'"),
        (["--responsiveness", "{clips}", "mime", "--seeds", "1,x"], "--seeds 1,x: they must be whole numbers"),
        (["--responsiveness", "{clips}", "mime", "--seeds", "1,1"], "they must be different numbers"),
        (["--responsiveness", "{clips}", "mime", "--samples", "0"], "samples is 0"),
        (["--responsiveness", "{clips}/none"], "none does not exist: give a folder of clips"),
        (["--responsiveness", "{clips}", "--bag", "x"], "--bag cannot be given with --responsiveness"),
        (["--responsiveness", "{clips}", "mime", "attentive", "--card", "x"], "takes the figures of one row"),
        (["--responsiveness", "{clips}", "mime", "--card", "x"], "--card x: there is no such file"),
        (["--seeds", "1,2"], "--seeds applies to speakers only: it needs --responsiveness"),
    ],
)
def test_errors_are_one_sentence(clips: Path, tmp_path: Path, words: list[str], says: str) -> None:
    code, text = said("evaluate", *(w.format(clips=clips) for w in words), "--out", tmp_path / "out")
    assert code == 2 and says in " ".join(text.split()) and len(text.strip().splitlines()) <= 3, text
