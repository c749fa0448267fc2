"""BeLFusion's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.generators.chunked import ChunkedConfig


@dataclass(frozen=True, slots=True)
class BelfusionConfig(ChunkedConfig):
    """Raises ValueError for a value out of range."""

    weights: str = "belfusion"
    """`belfusion` was trained on the nearest of k = 10 samples, as the challenges' better baseline."""
    guidance: float = 2.0
    """As `ChunkedConfig.guidance`; 1 in the challenges. Chosen on the val split of simulated dyads: FRCorr 1.9 at 1,
    2.2 at 1.5, 2.4 at 2, where FRVar is that of people, 0.056."""
