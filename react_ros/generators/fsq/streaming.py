"""The token listener's weights, and its streams: one token a listener and frame, drawn where the weights lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from react_ros.face import ARKIT, FACE_MODEL, Floats, Reaction, SpeakerFrame, split_face_model
from react_ros.generators.attributes import attributes_of
from react_ros.generators.checks import Presence, trusted
from react_ros.generators.contract import Stream, sample_rngs
from react_ros.generators.fsq.annotation import Annotation
from react_ros.generators.fsq.model import ModelConfig, Networks, Predictor, Sampling, Tokenizer
from react_ros.generators.idle import IdleLife, wear_eyes
from react_ros.generators.parts.device import CapturedStep, choose_device
from react_ros.generators.parts.inputs import INPUTS, SpeakerInputs
from react_ros.generators.parts.weights import config_from, load_into, load_weights

if TYPE_CHECKING:
    from react_ros.generators.fsq.system import FsqConfig

MAX_ANGLE, MAX_SHIFT = 0.55, 0.25
"""Bounds of the head's motion, rad and m."""
FADE = 0.12
"""Share by which listening and idle life replace each other in a frame: nine tenths within 0.7 s."""


class Loaded:
    """The networks of some weights on a device, shared by all streams and changed by none."""

    def __init__(self, config: FsqConfig) -> None:
        """Raises ValueError, in one sentence, where the weights are not there, or are not what they should be."""
        self.device = choose_device(config.device)
        weights = load_weights(config.weights, "fsq")
        model = config_from(ModelConfig, weights.config, f"{weights.path}: config")
        tokenizer = Tokenizer(model.tokenizer)
        quantizer = tokenizer.quantizer
        networks = Networks(tokenizer, Predictor(model.predictor, quantizer.groups, quantizer.size))
        load_into(networks, weights)
        self.notice = weights.notice
        self.parameters = sum(p.numel() for p in networks.parameters())
        self.annotation = {
            name: getattr(networks, f"annotation_{name}").numpy().astype(np.float64) for name in Annotation.PARAMETERS
        }
        self.networks = networks.eval().requires_grad_(False).to(self.device)
        advised = model.sampling
        self.sampling = Sampling(
            config.temperature * advised.temperature,
            advised.top_p if config.top_p is None else config.top_p,
            advised.forgetting if config.forgetting is None else config.forgetting,
            advised.guidance if config.guidance is None else config.guidance,
        )

    def start(self, samples: int, seed: int) -> FsqStream:
        """A new stream."""
        return FsqStream(self, samples, seed)

    @torch.inference_mode()
    def step(self, samples: int) -> CapturedStep:
        """The step of a new stream: speaker (1, INPUTS) and chance (S, groups) to (S, 58) and (S, 25)."""
        predictor, tokenizer = self.networks.predictor, self.networks.tokenizer
        device, nobody = self.device, predictor.nobody_heard()
        position = torch.zeros((), dtype=torch.int64, device=device)
        past = torch.full((samples, predictor.groups), predictor.size, device=device)
        heard = predictor.encoder.start()
        layers, faces = predictor.start(samples), tokenizer.start(samples)

        def step(speaker: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
            memory = predictor.encoder.step(speaker, heard)
            x = predictor.step(past, memory, layers, position)
            past.copy_(predictor.draw(x, nobody, chance, self.sampling))
            decoded = tokenizer.step(past, faces, position)
            position.add_(1)
            return decoded.face, decoded.emotion

        caches = [cache for layer in layers for cache in layer]
        state = [position, past, heard, *(t for cache in caches for t in cache), *faces.tensors]
        chance = torch.zeros(samples, predictor.groups, device=device)
        return CapturedStep(step, [torch.zeros(1, INPUTS, device=device), chance], state, device)


class FsqStream(Stream):
    """S listeners that hear one speaker; where nobody is there, idle life takes over within a second."""

    def __init__(self, loaded: Loaded, samples: int, seed: int) -> None:
        self._rngs = sample_rngs(seed, samples, purpose=4)
        self.samples, self.seed = samples, seed
        self._inputs, self._presence = SpeakerInputs(), Presence()
        self._idle = IdleLife(seed, samples)
        self._annotation = Annotation(loaded.annotation, sample_rngs(seed, samples, purpose=5))
        self._step = loaded.step(samples)
        self._chance = np.empty((samples, loaded.networks.predictor.groups), np.float32)
        self._weight = 0.0
        """Share of listening in what is shown; the rest is idle life."""
        self._begun = False

    def step(self, frame: SpeakerFrame) -> Reaction:
        frame = trusted(frame)
        present = self._presence.step(frame)
        row = self._inputs.step(frame)
        for i, rng in enumerate(self._rngs):
            self._chance[i] = rng.random(self._chance.shape[1], np.float32)
        face, emotion = self._step(torch.from_numpy(row[None]), torch.from_numpy(self._chance))
        attributes = self._annotation.step(emotion.numpy(force=True))
        shown = np.concatenate([face.numpy(force=True), attributes], axis=1)
        idle = self._idle.step()
        # Whoever is there from the first frame on is listened to from the first frame on.
        self._weight = self._weight + FADE * (present - self._weight) if self._begun else float(present)
        self._weight = 1.0 if self._weight > 0.99 else self._weight
        self._begun = True
        if self._weight < 1.0:
            calm = np.zeros((self.samples, len(ARKIT)))
            wear_eyes(calm, idle.blink, idle.gaze)
            calm_face = np.concatenate([calm, idle.rotation, idle.translation, attributes_of(calm)], axis=1)
            shown = self._weight * shown + (1.0 - self._weight) * calm_face
        return _reaction(frame, shown.astype(np.float32), present)


def _reaction(frame: SpeakerFrame, shown: Floats, live: bool) -> Reaction:
    blendshapes, rotation, translation = split_face_model(shown[:, :FACE_MODEL])
    return Reaction(
        frame.index,
        frame.stamp_ns,
        np.clip(blendshapes, 0.0, 1.0),
        np.clip(rotation, -MAX_ANGLE, MAX_ANGLE),
        np.clip(translation, -MAX_SHIFT, MAX_SHIFT),
        shown[:, FACE_MODEL:].copy(),
        live,
    )
