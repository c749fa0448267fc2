"""Claims about packed linear layers: they are the plain ones, with the operators of this PyTorch and without."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from react_ros.nn import prepacked as packed
from react_ros.nn.prepacked import Packed


@pytest.mark.parametrize("operators", [True, False])
@pytest.mark.parametrize("shape", [(3,), (1, 7), (2, 5, 3)])
def test_a_packed_layer_is_the_plain_one_as_it_was(
    monkeypatch: pytest.MonkeyPatch, operators: bool, shape: tuple[int, ...]
) -> None:
    if not operators:
        monkeypatch.setattr(packed, "_packing", lambda: False)
    torch.manual_seed(0)
    layer = nn.Linear(33, 17).requires_grad_(False)
    x = torch.randn(*shape, 33)
    expected = layer(x)
    fast = Packed(layer.weight, layer.bias)
    for parameter in layer.parameters():
        parameter.zero_()
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), expected)


def test_this_pytorch_has_the_operators_where_it_has_onednn() -> None:
    """Else plans would take twice as long, and nothing would say so."""
    assert packed._packing() == torch.backends.mkldnn.is_available()
