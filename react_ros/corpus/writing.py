"""Writes clips and tables in the layout of REACT 2024, for simulated and recorded corpora."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from react_ros.config import dump_yaml
from react_ros.corpus.clips import Split
from react_ros.face import ATTRIBUTE_NAMES, AU, Floats
from react_ros.io import atomic_write

SOUND, ATTRIBUTES, FACE_MODEL, VIDEO = "Audio_files", "Emotion", "3D_FV_files", "Video_files"
"""Names of the modality folders of a split."""


def write_person(
    folder: Path,
    name: str,
    attributes: Floats,
    face_model: Floats,
    sound: npt.NDArray[np.int16] | Floats,
    rate: int,
    *,
    occurrences: bool,
) -> None:
    """Write one person's clip.

    folder: of the split. name: site/chat/person/clip. attributes: (T, 25). face_model: (T, 58). sound: PCM (n,),
    int16, or float from -1 to 1, at `rate` Hz. occurrences: whether action units are 0 or 1; else they are intensities
    from 0 to 1. Raises OSError.
    """
    wav, table, coefficients = (
        folder / kind / f"{name}{ending}"
        for kind, ending in ((SOUND, ".wav"), (ATTRIBUTES, ".csv"), (FACE_MODEL, ".npy"))
    )
    for path in (wav, table, coefficients):
        path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(wav, sound, rate, subtype="PCM_16")
    formats = ["%d" if occurrences and i < AU.stop else "%.5f" for i in range(len(ATTRIBUTE_NAMES))]
    np.savetxt(table, attributes, fmt=formats, delimiter=",", header=",".join(ATTRIBUTE_NAMES), comments="")
    np.save(coefficients, face_model[:, None, :], allow_pickle=False)


def write_split(root: Path, split: Split, pairs: Sequence[tuple[str, str]]) -> None:
    """Write a split's table. pairs: (speaker's clip, listener's clip) of each dyad. Raises OSError."""
    write_csv(
        root / f"{split}.csv", ["", "speaker_path", "listener_path"], [[i, *pair] for i, pair in enumerate(pairs)]
    )


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a csv file atomically. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    atomic_write(path, text.getvalue())


def write_settings(root: Path, settings: dict[str, Any]) -> None:
    """Write corpus.yaml atomically. Raises OSError."""
    text = dump_yaml(settings, sort_keys=False, allow_unicode=True)
    atomic_write(root / "corpus.yaml", text)
