"""Listener reaction shifts: clips of one listener's reactions to a style vector, and a style vector to edited weights.

The paper only states that these shifts are inspired by PerFRDiff's weight editing and model personalised cognitive
styles. Ours: an encoder, invariant to the order of clips, maps them to a vector; the vector changes linear layers of
the denoiser (or the decoder, see `Networks.movable`) by low-rank updates. A style of 0 changes nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from react_ros.config import whole_in_range
from react_ros.face import ATTRIBUTES, FACE_MODEL, Floats
from react_ros.nn.weights import models_folder
from react_ros.systems.reactdiff.mmt import Shift, face_units

LEAST_FRAMES = 25
"""Least length of a clip, frames."""


@dataclass(frozen=True, slots=True)
class StyleConfig:
    """Sizes of the style encoder and of the shifts. Raises ValueError for an impossible value."""

    size: int = 16
    """Width of a style."""
    rank: int = 4
    """Rank of each layer's change of weights."""
    width: int = 64
    kernel: int = 9
    """Frames of the encoder's convolution; a nod's cycle has about 7."""

    def __post_init__(self) -> None:
        whole_in_range("size", self.size, 1, 4096)
        whole_in_range("rank", self.rank, 1, 4096)
        whole_in_range("width", self.width, 1, 65536)
        whole_in_range("kernel", self.kernel, 1, LEAST_FRAMES, "frames")


class StyleEncoder(nn.Module):
    """Clips of a listener to its style."""

    units: Tensor

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("units", face_units(), persistent=False)
        self.frames = nn.Conv1d(2 * FACE_MODEL + ATTRIBUTES, config.width, config.kernel)
        self.mix = nn.Conv1d(config.width, config.width, 1)
        self.norm = nn.LayerNorm(2 * config.width)
        self.clip = nn.Sequential(nn.Linear(2 * config.width, config.width), nn.GELU())
        self.out = nn.Linear(config.width, config.size)

    def forward(self, face_model: Tensor, attributes: Tensor, valid: Tensor) -> Tensor:
        """K clips each of B listeners, (B, K, T, 58), (B, K, T, 25) and valid (B, K, T) bool, to (B, size) in [-1, 1].

        Invariant to the order of clips. Clips without `kernel` consecutive valid frames do not count; a listener
        without any other has the style 0.
        """
        listeners, clips, _ = valid.shape
        face = face_model / self.units * valid[..., None]
        # Motion is scaled to weigh about as much as the pose.
        motion = 10.0 * F.pad(face.diff(dim=2), (0, 0, 1, 0)) * (valid & F.pad(valid[..., :-1], (1, 0)))[..., None]
        x = torch.cat([face, motion, attributes * valid[..., None]], dim=-1).flatten(0, 1).transpose(1, 2)
        x = self.mix(F.gelu(self.frames(x)))  # (B K, width, T - kernel + 1)
        complete = valid.flatten(0, 1).float().unfold(1, self.config.kernel, 1).amin(2)[:, None]
        count = complete.sum(2).clamp_min(1.0)
        mean = (x * complete).sum(2) / count
        deviation = (((x - mean[..., None]).square() * complete).sum(2) / count + 1e-6).sqrt()
        each = self.clip(self.norm(torch.cat([mean, deviation], dim=1))).view(listeners, clips, -1)
        counts = complete.amax(2).view(listeners, clips, 1)
        style = torch.tanh(self.out((each * counts).sum(1) / counts.sum(1).clamp_min(1.0)))
        return style * counts.amax(1)


class Personal(nn.Module):
    """The style encoder, and the shifts of a network's layers."""

    def __init__(self, config: StyleConfig, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.encoder = StyleEncoder(config)
        self.shifts = nn.ModuleList(Shift(config.size, config.rank, linear) for linear in layers)

    @property
    def each(self) -> Sequence[Shift]:
        """The shifts, one for each of the layers."""
        return cast("Sequence[Shift]", self.shifts)

    def edit(self, layers: Sequence[nn.Linear], style: Tensor) -> None:
        """Change the layers' weights permanently by one style (size,): action chunks then cost no more than without."""
        for shift, linear in zip(self.each, layers, strict=True):
            shift.edit(linear, style)


class Reactions(NamedTuple):
    """The reactions of one listener in one clip."""

    face_model: Floats
    """(T, 58)."""
    attributes: Floats
    """(T, 25)."""


def listeners() -> dict[str, Path]:
    """The simulated listeners whose clips are packaged, by name: models/listeners/."""
    return {path.stem: path for path in sorted((models_folder() / "listeners").glob("*.npz"))}


def style_files(path: str | Path) -> list[Path]:
    """The files of one listener's clips: an npz, or all of a folder; or of the name of one of `listeners`.

    Raises ValueError, in one sentence, where there are none.
    """
    if (given := str(path)) in (packaged := listeners()):
        path = packaged[given]
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(
            f"style: there is no {path}: give a listener's clips, or one of the simulated {', '.join(packaged)}"
        )
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"style: the folder {path} holds no .npz: it must hold a listener's clips, one a file")
    return files


def read_reactions(path: str | Path) -> list[Reactions]:
    """The clips of one listener: each file of `style_files` has `face_model` (T, 58) and `attributes` (T, 25).

    Raises ValueError, in one sentence, for what cannot be read, another shape, numbers that are not finite, or a clip
    of less than a second.
    """
    return [_read(file) for file in style_files(path)]


def _read(file: Path) -> Reactions:
    try:
        opened = np.load(file, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        with opened:
            found = {name: opened[name] for name in Reactions._fields if name in opened}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"style: {file} cannot be read as an npz of reactions: {reason}") from None
    for name, width in zip(Reactions._fields, (FACE_MODEL, ATTRIBUTES), strict=True):
        if name not in found:
            raise ValueError(f"style: {file} has no {name}: a clip is face_model (T, 58) and attributes (T, 25)")
        array = found[name]
        if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "fiu":
            raise ValueError(f"style: {name} of {file} has shape {array.shape}: it must be numbers (T, {width})")
        if not np.isfinite(array).all():
            raise ValueError(f"style: {name} of {file} has values that are not finite")
    lengths = [len(array) for array in found.values()]
    if lengths[0] != lengths[1] or lengths[0] < LEAST_FRAMES:
        raise ValueError(
            f"style: {file} has {lengths[0]} frames of face_model and {lengths[1]} of attributes: "
            f"they must be as many, and {LEAST_FRAMES} at least"
        )
    return Reactions(*(found[name].astype(np.float32) for name in Reactions._fields))


@torch.inference_mode()
def style_of(encoder: StyleEncoder, clips: Sequence[Reactions]) -> Tensor:
    """(size,) the style of one listener's clips, of any lengths; on the encoder's device."""
    longest = max(len(clip.attributes) for clip in clips)

    def padded(name: str) -> Tensor:
        whole = np.zeros((1, len(clips), longest, getattr(clips[0], name).shape[1]), np.float32)
        for i, clip in enumerate(clips):
            whole[0, i, : len(clip.attributes)] = getattr(clip, name)
        return torch.from_numpy(whole).to(encoder.units.device)

    lengths = torch.tensor([len(clip.attributes) for clip in clips])
    valid = (torch.arange(longest) < lengths[:, None])[None].to(encoder.units.device)
    return encoder(padded("face_model"), padded("attributes"), valid)[0]
