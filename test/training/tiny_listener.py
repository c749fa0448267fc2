"""A system small enough to train in a test: stage one learns the attributes' code, stage two a GRU that predicts it.

Run as a program, it is `react-ros` with this system, and with accidents: see `_accidents`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from made_speakers import Mirror
from torch import Tensor, nn

from react_ros.config import config_to
from react_ros.face import ATTRIBUTES
from react_ros.generators import registry
from react_ros.generators.speaker_inputs import INPUTS
from react_ros.generators.system import System
from react_ros.nn.weights import load_weights
from react_ros.training.data import Batch, Clips
from react_ros.training.training_stage import FinishedStage, TrainingStage


@dataclass(frozen=True)
class TinyParameters:
    weights: str = "tiny"


class Tiny(Mirror):
    """A mirror whose gain, 0 to 1, is a hash of the weights: another for every checkpoint, the same for equal bits."""

    def __init__(self, config: TinyParameters) -> None:
        found = load_weights(config.weights, "tiny").tensors["out.weight"]
        super().__init__(float(found.double().abs().mean() * 1e3) % 1.0)


SYSTEM = System(
    "tiny",
    TinyParameters,
    generator="tiny_listener:Tiny",
    stages=("tiny_listener:Code", "tiny_listener:Listener"),
)
CODE = 8


@dataclass(frozen=True)
class CodeConfig:
    noise: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise <= 1.0:
            raise ValueError(f"noise is {self.noise}: it must be from 0 to 1")


@dataclass(frozen=True)
class ListenerConfig:
    width: int = 12
    dropout: float = 0.2


def mean_over(valid: Tensor, error: Tensor) -> Tensor:
    return (error.mean(-1) * valid).sum() / valid.sum()


class Code(TrainingStage):
    """An autoencoder of attributes, with their mean and a running sum as buffers."""

    system, stage, Config = "tiny", "code", CodeConfig
    needs = frozenset({"attributes"})
    mean: Tensor
    seen: Tensor

    def __init__(self, config: CodeConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        self.encoder = nn.Linear(ATTRIBUTES, CODE)
        self.decoder = nn.Linear(CODE, ATTRIBUTES)
        self.register_buffer("mean", torch.zeros(ATTRIBUTES))
        self.register_buffer("seen", torch.zeros(()))

    def prepare(self, clips: Clips) -> None:
        rows = [a.mean(0) for i in range(len(clips)) if (a := clips.attributes(i)) is not None]
        self.mean.copy_(torch.stack([torch.from_numpy(row.copy()) for row in rows]).mean(0))

    def decode(self, code: Tensor) -> Tensor:
        return self.mean + self.decoder(code)

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        code = self.encoder(batch.attributes - self.mean)
        if self.training:
            self.seen += mean_over(batch.valid, code)
            code = code + self.config.noise * torch.randn(code.shape, generator=rng, device=code.device)
        error = mean_over(batch.valid, (self.decode(code) - batch.attributes) ** 2)
        return {"loss": error, "size": mean_over(batch.valid, code.abs())}


class Listener(TrainingStage):
    """Speaker inputs to the code that stage one learned."""

    system, stage, Config = "tiny", "listener", ListenerConfig

    def __init__(self, config: ListenerConfig, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        super().__init__(config, previous)
        self.config = config
        done = previous["code"]
        assert isinstance(done, FinishedStage)
        self.code_config = done.config
        self.code = Code(done.config, {})
        self.code.load_state_dict(dict(done))
        self.code.requires_grad_(False)
        self.drop = nn.Dropout(config.dropout)
        self.gru = nn.GRU(INPUTS, config.width, batch_first=True)
        self.out = nn.Linear(config.width, CODE)

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        hidden, _ = self.gru(self.drop(batch.speaker))
        decoded = self.code.decode(self.out(hidden))
        return {"loss": mean_over(batch.valid, (decoded - batch.attributes) ** 2)}

    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        return {"clips": float(len(clips))}

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        return self.state_dict(), {"code": config_to(self.code_config), "listener": config_to(self.config)}


def _accidents() -> None:
    """TINY_KILL: "step 7" is a kill -9 in the 7th step of this process, "file 2" one in the middle of its 2nd file."""
    if "TINY_KILL" not in os.environ:
        return
    from react_ros.training import checkpoints

    what, number = os.environ["TINY_KILL"].split()
    done = {"step": 0, "file": 0}

    def now(kind: str) -> bool:
        done[kind] += 1
        return kind == what and done[kind] == int(number)

    def killed(loss: Any) -> Any:
        def counted(self: Any, *given: Any) -> Any:
            if self.training and now("step"):
                os.kill(os.getpid(), signal.SIGKILL)
            return loss(self, *given)

        return counted

    write = checkpoints.save_tensors

    def half(path: Any, tensors: Any) -> None:
        write(path, tensors)
        if now("file"):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.save_tensors = half
    for stage in (Code, Listener):
        stage.loss = killed(stage.loss)  # type: ignore[method-assign]


if __name__ == "__main__":
    import typer

    from react_ros.cli.train import train

    sys.modules["tiny_listener"] = sys.modules["__main__"]
    registry.register(SYSTEM)
    _accidents()
    typer.run(train)
