"""Acoustic features of each frame: MFCC, energy, pitch and voicing; causal.

numpy only: importing torch takes two seconds and 200 MB, and a killed perception node must be back within two seconds.
"""

from __future__ import annotations

from collections import deque
from functools import cache

import numpy as np

from react_ros.face import FRAME_SAMPLES, SAMPLE_RATE, Floats, Sound, SoundState

MELS = 40
COEFFICIENTS = 26
F0_RANGE = (60.0, 400.0)
"""Hz."""
LOG_ENERGY_FLOOR = -16.0
"""Natural logarithm of the mean square (full scale 1): about -70 dB, the noise floor of a good 12-bit microphone."""
SPEECH_ON, SPEECH_OFF = 0.5, 0.35
"""Hysteresis: speech begins at the first probability and ends below the second (silero-vad's defaults)."""

_PITCH_SAMPLES = 2 * FRAME_SAMPLES
_DELTA_FRAMES = 5
_MEL_OFFSET = 1e-6


@cache
def _mel_filters() -> np.ndarray:
    """(321, 40) triangular filters, evenly spaced on the HTK mel scale (2595 log10(1 + f / 700)) from 0 to 8 kHz."""
    top = 2595.0 * np.log10(1.0 + SAMPLE_RATE / 2 / 700.0)
    corners = 700.0 * (10.0 ** (np.linspace(0.0, top, MELS + 2) / 2595.0) - 1.0)
    bins = np.linspace(0.0, SAMPLE_RATE / 2, FRAME_SAMPLES // 2 + 1)[:, None]
    rise = (bins - corners[:-2]) / np.diff(corners)[:-1]
    fall = (corners[2:] - bins) / np.diff(corners)[1:]
    return np.maximum(0.0, np.minimum(rise, fall))


@cache
def _cosines() -> np.ndarray:
    """(40, 26) orthonormal DCT-II."""
    n, k = np.arange(MELS)[:, None] + 0.5, np.arange(COEFFICIENTS)
    basis = np.cos(np.pi / MELS * n * k) * np.sqrt(2.0 / MELS)
    basis[:, 0] /= np.sqrt(2.0)
    return basis


@cache
def _hann() -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)


def mfcc(window: Floats) -> Floats:
    """(26,) mel-frequency cepstral coefficients of one window: (640,) samples at 16 kHz, -1 to 1.

    Hann window over all 40 ms, power spectrum, 40 HTK mel bands, natural logarithm of (band + 1e-6), orthonormal
    DCT-II: torchaudio's MFCC with n_mfcc=26, log_mels=True, n_fft = win_length = hop_length = 640, center=False.
    """
    power = np.abs(np.fft.rfft(window * _hann())) ** 2
    return (np.log(power @ _mel_filters() + _MEL_OFFSET) @ _cosines()).astype(np.float32)


def pitch(samples: Floats) -> tuple[float, float]:
    """(F0 in Hz, 0 where unvoiced; voicing 0 to 1) of (1280,) samples at 16 kHz.

    YIN (de Cheveigné and Kawahara 2002, steps 2 to 5), 60 to 400 Hz: voicing is 1 minus the cumulative mean
    normalised difference at the period found. F0 holds for the middle of the samples, 40 ms before their end.
    """
    x = samples.astype(np.float64) - samples.mean(dtype=np.float64)
    shortest, longest = int(SAMPLE_RATE / F0_RANGE[1]), int(np.ceil(SAMPLE_RATE / F0_RANGE[0]))
    lags = longest + 2
    width = len(x) - lags
    size = 2048
    correlation = np.fft.irfft(np.conj(np.fft.rfft(x[:width], size)) * np.fft.rfft(x, size), size)[:lags]
    squares = np.concatenate([[0.0], np.cumsum(x * x)])
    energy = squares[width : width + lags] - squares[:lags]
    if energy.min() <= np.exp(LOG_ENERGY_FLOOR) * width:
        return 0.0, 0.0
    difference = np.maximum(energy[0] + energy - 2.0 * correlation, 0.0)
    normal = np.ones(lags)
    normal[1:] = difference[1:] * np.arange(1, lags) / np.maximum(np.cumsum(difference[1:]), 1e-12)
    # The first dip below the threshold, followed to its minimum; without one, the global minimum.
    inside = normal[shortest : longest + 1]
    deep = np.flatnonzero(inside < 0.15)
    i = int(deep[0]) if len(deep) else int(inside.argmin())
    while len(deep) and i + 1 < len(inside) and inside[i + 1] < inside[i]:
        i += 1
    lag = shortest + i
    voicing = float(np.clip(1.0 - normal[lag], 0.0, 1.0))
    if voicing < 0.5:
        return 0.0, voicing
    # Parabolic interpolation of the difference itself: the slope of the normalisation would shift the minimum.
    left, middle, right = difference[lag - 1 : lag + 2]
    bend = left - 2.0 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 1e-12 else 0.0
    return float(np.clip(SAMPLE_RATE / (lag + np.clip(shift, -1.0, 1.0)), *F0_RANGE)), voicing


class Acoustics:
    """Streaming acoustic features, one frame at a time; causal, with a memory of five frames."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear the past frames."""
        self._past: deque[Floats] = deque(maxlen=_DELTA_FRAMES)
        self._previous = np.zeros(FRAME_SAMPLES, np.float32)
        self._speaking = False

    def step(self, window: Floats, valid: float = 1.0, speech_probability: float = 0.0) -> Sound:
        """Features of the next frame.

        window: (640,) float32 at 16 kHz, -1 to 1. valid: the fraction of it that was received; at 0 the frame is
        MISSING and the past frames are cleared. speech_probability: of this frame, from `speech.SpeechDetector`; it
        decides between SPEECH and SILENCE, with hysteresis.
        The deltas are the least-squares slope over the last five frames; F0 and voicing use the last 80 ms.
        Raises ValueError for another shape.
        """
        if window.shape != (FRAME_SAMPLES,):
            raise ValueError(f"a window of sound has shape ({FRAME_SAMPLES},), not {window.shape}")
        if valid <= 0.0:
            self.reset()
            return Sound()
        coefficients = mfcc(window)
        while len(self._past) < _DELTA_FRAMES - 1:
            self._past.append(coefficients)
        self._past.append(coefficients)
        slope = np.arange(_DELTA_FRAMES) - (_DELTA_FRAMES - 1) / 2
        delta = (slope / (slope @ slope)) @ np.stack(self._past)
        f0, voicing = pitch(np.concatenate([self._previous, window]))
        self._previous = window.copy()
        self._speaking = speech_probability >= (SPEECH_OFF if self._speaking else SPEECH_ON)
        mean_square = float(np.mean(np.square(window, dtype=np.float64)))
        return Sound(
            state=SoundState.SPEECH if self._speaking else SoundState.SILENCE,
            mfcc=coefficients,
            mfcc_delta=delta.astype(np.float32),
            log_energy=max(float(np.log(mean_square + 1e-12)), LOG_ENERGY_FLOOR),
            f0=f0,
            voicing=voicing,
            speech_probability=speech_probability,
        )
