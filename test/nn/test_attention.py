"""Causal layers: streams equal clips, see only their window, and have constant memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from react_ros.nn.attention import CausalConv1d, CrossAttention, DecoderLayer, WindowedAttention

WIDTH, MEMORY, HEADS = 32, 20, 4
FRAMES = 750
windows = pytest.mark.parametrize("window", [1, 7, 100])


class Case:
    """One layer with both of its paths under one name, for claims that hold for all."""

    def __init__(self, layer: nn.Module, inputs: int, hears: bool) -> None:
        self.layer, self.inputs, self.hears = layer, inputs, hears
        for parameter in layer.parameters():
            parameter.requires_grad_(False)

    def draw(self, rows: int, memories: int, frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, frames, self.inputs, generator=random)
        return x, torch.randn(memories, frames, MEMORY, generator=random)

    def clip(self, x: Tensor, memory: Tensor) -> Tensor:
        return self.layer(x, memory) if self.hears else self.layer(x)

    def start(self, rows: int, memories: int) -> Any:
        layer: Any = self.layer
        if isinstance(layer, DecoderLayer):
            return layer.start(rows, memories)
        return layer.start(memories if self.hears else rows)

    def stream(self, x: Tensor, memory: Tensor, cache: Any = None, first: int = 0) -> Tensor:
        layer: Any = self.layer
        cache = cache or self.start(len(x), len(memory))
        outs = []
        for t in range(x.shape[1]):
            heard = (memory[:, t],) if self.hears else ()
            outs.append(layer.step(x[:, t], *heard, cache, torch.tensor(first + t)))
        return torch.stack(outs, dim=1)


def trained(layer: nn.Module) -> nn.Module:
    """Every parameter moved off its first value, as after training."""
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=random)
    return layer.eval()


def own(window: int) -> Case:
    return Case(trained(WindowedAttention(WIDTH, HEADS, window)), WIDTH, hears=False)


def cross(window: int) -> Case:
    return Case(trained(CrossAttention(WIDTH, MEMORY, HEADS, window)), WIDTH, hears=True)


def decoder(window: int) -> Case:
    return Case(trained(DecoderLayer(WIDTH, HEADS, MEMORY, window, max(1, window // 2), 64)), WIDTH, hears=True)


def convolution(window: int) -> Case:
    kernel, dilation = {1: (1, 1), 7: (4, 2), 100: (12, 9)}[window]
    return Case(trained(CausalConv1d(MEMORY, WIDTH, kernel, dilation)), MEMORY, hears=False)


layers = pytest.mark.parametrize("make", [own, cross, decoder, convolution])


@layers
@windows
@pytest.mark.parametrize(("rows", "memories"), [(1, 1), (6, 2)])
def test_a_stream_equals_the_clip(make: Callable[[int], Case], window: int, rows: int, memories: int) -> None:
    case = make(window)
    x, memory = case.draw(rows, memories, FRAMES)
    torch.testing.assert_close(case.stream(x, memory), case.clip(x, memory), rtol=0, atol=1e-5)


@layers
@windows
def test_the_future_never_changes_the_past(make: Callable[[int], Case], window: int) -> None:
    case = make(window)
    x, memory = case.draw(2, 1, 300)
    for cut in (1, 128, 211):
        other, other_memory = (a.clone() for a in (x, memory))
        other[:, cut:], other_memory[:, cut:] = case.draw(2, 1, 300 - cut, seed=cut)
        assert torch.equal(case.clip(x, memory)[:, :cut], case.clip(other, other_memory)[:, :cut])
        before, after = case.clip(x, memory)[:, cut], case.clip(other, other_memory)[:, cut]
        assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("make", [own, cross])
@windows
def test_frames_outside_the_window_have_no_influence(make: Callable[[int], Case], window: int) -> None:
    case = make(window)
    x, memory = case.draw(1, 1, 400)
    shorter = case.clip(x[:, 400 - 2 * window :], memory[:, 400 - 2 * window :])
    torch.testing.assert_close(case.clip(x, memory)[:, -window:], shorter[:, -window:], rtol=0, atol=1e-5)


@windows
@pytest.mark.parametrize("frames", [1, 5, 128, 129, 300])
def test_the_clip_path_is_softmax_over_the_window_with_the_bias_of_each_age(window: int, frames: int) -> None:
    layer = own(window).layer.double()
    assert isinstance(layer, WindowedAttention)
    x = torch.randn(2, frames, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    q, k, v = layer.query_key_value(x).view(2, frames, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
    for t in range(frames):
        for u in range(frames):
            seen = 0 <= t - u < window
            scores[:, :, t, u] += layer.bias[:, t - u] if seen else -math.inf
    expected = layer.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(2, frames, WIDTH))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_before_training_the_bias_is_alibi() -> None:
    bias = WindowedAttention(64, 8, 50).bias
    assert bias.shape == (8, 50)
    for head in range(8):
        assert bias[head].tolist() == pytest.approx([-(2.0 ** -(head + 1)) * age for age in range(50)])


def test_the_bias_of_every_age_is_learned() -> None:
    layer = CrossAttention(WIDTH, MEMORY, HEADS, 100)
    x, memory = torch.randn(1, 300, WIDTH), torch.randn(1, 300, MEMORY)
    layer(x, memory).square().sum().backward()
    assert layer.bias.grad is not None and bool((layer.bias.grad != 0).all())


@layers
@windows
@pytest.mark.parametrize("around", [10**9, 2**31, 2**53])
def test_a_stream_may_start_at_any_slot_of_the_ring(make: Callable[[int], Case], window: int, around: int) -> None:
    case = make(window)
    reach = 2 * max(window, 112)  # what a decoder layer's first frames still carry is forgotten after two windows
    frames = 2 * reach + 30
    x, memory = case.draw(2, 1, frames)
    late = case.stream(x, memory, first=around - frames // 2)
    torch.testing.assert_close(late[:, reach:], case.clip(x, memory)[:, reach:], rtol=0, atol=1e-5)


@layers
def test_a_cleared_cache_equals_a_new_one(make: Callable[[int], Case]) -> None:
    case = make(7)
    x, memory = case.draw(3, 1, 20)
    expected = case.stream(x, memory)
    used = case.start(3, 1)
    broken = torch.full_like(x, math.nan), torch.full_like(memory, math.nan)
    case.stream(*broken, cache=used)
    assert torch.equal(case.stream(x, memory), expected)
    used.clear()
    assert torch.equal(case.stream(x, memory, cache=used), expected)


@layers
def test_streams_are_independent(make: Callable[[int], Case]) -> None:
    case = make(7)
    pairs = [case.draw(2, 1, 30, seed=s) for s in (0, 1)]
    alone = [case.stream(*pair) for pair in pairs]
    caches = [case.start(2, 1) for _ in pairs]
    for t in range(30):
        for (x, memory), cache, expected in zip(pairs, caches, alone, strict=True):
            out = case.stream(x[:, t : t + 1], memory[:, t : t + 1], cache=cache, first=t)
            assert torch.equal(out[:, 0], expected[:, t])


@layers
def test_a_cache_keeps_its_shape_and_its_memory(make: Callable[[int], Case]) -> None:
    case = make(7)
    cache = case.start(4, 2)
    tensors = [tensor for part in cache for tensor in (part if isinstance(part, tuple) else (part,))]
    before = [(tensor.data_ptr(), tensor.shape) for tensor in tensors]
    case.stream(*case.draw(4, 2, 40), cache=cache)
    assert [(tensor.data_ptr(), tensor.shape) for tensor in tensors] == before


@layers
def test_a_step_never_copies_a_value_to_the_host(make: Callable[[int], Case]) -> None:
    case = make(7)
    case.layer.to("meta")  # tensors without values: reading one, or branching on it, raises
    x, memory = (a.to("meta") for a in case.draw(4, 2, 1))
    layer: Any = case.layer
    heard = (memory[:, 0],) if case.hears else ()
    out = layer.step(x[:, 0], *heard, case.start(4, 2), torch.zeros((), dtype=torch.int64, device="meta"))
    assert out.shape == (4, WIDTH)


@pytest.mark.parametrize("make", [cross, decoder])
def test_listeners_of_one_memory_give_the_results_of_each_alone(make: Callable[[int], Case]) -> None:
    case = make(7)
    x, memory = case.draw(6, 2, 60)
    together = case.stream(x, memory)
    for row in range(6):
        alone = case.stream(x[row : row + 1], memory[row // 3 : row // 3 + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


def test_a_memory_is_stored_once_for_all_its_listeners() -> None:
    layer = DecoderLayer(WIDTH, HEADS, MEMORY, 7, 9, 64)
    cache = layer.start(20, 2)
    assert cache.own.keys.shape == (20 * HEADS, WIDTH // HEADS, 7)
    assert cache.memory.keys.shape == (2 * HEADS, WIDTH // HEADS, 9)


@layers
def test_half_precision_streams_as_its_clip(make: Callable[[int], Case]) -> None:
    case = make(7)
    case.layer.bfloat16()
    x, memory = (a.bfloat16() for a in case.draw(2, 1, 40))
    streamed, clip = case.stream(x, memory), case.clip(x, memory)
    assert streamed.dtype == clip.dtype == torch.bfloat16
    torch.testing.assert_close(streamed.float(), clip.float(), rtol=0.05, atol=0.1)


@layers
def test_autocast_trains_the_clip_path(make: Callable[[int], Case]) -> None:
    case = make(7)
    x, memory = case.draw(2, 1, 40)
    full = case.clip(x, memory)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(case.clip(x, memory).float(), full, rtol=0.05, atol=0.15)


def test_dropout_acts_in_training_only() -> None:
    layer = DecoderLayer(WIDTH, HEADS, MEMORY, 7, 7, 64, dropout=0.5)
    x, memory = torch.randn(1, 20, WIDTH), torch.randn(1, 20, MEMORY)
    assert not torch.equal(layer.train()(x, memory), layer(x, memory))
    assert torch.equal(layer.eval()(x, memory), layer(x, memory))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: WindowedAttention(30, 4, 10), "width is 30 with 4 heads"),
        (lambda: WindowedAttention(32, 4, 0), "window is 0"),
        (lambda: CrossAttention(32, 8, 4, 10, dropout=1.0), "dropout is 1.0"),
        (lambda: CausalConv1d(4, 4, 0), "kernel is 0"),
        (lambda: CausalConv1d(4, 4, 3, 0), "dilation 0"),
    ],
)
def test_an_impossible_layer_is_refused_with_a_sentence(make: Callable[[], nn.Module], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        make()
