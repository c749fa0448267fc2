"""The challenge's baselines: random, mime and the two means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rehearsal import simulated_speaker

from react_ros.face import ARKIT_INDEX, ATTRIBUTES, Face, Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.systems.mean.generator import MeanListener, load, measure, packaged, save


def attributes(reactions: list) -> np.ndarray:
    """(S, T, 25)"""
    return np.stack([r.attributes for r in reactions], axis=1)


def test_random_has_the_published_variance_and_diversity() -> None:
    p = attributes(registry.create("random").generate(simulated_speaker(0), samples=10))
    assert p.var(axis=1, ddof=1).mean() == pytest.approx(1 / 12, rel=0.01)  # FRVar
    squared = ((p[:, None] - p[None]) ** 2).sum(axis=(2, 3))
    assert squared.sum() / (10 * 9 * 750 * ATTRIBUTES) == pytest.approx(1 / 6, rel=0.01)  # FRDiv


@pytest.mark.parametrize("delay", [0, 12])
def test_mime_shows_the_speakers_own_face_after_its_delay(delay: int) -> None:
    frames = simulated_speaker(1)
    reactions = registry.create("mime", delay_frames=delay).generate(frames, samples=2)
    for frame, reaction in zip(frames, reactions[delay:], strict=False):
        np.testing.assert_array_equal(reaction.blendshapes, np.stack([frame.face.blendshapes] * 2))
        np.testing.assert_array_equal(reaction.attributes, np.stack([frame.face.attributes] * 2))


def test_mime_turns_its_head_as_the_speaker_does_from_the_speakers_own_rest() -> None:
    frames = simulated_speaker(1)
    for frame in frames:
        frame.face.rotation = frame.face.rotation + np.array([0.3, 0.0, 0.0], np.float32)  # sits with the chin down
    reactions = registry.create("mime").generate(frames)
    own = np.array([f.face.rotation for f in frames])
    mimed = np.array([r.rotation[0] for r in reactions])
    assert np.abs(mimed.mean(axis=0)).max() < 0.1
    for angle in range(3):
        assert np.corrcoef(np.diff(own[:, angle]), np.diff(mimed[:, angle]))[0, 1] > 0.95


def test_mime_fades_when_the_speaker_leaves() -> None:
    frames = simulated_speaker(1, 400)
    for frame in frames:
        frame.face.blendshapes[ARKIT_INDEX["jawOpen"]] = 0.8
    for frame in frames[200:]:
        frame.face = Face()
    jaw = np.array([r.blendshapes[0, ARKIT_INDEX["jawOpen"]] for r in registry.create("mime").generate(frames)])
    assert jaw[199] == pytest.approx(0.8)
    assert np.abs(np.diff(jaw[199:])).max() < 0.15
    assert jaw[240] < 0.05


def test_the_mean_frame_never_moves_and_the_mean_sequence_never_jumps() -> None:
    frames = simulated_speaker(2, 1700)  # more than once to and fro through the sequence
    frame_mean = np.stack([r.face_model for r in registry.create("mean_frame").generate(frames)])
    assert (frame_mean == frame_mean[0]).all()
    sequence = np.stack([r.face_model for r in registry.create("mean_sequence").generate(frames)])
    assert sequence.std(axis=0).max() > 1e-3
    assert np.abs(np.diff(sequence, axis=0)).max() < 0.1
    np.testing.assert_allclose(sequence[:750].mean(axis=0), frame_mean[0], atol=1e-4)


def test_the_packaged_mean_has_the_notice_that_it_is_simulated() -> None:
    for name in ("mean_frame", "mean_sequence"):
        assert "Simulated" in registry.create(name).info.notice


def _arrays(clip: list[Reaction]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([r.face_model[0] for r in clip]), np.stack([r.attributes[0] for r in clip])


def test_a_measured_mean_is_the_mean_and_survives_the_file(tmp_path: Path) -> None:
    frames = simulated_speaker(0, 50)
    clips = [registry.create("random").generate(frames, seed=k) for k in range(2)]
    mean = measure((_arrays(clip) for clip in clips), notice="of noise")
    expected = np.mean([[r.blendshapes[0] for r in clip] for clip in clips], axis=0)
    np.testing.assert_allclose(mean.blendshapes, expected, atol=1e-6)
    save(mean, tmp_path / "noise.safetensors")
    system = registry.create("mean_sequence", statistics=str(tmp_path / "noise.safetensors"))
    assert system.info.notice == "of noise"
    np.testing.assert_allclose(system.generate(frames)[7].blendshapes[0], mean.blendshapes[7], atol=1e-3)


def test_the_mean_of_clips_of_different_lengths_is_refused() -> None:
    random = registry.create("random")
    with pytest.raises(ValueError, match="clip 1 has 9 frames"):
        measure(_arrays(random.generate(simulated_speaker(0, frames))) for frames in (10, 9))


def test_files_that_are_not_a_mean_listener_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        registry.create("mean_frame", statistics=str(tmp_path / "absent.safetensors"))
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(ValueError, match="cannot be read"):
        registry.create("mean_frame", statistics=str(tmp_path / "text.safetensors"))
    good = load(packaged())
    short = MeanListener(good.blendshapes, good.rotation[:5], good.translation, good.attributes, "short")
    save(short, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match="it needs rotation of shape"):
        registry.create("mean_frame", statistics=str(tmp_path / "short.safetensors"))
    broken = MeanListener(good.blendshapes * np.float32(np.nan), good.rotation, good.translation, good.attributes, "x")
    save(broken, tmp_path / "broken.safetensors")
    with pytest.raises(ValueError, match="not finite"):
        registry.create("mean_frame", statistics=str(tmp_path / "broken.safetensors"))


def test_the_simulated_speaker_is_determined_by_its_seed() -> None:
    def picture(frames: list[SpeakerFrame]) -> np.ndarray:
        return np.array([np.append(f.face_model, f.sound.f0) for f in frames])

    np.testing.assert_array_equal(picture(simulated_speaker(1)), picture(simulated_speaker(1)))
    assert np.abs(picture(simulated_speaker(1)) - picture(simulated_speaker(2))).max() > 1.0
