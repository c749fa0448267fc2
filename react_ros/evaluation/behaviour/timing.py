"""Human timing of listeners: blinks, nods, smiles, lags and responses to cues, against published bands.

Events are stored per clip, not averaged, so that clips of many shards pool to exactly the figures of one run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.behaviour.events import (
    HEAD_HZ,
    SMILE_WINDOW_S,
    AnyFloats,
    CueTiming,
    Doubles,
    Lag,
    MotionSeries,
    Nod,
    answers,
    band_pass,
    find_backchannels,
    find_blinks,
    find_cues,
    find_lag,
    find_nods,
    find_rises,
    time_answers,
)


@dataclass(frozen=True, slots=True)
class Band:
    """A published range of human behaviour."""

    low: float
    high: float
    source: str


LONG_BLINK_MS = 410.0
"""Threshold between short (208 ms) and long blinks (607 ms) of Hömke 2018."""

BANDS: Mapping[str, Band] = {
    "blink rate": Band(10.5, 32.5, "Doughty 2001, conversation"),
    # Measured at a quarter of the lid's range, a blink of 208 ms from first to last motion is shorter.
    "blink duration": Band(
        100.0, 607.0, "Hömke 2018: short about 208, long 607; low end ours: 25 fps, at 25 % closure"
    ),
    "nod frequency": Band(2.6, 6.5, "Hale 2020, listeners' fast nods"),
    "nod decline": Band(0.0, 1.0, "Mori 2025: later cycles are smaller"),
    "first cycle of longer nods": Band(1.0, math.inf, "Mori 2025: larger than in shorter nods"),
    "lower after a nod": Band(0.0, math.inf, "Mori 2025: the head ends lower"),
    "smile latency": Band(0.0, 1000.0, "Riehle 2017: mostly under 1000 ms, some under 200"),
    # Muscle activity begins after 300 to 400 ms; visible motion and its peak speed follow.
    "facial mimicry lag": Band(300.0, 1000.0, "Dimberg 1998: muscles after 300 to 400 ms; Riehle 2017: within 1000"),
    "head pitch lag": Band(400.0, 800.0, "Hale 2020: about 600 ms; the width is ours"),
    "head yaw lag": Band(400.0, 800.0, "Hale 2020: about 600 ms; the width is ours"),
    "head roll lag": Band(400.0, 800.0, "Hale 2020: about 600 ms; the width is ours"),
    "backchannel latency": Band(400.0, 1000.0, "Ward and Tsukahara 2000: about 700 ms; the width is ours"),
    "answers beyond chance": Band(1.645, math.inf, "one-sided 5 % of a normal"),
}
"""The published bands by measure; jitter is compared with the real listeners instead."""

JITTER_BAND = Band(0.5, 2.0, "ours: within a factor of two of the real listeners")

LEAST_EVENTS = 5
"""Least events for a median and quartiles."""
LEAST_MINUTES = 2.0
"""Least minutes for a rate: at 10 per minute 20 events, a standard error of about a quarter."""

_LAGS = ("facial mimicry", "brow mimicry", "head pitch", "head yaw", "head roll")


@dataclass(frozen=True, slots=True)
class ClipTiming:
    """The events of one listener in one clip; times in s unless noted. None: cannot be detected."""

    name: str
    """Name of the clip."""
    sample: int
    """Index of the sample in that clip."""
    seconds: float
    blinks: tuple[float, ...] | None
    """Durations of blinks."""
    nods: tuple[Nod, ...] | None
    prompts: int | None
    """Number of the speaker's smiles."""
    smile_latencies: tuple[float, ...]
    """Delays of the smiles that respond to them."""
    lags: dict[str, Lag]
    backchannels: int
    answered: CueTiming | None
    jitter: dict[str, tuple[float, int]]
    """Per group of channels, the sum of |third difference| fps^3, and the number of terms."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> ClipTiming:
        """The inverse of `to_dict`, also after JSON."""
        plain = dict(d)
        plain["blinks"] = None if d["blinks"] is None else tuple(d["blinks"])
        plain["nods"] = None if d["nods"] is None else tuple(Nod(**n) for n in d["nods"])
        plain["smile_latencies"] = tuple(d["smile_latencies"])
        plain["lags"] = {k: Lag(**v) for k, v in d["lags"].items()}
        if d["answered"] is not None:
            plain["answered"] = CueTiming(**{**d["answered"], "latencies": tuple(d["answered"]["latencies"])})
        plain["jitter"] = {k: (float(v[0]), int(v[1])) for k, v in d["jitter"].items()}
        return cls(**plain)


def time_clip(
    name: str,
    listener: MotionSeries,
    speaker: MotionSeries | None = None,
    speech: npt.NDArray[np.bool_] | None = None,
    f0: AnyFloats | None = None,
    *,
    sample: int = 0,
) -> ClipTiming:
    """Detect the events of one listener in one clip.

    speaker, speech (T,), f0 (T,) Hz (0 unvoiced): the same frames of the speaker; None where the corpus has none:
    the measures that need them are not taken. Raises ValueError, naming the clip, for lengths or rates that differ.
    """
    t = listener.frames
    for what, n in (("speaker", speaker and speaker.frames), ("speech", _size(speech)), ("f0", _size(f0))):
        if n is not None and n != t:
            raise ValueError(f"{name}: the listener has {t} frames but the {what} {n}")
    if speaker is not None and speaker.fps != listener.fps:
        raise ValueError(f"{name}: the listener has {listener.fps} frames a second but the speaker {speaker.fps}")
    fps = listener.fps
    prompts: list[float] | None = None
    latencies: list[float | None] = []
    if speaker is not None:
        prompts = [r.start for r in find_rises(speaker.smile, fps, speaker.least_rise)]
        smiles = [r.start for r in find_rises(listener.smile, fps, listener.least_rise)]
        latencies = answers(smiles, prompts, SMILE_WINDOW_S)
    backchannels = find_backchannels(listener, speaker)
    return ClipTiming(
        name=name,
        sample=sample,
        seconds=listener.seconds,
        blinks=None if listener.eyelids is None else tuple(b.seconds for b in find_blinks(listener)),
        nods=None if listener.rotation is None else tuple(find_nods(listener)),
        prompts=None if prompts is None else len(prompts),
        smile_latencies=tuple(s for s in latencies if s is not None),
        lags={} if speaker is None else _lags(listener, speaker),
        backchannels=len(backchannels),
        answered=None if speech is None else time_answers(backchannels, find_cues(speech, f0, fps), t, fps),
        jitter=_jitter(listener),
    )


def _size(series: npt.NDArray[Any] | None) -> int | None:
    return None if series is None else len(series)


def _lags(listener: MotionSeries, speaker: MotionSeries) -> dict[str, Lag]:
    fps = listener.fps
    found = {
        "facial mimicry": find_lag(np.gradient(listener.smile), np.gradient(speaker.smile), fps),
        "brow mimicry": find_lag(np.gradient(listener.brow), np.gradient(speaker.brow), fps),
    }
    if listener.rotation is not None and speaker.rotation is not None:
        own, other = (band_pass(m.rotation, HEAD_HZ, fps) for m in (listener, speaker) if m.rotation is not None)
        if own is not None and other is not None:
            for axis, name in enumerate(("head pitch", "head yaw", "head roll")):
                found[name] = find_lag(own[:, axis], other[:, axis], fps, mirrored=axis > 0)
    return {name: lag for name, lag in found.items() if lag is not None}


def _jitter(motion: MotionSeries) -> dict[str, tuple[float, int]]:
    groups = motion.weights if motion.rotation is None else {**motion.weights, "head": motion.rotation}
    jerk = {name: np.abs(np.diff(x, 3, axis=0)) * motion.fps**3 for name, x in groups.items()}
    return {name: (float(j.sum()), j.size) for name, j in jerk.items()}


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the report."""

    name: str
    unit: str
    value: float | None
    """The pooled rate or share, or the median of the events; None: not measurable, for the reason in `note`."""
    low: float | None
    """First quartile over events; over clips for rates and shares."""
    high: float | None
    """Third quartile."""
    n: int
    """Number of events or clips."""
    band: Band | None
    inside: bool | None
    """Whether the value is in the band; None without a value or band."""
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "yes", "no", "not measurable: why" or "no published band"."""
        if self.value is None:
            return f"not measurable: {self.note}"
        return "no published band" if self.inside is None else "yes" if self.inside else "no"


@dataclass(frozen=True, slots=True)
class TimingReport:
    """The events of many clips, in order of clip and sample; made by `timing_report`."""

    clips: tuple[ClipTiming, ...]

    @property
    def minutes(self) -> float:
        return math.fsum(c.seconds for c in self.clips) / 60.0

    def merge(self, other: TimingReport) -> TimingReport:
        """The report over the clips of both. Raises ValueError where both have the same listener."""
        return timing_report(self.clips + other.clips)

    def rows(self, reference: TimingReport | None = None) -> list[Measure]:
        """All measures. reference: the report of the real listeners, for relative jitter."""
        return [*self._blinks(), *self._nods(), *self._mimicry(), *self._backchannels(), *self._jitters(reference)]

    def to_dict(self, reference: TimingReport | None = None) -> dict[str, Any]:
        """The rows for JSON; infinite ends of bands are None."""
        rows = []
        for m in self.rows(reference):
            band = None
            if m.band is not None:
                ends = [end if math.isfinite(end) else None for end in (m.band.low, m.band.high)]
                band = {"low": ends[0], "high": ends[1], "source": m.band.source}
            rows.append({**asdict(m), "band": band, "verdict": m.verdict})
        return {"minutes": self.minutes, "listeners": len(self.clips), "rows": rows}

    def _blinks(self) -> list[Measure]:
        known = [(c, c.blinks) for c in self.clips if c.blinks is not None]
        if not known:
            why = "attributes have no eyelids; ARKit weights are needed"
            return [_unknown(n, u, why) for n, u in (("blink rate", "1/min"), ("blink duration", "ms"))]
        ms = [1000.0 * s for _, blinks in known for s in blinks]
        return [
            _rate("blink rate", [(len(blinks), c.seconds) for c, blinks in known]),
            _spread("blink duration", "ms", ms),
            _share("long blinks", [(sum(1000.0 * s > LONG_BLINK_MS for s in b), len(b)) for _, b in known]),
        ]

    def _nods(self) -> list[Measure]:
        known = [(c, c.nods) for c in self.clips if c.nods is not None]
        if not known:
            why = "the head's rotation is not known"
            return [_unknown(n, u, why) for n, u in (("nod rate", "1/min"), ("nod frequency", "Hz"))]
        nods = [nod for _, each in known for nod in each]
        longer = [n.degrees for n in nods if n.cycles >= 3]
        shorter = [n.degrees for n in nods if n.cycles < 3]
        first = _unknown("first cycle of longer nods", "of shorter", _few(min(len(longer), len(shorter))))
        if min(len(longer), len(shorter)) >= LEAST_EVENTS:
            ratio = np.array(longer) / np.median(shorter)
            first = _spread("first cycle of longer nods", "of shorter", ratio)
        return [
            _rate("nod rate", [(len(each), c.seconds) for c, each in known]),
            _spread("nod frequency", "Hz", [n.hertz for n in nods]),
            _spread("cycles of a nod", "", [n.cycles for n in nods]),
            _spread("nod amplitude", "deg", [n.degrees for n in nods]),
            _spread("nod decline", "last to first", [n.last_to_first for n in nods if n.cycles > 1]),
            first,
            _spread("lower after a nod", "deg", [n.lower for n in nods]),
        ]

    def _mimicry(self) -> list[Measure]:
        known = [c for c in self.clips if c.prompts is not None]
        if not known:
            return [_unknown("smile latency", "ms", "the speaker's face is not known")]
        rows = [
            _share("smiles answered", [(len(c.smile_latencies), c.prompts or 0) for c in known]),
            _spread("smile latency", "ms", [1000.0 * s for c in known for s in c.smile_latencies]),
        ]
        for kind in _LAGS:
            lags = [c.lags[kind] for c in known if kind in c.lags]
            clear = [lag for lag in lags if lag.clear]
            name = f"{kind} lag"
            if not lags:
                rows.append(_unknown(name, "ms", "no clip of 12 s or more in which both move"))
                continue
            note = f"clear in {len(clear)} of {len(lags)} clips"
            rows.append(_spread(name, "ms", [1000.0 * lag.seconds for lag in clear], note))
            rows.append(_spread(f"{kind} correlation", "", [lag.height for lag in lags]))
        return rows

    def _backchannels(self) -> list[Measure]:
        rows = [_rate("backchannel rate", [(c.backchannels, c.seconds) for c in self.clips])]
        known = [c.answered for c in self.clips if c.answered is not None]
        if not known:
            return [*rows, _unknown("backchannel latency", "ms", "the speaker's speech is not known")]
        cues = sum(a.cues for a in known)
        answered = sum(len(a.latencies) for a in known)
        chance = math.fsum(a.by_chance for a in known)
        variance = math.fsum(a.variance for a in known)
        rows += [
            _spread("backchannel latency", "ms", [1000.0 * s for a in known for s in a.latencies]),
            _share("cues answered", [(len(a.latencies), a.cues) for a in known]),
            _share("cues answered by chance", [(a.by_chance, a.cues) for a in known]),
        ]
        name, unit = "answers beyond chance", "standard deviations"
        if cues < LEAST_EVENTS or variance <= 0.0:
            why = _few(cues) if cues < LEAST_EVENTS else "all times of the clip answer equally many cues"
            return [*rows, _unknown(name, unit, why)]
        return [*rows, _measure(name, unit, (answered - chance) / math.sqrt(variance), None, None, cues)]

    def _jitters(self, reference: TimingReport | None) -> list[Measure]:
        own, real = _pooled_jitter(self.clips), _pooled_jitter(reference.clips if reference else ())
        rows = []
        for group, value in own.items():
            each = [c.jitter[group][0] / c.jitter[group][1] for c in self.clips if c.jitter.get(group, (0, 0))[1]]
            low, high = np.percentile(each, [25, 75])
            unit = "rad/s^3" if group == "head" else "1/s^3"
            rows.append(_measure(f"jitter of {group}", unit, value, float(low), float(high), len(each)))
            if real.get(group):
                ratio = value / real[group]
                name = f"jitter of {group} against real"
                rows.append(_measure(name, "ratio", ratio, None, None, len(each), band=JITTER_BAND))
        return rows


def timing_report(clips: Iterable[ClipTiming]) -> TimingReport:
    """Pool clips in any order. Raises ValueError for duplicates of a clip and sample."""
    ordered = sorted(clips, key=lambda c: (c.name, c.sample))
    for a, b in pairwise(ordered):
        if (a.name, a.sample) == (b.name, b.sample):
            raise ValueError(f"listener {a.sample} of clip {a.name} is given twice")
    return TimingReport(tuple(ordered))


def _pooled_jitter(clips: Sequence[ClipTiming]) -> dict[str, float]:
    groups = {group for c in clips for group in c.jitter}
    out = {}
    for group in sorted(groups):
        pairs = [c.jitter[group] for c in clips if group in c.jitter]
        n = sum(p[1] for p in pairs)
        if n:
            out[group] = math.fsum(p[0] for p in pairs) / n
    return out


def _few(n: int) -> str:
    return f"{n} events are too few (at least {LEAST_EVENTS})"


def _unknown(name: str, unit: str, why: str) -> Measure:
    return Measure(name, unit, None, None, None, 0, BANDS.get(name), None, why)


def _measure(
    name: str,
    unit: str,
    value: float,
    low: float | None,
    high: float | None,
    n: int,
    note: str = "",
    band: Band | None = None,
) -> Measure:
    band = band or BANDS.get(name)
    inside = None if band is None else band.low <= value <= band.high
    return Measure(name, unit, value, low, high, n, band, inside, note)


def _spread(name: str, unit: str, events: Sequence[float] | Doubles, note: str = "") -> Measure:
    """Median and quartiles of events."""
    if len(events) < LEAST_EVENTS:
        why = _few(len(events)) + (f", {note}" if note else "")
        return Measure(name, unit, None, None, None, len(events), BANDS.get(name), None, why)
    low, middle, high = (float(q) for q in np.percentile(events, [25, 50, 75]))
    return _measure(name, unit, middle, low, high, len(events), note)


def _rate(name: str, counts: Sequence[tuple[int, float]]) -> Measure:
    """Events per minute, pooled; quartiles over clips. counts: (events, s) per clip."""
    total = sum(n for n, _ in counts)
    minutes = math.fsum(s for _, s in counts) / 60.0
    if minutes < LEAST_MINUTES:
        why = f"{minutes:.1f} min are too short (at least {LEAST_MINUTES:g})"
        return Measure(name, "1/min", None, None, None, total, BANDS.get(name), None, why)
    low, high = np.percentile([60.0 * n / s for n, s in counts], [25, 75])
    return _measure(name, "1/min", total / minutes, float(low), float(high), total)


def _share(name: str, parts: Sequence[tuple[float, int]]) -> Measure:
    """Pooled share; quartiles over clips. parts: (part, whole) per clip."""
    whole = sum(n for _, n in parts)
    if whole < LEAST_EVENTS:
        return Measure(name, "share", None, None, None, whole, BANDS.get(name), None, _few(whole))
    low, high = np.percentile([k / n for k, n in parts if n], [25, 75])
    return _measure(name, "share", math.fsum(k for k, _ in parts) / whole, float(low), float(high), whole)


def table(rows: Iterable[Measure]) -> list[tuple[str, str, str, str, str, str]]:
    """Rows of text: measure, value with unit, quartiles, n, band, verdict."""
    out = []
    for m in rows:
        value = f"{_number(m.value)} {m.unit}".strip() if m.value is not None else "–"
        quartiles = f"{_number(m.low)} to {_number(m.high)}" if m.low is not None and m.high is not None else ""
        band = f"{_number(m.band.low)} to {_number(m.band.high)} ({m.band.source})" if m.band else ""
        out.append((m.name, value, quartiles, str(m.n), band, m.verdict))
    return out


def _number(x: float) -> str:
    return "∞" if math.isinf(x) else f"{x:.3g}"
