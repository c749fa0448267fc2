"""When action chunks begin and take effect: window, hop, inference delay, crossfade."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import whole_in_range


@dataclass(frozen=True, slots=True)
class ChunkSchedule:
    """The schedule of action chunks, in frames. Raises ValueError where it would leave frames without a chunk.

    A chunk begins after each frame k with (k + 1) % hop == 0, from the speaker's last `window` frames (zeros before
    the first), for the listener's frames from k + 1 on. It takes effect at frame k + 1 + inference_delay, and replaces
    the former chunk over `crossfade` frames. The first one is computed before frame 0, from an empty window, and takes
    effect at once.
    """

    window: int = 50
    hop: int = 50
    inference_delay: int = 0
    crossfade: int = 0

    def __post_init__(self) -> None:
        whole_in_range("window", self.window, 1, 1000, "frames")
        whole_in_range("hop", self.hop, 1, self.window, "frames")
        whole_in_range("inference_delay", self.inference_delay, 0, self.window, "frames")
        whole_in_range("crossfade", self.crossfade, 0, self.window, "frames")
        if self.hop + self.inference_delay + self.crossfade > self.window:
            raise ValueError(
                f"hop {self.hop}, inference_delay {self.inference_delay} and crossfade {self.crossfade} are longer "
                f"together than an action chunk of {self.window} frames: it would end before the next one replaces it"
            )

    @property
    def delay(self) -> float:
        """Mean number of frames from a speaker frame until half of what is shown depends on it."""
        return (self.hop + 1) / 2 + self.inference_delay + self.crossfade / 2

    def __str__(self) -> str:
        text = f"action chunks of {self.window} frames, hop {self.hop}, inference delay {self.inference_delay}"
        return f"{text}, crossfade {self.crossfade}" if self.crossfade else text


WINDOWS = ChunkSchedule(50, 50, 0, 0)
"""The papers' online protocol: the speaker's frames [t - 50, t) give the listener's frames [t, t + 50)."""
