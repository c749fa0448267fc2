"""What lies between a simulated mouth and the recording: room, microphone, compressor, noise, level.

One spectrum over the whole clip does the linear part; 30 s take about 0.15 s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from react_ros.face import SAMPLE_RATE, Floats

_GRID = np.linspace(0.0, 40.0, 161)
_HOP = 80
"""Of the compressor's gain, samples."""


_CEPSTRUM = (
    (3.9, 0.0), (0.5, 0.5), (0.7, 0.8), (1.6, 0.6), (1.6, 0.7), (1.0, 0.7), (0.6, 0.4), (1.5, 0.5), (2.9, 0.7),
    (0.4, 0.5), (1.3, 0.4), (0.0, 0.4), (1.4, 0.5), (-0.2, 0.3), (0.4, 0.2), (0.1, 0.2), (0.2, 0.2),
)  # fmt: skip
"""Mean and standard deviation of c1, c2 … of the response: what the voices lack of ten recordings'."""


@dataclass(frozen=True, slots=True)
class Channel:
    """Room and microphone of one recording."""

    reverberation: float
    """RT60, s; 0 without a room."""
    tail: float
    """Amplitude of the reverberation relative to the direct sound."""
    reflections: tuple[tuple[float, float], ...]
    """Delay, s, and amplitude of early reflections."""
    high_pass: float
    """Hz."""
    low_pass: float
    """Hz; 8000 for none."""
    tilt: float
    """dB per octave about 1 kHz."""
    cepstrum: tuple[float, ...]
    """Mel-cepstral coefficients c1, c2 … of the response, of the natural logarithm of power (as `acoustics.mfcc`)."""
    bells: tuple[tuple[float, float, float], ...]
    """Frequency, Hz; gain, dB; width, octaves."""
    compression: float
    """Exponent: 0 leaves the level's changes, 1 removes them."""
    noise: float
    """dB below speech."""
    noise_slope: float
    """dB per octave of the noise's spectrum."""
    babble: float
    """Share of the noise that is other voices, 0 to 1."""
    level: float
    """Mean log energy of speech, natural logarithm of the mean square."""


def draw_channel(rng: np.random.Generator) -> Channel:
    """A random room and microphone."""
    room = rng.random() < 0.5
    rt60 = float(rng.uniform(0.15, 0.55)) if room else 0.0
    reflections = [(float(rng.uniform(0.001, 0.02)), float(rng.uniform(0.05, 0.35))) for _ in range(5)] if room else []
    return Channel(
        rt60,
        float(rng.uniform(0.1, 0.5)),
        tuple(reflections),
        float(np.exp(rng.uniform(np.log(35.0), np.log(170.0)))),
        float(rng.uniform(5000.0, 7500.0)) if rng.random() < 0.15 else 8000.0,
        float(np.clip(-1.0 + 0.6 * rng.standard_normal(), -3.0, 1.0)),
        tuple(m + s * float(rng.standard_normal()) for m, s in _CEPSTRUM),
        tuple(
            (float(np.exp(rng.uniform(np.log(120.0), np.log(7500.0)))), float(rng.uniform(-5.0, 5.0)),
             float(rng.uniform(0.25, 1.2)))
            for _ in range(3)
        ),
        float(rng.uniform(0.08, 0.48)),
        float(rng.uniform(17.0, 30.0) if rng.random() < 0.22 else rng.uniform(33.0, 60.0)),
        float(rng.uniform(-9.0, -2.0)),
        float(rng.uniform(0.3, 0.95)) if rng.random() < 0.15 else 0.0,
        float(np.clip(-6.5 + 0.75 * rng.standard_normal(), -8.5, -4.5)),
    )  # fmt: skip


def through(sound: Floats, channel: Channel, rng: np.random.Generator, babble: Floats | None = None) -> Floats:
    """PCM (n,) of the recording of `sound` (n,), any scale; silence gives the noise alone.

    babble: (n,) other people's voices, needed where the channel has some.
    """
    n = len(sound)
    size = int(scipy.fft.next_fast_len(n + SAMPLE_RATE // 2, real=True) or 0)
    hertz = np.maximum(np.arange(size // 2 + 1, dtype=np.float32) * np.float32(SAMPLE_RATE / size), 5.0)
    response = _microphone(hertz, channel)
    if channel.reverberation > 0.0:
        response = response * _rfft(_room(channel, rng), size)
    out = _irfft(_rfft(sound.astype(np.float32), size) * response, size)[:n]
    active = _active(out)
    if active.any():
        out = _compressed(out, channel.compression, active)
        speech = float(np.sqrt(np.mean(out[np.repeat(active, _HOP)[:n]] ** 2)))
    else:
        out, speech = np.zeros(n, np.float32), 1.0
    noise = _noise(rng, size, hertz, channel)[:n]
    if channel.babble > 0.0 and babble is not None:
        others = _irfft(_rfft(babble.astype(np.float32), size) * response, size)[:n]
        scale = others.std()
        if scale > 0.0:
            noise = np.sqrt(1.0 - channel.babble) * noise + np.sqrt(channel.babble) * others / scale
    out = out + speech * np.float32(10.0 ** (-channel.noise / 20.0)) * noise
    if active.any():
        # Mean of the log energy of 40 ms windows, as perception reports it.
        windows = out[: n // 640 * 640].reshape(-1, 640)
        energy = np.log(np.mean(windows**2, axis=1) + 1e-12)
        heard = active[: len(windows) * 8].reshape(-1, 8).mean(axis=1) > 0.5
        gain = np.exp(0.5 * (channel.level - energy[heard].mean())) if heard.any() else np.exp(0.5 * channel.level)
    else:
        gain = np.exp(0.5 * channel.level)
    out = out * np.float32(gain)
    # Soft limit above .7, as cheap recorders have.
    over = np.abs(out) > 0.7
    out[over] = np.sign(out[over]) * (0.7 + 0.29 * np.tanh((np.abs(out[over]) - 0.7) / 0.29))
    return out.astype(np.float32)


def _rfft(x: Floats, size: int) -> npt.NDArray[np.complex64]:
    return np.asarray(scipy.fft.rfft(x, size))


def _irfft(x: npt.NDArray[np.complex64], size: int) -> Floats:
    return np.asarray(scipy.fft.irfft(x, size))


def _active(sound: Floats) -> np.ndarray:
    """(ceil(n / 80),) whether there is speech: within 30 dB of the loud parts over 40 ms."""
    power = _power(sound)
    loud = np.quantile(power, 0.95) if power.any() else 0.0
    return power > max(1e-3 * loud, 1e-12)


def _power(sound: Floats) -> np.ndarray:
    steps = -(-len(sound) // _HOP)
    padded = np.pad(sound, (0, steps * _HOP - len(sound))).reshape(steps, _HOP)
    return uniform_filter1d(np.einsum("ij,ij->i", padded, padded) / _HOP, 8)


def _compressed(sound: Floats, exponent: float, active: np.ndarray) -> Floats:
    power = gaussian_filter1d(_power(sound), 5.0)
    reference = float(np.mean(power[active]))
    gain = (np.maximum(power, 1e-3 * reference) / reference) ** (-0.5 * exponent)
    at = (np.arange(len(gain)) + 0.5) * _HOP
    return sound * np.interp(np.arange(len(sound)), at, gain).astype(np.float32)


def _microphone(hertz: Floats, channel: Channel) -> Floats:
    octaves = np.log2(hertz / 1000.0)
    decibels = channel.tilt * np.clip(octaves, -3.0, 3.0)
    for centre, gain, width in channel.bells:
        decibels += gain * np.exp(-0.5 * ((octaves - np.log2(centre / 1000.0)) / width) ** 2)
    mel = 41.0 * np.log10(1.0 + hertz / 700.0) / np.log10(1.0 + SAMPLE_RATE / 2 / 700.0) - 0.5
    cosines = np.cos(np.pi / 40.0 * np.outer(np.arange(1, 1 + len(channel.cepstrum)), _GRID)) * np.sqrt(2.0 / 40.0)
    ripple = np.interp(mel, _GRID, np.array(channel.cepstrum) @ cosines)
    decibels += 10.0 / np.log(10.0) * ripple
    out = 10.0 ** (decibels / 20.0) / np.sqrt(1.0 + (channel.high_pass / hertz) ** 4)
    if channel.low_pass < 8000.0:
        out = out / np.sqrt(1.0 + (hertz / channel.low_pass) ** 16)
    return out.astype(np.float32)


def _room(channel: Channel, rng: np.random.Generator) -> Floats:
    """Impulse response: direct sound, early reflections, a tail of noise that decays by 60 dB within RT60."""
    length = int(min(channel.reverberation, 0.45) * SAMPLE_RATE)
    t = np.arange(length, dtype=np.float32) / SAMPLE_RATE
    tail = rng.standard_normal(length, dtype=np.float32) * np.exp(-6.9 * t / channel.reverberation)
    tail *= np.clip(t / 0.012, 0.0, 1.0)
    tail = gaussian_filter1d(tail, 0.8)
    out = channel.tail * tail / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    out[0] += 1.0
    for delay, amplitude in channel.reflections:
        out[int(delay * SAMPLE_RATE)] += amplitude
    return out.astype(np.float32)


def _noise(rng: np.random.Generator, size: int, hertz: Floats, channel: Channel) -> Floats:
    """(size,) of unit variance."""
    spectrum = rng.standard_normal((len(hertz), 2), dtype=np.float32).view(np.complex64)[:, 0]
    shape = 10.0 ** (channel.noise_slope / 20.0 * np.clip(np.log2(hertz / 1000.0), -4.0, 3.0))
    shape = shape / np.sqrt(1.0 + (channel.high_pass / hertz) ** 4)
    if channel.low_pass < 8000.0:
        shape = shape / np.sqrt(1.0 + (hertz / channel.low_pass) ** 16)
    noise = _irfft(spectrum * shape.astype(np.float32), size)
    return (noise / noise.std()).astype(np.float32)
