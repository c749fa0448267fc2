"""Fixtures of the training tests of systems: a tiny corpus, and a cache of the tests' own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_corpus import write_training_corpus


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six dyads to train on and three to validate, 61 frames each, without audio."""
    return write_training_corpus(tmp_path_factory.mktemp("training") / "corpus")


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of all tests below this folder."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
