"""How listeners that are drawn as one latent a window chunk: weights to networks, a speaker's window to reactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
"""Frames, live: half of what is shown knows of what was heard after 0.36 s in the mean, and a chunk has until the step
after the next to be made, 40 to 80 ms."""
_UNITS = slice(FACE_MODEL + AU.start, FACE_MODEL + AU.stop)


class LatentChunkModel(ChunkModel):
    """Chunks by a diffusion of latents, given the speaker's 25 attributes."""

    width = ATTRIBUTES
    idle_eyes_and_head = True
    """The face model is read off 25 attributes, which hold no blink, no gaze and no pose of the head."""

    def __init__(self, networks: LatentListener, how: LatentSampling, temperature: float, binarize: bool) -> None:
        """networks: in evaluation, on the device where chunks are to be made."""
        self._networks, self._how, self._temperature, self._binarize = networks, how, temperature, binarize
        self._device = networks.scale.low.device

    def inputs(self) -> AttributeInputs:
        return AttributeInputs()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> LatentNoise:
        latent = self._networks.autoencoder.window.latent
        return LatentNoise(rngs, window, (1 + (self._how.steps if self._how.eta > 0.0 else 0), latent))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        begin = self._temperature * torch.from_numpy(noise).to(self._device)
        shown = self._networks.draw(torch.from_numpy(windows).to(self._device), begin, self._how)
        answers = torch.cat([shown.face, shown.attributes], dim=-1)
        return answers.unflatten(0, noise.shape[:2]).numpy(force=True)

    def finish(self, shown: Floats) -> Floats:
        if self._binarize:
            shown = shown.copy()
            shown[..., _UNITS] = shown[..., _UNITS] > 0.5
        return shown


def load_latents(
    config: ChunkedConfig,
    system: str,
    model: type[Any],
    networks: Callable[[Any], LatentListener],
    quantize: bool = True,
) -> LoadedChunks:
    """The weights that a config names.

    model: dataclass of the weights' own config; networks: makes them of it, untrained. quantize: show the nearest
    codes of a sampled latent, where there are codes. Raises ValueError, in one sentence, where the weights are missing
    or are not what they should be.
    """
    device = choose_device(config.device)
    weights = load_weights(config.weights, system)
    sizes = config_from(model, weights.config, f"{weights.path}: config")
    levels = sizes.diffusion.steps
    if config.steps and config.steps > levels:
        raise ValueError(f"steps is {config.steps}: these weights have {levels} levels of noise, so at most {levels}")
    made = networks(sizes)
    load_into(made, weights)
    made = made.eval().requires_grad_(False).to(device)
    how = LatentSampling(config.steps or levels, config.eta, config.guidance, quantize)
    window = made.autoencoder.window.frames
    return LoadedChunks(
        LatentChunkModel(made, how, config.temperature, config.binarize),
        ChunkSchedule(window, HOP, INFERENCE_DELAY, CROSSFADE),
        sizes.protocol,
        weights.notice,
        weights.sha256,
        sum(p.numel() for p in made.parameters()),
        stochastic=config.temperature > 0.0,
    )
