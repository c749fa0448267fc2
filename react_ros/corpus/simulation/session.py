"""One simulated session: a story, the speaker's performance of it, and the listener's response."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from react_ros.corpus.clips import Split
from react_ros.corpus.simulation.listener import ListenerResponse, respond
from react_ros.corpus.simulation.speaker import Performance, perform
from react_ros.corpus.simulation.story import Story, stories
from react_ros.face import SAMPLE_RATE, Floats, face_model

TELLERS = 5
"""Default number of speakers per story, each with another listener."""


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """One person of a session, as written to the corpus."""

    attributes: Floats
    """(751, 25): action units 0 or 1, valence and arousal, expression probabilities."""
    face_model: Floats
    """(751, 58): 52 ARKit weights, rotation in rad, translation in m."""
    sound: Floats
    """PCM (n,), -1 to 1."""


@dataclass(frozen=True, slots=True)
class SimulatedSession:
    """A session of 30.04 s, with the events from which it was rendered."""

    index: int
    story: int
    """Number of the story; its sessions' listeners are appropriate for each other's speakers."""
    split: Split
    speaker: SimulatedPerson
    """As a face tracker reports them: with biases, noise and dead channels; translation from the camera."""
    listener: SimulatedPerson
    """The true face: pose relative to rest."""
    performance: Performance
    response: ListenerResponse

    @property
    def number(self) -> int:
        """Of the story."""
        return self.story

    @property
    def traits(self) -> dict[str, float]:
        """The listener's style, and whether the story is neutral."""
        return {"neutral": float(self.performance.story.neutral), **asdict(self.response.style)}

    @property
    def chat(self) -> str:
        """The name of the session's folder."""
        return f"simulated-{self.index:04d}"


def simulate_session(
    index: int, seed: int, *, tellers: int = TELLERS, audio_rate: int = SAMPLE_RATE
) -> SimulatedSession:
    """Session `index` of the corpus of a seed, independent of the number of sessions.

    tellers: sessions per story. audio_rate: Hz.
    """
    return render_session(stories(seed, index // tellers + 1)[index // tellers], index, seed, audio_rate)


def render_session(story: Story, index: int, seed: int, audio_rate: int = SAMPLE_RATE) -> SimulatedSession:
    """Session `index` of a seed, given its story. audio_rate: Hz."""
    root = np.random.SeedSequence(seed, spawn_key=(1, index))
    of_speaker, of_listener = (np.random.default_rng(child) for child in root.spawn(2))
    performance = perform(story, of_speaker, audio_rate)
    response = respond(performance, of_listener, audio_rate)
    return SimulatedSession(
        index,
        story.number,
        story.split,
        _person(performance),
        _person(response),
        performance,
        response,
    )


def _person(shown: Performance | ListenerResponse) -> SimulatedPerson:
    model = face_model(shown.blendshapes, shown.rotation, shown.translation)
    return SimulatedPerson(shown.attributes, model, shown.sound)
