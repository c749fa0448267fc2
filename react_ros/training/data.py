"""A corpus' split as tensors: what a listener is told of its speaker, what the real listener did, cut into crops."""

from __future__ import annotations

import hashlib
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
from react_ros.training.dataset_cache import OF_SPEAKER, WIDTHS, Pack, Whole, open_pack


@dataclass(frozen=True, slots=True)
class Batch:
    """B crops of T frames. Where a frame is not valid, and where a modality is absent, numbers are 0."""

    speaker: Tensor
    """(B, T, INPUTS) float32, see `parts.inputs`."""
    speaker_attributes: Tensor
    """(B, T, 25) float32, the speaker's own; 0 where there is no face."""
    face_model: Tensor
    """(B, T, 58) float32, the real listener's, as the corpus has them."""
    attributes: Tensor
    """(B, T, 25) float32, the real listener's."""
    valid: Tensor
    """(B, T) bool; False behind the end of a clip."""
    clip: Tensor
    """(B,) int64, which clip of `Clips`."""
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
    """The N dyads of one split of one or more corpora that can be used; memory-mapped from the cache."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self._packs = packs
        self._pack = np.concatenate([np.full(len(p.dyads), i) for i, p in enumerate(packs)])
        self._speaker = np.concatenate([p.speaker_rows for p in packs])
        self._listener = np.concatenate([p.listener_rows for p in packs])
        self.lengths: Whole = np.concatenate([p.lengths for p in packs])
        """(N,) frames that both the speaker and the listener have."""
        self.names = [d.name for p in packs for d in p.dyads]
        """The speakers' clips."""
        self.left_out = [sentence for p in packs for sentence in p.left_out]
        """A sentence for each clip that cannot be used."""
        self.scheme = packs[0].corpus.scheme
        """What the first 52 of a face model are: "arkit52" or "faceverse"."""
        self.digest = hashlib.sha256("".join(p.content for p in packs).encode()).hexdigest()
        """Of all files that the clips were read from."""

    def __len__(self) -> int:
        return len(self.lengths)

    def speaker(self, clip: int) -> Floats:
        """(T, INPUTS) of one clip, read-only."""
        return self._rows("speaker", clip)

    def speaker_attributes(self, clip: int) -> Floats:
        """(T, 25) of one clip's speaker, read-only; 0 where there is no face."""
        return self._rows("speaker_attributes", clip)

    def face_model(self, clip: int) -> Floats | None:
        """(T, 58) of one clip's listener, read-only; None where its corpus has none."""
        return self._rows("face_model", clip) if self._of(clip).has["face_model"] else None

    def attributes(self, clip: int) -> Floats | None:
        """(T, 25) of one clip's listener, read-only; None where its corpus has none."""
        return self._rows("attributes", clip) if self._of(clip).has["attributes"] else None

    def batch(self, clips: Whole, starts: Whole, frames: int) -> Batch:
        """The crops of `frames` frames that begin at `starts` of `clips`, both (B,)."""
        arrays = {name: np.zeros((len(clips), frames, width), np.float32) for name, width in WIDTHS.items()}
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
        """(N, N): [i, j], whether j's listener is appropriate for i's speaker; nobody is across corpora.

        Computed when first asked for, see `Corpus.appropriate`. Raises CorpusError.
        """
        out = np.zeros((len(self), len(self)), bool)
        first = 0
        for pack in self._packs:
            rows = [d.index for d in pack.dyads]
            whole = pack.corpus.appropriate(pack.split, jobs=jobs, progress=progress)
            out[first : first + len(rows), first : first + len(rows)] = whole[np.ix_(rows, rows)]
            first += len(rows)
        return out

    def _of(self, clip: int) -> Pack:
        return self._packs[self._pack[clip]]

    def _rows(self, name: str, clip: int) -> Floats:
        row = (self._speaker if name in OF_SPEAKER else self._listener)[clip]
        return self._of(clip).arrays[name][row, : self.lengths[clip]]


class Order:
    """Which crops each step sees: a pure function of the seed and the step, so that nothing of it need be kept."""

    def __init__(self, lengths: Whole, *, batch: int, crop: int, crops: int, seed: int) -> None:
        """batch: crops a step; fewer where an epoch has fewer. crops: of each clip in an epoch."""
        self._lengths, self._crop, self._crops, self._seed = lengths, crop, crops, seed
        self.batch = min(batch, len(lengths) * crops)
        self.steps = len(lengths) * crops // self.batch
        """Steps an epoch: what does not fill a last batch waits for another epoch, which has another order."""
        self._epoch = -1
        self._clips = self._starts = np.zeros(0, np.int64)

    def at(self, step: int) -> tuple[Whole, Whole]:
        """(B,) clips and (B,) first frames of a step, counted from 0 over all epochs."""
        epoch, within = divmod(step, self.steps)
        if epoch != self._epoch:
            self._clips, self._starts = self._draw(epoch)
            self._epoch = epoch
        rows = slice(within * self.batch, (within + 1) * self.batch)
        return self._clips[rows], self._starts[rows]

    def _draw(self, epoch: int) -> tuple[Whole, Whole]:
        starts = np.empty((len(self._lengths), self._crops), np.int64)
        for clip, length in enumerate(self._lengths):
            rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(0, epoch, clip)))
            starts[clip] = rng.integers(0, max(length - self._crop, 0) + 1, self._crops)
        order = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(1, epoch))).permutation(starts.size)
        return order // self._crops, starts.reshape(-1)[order]


def windows(lengths: Whole, crop: int, batch: int) -> list[tuple[Whole, Whole]]:
    """Batches of (clips, starts) that show every frame of every clip once: how a split is validated."""
    cuts = [(clip, start) for clip, length in enumerate(lengths) for start in range(0, int(length), crop)]
    whole = np.array(cuts, np.int64).reshape(-1, 2)
    return [(part[:, 0], part[:, 1]) for part in (whole[i : i + batch] for i in range(0, len(whole), batch))]


def expect_modalities(corpora: Sequence[Corpus], needs: Collection[str], who: str) -> None:
    """Raises CorpusError, in one sentence, where a corpus has not all of "attributes", "face_model", "audio" needed."""
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
    needs: Collection[str] = (),
    who: str = "this",
    jobs: int = 0,
    progress: Progress | None = None,
) -> Clips:
    """The dyads of a split that can be used, of all the corpora that have it.

    frames: of each clip (MARS: at most). needs: see `Task.needs`; who: who needs them. What a corpus does not have and
    nobody needs is 0, and the batch says so. Kept in the cache under the content of the files and the code that read
    them: a second time takes seconds. jobs: processes, 0 for one a core.
    Raises CorpusError where there is no such split, nothing can be used, or a needed modality is missing.
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
    clips = Clips([open_pack(corpus, split, frames, jobs, progress) for corpus in opened])
    if not len(clips):
        raise CorpusError(
            f"{opened[0].root} has no usable clips in its {split} split"
            + (f", e.g. {clips.left_out[0]}" if clips.left_out else "")
        )
    return clips


def mean_over(x: Tensor, valid: Tensor) -> Tensor:
    """() over the valid frames (B, T) of (B, T, …)."""
    shape = (*valid.shape, *(1,) * (x.dim() - 2))
    weight = valid.view(shape)
    return (x * weight).sum() / (weight.sum() * (x.numel() / valid.numel())).clamp_min(1.0)
