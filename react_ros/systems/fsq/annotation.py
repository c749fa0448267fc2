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

_MEASURED = 20_000
"""Changes of a channel that are measured; of more, every k-th."""
_DOUBTED = 10
"""Channels with doubt: valence, arousal and the logarithms of 8 expressions."""
FELT = slice(VA.start, EXPRESSIONS.stop)
SLOW_FRAMES = 25
"""The lag at which the slow doubt is told from the flicker."""
CALM, JUMP = 0.15, 0.5
"""Tokens tremble where a face rests: of a change that is small against JUMP (log odds, or valence) only the share CALM
is followed in a frame, of larger ones more, of JUMP all."""


class Annotation:
    """The annotation of S faces, frame by frame."""

    PARAMETERS: ClassVar[Mapping[str, int]] = {
        "margin": 15,
        "slow": _DOUBTED,
        "persistence": _DOUBTED,
        "flicker": _DOUBTED,
        "circumplex": 16,
        "beyond": 2,
    }
    """Sizes of the arrays that the weights hold: of action units, the log odds by which a state must be overruled;
    of the doubted channels, the slow doubt's standard deviation, its double pole, the flicker's standard deviation;
    valence and arousal of each of the 8 expressions, and how far the decoded valence and arousal are believed where
    they say more than the expressions do."""

    def __init__(self, parameters: dict[str, Doubles], rngs: list[np.random.Generator]) -> None:
        """parameters: as `PARAMETERS`. rngs: one a face."""
        self._margin = parameters["margin"]
        self._slow, self._flicker = parameters["slow"], parameters["flicker"]
        self._keep = parameters["persistence"]
        self._circumplex, self._beyond = parameters["circumplex"].reshape(8, 2), parameters["beyond"]
        self.listener_rngs = rngs
        self._noise = np.empty((len(rngs), 2 * _DOUBTED))
        self._draw()
        self._doubt = self._noise[:, :_DOUBTED].copy()
        """(S, 10), unit variance: a second-order process, smooth as people's doubts are."""
        k2 = self._keep**2
        related = 2.0 * self._keep / (1.0 + k2)
        # So that a doubt is as wide and as quick as ever from the first frame on.
        self._doubt_before = related * self._doubt + np.sqrt(1.0 - related**2) * self._noise[:, _DOUBTED:]
        self._push = np.sqrt((1.0 - k2) ** 3 / (1.0 + k2))
        self._there: npt.NDArray[np.bool_] | None = None
        self._felt: Doubles | None = None
        """(S, 10) valence, arousal and expressions' logits without their tremble."""

    def step(self, emotion: Floats) -> Floats:
        """(S, 25) of D_emotion (see `model.Decoded`) to (S, 25) attributes."""
        self._draw()
        k, before = self._keep, self._doubt_before
        self._doubt_before = self._doubt
        self._doubt = 2.0 * k * self._doubt - k * k * before + self._push * self._noise[:, :_DOUBTED]
        doubt = self._slow * self._doubt + self._flicker * self._noise[:, _DOUBTED:]
        odds = emotion[:, AU].astype(np.float64)
        there = odds > 0.0 if self._there is None else odds > np.where(self._there, -self._margin, self._margin)
        self._there = there
        out = np.empty((len(emotion), ATTRIBUTES), np.float32)
        out[:, AU] = there
        felt = self._felt = _follow(self._felt, emotion[:, FELT].astype(np.float64))
        likely = _softmax(felt[:, 2:] + doubt[:, 2:])
        out[:, EXPRESSIONS] = likely
        # Who doubts the expression doubts what follows from it.
        beyond = felt[:, :2] - _softmax(felt[:, 2:]) @ self._circumplex
        out[:, VA] = np.clip(likely @ self._circumplex + self._beyond * beyond + doubt[:, :2], -1.0, 1.0)
        return out

    def _draw(self) -> None:
        for i, rng in enumerate(self.listener_rngs):
            self._noise[i] = rng.standard_normal(2 * _DOUBTED)


def fit(emotion: Floats, attributes: Floats) -> dict[str, Doubles]:
    """The parameters that annotate D_emotion's (N, T, 25) as N real listeners' attributes (N, T, 25) were.

    margin: the least hysteresis with which a unit switches no more often than it really does. Doubt: what the decoded
    face lacks of the real one's spread, by medians, so that what happens now and then counts neither way: of third
    differences for the flicker, of changes over 25 and 50 frames for the slow doubt. (The residuals themselves would
    not do: they hold the tokenizer's own errors, which the decoded face has already.) circumplex, beyond: by least
    squares; doubts of valence and arousal are those that do not come from the expressions'.
    """
    steady = emotion.copy()
    felt = None
    for t in range(emotion.shape[1]):
        felt = _follow(felt, emotion[:, t, FELT].astype(np.float64))
        steady[:, t, FELT] = felt
    circumplex, *_ = np.linalg.lstsq(
        attributes[..., EXPRESSIONS].reshape(-1, 8).astype(np.float64), attributes[..., VA].reshape(-1, 2), rcond=None
    )
    real_beyond = attributes[..., VA] - attributes[..., EXPRESSIONS] @ circumplex
    beyond = steady[..., VA] - _softmax(steady[..., EXPRESSIONS]) @ circumplex
    power = np.maximum((beyond**2).mean(axis=(0, 1)), 1e-12)
    believed = np.clip((beyond * real_beyond).mean(axis=(0, 1)) / power, 0.0, 1.0)
    likely = np.log(np.maximum(attributes[..., EXPRESSIONS], 1e-6))
    # Against the first, neutral: what normalises the probabilities cancels, and the doubts of both remain.
    real = np.concatenate([real_beyond, (likely - likely[..., :1])[..., 1:]], axis=-1)
    logits = steady[..., EXPRESSIONS]
    decoded = np.concatenate([believed * beyond, (logits - logits[..., :1])[..., 1:]], axis=-1)
    # Where an expression is all but impossible its logarithm says nothing about the doubt.
    possible = (attributes[..., EXPRESSIONS] > 0.003) & (attributes[..., EXPRESSIONS][..., :1] > 0.003)
    seen = np.concatenate([np.ones(emotion[..., VA].shape, bool), possible[..., 1:]], axis=-1)

    def lacking(change: Callable[[Doubles], Doubles]) -> Doubles:
        had, wanted = (change(x.astype(np.float64)) for x in (decoded, real))
        kept = seen[:, seen.shape[1] - had.shape[1] :]
        return np.array([_lacking(*(x[..., c][kept[..., c]] for x in (had, wanted))) for c in range(_DOUBTED - 1)])

    # White noise of variance 1 has third differences of variance 20, and changes of variance 2.
    flicker = lacking(lambda x: np.diff(x, n=3, axis=1)) / 20.0
    late = lacking(lambda x: x[:, 2 * SLOW_FRAMES :] - x[:, : -2 * SLOW_FRAMES]) / 2.0
    soon = lacking(lambda x: x[:, SLOW_FRAMES:] - x[:, :-SLOW_FRAMES]) / 2.0
    late, soon = np.maximum(late - flicker, 0.0), np.maximum(soon - flicker, 0.0)
    # How much of the change over two seconds has come after one says how slow the doubt is.
    poles = np.linspace(0.9, 0.975, 76)
    share = (1.0 - _correlation(poles, SLOW_FRAMES)) / (1.0 - _correlation(poles, 2 * SLOW_FRAMES))
    ratio = np.clip(soon / np.maximum(late, 1e-12), 0.0, 1.0)
    persistence = poles[np.argmin(np.abs(share - ratio[:, None]), axis=1)]
    slow = late / (1.0 - _correlation(persistence, 2 * SLOW_FRAMES))

    def each(values: Doubles) -> Doubles:
        # Neutral doubts as the others do on the whole; each of them has half of what two doubts make together.
        return np.concatenate([values[:2], [np.median(values[2:]) / 2.0], values[2:] / 2.0])

    found = {
        "margin": _margins(emotion[..., AU], attributes[..., AU] > 0.5),
        "slow": np.sqrt(each(slow)),
        "persistence": np.concatenate([persistence[:2], [np.median(persistence[2:])], persistence[2:]]),
        "flicker": np.sqrt(each(flicker)),
        "circumplex": circumplex.ravel(),
        "beyond": believed,
    }
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def _follow(before: Doubles | None, now: Doubles) -> Doubles:
    if before is None:
        return now
    change = now - before
    return before + np.minimum(CALM + (change / JUMP) ** 2, 1.0) * change


def _softmax(x: Floats | Doubles) -> Doubles:
    e: Doubles = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _correlation(pole: Doubles, lag: int) -> Doubles:
    """Of the slow doubt with itself `lag` frames later: a second-order process with this double pole."""
    return (1.0 + lag * (1.0 - pole**2) / (1.0 + pole**2)) * pole**lag


def _lacking(had: Doubles, wanted: Doubles) -> float:
    """Variance of the normal noise with which half of `had` lies within the median of |wanted|, as half of wanted does.

    0 where it needs none, and where there is nothing to measure: clips too short, never possible.
    """
    from scipy.special import ndtr

    if not had.size:
        return 0.0
    half = float(np.median(np.abs(wanted)))
    x = np.abs(had[:: -(-had.size // _MEASURED)])
    low, high = 0.0, 2.0 * half
    """With noise of twice the median alone more than half lies outside, whatever `had` is."""
    for _ in range(40):
        deviation = 0.5 * (low + high)
        inside = (ndtr((half - x) / deviation) - ndtr((-half - x) / deviation)).mean() if deviation else 0.0
        low, high = (deviation, high) if inside > 0.5 else (low, deviation)
    return low**2


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
