"""One session of world A: a story, the speaker's performance of it, and the listener's response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from react_ros.corpus.clips import Split
from react_ros.corpus.simulation.session import SimulatedPerson
from react_ros.corpus.simulation.world_a.feelings import Story, draw_story
from react_ros.corpus.simulation.world_a.listener import ListenerResponse, respond
from react_ros.corpus.simulation.world_a.speaker import Performance, perform
from react_ros.face import face_model


@dataclass(frozen=True, slots=True)
class Session:
    """A session of 30.04 s, with the events from which it was rendered."""

    index: int
    story: Story
    speaker: SimulatedPerson
    """As a face tracker and `AffectEstimator` report them; translation from the camera."""
    listener: SimulatedPerson
    """The true face: pose relative to rest; action units annotated as occurrences."""
    performance: Performance
    response: ListenerResponse

    @property
    def split(self) -> Split:
        return self.story.split

    @property
    def chat(self) -> str:
        """The name of the session's folder."""
        return f"simulated-{self.index:04d}"


def render_session(index: int, seed: int, tellers: int) -> Session:
    """Session `index` of a seed; `tellers` consecutive sessions share a story."""
    story = draw_story(index // tellers, seed)
    root = np.random.SeedSequence(seed, spawn_key=(11, index))
    of_speaker, of_listener = (np.random.default_rng(child) for child in root.spawn(2))
    performance = perform(story, of_speaker)
    response = respond(performance, of_listener)
    return Session(index, story, _person(performance), _person(response), performance, response)


def _person(shown: Performance | ListenerResponse) -> SimulatedPerson:
    model = face_model(shown.blendshapes, shown.rotation, shown.translation)
    return SimulatedPerson(shown.attributes, model, shown.sound)
