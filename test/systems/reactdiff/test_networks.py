"""ReactDiff's networks: receptive fields, diversity of samples, and sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from react_ros.face import AU, EXPRESSIONS, VA
from react_ros.generators.speaker_inputs import FACE_INPUTS, FACE_PRESENT, INPUTS, SOUND_INPUTS, SOUND_PRESENT
from react_ros.systems.reactdiff.denoiser import Denoiser, DenoiserConfig
from react_ros.systems.reactdiff.fast_denoiser import FastDenoiser
from react_ros.systems.reactdiff.features import NAMES, PAPER, Features
from react_ros.systems.reactdiff.mmt import Attention, Mmt, MmtConfig
from react_ros.systems.reactdiff.model import BOUND, LatentConfig, Networks

from .conftest import SMALL, SPEAKERS, random_networks

WINDOW = 50


def speaker(frames: int, seed: int = 0, inputs: int = INPUTS) -> Tensor:
    """(2, frames, inputs), with face and sound."""
    x = torch.randn(2, frames, inputs, generator=torch.Generator().manual_seed(seed))
    x[..., -2:] = 1.0
    return x


def changed(before: Tensor, after: Tensor) -> list[int]:
    """The frames of (B, T, …) that differ."""
    return [int(t) for t in torch.nonzero((before != after).flatten(2).any(2).any(0)).flatten()]


def mmt(**changes: Any) -> Mmt:
    config = replace(SMALL, mmt=replace(SMALL.mmt, **changes))
    return random_networks(config).mmt


# What is read --------------------------------------------------------------------------------------------------------


def test_the_live_features_partition_the_row() -> None:
    features = Features()
    columns = sorted(column for name in NAMES for column in range(*getattr(features, name)))
    assert columns == [*range(FACE_INPUTS.start, SOUND_INPUTS.stop)]
    assert (features.face_present, features.sound_present, features.inputs) == (FACE_PRESENT, SOUND_PRESENT, INPUTS)
    assert [features.width(name) for name in NAMES] == [6, 52, 52, 52, 4]


def test_features_of_the_papers_widths_are_encoded_and_decoded() -> None:
    assert [PAPER.width(name) for name in NAMES] == [64, 25088, 1408, 26, 1536]
    config = MmtConfig(features=PAPER, width=4, latent=8, heads=2, layers=1, feedforward=8)
    torch.manual_seed(0)
    networks = Mmt(config).eval()
    with torch.no_grad():
        x0 = networks.encoder(speaker(WINDOW, inputs=PAPER.inputs))
        face, emotion = networks.decoder(x0)
    assert x0.shape == (2, WINDOW, 8) and face.shape == (2, WINDOW, 58) and emotion.shape == (2, WINDOW, 25)
    assert torch.isfinite(face).all() and float(x0.std()) > 0.0


@pytest.mark.parametrize(("given", "sentence"), [
    ({"va": (100, 200)}, "va is the columns 100 to 200 of 168: it must be at least one of them"),
    ({"au": (5, 5)}, "au is the columns 5 to 5 of 168"),
    ({"face_present": 168}, "face_present is 168"),
])  # fmt: skip
def test_columns_outside_the_row_are_refused(given: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Features(**given)


@pytest.mark.parametrize(("given", "sentence"), [
    ({"video": False, "audio": False}, "at least one of them must be on"),
    ({"attention": "both"}, "a decoder that sees the whole clip is offline"),
    ({"width": 10, "heads": 4}, "width is 10 with 4 heads"),
])  # fmt: skip
def test_impossible_transformers_are_refused_with_a_sentence(given: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MmtConfig(**given)


def test_a_latent_depends_on_all_of_its_window_and_on_no_other() -> None:
    encoder, before = mmt().encoder, speaker(3 * WINDOW)
    after = before.clone()
    after[:, 70, :50] += 1.0
    assert changed(encoder(before), encoder(after)) == [*range(WINDOW, 2 * WINDOW)]


@pytest.mark.parametrize(("off", "columns"), [
    ("video", [*range(FACE_INPUTS.start, FACE_INPUTS.stop), FACE_PRESENT]),
    ("audio", [*range(SOUND_INPUTS.start, SOUND_INPUTS.stop), SOUND_PRESENT]),
])  # fmt: skip
def test_a_modality_is_used_completely_or_not_at_all(off: str, columns: list[int]) -> None:
    x = speaker(WINDOW)[:1]
    others = x.repeat(len(columns), 1, 1)
    others[torch.arange(len(columns)), :, columns] -= 1.0
    for networks, same in ((mmt(**{off: False}), True), (mmt(), False)):
        moved = (networks.encoder(others) - networks.encoder(x)).abs().amax((1, 2))
        assert bool(((moved < 1e-5) if same else (moved > 1e-4)).all())


def test_columns_of_a_missing_modality_are_ignored() -> None:
    encoder, x = mmt().encoder, speaker(WINDOW)
    x[..., FACE_PRESENT] = 0.0
    other = x.clone()
    other[..., FACE_INPUTS] += 3.0
    assert torch.equal(encoder(x), encoder(other))


def test_without_the_transformer_each_frame_depends_on_itself_only() -> None:
    networks, before = mmt(cross=False), speaker(2 * WINDOW)
    after = before.clone()
    after[:, 30] += 1.0
    after[..., -2:] = 1.0
    assert changed(networks(before)[0], networks(after)[0]) == [30]


# What is decoded -----------------------------------------------------------------------------------------------------


def test_a_causal_decoder_has_the_receptive_field_of_its_layers() -> None:
    decoder = mmt(memory=20, layers=2).decoder.double()
    before = torch.randn(1, 200, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    after = before.clone()
    after[:, 60] += torch.randn(16, generator=torch.Generator().manual_seed(2))
    assert changed(decoder(before)[0], decoder(after)[0]) == [*range(60, 60 + 2 * 19 + 1)]


@pytest.mark.parametrize("before", [0, 1, 10, 100])
def test_former_windows_can_be_decoded_once_for_all_listeners(before: int) -> None:
    decoder = mmt(memory=20, layers=3).decoder
    shared = torch.randn(2, before, 16, generator=torch.Generator().manual_seed(1))
    own = torch.randn(6, 30, 16, generator=torch.Generator().manual_seed(2))
    whole = decoder(torch.cat([shared.repeat_interleave(3, 0), own], dim=1))
    for expected, found in zip(whole, decoder.after(shared, own), strict=True):
        torch.testing.assert_close(found, expected[:, before:], atol=1e-5, rtol=1e-5)


def test_an_offline_decoder_sees_the_whole_clip() -> None:
    decoder = mmt(protocol="offline", attention="both", memory=200).decoder.double()
    before = torch.randn(1, 200, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    after = before.clone()
    after[:, 60] += torch.randn(16, generator=torch.Generator().manual_seed(2))
    assert changed(decoder(before)[0], decoder(after)[0]) == [*range(200)]


def test_attributes_come_out_within_their_ranges() -> None:
    _, emotion = mmt().decoder(100.0 * torch.randn(2, WINDOW, 16, generator=torch.Generator().manual_seed(2)))
    for part, low in ((AU, 0.0), (VA, -1.0), (EXPRESSIONS, 0.0)):
        assert emotion[..., part].min() >= low and emotion[..., part].max() <= 1.0
    torch.testing.assert_close(emotion[..., EXPRESSIONS].sum(-1), torch.ones(2, WINDOW))


def test_attention_is_softmax_of_scores_and_a_bias_by_signed_distance() -> None:
    """Against an explicit computation, frame by frame."""
    torch.manual_seed(3)
    attention = Attention(6, 2, reach=4, dropout=0.0).double().eval()
    attention.bias.data.normal_()
    x, memory = torch.randn(2, 1, 7, 6, dtype=torch.float64)[:, 0], torch.randn(2, 7, 6, dtype=torch.float64)
    q, (k, v) = attention.query(x), attention.key_value(memory).chunk(2, dim=-1)
    expected = torch.zeros(2, 7, 6, dtype=torch.float64)
    for head, part in enumerate((slice(0, 3), slice(3, 6))):
        for t in range(7):
            seen = [s for s in range(7) if abs(t - s) < 4]
            scores = torch.stack(
                [(q[:, t, part] * k[:, s, part]).sum(-1) / 3**0.5 + attention.bias[head, t - s + 3] for s in seen], -1
            )
            expected[:, t, part] = (scores.softmax(-1)[..., None] * v[:, seen, part]).sum(1)
    torch.testing.assert_close(attention(x, memory), attention.out(expected))


# What is denoised ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["time", "latent"])
@pytest.mark.parametrize("multiples", [(1,), (1, 2, 2)])
def test_the_denoiser_keeps_the_shape_of_any_window(axis: Any, multiples: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    config = DenoiserConfig(axis, channels=8, multiples=multiples, blocks=2, constraint=8, hidden=4, groups=4)
    denoiser = Denoiser(config, window=50, latent=17, speaker=5, levels=20).eval().requires_grad_(False)
    for parameter in denoiser.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x, level, z_bc = torch.randn(3, 50, 17), torch.tensor([0, 7, 19]), torch.randn(3, 8)
    out = denoiser(x, level, z_bc)
    assert out.shape == x.shape and torch.isfinite(out).all()
    one = denoiser(x[1:2], level[1:2], z_bc[1:2])
    torch.testing.assert_close(out[1:2], one)
    for other in (denoiser(x, level.flip(0), z_bc), denoiser(x, level, z_bc.flip(0)), denoiser(x.flip(0), level, z_bc)):
        assert float((out - other).abs().amax((1, 2))[0]) > 1e-4


@pytest.mark.parametrize("axis", ["time", "latent"])
@pytest.mark.parametrize(("multiples", "blocks", "heads"), [((1,), 1, 0), ((1, 2, 2), 1, 2), ((1, 2), 2, 2)])
def test_the_fast_denoiser_equals_the_trained_one(
    axis: Any, multiples: tuple[int, ...], blocks: int, heads: int
) -> None:
    """Also for a batch of different levels."""
    torch.manual_seed(0)
    config = DenoiserConfig(axis, 8, multiples, blocks, heads, constraint=8, hidden=4, groups=4)
    denoiser = Denoiser(config, window=50, latent=17, speaker=5, levels=20).eval().requires_grad_(False)
    for parameter in denoiser.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x, level, z_bc = torch.randn(4, 50, 17), torch.tensor([0, 7, 19, 19]), torch.randn(4, 8)
    expected, before = denoiser(x, level, z_bc), x.clone()
    fast = FastDenoiser(denoiser).given(z_bc)
    torch.testing.assert_close(fast(x, level), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(x, before) and torch.equal(fast(x, level), fast(x, level))


def test_z_bc_is_the_group_normalised_perceptron_of_the_whole_window() -> None:
    constraint = Denoiser(SMALL.latent.denoiser, 50, 6, 16, 20).constraint
    x0 = torch.randn(5, 50, 16)
    groups = constraint.mlp(x0.flatten(1)).view(5, 2, 4)
    mean, variance = groups.mean(2, keepdim=True), groups.var(2, unbiased=False, keepdim=True)
    expected = (groups - mean) / (variance + constraint.norm.eps).sqrt()
    torch.testing.assert_close(constraint(x0), expected.view(5, 8), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "x0"])
def test_a_perfect_network_reconstructs_the_speakers_latents(prediction: Any) -> None:
    """In the paper's diffusion, x_0 is the data and a summary of x_0 the condition: no diversity remains."""
    config = replace(SMALL.latent, diffusion=replace(SMALL.latent.diffusion, prediction=prediction))
    latent = random_networks(replace(SPEAKERS, latent=config)).latent
    x0 = latent.mean + latent.deviation * torch.randn(4, WINDOW, 16).clamp(-3.0, 3.0)
    real = latent.standard(x0)
    assert float(real.abs().max()) < BOUND / 2.0

    def perfect(x_t: Tensor, level: Tensor) -> Tensor:
        if prediction == "x0":
            return real.repeat_interleave(3, 0)
        a = latent.diffusion.alpha_bar[level].view(-1, 1, 1)
        return (x_t - a.sqrt() * real.repeat_interleave(3, 0)) / (1.0 - a).sqrt()

    latent.denoiser.given = lambda z_bc: perfect  # type: ignore[method-assign]
    found = latent.sample(x0, torch.randn(4, 3, WINDOW, 16), steps=None, eta=0.0, fresh=None)
    torch.testing.assert_close(found, x0[:, None].expand(-1, 3, -1, -1), atol=1e-4, rtol=1e-4)


def test_guidance_extrapolates_from_the_unconditional_prediction() -> None:
    """One step from the last level: the sample is linear in the predictions with and without z_bc."""
    latent = random_networks().latent
    speaker, noise = torch.randn(2, WINDOW, 16), 0.1 * torch.randn(2, 1, WINDOW, 6)
    known, more = (latent.sample(speaker, noise, steps=1, eta=0.0, fresh=None, guidance=g) for g in (1.0, 1.5))
    level = torch.full((2,), 19)
    nobody = latent.denoiser(noise[:, 0], level, torch.zeros(2, 8))
    told = latent.denoiser(noise[:, 0], level, latent.constraint(speaker))

    def drawn(standard: Tensor) -> Tensor:
        return 2.0 * standard.clamp(-2.0, 2.0) * latent.deviation + latent.mean  # the scale is 2

    torch.testing.assert_close(known[:, 0], drawn(told))
    torch.testing.assert_close(more[:, 0], drawn(nobody + 1.5 * (told - nobody)))


def test_the_papers_sizes_can_be_built_and_run_forward() -> None:
    """On the meta device: shapes of 390 million numbers, and no memory."""
    from react_ros.generators import registry
    from react_ros.systems.reactdiff.training import DiffusionStage, MmtStage, StyleStage
    from react_ros.training.config import read_config

    stages = [MmtStage, DiffusionStage, StyleStage]
    plans = read_config(stages, registry.system("reactdiff").training_configs()["reactdiff-paper"]).stages
    mmt_config, latent_config = plans["mmt"].stage.model, plans["diffusion"].stage.model
    assert mmt_config.features == PAPER
    with torch.device("meta"):
        networks = Mmt(mmt_config).eval()
        denoiser = Denoiser(latent_config.denoiser, mmt_config.window, 128, 128, 20).eval()
        x0 = networks.encoder(torch.empty(2, 100, PAPER.inputs))
        face, emotion = networks.decoder(x0)
        windows = x0.reshape(-1, 50, 128)
        z_bc = denoiser.constraint(windows)
        noise = denoiser(windows, torch.zeros(4, dtype=torch.int64), z_bc)
    assert x0.shape == (2, 100, 128) and face.shape == (2, 100, 58) and emotion.shape == (2, 100, 25)
    assert z_bc.shape == (4, 1024) and noise.shape == (4, 50, 128)
    assert networks.encoder.facial.feedforward[2].out_features == 1024
    count = sum(p.numel() for part in (networks, denoiser) for p in part.parameters())
    assert 380e6 < count < 400e6


def test_the_shipped_sizes_fit_a_robot() -> None:
    with torch.device("meta"):
        networks = Networks(replace(SMALL, mmt=MmtConfig(), latent=LatentConfig(), style=type(SMALL.style)()))
    assert 4 * sum(t.numel() for t in networks.state_dict().values()) < 15e6
