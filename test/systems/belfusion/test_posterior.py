"""BeLFusion's autoencoder: latents are normal distributions; action chunks use their means."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from react_ros.nn.window_latents import WindowConfig
from react_ros.systems.belfusion.model import ModelConfig, Posterior, Vae, networks

SMALL = WindowConfig("gru", 1, width=8, frames=10, latent=12, narrow=3)


def test_the_divergence_is_that_of_two_normal_distributions() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 12)
    own = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(own, Normal(torch.zeros(12), torch.ones(12))).sum(1)
    torch.testing.assert_close(Posterior(mean, log_variance).divergence(), expected)


def test_samples_have_the_distributions_mean_and_deviation() -> None:
    posterior = Posterior(torch.full((20_000, 1), 2.0), torch.full((20_000, 1), -1.0))
    drawn = posterior.sample(torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(drawn.mean(), torch.tensor(2.0), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(), torch.tensor(-0.5).exp(), atol=0.02, rtol=0)


def test_a_window_is_encoded_as_its_mean_and_there_is_no_codebook() -> None:
    torch.manual_seed(0)
    made = Vae(SMALL).eval()
    attributes = torch.rand(3, 10, 25)
    latent = made.encode(attributes)
    torch.testing.assert_close(latent, made.posterior(attributes).mean)
    torch.testing.assert_close(made.decode(latent, quantize=True).face, made.decode(latent, quantize=False).face)


def test_the_baselines_numbers_are_the_defaults() -> None:
    window = ModelConfig().window
    assert (window.cell, window.layers, window.width, window.latent, window.frames) == ("gru", 1, 128, 128, 50)
    assert sum(t.numel() * t.element_size() for t in networks(ModelConfig()).state_dict().values()) < 15e6
