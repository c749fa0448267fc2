"""FRRea on pictures, with small stand-ins that have the signature of the real networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from react_ros.avatar.render import Renderer
from react_ros.evaluation.metrics.pictures import (
    EVERY_FRAME,
    Network,
    PictureScorer,
    picture_realism,
    render,
    sampled_clips,
)
from react_ros.evaluation.metrics.realism import frechet
from react_ros.face import ARKIT_INDEX, ARKIT_SCHEME, FACEVERSE_SCHEME

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # TorchScript is what there is


class StandInInception(torch.nn.Module):
    """Mean colours of an 8 x 8 grid, spread over 2048 numbers: called as the Inception of StyleGAN's metrics."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert x.dtype == torch.uint8 and return_features
        grid = torch.nn.functional.avg_pool2d(x.float() / 255.0, x.shape[2] // 8).flatten(1)  # (B, 192)
        return torch.nn.functional.pad(grid, (0, 2048 - 192))


class StandInI3d(torch.nn.Module):
    """Mean and change of grey on a 10 x 10 grid: called as the I3D of StyleGAN-V."""

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        assert rescale and resize and return_features and x.shape[2] == 16
        grey = (x / 255.0 * 2.0 - 1.0).mean(1)  # (B, 16, H, W)
        grid = torch.nn.functional.adaptive_avg_pool2d(grey, (10, 10)).flatten(2)  # (B, 16, 100)
        moved = (grid[:, 1:] - grid[:, :-1]).abs().mean(1)
        return torch.nn.functional.pad(torch.cat([grid.mean(1), moved], 1), (0, 200))


class StandInOfAnotherWidth(torch.nn.Module):
    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return torch.zeros(x.shape[0], 1000)


class StandInOfAnotherSignature(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def scripted(module: torch.nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stand-ins")
    return scripted(StandInInception(), folder / "inception.pt"), scripted(StandInI3d(), folder / "i3d.pt")


def listener(seed: int, smile: float = 0.4, frames: int = 150) -> np.ndarray:
    """(T, 58) a face that smiles now and then, far from the camera's origin."""
    rng = np.random.default_rng(seed)
    model = np.zeros((frames, 58))
    wave = np.clip(np.sin(np.arange(frames) / rng.uniform(8, 15) + rng.uniform(0, 6)), 0, 1)
    model[:, [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]] = smile * wave[:, None]
    model[:, ARKIT_INDEX["jawOpen"]] = 0.3 * wave**2
    model[:, 52:55] = 0.1 * wave[:, None] * rng.normal(size=3)
    model[:, 55:] = (0.02, -0.05, -0.6)
    return model


def test_fid_is_the_frechet_distance_of_every_30th_pictures_features(networks: tuple[Path, Path]) -> None:
    real, generated = [listener(k) for k in range(3)], [listener(k + 10, smile=0.9) for k in range(3)]
    scorer = PictureScorer(inception=networks[0])
    sums = [[scorer.sums(x, ARKIT_SCHEME) for x in side] for side in (real, generated)]
    result = picture_realism(sums[0][0] + sums[0][1] + sums[0][2], sums[1][0] + sums[1][1] + sums[1][2])
    assert result.pictures == 3 * 150 // EVERY_FRAME and result.fvd is None and result.films == 0

    def features(side: list[np.ndarray]) -> np.ndarray:
        out = []
        for x in side:
            x = x.copy()
            x[:, 55:] = 0.0  # they never move from their place
            images = render(x, ARKIT_SCHEME, np.arange(0, 150, 30), Renderer(256, 256)) / 255.0
            out.append(images.reshape(-1, 8, 32, 8, 32, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(-1, 192))
        return np.concatenate(out)

    a, b = features(real), features(generated)
    expected = frechet(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert result.fid == pytest.approx(expected, rel=1e-3) and expected > 1e-4


def test_fvd_uses_films_of_16_frames_and_penalises_a_frozen_face(networks: tuple[Path, Path]) -> None:
    scorer = PictureScorer(i3d=networks[1])
    moving = [scorer.sums(listener(k, frames=144), ARKIT_SCHEME) for k in range(3)]
    others = [scorer.sums(listener(k + 20, frames=144), ARKIT_SCHEME) for k in range(3)]
    frozen = [scorer.sums(np.repeat(listener(k)[:1], 144, axis=0), ARKIT_SCHEME) for k in range(3)]
    real = moving[0] + moving[1] + moving[2]
    near = picture_realism(real, others[0] + others[1] + others[2])
    far = picture_realism(real, frozen[0] + frozen[1] + frozen[2])
    assert near.films == 6 and near.fid is None
    assert near.fvd is not None and far.fvd is not None and far.fvd > near.fvd > 0.0
    same = picture_realism(real, real).fvd
    assert same == pytest.approx(0.0, abs=1e-9)


def test_the_mean_position_of_the_head_does_not_matter(networks: tuple[Path, Path]) -> None:
    scorer = PictureScorer(inception=networks[0])
    here, there = listener(1), listener(1)
    there[:, 55:] += (0.3, 0.2, -1.0)
    a, b = (scorer.sums(x, ARKIT_SCHEME).inception for x in (here, there))
    assert a is not None and b is not None and np.allclose(a.total, b.total, atol=1e-3)


def test_the_official_mode_renders_every_25th_clip() -> None:
    assert list(sampled_clips(60, "official")) == [0, 25, 50]
    assert len(sampled_clips(60, "all")) == 60


def test_faceverse_coefficients_are_not_rendered_as_arkit_weights(networks: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="the avatar renders arkit52 weights, but this corpus has 'faceverse'"):
        PictureScorer(inception=networks[0]).sums(listener(0), FACEVERSE_SCHEME)


def test_a_wrong_file_is_named_with_the_right_one(tmp_path: Path) -> None:
    pickled = tmp_path / "pt_inception.pth"
    torch.save({"weight": torch.zeros(3)}, pickled)
    text = tmp_path / "text.pt"
    text.write_text("no network")
    with pytest.raises(ValueError, match=r"there is no file .*absent.pt: inception needs inception-2015-12-05.pt"):
        Network("inception", tmp_path / "absent.pt")
    for path in (pickled, text):
        with pytest.raises(ValueError, match=r"is not a TorchScript .*: i3d needs i3d_torchscript.pt"):
            Network("i3d", path)
    images = np.zeros((2, 64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=r"gives features of shape \(2, 1000\) for 2 inputs, not 2048 each"):
        Network("inception", scripted(StandInOfAnotherWidth(), tmp_path / "a.pt"))(images)
    with pytest.raises(ValueError, match="cannot be called as inception"):
        Network("inception", scripted(StandInOfAnotherSignature(), tmp_path / "b.pt"))(images)
