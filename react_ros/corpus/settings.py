"""Settings of a corpus (its corpus.yaml) and of its reader."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from react_ros.config import did_you_mean, load_yaml
from react_ros.corpus import layouts
from react_ros.corpus.clips import EVALUATED_FRAMES, CorpusError, Layout
from react_ros.face import ARKIT_SCHEME, FACEVERSE_SCHEME

FILE = "corpus.yaml"
Scheme = Literal["arkit52", "faceverse"]
MARS_FPS = 30.0
_KEYS = ("layout", "scheme", "fps", "simulated", "role_swap", "notice", "persons", "appropriateness")


@dataclass(frozen=True, slots=True)
class CorpusConfig:
    """How to read a corpus. Raises ValueError for an impossible value."""

    frames: int | None = EVALUATED_FRAMES
    """Default number of frames that are read of a clip; None: all. MARS' clips differ in length: at most so many."""
    role_swap: bool | None = None
    """Whether every dyad is added a second time with the roles swapped; None: as corpus.yaml states."""
    persons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By modality (attributes, face_model, audio, video): the folder of each person of the table, e.g.
    {"attributes": {"Expert_video": "P1", "Novice_video": "P2"}}; overrides corpus.yaml for these modalities."""
    cache: Path | None = None
    """Folder of the feature cache; None: ~/.cache/react_ros/features (XDG)."""
    native_rate: bool = False
    """Whether a corpus with another rate than 25 fps is read at its own rate."""

    def __post_init__(self) -> None:
        if self.frames is not None and not 1 <= self.frames <= 1_000_000:
            raise ValueError(f"frames is {self.frames}: it must be from 1 to 1000000")
        expect_persons(self.persons)


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """The contents of corpus.yaml, with defaults."""

    layout: Layout
    scheme: Scheme
    fps: float
    """Frame rate of the files."""
    simulated: bool
    role_swap: bool
    notice: str
    persons: Mapping[str, Mapping[str, str]]
    """As `CorpusConfig.persons`."""
    appropriateness: Mapping[str, float]
    """{"quantile": q} or {"threshold": x}; empty: the default."""
    all: Mapping[str, Any]
    """The whole mapping."""


def expect_persons(persons: Mapping[Any, Any]) -> None:
    """Raise ValueError, in one sentence, unless it is a mapping as `CorpusConfig.persons`."""
    for modality, folders in persons.items():
        if modality not in layouts.MODALITIES:
            raise ValueError(f"persons names {modality!r}: the modalities are {', '.join(layouts.MODALITIES)}")
        if not isinstance(folders, Mapping):
            raise ValueError(f"persons of {modality} is {folders!r}, but it must be {{person: folder, …}}")
        for person, folder in folders.items():
            if not isinstance(folder, str) or not folder or {"/", "\\"} & set(folder) or folder == "..":
                raise ValueError(f"persons of {modality}: {person!r} must be one folder, not {folder!r}")


def read_settings(root: Path) -> CorpusSettings:
    """The settings in `corpus.yaml`; missing keys, or a missing file, take the values of the published corpora.

    Raises CorpusError, in one sentence, for a folder that is no corpus and for an impossible value.
    """
    path, stored = root / FILE, {}
    if path.is_file():
        try:
            stored = load_yaml(path, "layout: react2024")
        except ValueError as error:
            raise CorpusError(str(error)) from None

    # Other keys are allowed (made_by, …), unless they look like a misspelt setting.
    for key in stored:
        if key not in _KEYS and (suggestion := did_you_mean(key, _KEYS, 0.75)):
            raise CorpusError(f"{path}: there is no {key!r}{suggestion}")

    def value(name: str, default: Any, kind: type | tuple[type, ...], meaning: str) -> Any:
        given = stored.get(name, default)
        if not isinstance(given, kind) or (isinstance(given, bool) and kind is not bool):
            raise CorpusError(f"{path}: {name} is {given!r}, but it must be {meaning}")
        return given

    layout = value("layout", None, str, "react2024 or mars") if "layout" in stored else layouts.detect(root)
    scheme = value("scheme", FACEVERSE_SCHEME, str, "arkit52 or faceverse")
    for name, given, known in (
        ("layout", layout, get_args(Layout)),
        ("scheme", scheme, (ARKIT_SCHEME, FACEVERSE_SCHEME)),
    ):
        if given not in known:
            raise CorpusError(f"{path}: {name} is {given!r}, but it must be {' or '.join(known)}")
    fps = float(value("fps", MARS_FPS if layout == "mars" else 25.0, (int, float), "a number of frames a second"))
    if not (math.isfinite(fps) and 1.0 <= fps <= 240.0):
        raise CorpusError(f"{path}: fps is {fps:g}, but it must be from 1 to 240")
    persons = value("persons", {}, dict, "{modality: {person: folder, …}, …}")
    try:
        expect_persons(persons)
    except ValueError as error:
        raise CorpusError(f"{path}: {error}") from None
    return CorpusSettings(
        layout,
        scheme,
        fps,
        value("simulated", False, bool, "true or false"),
        value("role_swap", True, bool, "true or false"),
        value("notice", "", str, "a text"),
        persons,
        _rule(path, value("appropriateness", {}, dict, "{quantile: q} or {threshold: x}")),
        stored,
    )


def _rule(path: Path, rule: dict[Any, Any]) -> dict[str, float]:
    if not rule:
        return {}
    name, given = next(iter(rule.items()))
    known = {"quantile": 1.0, "threshold": math.inf}
    if len(rule) != 1 or name not in known:
        raise CorpusError(f"{path}: appropriateness is {rule!r}, but it must be {{quantile: q}} or {{threshold: x}}")
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not 0.0 < given < known[name]:
        limit = "between 0 and 1" if name == "quantile" else "above 0"
        raise CorpusError(f"{path}: the {name} of appropriateness is {given!r}, but it must be a number {limit}")
    return {name: float(given)}
