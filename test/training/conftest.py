"""Fixtures of the training tests: a tiny system, and runs of it on the tiny corpus."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _tiny(own_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny system is among those that can be trained."""
    from tiny_listener import SYSTEM

    from react_ros.generators import registry

    monkeypatch.setitem(registry._registered, "tiny", SYSTEM)


class RecordingWatcher:
    """A watcher that keeps what it is called with."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def step(self, stage: str, done: int, steps: int, loss: float) -> None:
        self.steps.append((stage, done, steps))


@pytest.fixture
def trained(corpus_folder: Path) -> Callable[..., RecordingWatcher]:
    """Trains the tiny system in a folder: `trained(out, "key.path=value", …, **parts of Run)`."""

    def run(out: Path, *changes: str, corpora: Any = None, seed: int = 3, **options: Any) -> RecordingWatcher:
        import torch

        from react_ros.corpus.reader import CorpusConfig, open_corpus
        from react_ros.training.config import read_config
        from react_ros.training.processes import ProcessGroup
        from react_ros.training.trainer import Run, train
        from react_ros.training.training_stage import training_stages

        config = read_config(training_stages("tiny"), None, ("frames=60", *changes), seed)
        opened = [open_corpus(path, CorpusConfig(frames=60)) for path in corpora or [corpus_folder]]
        watcher = RecordingWatcher()
        train(Run("tiny", config, opened, out, jobs=1, **options), ProcessGroup(torch.device("cpu")), watcher)
        return watcher

    return run
