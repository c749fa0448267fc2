"""One person's speaker frames of a whole session, packed into arrays."""

from __future__ import annotations

from array import array

import numpy as np

from react_ros.bags.timeline import Flags, Numbers
from react_ros.face import (
    ATTRIBUTES,
    FACE_MODEL,
    ROTATION_58,
    TRANSLATION_58,
    Face,
    FaceState,
    Floats,
    Sound,
    SoundState,
    SpeakerFrame,
)

_COLUMNS = {"model": FACE_MODEL, "attributes": ATTRIBUTES, "mfcc": 26, "mfcc_delta": 26, "scalars": 4}
"""Float columns of a frame, in order. Scalars: log energy, F0, voicing, speech probability."""
_WIDTH = sum(_COLUMNS.values())


class PersonFrames:
    """One person's frames in the order received: 0.6 kB a frame, 55 MB an hour.

    `frame(k)` returns frame k as it was added, without its landmarks.
    """

    def __init__(self) -> None:
        self._packed = array("f")
        self._numbers = array("q")
        self._embeddings: dict[int, Floats] = {}
        self._views: tuple[Floats, Numbers] | None = None

    def add(self, frame: SpeakerFrame, time_ns: int) -> None:
        """Append a frame. time_ns: when the recorder received it, ns since the epoch."""
        f, s = frame.face, frame.sound
        if s.embedding is not None:
            self._embeddings[len(self)] = s.embedding
        scalars = np.array([s.log_energy, s.f0, s.voicing, s.speech_probability], np.float32)
        row = np.concatenate([frame.face_model, f.attributes, s.mfcc, s.mfcc_delta, scalars], dtype=np.float32)
        self._views = None  # an array cannot grow while a view of it exists
        self._packed.frombytes(row.tobytes())
        self._numbers.extend((frame.index, frame.stamp_ns, time_ns, int(f.state), int(s.state), f.count))

    def __len__(self) -> int:
        return len(self._numbers) // 6

    @property
    def stamps(self) -> Numbers:
        """(n,) ns since the epoch."""
        return self._columns()[1][:, 1]

    @property
    def arrivals(self) -> Numbers:
        """(n,) ns since the epoch: when the recorder received them."""
        return self._columns()[1][:, 2]

    @property
    def indices(self) -> Numbers:
        """(n,) the frames' own indices."""
        return self._columns()[1][:, 0]

    @property
    def seen(self) -> Flags:
        """(n,) whether a face is tracked, or was until a moment ago."""
        return self._columns()[1][:, 3] >= FaceState.LOST

    @property
    def heard(self) -> Flags:
        """(n,) whether audio is present."""
        return self._columns()[1][:, 4] > SoundState.MISSING

    @property
    def face_model(self) -> Floats:
        """(n, 58)."""
        return self._part("model")

    @property
    def attributes(self) -> Floats:
        """(n, 25)."""
        return self._part("attributes")

    def frame(self, k: int) -> SpeakerFrame:
        """Frame k, with copies of its arrays."""
        numbers = self._columns()[1]
        index, stamp, _, face, sound, count = (int(x) for x in numbers[k])
        model, attributes, mfcc, delta, scalars = (self._part(name)[k].copy() for name in _COLUMNS)
        energy, f0, voicing, speech = (float(x) for x in scalars)
        return SpeakerFrame(
            index, stamp,
            Face(FaceState(face), model[:52], model[ROTATION_58], model[TRANSLATION_58], attributes, count=count),
            Sound(SoundState(sound), mfcc, delta, energy, f0, voicing, speech, self._embeddings.get(k)),
        )  # fmt: skip

    def _columns(self) -> tuple[Floats, Numbers]:
        if self._views is None:
            packed = np.frombuffer(self._packed, np.float32).reshape(-1, _WIDTH)
            self._views = packed, np.frombuffer(self._numbers, np.int64).reshape(-1, 6)
        return self._views

    def _part(self, name: str) -> Floats:
        start = 0
        for part, width in _COLUMNS.items():
            if part == name:
                return self._columns()[0][:, start : start + width]
            start += width
        raise KeyError(name)
