"""Parameter files with mistakes are refused, with what was meant, by `react-ros run` and the launch file."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import launch_stand_in as stand_in
import pytest
from typer.testing import CliRunner

from react_ros.cli.main import app
from react_ros.nodes.parameter_file import check_parameter_file
from react_ros.package import share

REFUSED = [
    ("/**/listener: {ros__parameters: {generater: mime}}", "listener has no parameter 'generater' (did you mean "
     "'generator'?): it has autostart, delay,"),
    ("/**/listner: {ros__parameters: {generator: mime}}", "this robot has no node '/**/listner' (did you mean "
     "'/**/listener'?): its nodes are /robot/camera,"),
    ("listener: {ros__parameters: {generator: mime}}", "has no node '/listener' (did you mean '/robot/listener' or "
     "'/**/listener'?)"),
    ("/other/listener: {ros__parameters: {generator: mime}}", "(did you mean '/robot/listener' or"),
    ("robot: {listner: {ros__parameters: {seed: 1}}}", "no node '/robot/listner' (did you mean '/robot/listener'?)"),
    ("/**: {ros__parameters: {sede: 1}}", "no node of this robot has a parameter 'sede' (did you mean 'seed'?)"),
    ("/**/listener: {ros__parameters: {delay: 1}}", "listener: delay must be a number with a point, not 1"),
    ("/**/listener: {ros__parameters: {samples: 0}}", "listener: samples must be between 1 and 100, not 0"),
    ("/**/listener: {ros__parameters: {device: gpu}}", "listener: device must be one of auto, cpu, cuda, not 'gpu'"),
    ("/**/listener: {ros__parameters: [samples]}", "the parameters of /**/listener must be names and values"),
    ("/**/avatar: {ros__parameters: {render: {width: 3}}}", "avatar has no parameter 'render.width'"),
]  # fmt: skip
ACCEPTED = [
    "/**/listener: {ros__parameters: {generator: mime, samples: 3, use_sim_time: true}}",
    "/**: {ros__parameters: {seed: 4, width: 640, use_sim_time: false}}",
    "/*/listener: {ros__parameters: {delay: 1.0e-1, delay_spread: 1e-1}}",
    "/robot: {listener: {ros__parameters: {seed: 1}}, recorder: {ros__parameters: {images: none}}}",
    "/robot/listener: {ros__parameters: {}}\n/robot/camera: {ros__parameters: {qos_overrides./image_raw.depth: 1}}",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "parameters.yaml"


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_what_no_node_has_is_refused_with_what_was_meant(file: Path, text: str, expected: str):
    file.write_text(text)
    with pytest.raises(ValueError) as error:
        check_parameter_file(str(file), "robot")
    assert expected in str(error.value) and str(error.value).startswith(f"config {str(file)!r}: ")
    assert "\n" not in str(error.value) and len(str(error.value)) < 700


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_reaches_a_node_is_accepted(file: Path, text: str):
    file.write_text(text)
    check_parameter_file(str(file), "robot")


def test_the_command_line_and_the_launch_file_refuse_it_before_anything_starts(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    text, expected = REFUSED[0]
    file.write_text(text)
    outcome = CliRunner().invoke(app, ["run", "--config", str(file)])
    assert outcome.exit_code == 2 and expected in outcome.stderr and outcome.stdout == ""
    for name, module in stand_in.modules().items():
        monkeypatch.setitem(__import__("sys").modules, name, module)
    description: Any = runpy.run_path(str(share() / "launch" / "avatar.launch.py"))["generate_launch_description"]()
    with pytest.raises(ValueError, match="did you mean 'generator'"):
        description.start({"config": str(file)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &a [*a]", "is no YAML file (anchors and aliases"),
        ("[" * 500, "is no YAML file (it is nested deeper than"),
        ("ros__parameters_: {a: 1}", "names no node's parameters"),
        ("{/**/listener: {ros__parameters: {seed: 1, seed: 2}}}", "'seed' is given twice"),
    ],
)
def test_bombs_and_doubles_in_a_parameter_file_are_named(file: Path, text: str, expected: str):
    file.write_text(text)
    outcome = CliRunner().invoke(app, ["run", "--config", str(file)])
    assert outcome.exit_code == 2 and expected in outcome.stderr
