"""Claims about VQ-Diff and BeLFusion as listeners: two protocols, one latent a window, and what a person may choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rehearsal import Speaker, simulated_speaker

from react_ros.face import ARKIT, ATTRIBUTES, AU, EXPRESSIONS, FRAME_NS, Face, FaceState, Reaction, Sound, SpeakerFrame
from react_ros.generators.belfusion import model as belfusion
from react_ros.generators.belfusion.system import Belfusion, BelfusionConfig
from react_ros.generators.parts.denoisers import DenoiserConfig
from react_ros.generators.parts.diffusion import DiffusionConfig
from react_ros.generators.parts.inputs import attribute_inputs
from react_ros.generators.parts.plans import WINDOWS, LatentNoise
from react_ros.generators.parts.weights import config_to, save_weights
from react_ros.generators.parts.windowed import Windowed
from react_ros.generators.parts.windows import Drawing, LatentListener, WindowConfig
from react_ros.generators.vqdiff import model as vqdiff
from react_ros.generators.vqdiff.system import VqDiff, VqDiffConfig

SMALL, FEW = DenoiserConfig(16, layers=3, time_width=8), DiffusionConfig(steps=4)
WINDOW = {"width": 8, "latent": 12, "narrow": 3, "regressor": 8}
NETWORKS: dict[str, tuple[Any, Callable[[Any], LatentListener], type[Windowed], type[Any]]] = {
    "vqdiff": (
        vqdiff.ModelConfig(vqdiff.VqVaeConfig(WindowConfig("lstm", 2, **WINDOW), 3, 20), SMALL, FEW),
        vqdiff.networks, VqDiff, VqDiffConfig,
    ),
    "belfusion": (
        belfusion.ModelConfig(WindowConfig("gru", 1, **WINDOW), SMALL, FEW),
        belfusion.networks, Belfusion, BelfusionConfig,
    ),
}  # fmt: skip
"""By system: sizes, the networks of such sizes, the generator and its config."""

System = Callable[..., Windowed]


def drawn_networks(name: str) -> LatentListener:
    """Trained by nobody: every number is drawn."""
    config, make, _, _ = NETWORKS[name]
    torch.manual_seed(5)
    networks = make(config)
    for parameter in networks.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    networks.scale.fit(torch.randn(50, WINDOW["latent"]))
    return networks.eval().requires_grad_(False)


@pytest.fixture(params=["vqdiff", "belfusion"])
def name(request: pytest.FixtureRequest) -> str:
    """Each system in turn."""
    return request.param


@pytest.fixture
def system(name: str, tmp_path: Path) -> System:
    """Builds the system on weights that are saved and loaded: `system(protocol="window", trained="offline")`."""

    def build(trained: str = "online", **given: Any) -> Windowed:
        config, _, generator, chosen = NETWORKS[name]
        path = tmp_path / trained
        plain = config_to(replace(config, protocol=trained))
        save_weights(path, drawn_networks(name).state_dict(), name, plain, {}, "Random numbers.")
        return generator(chosen(weights=str(path), device="cpu", **given))

    return build


def clip(seed: int = 0, frames: int = 180, gaps: bool = False) -> list[SpeakerFrame]:
    return list(simulated_speaker(seed, frames, Speaker(gaps=gaps)))


SAID = [i for i, name in enumerate(ARKIT) if not name.startswith("eye")] + list(range(58, 83))
"""Places among the 83 that the networks say: eyes and head are idle life's."""


def table(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, places of SAID)."""
    return np.stack([np.concatenate([r.face_model, r.attributes], axis=1)[:, SAID] for r in reactions])


def play(generator: Windowed, frames: list[SpeakerFrame], samples: int = 1, seed: int = 0) -> list[Reaction]:
    stream = generator.start(samples=samples, seed=seed)
    return [stream.step(frame) for frame in frames]


# Protocols ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"protocol": "window"}, {"eta": 1.0, "guidance": 2.0, "steps": 3}], ids=str)
def test_a_stream_answers_like_the_batch_path(system: System, given: dict[str, Any]) -> None:
    generator, frames = system(**given), clip(1, gaps=True)
    stepped, batch = play(generator, frames, 3, 2), generator.generate(frames, samples=3, seed=2)
    np.testing.assert_allclose(table(stepped), table(batch), atol=1e-5, rtol=0)
    assert [r.plan for r in stepped] == [r.plan for r in batch]


@pytest.mark.parametrize("protocol", ["live", "window"])
def test_another_future_leaves_the_past_as_it_was(system: System, protocol: str) -> None:
    generator, frames, other = system(protocol=protocol), clip(1), clip(2)
    before = table(play(generator, frames))
    for now in (3, 49, 50, 51, 120):
        np.testing.assert_array_equal(table(play(generator, [*frames[:now], *other[now:]]))[:now], before[:now])


def direct(name: str, windows: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """(T, S, 83) by the networks themselves, from one window of the speaker (W, 25) after the other."""
    from react_ros.generators.parts.plans import _rngs

    networks = drawn_networks(name)
    noise = LatentNoise(_rngs(seed, samples), 50, (1, WINDOW["latent"]))
    out = []
    for i, window in enumerate(windows):
        begin = torch.from_numpy(noise.draw(50 * i)[None])
        shown = networks.draw(torch.from_numpy(window[None]), begin, Drawing(4))
        out.append(torch.cat([shown.face, shown.attributes], -1).numpy().swapaxes(0, 1))
    return np.concatenate(out)


def bounded(answers: np.ndarray) -> np.ndarray:
    low = np.r_[np.zeros(52), np.full(3, -0.55), np.full(3, -0.25), np.full(25, -1.0)]
    return np.clip(answers, low, np.r_[np.ones(52), -low[52:58], np.ones(25)])


def test_online_a_window_of_the_speaker_gives_the_listeners_next_and_an_empty_one_the_first(
    name: str, system: System
) -> None:
    frames = clip(3, 150)
    rows = attribute_inputs(frames)
    windows = np.stack([np.zeros((50, 25), np.float32), rows[:50], rows[50:100]])
    reactions = play(system(protocol="window"), frames, 2, 7)
    np.testing.assert_allclose(table(reactions), bounded(direct(name, windows, 2, 7))[..., SAID], atol=1e-5, rtol=0)
    assert [r.plan for r in reactions[::50]] == [-1, 49, 99]


def test_offline_a_window_of_the_speaker_gives_the_listeners_same(name: str, system: System) -> None:
    frames = clip(3, 150)
    reactions = system("offline").generate_offline(frames, samples=2, seed=7)
    expected = direct(name, attribute_inputs(frames).reshape(3, 50, 25), 2, 7)
    np.testing.assert_allclose(table(reactions), bounded(expected)[..., SAID], atol=1e-5, rtol=0)


def test_weights_of_the_online_protocol_answer_offline_as_they_do_online(system: System) -> None:
    generator, frames = system(protocol="window"), clip(3, 120)
    np.testing.assert_array_equal(table(generator.generate_offline(frames)), table(generator.generate(frames)))


def test_weights_of_the_offline_protocol_are_not_streamed(system: System) -> None:
    generator = system("offline")
    for ask in (generator.start, lambda: generator.generate(clip(0, 10))):
        with pytest.raises(ValueError, match=r"are of the offline protocol, which needs the speaker's future"):
            ask()


def test_live_the_delay_is_under_half_a_second_and_the_info_says_so(name: str, system: System) -> None:
    # A codebook may hear a difference and show the same codes.
    live = system(codebook=False) if name == "vqdiff" else system()
    window = system(protocol="window")
    assert live.info.delay_frames <= 12 and type(live).info.delay_frames == live.info.delay_frames
    assert window.info.delay_frames == round(WINDOWS.delay)
    # What the speaker does at frame 100 is known to what is shown 12 frames later, and to nothing before frame 101.
    one, other = clip(4), clip(5)
    mixed = table(play(live, [*one[:100], *other[100:]]))
    changed = np.flatnonzero(np.abs(mixed - table(play(live, one))).max((1, 2)) > 1e-4)
    assert 101 <= changed[0] <= 112


# Chance -------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_one_another_listener(system: System) -> None:
    generator, frames = system(eta=0.5), clip(6, 80)
    first = table(play(generator, frames, 2, 3))
    np.testing.assert_array_equal(table(play(generator, frames, 2, 3)), first)
    assert np.abs(table(play(generator, frames, 2, 4)) - first).max() > 0.01
    assert np.abs(first[:, 0] - first[:, 1]).max() > 0.01


def test_at_temperature_0_all_listeners_are_alike_and_with_more_they_differ_more(system: System) -> None:
    frames = clip(6, 100)
    spread = [
        float(table(system(temperature=t, protocol="window").generate(frames, samples=6)).std(axis=1).mean())
        for t in (0.0, 0.3, 1.0)
    ]
    assert spread[0] < 1e-6 < spread[1] < spread[2]
    assert not system(temperature=0.0).info.stochastic


def test_guidance_of_0_hears_nobody(system: System) -> None:
    generator = system(guidance=0.0, protocol="window")
    np.testing.assert_allclose(
        table(generator.generate(clip(1))), table(generator.generate(clip(2))), atol=1e-5, rtol=0
    )


# What is shown ------------------------------------------------------------------------------------------------------


def test_attributes_are_probabilities_and_expressions_sum_to_1(system: System) -> None:
    attributes = table(play(system(), clip(2, 120, gaps=True), 4))[..., -ATTRIBUTES:]
    for part in (AU, EXPRESSIONS):
        assert attributes[..., part].min() >= 0.0 and attributes[..., part].max() <= 1.0
    np.testing.assert_allclose(attributes[..., EXPRESSIONS].sum(-1), 1.0, atol=1e-5)
    assert np.abs(attributes).max() <= 1.0


@pytest.mark.parametrize("protocol", ["live", "window"])
def test_binarized_action_units_are_occurrences_even_while_plans_blend(system: System, protocol: str) -> None:
    frames = clip(2, 120)
    plain = table(play(system(protocol=protocol), frames))[..., -ATTRIBUTES:]
    binary = table(play(system(protocol=protocol, binarize=True), frames))[..., -ATTRIBUTES:]
    np.testing.assert_array_equal(binary[..., AU], plain[..., AU] > 0.5)
    np.testing.assert_array_equal(binary[..., AU.stop :], plain[..., AU.stop :])
    assert 0.0 < binary[..., AU].mean() < 1.0


def test_a_face_that_is_missing_is_heard_as_zeros(system: System) -> None:
    frames = clip(2, 120)
    blind = [SpeakerFrame(f.index, f.stamp_ns, Face(FaceState.NOBODY, attributes=f.face.attributes)) for f in frames]
    assert not attribute_inputs(blind).any() and attribute_inputs(frames).any(axis=1).all()
    nan = [replace(f, face=replace(f.face, attributes=np.full(25, np.nan, np.float32))) for f in frames]
    assert not attribute_inputs(nan).any()
    reactions = play(system(), nan)
    assert np.isfinite(table(reactions)).all()


def test_an_empty_room_gets_idle_life(system: System) -> None:
    empty = [SpeakerFrame(k, k * FRAME_NS, Face(FaceState.NOBODY), Sound()) for k in range(60)]
    reactions = play(system(), empty)
    assert not any(r.live for r in reactions)
    assert np.abs(np.diff([r.rotation for r in reactions], axis=0)).max() < 0.01


def test_a_plan_is_decoded_once_however_many_steps_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = drawn_networks(name)
    calls = {"denoiser": 0, "decoder": 0, "encoder": 0}

    def counted(part: str, module: Any) -> None:
        def count(*_: Any) -> None:
            calls[part] += 1

        module.register_forward_hook(count)

    counted("denoiser", networks.denoiser)
    counted("decoder", networks.autoencoder.decoder)
    counted("encoder", networks.autoencoder.encoder)
    networks.draw(torch.rand(2, 50, 25), torch.randn(2, 5, 1, WINDOW["latent"]), Drawing(4))
    assert calls == {"denoiser": 4, "decoder": 1, "encoder": 1}


# Errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"protocol": "paper"}, "protocol is 'paper': it must be live or window"),
        ({"steps": 5}, "steps is 5: these weights have 4 levels of noise"),
        ({"steps": 0}, "steps is 0: it must be a whole number from 1"),
        ({"eta": 1.5}, "eta is 1.5: it must be a number from 0 to 1"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"binarize": 1}, "binarize is 1: it must be true or false"),
        ({"device": "tpu"}, "device is 'tpu': it must be one of auto, cpu, cuda"),
    ],
)
def test_impossible_parameters_are_refused_with_a_sentence(
    name: str, system: System, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        if "device" in given:
            NETWORKS[name][3](**given)
        system(**given)


def test_weights_of_the_other_system_are_refused(name: str, tmp_path: Path) -> None:
    other = next(n for n in NETWORKS if n != name)
    save_weights(tmp_path / "w", drawn_networks(name).state_dict(), name, config_to(NETWORKS[name][0]), {}, "")
    _, _, generator, config = NETWORKS[other]
    with pytest.raises(ValueError, match=f"describes weights of {name}: {other} is expected"):
        generator(config(weights=str(tmp_path / "w")))
