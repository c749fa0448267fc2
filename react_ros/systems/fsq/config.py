"""The parameters of the token listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from react_ros.config import expect_device, expect_weights_name, in_range


@dataclass(frozen=True, slots=True)
class FsqConfig:
    """Raises ValueError for a value out of range."""

    weights: str = "fsq"
    """Name in models/, or a path."""
    temperature: float = 1.0
    """Sampling temperature of tokens, relative to the weights' own."""
    top_p: float | None = None
    """Sample from the most likely codes of this total probability (Holtzman et al. 2020); None: the weights' value."""
    forgetting: float | None = None
    """Share, 0 to 1, by which the listener's own past is ignored; None: the weights' value."""
    guidance: float | None = None
    """Extra weight of the speaker by classifier-free guidance, 0: none; None: the weights' value."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        expect_weights_name(self.weights)
        in_range("temperature", self.temperature, 0.0, 10.0)
        if self.top_p is not None:
            in_range("top_p", self.top_p, 0.01, 1.0)
        if self.forgetting is not None:
            in_range("forgetting", self.forgetting, 0.0, 1.0)
        if self.guidance is not None:
            in_range("guidance", self.guidance, 0.0, 10.0)
        expect_device(self.device)
