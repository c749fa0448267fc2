"""Scores blocks of clips, and stores them so that blocks of other runs merge exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from react_ros.corpus.clips import CorpusError, Dyad
from react_ros.corpus.reader import Corpus
from react_ros.evaluation.behaviour.events import MotionSeries
from react_ros.evaluation.behaviour.timing import ClipTiming, time_clip
from react_ros.evaluation.corpora.plan import Plan
from react_ros.evaluation.corpora.sources import ClipReactions, Mask, Source
from react_ros.evaluation.metrics.appropriateness import OUT_OF
from react_ros.evaluation.metrics.challenge import DvsSums, Mode, binarize, frcorr, frdist, frdiv, frsyn_offsets, frvar
from react_ros.evaluation.metrics.pictures import PictureScorer, PictureSums, sampled_clips
from react_ros.evaluation.metrics.realism import MomentSums, motion_sums
from react_ros.face import ARKIT_SCHEME, ATTRIBUTE_NAMES, EXPRESSION_58, ROTATION_58, Floats, SoundState

MODES: tuple[Mode, ...] = ("official", "corrected")
MOST_TIMED = 2
"""Samples per clip whose human timing is measured."""
MOST_TESTED = 400
"""Most clips whose first sample goes into the two-sample test: of more, evenly spread ones."""

_SCORES = ("frdiv", "frvar", *(f"{name}/{mode}" for mode in MODES for name in ("frcorr", "frdist", "offset")))

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class Block:
    """The scores of some clips of one row."""

    values: Arrays = field(default_factory=dict)
    """By name: arrays with one entry per clip along the first axis."""
    parts: dict[str, Arrays] = field(default_factory=dict)
    """Sums over the clips, by name, as `to_arrays` of their classes returns them."""
    failed: list[str] = field(default_factory=list)
    """A sentence per clip that could not be scored."""
    timing: list[ClipTiming] = field(default_factory=list)
    tested: list[Floats] = field(default_factory=list)
    """(T, 25) or (T, 83): the first sample of each clip in `values["tested/clip"]`."""

    def has(self, part: str) -> bool:
        """Whether the block has sums of that name."""
        return part in self.parts

    def part(self, name: str) -> Mapping[str, npt.NDArray[Any]]:
        """The sums of that name."""
        return self.parts[name]


def write_block(file: BinaryIO, block: Block) -> None:
    """Write a block as npz, without pickles."""
    arrays = {f"value:{k}": v for k, v in block.values.items()}
    arrays |= {f"part:{name}:{k}": v for name, part in block.parts.items() for k, v in part.items()}
    arrays |= {f"tested:{i:04}": x for i, x in enumerate(block.tested)}
    text = json.dumps({"failed": block.failed, "timing": [t.to_dict() for t in block.timing]})
    arrays["json"] = np.frombuffer(text.encode(), np.uint8)
    np.savez_compressed(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def read_block(path: Path) -> Block:
    """Read what `write_block` wrote. Raises ValueError, in one sentence, for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
            values = json.loads(arrays.pop("json").tobytes())
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path} is not a block of an evaluation (delete it, and it is computed again): {error}"
        ) from error
    block = Block(failed=values["failed"], timing=[ClipTiming.from_dict(t) for t in values["timing"]])
    for key, array in sorted(arrays.items()):
        kind, name = key.split(":", 1)
        if kind == "value":
            block.values[name] = array
        elif kind == "tested":
            block.tested.append(array)
        else:
            part, field_name = name.rsplit(":", 1)
            block.parts.setdefault(part, {})[field_name] = array
    return block


class Scorer:
    """Scores reactions against the corpus. A clip's scores do not depend on the block it is in."""

    def __init__(
        self, corpus: Corpus, plan: Plan, dyads: Sequence[Dyad], appropriate: Mask, frames: int | None
    ) -> None:
        """dyads: all usable ones. appropriate: (N, N), False for unusable ones. frames: over how many frames FRDvs is
        measured, which needs clips of equal length; None: all frames."""
        self._corpus, self._plan, self._appropriate, self._frames = corpus, plan, appropriate, frames
        self._dyads = {d.index: d for d in dyads}
        self._pictures = PictureScorer(plan.inception or None, plan.i3d or None) if plan.inception or plan.i3d else None
        self._rendered = {dyads[k].index for k in sampled_clips(len(dyads), "official")}
        every = -(-len(dyads) // MOST_TESTED)
        self._tested = {d.index for d in dyads[::every]}

    def score(self, source: Source, dyads: Sequence[Dyad], *, keep: bool, strict: bool) -> tuple[Block, list[Floats]]:
        """Score these dyads' clips.

        keep: whether the reactions are returned, (P, T, 25) each. strict: whether a clip that cannot be scored raises
        CorpusError; else it is named in the block.
        """
        block, kept = Block(), []
        values: dict[str, list[Any]] = {name: [] for name in ("clip", *_SCORES)}
        tested: list[Floats] = []
        sums = _Sums()
        for dyad in dyads:
            try:
                reactions = source.react(dyad)
                if self._plan.binarize:
                    reactions = replace(reactions, attributes=binarize(reactions.attributes).astype(np.float32))
                scored = self._scores(dyad, reactions)
                self._add(dyad, reactions, sums)
                block.timing += self._timing(dyad, reactions)
            except (CorpusError, ValueError) as error:
                sentence = str(error) if dyad.name in str(error) else f"{dyad.name}: {error}"
                if strict:
                    raise CorpusError(sentence) from None
                block.failed.append(sentence)
                continue
            for name, value in {"clip": dyad.index, **scored}.items():
                values.setdefault(name, []).append(value)
            if dyad.index in self._tested:
                whole = [reactions.attributes[0]]
                whole += [] if reactions.face_model is None else [reactions.face_model[0]]
                tested.append(np.concatenate(whole, axis=1))
                values.setdefault("tested/clip", []).append(dyad.index)
            if keep:
                kept.append(reactions.attributes)
        block.values = {name: np.array(v, np.float64) for name, v in values.items()}
        block.tested = tested
        block.parts = sums.to_arrays()
        return block, kept

    def _scores(self, dyad: Dyad, reactions: ClipReactions) -> dict[str, Any]:
        """The metrics of a single clip."""
        generated = reactions.attributes
        bad = np.argwhere(~np.isfinite(generated))
        if len(bad):
            sample, frame, column = (int(i) for i in bad[0])
            raise CorpusError(f"{dyad.name}: sample {sample} has no finite {ATTRIBUTE_NAMES[column]} in frame {frame}")
        speaker = self._corpus.attributes(dyad.speaker)
        generated, speaker = self._equal_length(dyad, generated, speaker)
        out: dict[str, Any] = {"frdiv": frdiv(generated), "frvar": frvar(generated)}
        for mode in MODES:
            out[f"frcorr/{mode}"] = self._compare(dyad, reactions, partial(self._frcorr, mode), mode)
            out[f"offset/{mode}"] = frsyn_offsets(generated, speaker, mode)
        total = self._compare(dyad, reactions, frdist, "official")
        out |= {"frdist/official": total, "frdist/corrected": OUT_OF * total / len(reactions.attributes)}
        model = reactions.face_model
        if model is not None and dyad.speaker.face_model is not None:
            model, speaker = self._equal_length(dyad, model, self._corpus.face_model(dyad.speaker))
            out |= {"smse": frdiv(model), "divf": frvar(model)}
            out |= {f"offset58/{mode}": frsyn_offsets(model, speaker, mode) for mode in MODES}
        return out

    def _compare(
        self, dyad: Dyad, reactions: ClipReactions, score: Callable[[Floats, list[Floats]], float], mode: Mode
    ) -> float:
        """The score against all appropriate listeners; of a sample that is one of them, against the others only.

        NaN where no listener is known.
        """
        if dyad.listener.attributes is None:
            return float("nan")
        appropriate = np.flatnonzero(self._appropriate[dyad.index])
        if not reactions.left_out:
            return score(reactions.attributes, self._listeners(appropriate))
        each = [
            score(sample[None], self._listeners(appropriate[appropriate != left_out]))
            for sample, left_out in zip(reactions.attributes, reactions.left_out, strict=True)
        ]
        # For a single sample the official mode returns its score and the corrected mode ten times that.
        return float(np.sum(each) if mode == "official" else np.mean(each))

    def _frcorr(self, mode: Mode, generated: Floats, listeners: list[Floats]) -> float:
        return frcorr(generated, listeners, mode, crop=self._corpus.layout == "mars")

    def _listeners(self, indices: npt.NDArray[np.integer]) -> list[Floats]:
        return [self._corpus.attributes(self._dyads[int(i)].listener) for i in indices]

    def _equal_length(self, dyad: Dyad, generated: Floats, speaker: Floats) -> tuple[Floats, Floats]:
        """Both cut to the shorter length (MARS). Raises CorpusError for other layouts."""
        frames = min(generated.shape[1], len(speaker))
        if self._corpus.layout != "mars" and frames != max(generated.shape[1], len(speaker)):
            raise CorpusError(
                f"{dyad.name}: {generated.shape[1]} frames of reactions but {len(speaker)} of the speaker"
            )
        return generated[:, :frames], speaker[:frames]

    def _add(self, dyad: Dyad, reactions: ClipReactions, sums: _Sums) -> None:
        """Add the clip to the sums over clips."""
        corpus, model = self._corpus, reactions.face_model
        sums.dvs.add(reactions.attributes[:, : self._frames])
        if model is not None:
            sums.divc.add(model[:, : self._frames])
        if dyad.listener.attributes is not None:
            sums.motion("real", motion_sums(corpus.attributes(dyad.listener), corpus.fps))
            for sample in reactions.attributes:
                sums.motion("generated", motion_sums(sample, corpus.fps))
        if self._pictures is not None and model is not None and dyad.index in self._rendered:
            sums.pictures("real", self._pictures.sums(corpus.face_model(dyad.listener), corpus.scheme, fps=corpus.fps))
            sums.pictures("generated", self._pictures.sums(model[0], corpus.scheme, fps=corpus.fps))

    def _timing(self, dyad: Dyad, reactions: ClipReactions) -> list[ClipTiming]:
        """Human timing of the first `MOST_TIMED` distinct samples."""
        corpus = self._corpus
        frames = corpus.frames(dyad.speaker)
        n = min(len(frames), reactions.attributes.shape[1])
        speech = f0 = None
        if dyad.speaker.audio is not None:
            speech = np.array([f.sound.state == SoundState.SPEECH for f in frames[:n]])
            f0 = np.array([f.sound.f0 for f in frames[:n]])
        with_face = corpus.scheme == ARKIT_SCHEME
        speaker_model = corpus.face_model(dyad.speaker)[:n] if dyad.speaker.face_model is not None else None
        speaker = _motion_series(corpus.attributes(dyad.speaker)[:n], speaker_model, with_face, corpus.fps)
        out = []
        for sample in range(min(MOST_TIMED, reactions.distinct or len(reactions.attributes))):
            model = None if reactions.face_model is None else reactions.face_model[sample, :n]
            listener = _motion_series(reactions.attributes[sample, :n], model, with_face, corpus.fps)
            out.append(time_clip(f"{dyad.index:06} {dyad.name}", listener, speaker, speech, f0, sample=sample))
        return out


def _motion_series(attributes: Floats, face_model: Floats | None, arkit: bool, fps: float) -> MotionSeries:
    if face_model is None:
        return MotionSeries.of_attributes(attributes, fps=fps)
    rotation = face_model[:, ROTATION_58]
    if arkit:
        return MotionSeries.of_arkit(face_model[:, EXPRESSION_58], rotation, fps)
    return MotionSeries.of_attributes(attributes, rotation, fps)


class _Sums:
    """Sums over the clips of a block, for the metrics that need many clips."""

    def __init__(self) -> None:
        self.dvs, self.divc = DvsSums(), DvsSums()
        self._moments: dict[str, MomentSums] = {}

    def motion(self, side: str, sums: MomentSums) -> None:
        self._put(f"motion/{side}", sums)

    def pictures(self, side: str, sums: PictureSums) -> None:
        for network, moments in (("inception", sums.inception), ("i3d", sums.i3d)):
            if moments is not None:
                self._put(f"{network}/{side}", moments)

    def _put(self, name: str, sums: MomentSums) -> None:
        self._moments[name] = self._moments[name] + sums if name in self._moments else sums

    def to_arrays(self) -> dict[str, Arrays]:
        out = {name: moments.to_arrays() for name, moments in self._moments.items()}
        for name, sums in (("dvs", self.dvs), ("divc", self.divc)):
            if sums.count:
                out[name] = sums.to_arrays()
        return out
