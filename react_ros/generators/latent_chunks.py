"""Action chunks of systems that sample one latent vector a window: loading weights, and the `ChunkModel`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from react_ros.config import config_from
from react_ros.face import AU, FACE_MODEL, Floats, SpeakerFrame
from react_ros.generators.chunk_model import ChunkModel, Inputs
from react_ros.generators.chunk_schedule import ChunkSchedule
from react_ros.generators.chunked import WHOLE_PERSON, ChunkedConfig, ChunkSampling, LoadedChunks
from react_ros.generators.noise import LatentNoise, Noise, SegmentNoise
from react_ros.generators.speaker_inputs import AttributeInputs, InputScheme, input_scheme
from react_ros.nn.device import choose_device, one_thread
from react_ros.nn.weights import load_into, load_weights
from react_ros.nn.window_latents import ConditionConfig, LatentListener, LatentSampling, Person

HOP, INFERENCE_DELAY, CROSSFADE = 5, 1, 10
"""Frames of the live schedule: half of what is shown depends on a speaker frame after 0.36 s in the mean, and a chunk
has 40 to 80 ms to be computed, until the step after the next."""
_UNITS = slice(FACE_MODEL + AU.start, FACE_MODEL + AU.stop)


class ExpectedReactions:
    """Rows of the reactions that are expected of one speaker so far, from face and sound relative to the person."""

    def __init__(self, person: Person, scheme: InputScheme) -> None:
        """person: on the CPU, in evaluation mode."""
        self._person, self._rows = person, scheme.start()
        self._state = person.encoder.start()

    def step(self, frame: SpeakerFrame) -> Floats:
        """(85,) of frame k, see `Person.step`."""
        with torch.inference_mode(), one_thread():
            return self._person.step(torch.from_numpy(self._rows.step(frame)[None]), self._state)[0].numpy()


class LatentChunkModel(ChunkModel):
    """Action chunks by a diffusion of latents, conditioned on the speaker's attributes, or on expected reactions."""

    def __init__(self, networks: LatentListener, sampling: ChunkSampling, quantize: bool, binarize: bool) -> None:
        """networks: in evaluation mode, on the device that computes chunks."""
        self._networks, self._sampling, self._binarize = networks, sampling, binarize
        self._latent = LatentSampling(sampling.steps, sampling.eta, sampling.guidance, quantize)
        self._device = networks.scale.low.device
        self.width = networks.speaker_width
        window = networks.autoencoder.window
        # A face model that is decoded from 25 attributes has no blinks, gaze or head pose.
        self.idle_eyes_and_head = window.content == "attributes"
        self.inertial = sampling.transitions == "inertial"
        # Each frame of the speaker is encoded on the CPU, whatever computes the chunks.
        self._person = copy.deepcopy(networks.person).cpu() if networks.person is not None else None

    def inputs(self) -> Inputs:
        if self._person is None:
            return AttributeInputs()
        return ExpectedReactions(self._person, input_scheme(self._person.config.inputs))

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        own = self._networks.autoencoder.window
        draws = 1 + (self._sampling.steps if self._sampling.eta > 0.0 else 0)
        if own.segments == 1:
            return LatentNoise(rngs, window, (draws, own.latent))
        return SegmentNoise(rngs, window, own.segments, draws, own.latent)

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        scaled = self._sampling.temperature * torch.from_numpy(noise).to(self._device)
        decoded = self._networks.sample(torch.from_numpy(windows).to(self._device), scaled, self._latent)
        reactions = torch.cat([decoded.face, decoded.attributes], dim=-1)
        return reactions.unflatten(0, noise.shape[:2]).numpy(force=True)

    def finish(self, shown: Floats) -> Floats:
        if self._binarize:
            shown = shown.copy()
            shown[..., _UNITS] = shown[..., _UNITS] > 0.5
        return shown


def columns_of(condition: ConditionConfig) -> InputScheme | None:
    """The rows of the speaker that a condition is computed from; None: attributes."""
    return None if condition.inputs == "attributes" else input_scheme(condition.inputs)


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
    sampling = config.sampling(sizes.sampling, sizes.diffusion.steps, weights.name)
    loaded = networks(sizes)
    load_into(loaded, weights)
    loaded = loaded.eval().requires_grad_(False).to(device)
    window = loaded.autoencoder.window.frames
    return LoadedChunks(
        LatentChunkModel(loaded, sampling, quantize, config.binarize),
        live_schedule(window),
        sizes.protocol,
        weights.notice,
        weights.sha256,
        sum(p.numel() for p in loaded.parameters()),
        stochastic=sampling.temperature > 0.0,
        inputs=() if loaded.person is None else WHOLE_PERSON,
    )
