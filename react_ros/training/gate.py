"""The gate of training: a stage's checkpoints before real speakers, and the choice between them.

Rule: of the validated checkpoints whose validation loss is at most `tolerance` above the lowest, the one with the
highest gate score is taken. A lower loss on simulated people alone does not make a listener of real ones, and a high
score alone may be luck with a few clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from react_ros.config import in_range, whole_in_range
from react_ros.corpus.pool import Progress
from react_ros.evaluation.behaviour.responsiveness import Responsiveness
from react_ros.evaluation.responsiveness.clips import SpeakerClip, clips_digest, read_clips
from react_ros.evaluation.responsiveness.score import responsiveness
from react_ros.face import EXPRESSION_58, Floats, Reaction, SpeakerFrame, split_face_model
from react_ros.generators.contract import Generator, GeneratorInfo, Stream

STILL_CLIPS = 3
"""How many clips' still faces, which must not be nodded at, a checkpoint has before it."""


@dataclass(frozen=True, slots=True)
class GateConfig:
    """The gate of one stage. Raises ValueError for an impossible value."""

    clips: str
    """Folder of clips of real speakers (npz or films), or a bag, or a corpus, see `react-ros evaluate
    --responsiveness`."""
    every: int = 1
    """Epochs from one gate to the next; the last epoch is always gated."""
    samples: int = 2
    """Listeners for each clip."""
    seed: int = 1
    tolerance: float = 0.05
    """Share by which a checkpoint's validation loss may be above the lowest."""

    def __post_init__(self) -> None:
        if not self.clips:
            raise ValueError("clips is empty: it must name a folder of clips of real speakers")
        whole_in_range("every", self.every, 1, 1_000_000, "epochs")
        whole_in_range("samples", self.samples, 1, 100)
        whole_in_range("seed", self.seed, 0, 2**31 - 1)
        in_range("tolerance", self.tolerance, 0.0, 10.0)


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate with its clips read."""

    config: GateConfig
    clips: Sequence[SpeakerClip]
    digest: str
    """Of the clips."""

    @classmethod
    def open(cls, config: GateConfig, progress: Progress | None = None) -> Gate:
        """Read the clips. Raises ValueError, in one sentence, where there are none."""
        report = None if progress is None else (lambda done, total: progress(int(done), int(total or 0)))
        clips, _ = read_clips(Path(config.clips), progress=report)
        return cls(config, clips, clips_digest(clips))

    def score(self, listener: Generator) -> Responsiveness:
        """A checkpoint's figures."""
        seeds, samples = (self.config.seed,), self.config.samples
        own = responsiveness(listener, self.clips, samples, seeds)
        still = responsiveness(listener, self.clips[:STILL_CLIPS], samples, seeds, conditions=("still",))
        return replace(own, clips=own.clips + still.clips, notes=own.notes + still.notes)

    def describe(self) -> dict[str, Any]:
        """Where the clips come from, for the model card; names and digest only."""
        return {
            "clips": Path(self.config.clips).name, "count": len(self.clips), "digest": self.digest[:16],
            "samples": self.config.samples, "seed": self.config.seed, "tolerance": self.config.tolerance,
        }  # fmt: skip


class ExpectedListener(Generator):
    """The mean reaction that a network expects, as the only listener: for the gate of a stage that samples nothing."""

    def __init__(self, name: str, expect: Callable[[Sequence[SpeakerFrame]], tuple[Floats, Floats]]) -> None:
        """expect: frames to a face model (T, 58) and attributes (T, 25)."""
        self._expect = expect
        self.info = GeneratorInfo(name, "the expected reaction", (), learned=True, stochastic=False)

    def start(self, *, samples: int = 1, seed: int = 0) -> Stream:
        raise ValueError(f"the expected reaction of {self.info.name} is for whole clips: it has no stream")

    def generate(self, frames: Iterable[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The same reaction as every sample."""
        frames = list(frames)
        face, attributes = self._expect(frames)
        face[:, EXPRESSION_58] = face[:, EXPRESSION_58].clip(0.0, 1.0)
        out = []
        for frame, own, felt in zip(frames, face, attributes, strict=True):
            blendshapes, rotation, translation, felt = (
                np.repeat(x[None], samples, axis=0) for x in (*split_face_model(own), felt)
            )
            out.append(Reaction(frame.index, frame.stamp_ns, blendshapes, rotation, translation, felt))
        return out


@dataclass(frozen=True, slots=True)
class Candidate:
    """A validated checkpoint with its gate."""

    step: int
    loss: float
    """On the val split, see `TrainingStage.judged_by`."""
    score: float
    figures: Mapping[str, float]
    """Of the validation, and of the gate by "gate: NAME"."""


def candidates_left(candidates: Sequence[Candidate], lowest: float, tolerance: float) -> list[Candidate]:
    """Those that may still be chosen: within the tolerance of the lowest loss, and not behind another in both."""
    limit = lowest + tolerance * abs(lowest)
    near = [c for c in candidates if c.loss <= limit]
    return [c for c in near if not any(_better(other, c) for other in near)]


def choose(candidates: Sequence[Candidate], lowest: float, tolerance: float) -> Candidate | None:
    """The one with the highest score within the tolerance; of equal ones that of lower loss. None: there is none."""
    near = candidates_left(candidates, lowest, tolerance)
    return max(near, key=lambda c: (c.score, -c.loss), default=None)


def _better(a: Candidate, b: Candidate) -> bool:
    """Whether a is at least as good as b in both, and better in one, or equal and earlier."""
    if (a.loss, a.score) == (b.loss, b.score):
        return a.step < b.step
    return a.loss <= b.loss and a.score >= b.score
