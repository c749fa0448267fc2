"""The simulated voice, a source-filter synthesiser, and the lip movements that belong to its sound.

Glottal pulses and noise through a time-varying vocal tract (Fant 1960; glottal pulse of Rosenberg 1971, cascade of
resonators of Klatt 1980). Filters are applied to overlapping spectra: 30 s take about 0.1 s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, resample_poly, sosfilt

from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.simulation.motion import SECONDS, Doubles
from react_ros.corpus.simulation.story import Phrase
from react_ros.face import ARKIT, ARKIT_INDEX, FPS, FRAME_SAMPLES, SAMPLE_RATE, Floats

CONTROL_RATE = 200
"""Control rate of the articulation, Hz: steps of 5 ms."""
_STEPS = CLIP_FRAMES * CONTROL_RATE // FPS
_SAMPLES = CLIP_FRAMES * FRAME_SAMPLES

_VOWELS: dict[str, tuple[float, float, float, float, float, float]] = {
    "a": (730.0, 1150.0, 2500.0, 1.0, 0.0, 0.1),
    "e": (530.0, 1840.0, 2480.0, 0.65, 0.0, 0.5),
    "i": (290.0, 2250.0, 2900.0, 0.3, 0.0, 0.9),
    "o": (500.0, 900.0, 2450.0, 0.65, 0.8, 0.0),
    "u": (320.0, 850.0, 2300.0, 0.3, 1.0, 0.0),
    "ə": (500.0, 1500.0, 2500.0, 0.5, 0.1, 0.1),
    "m": (260.0, 1100.0, 2300.0, 0.0, 0.0, 0.0),
}
"""F1, F2, F3 in Hz for a man's tract (rounded from Peterson and Barney 1952); openness, rounding, spread, 0 to 1."""

_CONSONANTS: dict[str, tuple[float, float, float, float]] = {
    "m": (0.35, 0.0, 0.0, 1.0),
    "b": (0.12, 0.0, 0.0, 1.0),
    "p": (0.0, 0.0, 0.15, 1.0),
    "s": (0.0, 1.0, 0.0, 0.0),
    "f": (0.0, 0.4, 0.1, 0.5),
    "t": (0.0, 0.35, 0.0, 0.0),
    "l": (0.55, 0.0, 0.0, 0.0),
    "h": (0.0, 0.0, 1.0, 0.0),
}
"""Voicing, frication, aspiration, and closure of the lips, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Voice:
    """The individual traits of a voice."""

    f0: float
    """Hz, 95 to 230."""
    tract: float
    """Ratio of formants to those of a man's tract of 17 cm: 1 to 1.2."""
    breath: float
    """Aspiration in the voice."""
    jitter: float
    """Relative standard deviation of the cycles' lengths."""
    shimmer: float
    """Relative standard deviation of the cycles' amplitudes."""
    level: float
    """Root mean square of full vowels, full scale 1."""
    room: float
    """Root mean square of the room's noise."""


def draw_voice(rng: np.random.Generator) -> Voice:
    """A random voice; higher voices have shorter tracts."""
    height = rng.random()
    return Voice(
        f0=float(95.0 * (230.0 / 95.0) ** height),
        tract=float(np.clip(1.0 + 0.17 * height + 0.02 * rng.standard_normal(), 0.97, 1.22)),
        breath=float(rng.uniform(0.02, 0.07)),
        jitter=float(rng.uniform(0.003, 0.009)),
        shimmer=float(rng.uniform(0.02, 0.06)),
        level=float(rng.uniform(0.05, 0.1)),
        room=float(rng.uniform(0.0003, 0.0008)),
    )


@dataclass(slots=True)
class Articulation:
    """Control signals of an utterance in steps of 5 ms, (6008,) unless noted."""

    f0: Doubles
    """Hz; continuous across unvoiced stretches."""
    voicing: Doubles
    frication: Doubles
    aspiration: Doubles
    formants: Doubles
    """(6008, 3) Hz, for a man's tract."""
    openness: Doubles
    """Of the jaw, 0 to 1 and above where emphasised."""
    rounding: Doubles
    spread: Doubles
    closure: Doubles
    """Of the lips."""


def articulate(phrases: tuple[Phrase, ...], base_f0: float, pitch_of_mood: Doubles | None = None) -> Articulation:
    """The control signals of phrases.

    base_f0: Hz. pitch_of_mood: (6008,) factor on the pitch (joy is higher, sadness lower), or None.
    """
    f0 = np.full(_STEPS, base_f0)
    controls = np.zeros((7, _STEPS))  # voicing, frication, aspiration, openness, rounding, spread, closure
    formants = np.tile(_VOWELS["ə"][:3], (_STEPS, 1))
    for phrase in phrases:
        _add_pitch_contour(f0, phrase, base_f0)
        for syllable in phrase.syllables:
            a, b = round(syllable.start * CONTROL_RATE), min(round(syllable.end * CONTROL_RATE), _STEPS)
            if b <= a:
                continue
            *tract, openness, rounding, spread = _VOWELS[syllable.vowel]
            loud = (0.55 + 0.45 * openness) * (1.0 + syllable.stress)
            u = (np.arange(b - a) + 0.5) / (b - a)
            controls[0, a:b] = loud * (0.55 + 0.45 * np.sin(np.pi * u))
            controls[3, a:b] = openness * (1.0 + 0.6 * syllable.stress)
            controls[4, a:b], controls[5, a:b] = rounding, spread
            formants[a:b] = tract
            if syllable.consonant:
                c = a + min(round(0.42 * (b - a)), 18 if syllable.consonant == "h" else 14)
                voicing, frication, aspiration, closure = _CONSONANTS[syllable.consonant]
                controls[:3, a:c] = np.array([voicing, frication, aspiration])[:, None] * loud
                controls[3, a:c] *= 1.0 - 0.9 * max(closure, 0.7 if frication else 0.3)
                controls[6, a:c] = closure
                if syllable.consonant == "m":
                    formants[a:c] = _VOWELS["m"][:3]
    if pitch_of_mood is not None:
        f0 *= pitch_of_mood
    step = CONTROL_RATE / 1000.0
    amplitudes = np.asarray(gaussian_filter1d(controls[:3], 8 * step, axis=1))
    lips = np.asarray(gaussian_filter1d(controls[3:], 26 * step, axis=1))
    tract_moves = gaussian_filter1d(formants, 20 * step, axis=0)
    return Articulation(
        f0=gaussian_filter1d(f0, 12 * step),
        voicing=amplitudes[0],
        frication=amplitudes[1],
        aspiration=amplitudes[2],
        formants=tract_moves,
        openness=lips[0],
        rounding=lips[1],
        spread=lips[2],
        closure=lips[3],
    )


def _add_pitch_contour(f0: Doubles, phrase: Phrase, base: float) -> None:
    """Add declination, accents on stressed syllables and the final contour to f0, in place."""
    a, b = round(phrase.start * CONTROL_RATE), min(round(phrase.end * CONTROL_RATE) + 8, _STEPS)
    t = np.arange(a, b) / CONTROL_RATE
    if phrase.laughed:
        f0[a:b] = base * 1.55 * np.exp(-0.35 * (t - phrase.start) / max(phrase.end - phrase.start, 0.1))
        return
    tune = 1.16 - 0.2 * (t - phrase.start) / (phrase.end - phrase.start)
    for s in phrase.syllables:
        if s.stress > 0.0:
            tune += 0.45 * s.stress * np.exp(-(((t - 0.5 * (s.start + s.end)) / 0.09) ** 2))
    to_end = phrase.end - t
    if phrase.ending == "fall":
        fall = np.clip((to_end - phrase.low) / 0.12, 0.0, 1.0)
        tune = 0.8 + (tune - 0.8) * fall
    elif phrase.ending == "rise":
        tune += 0.42 * np.clip((0.4 - to_end) / 0.4, 0.0, 1.0)
    f0[a:b] = base * tune


def sound_of(articulation: Articulation, voice: Voice, rng: np.random.Generator, rate: int = SAMPLE_RATE) -> Floats:
    """PCM (n,) of a clip, -1 to 1: 30.04 s at `rate` Hz."""
    steps = (np.arange(_STEPS) + 0.5) * (SAMPLE_RATE / CONTROL_RATE)
    samples = np.arange(_SAMPLES)
    f0, voicing, frication, aspiration = (
        np.interp(samples, steps, track)
        for track in (articulation.f0, articulation.voicing, articulation.frication, articulation.aspiration)
    )
    cycles = np.cumsum(f0) / SAMPLE_RATE
    cycle = cycles.astype(np.int64)
    unsteady = rng.standard_normal((2, cycle[-1] + 1))
    cycles = np.cumsum(f0 * (1.0 + voice.jitter * unsteady[0, cycle])) / SAMPLE_RATE
    phase = cycles % 1.0
    noise = rng.standard_normal(_SAMPLES)
    source = voicing * (1.0 + voice.shimmer * unsteady[1, cycle]) * _glottal_flow_slope(phase)
    # Aspiration noise while the glottis is open.
    source += noise * (0.45 * aspiration + voice.breath * voicing * (phase < 0.56) * 6.0)
    wave = _through_tract(source, articulation.formants, voice.tract)
    hiss = butter(2, (3200.0, 7400.0), "bandpass", fs=SAMPLE_RATE, output="sos")
    active = voicing > 0.3
    if active.any():
        wave *= voice.level / np.sqrt(np.mean(wave[active] ** 2))
    wave += 0.35 * voice.level * frication * sosfilt(hiss, noise)
    hum = butter(1, 1200.0, fs=SAMPLE_RATE, output="sos")
    room = np.asarray(sosfilt(hum, rng.standard_normal(_SAMPLES)))
    wave += voice.room * room / room.std()
    if rate != SAMPLE_RATE:
        wave = resample_poly(wave, rate, SAMPLE_RATE)[: round(SECONDS * rate)]
    return np.clip(wave, -0.99, 0.99).astype(np.float32)


def _glottal_flow_slope(phase: Doubles) -> Doubles:
    """Derivative of Rosenberg's glottal flow at phases 0 to 1 of the cycle (lip radiation differentiates the flow)."""
    opens, closes = 0.4, 0.16
    opening = 0.5 * np.pi / opens * np.sin(np.pi * phase / opens)
    closing = -0.5 * np.pi / closes * np.sin(0.5 * np.pi * (phase - opens) / closes)
    return np.where(phase < opens, opening, np.where(phase < opens + closes, closing, 0.0))


_WINDOW, _HOP, _FFT = 512, 256, 1024


def _through_tract(source: Doubles, formants: Doubles, tract: float) -> Doubles:
    """(n,) the source filtered by five resonators, three of them time-varying (formants: (6008, 3) Hz)."""
    padded = np.concatenate([np.zeros(_HOP), source, np.zeros(_WINDOW)]).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    audible = np.flatnonzero(np.abs(windows).max(axis=1) > 1e-6)
    hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
    spectrum = scipy.fft.rfft(windows[audible] * hann, _FFT, axis=1)
    centre = np.clip(audible * _HOP * CONTROL_RATE // SAMPLE_RATE, 0, _STEPS - 1)
    moving = formants[centre] * tract
    z = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT).astype(np.complex64)
    for frequency, width in (
        (moving[:, :1], 70.0),
        (moving[:, 1:2], 95.0),
        (moving[:, 2:3], 140.0),
        (np.array([[3500.0 * tract]]), 220.0),
        (np.array([[4500.0 * tract]]), 300.0),
    ):
        r = np.exp(-np.pi * width / SAMPLE_RATE)
        b = (2.0 * r * np.cos(2.0 * np.pi * frequency / SAMPLE_RATE)).astype(np.float32)
        spectrum *= (1.0 - b + r * r) / (1.0 - b * z + np.float32(r * r) * (z * z))
    pieces = np.asarray(scipy.fft.irfft(spectrum, _FFT, axis=1))
    out = np.zeros((len(windows) + _FFT // _HOP, _HOP))
    for j in range(_FFT // _HOP):
        out[audible + j] += pieces[:, j * _HOP : (j + 1) * _HOP]
    return out.ravel()[_HOP : _HOP + _SAMPLES]


def lips_of(articulation: Articulation) -> Doubles:
    """(751, 52) blendshapes of lips and jaw for the sound, at the frames' times."""
    at, a = np.arange(CLIP_FRAMES) * CONTROL_RATE // FPS, articulation
    openness, rounding, spread, closure = (x[at] for x in (a.openness, a.rounding, a.spread, a.closure))
    out = np.zeros((CLIP_FRAMES, len(ARKIT)))
    for name, value in (
        ("jawOpen", 0.3 * openness),
        ("mouthClose", 0.08 * closure),
        ("mouthPressLeft", 0.14 * closure),
        ("mouthPressRight", 0.14 * closure),
        ("mouthRollLower", 0.1 * closure),
        ("mouthFunnel", 0.22 * rounding),
        ("mouthPucker", 0.3 * rounding),
        ("mouthStretchLeft", 0.14 * spread),
        ("mouthStretchRight", 0.14 * spread),
        ("mouthLowerDownLeft", 0.2 * openness),
        ("mouthLowerDownRight", 0.2 * openness),
        ("mouthUpperUpLeft", 0.05 * openness),
        ("mouthUpperUpRight", 0.05 * openness),
    ):
        out[:, ARKIT_INDEX[name]] = value
    return out
