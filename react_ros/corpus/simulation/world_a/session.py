"""One session of world A: a story, the speaker's performance of it, and the listener's response."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.signal import resample_poly

from react_ros.corpus.clips import Split
from react_ros.corpus.simulation.session import SimulatedPerson
from react_ros.corpus.simulation.world_a.feelings import Story, draw_story
from react_ros.corpus.simulation.world_a.listener import ListenerResponse, respond
from react_ros.corpus.simulation.world_a.speaker import Performance, perform
from react_ros.face import SAMPLE_RATE, face_model


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


def render_session(index: int, seed: int, tellers: int, audio_rate: int = SAMPLE_RATE) -> Session:
    """Session `index` of a seed; `tellers` consecutive sessions share a story. audio_rate: Hz."""
    story = draw_story(index // tellers, seed)
    root = np.random.SeedSequence(seed, spawn_key=(11, index))
    of_speaker, of_listener = (np.random.default_rng(child) for child in root.spawn(2))
    performance = perform(story, of_speaker)
    response = respond(performance, of_listener)
    return Session(index, story, _person(performance, audio_rate), _person(response, audio_rate), performance, response)


def _person(shown: Performance | ListenerResponse, audio_rate: int) -> SimulatedPerson:
    model = face_model(shown.blendshapes, shown.rotation, shown.translation)
    sound = shown.sound
    if audio_rate != SAMPLE_RATE:
        sound = np.clip(resample_poly(sound, audio_rate, SAMPLE_RATE), -0.99, 0.99).astype(np.float32)
    return SimulatedPerson(shown.attributes, model, sound)
