"""Writes a corpus of simulated dyads in the layout of REACT 2024; it needs no licence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from react_ros import __version__
from react_ros.config import did_you_mean
from react_ros.corpus.clips import SPLITS, Split
from react_ros.corpus.pool import spread
from react_ros.corpus.simulation.session import TELLERS, SimulatedPerson
from react_ros.corpus.simulation.unfinished import UnfinishedCorpus
from react_ros.corpus.writing import write_csv, write_person, write_settings, write_split
from react_ros.face import ARKIT_SCHEME, FPS, SAMPLE_RATE
from react_ros.package import code_version

THRESHOLD = 4.0
"""FRDist up to which two speakers tell the same story: between the distances within and across stories."""
SPEAKER, LISTENER = "Expert_video", "Novice_video"
_CLIP = "1"
NOTICE = "Simulated by react_ros: faces, voices and conversations of nobody, made by rule; no data about people."

_README = """{notice}

World: {world}. {about}

{sessions} sessions of 30.04 s at 25 frames a second, in the layout of REACT 2024. Each story is told by up to {tellers}
speakers, each to another listener; the listeners of one story are appropriate for all of its speakers.
{appropriate}
No story is in two splits. There are no videos (no Video_files). Speakers' coefficients are as a face tracker would
report them, with biases and noise, translation in m from the camera; listeners' are the true face, with the pose
relative to rest: therefore roles cannot be swapped. Coefficients are 52 ARKit blendshapes, rotation in rad,
translation in m. {units} Listeners react to what their speakers do, with the
published delays of human listeners, an individual style (simulation.csv) and randomness; nothing was learned from
people. The site is called NoXI only so that other code finds the files: nothing here comes from NoXI.

Made by: {made_by}
"""


class RenderedSession(Protocol):
    """One session, as a world renders it."""

    @property
    def chat(self) -> str:
        """The name of the session's folder."""
        ...

    @property
    def split(self) -> Split: ...

    @property
    def number(self) -> int:
        """Of the story."""
        ...

    @property
    def speaker(self) -> SimulatedPerson: ...

    @property
    def listener(self) -> SimulatedPerson: ...

    @property
    def traits(self) -> dict[str, float]:
        """The columns of simulation.csv: the listener's style."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """A way to simulate people."""

    render: Callable[[int, int, int, int], RenderedSession]
    """(index, seed, tellers, audio rate in Hz) to a session."""
    about: str
    """For README.txt."""
    tracked_units: bool
    """Whether speakers' action units are degrees, as perception derives them; else occurrences, as annotators code."""
    by_story: bool
    """Whether listeners are appropriate for the speakers of their story; else for speakers with similar attributes."""


def _early(index: int, seed: int, tellers: int, audio_rate: int) -> RenderedSession:
    from react_ros.corpus.simulation.session import simulate_session

    return simulate_session(index, seed, tellers=tellers, audio_rate=audio_rate)


def _a(index: int, seed: int, tellers: int, audio_rate: int) -> RenderedSession:
    from react_ros.corpus.simulation.world_a.session import render_session

    return render_session(index, seed, tellers, audio_rate)


def _b(index: int, seed: int, tellers: int, audio_rate: int) -> RenderedSession:
    from react_ros.corpus.simulation.world_b.session import render_session

    return render_session(index, seed, tellers, audio_rate)


WORLDS: dict[str, World] = {
    "a": World(
        _a,
        "Faces, voices and feelings have the statistics of real people; what listeners are trained on.",
        tracked_units=True,
        by_story=True,
    ),
    "b": World(
        _b,
        "Other faces, voices, stories and listeners than those of world a: for figures, never for training.",
        tracked_units=True,
        by_story=True,
    ),
    "early": World(
        _early,
        "The people of version 0.1: short feelings of five strengths, a formant voice, hardly any tracking error.",
        tracked_units=False,
        by_story=False,
    ),
}
"""The simulated worlds by name."""


def simulate(
    out: Path,
    *,
    world: str = "a",
    sessions: int = 200,
    seed: int = 7,
    tellers: int = TELLERS,
    audio_rate: int = SAMPLE_RATE,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a simulated corpus. The same seed gives the same bytes; a larger corpus begins with the same sessions.

    out: a folder that does not exist or is empty; it appears when it is complete. Sessions of an interrupted call with
    the same arguments are not written again. world: of `WORLDS`. sessions: at
    least those of two stories and one more, so that every split has a clip. tellers: sessions per story, 4 to 6.
    audio_rate: Hz. jobs: processes, None for one per core. progress: called with (sessions done, in all). Raises
    ValueError for an impossible number, CorpusError where a package is missing, FileExistsError for a folder in use,
    OSError.
    """
    _check(out, world, sessions, seed, tellers, audio_rate, jobs)
    out = out.resolve()
    plan = {"world": world, "sessions": sessions, "seed": seed, "tellers": tellers, "audio_rate": audio_rate}
    unfinished = UnfinishedCorpus(out, {**plan, "version": __version__, "code": code_version()})
    with unfinished.begun():
        done = unfinished.finished()
        left = [index for index in range(sessions) if index not in done]
        report = progress or (lambda _done, _total: None)
        spread(
            partial(_finish_session, unfinished, world, seed, tellers, audio_rate), left, jobs=jobs or 0,
            progress=lambda more, _: report(sessions - len(left) + more, sessions),
        )  # fmt: skip
        kept = unfinished.finished()
        written = [_Written(**kept[index]) for index in range(sessions)]
        folder = unfinished.folder
        _write_tables(folder, written)
        _write_settings(folder, world, sessions, seed, tellers, audio_rate)
        _write_appropriateness(folder, WORLDS[world], written, jobs)
        unfinished.complete()


def _check(out: Path, world: str, sessions: int, seed: int, tellers: int, audio_rate: int, jobs: int | None) -> None:
    if world not in WORLDS:
        raise ValueError(f"there is no world {world!r}{did_you_mean(world, WORLDS)}: there are {', '.join(WORLDS)}")
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


@dataclass(frozen=True, slots=True)
class _Written:
    """What the tables need of a session."""

    clip: str
    split: Split
    story: int
    traits: dict[str, float]


def _finish_session(
    unfinished: UnfinishedCorpus, world: str, seed: int, tellers: int, audio_rate: int, index: int
) -> None:
    """Write one session's files, and that they are there."""
    written = _write_session(unfinished.folder, world, seed, tellers, audio_rate, index)
    unfinished.finish(index, asdict(written))


def _write_session(root: Path, world: str, seed: int, tellers: int, audio_rate: int, index: int) -> _Written:
    """Write one session's files."""
    kind = WORLDS[world]
    session = kind.render(index, seed, tellers, audio_rate)
    folder = root / session.split
    for person, name in ((session.speaker, SPEAKER), (session.listener, LISTENER)):
        occurrences = name == LISTENER or not kind.tracked_units
        clip = f"NoXI/{session.chat}/{name}/{_CLIP}"
        write_person(
            folder, clip, person.attributes, person.face_model, person.sound, audio_rate, occurrences=occurrences
        )
    return _Written(f"NoXI/{session.chat}/{SPEAKER}/{_CLIP}", session.split, session.number, session.traits)


def _write_tables(root: Path, written: list[_Written]) -> None:
    for split in SPLITS:
        clips = [w.clip for w in written if w.split == split]
        write_split(root, split, [(clip, clip.replace(SPEAKER, LISTENER)) for clip in clips])
    names = list(written[0].traits)
    rows = [[w.clip, w.split, w.story, *(round(w.traits[name], 5) for name in names)] for w in written]
    write_csv(root / "simulation.csv", ["clip", "split", "story", *names], rows)


def _write_settings(root: Path, world: str, sessions: int, seed: int, tellers: int, audio_rate: int) -> None:
    kind = WORLDS[world]
    made_by = f"react-ros corpus simulate OUT --world {world} --sessions {sessions} --seed {seed}"
    made_by += f" --tellers {tellers}" * (tellers != TELLERS) + f" --audio-rate {audio_rate}" * (
        audio_rate != SAMPLE_RATE
    )
    units = "Action units in Emotion are occurrences, 0 or 1."
    if kind.tracked_units:
        units = (
            "Speakers' attributes in Emotion are degrees, as perception derives them; listeners' action units are "
            "occurrences, 0 or 1."
        )
    appropriate = "Neighbours are by similar attributes of the speakers."
    if kind.by_story:
        appropriate = "The matrices beside the tables say so: they are by story, not by the challenge's rule."
    readme = _README.format(
        notice=NOTICE, world=world, about=kind.about, appropriate=appropriate, units=units, sessions=sessions,
        tellers=tellers, made_by=made_by,
    )  # fmt: skip
    (root / "README.txt").write_text(readme, encoding="utf-8")
    settings: dict[str, Any] = {
        "layout": "react2024",
        "scheme": ARKIT_SCHEME,
        "fps": FPS,
        "simulated": True,
        "world": world,
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


def _write_appropriateness(root: Path, world: World, written: list[_Written], jobs: int | None) -> None:
    from react_ros.corpus.appropriateness import split_file
    from react_ros.corpus.reader import open_corpus

    if world.by_story:
        for split in SPLITS:
            stories = np.array([w.story for w in written if w.split == split])
            np.save(split_file(root, split), (stories[:, None] == stories[None, :]).astype(np.float64))
        return
    corpus = open_corpus(root)
    for split in SPLITS:
        corpus.appropriate(split, jobs=jobs or 0)
