"""VQ-Diff's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import expect_flags
from react_ros.generators.chunked import ChunkedConfig


@dataclass(frozen=True, slots=True)
class VqDiffConfig(ChunkedConfig):
    """Raises ValueError for a value out of range."""

    weights: str = "vqdiff"
    guidance: float = 1.5
    """As `ChunkedConfig.guidance`; 1 in the paper. Chosen on the val split of simulated dyads: FRCorr 2.2 at 1, 2.6 at
    1.5, 2.7 at 2, with FRVar 0.045, 0.055 and 0.061 (people: 0.056)."""
    codebook: bool = True
    """Whether sampled latents are replaced by the nearest codes; false: the paper's "w/o codebook"."""

    def __post_init__(self) -> None:
        ChunkedConfig.__post_init__(self)
        expect_flags(self, "codebook")
