"""Where the reactions to a session's clips come from: the bag, the human listener, or a generator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from react_ros.bags.timeline import Flags
from react_ros.corpus.clips import CorpusError, Dyad
from react_ros.evaluation.corpora.plan import ANOTHER_LISTENER, GROUND_TRUTH, PREDICTIONS, Plan, Row, parse_row
from react_ros.evaluation.corpora.sources import ClipReactions, GroundTruth, Source
from react_ros.evaluation.sessions.clips import LEAST_SEEN, Sessions
from react_ros.face import FACE_MODEL, Floats
from react_ros.generators import registry
from react_ros.replay.recorded_session import RecordedSession

RECORDED = "recorded"
"""The row of the reactions that are in the bag."""


def parse_bag_row(text: str) -> Row:
    """A row from the command line: `recorded`, `ground_truth`, or NAME[,parameter=value…][:shuffled_speaker].

    Raises ValueError, in one sentence, for anything else.
    """
    if text == RECORDED:
        return Row(RECORDED)
    row = parse_row(text) if text.partition(",")[0].partition(":")[0] != RECORDED else None
    if row is None:
        raise ValueError(f"row {text!r}: {RECORDED} has neither parameters nor a variant")
    if row.name in (ANOTHER_LISTENER, PREDICTIONS):
        raise ValueError(
            f"row {text!r} needs a corpus: with --bag, each clip has one listener and no file of reactions"
        )
    return row


class GeneratedSource(Source):
    """A generator that hears each session from its first frame on, in one stream, as it would live.

    Clips must be asked for in order; the first sample of all that was passed stays, for films.
    """

    def __init__(self, row: Row, corpus: Sessions, plan: Plan) -> None:
        self._row, self._corpus, self._plan = row, corpus, plan
        self._generator = registry.create(row.name, **dict(row.parameters))
        self._session = -1

    def react(self, dyad: Dyad) -> ClipReactions:
        clip = self._corpus.clips[dyad.index]
        if clip.session != self._session:
            self._begin(clip.session)
        self._go(clip.begin)
        attributes, models = [], []
        for face, told in self._go(clip.end, keep=True):
            models.append(face)
            attributes.append(told)
        return ClipReactions(np.stack(attributes, axis=1), np.stack(models, axis=1))

    def shown(self, session: int) -> tuple[Floats, Flags]:
        """(T, 58) the first sample at every slot of a session, whose clips have been asked for, and whether it is
        there."""
        if session != self._session:
            self._begin(session)
        faces = self._corpus.sessions[session].timeline
        self._go(len(faces))
        return self._shown, np.ones(len(faces), bool)

    def _begin(self, number: int) -> None:
        session = self._corpus.sessions[number]
        others = self._corpus.sessions
        heard = others[(number + 1) % len(others)] if self._row.shuffled else session
        self._session, self._at = number, 0
        self._shown = np.zeros((len(session.timeline), FACE_MODEL), np.float32)
        self._reactions = self._answer(session, heard)

    def _go(self, end: int, keep: bool = False) -> list[tuple[Floats, Floats]]:
        """On to that slot: where kept, the face model (P, 58) and attributes (P, 25) of each slot until then."""
        kept = []
        while self._at < end:
            face, told = next(self._reactions)
            self._shown[self._at] = face[0]
            self._at += 1
            if keep:
                kept.append((face, told))
        return kept

    def _answer(self, session: RecordedSession, heard: RecordedSession) -> Iterator[tuple[Floats, Floats]]:
        """At every slot the newest reaction: a frame that never came is answered by none, and the last one stands."""
        stream = self._generator.start(samples=self._plan.samples, seed=self._plan.seed)
        row, slots = 0, session.timeline.slots
        face = told = None
        for slot in range(len(session.timeline)):
            while row < len(slots) and slots[row] <= slot:
                frame = heard.speaker.frame(row % len(heard.speaker))
                if heard is not session:
                    own = session.speaker
                    frame = replace(frame, index=int(own.indices[row]), stamp_ns=int(own.stamps[row]))
                reaction = stream.step(frame)
                face, told = reaction.face_model, reaction.attributes
                row += 1
            assert face is not None and told is not None, "the first slot is the first frame's"
            yield face, told


class RecordedSource(Source):
    """The reactions in the bag; fewer samples than asked for are taken again and again."""

    def __init__(self, corpus: Sessions, plan: Plan) -> None:
        self._corpus, self._plan = corpus, plan
        self._answers: dict[int, tuple[npt.NDArray[np.int64], Flags]] = {}

    def react(self, dyad: Dyad) -> ClipReactions:
        clip = self._corpus.clips[dyad.index]
        reactions = self._corpus.sessions[clip.session].reactions
        if reactions is None:
            raise CorpusError(f"{dyad.name}: no reaction is in the bag")
        at, there = (x[clip.begin : clip.end] for x in self._of(clip.session))
        if there.mean() < LEAST_SEEN:
            raise CorpusError(
                f"{dyad.name}: reactions are in the bag for {100 * there.mean():.0f} % of it, less than "
                f"{100 * LEAST_SEEN:.0f} %"
            )
        samples = np.arange(self._plan.samples) % reactions.faces.shape[1]
        faces = reactions.faces[at].transpose(1, 0, 2)[samples]
        distinct = min(reactions.faces.shape[1], self._plan.samples)
        return ClipReactions(faces[..., FACE_MODEL:], faces[..., :FACE_MODEL], distinct=distinct)

    def shown(self, session: int) -> tuple[Floats, Flags]:
        """(T, 58) the first sample at every slot of a session, and whether it is there."""
        reactions = self._corpus.sessions[session].reactions
        if reactions is None:
            raise CorpusError("no reaction is in the bag")
        at, there = self._of(session)
        return reactions.faces[at, 0, :FACE_MODEL], there

    def _of(self, session: int) -> tuple[npt.NDArray[np.int64], Flags]:
        if session not in self._answers:
            self._answers[session] = self._corpus.sessions[session].answers()
        return self._answers[session]


class HumanListenerSource(GroundTruth):
    """The human who really listened, as every sample."""

    def __init__(self, corpus: Sessions, plan: Plan) -> None:
        super().__init__(corpus, plan)
        self._sessions = corpus

    def react(self, dyad: Dyad) -> ClipReactions:
        return replace(super().react(dyad), distinct=1)

    def shown(self, session: int) -> tuple[Floats, Flags]:
        """(T, 58) the human's face at every slot of a session, and whether it was seen."""
        if self._sessions.sessions[session].listener is None:
            raise CorpusError("no human listener is in the bag")
        return self._sessions.listener_face(session)


def open_session_source(
    row: Row, corpus: Sessions, plan: Plan
) -> GeneratedSource | RecordedSource | HumanListenerSource:
    """A row's source. Raises ValueError, in one sentence, where no bag has what it needs."""
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
