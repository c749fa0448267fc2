"""Fixtures for the token listener: the shipped networks, and small ones with random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch

from react_ros.config import config_to
from react_ros.nn.quantizers import QuantizerConfig
from react_ros.nn.weights import save_weights
from react_ros.systems.fsq.config import FsqConfig
from react_ros.systems.fsq.model import ModelConfig, Networks, Predictor, PredictorConfig, Tokenizer, TokenizerConfig
from react_ros.systems.fsq.streaming import Loaded

SMALL = ModelConfig(
    TokenizerConfig(width=16, dilations=(1, 2), quantizer=QuantizerConfig(groups=3, levels=(3, 2))),
    PredictorConfig(16, layers=2, heads=2, feedforward=32, self_window=9, cross_window=7, encoder_layers=2),
)
"""Windows far shorter than the clips, so that rings wrap many times."""


def random_networks(config: ModelConfig) -> Networks:
    """Untrained, with random numbers everywhere, since special values such as 0 could hide errors."""
    torch.manual_seed(11)
    tokenizer = Tokenizer(config.tokenizer)
    networks = Networks(tokenizer, Predictor(config.predictor, tokenizer.quantizer.groups, tokenizer.quantizer.size))
    for parameter in networks.parameters():
        parameter.data += 0.15 * torch.randn_like(parameter)
    encoder = networks.predictor.encoder
    encoder.fit(torch.randn_like(encoder.mean), 0.5 + torch.rand_like(encoder.deviation))
    for name, value in (("margin", 0.5), ("slow", 0.1), ("persistence", 0.97), ("flicker", 0.05), ("beyond", 0.5)):
        getattr(networks, f"annotation_{name}").fill_(value)
    networks.annotation_circumplex.copy_(torch.linspace(-0.6, 0.6, 16))  # type: ignore[operator]
    return networks.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def shipped() -> Loaded:
    return Loaded(FsqConfig(device="cpu"))


@pytest.fixture
def small() -> Networks:
    """In double precision, where rounding cannot hide a wrong formula."""
    return random_networks(SMALL).double()


@pytest.fixture(params=["small", "shipped"])
def networks(request: pytest.FixtureRequest) -> Networks:
    """Each in turn."""
    found = request.getfixturevalue(request.param)
    return found.networks if isinstance(found, Loaded) else cast(Networks, found)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Weights of the small networks, without suffix."""
    path = tmp_path / "small"
    said = {"data": "none: random numbers of a test"}
    save_weights(path, random_networks(SMALL).state_dict(), "fsq", config_to(SMALL), said, "Random numbers.")
    return path
