"""YAML of any origin: what is read, what is refused, and in which words. Training configurations: test/training."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from react_ros.config import DEEPEST_YAML, LONGEST_YAML, config_from, dump_yaml, load_yaml, parse_yaml
from react_ros.generators.liveliness import check_liveliness
from react_ros.messages.listener_stream import LONGEST_PARAMETERS, parse_parameters

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=["Cc", "Cs"]), max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=12
)
PIECES = st.sampled_from(
    ["a", "b: ", "1e-4", "- ", "\n", "  ", "[", "]", "{", "}", ", ", "&x ", "*x", "? ", "!!int ", "!!binary ", "'", '"',
     "|\n", ">\n", "# c\n", "---\n", "<<: ", "0x1f", "2024-13-45", "1:1:99", ".inf", "\t", "\x00", "%TAG ! x\n", "=",
     "9" * 40]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_what_we_write_is_read_back_equal(value: Any):
    shared = {"once": value, "again": value}  # the same object twice: PyYAML alone would write an alias
    assert parse_yaml(dump_yaml(shared), exponents=False) == shared


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=20).map("".join) | st.text(max_size=60))
def test_any_text_is_a_value_or_one_error(text: str):
    for aliases in (False, True):
        with suppress(yaml.YAMLError):
            parse_yaml(text, aliases=aliases)
    try:
        assert isinstance(parse_parameters(text), dict)
    except ValueError as error:
        assert len(str(error)) < 400 and "\n" not in str(error)


def bomb(levels: int = 9) -> str:
    """A billion laughs: a list of nine aliases of a list of nine aliases, and so on."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bomb(), "anchors and aliases (& and *) are not allowed: write the value itself (line 1, column 5)"),
        ("{a: &a [*a]}", "anchors and aliases"),
        ("a: *b", "anchors and aliases|undefined alias"),
        ("[" * 5000, f"nested deeper than {DEEPEST_YAML} levels (line 1, column {DEEPEST_YAML + 1})"),
        ("\n".join(f"{' ' * n}a:" for n in range(500)), "nested deeper than"),
        ("{1: 2}", "the name '1' is not text: quote it (line 1, column 2)"),
        ("on: 2", "the name 'on' is not text"),
        ("? [a, b]\n: c", "the name is not text"),
        ("{<<: {a: 1}}", "the name '<<' is not text"),
        ("{a: 1, b: 2, a: 3}", "'a' is given twice (line 1, column 14)"),
        ("x" * (LONGEST_YAML + 1), "at most 2000000 are read"),
        ("n: " + "9" * 5000, "a value cannot be read: Exceeds the limit"),
        ("day: 2024-13-45", "a value cannot be read: month must be in 1..12"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_what_may_hide_a_bomb_or_a_mistake_is_refused_in_one_sentence(text: str, expected: str):
    with pytest.raises(yaml.YAMLError) as error:
        parse_yaml(text)
    assert any(part in str(error.value) for part in expected.split("|")), str(error.value)
    assert len(str(error.value)) < 400


def test_a_users_own_file_may_have_aliases_that_stand_for_little(tmp_path: Path):
    assert parse_yaml("a: &x {k: [1, 2]}\nb: *x", aliases=True) == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}}
    assert parse_yaml("a: &x {k: 1}\nb: {<<: *x, l: 2}", aliases=True)["b"] == {"k": 1, "l": 2}
    for text in (bomb(), "a: &a [*a]", "a: &a {b: {c: *a}}"):
        with pytest.raises(yaml.YAMLError, match=r"stand for too much|part of"):
            parse_yaml(text, aliases=True)
    chain = "\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 2 * DEEPEST_YAML))])
    with pytest.raises(yaml.YAMLError, match=r"too much|deeper"):
        parse_yaml(chain, aliases=True)
    file = tmp_path / "bomb.yaml"
    file.write_text(bomb())
    with pytest.raises(ValueError, match=r"bomb.yaml cannot be read as YAML: anchors and aliases"):
        load_yaml(file, "seed: 0")
    file.write_text("a: " + "[" * 1000 + "é" * 100_000)
    with pytest.raises(ValueError, match="nested deeper") as error:
        load_yaml(file, "seed: 0")
    assert len(str(error.value)) < 500


def test_numbers_with_exponents_are_numbers_except_in_files_of_our_own():
    assert parse_yaml("1e-4") == 1e-4 and parse_yaml("{a: 2E+3}") == {"a": 2000.0}
    assert parse_yaml("12e4", exponents=False) == "12e4"
    assert parse_yaml(dump_yaml({"commit": "12e4", "rate": 1e-4}), exponents=False) == {"commit": "12e4", "rate": 1e-4}


def test_generator_parameters_from_the_network_are_bounded():
    assert parse_parameters("{expressiveness: 8e-1}") == {"expressiveness": 0.8} and parse_parameters(" ") == {}
    for text in (bomb(), "[" * 10_000, "{a: " + "x" * LONGEST_PARAMETERS + "}", "{a: 1, a: 2}", "{1: 2}", "just text"):
        with pytest.raises(ValueError, match="must be a YAML mapping like") as error:
            parse_parameters(text)
        assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["x" * 10**6, [[["y" * 1000] * 1000]] * 1000, 10**4999, {"a": "z" * 10**6}],
                         ids=["text", "lists", "digits", "mapping"])  # fmt: skip
def test_errors_show_an_excerpt_of_a_large_value(value: Any):
    with pytest.raises(ValueError) as error:
        check_liveliness(value)
    assert len(str(error.value)) < 500
    with pytest.raises(ValueError) as error:
        config_from(tuple[int, int], value, "file.yaml: pair")  # type: ignore[arg-type]
    assert len(str(error.value)) < 500
