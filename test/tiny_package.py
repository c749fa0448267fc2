"""Writes the package of a tiny third-party system as an installation leaves it: modules, and metadata beside them."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]

MODULES = {
    "__init__.py": '''
"""A system of another package: mirrors the speaker's smile by a learned share."""

from react_ros.generators.system import System
from tiny_listener_package.config import TinyConfig

SYSTEM = System(
    "tiny",
    TinyConfig,
    generator="tiny_listener_package.generator:Tiny",
    stages=("tiny_listener_package.training:Level",),
    table="tiny_listener_package.table:TABLE",
)
''',
    "config.py": """
from dataclasses import dataclass

from react_ros.config import expect_weights_name


@dataclass(frozen=True)
class TinyConfig:
    weights: str = "tiny"

    def __post_init__(self) -> None:
        expect_weights_name(self.weights)
""",
    "generator.py": """
from dataclasses import replace
from pathlib import Path

import numpy as np

from react_ros.face import ARKIT, ARKIT_INDEX, FACE_MODEL, ATTRIBUTES
from react_ros.generators.attributes import attributes_of
from react_ros.generators.contract import Generator, GeneratorInfo, Stream, sample_rngs
from react_ros.generators.idle_blending import IdleBlending
from react_ros.generators.sanitize import sanitize
from react_ros.nn.weights import load_weights
from tiny_listener_package.config import TinyConfig

SMILE = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]


class TinyStream(Stream):
    def __init__(self, level, samples, seed):
        sample_rngs(seed, samples, purpose=0)
        self.samples, self.seed, self._level = samples, seed, level
        self._blending = IdleBlending(seed, samples, idle_eyes_and_head=True)

    def step(self, frame):
        frame = sanitize(frame)
        smile = float(np.clip(frame.face.blendshapes[SMILE].mean(), 0.0, 1.0)) if frame.face.state.present else 0.0
        row = np.zeros((self.samples, FACE_MODEL + ATTRIBUTES), np.float32)
        row[:, SMILE] = self._level * smile
        row[:, FACE_MODEL:] = attributes_of(row[:, : len(ARKIT)])
        return self._blending.step(frame, row)


class Tiny(Generator):
    Config = TinyConfig
    info = GeneratorInfo("tiny", "mirrors smiles", ("blendshapes",), learned=True)

    def __init__(self, config=None):
        self.config = config or TinyConfig()
        weights = load_weights(self.config.weights, "tiny", Path(__file__).parent / "models")
        self._level = float(weights.tensors["level"].clamp(0.0, 1.0))
        self.info = replace(type(self).info, notice=weights.notice, weights=weights.sha256)

    @property
    def parameters(self):
        return 1

    def start(self, *, samples=1, seed=0):
        return TinyStream(self._level, samples, seed)
""",
    "training.py": '''
from dataclasses import dataclass

import torch
from torch import nn

from react_ros.face import ATTRIBUTE_INDEX
from react_ros.training.training_stage import TrainingStage

SMILE = ATTRIBUTE_INDEX["AU12"]


@dataclass(frozen=True)
class LevelConfig:
    start: float = 0.0


class Level(TrainingStage):
    """The mean smile of all listeners."""

    system, stage, Config = "tiny", "level", LevelConfig

    def __init__(self, config, previous):
        super().__init__(config, previous)
        self.level = nn.Parameter(torch.tensor(config.start))

    def loss(self, batch, progress, rng):
        error = (batch.attributes[..., SMILE] - self.level) ** 2
        return {"loss": (error * batch.valid).sum() / batch.valid.sum()}

    def weights(self):
        return {"level": self.level.detach()}, {}
''',
    "table.py": """
from react_ros.generators.system import PaperTable, published_rows

TABLE = PaperTable(
    {"Tiny": "tiny"}, published=published_rows("online", "Tiny | .12 | 90 | .01 | .01 | .01 | 70 | 45")
)
""",
    "configs/tiny.yaml": """
frames: 60
stages:
  level: {batch: 4, crop: 32, epochs: 2, optimizer: {lr: 0.1}}
""",
}


def install(site: Path, name: str = "tiny", value: str = "tiny_listener_package:SYSTEM", package: str = "") -> Path:
    """Write the package and its metadata into the folder `site`; returns the package's folder.

    name, value: of its entry point. package: the name of the distribution, for several that declare one system.
    """
    folder = site / "tiny_listener_package"
    for file, text in MODULES.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text.lstrip("\n"))
    declare(site, package or "tiny-listener", {name: value})
    return folder


def declare(site: Path, package: str, systems: dict[str, str]) -> None:
    """Write the metadata of an installed package that declares these systems, names to entry points."""
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    entries = "\n".join(f"{name} = {value}" for name, value in systems.items())
    (info / "entry_points.txt").write_text(f"[react_ros.systems]\n{entries}\n")


def environment(site: Path, cache: Path) -> dict[str, str]:
    """Environment of a process that has the packages in `site` beside this source tree, and its own cache folder."""
    paths = [str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "XDG_CACHE_HOME": str(cache), "COLUMNS": "200"}


def save_level(folder: Path, level: float) -> None:
    """Weights in the package's own folder, as `react-ros train` exports them."""
    import torch

    from react_ros.nn.weights import save_weights

    (folder / "models").mkdir()
    save_weights(folder / "models" / "tiny", {"level": torch.tensor(level)}, "tiny", {}, {"data": "of a test"}, "")
