"""Sources of the scored reactions: a generator, a file, the real listener, or another appropriate listener."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from react_ros.corpus.clips import CorpusError, Dyad
from react_ros.corpus.reader import Corpus
from react_ros.evaluation.corpora.plan import ANOTHER_LISTENER, GROUND_TRUTH, Plan, Row
from react_ros.evaluation.corpora.source_digest import source_digest
from react_ros.face import ATTRIBUTES, FACE_MODEL, Floats, Reaction
from react_ros.generators import registry
from react_ros.io import map_npy

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClipReactions:
    """P reactions to one clip's speaker."""

    attributes: Floats
    """(P, T, 25)."""
    face_model: Floats | None
    """(P, T, 58), or None where the source has none."""
    left_out: tuple[int | None, ...] = ()
    """Per sample, the dyad whose listener it is and which it is therefore not compared with; empty: none."""
    distinct: int = 0
    """Number of samples that differ; the others are copies of them. 0: all differ."""


class Source(ABC):
    """Reactions to clips; the same clip always gets the same reactions."""

    @abstractmethod
    def react(self, dyad: Dyad) -> ClipReactions:
        """The reactions to this dyad's speaker. Raises CorpusError, naming the clip, where there are none."""

    def content(self) -> dict[str, str]:
        """Digests of all files and code, beside the corpus and the metrics, that the reactions depend on."""
        return {}


class GroundTruth(Source):
    """The real listener, as every sample."""

    def __init__(self, corpus: Corpus, plan: Plan) -> None:
        self._corpus, self._samples = corpus, plan.samples

    def react(self, dyad: Dyad) -> ClipReactions:
        return _repeat(_listener(self._corpus, dyad), self._samples)


class AnotherListener(Source):
    """The ceiling: each sample is one of the appropriate listeners, compared with the others only.

    The appropriate listeners are taken in shuffled order, repeatedly where there are fewer than samples.
    """

    def __init__(self, corpus: Corpus, plan: Plan, dyads: Sequence[Dyad], appropriate: Mask) -> None:
        self._corpus, self._plan, self._appropriate = corpus, plan, appropriate
        self._dyads = {dyad.index: dyad for dyad in dyads}

    def react(self, dyad: Dyad) -> ClipReactions:
        neighbours = [int(i) for i in np.flatnonzero(self._appropriate[dyad.index]) if int(i) in self._dyads]
        if len(neighbours) < 2:
            raise CorpusError(f"{dyad.name} has only one appropriate listener: {ANOTHER_LISTENER} needs two")
        order = np.random.default_rng(clip_seed(self._plan.seed, dyad)).permutation(neighbours)
        chosen = [int(order[s % len(order)]) for s in range(self._plan.samples)]
        each = [_listener(self._corpus, self._dyads[i]) for i in chosen]
        models = [r.face_model for r in each if r.face_model is not None]
        frames = min(len(r.attributes[0]) for r in each)  # MARS: listeners of one session differ in length
        return ClipReactions(
            np.concatenate([r.attributes[:, :frames] for r in each]),
            None
            if any(m is None for m in models)
            else np.concatenate([m[:, :frames] for m in models if m is not None]),
            tuple(chosen),
        )


class Generated(Source):
    """A generator's reactions to the clip's own speaker, or to another clip's (`row.shuffled`).

    Both use the same seed, so that a generator that ignores its input gives the same reactions in both.
    """

    def __init__(
        self, row: Row, corpus: Corpus, plan: Plan, dyads: Sequence[Dyad], appropriate: Mask, mean: Path | None
    ) -> None:
        parameters = dict(row.parameters)
        statistics = registry.system(row.name).corpus_statistics
        if statistics and mean is not None:
            parameters.setdefault(statistics, str(mean))
        self._generator = registry.create(row.name, **parameters)
        self._parameters = parameters
        self._row, self._corpus, self._plan, self._dyads = row, corpus, plan, list(dyads)
        self._appropriate = appropriate

    def content(self) -> dict[str, str]:
        """What the generator reports to have loaded, every parameter that is a file, and the generator's code."""
        named = {k: Path(v) for k, v in self._parameters.items() if isinstance(v, str) and v}
        content = dict(self._generator.content())
        files = {name: _sha256(path) for name, path in named.items() if path.is_file()}
        content |= {f"{name} file": d for name, d in files.items() if d not in content.values()}
        module = registry.system(self._row.name).generator.partition(":")[0]
        return {**content, "code": source_digest(module)}

    def react(self, dyad: Dyad) -> ClipReactions:
        heard = other_speaker(dyad, self._dyads, self._appropriate, self._plan.seed) if self._row.shuffled else dyad
        frames = self._corpus.frames(heard.speaker)
        generate = self._generator.generate_offline if self._plan.protocol == "offline" else self._generator.generate
        return stack(generate(frames, samples=self._plan.samples, seed=clip_seed(self._plan.seed, dyad)))


class Predictions(Source):
    """Reactions from a file: npy of (N, P, T, 25), (N, T, 25), or with 83 = 58 + 25 channels.

    The first axis is the split's dyads in order. Raises ValueError, in one sentence, for another shape.
    """

    def __init__(self, row: Row, plan: Plan, clips: int) -> None:
        path = Path(row.file)
        try:
            array = map_npy(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ValueError(f"predictions {path} cannot be read as npy: {reason}") from error
        wanted = f"({clips}, {plan.samples}, {plan.frames}, {ATTRIBUTES} or {FACE_MODEL + ATTRIBUTES})"
        if array.ndim == 3:
            array = array[:, None]
        if array.ndim != 4 or array.shape[:3] != (clips, plan.samples, plan.frames):
            raise ValueError(f"predictions {path} have shape {array.shape}, but the split and samples need {wanted}")
        if array.shape[3] not in (ATTRIBUTES, FACE_MODEL + ATTRIBUTES) or array.dtype.kind != "f":
            raise ValueError(
                f"predictions {path} hold {array.shape[3]} channels of {array.dtype}, but floats {wanted} are needed"
            )
        self._array, self._path = array, path

    def content(self) -> dict[str, str]:
        return {"predictions": _sha256(self._path)}

    def react(self, dyad: Dyad) -> ClipReactions:
        clip = np.asarray(self._array[dyad.index], np.float32)
        return ClipReactions(clip[..., -ATTRIBUTES:], clip[..., :FACE_MODEL] if clip.shape[-1] > ATTRIBUTES else None)


def open_source(
    row: Row, corpus: Corpus, plan: Plan, dyads: Sequence[Dyad], appropriate: Mask, mean: Path | None = None
) -> Source:
    """Open the source of a row.

    dyads: all usable ones. appropriate: (N, N). mean: statistics of the training listeners, for systems that need them.
    Raises ValueError or CorpusError in one sentence.
    """
    if row.name == GROUND_TRUTH:
        return GroundTruth(corpus, plan)
    if row.name == ANOTHER_LISTENER:
        return AnotherListener(corpus, plan, dyads, appropriate)
    if row.file:
        return Predictions(row, plan, len(appropriate))
    return Generated(row, corpus, plan, dyads, appropriate, mean)


def clip_seed(seed: int, dyad: Dyad) -> int:
    """The seed of one clip's reactions, independent of shards."""
    return int(np.random.SeedSequence((seed, dyad.index)).generate_state(1)[0])


def other_speaker(dyad: Dyad, dyads: Sequence[Dyad], appropriate: Mask, seed: int) -> Dyad:
    """The dyad whose speaker a shuffled generator hears: one whose listener is not appropriate for this dyad's speaker.

    With swapped roles its speaker must not be an appropriate listener either: miming it would be a perfect answer.
    Raises CorpusError where there is none.
    """
    answers = {d.listener for d in dyads if appropriate[dyad.index, d.index]} | {dyad.listener}
    strangers = [d for d in dyads if not appropriate[dyad.index, d.index] and d.speaker not in answers]
    if not strangers:
        raise CorpusError(f"{dyad.name}: all other listeners are appropriate, so there is no speaker to shuffle in")
    draw = np.random.default_rng(np.random.SeedSequence((seed, dyad.index, 1)))
    return strangers[int(draw.integers(len(strangers)))]


def stack(reactions: Sequence[Reaction]) -> ClipReactions:
    """T reactions of P samples each as arrays (P, T, …)."""
    return ClipReactions(
        np.stack([r.attributes for r in reactions], axis=1), np.stack([r.face_model for r in reactions], axis=1)
    )


def _listener(corpus: Corpus, dyad: Dyad) -> ClipReactions:
    listener = dyad.listener
    model = None if listener.face_model is None else corpus.face_model(listener)[None]
    return ClipReactions(corpus.attributes(listener)[None], model)


def _repeat(reactions: ClipReactions, samples: int) -> ClipReactions:
    model = reactions.face_model
    return ClipReactions(
        np.repeat(reactions.attributes, samples, axis=0), None if model is None else np.repeat(model, samples, axis=0)
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
