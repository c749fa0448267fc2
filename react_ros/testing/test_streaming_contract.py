"""Every claim of the streaming contract over every installed system: `pytest --pyargs react_ros.testing [-k NAME]`."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from react_ros.generators import registry
from react_ros.testing.contract import Claim, Subject, claims


def _parameters() -> list[Any]:
    return [
        pytest.param(name, claim, id=f"{name}: {claim.name}", marks=[pytest.mark.slow] if claim.slow else [])
        for name in registry.names()
        for claim in claims(name)
    ]


def group_of(parameters: dict[str, Any]) -> str:
    """The system that a test is about: tests of one system run in one worker of pytest-xdist, which loads it once."""
    return str(parameters.get("name", ""))


@cache
def _subject(name: str) -> Subject:
    return Subject(name)


@pytest.mark.parametrize(("name", "claim"), _parameters())
def test_streaming_contract(name: str, claim: Claim) -> None:
    claim.check(_subject(name))
