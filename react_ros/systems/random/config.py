"""The random baseline's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import in_range


@dataclass(frozen=True, slots=True)
class RandomConfig:
    """Raises ValueError for a value out of range."""

    head_rad: float = 0.03
    """Bound of each head angle; small, so that the avatar can be watched."""

    def __post_init__(self) -> None:
        in_range("head_rad", self.head_rad, 0.0, 0.5, "rad")
