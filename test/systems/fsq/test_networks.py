"""The networks of the token listener: streams equal clips, and no output depends on the future."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from rehearsal import Speaker, simulated_speaker
from scipy.signal import lfilter
from torch import Tensor

from react_ros.generators.speaker_inputs import input_scheme
from react_ros.systems.fsq.model import Networks

FRAMES = 750


@cache
def heard(seed: int, rows: str) -> Tensor:
    """(1, FRAMES, inputs) of a speaker whose face and sound go missing at times. rows: name of an `InputScheme`."""
    return torch.from_numpy(input_scheme(rows).rows(simulated_speaker(seed, FRAMES, Speaker(gaps=True))))[None]


@dataclass(frozen=True)
class Clip:
    """Inputs of the networks, in their own precision."""

    speaker: Tensor
    tokens: Tensor
    """(S, FRAMES, groups), drawn at random."""
    past: Tensor

    @classmethod
    def of(cls, networks: Networks, samples: int = 1) -> Clip:
        predictor = networks.predictor
        rng = torch.Generator().manual_seed(samples)
        tokens = torch.randint(predictor.size, (samples, FRAMES, predictor.groups), generator=rng)
        past = torch.cat([torch.full_like(tokens[:, :1], predictor.size), tokens[:, :-1]], dim=1)
        return cls(heard(samples, predictor.config.inputs).to(predictor.nobody.dtype), tokens, past)


def assert_same(one: Tensor, other: Tensor) -> None:
    exact = one.dtype == torch.float64
    torch.testing.assert_close(one, other, atol=1e-10 if exact else 1e-5, rtol=0.0 if exact else 1e-5)


@torch.inference_mode()
def test_decoding_frame_by_frame_equals_decoding_the_clip(networks: Networks) -> None:
    tokenizer, tokens = networks.tokenizer, Clip.of(networks, 3).tokens
    latent = tokenizer.quantizer.decode(tokens).to(networks.predictor.nobody.dtype)
    caches = tokenizer.start(3)
    decoded = [tokenizer.step(tokens[:, t], caches, torch.tensor(t)) for t in range(FRAMES)]
    whole = tokenizer.decode(latent)
    assert_same(torch.stack([d.face for d in decoded], dim=1), whole.face)
    assert_same(torch.stack([d.emotion for d in decoded], dim=1), whole.emotion)


@torch.inference_mode()
@pytest.mark.parametrize("pace", [0.0, 0.25, 1.0])
def test_a_face_moves_by_the_gate_s_share_towards_its_target(networks: Networks, pace: float) -> None:
    tokenizer, tokens = copy.deepcopy(networks.tokenizer), Clip.of(networks, 2).tokens[:, :100]
    latent = tokenizer.quantizer.decode(tokens).to(networks.predictor.nobody.dtype)
    tokenizer.pace.weight.zero_()
    tokenizer.pace.bias.fill_(100.0)
    goals = tokenizer.decode(latent).face
    tokenizer.pace.bias.fill_(math.log(pace / (1.0 - pace)) if 0.0 < pace < 1.0 else 200.0 * (pace - 0.5))
    # An exponential mean of the goals, which begins at the first one.
    expected = torch.from_numpy(lfilter([pace], [1.0, pace - 1.0], (goals - goals[:, :1]).double().numpy(), axis=1))
    torch.testing.assert_close(tokenizer.decode(latent).face.double(), expected + goals[:, :1], atol=1e-5, rtol=0.0)


@torch.inference_mode()
def test_encoding_frame_by_frame_equals_encoding_the_clip(networks: Networks) -> None:
    encoder, speaker = networks.predictor.encoder, Clip.of(networks).speaker
    state = encoder.start()
    encoded = torch.cat([encoder.step(speaker[:, t], state) for t in range(FRAMES)])
    assert_same(encoded, encoder(speaker)[0])


def logits(networks: Networks, x: Tensor, tokens: Tensor) -> Tensor:
    """(…, groups, size) of x (…, width), each group knowing the groups of tokens (…, groups) before it."""
    predictor, out = networks.predictor, []
    for group in range(predictor.groups):
        out.append(predictor._logits(x, group))
        if group < predictor.groups - 1:
            x = x + predictor.said[group](tokens[..., group])
    return torch.stack(out, dim=-2)


def stepped(networks: Networks, past: Tensor, memory: Tensor) -> Tensor:
    """(S + 1, FRAMES, width) frame by frame of past (S, FRAMES, groups) and memory (1, FRAMES, width)."""
    caches = networks.predictor.start(len(past))
    steps = (networks.predictor.step(past[:, t], memory[:, t], caches, torch.tensor(t)) for t in range(FRAMES))
    return torch.stack(list(steps), dim=1)


@torch.inference_mode()
@pytest.mark.parametrize("samples", [1, 3])
def test_predicting_frame_by_frame_gives_the_logits_of_the_clip(networks: Networks, samples: int) -> None:
    """The last row, of a masked past, too."""
    predictor, clip = networks.predictor, Clip.of(networks, samples)
    memory = predictor.told(predictor.encoder(clip.speaker))
    x = stepped(networks, clip.past, memory)
    assert x.shape == (samples + 1, FRAMES, predictor.config.width)
    whole = predictor(clip.past, memory.expand(samples, -1, -1), clip.tokens)
    assert whole.shape == (samples, FRAMES, predictor.groups, predictor.size)
    assert_same(logits(networks, x[:-1], clip.tokens), whole)
    unknown = torch.full_like(clip.past[:1], predictor.size)
    forgetful = predictor(unknown, memory, clip.tokens[:1])
    assert_same(logits(networks, x[-1:], clip.tokens[:1]), forgetful)
    assert not torch.allclose(whole[:1], forgetful, atol=1e-2), "but a past is heard"


@torch.inference_mode()
def test_the_row_of_the_masked_past_does_not_depend_on_the_listeners_tokens(networks: Networks) -> None:
    one, other = Clip.of(networks, 3), Clip.of(networks, 2)
    memory = networks.predictor.told(networks.predictor.encoder(one.speaker))
    again = torch.cat([other.past, other.past[:1]])
    first, second = (stepped(networks, past, memory) for past in (one.past, again))
    assert torch.equal(first[-1], second[-1]) and not torch.allclose(first[0], second[0], atol=1e-2)


@torch.inference_mode()
def test_masked_past_and_speaker_give_the_constant_unconditional_output(networks: Networks) -> None:
    """Frame by frame, the rows with and without a past, and in the whole clip: one vector for all frames."""
    predictor, clip = networks.predictor, Clip.of(networks, 2)
    nobody = predictor.unconditional()
    assert nobody.shape == (1, predictor.config.width)
    unknown, memory = torch.full_like(clip.past, predictor.size), predictor.nobody.expand(1, FRAMES, -1)
    alone = stepped(networks, unknown, memory)
    assert_same(alone, nobody.expand_as(alone))
    own = logits(networks, nobody.expand(2, FRAMES, -1), clip.tokens)
    assert_same(own, predictor(unknown, memory.expand(2, -1, -1), clip.tokens))
    somebody = stepped(networks, unknown, predictor.told(predictor.encoder(clip.speaker)))
    assert float((somebody - nobody).abs().amax(-1).min()) > 1e-2, "a speaker is heard in every frame"


@torch.inference_mode()
def test_logits_do_not_depend_on_the_speaker_s_future(networks: Networks) -> None:
    predictor, clip, now = networks.predictor, Clip.of(networks), 400
    other = clip.speaker.clone()
    other[:, now:] = heard(7, predictor.config.inputs)[:, : FRAMES - now]
    told = [predictor.told(predictor.encoder(s)) for s in (clip.speaker, other)]
    before, after = (predictor(clip.past, memory, clip.tokens) for memory in told)
    assert torch.equal(before[:, :now], after[:, :now])
    assert not torch.allclose(before[:, now:], after[:, now:], atol=1e-3), "but it is heard"


@torch.inference_mode()
def test_a_token_influences_later_frames_and_later_groups_only(networks: Networks) -> None:
    predictor, clip, now = networks.predictor, Clip.of(networks), 400
    memory = predictor.told(predictor.encoder(clip.speaker))
    before = predictor(clip.past, memory, clip.tokens)
    for group in range(predictor.groups):
        tokens, past = clip.tokens.clone(), clip.past.clone()
        tokens[:, now, group] = (tokens[:, now, group] + 1) % predictor.size
        past[:, now + 1] = tokens[:, now]
        after = predictor(past, memory, tokens)
        assert torch.equal(before[:, :now], after[:, :now])
        assert torch.equal(before[:, now, : group + 1], after[:, now, : group + 1])
        for later in range(group + 1, predictor.groups):
            assert not torch.equal(before[:, now, later], after[:, now, later])
        assert not torch.equal(before[:, now + 1], after[:, now + 1])


@torch.inference_mode()
def test_tokens_and_faces_do_not_depend_on_the_future(networks: Networks) -> None:
    tokenizer, now = networks.tokenizer, 100
    dtype = networks.predictor.nobody.dtype
    rng = torch.Generator().manual_seed(0)
    face = torch.rand(1, 200, 58, generator=rng, dtype=dtype)
    attributes = torch.rand(1, 200, 25, generator=rng, dtype=dtype)
    before = tokenizer.tokens(face, attributes)
    changed = [x.clone() for x in (face, attributes)]
    for x in changed:
        x[:, now:] = torch.rand(x[:, now:].shape, generator=rng, dtype=dtype)
    after = tokenizer.tokens(*changed)
    assert torch.equal(before.indices[:, :now], after.indices[:, :now])
    assert not torch.equal(before.indices[:, now:], after.indices[:, now:])
    one, other = tokenizer.decode(before.latent.to(dtype)), tokenizer.decode(after.latent.to(dtype))
    for k in range(2):
        assert torch.equal(one[k][:, :now], other[k][:, :now])
        assert not torch.allclose(one[k][:, now:], other[k][:, now:])


@torch.inference_mode()
def test_columns_of_a_missing_modality_have_no_influence(small: Networks) -> None:
    """Whatever the columns of a face or a sound hold whose presence is 0."""
    encoder, speaker = small.predictor.encoder, heard(1, small.predictor.config.inputs).double()
    inputs = input_scheme(small.predictor.config.inputs)
    for columns, present in ((inputs.face, inputs.face_present), (inputs.sound, inputs.sound_present)):
        missing = speaker.clone()
        missing[..., columns] = 0.0
        missing[..., present] = 0.0
        noisy = missing.clone()
        noisy[..., columns] = speaker[..., columns]
        assert torch.equal(encoder(missing), encoder(noisy))
        assert not torch.allclose(encoder(missing), encoder(speaker))


def test_coefficients_that_never_moved_in_training_stay_at_rest(small: Networks) -> None:
    small.tokenizer.moves[5] = 0.0
    tokens = Clip.of(small).tokens
    face = small.tokenizer.decode(small.tokenizer.quantizer.decode(tokens).double()).face
    assert not face[..., 5].any() and face[..., 6].std() > 0.0
