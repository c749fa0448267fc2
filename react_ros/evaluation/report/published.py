"""What the papers print for the REACT 2024 test set, set apart from everything measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Protocol = Literal["offline", "online"]

SOURCE = "REACT 2024 test set (NoXI and RECOLA, N = 1612), as printed in the papers"


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One row of a paper's table; None where the paper prints nothing."""

    system: str
    protocol: Protocol
    frcorr: float
    frdist: float
    frdiv: float
    frvar: float
    frdvs: float
    frrea: float | None
    frsyn: float


def _rows(protocol: Protocol, text: str) -> tuple[PublishedRow, ...]:
    rows = []
    for line in text.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        a, b, c, d, e, f, g = (None if cell == "-" else float(cell) for cell in cells)
        rows.append(PublishedRow(name, protocol, a, b, c, d, e, f, g))  # type: ignore[arg-type]
    return tuple(rows)


PUBLISHED = _rows(
    "offline",
    """
    Ground truth | 8.73 | 0.00 | 0 | .0724 | .2483 | 53.96 | 47.69
    Random | .05 | 237.21 | .1667 | .0833 | .1667 | - | 43.84
    Mime | .38 | 92.94 | 0 | .0724 | .2483 | - | 38.54
    MeanSeq | .01 | 97.13 | 0 | 0 | 0 | - | 45.28
    MeanFr | .00 | 97.86 | 0 | 0 | 0 | - | 49.00
    Trans-VAE | .03 | 92.81 | .0008 | .0002 | .0006 | 67.74 | 43.75
    BeLFusion k=1 | .10 | 92.32 | .0068 | .0073 | .0094 | 79.60 | 44.94
    BeLFusion k=10 | .12 | 91.60 | .0105 | .0082 | .0116 | 79.59 | 44.87
    BeLFusion k=10 + binarized AUs | .12 | 94.16 | .0360 | .0249 | .0384 | - | 49.00
    REGNN | .19 | 84.54 | .0007 | .0061 | .0342 | - | 41.35
    UniFaRN | .19 | 98.51 | .0819 | .0760 | .0259 | - | 46.11
    BEAMER | .11 | 97.33 | .0508 | .0374 | .0196 | - | 48.12
    FRDiff | .14 | 91.05 | .0690 | .0443 | .0108 | 69.37 | 47.66
    PerFRDiff | .38 | 94.72 | .1368 | .2191 | .0879 | 47.62 | 45.28
    Liu et al. | .22 | 100.43 | .1675 | .0535 | .1385 | - | 44.54
    VQ-Diff | .30 | 91.65 | .0743 | .0348 | .0745 | - | 45.33
    VQ-Diff + binarized AUs | .29 | 96.53 | .1455 | .0682 | .1461 | - | 49.00
    VQ-Diff w/o codebook | .30 | 115.02 | .3712 | .1738 | .3730 | - | 45.58
    VQ-Diff w/o codebook + binarized AUs | .29 | 119.30 | .4907 | .2298 | .4922 | - | 47.19
    ReactDiff | .26 | 86.70 | .0940 | .0462 | .1012 | 66.72 | 45.40
    ReactDiff (LRS) | .29 | 79.63 | .0334 | .0401 | .1380 | 76.89 | 39.40
    ReactDiff w/o MMT | .02 | 162.38 | .0014 | .0008 | .0015 | 72.21 | 43.75
    ReactDiff w/o diffusion | .84 | 80.10 | 0 | .0247 | .1349 | 78.00 | 45.02
    ReactDiff w/o video | .13 | 92.09 | .0292 | .0149 | .0294 | 82.12 | 45.18
    ReactDiff w/o audio | .24 | 87.27 | .0806 | .0395 | .0866 | 78.26 | 45.43
    """,
) + _rows(
    "online",
    """
    Trans-VAE | .07 | 90.31 | .0064 | .0012 | .0009 | 69.19 | 44.65
    BeLFusion k=1 | .12 | 91.11 | .0083 | .0079 | .0103 | - | 45.17
    BeLFusion k=10 | .12 | 91.45 | .0112 | .0082 | .0120 | - | 44.89
    BeLFusion k=10 + binarized AUs | .12 | 94.09 | .0379 | .0248 | .0397 | - | 49.00
    VQ-Diff | .30 | 91.86 | .0737 | .0346 | .0743 | - | 45.18
    VQ-Diff + binarized AUs | .29 | 96.83 | .1486 | .0699 | .1499 | - | 49.00
    VQ-Diff w/o codebook | .30 | 115.72 | .3800 | .1778 | .3809 | - | 45.37
    VQ-Diff w/o codebook + binarized AUs | .29 | 118.62 | .4719 | .2208 | .4728 | - | 48.66
    Liu et al. | .22 | 88.32 | .1029 | .0387 | .1065 | - | 44.41
    ReactDiff | .24 | 89.17 | .0900 | .0452 | .1005 | 73.20 | 45.26
    FSQ transformer | .31 | 84.93 | .1164 | .0348 | .1166 | 34.66 | 47.42
    """,
)
"""Every printed row. FRRea is FID over PIRender images: nothing rendered by another face compares with it."""


def published(protocol: Protocol | None = None) -> list[PublishedRow]:
    """The rows of a protocol, or of both."""
    return [row for row in PUBLISHED if protocol in (None, row.protocol)]
