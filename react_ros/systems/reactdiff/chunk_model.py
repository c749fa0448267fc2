"""ReactDiff's weights as chunks: from a speaker's window, a latent by denoising, and of that a listener's window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from react_ros.config import config_from
from react_ros.face import AU, FACE_MODEL, Floats, Reaction, SpeakerFrame
from react_ros.generators.chunk_model import ChunkModel
from react_ros.generators.chunk_schedule import WINDOWS, ChunkSchedule
from react_ros.generators.contract import sample_rngs
from react_ros.generators.idle_blending import IdleBlending
from react_ros.generators.noise import FieldNoise, Noise
from react_ros.generators.sanitize import sanitize
from react_ros.generators.speaker_inputs import INPUTS, SpeakerInputs
from react_ros.nn.device import choose_device, one_thread
from react_ros.nn.weights import load_into, load_weights
from react_ros.systems.reactdiff.config import ReactDiffConfig
from react_ros.systems.reactdiff.drawing import FastDenoiser
from react_ros.systems.reactdiff.model import ModelConfig, Networks
from react_ros.systems.reactdiff.style import read_reactions, style_of

_UNITS = slice(FACE_MODEL + AU.start, FACE_MODEL + AU.stop)


class SpeakerPast:
    """Rows that hold a frame and, behind it, the frames one window ago, two, …, for as much context as the decoder has.

    So the rows of one window hold all the windows that a chunk is made of; before the first frame there is nobody.
    """

    def __init__(self, window: int, context: int) -> None:
        self._inputs = SpeakerInputs()
        self._ring = np.zeros((window * context + 1, INPUTS), np.float32)
        self._lags = window * np.arange(context + 1)
        self._k = 0

    def step(self, frame: SpeakerFrame) -> Floats:
        """((1 + context) INPUTS,), the newest first."""
        self._ring[self._k % len(self._ring)] = self._inputs.step(frame)
        row = self._ring[(self._k - self._lags) % len(self._ring)]
        self._k += 1
        return row.reshape(-1)


class ReactDiffChunkModel(ChunkModel):
    """The networks of some weights on a device, shared by all streams and changed by none."""

    def __init__(self, config: ReactDiffConfig) -> None:
        """Raises ValueError, in one sentence, where weights or style are not there, or not what they should be."""
        self.device = choose_device(config.device)
        weights = load_weights(config.weights, "reactdiff")
        model = config_from(ModelConfig, weights.config, f"{weights.path}: config")
        if model.mmt.features.inputs != INPUTS:
            raise ValueError(
                f"{weights.path} was trained on rows of {model.mmt.features.inputs} numbers, but the robot's have "
                f"{INPUTS}: its features are others than the live ones"
            )
        networks = Networks(model)
        load_into(networks, weights)
        self.notice, self.sha256 = weights.notice, weights.sha256
        self.parameters = sum(p.numel() for p in networks.parameters())
        self.networks = networks.eval().requires_grad_(False).to(self.device)
        self.trained_for = model.mmt.protocol
        self.window, self._context = model.mmt.window, model.mmt.context if model.mmt.cross else 0
        self.width = (1 + self._context) * INPUTS
        levels = model.latent.diffusion.steps
        self._steps = config.steps or levels
        if self._steps > levels:
            raise ValueError(f"steps is {self._steps}: the weights of {weights.name} have {levels} noise levels")
        self._config = config
        if config.style:
            if model.mmt.listener and not config.diffusion:
                raise ValueError(
                    "style is given with diffusion=false: with these weights a style moves the diffusion only"
                )
            style = style_of(networks.personal.encoder, read_reactions(config.style))
            networks.personal.edit(networks.movable(), style)
        denoiser = self.networks.latent.denoiser
        # The fast one is laid out for a CPU; on a GPU it was never measured.
        self._denoiser = FastDenoiser(denoiser) if self.device.type == "cpu" else denoiser

    def inputs(self) -> SpeakerPast:
        return SpeakerPast(self.window, self._context)

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        shape = (1 + self._steps * (self._config.eta > 0.0), self.networks.latent.width)
        return FieldNoise(rngs, window, shape, lasting=self._config.lasting)

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        mmt = self.networks.mmt
        rows = torch.from_numpy(windows).to(self.device).unflatten(2, (-1, INPUTS))
        rows = rows.flip(2).transpose(1, 2).flatten(1, 2)  # (P, (context + 1) W, INPUTS), oldest first
        x0 = mmt.encoder(rows)
        before, now = x0[:, : -self.window], x0[:, -self.window :]
        found = self._sample(now, torch.from_numpy(noise).to(self.device))  # (P, S, W, latent)
        # What was said in former windows is decoded from the speaker alone, so that a chunk depends on its rows only.
        face, emotion = self.networks.mmt.decoder.after(before, found.flatten(0, 1))
        answers = torch.cat([face, emotion], dim=-1).unflatten(0, found.shape[:2])
        return answers.expand(-1, noise.shape[1], -1, -1).numpy(force=True)

    def finish(self, shown: Floats) -> Floats:
        if not self._config.binarize:
            return shown
        shown = shown.copy()
        shown[..., _UNITS] = shown[..., _UNITS] > 0.5
        return shown

    def offline(self, frames: Sequence[SpeakerFrame], samples: int, seed: int) -> list[Reaction]:
        """The paper's offline protocol: each window to the listener's same one, decoded over the whole clip at once."""
        heard = [sanitize(frame) for frame in frames]
        if not heard:
            return []
        inputs = SpeakerInputs()
        rows = np.zeros((1, -(-len(heard) // self.window) * self.window, INPUTS), np.float32)
        for k, frame in enumerate(heard):
            rows[0, k] = inputs.step(frame)
        noise = self.noise(sample_rngs(seed, samples, purpose=7), self.window)
        drawn = np.stack([noise.draw(begin) for begin in range(0, rows.shape[1], self.window)])
        with torch.inference_mode(), one_thread():
            x0 = self.networks.mmt.encoder(torch.from_numpy(rows).to(self.device))[0].unflatten(0, (-1, self.window))
            found = self._sample(x0, torch.from_numpy(drawn).to(self.device))  # (n, S, W, latent)
            face, emotion = self.networks.mmt.decoder(found.transpose(0, 1).flatten(1, 2))  # (S, T, …)
            answer = torch.cat([face, emotion], dim=-1).expand(samples, -1, -1)
        living = IdleBlending(seed, samples)
        shown = self.finish(answer.numpy(force=True))
        return [living.step(frame, shown[:, k]) for k, frame in enumerate(heard)]

    def _sample(self, x0: Tensor, noise: Tensor) -> Tensor:
        """(P, W, latent) of the encoder and noise (P, S, W, 1 or 1 + steps, width) to latents (P, S, W, latent).

        Without diffusion all listeners are one, and S is 1.
        """
        if not self._config.diffusion:
            return x0.unsqueeze(1)
        noise = noise.permute(3, 0, 1, 2, 4)  # (1 or 1 + steps, P, S, W, width)
        fresh = noise[1:] if self._config.eta > 0.0 else None
        start = self._config.temperature * noise[0]
        found = self.networks.latent.sample(
            x0, start, steps=self._steps, eta=self._config.eta, fresh=fresh, guidance=self._config.guidance,
            denoiser=self._denoiser,
        )  # fmt: skip
        listening = self.networks.mmt.listening
        return listening.latents(found) if listening is not None else found


def live(window: int) -> ChunkSchedule:
    """The live schedule: a chunk every 320 ms, each crossfaded into the one before.

    An inference delay of 160 ms is time for twenty denoising steps on a busy core; in the mean, half of what is shown
    knows of what was heard 420 ms ago.
    """
    return (
        ChunkSchedule(window, hop=8, inference_delay=4, crossfade=4)
        if window >= WINDOWS.window
        else ChunkSchedule(window, window)
    )
