"""Diffusion: noise levels, prediction targets, and DDIM sampling in any number of steps.

Symbols: x_0 is clean data; x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e is its mixture with Gaussian noise e at level t; a_t
("alpha bar") falls from nearly 1 at level 0 to nearly 0 at the last level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from react_ros.config import whole_in_range

Network = Callable[[Tensor, Tensor], Tensor]
"""x_t (B, …) and level (B,) int64 to the prediction (B, …)."""

MAX_BETA = 0.999
"""Upper bound of each level's beta: at 1, a_t would be 0, by whose root predictions are divided."""
_HO_LEVELS, _HO_BETAS = 1000, (1e-4, 0.02)


@dataclass(frozen=True, slots=True)
class DiffusionConfig:
    """Raises ValueError for a value out of range."""

    steps: int = 10
    """Noise levels of the forward process."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """"cosine": Nichol and Dhariwal 2021. "linear": Ho et al. 2020, `steps` of its 1000 levels."""
    prediction: Literal["x0", "epsilon"] = "x0"
    """What the network predicts: the clean data x_0, or the noise e."""

    def __post_init__(self) -> None:
        whole_in_range("steps", self.steps, 1, 1000)
        for name, choices in (("schedule", ("cosine", "linear")), ("prediction", ("x0", "epsilon"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it must be {' or '.join(choices)}")


def alpha_bars(steps: int, schedule: str) -> list[float]:
    """a_t of each level, decreasing: the share of the data's variance that remains."""
    if schedule == "cosine":

        def remaining(t: float) -> float:
            return math.cos((t + 0.008) / 1.008 * math.pi / 2.0) ** 2

        betas = [min(1.0 - remaining((t + 1) / steps) / remaining(t / steps), MAX_BETA) for t in range(steps)]
        return _products(betas)
    low, high = _HO_BETAS
    fine = _products([low + (high - low) * t / (_HO_LEVELS - 1) for t in range(_HO_LEVELS)])
    return [fine[t] for t in _trailing(_HO_LEVELS, steps)[::-1]]


def _products(betas: list[float]) -> list[float]:
    out, product = [], 1.0
    for beta in betas:
        product *= 1.0 - beta
        out.append(product)
    return out


def _trailing(levels: int, steps: int) -> list[int]:
    """`steps` of `levels` noise levels, evenly spaced, decreasing; the first is always the last level.

    The spacing of Lin et al. 2024: sampling starts from pure noise, which the network only saw at the last level.
    """
    return [round(levels * (steps - i) / steps) - 1 for i in range(steps)]


class Diffusion(nn.Module):
    """The forward process and DDIM sampling, for any network; without weights or random numbers of its own."""

    alpha_bar: Tensor
    """(steps,) a_t."""

    def __init__(self, config: DiffusionConfig | None = None) -> None:
        super().__init__()
        self.config = config or DiffusionConfig()
        self._alpha_bars = alpha_bars(self.config.steps, self.config.schedule)
        self.register_buffer("alpha_bar", torch.tensor(self._alpha_bars), persistent=False)

    def noisy(self, x0: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """x_t of data x0 (B, …) and standard normal noise (B, …); level (B,) int64, 0 is the least noise."""
        signal, spread = self._mixture(level, x0.ndim)
        return signal * x0 + spread * noise

    def target(self, x0: Tensor, noise: Tensor) -> Tensor:
        """The training target of the network."""
        return x0 if self.config.prediction == "x0" else noise

    def clean(self, x_t: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """x_0 (B, …) according to the network's prediction at these levels (B,)."""
        if self.config.prediction == "x0":
            return predicted
        signal, spread = self._mixture(level, x_t.ndim)
        return (x_t - spread * predicted) / signal

    def sample(
        self,
        network: Network,
        noise: Tensor,
        *,
        steps: int | None = None,
        eta: float = 0.0,
        fresh: Tensor | None = None,
        guidance: float = 1.0,
        clip: float | None = None,
    ) -> Tensor:
        """Sample data x_0 (B, …) from noise (B, …) by DDIM (Song et al. 2021).

        network: for guidance other than 1 it is called with a doubled batch, (2B, …) and (2B,): it must predict the
        first half with its condition and the second half without (Ho and Salimans 2021).
        steps: number of levels that are used, evenly spaced from the last one; None: all.
        eta: 0 is deterministic; 1 renews as much noise as DDPM. fresh: (steps, B, …) standard normal noise for eta > 0;
        the last step uses none. guidance: 1 is as trained; more increases the influence of the condition.
        clip: clamps x_0 to -clip to clip at every step; the noise is recomputed from it.
        Raises ValueError for steps out of range, and for eta > 0 without fresh noise of that shape.
        """
        levels = self._levels(steps)
        if eta > 0.0 and (fresh is None or fresh.shape != (len(levels), *noise.shape)):
            given = None if fresh is None else tuple(fresh.shape)
            raise ValueError(f"fresh noise has the shape {given}: eta > 0 needs {(len(levels), *noise.shape)}")
        x = noise
        for i, (t, after) in enumerate(pairwise([*levels, -1])):
            a, b = self._alpha_bars[t], self._alpha_bars[after] if after >= 0 else 1.0
            predicted = self._predict(network, x, t, guidance)
            if self.config.prediction == "x0":
                x0, e = predicted, None
            else:
                x0, e = (x - math.sqrt(1.0 - a) * predicted) / math.sqrt(a), predicted
            if clip is not None:
                x0, e = x0.clamp(-clip, clip), None
            if after < 0:
                x = x0
                break
            if e is None:
                e = (x - math.sqrt(a) * x0) / math.sqrt(1.0 - a)
            sigma = eta * math.sqrt((1.0 - b) / (1.0 - a) * (1.0 - a / b))
            x = math.sqrt(b) * x0 + math.sqrt(max(1.0 - b - sigma**2, 0.0)) * e
            if fresh is not None and eta > 0.0:
                x = x + sigma * fresh[i]
        return x

    def _predict(self, network: Network, x: Tensor, t: int, guidance: float) -> Tensor:
        if guidance == 1.0:
            return network(x, torch.full((len(x),), t, dtype=torch.int64, device=x.device))
        both = network(torch.cat([x, x]), torch.full((2 * len(x),), t, dtype=torch.int64, device=x.device))
        conditional, unconditional = both.chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    def _levels(self, steps: int | None) -> list[int]:
        whole_in_range("steps", self.config.steps if steps is None else steps, 1, self.config.steps)
        return _trailing(self.config.steps, steps or self.config.steps)

    def _mixture(self, level: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
        a = self.alpha_bar[level].reshape(-1, *[1] * (dimensions - 1))
        return a.sqrt(), (1.0 - a).sqrt()
