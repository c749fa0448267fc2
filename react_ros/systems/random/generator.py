"""The random baseline: uniform noise, independent of the speaker."""

from __future__ import annotations

import numpy as np

from react_ros.face import ARKIT, ATTRIBUTES, EXPRESSION_58, FACE_MODEL, Reaction, SpeakerFrame
from react_ros.generators.contract import Generator, GeneratorInfo, Stream, sample_rngs
from react_ros.generators.idle import IdleLife
from react_ros.generators.idle_blending import idle_face
from react_ros.generators.presence import Presence
from react_ros.generators.sanitize import sanitize
from react_ros.systems.random.config import RandomConfig


class RandomStream(Stream):
    """S listeners of noise: every blendshape and attribute of every frame is sampled from U(0, 1), independently.

    So FRVar is 1/12 and FRDiv 1/6, as published for the challenge's baseline. Idle life while nobody is present.
    """

    def __init__(self, config: RandomConfig, samples: int, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self._head = config.head_rad
        self._rngs = sample_rngs(seed, samples, purpose=0)
        self._u = np.zeros((samples, len(ARKIT) + ATTRIBUTES + 3), np.float32)
        self._presence = Presence()
        self._idle = IdleLife(seed, samples)

    def step(self, frame: SpeakerFrame) -> Reaction:
        for i, rng in enumerate(self._rngs):
            rng.random(out=self._u[i], dtype=np.float32)
        idle = self._idle.step()
        live = self._presence.step(sanitize(frame))
        if live:
            blendshapes, attributes, head = np.split(self._u.copy(), (len(ARKIT), len(ARKIT) + ATTRIBUTES), axis=1)
            rotation = (2.0 * head - 1.0) * np.float32(self._head)
        else:
            face = idle_face(idle).astype(np.float32)
            blendshapes, attributes, rotation = face[:, EXPRESSION_58], face[:, FACE_MODEL:], idle.rotation
        return Reaction(frame.index, frame.stamp_ns, blendshapes, rotation, idle.translation, attributes, live)


class Random(Generator):
    """The REACT challenge's random baseline: a floor for every other system."""

    Config = RandomConfig
    info = GeneratorInfo(
        name="random",
        summary="baseline: uniform noise in every frame",
        inputs=(),
        notice="Noise for comparison, not for showing to people: the whole face flickers at 25 Hz.",
    )

    def __init__(self, config: RandomConfig | None = None) -> None:
        self.config = config or RandomConfig()

    def start(self, *, samples: int = 1, seed: int = 0) -> RandomStream:
        return RandomStream(self.config, samples, seed)
