"""Can a classifier tell the speakers of two sets of clips apart, for instance real people and simulated ones?

Windows of 2 s are described by mean, spread and frame-to-frame change of each channel. A logistic regression and
extremely randomised trees (Geurts et al. 2006) classify them, trained on some people and tested on others. 0.5 is
chance: the two sets cannot be told apart by these statistics. 1: every window is recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.face import ARKIT, ATTRIBUTE_NAMES, FPS, SoundState, SpeakerFrame

WINDOW = 2 * FPS
STRIDE = FPS
MOST_WINDOWS = 12
"""Of one clip, so that long clips do not decide."""
FOLDS = 5
_UNMOVED = 1e-3
"""A channel whose 99th percentile is below this in one of the two sets is one that a tracker does not report."""
_POSE = ("pitch", "yaw", "roll", "x", "y", "z")
_SOUND = (*(f"mfcc {k}" for k in range(26)), "log energy", "voicing", "speech probability")
_SPOKEN = 0.6
"""Share of a window in which somebody must speak for it to be one of a voice."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ToldApart:
    """How well one view of the speakers tells the two sets apart, on people that were not trained on."""

    view: str
    """"face", "face without means", "attributes" or "voice"."""
    accuracy: float
    """Balanced accuracy of the logistic regression; 0.5 is chance."""
    auc: float
    """Its area under the ROC curve."""
    trees: float
    """Balanced accuracy of the trees."""
    windows: tuple[int, int]
    """Of the first and of the second set."""
    clips: tuple[int, int]
    telling: tuple[tuple[str, float], ...]
    """The statistics that differ most, with the difference (second minus first) in standard deviations."""


def tell_apart(
    first: Sequence[Sequence[SpeakerFrame]],
    second: Sequence[Sequence[SpeakerFrame]],
    *,
    people: tuple[Sequence[str], Sequence[str]] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[ToldApart]:
    """The views in which both sets have enough windows.

    first, second: clips, each the T frames of one speaker. people: the names of the speakers of both; windows of one
    person are never in both training and test set. None: each clip is another person. Raises ValueError, in one
    sentence, where a set has windows of fewer than `FOLDS` people in every view.
    """
    names = people or tuple([str(k) for k in range(len(side))] for side in (first, second))
    out = []
    views = list(_views())
    for done, (view, channels, columns) in enumerate(views):
        if progress is not None:
            progress(done, len(views))
        sides = []
        for number, (clips, owners) in enumerate(zip((first, second), names, strict=True)):
            rng = np.random.default_rng((seed, number))
            parts = [(owner, _drawn(channels(clip), rng)) for clip, owner in zip(clips, owners, strict=True)]
            sides.append([(owner, w) for owner, w in parts if len(w)])
        if min(len({owner for owner, _ in side}) for side in sides) >= FOLDS:
            out.append(_told(view, columns, sides[0], sides[1], seed))
    if not out:
        raise ValueError(
            f"both sets need clips of at least {FOLDS} people with {WINDOW / FPS:g} s in which the face is tracked: "
            f"there are {len(set(names[0]))} and {len(set(names[1]))} people"
        )
    return out


def _views() -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    face = (*ARKIT, *_POSE)
    yield "face", _face, tuple(f"{s} of {c}" for s in ("mean", "spread", "change") for c in face)
    yield "face without means", _face, tuple(f"{s} of {c}" for s in ("spread", "change") for c in face)
    yield "attributes", _attributes, tuple(f"{s} of {c}" for s in ("mean", "spread", "change") for c in ATTRIBUTE_NAMES)
    yield "voice", _voice, tuple(f"{s} of {c}" for s in ("mean", "spread", "change") for c in _SOUND)


def _face(clip: Sequence[SpeakerFrame]) -> Doubles:
    shown = np.array([f.face.state.present for f in clip])
    return _windows(np.stack([f.face_model for f in clip]), shown, 1.0)


def _attributes(clip: Sequence[SpeakerFrame]) -> Doubles:
    shown = np.array([f.face.state.present for f in clip])
    return _windows(np.stack([f.face.attributes for f in clip]), shown, 1.0)


def _voice(clip: Sequence[SpeakerFrame]) -> Doubles:
    rows = np.stack([[*s.mfcc, s.log_energy, s.voicing, s.speech_probability] for s in (f.sound for f in clip)])
    heard = np.array([f.sound.state != SoundState.MISSING and f.sound.speech_probability > 0.5 for f in clip])
    return _windows(rows, heard, _SPOKEN)


def _windows(channels: npt.NDArray[np.floating[Any]], valid: npt.NDArray[np.bool_], share: float) -> Doubles:
    """(W, 3 C) mean, spread and change of (T, C) channels in the windows of which at least a share is valid (T,)."""
    out = []
    for k in range(0, len(channels) - WINDOW + 1, STRIDE):
        if valid[k : k + WINDOW].mean() >= share:
            w = channels[k : k + WINDOW].astype(np.float64)
            out.append(np.concatenate([w.mean(0), w.std(0), np.diff(w, axis=0).std(0)]))
    return np.array(out) if out else np.zeros((0, 3 * channels.shape[1]))


def _drawn(windows: Doubles, rng: np.random.Generator) -> Doubles:
    if len(windows) <= MOST_WINDOWS:
        return windows
    return windows[np.sort(rng.permutation(len(windows))[:MOST_WINDOWS])]


def _told(
    view: str,
    columns: tuple[str, ...],
    first: Sequence[tuple[str, Doubles]],
    second: Sequence[tuple[str, Doubles]],
    seed: int,
) -> ToldApart:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([w for side in (first, second) for _, w in side])
    label = np.repeat([0, 1], [sum(len(w) for _, w in side) for side in (first, second)])
    group = np.concatenate(
        [np.full(len(w), f"{number} {owner}") for number, side in enumerate((first, second)) for owner, w in side]
    )
    moved = [np.percentile(np.abs(x[label == side]), 99, axis=0) > _UNMOVED for side in (0, 1)]
    kept = (moved[0] & moved[1])[-len(columns) :]
    x, names = x[:, -len(columns) :][:, kept], [name for name, k in zip(columns, kept, strict=True) if k]
    x = np.sign(x) * np.log1p(np.abs(x) / 0.01)  # most channels are skewed
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=3000, class_weight="balanced"))
    trees = ExtraTreesClassifier(100, min_samples_leaf=3, class_weight="balanced", random_state=seed)
    scores = []
    for classifier in (linear, trees):
        score = np.zeros(len(label))
        for train, test in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(x, label, group):
            score[test] = classifier.fit(x[train], label[train]).predict_proba(x[test])[:, 1]
        scores.append(score)
    difference = (x[label == 1].mean(0) - x[label == 0].mean(0)) / np.maximum(x.std(0), 1e-9)
    order = np.argsort(-np.abs(difference), kind="stable")[:12]
    return ToldApart(
        view,
        float(balanced_accuracy_score(label, scores[0] > 0.5)),
        float(roc_auc_score(label, scores[0])),
        float(balanced_accuracy_score(label, scores[1] > np.median(scores[1]))),
        (int((label == 0).sum()), int((label == 1).sum())),
        (len(first), len(second)),
        tuple((names[i], round(float(difference[i]), 2)) for i in order),
    )
