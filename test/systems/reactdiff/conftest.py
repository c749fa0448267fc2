"""Fixtures for ReactDiff: small networks with random numbers, and their weights on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from react_ros.config import config_to
from react_ros.nn.diffusion import DiffusionConfig
from react_ros.nn.weights import save_weights
from react_ros.systems.reactdiff.denoiser import DenoiserConfig
from react_ros.systems.reactdiff.mmt import MmtConfig
from react_ros.systems.reactdiff.model import LatentConfig, ModelConfig, Networks
from react_ros.systems.reactdiff.style import StyleConfig

SMALL = ModelConfig(
    MmtConfig(width=8, latent=16, listener=6, heads=2, layers=2, feedforward=16, memory=50, context=2),
    LatentConfig(
        DenoiserConfig(channels=16, multiples=(1, 2), heads=2, constraint=8, hidden=8, groups=2),
        DiffusionConfig(steps=20, prediction="x0"),
        scale=2.0,
    ),
    StyleConfig(size=4, rank=2, width=8, kernel=5),
)
"""Predicts x_0: a random network that predicts noise leaves every latent at its bound."""
SPEAKERS = replace(SMALL, mmt=replace(SMALL.mmt, listener=0))
"""Diffuses the speaker's latents: our reading of the paper."""


def random_networks(config: ModelConfig = SMALL) -> Networks:
    """Untrained, with random numbers everywhere, since special values such as 0 could hide errors."""
    torch.manual_seed(11)
    networks = Networks(config)
    for parameter in networks.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    encoder, latent = networks.mmt.encoder, networks.latent
    encoder.fit(0.1 * torch.randn_like(encoder.mean), 0.5 + torch.rand_like(encoder.deviation))
    for mean, deviation in ((latent.mean, latent.deviation), (latent.speaker_mean, latent.speaker_deviation)):
        mean.normal_()
        deviation.uniform_(0.5, 1.5)
    return networks.eval().requires_grad_(False)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    """`saved(config)` writes weights of random networks and returns their path."""

    def save(config: ModelConfig = SMALL, name: str = "small") -> str:
        path = tmp_path / name
        told = {"data": "none: random numbers of a test"}
        save_weights(
            path, random_networks(config).state_dict(), "reactdiff", config_to(config), told, "Random numbers."
        )
        return str(path)

    return save


def reactions(seed: int, frames: int = 100) -> dict[str, Any]:
    """A clip of a listener whose head pose and smile depend on the seed."""
    rng = np.random.default_rng(seed)
    face = 0.1 * rng.random((frames, 58)) + rng.normal(0.0, 0.2, 58)
    return {"face_model": face.astype(np.float32), "attributes": rng.random((frames, 25)).astype(np.float32)}
