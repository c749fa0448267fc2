"""What turns gradients into weights: the rate over time, AdamW's groups, the weights' running mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from react_ros.training.config import OptimizerConfig


def rate_at(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of step 0 … steps - 1; see `OptimizerConfig.schedule`."""
    up = config.warm_up * steps
    if config.schedule == "one_cycle":
        # As torch's OneCycleLR: its rates are those between steps 0 and up - 1, and between that and steps - 1.
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
    """AdamW over all that is trained; only matrices and larger decay."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, fused=True)


class RunningMean:
    """The exponential moving mean of a module's trained parameters (EMA)."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """decay: a step; in the first steps less, as (1 + n) / (10 + n). 0: the parameters themselves."""
        self._trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._decay = decay
        self.tensors: dict[str, Tensor] = (
            {name: p.detach().clone() for name, p in self._trained.items()} if decay > 0.0 else {}
        )

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after step `step`, counted from 0."""
        decay = min(self._decay, (1.0 + step) / (10.0 + step))
        for name, tensor in self.tensors.items():
            tensor.lerp_(self._trained[name], 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the module has the mean's values."""
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
