"""The mean reaction that is expected of a speaker so far: losses of its regression."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, FPS, ROTATION_58, VA
from react_ros.nn.speaker_encoder import Expectation
from react_ros.training.data import Batch, mean_over

_AHEAD = FPS
"""Frames of the future over which the head's activity is meant."""


def emotion_losses(emotion: Tensor, attributes: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Losses of D_emotion's outputs (B, T, 25) against attributes (B, T, 25): units, affect, expressions, unlikely."""
    likely = emotion[..., EXPRESSIONS].log_softmax(-1)
    real = attributes[..., EXPRESSIONS]
    units = F.binary_cross_entropy_with_logits(emotion[..., AU], attributes[..., AU].clamp(0.0, 1.0), reduction="none")
    return {
        "units": mean_over(units, valid),
        "affect": mean_over((emotion[..., VA] - attributes[..., VA]).square(), valid),
        "expressions": mean_over(-(real * likely).sum(-1), valid),
        "unlikely": mean_over(((likely.exp() + 2e-3).log() - (real + 2e-3).log()).abs(), valid),
    }


def expectation_losses(expectation: Expectation, encoding: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Losses of the mean reaction that is expected of `encoding` (B, T, width): the encoder's training signal."""
    expected = expectation(encoding).float()
    emotion = emotion_losses(expected[..., :ATTRIBUTES], batch.attributes, batch.valid)
    face, more = expected[..., ATTRIBUTES:].split([FACE_MODEL, expectation.outputs - ATTRIBUTES - FACE_MODEL], dim=-1)
    error = mean_over((face - batch.face_model / expectation.units).square(), batch.valid)
    total = 3.0 * emotion["units"] + 2.0 * emotion["affect"] + 0.3 * emotion["expressions"] + 10.0 * error
    losses = {**emotion, "face": error}
    if more.shape[-1]:
        losses["activity"] = mean_over((more - 0.25 * head_activity(batch)).square(), batch.valid)
        total = total + 100.0 * losses["activity"]  # its variance is small
    return {"expectation": total, **losses}


def head_activity(batch: Batch) -> Tensor:
    """(B, T, 2) mean speed of the listener's head in the second that follows: pitch, and yaw with roll.

    In units of 0.01 rad a frame, at most 3: about 2 in a nod. At the end of a crop the mean is over what is left of it.
    """
    rotation = batch.face_model[..., ROTATION_58]
    both = (batch.valid[:, 1:] & batch.valid[:, :-1]).unsqueeze(-1)
    speed = F.pad(rotation.diff(dim=1).abs() * both, (0, 0, 0, 1)) / 0.01
    speed = torch.stack([speed[..., 0], speed[..., 1:].sum(-1)], dim=-1)
    frames = speed.shape[1]
    total = F.pad(speed.cumsum(1), (0, 0, 1, 0))
    here = torch.arange(frames, device=speed.device)
    end = (here + _AHEAD).clamp_max(frames)
    return ((total[:, end] - total[:, here]) / (end - here).unsqueeze(-1)).clamp_max(3.0)
