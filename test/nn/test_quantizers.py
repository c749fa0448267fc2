"""Quantizers: codes and indices, gradients, evaluation without side effects, code usage."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from react_ros.nn.quantizers import LARGEST, Quantizer, QuantizerConfig, Usage

CONFIGS = {
    "fsq": QuantizerConfig("fsq", groups=4, levels=(3, 3, 3, 3)),
    "fsq, other levels": QuantizerConfig("fsq", groups=2, levels=(8, 5, 2)),
    "fsq, one group": QuantizerConfig("fsq", groups=1, levels=(5, 5)),
    "lfq": QuantizerConfig("lfq", groups=3, codebook_size=64),
    "lfq, one group": QuantizerConfig("lfq", groups=1, codebook_size=16),
    "vq": QuantizerConfig("vq", groups=4, codebook_size=81, code_width=6),
    "vq, one group": QuantizerConfig("vq", groups=1, codebook_size=32, code_width=5),
}
every_kind = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def quantizer(config: QuantizerConfig) -> Quantizer:
    torch.manual_seed(3)
    return Quantizer(config)


def latent(config: QuantizerConfig, frames: int = 40, batch: int = 3, seed: int = 0) -> Tensor:
    return 1.5 * torch.randn(batch, frames, config.dim, generator=torch.Generator().manual_seed(seed))


@every_kind
def test_a_token_is_one_index_a_group(config: QuantizerConfig) -> None:
    q = quantizer(config).eval()
    out = q(latent(config))
    assert out.latent.shape == (3, 40, q.dim) and out.latent.dtype == torch.float32
    assert out.indices.shape == (3, 40, q.groups) and out.indices.dtype == torch.int64
    assert out.loss.shape == () and float(out.loss) == 0.0
    assert int(out.indices.min()) >= 0 and int(out.indices.max()) < q.size
    assert (q.dim, q.groups, q.size) == (config.dim, config.groups, config.size)


@every_kind
def test_decoding_gives_exactly_the_quantized_latent(config: QuantizerConfig) -> None:
    q = quantizer(config).eval()
    out = q(latent(config))
    assert torch.equal(q.decode(out.indices), out.latent)
    assert torch.equal(q.decode(out.indices[0, 0]), out.latent[0, 0])


@every_kind
def test_every_code_decodes_to_a_latent_that_quantizes_to_it_again(config: QuantizerConfig) -> None:
    q = quantizer(config).eval()
    indices = torch.arange(q.size)[:, None].expand(-1, q.groups).unsqueeze(0).contiguous()  # (1, size, groups)
    codes = q.decode(indices)
    assert len(torch.unique(codes[0], dim=0)) == q.size
    inside = torch.atanh(codes.clamp(-0.999, 0.999)) if config.kind == "fsq" else codes
    again = q(inside)
    assert torch.equal(again.indices, indices)
    assert torch.equal(again.latent, codes)


def test_all_tokens_of_two_groups_come_back() -> None:
    config = QuantizerConfig("fsq", groups=2, levels=(3, 3))
    q = quantizer(config).eval()
    tokens = torch.tensor(list(product(range(9), range(9)))).unsqueeze(0)
    assert torch.equal(q(2.0 * q.decode(tokens)).indices, tokens)


@settings(max_examples=60, deadline=None)
@given(st.floats(-20, 20, width=32), st.sampled_from([3, 5, 7]))
def test_fsq_with_odd_levels_rounds_as_the_poster(z: float, level: int) -> None:
    half = level // 2
    exact = half * math.tanh(z)
    if abs(abs(exact - math.floor(exact)) - 0.5) < 1e-5:
        return  # on the edge of two digits float32 may take either
    q = Quantizer(QuantizerConfig("fsq", groups=1, levels=(level,))).eval()
    assert float(q(torch.full((1, 1, 1), z)).latent) * half == pytest.approx(round(exact), abs=1e-6)


def test_three_levels_have_the_digits_minus_1_0_and_1_with_boundaries_at_tanh_one_half() -> None:
    q = quantizer(QuantizerConfig("fsq", groups=4, levels=(3, 3, 3, 3))).eval()
    assert (q.dim, q.size) == (16, 81)
    edge = math.atanh(0.5)
    z = torch.tensor([-9.0, -edge - 1e-4, -edge + 1e-4, 0.0, edge - 1e-4, edge + 1e-4, 9.0])
    out = q(z[None, :, None].expand(1, 7, 16).contiguous())
    assert out.latent[0, :, 5].tolist() == [-1, -1, 0, 0, 0, 1, 1]
    assert out.indices[0, :, 2].tolist() == [0, 0, 40, 40, 40, 80, 80]


def test_each_group_of_fsq_reads_only_its_own_digits() -> None:
    config = CONFIGS["fsq"]
    q, z = quantizer(config).eval(), latent(config)
    other = z.clone()
    other[..., 4:8] = -other[..., 4:8]
    changed = (q(z).indices != q(other).indices).any(0).any(0)
    assert changed.tolist() == [False, True, False, False]


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_is_straight_through(config: QuantizerConfig, training: bool) -> None:
    q = quantizer(config).train(training)
    z = latent(config).requires_grad_()
    pull = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((q(z).latent * pull).sum(), z)
    expected = pull
    if config.kind == "fsq":  # rounding passes it on, tanh and the spacing of the levels do not
        expected = pull * (1 - torch.tanh(z.detach()) ** 2)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lfq", "vq"])
def test_the_commitment_loss_is_the_weighted_distance_to_the_codes(name: str) -> None:
    config, z = CONFIGS[name], latent(CONFIGS[name])
    for weight in (0.0, 10.0):
        q = quantizer(replace(config, commitment_weight=weight, entropy_weight=0.0))
        codes = q.eval()(z).latent
        loss = q.train()(z).loss.detach()
        assert float(loss) == pytest.approx(weight * float(((z - codes) ** 2).mean()), rel=1e-5)


def test_the_entropy_loss_is_lower_where_all_codes_are_used() -> None:
    config = QuantizerConfig("lfq", groups=2, codebook_size=16, entropy_weight=1.0, commitment_weight=0.0)
    q = quantizer(config).train()
    spread = torch.randn(1, 4000, config.dim, generator=torch.Generator().manual_seed(0)).sign()
    alike = torch.ones(1, 4000, config.dim)
    assert float(q(spread).loss) == pytest.approx(-math.log(16), abs=0.02)  # sure of each, all 16 alike
    assert float(q(alike).loss) == pytest.approx(0.0, abs=0.01)


@every_kind
def test_evaluation_is_a_pure_function(config: QuantizerConfig) -> None:
    q, z = quantizer(config).eval(), latent(config)
    before = {name: tensor.clone() for name, tensor in q.state_dict().items()}
    random = torch.get_rng_state()
    first = q(z)
    for seed in range(5):
        q(latent(config, seed=seed))
    assert torch.equal(first.latent, q(z).latent) and torch.equal(first.indices, q(z).indices)
    assert torch.equal(first.indices[1, 7:9], q(z[1:2, 7:9]).indices[0])  # no frame knows of another
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in q.state_dict().items())


def test_the_codebook_of_vq_follows_the_data_and_is_saved() -> None:
    config = QuantizerConfig("vq", groups=2, codebook_size=8, code_width=3)
    q = quantizer(config).train()
    random = torch.Generator().manual_seed(5)
    centres = 4.0 * torch.randn(8, config.dim, generator=random)

    def batch() -> Tensor:
        chosen = torch.randint(8, (1, 400), generator=random)
        return centres[chosen] + 0.05 * torch.randn(1, 400, config.dim, generator=random)

    start = float((q.eval()(batch()).latent - batch()).pow(2).mean())
    q.train()
    for _ in range(150):
        q(batch())
    q.eval()
    z = batch()
    usage = Usage(2, 8)
    usage.add(q(z).indices)
    assert float((q(z).latent - z).pow(2).mean()) < 0.1 * start
    assert usage.figures()["perplexity"] > 6.0

    other = Quantizer(config).eval()
    other.load_state_dict(q.state_dict())
    assert torch.equal(other(z).latent, q(z).latent)


@every_kind
def test_padding_influences_neither_the_loss_nor_the_codebook(config: QuantizerConfig) -> None:
    z = latent(config)
    valid = torch.ones(3, 40, dtype=torch.bool)
    valid[1, 30:] = valid[2, 5:] = False
    outs, states = [], []
    for noise in (0.0, 100.0):
        padded = torch.where(valid[..., None], z, noise)
        q = quantizer(config).train()
        torch.manual_seed(0)
        outs.append(q(padded, valid))
        states.append(q.state_dict())
    assert torch.equal(outs[0].loss, outs[1].loss)
    assert torch.equal(outs[0].latent, outs[1].latent) and torch.equal(outs[0].indices, outs[1].indices)
    assert not outs[0].indices[~valid].any()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    plain = quantizer(config).eval()
    assert torch.equal(plain(z, valid).indices[valid], plain(z).indices[valid])
    assert torch.equal(plain(z, valid).latent[valid], plain(z).latent[valid])


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_autocast_and_half_precision_choose_the_same_codes(config: QuantizerConfig, training: bool) -> None:
    z = latent(config).bfloat16()
    plain = quantizer(config).train(training)(z.float())
    with torch.autocast("cpu", torch.bfloat16):
        cast = quantizer(config).train(training)(z)
        wide = quantizer(config).train(training)(z.float())
    assert torch.equal(cast.indices, plain.indices) and torch.equal(wide.indices, plain.indices)
    assert cast.latent.dtype == torch.bfloat16 and cast.loss.dtype == wide.loss.dtype == torch.float32
    assert torch.equal(wide.latent, plain.latent)
    half = quantizer(config).half().eval()
    assert half(z.half()).latent.dtype == torch.float16


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"kind": "rvq"}, "kind is 'rvq'"),
        ({"groups": 0}, "groups is 0"),
        ({"levels": ()}, "levels is ()"),
        ({"levels": (3, 1)}, r"levels\[1\] is 1"),
        ({"groups": 1, "levels": (3,) * 16}, "43046721 codes"),
        ({"kind": "lfq", "codebook_size": 81}, "needs a power of two, such as 128"),
        ({"kind": "lfq", "codebook_size": 2 * LARGEST}, "codebook_size is 131072"),
        ({"kind": "vq", "codebook_size": 1}, "codebook_size is 1"),
        ({"kind": "vq", "code_width": 0}, "code_width is 0"),
        ({"commitment_weight": float("nan")}, "commitment_weight is nan"),
        ({"entropy_weight": -1.0}, "entropy_weight is -1.0"),
    ],
)
def test_an_impossible_value_is_refused_with_a_sentence(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named.replace("()", r"\(\)")) as error:
        QuantizerConfig(**given)
    assert "\n" not in str(error.value)


def test_perplexity_and_dead_codes_follow_their_definitions() -> None:
    usage = Usage(groups=2, size=4)
    usage.add(torch.tensor([[0, 3], [1, 3]]))
    usage.add(torch.tensor([[[2, 3]], [[3, 3]]]))
    assert usage.perplexity().tolist() == pytest.approx([4.0, 1.0])
    assert usage.dead().tolist() == [0.0, 0.75]
    assert usage.figures() == pytest.approx({"perplexity": 2.5, "dead_codes": 0.375})
    skewed = Usage(1, 3)
    skewed.add(torch.tensor([[0], [0], [0], [1]]))
    assert float(skewed.perplexity()) == pytest.approx(2 ** (2 - 0.75 * math.log2(3)))


def test_counts_of_parts_add_up() -> None:
    tokens = torch.randint(81, (1000, 4), generator=torch.Generator().manual_seed(0))
    whole, parts = Usage(4, 81), [Usage(4, 81) for _ in range(3)]
    whole.add(tokens)
    for part, some in zip(parts, tokens.split(400), strict=True):
        part.add(some)
    assert torch.equal(sum((p.counts for p in parts), torch.zeros(4, 81, dtype=torch.int64)), whole.counts)
    assert int(whole.counts.sum()) == 4000


def test_usage_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="no token was counted"):
        Usage(2, 4).figures()
