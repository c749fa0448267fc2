"""The streaming contract that every generator keeps: frame k in, reaction k out, no look-ahead."""

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


def sample_rngs(seed: int, samples: int, purpose: int) -> list[np.random.Generator]:
    """One random generator a listener: listener i draws the same numbers however many listeners there are.

    purpose: a number that tells parts which share a seed apart, so that they do not draw the same numbers.
    Raises ValueError for samples < 1 or seed < 0.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}: a stream has at least 1 listener")
    if seed < 0:
        raise ValueError(f"seed is {seed}: it must be 0 or more")
    return [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, i))) for i in range(samples)]


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """What a generator says of itself."""

    name: str
    summary: str
    """One line for people who choose."""
    inputs: tuple[str, ...]
    """What it listens to: "blendshapes", "rotation", "translation", "attributes", "sound", "embedding"."""
    delay_frames: int = 0
    """Its own delay between what it hears and what it shows, in frames of 40 ms (the mean, where it is drawn)."""
    learned: bool = False
    stochastic: bool = True
    """Whether another seed gives another listener; where False, all samples are alike."""
    living: bool = True
    """Whether the face goes on blinking and breathing when nobody is there; False for constant baselines."""
    notice: str = ""
    """What a viewer must know, e.g. that the weights were trained on simulated people."""
    weights: str = ""
    """SHA-256 of the file of its weights; empty where nothing was learned, and on the class."""


class Stream(ABC):
    """One running listener group: S listeners that hear the same speaker.

    Memory and time per step are constant; `step` never looks ahead; the same seed and the same frames give the
    same bits on the same machine. Missing input (no face, no sound) is data: the reaction is a calm, living face.
    """

    samples: int
    seed: int
    schedule: str = "frame by frame"
    """How reactions come about, for people: a windowed system says when its chunks begin and take effect."""

    @abstractmethod
    def step(self, frame: SpeakerFrame) -> Reaction:
        """Answer frame k. The reaction carries the frame's index and stamp; its arrays are the caller's to keep."""

    def run_asynchronously(self) -> None:
        """From the next step on nothing heavy holds up a step: chunks are made in another thread, and may be late.

        A late chunk takes effect at the frame at which it is there; until then the face goes on living. To be called
        before the first step. Systems without chunks do nothing here.
        """
        return

    def follow(self, effects: Mapping[int, int]) -> None:
        """Let chunks take effect where they did in a recording, and wait for them.

        effects: of each chunk the frame at which it took effect, as `recorded_starts` reads it. With the frames of
        that recording the stream then gives the same reactions. To be called before the first step. Systems without
        chunks do nothing here.
        """
        return

    @property
    def late_chunks(self) -> int:
        """How many chunks were not there when they were to take effect."""
        return 0

    @property
    def trouble(self) -> str:
        """What at present goes wrong beside the clock, in one sentence; empty where nothing does."""
        return ""


def recorded_starts(reactions: Iterable[Reaction]) -> dict[int, int]:
    """Of each chunk that reactions show, in order, the frame at which it took effect: what `Stream.follow` takes."""
    effects: dict[int, int] = {}
    for reaction in reactions:
        effects.setdefault(reaction.action_chunk, reaction.index)
    return effects


class Generator(ABC):
    """A named system: parameters and weights, shared by all of its streams and changed by none of them.

    It is built with its parameters, `System(System.Config(...))`, or by name through the registry.
    """

    Config: ClassVar[type[Any]]
    """Dataclass of the system's parameters; refuses impossible values with one sentence (ValueError)."""
    config: Any
    """Its own parameters, all of them."""
    info: GeneratorInfo
    """On the class: the system with its defaults. On an instance: the system with its own parameters."""

    @property
    def parameters(self) -> int:
        """How many numbers were learned; 0 for a rule."""
        return 0

    def chunk_benchmark(self, samples: int) -> Callable[[], object] | None:
        """What makes one chunk for so many listeners each time it is called, for those who time it.

        None for systems whose steps do all there is to do.
        """
        return None

    @abstractmethod
    def start(self, *, samples: int = 1, seed: int = 0) -> Stream:
        """Begin a stream of `samples` listeners. Raises ValueError for samples < 1 or seed < 0."""

    def generate(self, frames: Iterable[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The batch path over a clip: the same numbers as stepping through it.

        Systems that can do a clip faster than step by step override it; a test holds the two against each other.
        """
        stream = self.start(samples=samples, seed=seed)
        return [stream.step(frame) for frame in frames]

    def generate_offline(self, frames: Sequence[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The challenge's offline protocol, where the whole clip is known before the first reaction.

        A system without look-ahead answers as it does online; windowed systems override it.
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
