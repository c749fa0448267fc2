"""The personality of each attentive listener: how strongly, how fast and how often it responds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from react_ros.face import ARKIT, FPS
from react_ros.generators.idle import Doubles
from react_ros.systems.attentive.config import AttentiveConfig
from react_ros.systems.attentive.motion import HISTORY

HEAD_POLE = 0.25
"""Weight a frame of each of the head's two poles."""
_HEAD_FILTER_FRAMES = 6
"""Mean delay of these two poles, in frames: 3 each."""
_LEFT = np.array([name.endswith("Left") for name in ARKIT])
_RIGHT = np.array([name.endswith("Right") for name in ARKIT])


@dataclass(frozen=True, slots=True)
class Personality:
    """Parameters of S listeners; (S,) unless noted."""

    expressiveness: Doubles
    mimicry: Doubles
    smile_delay: Doubles
    """Median, frames."""
    brow_delay: npt.NDArray[np.int64]
    """Frames."""
    head_delay: npt.NDArray[np.int64]
    """Frames, without the delay of the filter."""
    head_mimicry: Doubles
    """Share of the speaker's head motion that is mirrored, 0 to 1."""
    pleasantness: Doubles
    """Smile at rest while listening."""
    readiness: Doubles
    """Probability of responding to a pause."""
    nod_share: Doubles
    """Share of nods among the responses to cues; the others are brow flashes and short smiles."""
    nod_size: Doubles
    """rad, of a single nod at 3.2 Hz."""
    nod_hz: Doubles
    nod_more: Doubles
    """Mean number of cycles after the first."""
    refractory: Doubles
    """Least time from a response to one to a region of low pitch, s."""
    tilt: Doubles
    """rad of roll by which a concerned head is tilted."""
    posture: Doubles
    """(S, 3) habitual head pose while listening, rad."""
    asymmetry: Doubles
    """(S, 52) gain of each blendshape, slightly asymmetric."""


def sample_personality(rngs: list[np.random.Generator], config: AttentiveConfig) -> Personality:
    """The personalities of S listeners, one random generator each."""
    z = config.temperature * np.clip(np.stack([rng.standard_normal(16) for rng in rngs]), -2.0, 2.0)
    skew = np.clip(np.stack([rng.standard_normal(len(ARKIT)) for rng in rngs]), -2.0, 2.0)
    asymmetry = np.ones_like(skew)
    lean = 0.05 * z[:, 14:15]  # one side of a face is stronger in all blendshapes
    asymmetry[:, _LEFT] += lean + 0.03 * skew[:, _LEFT]
    asymmetry[:, _RIGHT] += -lean + 0.03 * skew[:, _RIGHT]
    mimicry_frames = config.mimicry_delay_ms / 1000.0 * FPS
    head_frames = config.head_lag_ms / 1000.0 * FPS * np.exp(0.1 * z[:, 4]) - _HEAD_FILTER_FRAMES
    return Personality(
        expressiveness=config.expressiveness * np.exp(0.16 * z[:, 0]),
        mimicry=config.mimicry * np.exp(0.1 * z[:, 1]),
        smile_delay=mimicry_frames * np.exp(0.12 * z[:, 2]),
        brow_delay=np.clip(np.rint(mimicry_frames * np.exp(0.15 * z[:, 3])), 0, HISTORY - 1).astype(np.int64),
        head_delay=np.clip(np.rint(head_frames), 0, HISTORY - 1).astype(np.int64),
        head_mimicry=0.3 * config.mimicry * np.exp(0.3 * z[:, 5]),
        pleasantness=0.07 * config.expressiveness * np.exp(0.6 * z[:, 6]),
        readiness=np.clip(config.nodding * 0.9 * np.exp(0.05 * z[:, 7]), 0.0, 1.0),
        nod_share=np.clip(0.93 + 0.03 * z[:, 8], 0.0, 1.0),
        nod_size=0.075 * np.exp(0.18 * z[:, 9]),
        nod_hz=3.3 * np.exp(0.08 * z[:, 10]),
        nod_more=0.9 * np.exp(0.35 * z[:, 11]),
        refractory=2.0 * np.exp(0.2 * z[:, 12]),
        tilt=0.05 * np.where(z[:, 15] < 0.0, -1.0, 1.0) * np.exp(0.2 * z[:, 13]),
        posture=np.stack([0.015 * z[:, 13], 0.02 * z[:, 14], 0.035 * z[:, 15]], axis=1),
        asymmetry=asymmetry,
    )
