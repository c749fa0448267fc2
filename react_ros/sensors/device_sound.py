"""From what a sound device delivers to what is asked for: choice or mix of channels, and the sample rate."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.media.errors import MediaError

Pcm = npt.NDArray[np.int16]
MIX = "mix"


def parse_channel(text: str) -> tuple[int, ...]:
    """Indices (from 0) of the one or two channels in a text such as "1" or "3,4"; empty for "mix".

    Raises MediaError for another text.
    """
    if text.strip() == MIX:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not 1 <= len(parts) <= 2 or not all(p.isdecimal() and 1 <= int(p) <= 64 for p in parts):
        raise MediaError(f"channel must be {MIX}, a number from 1, or two numbers such as 1,2, not {text!r}")
    return tuple(int(part) - 1 for part in parts)


def chosen_channels(pcm: Pcm, picked: tuple[int, ...], wanted: int) -> Pcm:
    """(n, channels) to (n, 1 or 2): the picked channels, or else `wanted` ones, mixed (mean) where one is wanted."""
    if picked:
        return pcm[:, list(picked)]
    if pcm.shape[1] <= wanted:
        return pcm
    return np.rint(pcm.mean(1, keepdims=True)).astype(np.int16) if wanted == 1 else pcm[:, :wanted]


class StreamResampler:
    """Resamples one stream of blocks with libswresample, without clicks between them.

    A block gives the samples that are complete: one filter length (1 to 2 ms) later than the newest input. Output
    sample n lies at n / out_rate s from input sample 0.
    """

    def __init__(self, rate: int, out_rate: int, channels: int) -> None:
        import av

        self._layout = "mono" if channels == 1 else "stereo"
        self._rate, self._out_rate, self._channels = rate, out_rate, channels
        self._make = lambda: av.AudioResampler(format="s16", layout=self._layout, rate=out_rate)
        self._resampler: Any = None
        self._expected = self._count = 0

    def push(self, first: int, pcm: Pcm) -> tuple[int, Pcm]:
        """(index of the first output sample, (m, channels)) for a block.

        first: index of its first sample; a jump is a gap, after which the index of the output jumps as well.
        """
        import av

        if self._resampler is None or first != self._expected:
            self._resampler = self._make()
            self._count = max(self._count, round(first * self._out_rate / self._rate))
        self._expected = first + len(pcm)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm.reshape(1, -1)), "s16", self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        parts = [out.to_ndarray().reshape(-1, self._channels) for out in self._resampler.resample(frame)]
        begin = self._count
        out = np.concatenate(parts) if parts else np.zeros((0, self._channels), np.int16)
        self._count += len(out)
        return begin, out
