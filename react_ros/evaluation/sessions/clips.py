"""Recorded sessions as a corpus: uninterrupted stretches, cut into clips."""

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
"""Frames that the rest of a stretch must have to become a clip (10 s)."""
LEAST_SEEN = 0.8
"""Share of a clip in which the human listener must be seen, or the recorded reaction exist."""


@dataclass(frozen=True, slots=True)
class SessionClip:
    """Slots [begin, end) of a session's timeline."""

    session: int
    begin: int
    end: int


def cut_clips(session: RecordedSession, frames: int) -> tuple[list[tuple[int, int]], int]:
    """([begin, end) slots of each clip, number of slots left over): clips of `frames`, and rests of at least 10 s."""
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


class SessionCorpus(Corpus):
    """Recorded sessions as a corpus: clips in order, each with the recorded human listener where there is one."""

    def __init__(self, sessions: Sequence[RecordedSession], frames: int) -> None:
        """frames: length of a clip."""
        settings = CorpusSettings("react2024", ARKIT_SCHEME, float(FPS), False, False, "", {}, {}, {})
        super().__init__(Path("bags"), settings, CorpusConfig(frames=None))
        self.sessions = list(sessions)
        self.clips: list[SessionClip] = []
        self.left_over: list[int] = []
        """Per session, frames that are in no clip."""
        self.seen: list[float | None] = []
        """Per clip, the share of frames in which the human listener is seen; None without one."""
        self._listeners: dict[int, tuple[Floats, Floats, Flags]] = {}
        self._index: dict[str, int] = {}
        self._all: list[Dyad] = []
        for number, session in enumerate(self.sessions):
            clips, left = cut_clips(session, frames)
            self.left_over.append(left)
            if session.listener is not None:
                self._listeners[number] = session.listened()
            for begin, end in clips:
                self._add(number, begin, end)

    def _add(self, number: int, begin: int, end: int) -> None:
        session, k = self.sessions[number], len(self.clips)
        self.clips.append(SessionClip(number, begin, end))
        seen = float(self._listeners[number][2][begin:end].mean()) if number in self._listeners else None
        self.seen.append(seen)
        name = f"{session.path} {begin / FPS:g}-{end / FPS:g} s"
        heard = bool(session.speaker.heard.any())
        speaker = PersonClip(name, session.path, session.path, session.path if heard else None, None)
        path = session.path if seen is not None and seen >= LEAST_SEEN else None
        listener = PersonClip(f"{name}, listener", path, path, None, None)
        self._index |= {speaker.name: k, listener.name: k}
        self._all.append(Dyad(k, "test", speaker, listener, session=str(session.path)))

    def dyads(self, split: Split = "test") -> list[Dyad]:
        """All clips, in order."""
        return list(self._all)

    def appropriate(self, split: Split = "test", **_: Any) -> npt.NDArray[np.bool_]:
        """(N, N) identity: only the recorded listener is known to be appropriate."""
        return np.eye(len(self._all), dtype=bool)

    def frames(self, person: PersonClip, frames: int | None = None) -> list[SpeakerFrame]:
        """The speaker's frames of a clip."""
        clip = self.clips[self._index[person.name]]
        return self.sessions[clip.session].frames(clip.begin, clip.end)[:frames]

    def sound(self, person: PersonClip, frames: int | None = None) -> SoundTable:
        raise CorpusError(f"{person.name}: the audio of a bag is in its frames")

    def _raw_attributes(self, person: PersonClip) -> np.ndarray[Any, Any]:
        return self._raw(person, 0)

    def _raw_face_model(self, person: PersonClip) -> np.ndarray[Any, Any]:
        return self._raw(person, 1)

    def _raw(self, person: PersonClip, which: int) -> np.ndarray[Any, Any]:
        k = self._index[person.name]
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
        """(T, 58) face model of a session's human listener, and (T,) whether it was seen."""
        _, model, seen = self._listeners[session]
        return model, seen
