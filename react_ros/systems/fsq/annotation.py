"""Annotation noise: decoded faces to attributes with the occurrences and noise of a corpus' annotations.

D_emotion predicts likelihoods. The training corpus was annotated: action units as occurrences, 0 or 1, and valence,
arousal and expressions with slow noise and white noise from frame to frame. Both are measured on the training clips
(`fit`), so that a generated listener's attributes have the statistics of real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, VA, Floats

Doubles = npt.NDArray[np.float64]

_MEASURED = 20_000
"""At most so many differences of a channel are measured; of more, every k-th."""
_NOISY = 10
"""Channels with noise: valence, arousal and the logits of 8 expressions."""
AFFECT = slice(VA.start, EXPRESSIONS.stop)
SLOW_FRAMES = 25
"""The lag at which slow noise is separated from white noise."""
CALM, JUMP = 0.15, 0.5
"""Smoothing of token jitter at rest: of a change that is small against JUMP (logits, or valence), the share CALM is
followed in a frame; of larger ones more, of JUMP all."""


class Annotation:
    """Attributes of S faces, frame by frame."""

    PARAMETERS: ClassVar[Mapping[str, int]] = {
        "margin": 15,
        "slow": _NOISY,
        "persistence": _NOISY,
        "flicker": _NOISY,
        "circumplex": 16,
        "beyond": 2,
    }
    """Sizes of the arrays in the weights. margin: for each action unit, the log odds needed to switch its state. slow,
    persistence, flicker: for each noisy channel, the slow noise's standard deviation, its double pole, and the white
    noise's standard deviation. circumplex: valence and arousal of each of the 8 expressions. beyond: weight of the part
    of the decoded valence and arousal that the expressions do not explain."""

    def __init__(self, parameters: dict[str, Doubles], rngs: list[np.random.Generator]) -> None:
        """parameters: as `PARAMETERS`. rngs: one for each face."""
        self._margin = parameters["margin"]
        self._slow, self._flicker = parameters["slow"], parameters["flicker"]
        self._keep = parameters["persistence"]
        self._circumplex, self._beyond = parameters["circumplex"].reshape(8, 2), parameters["beyond"]
        self._rngs = rngs
        self._white = np.empty((len(rngs), 2 * _NOISY))
        self._next_random()
        self._slow_noise = self._white[:, :_NOISY].copy()
        """(S, 10), unit variance: a smooth second-order process."""
        k2 = self._keep**2
        related = 2.0 * self._keep / (1.0 + k2)
        # Stationary from the first frame on.
        self._slow_before = related * self._slow_noise + np.sqrt(1.0 - related**2) * self._white[:, _NOISY:]
        self._push = np.sqrt((1.0 - k2) ** 3 / (1.0 + k2))
        self._occurs: npt.NDArray[np.bool_] | None = None
        self._affect: Doubles | None = None
        """(S, 10) valence, arousal and expressions' logits, smoothed."""

    def step(self, emotion: Floats) -> Floats:
        """(S, 25) of D_emotion (see `model.Decoded`) to (S, 25) attributes."""
        self._next_random()
        k, before = self._keep, self._slow_before
        self._slow_before = self._slow_noise
        self._slow_noise = 2.0 * k * self._slow_noise - k * k * before + self._push * self._white[:, :_NOISY]
        noise = self._slow * self._slow_noise + self._flicker * self._white[:, _NOISY:]
        odds = emotion[:, AU].astype(np.float64)
        occurs = odds > 0.0 if self._occurs is None else odds > np.where(self._occurs, -self._margin, self._margin)
        self._occurs = occurs
        out = np.empty((len(emotion), ATTRIBUTES), np.float32)
        out[:, AU] = occurs
        affect = self._affect = _smooth(self._affect, emotion[:, AFFECT].astype(np.float64))
        probabilities = _softmax(affect[:, 2:] + noise[:, 2:])
        out[:, EXPRESSIONS] = probabilities
        # Noise of the expressions carries over to the valence and arousal that they imply.
        beyond = affect[:, :2] - _softmax(affect[:, 2:]) @ self._circumplex
        out[:, VA] = np.clip(probabilities @ self._circumplex + self._beyond * beyond + noise[:, :2], -1.0, 1.0)
        return out

    def _next_random(self) -> None:
        for i, rng in enumerate(self._rngs):
            self._white[i] = rng.standard_normal(2 * _NOISY)


def fit(emotion: Floats, attributes: Floats) -> dict[str, Doubles]:
    """The parameters that give D_emotion's (N, T, 25) the statistics of N real listeners' attributes (N, T, 25).

    margin: the least hysteresis with which a unit switches at most as often as in the annotations. Noise: the spread
    that the decoded faces lack, by medians, so that rare events do not count: of third differences for white noise, of
    differences over 25 and 50 frames for slow noise. (Residuals are unsuitable: they contain the tokenizer's errors,
    which decoded faces already have.) circumplex, beyond: by least squares; noise of valence and arousal excludes that
    of the expressions.
    """
    steady = emotion.copy()
    affect = None
    for t in range(emotion.shape[1]):
        affect = _smooth(affect, emotion[:, t, AFFECT].astype(np.float64))
        steady[:, t, AFFECT] = affect
    circumplex, *_ = np.linalg.lstsq(
        attributes[..., EXPRESSIONS].reshape(-1, 8).astype(np.float64), attributes[..., VA].reshape(-1, 2), rcond=None
    )
    real_beyond = attributes[..., VA] - attributes[..., EXPRESSIONS] @ circumplex
    beyond = steady[..., VA] - _softmax(steady[..., EXPRESSIONS]) @ circumplex
    power = np.maximum((beyond**2).mean(axis=(0, 1)), 1e-12)
    explained = np.clip((beyond * real_beyond).mean(axis=(0, 1)) / power, 0.0, 1.0)
    log_expressions = np.log(np.maximum(attributes[..., EXPRESSIONS], 1e-6))
    # Relative to the first, neutral: the normalisation cancels, and the noise of both remains.
    real = np.concatenate([real_beyond, (log_expressions - log_expressions[..., :1])[..., 1:]], axis=-1)
    logits = steady[..., EXPRESSIONS]
    decoded = np.concatenate([explained * beyond, (logits - logits[..., :1])[..., 1:]], axis=-1)
    # The logarithm of a probability near 0 tells nothing about the noise.
    possible = (attributes[..., EXPRESSIONS] > 0.003) & (attributes[..., EXPRESSIONS][..., :1] > 0.003)
    seen = np.concatenate([np.ones(emotion[..., VA].shape, bool), possible[..., 1:]], axis=-1)

    def lacking(change: Callable[[Doubles], Doubles]) -> Doubles:
        had, wanted = (change(x.astype(np.float64)) for x in (decoded, real))
        kept = seen[:, seen.shape[1] - had.shape[1] :]
        return np.array([_lacking(*(x[..., c][kept[..., c]] for x in (had, wanted))) for c in range(_NOISY - 1)])

    # White noise of variance 1 has third differences of variance 20, and changes of variance 2.
    flicker = lacking(lambda x: np.diff(x, n=3, axis=1)) / 20.0
    late = lacking(lambda x: x[:, 2 * SLOW_FRAMES :] - x[:, : -2 * SLOW_FRAMES]) / 2.0
    soon = lacking(lambda x: x[:, SLOW_FRAMES:] - x[:, :-SLOW_FRAMES]) / 2.0
    late, soon = np.maximum(late - flicker, 0.0), np.maximum(soon - flicker, 0.0)
    # The ratio of the changes over one and over two seconds gives the pole of the slow noise.
    poles = np.linspace(0.9, 0.975, 76)
    share = (1.0 - _correlation(poles, SLOW_FRAMES)) / (1.0 - _correlation(poles, 2 * SLOW_FRAMES))
    ratio = np.clip(soon / np.maximum(late, 1e-12), 0.0, 1.0)
    persistence = poles[np.argmin(np.abs(share - ratio[:, None]), axis=1)]
    slow = late / (1.0 - _correlation(persistence, 2 * SLOW_FRAMES))

    def each(values: Doubles) -> Doubles:
        # Each channel gets half of the variance of a difference of two; neutral gets the median of the others.
        return np.concatenate([values[:2], [np.median(values[2:]) / 2.0], values[2:] / 2.0])

    found = {
        "margin": _margins(emotion[..., AU], attributes[..., AU] > 0.5),
        "slow": np.sqrt(each(slow)),
        "persistence": np.concatenate([persistence[:2], [np.median(persistence[2:])], persistence[2:]]),
        "flicker": np.sqrt(each(flicker)),
        "circumplex": circumplex.ravel(),
        "beyond": explained,
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def _smooth(before: Doubles | None, now: Doubles) -> Doubles:
    if before is None:
        return now
    change = now - before
    return before + np.minimum(CALM + (change / JUMP) ** 2, 1.0) * change


def _softmax(x: Floats | Doubles) -> Doubles:
    e: Doubles = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _correlation(pole: Doubles, lag: int) -> Doubles:
    """Autocorrelation at `lag` frames of a second-order process with this double pole."""
    return (1.0 + lag * (1.0 - pole**2) / (1.0 + pole**2)) * pole**lag


def _lacking(had: Doubles, wanted: Doubles) -> float:
    """Variance of the normal noise that, added to `had`, makes the median of its absolute value that of `wanted`.

    0 where it needs none, and where there is nothing to measure.
    """
    from scipy.special import ndtr

    if not had.size:
        return 0.0
    half = float(np.median(np.abs(wanted)))
    x = np.abs(had[:: -(-had.size // _MEASURED)])
    low, high = 0.0, 2.0 * half
    """An upper bound: noise of twice the median alone puts more than half outside."""
    for _ in range(40):
        deviation = 0.5 * (low + high)
        inside = (ndtr((half - x) / deviation) - ndtr((-half - x) / deviation)).mean() if deviation else 0.0
        low, high = (deviation, high) if inside > 0.5 else (low, deviation)
    return low**2


def _margins(odds: Floats, occurs: npt.NDArray[np.bool_]) -> Doubles:
    real = (occurs[:, 1:] != occurs[:, :-1]).sum(axis=(0, 1))
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
