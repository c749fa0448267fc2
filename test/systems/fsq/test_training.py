"""Claims about training the token listener: its losses, what it is not told, and three stages that end in weights."""

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
from tiny_corpus import attributes, write_react2024
from torch import Tensor

from react_ros.config import config_from
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.face import ATTRIBUTES, EXPRESSIONS, FACE_MODEL, VA, Face, Sound
from react_ros.generators import registry
from react_ros.generators.speaker_inputs import (
    FACE_INPUTS,
    FACE_PRESENT,
    INPUTS,
    RUNNING_MEAN,
    SOUND_INPUTS,
    SOUND_PRESENT,
    speaker_inputs,
)
from react_ros.nn.weights import load_weights
from react_ros.systems.fsq import training as fsq
from react_ros.systems.fsq.annotation import Annotation
from react_ros.training.config import read_config
from react_ros.training.data import Batch, Clips, load_clips, mean_over
from react_ros.training.processes import ProcessGroup
from react_ros.training.speaker_augmentation import Dropouts, without_modalities
from react_ros.training.trainer import Run, train
from react_ros.training.training_stage import FinishedStage, training_stages

MODEL = {"width": 8, "layers": 1, "heads": 2, "feedforward": 16, "self_window": 10, "cross_window": 10,
         "encoder_layers": 1, "dropout": 0.0}  # fmt: skip


class Quiet:
    """A watcher that nobody asks."""

    def say(self, sentence: str) -> None: ...

    def step(self, stage: str, done: int, steps: int, loss: float) -> None: ...


Trained = Callable[..., None]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(crops: int = 4, frames: int = 40, seed: int = 0) -> Batch:
    """Random faces, attributes in the ranges of real ones, speakers with face and sound; all valid."""
    rng = np.random.default_rng(seed)
    said = np.stack([attributes(rng, frames) for _ in range(crops)])
    face = 0.3 * rng.random((crops, frames, FACE_MODEL))
    speaker = rng.normal(size=(crops, frames, INPUTS))
    speaker[..., [FACE_PRESENT, SOUND_PRESENT]] = 1.0
    yes = torch.ones(crops, dtype=torch.bool)
    return Batch(
        torch.from_numpy(speaker).float(), torch.zeros(crops, frames, ATTRIBUTES), torch.from_numpy(face).float(),
        torch.from_numpy(said).float(),
        torch.ones(crops, frames, dtype=torch.bool), torch.arange(crops), torch.zeros(crops, dtype=torch.int64),
        yes, yes,
    )  # fmt: skip


def padded(batch: Batch, more: int) -> Batch:
    """With frames behind the end, as `Clips.batch` pads, and noise where it has zeros: nobody may look."""
    rng = seeded(9)
    out: dict[str, Tensor] = {}
    for f in fields(batch):
        x = getattr(batch, f.name)
        if x.dim() == 3:
            x = torch.cat([x, torch.rand(len(x), more, x.shape[2], generator=rng)], dim=1)
        elif x.dim() == 2:
            x = torch.cat([x, torch.zeros(len(x), more, dtype=torch.bool)], dim=1)
        out[f.name] = x
    return Batch(**out)


def tokenizer_stage(**quantizer: Any) -> fsq.TokenizerStage:
    model = {"width": 8, "dilations": [1, 2], "quantizer": {"groups": 2, "levels": [3, 3], "codebook_size": 8}}
    model["quantizer"] = {**model["quantizer"], **quantizer}  # type: ignore[dict-item]
    torch.manual_seed(1)
    return fsq.TokenizerStage(config_from(fsq.TokenizerStageConfig, {"model": model}, "test"), {})


def predictor_stage(**more: Any) -> fsq.PredictorStage:
    tokenizer = tokenizer_stage()
    torch.manual_seed(2)
    encoder_config = config_from(fsq.EncoderStageConfig, {"model": MODEL}, "test")
    encoder = fsq.EncoderStage(encoder_config, {})
    tokenizer_config = fsq.TokenizerStageConfig(tokenizer.model.config)
    previous = {
        "tokenizer": FinishedStage(tokenizer.state_dict(), tokenizer_config),
        "encoder": FinishedStage(encoder.state_dict(), encoder_config),
    }
    return fsq.PredictorStage(config_from(fsq.PredictorStageConfig, {"model": MODEL, **more}, "test"), previous)


# Losses -------------------------------------------------------------------------------------------------------------


def test_the_regions_are_a_partition_of_the_58_coefficients() -> None:
    places = [place for region in fsq.REGIONS.values() for place in region]
    assert sorted(places) == list(range(FACE_MODEL))
    assert set(fsq.TokenizerLosses().regions) == set(fsq.REGIONS), "each has a weight"


def test_an_unknown_region_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"regions names 'chin': the regions are brows, eyelids"):
        fsq.TokenizerLosses(regions={"chin": 1.0})


def test_a_mean_over_valid_frames_is_that_of_the_valid_frames() -> None:
    rng = seeded()
    x = torch.rand(3, 10, 4, generator=rng)
    valid = torch.rand(3, 10, generator=rng) < 0.6
    torch.testing.assert_close(mean_over(x, valid), x[valid].mean())
    torch.testing.assert_close(mean_over(x[..., 0], valid), x[..., 0][valid].mean())
    assert float(mean_over(x, torch.zeros_like(valid))) == 0.0


@pytest.mark.parametrize("make", [tokenizer_stage, predictor_stage], ids=["tokenizer", "predictor"])
def test_frames_after_the_end_of_a_clip_change_no_loss(make: Callable[[], Any]) -> None:
    stage, batch = make().eval(), batch_of()
    one, other = stage.loss(batch, 0.0, seeded()), stage.loss(padded(batch, 13), 0.0, seeded())
    assert one.keys() == other.keys() and "loss" in one
    for name in one:
        torch.testing.assert_close(other[name], one[name], atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_padding_changes_no_loss_of_the_encoder() -> None:
    torch.manual_seed(2)
    stage, batch = (
        fsq.EncoderStage(config_from(fsq.EncoderStageConfig, {"model": MODEL}, "test"), {}).eval(),
        batch_of(),
    )
    one, other = stage.loss(batch, 0.0, seeded()), stage.loss(padded(batch, 13), 0.0, seeded())
    for name in one:
        torch.testing.assert_close(other[name], one[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["fsq", "lfq", "vq"])
def test_padding_changes_no_gradient_of_the_tokenizer(kind: str) -> None:
    gradients = []
    for batch in (batch_of(), padded(batch_of(), 13)):
        stage = tokenizer_stage(kind=kind, code_width=4).train()
        stage.augmentation = fsq.CodeAugmentation(share=0.0)  # its random numbers depend on the number of frames
        torch.manual_seed(5)
        stage.loss(batch, 0.0, seeded())["loss"].backward()
        gradients.append([p.grad for p in stage.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_true_emotion_has_the_least_losses() -> None:
    real, valid = batch_of().attributes, batch_of().valid
    best = torch.cat([80.0 * (real[..., :15] - 0.5), real[..., 15:17], (real[..., EXPRESSIONS] + 1e-9).log()], dim=-1)
    least = fsq.emotion_losses(best, real, valid)
    entropy = -(real[..., EXPRESSIONS] * (real[..., EXPRESSIONS] + 1e-9).log()).sum(-1).mean()
    assert float(least["units"]) < 1e-6 and float(least["affect"]) == 0.0 and float(least["unlikely"]) < 1e-4
    assert float(least["expressions"]) == pytest.approx(float(entropy), rel=1e-4)
    worse = fsq.emotion_losses(best + torch.randn(best.shape, generator=seeded()), real, valid)
    assert all(float(worse[name]) > float(least[name]) for name in ("affect", "expressions", "unlikely"))


def test_the_predictors_cross_entropy_is_the_cross_entropy_of_all_groups_together() -> None:
    logits = torch.randn(2, 5, 3, 7, generator=seeded())
    tokens = torch.randint(7, (2, 5, 3), generator=seeded(1))
    valid = torch.ones(2, 5, dtype=torch.bool)
    own = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0].sum(-1)
    torch.testing.assert_close(fsq.PredictorStage._cross_entropy(logits, tokens, valid), -own.mean())


def test_the_tokenizer_is_no_longer_trained_with_the_predictor() -> None:
    stage = predictor_stage().train()
    assert not stage.networks.tokenizer.training and stage.networks.predictor.training
    stage.loss(batch_of(), 0.0, seeded())["loss"].backward()
    assert all(p.grad is None for p in stage.networks.tokenizer.parameters())
    assert all(p.grad is not None for p in stage.networks.predictor.parameters() if p.requires_grad)


# What is not told ---------------------------------------------------------------------------------------------------


ALWAYS, NEVER = {"clip": 1.0, "gap": 0.0}, {"clip": 0.0, "gap": 0.0}


@pytest.mark.parametrize("sense", ["face", "sound"])
def test_a_dropped_modality_is_encoded_as_missing_like_live(sense: str) -> None:
    frames = simulated_speaker(3, 60)
    blank: Any = Face() if sense == "face" else Sound()
    live = torch.from_numpy(speaker_inputs([replace(f, **{sense: blank}) for f in frames]))
    told = torch.from_numpy(speaker_inputs(frames)).expand(40, -1, -1)
    out = without_modalities(told, RUNNING_MEAN, Dropouts(**ALWAYS), seeded())
    present = FACE_PRESENT if sense == "face" else SOUND_PRESENT
    lost = [crop for crop in out if not crop[:, present].any()]
    assert 10 < len(lost) < 30, "one or the other"
    for crop in lost:
        assert torch.equal(crop, live)


def test_gaps_drop_one_modality_in_one_stretch_only() -> None:
    told = torch.rand(400, 50, INPUTS, generator=seeded()) + 0.5
    out = without_modalities(told, RUNNING_MEAN, Dropouts(clip=0.0, gap=1.0), seeded(1))
    face = torch.tensor([*range(*FACE_INPUTS.indices(INPUTS)), FACE_PRESENT])
    sound = torch.tensor([*range(*SOUND_INPUTS.indices(INPUTS)), SOUND_PRESENT])
    assert torch.equal(torch.cat([face, sound]).sort().values, torch.arange(INPUTS)), "together they are all columns"
    blind, deaf = ((out[..., columns] == 0.0).all(-1) for columns in (face, sound))
    assert torch.equal(out[~blind][:, face], told[~blind][:, face])
    assert torch.equal(out[~deaf][:, sound], told[~deaf][:, sound])
    assert not (blind & deaf).any()
    assert ((blind | deaf).int().diff(dim=1).abs().sum(1) <= 2).all(), "one stretch"
    assert float((blind | deaf).float().mean()) == pytest.approx(1 / 3, abs=0.04)
    assert torch.equal(without_modalities(told, RUNNING_MEAN, Dropouts(**NEVER), seeded(1)), told)


def test_past_tokens_are_replaced_and_masked_with_the_configured_shares() -> None:
    tokens = torch.arange(600)[:, None, None].expand(600, 200, 2) + 1
    unknown = 1000
    for how in (fsq.Corruption(), fsq.Corruption(replaced=0.3, forgotten=0.0), fsq.Corruption(0.0, 1.0)):
        out = fsq.corrupted(tokens, tokens, unknown, how, seeded())
        forgotten = (out == unknown).all(-1)
        assert torch.equal(forgotten, (out == unknown).any(-1)), "whole tokens"
        assert float(forgotten.float().mean()) == pytest.approx(how.forgotten / 2, abs=0.03)
        replaced = ((out != tokens) & (out != unknown)).all(-1)
        assert float(replaced[~forgotten].float().mean()) == pytest.approx(how.replaced, abs=0.02)
    untouched = fsq.corrupted(tokens, tokens, unknown, fsq.Corruption(0.0, 0.0), seeded())
    assert torch.equal(untouched, tokens)


def test_the_past_is_masked_in_stretches_of_about_a_second() -> None:
    tokens = torch.zeros(300, 300, 1, dtype=torch.int64)
    forgotten = (fsq.corrupted(tokens, tokens, 1, fsq.Corruption(0.0, 1.0), seeded()) == 1)[..., 0]
    edges = forgotten.int().diff(dim=1).abs().sum()
    # Half of what is at an edge of stretches is kept on both sides or forgotten on both.
    assert 15 < forgotten.numel() / int(edges) < 150


def test_codes_are_replaced_per_group_with_the_configured_share_and_reach() -> None:
    latent = torch.arange(400.0)[None, :, None].expand(300, 400, 6)
    valid = torch.ones(300, 400, dtype=torch.bool)
    out = fsq.augment_codes(latent, valid, 3, fsq.CodeAugmentation(share=0.2, reach=5), seeded())
    away = (out - latent).view(300, 400, 3, 2)
    assert torch.equal(away[..., 0], away[..., 1]), "a group's code is another frame's whole code"
    assert int(away.abs().max()) == 5
    # One in 11 of those that are drawn stays where it is.
    assert float((away[..., 0] != 0).float().mean()) == pytest.approx(0.2 * 10 / 11, abs=0.01)
    assert float((away[:, :, 0, 0] * away[:, :, 1, 0]).mean()) == pytest.approx(0.0, abs=0.05), "each on its own"
    valid[:, 390:] = False
    out = fsq.augment_codes(latent, valid, 3, fsq.CodeAugmentation(share=0.4, reach=5), seeded())
    assert int(out[:, :390].max()) == 389, "nothing comes from behind the end of a clip"
    assert torch.equal(fsq.augment_codes(latent, valid, 3, fsq.CodeAugmentation(share=0.0), seeded()), latent)


# Three stages -------------------------------------------------------------------------------------------------------


SIZES = (
    "stages.tokenizer.batch=4", "stages.tokenizer.crop=40", "stages.tokenizer.epochs=2",
    "stages.tokenizer.stage.model={width: 8, dilations: [1, 2], quantizer: {groups: 2, levels: [3, 3]}}",
    "stages.encoder.batch=4", "stages.encoder.crop=40", "stages.encoder.epochs=2",
    "stages.predictor.batch=4", "stages.predictor.crop=40", "stages.predictor.epochs=2",
    f"stages.encoder.stage.model={json.dumps(MODEL)}", f"stages.predictor.stage.model={json.dumps(MODEL)}",
)  # fmt: skip


@pytest.fixture
def trained_fsq(corpus_folder: Path) -> Trained:
    """Trains the token listener, far too small: `trained_fsq(out, "key.path=value", …, **parts of Run)`."""

    def run(out: Path, *changes: str, corpus: Path | None = None, **options: Any) -> None:
        config = read_config(training_stages("fsq"), None, ("frames=61", *SIZES, *changes), 3)
        opened = [open_corpus(corpus or corpus_folder, CorpusConfig(frames=61))]
        train(Run("fsq", config, opened, out, jobs=1, **options), ProcessGroup(torch.device("cpu")), Quiet())

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fsq") / "run"


@pytest.fixture
def finished(trained_fsq: Trained, run_folder: Path) -> Path:
    """A finished run of all three stages, made once."""
    if not (run_folder / "fsq.md").is_file():
        trained_fsq(run_folder)
    return run_folder


def assert_listens(weights: Path) -> None:
    stream = registry.create("fsq", weights=str(weights), device="cpu").start(samples=2, seed=1)
    shown = np.stack([stream.step(f).face_model for f in simulated_speaker(0, 50)])
    assert np.isfinite(shown).all() and np.ptp(shown, axis=0).max() > 0.0


def test_three_stages_give_weights_that_a_generator_loads(finished: Path) -> None:
    for stage in ("tokenizer", "encoder", "predictor"):
        losses = [json.loads(line)["loss"] for line in (finished / stage / "losses.jsonl").read_text().splitlines()]
        assert len(losses) == 2 and np.isfinite(losses).all()
    assert_listens(finished / "fsq")
    weights = load_weights(finished / "fsq", "fsq")
    assert weights.notice.startswith("Trained on simulated people")
    assert weights.training["figures"]["tokenizer"].keys() >= {"RMSE of brows", "perplexity", "dead_codes"}
    assert {"tokens without speaker", "tokens without past"} <= weights.training["figures"]["predictor"].keys()
    assert weights.config["predictor"]["width"] == 8


def test_the_weights_hold_what_each_stage_ended_with(finished: Path) -> None:
    weights = load_weights(finished / "fsq", "fsq").tensors
    tokenizer = load_file(finished / "tokenizer" / "finished.safetensors")
    for name, tensor in tokenizer.items():
        if name.startswith("model."):
            assert torch.equal(weights[name.replace("model.", "tokenizer.", 1)], tensor), name
    encoder = load_file(finished / "encoder" / "finished.safetensors")
    assert torch.equal(weights["predictor.encoder.mean"], encoder["model.mean"])
    assert not torch.equal(weights["predictor.encoder.face.weight"], encoder["model.face.weight"]), "trained further"


def test_the_encoder_is_normalised_by_the_training_clips_statistics(finished: Path, corpus_folder: Path) -> None:
    tensors = load_weights(finished / "fsq", "fsq").tensors
    clips = clips_of(corpus_folder)
    rows = np.concatenate([clips.speaker(i) for i in range(len(clips))]).astype(float)[:, FACE_INPUTS]
    np.testing.assert_allclose(tensors["predictor.encoder.mean"][FACE_INPUTS], rows.mean(0), atol=1e-4)
    wanted = np.maximum(rows.std(0), 0.02)
    np.testing.assert_allclose(tensors["predictor.encoder.deviation"][FACE_INPUTS], wanted, atol=1e-4)
    silent = tensors["predictor.encoder.mean"][SOUND_INPUTS]
    assert not silent.any(), "this corpus has no sound"


def test_the_annotation_is_measured_on_the_training_clips(finished: Path) -> None:
    tensors = load_weights(finished / "fsq", "fsq").tensors
    for name, size in Annotation.PARAMETERS.items():
        values = tensors[f"annotation_{name}"]
        assert values.shape == (size,) and bool(values.isfinite().all())
        assert name == "circumplex" or bool((values >= 0.0).all()), name
    assert bool((tensors["annotation_persistence"] < 1.0).all()) and bool(tensors["annotation_margin"].any())
    assert bool((tensors["annotation_beyond"] <= 1.0).all())


def test_valence_and_arousal_of_the_expressions_are_those_of_the_training_clips(
    finished: Path, corpus_folder: Path
) -> None:
    clips = clips_of(corpus_folder)
    real = np.concatenate([np.asarray(clips.attributes(i), float) for i in range(len(clips))])
    wanted = np.linalg.pinv(real[:, EXPRESSIONS]) @ real[:, VA]
    found = load_weights(finished / "fsq", "fsq").tensors["annotation_circumplex"].reshape(8, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_the_weights_hold_the_sampling_settings() -> None:
    advised = {"temperature": 0.9, "top_p": 0.95, "forgetting": 0.25, "guidance": 1.5}
    assert predictor_stage(sampling=advised).weights()[1]["sampling"] == advised
    assert predictor_stage().weights()[1]["sampling"]["guidance"] == 0.0, "as in training"


@torch.no_grad()
def test_cross_entropies_without_past_and_without_speaker_are_measured() -> None:
    stage, batch = predictor_stage().eval(), batch_of()
    told = stage.loss(batch, 0.0, seeded())
    predictor = stage.networks.predictor
    tokens = stage.networks.tokenizer.tokens(batch.face_model, batch.attributes).indices
    unknown = torch.full_like(tokens, predictor.size)
    past = torch.cat([unknown[:, :1], tokens[:, :-1]], dim=1)
    memory = predictor.encoder(batch.speaker)
    for name, p, m in (("tokens", past, memory), ("tokens without past", unknown, memory),
                       ("tokens without speaker", past, predictor.nobody.expand_as(memory))):  # fmt: skip
        own = predictor(p, m, tokens).log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        torch.testing.assert_close(told[name], -own.sum(-1).mean())


def clips_of(root: Path) -> Clips:
    return load_clips([root], "train", 61, jobs=1)


def test_coefficients_that_never_move_in_the_corpus_are_fixed(tmp_path: Path) -> None:
    root = write_react2024(tmp_path / "c", sessions=2, splits=("train",), frames=61, arkit=True,
                           modalities=("attributes", "face_model"), settings={"scheme": "arkit52"})  # fmt: skip
    for file in root.rglob("*.npy"):
        face = np.load(file)
        face[..., 7] = 0.25
        np.save(file, face)
    stage = tokenizer_stage()
    stage.prepare(clips_of(root))
    moves = torch.ones(FACE_MODEL)
    moves[7] = 0.0
    assert torch.equal(stage.model.moves, moves)


@pytest.mark.parametrize("kind", ["lfq", "vq"])
def test_the_other_quantizers_train_and_listen(trained_fsq: Trained, tmp_path: Path, kind: str) -> None:
    quantizer = f"{{kind: {kind}, groups: 2, codebook_size: 8, code_width: 4}}"
    trained_fsq(tmp_path / "run", f"stages.tokenizer.stage.model.quantizer={quantizer}", steps_limit=2)
    assert load_weights(tmp_path / "run/fsq", "fsq").config["tokenizer"]["quantizer"]["kind"] == kind
    assert_listens(tmp_path / "run/fsq")


def test_a_corpus_without_face_models_is_refused_with_a_sentence(trained_fsq: Trained, tmp_path: Path) -> None:
    root = write_react2024(tmp_path / "c", sessions=2, splits=("train",), frames=61, modalities=("attributes",))
    with pytest.raises(CorpusError, match=r"c has no face models, without which stage \w+ of fsq cannot be trained"):
        trained_fsq(tmp_path / "run", corpus=root)
    assert not (tmp_path / "run").exists()


def test_an_encoder_of_another_size_than_the_predictors_is_refused_with_a_sentence(
    trained_fsq: Trained, tmp_path: Path
) -> None:
    sentence = r"stages\.encoder\.stage\.model and stages\.predictor\.stage\.model must be the same$"
    with pytest.raises(ValueError, match=sentence):
        trained_fsq(tmp_path / "run", "stages.encoder.stage.model.width=4", steps_limit=1)
    assert not (tmp_path / "run").exists(), "before anything was trained"


def test_heads_that_cannot_share_the_width_are_refused_before_anything_is_trained() -> None:
    sentence = r"stages\.predictor\.stage\.model: width is 8 with 3 heads: the heads must share it equally"
    with pytest.raises(ValueError, match=sentence):
        read_config(training_stages("fsq"), None, ("stages.predictor.stage.model={width: 8, heads: 3}",))


def test_the_config_in_the_repository_is_one_that_can_be_trained() -> None:
    config = read_config(training_stages("fsq"), registry.system("fsq").training_configs()["fsq"])
    assert config.stages["encoder"].stage.model == config.stages["predictor"].stage.model
    assert list(config.stages) == ["tokenizer", "encoder", "predictor"]
