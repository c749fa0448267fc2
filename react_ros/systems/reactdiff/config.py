"""ReactDiff's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import expect_flags
from react_ros.generators.chunked import ChunkedConfig


@dataclass(frozen=True, slots=True)
class ReactDiffConfig(ChunkedConfig):
    """Raises ValueError for a value out of range."""

    weights: str = "reactdiff"
    lasting: bool = True
    """Whether the mean of a listener's noise is the same in all chunks (`FieldNoise`), so that its character lasts."""
    diffusion: bool = True
    """False: the paper's ablation "w/o diffusion", the transformer alone; all samples are equal."""
    style: str = ""
    """Clips of the listener whose style is taken: an npz with `face_model` (T, 58) and `attributes` (T, 25), a folder
    of such files, or a packaged simulated listener, lively or quiet. Empty: no style."""

    def __post_init__(self) -> None:
        ChunkedConfig.__post_init__(self)
        expect_flags(self, "lasting", "diffusion")
        if not isinstance(self.style, str):
            raise ValueError(
                f"style is {self.style!r}: it must be the path of a listener's clips, or a packaged listener"
            )
