"""One sound stream resampled to 16 kHz on the frame clock's time, its drift and its gaps followed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np

from react_ros.clock.types import MS, ClockCounters
from react_ros.face import FRAME_NS, FRAME_SAMPLES, SAMPLE_RATE, Floats

_ZERO_CROSSINGS = 32


_PHASES = 256


_DRIFT_MEMORY_S = 4.0


_DRIFT_CORRECTION_S = 10.0


_DRIFT_DEADBAND_NS = 1.0 * MS


_DRIFT_MAX = 1e-3


_JUMP_NS = 80.0 * MS


_JUMP_PATIENCE_S = 0.5


@lru_cache(maxsize=8)
def _interpolator(rate: int) -> tuple[Floats, int]:
    """(257, 2 * half) Kaiser-windowed sinc for fractions 0, 1/256, … 1 of a sample, and half its length.

    The cut-off is 92 % of the lower Nyquist frequency where the rate falls, 100 % elsewhere, so that at 16 kHz an
    undelayed sample passes exactly. About 80 dB of attenuation (Kaiser, beta 8).
    """
    cutoff = 1.0 if rate <= SAMPLE_RATE else 0.92 * SAMPLE_RATE / rate
    half = round(_ZERO_CROSSINGS * max(1.0, rate / SAMPLE_RATE))
    offsets = np.arange(1 - half, half + 1) - np.linspace(0.0, 1.0, _PHASES + 1)[:, None]
    window = np.i0(8.0 * np.sqrt(np.maximum(0.0, 1.0 - (offsets / half) ** 2))) / np.i0(8.0)
    table = np.sinc(offsets * cutoff) * window
    table[np.abs(table) < 1e-12] = 0.0
    return np.ascontiguousarray(table / table.sum(1, keepdims=True), np.float32), half


@dataclass(slots=True)
class _Block:
    """Samples n0 to n1 of a stream, heard from t0 to t1 (ns after the stream's first stamp)."""

    n0: int
    n1: int
    t0: float
    t1: float
    samples: Floats


class SoundTrack:
    """Blocks of sound, placed in time, read out at 16 kHz at any instant.

    The time of a sample is a continuous, piecewise linear function of its number. Its slope follows the stamps (a
    slow filter, at most 0.1 %), so a drifting sound card stays aligned without a click. Reading interpolates at the
    exact instants (a windowed sinc): one operation resamples, follows the drift and has no delay of its own. It
    looks 2 ms (4 ms at 8 kHz) ahead; streaming libraries were measured to hold back 20 to 115 ms (soxr 1.1.0).
    """

    def __init__(self, stamp_ns: int, rate: int, counters: ClockCounters) -> None:
        self.rate = rate
        self.period = 1e9 / rate
        self.table, self.half = _interpolator(rate)
        self.look_ahead = (self.half + 2) * self.period
        self.origin = stamp_ns
        self.blocks: deque[_Block] = deque()
        self.end_n = 0
        self.end_t = 0.0
        self._counters = counters
        self._shift: int | None = None
        self._snap: float | None = None
        self._heard_s = 0.0
        self._error = 0.0
        self._astray_s = 0.0
        self._read_t = -np.inf

    def unsnap(self) -> None:
        """A new grid: choose anew how it falls onto the samples."""
        self._snap = None
        self._read_t = -np.inf

    @property
    def end_ns(self) -> int:
        """When the last sample that came was heard."""
        return self.origin + round(self.end_t)

    def reaches(self, instant_ns: int) -> bool:
        """Whether everything up to an instant can be read."""
        return self.end_t - self.look_ahead >= instant_ns - self.origin

    def push(self, stamp_ns: int, samples: Floats, first_sample: int | None) -> None:
        """Place a block. first_sample: its count in the stream; None where the source does not count."""
        if self._shift is None:
            self._shift = 0 if first_sample is None else -first_sample
        n = self.end_n if first_sample is None else first_sample + self._shift
        seconds = len(samples) / self.rate
        error = stamp_ns - self.origin - (self.end_t + (n - self.end_n) * self.period)
        if abs(error) <= _JUMP_NS:
            self._astray_s = 0.0
            # A running mean at first, then a filter with a memory of a few seconds: block jitter averages out.
            weight = max(1.0 - np.exp(-seconds / _DRIFT_MEMORY_S), seconds / (self._heard_s + seconds))
            self._error += weight * (error - self._error)
            self._heard_s += seconds
        else:
            # A stray stamp is a hiccup and the count is right; many, a far one, or a count that jumped too, are not.
            self._astray_s += seconds
            if n != self.end_n or max(self._astray_s, abs(error) / 1e9) > _JUMP_PATIENCE_S:
                move = round(error / self.period)
                n += move
                self._shift += move
                self._astray_s = self._error = 0.0
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
        # Inside the dead band nothing is resampled for drift's sake, so a steady source passes untouched.
        excess = self._error - np.clip(self._error, -_DRIFT_DEADBAND_NS, _DRIFT_DEADBAND_NS)
        correction = excess * min(1.0, length / 1e9 / _DRIFT_CORRECTION_S)
        correction = float(np.clip(correction, -_DRIFT_MAX * length, _DRIFT_MAX * length))
        self._error -= correction
        self.end_n, self.end_t = n + len(samples), t0 + length + correction
        self.blocks.append(_Block(n, self.end_n, t0, self.end_t, samples))
        if self.end_t <= self._read_t:
            self._counters.late_sound += 1

    def read(self, start_ns: int) -> tuple[Floats, float]:
        """(640,) samples at 16 kHz from an instant, and the fraction of them that was heard. Forgets what is older."""
        begin = float(start_ns - self.origin)
        self._read_t = begin + FRAME_NS
        while self.blocks and self.blocks[0].t1 < begin - self.look_ahead - FRAME_NS:
            self.blocks.popleft()
        used: list[_Block] = []
        for block in self.blocks:
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
            # The grid may fall between samples: moved by less than one, a steady 16 kHz source passes exactly.
            position = float(np.interp(begin, times, numbers))
            self._snap = (round(position) - position) * self.period
        instants = begin + self._snap + np.arange(FRAME_SAMPLES) * (1e9 / SAMPLE_RATE)
        # In steps of 2^-16 of a sample: rounding errors of the time axis then vanish.
        positions = np.rint(np.interp(instants, times, numbers) * 65536.0) / 65536.0
        whole = np.floor(positions).astype(np.int64)
        low = int(whole[0]) + 1 - self.half
        length = int(whole[-1]) + self.half + 1 - low
        segment = np.zeros(length, np.float32)
        heard = np.zeros(length, bool)
        for b in used:
            i, j = max(b.n0 - low, 0), min(b.n1 - low, length)
            if i < j:
                segment[i:j] = b.samples[i + low - b.n0 : j + low - b.n0]
                heard[i:j] = True
        valid = heard[whole - low]
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
