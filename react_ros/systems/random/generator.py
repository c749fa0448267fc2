"""The random baseline: uniform noise that has nothing to do with the speaker."""

from __future__ import annotations

import numpy as np

from react_ros.face import ARKIT, ATTRIBUTES, Reaction, SpeakerFrame
from react_ros.generators.attributes import attributes_of
from react_ros.generators.contract import Generator, GeneratorInfo, Stream, sample_rngs
from react_ros.generators.idle import IdleLife, wear_eyes
from react_ros.generators.presence import Presence
from react_ros.generators.sanitize import sanitize
from react_ros.systems.random.config import RandomConfig


class RandomStream(Stream):
    """S listeners of noise: every frame, blendshape and attribute is drawn from U(0, 1), independently.

    So FRVar is 1/12 and FRDiv 1/6, as published for the challenge's baseline. When nobody is there it idles.
    """

    def __init__(self, config: RandomConfig, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self._head = config.head_rad
        self.listener_rngs = sample_rngs(seed, samples, purpose=0)
        self._u = np.zeros((samples, len(ARKIT) + ATTRIBUTES + 3), np.float32)
        self._presence = Presence()
        self._idle = IdleLife(seed, samples)

    def step(self, frame: SpeakerFrame) -> Reaction:
        for i, rng in enumerate(self.listener_rngs):
            rng.random(out=self._u[i], dtype=np.float32)
        idle = self._idle.step()
        live = self._presence.step(sanitize(frame))
        if live:
            blendshapes, attributes, head = np.split(self._u.copy(), (len(ARKIT), len(ARKIT) + ATTRIBUTES), axis=1)
            rotation = (2.0 * head - 1.0) * np.float32(self._head)
        else:
            blendshapes = np.zeros((self.samples, len(ARKIT)), np.float32)
            wear_eyes(blendshapes, idle.blink, idle.gaze)
            attributes, rotation = attributes_of(blendshapes), idle.rotation
        return Reaction(frame.index, frame.stamp_ns, blendshapes, rotation, idle.translation, attributes, live)


class Random(Generator):
    """The challenge's random baseline: a floor that every system must beat."""

    Config = RandomConfig
    info = GeneratorInfo(
        name="random",
        summary="baseline: uniform noise in every frame",
        inputs=(),
        notice="Noise for measuring against, not for showing to people: the whole face flickers at 25 Hz.",
    )

    def __init__(self, config: RandomConfig | None = None) -> None:
        self.config = config or RandomConfig()

    def start(self, *, samples: int = 1, seed: int = 0) -> RandomStream:
        return RandomStream(self.config, samples, seed)
