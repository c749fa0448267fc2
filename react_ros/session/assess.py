"""`react-ros evaluate --bag`: recorded sessions to the numbers that corpora get, by the very same functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from react_ros.avatar.film import FilmError
from react_ros.corpus.clips import CorpusError, Dyad, PersonClip, Split
from react_ros.corpus.reader import Corpus, CorpusConfig
from react_ros.corpus.settings import CorpusSettings
from react_ros.corpus.sounds import SoundTable
from react_ros.evaluation.plan import ANOTHER_LISTENER, GROUND_TRUTH, PREDICTIONS, Plan, Row, parse_row
from react_ros.evaluation.run import Prepared
from react_ros.evaluation.scoring import Block, Scorer
from react_ros.evaluation.sources import ClipReactions, GroundTruth, Source
from react_ros.evaluation.summary import RowSummary, Summary, summarise, write_figures
from react_ros.face import ARKIT_SCHEME, FACE_MODEL, FPS, Floats, SpeakerFrame
from react_ros.generators import registry
from react_ros.session.bag import Bag, BagError
from react_ros.session.film import Pictures, Puppet, read_sound, write_film
from react_ros.session.health import Health, examine
from react_ros.session.replay import one_thread
from react_ros.session.tracks import Choice, Flags, Session, read_session

VERSION = 1
RECORDED = "recorded"
"""The row of the reactions that are in the bag."""
LEAST_FRAMES = 250
"""What remains of a session is a clip of its own from 10 s on."""
LEAST_SEEN = 0.8
"""Share of a clip in which the human listener (or the recorded reaction) must be there."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


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


# The bags as a corpus ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clip:
    """A piece of a session: slots [begin, end) of its timeline."""

    session: int
    begin: int
    end: int


def cut(session: Session, frames: int) -> tuple[list[tuple[int, int]], int]:
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
    """Recorded sessions as a corpus: one clip after the other, each with the human who really listened, if any."""

    def __init__(self, sessions: Sequence[Session], frames: int) -> None:
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


# Where the reactions come from ------------------------------------------------------------------------------------


class Live(Source):
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

    def _answer(self, session: Session, heard: Session) -> Iterator[tuple[Floats, Floats]]:
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


class Recorded(Source):
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


class Listened(GroundTruth):
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


def _open(row: Row, corpus: Sessions, plan: Plan) -> Live | Recorded | Listened:
    """A row's source. Raises ValueError, in one sentence, where no bag has what it needs."""
    if row.name == RECORDED:
        if not any(s.reactions for s in corpus.sessions):
            raise ValueError(f"there is no row {RECORDED}: no bag holds reactions")
        return Recorded(corpus, plan)
    if row.name == GROUND_TRUTH:
        if not any(s.listener for s in corpus.sessions):
            raise ValueError(
                f"there is no row {GROUND_TRUTH}: no bag holds a human listener (name one with --listener-image or "
                "--listener-features)"
            )
        return Listened(corpus, plan)
    if row.shuffled and len(corpus.sessions) < 2:
        raise ValueError(f"{row.label} hears another bag's speaker: name a second bag")
    return Live(row, corpus, plan)


# The whole --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for."""

    samples: int = 10
    seed: int = 0
    frames: int = 750
    """Of a clip."""
    binarize: bool = False

    def __post_init__(self) -> None:
        if not 50 <= self.frames <= 100_000:
            raise ValueError(f"frames is {self.frames}: a bag is cut into clips of 50 to 100000")
        self.plan()

    def plan(self) -> Plan:
        """As evaluation takes it. Raises ValueError, in one sentence, for an impossible value."""
        return Plan(Path("bags"), samples=self.samples, seed=self.seed, frames=self.frames, binarize=self.binarize)


@dataclass(slots=True)
class BagResult:
    """One bag's share."""

    session: Session
    health: Health
    clips: list[tuple[float, float]]
    """(begin, end) s on the speaker's timeline."""
    left_over: float
    """s at the end of stretches that are too short for a clip."""
    listener_seen: float | None
    """Share of the clips in which the human listener is seen; None without one."""
    summary: Summary
    films: dict[str, str] = field(default_factory=dict)
    """By row, the file beside the page."""


@dataclass(slots=True)
class Assessment:
    """Several bags, several generators."""

    asked: Asked
    summary: Summary
    """All bags together."""
    bags: list[BagResult]
    left_out: list[str]
    """A sentence for each bag that could not be evaluated."""
    notices: list[str]
    """What a reader must know of the generators."""

    @property
    def rows(self) -> list[RowSummary]:
        """The rows over all bags."""
        return self.summary.rows

    @property
    def with_listener(self) -> bool:
        """Whether any clip has a human listener to be held against."""
        return any(r.official["FRCorr"] is not None for r in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for JSON."""
        return {
            "version": VERSION,
            "asked": {
                "samples": self.asked.samples, "seed": self.asked.seed, "frames": self.asked.frames,
                "binarize": self.asked.binarize,
            },
            "left_out": self.left_out,
            "notices": self.notices,
            **_figures(self.summary),
            "bags": [_of_bag(b) for b in self.bags],
        }  # fmt: skip


def _figures(summary: Summary) -> dict[str, Any]:
    told = summary.to_dict()
    return {name: told[name] for name in ("clips", "rows", "listens")}


def _of_bag(b: BagResult) -> dict[str, Any]:
    s = b.session
    theirs = s.listener_inputs
    return {
        "bag": str(s.path), "seconds": s.seconds, "notices": s.notices,
        "speaker": {
            "topics": [t for t in (s.inputs.features, s.inputs.image, s.inputs.audio) if t],
            "frames": len(s.speaker), "seen": float(s.speaker.seen.mean()), "heard": float(s.speaker.heard.mean()),
        },
        "listener": None if theirs is None else {
            "topics": [t for t in (theirs.features, theirs.image, theirs.audio) if t], "seen": b.listener_seen,
        },
        "recorded": None if s.reactions is None else {
            "topic": s.reactions.topic, "reactions": len(s.reactions.frames), "samples": s.reactions.faces.shape[1],
            "streams": [{"generator": x.generator, "seed": x.seed, "delay": x.delay, "first_frame": x.first_frame,
                         "weights": x.weights} for x in s.reactions.streams],
        },
        "cut": b.clips, "left_over_s": b.left_over, "films": b.films, "health": b.health.to_dict(),
        **_figures(b.summary),
    }  # fmt: skip


def assess(
    paths: Sequence[Path],
    rows: Sequence[Row],
    choice: Choice | None = None,
    asked: Asked | None = None,
    *,
    films: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Assessment:
    """Evaluate bags. rows: none for the recorded reactions where there are some, else the default generator.

    films: a folder, for a film a bag and row. A bag that cannot be read is left out and named; raises BagError where
    none is left, ValueError for rows that cannot be, both in one sentence.
    """
    choice, asked = choice or Choice(), asked or Asked()
    sessions, left_out = _read_all(paths, choice, asked, progress)
    corpus, plan = Sessions(sessions, asked.frames), asked.plan()
    rows = list(dict.fromkeys(rows)) or [Row(RECORDED) if any(s.reactions for s in sessions) else Row(registry.DEFAULT)]
    prepared = _prepare(corpus, plan)
    scorer = Scorer(corpus, plan, prepared.dyads, prepared.appropriate, prepared.shortest)
    sources = {row: _open(row, corpus, plan) for row in rows}
    results: dict[Row, list[Block]] = {}
    shown: dict[int, dict[str, str]] = {number: {} for number in range(len(sessions))}
    one_thread()
    with threadpool_limits(1):  # so that the same command gives the same figures, whatever else the machine does
        for row, source in sources.items():
            blocks = results[row] = []
            for number in range(len(sessions)):
                for dyad in (d for d in prepared.dyads if corpus.clips[d.index].session == number):
                    progress(f"{row.label}: clips scored", len(blocks), len(prepared.dyads))
                    blocks.append(scorer.score(source, [dyad], keep=False, strict=False)[0])
                progress(f"{row.label}: clips scored", len(blocks), len(prepared.dyads))
                if films is not None:
                    _film(films, number, row, source, corpus, shown[number], progress)
    bags = [_result(number, prepared, corpus, results, shown[number], progress) for number in range(len(sessions))]
    return Assessment(asked, summarise(prepared, results), bags, left_out, _notices(rows, sessions))


def _read_all(
    paths: Sequence[Path], choice: Choice, asked: Asked, progress: Progress
) -> tuple[list[Session], list[str]]:
    sessions, left_out = [], []
    for path in dict.fromkeys(paths):
        try:
            session = read_session(
                path, choice, samples=asked.samples,
                progress=lambda done, total, path=path: progress(f"{path} is read", done, total),
            )  # fmt: skip
            if not cut(session, asked.frames)[0]:
                seconds = len(session.timeline) / FPS
                least = min(LEAST_FRAMES, asked.frames) / FPS
                raise BagError(f"bag {path} holds {seconds:.1f} s of a speaker: {least:g} s in a row are needed")
            sessions.append(session)
        except BagError as error:
            left_out.append(str(error))
    if not sessions:
        raise BagError("; ".join(left_out) or "no bag is named")
    return sessions, left_out


def _prepare(corpus: Sessions, plan: Plan) -> Prepared:
    lengths = {clip.end - clip.begin for clip in corpus.clips}
    return Prepared(
        plan, corpus, corpus.dyads(), corpus.appropriate(), [], "", min(lengths) if len(lengths) > 1 else None,
        # Clips of a bag show the same people: they say the same thing.
        np.array([clip.session for clip in corpus.clips], np.intp),
    )  # fmt: skip


def _result(
    number: int, prepared: Prepared, corpus: Sessions, results: Mapping[Row, Sequence[Block]], films: dict[str, str],
    progress: Progress,
) -> BagResult:  # fmt: skip
    session = corpus.sessions[number]
    mine = [k for k, clip in enumerate(corpus.clips) if clip.session == number]
    own = replace(prepared, dyads=[prepared.dyads[k] for k in mine])
    seen = [s for k in mine if (s := corpus.seen[k]) is not None]
    return BagResult(
        session,
        examine(session, lambda done, total: progress(f"{session.path} is examined", done, total)),
        [(corpus.clips[k].begin / FPS, corpus.clips[k].end / FPS) for k in mine],
        corpus.left_over[number] / FPS,
        float(np.mean(seen)) if seen else None,
        summarise(own, {row: [blocks[k] for k in mine] for row, blocks in results.items()}),
        films,
    )


def _notices(rows: Sequence[Row], sessions: Sequence[Session]) -> list[str]:
    """What the generators say of themselves."""
    said = []
    for row in rows:
        if row.name == RECORDED:
            said += [(RECORDED, notice) for s in sessions if s.reactions for notice in s.reactions.notices]
        elif row.name != GROUND_TRUTH:
            said.append((row.label, registry.create(row.name, **dict(row.parameters)).info.notice))
    return list(dict.fromkeys(f"{label}: {notice}" for label, notice in said if notice))


def _film(
    folder: Path, number: int, row: Row, source: Live | Recorded | Listened, corpus: Sessions, told: dict[str, str],
    progress: Progress,
) -> None:  # fmt: skip
    """Write a bag's film of a row; where there can be none, `told` says why."""
    session = corpus.sessions[number]
    path = folder / f"{number + 1:02}-{row.key}.mp4"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        faces, there = source.shown(number)
        with Bag(session.path) as bag:
            write_film(
                path, session.timeline.times, Pictures(bag, session.camera).at,
                Puppet(faces, there).at, read_sound(bag, session.microphone, session.timeline),
                lambda done, total: progress(f"{path.name} is made", done, total), ("human", row.label),
            )  # fmt: skip
        told[row.label] = f"{folder.name}/{path.name}"
    except (CorpusError, FilmError) as error:
        told[row.label] = f"none: {error}"


def write_results(assessment: Assessment, path: Path) -> None:
    """The figures as JSON; what is not a number becomes null. The same bags and options give the same bytes."""
    write_figures(assessment.to_dict(), path)
