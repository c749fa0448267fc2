"""When action chunks are made and take effect: window, hop, inference delay, crossfade."""

from __future__ import annotations

from dataclasses import dataclass

from react_ros.config import whole_in_range


@dataclass(frozen=True, slots=True)
class Planning:
    """When plans begin, take effect and give way, in frames. Raises ValueError where they would leave a gap.

    A plan is begun after each frame k with (k + 1) % stride == 0, from the speaker's last `window` frames (zeros
    before the first), for the listener's frames from k + 1 on. It takes effect at k + 1 + lead, and over `blend` frames
    it replaces the former plan. The first one is begun before frame 0, from an empty window, and takes effect at once.
    """

    window: int = 50
    stride: int = 50
    lead: int = 0
    blend: int = 0

    def __post_init__(self) -> None:
        whole_in_range("window", self.window, 1, 1000, "frames")
        whole_in_range("stride", self.stride, 1, self.window, "frames")
        whole_in_range("lead", self.lead, 0, self.window, "frames")
        whole_in_range("blend", self.blend, 0, self.window, "frames")
        if self.stride + self.lead + self.blend > self.window:
            raise ValueError(
                f"stride {self.stride}, lead {self.lead} and blend {self.blend} are longer together than a plan of "
                f"{self.window} frames: it would end before the next one replaces it"
            )

    @property
    def delay(self) -> float:
        """Frames from what is heard until half of what is shown knows of it, in the mean."""
        return (self.stride + 1) / 2 + self.lead + self.blend / 2

    def __str__(self) -> str:
        text = f"plans of {self.window} frames, begun every {self.stride}, in effect after {self.lead}"
        return f"{text}, blended over {self.blend}" if self.blend else text


WINDOWS = Planning(50, 50, 0, 0)
"""The papers' online protocol: the speaker's frames [t - 50, t) give the listener's [t, t + 50)."""
