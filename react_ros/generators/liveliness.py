"""The dial `liveliness` of every system: 0 a still face, 1 the system as it is, 2 a lively one.

It is applied to a system's reactions, outside of the system, so that it means the same for all of them. Deviations
from rest (blendshapes of 0, head angles and position of 0, neutral attributes) are scaled by the dial; above 1 they
saturate softly at the end of their range:

    x' = l x                            for l <= 1
    x' = l x / sqrt(1 + (l^2 - 1) x^2)  for l > 1 and x as a share of its range: slope l at rest, 1 stays 1

Blinks stay the system's own at any value. Below 1 the gaze and the head fade into idle life (a calm one: half of its
sway), so that 0 is a face that looks at the speaker, blinks and breathes; above 1 the eyes make up for what the head
turns more, so that the gaze stays where the system directs it. Idle life has the stream's seed: the same seed and
reactions give the same face. Where nobody is present the system's own idle life is scaled alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.config import in_range
from react_ros.face import ARKIT, ARKIT_INDEX, ATTRIBUTE_INDEX, AU, EXPRESSIONS, VA, Floats, Reaction, SpeakerFrame
from react_ros.generators.contract import Generator, Stream
from react_ros.generators.idle import EYE_RANGE, IdleConfig, IdleLife, IdleMotion, apply_eyes
from react_ros.generators.idle_blending import MAX_ANGLE, MAX_SHIFT

LIVELINESS = (0.0, 2.0)
"""Range of the dial."""
AS_TRAINED = 1.0
"""The value at which the dial changes nothing."""
CALM_SWAY = 0.5
"""Share of idle life's breathing and sway that a still face has."""

_BLINKS = np.array([ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]])
_LOOKS = np.array([i for name, i in ARKIT_INDEX.items() if name.startswith("eyeLook")])
_SCALED = np.setdiff1d(np.arange(len(ARKIT)), np.concatenate([_BLINKS, _LOOKS]))
# Blendshapes by which each eye turns to the own left, and the opposite ones; then down, and the opposite ones.
_TURNS = tuple(
    tuple(np.array([ARKIT_INDEX[f"eyeLook{name}"] for name in names]) for names in pair)
    for pair in (
        (("OutLeft", "InRight"), ("InLeft", "OutRight")),
        (("DownLeft", "DownRight"), ("UpLeft", "UpRight")),
    )
)
_NEUTRAL = ATTRIBUTE_INDEX["neutral"]
_OTHERS = np.array([i for i in range(EXPRESSIONS.start, EXPRESSIONS.stop) if i != _NEUTRAL])


def check_liveliness(value: object) -> float:
    """The value as a float. Raises ValueError, in one sentence, unless it is a number from 0 to 2."""
    in_range("liveliness", value, *LIVELINESS)
    assert isinstance(value, int | float)  # as in_range has checked
    return float(value)


def with_liveliness(generator: Generator, liveliness: object) -> Generator:
    """The generator with its dial at this value, from 0 to 2; at 1, the generator itself.

    A dial that was set before is replaced. Raises ValueError, in one sentence, for another value.
    """
    value = check_liveliness(liveliness)
    inner = generator.inner if isinstance(generator, LivelyGenerator) else generator
    return inner if value == AS_TRAINED else LivelyGenerator(inner, value)


class LivelinessDial:
    """Scales the reactions of one stream; causal, and constant in memory and time per step."""

    def __init__(self, liveliness: float, seed: int, samples: int, *, idles: bool = True) -> None:
        """idles: whether the system has idle life (`GeneratorInfo.idles`). Raises ValueError for a value out of range,
        samples < 1 or seed < 0."""
        self._l = check_liveliness(liveliness)
        self._idle = IdleLife(seed, samples, IdleConfig(sway=CALM_SWAY)) if idles and self._l < 1.0 else None

    def step(self, reaction: Reaction) -> Reaction:
        """The next reaction, scaled; its arrays are new."""
        if self._l == AS_TRAINED:
            return reaction
        blendshapes, rotation = reaction.blendshapes.copy(), self._head(reaction.rotation, MAX_ANGLE)
        blendshapes[:, _SCALED] = self._scaled(blendshapes[:, _SCALED])
        translation = self._head(reaction.translation, MAX_SHIFT)
        if self._l > 1.0:
            _turn_eyes(blendshapes, (reaction.rotation - rotation) / np.float32(EYE_RANGE))
        else:
            blendshapes[:, _LOOKS] *= np.float32(self._l)
            if self._idle is not None:
                self._add_idle(self._idle.step(engaged=float(reaction.live)), blendshapes, rotation, translation)
        attributes = self._attributes(reaction.attributes)
        return replace(
            reaction, blendshapes=blendshapes, rotation=rotation, translation=translation, attributes=attributes
        )

    def _scaled(self, x: Floats) -> Floats:
        """x: shares of their range, -1 to 1."""
        y = x * np.float32(self._l)
        return y if self._l <= 1.0 else y / np.sqrt(np.float32(1.0) + np.float32(self._l**2 - 1.0) * x * x)

    def _head(self, x: Floats, most: float) -> Floats:
        return self._scaled(x / np.float32(most)) * np.float32(most)

    def _add_idle(self, idle: IdleMotion, blendshapes: Floats, rotation: Floats, translation: Floats) -> None:
        share = np.float32(1.0 - self._l)
        looks = np.zeros_like(blendshapes)
        apply_eyes(looks, np.zeros_like(idle.blink), idle.gaze)
        blendshapes[:, _LOOKS] += share * looks[:, _LOOKS]
        rotation += share * idle.rotation
        translation += share * idle.translation

    def _attributes(self, attributes: Floats) -> Floats:
        out = attributes.copy()
        out[:, AU] = self._scaled(attributes[:, AU])
        out[:, VA] = self._scaled(attributes[:, VA])
        # Expressions: what is not neutral, as a whole, is scaled; its parts keep their proportions.
        shown = np.clip(1.0 - attributes[:, _NEUTRAL], 0.0, 1.0)
        scaled = self._scaled(shown)
        ratio = np.where(shown > 0.0, scaled / np.maximum(shown, np.float32(1e-12)), np.float32(self._l))
        out[:, _OTHERS] = np.clip(attributes[:, _OTHERS] * ratio[:, None], 0.0, 1.0)
        out[:, _NEUTRAL] = 1.0 - scaled
        return out


def _turn_eyes(blendshapes: Floats, turn: npt.NDArray[np.floating]) -> None:
    """Turn both eyes in the head, in place. turn: (S, 2 or more) pitch and yaw, as shares of the eyes' range."""
    for (ways, opposite), axis in zip(_TURNS, (1, 0), strict=True):
        both = np.minimum(blendshapes[:, ways], blendshapes[:, opposite])  # of no face, but of noise
        net = blendshapes[:, ways] - blendshapes[:, opposite] + turn[:, axis : axis + 1]
        blendshapes[:, ways] = np.clip(both + np.maximum(net, 0.0), 0.0, 1.0)
        blendshapes[:, opposite] = np.clip(both - np.minimum(net, 0.0), 0.0, 1.0)


class LivelyStream(Stream):
    """A stream whose reactions pass the dial."""

    def __init__(self, inner: Stream, dial: LivelinessDial) -> None:
        self.samples, self.seed, self.schedule = inner.samples, inner.seed, inner.schedule
        self._inner, self._dial = inner, dial

    def step(self, frame: SpeakerFrame) -> Reaction:
        return self._dial.step(self._inner.step(frame))

    def run_asynchronously(self) -> None:
        self._inner.run_asynchronously()

    def follow(self, starts: Mapping[int, int]) -> None:
        self._inner.follow(starts)

    @property
    def late_chunks(self) -> int:
        return self._inner.late_chunks

    @property
    def warning(self) -> str:
        return self._inner.warning


class LivelyGenerator(Generator):
    """A generator with its dial at another value than 1; see `with_liveliness`."""

    def __init__(self, inner: Generator, liveliness: float) -> None:
        self.inner, self.liveliness = inner, check_liveliness(liveliness)
        self.config, self.info = inner.config, inner.info

    @property
    def parameters(self) -> int:
        return self.inner.parameters

    def chunk_function(self, samples: int) -> Callable[[], object] | None:
        return self.inner.chunk_function(samples)

    def content(self) -> Mapping[str, str]:
        return self.inner.content()

    def start(self, *, samples: int = 1, seed: int = 0) -> LivelyStream:
        return LivelyStream(self.inner.start(samples=samples, seed=seed), self._dial(seed, samples))

    def generate(self, frames: Iterable[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        return self._through(self.inner.generate(frames, samples=samples, seed=seed), seed, samples)

    def generate_offline(self, frames: Sequence[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        return self._through(self.inner.generate_offline(frames, samples=samples, seed=seed), seed, samples)

    def _through(self, reactions: list[Reaction], seed: int, samples: int) -> list[Reaction]:
        dial = self._dial(seed, samples)
        return [dial.step(reaction) for reaction in reactions]

    def _dial(self, seed: int, samples: int) -> LivelinessDial:
        return LivelinessDial(self.liveliness, seed, samples, idles=self.info.idles)


def motion_energy(reactions: Sequence[Reaction]) -> float:
    """How much faces move: the mean absolute change a frame of the blendshapes that the dial scales, plus that of the
    head's angles, both as shares of their range (1; 0.55 rad)."""
    face = np.stack([r.blendshapes[:, _SCALED] for r in reactions]).astype(np.float64)
    head = np.stack([r.rotation for r in reactions]).astype(np.float64)
    return float(np.abs(np.diff(face, axis=0)).mean() + np.abs(np.diff(head, axis=0)).mean() / MAX_ANGLE)


def split_liveliness(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], object]:
    """A system's own parameters, and the dial's value among them; 1 where they do not name it."""
    own = {name: value for name, value in parameters.items() if name != "liveliness"}
    return own, parameters.get("liveliness", AS_TRAINED)
