"""Event detectors on a face's motion: blinks, nods, smiles, brow flashes, lags, responses to backchannel cues.

Detectors are relative to the person's own rest and range where faces differ. Times are in s from the clip's first
frame, accurate to a frame (40 ms at 25 fps); threshold crossings are interpolated linearly between frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from react_ros.face import ARKIT, ARKIT_INDEX, ATTRIBUTE_INDEX, ATTRIBUTE_NAMES, ATTRIBUTES, AU, FPS
from react_ros.generators.backchannel_cues import LOW_PITCH_PERCENTILE, LOW_PITCH_S, PAUSE_S, TALK_S

Doubles = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating]

LEAST_RISE = 0.1
"""Least rise of a smile or brow weight that is an event; smaller ones are tracking noise and micro-motion."""
LEAST_RISE_OF_OCCURRENCE = 0.5
"""The same for action unit occurrences (0 or 1)."""

OPEN_S = 2.0
"""Window of the running median that is the open lid: it follows squints and gaze, but not blinks (10 % of the time)."""
CLOSED_FRAMES = 4
"""The shut lid is the level that this many frames of the clip reach: two blinks, which excludes single outliers."""
LEAST_LID = 0.2
"""Least range of the lids' weight; below it there are no blinks."""
BLINK_EDGE = 0.25
"""Share of the person's range at which a blink begins and ends; above the motion of lids that follow the gaze."""
BLINK_DEPTH = 0.5
"""Share of the person's range that a blink must reach; squints and lids that follow the gaze down do not."""
CLOSING_S = 0.16
"""Longest time from the edge to `CLOSING_DEPTH`: a lid closes within 50 to 150 ms, a squint is slower."""
CLOSING_DEPTH = 0.7
LONGEST_BLINK_S = 0.8
"""Longer than long blinks (607 ms, Hömke 2018): longer closures are not blinks."""
GAZE_DOWN = 0.3
"""Rise of eyeLookDown during a half-shut lid from which on it is a look down, not a blink."""
SURELY_SHUT = 0.8
"""Share of the person's range from which on a closure is a blink whatever the gaze does."""

NOD_HZ = (1.0, 8.0)
"""Frequency band of nods; published fast nods are 2.6 to 6.5 Hz (Hale 2020)."""
LEAST_NOD = np.deg2rad(1.0)
"""Least amplitude, rad from valley to peak; smaller motion is sway."""

SMOOTH_S = 0.04
"""Width of the Gaussian that removes tracking noise before onsets are searched."""
ONSET_WITHIN_S = 0.6
"""An expression rises within this time before and after its steepest moment; slower changes are mood or drift."""
ONSET_SHARE = 0.1
"""Share of the rise at which the onset is."""
SHORT_S = 1.2
"""A flash or short smile stays above half its height for less than this."""

SMILE_WINDOW_S = (-0.5, 2.5)
"""Window in which a smile responds to another: few precede it, most follow within 1 s (Riehle 2017)."""

LONGEST_LAG_S = 2.0
HEAD_HZ = (0.2, 1.1)
"""Frequency band in which heads mimic each other (Hale 2020)."""
LEAST_CORRELATION = 0.1

ONE_CUE_S = 1.0
"""Cues closer than this are one: a low pitch and the pause after it."""
ANSWER_S = (0.2, 1.5)
"""Window of responses to a cue: about 700 ms (Ward and Tsukahara 2000), not before a reaction is possible."""
ONE_ANSWER_S = 0.5
"""Backchannels closer than this are one: a nod with a flash or smile."""


@dataclass(frozen=True, slots=True)
class MotionSeries:
    """The motion of one face over a clip of T frames; None for what the corpus lacks. Arrays float64."""

    fps: float
    smile: Doubles
    """(T,) 0 to 1."""
    brow: Doubles
    """(T,) brow raise, 0 to 1."""
    weights: dict[str, Doubles]
    """Groups of channels for jitter: name to (T, n)."""
    least_rise: float
    """Least rise of `smile` and `brow` that is an event."""
    rotation: Doubles | None
    """(T, 3) rad: pitch (> 0 lowers the chin), yaw, roll; None where the head is not known."""
    eyelids: Doubles | None
    """(T,) lid closure, 0 to 1; None where the corpus has no eyelids."""
    look_down: Doubles | None
    """(T,) gaze downwards, 0 to 1; None as `eyelids`."""

    @property
    def frames(self) -> int:
        return len(self.smile)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    @classmethod
    def of_arkit(cls, blendshapes: AnyFloats, rotation: AnyFloats | None, fps: float = FPS) -> MotionSeries:
        """Of blendshapes (T, 52), in the order of `ARKIT`, and rotation (T, 3) rad. Raises ValueError for others."""
        b = _checked("blendshapes", blendshapes, len(ARKIT))
        groups = {"eyes": ("eye",), "brows": ("brow",), "mouth": ("mouth", "jaw", "cheek", "nose", "tongue")}
        return cls(
            fps=fps,
            smile=_mean(b, "mouthSmileLeft", "mouthSmileRight"),
            brow=_mean(b, "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
            weights={k: b[:, [i for i, n in enumerate(ARKIT) if n.startswith(v)]] for k, v in groups.items()},
            least_rise=LEAST_RISE,
            rotation=_head(rotation, len(b)),
            eyelids=_mean(b, "eyeBlinkLeft", "eyeBlinkRight"),
            look_down=_mean(b, "eyeLookDownLeft", "eyeLookDownRight"),
        )

    @classmethod
    def of_attributes(cls, attributes: AnyFloats, rotation: AnyFloats | None = None, fps: float = FPS) -> MotionSeries:
        """Of the 25 attributes and, if known, the head: smile is AU12, brow the greater of AU1 and AU2; no blinks.

        attributes: (T, 25) in the order of `ATTRIBUTE_NAMES`. Raises ValueError for another shape.
        """
        a = _checked("attributes", attributes, ATTRIBUTES)
        return cls(
            fps=fps,
            smile=a[:, ATTRIBUTE_INDEX["AU12"]],
            brow=np.maximum(a[:, ATTRIBUTE_INDEX["AU1"]], a[:, ATTRIBUTE_INDEX["AU2"]]),
            weights={"action units": a[:, AU], "affect": a[:, len(ATTRIBUTE_NAMES[AU]) :]},
            least_rise=LEAST_RISE_OF_OCCURRENCE,
            rotation=_head(rotation, len(a)),
            eyelids=None,
            look_down=None,
        )


def _checked(name: str, values: AnyFloats, width: int) -> Doubles:
    v = np.asarray(values, np.float64)
    if v.ndim != 2 or v.shape[1] != width or not len(v):
        raise ValueError(f"{name} of shape {v.shape}: (frames, {width}) is needed")
    if not np.isfinite(v).all():
        raise ValueError(f"{name} hold a value that is not finite in column {int(np.argwhere(~np.isfinite(v))[0, 1])}")
    return v


def _head(rotation: AnyFloats | None, frames: int) -> Doubles | None:
    if rotation is None:
        return None
    r = _checked("rotation", rotation, 3)
    if len(r) != frames:
        raise ValueError(f"the head has {len(r)} frames but the face has {frames}")
    return r


def _mean(blendshapes: Doubles, *names: str) -> Doubles:
    return blendshapes[:, [ARKIT_INDEX[n] for n in names]].mean(axis=1)


def runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, one past the last) index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _crossing(x: Doubles, k: int, level: float) -> float:
    """Position in frames, between k - 1 and k, at which x crosses the level."""
    before, after = x[k - 1], x[k]
    return k - 1 + float((level - before) / (after - before)) if after != before else float(k)


# --- blinks


@dataclass(frozen=True, slots=True)
class Blink:
    """One blink; times at `BLINK_EDGE` of the person's range."""

    start: float
    seconds: float


def find_blinks(motion: MotionSeries) -> list[Blink]:
    """Complete blinks of both eyes, in order. Raises ValueError where the eyelids are not known."""
    if motion.eyelids is None:
        raise ValueError("blinks cannot be detected from attributes: the blendshapes of the eyelids are needed")
    lid, fps = motion.eyelids, motion.fps
    shut = lid - ndimage.median_filter(lid, int(OPEN_S * fps) | 1, mode="nearest")
    if len(lid) < CLOSED_FRAMES:
        return []
    own = float(np.sort(shut)[-CLOSED_FRAMES])
    if own < LEAST_LID:
        return []
    edge = BLINK_EDGE * own
    found = []
    for first, last in runs(shut > edge):
        depth = float(shut[first:last].max())
        if first == 0 or last == len(lid) or depth < BLINK_DEPTH * own:
            continue
        start, end = _crossing(shut, first, edge), _crossing(shut, last, edge)
        deep = first + int(np.argmax(shut[first:last] >= CLOSING_DEPTH * depth))
        closing = _crossing(shut, deep, CLOSING_DEPTH * depth) - start
        if (end - start) > LONGEST_BLINK_S * fps or closing > CLOSING_S * fps:
            continue
        if motion.look_down is not None and depth < SURELY_SHUT * own:
            looked = motion.look_down[first:last].max() - motion.look_down[max(first - 2, 0)]
            if looked > GAZE_DOWN:
                continue
        found.append(Blink(start / fps, (end - start) / fps))
    return found


# --- nods


@dataclass(frozen=True, slots=True)
class Nod:
    """One nod of one or more cycles; in each, the chin goes down and up again."""

    start: float
    end: float
    cycles: int
    hertz: float
    degrees: float
    """Amplitude of the first cycle, valley to peak."""
    last_to_first: float
    """Amplitude of the last cycle relative to the first; 1 for a single cycle."""
    lower: float
    """Degrees by which the chin is lower after the nod than before."""


def find_nods(motion: MotionSeries) -> list[Nod]:
    """Nods in order. Raises ValueError where the head is not known."""
    if motion.rotation is None:
        raise ValueError("nods cannot be detected without the head's rotation")
    fps = motion.fps
    pitch = motion.rotation[:, 0]
    fast = band_pass(pitch, NOD_HZ, fps)
    if fast is None:
        return []
    window = int(fps / NOD_HZ[0]) | 1
    peaks, properties = signal.find_peaks(fast, prominence=LEAST_NOD, wlen=window)
    data = (properties["prominences"], properties["left_bases"], properties["right_bases"])
    half = signal.peak_widths(fast, peaks, 0.5, data)[0]  # half a period of a cosine, in frames
    kept = (2.0 * half >= fps / NOD_HZ[1]) & (2.0 * half <= fps / NOD_HZ[0])
    peaks, half, size = peaks[kept], half[kept], np.rad2deg(properties["prominences"][kept])
    smooth = ndimage.gaussian_filter1d(pitch, SMOOTH_S * fps, mode="nearest")
    found = []
    for first, last in _bouts(peaks, half):
        cycles = last - first
        period = 2.0 * half[first] if cycles == 1 else float(np.diff(_tops(fast, peaks[first:last])).mean())
        start, end = peaks[first] - half[first], peaks[last - 1] + half[last - 1]
        rest = round(0.2 * fps)
        before = smooth[max(int(start) - rest, 0) : max(int(start), 1)].mean()
        after = smooth[min(int(np.ceil(end)), len(smooth) - 1) : int(np.ceil(end)) + rest]
        found.append(
            Nod(
                start=max(float(start), 0.0) / fps,
                end=float(end) / fps,
                cycles=cycles,
                hertz=float(fps / period),
                degrees=float(size[first]),
                last_to_first=float(size[last - 1] / size[first]),
                lower=float(np.rad2deg(after.mean() - before)),
            )
        )
    return found


def _bouts(peaks: npt.NDArray[np.intp], half: Doubles) -> list[tuple[int, int]]:
    """Index ranges of peaks that belong to one nod: each within 1.5 periods of the one before."""
    out: list[tuple[int, int]] = []
    for k in range(len(peaks)):
        if out and peaks[k] - peaks[k - 1] <= 1.5 * (half[k] + half[k - 1]):
            out[-1] = (out[-1][0], k + 1)
        else:
            out.append((k, k + 1))
    return out


def _tops(x: Doubles, peaks: npt.NDArray[np.intp]) -> Doubles:
    """Position of each peak in frames, by a parabola through it and its neighbours."""
    left, mid, right = x[peaks - 1], x[peaks], x[peaks + 1]
    bend = left - 2.0 * mid + right
    shift = np.where(bend < 0.0, 0.5 * (left - right) / np.where(bend < 0.0, bend, 1.0), 0.0)
    return peaks.astype(np.float64) + shift


def band_pass(x: Doubles, hertz: tuple[float, float], fps: float) -> Doubles | None:
    """x band-passed along its first axis with zero phase; None for a clip that is too short."""
    sos = signal.butter(2, hertz, "bandpass", fs=fps, output="sos")
    settle = int(fps / hertz[0])
    if len(x) <= settle:
        return None
    return signal.sosfiltfilt(sos, x, axis=0, padlen=settle)


# --- smiles and brows


@dataclass(frozen=True, slots=True)
class Rise:
    """One rise of an expression."""

    start: float
    height: float
    short: bool
    """Whether it has fallen below half its height within `SHORT_S`."""


def find_rises(x: Doubles, fps: float, least: float = LEAST_RISE) -> list[Rise]:
    """Rises of at least `least` in weights (T,), in order; a dip of less than `least` does not end one."""
    x = ndimage.gaussian_filter1d(np.asarray(x, np.float64), SMOOTH_S * fps, mode="nearest")
    speed = np.diff(x, prepend=x[0])
    reach = int(ONSET_WITHIN_S * fps)
    found = []
    for low, high in _upswings(x, least):
        steep = low + 1 + int(np.argmax(speed[low + 1 : high + 1]))
        first = max(low, steep - reach)
        floor = float(x[first:steep].min())
        top = float(x[steep : min(high, steep + reach) + 1].max())
        if top - floor < least:
            continue
        level = floor + ONSET_SHARE * (top - floor)
        k = steep
        while k > first + 1 and x[k - 1] > level:
            k -= 1
        middle = 0.5 * (floor + top)
        up = steep + int(np.argmax(x[steep:] >= middle))
        gone = np.flatnonzero(x[high:] < middle)
        short = bool(len(gone)) and (high + int(gone[0]) - up) < SHORT_S * fps
        found.append(Rise(_crossing(x, k, level) / fps, top - floor, short))
    return found


def _upswings(x: Doubles, least: float) -> list[tuple[int, int]]:
    """Frames (lowest, highest) of each upward swing by at least `least`; smaller reversals are ignored."""
    out: list[tuple[int, int]] = []
    low = high = 0
    rising = False
    for k, value in enumerate(x.tolist()):
        if rising:
            if value > x[high]:
                high = k
            elif x[high] - value >= least:
                out.append((low, high))
                rising, low = False, k
        elif value <= x[low]:
            low = k
        elif value - x[low] >= least:
            rising, high = True, k
    return [*out, (low, high)] if rising else out


def answers(events: list[float], prompts: list[float], window: tuple[float, float]) -> list[float | None]:
    """Per prompt, the delay in s of the first event in the window around it; each event responds to one prompt only."""
    free = sorted(events)
    out: list[float | None] = []
    for prompt in prompts:
        match = next((e for e in free if window[0] <= e - prompt <= window[1]), None)
        if match is not None:
            free.remove(match)
        out.append(None if match is None else match - prompt)
    return out


# --- lags


@dataclass(frozen=True, slots=True)
class Lag:
    """The lag of the greatest correlation of two motions."""

    seconds: float
    """> 0: the listener follows."""
    height: float
    """The correlation at that lag."""
    clear: bool
    """Whether all shifts beyond the search range correlate less; otherwise the lag may be chance."""


def find_lag(listener: Doubles, speaker: Doubles, fps: float, mirrored: bool = False) -> Lag | None:
    """Lag of the greatest circular correlation of two signals (T,), -2 to 2 s.

    mirrored: take the absolute correlation (a mirror swaps left and right). None where a signal is constant, or the
    clip is too short to distinguish a lag from chance (12 s).
    """
    longest = int(LONGEST_LAG_S * fps)
    n = len(listener)
    if n < 6 * longest or len(speaker) != n:
        return None
    a, b = listener - listener.mean(), speaker - speaker.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    if scale < 1e-12:
        return None
    c = np.fft.irfft(np.fft.rfft(a) * np.conj(np.fft.rfft(b)), n) / scale
    c = np.abs(c) if mirrored else c
    near = np.concatenate([c[-longest:], c[: longest + 1]])
    k = int(np.argmax(near))
    far = float(c[2 * longest : n - 2 * longest].max())
    height = float(near[k])
    clear = height > max(far, LEAST_CORRELATION) and 0 < k < len(near) - 1
    place = float(_tops(near, np.array([k]))[0]) if 0 < k < len(near) - 1 else float(k)
    return Lag((place - longest) / fps, height, clear)


# --- backchannels and cues


def find_backchannels(listener: MotionSeries, speaker: MotionSeries | None) -> list[float]:
    """Start times of nods, brow flashes and short smiles that do not mimic the speaker's."""
    starts = [] if listener.rotation is None else [nod.start for nod in find_nods(listener)]
    return _apart(starts + find_flashes(listener, speaker), ONE_ANSWER_S)


def find_flashes(listener: MotionSeries, speaker: MotionSeries | None) -> list[float]:
    """Start times of brow flashes, then of short smiles, that do not mimic the speaker's."""
    starts: list[float] = []
    for name in ("brow", "smile"):
        rises = find_rises(getattr(listener, name), listener.fps, listener.least_rise)
        mimicked: set[float] = set()
        if speaker is not None:
            prompts = [r.start for r in find_rises(getattr(speaker, name), speaker.fps, speaker.least_rise)]
            delays = answers([r.start for r in rises], prompts, SMILE_WINDOW_S)
            mimicked = {p + d for p, d in zip(prompts, delays, strict=True) if d is not None}
        starts += [r.start for r in rises if r.short and not any(abs(r.start - t) < 1e-9 for t in mimicked)]
    return starts


def find_cues(speech: npt.NDArray[np.bool_], f0: AnyFloats | None, fps: float = FPS) -> list[float]:
    """Times of the speaker's backchannel cues.

    speech: (T,) whether the speaker talks. f0: (T,) Hz, 0 where unvoiced; None: pauses only.
    A region of low pitch is a cue when it has lasted 110 ms, a pause when it begins.
    """
    talk = np.asarray(speech, bool).copy()
    for first, last in runs(~talk):
        if first > 0 and last < len(talk) and last - first < PAUSE_S * fps:
            talk[first:last] = True
    cues: list[float] = []
    pitch = np.zeros(len(talk)) if f0 is None else np.where(talk, np.asarray(f0, np.float64), 0.0)
    voiced = pitch > 0.0
    low = voiced & (pitch < np.percentile(pitch[voiced], LOW_PITCH_PERCENTILE)) if voiced.any() else voiced
    for first, last in runs(talk):
        if last - first < TALK_S * fps:
            continue
        if last + PAUSE_S * fps <= len(talk):
            cues.append(last / fps)
        cues += [t for t in _low_regions(low, voiced, first, last, fps) if t >= first / fps + TALK_S]
    return _apart(cues, ONE_CUE_S)


def _low_regions(
    low: npt.NDArray[np.bool_], voiced: npt.NDArray[np.bool_], first: int, last: int, fps: float
) -> list[float]:
    """Times at which regions of low pitch have lasted 110 ms; unvoiced gaps of up to two frames do not end one."""
    out, lasted, gap = [], 0, 0
    need = int(np.ceil(LOW_PITCH_S * fps))
    for k in range(first, last):
        if low[k]:
            lasted, gap = lasted + 1, 0
            if lasted == need:
                out.append((k + 1) / fps)
        else:
            gap += 1
            if voiced[k] or gap > 2:
                lasted = 0
    return out


def _apart(times: list[float], least: float) -> list[float]:
    """The times in order, without those less than `least` after the last kept one."""
    out: list[float] = []
    for t in sorted(times):
        if not out or t - out[-1] >= least:
            out.append(t)
    return out


@dataclass(frozen=True, slots=True)
class CueTiming:
    """Responses to the cues of one clip, observed and expected by chance."""

    cues: int
    latencies: tuple[float, ...]
    """Delay of the response to each answered cue, s."""
    by_chance: float
    """Mean number of cues that the same backchannels would answer at other times of the clip."""
    variance: float
    """Variance of that number."""


def time_answers(backchannels: list[float], cues: list[float], frames: int, fps: float) -> CueTiming:
    """Count answered cues, and compare with chance: the same backchannels, circularly shifted by all numbers of frames.

    Cues whose response window ends after the clip are left out.
    """
    cues = [c for c in cues if (c + ANSWER_S[1]) * fps < frames]
    low, high = (round(a * fps) for a in ANSWER_S)
    delays = []
    for cue in cues:
        d = next((b - cue for b in sorted(backchannels) if ANSWER_S[0] <= b - cue <= ANSWER_S[1]), None)
        if d is not None:
            delays.append(d)
    answered = np.zeros(frames, bool)  # whether a cue in this frame would be answered
    for b in backchannels:
        answered[(round(b * fps) - np.arange(low, high + 1)) % frames] = True
    if not cues or not backchannels:
        return CueTiming(len(cues), tuple(delays), 0.0, 0.0)
    at = np.array([round(c * fps) for c in cues])
    counts = answered[(at[:, None] - np.arange(frames)) % frames].sum(axis=0)  # (frames,), one per shift
    return CueTiming(len(cues), tuple(delays), float(counts.mean()), float(counts.var()))
