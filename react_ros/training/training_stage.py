"""The contract between the trainer and a system: a training stage is modules with one loss, trained together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from react_ros.config import did_you_mean
from react_ros.generators import registry
from react_ros.generators.contract import Generator
from react_ros.nn.weights import save_weights
from react_ros.training.data import Batch, Clips


class FinishedStage(dict[str, Tensor]):
    """The state_dict of a finished stage; `config` is the dataclass it was trained with."""

    def __init__(self, tensors: Mapping[str, Tensor], config: Any) -> None:
        super().__init__(tensors)
        self.config = config

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with the prefix, named without it: the state_dict of a submodule."""
        return {name.removeprefix(prefix): t for name, t in self.items() if name.startswith(prefix)}


class TrainingStage(nn.Module):
    """One training stage of one system: its modules and its loss. The trainer does everything else.

    All parameters that require a gradient are trained; all persistent buffers are kept and exported with them. Random
    numbers must come from `rng`, or from torch's global generator, which the trainer seeds anew for each step, and no
    other state may be kept between steps: only then does an interrupted run continue exactly as an uninterrupted one.
    """

    system: ClassVar[str]
    """The system's name."""
    stage: ClassVar[str]
    """The stage's name: in configuration files, and of its folder in a run folder."""
    Config: ClassVar[type[Any]]
    """Frozen dataclass with defaults for everything: the stage's model and losses."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Which of "attributes", "face_model" and "audio" a corpus must have for this stage."""
    judged_by: ClassVar[str] = "loss"
    """The validation figure of `measure` by which the best epoch is chosen: lower is better."""

    @classmethod
    def inputs(cls, config: Any) -> str | None:
        """The name of the speaker rows (`InputScheme`) that the stage is trained on; None: it uses none, or any."""
        return None

    @classmethod
    def applies(cls, config: Any) -> bool:
        """Whether this configuration of the system has the stage; without it nothing is trained, and later stages do
        not find it in `previous`."""
        return True

    @classmethod
    def expect_fit(cls, config: Any, previous: Mapping[str, Any]) -> None:
        """Raise ValueError, in one sentence, where the config contradicts those of earlier stages, by stage name."""

    def __init__(self, config: Any, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        """previous: the earlier stages' results by stage name, a `FinishedStage` each."""
        super().__init__()

    def prepare(self, clips: Clips) -> None:
        """Called once on the training clips before the first step, e.g. for statistics; not when a run resumes."""

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        """{"loss": the quantity to minimise, …: further quantities to log}, each a scalar ().

        progress: share of all steps that are done, 0 to 1. rng: on the batch's device.
        """
        raise NotImplementedError

    def measure(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Figures of a validation batch, each a scalar () and a mean over valid frames; in eval mode, no gradients."""
        return self.loss(batch, 1.0, rng)

    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """Further figures of the finished stage over the validation clips, for the model card."""
        return {}

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """All tensors of the finished system and its config as a plain mapping; called on the last stage only."""
        raise NotImplementedError

    @classmethod
    def reacts(cls) -> bool:
        """Whether `listener` makes a generator of this stage: of every last stage, and where it is overridden."""
        return cls.weights is not TrainingStage.weights or cls.listener is not TrainingStage.listener

    def listener(self) -> Generator:
        """A generator of the weights as they are now, in eval mode, for the gate.

        Of a last stage, the system with these weights and default parameters; a stage before it may override this, e.g.
        with the expected reaction as the only sample. Raises ValueError where the system has no parameter `weights`.
        """
        with TemporaryDirectory(prefix="gate-") as folder:
            path = Path(folder) / self.system
            tensors, config = self.weights()
            save_weights(path, tensors, self.system, config, {}, "")
            return registry.create(self.system, weights=str(path))


def training_stages(system: str) -> list[type[TrainingStage]]:
    """The stages of a system, in order. Raises ValueError, in one sentence, for a system that cannot be trained."""
    trainable = [s.name for s in registry.systems() if s.stages]
    if system not in trainable:
        raise ValueError(
            f"no system {system!r} can be trained{did_you_mean(system, trainable)}: "
            f"there are {', '.join(trainable) or 'none'}"
        )
    return registry.system(system).load_stages()
