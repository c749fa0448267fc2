"""Finite scalar, lookup-free and vector quantization of a frame into groups of indices, behind one interface.

The quantizers are those of the library vector-quantize-pytorch. Added here: the split of a frame into groups, decoding
to exactly the latents of `forward`, and evaluation without side effects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from react_ros.config import in_range, whole_in_range

Kind = Literal["fsq", "lfq", "vq"]

LARGEST = 65_536
"""Most codes of a group. The library and every predictor enumerate them: 16 digits of 3 levels in one group would be
43 million."""


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    """Quantization of a frame into a token of `groups` indices. Raises ValueError for an impossible value."""

    kind: Kind = "fsq"
    groups: int = 4
    levels: tuple[int, ...] = (3, 3, 3, 3)
    """fsq: levels of each digit of a group; their product is the number of codes."""
    codebook_size: int = 81
    """lfq, vq: codes of a group; for lfq a power of two."""
    code_width: int = 16
    """vq: width of a code vector."""
    entropy_weight: float = 0.1
    """lfq: weight of the entropy loss (low entropy of each frame's code, high entropy over all frames)."""
    commitment_weight: float = 0.25
    """lfq, vq: weight of the commitment loss (van den Oord et al. 2017: 0.25)."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}: it must be {', '.join(get_args(Kind)[:-1])} or vq")
        whole_in_range("groups", self.groups, 1, 64)
        whole_in_range("code_width", self.code_width, 1, 4096)
        in_range("entropy_weight", self.entropy_weight, 0.0, 100.0)
        in_range("commitment_weight", self.commitment_weight, 0.0, 100.0)
        if self.kind == "fsq":
            if not isinstance(self.levels, tuple) or not self.levels:
                raise ValueError(f"levels is {self.levels!r}: it must be a tuple of levels, such as (3, 3, 3, 3)")
            for i, level in enumerate(self.levels):
                whole_in_range(f"levels[{i}]", level, 2, LARGEST)
            if self.size > LARGEST:
                raise ValueError(
                    f"levels {self.levels} make {self.size} codes: a group has at most {LARGEST}; use more groups with "
                    "fewer digits"
                )
        else:
            whole_in_range("codebook_size", self.codebook_size, 2, LARGEST)
            if self.kind == "lfq" and self.codebook_size & (self.codebook_size - 1):
                raise ValueError(
                    f"codebook_size is {self.codebook_size}: lfq needs a power of two, such as "
                    f"{2 ** self.codebook_size.bit_length()}"
                )

    @property
    def size(self) -> int:
        """Codes of a group."""
        return math.prod(self.levels) if self.kind == "fsq" else self.codebook_size

    @property
    def dim(self) -> int:
        """Width of the latent, over all groups."""
        if self.kind == "fsq":
            return self.groups * len(self.levels)
        return self.groups * (self.code_width if self.kind == "vq" else self.codebook_size.bit_length() - 1)


class Quantized(NamedTuple):
    """A quantized latent."""

    latent: Tensor
    """(B, T, dim) code vectors, in the input's type, with a straight-through gradient."""
    indices: Tensor
    """(B, T, groups) int64, 0 to size - 1."""
    loss: Tensor
    """() float32, weighted; 0 for fsq and in evaluation."""


class Quantizer(nn.Module):
    """A quantizer of any kind.

    fsq: each number, after tanh, to the nearest of L levels equally spaced from -1 to 1 (Mentzer et al. 2024, in the
    symmetric form of Parker et al. 2024). For odd L that is round(floor(L/2) tanh(z)) / floor(L/2), so for L = 3 the
    digits -1, 0 and 1. lfq: each number to its sign (Yu et al. 2024). vq: each group's vector to the nearest of its
    own codebook, an exponential moving average of the vectors assigned to each code (van den Oord et al. 2017); unused
    codes restart at a vector of the batch.

    Computed in float32, also under autocast or half precision. In training vq changes its codebook in every forward and
    uses PyTorch's random generator; in evaluation all three are pure functions.
    """

    group: Tensor
    codes: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.dim, self.groups, self.size = config.dim, config.groups, config.size
        # The codes of fsq and lfq follow from the config and are enumerated here: a live listener only decodes, and
        # importing the library takes a second. It is then not a submodule and not saved. vq's codes are learned, in it.
        self._unsaved: list[nn.Module] = []
        if config.kind == "vq":
            self.library = self._library()
        else:
            self.register_buffer("codes", _codes(config), persistent=False)
        self.register_buffer("group", torch.arange(config.groups), persistent=False)

    def _library(self) -> nn.Module:
        from vector_quantize_pytorch import FSQ, LFQ, VectorQuantize

        config = self.config
        if config.kind == "fsq":
            # The symmetric form: the other one has an epsilon that moves the boundaries between digits.
            return FSQ(
                list(config.levels), num_codebooks=config.groups, keep_num_codebooks_dim=True, preserve_symmetry=True
            )
        if config.kind == "lfq":
            return LFQ(
                dim=config.dim, codebook_size=config.codebook_size, num_codebooks=config.groups,
                keep_num_codebooks_dim=True, entropy_loss_weight=config.entropy_weight,
                commitment_loss_weight=config.commitment_weight,
            )  # fmt: skip
        return VectorQuantize(
            dim=config.dim, codebook_dim=config.code_width, codebook_size=config.codebook_size,
            heads=config.groups, separate_codebook_per_head=True, commitment_weight=config.commitment_weight,
            decay=0.99, threshold_ema_dead_code=1, rotation_trick=False,
        )  # fmt: skip

    @property
    def codebook(self) -> Tensor:
        """(groups, size, dim / groups) code vectors."""
        if self.config.kind == "vq":
            return cast(Tensor, self.library.codebook).reshape(self.groups, self.size, -1)
        return self.codes.expand(self.groups, -1, -1)

    def forward(self, z: Tensor, valid: Tensor | None = None) -> Quantized:
        """Quantize z (B, T, dim).

        valid: (B, T) bool, False for padding. Padding contributes neither to the loss nor to vq's codebook, and gets
        index 0 and a latent without gradient.
        """
        if valid is not None:
            return self._quantize_valid(z, valid)
        with torch.autocast(z.device.type, enabled=False):
            values = z.float()
            soft, indices, loss = self._quantize(values)
            indices = indices.long()
            if self.training and self.config.kind == "vq":
                latent = soft  # of the codebook before its update
            else:
                # The library's straight-through latent has rounding errors; this one is exactly the code.
                slope = soft if self.config.kind == "fsq" else values
                latent = self.decode(indices).to(values.dtype) + (slope - slope.detach())
        return Quantized(latent.to(z.dtype), indices, loss)

    def decode(self, indices: Tensor) -> Tensor:
        """(…, groups) int64 to the latent (…, dim) that `forward` returns with these indices."""
        return self.codebook[self.group, indices].flatten(-2)

    def _quantize(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.config.kind == "vq":
            library = self.library
        else:
            if not self._unsaved:
                self._unsaved.append(self._library())
            library = self._unsaved[0].to(z.device).train(self.training)
        if self.config.kind == "fsq":
            latent, indices = library(z)
            return latent, indices, z.new_zeros(())
        latent, indices, loss = library(z)
        indices = indices.reshape(*z.shape[:-1], self.groups)  # vq drops the axis of a single group
        return latent, indices, loss.float().reshape(()) if self.training else z.new_zeros(())

    def _quantize_valid(self, z: Tensor, valid: Tensor) -> Quantized:
        quantized = self(z[valid].unsqueeze(0))
        indices = torch.zeros(*valid.shape, self.groups, dtype=torch.int64, device=z.device)
        indices[valid] = quantized.indices[0]
        latent = self.decode(indices).to(z.dtype).masked_scatter(valid.unsqueeze(-1), quantized.latent)
        return Quantized(latent, indices, quantized.loss)


def _codes(config: QuantizerConfig) -> Tensor:
    """(size, digits) of fsq and lfq, in the library's order: fsq varies its first digit fastest, lfq its last."""
    if config.kind == "fsq":
        digits = [2.0 * torch.arange(level) / (level - 1) - 1.0 for level in reversed(config.levels)]
        return torch.cartesian_prod(*digits).view(config.size, -1).flip(1)
    bits = config.codebook_size.bit_length() - 1
    number = torch.arange(config.codebook_size)[:, None]
    return 2.0 * ((number >> torch.arange(bits - 1, -1, -1)) & 1).float() - 1.0


class Usage:
    """Counts of codes.

    Not a module, so that data-parallel training does not synchronise it as a buffer: each process counts its own
    tokens, and the sum of their `counts` is the count over all processes.
    """

    def __init__(self, groups: int, size: int) -> None:
        self.counts = torch.zeros(groups, size, dtype=torch.int64)
        """(groups, size)."""

    def add(self, indices: Tensor) -> None:
        """Count tokens (…, groups), 0 to size - 1."""
        groups, size = self.counts.shape
        flat = indices.detach().reshape(-1, groups) + size * torch.arange(groups, device=indices.device)
        counted = torch.bincount(flat.flatten(), minlength=groups * size)
        self.counts += counted.view(groups, size).to(self.counts.device)

    def perplexity(self) -> Tensor:
        """(groups,) float64: exp of the codes' entropy, 1 to size. Raises ValueError where nothing was counted."""
        self._expect_tokens()
        p = self.counts.double() / self.counts.sum(1, keepdim=True)
        return torch.exp(-torch.xlogy(p, p).sum(1))

    def dead(self) -> Tensor:
        """(groups,) float64: share of unused codes. Raises ValueError where nothing was counted."""
        self._expect_tokens()
        return (self.counts == 0).double().mean(1)

    def figures(self) -> dict[str, float]:
        """Means of both over the groups. Raises ValueError where nothing was counted."""
        return {"perplexity": float(self.perplexity().mean()), "dead_codes": float(self.dead().mean())}

    def _expect_tokens(self) -> None:
        if not int(self.counts.sum()):
            raise ValueError("no token was counted: add tokens before computing code usage")
