"""One session of world A: a story, the speaker's performance of it, and the listener's response."""

from __future__ import annotations

import numpy as np

from react_ros.corpus.simulation import rendered
from react_ros.corpus.simulation.world_a.feelings import Story, draw_story
from react_ros.corpus.simulation.world_a.listener import ListenerResponse, respond
from react_ros.corpus.simulation.world_a.speaker import Performance, perform
from react_ros.face import SAMPLE_RATE

Session = rendered.Session[Story, Performance, ListenerResponse]


def render_session(index: int, seed: int, tellers: int, audio_rate: int = SAMPLE_RATE) -> Session:
    """Session `index` of a seed; `tellers` consecutive sessions share a story. audio_rate: Hz."""
    story = draw_story(index // tellers, seed)
    root = np.random.SeedSequence(seed, spawn_key=(11, index))
    of_speaker, of_listener = (np.random.default_rng(child) for child in root.spawn(2))
    performance = perform(story, of_speaker)
    return rendered.Session.of(index, story, performance, respond(performance, of_listener), audio_rate)
