"""The token listener's parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from react_ros.config import DEVICES, in_range

if TYPE_CHECKING:
    pass


DEFAULT_WEIGHTS = "fsq"


@dataclass(frozen=True, slots=True)
class FsqConfig:
    """Raises ValueError for a value out of range."""

    weights: str = DEFAULT_WEIGHTS
    """Name in models/, or a path."""
    temperature: float = 1.0
    """How freely tokens are drawn, times what the weights advise."""
    top_p: float | None = None
    """Only the likeliest codes that together have this probability; None: as the weights advise."""
    forgetting: float | None = None
    """How far the listener answers as if its own past were not known, 0 to 1; None: as the weights advise."""
    guidance: float | None = None
    """How much more the speaker counts than in training; None: as the weights advise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.weights, str) or not self.weights:
            raise ValueError(f"weights are {self.weights!r}: they must be a name in models/ or a path")
        in_range("temperature", self.temperature, 0.0, 10.0)
        if self.top_p is not None:
            in_range("top_p", self.top_p, 0.01, 1.0)
        if self.forgetting is not None:
            in_range("forgetting", self.forgetting, 0.0, 1.0)
        if self.guidance is not None:
            in_range("guidance", self.guidance, 0.0, 10.0)
        if self.device not in DEVICES:
            raise ValueError(f"device is {self.device!r}: it must be one of {', '.join(DEVICES)}")
