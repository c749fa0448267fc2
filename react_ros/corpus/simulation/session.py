"""One simulated session: a story, somebody who tells it, somebody who listens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from react_ros.corpus.clips import Split
from react_ros.corpus.simulation.listener import Hearing, listen
from react_ros.corpus.simulation.speaker import Performance, perform
from react_ros.corpus.simulation.story import Story, stories
from react_ros.face import SAMPLE_RATE, Floats, face_model

TELLERS = 5
"""How many people tell each story, each to a listener of their own."""


@dataclass(frozen=True, slots=True)
class SimulatedPerson:
    """One person of a session, as the corpus holds them."""

    attributes: Floats
    """(751, 25): action units 0 or 1, valence and arousal, expression probabilities."""
    face_model: Floats
    """(751, 58): 52 ARKit weights, rotation in rad, translation in m."""
    sound: Floats
    """(samples,) -1 to 1."""


@dataclass(frozen=True, slots=True)
class SimulatedSession:
    """Two invented people for 30.04 s, with everything that is known of why they did what they did."""

    index: int
    story: int
    """Sessions of one story have appropriate listeners in common."""
    split: Split
    speaker: SimulatedPerson
    """As a camera tracks them: with biases, noise and dead channels; translation from the camera."""
    listener: SimulatedPerson
    """The face itself: pose from its rest."""
    told: Performance
    heard: Hearing

    @property
    def chat(self) -> str:
        """The folder's name, which says that it is simulated."""
        return f"simulated-{self.index:04d}"


def simulate_session(
    index: int, seed: int, *, tellers: int = TELLERS, audio_rate: int = SAMPLE_RATE
) -> SimulatedSession:
    """Session `index` of the corpus of this seed: the same numbers, however many sessions are made.

    tellers: how many sessions share one story. audio_rate: Hz.
    """
    return tell(stories(seed, index // tellers + 1)[index // tellers], index, seed, audio_rate)


def tell(story: Story, index: int, seed: int, audio_rate: int = SAMPLE_RATE) -> SimulatedSession:
    """Session `index` of this seed, which tells this story."""
    root = np.random.SeedSequence(seed, spawn_key=(1, index))
    of_speaker, of_listener = (np.random.default_rng(child) for child in root.spawn(2))
    told = perform(story, of_speaker, audio_rate)
    heard = listen(told, of_listener, audio_rate)
    return SimulatedSession(
        index,
        story.number,
        story.split,
        SimulatedPerson(told.attributes, face_model(told.blendshapes, told.rotation, told.translation), told.sound),
        SimulatedPerson(
            heard.attributes, face_model(heard.blendshapes, heard.rotation, heard.translation), heard.sound
        ),
        told,
        heard,
    )
