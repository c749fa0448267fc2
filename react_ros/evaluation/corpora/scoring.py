"""Scores clips, a block at a time, and keeps what blocks of other runs are merged with."""

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
from react_ros.evaluation.behaviour.events import Motion
from react_ros.evaluation.behaviour.timing import ClipTiming, time_clip
from react_ros.evaluation.corpora.plan import Plan
from react_ros.evaluation.corpora.sources import ClipReactions, Mask, Source
from react_ros.evaluation.metrics.appropriateness import OUT_OF
from react_ros.evaluation.metrics.challenge import DvsSums, Mode, binarize, frcorr, frdist, frdiv, frsyn_offsets, frvar
from react_ros.evaluation.metrics.pictures import PictureScorer, PictureSums, sampled_clips
from react_ros.evaluation.metrics.realism import MomentSums, motion_sums
from react_ros.face import ARKIT_SCHEME, ATTRIBUTE_NAMES, EXPRESSION_58, ROTATION_58, Floats, SoundState

MODES: tuple[Mode, ...] = ("official", "sound")
MOST_TIMED = 2
"""Samples a clip whose human timing is measured."""
MOST_TESTED = 400
"""Clips whose first sample the two-sample test looks at: of more, evenly spread ones."""

_SCORES = ("frdiv", "frvar", *(f"{name}/{mode}" for mode in MODES for name in ("frcorr", "frdist", "offset")))

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class Block:
    """What some clips of one row scored."""

    values: Arrays = field(default_factory=dict)
    """By name: one entry a clip along the first axis."""
    parts: dict[str, Arrays] = field(default_factory=dict)
    """Sums over the clips, by name, as their classes write them."""
    failed: list[str] = field(default_factory=list)
    """A sentence for each clip that could not be scored."""
    timing: list[ClipTiming] = field(default_factory=list)
    tested: list[Floats] = field(default_factory=list)
    """(T, 25) or (T, 83): the first sample of each clip in `values["tested/clip"]`."""

    def has(self, part: str) -> bool:
        """Whether the sums of that name are there."""
        return part in self.parts

    def part(self, name: str) -> Mapping[str, npt.NDArray[Any]]:
        """The sums of that name."""
        return self.parts[name]


def write_block(file: BinaryIO, block: Block) -> None:
    """As npz, without pickles."""
    arrays = {f"value:{k}": v for k, v in block.values.items()}
    arrays |= {f"part:{name}:{k}": v for name, part in block.parts.items() for k, v in part.items()}
    arrays |= {f"tested:{i:04}": x for i, x in enumerate(block.tested)}
    told = json.dumps({"failed": block.failed, "timing": [t.to_dict() for t in block.timing]})
    arrays["told"] = np.frombuffer(told.encode(), np.uint8)
    np.savez_compressed(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def read_block(path: Path) -> Block:
    """What `write_block` wrote. Raises ValueError, in one sentence, for a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
            told = json.loads(arrays.pop("told").tobytes())
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path} is no block of an evaluation (delete it to have it computed anew): {error}"
        ) from error
    block = Block(failed=told["failed"], timing=[ClipTiming.from_dict(t) for t in told["timing"]])
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
    """Scores reactions against the corpus. The same clip gives the same numbers, whoever asks for it."""

    def __init__(
        self, corpus: Corpus, plan: Plan, dyads: Sequence[Dyad], appropriate: Mask, frames: int | None
    ) -> None:
        """dyads: all that can be used. appropriate: (N, N) without the others. frames: over how many FRDvs is
        measured, which needs clips of one length; None where they have one."""
        self._corpus, self._plan, self._appropriate, self._frames = corpus, plan, appropriate, frames
        self._dyads = {d.index: d for d in dyads}
        self._pictures = PictureScorer(plan.inception or None, plan.i3d or None) if plan.inception or plan.i3d else None
        self._drawn = {dyads[k].index for k in sampled_clips(len(dyads), "official")}
        every = -(-len(dyads) // MOST_TESTED)
        self._tested = {d.index for d in dyads[::every]}

    def score(self, source: Source, dyads: Sequence[Dyad], *, keep: bool, strict: bool) -> tuple[Block, list[Floats]]:
        """Score these dyads' clips.

        keep: whether the reactions are returned, (P, T, 25) each. strict: whether a clip that cannot be scored ends
        it (CorpusError); else it is named in the block.
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
        """What is measured of one clip by itself."""
        made = reactions.attributes
        bad = np.argwhere(~np.isfinite(made))
        if len(bad):
            sample, frame, column = (int(i) for i in bad[0])
            raise CorpusError(f"{dyad.name}: sample {sample} has no finite {ATTRIBUTE_NAMES[column]} in frame {frame}")
        speaker = self._corpus.attributes(dyad.speaker)
        made, speaker = self._equally_long(dyad, made, speaker)
        out: dict[str, Any] = {"frdiv": frdiv(made), "frvar": frvar(made)}
        for mode in MODES:
            out[f"frcorr/{mode}"] = self._held_against(dyad, reactions, partial(self._frcorr, mode), mode)
            out[f"offset/{mode}"] = frsyn_offsets(made, speaker, mode)
        total = self._held_against(dyad, reactions, frdist, "official")
        out |= {"frdist/official": total, "frdist/sound": OUT_OF * total / len(reactions.attributes)}
        model = reactions.face_model
        if model is not None and dyad.speaker.face_model is not None:
            model, speaker = self._equally_long(dyad, model, self._corpus.face_model(dyad.speaker))
            out |= {"smse": frdiv(model), "divf": frvar(model)}
            out |= {f"offset58/{mode}": frsyn_offsets(model, speaker, mode) for mode in MODES}
        return out

    def _held_against(
        self, dyad: Dyad, reactions: ClipReactions, score: Callable[[Floats, list[Floats]], float], mode: Mode
    ) -> float:
        """The score against all appropriate listeners; a sample that is one of them, against the others only.

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
        # Of a single sample the official mode gives its score and the sound mode ten times that.
        return float(np.sum(each) if mode == "official" else np.mean(each))

    def _frcorr(self, mode: Mode, made: Floats, listeners: list[Floats]) -> float:
        return frcorr(made, listeners, mode, crop=self._corpus.layout == "mars")

    def _listeners(self, indices: npt.NDArray[np.integer]) -> list[Floats]:
        return [self._corpus.attributes(self._dyads[int(i)].listener) for i in indices]

    def _equally_long(self, dyad: Dyad, made: Floats, speaker: Floats) -> tuple[Floats, Floats]:
        """Both as long as the shorter, which only MARS asks for. Raises CorpusError elsewhere."""
        frames = min(made.shape[1], len(speaker))
        if self._corpus.layout != "mars" and frames != max(made.shape[1], len(speaker)):
            raise CorpusError(f"{dyad.name}: {made.shape[1]} frames of reactions but {len(speaker)} of the speaker")
        return made[:, :frames], speaker[:frames]

    def _add(self, dyad: Dyad, reactions: ClipReactions, sums: _Sums) -> None:
        """Add the clip to what is measured of many."""
        corpus, model = self._corpus, reactions.face_model
        sums.dvs.add(reactions.attributes[:, : self._frames])
        if model is not None:
            sums.divc.add(model[:, : self._frames])
        if dyad.listener.attributes is not None:
            sums.motion("real", motion_sums(corpus.attributes(dyad.listener), corpus.fps))
            for sample in reactions.attributes:
                sums.motion("made", motion_sums(sample, corpus.fps))
        if self._pictures is not None and model is not None and dyad.index in self._drawn:
            sums.pictures("real", self._pictures.sums(corpus.face_model(dyad.listener), corpus.scheme, fps=corpus.fps))
            sums.pictures("made", self._pictures.sums(model[0], corpus.scheme, fps=corpus.fps))

    def _timing(self, dyad: Dyad, reactions: ClipReactions) -> list[ClipTiming]:
        """Human timing of the first samples."""
        corpus = self._corpus
        frames = corpus.frames(dyad.speaker)
        n = min(len(frames), reactions.attributes.shape[1])
        speech = f0 = None
        if dyad.speaker.audio is not None:
            speech = np.array([f.sound.state == SoundState.SPEECH for f in frames[:n]])
            f0 = np.array([f.sound.f0 for f in frames[:n]])
        with_face = corpus.scheme == ARKIT_SCHEME
        speaker_model = corpus.face_model(dyad.speaker)[:n] if dyad.speaker.face_model is not None else None
        speaker = _motion(corpus.attributes(dyad.speaker)[:n], speaker_model, with_face, corpus.fps)
        out = []
        for sample in range(min(MOST_TIMED, reactions.distinct or len(reactions.attributes))):
            model = None if reactions.face_model is None else reactions.face_model[sample, :n]
            listener = _motion(reactions.attributes[sample, :n], model, with_face, corpus.fps)
            out.append(time_clip(f"{dyad.index:06} {dyad.name}", listener, speaker, speech, f0, sample=sample))
        return out


def _motion(attributes: Floats, face_model: Floats | None, arkit: bool, fps: float) -> Motion:
    if face_model is None:
        return Motion.of_attributes(attributes, fps=fps)
    rotation = face_model[:, ROTATION_58]
    if arkit:
        return Motion.of_arkit(face_model[:, EXPRESSION_58], rotation, fps)
    return Motion.of_attributes(attributes, rotation, fps)


class _Sums:
    """What is measured of many clips together."""

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
