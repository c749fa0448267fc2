"""Runs rows of `react-ros evaluate --responsiveness`: every finished clip is kept, and the same command resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.behaviour.responsiveness import (
    CONDITIONS,
    OWN,
    ClipFigures,
    Responsiveness,
)
from react_ros.evaluation.corpora.plan import Row, parse_row
from react_ros.evaluation.corpora.source_digest import source_digest
from react_ros.evaluation.responsiveness.clips import SpeakerClip, clips_digest, condition_frames
from react_ros.evaluation.responsiveness.score import score_clip
from react_ros.face import FPS
from react_ros.generators import registry
from react_ros.generators.contract import Generator, GeneratorInfo
from react_ros.io import atomic_write, sha256

FOLDER = "responsiveness"
"""In the folder of results: the finished clips of each row."""

Floats = npt.NDArray[np.floating]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What is run. Raises ValueError, in one sentence, for an impossible value."""

    samples: int = 4
    seeds: tuple[int, ...] = (1, 2, 3)
    """The first also runs the conditions other than the own speaker."""
    conditions: tuple[str, ...] = tuple(CONDITIONS)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}: it must be 1 or more")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {', '.join(map(str, self.seeds))}: they must be different numbers from 0 on")


@dataclass(frozen=True, slots=True)
class RowResult:
    """One system before all clips."""

    row: Row
    info: GeneratorInfo
    content: Mapping[str, str]
    """Digests of all files that the reactions depend on."""
    result: Responsiveness
    smiles: Mapping[str, Floats]
    """By clip: (S, T) smile of the listeners before their own speaker, first seed."""


def gate_rows(names: Sequence[str]) -> list[Row]:
    """The rows of these names, NAME[,parameter=value…]; none: every rule and learned system.

    Raises ValueError, in one sentence, for a row that is no generator, and for unknown generators or parameters.
    """
    texts = names or [s.name for s in registry.systems() if s.kind != "baseline"]
    rows = [parse_row(text) for text in dict.fromkeys(texts)]
    for row in rows:
        if not row.generator or row.shuffled:
            raise ValueError(
                f"row {row.label!r}: --responsiveness runs generators, NAME[,parameter=value…]; another person's clip "
                "is one of its conditions"
            )
    return rows


def run_row(
    row: Row, clips: Sequence[SpeakerClip], options: Options, out: Path, progress: Progress | None = None
) -> RowResult:
    """Run one row before all clips. Finished clips in `out` are used where nothing that they depend on has changed.

    progress: called with (clips done, in all). Raises ValueError where the generator cannot be made or cannot be
    streamed, OSError where nothing can be written.
    """
    generator = registry.create(row.name, **dict(row.parameters))
    content = dict(generator.content())
    module = registry.system(row.name).generator.partition(":")[0]
    about = {
        "row": row.label, "content": content, "samples": options.samples, "seeds": options.seeds,
        "conditions": options.conditions, "code": source_digest(module, score_clip.__module__),
    }  # fmt: skip
    figures: list[ClipFigures] = []
    notes: list[str] = []
    smiles: dict[str, Floats] = {}
    for done, clip in enumerate(clips):
        if progress is not None:
            progress(done, len(clips))
        found = _clip(generator, clip, clips, options, about, out / FOLDER / row.key)
        figures += [ClipFigures.from_dict(d) for d in found["figures"]]
        notes += found["notes"]
        smiles[clip.name] = np.array(found["smile"])
    if progress is not None:
        progress(len(clips), len(clips))
    result = Responsiveness(tuple(figures), options.samples, tuple(dict.fromkeys(notes)))
    return RowResult(row, generator.info, content, result, smiles)


def _clip(
    generator: Generator,
    clip: SpeakerClip,
    clips: Sequence[SpeakerClip],
    options: Options,
    about: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """What one clip gives: figures of all seeds and conditions, notes, smiles; from its file where it is there."""
    other = condition_frames(clip, "other", clips)
    heard = "" if isinstance(other, str) else SpeakerClip("other", other).digest
    key = sha256(json.dumps({**about, "clip": [clip.name, clip.digest, heard]}, sort_keys=True))
    path = folder / f"{sha256(clip.name)[:8]}-{key[:16]}.json"
    with suppress(OSError, ValueError):
        return json.loads(path.read_text("utf-8"))
    found: dict[str, Any] = {"figures": [], "notes": [], "smile": []}
    for seed in options.seeds:
        for condition in options.conditions if seed == options.seeds[0] else (OWN,):
            scored = score_clip(generator, clip, clips, options.samples, seed, condition)
            if isinstance(scored, str):
                found["notes"].append(scored)
                continue
            found["figures"].append(scored[0].to_dict())
            if condition == OWN and seed == options.seeds[0]:
                found["smile"] = np.round(scored[1].smile.T.astype(np.float64), 3).tolist()
    atomic_write(path, json.dumps(found))
    return found


def results(rows: Sequence[RowResult], clips: Sequence[SpeakerClip], options: Options, path: Path) -> dict[str, Any]:
    """The content of responsiveness.json."""
    return {
        "clips": str(path),
        "clips_digest": clips_digest(clips),
        "seconds": {c.name: len(c.frames) / FPS for c in clips},
        "samples": options.samples,
        "seeds": list(options.seeds),
        "rows": {r.row.label: {"content": dict(r.content), **r.result.to_dict()} for r in rows},
    }
