"""What an annotator, or a network, would write down of a decoded face: occurrences, and the doubt they have.

D_emotion says what is likely. The listeners it learned from were annotated: action units as there or not there, and
valence, arousal and expressions with a slow doubt and a flicker from frame to frame. Both were measured on the
training clips (`fit`), so that a generated listener is annotated as a real one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, VA, Floats

Doubles = npt.NDArray[np.float64]

_DOUBTED = 10
"""Channels with doubt: valence, arousal and the logarithms of 8 expressions."""
SLOW_FRAMES = 25
"""The lag at which the slow doubt is told from the flicker."""


class Annotation:
    """The annotation of S faces, frame by frame."""

    PARAMETERS: ClassVar[Mapping[str, int]] = {
        "margin": 15,
        "slow": _DOUBTED,
        "persistence": _DOUBTED,
        "flicker": _DOUBTED,
    }
    """Sizes of the arrays that the weights hold: of action units, the log odds by which a state must be overruled;
    of the doubted channels, the slow doubt's standard deviation, its correlation from frame to frame, the flicker's
    standard deviation."""

    def __init__(self, parameters: dict[str, Doubles], rngs: list[np.random.Generator]) -> None:
        """parameters: as `PARAMETERS`. rngs: one a face."""
        self._margin = parameters["margin"]
        self._slow, self._flicker = parameters["slow"], parameters["flicker"]
        self._keep = parameters["persistence"]
        self._rngs = rngs
        self._noise = np.empty((len(rngs), 2 * _DOUBTED))
        self._draw()
        self._doubt = self._noise[:, :_DOUBTED].copy()
        """(S, 10), unit variance."""
        self._there: npt.NDArray[np.bool_] | None = None

    def step(self, emotion: Floats) -> Floats:
        """(S, 25) of D_emotion (see `model.Decoded`) to (S, 25) attributes."""
        self._draw()
        self._doubt = self._keep * self._doubt + np.sqrt(1.0 - self._keep**2) * self._noise[:, :_DOUBTED]
        doubt = self._slow * self._doubt + self._flicker * self._noise[:, _DOUBTED:]
        odds = emotion[:, AU].astype(np.float64)
        there = odds > 0.0 if self._there is None else odds > np.where(self._there, -self._margin, self._margin)
        self._there = there
        out = np.empty((len(emotion), ATTRIBUTES), np.float32)
        out[:, AU] = there
        out[:, VA] = np.clip(emotion[:, VA] + doubt[:, :2], -1.0, 1.0)
        likely = emotion[:, EXPRESSIONS] + doubt[:, 2:]
        likely = np.exp(likely - likely.max(axis=1, keepdims=True))
        out[:, EXPRESSIONS] = likely / likely.sum(axis=1, keepdims=True)
        return out

    def _draw(self) -> None:
        for i, rng in enumerate(self._rngs):
            self._noise[i] = rng.standard_normal(2 * _DOUBTED)


def fit(emotion: Floats, attributes: Floats) -> dict[str, Doubles]:
    """The parameters that annotate D_emotion's (N, T, 25) as N real listeners' attributes (N, T, 25) were.

    margin: the least hysteresis with which a unit switches no more often than it really does. Doubt: what the decoded
    face lacks of the real one's spread, by medians, so that what happens now and then counts neither way: of third
    differences for the flicker, of changes over 25 and 50 frames for the slow doubt. (The residuals themselves would
    not do: they hold the tokenizer's own errors, which the decoded face has already.)
    """
    likely = np.log(np.maximum(attributes[..., EXPRESSIONS], 1e-6))
    # Against the first, neutral: what normalises the probabilities cancels, and the doubts of both remain.
    real = np.concatenate([attributes[..., VA], (likely - likely[..., :1])[..., 1:]], axis=-1)
    logits = emotion[..., EXPRESSIONS]
    decoded = np.concatenate([emotion[..., VA], (logits - logits[..., :1])[..., 1:]], axis=-1)
    # Where an expression is all but impossible its logarithm says nothing about the doubt.
    possible = (attributes[..., EXPRESSIONS] > 0.003) & (attributes[..., EXPRESSIONS][..., :1] > 0.003)
    seen = np.concatenate([np.ones(emotion[..., VA].shape, bool), possible[..., 1:]], axis=-1)

    def variance(x: Floats | Doubles, change: Callable[[Doubles], Doubles]) -> Doubles:
        changes = change(x.astype(np.float64))
        kept = seen[:, -changes.shape[1] :]
        return np.array([(np.median(np.abs(changes[..., c][kept[..., c]])) / 0.6745) ** 2 for c in range(_DOUBTED - 1)])

    def lacking(change: Callable[[Doubles], Doubles]) -> Doubles:
        return np.maximum(variance(real, change) - variance(decoded, change), 0.0)

    # White noise of variance 1 has third differences of variance 20, and changes of variance 2.
    flicker = lacking(lambda x: np.diff(x, n=3, axis=1)) / 20.0
    slow = np.maximum(lacking(lambda x: x[:, 2 * SLOW_FRAMES :] - x[:, : -2 * SLOW_FRAMES]) / 2.0 - flicker, 0.0)
    soon = np.clip(lacking(lambda x: x[:, SLOW_FRAMES:] - x[:, :-SLOW_FRAMES]) / 2.0 - flicker, 0.0, slow)
    share = np.clip(soon / np.maximum(slow, 1e-12), 0.1, 0.9)

    def each(values: Doubles) -> Doubles:
        # Neutral doubts as the others do on the whole; each of them has half of what two doubts make together.
        return np.concatenate([values[:2], [np.median(values[2:]) / 2.0], values[2:] / 2.0])

    persistence = (1.0 - share) ** (1.0 / SLOW_FRAMES)
    return {
        "margin": _margins(emotion[..., AU], attributes[..., AU] > 0.5),
        "slow": np.sqrt(each(slow)),
        "persistence": np.concatenate([persistence[:2], [np.median(persistence[2:])], persistence[2:]]),
        "flicker": np.sqrt(each(flicker)),
    }


def _margins(odds: Floats, there: npt.NDArray[np.bool_]) -> Doubles:
    real = (there[:, 1:] != there[:, :-1]).sum(axis=(0, 1))
    candidates = np.arange(0.0, 4.01, 0.25)
    margin = np.full(odds.shape[-1], candidates[-1])
    for candidate in candidates[::-1]:
        decided = np.abs(odds) > candidate
        decided[:, 0] = True
        frames = np.arange(odds.shape[1])[None, :, None]
        last = np.maximum.accumulate(np.where(decided, frames, 0), axis=1)
        state = np.take_along_axis(odds > 0.0, last, axis=1)
        switches = (state[:, 1:] != state[:, :-1]).sum(axis=(0, 1))
        margin[switches <= real] = candidate
    return margin
