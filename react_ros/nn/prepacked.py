"""Linear layers with constant weights in oneDNN's own memory layout, for inference on a CPU."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


class PrepackedLinear:
    """x W^T + b with copies of the current W and b; inference only.

    PyTorch multiplies float32 by MKL, which does not use all of an AMD core: 97 GFLOP/s, where oneDNN has 200. oneDNN
    needs weights in its own order; a plain convolution reorders them at each call.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """(out, in) and (out,)."""
        self._bias = None if bias is None else bias.detach().clone()
        self._packed = weight.device.type == "cpu" and weight.dtype == torch.float32 and _has_operators()
        weight = weight.detach().clone(memory_format=torch.contiguous_format)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        if not self._packed:
            return F.linear(x, self._weight, self._bias)
        return torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")


@cache
def _has_operators() -> bool:
    """Whether this PyTorch has the two operators, which are private to its compiler, and they are correct."""
    weight, bias, x = torch.eye(4) + 1.0, torch.arange(4.0), torch.ones(2, 3, 4)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        found = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.allclose(found, F.linear(x, weight, bias))
