"""Selects, among the faces in view, the speaker to listen to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from react_ros.face import FaceState
from react_ros.perception.landmarks import DetectedFace


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """Times in s of stream time. Raises ValueError for a value out of range."""

    confirm_s: float = 0.1
    """How long a face must be visible before it counts as a person (false detections last single images)."""
    lost_s: float = 1.5
    """How long a speaker who is out of sight stays selected."""
    switch_s: float = 4.0
    """How long another person must be more salient before they are selected."""
    switch_ratio: float = 2.0
    """By which factor they must be more salient than the speaker during that time."""

    def __post_init__(self) -> None:
        for name in ("confirm_s", "lost_s", "switch_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}: expected a time in s that is not negative")
        if not (math.isfinite(self.switch_ratio) and self.switch_ratio >= 1):
            raise ValueError(f"switch_ratio is {self.switch_ratio}: expected at least 1")


@dataclass(frozen=True, slots=True)
class SpeakerView:
    """The speaker after an image."""

    state: FaceState
    """NOBODY, LOST or TRACKED."""
    face: DetectedFace | None
    """The speaker's face: this image's (TRACKED), the last one seen (LOST), or None (NOBODY)."""
    person: int
    """Number of the speaker: increases by one with every new speaker; 0 before the first."""
    count: int
    """Faces in this image."""


@dataclass(slots=True, eq=False)
class _Person:
    """A person tracked from image to image."""

    face: DetectedFace
    first_ns: int
    last_ns: int
    visible: bool = True
    """Whether they are in the newest image."""
    salient_since_ns: int | None = None


class SpeakerTracker:
    """Selects the most salient person (large, central, facing the camera) and keeps them selected.

    People are tracked by position and size of their faces only: a person who takes the speaker's place while the
    speaker is hidden is taken for the speaker, and a speaker who returns after `lost_s` is a new person. Moving lips
    and the voice do not count: lips also move in smiles, chewing and talk to others, one microphone does not tell whose
    voice it is, and every change of person costs what was learned of the former one's rest.
    """

    def __init__(self, config: SpeakerConfig | None = None) -> None:
        self.config = config or SpeakerConfig()
        self._person_number = 0
        self.reset()

    def reset(self) -> None:
        """Clear all people; numbering starts again."""
        self._person_number = 0
        self._clear()

    def _clear(self) -> None:
        self._people: list[_Person] = []
        self._speaker: _Person | None = None
        self._now_ns: int | None = None

    def step(self, faces: Sequence[DetectedFace], stamp_ns: int) -> SpeakerView:
        """Process the next image.

        faces: all faces in it. stamp_ns: its time; a time before that of the last image means another stream: all
        people are cleared.
        """
        if self._now_ns is not None and stamp_ns < self._now_ns:
            self._clear()
        self._now_ns = stamp_ns
        self._match(faces, stamp_ns)
        self._drop_absent(stamp_ns)
        self._select(stamp_ns)
        speaker = self._speaker
        if speaker is None:
            return SpeakerView(FaceState.NOBODY, None, self._person_number, len(faces))
        state = FaceState.TRACKED if speaker.visible else FaceState.LOST
        return SpeakerView(state, speaker.face, self._person_number, len(faces))

    def _match(self, faces: Sequence[DetectedFace], stamp_ns: int) -> None:
        """Assign faces to people, nearest first; faces left over are new people."""
        pairs = sorted(
            (_distance(person.face, face), t, f)
            for t, person in enumerate(self._people)
            for f, face in enumerate(faces)
            if _distance(person.face, face) < _reach((stamp_ns - person.last_ns) / 1e9)
        )
        free_people, free_faces = set(range(len(self._people))), set(range(len(faces)))
        for _, t, f in pairs:
            if t in free_people and f in free_faces:
                self._people[t].face, self._people[t].last_ns = faces[f], stamp_ns
                free_people.remove(t)
                free_faces.remove(f)
        for t, person in enumerate(self._people):
            person.visible = t not in free_people
        self._people += [_Person(faces[f], stamp_ns, stamp_ns) for f in sorted(free_faces)]

    def _drop_absent(self, stamp_ns: int) -> None:
        def stays(person: _Person) -> bool:
            known = person is self._speaker or self._confirmed(person)
            return stamp_ns - person.last_ns <= (self.config.lost_s if known else self.config.confirm_s) * 1e9

        self._people = [person for person in self._people if stays(person)]
        if self._speaker not in self._people:
            self._speaker = None

    def _confirmed(self, person: _Person) -> bool:
        return person.last_ns - person.first_ns >= self.config.confirm_s * 1e9

    def _select(self, stamp_ns: int) -> None:
        here = [t for t in self._people if t.visible and self._confirmed(t)]
        if not here:
            return
        best = max(here, key=lambda person: salience(person.face))
        if self._speaker is None:
            # Of faces that appear almost together, the first to be confirmed need not be the most salient one. A face
            # that is not confirmed may be a false detection, so it is waited for once and not again.
            first = max((t for t in self._people if t.visible), key=lambda person: salience(person.face))
            if first is best or stamp_ns - best.first_ns >= 2 * self.config.confirm_s * 1e9:
                self._set_speaker(best)
            return
        bar = salience(self._speaker.face) * self.config.switch_ratio
        for person in self._people:
            if person is self._speaker or not person.visible or salience(person.face) <= bar:
                person.salient_since_ns = None
            elif person.salient_since_ns is None:
                person.salient_since_ns = stamp_ns
        since = best.salient_since_ns
        # While the speaker is out of sight, only `lost_s` decides.
        if since is not None and self._speaker.visible and stamp_ns - since >= self.config.switch_s * 1e9:
            self._set_speaker(best)

    def _set_speaker(self, person: _Person) -> None:
        self._speaker = person
        self._person_number += 1
        for other in self._people:
            other.salient_since_ns = None


def salience(face: DetectedFace) -> float:
    """How likely a face is the speaker's: > 0, about its size in widths of the image.

    Size, times centrality (1 in the middle of the image, 0.5 in a corner), times facing the camera (1 to 0.5).
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
    """Dissimilarity of two faces: distance in face sizes plus the natural logarithm of the ratio of their sizes."""
    (ca, sa), (cb, sb) = _place(a), _place(b)
    sa, sb = max(sa, 1e-6), max(sb, 1e-6)
    return math.dist(ca, cb) / ((sa + sb) / 2) + abs(float(np.log(sa / sb)))


def _reach(gap_s: float) -> float:
    """Largest `_distance` between faces of one person after a gap, in which the head may have moved."""
    return 0.8 + 0.6 * min(gap_s, 1.0)
