"""The speech of simulated people: drawn talk, rendered with an identity, prosody and a recording's channel.

The network of hibari-tts (Apache-2.0) gives pitch, a harmonic and a noise spectrum per 12.5 ms of an English phrase;
all that makes a person (pitch, tract, breath, effort, tempo) is changed there, before the sound exists. One voice in
fifteen is the formant synthesiser of `voice`. 30 s take about 0.5 s of one core.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from react_ros.corpus.clips import CLIP_FRAMES, CorpusError
from react_ros.corpus.simulation import voice
from react_ros.corpus.simulation.channel import Channel, draw_channel, through
from react_ros.corpus.simulation.motion import SECONDS, TIMES, Doubles, lognormal
from react_ros.corpus.simulation.mouth import Sound
from react_ros.corpus.simulation.mouth import lips as lips
from react_ros.corpus.simulation.prosody import Clause, Ending, Talk, draw_clauses
from react_ros.corpus.simulation.story import CONSONANTS, Phrase, Syllable
from react_ros.face import FRAME_SAMPLES, SAMPLE_RATE, Floats

MISSING = 'simulated voices need hibari-tts: `pip install "react_ros[corpus]"` brings it'

VOWELS = frozenset("AIOQWYaeiouæɑɐɒɔəɚɛɜɪʊʌᵊᵻ")
"""Vowels and diphthongs of hibari's alphabet."""

_RATE = 80
"""Frames of the network's spectra per second."""
_HOP, _FFT = SAMPLE_RATE // _RATE, 4 * SAMPLE_RATE // _RATE
_BINS = _FFT // 2 + 1
_ROWS = 490
"""Rows of 20 Hz of the network's spectra that are used: 8 kHz of the shortest tract."""
_FRAMES = -(-CLIP_FRAMES * FRAME_SAMPLES // _HOP) + 1
_SAMPLES = CLIP_FRAMES * FRAME_SAMPLES
_LEAD = 3.5
"""Frames by which the sound precedes the network's durations (vowels, closures, sibilants and nasals agree)."""
_SILENT = -20.0
"""Log amplitude."""
_NOT_SOUNDS = frozenset(" ˈˌː.,?!;:—…")


@dataclass(frozen=True, slots=True)
class Speaker:
    """The traits of one voice, its manner of talking, and its room and microphone."""

    source: str
    """"network" or "formants"."""
    f0: float
    """Hz, 80 to 250."""
    tract: float
    """Factor on the frequencies of the network's spectra (a woman's): .82 to 1.04."""
    bend: tuple[float, float]
    """Change of that factor at low and at high frequencies."""
    timbre: tuple[float, ...]
    """Gain in nepers of ten bands of 800 Hz."""
    range: float
    """Factor on the pitch movements."""
    breath: float
    """Gain of the noise, nepers."""
    friction: float
    """Further gain of the noise above 2 kHz, nepers."""
    tilt: float
    """Of the harmonic spectrum at 8 kHz, nepers."""
    contrast: float
    """Factor on the depth of the formants."""
    loose: float
    """Random change of the spectrum from frame to frame, nepers."""
    jitter: float
    shimmer: float
    """Nepers."""
    effort: float
    """Standard deviation of the vocal effort, nepers."""
    tempo: float
    wobble: float
    """Standard deviation of the tempo within a phrase."""
    pauses: float
    """Factor on the pauses."""
    disfluency: float
    """Per 100 words."""
    uptalk: float
    """Share of continuing clauses that rise."""
    amount: float
    """Share of the time in which this person has the turn: 0 silent, 1 without end."""
    inhales: float
    """Share of longer pauses with an audible intake of breath."""
    laugh_rate: float
    """Bursts per second."""
    laugh_voiced: float
    """Share of voiced bursts."""
    jaw: float
    """Factors on the movements of jaw and lips."""
    lips: float
    channel: Channel


@dataclass(frozen=True, slots=True)
class SpokenPhrase:
    """What was said between two pauses, or one laugh; s in the clip."""

    start: float
    end: float
    ending: Ending
    """Of the pitch; "held" where a filler or a lengthened hesitation ends it."""
    low: float
    """Length of the region of low pitch at the end, s; 0 for none."""
    stresses: tuple[float, ...]
    """Middles of the emphasised syllables."""
    clause_end: bool
    turn_end: bool
    laughed: bool
    text: str = ""


@dataclass(slots=True)
class Speech:
    """A clip of 30.04 s."""

    sound: Floats
    """(480640,) PCM at 16 kHz, -1 to 1, as recorded."""
    sounds: tuple[Sound, ...]
    phrases: tuple[SpokenPhrase, ...]
    clean: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    """(480640,) the same before room and microphone, any scale."""


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """A random speaker. Lower voices have longer tracts."""
    low = rng.random() < 0.54
    f0 = float(np.clip(lognormal(rng, 118.0, 0.17) if low else lognormal(rng, 193.0, 0.14), 82.0, 260.0))
    height = np.log(f0 / 88.0) / np.log(245.0 / 88.0)
    tract = float(np.clip(0.845 + 0.165 * height + 0.03 * rng.standard_normal(), 0.82, 1.04))
    draw = rng.random()
    if draw < 0.06:
        amount = 0.0
    elif draw < 0.22:
        amount = float(rng.uniform(0.05, 0.4))
    elif draw < 0.6:
        amount = float(rng.uniform(0.4, 0.85))
    else:
        amount = float(rng.uniform(0.85, 1.0))
    return Speaker(
        source="formants" if rng.random() < 0.07 else "network",
        f0=f0,
        tract=tract,
        bend=(float(0.03 * rng.standard_normal()), float(0.03 * rng.standard_normal())),
        timbre=tuple(float(x) for x in 0.25 * rng.standard_normal(10)),
        range=float(rng.uniform(0.45, 1.1)),
        breath=float(0.55 + 0.45 * rng.standard_normal()),
        friction=float(rng.uniform(-0.2, 0.9)),
        tilt=float(rng.uniform(-0.9, 0.9)),
        contrast=float(rng.uniform(1.15, 1.6)),
        loose=float(rng.uniform(0.03, 0.22)),
        jitter=float(rng.uniform(0.001, 0.006)),
        shimmer=float(rng.uniform(0.03, 0.12)),
        effort=float(rng.uniform(0.1, 0.35)),
        tempo=float(rng.uniform(1.0, 1.4)),
        wobble=float(rng.uniform(0.05, 0.2)),
        pauses=lognormal(rng, 1.0, 0.3),
        disfluency=float(rng.uniform(3.0, 11.0)),
        uptalk=float(rng.uniform(0.1, 0.55)),
        amount=amount,
        inhales=float(rng.uniform(0.0, 0.7)),
        laugh_rate=float(rng.uniform(4.2, 5.8)),
        laugh_voiced=float(rng.uniform(0.4, 1.0)),
        jaw=lognormal(rng, 1.0, 0.4),
        lips=lognormal(rng, 1.0, 0.35),
        channel=draw_channel(rng),
    )


def draw_talk(rng: np.random.Generator, speaker: Speaker, amount: float | None = None) -> Talk:
    """What a speaker says in a clip. amount: share of the time with the turn, 0 to 1; default: the speaker's."""
    start, clauses = draw_clauses(
        rng, amount=speaker.amount if amount is None else amount, pauses=speaker.pauses,
        disfluency=speaker.disfluency, uptalk=speaker.uptalk, seconds=SECONDS,
    )  # fmt: skip
    return Talk(start, clauses)


def render(
    talk: Talk,
    speaker: Speaker,
    rng: np.random.Generator,
    *,
    pitch: Doubles | None = None,
    effort: Doubles | None = None,
    laughs: Sequence[tuple[float, float]] = (),
) -> Speech:
    """The speech of a clip, recorded.

    pitch, effort: (751,) factors of the mood on pitch and vocal effort, about 1; None for 1. laughs: (start, length) in
    s; talk pauses around them, and a phrase that runs into one is broken off. Raises CorpusError where hibari-tts is
    missing.
    """
    pitch = np.ones(CLIP_FRAMES) if pitch is None else pitch
    effort = np.ones(CLIP_FRAMES) if effort is None else effort
    speak = _formant_speech if speaker.source == "formants" else _network_speech
    clean, sounds, phrases = speak(talk, speaker, rng, pitch, effort, sorted(laughs))
    babble = np.roll(_babble(), int(rng.integers(_SAMPLES))) if speaker.channel.babble > 0.0 else None
    return Speech(through(clean, speaker.channel, rng, babble), sounds, phrases, clean)


@cache
def _babble() -> Floats:
    """(480640,) several people at once; the same in every process."""
    rng = np.random.default_rng(2000)
    out = np.zeros(_SAMPLES, np.float32)
    one = np.ones(CLIP_FRAMES)
    for _ in range(5):
        speaker = replace(draw_speaker(rng), source="network")
        wave = _network_speech(draw_talk(rng, speaker, 0.97), speaker, rng, one, one, [])[0]
        out += wave / wave.std()
    return out


# The network.


@dataclass(slots=True)
class _Network:
    session: Any
    vocabulary: dict[str, int]
    g2p: Any


@cache
def _network() -> _Network:
    """One per process, single-threaded: loading takes a second."""
    spec = find_spec("hibari")
    if spec is None or not spec.submodule_search_locations:
        raise CorpusError(MISSING)
    assets = Path(spec.submodule_search_locations[0]) / "assets"
    # Since 1.29 onnxruntime sends telemetry on Linux, too; it must be disabled before the import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime
    from hibari.g2p import G2P

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Protocol buffers merge where they are concatenated: this declares the phonemes' durations as one more output.
    name = b"/Clip_output_0"
    value = bytes([0x0A, len(name)]) + name
    output = bytes([0x62, len(value)]) + value
    model = (assets / "hibari.onnx").read_bytes() + bytes([0x3A, len(output)]) + output
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return _Network(session, json.loads((assets / "vocab.json").read_text("utf-8")), G2P())


@lru_cache(maxsize=4096)
def phonemes_of(text: str) -> str:
    """Words in hibari's alphabet. Raises CorpusError where hibari-tts is missing."""
    return _network().g2p(text).strip(" .,?!")


@dataclass(slots=True)
class _Take:
    """A phrase in n frames of 12.5 ms, from its first audible one."""

    harmonic: Floats
    """(n, 490) log amplitude."""
    phase: Floats
    """(n, 490)."""
    noise: Floats
    """(n, 490) log amplitude."""
    pitch: Doubles
    """(n,) ln of F0 relative to the phrase's median."""
    voiced: npt.NDArray[np.bool_]
    marks: list[tuple[str, float, float]]
    """Phonemes: first and last frame."""
    stresses: list[float]
    words: list[float]
    """Frames in which words end."""
    end: float
    """Frame in which the sound ends; a few fading ones follow."""


def _speak(phonemes: str, speed: float) -> tuple[list[Floats], npt.NDArray[np.float64], str]:
    network = _network()
    known = "".join(c for c in phonemes if c in network.vocabulary)
    ids = np.array([[0, *(network.vocabulary[c] for c in known), 0]], np.int64)
    out = network.session.run(None, {"ids": ids, "speed": np.array([speed], np.float32)})
    edges = np.concatenate([[0.0], np.cumsum(2.0 * np.ravel(out[6]).astype(np.float64))])
    return [o[0] for o in out[:6]], edges, known


def _tokens(known: str, edges: npt.NDArray[np.float64]) -> list[tuple[str, float, float]]:
    """Characters with first and last frame: a vowel has its stress mark's time too, and sounds meet at spaces."""
    at = edges - _LEAD
    out: list[tuple[str, float, float]] = []
    for i, c in enumerate(known):
        a, b = float(at[i + 1]), float(at[i + 2])
        before, after = known[i - 1 : i] if i else "", known[i + 1 : i + 2]
        if before and before in "ˈˌ":
            a = float(at[i])
        elif before == " ":
            a -= 0.5 * float(at[i + 1] - at[i])
        if after == " " and c not in _NOT_SOUNDS:
            b += 0.5 * float(at[i + 3] - at[i + 2])
        out.append((c, a, b))
    return out


def _two_branches(lh: Floats, ln: Floats, lr: Floats, f0: Floats) -> tuple[Floats, Floats]:
    """(harmonic, noise), (490, n) each: the network's third branch, whose phases hold its own pitch, is divided.

    Towards a phrase's end it carries most of the voice; where it is voiced, and below 4 kHz, it goes to the harmonics.
    """
    share = np.clip((200.0 - np.arange(_ROWS, dtype=np.float32)) / 60.0, 0.0, 1.0)[:, None] * (f0 > 60.0)
    third = np.exp(2.0 * lr)
    harmonic = 0.5 * np.log(np.exp(2.0 * lh) + share * third)
    noise = 0.5 * np.log(np.exp(2.0 * ln) + (1.0 - 0.7 * share) * third)
    return harmonic.astype(np.float32), noise.astype(np.float32)


def _take(clause: Clause, speaker: Speaker, rng: np.random.Generator) -> _Take:
    """A clause with its lengthenings and the wobble of its tempo."""
    phonemes = clause.phonemes or phonemes_of(clause.text)
    words = phonemes.split(" ")
    if 0 <= clause.repeat < len(words):
        words.insert(clause.repeat, words[clause.repeat])
    if 0 <= clause.cut < len(words):
        words.insert(clause.cut, words[clause.cut][:3] + ",")
    mark = {"rise": "?", "fall": "."}.get(clause.ending, ",")
    speed = float(np.clip(speaker.tempo * clause.tempo, 0.5, 2.0))
    (lh, th, ln, lr, _, f0), edges, known = _speak(" ".join(words) + mark, speed)
    lh, th, ln, lr = lh[:_ROWS], th[:_ROWS], ln[:_ROWS], lr[:_ROWS]
    lh, noise = _two_branches(lh, ln, lr, f0)
    level = np.maximum(lh[5:200].max(axis=0), noise[5:].max(axis=0) + 1.0)
    audible = np.flatnonzero(level > level.max() - 4.2)
    first, last = int(audible[0]), int(audible[-1])
    voiced = f0 > 60.0
    loud = lh[5:200].max(axis=0)
    voiced &= loud > loud.max() - 6.0
    tune = np.log(np.maximum(f0, 60.0))
    if voiced.any():
        tune = np.interp(np.arange(len(f0)), np.flatnonzero(voiced), tune[voiced])
        tune -= np.median(tune[voiced])
    tokens = _tokens(known, edges)
    marks = [
        (c, max(a, first - 0.5), min(b, last + 0.5)) for c, a, b in tokens
        if c not in _NOT_SOUNDS and b > first and a < last
    ]  # fmt: skip
    # Duration of each source frame.
    n = last - first + 1
    slow = np.ones(n)
    if speaker.wobble > 0.0:
        knots = rng.standard_normal(n // 20 + 3)
        slow *= np.exp(speaker.wobble * np.interp(np.arange(n), 20.0 * np.arange(len(knots)) - 10.0, knots))
    vowels = [a for c, a, _ in marks if c in VOWELS]
    if vowels and clause.lengthen != 1.0:
        slow[max(int(vowels[-1] - first), 0) :] *= clause.lengthen
    clock = np.concatenate([[0.0], np.cumsum(slow)])
    frames = max(int(clock[-1]), 4)
    source = first + np.interp(np.arange(frames) + 0.5, clock, np.arange(n + 1)) - 0.5

    def at(x: float) -> float:
        return float(np.interp(x - first + 0.5, np.arange(n + 1), clock))

    # A few of the network's frames after the audible end, fading.
    tail = np.minimum(last + np.arange(1, 7), len(f0) - 1)
    fade = 1.2 * np.concatenate([[0.3], np.zeros(frames - 1), np.arange(1, len(tail) + 1)])[:, None]
    source = np.clip(np.concatenate([source, tail]), 0, len(f0) - 1)
    low = np.minimum(source.astype(np.int64), len(f0) - 2)
    part = (source - low)[:, None].astype(np.float32)
    nearest = np.rint(source).astype(np.int64)

    def resampled(x: Floats) -> Floats:
        x = np.ascontiguousarray(x.T)
        return (x[low] * (1.0 - part) + x[low + 1] * part).astype(np.float32)

    stresses, ends = _stressed(tokens, clause.emphasis, rng)
    return _Take(
        resampled(lh) - fade.astype(np.float32),
        np.ascontiguousarray(th.T)[nearest],
        resampled(noise) - fade.astype(np.float32),
        np.interp(source, np.arange(len(tune)), tune),
        voiced[nearest],
        [(c, at(a), at(b)) for c, a, b in marks],
        [at(s) for s in stresses],
        [at(e) for e in ends],
        float(frames),
    )  # fmt: skip


def _stressed(
    tokens: list[tuple[str, float, float]], count: int, rng: np.random.Generator
) -> tuple[list[float], list[float]]:
    """(middles of `count` vowels with primary stress, ends of words), in source frames."""
    candidates = []
    for i, (c, _, _) in enumerate(tokens):
        if c == "ˈ":
            vowel = next((t for t in tokens[i + 1 : i + 5] if t[0] in VOWELS), None)
            if vowel:
                candidates.append(0.5 * (vowel[1] + vowel[2]))
    chosen = rng.permutation(len(candidates))[:count]
    return [candidates[i] for i in sorted(chosen)], [a for c, a, _ in tokens if c == " "]


def _tune(take: _Take, clause: Clause, speaker: Speaker, rng: np.random.Generator) -> tuple[Doubles, float]:
    """((n,) ln of the factor on the speaker's F0, length of the region of low pitch in s)."""
    n = len(take.pitch)
    t = np.arange(n) / _RATE
    out = speaker.range * take.pitch + 0.05 * rng.standard_normal()
    loud = take.harmonic[:, 5:200].max(axis=1)
    # The network's voice goes on, inaudibly, after a phrase's end: endings count from the last loud frame.
    heard = np.flatnonzero((take.voiced & (loud > loud.max() - 2.3))[: int(take.end)])
    end = (heard[-1] + 1) / _RATE if len(heard) else n / _RATE
    begin = heard[0] / _RATE if len(heard) else 0.0
    out -= 0.1 * np.clip((t - begin) / max(end - begin, 0.3), 0.0, 1.0) - 0.05
    for s in take.stresses:
        out += (0.1 + 0.16 * speaker.range) * np.exp(-0.5 * ((t - s / _RATE) / 0.09) ** 2)
    to_end = end - t
    low = 0.0
    if clause.ending == "fall" and clause.low > 0.0:
        low = min(clause.low, 0.6 * (end - begin))
        share = np.clip((to_end - low) / 0.12, 0.0, 1.0)
        floor = -0.3 - 0.04 * np.clip(1.0 - to_end / low, 0.0, 1.0)
        out = floor + share * (out - floor)
    elif clause.ending == "rise":
        span = min(0.35, 0.7 * (end - begin))
        share = np.clip((span - to_end) / span, 0.0, 1.0)
        out = (1.0 - share) * out + share * (0.05 + clause.rise * np.log(2.0) / 12.0)
    elif clause.ending == "held":
        span = min(0.6, end - begin) if clause.text else 10.0
        share = np.clip((to_end - span) / 0.15, 0.0, 1.0)
        out = -0.12 + share * (out + 0.12)
    elif clause.ending == "level":
        span = min(0.25, 0.5 * (end - begin))
        share = np.clip((to_end - span) / 0.15, 0.0, 1.0)
        out = share * out + (1.0 - share) * np.clip(out, -0.1, 0.12)
    return out, low


@dataclass(slots=True)
class _Score:
    """The spectra of a clip in frames of 12.5 ms."""

    harmonic: Floats
    phase: Floats
    noise: Floats
    tune: Doubles
    """ln of the factor on F0."""
    voiced: npt.NDArray[np.bool_]

    @staticmethod
    def silent() -> _Score:
        return _Score(
            np.full((_FRAMES, _ROWS), _SILENT, np.float32), np.zeros((_FRAMES, _ROWS), np.float32),
            np.full((_FRAMES, _ROWS), _SILENT, np.float32), np.zeros(_FRAMES), np.zeros(_FRAMES, bool),
        )  # fmt: skip

    def add(self, start: int, take: _Take, tune: Doubles, stop: int) -> None:
        """Place a take at a frame, up to `stop`; where it overlaps the last one's fading end, the louder counts."""
        a, b = max(start, 0), min(start + len(tune), stop, _FRAMES)
        if b <= a:
            return
        mine = slice(a - start, b - start)
        louder = (take.voiced[mine] | ~self.voiced[a:b])[:, None]
        self.phase[a:b] = np.where(louder, take.phase[mine], self.phase[a:b])
        np.maximum(self.harmonic[a:b], take.harmonic[mine], out=self.harmonic[a:b])
        np.maximum(self.noise[a:b], take.noise[mine], out=self.noise[a:b])
        self.tune[a:b] = np.where(louder[:, 0], tune[mine], self.tune[a:b])
        self.voiced[a:b] |= take.voiced[mine]


def _network_speech(
    talk: Talk,
    speaker: Speaker,
    rng: np.random.Generator,
    pitch: Doubles,
    effort: Doubles,
    laughs: Sequence[tuple[float, float]],
) -> tuple[Floats, tuple[Sound, ...], tuple[SpokenPhrase, ...]]:
    score = _Score.silent()
    sounds: list[Sound] = []
    phrases: list[SpokenPhrase] = []
    for start, seconds in laughs:
        _add_laugh(score, start, seconds, speaker, rng, sounds, phrases)
    busy = [(a - 0.12, a + s + float(rng.uniform(0.1, 0.5))) for a, s in laughs]
    now = talk.start
    for clause in talk.clauses:
        if now >= SECONDS - 0.1:
            break
        take = _take(clause, speaker, rng)
        tune, low = _tune(take, clause, speaker, rng)
        now, stop = _room_for(now, take, busy)
        if now >= SECONDS - 0.1:
            break
        begin = round(now * _RATE)
        last = begin + take.end if stop is None else min(stop, begin + take.end)
        score.add(begin, take, tune, _FRAMES if stop is None else int(last))
        whole = stop is None and last / _RATE <= SECONDS
        end = min(last / _RATE, SECONDS)
        for kind, a, b in take.marks:
            a, b = max((begin + a) / _RATE, 0.0), min((begin + b) / _RATE, end)
            if b - a > 0.004:
                sounds.append(Sound(kind, a, b))
        stresses = tuple(s for s in ((begin + s) / _RATE for s in take.stresses) if 0.0 <= s < end)
        if end > 0.05:
            phrases.append(
                SpokenPhrase(
                    max(now, 0.0), end, clause.ending if whole else "level", low if whole else 0.0, stresses,
                    clause.clause_end and whole, clause.turn_end and whole, False, clause.text,
                )
            )  # fmt: skip
        if clause.pause > 0.4 and whole and rng.random() < speaker.inhales:
            _add_breath(score, last / _RATE + clause.pause, min(clause.pause - 0.15, 0.5), rng)
        now = last / _RATE + clause.pause
    wave = _sound_of(score, speaker, rng, pitch, effort)
    return wave, tuple(sorted(sounds, key=lambda s: s.start)), tuple(sorted(phrases, key=lambda p: p.start))


def _room_for(now: float, take: _Take, busy: list[tuple[float, float]]) -> tuple[float, float | None]:
    """(when a take can begin, s; the frame at which a laugh breaks it off, or None)."""
    for a, b in busy:
        if now >= b or now + take.end / _RATE <= a:
            continue
        begin = round(now * _RATE)
        ends = [w for w in take.words if begin + w <= a * _RATE]
        if now < a and ends and ends[-1] > 30.0:
            return now, begin + ends[-1]
        now = b
    return now, None


def _add_laugh(
    score: _Score,
    start: float,
    seconds: float,
    speaker: Speaker,
    rng: np.random.Generator,
    sounds: list[Sound],
    phrases: list[SpokenPhrase],
) -> None:
    """Bursts of an aspirated vowel, falling in pitch and loudness, and an intake of breath."""
    vowel = "ʌɛɑɪæ"[int(rng.integers(5))]
    (lh, th, ln, lr, _, f0), edges, known = _speak("".join(f"h{vowel}" for _ in range(4)) + ".", 1.1)
    lh, th, ln, lr = lh[:_ROWS], np.ascontiguousarray(th[:_ROWS].T), ln[:_ROWS], lr[:_ROWS]
    lh, noise = (np.ascontiguousarray(x.T) for x in _two_branches(lh, ln, lr, f0))
    breath = float(rng.uniform(0.15, 0.3)) * min(seconds, 1.5) if seconds > 0.8 else 0.0
    count = max(int((seconds - breath) * speaker.laugh_rate), 1)
    length = (seconds - breath) / count
    high = float(rng.uniform(0.15, 0.55))
    bursts: list[Sound] = []
    where = [i + 1 for i, c in enumerate(known) if c == "h"]
    for i in range(count):
        u = i / max(count - 1, 1)
        begin = round((start + i * length) * _RATE)
        n = round((start + (i + 1) * length) * _RATE) - begin
        k = where[i % len(where)]
        h = max(int(n * rng.uniform(0.3, 0.5)), 1)
        source = np.concatenate(
            [np.linspace(edges[k], edges[k + 1] - 1.0, h), np.linspace(edges[k + 1], edges[k + 2] - 1.0, max(n - h, 1))]
        )
        at = np.clip(np.rint(source), 0, len(lh) - 1).astype(np.int64)
        x = np.arange(len(at)) / len(at)
        shape = -(0.5 + 0.6 * u) - 3.0 * np.clip((x - 0.75) / 0.25, 0.0, 1.0) - 0.8 * np.clip(0.15 - x, 0.0, 1.0) / 0.15
        shape = (shape + 0.25 * rng.standard_normal())[:, None].astype(np.float32)
        voiced = (x > 0.3) & (rng.random() < speaker.laugh_voiced)
        quiet = np.where(voiced, 0.0, -12.0)[:, None].astype(np.float32)
        breathy = np.float32(0.8 if voiced.any() else 1.8)
        take = _Take(
            lh[at] + shape + quiet, th[at], noise[at] + shape + breathy, np.zeros(len(at)), voiced, [], [], [], len(at)
        )
        tune = high * (1.1 - 0.9 * u) - 0.15 * x + 0.05 * rng.standard_normal()
        score.add(begin, take, tune, _FRAMES)
        a, b = max(begin / _RATE, 0.0), min((begin + 0.9 * len(at)) / _RATE, SECONDS)
        if b > a:
            bursts.append(Sound("laugh", a, b))
    if breath > 0.12:
        _add_breath(score, start + seconds, breath, rng, gain=1.0)
    if bursts:
        sounds += bursts
        phrases.append(SpokenPhrase(bursts[0].start, bursts[-1].end, "fall", 0.0, (), False, False, True))


def _add_breath(score: _Score, end: float, seconds: float, rng: np.random.Generator, gain: float = 0.0) -> None:
    """An intake of breath that ends at a time, s."""
    b = min(round((end - 0.04) * _RATE), _FRAMES)
    a = max(round((end - seconds) * _RATE), 0)
    if b - a < 4:
        return
    x = (np.arange(b - a) + 0.5) / (b - a)
    hertz = 20.0 * np.arange(_ROWS)
    centre = rng.uniform(1000.0, 2200.0)
    colour = -2.0 * np.log2(np.maximum(hertz, 50.0) / centre) ** 2 / 4.0 - 0.5 * hertz / 4000.0
    level = gain + rng.uniform(-3.2, -1.2) + 1.5 * np.log(np.sin(np.pi * x) + 1e-3)
    shape = (level[:, None] + colour[None, :]).astype(np.float32)
    np.maximum(score.noise[a:b], shape, out=score.noise[a:b])


def _sound_of(score: _Score, speaker: Speaker, rng: np.random.Generator, pitch: Doubles, effort: Doubles) -> Floats:
    """(480640,) the clip's sound before the channel: the speaker's tract, breath and effort, then one inverse STFT."""
    if not (score.harmonic.max() > _SILENT or score.noise.max() > _SILENT):
        return np.zeros(_SAMPLES, np.float32)
    frames = np.arange(_FRAMES) / _RATE
    active = np.flatnonzero((score.harmonic[:, ::8].max(axis=1) > -9.0) | (score.noise[:, ::8].max(axis=1) > -9.0))
    k = np.arange(_BINS) / (_BINS - 1)
    factor = speaker.tract * (1.0 + speaker.bend[0] * (1.0 - k) + speaker.bend[1] * k)
    rows = np.clip(np.arange(_BINS) / factor, 0.0, _ROWS - 1.001)
    low = rows.astype(np.int64)
    part = (rows - low).astype(np.float32)

    def warped(x: Floats) -> Floats:
        x = np.ascontiguousarray(x[active].T)
        return (x[low] * (1.0 - part[:, None]) + x[low + 1] * part[:, None]).astype(np.float32)

    # (401, active frames) from here on.
    harmonic, noise, phase = (
        warped(score.harmonic),
        warped(score.noise),
        np.ascontiguousarray(score.phase[active].T)[low],
    )
    # The spectra show the harmonics of the network's own pitch, about 200 Hz apart; lower voices would be
    # read an octave too high.
    comb = float(np.interp(speaker.f0, (150.0, 210.0), (4.5, 2.0)))
    loose = gaussian_filter1d(rng.standard_normal(harmonic.shape, dtype=np.float32), 6.0, axis=0)
    loose = gaussian_filter1d(loose, 1.0, axis=1) * np.float32(speaker.loose * 8.7)
    harmonic, noise = (
        _contrasted(np.asarray(gaussian_filter1d(x, comb, axis=0), np.float32), speaker.contrast) + loose
        for x in (harmonic, noise)
    )
    timbre = np.interp(k, (np.arange(10) + 0.5) / 10.0, speaker.timbre)
    knots = rng.standard_normal(int(SECONDS / 0.25) + 3)
    moved = speaker.effort * np.interp(frames, 0.25 * (np.arange(len(knots)) - 1.0), knots)
    moved = (gaussian_filter1d(moved, 4.0) + np.log(np.interp(frames, TIMES, effort)))[active].astype(np.float32)
    leaning = (0.95 + 0.7 * k)[:, None].astype(np.float32) * moved[None, :]
    shimmer = (speaker.shimmer * rng.standard_normal(len(active))).astype(np.float32)
    harmonic += leaning + (timbre + speaker.tilt * k)[:, None].astype(np.float32) + shimmer[None, :]
    friction = speaker.friction * np.clip((k - 0.2) / 0.1, 0.0, 1.0)
    noise += 0.7 * leaning + (timbre + speaker.breath + friction)[:, None].astype(np.float32)

    tune = score.tune + np.log(np.interp(frames, TIMES, pitch)) + speaker.jitter * rng.standard_normal(_FRAMES)
    flutter = gaussian_filter1d(rng.standard_normal(_FRAMES), 2.0) * 2.66
    tune += (0.004 + speaker.jitter) * flutter
    drift = (
        0.04
        * gaussian_filter1d(rng.standard_normal(_FRAMES), 3.0 * _RATE, mode="wrap")
        * np.sqrt(2 * np.sqrt(np.pi) * 3.0 * _RATE)
    )
    f0 = np.clip(speaker.f0 * np.exp(tune + drift), 55.0, 600.0)
    wave = np.pad(_pulses(f0, score.voiced), _FFT // 2)
    windows = np.lib.stride_tricks.sliding_window_view(wave, _FFT)[::_HOP][active]
    hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)
    spectrum = np.ascontiguousarray(np.asarray(scipy.fft.rfft(windows * (hann / (_FFT / 4)), axis=1)).T)
    turn = np.tanh(phase) * np.float32(np.pi)
    rotation = np.empty(turn.shape, np.complex64)
    np.cos(turn, out=rotation.real)
    np.sin(turn, out=rotation.imag)
    rotation *= np.exp(np.minimum(harmonic, 11.0))
    spectrum = spectrum * rotation
    random = rng.standard_normal((_BINS, 2 * len(active)), dtype=np.float32).view(np.complex64)
    random *= np.exp(np.minimum(noise, 9.0))
    spectrum += random
    pieces = np.asarray(scipy.fft.irfft(np.ascontiguousarray(spectrum.T), _FFT, axis=1)) * hann
    out = np.zeros((_FRAMES + 3, _HOP), np.float32)
    # Hann squared at a quarter's hop sums to 1.5.
    pieces = pieces.reshape(len(active), 4, _HOP) / np.float32(1.5)
    for j in range(4):
        out[active + j] += pieces[:, j]
    return out.ravel()[_FFT // 2 : _FFT // 2 + _SAMPLES].copy()


def _contrasted(spectrum: Floats, factor: float) -> Floats:
    """(401, n) log spectra whose peaks and valleys about the mean over 1.8 kHz are deeper by a factor."""
    broad = np.asarray(uniform_filter1d(spectrum, 91, axis=0))
    return (broad + np.float32(factor) * (spectrum - broad)).astype(np.float32)


def _pulses(f0: Doubles, voiced: npt.NDArray[np.bool_]) -> Floats:
    """(frames * 200,) all harmonics below 7.9 kHz at unit amplitude, in closed form (as in hibari's dsp)."""
    steps = np.arange(len(f0) * _HOP)
    f = np.interp(steps, _HOP * np.arange(len(f0)), f0)
    phase = (np.pi * (np.cumsum(f) / SAMPLE_RATE % 1.0)).astype(np.float32)
    harmonics = np.floor(7900.0 / f).astype(np.float32) + np.float32(0.5)
    below = 2.0 * np.sin(phase)
    flat = np.abs(below) < 2e-3
    out = np.where(flat, harmonics, np.sin(2.0 * harmonics * phase) / np.where(flat, 1.0, below)) - 0.5
    gate = np.interp(steps, _HOP * np.arange(len(f0)), voiced.astype(np.float64))
    return (out * gate).astype(np.float32)


# The formant synthesiser, as one more source.

_VOWEL_OF = {
    "A": "e", "I": "a", "O": "o", "Q": "o", "W": "a", "Y": "o", "a": "a", "e": "e", "i": "i", "o": "o", "u": "u",
    "æ": "a", "ɑ": "a", "ɐ": "a", "ɒ": "o", "ɔ": "o", "ɛ": "e", "ɜ": "ə", "ɪ": "i", "ʊ": "u", "ʌ": "a",
}  # fmt: skip
_CONSONANT_OF = {"v": "f", "θ": "f", "ð": "l", "ʃ": "s", "ʒ": "s", "z": "s", "ʧ": "t", "ʤ": "t", "d": "t", "k": "t",
                 "ɡ": "b", "n": "l", "ŋ": "l", "ɹ": "l", "ɾ": "l", "h": "h", "j": "l", "w": "b", "T": "t"}  # fmt: skip


def _formant_speech(
    talk: Talk,
    speaker: Speaker,
    rng: np.random.Generator,
    pitch: Doubles,
    effort: Doubles,
    laughs: Sequence[tuple[float, float]],
) -> tuple[Floats, tuple[Sound, ...], tuple[SpokenPhrase, ...]]:
    built: list[Phrase] = []
    sounds: list[Sound] = []
    phrases: list[SpokenPhrase] = []
    for start, seconds in laughs:
        count = max(round(seconds * speaker.laugh_rate), 1)
        edges = start + np.arange(count + 1) * seconds / count
        built.append(
            Phrase(
                tuple(Syllable(a, b, "h", "a", 0.3) for a, b in pairwise(edges)), "fall", 0.0,
                laughed=True,
            )
        )  # fmt: skip
        sounds += [Sound("laugh", a, b) for a, b in pairwise(edges) if a >= 0.0 and b < SECONDS]
        phrases.append(SpokenPhrase(start, min(start + seconds, SECONDS), "fall", 0.0, (), False, False, True))
    now = max(talk.start, 0.0)
    for clause in talk.clauses:
        syllables: list[Syllable] = []
        marks: list[Sound] = []
        text = clause.phonemes or phonemes_of(clause.text)
        onset, stressed, left, t = "", False, clause.emphasis, now
        for c in text:
            if c == "ˈ":
                stressed = True
            elif c in VOWELS:
                length = float(rng.uniform(0.13, 0.22)) * (1.2 if stressed else 0.95) / (speaker.tempo * clause.tempo)
                loud = stressed and left > 0 and rng.random() < 0.5
                left -= loud
                vowel = _VOWEL_OF.get(c, "ə")
                syllables.append(Syllable(t, t + length, onset, vowel, 1.0 if loud else 0.2 if stressed else 0.0))
                share = 0.35 * length if onset else 0.0
                if onset:
                    marks.append(Sound(onset, t, t + share))
                marks.append(Sound(c, t + share, t + length))
                t, onset, stressed = t + length, "", False
            elif c not in _NOT_SOUNDS:
                onset = c if c in CONSONANTS else _CONSONANT_OF.get(c, "")
        hit = next(((a, s) for a, s in laughs if now < a + s + 0.2 and t > a - 0.1), None)
        if hit is not None:
            now = hit[0] + hit[1] + 0.25
            continue
        if t >= SECONDS - 0.2:
            break
        if not syllables:
            now += clause.pause
            continue
        ending = "level" if clause.ending == "held" else clause.ending
        phrase = Phrase(tuple(syllables), ending, clause.low if ending == "fall" else 0.0)
        built.append(phrase)
        sounds += marks
        phrases.append(
            SpokenPhrase(
                phrase.start, phrase.end, clause.ending, phrase.low,
                tuple(0.5 * (s.start + s.end) for s in syllables if s.stress >= 1.0),
                clause.clause_end, clause.turn_end, False, clause.text,
            )
        )  # fmt: skip
        now = t + clause.pause
    times = (np.arange(_SAMPLES) / SAMPLE_RATE).astype(np.float32)
    steps = np.arange(0.0, SECONDS, 1.0 / voice.CONTROL_RATE)
    plan = voice.articulate(tuple(built), speaker.f0, np.interp(steps, TIMES, pitch))
    traits = voice.Voice(
        speaker.f0, float(np.clip(speaker.tract + 0.15, 0.97, 1.22)), 0.03 + 0.05 * speaker.laugh_voiced,
        speaker.jitter + 0.003, speaker.shimmer, 0.07, 0.0,
    )  # fmt: skip
    wave = voice.sound_of(plan, traits, rng) * np.interp(times, TIMES, effort).astype(np.float32)
    return wave, tuple(sorted(sounds, key=lambda s: s.start)), tuple(sorted(phrases, key=lambda p: p.start))
