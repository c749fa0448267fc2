"""The token listener's loaded weights, and its streams: one token for each listener and frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from react_ros.config import config_from
from react_ros.face import Reaction, SpeakerFrame
from react_ros.generators.contract import Stream, sample_rngs
from react_ros.generators.idle_blending import IdleBlending
from react_ros.generators.sanitize import sanitize
from react_ros.generators.speaker_inputs import input_scheme
from react_ros.nn.device import CapturedStep, choose_device
from react_ros.nn.weights import load_into, load_weights
from react_ros.systems.fsq.annotation import Annotation
from react_ros.systems.fsq.model import ModelConfig, Networks, Predictor, Sampling, Tokenizer

if TYPE_CHECKING:
    from react_ros.systems.fsq.config import FsqConfig


class Loaded:
    """Loaded networks on a device, shared by all streams and changed by none."""

    def __init__(self, config: FsqConfig) -> None:
        """Raises ValueError, in one sentence, where the weights are missing or invalid."""
        self.device = choose_device(config.device)
        weights = load_weights(config.weights, "fsq")
        model = config_from(ModelConfig, weights.config, f"{weights.path}: config")
        tokenizer = Tokenizer(model.tokenizer)
        quantizer = tokenizer.quantizer
        networks = Networks(tokenizer, Predictor(model.predictor, quantizer.groups, quantizer.size))
        load_into(networks, weights)
        self.notice, self.sha256 = weights.notice, weights.sha256
        self.parameters = sum(p.numel() for p in networks.parameters())
        self.annotation = {
            name: getattr(networks, f"annotation_{name}").numpy().astype(np.float64) for name in Annotation.PARAMETERS
        }
        self.inputs = input_scheme(model.predictor.inputs)
        self.networks = networks.eval().requires_grad_(False).to(self.device)
        own = model.sampling
        self.sampling = Sampling(
            config.temperature * own.temperature,
            own.top_p if config.top_p is None else config.top_p,
            own.forgetting if config.forgetting is None else config.forgetting,
            own.guidance if config.guidance is None else config.guidance,
        )

    def start(self, samples: int, seed: int) -> FsqStream:
        """A new stream."""
        return FsqStream(self, samples, seed)

    @torch.inference_mode()
    def step(self, samples: int) -> CapturedStep:
        """The step of a new stream: speaker (1, inputs) and uniform numbers (S, groups) to (S, 58) and (S, 25)."""
        predictor, tokenizer = self.networks.predictor, self.networks.tokenizer
        device, unconditional = self.device, predictor.unconditional()
        position = torch.zeros((), dtype=torch.int64, device=device)
        past = torch.full((samples, predictor.groups), predictor.size, device=device)
        memory_state = predictor.encoder.start()
        layers, faces = predictor.start(samples), tokenizer.start(samples)

        def step(speaker: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
            memory = predictor.told(predictor.encoder.step(speaker, memory_state))
            x = predictor.step(past, memory, layers, position)
            past.copy_(predictor.sample(x, unconditional, uniform, self.sampling))
            decoded = tokenizer.step(past, faces, position)
            position.add_(1)
            return decoded.face, decoded.emotion

        caches = [cache for layer in layers for cache in layer]
        state = [position, past, memory_state, *(t for cache in caches for t in cache), *faces.tensors]
        inputs = [
            torch.zeros(1, self.inputs.inputs, device=device),
            torch.zeros(samples, predictor.groups, device=device),
        ]
        return CapturedStep(step, inputs, state, device)


class FsqStream(Stream):
    """S listeners of one speaker; idle life takes over within a second where nobody is present."""

    def __init__(self, loaded: Loaded, samples: int, seed: int) -> None:
        self._rngs = sample_rngs(seed, samples, purpose=4)
        self.samples, self.seed = samples, seed
        self._inputs, self._blending = loaded.inputs.start(), IdleBlending(seed, samples)
        self._annotation = Annotation(loaded.annotation, sample_rngs(seed, samples, purpose=5))
        self._step = loaded.step(samples)
        self._uniform = np.empty((samples, loaded.networks.predictor.groups), np.float32)

    def step(self, frame: SpeakerFrame) -> Reaction:
        frame = sanitize(frame)
        row = self._inputs.step(frame)
        for i, rng in enumerate(self._rngs):
            self._uniform[i] = rng.random(self._uniform.shape[1], np.float32)
        face, emotion = self._step(torch.from_numpy(row[None]), torch.from_numpy(self._uniform))
        attributes = self._annotation.step(emotion.numpy(force=True))
        return self._blending.step(frame, np.concatenate([face.numpy(force=True), attributes], axis=1))
