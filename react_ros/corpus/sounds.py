"""Sound features of a clip, computed by the live code (frame clock, speech detector, acoustics) and cached.

Frame k has the audio from k * 40 ms - 80 ms to k * 40 ms - 40 ms (`ClockConfig.sound_lag_ns`), so the first two frames
of a clip have none: they are MISSING, as they are live.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockConfig
from react_ros.corpus.cache import FeatureCache
from react_ros.corpus.clips import CorpusError, missing
from react_ros.corpus.pool import Progress, spread
from react_ros.face import FPS, FRAME_NS, Floats, Sound, SoundState
from react_ros.perception.acoustics import Acoustics
from react_ros.perception.speech import SpeechDetector

VERSION = 1
"""Version of the features: changing it invalidates the cache. A test pins the features of each version."""

_COLUMNS = 57


@dataclass(frozen=True, slots=True)
class SoundTable:
    """The sound features of T frames: `Sound` as columns."""

    mfcc: Floats
    """(T, 26)."""
    mfcc_delta: Floats
    """(T, 26)."""
    log_energy: Floats
    """(T,)."""
    f0: Floats
    """(T,) Hz, 0 where unvoiced."""
    voicing: Floats
    """(T,) 0 to 1."""
    speech_probability: Floats
    """(T,) 0 to 1."""
    state: npt.NDArray[np.int8]
    """(T,) `SoundState`."""

    def __len__(self) -> int:
        return len(self.state)

    def frame(self, k: int) -> Sound:
        """Row k as live features."""
        return Sound(
            SoundState(int(self.state[k])),
            self.mfcc[k],
            self.mfcc_delta[k],
            float(self.log_energy[k]),
            float(self.f0[k]),
            float(self.voicing[k]),
            float(self.speech_probability[k]),
        )

    def take(self, rows: npt.NDArray[np.integer]) -> SoundTable:
        """These rows; indices beyond the end give MISSING frames."""
        wide = np.concatenate([_rows(self), _rows(_table([Sound()]))])
        return _split(wide[np.minimum(rows, len(self))])

    def first(self, frames: int) -> SoundTable:
        """The first `frames` rows; MISSING beyond the end."""
        return self.take(np.arange(frames))


def listen(pcm: npt.NDArray[np.int16], rate: int) -> SoundTable:
    """The sound features of a recording, up to the last frame that contains any of it.

    pcm: (n,) or (n, channels) int16, n > 0. rate: 6000 to 192000 Hz. Raises ValueError for anything else. Runs the live
    path (frame clock, speech detector, acoustics) as fast as possible.
    """
    frames = -(-len(pcm) * FPS // rate) + 2
    clock = FrameClock()
    clock_frames = clock.push_sound(0, pcm, rate, 0, 0)
    for k in range(frames):
        clock_frames += clock.push_image(k * FRAME_NS, None, k * FRAME_NS)
    clock_frames += clock.advance((frames - 1) * FRAME_NS + ClockConfig().sound_wait_ns)
    speech, acoustics = _detector(), Acoustics()
    speech.reset()
    return _table([acoustics.step(f.sound, f.sound_valid, speech.step(f.sound)) for f in clock_frames[:frames]])


def sound_table(path: Path, clip: str, store: FeatureCache) -> SoundTable:
    """The sound features of an audio file of any rate; cached by content.

    clip: for error messages. Raises CorpusError where the file is missing or holds no audio.
    """
    try:
        return _split(store.array(_kind(path), path, _COLUMNS, partial(_compute, path, clip)))
    except FileNotFoundError:
        if path.exists():
            raise
        raise missing(clip, "audio", path) from None
    except OSError as error:
        raise CorpusError(f"{clip}: its audio {path} cannot be read: {error}") from None


def precompute(paths: Sequence[Path], store: FeatureCache, *, jobs: int = 0, progress: Progress | None = None) -> None:
    """Fill the cache for these files. jobs: processes, 0 for one per core. Unreadable files are skipped."""
    # Workers make a cache object each: pickling the digests would cost more.
    spread(partial(_precompute, store.folder), list(dict.fromkeys(paths)), jobs=jobs, progress=progress)


def _precompute(folder: Path, path: Path) -> None:
    with suppress(CorpusError):
        sound_table(path, str(path), FeatureCache(folder))


def _kind(path: Path) -> str:
    """Name of the features in the cache. Floats and more than two channels have one of their own: before, the former
    were read as silence, and of the latter only two."""
    from react_ros.media.errors import MediaError
    from react_ros.media.sound_reader import sound_format

    try:
        return f"sound-{VERSION}" + ("-converted" if sound_format(path).converted else "")
    except MediaError:
        return f"sound-{VERSION}"


def _compute(path: Path, clip: str) -> Floats:
    from react_ros.media.errors import MediaError
    from react_ros.media.sound_reader import read_sound

    try:
        samples, rate = read_sound(path)
        return _rows(listen(samples, rate))
    except (MediaError, ValueError) as error:
        raise CorpusError(f"{clip}: {error}") from None


@cache
def _detector() -> SpeechDetector:
    """One per process: loading the network takes 30 ms."""
    return SpeechDetector()


def _table(sounds: Sequence[Sound]) -> SoundTable:
    def column(name: str) -> Floats:
        return np.array([getattr(s, name) for s in sounds], np.float32)

    names = ("mfcc", "mfcc_delta", "log_energy", "f0", "voicing", "speech_probability")
    return SoundTable(*(column(name) for name in names), state=np.array([s.state for s in sounds], np.int8))


def _rows(t: SoundTable) -> Floats:
    """(T, 57): the columns of a table concatenated, the cached form."""
    single = (t.log_energy, t.f0, t.voicing, t.speech_probability, t.state)
    return np.concatenate([t.mfcc, t.mfcc_delta, np.stack(single, 1)], axis=1, dtype=np.float32)


def _split(rows: Floats) -> SoundTable:
    return SoundTable(rows[:, :26], rows[:, 26:52], *rows[:, 52:56].T, state=rows[:, 56].astype(np.int8))
