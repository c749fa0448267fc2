"""A faster `Denoiser` for inference on a CPU, with the same results.

What depends on the noise level only is computed once for the model, what depends on the speaker only once for each
action chunk. Features are channels last, (B, length, channels), so that each convolution is one matrix product.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.nn.denoisers import level_embedding
from react_ros.nn.diffusion import Network
from react_ros.nn.prepacked import PrepackedLinear
from react_ros.systems.reactdiff.denoiser import Denoiser, Residual, SelfAttention


class FastDenoiser:
    """A denoiser with a copy of the current weights, for inference; safe to call from several threads."""

    @torch.no_grad()
    def __init__(self, denoiser: Denoiser) -> None:
        config = denoiser.config
        self._along_time = config.axis == "time"
        self._first, self._norm, self._out = _Convolution(denoiser.first), denoiser.norm, _Convolution(denoiser.out)
        down, up = (cast("list[Residual]", list(blocks)) for blocks in (denoiser.down, denoiser.up))
        self._down, self._up = ([_Residual(block) for block in blocks] for blocks in (down, up))
        self._shrink, self._grow = (
            [_Convolution(cast(nn.Conv1d, conv)) for conv in convs] for convs in (denoiser.shrink, denoiser.grow)
        )
        self._middle, attention = _Residual(denoiser.middle), denoiser.attention
        self._attention = _SelfAttention(attention) if isinstance(attention, SelfAttention) else None
        self._blocks = config.blocks

        blocks = [*down, denoiser.middle, *up]
        self._widths = [block.norm.num_channels for block in blocks]
        self._condition = denoiser.condition
        self._condition_weight = torch.cat([block.condition.weight for block in blocks])
        self._condition_bias = torch.cat([cast(Tensor, block.condition.bias) for block in blocks])
        level = torch.arange(denoiser.levels, device=self._condition_weight.device)
        t = F.silu(denoiser.level(level_embedding(denoiser.scale * level, config.channels)))
        gains, shifts = [], []
        for block in blocks:
            scale, shift = block.level(t).chunk(2, dim=1)
            gains.append((1.0 + scale) * block.norm.weight)
            shifts.append((1.0 + scale) * block.norm.bias + shift)
        self._gain, self._shift = torch.cat(gains, dim=1), torch.cat(shifts, dim=1)  # (levels, sum of widths)

    def given(self, z_bc: Tensor) -> Network:
        """The network with a fixed condition, for `Diffusion.sample`."""
        scale = 1.0 + F.linear(F.silu(self._condition(z_bc)), self._condition_weight, self._condition_bias)
        return lambda x, level: self._predict(x, self._gain[level] * scale, self._shift[level] * scale)

    def _predict(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """gain and shift: (B, sum of widths), applied to the normalised features of all blocks."""
        moves = zip(*(t.unsqueeze(1).split(self._widths, dim=2) for t in (gain, shift)), strict=True)
        x, kept = self._first(x if self._along_time else x.transpose(1, 2)), []
        for k, block in enumerate(self._down):
            if k and k % self._blocks == 0:
                x = self._shrink[k // self._blocks - 1](x)
            x = block(x, *next(moves))
            kept.append(x)
        x = self._middle(x, *next(moves))
        if self._attention is not None:
            x = self._attention(x)
        for k, block in enumerate(self._up):
            if k and k % self._blocks == 0:
                twice = x.unsqueeze(2).expand(-1, -1, 2, -1).flatten(1, 2)
                x = self._grow[k // self._blocks - 1](twice[:, : kept[-1].shape[1]])
            x = block(torch.cat([x, kept.pop()], dim=2), *next(moves))
        x = self._out(F.silu(_normalised(x, self._norm), inplace=True))
        return x if self._along_time else x.transpose(1, 2)


class _Convolution:
    def __init__(self, conv: nn.Conv1d) -> None:
        (self._kernel,), (self._stride,), self._edge = conv.kernel_size, conv.stride, cast("int", conv.padding[0])
        self._product = PrepackedLinear(conv.weight.transpose(1, 2).flatten(1), conv.bias)

    def __call__(self, x: Tensor) -> Tensor:
        if self._kernel > 1:
            edge = x.new_zeros(x.shape[0], self._edge, x.shape[2])
            x = torch.cat([edge, x, edge], dim=1).unfold(1, self._kernel, self._stride).transpose(2, 3).flatten(2)
        return self._product(x)


class _Residual:
    def __init__(self, block: Residual) -> None:
        self._first_norm, self._groups, self._eps = block.first_norm, block.norm.num_groups, block.norm.eps
        self._first, self._second = _Convolution(block.first), _Convolution(block.second)
        self._skip = _Convolution(block.skip) if isinstance(block.skip, nn.Conv1d) else None

    def __call__(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        h = self._first(F.silu(_normalised(x, self._first_norm), inplace=True))
        h = torch.addcmul(shift, _standardised(h, self._groups, None, None, self._eps), gain)
        return self._second(F.silu(h, inplace=True)).add_(x if self._skip is None else self._skip(x))


class _SelfAttention:
    def __init__(self, attention: SelfAttention) -> None:
        self._heads, self._norm = attention.heads, attention.norm
        self._query_key_value, self._out = _Convolution(attention.query_key_value), _Convolution(attention.out)

    def __call__(self, x: Tensor) -> Tensor:
        heads = self._query_key_value(_normalised(x, self._norm)).unflatten(2, (3, self._heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return self._out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).add_(x)


def _normalised(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    return _standardised(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def _standardised(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    # As an image of one row: PyTorch supports channels last for images only.
    image = x.unsqueeze(1).permute(0, 3, 1, 2)
    return torch.group_norm(image, groups, weight, bias, eps).permute(0, 2, 3, 1).squeeze(1)
