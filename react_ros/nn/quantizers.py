"""Finite scalar, lookup-free and vector quantization of a frame into a few indices, behind one interface.

The mathematics is that of the library vector-quantize-pytorch. What is settled here: how a frame is split into groups,
that a decoded index is exactly the latent it came from, and that an evaluated quantizer changes nothing.
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
"""Most codes of a group. The library lists them all, and so does whoever predicts them: 16 digits of 3 levels in one
group would be 43 million."""


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    """How a frame becomes a token of `groups` indices. Raises ValueError for an impossible value."""

    kind: Kind = "fsq"
    groups: int = 4
    levels: tuple[int, ...] = (3, 3, 3, 3)
    """fsq: levels of each digit of a group; their product is the number of codes."""
    codebook_size: int = 81
    """lfq, vq: codes of a group; for lfq a power of two."""
    code_width: int = 16
    """vq: numbers in a code vector."""
    entropy_weight: float = 0.1
    """lfq: of the loss that wants each frame sure of its code and all codes in use."""
    commitment_weight: float = 0.25
    """lfq, vq: of the loss that draws the latent to its code (van den Oord et al. 2017: 0.25)."""

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
                    f"levels {self.levels} make {self.size} codes: a group has at most {LARGEST}, so split the digits "
                    "over more groups"
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
        """Width of the latent, all groups together."""
        if self.kind == "fsq":
            return self.groups * len(self.levels)
        return self.groups * (self.code_width if self.kind == "vq" else self.codebook_size.bit_length() - 1)


class Quantized(NamedTuple):
    """What becomes of a continuous latent."""

    latent: Tensor
    """(B, T, dim) of the codes, in the input's type; the gradient passes straight through to the input."""
    indices: Tensor
    """(B, T, groups) int64, 0 to size - 1."""
    loss: Tensor
    """() float32, already weighted; 0 for fsq and in evaluation."""


class Quantizer(nn.Module):
    """A quantizer of any kind.

    fsq: each number, after tanh, to the nearest of L levels equally spaced from -1 to 1 (Mentzer et al. 2024, in the
    symmetric form of Parker et al. 2024). For odd L that is round(floor(L/2) tanh(z)) / floor(L/2), so for L = 3 the
    digits -1, 0 and 1. lfq: each number to its sign (Yu et al. 2024). vq: each group's vector to the nearest of its
    own codebook, a running mean of the vectors that chose it (van den Oord et al. 2017); codes that nobody chooses
    begin anew at one of the batch's vectors.

    Inside, all is float32, whatever autocast or half precision is around. In training vq changes its codebook in every
    forward and draws from PyTorch's random generator; in evaluation all three are pure functions.
    """

    group: Tensor
    codes: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.dim, self.groups, self.size = config.dim, config.groups, config.size
        # Codes that follow from the config are listed here, so that a live listener, which only decodes, need not wait
        # a second for the library; it is no submodule then, and nothing of it is saved. vq's are learned, inside it.
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
            # Symmetric, because the library's other form has an epsilon that moves the edges between the digits.
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
        """(groups, size, dim / groups) the codes."""
        if self.config.kind == "vq":
            return cast(Tensor, self.library.codebook).reshape(self.groups, self.size, -1)
        return self.codes.expand(self.groups, -1, -1)

    def forward(self, z: Tensor, valid: Tensor | None = None) -> Quantized:
        """Quantize z (B, T, dim).

        valid: (B, T) bool, the frames that are no padding; only they shape the loss and vq's codebook, and the others
        have index 0 and a latent without gradient.
        """
        if valid is not None:
            return self._quantize_valid(z, valid)
        with torch.autocast(z.device.type, enabled=False):
            values = z.float()
            soft, indices, loss = self._quantize(values)
            indices = indices.long()
            if self.training and self.config.kind == "vq":
                latent = soft  # of the codebook before it moved
            else:
                # The library's straight-through latent is off by rounding; this one is the code itself.
                slope = soft if self.config.kind == "fsq" else values
                latent = self.decode(indices).to(values.dtype) + (slope - slope.detach())
        return Quantized(latent.to(z.dtype), indices, loss)

    def decode(self, indices: Tensor) -> Tensor:
        """(…, groups) int64 to the latent (…, dim) that `forward` gives with these indices."""
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
        indices = indices.reshape(*z.shape[:-1], self.groups)  # vq leaves a single group out
        return latent, indices, loss.float().reshape(()) if self.training else z.new_zeros(())

    def _quantize_valid(self, z: Tensor, valid: Tensor) -> Quantized:
        own = self(z[valid].unsqueeze(0))
        indices = torch.zeros(*valid.shape, self.groups, dtype=torch.int64, device=z.device)
        indices[valid] = own.indices[0]
        latent = self.decode(indices).to(z.dtype).masked_scatter(valid.unsqueeze(-1), own.latent)
        return Quantized(latent, indices, own.loss)


def _codes(config: QuantizerConfig) -> Tensor:
    """(size, digits) of fsq and lfq, in the library's order: fsq counts its first digit fastest, lfq its last."""
    if config.kind == "fsq":
        digits = [2.0 * torch.arange(level) / (level - 1) - 1.0 for level in reversed(config.levels)]
        return torch.cartesian_prod(*digits).view(config.size, -1).flip(1)
    bits = config.codebook_size.bit_length() - 1
    number = torch.arange(config.codebook_size)[:, None]
    return 2.0 * ((number >> torch.arange(bits - 1, -1, -1)) & 1).float() - 1.0


class Usage:
    """Counts which codes are chosen.

    No module, so that data-parallel training does not overwrite it as a buffer: each process counts its own tokens, and
    the sum of their `counts` is the count over all, exactly.
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
        """(groups,) float64: how many codes, used equally often, would be as hard to guess; 1 to size.

        Raises ValueError where nothing was counted.
        """
        self._expect_some()
        p = self.counts.double() / self.counts.sum(1, keepdim=True)
        return torch.exp(-torch.xlogy(p, p).sum(1))

    def dead(self) -> Tensor:
        """(groups,) float64: share of codes that were never chosen. Raises ValueError where nothing was counted."""
        self._expect_some()
        return (self.counts == 0).double().mean(1)

    def figures(self) -> dict[str, float]:
        """Mean over groups of both. Raises ValueError where nothing was counted."""
        return {"perplexity": float(self.perplexity().mean()), "dead_codes": float(self.dead().mean())}

    def _expect_some(self) -> None:
        if not int(self.counts.sum()):
            raise ValueError("no token was counted: add some before asking how the codes are used")
