"""Voice activity detection: the silero-vad network, streamed with onnxruntime (no torch)."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from react_ros.face import FRAME_SAMPLES, SAMPLE_RATE, Floats

_BLOCK = 512
_CONTEXT = 64


def model_path() -> Path:
    """The ONNX file inside the installed silero-vad package (MIT), found without importing it (it imports torch).

    Raises FileNotFoundError where the package or the file is missing.
    """
    spec = find_spec("silero_vad")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / "silero_vad.onnx"
        if path.is_file():
            return path
    raise FileNotFoundError("silero_vad.onnx is not installed: `pip install silero-vad` brings it")


class SpeechDetector:
    """Streaming speech probability, one frame at a time; single-threaded.

    The network takes 512 new audio samples after 64 of context and carries its own state: a frame of 640 audio samples
    runs it once or, every fourth time, twice; the remainder waits for the next frame.
    """

    def __init__(self, path: Path | None = None) -> None:
        """path: ONNX file of silero-vad 5 or 6; default: that of the installed package."""
        # Since 1.29 onnxruntime sends telemetry on Linux, too; it must be disabled before the import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path or model_path()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(SAMPLE_RATE, np.int64)
        self.reset()

    def reset(self) -> None:
        """Clear all state."""
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._waiting = np.zeros(0, np.float32)
        self._probability = 0.0

    def step(self, window: Floats) -> float:
        """Probability, 0 to 1, of speech in the last complete 32 ms block up to the end of this window.

        window: (640,) float32 at 16 kHz, -1 to 1. Raises ValueError for another shape.
        """
        if window.shape != (FRAME_SAMPLES,):
            raise ValueError(f"a window of sound has shape ({FRAME_SAMPLES},), not {window.shape}")
        waiting = np.concatenate([self._waiting, window], dtype=np.float32)
        while len(waiting) >= _BLOCK:
            block, waiting = waiting[:_BLOCK], waiting[_BLOCK:]
            inputs = {"input": np.concatenate([self._context, block])[None], "state": self._state, "sr": self._rate}
            output, self._state = self._session.run(None, inputs)
            self._context = block[-_CONTEXT:]
            self._probability = float(np.asarray(output)[0, 0])
        self._waiting = waiting
        return self._probability
