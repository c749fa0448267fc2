"""The figures that papers print for the REACT 2024 test set."""

from __future__ import annotations

from react_ros.generators import registry
from react_ros.generators.system import Protocol, PublishedRow, published_rows

SOURCE = "REACT 2024 test set (NoXI and RECOLA, N = 1612), as printed in the papers"

OTHERS = published_rows(
    "offline",
    """
    Ground truth | 8.73 | 0.00 | 0 | .0724 | .2483 | 53.96 | 47.69
    Random | .05 | 237.21 | .1667 | .0833 | .1667 | - | 43.84
    Mime | .38 | 92.94 | 0 | .0724 | .2483 | - | 38.54
    MeanSeq | .01 | 97.13 | 0 | 0 | 0 | - | 45.28
    MeanFr | .00 | 97.86 | 0 | 0 | 0 | - | 49.00
    Trans-VAE | .03 | 92.81 | .0008 | .0002 | .0006 | 67.74 | 43.75
    REGNN | .19 | 84.54 | .0007 | .0061 | .0342 | - | 41.35
    UniFaRN | .19 | 98.51 | .0819 | .0760 | .0259 | - | 46.11
    BEAMER | .11 | 97.33 | .0508 | .0374 | .0196 | - | 48.12
    FRDiff | .14 | 91.05 | .0690 | .0443 | .0108 | 69.37 | 47.66
    PerFRDiff | .38 | 94.72 | .1368 | .2191 | .0879 | 47.62 | 45.28
    Liu et al. | .22 | 100.43 | .1675 | .0535 | .1385 | - | 44.54
    """,
) + published_rows(
    "online",
    """
    Trans-VAE | .07 | 90.31 | .0064 | .0012 | .0009 | 69.19 | 44.65
    Liu et al. | .22 | 88.32 | .1029 | .0387 | .1065 | - | 44.41
    FSQ transformer | .31 | 84.93 | .1164 | .0348 | .1166 | 34.66 | 47.42
    """,
)
"""Printed rows of systems outside this package. FRRea is FID over PIRender images; figures of other renderers do not
compare with it."""


def published(protocol: Protocol | None = None) -> list[PublishedRow]:
    """The printed rows of one protocol, or of both: `OTHERS` and those of the installed systems' tables."""
    tables = [s.load_table() for s in registry.systems() if s.table]
    rows = [*OTHERS, *(row for table in tables for row in table.published)]
    return [row for row in rows if protocol in (None, row.protocol)]
