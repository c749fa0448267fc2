"""The elements of a corpus: persons' clips, dyads, and the error that names what is unusable."""

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
    """Something in a corpus is unusable; the message is one sentence that names the clip (and the column)."""


def missing(clip: str, what: str, path: Path) -> CorpusError:
    """The error for a missing file of a clip. what: "attributes", "face model", "audio".

    If the clip's chat has folders of other names (NoXI's Emotion has P1 and P2), the message explains `persons`.
    """
    sentence = f"{clip}: its {what} {'are' if what.endswith('s') else 'is'} missing ({path})"
    person, chat = path.parent, path.parent.parent
    others: list[str] = []
    with suppress(OSError):  # no permission
        others = [] if person.is_dir() else sorted(p.name for p in chat.iterdir() if p.is_dir())
    if others:
        modality = what.replace(" ", "_")
        sentence += (
            f"; {chat.name} has folders {', '.join(others)} instead: map this person to one of them in corpus.yaml, "
            f"persons: {{{modality}: {{{person.name}: …}}}}"
        )
    return CorpusError(sentence)


@dataclass(frozen=True, slots=True)
class PersonClip:
    """The files of one person in one clip; None for modalities that the corpus does not have."""

    name: str
    """As in the split's table, e.g. "NoXI/010_2016-03-25_Paris/Expert_video/1"."""
    attributes: Path | None
    """Emotion csv with a header (REACT 2023/24), or npy (MARS): (T, 25)."""
    face_model: Path | None
    """npy whose array squeezes to (T, 58)."""
    audio: Path | None
    """wav of any sample rate."""
    video: Path | None
    """A video file, or a folder of 1.png, 2.png, …"""


@dataclass(frozen=True, slots=True)
class Dyad:
    """A speaker's clip with that of their human listener."""

    index: int
    """Row and column in the split's appropriateness matrix, from 0."""
    split: Split
    speaker: PersonClip
    listener: PersonClip
    swapped: bool = False
    """Whether it is a dyad of the table with the roles swapped."""
    session: str = ""
    """MARS: the session, whose listeners are all appropriate; other layouts: empty."""

    @property
    def name(self) -> str:
        """The name of the speaker's clip."""
        return self.speaker.name
