"""ReactDiff's action chunks: a speaker's window to latents by denoising, and these to a listener's window."""

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
from react_ros.generators.speaker_inputs import SCHEMES, InputScheme
from react_ros.nn.device import choose_device, one_thread
from react_ros.nn.weights import load_into, load_weights
from react_ros.systems.reactdiff.config import ReactDiffConfig
from react_ros.systems.reactdiff.fast_denoiser import FastDenoiser
from react_ros.systems.reactdiff.model import ModelConfig, Networks
from react_ros.systems.reactdiff.style import read_reactions, style_of

_UNITS = slice(FACE_MODEL + AU.start, FACE_MODEL + AU.stop)


class ContextInputs:
    """Rows with the current frame and the frames 1 to `context` windows ago.

    So the rows of one window hold all windows that the decoder needs; zeros before the first frame.
    """

    def __init__(self, rows: InputScheme, window: int, context: int) -> None:
        self._inputs = rows.start()
        self._ring = np.zeros((window * context + 1, rows.inputs), np.float32)
        self._lags = window * np.arange(context + 1)
        self._k = 0

    def step(self, frame: SpeakerFrame) -> Floats:
        """((1 + context) inputs,), newest first."""
        self._ring[self._k % len(self._ring)] = self._inputs.step(frame)
        row = self._ring[(self._k - self._lags) % len(self._ring)]
        self._k += 1
        return row.reshape(-1)


class ReactDiffChunkModel(ChunkModel):
    """Loaded networks on a device, shared by all streams and changed by none."""

    def __init__(self, config: ReactDiffConfig) -> None:
        """Raises ValueError, in one sentence, where weights or style are missing or invalid."""
        self.device = choose_device(config.device)
        weights = load_weights(config.weights, "reactdiff")
        model = config_from(ModelConfig, weights.config, f"{weights.path}: config")
        rows = model.mmt.features.scheme
        if rows is None:
            raise ValueError(
                f"{weights.path} was trained on rows of {model.mmt.features.inputs} numbers, but live rows have "
                f"{' or '.join(str(scheme.inputs) for scheme in SCHEMES.values())}: live listeners need weights of the "
                "live features"
            )
        self.rows = rows
        networks = Networks(model)
        load_into(networks, weights)
        self.notice, self.sha256 = weights.notice, weights.sha256
        self.parameters = sum(p.numel() for p in networks.parameters())
        self.networks = networks.eval().requires_grad_(False).to(self.device)
        self.trained_for = model.mmt.protocol
        self.window, self._context = model.mmt.window, model.mmt.context if model.mmt.cross else 0
        self.width = (1 + self._context) * rows.inputs
        self.sampling = config.sampling(model.sampling, model.latent.diffusion.steps, weights.name)
        self.inertial = self.sampling.transitions == "inertial"
        self._config = config
        if config.style:
            if model.mmt.listener and not config.diffusion:
                raise ValueError(
                    "style is given with diffusion=false: with these weights a style only edits the diffusion"
                )
            style = style_of(networks.personal.encoder, read_reactions(config.style))
            networks.personal.edit(networks.movable(), style)
        denoiser = self.networks.latent.denoiser
        # FastDenoiser is laid out for CPUs; it was not measured on a GPU.
        self._denoiser = FastDenoiser(denoiser) if self.device.type == "cpu" else denoiser

    def inputs(self) -> ContextInputs:
        return ContextInputs(self.rows, self.window, self._context)

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        shape = (1 + self.sampling.steps * (self.sampling.eta > 0.0), self.networks.latent.width)
        return FieldNoise(rngs, window, shape, lasting=self._config.lasting)

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        mmt = self.networks.mmt
        rows = torch.from_numpy(windows).to(self.device).unflatten(2, (-1, self.rows.inputs))
        rows = rows.flip(2).transpose(1, 2).flatten(1, 2)  # (P, (context + 1) W, inputs), oldest first
        x0 = mmt.encoder(rows)
        before, now = x0[:, : -self.window], x0[:, -self.window :]
        latents = self._sample(now, before, torch.from_numpy(noise).to(self.device))  # (P, S, W, latent)
        # Former windows are decoded from the speaker's latents, so that a chunk depends on its rows and noise only.
        face, emotion = self.networks.mmt.decoder.after(before, latents.flatten(0, 1))
        reactions = torch.cat([face, emotion], dim=-1).unflatten(0, latents.shape[:2])
        return reactions.expand(-1, noise.shape[1], -1, -1).numpy(force=True)

    def finish(self, shown: Floats) -> Floats:
        if not self._config.binarize:
            return shown
        shown = shown.copy()
        shown[..., _UNITS] = shown[..., _UNITS] > 0.5
        return shown

    def offline(self, frames: Sequence[SpeakerFrame], samples: int, seed: int) -> list[Reaction]:
        """The paper's offline protocol: windows of the same times, decoded over the whole clip at once."""
        speaker = [sanitize(frame) for frame in frames]
        if not speaker:
            return []
        inputs = self.rows.start()
        rows = np.zeros((1, -(-len(speaker) // self.window) * self.window, self.rows.inputs), np.float32)
        for k, frame in enumerate(speaker):
            rows[0, k] = inputs.step(frame)
        noise = self.noise(sample_rngs(seed, samples, purpose=7), self.window)
        noises = np.stack([noise.at(first) for first in range(0, rows.shape[1], self.window)])
        with torch.inference_mode(), one_thread():
            x0 = self.networks.mmt.encoder(torch.from_numpy(rows).to(self.device))
            latents = self._sample(x0, None, torch.from_numpy(noises).to(self.device))  # (n, S, W, latent)
            face, emotion = self.networks.mmt.decoder(latents.transpose(0, 1).flatten(1, 2))  # (S, T, …)
            reactions = torch.cat([face, emotion], dim=-1).expand(samples, -1, -1)
        blending = IdleBlending(seed, samples)
        shown = self.finish(reactions.numpy(force=True))
        return [blending.step(frame, shown[:, k]) for k, frame in enumerate(speaker)]

    def _sample(self, x0: Tensor, before: Tensor | None, noise: Tensor) -> Tensor:
        """(B, n W, latent) of the encoder and noise (B n, S, W, 1 or 1 + steps, width) to latents (B n, S, W, latent).

        before: as of `Latent.told`. Without diffusion all listeners are equal, and S is 1.
        """
        if not self._config.diffusion:
            return x0.unflatten(1, (-1, self.window)).flatten(0, 1).unsqueeze(1)
        mmt, sampling = self.networks.mmt, self.sampling
        told = self.networks.latent.told(mmt.decoder, x0, before).unflatten(1, (-1, self.window)).flatten(0, 1)
        noise = noise.permute(3, 0, 1, 2, 4)  # (1 or 1 + steps, P, S, W, width)
        fresh = noise[1:] if sampling.eta > 0.0 else None
        start = sampling.temperature * noise[0]
        sampled = self.networks.latent.sample(
            told, start, steps=sampling.steps, eta=sampling.eta, fresh=fresh, guidance=sampling.guidance,
            denoiser=self._denoiser,
        )  # fmt: skip
        listening = mmt.listening
        return listening.latents(sampled) if listening is not None else sampled


def live(window: int) -> ChunkSchedule:
    """The live schedule: a chunk every 320 ms, each crossfaded into the former.

    The inference delay of 160 ms suffices for twenty denoising steps on a busy core; half of what is shown depends on a
    speaker frame after 420 ms in the mean.
    """
    return (
        ChunkSchedule(window, hop=8, inference_delay=4, crossfade=4)
        if window >= WINDOWS.window
        else ChunkSchedule(window, window)
    )
