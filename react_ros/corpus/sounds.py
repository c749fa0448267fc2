"""A clip's sound as the live robot would have heard it: the same clock, the same features, kept on disk.

Frame k hears what was said from k * 40 ms - 80 ms to k * 40 ms - 40 ms (`ClockConfig.sound_lag_ns`), so the first
two frames of a clip hear nothing: they are MISSING, as they are live.
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
"""Of the features: another number, and everything on disk is computed anew. A test holds the numbers of each."""

_COLUMNS = 57


@dataclass(frozen=True, slots=True)
class SoundTable:
    """The sound of T frames; each row what `Sound` holds in one."""

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
        """Row k as the live features of one frame."""
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
        """The rows of these numbers; a number beyond the end is a MISSING frame."""
        wide = np.concatenate([_rows(self), _rows(_table([Sound()]))])
        return _split(wide[np.minimum(rows, len(self))])

    def first(self, frames: int) -> SoundTable:
        """The first `frames` rows; MISSING beyond the end."""
        return self.take(np.arange(frames))


def listen(samples: npt.NDArray[np.int16], rate: int) -> SoundTable:
    """The features of a whole sound, up to the last frame that hears any of it.

    samples: (n,) or (n, channels) int16, n > 0. rate: 8000 to 192000 Hz. Raises ValueError where it is not so.
    This is the live path itself (clock, speech detector, acoustics), run through as fast as it goes.
    """
    frames = -(-len(samples) * FPS // rate) + 2
    clock = FrameClock()
    heard = clock.push_sound(0, samples, rate, 0, 0)
    for k in range(frames):
        heard += clock.push_image(k * FRAME_NS, None, k * FRAME_NS)
    heard += clock.advance((frames - 1) * FRAME_NS + ClockConfig().sound_wait_ns)
    speech, acoustics = _detector(), Acoustics()
    speech.reset()
    return _table([acoustics.step(f.sound, f.sound_valid, speech.step(f.sound)) for f in heard[:frames]])


def sound_table(path: Path, clip: str, store: FeatureCache) -> SoundTable:
    """The features of a sound file of any rate. Computed once for the same content.

    Raises CorpusError, which names the clip, where the file is missing or holds no sound.
    """
    try:
        return _split(store.array(f"sound-{VERSION}", path, _COLUMNS, partial(_compute, path, clip)))
    except FileNotFoundError:
        if path.exists():
            raise
        raise missing(clip, "audio", path) from None
    except OSError as error:
        raise CorpusError(f"{clip}: its audio {path} cannot be read: {error}") from None


def precompute(paths: Sequence[Path], store: FeatureCache, *, jobs: int = 0, progress: Progress | None = None) -> None:
    """Compute and keep the features of these files, over processes.

    A file that cannot be read is passed over: whoever asks for it is told.
    """
    # A cache of one's own: its digests in memory are not worth sending.
    spread(partial(_precompute, store.folder), list(dict.fromkeys(paths)), jobs=jobs, progress=progress)


def _precompute(folder: Path, path: Path) -> None:
    with suppress(CorpusError):
        sound_table(path, str(path), FeatureCache(folder))


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
    """One a process: the network takes 30 ms to load."""
    return SpeechDetector()


def _table(sounds: Sequence[Sound]) -> SoundTable:
    def column(name: str) -> Floats:
        return np.array([getattr(s, name) for s in sounds], np.float32)

    names = ("mfcc", "mfcc_delta", "log_energy", "f0", "voicing", "speech_probability")
    return SoundTable(*(column(name) for name in names), state=np.array([s.state for s in sounds], np.int8))


def _rows(t: SoundTable) -> Floats:
    """(T, 57): the columns of a table beside each other, as they are kept."""
    single = (t.log_energy, t.f0, t.voicing, t.speech_probability, t.state)
    return np.concatenate([t.mfcc, t.mfcc_delta, np.stack(single, 1)], axis=1, dtype=np.float32)


def _split(rows: Floats) -> SoundTable:
    return SoundTable(rows[:, :26], rows[:, 26:52], *rows[:, 52:56].T, state=rows[:, 56].astype(np.int8))
