"""BeLFusion's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.generators.chunked import ChunkedConfig


@dataclass(frozen=True, slots=True)
class BelfusionConfig(ChunkedConfig):
    """Raises ValueError for a value out of range."""

    weights: str = "belfusion"
    """`belfusion` was trained on the nearest of k = 10 samples, as the challenges' better baseline."""
