"""Sources of the reactions to a session's clips: the bag, the human listener, or a generator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from react_ros.bags.timeline import Flags
from react_ros.corpus.clips import CorpusError, Dyad
from react_ros.evaluation.corpora.plan import ANOTHER_LISTENER, GROUND_TRUTH, PREDICTIONS, Plan, Row, parse_row
from react_ros.evaluation.corpora.sources import ClipReactions, GroundTruth, Source
from react_ros.evaluation.sessions.clips import LEAST_SEEN, SessionCorpus
from react_ros.face import FACE_MODEL, Floats
from react_ros.generators import registry
from react_ros.replay.recorded_session import RecordedSession

RECORDED = "recorded"
"""Name of the row of the reactions recorded in the bag."""


def parse_session_row(text: str) -> Row:
    """Parse a row: `recorded`, `ground_truth`, or NAME[,parameter=value…][:shuffled_speaker].

    Raises ValueError, in one sentence, for anything else.
    """
    if text == RECORDED:
        return Row(RECORDED)
    row = parse_row(text, more=(RECORDED,)) if text.partition(",")[0].partition(":")[0] != RECORDED else None
    if row is None:
        raise ValueError(f"row {text!r}: {RECORDED} has neither parameters nor a variant")
    if row.name in (ANOTHER_LISTENER, PREDICTIONS):
        raise ValueError(
            f"row {text!r} needs a corpus: with --bag each clip has one listener, and no file of reactions"
        )
    return row


class GeneratedSource(Source):
    """A generator with one stream per session, which hears it from its first frame on, like a live one.

    Clips must be requested in order. The first sample of all slots so far is kept, for films.
    """

    def __init__(self, row: Row, corpus: SessionCorpus, plan: Plan) -> None:
        self._row, self._corpus, self._plan = row, corpus, plan
        self._generator = registry.create(row.name, **dict(row.parameters))
        self._session = -1

    def react(self, dyad: Dyad) -> ClipReactions:
        clip = self._corpus.clips[dyad.index]
        if clip.session != self._session:
            self._begin(clip.session)
        self._advance(clip.begin)
        attributes, models = [], []
        for face_model, clip_attributes in self._advance(clip.end, keep=True):
            models.append(face_model)
            attributes.append(clip_attributes)
        return ClipReactions(np.stack(attributes, axis=1), np.stack(models, axis=1))

    def first_sample(self, session: int) -> tuple[Floats, Flags]:
        """Face model (T, 58) of the first sample at every slot of a session, and (T,) whether there is one.

        To be called after the session's clips have been requested.
        """
        if session != self._session:
            self._begin(session)
        slots = len(self._corpus.sessions[session].timeline)
        self._advance(slots)
        return self._first_sample, np.ones(slots, bool)

    def _begin(self, number: int) -> None:
        session = self._corpus.sessions[number]
        others = self._corpus.sessions
        heard = others[(number + 1) % len(others)] if self._row.shuffled else session
        self._session, self._at = number, 0
        self._first_sample = np.zeros((len(session.timeline), FACE_MODEL), np.float32)
        self._reactions = self._react_to(session, heard)

    def _advance(self, end: int, keep: bool = False) -> list[tuple[Floats, Floats]]:
        """Advance to a slot. keep: return the face model (P, 58) and attributes (P, 25) of each slot passed."""
        kept = []
        while self._at < end:
            face_model, attributes = next(self._reactions)
            self._first_sample[self._at] = face_model[0]
            self._at += 1
            if keep:
                kept.append((face_model, attributes))
        return kept

    def _react_to(self, session: RecordedSession, heard: RecordedSession) -> Iterator[tuple[Floats, Floats]]:
        """The newest reaction at every slot; at slots without a frame, the last reaction stays."""
        stream = self._generator.start(samples=self._plan.samples, seed=self._plan.seed)
        row, slots = 0, session.timeline.slots
        face_model = attributes = None
        for slot in range(len(session.timeline)):
            while row < len(slots) and slots[row] <= slot:
                frame = heard.speaker.frame(row % len(heard.speaker))
                if heard is not session:
                    own = session.speaker
                    frame = replace(frame, index=int(own.indices[row]), stamp_ns=int(own.stamps[row]))
                reaction = stream.step(frame)
                face_model, attributes = reaction.face_model, reaction.attributes
                row += 1
            assert face_model is not None and attributes is not None, "the first slot has the first frame"
            yield face_model, attributes


class RecordedSource(Source):
    """The reactions in the bag; their samples are repeated where there are fewer than `plan.samples`."""

    def __init__(self, corpus: SessionCorpus, plan: Plan) -> None:
        self._corpus, self._plan = corpus, plan
        self._answers: dict[int, tuple[npt.NDArray[np.int64], Flags]] = {}

    def react(self, dyad: Dyad) -> ClipReactions:
        clip = self._corpus.clips[dyad.index]
        reactions = self._corpus.sessions[clip.session].reactions
        if reactions is None:
            raise CorpusError(f"{dyad.name}: no reaction is in the bag")
        at, present = (x[clip.begin : clip.end] for x in self._slots(clip.session))
        if present.mean() < LEAST_SEEN:
            raise CorpusError(
                f"{dyad.name}: reactions are in the bag for {100 * present.mean():.0f} % of it, less than "
                f"{100 * LEAST_SEEN:.0f} %"
            )
        samples = np.arange(self._plan.samples) % reactions.faces.shape[1]
        faces = reactions.faces[at].transpose(1, 0, 2)[samples]
        distinct = min(reactions.faces.shape[1], self._plan.samples)
        return ClipReactions(faces[..., FACE_MODEL:], faces[..., :FACE_MODEL], distinct=distinct)

    def first_sample(self, session: int) -> tuple[Floats, Flags]:
        """Face model (T, 58) of the first sample at every slot of a session, and (T,) whether there is one."""
        reactions = self._corpus.sessions[session].reactions
        if reactions is None:
            raise CorpusError("no reaction is in the bag")
        at, present = self._slots(session)
        return reactions.faces[at, 0, :FACE_MODEL], present

    def _slots(self, session: int) -> tuple[npt.NDArray[np.int64], Flags]:
        if session not in self._answers:
            self._answers[session] = self._corpus.sessions[session].answers()
        return self._answers[session]


class HumanListenerSource(GroundTruth):
    """The recorded human listener, as every sample."""

    def __init__(self, corpus: SessionCorpus, plan: Plan) -> None:
        super().__init__(corpus, plan)
        self._sessions = corpus

    def react(self, dyad: Dyad) -> ClipReactions:
        return replace(super().react(dyad), distinct=1)

    def first_sample(self, session: int) -> tuple[Floats, Flags]:
        """Face model (T, 58) of the human at every slot of a session, and (T,) whether it was seen."""
        if self._sessions.sessions[session].listener is None:
            raise CorpusError("no human listener is in the bag")
        return self._sessions.listener_face(session)


SessionSource = GeneratedSource | RecordedSource | HumanListenerSource


def open_session_source(row: Row, corpus: SessionCorpus, plan: Plan) -> SessionSource:
    """Open the source of a row. Raises ValueError, in one sentence, where no bag has what the row needs."""
    if row.name == RECORDED:
        if not any(s.reactions for s in corpus.sessions):
            raise ValueError(f"there is no row {RECORDED}: no bag holds reactions")
        return RecordedSource(corpus, plan)
    if row.name == GROUND_TRUTH:
        if not any(s.listener for s in corpus.sessions):
            raise ValueError(
                f"there is no row {GROUND_TRUTH}: no bag holds a human listener (name one with --listener-image or "
                "--listener-features)"
            )
        return HumanListenerSource(corpus, plan)
    if row.shuffled and len(corpus.sessions) < 2:
        raise ValueError(f"{row.label} hears another bag's speaker: name a second bag")
    return GeneratedSource(row, corpus, plan)
