"""The table of Nguyen et al. 2024: VQ-Diff, its ablations, and BeLFusion."""

from __future__ import annotations

from react_ros.generators.system import Direction, PaperTable, published_rows

_WINDOW = "schedule=window,guidance=1.0"
"""Schedule and sampling of the papers; the default is live."""
_VQ = f"vqdiff,{_WINDOW},weights=vqdiff-2026-11-21"
_BEL = f"belfusion,{_WINDOW},weights=belfusion-2026-11-21"
"""The weights that are told the speaker's attributes, as in the papers; the default ones know face and sound."""
_BINARIZED, _CODELESS = "VQ-Diff + binarized AUs", "VQ-Diff w/o codebook"

TABLE = PaperTable(
    {
        "BeLFusion k=1": f"belfusion,{_WINDOW},weights=belfusion-k1",
        "BeLFusion k=10": _BEL,
        "BeLFusion k=10 + binarized AUs": f"{_BEL},binarize=true",
        "VQ-Diff": _VQ,
        _BINARIZED: f"{_VQ},binarize=true",
        _CODELESS: f"{_VQ},codebook=false",
        f"{_CODELESS} + binarized AUs": f"{_VQ},codebook=false,binarize=true",
    },
    (
        Direction("FRCorr", "VQ-Diff", "BeLFusion k=10"),
        Direction("FRDiv", "VQ-Diff", "BeLFusion k=10"),
        Direction("FRDiv", "BeLFusion k=10", "BeLFusion k=1"),
        Direction("FRDiv", _CODELESS, "VQ-Diff"),
        Direction("FRVar", _CODELESS, "VQ-Diff"),
        Direction("FRDist", _CODELESS, "VQ-Diff"),
        Direction("FRDist", _BINARIZED, "VQ-Diff"),
        Direction("FRDiv", _BINARIZED, "VQ-Diff"),
        Direction("FRDist", "BeLFusion k=10 + binarized AUs", "BeLFusion k=10"),
    ),
    more=("belfusion", "vqdiff"),
    missing={
        "belfusion-k1": (
            "react-ros train belfusion --config belfusion-attributes --corpus people-1 --corpus people-2 "
            "--set stages.diffusion.stage.guesses=1 --name belfusion-k1 --out runs/belfusion-k1"
        ),
    },
    published=published_rows(
        "offline",
        """
    BeLFusion k=1 | .10 | 92.32 | .0068 | .0073 | .0094 | 79.60 | 44.94
    BeLFusion k=10 | .12 | 91.60 | .0105 | .0082 | .0116 | 79.59 | 44.87
    BeLFusion k=10 + binarized AUs | .12 | 94.16 | .0360 | .0249 | .0384 | - | 49.00
    VQ-Diff | .30 | 91.65 | .0743 | .0348 | .0745 | - | 45.33
    VQ-Diff + binarized AUs | .29 | 96.53 | .1455 | .0682 | .1461 | - | 49.00
    VQ-Diff w/o codebook | .30 | 115.02 | .3712 | .1738 | .3730 | - | 45.58
    VQ-Diff w/o codebook + binarized AUs | .29 | 119.30 | .4907 | .2298 | .4922 | - | 47.19
        """,
    )
    + published_rows(
        "online",
        """
    BeLFusion k=1 | .12 | 91.11 | .0083 | .0079 | .0103 | - | 45.17
    BeLFusion k=10 | .12 | 91.45 | .0112 | .0082 | .0120 | - | 44.89
    BeLFusion k=10 + binarized AUs | .12 | 94.09 | .0379 | .0248 | .0397 | - | 49.00
    VQ-Diff | .30 | 91.86 | .0737 | .0346 | .0743 | - | 45.18
    VQ-Diff + binarized AUs | .29 | 96.83 | .1486 | .0699 | .1499 | - | 49.00
    VQ-Diff w/o codebook | .30 | 115.72 | .3800 | .1778 | .3809 | - | 45.37
    VQ-Diff w/o codebook + binarized AUs | .29 | 118.62 | .4719 | .2208 | .4728 | - | 48.66
        """,
    ),
)
