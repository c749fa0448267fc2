"""The attentive listener's parameters."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import in_range
from react_ros.generators.backchannel_cues import ANSWER_DELAY_S


@dataclass(frozen=True, slots=True)
class AttentiveConfig:
    """Parameters for an experimenter; the defaults are human. Raises ValueError for a value out of range."""

    expressiveness: float = 1.0
    """Strength of all facial responses."""
    mimicry: float = 1.0
    """Strength of smile, brow and head mimicry."""
    nodding: float = 1.0
    """Scale of the probability of responses to backchannel cues, and of how many a minute there may be."""
    nod_delay_ms: float = 1000.0 * ANSWER_DELAY_S
    """Mean time from a region of low pitch to the response (Ward and Tsukahara 2000); from a pause .1 s less."""
    mimicry_delay_ms: float = 350.0
    """Median time from a speaker's smile or brow to the onset of the response (300 to 400, Dimberg 1998)."""
    head_lag_ms: float = 600.0
    """Mean lag of the head behind the speaker's (Hale 2020)."""
    temperature: float = 1.0
    """Scale of the differences between personalities; at 0 all listeners have the same one."""

    def __post_init__(self) -> None:
        for name in ("expressiveness", "mimicry", "nodding"):
            in_range(name, getattr(self, name), 0.0, 2.0)
        in_range("nod_delay_ms", self.nod_delay_ms, 200.0, 3000.0, "ms")
        in_range("mimicry_delay_ms", self.mimicry_delay_ms, 0.0, 1000.0, "ms")
        in_range("head_lag_ms", self.head_lag_ms, 240.0, 2000.0, "ms")
        in_range("temperature", self.temperature, 0.0, 1.0)
