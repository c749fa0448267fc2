"""The two mean baselines: the mean listener's face as one frame or as a sequence, independent of the speaker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as dump

from react_ros.config import dump_yaml, parse_yaml
from react_ros.face import ARKIT, ATTRIBUTES, Floats, Reaction, SpeakerFrame
from react_ros.generators.contract import Generator, GeneratorInfo, Stream, sample_rngs
from react_ros.generators.presence import Presence
from react_ros.generators.sanitize import sanitize
from react_ros.package import share
from react_ros.systems.mean.config import MeanConfig

_SHAPES = {"blendshapes": len(ARKIT), "rotation": 3, "translation": 3, "attributes": ATTRIBUTES}


@dataclass(frozen=True, slots=True)
class MeanListener:
    """The mean over many listeners' reactions, for each frame of a clip. Arrays float32."""

    blendshapes: Floats
    """(T, 52) in the order of `ARKIT`, 0 to 1."""
    rotation: Floats
    """(T, 3) rad."""
    translation: Floats
    """(T, 3) m."""
    attributes: Floats
    """(T, 25) in the order of `ATTRIBUTE_NAMES`."""
    notice: str = ""
    """What viewers must be told about the listeners that were averaged."""


def measure(clips: Iterable[tuple[Floats, Floats]], notice: str = "") -> MeanListener:
    """The mean over clips, for each frame.

    clips: for each listener, the face model (T, 58) and the attributes (T, 25), with the same T. Raises ValueError
    where there are no clips or their lengths differ.
    """
    total: np.ndarray | None = None
    count = 0
    for model, attributes in clips:
        table = np.concatenate([model, attributes], axis=1, dtype=np.float64)
        if total is not None and len(table) != len(total):
            raise ValueError(f"clip {count} has {len(table)} frames, but the clips before it have {len(total)}")
        total = table if total is None else total + table
        count += 1
    if total is None:
        raise ValueError("the mean listener needs at least one clip")
    parts = np.split((total / count).astype(np.float32), np.cumsum([52, 3, 3]), axis=1)
    return MeanListener(*parts, notice=notice)


def save(listener: MeanListener, path: Path, **card: object) -> None:
    """Write the statistics as safetensors (float16) and, beside it, their card in YAML.

    card: further entries of the card.
    """
    path.write_bytes(dump({name: getattr(listener, name).astype(np.float16) for name in _SHAPES}))
    text = dump_yaml({"name": path.stem, "notice": listener.notice, **card}, sort_keys=False, width=110)
    path.with_suffix(".yaml").write_text(text, encoding="utf-8")


def load(path: Path) -> MeanListener:
    """Read what `save` wrote. Raises ValueError, in one sentence, for a file that is missing or invalid."""
    try:
        arrays = load_file(path)
        card = parse_yaml(path.with_suffix(".yaml").read_text(encoding="utf-8"), exponents=False)
    except (OSError, SafetensorError, yaml.YAMLError) as error:
        raise ValueError(
            f"the mean listener's statistics {path} (with their card .yaml) cannot be read: {error}"
        ) from error
    frames = len(arrays["blendshapes"]) if "blendshapes" in arrays else 0
    for name, width in _SHAPES.items():
        if name not in arrays or arrays[name].shape != (frames, width) or not frames:
            raise ValueError(f"{path} is not a mean listener: it needs {name} of shape (T, {width})")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{path} is not a mean listener: {name} has values that are not finite")
    if not isinstance(card, dict) or not isinstance(card.get("notice"), str):
        raise ValueError(f"{path.with_suffix('.yaml')} is not a card: it needs a notice about the averaged listeners")
    return MeanListener(**{n: arrays[n].astype(np.float32) for n in _SHAPES}, notice=card["notice"])


def packaged() -> Path:
    """Path of the packaged statistics."""
    return share() / "models" / "mean_listener.safetensors"


class MeanStream(Stream):
    """S equal listeners that play the mean forwards and backwards in turns, so that it never jumps."""

    def __init__(self, mean: MeanListener, samples: int, seed: int) -> None:
        sample_rngs(seed, samples, purpose=0)  # for its errors only: nothing is random
        self.samples, self.seed = samples, seed
        self._mean = mean
        self._step = 0
        self._presence = Presence()

    def step(self, frame: SpeakerFrame) -> Reaction:
        live = self._presence.step(sanitize(frame))
        last = len(self._mean.blendshapes) - 1
        row = last - abs(last - self._step)
        self._step = (self._step + 1) % max(2 * last, 1)
        m = self._mean
        blendshapes, rotation, translation, attributes = (
            np.repeat(a[row : row + 1], self.samples, axis=0)
            for a in (m.blendshapes, m.rotation, m.translation, m.attributes)
        )
        return Reaction(frame.index, frame.stamp_ns, blendshapes, rotation, translation, attributes, live)


class MeanSequence(Generator):
    """The REACT challenge's MeanSeq: the mean over listeners, for each frame of a clip."""

    Config = MeanConfig
    info = GeneratorInfo(
        name="mean_sequence",
        summary="baseline: the mean reaction of all listeners, for each frame of a clip",
        inputs=(),
        stochastic=False,
        idles=False,
    )

    def __init__(self, config: MeanConfig | None = None) -> None:
        self.config = config or MeanConfig()
        self._statistics = Path(self.config.statistics) if self.config.statistics else packaged()
        self._mean = load(self._statistics)
        self.info = replace(type(self).info, notice=self._mean.notice)

    def content(self) -> Mapping[str, str]:
        with self._statistics.open("rb") as file:
            return {"statistics": hashlib.file_digest(file, "sha256").hexdigest()}

    def start(self, *, samples: int = 1, seed: int = 0) -> MeanStream:
        return MeanStream(self._mean, samples, seed)


class MeanFrame(MeanSequence):
    """The REACT challenge's MeanFr: the mean over listeners and over time, a constant face."""

    info = replace(
        MeanSequence.info, name="mean_frame", summary="baseline: the mean reaction over all listeners and frames"
    )

    def __init__(self, config: MeanConfig | None = None) -> None:
        super().__init__(config)
        m = self._mean
        mean = {name: getattr(m, name).mean(axis=0, keepdims=True) for name in _SHAPES}
        self._mean = MeanListener(**mean, notice=m.notice)
