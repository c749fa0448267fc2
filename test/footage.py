"""Footage for tests: images of people with their times, from the assets."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
import numpy.typing as npt

from react_ros import assets

Image = npt.NDArray[np.uint8]


def images(name: str) -> Iterator[tuple[int, Image]]:
    """(time in ns, (H, W, 3) uint8 RGB) of each image of a film or photograph from the assets."""
    with av.open(str(assets.resolve(name))) as film:
        for frame in film.decode(video=0):
            yield round((frame.time or 0.0) * 1e9), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def first_image(name: str) -> Image:
    """The first image (H, W, 3) uint8 RGB of an asset."""
    return next(images(name))[1]
