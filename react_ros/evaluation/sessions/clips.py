"""RecordedSource sessions as a corpus: stretches cut into clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.bags.timeline import Flags
from react_ros.corpus.clips import CorpusError, Dyad, PersonClip, Split
from react_ros.corpus.reader import Corpus, CorpusConfig
from react_ros.corpus.settings import CorpusSettings
from react_ros.corpus.sounds import SoundTable
from react_ros.face import ARKIT_SCHEME, FPS, Floats, SpeakerFrame
from react_ros.replay.recorded_session import RecordedSession

LEAST_FRAMES = 250
"""What remains of a session is a clip of its own from 10 s on."""


LEAST_SEEN = 0.8
"""Share of a clip in which the human listener (or the recorded reaction) must be there."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A piece of a session: slots [begin, end) of its timeline."""

    session: int
    begin: int
    end: int


def cut(session: RecordedSession, frames: int) -> tuple[list[tuple[int, int]], int]:
    """([begin, end) slots of each clip, slots that are left over): what remains of a stretch is a clip from 10 s on."""
    least = min(LEAST_FRAMES, frames)
    clips, left = [], 0
    for begin, end in session.timeline.stretches:
        for at in range(begin, end, frames):
            stop = min(at + frames, end)
            if stop - at >= least:
                clips.append((at, stop))
            else:
                left += stop - at
    return clips, left


class Sessions(Corpus):
    """RecordedSource sessions as a corpus: one clip after the other, each with the human who really listened, if any."""

    def __init__(self, sessions: Sequence[RecordedSession], frames: int) -> None:
        """frames: of a clip. Raises BagError where none has a clip."""
        settings = CorpusSettings("react2024", ARKIT_SCHEME, float(FPS), False, False, "", {}, {}, {})
        super().__init__(Path("bags"), settings, CorpusConfig(frames=None))
        self.sessions = list(sessions)
        self.clips: list[Clip] = []
        self.left_over: list[int] = []
        """By session, frames that are in no clip."""
        self.seen: list[float | None] = []
        """By clip, the share in which the human listener is seen; None without one."""
        self._listeners: dict[int, tuple[Floats, Floats, Flags]] = {}
        self._of: dict[str, int] = {}
        self._all: list[Dyad] = []
        for number, session in enumerate(self.sessions):
            clips, left = cut(session, frames)
            self.left_over.append(left)
            if session.listener is not None:
                self._listeners[number] = session.listened()
            for begin, end in clips:
                self._add(number, begin, end)

    def _add(self, number: int, begin: int, end: int) -> None:
        session, k = self.sessions[number], len(self.clips)
        self.clips.append(Clip(number, begin, end))
        seen = float(self._listeners[number][2][begin:end].mean()) if number in self._listeners else None
        self.seen.append(seen)
        name = f"{session.path} {begin / FPS:g}-{end / FPS:g} s"
        heard = bool(session.speaker.heard.any())
        speaker = PersonClip(name, session.path, session.path, session.path if heard else None, None)
        theirs = session.path if seen is not None and seen >= LEAST_SEEN else None
        listener = PersonClip(f"{name}, listener", theirs, theirs, None, None)
        self._of |= {speaker.name: k, listener.name: k}
        self._all.append(Dyad(k, "test", speaker, listener, session=str(session.path)))

    def dyads(self, split: Split = "test") -> list[Dyad]:
        """All clips, in order."""
        return list(self._all)

    def appropriate(self, split: Split = "test", **_: Any) -> npt.NDArray[np.bool_]:
        """(N, N): nobody but the one who was there is known to be appropriate."""
        return np.eye(len(self._all), dtype=bool)

    def frames(self, person: PersonClip, frames: int | None = None) -> list[SpeakerFrame]:
        """The speaker's frames."""
        clip = self.clips[self._of[person.name]]
        return self.sessions[clip.session].frames(clip.begin, clip.end)[:frames]

    def sound(self, person: PersonClip, frames: int | None = None) -> SoundTable:
        raise CorpusError(f"{person.name}: a bag's sound is in its frames")

    def _raw_attributes(self, person: PersonClip) -> np.ndarray[Any, Any]:
        return self._raw(person, 0)

    def _raw_face_model(self, person: PersonClip) -> np.ndarray[Any, Any]:
        return self._raw(person, 1)

    def _raw(self, person: PersonClip, which: int) -> np.ndarray[Any, Any]:
        k = self._of[person.name]
        clip = self.clips[k]
        if person == self._all[k].speaker:
            session = self.sessions[clip.session]
            rows = session.timeline.rows[clip.begin : clip.end]
            return (session.speaker.attributes, session.speaker.face_model)[which][rows]
        if person.attributes is None:
            seen = self.seen[k]
            raise CorpusError(
                f"{self._all[k].name}: no human listener is in the bag" if seen is None else
                f"{self._all[k].name}: the human listener is seen in {100 * seen:.0f} % of it, less than "
                f"{100 * LEAST_SEEN:.0f} %"
            )  # fmt: skip
        return self._listeners[clip.session][which][clip.begin : clip.end]

    def listener_face(self, session: int) -> tuple[Floats, Flags]:
        """(T, 58) of the human listener of a session, and where it was seen."""
        _, model, seen = self._listeners[session]
        return model, seen
