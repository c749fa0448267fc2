"""From gradients to weights: learning-rate schedules, AdamW's parameter groups, the weights' moving average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from react_ros.training.config import OptimizerConfig


def rate_at(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of step 0 … steps - 1; see `OptimizerConfig.schedule`."""
    up = config.warm_up * steps
    if config.schedule == "one_cycle":
        # As torch's OneCycleLR: the rate peaks at step up - 1 and ends at step steps - 1.
        top, end = up - 1.0, steps - 1.0
        if step <= top:
            return _cosine(config.lr / 25.0, config.lr, step / top if top > 0.0 else 1.0)
        return _cosine(config.lr, config.lr / 250_000.0, (step - top) / (end - top) if end > top else 1.0)
    if step < up:
        return config.lr * (step + 1) / (math.floor(up) + 1)
    if config.schedule == "constant":
        return config.lr
    return _cosine(config.lr, 0.0, (step - up) / (steps - up))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share))


def adamw(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over all parameters that require a gradient; weight decay for matrices and larger tensors only."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, fused=True)


class MovingAverage:
    """The exponential moving average (EMA) of a module's trained parameters, with warm-up.

    The update is torch's (`get_ema_multi_avg_fn`). Its `AveragedModel` is not used because it copies the whole module,
    frozen networks of earlier stages and buffers included, starts from the first step's weights instead of the
    initial ones, has one fixed decay, and counts updates instead of steps (a skipped step must not delay the warm-up).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """decay: of a step n, 0 to below 1; at most (1 + n) / (10 + n). 0: no averaging, the parameters themselves."""
        self._trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._decay = decay
        self.tensors: dict[str, Tensor] = (
            {name: p.detach().clone() for name, p in self._trained.items()} if decay > 0.0 else {}
        )
        """The average of each parameter, by name; part of a checkpoint."""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the parameters after step `step`, counted from 0."""
        if self.tensors:
            average: Any = get_ema_multi_avg_fn(min(self._decay, (1.0 + step) / (10.0 + step)))
            average(list(self.tensors.values()), [p.detach() for p in self._trained.values()], step)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the context the module has the averaged values."""
        with torch.no_grad():
            kept = {name: self._trained[name].detach().clone() for name in self.tensors}
            self._set(self.tensors)
        try:
            yield
        finally:
            self._set(kept)

    @torch.no_grad()
    def _set(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._trained[name].copy_(value)
