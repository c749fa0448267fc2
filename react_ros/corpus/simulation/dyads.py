"""Writes a corpus of simulated dyads in the layout of REACT 2024; it needs no licence."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from react_ros import __version__
from react_ros.corpus.clips import SPLITS
from react_ros.corpus.pool import spread
from react_ros.corpus.simulation.listener import ListenerStyle
from react_ros.corpus.simulation.session import TELLERS, SimulatedSession, render_session
from react_ros.corpus.simulation.story import Story, stories
from react_ros.corpus.writing import write_csv, write_person, write_settings, write_split
from react_ros.face import ARKIT_SCHEME, FPS, SAMPLE_RATE

THRESHOLD = 4.0
"""FRDist up to which two speakers tell the same story: between the distances within and across stories."""
SPEAKER, LISTENER = "Expert_video", "Novice_video"
_CLIP = "1"
NOTICE = "Simulated by react_ros: faces, voices and conversations of nobody, made by rule; no data about people."

_README = """{notice}

{sessions} sessions of 30.04 s at 25 frames a second, in the layout of REACT 2024. Each story is told by up to {tellers}
speakers, each to another listener; the listeners of one story are appropriate for all of its speakers.
No story is in two splits. There are no videos (no Video_files). Speakers' coefficients are as a face tracker would
report them, with biases and noise, translation in m from the camera; listeners' are the true face, with the pose
relative to rest: therefore roles cannot be swapped. Coefficients are 52 ARKit blendshapes, rotation in rad,
translation in m. Action units in Emotion are occurrences, 0 or 1. Listeners react to what their speakers do, with the
published delays of human listeners, an individual style (simulation.csv) and randomness; nothing was learned from
people. The site is called NoXI only so that other code finds the files: nothing here comes from NoXI.

Made by: {made_by}
"""


@dataclass(frozen=True, slots=True)
class _SessionItem:
    """One session to write."""

    story: Story
    index: int


def simulate(
    out: Path,
    *,
    sessions: int = 200,
    seed: int = 7,
    tellers: int = TELLERS,
    audio_rate: int = SAMPLE_RATE,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a simulated corpus. The same seed gives the same bytes; a larger corpus begins with the same sessions.

    out: a folder that does not exist or is empty; it appears when it is complete. sessions: at least those of two
    stories and one more, so that every split has a clip. tellers: sessions per story, 4 to 6. audio_rate: Hz. jobs:
    processes, None for one per core. progress: called with (sessions done, in all). Raises ValueError for an impossible
    number, FileExistsError for a folder in use, OSError.
    """
    _check(out, sessions, seed, tellers, audio_rate, jobs)
    scripts = stories(seed, -(-sessions // tellers))
    items = [_SessionItem(scripts[i // tellers], i) for i in range(sessions)]
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-unfinished-"))
    try:
        temporary.chmod(0o755)
        work = partial(_write_session, temporary, seed, audio_rate)
        rows = spread(work, items, jobs=jobs or 0, progress=progress)
        _write_tables(temporary, rows)
        _write_settings(temporary, sessions, seed, tellers, audio_rate)
        _write_appropriateness(temporary, jobs)
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check(out: Path, sessions: int, seed: int, tellers: int, audio_rate: int, jobs: int | None) -> None:
    if not 4 <= tellers <= 6:
        raise ValueError(f"tellers is {tellers}: a story is told by 4 to 6 people")
    least = 2 * tellers + 1
    if not least <= sessions <= 100_000:
        raise ValueError(f"sessions is {sessions}: it must be from {least} (a story for each split) to 100000")
    if seed < 0:
        raise ValueError(f"seed is {seed}: it must be 0 or more")
    if not 8_000 <= audio_rate <= 48_000:
        raise ValueError(f"audio_rate is {audio_rate}: it must be from 8000 to 48000 Hz")
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs is {jobs}: it must be 1 or more")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is already there: name a folder that is new or empty")


def _write_session(root: Path, seed: int, audio_rate: int, item: _SessionItem) -> list[object]:
    """Write one session's files; returns its row of simulation.csv."""
    session = render_session(item.story, item.index, seed, audio_rate)
    folder = root / session.split
    for person, name in ((session.speaker, SPEAKER), (session.listener, LISTENER)):
        clip = f"NoXI/{session.chat}/{name}/{_CLIP}"
        write_person(folder, clip, person.attributes, person.face_model, person.sound, audio_rate, occurrences=True)
    return _row(session, item.story)


def _row(session: SimulatedSession, story: Story) -> list[object]:
    style = [round(value, 5) for value in asdict(session.response.style).values()]
    return [f"NoXI/{session.chat}/{SPEAKER}/{_CLIP}", session.split, session.story, int(story.neutral), *style]


def _write_tables(root: Path, rows: list[list[object]]) -> None:
    for split in SPLITS:
        clips = [str(row[0]) for row in rows if row[1] == split]
        write_split(root, split, [(clip, clip.replace(SPEAKER, LISTENER)) for clip in clips])
    write_csv(
        root / "simulation.csv", ["clip", "split", "story", "neutral", *(f.name for f in fields(ListenerStyle))], rows
    )


def _write_settings(root: Path, sessions: int, seed: int, tellers: int, audio_rate: int) -> None:
    made_by = f"react-ros corpus simulate OUT --sessions {sessions} --seed {seed}"
    made_by += f" --tellers {tellers}" * (tellers != TELLERS) + f" --audio-rate {audio_rate}" * (
        audio_rate != SAMPLE_RATE
    )
    readme = _README.format(notice=NOTICE, sessions=sessions, tellers=tellers, made_by=made_by)
    (root / "README.txt").write_text(readme, encoding="utf-8")
    settings: dict[str, Any] = {
        "layout": "react2024",
        "scheme": ARKIT_SCHEME,
        "fps": FPS,
        "simulated": True,
        "role_swap": False,
        "notice": NOTICE,
        "made_by": made_by,
        "seed": seed,
        "sessions": sessions,
        "tellers": tellers,
        "version": __version__,
        "appropriateness": {"threshold": THRESHOLD},
    }
    write_settings(root, settings)


def _write_appropriateness(root: Path, jobs: int | None) -> None:
    from react_ros.corpus.reader import open_corpus

    corpus = open_corpus(root)
    for split in SPLITS:
        corpus.appropriate(split, jobs=jobs or 0)
