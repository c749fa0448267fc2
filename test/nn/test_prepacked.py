"""Prepacked linear layers equal plain ones, with oneDNN's operators and without."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from react_ros.nn import prepacked
from react_ros.nn.prepacked import PrepackedLinear


@pytest.mark.parametrize("operators", [True, False])
@pytest.mark.parametrize("shape", [(3,), (1, 7), (2, 5, 3)])
def test_a_prepacked_layer_equals_the_layer_at_the_time_of_packing(
    monkeypatch: pytest.MonkeyPatch, operators: bool, shape: tuple[int, ...]
) -> None:
    if not operators:
        monkeypatch.setattr(prepacked, "_has_operators", lambda: False)
    torch.manual_seed(0)
    layer = nn.Linear(33, 17).requires_grad_(False)
    x = torch.randn(*shape, 33)
    expected = layer(x)
    fast = PrepackedLinear(layer.weight, layer.bias)
    for parameter in layer.parameters():
        parameter.zero_()
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), expected)


def test_this_pytorch_has_the_operators_where_it_has_onednn() -> None:
    """Otherwise action chunks would take twice as long, unnoticed."""
    assert prepacked._has_operators() == torch.backends.mkldnn.is_available()
