"""What tests of training share: a tiny system that learns, a tiny corpus, and a run of one on the other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_corpus import write_react2024

sys.path.insert(0, str(Path(__file__).parent))

SETTINGS = {"scheme": "arkit52", "simulated": True, "role_swap": False, "notice": "Made for a test."}


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six dyads to train on and three to validate, 61 frames each, without sound."""
    folder = tmp_path_factory.mktemp("training") / "corpus"
    for split, sessions in (("train", 6), ("val", 3)):
        write_react2024(
            folder, sessions=sessions, splits=(split,), frames=61, modalities=("attributes", "face_model"),
            arkit=True, seed=sessions, settings=SETTINGS,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _tiny(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the tests' own, and the tiny system among those that can be trained."""
    from tiny_listener import SYSTEM

    from react_ros.generators import registry

    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setitem(registry._registered, "tiny", SYSTEM)


class Heard:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self.steps.append((stage, done, steps))


@pytest.fixture
def trained(corpus_folder: Path) -> Callable[..., Heard]:
    """Trains the tiny system in a folder: `trained(out, "key.path=value", …, **parts of Run)`."""

    def run(out: Path, *changes: str, corpora: Any = None, seed: int = 3, **options: Any) -> Heard:
        import torch

        from react_ros.corpus.reader import CorpusConfig, open_corpus
        from react_ros.training.config import read_config
        from react_ros.training.processes import World
        from react_ros.training.trainer import Run, train
        from react_ros.training.training_stage import tasks

        config = read_config(tasks("tiny"), None, ("frames=60", *changes), seed)
        opened = [open_corpus(path, CorpusConfig(frames=60)) for path in corpora or [corpus_folder]]
        heard = Heard()
        train(Run("tiny", config, opened, out, jobs=1, **options), World(torch.device("cpu")), heard)
        return heard

    return run
