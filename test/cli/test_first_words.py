"""What commands say first: the version, the page's address after errors, the folders of results, what was meant."""

from __future__ import annotations

import socket
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from react_ros.bringup import processes
from react_ros.cli.choices import completing
from react_ros.cli.examples import EXAMPLES, add_examples
from react_ros.cli.main import app
from react_ros.cli.page_address import PageAddress
from react_ros.config import did_you_mean
from react_ros.evaluation.corpora.plan import parse_row
from react_ros.evaluation.sessions.sources import parse_session_row
from react_ros.sensors.end_of_file import end_of_file


def said(*words: object) -> tuple[int, str]:
    """Exit code and output; an uncaught exception fails the test."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return result.exit_code, result.output


def test_the_version_is_an_option_and_a_command() -> None:
    assert said("--version") == said("version") == (0, version("react_ros") + "\n")


def test_the_address_is_printed_once_the_page_has_been_there(capsys: pytest.CaptureFixture[str]) -> None:
    times = [0.0]
    with socket.socket() as page:
        page.bind(("127.0.0.1", 0))
        address = PageAddress(page.getsockname()[1], "here it is", lambda: times[-1])
        for now in (1.0, 5.0, 9.0):  # nothing listens yet
            times.append(now)
            assert address() is False
        page.listen()
        for now, printed in ((10.0, ""), (11.0, ""), (12.0, "here it is\n"), (20.0, "")):
            times.append(now)
            assert address() is False
            assert capsys.readouterr().out == printed
    assert PageAddress(0, "none")() is False and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("items", "sense", "says"),
    [
        (1, "sees", "end of x, which is a single picture: from now on the robot sees nobody; start the robot with --l"),
        (300, "sees", "end of x: from now on the robot sees nobody; start the robot with --loop (loop:=true) to begin"),
        (1, "hears", "end of x: from now on the robot hears nobody"),
    ],
)  # fmt: skip
def test_the_end_of_a_file_names_the_loop(items: int, sense: str, says: str) -> None:
    assert end_of_file("x", items, sense).startswith(says)


def test_each_kind_of_evaluation_has_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's commands in a row: a session first, then a corpus, without --out."""
    monkeypatch.chdir(tmp_path)
    folders = []
    for module, name in (
        ("evaluate_sessions", "evaluate_bags"), ("evaluate_corpus", "evaluate_corpus"),
        ("evaluate_responsiveness", "evaluate"),
    ):  # fmt: skip

        def keep(*given: object, **_: object) -> None:
            folders.append(next(str(g) for g in given if isinstance(g, Path) and str(g).startswith("evaluation")))

        monkeypatch.setattr(f"react_ros.cli.{module}.{name}", keep)
    for words in (("--bag", "monday"), ("--corpus", "dyads"), ("--responsiveness", "footage")):
        assert said("evaluate", *words)[0] == 0
    assert folders == ["evaluation-sessions", "evaluation", "evaluation-responsiveness"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["evaluate", "--corpus", "x", "atentive"], "'attentive'"),
        (["evaluate", "--bag", "x", "recordd"], "'recorded'"),
        (["evaluate", "--responsiveness", "footage", "vqdif"], "'vqdiff'"),
        (["train", "fqs", "--corpus", "x"], "'fsq'"), (["replay", "x", "--generator", "FSQ"], "'fsq'"),
        (["assets", "fetch", "face-landmark"], "'face-landmarker'"),
        (["bench", "generators", "mim"], "'mime'"), (["corpus", "appropriateness", "x", "--split", "tets"], "'test'"),
        (["evaluate", "--corpus", "x", "--table", "vqdif"], "'vqdiff'"),
    ],
)  # fmt: skip
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(words: list[str], meant: str) -> None:
    code, text = said(*words)
    assert code == 2 and f"did you mean {meant}?" in text and len(text.strip().splitlines()) == 1


def test_launch_arguments_are_answered_too() -> None:
    with pytest.raises(ValueError, match="did you mean 'generator'"):
        processes({"generater": "mime"})
    with pytest.raises(ValueError, match="did you mean 'cuda'"):
        processes({"device": "CUDA0"})
    assert did_you_mean("ATTENTIVE", ["attentive", "mime"]) == " (did you mean 'attentive'?)"
    for parse in (parse_row, parse_session_row):
        with pytest.raises(ValueError, match="did you mean 'ground_truth'"):
            parse("groundtruth")


def test_every_help_page_has_an_example_that_is_a_command() -> None:
    names = add_examples(app)
    assert sorted(names) == sorted(EXAMPLES)
    for name, example in EXAMPLES.items():
        assert example.startswith(f"react-ros {name}")
        code, text = said(*name.split(), "--help")
        assert code == 0 and "Example:" in text
        for word in example.split():
            assert not word.startswith("--") or word in text, f"{name} has no option {word}"


def test_enumerations_are_completed() -> None:
    assert completing(("raw", "features", "topics"))("f") == ["features"]
    code, text = said("record", "--help")
    assert code == 0 and "raw|features|topics" in text and "mcap|sqlite3" in text
    assert "Recorded sessions (--bag)" in said("evaluate", "--help")[1] and "Listener" in said("run", "--help")[1]
