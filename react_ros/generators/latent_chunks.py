"""How listeners that are drawn as one latent a window plan: weights to networks, a speaker's window to reactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from react_ros.config import config_from
from react_ros.face import ATTRIBUTES, AU, FACE_MODEL, Floats
from react_ros.generators.chunk_model import Planner
from react_ros.generators.chunk_schedule import Planning
from react_ros.generators.latent_generator import WindowedConfig
from react_ros.generators.noise import LatentNoise
from react_ros.generators.speaker_inputs import AttributeInputs
from react_ros.nn.device import choose_device
from react_ros.nn.weights import load_into, load_weights
from react_ros.nn.window_latents import Drawing, LatentListener

STRIDE, LEAD, BLEND = 5, 1, 10
"""Frames, live: half of what is shown knows of what was heard after 0.36 s in the mean, and a plan has until the step
after the next to be made, 40 to 80 ms."""
_UNITS = slice(FACE_MODEL + AU.start, FACE_MODEL + AU.stop)


def planning(protocol: str, frames: int) -> Planning:
    """When plans of `frames` frames are made: "live", or in the papers' "window" protocol."""
    return Planning(frames, frames) if protocol == "window" else Planning(frames, STRIDE, LEAD, BLEND)


class LatentPlanner(Planner):
    """Plans by a diffusion of latents, given the speaker's 25 attributes."""

    width = ATTRIBUTES
    eyeless = True
    """The face model is read off 25 attributes, which hold no blink, no gaze and no pose of the head."""

    def __init__(self, networks: LatentListener, how: Drawing, temperature: float, binarize: bool) -> None:
        """networks: in evaluation, on the device where plans are to be made."""
        self._networks, self._how, self._temperature, self._binarize = networks, how, temperature, binarize
        self._device = networks.scale.low.device

    def inputs(self) -> AttributeInputs:
        return AttributeInputs()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> LatentNoise:
        latent = self._networks.autoencoder.window.latent
        return LatentNoise(rngs, window, (1 + (self._how.steps if self._how.eta > 0.0 else 0), latent))

    def plan(self, windows: Floats, noise: Floats) -> Floats:
        begin = self._temperature * torch.from_numpy(noise).to(self._device)
        shown = self._networks.draw(torch.from_numpy(windows).to(self._device), begin, self._how)
        answers = torch.cat([shown.face, shown.attributes], dim=-1)
        return answers.unflatten(0, noise.shape[:2]).numpy(force=True)

    def finish(self, shown: Floats) -> Floats:
        if self._binarize:
            shown = shown.copy()
            shown[..., _UNITS] = shown[..., _UNITS] > 0.5
        return shown


@dataclass(frozen=True, slots=True)
class LoadedLatents:
    """The networks of some weights, ready to plan."""

    planner: LatentPlanner
    frames: int
    """Of a window."""
    protocol: str
    """online or offline: what the weights were trained for."""
    notice: str
    sha256: str
    """Of the weights' file."""
    parameters: int


def load_latents(
    config: WindowedConfig, system: str, model: type[Any], networks: Callable[[Any], LatentListener], codebook: bool
) -> LoadedLatents:
    """The weights that a config names. model: dataclass of the weights' config; networks: makes them, untrained.

    Raises ValueError, in one sentence, where the weights are not there, or are not what they should be.
    """
    device = choose_device(config.device)
    weights = load_weights(config.weights, system)
    sizes = config_from(model, weights.config, f"{weights.path}: config")
    levels = sizes.diffusion.steps
    if config.steps is not None and config.steps > levels:
        raise ValueError(f"steps is {config.steps}: these weights have {levels} levels of noise, so at most {levels}")
    made = networks(sizes)
    load_into(made, weights)
    made = made.eval().requires_grad_(False).to(device)
    how = Drawing(config.steps or levels, config.eta, config.guidance, codebook)
    return LoadedLatents(
        LatentPlanner(made, how, config.temperature, config.binarize),
        made.autoencoder.window.frames,
        sizes.protocol,
        weights.notice,
        weights.sha256,
        sum(p.numel() for p in made.parameters()),
    )
