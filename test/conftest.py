"""What every test may use: a domain of its own, and a robot in it."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # they share the cores: before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where many run at once, a file's tests share one worker, and with it what they have made; a module whose
    `group_of` says so is cut further, by its tests' parameters."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        further = getattr(getattr(item, "module", None), "group_of", lambda parameters: "")(parameters)
        item.add_marker(pytest.mark.xdist_group(f"{item.path.relative_to(Path(__file__).parent)}{further}"))


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain that no other test uses, on this machine only, with every message field checked."""
    number = 1 + (os.getpid() * 13 + next(_numbers)) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_PYTHON_CHECK_FIELDS", "1")
    return number


@pytest.fixture
def start_robot(domain: int) -> Iterator[Callable[..., Any]]:
    """Starts robots that end with the test: see `robot.Robot`."""
    from robot import Robot

    running: list[Robot] = []

    def start(**options: Any) -> Robot:
        running.append(Robot(**options))
        return running[-1]

    yield start
    for robot in running:
        robot.close()


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of six dyads to train on and three to validate, 61 frames each, without audio."""
    from tiny_corpus import write_training_corpus

    return write_training_corpus(tmp_path_factory.mktemp("training") / "corpus")


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The feature cache of the tests that ask for `own_cache`."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_cache(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature cache of the tests' own; training in one process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
