"""Optional speech embedding: wav2vec 2.0 features of the last second of audio, updated a few times a second."""

from __future__ import annotations

import importlib
import logging
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from react_ros.face import FPS, FRAME_SAMPLES, SAMPLE_RATE, Floats

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)

WIDTH = 768
_HOP = 320
"""Audio samples from one wav2vec 2.0 feature to the next: 20 ms."""


def import_torchaudio() -> ModuleType:
    """Import torchaudio, even where its compiled extension does not load.

    The wheel on PyPI is built against CUDA and fails beside a CPU build of torch, although its Python parts (features,
    models) need no compiled code. If the plain import fails, they are imported with the extension marked as absent.
    Raises ImportError where torchaudio is not installed.
    """
    if "torchaudio" in sys.modules:
        return sys.modules["torchaudio"]
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
            del sys.modules[name]
        absent: Any = ModuleType("torchaudio._extension")
        absent._IS_TORCHAUDIO_EXT_AVAILABLE = absent._IS_ALIGN_AVAILABLE = False
        absent.fail_if_no_align = lambda function: function
        sys.modules["torchaudio._extension"] = absent
        return importlib.import_module("torchaudio")


def load_wav2vec2(path: Path) -> torch.nn.Module:
    """torchaudio's wav2vec 2.0 base with weights from a file.

    path: a state dict of `torchaudio.models.wav2vec2_base()`, as .safetensors or as .pt / .pth (read with
    weights_only=True, so no code in it is executed). Raises FileNotFoundError, or ValueError for a file that cannot
    be read or does not fit the network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no wav2vec 2.0 weights at {path}: give a .safetensors or .pt state dict")
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Readers raise many types for a damaged file; the message must name the file.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is no readable state dict (.safetensors or .pt): {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ValueError(f"{path} holds {type(state).__name__}, not a state dict of tensors")
    with torch.device("meta"):
        model = import_torchaudio().models.wav2vec2_base()
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    wrong = [name for name in wanted if name not in state or tuple(state[name].shape) != wanted[name]]
    wrong += [name for name in state if name not in wanted]
    if wrong:
        raise ValueError(
            f"{path} does not fit torchaudio's wav2vec2_base: {len(wrong)} of its {len(wanted)} tensors are missing, "
            f"unknown or of another shape, e.g. {wrong[0]}"
        )
    model.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return model.eval()


class SpeechEmbedder:
    """Embedding of the last second of audio, updated every few frames.

    The network's attention is bidirectional, so only a window that ends now is causal. The embedding is the mean of
    its features over the newest `every` frames. It is computed in one background thread and takes effect when it is
    ready: no frame waits for it, and no computation starts while another runs. With deterministic=True (replay) it is
    computed within `step` and takes effect exactly `every` frames after the frame it was started in, independent of
    the machine's speed.
    """

    def __init__(
        self, model: torch.nn.Module, *, window_s: float = 1.0, every: int = 10, deterministic: bool = False
    ) -> None:
        """model: from `load_wav2vec2`. window_s: 0.1 to 10 s. every: frames between updates, 1 to 250 (10: 2.5 Hz).

        Raises ValueError for a value out of range.
        """
        if not 0.1 <= window_s <= 10.0:
            raise ValueError(f"window_s must be from 0.1 to 10 s, not {window_s!r}")
        if not 1 <= every <= 10 * FPS:
            raise ValueError(f"every must be from 1 to {10 * FPS} frames, not {every!r}")
        self._model = model.eval()
        self._samples = round(window_s * SAMPLE_RATE)
        self._every = every
        self._thread = None if deterministic else ThreadPoolExecutor(1, "wav2vec2")
        self._running: Future[Floats] | None = None
        self.reset()

    def reset(self) -> None:
        """Clear the audio received so far."""
        self._sound: deque[Floats] = deque(maxlen=-(-self._samples // FRAME_SAMPLES))
        self._frame = 0
        self._ready: tuple[int, Floats] | None = None
        self._current: Floats | None = None
        # An embedding that is still being computed belongs to the audio before the reset: discard it.
        self._running = None

    def step(self, window: Floats) -> Floats | None:
        """(768,) float32, the newest embedding that is ready; None before the first.

        window: (640,) float32 at 16 kHz, -1 to 1; zeros where samples are missing. Raises ValueError for another shape.
        """
        if window.shape != (FRAME_SAMPLES,):
            raise ValueError(f"a window of sound has shape ({FRAME_SAMPLES},), not {window.shape}")
        self._sound.append(window.copy())
        self._frame += 1
        if self._running is not None and self._running.done():
            self._current, self._running = self._running.result(), None
        if self._ready is not None and self._frame >= self._ready[0]:
            self._current, self._ready = self._ready[1], None
        if len(self._sound) == self._sound.maxlen and self._frame % self._every == 0:
            trailing = np.concatenate(self._sound)[-self._samples :]
            if self._thread is None:
                self._ready = (self._frame + self._every, self._embed(trailing))
            elif self._running is None:
                self._running = self._thread.submit(self._embed, trailing)
        return self._current

    def close(self) -> None:
        """End the background thread."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _embed(self, sound: Floats) -> Floats:
        import torch

        with torch.inference_mode():
            layers, _ = self._model.extract_features(torch.from_numpy(sound)[None])  # type: ignore[operator]
            features = layers[-1][0]  # (n, 768), one every 20 ms
            newest = features[-self._every * FRAME_SAMPLES // _HOP :]
            return newest.mean(0).numpy().astype(np.float32)


def open_embedder(
    weights: Path | str | None, *, window_s: float = 1.0, every: int = 10, deterministic: bool = False
) -> SpeechEmbedder | None:
    """The embedder with weights from a file; None, with a log line, where no file is given.

    Raises as `load_wav2vec2` and `SpeechEmbedder` do.
    """
    if not weights:
        _LOG.info("no wav2vec 2.0 weights given: frames carry no speech embedding")
        return None
    return SpeechEmbedder(load_wav2vec2(Path(weights)), window_s=window_s, every=every, deterministic=deterministic)
