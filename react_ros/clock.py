"""The frame clock: stamped images and sound in, speaker frame k out at 25 fps, the same live and in replay.

Frame k lies at t_k = t_0 + k * 40 ms; t_0 is the first image (or the first sound, when no image comes). It is
emitted as soon as its image and its sound are known, so that a camera near 25 fps gives a frame with each image's
arrival. Nothing here reads the time: `now_ns` comes with every event, on the same clock as the stamps, so the
frames are a pure function of the events.

Two streams that are not in step with the grid are followed, slowly: the camera's phase (a camera whose first image
was jittered, or that runs a little off 25 fps, still gives one image a frame; when it has slipped by half a frame,
one frame is held or one image skipped), and the sound card's drift (its stamps against its sample count).
"""

from __future__ import annotations

import bisect
import operator
from collections import deque
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.face import FRAME_NS, FRAME_SAMPLES, SAMPLE_RATE, Floats

MIN_RATE, MAX_RATE = 8_000, 192_000
"""Sample rates that are accepted, in Hz."""

_HALF = FRAME_NS // 2
_MS = 1_000_000


@dataclass(slots=True)
class ClockFrame:
    """Frame k: the image and the sound that belong to it."""

    index: int
    """k, from 0; consecutive, also over a resynchronisation."""
    stamp_ns: int
    """t_k, on the grid of the current anchor."""
    image: Any | None
    """The newest image; the last one again where it is held; None where none has come, or none for `stale_ns`."""
    image_stamp_ns: int | None
    image_new: bool
    """Whether the image is shown for the first time."""
    sound: Floats
    """(640,) mono at 16 kHz, -1 to 1; ends at t_k - sound_lag_ns. Zeros where samples are missing."""
    sound_valid: float
    """Fraction of the window that was really heard."""
    video_stale: bool
    sound_stale: bool


@dataclass(frozen=True, slots=True)
class ClockConfig:
    """How long the clock waits. All in ns. Raises ValueError for a time out of range."""

    sound_lag_ns: int = 40 * _MS
    """The sound of frame k ends at t_k - sound_lag_ns. A microphone delivers blocks late; waiting for the sound of
    the image's own instant would delay every face. Training and replay use the same lag, so features align alike."""
    image_wait_ns: int = 40 * _MS
    """How long after its window a frame waits for its image, and the first frame for a first image."""
    sound_wait_ns: int = 20 * _MS
    """How long after t_k a frame waits for its sound."""
    stale_ns: int = 500 * _MS
    """A stream silent for longer is stale, and no longer waited for."""
    max_gap_ns: int = 2_000 * _MS
    """A stamp further in the future, or a pause longer than this, starts a new grid."""
    jump_back_ns: int = 1_000 * _MS
    """A stamp further in its stream's past starts a new grid; one so much older than `now_ns` is too late for any."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{f.name} must be a whole number of ns, 0 or more, not {value!r}")
        if self.sound_lag_ns > 1_000 * _MS:
            raise ValueError(f"sound_lag_ns must be at most 1 s, not {self.sound_lag_ns / 1e9:g} s")
        if min(self.stale_ns, self.jump_back_ns) < FRAME_NS or self.max_gap_ns < 2 * FRAME_NS:
            raise ValueError("stale_ns and jump_back_ns must be at least one frame (40 ms), max_gap_ns at least two")


@dataclass(slots=True)
class ClockCounters:
    """What has happened to the streams since the start."""

    images: int = 0
    late_images: int = 0
    """Older than one already used, or far older than now: dropped."""
    duplicate_images: int = 0
    reordered_images: int = 0
    """Came after a newer one, in time to be sorted in."""
    skipped_images: int = 0
    """More than the grid needs (a camera faster than 25 fps)."""
    held_frames: int = 0
    """Frames without a new image."""
    sound_gaps: int = 0
    """Holes in the sample count."""
    sound_duplicates: int = 0
    """Blocks that were, in part or whole, already there."""
    sound_restarts: int = 0
    """The sample count or rate began anew, or left the stamps for good."""
    late_sound: int = 0
    """Blocks that came after their frame had gone."""
    resets: int = 0
    """Resynchronisations: a clock jumped, or everything paused."""


# Sound ------------------------------------------------------------------------------------------------------------

_ZERO_CROSSINGS = 32
_PHASES = 256
_DRIFT_MEMORY_S = 4.0
_DRIFT_CORRECTION_S = 10.0
_DRIFT_DEADBAND_NS = 1.0 * _MS
_DRIFT_MAX = 1e-3
_JUMP_NS = 80.0 * _MS
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


class _SoundTrack:
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


# Video and the grid -----------------------------------------------------------------------------------------------

_PHASE_MEMORY = 32
_PHASE_FIRST = -10 * _MS
_PHASE_LOW, _PHASE_HIGH = -14 * _MS, 34 * _MS
"""A camera's phase is chosen within a frame from _PHASE_FIRST and may then wander between the limits: wider than a
frame, so that a camera right between two phases does not flip from one to the other; and rather after t_k than
before it, where a frame would wait for its sound."""


def _wrap(ns: float) -> float:
    return (ns + _HALF) % FRAME_NS - _HALF


@dataclass(slots=True)
class _Camera:
    """Images that wait for their frame, and the camera's phase against the grid."""

    stamps: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    """The grid's number of the frame whose window each image falls into."""
    images: list[Any] = field(default_factory=list)
    newest: int | None = None
    used: int | None = None
    phase: float = 0.0
    seen: int = 0

    def push(self, stamp: int, image: Any, t0: int) -> None:
        if not self.seen:
            self.phase = (stamp - t0 - _PHASE_FIRST) % FRAME_NS + _PHASE_FIRST
        slot = int((stamp - t0 - self.phase + _HALF) // FRAME_NS)
        i = bisect.bisect_left(self.stamps, stamp)
        if i:
            slot = max(slot, self.slots[i - 1])
        self.stamps.insert(i, stamp)
        self.slots.insert(i, slot)
        self.images.insert(i, image)
        self.newest = stamp if self.newest is None else max(stamp, self.newest)
        self.seen += 1
        self.phase += _wrap(stamp - t0 - self.phase) / min(self.seen, _PHASE_MEMORY)
        if self.phase > _PHASE_HIGH:
            self.phase -= FRAME_NS
        elif self.phase < _PHASE_LOW:
            self.phase += FRAME_NS

    def knows(self, slot: int) -> bool:
        """Whether a slot's image is there, or a later one, which proves that it has none."""
        return bool(self.slots) and self.slots[-1] >= slot

    def take(self, slot: int) -> tuple[int, Any, int] | None:
        """(stamp, image, images skipped) for a slot: its first image, else the newest one left over, else None."""
        i = bisect.bisect_left(self.slots, slot)
        if i == len(self.slots) or self.slots[i] != slot:
            i -= 1
        if i < 0:
            return None
        self.used, image = self.stamps[i], self.images[i]
        for column in (self.stamps, self.slots, self.images):
            del column[: i + 1]
        return self.used, image, i


class FrameClock:
    """Turns two stamped streams into frames. Every call returns the frames (often none or one) that it completed.

    Images and sound carry stamps in ns; `now_ns` is the present on the same clock. It should not run backwards: by
    less than `jump_back_ns` it is ignored, by more the grid starts anew. Whole clips may be pushed ahead of
    `now_ns`: only what `now_ns` has passed counts as late. Call `advance` often (every few ms), so that frames go on
    when the streams do not.
    """

    def __init__(self, config: ClockConfig | None = None) -> None:
        self.config = config or ClockConfig()
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is frame 0."""
        self.counters = ClockCounters()
        self._index = 0
        self._now: int | None = None
        self._forget()

    def push_image(self, stamp_ns: int, image: Any, now_ns: int) -> list[ClockFrame]:
        """An image of any kind; it is passed on, never looked at. Raises ValueError for a time that is none."""
        stamp, now = _time("stamp_ns", stamp_ns), _time("now_ns", now_ns)
        self._tick(now, anchor=False)
        self.counters.images += 1
        camera = self._camera
        if stamp < now - self.config.jump_back_ns:
            self.counters.late_images += 1
            return self._drain()
        if self._jumped(stamp, camera.newest, camera.newest):
            self._resync()
            camera = self._camera
        if self._t0 is None:
            self._anchor(stamp)
        assert self._t0 is not None
        if stamp == camera.used or stamp in camera.stamps:
            self.counters.duplicate_images += 1
        elif camera.used is not None and stamp < camera.used:
            self.counters.late_images += 1
        else:
            if camera.newest is not None and stamp < camera.newest:
                self.counters.reordered_images += 1
            camera.push(stamp, image, self._t0)
        return self._drain()

    def push_sound(
        self, stamp_ns: int, samples: npt.NDArray[np.int16], rate: int, first_sample: int | None, now_ns: int
    ) -> list[ClockFrame]:
        """A block of sound.

        stamp_ns: when its first sample was heard. samples: int16 (n,) or (n, channels), mixed to mono.
        rate: 8000 to 192000 Hz. first_sample: number of its first sample since the stream began (a jump is a gap),
        or None where the source does not count. Raises ValueError where one of them is not so.
        """
        stamp, now = _time("stamp_ns", stamp_ns), _time("now_ns", now_ns)
        if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"the sample rate must be a whole number from {MIN_RATE} to {MAX_RATE} Hz, not {rate!r}")
        if not isinstance(samples, np.ndarray) or samples.dtype != np.int16 or samples.ndim not in (1, 2):
            kind = f"{samples.dtype} {samples.shape}" if isinstance(samples, np.ndarray) else type(samples).__name__
            raise ValueError(f"sound must be an int16 array (n,) or (n, channels), not {kind}")
        if samples.ndim == 2 and not 1 <= samples.shape[1] <= 64:
            raise ValueError(f"sound must have 1 to 64 channels in its second axis, not {samples.shape[1]}")
        number = None if first_sample is None else _time("first_sample", first_sample)
        self._tick(now, anchor=True)
        if not len(samples):
            return self._drain()
        end = stamp + len(samples) * 1_000_000_000 // int(rate)
        if end < now - self.config.jump_back_ns:
            self.counters.late_sound += 1
            return self._drain()
        sound = self._sound
        if sound is not None and self._jumped(stamp, self._sound_stamp, sound.end_ns):
            self._resync()
            sound = self._sound
        if sound is not None and sound.rate != rate:
            self.counters.sound_restarts += 1
            sound = None
        if sound is None:
            sound = self._sound = _SoundTrack(stamp, int(rate), self.counters)
            if self._sound_since is None:
                self._sound_since = now
        self._sound_stamp = stamp
        mono = samples if samples.ndim == 1 else samples.mean(1, dtype=np.float32)
        sound.push(stamp, mono.astype(np.float32) / np.float32(32768.0), number)
        return self._drain()

    def advance(self, now_ns: int) -> list[ClockFrame]:
        """Time passes: the frames that have waited long enough. Raises ValueError for a time that is none."""
        self._tick(_time("now_ns", now_ns), anchor=True)
        return self._drain()

    def _forget(self) -> None:
        self._t0: int | None = None
        self._slot = 0
        self._camera = _Camera()
        self._image: tuple[int, Any] | None = None
        self._sound: _SoundTrack | None = None
        self._sound_stamp: int | None = None
        self._sound_since: int | None = None

    def _resync(self) -> None:
        self.counters.resets += 1
        self._forget()

    def _anchor(self, t0: int) -> None:
        self._t0, self._slot = t0, 0
        if self._sound is not None:
            self._sound.unsnap()

    def _next(self) -> int | None:
        return None if self._t0 is None else self._t0 + self._slot * FRAME_NS

    def _tick(self, now: int, *, anchor: bool) -> None:
        """Take note of the present. anchor: after a pause, begin the new grid right here, not with what comes next."""
        if self._now is not None and now < self._now - self.config.jump_back_ns:
            self._resync()
            self._now = now
        self._now = now if self._now is None else max(now, self._now)
        due = self._next()
        if due is not None and self._now - due > self.config.max_gap_ns:
            self._resync()
            if anchor:
                self._anchor(self._now)

    def _jumped(self, stamp: int, newest: int | None, end: int | None) -> bool:
        """Whether a stamp leaves its stream's past (its newest stamp and the end of it), and the grid, too far."""
        due = self._next()
        known = [end] if due is None else [end, due, self._now]
        frontier = max((t for t in known if t is not None), default=stamp)
        if stamp > frontier + self.config.max_gap_ns:
            return True
        return newest is not None and stamp < newest - self.config.jump_back_ns

    def _video_stale(self, t: int) -> bool:
        seen = self._t0 if self._camera.used is None else self._camera.used
        return seen is not None and t - seen > self.config.stale_ns

    def _drain(self) -> list[ClockFrame]:
        assert self._now is not None
        config, out = self.config, []
        if self._t0 is None:
            if self._sound is None or self._sound_since is None or self._now - self._sound_since < config.image_wait_ns:
                return out
            # No camera: the first frame is the first whose sound is whole.
            self._anchor(self._sound.origin + config.sound_lag_ns + FRAME_NS)
        while True:
            assert self._t0 is not None
            t = self._t0 + self._slot * FRAME_NS
            heard_to = t - config.sound_lag_ns
            heard = self._t0 - config.sound_lag_ns if self._sound is None else self._sound.end_ns
            sound_stale = heard_to - heard > config.stale_ns
            if not self._camera.knows(self._slot):
                last_call = t if self._video_stale(t) else t + self._camera.phase + _HALF + config.image_wait_ns
                if self._now < last_call:
                    return out
            if self._sound is None or not self._sound.reaches(heard_to):
                last_call = heard_to if sound_stale else t + config.sound_wait_ns
                if self._now < last_call:
                    return out
            out.append(self._emit(t, sound_stale))

    def _emit(self, t: int, sound_stale: bool) -> ClockFrame:
        taken = self._camera.take(self._slot)
        if taken is not None:
            self._image = taken[:2]
            self.counters.skipped_images += taken[2]
        if self._video_stale(t):
            taken = self._image = None
        if taken is None:
            self.counters.held_frames += 1
        sound, valid = np.zeros(FRAME_SAMPLES, np.float32), 0.0
        if self._sound is not None:
            sound, valid = self._sound.read(t - self.config.sound_lag_ns - FRAME_NS)
        stamp, image = self._image or (None, None)
        frame = ClockFrame(
            self._index, t, image, stamp, taken is not None, sound, valid, self._video_stale(t), sound_stale
        )
        self._index += 1
        self._slot += 1
        return frame


def _time(name: str, value: object) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more, not {value!r}")
    return number
