"""The shape of decoded pictures: display matrix, square pixels, scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
_LARGEST_ASPECT = 8.0
"""A pixel aspect ratio beyond this, or below its inverse, is taken for a wrong header and ignored."""


def fit(image: Image, width: int, height: int, aspect: float = 1.0) -> Image:
    """Scale an (H, W, 3) image to fit into width x height px, uncropped, aspect ratio kept (one side may be shorter).

    aspect: width of the image's pixels over their height; those of the result are square. A width or height of 0 keeps
    the size, but for the pixels, which become square by enlarging the image in one direction.
    """
    import cv2

    h, w = image.shape[:2]
    tall, wide = (h, w * aspect) if aspect >= 1.0 else (h / aspect, w)
    scale = min(width / wide, height / tall) if width and height else 1.0
    size = (max(round(wide * scale), 1), max(round(tall * scale), 1))
    if (w, h) == size:
        return image
    smaller = size[0] <= w and size[1] <= h
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8)


def framed(image: Image, width: int, height: int) -> Image:
    """An (H, W, 3) image in exactly width x height px: cut by a row or column, or else scaled to fit between black
    bars, as where a film changes its size."""
    h, w = image.shape[:2]
    if 0 <= h - height <= 1 and 0 <= w - width <= 1:
        return np.ascontiguousarray(image[:height, :width])
    inner = fit(image, width, height)[:height, :width]
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    out[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return out


def pixel_aspect(stream: Any) -> float:
    """Width of a video stream's pixels over their height, from a PyAV stream; 1.0 where it is unknown."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    aspect = float(ratio) if ratio else 1.0
    return aspect if 1 / _LARGEST_ASPECT <= aspect <= _LARGEST_ASPECT else 1.0


def display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    """Rotation and mirroring that the container asks for: (a, b, c, d) of the display matrix of a decoded PyAV frame,
    each -1, 0 or 1; None for none.

    ISO/IEC 14496-12, 8.3.2: a picture's point (p, q) is shown at (a p + c q, b p + d q). An angle between right angles
    is rounded to the nearest of them.
    """
    for data in frame.side_data:
        if data.type.name != "DISPLAYMATRIX":
            continue
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32, 5).astype(np.int64)
        straight = abs(a) + abs(d) >= abs(b) + abs(c)
        a, b, c, d = (int(np.sign(n)) for n in ((a, 0, 0, d) if straight else (0, b, c, 0)))
        whole = (a and d) or (b and c)
        return None if not whole or (a, d) == (1, 1) else (a, b, c, d)
    return None


def upright(image: Image, matrix: tuple[int, int, int, int] | None) -> Image:
    """Show an image as its display matrix asks: phones store pictures on their side, mirrored or upside down."""
    if matrix is None:
        return image
    a, b, c, d = matrix
    if a:
        right, down = a, d
    else:  # rows become columns
        image = np.swapaxes(image, 0, 1)
        right, down = c, b
    return np.ascontiguousarray(image[:: 1 if down > 0 else -1, :: 1 if right > 0 else -1])
