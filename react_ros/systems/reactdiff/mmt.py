"""The Multi-Modality Transformer: a speaker's face and sound to a latent sequence, and this to a listener's reaction.

Li et al., "ReactDiff: Latent Diffusion for Facial Reaction Generation", section 3.3. The encoder's only input
is the speaker; the listener is only the target of the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.config import in_range, whole_in_range
from react_ros.face import ATTRIBUTES, AU, EXPRESSIONS, FACE_MODEL, VA
from react_ros.nn.attention import WindowedAttention
from react_ros.nn.face_units import ROTATION_UNIT, TRANSLATION_UNIT
from react_ros.nn.face_units import face_units as nn_face_units
from react_ros.systems.reactdiff.features import ACOUSTIC, FACIAL, Features

_CLIP = 6.0
"""Standard deviations at which inputs are clipped."""
_LEAST_DEVIATION = 0.02
"""Lower bound of an input's standard deviation, for features that hardly moved in training."""


@dataclass(frozen=True, slots=True)
class MmtConfig:
    """Sizes of the transformer, and its protocol. Raises ValueError for an impossible value."""

    features: Features = field(default_factory=Features)
    protocol: Literal["online", "offline"] = "online"
    """online: a window of the speaker decodes to the listener's next window (the paper's shift by 50 frames); offline:
    to the window of the same time."""
    width: int = 64
    """Width of the cross-attentions; 1024 in the paper."""
    latent: int = 128
    """Width of the latent reaction space and of the decoder; 128 in the paper."""
    listener: int = 24
    """Width of a listener's own latents, see `ListenerLatents`; 0: none, as in our reading of the paper."""
    window: int = 50
    """Frames."""
    heads: int = 4
    layers: int = 2
    """Of the decoder."""
    feedforward: int = 256
    attention: Literal["causal", "both"] = "causal"
    """Attention of the decoder: frames up to the current one, or, offline only, the whole clip, as in the paper."""
    memory: int = 50
    """Frames in the attention of a causal decoder layer."""
    context: int = 2
    """Former windows that are decoded with the newest one, online."""
    cross: bool = True
    """Whether there is a transformer. Without it (the ablation "w/o MMT", which the paper does not describe) features
    are concatenated and projected frame by frame, and two linear heads decode each latent by itself."""
    video: bool = True
    audio: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        whole_in_range("width", self.width, 4, 65536)
        whole_in_range("latent", self.latent, 4, 65536)
        whole_in_range("listener", self.listener, 0, 65536)
        whole_in_range("window", self.window, 2, 10_000, "frames")
        whole_in_range("heads", self.heads, 1, 64)
        for name in ("width", "latent"):
            if getattr(self, name) % self.heads:
                raise ValueError(
                    f"{name} is {getattr(self, name)} with {self.heads} heads: the heads must share it equally"
                )
        whole_in_range("layers", self.layers, 1, 48)
        whole_in_range("feedforward", self.feedforward, 1, 65536)
        whole_in_range("memory", self.memory, 1, 10_000, "frames")
        whole_in_range("context", self.context, 0, 100, "windows")
        in_range("dropout", self.dropout, 0.0, 0.9)
        if not (self.video or self.audio):
            raise ValueError("video and audio are both off: at least one of them must be on")
        if self.attention == "both" and self.protocol == "online":
            raise ValueError("attention is both with protocol online: a decoder that sees the whole clip is offline")


class Attention(nn.Module):
    """Attention to the frames of another sequence of the same length, in both directions.

    Each head learns a bias for each distance, initialised as ALiBi in both directions; frames further than `reach` - 1
    are masked. Not causal: a window is complete when it is encoded.
    """

    def __init__(self, width: int, heads: int, reach: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.reach, self.dropout = heads, reach, dropout
        slopes = torch.exp2(-8.0 * torch.arange(1, heads + 1) / heads)
        distance = torch.arange(1 - reach, reach).abs()
        self.bias = nn.Parameter(-slopes[:, None] * distance)  # (heads, 2 reach - 1)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(B, T, width) and a memory (B, T, width) to (B, T, width)."""
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        frame = torch.arange(x.shape[1], device=x.device)
        distance = frame[:, None] - frame + self.reach - 1  # (T, T)
        bias = self.bias[:, distance.clamp(0, 2 * self.reach - 2)]
        bias = bias.masked_fill((distance < 0) | (distance > 2 * self.reach - 2), -math.inf).to(q.dtype)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], dropout_p=dropout)
        return self.out(attended.transpose(1, 2).flatten(2))


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """A perceptron with one hidden GELU layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class Cross(nn.Module):
    """Cross-attention of one feature to others: pre-norm attention to each of them, then a feed-forward."""

    def __init__(self, width: int, others: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.other_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(others))
        self.attentions = nn.ModuleList(Attention(width, heads, window, dropout) for _ in range(others))
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = mlp(width, 2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """(B, window, width) each to (B, window, width)."""
        query = self.norm(x)
        for other, norm, attention in zip(others, self.other_norms, self.attentions, strict=True):
            x = x + self.dropout(attention(query, norm(other)))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class Encoder(nn.Module):
    """The speaker's features to the latent reaction space, window by window (equation 3)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: MmtConfig) -> None:
        super().__init__()
        self.config, self.features = config, config.features
        width, heads, window = config.width, config.heads, config.window
        self.register_buffer("mean", torch.zeros(self.features.inputs))
        self.register_buffer("deviation", torch.ones(self.features.inputs))
        names = FACIAL * config.video + ACOUSTIC * config.audio
        # Each feature's input includes the presence of its modality.
        self.read = nn.ModuleDict({name: mlp(self.features.width(name) + 1, width, width) for name in names})
        self.dropout = nn.Dropout(config.dropout)
        if config.cross:
            modalities = config.video + config.audio
            if config.video:
                self.facial = Cross(width, 2, heads, window, config.dropout)
            if config.audio:
                self.acoustic = Cross(width, 1, heads, window, config.dropout)
            if modalities == 2:
                self.facial_hears = Cross(width, 1, heads, window, config.dropout)
                self.acoustic_sees = Cross(width, 1, heads, window, config.dropout)
            self.join = nn.Sequential(nn.LayerNorm(modalities * width), nn.Linear(modalities * width, config.latent))
        else:
            self.join = nn.Linear(len(names) * width, config.latent)
        self.out = mlp(config.latent, config.latent, config.latent)

    def fit(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the (inputs,) mean and standard deviation of the features, over frames in which they are present."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp_min(_LEAST_DEVIATION))

    def forward(self, speaker: Tensor) -> Tensor:
        """(B, n window, inputs) to x_0 (B, n window, latent); each window depends on itself only."""
        x = ((speaker - self.mean) / self.deviation).clamp(-_CLIP, _CLIP)
        window = self.config.window
        x, raw = (t.reshape(-1, window, t.shape[-1]) for t in (x, speaker))
        read = {name: self._read(name, x, raw) for name in self.read}
        if not self.config.cross:
            joined = F.gelu(torch.cat(list(read.values()), dim=-1))
        else:
            joined = torch.cat(self._attend(read), dim=-1)
        x0 = self.out(self.join(joined))  # (B n, window, latent)
        return x0.reshape(speaker.shape[0], -1, self.config.latent)

    def _read(self, name: str, x: Tensor, raw: Tensor) -> Tensor:
        f = self.features
        first, end = getattr(f, name)
        column = f.face_present if name in FACIAL else f.sound_present
        present = raw[..., column, None]
        return self.dropout(self.read[name](torch.cat([x[..., first:end] * present, present], dim=-1)))

    def _attend(self, read: dict[str, Tensor]) -> list[Tensor]:
        out = []
        if self.config.video:
            out.append(self.facial(read["au"], read["fe"], read["va"]))
        if self.config.audio:
            out.append(self.acoustic(read["mfcc"], read["afr"]))
        if len(out) == 2:
            facial, acoustic = out
            out = [self.facial_hears(facial, acoustic), self.acoustic_sees(acoustic, facial)]
        return out


class Shift(nn.Module):
    """A low-rank change of one linear layer by a listener's style s: y + B (g(s) * A x) + c(s).

    No change where s is 0, or before training.
    """

    def __init__(self, style: int, rank: int, layer: nn.Linear) -> None:
        super().__init__()
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        self.gate = nn.Linear(style, rank, bias=False)
        self.offset = nn.Linear(style, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.offset.weight)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, …, in) and (B, style) to the change of the layer's output, (B, …, out)."""
        between = (slice(None), *[None] * (x.ndim - 2))
        return self.up(self.down(x) * self.gate(style)[between]) + self.offset(style)[between]

    @torch.no_grad()
    def edit(self, layer: nn.Linear, style: Tensor) -> None:
        """Change the layer's weights permanently by one style (style,)."""
        layer.weight += (self.up.weight * self.gate(style)) @ self.down.weight
        layer.bias += self.offset(style)


Through = Callable[[nn.Linear, Tensor], Tensor]
"""Calls a linear layer."""


def shifted(shifts: Sequence[Shift], style: Tensor | None) -> Through:
    """A function that calls linear layers, each with the next of the shifts applied by a style (B, style), if any."""
    following = iter(shifts)

    def through(layer: nn.Linear, x: Tensor) -> Tensor:
        y = layer(x)
        return y if style is None else y + next(following)(x, style)

    return through


class _Layer(nn.Module):
    """A pre-norm Transformer encoder layer."""

    def __init__(self, config: MmtConfig) -> None:
        super().__init__()
        width = config.latent
        self.norm = nn.LayerNorm(width)
        self.attention: WindowedAttention | Attention
        if config.attention == "causal":
            self.attention = WindowedAttention(width, config.heads, config.memory, config.dropout)
        else:
            self.attention = Attention(width, config.heads, config.memory, config.dropout)
        self.feedforward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, config.feedforward)
        self.narrow = nn.Linear(config.feedforward, width)
        self.dropout = nn.Dropout(config.dropout)

    def attend(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """x: (B, T, width). before: (M, T', width), former frames, which a causal layer attends to as well."""
        y = self.norm(x)
        if isinstance(self.attention, WindowedAttention):
            attended = self.attention(y, None if before is None else self.norm(before))
        else:
            attended = self.attention(y, y)
        return x + self.dropout(attended)

    def advance(self, x: Tensor, through: Through) -> Tensor:
        hidden = self.dropout(F.gelu(through(self.widen, self.feedforward_norm(x))))
        return x + self.dropout(through(self.narrow, hidden))


class Decoder(nn.Module):
    """The latent sequence of a clip to the listener's 58 + 25 outputs a frame (equation 4)."""

    units: Tensor

    def __init__(self, config: MmtConfig) -> None:
        super().__init__()
        layers = config.layers if config.cross else 0
        self.layers = nn.ModuleList(_Layer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(config.latent) if layers else nn.Identity()
        self.face = nn.Linear(config.latent, FACE_MODEL)
        self.emotion = nn.Linear(config.latent, ATTRIBUTES)
        self.register_buffer("units", face_units(), persistent=False)

    def forward(self, x0: Tensor, shifts: Sequence[Shift] = (), style: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, T, latent) to the face model (B, T, 58), not clipped, and attributes (B, T, 25) within their ranges.

        shifts: one for each of `linears`, in order, applied with the style (B, style); or none.
        """
        through = shifted(shifts, style)
        x = x0
        for layer in cast("list[_Layer]", self.layers):
            x = layer.advance(layer.attend(x), through)
        return self._read(x, through)

    def after(self, before: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` for the last T frames, where several sequences share the T' frames before them.

        before: (M, T', latent), decoded once. x0: (B, T, latent), B / M rows for each of `before`. Causal only.
        """
        if not before.shape[1]:
            return self(x0)
        through, x = shifted((), None), x0
        for layer in cast("list[_Layer]", self.layers):
            x = layer.advance(layer.attend(x, before), through)
            if layer is not self.layers[-1]:
                before = layer.advance(layer.attend(before), through)
        return self._read(x, through)

    def _read(self, x: Tensor, through: Through) -> tuple[Tensor, Tensor]:
        x = self.norm(x)
        return through(self.face, x) * self.units, _emotion(through(self.emotion, x))

    def linears(self) -> list[nn.Linear]:
        """The layers that a style edits."""
        within = [linear for layer in cast("list[_Layer]", self.layers) for linear in (layer.widen, layer.narrow)]
        return [*within, self.face, self.emotion]


def face_units() -> Tensor:
    """(58,) scales of outputs and loss: 0.25 rad and 0.02 m count as much as a whole blendshape."""
    return nn_face_units(5.0 * ROTATION_UNIT, 5.0 * TRANSLATION_UNIT)


def _emotion(x: Tensor) -> Tensor:
    """(…, 25) unbounded to action units 0 to 1, valence and arousal -1 to 1, expressions that sum to 1."""
    return torch.cat([x[..., AU].sigmoid(), x[..., VA].tanh(), x[..., EXPRESSIONS].softmax(-1)], dim=-1)


class ListenerLatents(nn.Module):
    """A listener's reaction as a code of a few numbers a frame, and these codes as latents for the decoder.

    Not in the paper: it gives the latent space different points for different listeners of the same speaker, which the
    diffusion can sample.
    """

    units: Tensor

    def __init__(self, config: MmtConfig) -> None:
        super().__init__()
        self.register_buffer("units", face_units(), persistent=False)
        self.read = nn.Conv1d(FACE_MODEL + ATTRIBUTES, config.latent, 5, padding=2)
        self.narrow = nn.Conv1d(config.latent, config.listener, 1)
        self.widen = nn.Linear(config.listener, config.latent)

    def code(self, face: Tensor, emotion: Tensor) -> Tensor:
        """(B, T, 58) and (B, T, 25) to (B, T, listener) within -1 to 1."""
        shown = torch.cat([face / self.units, emotion], dim=-1)
        return torch.tanh(self.narrow(F.gelu(self.read(shown.transpose(1, 2))))).transpose(1, 2)

    def latents(self, code: Tensor) -> Tensor:
        """(…, listener) to (…, latent)."""
        return self.widen(code)


class Mmt(nn.Module):
    """The encoder, the decoder, and the listener's latents."""

    listening: ListenerLatents | None

    def __init__(self, config: MmtConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.listening = ListenerLatents(config) if config.listener else None

    def forward(self, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n window, inputs) to the reaction without diffusion: (B, n window, 58) and (B, n window, 25)."""
        return self.decoder(self.encoder(speaker))
