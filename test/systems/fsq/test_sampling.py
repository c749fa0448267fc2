"""Sampling of tokens: temperature, top-p, forgetting, guidance and the inverted cumulative sum, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax
from scipy.stats import chisquare

from react_ros.systems.fsq.model import LEAST_TEMPERATURE, Networks, Predictor, Sampling


def logits(networks: Networks, x: np.ndarray, group: int) -> np.ndarray:
    """(…, size) of (…, width), from the tensors alone."""
    tensors = {name: t.numpy() for name, t in networks.predictor.state_dict().items()}
    hidden = x @ tensors[f"hidden.{group}.weight"].T + tensors[f"hidden.{group}.bias"]
    gelu = hidden * 0.5 * (1.0 + erf(hidden / np.sqrt(2.0)))
    return gelu @ tensors[f"choose.{group}.weight"].T + tensors[f"choose.{group}.bias"]


def by_hand(
    networks: Networks, known: np.ndarray, forgetful: np.ndarray, nobody: np.ndarray, chance: np.ndarray, how: Sampling
) -> list[int]:
    """The token of one listener, one group after the other.

    (width,) each: known to the listener who remembers; forgetful: without past; nobody: without past and speaker.
    """
    token: list[int] = []
    for group in range(networks.predictor.groups):
        told, forgot, unheard = (np.log(softmax(logits(networks, x, group))) for x in (known, forgetful, nobody))
        scores = told + how.forgetting * (forgot - told) + how.guidance * (forgot - unheard)
        probability = softmax(scores / how.temperature)
        likely_first = np.argsort(-probability)
        kept: list[int] = []
        for code in likely_first:
            if kept and probability[kept].sum() >= how.top_p:
                break
            kept.append(int(code))
        reached, wanted = 0.0, chance[group] * probability[kept].sum()
        for code in kept:
            reached += probability[code]
            if reached >= wanted:
                break
        token.append(code)
        if group < networks.predictor.groups - 1:
            said = networks.predictor.state_dict()[f"said.{group}.weight"].numpy()[code]
            known, forgetful, nobody = known + said, forgetful + said, nobody + said
    return token


def states(networks: Networks, rows: int, seed: int = 0) -> torch.Tensor:
    """(rows, width) random states, scaled as the last norm scales them."""
    rng = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randn(rows, networks.predictor.config.width, generator=rng, dtype=torch.float64)


def chances(networks: Networks, samples: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(samples, networks.predictor.groups, generator=torch.Generator().manual_seed(seed)).double()


PLAIN = Sampling(forgetting=0.0, guidance=0.0)
"""Sampling from the learned distribution itself."""


@pytest.mark.parametrize("forgetting", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.4])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_tokens_follow_the_distribution_computed_by_hand(
    small: Networks, temperature: float, top_p: float, forgetting: float, guidance: float
) -> None:
    samples, how = 40, Sampling(temperature, top_p, forgetting, guidance)
    x, nobody, chance = states(small, samples + 1, seed=3), states(small, 1, seed=1), chances(small, samples)
    drawn = small.predictor.sample(x, nobody, chance, how)
    known, forgetful, alone = x[:-1].numpy(), x[-1].numpy(), nobody[0].numpy()
    expected = [by_hand(small, known[s], forgetful, alone, chance[s].numpy(), how) for s in range(samples)]
    assert drawn.shape == (samples, small.predictor.groups) and drawn.dtype == torch.int64
    assert drawn.tolist() == expected
    if forgetting < 1.0 or top_p == 1.0:
        assert len({tuple(token) for token in expected}) > 5, "the chances and pasts choose"


def test_without_forgetting_and_guidance_the_model_is_sampled_as_it_is(small: Networks) -> None:
    """The rows with masked past and speaker have no influence."""
    x, nobody, chance = states(small, 201), states(small, 1, seed=1), chances(small, 200)
    drawn = small.predictor.sample(x, nobody, chance, PLAIN)
    elsewhere = torch.cat([x[:-1], states(small, 1, seed=2)])
    assert torch.equal(drawn, small.predictor.sample(elsewhere, states(small, 1, seed=3), chance, PLAIN))
    own = torch.zeros_like(drawn)
    now = x[:-1]
    for group in range(small.predictor.groups):
        probability, order = small.predictor._logits(now, group).softmax(-1).sort(descending=True)
        place = (probability.cumsum(-1) < chance[:, group, None]).sum(-1, keepdim=True)
        own[:, group] = order.gather(1, place)[:, 0]
        if group < small.predictor.groups - 1:
            now = now + small.predictor.said[group](own[:, group])
    assert torch.equal(drawn, own)


def test_at_forgetting_1_the_own_past_has_no_influence(small: Networks) -> None:
    x, other, nobody, chance = states(small, 201), states(small, 201, 1), states(small, 1, 2), chances(small, 200)
    another_past = torch.cat([other[:-1], x[-1:]])
    for guidance in (0.0, 1.5):
        how = Sampling(forgetting=1.0, guidance=guidance)
        draw = small.predictor.sample
        assert torch.equal(draw(x, nobody, chance, how), draw(another_past, nobody, chance, how))
        half = Sampling(forgetting=0.5, guidance=guidance)
        assert not torch.equal(draw(x, nobody, chance, half), draw(another_past, nobody, chance, half))


def test_guidance_moves_tokens_away_from_the_unconditional_ones(small: Networks) -> None:
    """No change where the speaker has no influence."""
    x, nobody, chance = states(small, 401), states(small, 1, seed=1), chances(small, 400)
    alone = logits(small, nobody[0].numpy(), 0)
    against = np.log(softmax(logits(small, x[-1].numpy(), 0))) - np.log(softmax(alone))
    gains = []
    for guidance in (0.0, 0.5, 1.0, 2.0):
        drawn = small.predictor.sample(x, nobody, chance, Sampling(guidance=guidance))
        gains.append(against[drawn[:, 0].numpy()].mean())
        heard_nobody = small.predictor.sample(x, x[-1:], chance, Sampling(guidance=guidance))
        assert torch.equal(heard_nobody, small.predictor.sample(x, x[-1:], chance, Sampling(guidance=0.0)))
    assert (np.diff(gains) > 0.0).all()


def test_codes_have_the_frequencies_of_their_probabilities(small: Networks) -> None:
    """Also those of the second group, given the first."""
    draws = 40_000
    x, nobody = states(small, 1), states(small, 1, seed=1)
    chance = np.random.default_rng(0).random((draws, small.predictor.groups))
    how = Sampling(1.3, 1.0, 0.0, 0.0)
    drawn = small.predictor.sample(x.expand(draws + 1, -1), nobody, torch.from_numpy(chance), how).numpy()
    first = softmax(logits(small, x[0].numpy(), 0) / 1.3)
    counts = np.bincount(drawn[:, 0], minlength=small.predictor.size)
    assert chisquare(counts, first * draws).pvalue > 1e-3
    usual = int(counts.argmax())
    after = drawn[drawn[:, 0] == usual, 1]
    said = small.predictor.said[0].weight[usual].numpy()  # type: ignore[union-attr, index]
    second = softmax(logits(small, x[0].numpy() + said, 1) / 1.3)
    assert chisquare(np.bincount(after, minlength=small.predictor.size), second * len(after)).pvalue > 1e-3
    assert chisquare(np.bincount(after, minlength=small.predictor.size), first * len(after)).pvalue < 1e-6


@pytest.mark.parametrize("temperature", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("top_p", [0.01, 0.7, 1.0])
def test_uniform_numbers_at_the_ends_select_valid_codes(networks: Networks, temperature: float, top_p: float) -> None:
    """0 selects the most likely code; the largest number below 1 the least likely one that top-p keeps."""
    predictor, samples = networks.predictor, 50
    x = states(networks, samples + 1).to(predictor.nobody.dtype)
    ends = torch.tensor([0.0, float(np.nextafter(np.float32(1.0), np.float32(0.0)))], dtype=x.dtype)
    for end in ends:
        chance = end.expand(samples, predictor.groups)
        for how in (Sampling(temperature, top_p, 0.5, 1.0), Sampling(temperature, top_p, 0.0, 0.0)):
            drawn = predictor.sample(x, predictor.unconditional(), chance, how)
            assert int(drawn.min()) >= 0 and int(drawn.max()) < predictor.size
        likely = predictor._logits(x[:-1], 0).double().div(max(temperature, LEAST_TEMPERATURE)).softmax(-1)
        own = likely.gather(1, drawn[:, :1])
        if end == 0.0:
            assert torch.equal(drawn[:, :1], likely.argmax(-1, keepdim=True))
        elif top_p < 1.0:
            likelier = (likely * (likely > own)).sum(-1)
            assert (likelier < top_p + 1e-4).all(), "a code beyond top-p was drawn"


def test_a_small_top_p_and_temperature_0_both_select_the_most_likely_code(networks: Networks) -> None:
    """At temperature 0 except where two codes are nearly equally likely, since it stands for a small temperature."""
    predictor, samples = networks.predictor, 50
    x = states(networks, samples + 1).to(predictor.nobody.dtype)
    chance, nobody = chances(networks, samples, 3).to(x.dtype), predictor.unconditional()
    best, ahead = likeliest(predictor, x[:-1])
    sure = ahead > 20.0 * LEAST_TEMPERATURE
    assert sure.float().mean() > 0.7
    assert torch.equal(predictor.sample(x, nobody, chance, Sampling(1.0, 0.01, 0.0, 0.0)), best)
    assert torch.equal(predictor.sample(x, nobody, chance, Sampling(0.0, 1.0, 0.0, 0.0))[sure], best[sure])
    assert not torch.equal(predictor.sample(x, nobody, chance, Sampling(5.0, 1.0, 0.0, 0.0))[sure], best[sure])


def likeliest(predictor: Predictor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(S, groups) greedy tokens, and (S,) the least margin over the second code, as log odds."""
    token, ahead = [], []
    for group in range(predictor.groups):
        first, second = predictor._logits(x, group).topk(2).values.unbind(-1)
        ahead.append(first - second)
        token.append(predictor._logits(x, group).argmax(-1))
        if group < predictor.groups - 1:
            x = x + predictor.said[group](token[-1])
    return torch.stack(token, dim=1), torch.stack(ahead).amin(0)
