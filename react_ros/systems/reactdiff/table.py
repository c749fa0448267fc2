"""The table of Li et al.: ReactDiff and its ablations."""

from __future__ import annotations

from react_ros.generators.system import Direction, PaperTable, published_rows

TABLE = PaperTable(
    {
        "ReactDiff": "reactdiff,schedule=window",
        "ReactDiff (LRS)": "reactdiff,schedule=window,style=lively",
        "ReactDiff w/o MMT": "reactdiff,schedule=window,weights=reactdiff-no-mmt",
        "ReactDiff w/o diffusion": "reactdiff,schedule=window,diffusion=false",
        "ReactDiff w/o video": "reactdiff,schedule=window,weights=reactdiff-no-video",
        "ReactDiff w/o audio": "reactdiff,schedule=window,weights=reactdiff-no-audio",
    },
    (
        Direction("FRCorr", "ReactDiff w/o diffusion", "ReactDiff"),
        Direction("FRDiv", "ReactDiff", "ReactDiff w/o diffusion"),
        Direction("FRDvs", "ReactDiff w/o diffusion", "ReactDiff"),
        Direction("FRCorr", "ReactDiff", "ReactDiff w/o MMT"),
        Direction("FRDiv", "ReactDiff", "ReactDiff w/o MMT"),
        Direction("FRDist", "ReactDiff w/o MMT", "ReactDiff"),
        Direction("FRCorr", "ReactDiff", "ReactDiff w/o video"),
        Direction("FRDiv", "ReactDiff", "ReactDiff w/o video"),
        Direction("FRCorr", "ReactDiff", "ReactDiff w/o audio"),
        Direction("FRCorr", "ReactDiff (LRS)", "ReactDiff"),
        Direction("FRDiv", "ReactDiff", "ReactDiff (LRS)"),
        Direction("FRDvs", "ReactDiff (LRS)", "ReactDiff"),
    ),
    printed_for="offline",
    more=("reactdiff",),
    missing={
        name: (
            f"react-ros train reactdiff --corpus people-1 --corpus people-2 --config {name} --name {name} "
            f"--out runs/{name}"
        )
        for name in ("reactdiff-no-mmt", "reactdiff-no-video", "reactdiff-no-audio")
    },
    published=published_rows(
        "offline",
        """
    ReactDiff | .26 | 86.70 | .0940 | .0462 | .1012 | 66.72 | 45.40
    ReactDiff (LRS) | .29 | 79.63 | .0334 | .0401 | .1380 | 76.89 | 39.40
    ReactDiff w/o MMT | .02 | 162.38 | .0014 | .0008 | .0015 | 72.21 | 43.75
    ReactDiff w/o diffusion | .84 | 80.10 | 0 | .0247 | .1349 | 78.00 | 45.02
    ReactDiff w/o video | .13 | 92.09 | .0292 | .0149 | .0294 | 82.12 | 45.18
    ReactDiff w/o audio | .24 | 87.27 | .0806 | .0395 | .0866 | 78.26 | 45.43
        """,
    )
    + published_rows(
        "online",
        """
    ReactDiff | .24 | 89.17 | .0900 | .0452 | .1005 | 73.20 | 45.26
        """,
    ),
)
