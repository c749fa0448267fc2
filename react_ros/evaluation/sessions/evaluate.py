"""Evaluates recorded sessions with the functions that score corpora (`react-ros evaluate --bag`)."""

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
from react_ros.evaluation.sessions.clips import LEAST_FRAMES, SessionCorpus, cut_clips
from react_ros.evaluation.sessions.health import examine
from react_ros.evaluation.sessions.results import BagResult, SessionEvaluation, SessionOptions
from react_ros.evaluation.sessions.sources import (
    RECORDED,
    SessionSource,
    open_session_source,
)
from react_ros.face import FPS
from react_ros.generators import registry
from react_ros.io import private_folder
from react_ros.media.film_writer import FilmError
from react_ros.replay.recorded_session import RecordedSession, read_session
from react_ros.replay.replay import use_one_torch_thread
from react_ros.replay.session_film import Pictures, ReactionRenderer, read_sound, write_film

Progress = Callable[[str, int, int], None]
"""Called with (description, units done, units in all)."""


def evaluate_sessions(
    paths: Sequence[Path],
    rows: Sequence[Row],
    choice: TopicChoice | None = None,
    options: SessionOptions | None = None,
    *,
    films: Path | None = None,
    progress: Progress = lambda what, done, total: None,
) -> SessionEvaluation:
    """Evaluate bags.

    rows: if empty, the recorded reactions where any bag has some, else the default generator. films: folder for one
    film per bag and row; None: no films. A bag that cannot be read is left out and named. Raises BagError where none is
    left, ValueError for rows that cannot be evaluated, both in one sentence.
    """
    choice, options = choice or TopicChoice(), options or SessionOptions()
    sessions, left_out = _read_all(paths, choice, options, progress)
    corpus, plan = SessionCorpus(sessions, options.frames), options.plan()
    rows = list(dict.fromkeys(rows)) or [Row(RECORDED) if any(s.reactions for s in sessions) else Row(registry.DEFAULT)]
    prepared = _prepare(corpus, plan)
    scorer = Scorer(corpus, plan, prepared.dyads, prepared.appropriate, prepared.shortest)
    sources = {row: open_session_source(row, corpus, plan) for row in rows}
    results: dict[Row, list[Block]] = {}
    made_films: dict[int, dict[str, str]] = {number: {} for number in range(len(sessions))}
    use_one_torch_thread()
    with threadpool_limits(1):  # reproducible sums
        for row, source in sources.items():
            blocks = results[row] = []
            for number in range(len(sessions)):
                for dyad in (d for d in prepared.dyads if corpus.clips[d.index].session == number):
                    progress(f"{row.label}: clips scored", len(blocks), len(prepared.dyads))
                    blocks.append(scorer.score(source, [dyad], keep=False, strict=False)[0])
                progress(f"{row.label}: clips scored", len(blocks), len(prepared.dyads))
                if films is not None:
                    _film(films, number, row, source, corpus, made_films[number], progress)
    bags = [_result(number, prepared, corpus, results, made_films[number], progress) for number in range(len(sessions))]
    return SessionEvaluation(options, summarise(prepared, results), bags, left_out, _notices(rows, sessions))


def _read_all(
    paths: Sequence[Path], choice: TopicChoice, options: SessionOptions, progress: Progress
) -> tuple[list[RecordedSession], list[str]]:
    sessions, left_out = [], []
    for path in dict.fromkeys(paths):
        try:
            session = read_session(
                path, choice, samples=options.samples,
                progress=lambda done, total, path=path: progress(f"reading {path}", done, total),
            )  # fmt: skip
            if not cut_clips(session, options.frames)[0]:
                seconds = len(session.timeline) / FPS
                least = min(LEAST_FRAMES, options.frames) / FPS
                raise BagError(f"bag {path} holds {seconds:.1f} s of a speaker: {least:g} s without a pause are needed")
            sessions.append(session)
        except BagError as error:
            left_out.append(str(error))
    if not sessions:
        raise BagError("; ".join(left_out) or "no bag is named")
    return sessions, left_out


def _prepare(corpus: SessionCorpus, plan: Plan) -> Prepared:
    lengths = {clip.end - clip.begin for clip in corpus.clips}
    return Prepared(
        plan, corpus, corpus.dyads(), corpus.appropriate(), [], "", min(lengths) if len(lengths) > 1 else None,
        # Clips of a bag show the same people and are not independent: one group.
        np.array([clip.session for clip in corpus.clips], np.intp),
    )  # fmt: skip


def _result(
    number: int, prepared: Prepared, corpus: SessionCorpus, results: Mapping[Row, Sequence[Block]],
    films: dict[str, str], progress: Progress,
) -> BagResult:  # fmt: skip
    session = corpus.sessions[number]
    clips = [k for k, clip in enumerate(corpus.clips) if clip.session == number]
    own = replace(prepared, dyads=[prepared.dyads[k] for k in clips])
    seen = [s for k in clips if (s := corpus.seen[k]) is not None]
    return BagResult(
        session,
        examine(session, lambda done, total: progress(f"examining {session.path}", done, total)),
        [(corpus.clips[k].begin / FPS, corpus.clips[k].end / FPS) for k in clips],
        corpus.left_over[number] / FPS,
        float(np.mean(seen)) if seen else None,
        summarise(own, {row: [blocks[k] for k in clips] for row, blocks in results.items()}),
        films,
    )


def _notices(rows: Sequence[Row], sessions: Sequence[RecordedSession]) -> list[str]:
    """The notices of the rows' generators."""
    notices: list[tuple[str, str]] = []
    for row in rows:
        if row.name == RECORDED:
            notices += [(RECORDED, notice) for s in sessions if s.reactions for notice in s.reactions.notices]
        elif row.name != GROUND_TRUTH:
            notices.append((row.label, registry.create(row.name, **dict(row.parameters)).info.notice))
    return list(dict.fromkeys(f"{label}: {notice}" for label, notice in notices if notice))


def _film(
    folder: Path, number: int, row: Row, source: SessionSource, corpus: SessionCorpus,
    films: dict[str, str], progress: Progress,
) -> None:  # fmt: skip
    """Write a bag's film of a row into `films`: its path, or "none: " and the reason."""
    session = corpus.sessions[number]
    path = folder / f"{number + 1:02}-{row.key}.mp4"
    private_folder(folder)
    try:
        faces, present = source.first_sample(number)
        with Bag(session.path) as bag:
            write_film(
                path, session.timeline.times, Pictures(bag, session.camera).at,
                ReactionRenderer(faces, present).at,
                read_sound(bag, session.microphone, session.timeline, session.inputs.format),
                lambda done, total: progress(f"rendering {path.name}", done, total), ("human", row.label),
            )  # fmt: skip
        films[row.label] = f"{folder.name}/{path.name}"
    except (CorpusError, FilmError) as error:
        films[row.label] = f"none: {error}"
