"""Speaker inputs in training: their statistics, and augmentation by missing faces and audio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from react_ros.config import in_range
from react_ros.generators.speaker_inputs import InputScheme
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


def without_modalities(speaker: Tensor, inputs: InputScheme, dropouts: Dropouts, rng: torch.Generator) -> Tensor:
    """(B, T, inputs) with some faces and audio missing, in the encoding of the rows."""
    count, frames, _ = speaker.shape
    device = speaker.device
    clip_chance, gap_chance, face_or_audio = torch.rand(3, count, 1, generator=rng, device=device)
    edges = torch.rand(2, count, 1, generator=rng, device=device).sort(dim=0).values * frames
    at = torch.arange(frames, device=device)
    whole, gap = clip_chance < dropouts.clip, gap_chance < dropouts.gap
    missing = whole | (gap & (at >= edges[0]) & (at < edges[1]))  # (B, T)
    no_face = (missing & (face_or_audio < 0.5)).unsqueeze(-1)
    no_audio = (missing & (face_or_audio >= 0.5)).unsqueeze(-1)
    column = torch.arange(inputs.inputs, device=device)
    of_face = (column < inputs.face.stop) | (column == inputs.face_present)
    of_audio = (column >= inputs.sound.start) & (column < inputs.sound.stop) | (column == inputs.sound_present)
    return speaker.masked_fill((no_face & of_face) | (no_audio & of_audio), 0.0)


@dataclass(frozen=True, slots=True)
class Variation:
    """Augmentation of each crop by a random gain, offset and slow drift of every channel, and by dropped channels.

    So that a listener cannot rely on particulars of the training speakers' channels: real trackers, faces and
    microphones differ in them. Raises ValueError for an impossible value.
    """

    gain: float = 0.0
    """Standard deviation of the logarithm of a channel's gain."""
    offset: float = 0.0
    """Standard deviation of a channel's offset, in units of its typical spread (`InputScheme.units`)."""
    drift: float = 0.0
    """The same of a drift over about two seconds."""
    dropped: float = 0.0
    """Probability that a channel is constantly 0 in a crop."""

    def __post_init__(self) -> None:
        for name in ("gain", "offset", "drift"):
            in_range(name, getattr(self, name), 0.0, 10.0)
        in_range("dropped", self.dropped, 0.0, 0.9)

    @property
    def none(self) -> bool:
        """Whether nothing is changed."""
        return not (self.gain or self.offset or self.drift or self.dropped)


def varied(speaker: Tensor, inputs: InputScheme, variation: Variation, rng: torch.Generator) -> Tensor:
    """(B, T, inputs) with each crop's channels varied. Missing blocks stay 0.

    Gain, drift and dropping are the same for both columns of a blendshape (raw, and relative to the person), the offset
    of the relative one is smaller: live, a constant offset mostly disappears from it.
    """
    if variation.none:
        return speaker
    count, frames, width = speaker.shape
    device = speaker.device
    unit = torch.full((width,), 1.0, device=device)
    for block, value in zip(inputs.shapes, inputs.units[:2], strict=True):
        unit[block] = value
    unit[inputs.attributes], unit[inputs.mfcc] = inputs.units[2], inputs.units[3]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, device=device)

    gain, offset = normal(count, 1, width), normal(count, 1, width)
    knots = normal(count, width, frames // 50 + 3)
    kept = (torch.rand(count, 1, width, generator=rng, device=device) >= variation.dropped).float()
    raw, relative = inputs.shapes
    gain[..., relative], kept[..., relative] = gain[..., raw].clone(), kept[..., raw].clone()
    knots[:, relative] = knots[:, raw].clone()
    offset[..., relative] *= 0.5
    drift = F.interpolate(knots, size=frames, mode="linear", align_corners=True).transpose(1, 2)
    out = speaker * (variation.gain * gain).exp() + unit * (variation.offset * offset + variation.drift * drift)
    out = out * kept
    present = torch.zeros(width, dtype=torch.bool, device=device)
    present[[inputs.face_present, inputs.sound_present]] = True
    shown = torch.zeros_like(speaker, dtype=torch.bool)
    shown[..., inputs.face] = speaker[..., inputs.face_present, None] > 0.5
    shown[..., inputs.sound] = speaker[..., inputs.sound_present, None] > 0.5
    return torch.where(present, speaker, out * shown)


def statistics(clips: Clips) -> tuple[Tensor, Tensor]:
    """(inputs,) mean and standard deviation of the features, over the frames in which they are present."""
    inputs = clips.inputs
    count, total, squares = (np.zeros(inputs.inputs) for _ in range(3))
    for clip in range(len(clips)):
        x = np.asarray(clips.speaker(clip), np.float64)
        present = np.zeros(x.shape, bool)
        present[:, inputs.face] = x[:, inputs.face_present, None] > 0.5
        present[:, inputs.sound] = x[:, inputs.sound_present, None] > 0.5
        count += present.sum(0)
        total += (x * present).sum(0)
        squares += (x**2 * present).sum(0)
    count = np.maximum(count, 1.0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    deviation[[inputs.face_present, inputs.sound_present]] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()
