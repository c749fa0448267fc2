"""The contract between the trainer and what is trained: a task is one stage of one system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from react_ros.config import did_you_mean
from react_ros.generators import registry
from react_ros.training.data import Batch, Clips


class Finished(dict[str, Tensor]):
    """The state_dict of a stage that is finished; `config` is the dataclass it was trained with."""

    def __init__(self, tensors: Mapping[str, Tensor], config: Any) -> None:
        super().__init__(tensors)
        self.config = config

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with the prefix, without it: of one of the stage's modules."""
        return {name.removeprefix(prefix): t for name, t in self.items() if name.startswith(prefix)}


class Task(nn.Module):
    """One stage of one system: its modules and its loss. The trainer does the rest.

    All parameters that require a gradient are trained; all persistent buffers are kept and exported with them.
    What is random draws from `rng`, or from torch's own generator, which the trainer seeds anew for each step: a
    broken run then goes on with the very numbers of an unbroken one. Nothing else may be remembered between steps.
    """

    system: ClassVar[str]
    stage: ClassVar[str]
    Config: ClassVar[type[Any]]
    """Frozen dataclass with a default for everything: the model and the losses of this stage."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Without which of "attributes", "face_model" and "audio" in a corpus this stage cannot be trained."""
    judged_by: ClassVar[str] = "loss"
    """The figure of `measure` whose lowest value makes the best epoch."""

    @classmethod
    def expect_fit(cls, config: Any, previous: Mapping[str, Any]) -> None:
        """Raises ValueError, in one sentence, where the config does not go with those of earlier stages, by stage."""

    def __init__(self, config: Any, previous: Mapping[str, Mapping[str, Tensor]]) -> None:
        """previous: what the earlier stages ended with, by stage: a `Finished` each."""
        super().__init__()

    def prepare(self, clips: Clips) -> None:
        """Called once, on the training clips, before the first step of fresh training; not when training goes on."""

    def loss(self, batch: Batch, progress: float, rng: torch.Generator) -> dict[str, Tensor]:
        """{"loss": what is minimised, …: whatever else is worth a curve}, each a scalar ().

        progress: the share of all steps that are done, from 0 to 1. rng: on the batch's device.
        """
        raise NotImplementedError

    def measure(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Figures of a validation batch, each a scalar () and a mean over valid frames; in eval mode, no gradients."""
        return self.loss(batch, 1.0, rng)

    def figures(self, clips: Clips, rng: torch.Generator) -> dict[str, float]:
        """More figures of the finished stage, for its card, over the validation clips."""
        return {}

    def weights(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """The finished system, asked of its last stage only: all its tensors, and its config as a plain mapping."""
        raise NotImplementedError


def tasks(system: str) -> list[type[Task]]:
    """The stages of a system, in order. Raises ValueError, in one sentence, for a system that cannot be trained."""
    trainable = [s.name for s in registry.systems() if s.stages]
    if system not in trainable:
        raise ValueError(
            f"no system {system!r} can be trained{did_you_mean(system, trainable)}: "
            f"there are {', '.join(trainable) or 'none'}"
        )
    return registry.system(system).load_stages()
