"""Which of the faces in view is the one being listened to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from react_ros.face import FaceState
from react_ros.perception.landmarks import DetectedFace


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """Times in s of stream time. Raises ValueError for values that make no sense."""

    confirm_s: float = 0.1
    """How long a face must be seen before it is taken for a person (detectors flash up for single images)."""
    lost_s: float = 1.5
    """How long a speaker out of sight stays the speaker."""
    switch_s: float = 4.0
    """How long somebody must be more salient before the listener turns to them."""
    switch_ratio: float = 2.0
    """How many times more salient than the speaker, all that time."""

    def __post_init__(self) -> None:
        for name in ("confirm_s", "lost_s", "switch_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}: expected a time in s that is not negative")
        if not (math.isfinite(self.switch_ratio) and self.switch_ratio >= 1):
            raise ValueError(f"switch_ratio is {self.switch_ratio}: expected at least 1")


@dataclass(frozen=True, slots=True)
class SpeakerView:
    """What is known of the speaker after an image."""

    state: FaceState
    """NOBODY, LOST or TRACKED."""
    face: DetectedFace | None
    """The speaker's face: this image's (TRACKED), the last one seen (LOST), or None (NOBODY)."""
    person: int
    """Grows by one with every new speaker; 0 before the first."""
    count: int
    """Faces in this image."""


@dataclass(slots=True, eq=False)
class _Track:
    """Somebody who is followed from image to image."""

    face: DetectedFace
    first_ns: int
    seen_ns: int
    here: bool = True
    """Whether they are in the newest image."""
    salient_since_ns: int | None = None


class SpeakerTracker:
    """Chooses the largest, most central, most facing person and keeps them.

    People are followed by the place and size of their faces alone: somebody who takes the speaker's place while
    the speaker is hidden is taken for the speaker, and a speaker who comes back after `lost_s` is a new person.
    """

    def __init__(self, config: SpeakerConfig | None = None) -> None:
        self.config = config or SpeakerConfig()
        self._person = 0
        self.reset()

    def reset(self) -> None:
        """Forget everybody; the numbers of persons begin again."""
        self._person = 0
        self._forget()

    def _forget(self) -> None:
        self._tracks: list[_Track] = []
        self._speaker: _Track | None = None
        self._now_ns: int | None = None

    def step(self, faces: Sequence[DetectedFace], stamp_ns: int) -> SpeakerView:
        """Follow everybody into the next image.

        faces: all in the image. stamp_ns: the image's time; one before the last image's is another stream:
        everybody is forgotten.
        """
        if self._now_ns is not None and stamp_ns < self._now_ns:
            self._forget()
        self._now_ns = stamp_ns
        self._follow(faces, stamp_ns)
        self._forget_absent(stamp_ns)
        self._choose(stamp_ns)
        speaker = self._speaker
        if speaker is None:
            return SpeakerView(FaceState.NOBODY, None, self._person, len(faces))
        state = FaceState.TRACKED if speaker.here else FaceState.LOST
        return SpeakerView(state, speaker.face, self._person, len(faces))

    def _follow(self, faces: Sequence[DetectedFace], stamp_ns: int) -> None:
        """Assign faces to tracks, nearest first; what is left over is somebody new."""
        pairs = sorted(
            (_distance(track.face, face), t, f)
            for t, track in enumerate(self._tracks)
            for f, face in enumerate(faces)
            if _distance(track.face, face) < _reach((stamp_ns - track.seen_ns) / 1e9)
        )
        free_tracks, free_faces = set(range(len(self._tracks))), set(range(len(faces)))
        for _, t, f in pairs:
            if t in free_tracks and f in free_faces:
                self._tracks[t].face, self._tracks[t].seen_ns = faces[f], stamp_ns
                free_tracks.remove(t)
                free_faces.remove(f)
        for t, track in enumerate(self._tracks):
            track.here = t not in free_tracks
        self._tracks += [_Track(faces[f], stamp_ns, stamp_ns) for f in sorted(free_faces)]

    def _forget_absent(self, stamp_ns: int) -> None:
        def stays(track: _Track) -> bool:
            known = track is self._speaker or self._confirmed(track)
            return stamp_ns - track.seen_ns <= (self.config.lost_s if known else self.config.confirm_s) * 1e9

        self._tracks = [track for track in self._tracks if stays(track)]
        if self._speaker not in self._tracks:
            self._speaker = None

    def _confirmed(self, track: _Track) -> bool:
        return track.seen_ns - track.first_ns >= self.config.confirm_s * 1e9

    def _choose(self, stamp_ns: int) -> None:
        here = [t for t in self._tracks if t.here and self._confirmed(t)]
        if not here:
            return
        best = max(here, key=lambda track: salience(track.face))
        if self._speaker is None:
            self._take(best)
            return
        bar = salience(self._speaker.face) * self.config.switch_ratio
        for track in self._tracks:
            if track is self._speaker or not track.here or salience(track.face) <= bar:
                track.salient_since_ns = None
            elif track.salient_since_ns is None:
                track.salient_since_ns = stamp_ns
        since = best.salient_since_ns
        # While the speaker is lost, `lost_s` alone decides.
        if since is not None and self._speaker.here and stamp_ns - since >= self.config.switch_s * 1e9:
            self._take(best)

    def _take(self, track: _Track) -> None:
        self._speaker = track
        self._person += 1
        for other in self._tracks:
            other.salient_since_ns = None


def salience(face: DetectedFace) -> float:
    """How much a face looks like that of somebody who wants to be listened to; > 0, about its size in the image.

    Size times how central (1 in the middle, 0.5 in a corner) times how much it faces the camera (1 to 0.5).
    """
    centre, size = _place(face)
    off_centre = math.hypot(centre[0] - 0.5, centre[1] / face.aspect - 0.5) / math.hypot(0.5, 0.5)
    facing = max(0.0, math.cos(float(face.rotation[0])) * math.cos(float(face.rotation[1])))
    return max(size, 1e-6) * (1.0 - 0.5 * min(off_centre, 1.0)) * (0.5 + 0.5 * facing)


def _place(face: DetectedFace) -> tuple[tuple[float, float], float]:
    """Centre and size (square root of the area) of a face, both in widths of the image."""
    left, top, right, bottom = (float(v) for v in face.box)
    size = math.sqrt(max(right - left, 0.0) * max(bottom - top, 0.0) * face.aspect)
    return ((left + right) / 2, (top + bottom) / 2 * face.aspect), size


def _distance(a: DetectedFace, b: DetectedFace) -> float:
    """How unlike two faces are in place (in face sizes) and size (natural logarithm of the ratio)."""
    (ca, sa), (cb, sb) = _place(a), _place(b)
    sa, sb = max(sa, 1e-6), max(sb, 1e-6)
    return math.dist(ca, cb) / ((sa + sb) / 2) + abs(float(np.log(sa / sb)))


def _reach(gap_s: float) -> float:
    """Largest `_distance` of the same person after a gap: a head moves on while it is not seen."""
    return 0.8 + 0.6 * min(gap_s, 1.0)
