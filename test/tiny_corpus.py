"""Writes tiny corpora of random faces and voices in every supported layout."""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from react_ros.face import ATTRIBUTE_NAMES

REST_58 = np.array([0.2] * 52 + [3.19, 0.045, 0.0, 0.0, -0.02, 1.84], np.float32)
"""Near FaceVerse's mean."""


def attributes(rng: np.random.Generator, frames: int, columns: int = 25) -> np.ndarray:
    """(frames, 25): action units 0 or 1, slowly varying valence, arousal and expression probabilities."""
    t = np.arange(frames)[:, None] / 25.0
    units = np.sin(rng.uniform(0.2, 2.0, 15) * t + rng.uniform(0, 6, 15)) > rng.uniform(-0.5, 0.9, 15)
    affect = 0.6 * np.sin(rng.uniform(0.2, 1.0, 2) * t + rng.uniform(0, 6, 2))
    scores = np.exp(2.0 * np.sin(rng.uniform(0.2, 1.0, 8) * t + rng.uniform(0, 6, 8)))
    out = np.concatenate([units, affect, scores / scores.sum(1, keepdims=True)], axis=1)
    return out[:, :columns].astype(np.float32)


def face_model(rng: np.random.Generator, frames: int, arkit: bool = False) -> np.ndarray:
    """(frames, 58), varying slowly around FaceVerse's mean, or around ARKit weights and a head at rest."""
    t = np.arange(frames)[:, None] / 25.0
    wave_58 = 0.15 * np.sin(rng.uniform(0.2, 3.0, 58) * t + rng.uniform(0, 6, 58))
    rest = np.array([0.2] * 52 + [0.0] * 6) if arkit else REST_58
    return (rest + wave_58).astype(np.float32)


def voice(rng: np.random.Generator, seconds: float, rate: int) -> np.ndarray:
    """PCM (n,) int16: a hummed tone with pauses, and a little noise."""
    t = np.arange(round(seconds * rate)) / rate
    hum = sum(np.sin(2 * np.pi * rng.uniform(110, 220) * k * t) / k for k in range(1, 6))
    loud = np.clip(np.sin(2 * np.pi * rng.uniform(0.5, 1.5) * t), 0, 1)
    return (4000 * hum * loud + rng.normal(0, 30, len(t))).astype(np.int16)


def write_csv(path: Path, array: np.ndarray, names: Sequence[str] = ATTRIBUTE_NAMES) -> None:
    """An Emotion csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(",".join(f"{v:.7g}" for v in row) for row in array.tolist())
    path.write_text(",".join(names) + "\n" + rows + "\n")


def write_npy(path: Path, array: np.ndarray) -> None:
    """An npy; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write_wav(path: Path, pcm: np.ndarray, rate: int) -> None:
    """A 16-bit wav of (n,) or (n, channels) int16; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(pcm, "<i2").tobytes())


def write_react2024(
    root: Path,
    *,
    sessions: int = 3,
    splits: Sequence[str] = ("test",),
    frames: int = 751,
    seed: int = 0,
    site: str = "NoXI",
    modalities: Sequence[str] = ("attributes", "face_model", "audio"),
    rate: int = 16_000,
    arkit: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """A corpus in the layout of REACT 2023/24; `settings` become its corpus.yaml. Returns the root.

    Clip i of a split is {site}/chat_{i}/{Expert_video, Novice_video}/{i + 1}.
    """
    rng = np.random.default_rng(seed)
    for split in splits:
        rows = ["idx,speaker_path,listener_path"]
        for i in range(sessions):
            names = [f"{site}/chat_{i}/{person}/{i + 1}" for person in ("Expert_video", "Novice_video")]
            rows.append(f"{i},{names[0]},{names[1]}")
            for name in names:
                if "attributes" in modalities:
                    write_csv(root / split / "Emotion" / f"{name}.csv", attributes(rng, frames))
                if "face_model" in modalities:
                    write_npy(root / split / "3D_FV_files" / f"{name}.npy", face_model(rng, frames, arkit)[:, None])
                if "audio" in modalities:
                    write_wav(root / split / "Audio_files" / f"{name}.wav", voice(rng, frames / 25, rate), rate)
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    if settings is not None:
        (root / "corpus.yaml").write_text(yaml.safe_dump(dict(settings)))
    return root


def write_training_corpus(root: Path) -> Path:
    """Six dyads to train on and three to validate, 61 frames each, without audio, marked as simulated."""
    for split, sessions in (("train", 6), ("val", 3)):
        write_react2024(
            root, sessions=sessions, splits=(split,), frames=61, modalities=("attributes", "face_model"),
            arkit=True, seed=sessions,
            settings={"scheme": "arkit52", "simulated": True, "role_swap": False, "notice": "Made for a test."},
        )  # fmt: skip
    return root


def write_mars(
    root: Path,
    *,
    sessions: Sequence[int] = (0, 1),
    clips: int = 2,
    splits: Sequence[str] = ("test",),
    frames: int = 900,
    seed: int = 0,
    modalities: Sequence[str] = ("attributes", "face_model", "audio"),
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """A corpus in the layout of REACT 2025, 30 fps; each next clip is 6 frames longer. Returns the root.

    Clips are {split}/…/{speaker, listener}/session{s}/Camera-{c}.
    """
    rng = np.random.default_rng(seed)
    for split in splits:
        for session in sessions:
            for c in range(clips):
                n = frames + 6 * c
                for role in ("speaker", "listener"):
                    name = f"{role}/session{session}/Camera-{c}"
                    if "attributes" in modalities:
                        write_npy(root / split / "facial-attributes" / f"{name}.npy", attributes(rng, n))
                    if "face_model" in modalities:
                        write_npy(root / split / "coefficients" / f"{name}.npy", face_model(rng, n)[:, None])
                    if "audio" in modalities:
                        write_wav(root / split / "audio" / f"{name}.wav", voice(rng, n / 30, 16_000), 16_000)
    if settings is not None:
        (root / "corpus.yaml").write_text(yaml.safe_dump(dict(settings)))
    return root
