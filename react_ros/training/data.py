"""The splits of corpora as tensors: speaker inputs and the human listener's reactions, cut into crops."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from react_ros.corpus.clips import EVALUATED_FRAMES, CorpusError, Split
from react_ros.corpus.pool import Progress
from react_ros.corpus.reader import Corpus, CorpusConfig, open_corpus
from react_ros.face import Floats
from react_ros.generators.speaker_inputs import RUNNING_MEAN, InputScheme
from react_ros.io import sha256
from react_ros.training.dataset_cache import OF_SPEAKER, CachedSplit, Integers, open_split, widths


@dataclass(frozen=True, slots=True)
class Batch:
    """B crops of T frames. Invalid frames and absent modalities are 0."""

    speaker: Tensor
    """(B, T, inputs) float32, rows of the clips' `InputScheme`."""
    speaker_attributes: Tensor
    """(B, T, 25) float32 of the speaker; 0 without a face."""
    face_model: Tensor
    """(B, T, 58) float32 of the human listener, as stored in the corpus."""
    attributes: Tensor
    """(B, T, 25) float32 of the human listener."""
    valid: Tensor
    """(B, T) bool; False after the end of a clip."""
    clip: Tensor
    """(B,) int64, index of the clip in `Clips`."""
    start: Tensor
    """(B,) int64, the first frame of the crop in its clip."""
    has_face_model: Tensor
    """(B,) bool, whether the clip's corpus has face models."""
    has_attributes: Tensor
    """(B,) bool, whether the clip's corpus has attributes."""

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


class Clips:
    """The N usable dyads of one split of one or more corpora, memory-mapped from the dataset cache."""

    def __init__(self, parts: Sequence[CachedSplit]) -> None:
        """parts: the split of each corpus."""
        self._parts = parts
        self._part = np.concatenate([np.full(len(p.dyads), i) for i, p in enumerate(parts)])
        self._speaker = np.concatenate([p.speaker_rows for p in parts])
        self._listener = np.concatenate([p.listener_rows for p in parts])
        self.lengths: Integers = np.concatenate([p.lengths for p in parts])
        """(N,) frames that both speaker and listener have."""
        self.names = [d.name for p in parts for d in p.dyads]
        """The speakers' clips, as the split's table names them."""
        self.left_out = [sentence for p in parts for sentence in p.left_out]
        """A sentence for each unusable clip."""
        self.scheme = parts[0].corpus.scheme
        """Meaning of the first 52 coefficients of a face model: "arkit52" or "faceverse"."""
        self.inputs = parts[0].inputs
        """The columns of the speakers' rows."""
        self.digest = sha256("".join(p.content for p in parts))
        """SHA-256 over the content of all source files."""

    def __len__(self) -> int:
        return len(self.lengths)

    def speaker(self, clip: int) -> Floats:
        """(T, inputs) of one clip, read-only."""
        return self._rows("speaker", clip)

    def speaker_attributes(self, clip: int) -> Floats:
        """(T, 25) of one clip's speaker, read-only; 0 without a face."""
        return self._rows("speaker_attributes", clip)

    def face_model(self, clip: int) -> Floats | None:
        """(T, 58) of one clip's listener, read-only; None where its corpus has none."""
        return self._rows("face_model", clip) if self._of(clip).has["face_model"] else None

    def attributes(self, clip: int) -> Floats | None:
        """(T, 25) of one clip's listener, read-only; None where its corpus has none."""
        return self._rows("attributes", clip) if self._of(clip).has["attributes"] else None

    def batch(self, clips: Integers, starts: Integers, frames: int) -> Batch:
        """Crops of `frames` frames, one from each of `clips` (B,) at first frames `starts` (B,)."""
        arrays = {
            name: np.zeros((len(clips), frames, width), np.float32) for name, width in widths(self.inputs).items()
        }
        counts = np.clip(self.lengths[clips] - starts, 0, frames)
        for b, (clip, start, count) in enumerate(zip(clips, starts, counts, strict=True)):
            for name, array in arrays.items():
                array[b, :count] = self._rows(name, clip)[start : start + count]
        has = {name: np.array([self._of(clip).has[name] for clip in clips]) for name in ("face_model", "attributes")}
        return Batch(
            **{name: torch.from_numpy(array) for name, array in arrays.items()},
            valid=torch.from_numpy(np.arange(frames) < counts[:, None]),
            clip=torch.from_numpy(np.array(clips, np.int64)),
            start=torch.from_numpy(np.array(starts, np.int64)),
            has_face_model=torch.from_numpy(has["face_model"]),
            has_attributes=torch.from_numpy(has["attributes"]),
        )

    def appropriate(self, *, jobs: int = 0, progress: Progress | None = None) -> npt.NDArray[np.bool_]:
        """(N, N): [i, j], whether j's listener is appropriate for i's speaker; never across corpora.

        Computed at the first call, see `Corpus.appropriate`. Raises CorpusError.
        """
        out = np.zeros((len(self), len(self)), bool)
        first = 0
        for part in self._parts:
            rows = [d.index for d in part.dyads]
            matrix = part.corpus.appropriate(part.split, jobs=jobs, progress=progress)
            out[first : first + len(rows), first : first + len(rows)] = matrix[np.ix_(rows, rows)]
            first += len(rows)
        return out

    def _of(self, clip: int) -> CachedSplit:
        return self._parts[self._part[clip]]

    def _rows(self, name: str, clip: int) -> Floats:
        row = (self._speaker if name in OF_SPEAKER else self._listener)[clip]
        return self._of(clip).arrays[name][row, : self.lengths[clip]]


class CropOrder:
    """The crops of each step: a pure function of seed and step, so that resuming needs no state."""

    def __init__(self, lengths: Integers, *, batch: int, crop: int, crops: int, seed: int) -> None:
        """batch: crops a step, at most those of an epoch. crop: frames. crops: of each clip in an epoch."""
        self._lengths, self._crop, self._crops, self._seed = lengths, crop, crops, seed
        self.batch = min(batch, len(lengths) * crops)
        self.steps = len(lengths) * crops // self.batch
        """Steps an epoch. Crops that do not fill a last batch are dropped; every epoch has another order."""
        self._epoch = -1
        self._clips = self._starts = np.zeros(0, np.int64)

    def at(self, step: int) -> tuple[Integers, Integers]:
        """(B,) clips and (B,) first frames of a step, counted from 0 over all epochs."""
        epoch, within = divmod(step, self.steps)
        if epoch != self._epoch:
            self._clips, self._starts = self._shuffled(epoch)
            self._epoch = epoch
        rows = slice(within * self.batch, (within + 1) * self.batch)
        return self._clips[rows], self._starts[rows]

    def _shuffled(self, epoch: int) -> tuple[Integers, Integers]:
        starts = np.empty((len(self._lengths), self._crops), np.int64)
        for clip, length in enumerate(self._lengths):
            rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(0, epoch, clip)))
            starts[clip] = rng.integers(0, max(length - self._crop, 0) + 1, self._crops)
        order = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(1, epoch))).permutation(starts.size)
        return order // self._crops, starts.reshape(-1)[order]


def windows(lengths: Integers, crop: int, batch: int) -> list[tuple[Integers, Integers]]:
    """Batches of (clips, starts) that cover every frame of every clip once, for validation."""
    cuts = [(clip, start) for clip, length in enumerate(lengths) for start in range(0, int(length), crop)]
    array = np.array(cuts, np.int64).reshape(-1, 2)
    return [(part[:, 0], part[:, 1]) for part in (array[i : i + batch] for i in range(0, len(array), batch))]


def expect_modalities(corpora: Sequence[Corpus], needs: Collection[str], who: str) -> None:
    """Raise CorpusError, in one sentence, where a corpus lacks one of the modalities that `who` needs."""
    for corpus in corpora:
        dyad = corpus.dyads(corpus.splits[0])[0]
        for modality in sorted(needs):
            if getattr(dyad.speaker, modality) is None:
                what = "face models" if modality == "face_model" else modality
                raise CorpusError(f"{corpus.root} has no {what}, without which {who} cannot be trained")


def load_clips(
    corpora: Sequence[Corpus | Path | str],
    split: Split,
    frames: int = EVALUATED_FRAMES,
    *,
    inputs: InputScheme = RUNNING_MEAN,
    needs: Collection[str] = (),
    who: str = "this",
    jobs: int = 0,
    progress: Progress | None = None,
) -> Clips:
    """The usable dyads of a split, of all corpora that have the split.

    frames: of each clip (MARS: at most). inputs: the speakers' rows. needs: see `TrainingStage.needs`; who: the subject
    of the error message. Modalities that a corpus lacks and that are not needed are 0, see `Batch.has_face_model`.
    Arrays are cached under the content of the files and the code that reads them. jobs: processes, 0 for one a core.
    Raises CorpusError where no corpus has the split, no clip is usable, or a needed modality is missing.
    """
    given = [c if isinstance(c, Corpus) else open_corpus(c, CorpusConfig(frames=frames)) for c in corpora]
    opened = [corpus for corpus in given if split in corpus.splits]
    if not opened:
        raise CorpusError(f"{', '.join(str(c.root) for c in given) or 'no corpus'}: there is no {split} split")
    for corpus in opened[1:]:
        if corpus.scheme != opened[0].scheme:
            raise CorpusError(
                f"{corpus.root} has faces of scheme {corpus.scheme}, but {opened[0].root} of {opened[0].scheme}: "
                "they cannot be trained on together"
            )
    expect_modalities(opened, needs, who)
    clips = Clips([open_split(corpus, split, frames, inputs, jobs, progress) for corpus in opened])
    if not len(clips):
        raise CorpusError(
            f"{opened[0].root} has no usable clips in its {split} split"
            + (f", e.g. {clips.left_out[0]}" if clips.left_out else "")
        )
    return clips


def mean_over(x: Tensor, valid: Tensor) -> Tensor:
    """() mean of (B, T, …) over the valid frames (B, T) and all further axes."""
    shape = (*valid.shape, *(1,) * (x.dim() - 2))
    weight = valid.view(shape)
    return (x * weight).sum() / (weight.sum() * (x.numel() / valid.numel())).clamp_min(1.0)
