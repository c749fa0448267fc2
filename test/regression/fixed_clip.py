"""Reactions and metrics on fixed inputs, so that a change of structure can be shown to change no number.

`python test/regression/fixed_clip.py record [CASE …]` writes what this checkout computes, of all cases or of some; the
tests beside this file compare a later checkout with it. To the bit where the processor's arithmetic is the recorded one
(see `arithmetic`), else within a tolerance: other processors sum in another order.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from react_ros.evaluation.metrics.challenge import evaluate_arrays, evaluate_face_models
from react_ros.face import AU, FRAME_NS, Face, FaceState, Reaction, Sound, SoundState, SpeakerFrame
from react_ros.generators import registry

HERE = Path(__file__).parent
SPEAKER, REACTIONS, METRICS = HERE / "speaker.npz", HERE / "reactions.npz", HERE / "metrics.json"
FRAMES, SAMPLES, SEED = 125, 2, 3
EVERY = 4
"""Of the frames, the ones that are kept beside the digest of all."""

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "attentive": ("attentive", {}),
    "attentive delayed": ("attentive", {"expressiveness": 0.5, "mimicry_delay_ms": 600}),
    "belfusion": ("belfusion", {"weights": "belfusion-2026-11-21"}),
    "belfusion window": (
        "belfusion",
        {"weights": "belfusion-2026-11-21", "schedule": "window", "guidance": 1.0},
    ),
    "belfusion person": ("belfusion", {"weights": "belfusion-2026-11-28"}),
    "fsq": ("fsq", {"weights": "fsq-2026-11-21"}),
    "fsq guided": ("fsq", {"weights": "fsq-2026-11-21", "forgetting": 0.0, "guidance": 1.0}),
    "fsq person": ("fsq", {"weights": "fsq-2026-11-28b"}),
    "mean_frame": ("mean_frame", {}),
    "mean_sequence": ("mean_sequence", {}),
    "mime": ("mime", {}),
    "mime late": ("mime", {"delay_frames": 9}),
    "random": ("random", {}),
    "reactdiff": ("reactdiff", {"weights": "reactdiff-2026-11-21"}),
    "reactdiff window": (
        "reactdiff",
        {"weights": "reactdiff-2026-11-21", "schedule": "window", "eta": 0.5, "steps": 5, "style": "lively"},
    ),
    "reactdiff without diffusion": ("reactdiff", {"weights": "reactdiff-2026-11-21", "diffusion": False}),
    "reactdiff person": ("reactdiff", {"weights": "reactdiff-2026-11-28"}),
    "vqdiff": ("vqdiff", {"weights": "vqdiff-2026-11-21"}),
    "vqdiff window": (
        "vqdiff",
        {"weights": "vqdiff-2026-11-21", "schedule": "window", "guidance": 1.0, "codebook": False},
    ),
    "vqdiff person": ("vqdiff", {"weights": "vqdiff-2026-11-28"}),
}
"""Every system with its defaults, by dated weights, again with other parameters; the papers' window protocol too."""

_FACE = ("blendshapes", "rotation", "translation", "attributes")
_SOUND = ("mfcc", "mfcc_delta", "log_energy", "f0", "voicing", "speech_probability")


def arithmetic() -> str:
    """A digest of how this processor and these libraries round: two equal ones give equal reactions."""
    digest = hashlib.sha256(f"{torch.__version__} {np.__version__}".encode())
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            x = torch.randn(3, 50, 96)
            for layer in (
                torch.nn.Linear(96, 300),
                torch.nn.LSTM(96, 64, 2),
                torch.nn.GRU(96, 64),
                torch.nn.Conv1d(50, 8, 3),
            ):
                out = layer(x)
                digest.update((out[0] if isinstance(out, tuple) else out).numpy().tobytes())
            digest.update(torch.nn.functional.scaled_dot_product_attention(x, x, x).softmax(-1).numpy().tobytes())
            digest.update(torch.nn.functional.gelu(torch.nn.functional.layer_norm(x, (96,))).numpy().tobytes())
            packed = torch.randn(320, 96)
            digest.update(torch.nn.functional.linear(x[0, :1], packed).tanh().numpy().tobytes())
        y = np.linspace(-3.0, 3.0, 1000)
        digest.update(np.exp(y).tobytes() + np.sin(y).tobytes() + (y[:, None] * y @ y).tobytes())
    finally:
        torch.set_num_threads(threads)
    return digest.hexdigest()


def speaker() -> list[SpeakerFrame]:
    """The fixed speaker: a simulated one, 125 frames in which face and sound go missing at times."""
    with np.load(SPEAKER) as file:
        arrays = {name: file[name] for name in file.files}

    def frame(k: int) -> SpeakerFrame:
        face, sound = arrays["states"][k]
        rows: list[Any] = [arrays[n][k] for n in _FACE]
        heard: list[Any] = [a[k] if a.ndim > 1 else float(a[k]) for a in (arrays[n] for n in _SOUND)]
        return SpeakerFrame(k, k * FRAME_NS, Face(FaceState(face), *rows), Sound(SoundState(sound), *heard))

    return [frame(k) for k in range(len(arrays["states"]))]


def react(name: str, parameters: dict[str, Any]) -> tuple[np.ndarray, str]:
    """(T, S, 84) float32: 58 of the face model, 25 attributes, whether live; and the weights' SHA-256."""
    torch.set_num_threads(1)  # as a robot's listener has; matrix products round otherwise with two
    generator = registry.create(name, **parameters)
    stream = generator.start(samples=SAMPLES, seed=SEED)
    return table([stream.step(frame) for frame in speaker()]), generator.info.weights


def table(reactions: list[Reaction]) -> np.ndarray:
    """(T, S, 84) of reactions of S samples each."""
    rows = [np.concatenate([r.face_model, r.attributes, np.full((r.samples, 1), r.live)], axis=1) for r in reactions]
    return np.stack(rows).astype(np.float32)


def digest_of(array: np.ndarray) -> str:
    """SHA-256 of the array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def metrics() -> dict[str, float | None]:
    """The challenge's and ReactFace's metrics of seeded arrays: living, binary and constant channels."""
    out: dict[str, float | None] = {}
    for kind in ("living", "binary", "constant"):
        rng = np.random.default_rng({"living": 1, "binary": 2, "constant": 3}[kind])
        x = rng.random((6, 4, 150, 25)).cumsum(axis=2) % 1.0
        speakers, listeners = rng.random((6, 150, 25)), rng.random((6, 150, 25)).cumsum(axis=1) % 1.0
        if kind == "binary":
            listeners[..., AU] = np.round(listeners[..., AU])
        if kind == "constant":
            x[:2, :, :, 4], listeners[:, :, :5] = 0.1, 0.0
        appropriate = np.arange(6)[:, None] // 3 == np.arange(6)[None, :] // 3
        arrays = [a.astype(np.float32) for a in (x, speakers, listeners)]
        found = evaluate_arrays(arrays[0], arrays[1], arrays[2], appropriate)
        for name in ("frcorr", "frdist", "frdiv", "frvar", "frdvs", "frsyn"):
            out[f"{kind} {name}"] = getattr(found, name)
        models = [np.concatenate([a, a, a[..., :8]], axis=-1) for a in arrays[:2]]
        face = evaluate_face_models(models[0], models[1])
        for name in face.__dataclass_fields__:
            out[f"{kind} reactface {name}"] = getattr(face, name)
    return out


def record(extra: dict[str, dict[str, str]], only: list[str]) -> None:
    """Write what this checkout computes.

    extra: further weights of a system, {"float16": {"vqdiff": PATH}}. only: cases; the others, and the metrics, stay
    what they are. Raises ValueError for other cases where the recorded ones are of another processor's arithmetic.
    """
    arrays: dict[str, np.ndarray] = {}
    digests: dict[str, dict[str, str]] = {}
    if only:
        before = json.loads((HERE / "reactions.json").read_text())
        if before["arithmetic"] != arithmetic():
            raise ValueError("the cases were recorded on a processor that rounds otherwise: record all of them here")
        with np.load(REACTIONS) as file:
            kept = {key: d for key, d in before["cases"].items() if d["case"] not in only}
            arrays, digests = {key: file[key] for key in kept}, kept
    for weights in ("", *extra):
        for case, (name, parameters) in CASES.items():
            if (weights and name not in extra[weights]) or (only and case not in only):
                continue
            given = parameters | ({"weights": extra[weights][name]} if weights else {})
            reactions, sha = react(name, given)
            key = f"{case} {weights}".strip()
            arrays[key] = reactions[::EVERY]
            digests[key] = {"case": case, "weights": sha, "sha256": digest_of(reactions)}
            print(key, digests[key], flush=True)
    np.savez_compressed(REACTIONS, allow_pickle=False, **arrays)
    (HERE / "reactions.json").write_text(json.dumps({"arithmetic": arithmetic(), "cases": digests}, indent=1) + "\n")
    if not only:
        METRICS.write_text(json.dumps(metrics(), indent=1) + "\n")


if __name__ == "__main__":
    more = [a for a in sys.argv[2:] if a.startswith("{")]
    record(json.loads(more[0]) if more else {}, [a for a in sys.argv[2:] if not a.startswith("{")])
