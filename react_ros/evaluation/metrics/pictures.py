"""FRRea on rendered faces: FID and FVD with the field's own networks, where somebody has their weights.

The challenge renders real and generated listeners with PIRender and compares the pictures' Inception features. Here
both are drawn by this project's avatar, so these values say how systems compare with each other, and do not compare
with published FRRea. Few pictures bias a Fréchet distance upwards: the counts stand beside the values.

The networks, as TorchScript (no pickled weights are read):
- Inception v3: inception-2015-12-05.pt of NVIDIA's StyleGAN metrics; net(uint8 (B, 3, H, W), return_features=True)
  gives (B, 2048), and resizes by itself.
- I3D: i3d_torchscript.pt of StyleGAN-V; net(float32 (B, 3, T, H, W) from 0 to 255, rescale=True, resize=True,
  return_features=True) gives (B, 400); rescale makes them -1 to 1, resize 224 x 224.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from react_ros.avatar.motion import MotionConfig, Pose
from react_ros.avatar.render import Renderer
from react_ros.evaluation.metrics.realism import MomentSums, frechet_of
from react_ros.face import ARKIT_SCHEME, FACE_MODEL, TRANSLATION_58, split_face_model

Images = npt.NDArray[np.uint8]

SIZE = 256
"""px, as the challenge's pictures."""
EVERY_FRAME = 30
"""The challenge looks at every 30th frame of the first prediction."""
EVERY_CLIP = 25
"""The official code renders in batches and keeps every 25th of them: with its batch of one, every 25th clip."""
FVD_FRAMES = 16
FVD_EVERY_S = 5.0
"""A film of 16 frames starts every 5 s: our choice, the challenge has no FVD."""
BATCH = 16

INCEPTION_FEATURES = 2048
I3D_FEATURES = 400
_FILES = {
    "inception": "inception-2015-12-05.pt, the TorchScript file of NVIDIA's StyleGAN metrics",
    "i3d": "i3d_torchscript.pt, the TorchScript file of StyleGAN-V",
}

NetworkKind = Literal["inception", "i3d"]
Mode = Literal["official", "all"]


class Network:
    """A feature network from a TorchScript file, on the CPU. Raises ValueError, in one sentence, for another file."""

    def __init__(self, kind: NetworkKind, path: str | Path) -> None:
        self.kind: NetworkKind = kind
        self._path = Path(path)
        if not self._path.is_file():
            raise ValueError(f"there is no file {path}: {kind} needs {_FILES[kind]}")
        import torch

        self._torch = torch
        try:
            self._net: Any = torch.jit.load(str(path), map_location="cpu").eval()
        except Exception as error:  # torch raises RuntimeError, ValueError or UnpicklingError by the kind of file
            raise ValueError(
                f"{path} is no TorchScript (a pickled state dict, such as pytorch-fid's, is not read): "
                f"{kind} needs {_FILES[kind]}"
            ) from error

    def __call__(self, images: Images) -> npt.NDArray[np.float32]:
        """Features of (B, H, W, 3) pictures, or of (B, T, H, W, 3) films: (B, 2048) or (B, 400)."""
        width = INCEPTION_FEATURES if self.kind == "inception" else I3D_FEATURES
        torch = self._torch
        with torch.inference_mode():
            try:
                if self.kind == "inception":
                    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
                    out = self._net(x, return_features=True)
                else:
                    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 4, 1, 2, 3), np.float32))
                    out = self._net(x, rescale=True, resize=True, return_features=True)
            except RuntimeError as error:
                raise ValueError(
                    f"{self._path} cannot be called as {self.kind}: it needs {_FILES[self.kind]}"
                ) from error
        if tuple(out.shape) != (len(images), width):
            raise ValueError(
                f"{self._path} gives features of shape {tuple(out.shape)} for {len(images)} inputs, not {width} each: "
                f"{self.kind} needs {_FILES[self.kind]}"
            )
        return out.to(torch.float32).numpy()


def sampled_clips(clips: int, mode: Mode) -> range:
    """Which of n clips are rendered: official, every 25th; else all."""
    return range(0, clips, EVERY_CLIP if mode == "official" else 1)


def render(face_model: npt.NDArray[np.floating], scheme: str, frames: npt.ArrayLike, renderer: Renderer) -> Images:
    """(n, H, W, 3) RGB pictures of those frames of a listener of (T, 58), drawn by the avatar.

    The pose is only brought into the avatar's range, neither smoothed nor given idle life: what is scored is what was
    generated. Raises ValueError for coefficients other than ARKit's.
    """
    if scheme != ARKIT_SCHEME:
        raise ValueError(f"the avatar draws {ARKIT_SCHEME} weights, but this corpus has {scheme!r}: no FID, no FVD")
    expression, rotation, translation = split_face_model(np.asarray(face_model)[np.asarray(frames, np.intp)])
    limit = MotionConfig()
    reach = np.array([limit.pitch_limit, limit.yaw_limit, limit.roll_limit], np.float32)
    rotation = np.clip(rotation, -reach, reach)
    translation = np.clip(translation, -limit.translation_limit, limit.translation_limit)
    poses = (Pose(b, r, t) for b, r, t in zip(np.clip(expression, 0, 1), rotation, translation, strict=True))
    return np.stack([renderer.draw(pose) for pose in poses])


@dataclass(frozen=True, slots=True, eq=False)
class PictureSums:
    """What FRRea needs of listeners; sums of clips and shards add up. None: that network was not given."""

    inception: MomentSums | None
    i3d: MomentSums | None

    def __add__(self, other: PictureSums) -> PictureSums:
        return PictureSums(_add(self.inception, other.inception), _add(self.i3d, other.i3d))


def _add(a: MomentSums | None, b: MomentSums | None) -> MomentSums | None:
    if (a is None) != (b is None):
        raise ValueError("shards with and without a network cannot be merged")
    return None if a is None or b is None else a + b


class PictureScorer:
    """Draws listeners and sums their features. Raises ValueError, in one sentence, for files that are not the networks.

    Around 10 ms a picture to draw, and far longer for the networks on a CPU: the official mode keeps every 25th clip.
    """

    def __init__(self, inception: str | Path | None = None, i3d: str | Path | None = None) -> None:
        self._inception = Network("inception", inception) if inception else None
        self._i3d = Network("i3d", i3d) if i3d else None
        self._renderer = Renderer(SIZE, SIZE)

    def sums(self, face_model: npt.NDArray[np.floating], scheme: str, *, fps: float = 25.0) -> PictureSums:
        """Of one listener, (T, 58) of the face model in that scheme.

        Real heads sit anywhere before their camera, generated ones about 0: the clip's mean place (not its turn) is
        taken off both, so that it is the face that is compared. Raises ValueError for values that are not finite, and
        for coefficients that are not ARKit's.
        """
        model = np.array(face_model, np.float32)
        if model.ndim != 2 or model.shape[1] != FACE_MODEL or not np.isfinite(model).all():
            raise ValueError(f"a listener of shape {model.shape} cannot be drawn: finite (frames, 58) are needed")
        model[:, TRANSLATION_58] -= model[:, TRANSLATION_58].mean(axis=0)
        pictures = films = None
        if self._inception is not None:
            frames = np.arange(0, len(model), EVERY_FRAME)
            features = [self._inception(batch) for batch in self._batches(model, scheme, frames[:, None])]
            pictures = MomentSums.of(np.concatenate(features))
        if self._i3d is not None:
            starts = np.arange(0, len(model) - FVD_FRAMES + 1, round(FVD_EVERY_S * fps))
            films = MomentSums.of(np.zeros((0, I3D_FEATURES)))
            for batch in self._batches(model, scheme, starts[:, None] + np.arange(FVD_FRAMES)):
                films = films + MomentSums.of(self._i3d(batch))
        return PictureSums(pictures, films)

    def _batches(
        self, model: npt.NDArray[np.float32], scheme: str, frames: npt.NDArray[np.intp]
    ) -> Iterator[npt.NDArray[np.uint8]]:
        """Pictures (B, H, W, 3), or films (B, T, H, W, 3) where there are several frames a row."""
        rows, length = frames.shape
        size = BATCH if length == 1 else 1
        for k in range(0, rows, size):
            images = render(model, scheme, frames[k : k + size].ravel(), self._renderer)
            yield images if length == 1 else images.reshape(-1, length, *images.shape[1:])


@dataclass(frozen=True, slots=True)
class PictureRealism:
    """FRRea over the avatar's pictures; None where that network was not given or there are fewer than 2 inputs."""

    fid: float | None
    pictures: int
    fvd: float | None
    films: int


def picture_realism(real: PictureSums, generated: PictureSums) -> PictureRealism:
    """FID and FVD of generated to real listeners. With fewer pictures than features they are biased upwards."""
    fid, pictures = _distance(real.inception, generated.inception)
    fvd, films = _distance(real.i3d, generated.i3d)
    return PictureRealism(fid, pictures, fvd, films)


def _distance(real: MomentSums | None, generated: MomentSums | None) -> tuple[float | None, int]:
    if real is None or generated is None:
        return None, 0
    n = min(real.n, generated.n)
    return (frechet_of(real, generated) if n > 1 else None), n
