"""A rendered session of a world: what is written to the corpus, and the events from which it was rendered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from scipy.signal import resample_poly

from react_ros.corpus.clips import Split
from react_ros.corpus.simulation.session import SimulatedPerson
from react_ros.face import SAMPLE_RATE, Floats, face_model


class _Story(Protocol):
    @property
    def number(self) -> int: ...

    @property
    def split(self) -> Split: ...


class _Shown(Protocol):
    attributes: Floats
    blendshapes: Floats
    rotation: Floats
    translation: Floats
    sound: Floats


class _Response(_Shown, Protocol):
    style: Any


S = TypeVar("S", bound=_Story)
P = TypeVar("P", bound=_Shown)
R = TypeVar("R", bound=_Response)


@dataclass(frozen=True, slots=True)
class Session(Generic[S, P, R]):
    """A session of 30.04 s."""

    index: int
    story: S
    speaker: SimulatedPerson
    """As a face tracker and `AffectEstimator` report them; translation from the camera."""
    listener: SimulatedPerson
    """The true face: pose relative to rest; action units annotated as occurrences."""
    performance: P
    response: R

    @classmethod
    def of(cls, index: int, story: S, performance: P, response: R, audio_rate: int) -> Session[S, P, R]:
        """audio_rate: of the two people's sound, Hz."""
        speaker, listener = _person(performance, audio_rate), _person(response, audio_rate)
        return cls(index, story, speaker, listener, performance, response)

    @property
    def split(self) -> Split:
        return self.story.split

    @property
    def number(self) -> int:
        """Of the story."""
        return self.story.number

    @property
    def traits(self) -> dict[str, float]:
        """The listener's style."""
        return asdict(self.response.style)

    @property
    def chat(self) -> str:
        """The name of the session's folder."""
        return f"simulated-{self.index:04d}"


def _person(shown: _Shown, audio_rate: int) -> SimulatedPerson:
    model = face_model(shown.blendshapes, shown.rotation, shown.translation)
    sound = shown.sound
    if audio_rate != SAMPLE_RATE:
        sound = np.clip(resample_poly(sound, audio_rate, SAMPLE_RATE), -0.99, 0.99).astype(np.float32)
    return SimulatedPerson(shown.attributes, model, sound)
