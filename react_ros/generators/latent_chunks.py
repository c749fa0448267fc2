"""Action chunks of systems that sample one latent vector a window: loading weights, and the `ChunkModel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from react_ros.config import config_from
from react_ros.face import ATTRIBUTES, AU, FACE_MODEL, Floats
from react_ros.generators.chunk_model import ChunkModel
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.chunked import ChunkedConfig, LoadedChunks
from react_ros.generators.noise import LatentNoise
from react_ros.generators.speaker_inputs import AttributeInputs
from react_ros.nn.device import choose_device
from react_ros.nn.weights import load_into, load_weights
from react_ros.nn.window_latents import LatentListener, LatentSampling

HOP, INFERENCE_DELAY, CROSSFADE = 5, 1, 10
"""Frames of the live schedule: half of what is shown depends on a speaker frame after 0.36 s in the mean, and a chunk
has 40 to 80 ms to be computed, until the step after the next."""
_UNITS = slice(FACE_MODEL + AU.start, FACE_MODEL + AU.stop)


class LatentChunkModel(ChunkModel):
    """Action chunks by a diffusion of latents, conditioned on the speaker's 25 attributes."""

    width = ATTRIBUTES
    idle_eyes_and_head = True
    """The face model is decoded from 25 attributes, which hold no blinks, gaze or head pose."""

    def __init__(self, networks: LatentListener, sampling: LatentSampling, temperature: float, binarize: bool) -> None:
        """networks: in evaluation mode, on the device that computes chunks."""
        self._networks, self._sampling, self._temperature, self._binarize = networks, sampling, temperature, binarize
        self._device = networks.scale.low.device

    def inputs(self) -> AttributeInputs:
        return AttributeInputs()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> LatentNoise:
        latent = self._networks.autoencoder.window.latent
        return LatentNoise(rngs, window, (1 + (self._sampling.steps if self._sampling.eta > 0.0 else 0), latent))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        scaled = self._temperature * torch.from_numpy(noise).to(self._device)
        decoded = self._networks.sample(torch.from_numpy(windows).to(self._device), scaled, self._sampling)
        reactions = torch.cat([decoded.face, decoded.attributes], dim=-1)
        return reactions.unflatten(0, noise.shape[:2]).numpy(force=True)

    def finish(self, shown: Floats) -> Floats:
        if self._binarize:
            shown = shown.copy()
            shown[..., _UNITS] = shown[..., _UNITS] > 0.5
        return shown


def live_schedule(window: int) -> ChunkSchedule:
    """The live schedule; windows that are too short for it follow each other, as in the papers."""
    if window < HOP + INFERENCE_DELAY + CROSSFADE:
        return ChunkSchedule(window, window)
    return ChunkSchedule(window, HOP, INFERENCE_DELAY, CROSSFADE)


def load_latents(
    config: ChunkedConfig,
    system: str,
    model: type[Any],
    networks: Callable[[Any], LatentListener],
    quantize: bool = True,
    folder: Path | None = None,
) -> LoadedChunks:
    """Load the weights that a config names.

    model: dataclass of the config in the weights' YAML. networks: builds the untrained networks of such a config.
    quantize: replace sampled latents by the nearest codes, where the autoencoder has codes. folder: as in
    `load_weights`. Raises ValueError, in one sentence, where the weights are missing or invalid.
    """
    device = choose_device(config.device)
    weights = load_weights(config.weights, system, folder)
    sizes = config_from(model, weights.config, f"{weights.path}: config")
    levels = sizes.diffusion.steps
    if config.steps and config.steps > levels:
        raise ValueError(f"steps is {config.steps}: it must be at most {levels}, the noise levels of these weights")
    loaded = networks(sizes)
    load_into(loaded, weights)
    loaded = loaded.eval().requires_grad_(False).to(device)
    sampling = LatentSampling(config.steps or levels, config.eta, config.guidance, quantize)
    window = loaded.autoencoder.window.frames
    return LoadedChunks(
        LatentChunkModel(loaded, sampling, config.temperature, config.binarize),
        live_schedule(window),
        sizes.protocol,
        weights.notice,
        weights.sha256,
        sum(p.numel() for p in loaded.parameters()),
        stochastic=config.temperature > 0.0,
    )
