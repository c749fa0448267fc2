"""VQ-Diff's autoencoder: reactions are decoded from codes, or without the codebook from latents."""

from __future__ import annotations

import pytest
import torch

from react_ros.nn.quantizers import QuantizerConfig
from react_ros.nn.window_latents import WindowConfig
from react_ros.systems.vqdiff.model import ModelConfig, VqVae, VqVaeConfig, networks

SMALL = VqVaeConfig(WindowConfig("lstm", 2, width=8, frames=10, latent=12, narrow=3), codes=3, codebook_size=20)


@pytest.fixture
def autoencoder() -> VqVae:
    torch.manual_seed(1)
    made = VqVae(SMALL)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made.eval().requires_grad_(False)


def test_reactions_are_decoded_from_the_nearest_codes(autoencoder: VqVae) -> None:
    latent = torch.randn(6, 12)
    codebook = autoencoder.quantizer.codebook  # (3, 20, 4)
    parts = latent.view(6, 3, 1, 4)
    nearest = (parts - codebook).square().sum(-1).argmin(-1)  # (6, 3), by every distance there is
    codes = torch.stack([codebook[group, nearest[:, group]] for group in range(3)], dim=1).flatten(1)
    for shown, expected in zip(autoencoder.decode(latent), autoencoder.decoder(codes), strict=True):
        torch.testing.assert_close(shown, expected)
    for shown, expected in zip(autoencoder.decode(latent, quantize=False), autoencoder.decoder(latent), strict=True):
        torch.testing.assert_close(shown, expected)
    assert (autoencoder.decode(latent).attributes - autoencoder.decode(latent, False).attributes).abs().max() > 1e-3


def test_latents_have_one_scale(autoencoder: VqVae) -> None:
    latent = autoencoder.encode(torch.rand(5, 10, 25))
    torch.testing.assert_close(latent.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(latent.var(1, unbiased=False), torch.ones(5), atol=1e-2, rtol=0)


def test_padding_updates_no_code(autoencoder: VqVae) -> None:
    def moved(noise: float) -> torch.Tensor:
        torch.manual_seed(1)
        made = VqVae(SMALL).train()
        torch.manual_seed(2)
        latent = torch.randn(8, 12)
        latent[5:] += noise
        made.quantize(latent, torch.arange(8) < 5)
        return made.quantizer.codebook.clone()

    torch.testing.assert_close(moved(0.0), moved(100.0))


def test_the_papers_numbers_are_the_defaults_except_the_codes_of_a_window() -> None:
    default = VqVaeConfig()
    assert (default.window.latent, default.codebook_size, default.commitment) == (128, 200, 0.25)
    assert (default.window.cell, default.window.layers, default.window.frames) == ("lstm", 2, 50)
    assert VqVaeConfig(codes=1).quantizer == QuantizerConfig(
        "vq", groups=1, codebook_size=200, code_width=128, commitment_weight=0.25
    )
    assert ModelConfig().diffusion.steps == 10


def test_weights_in_fp32_are_under_15_megabytes() -> None:
    tensors = networks(ModelConfig()).state_dict().values()
    assert sum(t.numel() * t.element_size() for t in tensors) < 15e6


def test_codes_that_cannot_share_a_latent_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="codes is 3: they must share the latent's 128 dimensions equally"):
        VqVaeConfig(codes=3)
