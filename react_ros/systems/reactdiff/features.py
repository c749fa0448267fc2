"""The columns of the speaker's row that form each of the transformer's five named features."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from react_ros.config import whole_in_range
from react_ros.generators.speaker_inputs import (
    FACE_INPUTS,
    FACE_PRESENT,
    INPUTS,
    RUNNING_MEAN,
    SOUND_INPUTS,
    SOUND_PRESENT,
    InputScheme,
    input_scheme,
)

_SHAPES = 52
_FACE, _SOUND = FACE_INPUTS.start, SOUND_INPUTS.start

Columns = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Features:
    """First column, and the one after the last, of each feature in the row; the defaults are those of live rows.

    The paper takes its features from the last layers of three image networks and a speech network. Live rows have
    perception's measurements instead: blendshapes for AU, the same minus the speaker's rest for FE, the head pose minus
    its rest for VA, MFCC and their slopes for MFCC, and energy, voicing, pitch and speech probability for the speech
    network's features (AFR). Of the rows `PERSON` the 25 attributes belong to VA too. Raises ValueError for columns
    outside the row.
    """

    va: Columns = (_FACE + 2 * _SHAPES, FACE_INPUTS.stop)
    au: Columns = (_FACE, _FACE + _SHAPES)
    fe: Columns = (_FACE + _SHAPES, _FACE + 2 * _SHAPES)
    mfcc: Columns = (_SOUND, _SOUND + 52)
    afr: Columns = (_SOUND + 52, SOUND_INPUTS.stop)
    face_present: int = FACE_PRESENT
    """The column that is 1 where there is a face, else 0."""
    sound_present: int = SOUND_PRESENT
    inputs: int = INPUTS
    """Width of the row."""
    rows: str = ""
    """The live rows these are columns of, see `InputScheme`. Empty: those of version 0.1 where the width is theirs,
    else features that only a corpus can have."""

    def __post_init__(self) -> None:
        whole_in_range("inputs", self.inputs, 2, 1_000_000)
        for name in ("face_present", "sound_present"):
            whole_in_range(name, getattr(self, name), 0, self.inputs - 1)
        for name in NAMES:
            first, end = getattr(self, name)
            if not 0 <= first < end <= self.inputs:
                raise ValueError(
                    f"{name} is the columns {first} to {end} of {self.inputs}: it must be at least one of them"
                )
        scheme = self.scheme
        if scheme is None:
            return
        given = (self.inputs, self.face_present, self.sound_present)
        own = (scheme.inputs, scheme.face_present, scheme.sound_present)
        if given != own:
            raise ValueError(f"inputs, face_present and sound_present are {given}: rows {scheme.name!r} have {own}")

    @property
    def scheme(self) -> InputScheme | None:
        """The live rows these are columns of; None: features that only a corpus can have."""
        if self.rows:
            return input_scheme(self.rows)
        return RUNNING_MEAN if self.inputs == RUNNING_MEAN.inputs else None

    def width(self, name: str) -> int:
        """Number of columns of a feature."""
        first, end = getattr(self, name)
        return end - first

    @classmethod
    def of_widths(cls, *, va: int, au: int, fe: int, mfcc: int, afr: int) -> Features:
        """The five features one after the other, then the two columns of presence."""
        ends = list(accumulate((va, au, fe, mfcc, afr), initial=0))
        columns: dict[str, Any] = dict(zip(NAMES, pairwise(ends), strict=True))
        return cls(**columns, face_present=ends[-1], sound_present=ends[-1] + 1, inputs=ends[-1] + 2)


FACIAL, ACOUSTIC = ("va", "au", "fe"), ("mfcc", "afr")
NAMES = (*FACIAL, *ACOUSTIC)
PAPER = Features.of_widths(va=64, au=25088, fe=1408, mfcc=26, afr=1536)
"""The paper's (3.2): ELIM, ME-GraphAU and ResMaskNet before their classifiers, MFCC, two frames of wav2vec 2.0."""
