"""The metrics of the REACT challenge, in two modes: official (its public code, with quirks) and corrected.

| metric | measures | official | corrected |
|---|---|---|---|
| FRCorr | agreement with an appropriate listener | constant channels score 0; summed over P | left out; 10 x mean |
| FRDist | distance to the nearest of them | summed over P | 10 x mean over P |
| FRDiv | difference between samples | the same | the same |
| FRVar | motion over time | the same | the same |
| FRDvs | difference between speakers | the same | the same |
| FRSyn | lag behind the speaker in frames | prediction 0 alone; constant channels win | all; left out |

Artefacts of the official mode: the ground truth scores FRCorr 8.73 of 10; every row with rounded action units scores
FRSyn 49.00, because a channel that is constant at the longest lag decides the offset. The corrected FRSyn is the mean
over all predictions that have an offset.

Most functions take one clip, so that an evaluation streams; `DvsSums` merges over clips; `evaluate_arrays` takes a
whole set in memory or memory-mapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.metrics.appropriateness import Listeners, Mode, current_mode, frcorr, frdist
from react_ros.evaluation.metrics.diversity import DvsSums, frdiv, frvar
from react_ros.evaluation.metrics.synchrony import frsyn, frsyn_offsets
from react_ros.face import ATTRIBUTE_NAMES, ATTRIBUTES, AU

__all__ = [
    "DvsSums", "Listeners", "Metrics", "Mode", "ReactFaceMetrics", "binarize", "evaluate_arrays",
    "evaluate_face_models", "frcorr", "frdist", "frdiv", "frsyn", "frsyn_offsets", "frvar",
]  # fmt: skip

Series = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The challenge's metrics over N clips, and per clip where they are defined per clip."""

    mode: Mode
    frcorr: float
    frdist: float
    frdiv: float
    frvar: float
    frdvs: float | None
    """None for a single clip."""
    frsyn: float | None
    """None where no prediction has an offset (corrected mode)."""
    clip_frcorr: Doubles
    """(N,)."""
    clip_frdist: Doubles
    """(N,)."""
    clip_frdiv: Doubles
    """(N,)."""
    clip_frvar: Doubles
    """(N,)."""
    offsets: Doubles
    """(N, P) frames, see `frsyn_offsets`; NaN where undefined."""

    @property
    def without_offset(self) -> int:
        """Number of predictions without an offset, which FRSyn leaves out."""
        return int(np.isnan(self.offsets).sum())


@dataclass(frozen=True, slots=True)
class ReactFaceMetrics:
    """ReactFace's metrics on 58 coefficients: the formulas of FR* under other names, not comparable with FR*."""

    divc: float | None
    """Between conditions: the formula of FRDvs. None for a single clip."""
    divf: float
    """Between frames: the formula of FRVar."""
    smse: float
    """Between samples: the formula of FRDiv."""
    tlcc: float | None
    """Frames; the formula of FRSyn. None where no prediction has an offset (corrected mode)."""


def binarize(attributes: Series) -> Series:
    """(…, 25) attributes with the 15 action units rounded, half to even like torch.round; the others unchanged."""
    out = np.array(attributes)
    out[..., AU] = np.round(out[..., AU])
    return out


def evaluate_arrays(
    predictions: Series,
    speakers: Series,
    listeners: Series,
    appropriate: npt.NDArray[np.bool_],
    mode: Mode = "official",
    *,
    binarize_units: bool = False,
    names: Sequence[str] | None = None,
) -> Metrics:
    """The six metrics of a whole set.

    predictions: (N, P, T, 25), may be memory-mapped; one clip at a time is in memory. speakers, listeners: (N, T, 25).
    appropriate: (N, N), entry (i, j) True where listener j is an appropriate reaction to speaker i.
    binarize_units: round the predictions' action units first ("+ Binarized AUs"). names: of the clips, for errors.
    Raises ValueError, in one sentence that names the clip, for shapes that do not match, values that are not finite,
    and clips without an appropriate listener.
    """
    mode = current_mode(mode)
    n = _check_sets(predictions, speakers, ATTRIBUTES, names)
    if listeners.shape != speakers.shape:
        raise ValueError(f"listeners must be (N, T, 25) like the speakers {speakers.shape}, not {listeners.shape}")
    if appropriate.shape != (n, n):
        raise ValueError(f"the appropriateness matrix is {appropriate.shape} for {n} clips: it must be ({n}, {n})")
    mask = np.asarray(appropriate, bool)
    if not mask.any(axis=1).all():
        clip = int(np.argmin(mask.any(axis=1)))
        raise ValueError(f"{_name(clip, names)} has no appropriate listener: its row of the matrix is empty")
    for i in range(n):
        _check_finite(listeners[i], "listener", i, names)
    corr, dist, div, var = np.empty((4, n))
    offsets = np.empty(predictions.shape[:2])
    sums = DvsSums()
    for i in range(n):
        clip = binarize(predictions[i]) if binarize_units else np.asarray(predictions[i])
        neighbours = listeners[mask[i]]
        corr[i], dist[i] = frcorr(clip, neighbours, mode), frdist(clip, neighbours, mode)
        div[i], var[i] = frdiv(clip), frvar(clip)
        offsets[i] = frsyn_offsets(clip, speakers[i], mode)
        sums.add(clip)
    return Metrics(
        mode=mode,
        frcorr=float(corr.mean()),
        frdist=float(dist.mean()),
        frdiv=float(div.mean()),
        frvar=float(var.mean()),
        frdvs=sums.value(),
        frsyn=frsyn(offsets, mode),
        clip_frcorr=corr,
        clip_frdist=dist,
        clip_frdiv=div,
        clip_frvar=var,
        offsets=offsets,
    )


def evaluate_face_models(
    predictions: Series, speakers: Series, mode: Mode = "official", *, names: Sequence[str] | None = None
) -> ReactFaceMetrics:
    """ReactFace's diversity and synchrony metrics of 3DMM coefficients, as its public code computes them.

    predictions: (N, P, T, D), D = 58 in ReactFace; speakers: (N, T, D). Raises ValueError as `evaluate_arrays`.
    """
    mode = current_mode(mode)
    n = _check_sets(predictions, speakers, predictions.shape[-1], names)
    sums = DvsSums()
    divf, smse = np.empty(n), np.empty(n)
    offsets = np.empty(predictions.shape[:2])
    for i in range(n):
        clip = np.asarray(predictions[i])
        divf[i], smse[i], offsets[i] = frvar(clip), frdiv(clip), frsyn_offsets(clip, speakers[i], mode)
        sums.add(clip)
    return ReactFaceMetrics(sums.value(), float(divf.mean()), float(smse.mean()), frsyn(offsets, mode))


def _check_sets(predictions: Series, speakers: Series, width: int, names: Sequence[str] | None) -> int:
    """The number of clips. Raises ValueError, in one sentence."""
    if predictions.ndim != 4 or 0 in predictions.shape or predictions.shape[3] != width:
        raise ValueError(f"predictions must be (N, P, T, {width}) without a 0, not {predictions.shape}")
    n, _, frames, _ = predictions.shape
    if speakers.ndim != 3 or speakers.shape[2] != width:
        raise ValueError(f"speakers must be (N, T, {width}), not {speakers.shape}")
    if len(speakers) != n:
        raise ValueError(f"there are predictions for {n} clips but {len(speakers)} speakers: equal numbers are needed")
    if speakers.shape[1] != frames:
        raise ValueError(f"predictions have {frames} frames but speakers {speakers.shape[1]}: cut both to one length")
    if frames < 2:
        raise ValueError("a clip of a single frame has no variance and no lag: at least 2 frames are needed")
    if names is not None and len(names) != n:
        raise ValueError(f"{len(names)} names for {n} clips")
    for i in range(n):
        for sample, series in enumerate(predictions[i]):
            _check_finite(series, f"prediction {sample}", i, names)
        _check_finite(speakers[i], "speaker", i, names)
    return n


def _check_finite(series: Series, what: str, clip: int, names: Sequence[str] | None) -> None:
    finite = np.isfinite(series)
    if finite.all():
        return
    frame, column = (int(k) for k in np.argwhere(~finite)[0])
    channel = ATTRIBUTE_NAMES[column] if series.shape[1] == ATTRIBUTES else f"coefficient {column}"
    raise ValueError(
        f"{_name(clip, names)}, {what}: {channel} is {series[frame, column]} in frame {frame}: it must be finite"
    )


def _name(clip: int, names: Sequence[str] | None) -> str:
    return f"clip {clip}" if names is None else f"clip {clip} ({names[clip]})"
