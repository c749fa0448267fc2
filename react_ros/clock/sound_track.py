"""Resamples one audio stream to 16 kHz on the frame clock's time axis, following its drift and gaps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np

from react_ros.clock.types import MS, ClockCounters
from react_ros.face import FRAME_NS, FRAME_SAMPLES, SAMPLE_RATE, Floats

_ZERO_CROSSINGS = 32
"""Of the sinc on either side, at 16 kHz."""
_PHASES = 256
"""Fractions of a sample for which the filter is tabulated; linear interpolation between them."""
_DRIFT_MEMORY_S = 4.0
"""Time constant of the filter over the difference between stamps and sample count."""
_DRIFT_CORRECTION_S = 10.0
"""Time in which a filtered difference is corrected."""
_DRIFT_DEADBAND_NS = 1.0 * MS
_DRIFT_MAX = 1e-3
"""Largest change of the playback rate."""
_JUMP_NS = 80.0 * MS
"""A stamp further than this from the sample count is an outlier, not drift."""
_JUMP_PATIENCE_S = 0.5
"""Duration of outliers, or distance of one, after which the stamps win over the sample count."""


@lru_cache(maxsize=8)
def _interpolator(rate: int) -> tuple[Floats, int]:
    """(257, 2 * half) Kaiser-windowed sinc for fractions 0, 1/256, … 1 of a sample, and half its length.

    Cut-off: 92 % of the lower Nyquist frequency for downsampling, 100 % otherwise, so that at 16 kHz a sample with
    fraction 0 passes unchanged. Attenuation about 80 dB (Kaiser, beta 8).
    """
    cutoff = 1.0 if rate <= SAMPLE_RATE else 0.92 * SAMPLE_RATE / rate
    half = round(_ZERO_CROSSINGS * max(1.0, rate / SAMPLE_RATE))
    offsets = np.arange(1 - half, half + 1) - np.linspace(0.0, 1.0, _PHASES + 1)[:, None]
    window = np.i0(8.0 * np.sqrt(np.maximum(0.0, 1.0 - (offsets / half) ** 2))) / np.i0(8.0)
    table = np.sinc(offsets * cutoff) * window
    table[np.abs(table) < 1e-12] = 0.0
    return np.ascontiguousarray(table / table.sum(1, keepdims=True), np.float32), half


@dataclass(slots=True)
class _PlacedBlock:
    """Samples n0 to n1 of a stream, placed on the time axis from t0 to t1 (ns after the stream's first stamp)."""

    n0: int
    n1: int
    t0: float
    t1: float
    samples: Floats


class SoundTrack:
    """Blocks of audio placed in time, read out at 16 kHz at any instant.

    The time of a sample is a continuous, piecewise linear function of its index. The slope follows the stamps (slow
    filter, at most 0.1 %), so the sound of a drifting sound card stays aligned without clicks. `read` interpolates at
    the exact instants with a windowed sinc: resampling and drift correction in one operation, without added delay. It
    needs 2 ms of later samples (4 ms at 8 kHz); streaming resamplers were measured to delay by 20 to 115 ms (soxr
    1.1.0).
    """

    def __init__(self, stamp_ns: int, rate: int, counters: ClockCounters, history_ns: int = 0) -> None:
        """history_ns: by so much, an instant that is read may lie before one that was read before it."""
        self.rate = rate
        self.period = 1e9 / rate
        self.table, self.half = _interpolator(rate)
        self.look_ahead = (self.half + 2) * self.period
        self.origin = stamp_ns
        self.blocks: deque[_PlacedBlock] = deque()
        self.end_n = 0
        self.end_t = 0.0
        self._counters = counters
        self._history = float(history_ns)
        self._shift: int | None = None
        self._snap: float | None = None
        self._received_s = 0.0
        self._error = 0.0
        self._outlier_s = 0.0
        self._read_t = -np.inf

    def unsnap(self) -> None:
        """Choose a new alignment of grid and samples, for a new grid."""
        self._snap = None
        self._read_t = -np.inf

    @property
    def end_ns(self) -> int:
        """End of the last sample received, ns."""
        return self.origin + round(self.end_t)

    def reaches(self, instant_ns: int) -> bool:
        """Whether everything up to an instant (ns) can be read."""
        return self.end_t - self.look_ahead >= instant_ns - self.origin

    def push(self, stamp_ns: int, samples: Floats, first_sample: int | None) -> None:
        """Place a block of (n,) audio samples, -1 to 1.

        first_sample: index of the first one in the stream; None if the source does not count.
        """
        if self._shift is None:
            self._shift = 0 if first_sample is None else -first_sample
        n = self.end_n if first_sample is None else first_sample + self._shift
        seconds = len(samples) / self.rate
        error = stamp_ns - self.origin - (self.end_t + (n - self.end_n) * self.period)
        if abs(error) <= _JUMP_NS:
            self._outlier_s = 0.0
            # A running mean at first, then exponential smoothing over a few seconds: the jitter of blocks averages out.
            weight = max(1.0 - np.exp(-seconds / _DRIFT_MEMORY_S), seconds / (self._received_s + seconds))
            self._error += weight * (error - self._error)
            self._received_s += seconds
        else:
            # A single outlier is ignored in favour of the sample count. Many outliers, a distant one, or a jump of the
            # count itself mean that the stream restarted.
            self._outlier_s += seconds
            if n != self.end_n or max(self._outlier_s, abs(error) / 1e9) > _JUMP_PATIENCE_S:
                move = round(error / self.period)
                n += move
                self._shift += move
                self._outlier_s = self._error = 0.0
                self._counters.sound_restarts += 1
        if n < self.end_n:
            self._counters.sound_duplicates += 1
            samples = samples[self.end_n - n :]
            if not len(samples):
                return
            n = self.end_n
        elif n > self.end_n:
            self._counters.sound_gaps += 1
        t0 = self.end_t + (n - self.end_n) * self.period
        length = len(samples) * self.period
        # No drift correction inside the dead band: the samples of a steady source pass unchanged.
        excess = self._error - np.clip(self._error, -_DRIFT_DEADBAND_NS, _DRIFT_DEADBAND_NS)
        correction = excess * min(1.0, length / 1e9 / _DRIFT_CORRECTION_S)
        correction = float(np.clip(correction, -_DRIFT_MAX * length, _DRIFT_MAX * length))
        self._error -= correction
        self.end_n, self.end_t = n + len(samples), t0 + length + correction
        self.blocks.append(_PlacedBlock(n, self.end_n, t0, self.end_t, samples))
        if self.end_t <= self._read_t:
            self._counters.late_sound += 1

    def read(self, start_ns: int) -> tuple[Floats, float]:
        """(640,) samples at 16 kHz from an instant (ns), and the fraction that was received. Drops older blocks."""
        begin = float(start_ns - self.origin)
        self._read_t = begin + FRAME_NS
        oldest = begin - self.look_ahead - FRAME_NS
        while self.blocks and self.blocks[0].t1 < oldest - self._history:
            self.blocks.popleft()
        used: list[_PlacedBlock] = []
        for block in self.blocks:
            if block.t1 < oldest:
                continue
            if used and block.t0 > self._read_t + self.look_ahead:
                break
            used.append(block)
        if not used:
            return np.zeros(FRAME_SAMPLES, np.float32), 0.0
        first, last, far = used[0], used[-1], 1e12
        times = np.array([first.t0 - far, *chain(*((b.t0, b.t1) for b in used)), last.t1 + far])
        far /= self.period
        numbers = np.array([first.n0 - far, *chain(*((b.n0, b.n1) for b in used)), last.n1 + far])
        if self._snap is None:
            # Shift the grid by less than a sample onto the samples: a steady 16 kHz source then passes unchanged.
            position = float(np.interp(begin, times, numbers))
            self._snap = (round(position) - position) * self.period
        instants = begin + self._snap + np.arange(FRAME_SAMPLES) * (1e9 / SAMPLE_RATE)
        # Quantised to 2^-16 of a sample, which removes rounding errors of the time axis.
        positions = np.rint(np.interp(instants, times, numbers) * 65536.0) / 65536.0
        whole = np.floor(positions).astype(np.int64)
        low = int(whole[0]) + 1 - self.half
        length = int(whole[-1]) + self.half + 1 - low
        segment = np.zeros(length, np.float32)
        received = np.zeros(length, bool)
        for b in used:
            i, j = max(b.n0 - low, 0), min(b.n1 - low, length)
            if i < j:
                segment[i:j] = b.samples[i + low - b.n0 : j + low - b.n0]
                received[i:j] = True
        valid = received[whole - low]
        phase = (positions - whole) * _PHASES
        row = phase.astype(np.int64)
        between = (phase - row).astype(np.float32)
        taps = np.lib.stride_tricks.sliding_window_view(segment, 2 * self.half)[whole - whole[0]]
        sound = np.einsum("ij,ij->i", taps, self.table[row])
        if between.any():
            following = np.einsum("ij,ij->i", taps, self.table[np.minimum(row + 1, _PHASES)])
            sound += between * (following - sound)
        sound[~valid] = 0.0
        return np.clip(sound, -1.0, 1.0), float(valid.mean())
