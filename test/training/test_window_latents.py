"""Claims about training VQ-Diff and BeLFusion: which windows are pairs, what is minimised, that it ends in weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rehearsal import simulated_speaker
from safetensors.torch import load_file
from tiny_corpus import attributes as random_attributes
from torch import Tensor

from react_ros.config import config_from
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.face import ATTRIBUTES, FACE_MODEL, Sound
from react_ros.generators import registry
from react_ros.generators.speaker_inputs import INPUTS
from react_ros.nn.weights import load_weights
from react_ros.nn.window_latents import DecodedWindows, LatentScale, WindowConfig, WindowEncoder
from react_ros.systems.belfusion import training as belfusion
from react_ros.systems.belfusion.generator import Belfusion, BelfusionConfig
from react_ros.systems.vqdiff import training as vqdiff
from react_ros.systems.vqdiff.generator import VqDiff, VqDiffConfig
from react_ros.training import window_latents as latents
from react_ros.training.config import read_config
from react_ros.training.data import Batch
from react_ros.training.expectation import head_activity
from react_ros.training.processes import ProcessGroup
from react_ros.training.trainer import Run, train
from react_ros.training.training_stage import FinishedStage, training_stages

WINDOW = {"width": 8, "frames": 10, "latent": 12, "narrow": 3, "regressor": 8}
DIFFUSION = {"denoiser": {"width": 16, "layers": 2, "time_width": 8}, "diffusion": {"steps": 4}}
AUTOENCODER = {
    "vqdiff": {"model": {"window": {"cell": "lstm", **WINDOW}, "codes": 3, "codebook_size": 6}},
    "belfusion": {"model": {"cell": "gru", "layers": 1, **WINDOW}},
}
MODULES: dict[str, Any] = {"vqdiff": vqdiff, "belfusion": belfusion}
GENERATORS: dict[str, tuple[Any, Any]] = {
    "vqdiff": (VqDiff, VqDiffConfig), "belfusion": (Belfusion, BelfusionConfig)
}  # fmt: skip


@pytest.fixture(params=["vqdiff", "belfusion"])
def name(request: pytest.FixtureRequest) -> str:
    """Each system in turn."""
    return request.param


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(crops: int = 4, frames: int = 40, seed: int = 0) -> Batch:
    """Random faces, and attributes in the ranges of real ones; all valid, crops at the start of their clips."""
    rng = np.random.default_rng(seed)
    speaker, listener = (np.stack([random_attributes(rng, frames) for _ in range(crops)]) for _ in range(2))
    yes = torch.ones(crops, dtype=torch.bool)
    return Batch(
        torch.zeros(crops, frames, INPUTS), torch.from_numpy(speaker).float(),
        0.3 * torch.rand(crops, frames, FACE_MODEL, generator=seeded(seed)), torch.from_numpy(listener).float(),
        torch.ones(crops, frames, dtype=torch.bool), torch.arange(crops), torch.zeros(crops, dtype=torch.int64),
        yes, yes,
    )  # fmt: skip


def padded(batch: Batch, more: int) -> Batch:
    """With invalid frames of noise after the end, which must not change anything."""
    out: dict[str, Tensor] = {}
    for f in fields(batch):
        x = getattr(batch, f.name)
        if x.dim() == 3:
            x = torch.cat([x, torch.rand(len(x), more, x.shape[2], generator=seeded(9))], dim=1)
        elif x.dim() == 2:
            x = torch.cat([x, torch.zeros(len(x), more, dtype=torch.bool)], dim=1)
        out[f.name] = x
    return Batch(**out)


def autoencoder_stage(name: str) -> Any:
    torch.manual_seed(1)
    kind = MODULES[name].AutoencoderStage
    return kind(config_from(kind.Config, AUTOENCODER[name], "test"), {})


def diffusion_stage(name: str, **more: Any) -> Any:
    first = autoencoder_stage(name)
    torch.manual_seed(2)
    kind = MODULES[name].DiffusionStage
    made = kind(
        config_from(kind.Config, {**DIFFUSION, **more}, "test"),
        {"autoencoder": FinishedStage(first.state_dict(), first.config)},
    )
    made.networks.scale.fit(made.networks.autoencoder.encode(batch_of(20, 10, seed=4).attributes).detach())
    return made


# Pairs --------------------------------------------------------------------------------------------------------------


def test_online_each_window_answers_the_one_before_and_the_first_of_a_clip_an_empty_one() -> None:
    batch = batch_of(2, 35)
    found = latents.pairs(batch, 10, "online")
    assert found.speaker.shape == (6, 10, ATTRIBUTES) and found.face.shape == (6, 10, FACE_MODEL)
    for crop in range(2):
        assert not found.speaker[3 * crop].any()
        for i in (1, 2):
            before, now = slice(10 * (i - 1), 10 * i), slice(10 * i, 10 * (i + 1))
            assert torch.equal(found.speaker[3 * crop + i], batch.speaker_attributes[crop, before])
            assert torch.equal(found.attributes[3 * crop + i], batch.attributes[crop, now])
            assert torch.equal(found.face[3 * crop + i], batch.face_model[crop, now])
    assert found.known.all() and found.whole.all()


def test_offline_each_window_answers_itself() -> None:
    batch = batch_of(2, 35)
    found = latents.pairs(batch, 10, "offline")
    assert torch.equal(found.speaker, batch.speaker_attributes[:, :30].reshape(6, 10, ATTRIBUTES))
    assert torch.equal(found.attributes, batch.attributes[:, :30].reshape(6, 10, ATTRIBUTES))


def test_within_a_clip_the_speaker_of_the_first_window_of_a_crop_is_unknown() -> None:
    batch = batch_of(2, 30)
    batch.start[1] = 7
    assert latents.pairs(batch, 10, "online").known.tolist() == [True] * 3 + [False, True, True]
    assert latents.pairs(batch, 10, "offline").known.all()


def test_a_window_counts_only_where_the_clip_fills_it() -> None:
    assert latents.pairs(padded(batch_of(1, 25), 15), 10, "online").whole.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_a_crop_shorter_than_a_window_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="crop is 9 frames: it must be at least a window, 10 frames"):
        latents.pairs(batch_of(1, 9), 10, "online")


def test_speaker_dropout_has_the_configured_probabilities() -> None:
    speaker = torch.ones(4000, 20, 25)
    gone = latents.drop_speaker(speaker, latents.SpeakerDropout(whole=0.2, gap=0.3), seeded()) == 0.0
    assert torch.equal(gone.all(2), gone.any(2))
    share = gone.all(2).float().mean(1)
    assert abs(float((share == 1.0).float().mean()) - 0.2) < 0.03
    assert abs(float((share > 0.0).float().mean()) - 0.42) < 0.04  # 1 - 0.8 * 0.7, less gaps that hold no frame
    assert torch.equal(latents.drop_speaker(speaker, latents.SpeakerDropout(0.0, 0.0), seeded()), speaker)


def test_the_scale_of_the_diffusion_is_from_least_to_largest() -> None:
    found = 5.0 * torch.randn(100, 6, generator=seeded())
    found[:, 2] = 3.0
    scale = LatentScale(6)
    scale.fit(found)
    moved = scale(found)
    torch.testing.assert_close(moved.amin(0)[[0, 1, 3, 4, 5]], -torch.ones(5))
    torch.testing.assert_close(moved.amax(0)[[0, 1, 3, 4, 5]], torch.ones(5))
    torch.testing.assert_close(scale.inverse(moved), found)


# Losses -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [autoencoder_stage, diffusion_stage])
def test_frames_after_the_end_of_a_clip_change_no_loss(
    name: str, make: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, batch = make(name).eval(), batch_of(1)
    if make is diffusion_stage:  # the same random numbers for the windows that both have
        level, noise = torch.arange(5) % 4, torch.randn(5, 12, generator=seeded())
        stage.sample_noise = lambda like, rng: (level[: len(like)], noise[: len(like)])
    else:
        monkeypatch.setattr(torch, "randn", lambda shape, **_: torch.ones(shape))
    one, other = stage.loss(batch, 0.0, seeded()), stage.loss(padded(batch, 13), 0.0, seeded())
    assert one.keys() == other.keys() and "loss" in one
    for key in one:
        torch.testing.assert_close(other[key], one[key], atol=1e-5, rtol=1e-5, msg=lambda m, k=key: f"{k}: {m}")


def test_the_loss_of_vqdiff_is_the_mean_of_both_squared_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, batch = diffusion_stage("vqdiff").eval(), batch_of(2)
    found = latents.pairs(batch, 10, "online")
    clean = stage.networks.latents(found.attributes)
    shown = DecodedWindows(found.attributes + 0.3, found.face)
    monkeypatch.setattr(stage, "predict", lambda *_: latents.Prediction(clean + 0.2, clean, shown))
    losses = stage.loss(batch, 0.0, seeded())
    assert float(losses["loss"]) == pytest.approx((0.2**2 + 0.3**2) / 2.0, rel=1e-4)


def test_the_loss_of_belfusion_is_that_of_the_nearest_of_k_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, batch = diffusion_stage("belfusion", guesses=4, latent=10.0, shown=10.0).eval(), batch_of(2)
    found = latents.pairs(batch, 10, "online")
    clean, condition = stage.networks.latents(found.attributes), stage.networks.latents(found.speaker)
    noises: list[Tensor] = []
    predict = stage.predict

    def remembered(clean: Tensor, condition: Tensor, level: Tensor, noise: Tensor) -> Any:
        noises.append(noise)
        return predict(clean, condition, level, noise)

    monkeypatch.setattr(stage, "predict", remembered)
    loss = stage.loss(batch, 0.0, seeded())["loss"]
    assert len(noises) == 5
    level, _ = stage.sample_noise(clean, seeded())
    each = []
    for noise in noises[:4]:
        made = predict(clean, condition, level, noise)
        shown = (made.shown.attributes - found.attributes).square().flatten(1).mean(1)
        each.append(10.0 * (made.predicted - clean).abs().mean(1) + 10.0 * shown)
    torch.testing.assert_close(loss, torch.stack(each).amin(0).mean())


def test_the_second_stage_changes_nothing_of_the_first(name: str) -> None:
    stage = diffusion_stage(name).train()
    before = {key: value.clone() for key, value in stage.networks.autoencoder.state_dict().items()}
    stage.loss(batch_of(), 0.5, seeded())["loss"].backward()
    assert all(p.grad is None for p in stage.networks.autoencoder.parameters())
    assert all(p.grad is not None and p.grad.any() for p in stage.networks.denoiser.parameters())
    for key, value in stage.networks.autoencoder.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_at_first_the_decoder_of_vqdiff_reads_the_latents_before_quantization() -> None:
    stage, batch = autoencoder_stage("vqdiff").train(), batch_of()
    settling, after = (float(stage.loss(batch, progress, seeded())["reconstruction"]) for progress in (0.0, 0.9))
    real = latents.pairs(batch, 10, "offline")
    with torch.no_grad():
        direct = latents.errors(stage.model.decoder(stage.model.encode(real.attributes)), real, stage.model.window)
    assert settling == pytest.approx(25.0 * float(direct["attributes"]) + 25.0 * float(direct["face"]), rel=1e-5)
    assert after != pytest.approx(settling, rel=1e-5)


# The whole of it ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(name: str, corpus_folder: Path) -> Callable[..., Path]:
    def run(out: Path, *changes: str) -> Path:
        own = {"autoencoder": AUTOENCODER[name], "diffusion": DIFFUSION}
        settings = [
            *(f"stages.{stage}.stage={json.dumps(given)}" for stage, given in own.items()),
            *(f"stages.{stage}.{key}" for stage in own for key in ("epochs=3", "crop=40", "batch=3", "ema=0.5")),
            *(f"stages.{stage}.optimizer.lr=0.01" for stage in own),
        ]
        config = read_config(training_stages(name), None, ("frames=60", *settings, *changes), 3)
        corpus = open_corpus(corpus_folder, CorpusConfig(frames=60))
        path = train(Run(name, config, [corpus], out, jobs=1), ProcessGroup(torch.device("cpu")), Quiet())
        assert path is not None
        return path

    return run


class Quiet:
    """A watcher that shows nothing."""

    def say(self, sentence: str) -> None: ...

    def step(self, stage: str, done: int, steps: int, loss: float) -> None: ...


def test_two_stages_give_weights_that_a_generator_loads(name: str, run: Callable[..., Path], tmp_path: Path) -> None:
    window = "window.frames" if name == "vqdiff" else "frames"
    path = run(tmp_path / "run", f"stages.autoencoder.stage.model.{window}=20")
    weights = load_weights(path, name)
    assert weights.notice.startswith("Trained on simulated people")
    figures = weights.training["figures"]["diffusion"]
    assert figures["RMSE of the nearest of ten of action units"] <= figures["RMSE of one of action units"]
    generator, config = GENERATORS[name]
    listener = generator(config(weights=str(path), schedule="window", device="cpu"))
    reactions = listener.generate(list(simulated_speaker(0, 55)), samples=2)
    assert [r.action_chunk for r in reactions[::20]] == [-1, 19, 39], "the weights set the length of a window"


TOLD = [
    "stages.autoencoder.stage.model{}.content=reaction", "stages.autoencoder.stage.model{}.segments=2",
    "stages.encoder.stage.model={inputs: person, width: 8, told: 6}",
    "stages.diffusion.stage.condition={inputs: person, width: 8, told: 6}",
    *(f"stages.encoder.{change}" for change in ("epochs=2", "crop=40", "batch=3")),
    "stages.diffusion.stage.variation={gain: 0.3, offset: 0.5, drift: 0.5, dropped: 0.1}",
    "stages.diffusion.stage.sampling={guidance: 1.3, transitions: inertial}",
]  # fmt: skip


def test_told_the_person_a_listener_hears_and_shows_its_own_head_and_eyelids(
    name: str, run: Callable[..., Path], tmp_path: Path
) -> None:
    path = run(tmp_path / "run", *(change.replace("{}", ".window" if name == "vqdiff" else "") for change in TOLD))
    generator, config = GENERATORS[name]
    listener = generator(config(weights=str(path), device="cpu"))
    model = listener.chunk_model
    assert not model.idle_eyes_and_head and model.inertial and model.width == 85
    assert (model._sampling.guidance, model._sampling.steps) == (1.3, 4)
    assert "sound" in listener.info.inputs
    frames = list(simulated_speaker(0, 70))
    batch, stream = listener.generate(frames, samples=2, seed=1), listener.start(samples=2, seed=1)
    for one, other in zip([stream.step(frame) for frame in frames], batch, strict=True):
        np.testing.assert_allclose(one.face_model, other.face_model, atol=1e-5)
    mute = listener.generate([replace(frame, sound=Sound()) for frame in frames], samples=2, seed=1)
    assert max(np.abs(a.attributes - b.attributes).max() for a, b in zip(batch, mute, strict=True)) > 1e-4
    encoder = load_file(tmp_path / "run/encoder/finished.safetensors")
    whole = load_file(path.with_suffix(".safetensors"))
    assert all(torch.equal(whole[f"person.{key}"], value) for key, value in encoder.items()), "the encoder is frozen"


def test_without_an_encoder_its_stage_is_left_out(name: str, run: Callable[..., Path], tmp_path: Path) -> None:
    path = run(tmp_path / "run")
    assert not (tmp_path / "run/encoder").exists()
    assert list(load_weights(path, name).training["steps"]) == ["autoencoder", "diffusion"]


def test_whole_reactions_need_another_condition_than_attributes(name: str) -> None:
    window = ".window" if name == "vqdiff" else ""
    with pytest.raises(ValueError, match="the condition must be person, or the content attributes"):
        read_config(training_stages(name), None, (f"stages.autoencoder.stage.model{window}.content=reaction",))
    with pytest.raises(ValueError, match="must be the same"):
        read_config(training_stages(name), None, ("stages.encoder.stage.model.inputs=person",))


def test_the_parts_of_a_latent_are_those_of_the_segments_of_a_window() -> None:
    """The cells read forwards: a frame changes the parts of its own segment and of later ones."""
    torch.manual_seed(0)
    encoder = WindowEncoder(WindowConfig("gru", 1, 8, 20, 12, 3, content="reaction", segments=4), 2)
    window = torch.rand(2, 20, 83)
    other = window.clone()
    other[:, 12] += 1.0
    one, moved = (encoder(w).unflatten(1, (2, 4, 3)) for w in (window, other))
    assert torch.equal(one[:, :, :2], moved[:, :, :2])
    assert (one[:, :, 2:] != moved[:, :, 2:]).any(-1).any(0).all()


def test_the_activity_of_a_head_is_its_mean_speed_in_the_next_second() -> None:
    batch = batch_of(1, 60)
    batch.face_model.zero_()
    batch.face_model[0, 40:, 52] = 0.01 * torch.arange(20)  # pitch moves from frame 40 on
    found = head_activity(batch)[0]
    assert not found[:15].any() and not found[:, 1].any()
    assert float(found[30, 0]) == pytest.approx(15 / 25) and float(found[40, 0]) == pytest.approx(19 / 20)


def test_the_same_seed_trains_the_same_weights(name: str, run: Callable[..., Path], tmp_path: Path) -> None:
    one, other = (run(tmp_path / folder).with_suffix(".safetensors").read_bytes() for folder in ("one", "other"))
    assert one == other


def test_weights_name_the_protocol_they_were_trained_for(name: str, run: Callable[..., Path], tmp_path: Path) -> None:
    path = run(tmp_path / "run", "stages.diffusion.stage.protocol=offline")
    assert load_weights(path, name).config["protocol"] == "offline"


@pytest.mark.parametrize("file", [
    "vqdiff.yaml", "vqdiff-attributes.yaml", "vqdiff-paper.yaml", "belfusion.yaml", "belfusion-attributes.yaml",
])  # fmt: skip
def test_the_shipped_configs_can_be_read_and_hold_windows(file: str) -> None:
    name = file.split("-")[0].removesuffix(".yaml")
    config = read_config(training_stages(name), registry.system(name).training_configs()[file.removesuffix(".yaml")])
    assert all(plan.optimization.crop >= 100 for plan in config.stages.values())
    if "paper" in file:
        denoiser = config.stages["diffusion"].stage.denoiser
        assert (denoiser.layers, denoiser.width, config.stages["autoencoder"].stage.model.codes) == (10, 1024, 1)
