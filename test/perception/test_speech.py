"""Speech detection: real speech is detected, silence and noise are not; equal to silero-vad."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from react_ros.assets import resolve
from react_ros.face import FRAME_SAMPLES, Floats
from react_ros.perception import speech
from react_ros.perception.speech import SpeechDetector, model_path


@pytest.fixture(scope="module")
def voice() -> Floats:
    """The first seconds of a reading voice (LibriVox) at 16 kHz."""
    sound, rate = soundfile.read(resolve("demo-voice-1"), dtype="float32", frames=160_000)
    assert rate == 16_000 and sound.ndim == 1
    return np.asarray(sound, np.float32)


def listen(sound: np.ndarray, detector: SpeechDetector | None = None) -> np.ndarray:
    detector = detector or SpeechDetector()
    whole = sound[: len(sound) // FRAME_SAMPLES * FRAME_SAMPLES].astype(np.float32)
    return np.array([detector.step(window) for window in whole.reshape(-1, FRAME_SAMPLES)])


def test_real_speech_is_found(voice):
    probability = listen(voice)
    loud = np.array([np.abs(w).max() for w in voice[: len(probability) * 640].reshape(-1, 640)]) > 0.1
    assert loud.sum() > 60
    assert np.mean(probability[loud] > 0.8) > 0.8


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(48_000),
        np.random.default_rng(0).normal(0, 0.003, 48_000),
        np.random.default_rng(1).normal(0, 0.1, 48_000),
        0.2 * np.sin(2 * np.pi * 100 * np.arange(48_000) / 16_000),
    ],
    ids=["silence", "faint noise", "loud noise", "hum"],
)
def test_silence_noise_and_hum_are_not_speech(sound):
    probability = listen(sound)
    assert probability[10:].max() < 0.3


def test_it_is_the_packages_own_network_block_by_block(voice):
    import torch

    from react_ros.perception.embedding import import_torchaudio

    # silero_vad imports torchaudio, which fails beside a CPU torch unless it has been imported this way before.
    import_torchaudio()
    from silero_vad.utils_vad import OnnxWrapper

    oracle = OnnxWrapper(str(model_path()), force_onnx_cpu=True)
    theirs = [float(oracle(torch.from_numpy(voice[i : i + 512]), 16_000)) for i in range(0, 96_000 - 511, 512)]
    ours = listen(voice[:96_000])
    ends = (np.arange(len(ours)) + 1) * FRAME_SAMPLES // 512 - 1
    assert np.abs(ours - np.array(theirs)[ends]).max() < 1e-5


def test_reset_forgets_and_a_stream_is_repeatable(voice):
    detector = SpeechDetector()
    first = listen(voice[:32_000], detector)
    detector.step(voice[:640])
    detector.reset()
    assert np.array_equal(first, listen(voice[:32_000], detector))


def test_detecting_speech_imports_no_torch():
    code = "import sys, numpy as np; from react_ros.perception.speech import SpeechDetector; "
    code += "SpeechDetector().step(np.zeros(640, np.float32)); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_missing_model_and_a_wrong_window_are_named(monkeypatch):
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install silero-vad"):
        SpeechDetector()
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"shape \(640,\), not \(512,\)"):
        SpeechDetector().step(np.zeros(512, np.float32))


def test_onnxruntime_telemetry_is_disabled_before_the_import() -> None:
    program = (
        "import os, sys; from react_ros.perception.speech import SpeechDetector\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "SpeechDetector(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "1"
