"""VQ-Diff and BeLFusion as chunked generators: windows of reactions against a second computation from the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rehearsal import Speaker, simulated_speaker
from torch import Tensor

from react_ros.config import config_from, config_to
from react_ros.face import ATTRIBUTES, AU, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import sample_rngs
from react_ros.generators.noise import LatentNoise
from react_ros.generators.speaker_inputs import AttributeInputs
from react_ros.nn.weights import load_into, load_weights, save_weights
from react_ros.systems.belfusion import model as belfusion
from react_ros.systems.vqdiff import model as vqdiff

MODELS: dict[str, Any] = {"belfusion": belfusion, "vqdiff": vqdiff}
WEIGHTS = {"belfusion": "belfusion-2026-11-21", "vqdiff": "vqdiff-2026-11-21"}
"""Those that are told the speaker's attributes, as in the papers."""
FRAMES = simulated_speaker(4, 230, Speaker(gaps=False))
WINDOW = 50


def loaded(system: str) -> tuple[Any, Any]:
    """The packaged weights' config and networks."""
    weights = load_weights(WEIGHTS[system], system)
    sizes = config_from(MODELS[system].ModelConfig, weights.config, "config")
    networks = MODELS[system].networks(sizes)
    load_into(networks, weights)
    return sizes, networks.eval().requires_grad_(False)


def rows(frames: list[SpeakerFrame]) -> Tensor:
    """(T, 25) inputs of the speaker, padded with zeros to whole windows."""
    inputs = AttributeInputs()
    out = torch.zeros(-(-len(frames) // WINDOW) * WINDOW, ATTRIBUTES)
    for k, frame in enumerate(frames):
        out[k] = torch.from_numpy(inputs.step(frame))
    return out


def sampled(system: str, windows: Tensor, samples: int, seed: int, guidance: float, codebook: bool) -> Tensor:
    """(S, windows W, 25) of windows (P, W, 25) of the speaker, by an explicit loop over denoising steps."""
    _, networks = loaded(system)
    steps = networks.diffusion.config.steps
    noise = LatentNoise(sample_rngs(seed, samples, purpose=6), WINDOW, (1, networks.autoencoder.window.latent))
    bars = [float(a) for a in networks.diffusion.alpha_bar]
    shown = []
    for n, window in enumerate(windows):
        x = torch.from_numpy(noise.at(n * WINDOW))[:, 0]
        speaker, nobody = (networks.latents(w[None]).expand(samples, -1) for w in (window, torch.zeros_like(window)))
        for t in reversed(range(steps)):
            level = torch.full((samples,), t)
            known, unknown = networks.denoiser(x, level, speaker), networks.denoiser(x, level, nobody)
            x0 = (unknown + guidance * (known - unknown)).clamp(-1.0, 1.0)
            after = bars[t - 1] if t else 1.0
            x = after**0.5 * x0 + (1.0 - after) ** 0.5 * (x - bars[t] ** 0.5 * x0) / (1.0 - bars[t]) ** 0.5
        shown.append(networks.decode(x, codebook).attributes)
    return torch.cat(shown, dim=1)


def attributes(answers: Any) -> np.ndarray:
    """(S, T, 25)."""
    return np.stack([r.attributes for r in answers], axis=1)


@pytest.mark.parametrize("system", sorted(MODELS))
def test_online_a_window_depends_on_the_speaker_s_former_window_and_the_first_on_zeros(system: str) -> None:
    # Without codes: rounding could select another code. Codes have tests of their own.
    given = {"codebook": False} if system == "vqdiff" else {}
    generator = registry.create(system, weights=WEIGHTS[system], schedule="window", guidance=1.5, device="cpu", **given)
    answers = attributes(generator.generate(FRAMES, samples=3, seed=5))
    speaker = rows(FRAMES).unflatten(0, (-1, WINDOW))
    expected = sampled(system, torch.cat([torch.zeros_like(speaker[:1]), speaker[:-1]]), 3, 5, 1.5, False)
    np.testing.assert_allclose(answers, expected[:, : len(FRAMES)], atol=1e-4)


@pytest.mark.parametrize("system", sorted(MODELS))
def test_offline_a_window_depends_on_the_speaker_s_window_of_the_same_time(system: str, tmp_path: Path) -> None:
    """With the packaged tensors, declared as trained for the offline protocol."""
    sizes, networks = loaded(system)
    path = tmp_path / "offline"
    config = config_to(replace(sizes, protocol="offline"))
    save_weights(path, networks.state_dict(), system, config, {"data": "of a test"}, "")
    given = {"codebook": False} if system == "vqdiff" else {}
    generator = registry.create(system, weights=str(path), guidance=1.0, device="cpu", **given)
    answers = attributes(generator.generate_offline(FRAMES, samples=2, seed=1))
    expected = sampled(system, rows(FRAMES).unflatten(0, (-1, WINDOW)), 2, 1, 1.0, False)
    np.testing.assert_allclose(answers, expected[:, : len(FRAMES)], atol=1e-4)
    for ask in (generator.start, lambda: generator.generate(FRAMES)):
        with pytest.raises(ValueError, match="offline protocol, which needs the speaker's future"):
            ask()


@pytest.mark.parametrize("system", sorted(MODELS))
def test_binarised_action_units_are_0_or_1_and_nothing_else_changes(system: str) -> None:
    soft, hard = (
        attributes(registry.create(system, binarize=b, device="cpu").generate(FRAMES[:120], samples=2))
        for b in (False, True)
    )
    np.testing.assert_array_equal(hard[..., AU], soft[..., AU] > 0.5)
    np.testing.assert_array_equal(hard[..., AU.stop :], soft[..., AU.stop :])


def test_without_the_codebook_reactions_differ() -> None:
    coded, continuous = (
        attributes(registry.create("vqdiff", codebook=c, schedule="window", device="cpu").generate(FRAMES, samples=4))
        for c in (True, False)
    )
    assert np.abs(coded - continuous).max() > 0.01
