"""ReactDiff as a generator: streams, schedules and protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rehearsal import Speaker, simulated_speaker

from react_ros.face import AU, FRAME_NS, Face, FaceState, Reaction, Sound, SpeakerFrame
from react_ros.generators.speaker_inputs import INPUTS, RUNNING_MEAN, SpeakerInputs
from react_ros.systems.reactdiff.chunk_model import ContextInputs, ReactDiffChunkModel
from react_ros.systems.reactdiff.generator import ReactDiff, ReactDiffConfig
from react_ros.systems.reactdiff.model import ModelConfig

from .conftest import SMALL, SPEAKERS, random_networks, reactions

FRAMES = simulated_speaker(0, 220, Speaker(gaps=True))
OFFLINE = replace(SMALL, mmt=replace(SMALL.mmt, protocol="offline", attention="both", memory=220))
Saved = Callable[..., str]


def system(weights: str, **given: Any) -> ReactDiff:
    return ReactDiff(ReactDiffConfig(weights=weights, device="cpu", **given))


def play(generator: ReactDiff, frames: Sequence[SpeakerFrame], samples: int = 2, seed: int = 0) -> np.ndarray:
    stream = generator.start(samples=samples, seed=seed)
    return table([stream.step(frame) for frame in frames])


def table(answers: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 83)."""
    return np.stack([np.concatenate([r.face_model, r.attributes], axis=1) for r in answers])


@pytest.mark.parametrize("given", [
    {}, {"schedule": "window"}, {"eta": 0.7, "steps": 4, "guidance": 1.5}, {"diffusion": False, "schedule": "window"},
    {"binarize": True, "steps": 3},
])  # fmt: skip
def test_a_stream_answers_like_the_batch_path(saved: Saved, given: dict[str, Any]) -> None:
    generator = system(saved(), **given)
    batch = table(generator.generate(FRAMES, samples=2, seed=3))
    np.testing.assert_allclose(play(generator, FRAMES, seed=3), batch, atol=1e-5, rtol=0)


def test_another_future_does_not_change_the_past(saved: Saved) -> None:
    generator, other = system(saved(), steps=3), simulated_speaker(5, 220)
    before = play(generator, FRAMES)
    for now in (61, 130):
        np.testing.assert_array_equal(play(generator, [*FRAMES[:now], *other[now:]])[:now], before[:now])


def test_a_speaker_frame_takes_effect_with_the_next_chunk(saved: Saved) -> None:
    generator, other = system(saved(), steps=3, schedule="window"), simulated_speaker(5, 220, Speaker(gaps=False))
    calm = simulated_speaker(0, 220, Speaker(gaps=False))
    a, b = play(generator, calm), play(generator, [*calm[:60], *other[60:]])
    np.testing.assert_array_equal(a[:100], b[:100])
    assert np.abs(a[100] - b[100]).max() > 1e-3


@pytest.mark.parametrize(("config", "width"), [(SMALL, 6), (SPEAKERS, 16)])
def test_a_chunk_equals_the_trained_networks_on_the_last_windows(saved: Saved, config: ModelConfig, width: int) -> None:
    """One chunk computed from the networks, without the code of the chunk model."""
    weights = saved(config)
    frames = simulated_speaker(2, 300, Speaker(gaps=False))
    generator = system(weights, schedule="window", temperature=0.5)
    shown = table(generator.generate(frames, samples=2, seed=1))
    networks, inputs = random_networks(config), SpeakerInputs()
    rows = torch.from_numpy(np.stack([inputs.step(frame).copy() for frame in frames]))
    from react_ros.generators.contract import sample_rngs
    from react_ros.generators.noise import FieldNoise

    begin = 250
    noise = FieldNoise(sample_rngs(1, 2, purpose=6), 50, (1, width), lasting=True)
    drawn = [noise.at(k) for k in range(0, begin + 1, 50)][-1][:, :, 0]
    with torch.inference_mode():
        x0 = networks.mmt.encoder(rows[None, begin - 150 : begin])[0]
        latent = networks.latent
        told = (x0[None, -50:] - latent.speaker_mean) / latent.speaker_deviation
        z_bc = latent.denoiser.constraint(told).expand(2, -1)
        network = latent.denoiser.given(z_bc)
        found = 2.0 * latent.diffusion.sample(network, 0.5 * torch.from_numpy(drawn), clip=2.0)  # the scale is 2
        found = found * latent.deviation + latent.mean
        if networks.mmt.listening is not None:
            found = networks.mmt.listening.latents(found)
        whole = torch.cat([x0[None, :100].expand(2, -1, -1), found], dim=1)
        face, emotion = networks.mmt.decoder(whole)
    np.testing.assert_allclose(shown[begin:, :, 58:].swapaxes(0, 1), emotion[:, -50:], atol=2e-5)
    expected = face[:, -50:, :52].clamp(0.0, 1.0)
    np.testing.assert_allclose(shown[begin:, :, :52].swapaxes(0, 1), expected, atol=2e-5)


def test_a_row_holds_the_frames_one_and_two_windows_ago() -> None:
    past, inputs = ContextInputs(RUNNING_MEAN, 50, 2), SpeakerInputs()
    rows = np.stack([past.step(frame).copy() for frame in FRAMES]).reshape(-1, 3, INPUTS)
    plain = np.stack([inputs.step(frame).copy() for frame in FRAMES])
    for lag in range(3):
        np.testing.assert_array_equal(rows[50 * lag :, lag], plain[: len(plain) - 50 * lag])
        assert not rows[: 50 * lag, lag].any()


def test_live_chunks_depend_on_the_last_half_second(saved: Saved) -> None:
    weights = saved()
    assert system(weights).chunk_schedule.delay * FRAME_NS < 0.5e9
    assert system(weights).info.delay_frames == 10
    assert system(weights, schedule="window").chunk_schedule.hop == 50


# Chance --------------------------------------------------------------------------------------------------------------


def test_listeners_differ_by_their_noise_only(saved: Saved) -> None:
    weights = saved()
    frames = FRAMES[:120]
    shown = play(system(weights, schedule="window"), frames)
    assert np.abs(shown[:, 0] - shown[:, 1]).max() > 1e-3
    np.testing.assert_array_equal(play(system(weights, schedule="window"), frames), shown)
    still = play(system(weights, schedule="window", temperature=0.0), frames)
    # The lids and the gaze of idle life are shown where nobody is there.
    np.testing.assert_allclose(still[:, 0, 58:], still[:, 1, 58:], atol=0.2)


@pytest.mark.parametrize("protocol", ["online", "offline"])
def test_without_diffusion_all_listeners_are_equal(saved: Saved, protocol: str) -> None:
    """The paper's ablation, with its FRDiv of 0."""
    generator = system(saved(OFFLINE if protocol == "offline" else SMALL), diffusion=False, schedule="window")
    shown = table(generator.generate_offline(simulated_speaker(1, 120, Speaker(gaps=False)), samples=3))
    np.testing.assert_array_equal(shown[:, 0], shown[:, 2])
    assert not generator.info.stochastic


# The offline protocol ------------------------------------------------------------------------------------------------


def test_offline_windows_have_the_same_times_and_the_clip_is_decoded_as_a_whole(saved: Saved) -> None:
    """Against the transformer alone, over the whole clip."""
    generator = system(saved(OFFLINE), diffusion=False)
    frames = simulated_speaker(1, 120, Speaker(gaps=False))
    shown = table(generator.generate_offline(frames, samples=2, seed=0))
    inputs, rows = SpeakerInputs(), torch.zeros(1, 150, INPUTS)
    for k, frame in enumerate(frames):
        rows[0, k] = torch.from_numpy(inputs.step(frame))
    _, emotion = random_networks(OFFLINE).mmt(rows)
    np.testing.assert_allclose(shown[:, 0, 58:], emotion[0, :120], atol=1e-5)


def test_offline_each_listener_and_window_has_its_own_noise(saved: Saved) -> None:
    frames = simulated_speaker(1, 120, Speaker(gaps=False))
    generator = system(saved(OFFLINE))
    few, many = (table(generator.generate_offline(frames, samples=n, seed=4)) for n in (2, 3))
    np.testing.assert_allclose(few, many[:, :2], atol=1e-4)
    for window in (slice(0, 50), slice(50, 100), slice(100, 120)):
        assert np.abs(few[window, 0] - few[window, 1]).max() > 1e-3
    assert not generator.generate_offline([])


def test_offline_weights_cannot_be_streamed(saved: Saved) -> None:
    generator = system(saved(OFFLINE))
    for ask in (generator.start, lambda: generator.generate(FRAMES)):
        with pytest.raises(ValueError, match="are of the offline protocol, which needs the speaker's future"):
            ask()


def test_online_weights_give_the_online_reactions_offline(saved: Saved) -> None:
    generator = system(saved(), schedule="window", steps=3)
    np.testing.assert_array_equal(
        table(generator.generate_offline(FRAMES[:120])), table(generator.generate(FRAMES[:120]))
    )


# Style, input, parameters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SMALL, SPEAKERS])
def test_styles_change_reactions_differently(saved: Saved, config: ModelConfig, tmp_path: Path) -> None:
    weights, frames = saved(config), simulated_speaker(1, 120, Speaker(gaps=False))
    shown = [play(system(weights, schedule="window"), frames)]
    for seed in (0, 1):
        np.savez(tmp_path / f"{seed}.npz", **reactions(seed))
        shown.append(play(system(weights, schedule="window", style=str(tmp_path / f"{seed}.npz")), frames))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(shown[a] - shown[b])[..., 58:].mean() > 1e-3


def test_a_style_without_effect_is_refused_with_a_sentence(saved: Saved, tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", **reactions(0))
    with pytest.raises(ValueError, match="style is given with diffusion=false"):
        system(saved(), style=str(tmp_path / "0.npz"), diffusion=False)
    system(saved(SPEAKERS), style=str(tmp_path / "0.npz"), diffusion=False)


@pytest.mark.parametrize("state", [FaceState.MISSING, FaceState.NOBODY])
def test_an_empty_room_gets_a_calm_face(saved: Saved, state: FaceState) -> None:
    frames = [SpeakerFrame(k, k * FRAME_NS, Face(state), Sound()) for k in range(120)]
    generator = system(saved(), steps=2)
    stream = generator.start(samples=2)
    answers = [stream.step(frame) for frame in frames]
    assert not any(r.live for r in answers)
    assert np.abs(np.diff(table(answers)[..., 52:55], axis=0)).max() < 0.01


def test_binarised_action_units_are_0_or_1(saved: Saved) -> None:
    frames = simulated_speaker(1, 120, Speaker(gaps=False))
    shown, soft = (play(system(saved(), steps=3, binarize=b), frames)[..., 58:] for b in (True, False))
    assert set(np.unique(shown[..., AU])) == {0.0, 1.0}
    np.testing.assert_array_equal(shown[..., AU], soft[..., AU] > 0.5)
    np.testing.assert_array_equal(shown[..., AU.stop :], soft[..., AU.stop :])


def test_chunks_do_not_change_the_model(saved: Saved) -> None:
    generator = system(saved(), steps=3)
    model = generator.chunk_model
    assert isinstance(model, ReactDiffChunkModel)
    before = {name: t.clone() for name, t in model.networks.state_dict().items()}
    play(generator, FRAMES[:60])
    for name, tensor in model.networks.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(("given", "sentence"), [
    ({"schedule": "now"}, "schedule is 'now': it must be live or window"),
    ({"steps": 21}, "steps is 21: it must be at most 20, the noise levels of the weights small"),
    ({"eta": 1.5}, "eta is 1.5"),
    ({"diffusion": "no"}, "diffusion is 'no': it must be true or false"),
    ({"style": "nowhere.npz"}, "there is no nowhere.npz: give a listener's clips, or one of the"),
    ({"temperature": float("nan")}, "temperature is nan"),
])  # fmt: skip
def test_impossible_parameters_are_refused_with_a_sentence(saved: Saved, given: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        system(saved(), **given)


def test_weights_for_other_features_are_refused_with_a_sentence(saved: Saved) -> None:
    from react_ros.systems.reactdiff.features import Features

    other: ModelConfig = replace(
        SMALL, mmt=replace(SMALL.mmt, features=Features.of_widths(va=2, au=15, fe=8, mfcc=26, afr=4))
    )
    with pytest.raises(ValueError, match=f"rows of 57 numbers, but live rows have {INPUTS}"):
        ReactDiffChunkModel(ReactDiffConfig(weights=saved(other), device="cpu"))
