"""Speaker inputs in training: their statistics, and augmentation by missing faces and audio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from react_ros.config import in_range
from react_ros.generators.speaker_inputs import FACE_INPUTS, FACE_PRESENT, INPUTS, SOUND_INPUTS, SOUND_PRESENT
from react_ros.training.data import Clips


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Augmentation: how often a speaker's face or audio is missing. Raises ValueError for an impossible value."""

    clip: float = 0.15
    """Probability that face or audio is missing in a whole crop."""
    gap: float = 0.15
    """Probability that face or audio is missing in a part of the crop."""

    def __post_init__(self) -> None:
        for name in ("clip", "gap"):
            in_range(name, getattr(self, name), 0.0, 1.0)


def without_modalities(speaker: Tensor, dropouts: Dropouts, rng: torch.Generator) -> Tensor:
    """(B, T, INPUTS) with some faces and audio missing, in the encoding of `SpeakerInputs`."""
    count, frames, _ = speaker.shape
    device = speaker.device
    clip_chance, gap_chance, face_or_audio = torch.rand(3, count, 1, generator=rng, device=device)
    edges = torch.rand(2, count, 1, generator=rng, device=device).sort(dim=0).values * frames
    at = torch.arange(frames, device=device)
    whole, gap = clip_chance < dropouts.clip, gap_chance < dropouts.gap
    missing = whole | (gap & (at >= edges[0]) & (at < edges[1]))  # (B, T)
    no_face = (missing & (face_or_audio < 0.5)).unsqueeze(-1)
    no_audio = (missing & (face_or_audio >= 0.5)).unsqueeze(-1)
    column = torch.arange(INPUTS, device=device)
    of_face = (column < FACE_INPUTS.stop) | (column == FACE_PRESENT)
    of_audio = (column >= SOUND_INPUTS.start) & (column < SOUND_INPUTS.stop) | (column == SOUND_PRESENT)
    return speaker.masked_fill((no_face & of_face) | (no_audio & of_audio), 0.0)


def statistics(clips: Clips) -> tuple[Tensor, Tensor]:
    """(INPUTS,) mean and standard deviation of the features, over the frames in which they are present."""
    count, total, squares = (np.zeros(INPUTS) for _ in range(3))
    for clip in range(len(clips)):
        x = np.asarray(clips.speaker(clip), np.float64)
        present = np.zeros(x.shape, bool)
        present[:, FACE_INPUTS] = x[:, FACE_PRESENT, None] > 0.5
        present[:, SOUND_INPUTS] = x[:, SOUND_PRESENT, None] > 0.5
        count += present.sum(0)
        total += (x * present).sum(0)
        squares += (x**2 * present).sum(0)
    count = np.maximum(count, 1.0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    deviation[[FACE_PRESENT, SOUND_PRESENT]] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()
