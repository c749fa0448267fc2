"""Finding systems by name, and the sentences for names, parameters and values that are refused."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from react_ros.generators import registry


def test_listing_names_imports_no_system() -> None:
    code = (
        "import sys; from react_ros.generators import registry; registry.names();"
        "print([m for m in sys.modules if m.startswith('react_ros.systems')])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert ast.literal_eval(loaded) == []


def test_every_system_has_a_name_and_a_summary_of_one_line() -> None:
    for name in registry.names():
        info = registry.info(name)
        assert info.name == name
        assert info.summary and "\n" not in info.summary


def test_an_unknown_name_is_refused_with_the_names_and_a_suggestion() -> None:
    with pytest.raises(
        ValueError, match=r"unknown generator 'atentive' \(did you mean 'attentive'\?\): there are .*mime"
    ):
        registry.create("atentive")


def test_an_unknown_parameter_is_refused_with_the_parameters() -> None:
    with pytest.raises(ValueError, match=r"mime has no parameter 'delay_frame' \(did you mean 'delay_frames'\?\)"):
        registry.create("mime", delay_frame=3)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("mime", "delay_frames", -1),
        ("mime", "delay_frames", 2.5),
        ("mime", "delay_frames", True),
        ("random", "head_rad", "much"),
        ("attentive", "expressiveness", float("nan")),
        ("attentive", "nod_delay_ms", 10),
        ("attentive", "temperature", None),
        ("attentive", "liveliness", 2.5),
        ("mime", "liveliness", "much"),
        ("mean_frame", "statistics", 3),
    ],
)
def test_an_impossible_value_is_refused_with_the_allowed_ones(name: str, parameter: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name}: {parameter} is .*: it must be"):
        registry.create(name, **{parameter: value})


def test_parameters_are_listed_with_their_defaults() -> None:
    assert registry.parameters("mime") == {"delay_frames": 0, "liveliness": 1.0}
    assert all(
        registry.create(name, **registry.parameters(name)).info == registry.create(name).info
        for name in registry.names()
    )


def test_parameters_reach_the_system() -> None:
    assert registry.create("mime", delay_frames=12).info.delay_frames == 12
    assert registry.create("attentive", mimicry_delay_ms=600).info.delay_frames == 15
