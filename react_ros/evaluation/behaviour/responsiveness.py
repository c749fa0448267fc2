"""Responsiveness: does a listener answer the person in front of it? Needs no recorded listener.

Smiles, distress and pauses of the speaker are found in the speaker's track; the answers to them are looked for in the
S sampled listeners of the same frames. Every figure of a clip is a pair (sum, count), so that clips, samples and seeds
pool to exactly the figures of one run: figure = sum of sums / sum of counts. All times are frames of 40 ms.

docs/evaluation.md, section "Responsiveness", has the definitions in prose.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.behaviour.events import Doubles, MotionSeries, find_blinks, find_flashes, runs
from react_ros.evaluation.metrics.intervals import LEAST_GROUPS, Value, statistic_with_interval
from react_ros.face import ARKIT_INDEX, ATTRIBUTE_INDEX, FPS, FaceState, Reaction, SpeakerFrame

Flags = npt.NDArray[np.bool_]
Intervals = Sequence[tuple[float, float]]
"""(from, to) in s from the clip's first frame."""

SMILE = [ARKIT_INDEX[n] for n in ("mouthSmileLeft", "mouthSmileRight")]
FROWN = [ARKIT_INDEX[n] for n in ("mouthFrownLeft", "mouthFrownRight", "browDownLeft", "browDownRight")]
_MOUTH_DOWN = [ARKIT_INDEX[n] for n in ("mouthFrownLeft", "mouthFrownRight")]
_BROW_DOWN = [ARKIT_INDEX[n] for n in ("browDownLeft", "browDownRight")]
_BROW_IN = ARKIT_INDEX["browInnerUp"]

LEAST_SPREAD = 0.1
"""Standard deviation of the speaker's smile above which gain, correlation and lag of a clip are taken."""
LONGEST_LAG = 37
"""Longest lag that is searched, frames: 1.48 s."""
SMILING = 0.45
"""The speaker smiles where the mean of both smile weights over 3 frames is above this."""
ONSET_FRAMES = 10
"""Least length of a smile whose onset counts."""
ONSET_FROM, ONSET_REST = 3, 30
"""An onset is later than this frame, and at least so many frames before the clip's end."""
ANSWER_FRAMES = 35
"""Frames from an onset in which it is answered: 1.4 s."""
ANSWER_RISE = 0.15
"""Rise of the listener's smile, from its mean around the onset, that is an answer."""
LONG_SMILE, HELD_FROM, FROWN_FROM = 50, 25, 10
"""Frames of a smile that has to be held; from which frame on it is to be held; from which frame on frowns count."""
HELD = 0.25
"""The listener smiles where its smile is above this."""
TALK = 0.5
"""The speaker talks where the speech probability is above this."""
TALK_FRAMES, SILENT_FRAMES = 25, 5
"""A pause follows at least so many frames of speech without a gap, and begins with so many frames of silence."""
CUE_FRAMES = 32
"""Frames from a pause's beginning in which it is answered: 1.28 s."""
TURN_GAP = 2 * FPS
"""Pauses up to this are part of somebody's talking, for nods and blinks a minute before somebody who talks."""
NOD_REACH, NOD_DEGREES, NOD_APART = 9, 0.9, 8
"""A nod's turning point: the extreme of ±9 frames, 0.9 degrees from their median, more than 8 frames after another."""
DISTRESS_FRAMES = 10
"""Least length of distress that is found in the attributes."""
DISTRESS_DELAY = 15
"""Frames after the beginning of distress that do not count, where it begins later than the clip: a listener who has
smiled at what came before needs time (facial mimicry: .3 to 1 s)."""
ROTATION_SCALE = math.radians(10.0)
"""Rotation in which motion energy counts a head's turn as much as a weight from 0 to 1."""

CONDITIONS: Mapping[str, str] = {
    "own": "the clip's own speaker",
    "still": "a still, silent face: the speaker's first tracked frame",
    "face only": "the speaker's face without sound",
    "sound only": "the speaker's sound without a face",
    "other": "another person's clip",
}
"""What the same listener has before it; always scored against the clip's own speaker."""
OWN = "own"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to reach; `low` and `high` are inclusive unless `strict`."""

    figure: str
    low: float = -math.inf
    high: float = math.inf
    condition: str = OWN
    strict: bool = False

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return self.low <= value < self.high if self.strict else self.low <= value <= self.high

    def reached(self, value: float) -> float:
        """How much of it is reached, 0 to 1: the share of `low`; above `high`, 1 falls to 0 at twice `high`."""
        if value < self.low:
            return max(value / self.low, 0.0) if self.low > 0.0 else 0.0
        return 1.0 if value <= self.high else max(2.0 - value / self.high, 0.0)

    @property
    def text(self) -> str:
        """For people, e.g. "at least 0.6" or "4 to 15"."""
        if math.isinf(self.high):
            return f"at least {self.low:g}"
        if math.isinf(self.low):
            return f"{'under' if self.strict else 'at most'} {self.high:g}"
        return f"{self.low:g} to {self.high:g}"


TARGETS = (
    Target("smile gain", low=0.6),
    Target("smile correlation", low=0.85),
    Target("onsets answered", low=0.85),
    Target("smiles held", low=0.95),
    Target("frown at smiles", high=0.02),
    Target("smile at distress", high=0.1, strict=True),
    Target("pauses above chance", low=0.3),
    Target("pauses above chance, nods", low=0.3),
    Target("nods a minute, talking", low=4.0, high=15.0),
    Target("nods a minute", high=1.0, condition="still", strict=True),
    Target("blinks a minute", low=10.5, high=32.5),
)
"""The gate. Blinks: Doughty 2001, conversation; the others are ours, in the middle of what attentive people show."""

UNITS: Mapping[str, str] = {
    "smile lag": "s", "nods a minute": "1/min", "nods a minute, talking": "1/min", "blinks a minute": "1/min",
    "blinks a minute, talking": "1/min", "motion energy": "1/s²", "onset delay": "s", "pause delay": "s",
}  # fmt: skip

FIGURES: Mapping[str, str] = {
    "smile gain": "slope of the listener's smile (mean of the samples) on the speaker's at the lag, without distress",
    "smile correlation": "their correlation at the lag",
    "smile lag": "the lag, 0 to 1.48 s, of the greatest correlation",
    "onsets answered": "share of smile onsets after which the listener's smile rises by .15 within 1.4 s",
    "onset delay": "time until it has risen by .15, where it does",
    "smiles held": "share of a smile of 2 s or more, from its second second on, in which the listener's is above .25",
    "frown at smiles": "mean of mouthFrown and browDown during those smiles, from 0.4 s on",
    "smile at distress": "mean smile of the listener while the speaker is in distress",
    "concern at distress": "mean of the greatest of inner brow raise, lowered brows, lowered mouth corners meanwhile",
    "pauses answered": "share of pauses after 1 s of speech answered by nod, brow flash or short smile within 1.28 s",
    "pauses by chance": "the same share at all moments of all clips",
    "pauses above chance": "the difference of the two",
    "pauses answered, nods": "share of these pauses answered by a nod",
    "pauses by chance, nods": "the same share at all moments of all clips",
    "pauses above chance, nods": "the difference of the two",
    "pauses above chance, same clips": "the difference where chance is that of the clips with pauses, by pauses",
    "pause delay": "time from a pause to its answer",
    "nods a minute": "nods a minute of the whole clip",
    "nods a minute, talking": "nods a minute while the speaker talks, pauses of up to 2 s included",
    "blinks a minute": "blinks a minute of the whole clip",
    "blinks a minute, talking": "blinks a minute while the speaker talks",
    "mean smile": "mean smile of the listener",
    "motion energy": "mean squared speed of the 52 weights and of the head (10 degrees count as 1)",
}
"""All figures and what they are."""

_DIFFERENCES: Mapping[str, tuple[str, str]] = {
    "pauses above chance": ("pauses answered", "pauses by chance"),
    "pauses above chance, nods": ("pauses answered, nods", "pauses by chance, nods"),
    "pauses above chance, same clips": ("pauses answered", "_chance, same clips"),
}


@dataclass(frozen=True, slots=True)
class SpeakerTrack:
    """What a speaker of T frames does, as far as it is to be answered."""

    smile: Doubles
    """(T,) mean of mouthSmileLeft and mouthSmileRight, 0 to 1."""
    talk: Flags
    """(T,) whether the speaker talks."""
    distress: Flags
    """(T,) whether the speaker shows distress; such frames count for no smile, whatever the mouth does."""
    brow: Doubles
    """(T,) brow raise, 0 to 1; brow flashes and smiles of a listener that mimic the speaker's are no backchannels."""

    @property
    def frames(self) -> int:
        return len(self.smile)

    @classmethod
    def of(cls, frames: Sequence[SpeakerFrame], distress: Intervals | None = None) -> SpeakerTrack:
        """Of a clip's frames. distress: labelled by hand; None: found in the attributes (`find_distress`)."""
        if not frames:
            raise ValueError("a clip of a speaker needs at least one frame")
        shapes = np.stack([f.face.blendshapes for f in frames])
        motion = MotionSeries.of_arkit(shapes, None)
        marked = np.zeros(len(frames), bool)
        if distress is None:
            seen = np.array([f.face.state >= FaceState.HELD for f in frames])
            marked = find_distress(np.stack([f.face.attributes for f in frames]), seen)
        for begin, end in distress or ():
            marked[max(round(begin * FPS), 0) : round(end * FPS)] = True
        return cls(
            # In float32, as the listener's: a threshold is crossed in the same frame whoever computes it.
            smile=np.array([f.face.blendshapes[SMILE].mean() for f in frames]),
            talk=np.array([f.sound.speech_probability > TALK for f in frames]),
            distress=marked,
            brow=motion.brow,
        )

    def _motion(self) -> MotionSeries:
        smile = np.asarray(self.smile, np.float64)
        return MotionSeries(FPS, smile, self.brow, {}, 0.1, None, None, None)

    @property
    def smiles(self) -> list[tuple[int, int]]:
        """(first, one past the last) frame of each smile; a mouth drawn wide in distress is none."""
        found = runs(np.convolve(self.smile, np.ones(3) / 3, "same") > SMILING)
        return [(a, b) for a, b in found if self.distress[a:b].mean() < 0.5]

    @property
    def onsets(self) -> list[int]:
        """First frames of smiles that can be answered; a smile that is there at the beginning has no onset."""
        return [a for a, b in self.smiles if b - a >= ONSET_FRAMES and a > ONSET_FROM and a + ONSET_REST < self.frames]

    @property
    def long_smiles(self) -> list[tuple[int, int]]:
        """Smiles of 2 s or more."""
        return [(a, b) for a, b in self.smiles if b - a >= LONG_SMILE]

    @property
    def pauses(self) -> list[int]:
        """First silent frames after at least 1 s of speech, where the window of answers is in the clip."""
        return [
            b
            for a, b in runs(self.talk)
            if b - a >= TALK_FRAMES and b + CUE_FRAMES < self.frames and not self.talk[b : b + SILENT_FRAMES].any()
        ]

    @property
    def talking(self) -> Flags:
        """(T,) whether the speaker is in the middle of talking: speech, and pauses of up to 2 s between speech."""
        out = self.talk.copy()
        for a, b in runs(~out):
            if a > 0 and b - a <= TURN_GAP:
                out[a:b] = True
        return out

    @property
    def distressed(self) -> list[tuple[int, int]]:
        """Frames in which a smile would be wrong: each stretch of distress, without the time a listener needs."""
        stretches = [(a + DISTRESS_DELAY if a > 0 else a, b) for a, b in runs(self.distress)]
        return [(a, b) for a, b in stretches if b > a]


def find_distress(attributes: npt.NDArray[np.floating], seen: Flags) -> Flags:
    """(T,) whether a speaker shows distress, by the attributes (T, 25): derived, and only as good as they are.

    Sadness, fear and anger together are likelier than not, or the brows are lowered (AU4) and raised inside (AU1) or
    the mouth corners lowered (AU15), each by half or more; without joy (AU12 below .3, happy below .5), for 0.4 s or
    more, in frames with a face (`seen`, (T,)).
    """
    unit = {name: attributes[:, i] for name, i in ATTRIBUTE_INDEX.items()}
    felt = unit["sad"] + unit["fear"] + unit["anger"] > 0.5
    shown = (unit["AU4"] >= 0.5) & ((unit["AU1"] >= 0.5) | (unit["AU15"] >= 0.5))
    found = seen & (felt | shown) & (unit["AU12"] < 0.3) & (unit["happy"] < 0.5)
    for a, b in runs(found):
        if b - a < DISTRESS_FRAMES:
            found[a:b] = False
    return found


@dataclass(frozen=True, slots=True)
class ListenerTracks:
    """S listeners of the same T frames."""

    blendshapes: npt.NDArray[np.floating]
    """(T, S, 52), 0 to 1."""
    rotation: npt.NDArray[np.floating]
    """(T, S, 3) rad: pitch, yaw, roll."""

    @classmethod
    def of(cls, reactions: Sequence[Reaction]) -> ListenerTracks:
        """Of the reactions to consecutive frames."""
        return cls(np.stack([r.blendshapes for r in reactions]), np.stack([r.rotation for r in reactions]))

    @property
    def smile(self) -> npt.NDArray[np.floating]:
        """(T, S) mean of mouthSmileLeft and mouthSmileRight."""
        return self.blendshapes[..., SMILE].mean(-1)

    def motion(self, sample: int) -> MotionSeries:
        """One listener's motion."""
        return MotionSeries.of_arkit(self.blendshapes[:, sample], self.rotation[:, sample])


def find_turns(pitch: npt.NDArray[np.floating]) -> list[int]:
    """Frames of the turning points of nods in a pitch (T,), rad; sway and slow turns of the head have none.

    A turning point is the greatest or least of ±9 frames, at least 0.9 degrees from their median, and more than 8
    frames after the one before: a single nod has one, a nod of several cycles one for each.
    """
    degrees, out = np.rad2deg(np.asarray(pitch, np.float64)), []
    for k in range(NOD_REACH, len(degrees) - NOD_REACH):
        near = degrees[k - NOD_REACH : k + NOD_REACH + 1]
        if degrees[k] not in (near.max(), near.min()) or abs(degrees[k] - np.median(near)) <= NOD_DEGREES:
            continue
        if not out or k - out[-1] > NOD_APART:
            out.append(k)
    return out


@dataclass(frozen=True, slots=True)
class ClipFigures:
    """The figures of one clip, in one condition, with one seed, as pairs that pool."""

    name: str
    group: str
    """The person: clips of one person are not independent."""
    seconds: float
    totals: Mapping[str, tuple[float, float]]
    """(sum, count) of each figure that the clip has."""
    condition: str = OWN
    seed: int = 1

    def value(self, figure: str) -> float | None:
        """The clip's figure; None where the clip has nothing to measure it by."""
        if figure in _DIFFERENCES:
            each = [self.value(part) for part in _DIFFERENCES[figure]]
            return None if each[0] is None or each[1] is None else each[0] - each[1]
        total, count = self.totals.get(figure, (0.0, 0.0))
        return total / count if count else None

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for JSON; `from_dict` is the inverse."""
        return {
            "name": self.name, "group": self.group, "seconds": self.seconds, "condition": self.condition,
            "seed": self.seed, "totals": {k: list(v) for k, v in self.totals.items()},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> ClipFigures:
        """The inverse of `to_dict`, also after JSON."""
        totals = {k: (float(v[0]), float(v[1])) for k, v in d["totals"].items()}
        return cls(d["name"], d["group"], d["seconds"], totals, d["condition"], d["seed"])


def clip_figures(
    name: str,
    speaker: SpeakerTrack,
    listeners: ListenerTracks,
    *,
    group: str = "",
    condition: str = OWN,
    seed: int = 1,
) -> ClipFigures:
    """The figures of one clip. group: the person; empty: the clip's name.

    Raises ValueError, naming the clip, where speaker and listeners differ in length.
    """
    frames, samples = listeners.blendshapes.shape[:2]
    if speaker.frames != frames:
        raise ValueError(f"{name}: the speaker has {speaker.frames} frames but the listeners have {frames}")
    totals: dict[str, tuple[float, float]] = {}
    _smiles(speaker, listeners, totals)
    _distress(speaker, listeners, totals)
    _backchannels(speaker, listeners, totals)
    shapes = listeners.blendshapes.astype(np.float64)
    speed = [np.diff(x, axis=0) * FPS for x in (shapes, listeners.rotation.astype(np.float64) / ROTATION_SCALE)]
    if frames > 1:
        totals["motion energy"] = (sum(float(np.square(v).sum()) for v in speed), float((frames - 1) * samples))
    totals["mean smile"] = (float(listeners.smile.mean()), 1.0)
    return ClipFigures(name, group or name, frames / FPS, totals, condition, seed)


def _smiles(speaker: SpeakerTrack, listeners: ListenerTracks, totals: dict[str, tuple[float, float]]) -> None:
    own, y = listeners.smile, speaker.smile
    mean, frames = own.mean(1), speaker.frames
    kept = ~speaker.distress
    if kept.any() and y[kept].std() > LEAST_SPREAD:
        lags = range(min(LONGEST_LAG + 1, frames - 2))
        pairs = [(mean[lag:][kept[: frames - lag]], y[: frames - lag][kept[: frames - lag]]) for lag in lags]
        heights = [_correlation(own_smile, smile) for own_smile, smile in pairs]
        lag = int(np.argmax(heights))
        totals["smile gain"] = (float(np.polyfit(pairs[lag][1], pairs[lag][0], 1)[0]), 1.0)
        totals["smile correlation"] = (heights[lag], 1.0)
        if heights[lag] > 0.0:  # a still listener has no lag
            totals["smile lag"] = (lag / FPS, 1.0)
    answered, delays = 0, []
    for a in speaker.onsets:
        rise = own[a : a + ANSWER_FRAMES] - own[max(0, a - 5) : a + 2].mean(0)
        answers = rise.max(0) > ANSWER_RISE
        answered += int(answers.sum())
        delays += (np.argmax(rise > ANSWER_RISE, axis=0)[answers] / FPS).tolist()
    _add(totals, "onsets answered", answered, len(speaker.onsets) * own.shape[1])
    _add(totals, "onset delay", math.fsum(delays), len(delays))
    stretches = speaker.long_smiles
    held = [float((own[a + HELD_FROM : b] > HELD).mean()) for a, b in stretches]
    _add(totals, "smiles held", sum(held), len(held))
    frowns = [float(listeners.blendshapes[a + FROWN_FROM : b][..., FROWN].mean()) for a, b in stretches]
    _add(totals, "frown at smiles", sum(frowns), len(frowns))


def _correlation(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Pearson's; 0 where one is constant."""
    if a.std() == 0.0 or b.std() == 0.0:
        return 0.0
    with np.errstate(invalid="ignore"):  # constant up to rounding
        return float(np.nan_to_num(np.corrcoef(a, b)[0, 1]))


def _distress(speaker: SpeakerTrack, listeners: ListenerTracks, totals: dict[str, tuple[float, float]]) -> None:
    where = np.zeros(speaker.frames, bool)
    for a, b in speaker.distressed:
        where[a:b] = True
    if not where.any():
        return
    shapes = listeners.blendshapes[where].astype(np.float64)
    count = float(where.sum() * shapes.shape[1])
    totals["smile at distress"] = (float(listeners.smile[where].astype(np.float64).sum()), count)
    totals["concern at distress"] = (float(concern(shapes).sum()), count)


def concern(blendshapes: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(…,) the greatest of inner brow raise, lowered brows and lowered mouth corners in (…, 52) weights."""
    b = blendshapes
    return np.maximum.reduce([b[..., _BROW_IN], b[..., _BROW_DOWN].mean(-1), b[..., _MOUTH_DOWN].mean(-1)])


def _backchannels(speaker: SpeakerTrack, listeners: ListenerTracks, totals: dict[str, tuple[float, float]]) -> None:
    frames, samples = listeners.blendshapes.shape[:2]
    minutes, talking, pauses = frames / (60 * FPS), speaker.talking, speaker.pauses
    counts = dict.fromkeys(("nods", "nods talking", "blinks", "blinks talking"), 0)
    answered, by_nods, chance, chance_nods, delays = 0, 0, 0.0, 0.0, []
    for s in range(samples):
        motion = listeners.motion(s)
        turns = find_turns(listeners.rotation[:, s, 0])
        flashes = [round(t * FPS) for t in find_flashes(motion, speaker._motion())]
        blinks = [min(round(b.start * FPS), frames - 1) for b in find_blinks(motion)]
        counts["nods"] += len(turns)
        counts["nods talking"] += int(talking[turns].sum())
        counts["blinks"] += len(blinks)
        counts["blinks talking"] += int(talking[blinks].sum())
        events = sorted([*turns, *flashes])
        nodded, hit = _answerable(turns, frames), _answerable(events, frames)
        chance_nods += float(nodded[: max(1, frames - CUE_FRAMES)].mean())
        chance += float(hit[: max(1, frames - CUE_FRAMES)].mean())
        by_nods += int(nodded[pauses].sum())
        answered += int(hit[pauses].sum())
        delays += [(next(e for e in events if e >= p) - p) / FPS for p in pauses if hit[p]]
    _add(totals, "pauses answered", answered, len(pauses) * samples)
    _add(totals, "pauses answered, nods", by_nods, len(pauses) * samples)
    _add(totals, "pauses by chance", chance, samples)
    _add(totals, "pauses by chance, nods", chance_nods, samples)
    _add(totals, "_chance, same clips", chance * len(pauses), len(pauses) * samples)
    _add(totals, "pause delay", math.fsum(delays), len(delays))
    spoken = samples * float(talking.sum()) / (60 * FPS)
    _add(totals, "nods a minute", counts["nods"], samples * minutes)
    _add(totals, "blinks a minute", counts["blinks"], samples * minutes)
    _add(totals, "nods a minute, talking", counts["nods talking"], spoken)
    _add(totals, "blinks a minute, talking", counts["blinks talking"], spoken)


def _answerable(events: Iterable[int], frames: int) -> Flags:
    """(T,) whether a cue in this frame would be answered by one of the events."""
    hit = np.zeros(frames, bool)
    for k in events:
        hit[max(0, k - CUE_FRAMES) : k + 1] = True
    return hit


def _add(totals: dict[str, tuple[float, float]], figure: str, total: float, count: float) -> None:
    if count:
        totals[figure] = (float(total), float(count))


# Figures over clips --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was reached."""

    target: Target
    value: Value | None
    """None: nothing in the clips to measure it by."""

    @property
    def met(self) -> bool | None:
        """Whether the figure reaches the target; None where it could not be measured."""
        return None if self.value is None else self.target.met(self.value.mean)

    @property
    def name(self) -> str:
        """The figure, with its condition where that is not the own speaker."""
        t = self.target
        return t.figure if t.condition == OWN else f"{t.figure}, {t.condition} face"

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for JSON."""
        value = None if self.value is None else self.value.to_dict()
        return {"figure": self.name, "target": self.target.text, "value": value, "met": self.met}


@dataclass(frozen=True, slots=True)
class Responsiveness:
    """The responsiveness of one listener over clips, seeds and conditions."""

    clips: tuple[ClipFigures, ...]
    samples: int = 0
    """Listeners for each clip and seed; 0: unknown."""
    notes: tuple[str, ...] = field(default=())
    """Sentences about clips or conditions that could not be used."""

    @property
    def conditions(self) -> list[str]:
        """The conditions that were run, in the order of `CONDITIONS`."""
        return [c for c in CONDITIONS if any(clip.condition == c for clip in self.clips)]

    @property
    def seeds(self) -> list[int]:
        """The seeds that were run."""
        return sorted({clip.seed for clip in self.clips})

    def of_seed(self, seed: int) -> Responsiveness:
        """The part of one seed."""
        return Responsiveness(tuple(c for c in self.clips if c.seed == seed), self.samples, self.notes)

    def figure(self, figure: str, condition: str = OWN) -> Value | None:
        """One figure over all clips with its 95 % interval over people; None where no clip has it."""
        return _pooled(figure, [c for c in self.clips if c.condition == condition])

    def mean(self, figure: str, condition: str = OWN) -> float:
        """One figure without its interval; NaN where no clip has it."""
        chosen = [c for c in self.clips if c.condition == condition]
        parts = [_sums(part, chosen) for part in _DIFFERENCES.get(figure, (figure,))]
        if any(count == 0.0 for _, count in parts):
            return math.nan
        values = [total / count for total, count in parts]
        return values[0] if len(values) == 1 else values[0] - values[1]

    def figures(self, condition: str = OWN) -> dict[str, Value | None]:
        """Every figure."""
        return {figure: self.figure(figure, condition) for figure in FIGURES}

    def drop(self, figure: str, condition: str) -> Value | None:
        """How much lower a figure is in another condition than before the own speaker, over the same clips."""
        own = {(c.name, c.seed): c for c in self.clips if c.condition == OWN}
        pairs = [(own[c.name, c.seed], c) for c in self.clips if c.condition == condition and (c.name, c.seed) in own]
        if not pairs:
            return None
        return _pooled(figure, [a for a, _ in pairs], [b for _, b in pairs])

    def _means(self, seed: int) -> dict[str, float]:
        """The figures with targets, of one seed."""
        return {v.name: v.value.mean for v in self.of_seed(seed).verdicts() if v.value is not None}

    def verdicts(self, targets: Sequence[Target] = TARGETS) -> list[Verdict]:
        """Each target with the figure; those of conditions that were not run are left out."""
        return [Verdict(t, self.figure(t.figure, t.condition)) for t in targets if t.condition in self.conditions]

    @property
    def score(self) -> float:
        """Mean share of the targets that is reached, 0 to 1, over those that can be measured; NaN without any."""
        each = [(t, self.mean(t.figure, t.condition)) for t in TARGETS if t.condition in self.conditions]
        reached = [t.reached(value) for t, value in each if math.isfinite(value)]
        return float(np.mean(reached)) if reached else math.nan

    @property
    def events(self) -> dict[str, int]:
        """How many clips, onsets, long smiles and pauses the figures rest on."""
        first = [c for c in self.clips if c.condition == OWN and c.seed == min(self.seeds)]
        per = max(self.samples, 1)
        return {
            "clips": len(first),
            "people": len({c.group for c in first}),
            "clips with a varying smile": round(_sums("smile gain", first)[1]),
            "onsets": round(_sums("onsets answered", first)[1] / per),
            "long smiles": round(_sums("smiles held", first)[1]),
            "pauses": round(_sums("pauses answered", first)[1] / per),
            "frames of distress": round(_sums("smile at distress", first)[1] / per),
        }

    @property
    def line(self) -> str:
        """The main figures in one line."""
        m, e = self.mean, self.events
        return (
            f"smile gain {m('smile gain'):.2f}, r {m('smile correlation'):.2f}, onsets answered "
            f"{m('onsets answered'):.2f} (of {e['onsets']}), held {m('smiles held'):.2f}, frown at smiles "
            f"{m('frown at smiles'):.3f}, pauses answered by nods {m('pauses answered, nods'):.2f} against "
            f"{m('pauses by chance, nods'):.2f} by chance (of {e['pauses']}), nods {m('nods a minute'):.1f}/min, "
            f"score {self.score:.3f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Figures of every condition, drops, verdicts and the clips' figures, in plain types for JSON."""

        def plain(values: Mapping[str, Value | None]) -> dict[str, Any]:
            return {name: value.to_dict() for name, value in values.items() if value is not None}

        others = [c for c in self.conditions if c != OWN]
        return {
            "samples": self.samples,
            "seeds": self.seeds,
            "events": self.events,
            "score": self.score if math.isfinite(self.score) else None,
            "targets": [v.to_dict() for v in self.verdicts()],
            "figures": {c: plain(self.figures(c)) for c in self.conditions},
            "drops": {c: plain({f: self.drop(f, c) for f in FIGURES}) for c in others},
            "by_seed": {str(s): self._means(s) for s in self.seeds},
            "notes": list(self.notes),
            "clips": [c.to_dict() for c in self.clips],
        }


def _sums(figure: str, clips: Iterable[ClipFigures]) -> tuple[float, float]:
    pairs = [c.totals[figure] for c in clips if figure in c.totals]
    return math.fsum(p[0] for p in pairs), math.fsum(p[1] for p in pairs)


def _pooled(figure: str, clips: Sequence[ClipFigures], minus: Sequence[ClipFigures] = ()) -> Value | None:
    """A figure over clips, or its difference from the figure over other clips of the same people, with an interval."""
    parts = _DIFFERENCES.get(figure, (figure,))
    columns = [(part, side) for side in ([clips, minus] if minus else [clips]) for part in parts]
    people = sorted({c.group for side in (clips, minus) for c in side})
    sums = np.zeros((len(people), len(columns), 2))
    for column, (part, side) in enumerate(columns):
        for clip in side:
            if part in clip.totals:
                sums[people.index(clip.group), column] += clip.totals[part]
    if not people or (sums[..., 1].sum(axis=0) == 0.0).any():
        return None
    signs = np.array([1.0, -1.0][: len(parts)] if not minus else [1.0, -1.0][: len(parts)] + [-1.0, 1.0][: len(parts)])

    def statistic(totals: Doubles) -> Doubles:
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((totals[..., 0] / totals[..., 1]) * signs).sum(-1)

    if (sums[..., 1] > 0.0).sum(axis=0).min() < LEAST_GROUPS:
        return Value(float(statistic(sums.sum(axis=0))))
    return statistic_with_interval(sums, statistic)


# Moments -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that the speaker did, and the first listener's answer."""

    time: float
    """s from the clip's first frame."""
    speaker: str
    listener: str
    """Empty: no answer."""
    delay: float | None
    """s from the speaker's to the listener's; None without an answer, and for what has no onset."""


def find_moments(speaker: SpeakerTrack, listeners: ListenerTracks) -> list[Moment]:
    """The smile onsets, pauses and distress of a speaker, with the first listener's answers, in order of time."""
    own, out = listeners.smile[:, 0].astype(np.float64), []
    for a in speaker.onsets:
        rise = own[a : a + ANSWER_FRAMES] - own[max(0, a - 5) : a + 2].mean()
        delay = int(np.argmax(rise > ANSWER_RISE)) / FPS if rise.max() > ANSWER_RISE else None
        level = own[a : a + ANSWER_FRAMES].max()
        out.append(Moment(a / FPS, "smiles", "" if delay is None else f"smiles back ({level:.2f})", delay))
    turns = find_turns(listeners.rotation[:, 0, 0])
    flashes = [round(t * FPS) for t in find_flashes(listeners.motion(0), speaker._motion())]
    events = sorted([(k, "nods") for k in turns] + [(k, "brow flash or short smile") for k in flashes])
    for p in speaker.pauses:
        found = next(((k, what) for k, what in events if p <= k <= p + CUE_FRAMES), None)
        delay = None if found is None else (found[0] - p) / FPS
        out.append(Moment(p / FPS, "pauses", "" if found is None else found[1], delay))
    for a, b in runs(speaker.distress):
        counted = slice(a + DISTRESS_DELAY if a > 0 else a, b)
        if counted.start < b:
            smile, worry = own[counted].mean(), concern(listeners.blendshapes[counted, 0]).mean()
            answer = f"smile {smile:.2f}, concern {worry:.2f}"
            out.append(Moment(a / FPS, f"distress, {(b - a) / FPS:.1f} s", answer, None))
    return sorted(out, key=lambda m: m.time)
