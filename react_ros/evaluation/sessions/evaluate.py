"""`react-ros evaluate --bag`: recorded sessions to the numbers that corpora get, by the very same functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from react_ros.bags.errors import BagError
from react_ros.bags.participants import TopicChoice
from react_ros.bags.reader import Bag
from react_ros.corpus.clips import CorpusError
from react_ros.evaluation.corpora.plan import GROUND_TRUTH, Plan, Row
from react_ros.evaluation.corpora.run import Prepared
from react_ros.evaluation.corpora.scoring import Block, Scorer
from react_ros.evaluation.corpora.summary import summarise
from react_ros.evaluation.sessions.clips import LEAST_FRAMES, Sessions, cut
from react_ros.evaluation.sessions.health import examine
from react_ros.evaluation.sessions.results import BagResult, SessionsEvaluation, SessionsPlan
from react_ros.evaluation.sessions.sources import (
    RECORDED,
    GeneratedSource,
    HumanListenerSource,
    RecordedSource,
    open_session_source,
)
from react_ros.face import FPS
from react_ros.generators import registry
from react_ros.media.film_writer import FilmError
from react_ros.replay.recorded_session import RecordedSession, read_session
from react_ros.replay.replay import use_one_torch_thread
from react_ros.replay.session_film import Pictures, ReactionRenderer, read_sound, write_film

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


def evaluate_sessions(
    paths: Sequence[Path],
    rows: Sequence[Row],
    choice: TopicChoice | None = None,
    asked: SessionsPlan | None = None,
    *,
    films: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> SessionsEvaluation:
    """Evaluate bags. rows: none for the recorded reactions where there are some, else the default generator.

    films: a folder, for a film a bag and row. A bag that cannot be read is left out and named; raises BagError where
    none is left, ValueError for rows that cannot be, both in one sentence.
    """
    choice, asked = choice or TopicChoice(), asked or SessionsPlan()
    sessions, left_out = _read_all(paths, choice, asked, progress)
    corpus, plan = Sessions(sessions, asked.frames), asked.plan()
    rows = list(dict.fromkeys(rows)) or [Row(RECORDED) if any(s.reactions for s in sessions) else Row(registry.DEFAULT)]
    prepared = _prepare(corpus, plan)
    scorer = Scorer(corpus, plan, prepared.dyads, prepared.appropriate, prepared.shortest)
    sources = {row: open_session_source(row, corpus, plan) for row in rows}
    results: dict[Row, list[Block]] = {}
    shown: dict[int, dict[str, str]] = {number: {} for number in range(len(sessions))}
    use_one_torch_thread()
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
    return SessionsEvaluation(asked, summarise(prepared, results), bags, left_out, _notices(rows, sessions))


def _read_all(
    paths: Sequence[Path], choice: TopicChoice, asked: SessionsPlan, progress: Progress
) -> tuple[list[RecordedSession], list[str]]:
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


def _notices(rows: Sequence[Row], sessions: Sequence[RecordedSession]) -> list[str]:
    """What the generators say of themselves."""
    said = []
    for row in rows:
        if row.name == RECORDED:
            said += [(RECORDED, notice) for s in sessions if s.reactions for notice in s.reactions.notices]
        elif row.name != GROUND_TRUTH:
            said.append((row.label, registry.create(row.name, **dict(row.parameters)).info.notice))
    return list(dict.fromkeys(f"{label}: {notice}" for label, notice in said if notice))


def _film(
    folder: Path, number: int, row: Row, source: GeneratedSource | RecordedSource | HumanListenerSource, corpus: Sessions, told: dict[str, str],
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
                ReactionRenderer(faces, there).at, read_sound(bag, session.microphone, session.timeline),
                lambda done, total: progress(f"{path.name} is made", done, total), ("human", row.label),
            )  # fmt: skip
        told[row.label] = f"{folder.name}/{path.name}"
    except (CorpusError, FilmError) as error:
        told[row.label] = f"none: {error}"
