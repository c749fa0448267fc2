"""Commands of corpora and evaluation: output, written files, and one sentence for errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import write_react2024
from typer.testing import CliRunner

from react_ros.cli.main import app

FRAMES = "60"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"role_swap": False, "simulated": True, "notice": "Made for a test."}
    folder = tmp_path_factory.mktemp("commands") / "corpus"
    root = write_react2024(folder, sessions=5, splits=("train", "test"), frames=61, settings=settings)
    np.save(root / "neighbour_emotion_test.npy", np.kron(np.eye(2), np.ones((5, 5))))
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def said(*words: object) -> tuple[int, str]:
    """Exit code and output; an uncaught exception fails the test."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.exit_code, result.output


def scored(corpus: Path, out: Path, *words: object) -> tuple[int, str]:
    return said("evaluate", *words, "--corpus", corpus, "--out", out, "--frames", FRAMES, "--samples", "2",
                "--jobs", "1")  # fmt: skip


def test_a_good_corpus_passes_the_check(corpus: Path) -> None:
    code, text = said("corpus", "check", corpus, "--frames", FRAMES, "--jobs", "1")
    assert code == 0
    assert "Made for a test." in text and "react2024, faceverse, 25 fps; dyads: train 5, test 5" in text
    assert "0 unusable, 0 odd" in text


def test_a_check_prints_a_line_per_problem_and_exits_with_1(corpus: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(corpus, tmp_path / "broken")
    (broken / "test/Emotion/NoXI/chat_1/Expert_video/2.csv").unlink()
    np.save(broken / "test/3D_FV_files/NoXI/chat_2/Novice_video/3.npy", np.zeros((61, 57)))
    code, text = said("corpus", "check", broken, "--split", "test", "--frames", FRAMES, "--jobs", "1")
    assert code == 1
    problems = [line.split(None, 2) for line in text.splitlines() if line.startswith("test ")]
    assert [(split, kind) for split, kind, _ in problems] == [("test", "unusable")] * 2
    assert re.search(r"chat_1/Expert_video/2: its attributes are missing \(.*2\.csv\)", problems[0][2])
    assert "chat_2/Novice_video/3: the shape of its face model is (61, 57)" in problems[1][2]
    assert "2 unusable" in text


def test_an_evaluation_that_can_score_no_clip_ends_with_the_first_reason(corpus: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.full((5, 2, int(FRAMES), 25), np.nan, np.float32))
    code, text = scored(corpus, tmp_path / "out", f"predictions={tmp_path / 'mine.npy'}")
    assert code and "no clip could be scored" in text and "chat_0/Expert_video/1: sample 0" in text


def test_the_appropriate_listeners_are_counted(corpus: Path) -> None:
    code, text = said("corpus", "appropriateness", corpus, "--split", "test", "--jobs", "1")
    assert (code, text) == (0, "test: 5 dyads; appropriate listeners each: 5 to 5, median 5\n")


def test_the_mean_listener_is_written_and_read(corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "mean.safetensors"
    code, text = said("corpus", "mean-listener", corpus, file, "--frames", FRAMES)
    assert code == 0 and str(file) in text and "listeners: 5" in file.with_suffix(".yaml").read_text()
    assert scored(corpus, tmp_path / "out", f"mean_frame,statistics={file}")[0] == 0


def test_an_evaluation_prints_a_table_and_writes_figures_and_a_page(corpus: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "out", ["ground_truth", "another_listener", "random"]
    code, text = scored(corpus, out, *names)
    assert code == 0
    rows = [line.split()[0] for line in text.splitlines() if line.startswith(" ")]
    assert rows == ["official", *names, "corrected", *names]
    assert "Made for a test. These figures say nothing about real people." in text
    told = json.loads((out / "results.json").read_text())
    assert told["clips"] == 5 and [r["row"] for r in told["rows"]] == names
    assert str(out / "report.html") in text and (out / "report.html").stat().st_size > 10_000
    assert scored(corpus, out, *names) == (code, text), "again: the same"


def test_shards_name_incomplete_rows_and_merge_to_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"shard{i}" for i in (1, 2)]
    for i, folder in enumerate(folders, start=1):
        code, text = scored(corpus, folder, "random", "--shard", f"{i}/2")
        assert code == 0 and f"shard {i}/2 is complete. Other shards are needed for: random" in text
        assert not (folder / "results.json").exists()
    merge = [word for folder in folders for word in ("--merge", folder)]
    for name, words in (("merged", merge), ("whole", [])):
        assert scored(corpus, tmp_path / name, "random", *words)[0] == 0
    for file in ("results.json", "report.html"):
        assert (tmp_path / "merged" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    code, text = scored(corpus, tmp_path / "other", "random", "--seed", "9", "--merge", folders[0])
    assert code == 2 and "holds an evaluation with seed 0, not 9" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["corpus", "check", "{tmp}/nowhere"], "there is no corpus folder"),
        (["corpus", "check", "{tmp}"], r"is no corpus: expected train\.csv"),
        (["corpus", "check", "{corpus}", "--split", "dev"], "there is no split 'dev'"),
        (["corpus", "check", "{corpus}", "--frames", "0"], "frames is 0"),
        (["corpus", "appropriateness", "{corpus}", "--split", "val"], r"val\.csv is missing"),
        (["corpus", "mean-listener", "{corpus}", "{tmp}/mean.bin"], r"must end in \.safetensors"),
        (["corpus", "mean-listener", "{corpus}", "{tmp}/mean.safetensors"], "no listener .* 61 frames .* 750"),
        (["corpus", "simulate", "{tmp}/new", "--sessions", "5"], "sessions is 5"),
        (["corpus", "simulate", "{corpus}", "--sessions", "11"], "is already there"),
        (["evaluate", "--corpus", "{tmp}/nowhere"], "there is no corpus folder"),
        (["evaluate", "--corpus", "{corpus}"], "no usable clips in its test split, e.g. .* 61 frames"),
        (["evaluate", "--corpus", "{corpus}", "--split", "dev"], "split is 'dev'"),
        (["evaluate", "--corpus", "{corpus}", "--protocol", "live"], "protocol is 'live'"),
        (["evaluate", "--corpus", "{corpus}", "--samples", "0"], "samples is 0"),
        (["evaluate", "--corpus", "{corpus}", "--shard", "3/2"], "shard is '3/2'"),
        (["evaluate", "{short}", "atentive"], "there is no row 'atentive'"),
        (
            ["evaluate", "{short}", "random", "--out", "{corpus}"],
            "no evaluation: choose another folder with --out",
        ),
        (["evaluate", "{short}", "random", "--out", "/dev/null/x"], "/dev/null/x: Not a directory"),
        (["evaluate", "{short}", "random", "--merge", "{tmp}"], "no evaluation to merge"),
        (["evaluate", "{short}", "predictions={tmp}/empty.npy"], r"empty\.npy cannot be read as npy: it is empty"),
        (["evaluate", "{short}", "predictions={tmp}/text.npy"], r"text\.npy cannot be read as npy: it is no npy file"),
        (["evaluate", "{short}", "predictions={tmp}/none.npy"], r"predictions=.*none\.npy: there is no such file"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("twenty-five")
    short = ["--corpus", str(corpus), "--frames", FRAMES, "--samples", "2", "--jobs", "1"]
    given = [w for word in words for w in (short if word == "{short}" else [word.format(tmp=tmp_path, corpus=corpus)])]
    code, text = said(*given)
    assert code == 2
    assert re.search(says, text) and re.fullmatch(r"react-ros: .*\.\n", text)


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_the_same_command_resumes(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "react_ros", "evaluate", "attentive", "random", "--corpus", str(corpus), "--out",
               str(out), "--frames", FRAMES, "--samples", "2", "--jobs", "2"]  # fmt: skip
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while not list(out.glob("rows/attentive-*/row.json")) and running.poll() is None:
        assert time.monotonic() < until, "no row within a minute"
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    text, _ = running.communicate(timeout=30)  # its children hold the pipe: it closes when the last has ended
    assert running.returncode == 130
    assert text.strip() == f"stopped; the same command resumes it ({out})"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert scored(corpus, tmp_path / "whole", "attentive", "random")[0] == 0
    told, whole = (json.loads((folder / "results.json").read_text()) for folder in (out, tmp_path / "whole"))
    assert told == whole
