"""What a face does, found in its motion alone: blinks, nods, smiles, brow flashes, lags, answers to cues.

Every detector is relative to the person's own rest and range where faces differ, and its parameters are constants
with a reason. Nothing here knows how the motion came about. Times are in s from the clip's first frame. At 25 frames
a second a time is good to a frame (40 ms), and thresholds are crossed between frames, by a straight line.
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
"""Weight by which a smile or a brow must rise to be an event: below it, trackers' noise and micro-motion live."""
LEAST_RISE_OF_OCCURRENCE = 0.5
"""The same where only action unit occurrences (0 or 1) are known."""

OPEN_S = 2.0
"""The open lid is the running median over this long: squints and gaze move it, blinks (a tenth of the time) do not."""
CLOSED_FRAMES = 4
"""The person's shut lid is the level that this many frames of the clip reach: two blinks, but no single outlier."""
LEAST_LID = 0.2
"""Weight that the lids' range must have; where it has not, nobody blinked."""
BLINK_EDGE = 0.25
"""Share of the own range at which a blink begins and ends: above lids that follow the gaze."""
BLINK_DEPTH = 0.5
"""Share of the own range that a blink reaches; squints and lids that follow the gaze down stay below."""
CLOSING_S = 0.16
"""A lid closes within 50 to 150 ms; a squint takes longer from the edge to 70 % of its depth."""
CLOSING_DEPTH = 0.7
LONGEST_BLINK_S = 0.8
"""Above the long blinks of 607 ms (Hömke 2018): from here on the eyes are simply closed."""
GAZE_DOWN = 0.3
"""Weight of eyeLookDown that comes and goes with a half-shut lid: then it is a look down."""
SURELY_SHUT = 0.8

NOD_HZ = (1.0, 8.0)
"""Motion that is a nod at all; the published fast nods are 2.6 to 6.5 Hz (Hale 2020)."""
LEAST_NOD = np.deg2rad(1.0)
"""Rad from valley to peak: smaller motion is sway, and is not seen as a nod."""

SMOOTH_S = 0.04
"""Gaussian that takes a tracker's frame noise off a smile before its onset is looked for."""
ONSET_WITHIN_S = 0.6
"""An expression comes up within this of its steepest moment, either way: what is slower is a mood or drift."""
ONSET_SHARE = 0.1
"""Share of its rise at which an expression has begun."""
SHORT_S = 1.2
"""A flash or short smile stays above half its height for less."""

SMILE_WINDOW_S = (-0.5, 2.5)
"""When a smile answers another: a few anticipate it, most follow within 1 s (Riehle 2017)."""

LONGEST_LAG_S = 2.0
HEAD_HZ = (0.2, 1.1)
"""Where heads mimic each other (Hale 2020)."""
LEAST_CORRELATION = 0.1

ONE_CUE_S = 1.0
"""A low pitch and the pause right after it are one invitation."""
ANSWER_S = (0.2, 1.5)
"""An answer comes about 700 ms after its cue (Ward and Tsukahara 2000), never sooner than a reaction can."""
ONE_ANSWER_S = 0.5
"""A nod and the flash or smile that comes with it are one backchannel."""


@dataclass(frozen=True, slots=True)
class MotionSeries:
    """One face over a clip, T frames, as far as the corpus knows it. Arrays float64."""

    fps: float
    smile: Doubles
    """(T,) 0 to 1."""
    brow: Doubles
    """(T,) raised brows, 0 to 1."""
    weights: dict[str, Doubles]
    """Name of a group of channels to (T, n): what jitter is measured on."""
    least_rise: float
    """Rise of `smile` and `brow` that counts."""
    rotation: Doubles | None
    """(T, 3) rad, pitch > 0 lowers the chin; None where the head is not known."""
    eyelids: Doubles | None
    """(T,) closure 0 to 1; None where blinks cannot be known."""
    look_down: Doubles | None
    """(T,) 0 to 1."""

    @property
    def frames(self) -> int:
        return len(self.smile)

    @property
    def seconds(self) -> float:
        return self.frames / self.fps

    @classmethod
    def of_arkit(cls, blendshapes: AnyFloats, rotation: AnyFloats | None, fps: float = FPS) -> MotionSeries:
        """blendshapes: (T, 52) in the order of `ARKIT`; rotation: (T, 3) rad. Raises ValueError for another shape."""
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
        """A face of which the 25 attributes are known (and the head): smile is AU12, brow AU1 or AU2; no blinks.

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
    """(first, one past the last) of each run of true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _crossing(x: Doubles, k: int, level: float) -> float:
    """Where, in frames, x passes the level between frames k - 1 and k."""
    before, after = x[k - 1], x[k]
    return k - 1 + float((level - before) / (after - before)) if after != before else float(k)


# --- blinks


@dataclass(frozen=True, slots=True)
class Blink:
    """Times at `BLINK_EDGE` of the own range."""

    start: float
    seconds: float


def find_blinks(motion: MotionSeries) -> list[Blink]:
    """Whole blinks of both eyes, in order. Raises ValueError where the eyelids are not known."""
    if motion.eyelids is None:
        raise ValueError("blinks cannot be known from the attributes: the eyelids' blendshapes are needed")
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
    """One nod of one or more cycles: the chin goes down and comes back in each."""

    start: float
    end: float
    cycles: int
    hertz: float
    degrees: float
    """Of the first cycle, valley to peak."""
    last_to_first: float
    """Size of the last cycle in that of the first; 1 for a single cycle."""
    lower: float
    """Degrees by which the chin is lower after the nod than before."""


def find_nods(motion: MotionSeries) -> list[Nod]:
    """Nods in order. Raises ValueError where the head is not known."""
    if motion.rotation is None:
        raise ValueError("nods cannot be known without the head's rotation")
    fps = motion.fps
    pitch = motion.rotation[:, 0]
    quick = band_pass(pitch, NOD_HZ, fps)
    if quick is None:
        return []
    window = int(fps / NOD_HZ[0]) | 1
    peaks, about = signal.find_peaks(quick, prominence=LEAST_NOD, wlen=window)
    data = (about["prominences"], about["left_bases"], about["right_bases"])
    half = signal.peak_widths(quick, peaks, 0.5, data)[0]  # half a period of a cosine, in frames
    kept = (2.0 * half >= fps / NOD_HZ[1]) & (2.0 * half <= fps / NOD_HZ[0])
    peaks, half, size = peaks[kept], half[kept], np.rad2deg(about["prominences"][kept])
    calm = ndimage.gaussian_filter1d(pitch, SMOOTH_S * fps, mode="nearest")
    found = []
    for first, last in _bouts(peaks, half):
        cycles = last - first
        period = 2.0 * half[first] if cycles == 1 else float(np.diff(_tops(quick, peaks[first:last])).mean())
        start, end = peaks[first] - half[first], peaks[last - 1] + half[last - 1]
        rest = round(0.2 * fps)
        before = calm[max(int(start) - rest, 0) : max(int(start), 1)].mean()
        after = calm[min(int(np.ceil(end)), len(calm) - 1) : int(np.ceil(end)) + rest]
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
    """Peaks that follow each other within one and a half periods are one nod."""
    out: list[tuple[int, int]] = []
    for k in range(len(peaks)):
        if out and peaks[k] - peaks[k - 1] <= 1.5 * (half[k] + half[k - 1]):
            out[-1] = (out[-1][0], k + 1)
        else:
            out.append((k, k + 1))
    return out


def _tops(x: Doubles, peaks: npt.NDArray[np.intp]) -> Doubles:
    """Where, between frames, each peak is: the top of the parabola through it and its neighbours."""
    left, mid, right = x[peaks - 1], x[peaks], x[peaks + 1]
    bend = left - 2.0 * mid + right
    shift = np.where(bend < 0.0, 0.5 * (left - right) / np.where(bend < 0.0, bend, 1.0), 0.0)
    return peaks.astype(np.float64) + shift


def band_pass(x: Doubles, hertz: tuple[float, float], fps: float) -> Doubles | None:
    """x along its first axis without what is slower or faster, no delay; None for a clip too short to know."""
    sos = signal.butter(2, hertz, "bandpass", fs=fps, output="sos")
    settle = int(fps / hertz[0])
    if len(x) <= settle:
        return None
    return signal.sosfiltfilt(sos, x, axis=0, padlen=settle)


# --- smiles and brows


@dataclass(frozen=True, slots=True)
class Rise:
    """An expression that comes up."""

    start: float
    height: float
    short: bool
    """Whether it has half gone again within `SHORT_S`."""


def find_rises(x: Doubles, fps: float, least: float = LEAST_RISE) -> list[Rise]:
    """Rises of at least `least` in (T,) weights, in order; a dip of less than that does not end one."""
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
    """Frames (lowest, highest) of each swing up by at least `least`; smaller ones turn nothing."""
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
    """For each prompt, the delay in s of the first event in the window about it; an event answers one prompt only."""
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
    """Where two motions agree best."""

    seconds: float
    """> 0: the listener is later."""
    height: float
    """The correlation there."""
    clear: bool
    """Whether no shift further away agrees as well: else the lag is chance."""


def find_lag(listener: Doubles, speaker: Doubles, fps: float, mirrored: bool = False) -> Lag | None:
    """Lag of the best circular correlation of two (T,) signals within 2 s either way.

    mirrored: the correlation may be of either sign (a mirror's left is the speaker's right).
    None where one of the two does not move, or the clip is too short to tell a lag from chance (12 s).
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
    """Starts of nods, brow flashes and short smiles that mimic nothing the speaker's face just did."""
    starts = [] if listener.rotation is None else [nod.start for nod in find_nods(listener)]
    for name in ("brow", "smile"):
        own = find_rises(getattr(listener, name), listener.fps, listener.least_rise)
        taken: set[float] = set()
        if speaker is not None:
            prompts = [r.start for r in find_rises(getattr(speaker, name), speaker.fps, speaker.least_rise)]
            delays = answers([r.start for r in own], prompts, SMILE_WINDOW_S)
            taken = {p + d for p, d in zip(prompts, delays, strict=True) if d is not None}
        starts += [r.start for r in own if r.short and not any(abs(r.start - t) < 1e-9 for t in taken)]
    return _apart(starts, ONE_ANSWER_S)


def find_cues(speech: npt.NDArray[np.bool_], f0: AnyFloats | None, fps: float = FPS) -> list[float]:
    """Times at which the speaker invites a backchannel.

    speech: (T,) whether the speaker talks. f0: (T,) Hz, 0 where unvoiced; None: pauses alone.
    A low pitch becomes a cue when it has lasted 110 ms, a pause when it begins.
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
    """When each region of low pitch has lasted 110 ms; a consonant of up to two frames does not end one."""
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
    """The times in order, without those that come less than `least` after one that is kept."""
    out: list[float] = []
    for t in sorted(times):
        if not out or t - out[-1] >= least:
            out.append(t)
    return out


@dataclass(frozen=True, slots=True)
class CueTiming:
    """How the answers of one clip lie to its cues, and how they would by chance."""

    cues: int
    latencies: tuple[float, ...]
    """Of the answered cues, s."""
    by_chance: float
    """Cues that the same backchannels would answer if they came at any other time of the clip: the mean."""
    variance: float
    """And the variance of that number."""


def time_answers(backchannels: list[float], cues: list[float], frames: int, fps: float) -> CueTiming:
    """Compare with chance: the same backchannels, shifted together round the clip by every number of frames.

    Cues whose time to answer ends after the clip are left out.
    """
    cues = [c for c in cues if (c + ANSWER_S[1]) * fps < frames]
    low, high = (round(a * fps) for a in ANSWER_S)
    delays = []
    for cue in cues:
        d = next((b - cue for b in sorted(backchannels) if ANSWER_S[0] <= b - cue <= ANSWER_S[1]), None)
        if d is not None:
            delays.append(d)
    would = np.zeros(frames, bool)  # whether a cue in this frame would be answered
    for b in backchannels:
        would[(round(b * fps) - np.arange(low, high + 1)) % frames] = True
    if not cues or not backchannels:
        return CueTiming(len(cues), tuple(delays), 0.0, 0.0)
    places = np.array([round(c * fps) for c in cues])
    counts = would[(places[:, None] - np.arange(frames)) % frames].sum(axis=0)  # (frames,) one a shift
    return CueTiming(len(cues), tuple(delays), float(counts.mean()), float(counts.var()))
