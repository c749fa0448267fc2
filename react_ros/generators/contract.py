"""The streaming contract of generators: speaker frame k in, reaction k out, no look-ahead."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from react_ros.face import Reaction, SpeakerFrame

ROTATION_LIMIT, TRANSLATION_LIMIT = 0.6, 0.3
"""Bounds of every reaction's head motion: rad for each angle, m for each axis."""


def sample_rngs(seed: int, samples: int, purpose: int) -> list[np.random.Generator]:
    """One random generator for each listener: that of listener i does not depend on the number of listeners.

    purpose: a number that makes parts with the same seed independent of each other.
    Raises ValueError for samples < 1 or seed < 0.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}: a stream has at least 1 listener")
    if seed < 0:
        raise ValueError(f"seed is {seed}: it must be 0 or more")
    return [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, i))) for i in range(samples)]


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """The properties of a generator that others need to know."""

    name: str
    summary: str
    """One line, for lists of systems."""
    inputs: tuple[str, ...]
    """What it uses of a speaker frame: "blendshapes", "rotation", "translation", "attributes", "sound", "embedding"."""
    delay_frames: int = 0
    """Its own delay from a speaker frame to the reaction to it, in frames of 40 ms; the mean where it is random."""
    learned: bool = False
    stochastic: bool = True
    """Whether another seed gives another listener; False: all samples are equal."""
    idles: bool = True
    """Whether the face blinks and breathes while nobody is present; False for constant baselines."""
    notice: str = ""
    """What viewers must be told, e.g. that the weights were trained on simulated people."""
    weights: str = ""
    """SHA-256 of its weights' file; empty on the class, and where nothing was learned."""


class Stream(ABC):
    """One run of a generator: S listeners of the same speaker.

    Memory and time per step are constant; `step` never looks ahead; the same seed and the same frames give the same
    bits on the same machine. Missing input (no face, no sound) is data: the reaction is a calm face with idle life.
    """

    samples: int
    seed: int
    schedule: str = "frame by frame"
    """For people: how reactions are scheduled. A chunked system names window, hop, inference delay and crossfade."""

    @abstractmethod
    def step(self, frame: SpeakerFrame) -> Reaction:
        """The reaction to the next frame, with its index and stamp; the arrays belong to the caller.

        Head rotation is within `ROTATION_LIMIT`, translation within `TRANSLATION_LIMIT`.
        """

    def run_asynchronously(self) -> None:
        """Compute action chunks in a background thread from now on, so that no step waits for one.

        A late chunk takes effect at the frame at which it is finished; until then the former one is played, then idle
        life. Must be called before the first step. No effect on systems without action chunks.
        """
        return

    def follow(self, starts: Mapping[int, int]) -> None:
        """Let action chunks take effect at the frames of a recording, and wait for them.

        starts: for each chunk, the frame at which it took effect, as `recorded_starts` gives them. With the frames of
        that recording the stream gives the recorded reactions. Must be called before the first step. No effect on
        systems without action chunks.
        """
        return

    @property
    def late_chunks(self) -> int:
        """Number of action chunks that were not ready when they were to take effect."""
        return 0

    @property
    def warning(self) -> str:
        """What currently fails in the background, in one sentence; empty where nothing does."""
        return ""


def recorded_starts(reactions: Iterable[Reaction]) -> dict[int, int]:
    """For each action chunk in these consecutive reactions, the frame at which it took effect (see `Stream.follow`)."""
    starts: dict[int, int] = {}
    for reaction in reactions:
        starts.setdefault(reaction.action_chunk, reaction.index)
    return starts


class Generator(ABC):
    """A system with its parameters and weights, shared by all of its streams and changed by none.

    Built with a config, `MyGenerator(MyConfig(...))`, or by the system's name: `registry.create(name, **parameters)`.
    """

    Config: ClassVar[type[Any]]
    """Frozen dataclass of the parameters; raises ValueError, in one sentence, for an impossible value."""
    config: Any
    """The `Config` of this generator."""
    info: GeneratorInfo
    """On the class: with the default parameters. On an instance: with its own."""
    liveliness: float = 1.0
    """The dial that every system has, 0 to 2 (`generators/liveliness.py`); systems themselves never set it."""

    @property
    def parameters(self) -> int:
        """Number of learned parameters; 0 for a rule."""
        return 0

    def chunk_function(self, samples: int) -> Callable[[], object] | None:
        """A function that computes one action chunk for so many listeners at each call, for benchmarks.

        None for systems without action chunks.
        """
        return None

    @abstractmethod
    def start(self, *, samples: int = 1, seed: int = 0) -> Stream:
        """A new stream of `samples` listeners. Raises ValueError for samples < 1 or seed < 0."""

    def generate(self, frames: Iterable[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The batch path over a clip: the reactions of a stream that steps through it.

        Systems that have a faster way override it; the contract tests compare the two.
        """
        stream = self.start(samples=samples, seed=seed)
        return [stream.step(frame) for frame in frames]

    def generate_offline(self, frames: Sequence[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The challenge's offline protocol: the whole clip is known before the first reaction.

        The default is the online protocol; systems that can use the future override it.
        """
        return self.generate(frames, samples=samples, seed=seed)

    def content(self) -> Mapping[str, str]:
        """SHA-256 digests of every file that the reactions depend on: weights, styles, statistics.

        By what the file is to the generator ("weights", "style/NAME.npz", ...). Results that were computed with one
        content are not valid for another. Systems that read further files override this.
        """
        if not self.info.weights:
            return {}
        digests = {"weights": self.info.weights}
        # The card beside the weights holds sizes and sampling advice, which the digest of the tensors does not cover.
        if isinstance(name := getattr(self.config, "weights", None), str):
            from react_ros.nn.weights import load_weights

            with suppress(ValueError):  # weights in a format of the system's own
                text = json.dumps(dict(load_weights(name, self.info.name).config), sort_keys=True)
                digests["weights' config"] = hashlib.sha256(text.encode()).hexdigest()
        return digests
