"""VQ-Diff's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import expect_flags
from react_ros.generators.chunked import ChunkedConfig


@dataclass(frozen=True, slots=True)
class VqDiffConfig(ChunkedConfig):
    """Raises ValueError for a value out of range."""

    weights: str = "vqdiff"
    codebook: bool = True
    """Whether sampled latents are replaced by the nearest codes; false: the paper's "w/o codebook"."""

    def __post_init__(self) -> None:
        ChunkedConfig.__post_init__(self)
        expect_flags(self, "codebook")
