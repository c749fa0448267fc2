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
    """Whether a listener's noise has a part that is the same in all chunks, so that who smiles a lot goes on to."""
    diffusion: bool = True
    """False is the paper's ablation "w/o diffusion": the transformer alone, and all samples are one listener."""
    style: str = ""
    """A listener's reactions, to listen as they do: an npz with `face_model` (T, 58) and `attributes` (T, 25), a folder
    of such clips, or one of the packaged simulated listeners, lively or quiet. Empty: nobody in particular."""

    def __post_init__(self) -> None:
        ChunkedConfig.__post_init__(self)
        expect_flags(self, "lasting", "diffusion")
        if not isinstance(self.style, str):
            raise ValueError(f"style is {self.style!r}: it must be the path of a listener's clips")
