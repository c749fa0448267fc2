"""Causal layers for whole clips and for streams, with equal results and constant memory per stream.

Every layer has two paths. `forward` takes all T frames of a clip, for training. `start` creates a cache of fixed shape;
`step` takes one frame and updates that cache in place: frame k overwrites slot k % window of a ring. `step` is for
inference only, without dropout or gradients. The frame's number is an int64 tensor () on the cache's device, so that no
step synchronises with the device and a captured CUDA graph can replay it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CHUNK = 128
"""Least number of queries in a block of `forward`: its memory grows with T, not with T squared."""


class AttentionCache(NamedTuple):
    """Keys and values of M streams: W slots for each head."""

    keys: Tensor
    """(M * heads, depth, W)."""
    values: Tensor
    """(M * heads, W, depth)."""
    bias: Tensor
    """(W + 1, heads): a copy of the bias of each age, then -inf for slots that are not written yet."""

    def clear(self) -> None:
        """Reset the cache in place, since captured graphs are bound to these tensors; the next frame is frame 0."""
        self.keys.zero_()
        self.values.zero_()


class _Windowed(nn.Module):
    """Base of self- and cross-attention: the window, its bias, and both paths from projected heads to the output.

    The bias is learned for each head and age 0 .. window - 1, initialised as ALiBi (Press et al. 2022). It depends on
    ages, not on positions, so streams have no maximal length.
    """

    slots: Tensor

    def __init__(self, width: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        if width < 1 or heads < 1 or width % heads:
            raise ValueError(f"width is {width} with {heads} heads: the heads must share it equally")
        if window < 1:
            raise ValueError(f"window is {window}: it must be at least 1 frame")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout}: it must be from 0 to below 1")
        self.width, self.heads, self.depth, self.window = width, heads, width // heads, window
        self.dropout = dropout
        slopes = torch.exp2(-8.0 * torch.arange(1, heads + 1) / heads)
        self.bias = nn.Parameter(-slopes[:, None] * torch.arange(window))  # (heads, window)
        self.out = nn.Linear(width, width)
        self.register_buffer("slots", torch.arange(window), persistent=False)

    def start(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> AttentionCache:
        """An empty cache for `batch` streams; device and dtype default to the weights'.

        It holds a copy of the bias: after a change of the weights, a new cache is needed.
        """
        bias = self.bias.detach().to(device=device, dtype=dtype)
        keys = bias.new_zeros(batch * self.heads, self.depth, self.window)
        values = bias.new_zeros(batch * self.heads, self.window, self.depth)
        return AttentionCache(keys, values, torch.cat([bias.T, bias.new_full((1, self.heads), -math.inf)]))

    def _attend_clip(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries (B, heads, T, depth) of the last T frames of keys and values to (B, T, width).

        Computed in blocks of queries, each with the keys in its window.
        """
        frames, before = q.shape[2], k.shape[2] - q.shape[2]
        window = min(self.window, k.shape[2])
        chunk = min(frames, max(window, _CHUNK))
        band = self._band(window, chunk)
        dropout = self.dropout if self.training else 0.0
        outs = []
        for begin in range(0, frames, chunk):
            end = min(begin + chunk, frames)
            reach = before + begin - window + 1
            first, last = max(reach, 0), before + end
            mask = band[:, : end - begin, first - reach : last - reach].unsqueeze(0)
            outs.append(
                F.scaled_dot_product_attention(
                    q[:, :, begin:end], k[:, :, first:last], v[:, :, first:last], attn_mask=mask.to(q.dtype),
                    dropout_p=dropout,
                )
            )  # fmt: skip
        return self.out(torch.cat(outs, dim=2).transpose(1, 2).flatten(2))

    def _band(self, window: int, chunk: int) -> Tensor:
        """(heads, chunk, chunk + window - 1) bias of query i and key j, of age i + window - 1 - j; -inf outside."""
        outside = self.bias.new_full((self.heads, chunk - 1), -math.inf)
        line = torch.cat([outside, self.bias[:, :window].flip(1), outside], dim=1)
        return line.unfold(1, chunk + window - 1, 1).flip(1)

    def _attend_frame(self, q: Tensor, k: Tensor, v: Tensor, cache: AttentionCache, position: Tensor) -> Tensor:
        """q (M, S, width) with the newest k and v (M, width) of each stream to (M * S, width)."""
        streams, listeners, _ = q.shape
        slot = position.remainder(self.window).view(1)
        cache.keys.index_copy_(2, slot, k.reshape(-1, self.depth, 1))
        cache.values.index_copy_(1, slot, v.reshape(-1, 1, self.depth))
        age = (position - self.slots).remainder_(self.window)
        age = age.masked_fill_(age > position, self.window)
        bias = cache.bias.index_select(0, age).T.unsqueeze(1)  # (heads, 1, W)
        # The S listeners of a stream are S queries in one product, so that its keys are stored and read once.
        q = q.view(streams, listeners, self.heads, self.depth).transpose(1, 2).flatten(0, 1)  # (M * heads, S, depth)
        bias = bias.expand(streams, -1, listeners, -1).flatten(0, 1)
        scores = torch.baddbmm(bias, q, cache.keys, alpha=self.depth**-0.5)  # (M * heads, S, W)
        attended = torch.bmm(scores.softmax(-1), cache.values).view(streams, self.heads, listeners, self.depth)
        return F.linear(attended.transpose(1, 2).reshape(-1, self.width), self.out.weight, self.out.bias)


class WindowedAttention(_Windowed):
    """Self-attention of frame t to the frames t - window + 1 to t.

    Raises ValueError for a width that is not a multiple of the heads, an empty window, and an impossible dropout.
    """

    def __init__(self, width: int, heads: int, window: int, dropout: float = 0.0) -> None:
        super().__init__(width, heads, window, dropout)
        self.query_key_value = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """(B, T, width) to (B, T, width). before: (M, T', width), former frames, each shared by B / M rows."""
        q, k, v = self._project(x)
        if before is not None:
            past = (t.repeat_interleave(x.shape[0] // before.shape[0], dim=0) for t in self._project(before)[1:])
            k, v = (torch.cat(pair, dim=2) for pair in zip(past, (k, v), strict=True))
        return self._attend_clip(q, k, v)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, T, width) to queries, keys and values (B, heads, T, depth)."""
        heads = self.query_key_value(x).unflatten(-1, (3, self.heads, self.depth))  # (B, T, 3, heads, depth)
        return heads.permute(2, 0, 3, 1, 4).unbind(0)

    def step(self, x: Tensor, cache: AttentionCache, position: Tensor) -> Tensor:
        """Frame `position` () int64 of each stream, (M, width), to (M, width)."""
        projected = F.linear(x, self.query_key_value.weight, self.query_key_value.bias)
        q, k, v = projected.split(self.width, dim=1)
        return self._attend_frame(q.unsqueeze(1), k, v, cache, position)


class CrossAttention(_Windowed):
    """Attention of frame t to a memory's frames t - window + 1 to t.

    Each of M memories has S listeners: rows 0 .. S - 1 of the batch attend to memory 0, the next S to memory 1, and so
    on. Raises ValueError as `WindowedAttention` does.
    """

    def __init__(self, width: int, memory_width: int, heads: int, window: int, dropout: float = 0.0) -> None:
        super().__init__(width, heads, window, dropout)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(memory_width, 2 * width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(M * S, T, width) and a memory (M, T, memory_width) to (M * S, T, width)."""
        listeners = x.shape[0] // memory.shape[0]
        q = self.query(x).unflatten(-1, (self.heads, self.depth)).transpose(1, 2)
        heads = self.key_value(memory).unflatten(-1, (2, self.heads, self.depth))  # (M, T, 2, heads, depth)
        k, v = heads.permute(2, 0, 3, 1, 4).repeat_interleave(listeners, dim=1).unbind(0)
        return self._attend_clip(q, k, v)

    def step(self, x: Tensor, memory: Tensor, cache: AttentionCache, position: Tensor) -> Tensor:
        """Frame `position` () int64 of the listeners (M * S, width) and memories (M, memory_width), to (M * S, width).

        The cache is that of the memories: `start(M)`.
        """
        q = F.linear(x, self.query.weight, self.query.bias).view(memory.shape[0], -1, self.width)
        k, v = F.linear(memory, self.key_value.weight, self.key_value.bias).split(self.width, dim=1)
        return self._attend_frame(q, k, v, cache, position)


class ConvolutionCache(NamedTuple):
    """The last frames of B streams."""

    frames: Tensor
    """(B, span, inputs): a ring of the last frames, 0 before the first."""

    def clear(self) -> None:
        """Reset the cache in place; the next frame is frame 0."""
        self.frames.zero_()


class CausalConv1d(nn.Module):
    """Convolution over time: frame t depends on the frames t, t - dilation, … t - (kernel - 1) dilation.

    Frames before the first are 0. Raises ValueError for a kernel or dilation below 1.
    """

    lags: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        if kernel < 1 or dilation < 1:
            raise ValueError(f"kernel is {kernel} and dilation {dilation}: both must be at least 1 frame")
        self.inputs, self.dilation = inputs, dilation
        self.span = (kernel - 1) * dilation + 1
        bound = (inputs * kernel) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.register_buffer("lags", dilation * torch.arange(kernel - 1, -1, -1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, outputs)."""
        padded = F.pad(x.transpose(1, 2), (self.span - 1, 0))
        return F.conv1d(padded, self.weight, self.bias, dilation=self.dilation).transpose(1, 2)

    def start(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ConvolutionCache:
        """An empty cache for `batch` streams; device and dtype default to the weights'."""
        like = self.bias
        shape = (batch, self.span, self.inputs)
        return ConvolutionCache(torch.zeros(shape, device=device or like.device, dtype=dtype or like.dtype))

    def step(self, x: Tensor, cache: ConvolutionCache, position: Tensor) -> Tensor:
        """Frame `position` () int64 of each stream, (B, inputs), to (B, outputs)."""
        cache.frames.index_copy_(1, position.remainder(self.span).view(1), x.unsqueeze(1))
        taps = cache.frames.index_select(1, (position - self.lags).remainder_(self.span))  # (B, kernel, inputs)
        return F.linear(taps.transpose(1, 2).flatten(1), self.weight.flatten(1), self.bias)


class LayerCache(NamedTuple):
    """The caches of a decoder layer's two attentions."""

    own: AttentionCache
    """Self-attention, a row for each listener."""
    memory: AttentionCache
    """Cross-attention, a row for each memory."""

    def clear(self) -> None:
        """Reset the cache in place; the next frame is frame 0."""
        self.own.clear()
        self.memory.clear()


class DecoderLayer(nn.Module):
    """A pre-norm Transformer layer: self-attention to the own past, cross-attention to a memory, a GELU feed-forward.

    Vaswani et al. (2017) with the normalisation before each part (Xiong et al. 2020). `self_window` and
    `cross_window` in frames. Raises ValueError as the attentions do.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        memory_width: int,
        self_window: int,
        cross_window: int,
        feedforward: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = WindowedAttention(width, heads, self_window, dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = CrossAttention(width, memory_width, heads, cross_window, dropout)
        self.feedforward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, feedforward)
        self.narrow = nn.Linear(feedforward, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """(M * S, T, width) and a memory (M, T, memory_width) to (M * S, T, width)."""
        x = x + self.dropout(self.self_attention(self.self_norm(x)))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), memory))
        hidden = self.dropout(F.gelu(self.widen(self.feedforward_norm(x))))
        return x + self.dropout(self.narrow(hidden))

    def start(
        self,
        batch: int,
        memories: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> LayerCache:
        """An empty cache for `batch` = M * S listeners of M memories; device and dtype default to the weights'."""
        return LayerCache(
            self.self_attention.start(batch, device, dtype), self.cross_attention.start(memories, device, dtype)
        )

    def step(self, x: Tensor, memory: Tensor, cache: LayerCache, position: Tensor) -> Tensor:
        """Frame `position` () int64 of listeners (M * S, width) and memories (M, memory_width), to (M * S, width)."""
        x = x + self.self_attention.step(self.self_norm(x), cache.own, position)
        x = x + self.cross_attention.step(self.cross_norm(x), memory, cache.memory, position)
        hidden = F.gelu(F.linear(self.feedforward_norm(x), self.widen.weight, self.widen.bias))
        return x + F.linear(hidden, self.narrow.weight, self.narrow.bias)
