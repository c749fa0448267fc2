"""Training of ReactDiff: which frames are compared, what stays frozen, and three stages that give weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rehearsal import simulated_speaker
from safetensors.torch import load_file
from tiny_corpus import attributes
from torch import Tensor

from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.face import ATTRIBUTES, AU, FACE_MODEL, Sound
from react_ros.generators import registry
from react_ros.generators.speaker_inputs import INPUTS, PERSON, speaker_inputs
from react_ros.systems.reactdiff import training as reactdiff
from react_ros.systems.reactdiff.chunk_model import ReactDiffChunkModel
from react_ros.systems.reactdiff.features import PAPER, Features
from react_ros.systems.reactdiff.generator import ReactDiff, ReactDiffConfig
from react_ros.systems.reactdiff.mmt import MmtConfig
from react_ros.systems.reactdiff.training import DiffusionStage, MmtStage, StyleStage, encoder_inputs
from react_ros.training.config import read_config
from react_ros.training.data import Batch, load_clips
from react_ros.training.processes import ProcessGroup
from react_ros.training.trainer import Run, train
from react_ros.training.training_stage import FinishedStage, training_stages

ROOT = Path(__file__).parents[3]
STAGES = tuple(f"react_ros.systems.reactdiff.training:{stage}Stage" for stage in ("Mmt", "Diffusion", "Style"))
SMALL = {
    "mmt": {"width": 8, "latent": 16, "listener": 6, "heads": 2, "layers": 1, "feedforward": 16, "window": 10,
            "memory": 10, "dropout": 0.0},
    "diffusion": {"denoiser": {"channels": 16, "multiples": [1, 2], "heads": 2, "constraint": 8, "hidden": 8,
                               "groups": 2}},
    "style": {"size": 4, "rank": 2, "width": 8, "kernel": 5},
}  # fmt: skip


class Quiet:
    """A watcher that nobody asks."""

    def say(self, sentence: str) -> None: ...

    def step(self, stage: str, done: int, steps: int, loss: float) -> None: ...


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(crops: int = 4, frames: int = 40, seed: int = 0) -> Batch:
    """Random faces, speakers with face and sound; all frames valid, crops at the start of their clips."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    speaker = normal(crops, frames, INPUTS)
    speaker[..., -2:] = 1.0
    emotion = torch.from_numpy(np.stack([attributes(rng, frames) for _ in range(crops)]))
    given: dict[str, Any] = {
        "speaker": speaker, "face_model": 0.1 * normal(crops, frames, FACE_MODEL), "attributes": emotion,
        "valid": torch.ones(crops, frames, dtype=torch.bool), "clip": torch.arange(crops),
        "start": torch.zeros(crops, dtype=torch.int64), "has_face_model": torch.ones(crops, dtype=torch.bool),
        "has_attributes": torch.ones(crops, dtype=torch.bool),
        "speaker_attributes": torch.zeros(crops, frames, ATTRIBUTES),
    }  # fmt: skip
    return Batch(**{name: given[name] for name in Batch.__dataclass_fields__})


def config(stage: str, **more: Any) -> Any:
    """The small config of a stage, with dropouts off."""
    from react_ros.config import config_from

    found = {"mmt": MmtStage, "diffusion": DiffusionStage, "style": StyleStage}[stage]
    off = {} if stage == "style" else {"dropouts": {"clip": 0.0, "gap": 0.0}}
    return config_from(found.Config, {"model": {**SMALL[stage], **more}, **off}, stage)


def finished(stage: Any, config: Any) -> FinishedStage:
    return FinishedStage({name: t.detach().clone() for name, t in stage.state_dict().items()}, config)


def before(stage: str, diffusion: dict[str, Any] | None = None, **mmt: Any) -> dict[str, FinishedStage]:
    """The stages before `stage`, untrained."""
    torch.manual_seed(5)
    mmt_config, diffusion_config = config("mmt", **mmt), config("diffusion", **(diffusion or {}))
    out = {"mmt": finished(MmtStage(mmt_config, {}), mmt_config)}
    if stage == "style":
        out["diffusion"] = finished(DiffusionStage(diffusion_config, out), diffusion_config)
    return out


# What is held against what -------------------------------------------------------------------------------------------


def test_online_the_speaker_is_delayed_by_one_window() -> None:
    batch = batch_of(frames=40)
    batch.start[1] = 7
    rows, valid = encoder_inputs(batch, batch.speaker, MmtConfig(window=10, latent=16))
    torch.testing.assert_close(rows[:, 10:40], batch.speaker[:, :30])
    assert not rows[:, :10].any()
    assert valid[0].all() and not valid[1, :10].any() and valid[1, 10:].all()  # crop 1 has a past that is not told


def test_offline_the_speaker_is_not_delayed() -> None:
    batch = batch_of(frames=40)
    batch.start[1] = 7
    rows, valid = encoder_inputs(batch, batch.speaker, MmtConfig(window=10, latent=16, protocol="offline"))
    torch.testing.assert_close(rows, batch.speaker)
    assert valid.all()


def test_a_crop_is_padded_to_whole_windows_with_invalid_frames() -> None:
    batch = batch_of(frames=37)
    for protocol in ("online", "offline"):
        rows, valid = encoder_inputs(batch, batch.speaker, MmtConfig(window=10, latent=16, protocol=protocol))  # type: ignore[arg-type]
        assert rows.shape == (4, 40, INPUTS) and not valid[:, 37:].any() and valid[:, 10:37].all()


def test_the_transformers_loss_is_ten_mean_squares_of_the_face_and_ten_mean_errors_of_the_attributes() -> None:
    stage = MmtStage(config("mmt", protocol="offline", listener=0), {}).eval()
    batch = batch_of()
    batch.valid[0, 30:] = False
    told = stage.loss(batch, 0.0, seeded())
    face, emotion = stage.model(batch.speaker)
    unit = torch.tensor([1.0] * 52 + [0.25] * 3 + [0.02] * 3)  # rad, m
    square = (((face - batch.face_model) / unit) ** 2)[batch.valid].mean()
    absolute = (emotion - batch.attributes).abs()[batch.valid].mean()
    torch.testing.assert_close(told["loss"], 10.0 * square + 10.0 * absolute)


@pytest.mark.slow
def test_latents_of_a_listener_decode_to_their_reactions() -> None:
    """Nobody can know from the speaker what random listeners do, but who is told can."""
    stage = MmtStage(config("mmt"), {})

    def listeners(seed: int) -> Batch:
        batch = batch_of(8, seed=seed)
        batch.face_model.zero_()
        batch.attributes[..., AU], batch.attributes[..., 15:] = batch.attributes[:, :1, :1], 0.125
        return batch

    optimizer = torch.optim.Adam(stage.parameters(), 1e-2)
    for step in range(200):
        loss = stage.train().loss(listeners(step), 0.0, seeded(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = listeners(1000)
    with torch.no_grad():
        listening = stage.eval().model.listening
        assert listening is not None
        told = stage.model.decoder(listening.latents(listening.code(unseen.face_model, unseen.attributes)))
        alone = stage.model(encoder_inputs(unseen, unseen.speaker, stage.config.model)[0])
    errors = [(shown[1] - unseen.attributes).abs().mean() for shown in (told, alone)]
    assert float(errors[0]) < 0.7 * float(errors[1])


@pytest.mark.parametrize("listener", [0, 6])
@pytest.mark.parametrize("name", ["mmt", "diffusion"])
def test_frames_after_the_end_of_a_clip_do_not_change_the_loss(name: str, listener: int) -> None:
    if name == "mmt":
        stage: Any = MmtStage(config(name, listener=listener), {})
    else:
        stage = DiffusionStage(config(name), before(name, listener=listener))
    stage.eval()
    batch = batch_of()
    batch.valid[:, 20:] = False
    losses = []
    for change in (0.0, 3.0):
        batch.face_model[:, 20:] += change
        batch.attributes[:, 20:] += change
        batch.speaker[:, 20:, :-2] += change
        losses.append(stage.loss(batch, 0.0, seeded())["loss"])
    torch.testing.assert_close(losses[0], losses[1])


# What is trained, and what is not ------------------------------------------------------------------------------------


def test_the_transformer_is_frozen_while_the_diffusion_learns() -> None:
    stage = DiffusionStage(config("diffusion"), before("diffusion"))
    stage.train().loss(batch_of(), 0.0, seeded())["loss"].backward()
    assert all(p.grad is None for p in stage.mmt.parameters())
    assert not stage.mmt.encoder.training
    assert all(p.grad is not None for p in stage.model.parameters())


def test_only_the_shifts_learn_a_style() -> None:
    stage = StyleStage(config("style"), before("style"))
    stage.train().loss(batch_of(), 0.0, seeded())["loss"].backward()
    trained = {name.split(".")[1] for name, p in stage.named_parameters() if p.grad is not None}
    assert trained == {"personal"}


@pytest.mark.parametrize("listener", [0, 6])
def test_the_diffusion_learns_the_noise_in_the_latents(listener: int) -> None:
    stage = DiffusionStage(config("diffusion"), before("diffusion", listener=listener))
    batch = batch_of(8)
    speaker, x0, _ = stage._data.read(batch, batch.speaker)
    assert torch.equal(speaker, x0) == (not listener)
    stage.model.fit(x0.flatten(0, 1), speaker.flatten(0, 1))
    optimizer = torch.optim.Adam([p for p in stage.parameters() if p.requires_grad], 3e-3)
    losses = []
    for step in range(60):
        loss = stage.train().loss(batch, 0.0, seeded(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    # Who always says "no noise" errs by the mean of |N(0, 1)|.
    assert losses[0] > 0.75 > 0.7 > float(np.mean(losses[-10:]))


@pytest.mark.slow
@pytest.mark.parametrize("listener", [0, 6])
def test_a_style_encoded_from_one_half_of_a_clip_predicts_the_other(
    listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listeners who differ in posture and in nothing else: the shifts learn whose head hangs where."""
    torch.manual_seed(0)
    posture_only = replace(config("style"), losses=reactdiff.Losses(emotion=0.0))
    drawn = {"diffusion": {"prediction": "x0"}, "scale": 8.0}
    stage = StyleStage(posture_only, before("style", drawn, listener=listener))

    def listeners(seed: int) -> Batch:
        batch = batch_of(16, 60, seed)
        rest = 0.3 * torch.randn(16, 1, 3, generator=seeded(seed))
        batch.face_model.mul_(0.02)[..., 52:55] += rest
        return batch

    if listener:
        latent, data = stage.networks.latent, stage._data
        # An untrained code says little of the head.
        monkeypatch.setattr(data.mmt.listening, "code", lambda face, emotion: face[..., [52, 53, 54] * 2])
        speaker, x0, _ = data.read(listeners(0), listeners(0).speaker)
        latent.fit(x0.flatten(0, 1), speaker.flatten(0, 1))
        # A denoiser that was never trained is deaf to its condition, and to what moves it.
        optimizer = torch.optim.Adam(latent.requires_grad_(True).parameters(), 1e-2)
        for step in range(200):
            batch = listeners(step)
            loss = data.error(batch, batch.speaker, seeded(step), "l2")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        latent.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in stage.parameters() if p.requires_grad], 1e-2)
    for step in range(300):
        loss = stage.train().loss(listeners(step), 0.0, seeded(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        told = stage.eval().measure(listeners(1000), seeded())
    # What is to be drawn is told in part by what is left of it in the noise, and a style says nothing new of that part.
    assert float(told["loss"]) < (0.9 if listener else 0.8) * float(told["loss with another's style"])


def test_the_style_loss_is_over_the_half_that_was_not_encoded() -> None:
    stage = StyleStage(config("style"), before("style")).eval()
    style = stage._style(batch_of(2, 60), torch.tensor([False, True]), torch.zeros(2, dtype=torch.bool))[1]
    assert style[0, :30].all() and not style[0, 30:].any()
    assert style[1, 30:].all() and not style[1, :30].any()


# Configs, and a whole run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reactdiff", "reactdiff-paper"])
def test_twenty_levels_of_noise_as_in_the_paper(name: str) -> None:
    plan = read_config([MmtStage, DiffusionStage, StyleStage], registry.system("reactdiff").training_configs()[name])
    assert plan.stages["diffusion"].stage.model.diffusion.steps == 20


@pytest.mark.parametrize("variant", ["mmt", "video", "audio"])
def test_an_ablation_differs_from_the_config_in_one_key(variant: str) -> None:
    configs = registry.system("reactdiff").training_configs()
    whole, ablated = (yaml.safe_load(configs[name].read_text()) for name in ("reactdiff", f"reactdiff-no-{variant}"))
    key = {"mmt": "cross"}.get(variant, variant)
    assert ablated["stages"]["mmt"]["stage"]["model"].pop(key) is False
    assert ablated == whole
    plan = read_config([MmtStage, DiffusionStage, StyleStage], configs[f"reactdiff-no-{variant}"])
    assert getattr(plan.stages["mmt"].stage.model, key) is False


def test_a_corpus_without_the_papers_features_is_refused_in_one_sentence(corpus_folder: Path) -> None:
    clips = load_clips([open_corpus(corpus_folder, CorpusConfig(frames=60))], "train", 60, jobs=1)
    small = MmtConfig(features=PAPER, width=4, latent=8, heads=2, layers=1, feedforward=8)
    stage = MmtStage(reactdiff.MmtStageConfig(small), {})
    with pytest.raises(ValueError, match=f"rows of 28124 numbers, but the corpus gives {INPUTS}: leave features out"):
        stage.prepare(clips)


@pytest.fixture
def trained(corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def run(*more: str) -> Path:
        changes = ["frames=60"]
        for stage, model in SMALL.items():
            changes += [f"stages.{stage}.{key}" for key in ("batch=4", "crop=60", "epochs=2", "ema=0.5")]
            changes.append(f"stages.{stage}.stage.model={yaml.safe_dump(model, default_flow_style=True).strip()}")
        plan = read_config(training_stages("reactdiff"), None, (*changes, *more), 3)
        corpora = [open_corpus(corpus_folder, CorpusConfig(frames=60))]
        found = train(
            Run("reactdiff", plan, corpora, tmp_path / "run", jobs=1), ProcessGroup(torch.device("cpu")), Quiet()
        )
        assert found is not None
        return found

    return run


def test_three_stages_give_weights_that_a_generator_loads(trained: Callable[..., Path]) -> None:
    path = trained()
    mmt, whole = (load_file(p) for p in (path.parent / "mmt" / "finished.safetensors", f"{path}.safetensors"))
    for name, tensor in mmt.items():
        torch.testing.assert_close(whole["mmt." + name.removeprefix("model.")], tensor, rtol=0, atol=0)
    latent = load_file(path.parent / "diffusion" / "finished.safetensors")
    assert float((latent["model.mean"]).abs().max()) > 0.0
    generator = ReactDiff(ReactDiffConfig(weights=str(path), device="cpu", schedule="window"))
    answers = generator.generate(simulated_speaker(0, 40), samples=2)
    assert len(answers) == 40 and all(np.isfinite(r.face_model).all() for r in answers)
    assert generator.chunk_schedule.window == 10
    assert "simulated" in generator.info.notice


def test_told_the_person_a_listener_is_trained_and_streamed_on_the_same_rows(trained: Callable[..., Path]) -> None:
    """The columns of the default config; the condition is the expected reaction; sampling is stored."""
    features = yaml.safe_load(registry.system("reactdiff").training_configs()["reactdiff"].read_text())["stages"][
        "mmt"
    ]["stage"]["model"]["features"]
    covered = sorted(i for name in ("va", "au", "fe", "mfcc", "afr") for i in range(*features[name]))
    assert covered == list(range(PERSON.sound.stop))
    given = ["epochs=1", "stage.variation.gain=0.3", "stage.sampling={guidance: 1.5, steps: 4, transitions: inertial}"]
    path = trained(
        f"stages.mmt.stage.model.features={json.dumps(features)}", "stages.diffusion.stage.model.speaker=expectation",
        *(f"stages.diffusion.{change}" for change in given),
    )  # fmt: skip
    generator = ReactDiff(ReactDiffConfig(weights=str(path), device="cpu", schedule="window"))
    model = generator.chunk_model
    assert isinstance(model, ReactDiffChunkModel) and model.inertial
    assert (model.sampling.guidance, model.sampling.steps, model.width) == (1.5, 4, 3 * PERSON.inputs)
    frames = simulated_speaker(0, 60)
    batch, stream = generator.generate(frames, samples=2, seed=1), generator.start(samples=2, seed=1)
    for one, other in zip([stream.step(frame) for frame in frames], batch, strict=True):
        np.testing.assert_allclose(one.face_model, other.face_model, atol=1e-5)
    mute = [replace(frame, sound=Sound()) for frame in frames]
    deaf = generator.generate(mute, samples=2, seed=1)
    assert max(np.abs(a.attributes - b.attributes).max() for a, b in zip(batch, deaf, strict=True)) > 1e-4


def test_features_of_other_columns_than_their_rows_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="rows 'person' have \\(195, 193, 194\\)"):
        Features(rows="person")


@pytest.mark.parametrize("change", ["cross: false", "video: false", "audio: false", "protocol: offline"])
def test_every_variant_can_be_trained(trained: Callable[..., Path], change: str) -> None:
    path = trained(*(f"stages.mmt.stage.model.{change.replace(': ', '=')}",), "stages.diffusion.epochs=1")
    generator = ReactDiff(ReactDiffConfig(weights=str(path), device="cpu", schedule="window"))
    answers = generator.generate_offline(simulated_speaker(0, 30), samples=2)
    assert all(np.isfinite(r.face_model).all() for r in answers)


def test_clips_shorter_than_a_window_are_refused_in_one_sentence(corpus_folder: Path) -> None:
    clips = load_clips([open_corpus(corpus_folder, CorpusConfig(frames=60))], "train", 60, jobs=1)
    stage = DiffusionStage(config("diffusion"), before("diffusion", window=80))
    with pytest.raises(ValueError, match="no clip has a window of 80 frames"):
        stage.prepare(clips)


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_latents_are_standardised_over_the_training_clips(scale: float, corpus_folder: Path) -> None:
    clips = load_clips([open_corpus(corpus_folder, CorpusConfig(frames=60))], "train", 60, jobs=1)
    stage = DiffusionStage(config("diffusion", scale=scale), before("diffusion"))
    stage.prepare(clips)
    batch = clips.batch(np.arange(6), np.zeros(6, np.int64), 60)
    speaker, x0, _ = stage._data.read(batch, batch.speaker)
    standard = stage.model.standard(x0).flatten(0, 1)
    moved = x0.flatten(0, 1).std(0) > 0.02  # what hardly moves is not made louder
    assert moved.any()
    torch.testing.assert_close(standard.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(scale * standard.std(0)[moved], torch.ones(int(moved.sum())), atol=1e-4, rtol=0)
    torch.testing.assert_close(stage.model.speaker_mean, speaker.flatten(0, 1).mean(0))


def test_speaker_inputs_are_those_of_the_live_robot(corpus_folder: Path) -> None:
    """The features' columns are those of the live code, in training as in the stream."""
    corpus = open_corpus(corpus_folder, CorpusConfig(frames=60))
    clips = load_clips([corpus], "train", 60, jobs=1)
    rows = speaker_inputs(corpus.frames(corpus.dyads("train")[0].speaker, 60))
    np.testing.assert_array_equal(clips.speaker(0), rows)
