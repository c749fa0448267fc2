"""FRRea on rendered faces: FID and FVD, with the field's networks where their weights are given.

The challenge renders real and generated listeners with PIRender and compares Inception features of the pictures. Here
this package's avatar renders both: the values compare systems with each other, but not with published FRRea. A Fréchet
distance of few pictures is biased upwards; the counts are reported beside the values.

The networks are TorchScript files (no pickled weights are read):
- Inception v3: inception-2015-12-05.pt of NVIDIA's StyleGAN metrics; net(uint8 (B, 3, H, W), return_features=True)
  gives (B, 2048), and resizes its input itself.
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
"""The official code renders every 25th batch; with its batch size of one, every 25th clip."""
FVD_FRAMES = 16
FVD_EVERY_S = 5.0
"""Seconds from one film of 16 frames to the next. Ours: the challenge has no FVD."""
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
    """A feature network from a TorchScript file, on the CPU. Raises ValueError, in one sentence, for any other file."""

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
                f"{path} is not a TorchScript file (a pickled state dict, such as pytorch-fid's, is not read): "
                f"{kind} needs {_FILES[kind]}"
            ) from error

    def __call__(self, images: Images) -> npt.NDArray[np.float32]:
        """Features of pictures (B, H, W, 3) or films (B, T, H, W, 3): (B, 2048) or (B, 400)."""
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
    """The indices, of n clips, that are rendered: official, every 25th; all, every one."""
    return range(0, clips, EVERY_CLIP if mode == "official" else 1)


def render(face_model: npt.NDArray[np.floating], scheme: str, frames: npt.ArrayLike, renderer: Renderer) -> Images:
    """(n, H, W, 3) RGB pictures of n frames of a listener (T, 58), rendered by the avatar.

    The pose is clipped to the avatar's range, but neither smoothed nor blended with idle life, so that the generated
    motion itself is scored. Raises ValueError for coefficients other than ARKit's.
    """
    if scheme != ARKIT_SCHEME:
        raise ValueError(
            f"the avatar renders {ARKIT_SCHEME} weights, but this corpus has {scheme!r}: FID and FVD cannot be measured"
        )
    expression, rotation, translation = split_face_model(np.asarray(face_model)[np.asarray(frames, np.intp)])
    limit = MotionConfig()
    reach = np.array([limit.pitch_limit, limit.yaw_limit, limit.roll_limit], np.float32)
    rotation = np.clip(rotation, -reach, reach)
    translation = np.clip(translation, -limit.translation_limit, limit.translation_limit)
    poses = (Pose(b, r, t) for b, r, t in zip(np.clip(expression, 0, 1), rotation, translation, strict=True))
    return np.stack([renderer.draw(pose) for pose in poses])


@dataclass(frozen=True, slots=True, eq=False)
class PictureSums:
    """Feature sums of listeners; sums of clips and shards are added. None: that network is not given."""

    inception: MomentSums | None
    i3d: MomentSums | None

    def __add__(self, other: PictureSums) -> PictureSums:
        return PictureSums(_add(self.inception, other.inception), _add(self.i3d, other.i3d))


def _add(a: MomentSums | None, b: MomentSums | None) -> MomentSums | None:
    if (a is None) != (b is None):
        raise ValueError("shards with and without a network cannot be merged")
    return None if a is None or b is None else a + b


class PictureScorer:
    """Renders listeners and sums their features. Raises ValueError, in one sentence, for files of other networks.

    Rendering takes about 10 ms per picture, and the networks far longer on a CPU; hence every 25th clip only.
    """

    def __init__(self, inception: str | Path | None = None, i3d: str | Path | None = None) -> None:
        self._inception = Network("inception", inception) if inception else None
        self._i3d = Network("i3d", i3d) if i3d else None
        self._renderer = Renderer(SIZE, SIZE)

    def sums(self, face_model: npt.NDArray[np.floating], scheme: str, *, fps: float = 25.0) -> PictureSums:
        """Feature sums of one listener, (T, 58) of the face model in `scheme`.

        Real heads have any position relative to their camera, generated ones are around 0: the clip's mean translation
        is subtracted from both. Raises ValueError for values that are not finite, and for coefficients other than
        ARKit's.
        """
        model = np.array(face_model, np.float32)
        if model.ndim != 2 or model.shape[1] != FACE_MODEL or not np.isfinite(model).all():
            raise ValueError(f"a listener of shape {model.shape} cannot be rendered: finite (frames, 58) are needed")
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
        """Pictures (B, H, W, 3), or films (B, T, H, W, 3) where `frames` has several columns."""
        rows, length = frames.shape
        size = BATCH if length == 1 else 1
        for k in range(0, rows, size):
            images = render(model, scheme, frames[k : k + size].ravel(), self._renderer)
            yield images if length == 1 else images.reshape(-1, length, *images.shape[1:])


@dataclass(frozen=True, slots=True)
class PictureRealism:
    """FRRea over pictures of the avatar; None without that network, or with fewer than 2 inputs."""

    fid: float | None
    pictures: int
    fvd: float | None
    films: int


def picture_realism(real: PictureSums, generated: PictureSums) -> PictureRealism:
    """FID and FVD of generated against real listeners; biased upwards with fewer pictures than features."""
    fid, pictures = _distance(real.inception, generated.inception)
    fvd, films = _distance(real.i3d, generated.i3d)
    return PictureRealism(fid, pictures, fvd, films)


def _distance(real: MomentSums | None, generated: MomentSums | None) -> tuple[float | None, int]:
    if real is None or generated is None:
        return None, 0
    n = min(real.n, generated.n)
    return (frechet_of(real, generated) if n > 1 else None), n
