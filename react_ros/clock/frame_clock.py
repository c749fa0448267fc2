"""The frame clock: stamped images and sound in, frame k out at 25 fps, the same live and in replay.

Frame k lies at t_k = t_0 + k * 40 ms; t_0 is the stamp of the first image (or of the first sound, if no image comes).
A frame is emitted as soon as its image and its sound are complete, so with a camera near 25 fps each image completes
a frame. The clock never reads the system time: `now_ns` comes with every event, on the same clock as the stamps, so
the frames are a pure function of the events.

Two slow deviations from the grid are tracked: the camera's phase (a camera whose first image was jittered, or whose
rate differs slightly from 25 fps, still gives one image a frame; after a slip of half a frame, one frame is held or
one image skipped), and the sound card's drift (its stamps against its sample count).
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.clock.camera_phase import CameraPhase
from react_ros.clock.sound_lag import SoundLag
from react_ros.clock.sound_track import SoundTrack
from react_ros.clock.types import HALF_FRAME_NS, MAX_RATE, MIN_RATE, ClockConfig, ClockCounters, ClockFrame
from react_ros.face import FRAME_NS, FRAME_SAMPLES


class FrameClock:
    """Merges two stamped streams into frames. Every call returns the frames that it completed (mostly none or one).

    Images and sound carry stamps in ns; `now_ns` is the present time on the same clock. If `now_ns` goes backwards by
    less than `jump_back_ns`, the step is ignored; by more, the grid restarts. Whole clips may be pushed ahead of
    `now_ns`: data is late only where `now_ns` has passed it. Call `advance` every few ms, so that frames continue when
    a stream stops.
    """

    def __init__(self, config: ClockConfig | None = None) -> None:
        self.config = config or ClockConfig()
        self.reset()

    def reset(self) -> None:
        """Clear all state; the next frame is frame 0."""
        self.counters = ClockCounters()
        self.lag = SoundLag(self.config)
        self._index = 0
        self._now: int | None = None
        self._restart_grid()

    def push_image(self, stamp_ns: int, image: Any, now_ns: int) -> list[ClockFrame]:
        """Add an image: any object, passed on unchanged. Raises ValueError for a time that is not an integer >= 0."""
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
        self, stamp_ns: int, pcm: npt.NDArray[np.int16], rate: int, first_sample: int | None, now_ns: int
    ) -> list[ClockFrame]:
        """Add a block of audio samples.

        stamp_ns: capture time of the first sample. pcm: int16 (n,) or (n, channels), mixed down to mono.
        rate: 6000 to 192000 Hz. first_sample: index of the first sample since the stream began (a jump is a gap), or
        None where the source does not count. Raises ValueError for an argument of another type, shape or range.
        """
        stamp, now = _time("stamp_ns", stamp_ns), _time("now_ns", now_ns)
        if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"the sample rate must be a whole number from {MIN_RATE} to {MAX_RATE} Hz, not {rate!r}")
        if not isinstance(pcm, np.ndarray) or pcm.dtype != np.int16 or pcm.ndim not in (1, 2):
            kind = f"{pcm.dtype} {pcm.shape}" if isinstance(pcm, np.ndarray) else type(pcm).__name__
            raise ValueError(f"sound must be an int16 array (n,) or (n, channels), not {kind}")
        if pcm.ndim == 2 and not 1 <= pcm.shape[1] <= 64:
            raise ValueError(f"sound must have 1 to 64 channels in its second axis, not {pcm.shape[1]}")
        number = None if first_sample is None else _time("first_sample", first_sample)
        self._tick(now, anchor=True)
        if not len(pcm):
            return self._drain()
        end = stamp + len(pcm) * 1_000_000_000 // int(rate)
        if end < now - self.config.jump_back_ns:
            self.counters.late_sound += 1
            self.lag.arrived(stamp, end, 0, now)
            return self._drain()
        sound = self._sound
        if sound is not None and self._jumped(stamp, self._sound_stamp, sound.end_ns):
            self._resync()
            sound = self._sound
        if sound is not None and sound.rate != rate:
            self.counters.sound_restarts += 1
            sound = None
        if sound is None:
            history = max(self.config.sound_lag_max_ns - self.config.sound_lag_ns, 0)
            sound = self._sound = SoundTrack(stamp, int(rate), self.counters, history)
            self.lag.restart()
            if self._sound_since is None:
                self._sound_since = now
        self._sound_stamp = stamp
        mono = pcm if pcm.ndim == 1 else pcm.mean(1, dtype=np.float32)
        before = sound.end_ns if sound.blocks else stamp
        sound.push(stamp, mono.astype(np.float32) / np.float32(32768.0), number)
        if sound.end_ns > before:
            self.lag.arrived(max(before, stamp), sound.end_ns, round(sound.look_ahead), now)
        return self._drain()

    def advance(self, now_ns: int) -> list[ClockFrame]:
        """Return the frames whose waiting time is over. Raises ValueError for a time that is not an integer >= 0."""
        self._tick(_time("now_ns", now_ns), anchor=True)
        return self._drain()

    def _restart_grid(self) -> None:
        self._t0: int | None = None
        self._slot = 0
        self._camera = CameraPhase()
        self._image: tuple[int, Any] | None = None
        self._sound: SoundTrack | None = None
        self._sound_stamp: int | None = None
        self._sound_since: int | None = None

    def _resync(self) -> None:
        self.counters.resets += 1
        self._restart_grid()

    def _anchor(self, t0: int) -> None:
        self._t0, self._slot = t0, 0
        if self._sound is not None:
            self._sound.unsnap()

    def _next(self) -> int | None:
        return None if self._t0 is None else self._t0 + self._slot * FRAME_NS

    def _tick(self, now: int, *, anchor: bool) -> None:
        """Update the present time. anchor: after a pause, anchor the new grid here, and not at the next image."""
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
        """Whether a stamp is too far from its stream (its newest stamp and the end of its data) and from the grid."""
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
            # No camera: frame 0 is the first frame whose sound is complete.
            self._anchor(self._sound.origin + self.lag.ns + FRAME_NS)
        while True:
            assert self._t0 is not None
            t = self._t0 + self._slot * FRAME_NS
            sound_end = t - self.lag.ns
            received = self._t0 - self.lag.ns if self._sound is None else self._sound.end_ns
            sound_stale = sound_end - received > config.stale_ns
            if not self._camera.knows(self._slot):
                deadline = t if self._video_stale(t) else t + self._camera.phase + HALF_FRAME_NS + config.image_wait_ns
                if self._now < deadline:
                    return out
            if self._sound is None or not self._sound.reaches(sound_end):
                deadline = sound_end if sound_stale else t + config.sound_wait_ns
                if self._now < deadline:
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
            sound, valid = self._sound.read(t - self.lag.ns - FRAME_NS)
        stamp, image = self._image or (None, None)
        frame = ClockFrame(
            self._index,
            t,
            image,
            stamp,
            taken is not None,
            sound,
            valid,
            self._video_stale(t),
            sound_stale,
            self.lag.ns,
        )
        self._index += 1
        self._slot += 1
        return frame


def _time(name: str, value: object) -> int:
    """value as an int. Raises ValueError where it is not an integer >= 0."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < 0:
        raise ValueError(f"{name} must be a whole number, 0 or more, not {value!r}")
    return number
