"""What a corpus is made of: persons' clips, dyads, and the sentence that says what is wrong with one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

CLIP_FRAMES = 751
"""Frames of a clip on disk (REACT 2023 and 2024)."""
EVALUATED_FRAMES = 750
"""Frames of a clip that the challenge evaluates: the first 750 (30 s)."""

Layout = Literal["react2024", "mars"]


class CorpusError(Exception):
    """Something in a corpus cannot be used; the message is one sentence that names the clip (and the column)."""


def missing(clip: str, what: str, path: Path) -> CorpusError:
    """The error for a clip's file that is not there. what: "attributes", "face model", "audio".

    Where the clip's chat has other persons' folders instead (NoXI's Emotion has P1 and P2), it says how to map them.
    """
    sentence = f"{clip}: its {what} {'are' if what.endswith('s') else 'is'} missing ({path})"
    person, chat = path.parent, path.parent.parent
    others: list[str] = []
    with suppress(OSError):  # nobody may look into the folder
        others = [] if person.is_dir() else sorted(p.name for p in chat.iterdir() if p.is_dir())
    if others:
        modality = what.replace(" ", "_")
        sentence += (
            f"; {chat.name} has folders {', '.join(others)} instead: say in corpus.yaml which is this person's, "
            f"persons: {{{modality}: {{{person.name}: …}}}}"
        )
    return CorpusError(sentence)


@dataclass(frozen=True, slots=True)
class PersonClip:
    """One person in one clip: where the files lie. None where the corpus has no such modality at all."""

    name: str
    """As the split's table names it, e.g. "NoXI/010_2016-03-25_Paris/Expert_video/1"."""
    attributes: Path | None
    """Emotion csv with a header (REACT 2023/24), or npy (MARS): (T, 25)."""
    face_model: Path | None
    """npy that squeezes to (T, 58)."""
    audio: Path | None
    """wav of any rate."""
    video: Path | None
    """A film, or a folder of 1.png, 2.png, …"""


@dataclass(frozen=True, slots=True)
class Dyad:
    """A speaker and the listener who really heard them, in one clip."""

    index: int
    """Its row and column in the split's appropriateness matrix, from 0."""
    split: Split
    speaker: PersonClip
    listener: PersonClip
    swapped: bool = False
    """Whether this is a dyad of the table with the roles swapped."""
    session: str = ""
    """MARS: the session, which all appropriate listeners share; elsewhere empty."""

    @property
    def name(self) -> str:
        """The speaker's clip, which errors and tables name."""
        return self.speaker.name
