"""Figures from the blocks of an evaluation: means with intervals, gaps to a shuffled speaker, human timing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros.evaluation.behaviour.timing import Measure, TimingReport, timing_report
from react_ros.evaluation.corpora.plan import GROUND_TRUTH, Row
from react_ros.evaluation.corpora.published import published
from react_ros.evaluation.corpora.run import Prepared
from react_ros.evaluation.corpora.scoring import MODES, Block
from react_ros.evaluation.metrics.c2st import TwoSampleResult, two_sample_test
from react_ros.evaluation.metrics.challenge import DvsSums, Mode
from react_ros.evaluation.metrics.intervals import Value, mean_with_interval
from react_ros.evaluation.metrics.pictures import PictureRealism, PictureSums, picture_realism
from react_ros.evaluation.metrics.realism import MomentSums, merge, motion_distance
from react_ros.face import ATTRIBUTES, Floats
from react_ros.generators.system import PublishedRow
from react_ros.io import atomic_write

Doubles = npt.NDArray[np.float64]

METRICS = ("FRCorr", "FRDist", "FRDiv", "FRVar", "FRDvs", "FRSyn")


@dataclass(frozen=True, slots=True)
class Example:
    """One clip to plot."""

    name: str
    reaction: Floats
    """(T, 25), the first sample."""
    real: Floats
    """(K, T, 25) the appropriate listeners."""


@dataclass(frozen=True, slots=True)
class RowSummary:
    """The scores of one row."""

    row: Row
    clips: int
    failed: list[str]
    """A sentence per clip that could not be scored."""
    official: Mapping[str, Value | None]
    """`METRICS` by the challenge's definitions, quirks included."""
    corrected: Mapping[str, Value | None]
    """`METRICS` by the corrected definitions."""
    reactface: Mapping[str, Value | None]
    """ReactFace's DivC, DivF, S-MSE and TLCC on the 58 coefficients; empty without them."""
    motion: float | None
    """FRRea-motion."""
    pictures: PictureRealism | None
    """FRRea over pictures of the avatar; None without the networks' files."""
    attributes_test: TwoSampleResult | None
    """C2ST of real against generated listeners, on the 25 attributes."""
    face_test: TwoSampleResult | None
    """C2ST on the 25 attributes and the 58 coefficients."""
    timing: TimingReport
    offsets: Doubles
    """All FRSyn offsets of the corrected mode, in frames; < 0: the reaction comes after the speaker."""
    frcorr: Doubles
    """(clips,) FRCorr of the official mode."""
    clip_indices: npt.NDArray[np.int64]
    """(clips,) index of each clip's dyad."""
    notes: list[str]
    """A sentence per figure that could not be computed."""
    example: Example | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Difference in FRCorr between hearing the clip's own speaker and hearing another clip's."""

    label: str
    own: float
    shuffled: float
    difference: Value
    """Own minus shuffled, paired by clip."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole evaluation."""

    plan: Mapping[str, Any]
    notice: str
    """What a reader must know about the corpus; never empty for a simulated one."""
    clips: int
    groups: int
    """Number of groups of clips that share appropriate listeners; intervals resample these."""
    neighbours: float
    """Mean number of appropriate listeners per clip."""
    problems: list[str]
    rows: list[RowSummary]
    gaps: list[Gap]
    published: list[PublishedRow]

    @property
    def reference(self) -> TimingReport | None:
        """The timing of the real listeners; None without a ground truth row."""
        return next((r.timing for r in self.rows if r.row.name == GROUND_TRUTH), None)

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for JSON."""
        return {
            "plan": dict(self.plan),
            "notice": self.notice,
            "clips": self.clips,
            "groups": self.groups,
            "appropriate_listeners_a_clip": self.neighbours,
            "left_out": self.problems,
            "rows": [self._row(r) for r in self.rows],
            "listens": [{**asdict(g), "difference": g.difference.to_dict()} for g in self.gaps],
            "published": [asdict(p) for p in self.published],
        }

    def _row(self, r: RowSummary) -> dict[str, Any]:
        return {
            "row": r.row.label,
            "clips": r.clips,
            "failed": r.failed,
            "official": {k: v and v.to_dict() for k, v in r.official.items()},
            "corrected": {k: v and v.to_dict() for k, v in r.corrected.items()},
            "reactface": {k: v and v.to_dict() for k, v in r.reactface.items()},
            "FRRea-motion": r.motion,
            "FRRea": r.pictures and asdict(r.pictures),
            "two_sample": {
                "attributes": r.attributes_test and asdict(r.attributes_test),
                "attributes_and_face": r.face_test and asdict(r.face_test),
            },
            "timing": r.timing.to_dict(self.reference),
            "notes": r.notes,
        }


def summarise(prepared: Prepared, results: Mapping[Row, Sequence[Block]]) -> Summary:
    """The figures of every complete row."""
    group_of = prepared.groups
    rows = [_summarise(prepared, row, list(blocks), group_of) for row, blocks in results.items()]
    counts = [int(prepared.appropriate[d.index].sum()) for d in prepared.evaluated]
    corpus = prepared.corpus
    notice = f"{corpus.notice} These figures say nothing about real people." if corpus.simulated else corpus.notice
    return Summary(
        plan=prepared.plan.to_dict(),
        notice=notice,
        clips=len(prepared.evaluated),
        groups=len({int(group_of[d.index]) for d in prepared.evaluated}),
        neighbours=float(np.mean(counts)),
        problems=prepared.problems,
        rows=rows,
        gaps=_gaps(rows, group_of),
        published=published(),
    )


def write_results(summary: Summary, path: Path) -> None:
    """Write the figures as JSON; values that are not finite become null."""
    write_figures(summary.to_dict(), path)


def write_figures(figures: dict[str, Any], path: Path) -> None:
    """Write plain types as JSON, atomically; values that are not finite become null."""
    text = json.dumps(_finite(figures), indent=1).encode()
    atomic_write(path, text)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summarise(prepared: Prepared, row: Row, blocks: list[Block], group_of: npt.NDArray[np.intp]) -> RowSummary:
    failed = [f for b in blocks for f in b.failed]
    blocks = [
        b for b in blocks if len(b.values["clip"])
    ]  # blocks without a scored clip have no sums, and arrays of other shapes

    def all_of(name: str) -> Doubles:
        return np.concatenate([b.values[name] for b in blocks] or [np.zeros(0)])

    clips = all_of("clip").astype(np.int64)
    groups = group_of[clips]
    notes = [] if blocks else ["no clip of this row could be scored"]

    def mean(name: str) -> Value | None:
        return mean_with_interval(all_of(name), groups)

    def dvs(name: str) -> Value | None:
        sums = [DvsSums.from_arrays(b.part(name)) for b in blocks if b.has(name)]
        value = DvsSums.merge(sums).value() if sums else None
        return None if value is None else Value(value)

    def synchrony(name: str, mode: Mode) -> Value | None:
        if not len(clips):
            return None
        offsets = np.abs(all_of(f"{name}/{mode}"))  # (clips, P), NaN where there is none
        if mode == "official":
            return mean_with_interval(offsets[:, 0], groups)
        return mean_with_interval(offsets.ravel(), np.repeat(groups, offsets.shape[1]))

    shared = {"FRDiv": mean("frdiv"), "FRVar": mean("frvar"), "FRDvs": dvs("dvs")}
    modes = {
        mode: {
            "FRCorr": mean(f"frcorr/{mode}"),
            "FRDist": mean(f"frdist/{mode}"),
            **shared,
            "FRSyn": synchrony("offset", mode),
        }
        for mode in MODES
    }
    reactface = {}
    if blocks and all("smse" in b.values for b in blocks):
        reactface = {
            "DivC": dvs("divc"),
            "DivF": mean("divf"),
            "S-MSE": mean("smse"),
            "TLCC": synchrony("offset58", "official"),
            "TLCC corrected": synchrony("offset58", "corrected"),
        }
    motion = None
    try:
        sides = [[b.part(n) for b in blocks if b.has(n)] for n in ("motion/real", "motion/generated")]
        if all(sides):
            motion = motion_distance(*(merge(map(MomentSums.from_arrays, side)) for side in sides))
    except ValueError as error:
        notes.append(str(error))
    offsets = all_of("offset/corrected")
    tests = _two_sample(prepared, row, blocks, group_of, notes)
    timing = timing_report(t for b in blocks for t in b.timing)
    return RowSummary(
        row=row,
        clips=len(clips),
        failed=failed,
        official=modes["official"],
        corrected=modes["corrected"],
        reactface=reactface,
        motion=motion,
        pictures=_pictures(blocks),
        attributes_test=tests[0],
        face_test=tests[1],
        timing=timing,
        offsets=offsets[np.isfinite(offsets)],
        frcorr=all_of("frcorr/official"),
        clip_indices=clips,
        notes=notes,
        example=_example(prepared, blocks),
    )


def _pictures(blocks: Sequence[Block]) -> PictureRealism | None:
    def sums(side: str) -> PictureSums:
        networks = {}
        for network in ("inception", "i3d"):
            found = [b.part(f"{network}/{side}") for b in blocks if b.has(f"{network}/{side}")]
            networks[network] = merge(map(MomentSums.from_arrays, found)) if found else None
        return PictureSums(**networks)

    real, generated = sums("real"), sums("generated")
    return None if real.inception is None and real.i3d is None else picture_realism(real, generated)


def _two_sample(
    prepared: Prepared, row: Row, blocks: Sequence[Block], group_of: npt.NDArray[np.intp], notes: list[str]
) -> tuple[TwoSampleResult | None, TwoSampleResult | None]:
    """On the attributes, and on all channels where there are more; None for the ground truth itself."""
    if row.name == GROUND_TRUTH:
        return None, None
    listeners = {d.index: d.listener for d in prepared.dyads}
    kept = [(int(c), x) for b in blocks if b.tested for c, x in zip(b.values["tested/clip"], b.tested, strict=True)]
    kept = [(c, x) for c, x in kept if listeners[c].attributes is not None]
    if blocks and not kept:
        return None, None
    results: list[TwoSampleResult | None] = []
    wide = bool(kept) and kept[0][1].shape[1] > ATTRIBUTES and listeners[kept[0][0]].face_model is not None
    for width in (ATTRIBUTES, None):
        if width is None and not wide:
            results.append(None)
            continue
        real = []
        for clip, generated in kept:
            person = listeners[clip]
            whole = prepared.corpus.attributes(person)
            if width is None:
                whole = np.concatenate([whole, prepared.corpus.face_model(person)], axis=1)
            real.append(whole[: len(generated)])
        try:
            results.append(two_sample_test(real, [x[:, :width] for _, x in kept], [str(group_of[c]) for c, _ in kept]))
        except ValueError as error:
            results.append(None)
            notes.append(str(error))
    return results[0], results[1]


def _example(prepared: Prepared, blocks: Sequence[Block]) -> Example | None:
    """The first clip whose reaction was stored."""
    block = next((b for b in blocks if b.tested), None)
    if block is None:
        return None
    dyads = {d.index: d for d in prepared.dyads}
    dyad = dyads[int(block.values["tested/clip"][0])]
    neighbours = [dyads[int(i)].listener for i in np.flatnonzero(prepared.appropriate[dyad.index])]
    real = [prepared.corpus.attributes(listener) for listener in neighbours if listener.attributes is not None]
    reaction = block.tested[0][:, :ATTRIBUTES]
    frames = min(len(x) for x in (reaction, *real))
    return Example(dyad.name, reaction[:frames], np.array([x[:frames] for x in real]).reshape(-1, frames, ATTRIBUTES))


def _gaps(rows: Sequence[RowSummary], group_of: npt.NDArray[np.intp]) -> list[Gap]:
    by_row = {r.row: r for r in rows}
    gaps = []
    for r in rows:
        shuffled = by_row.get(Row(r.row.name, r.row.parameters, True))
        if r.row.shuffled or shuffled is None:
            continue
        both, at, shuffled_at = np.intersect1d(r.clip_indices, shuffled.clip_indices, return_indices=True)
        own, other = r.frcorr[at], shuffled.frcorr[shuffled_at]
        difference = mean_with_interval(own - other, group_of[both])
        if difference is not None:
            gaps.append(Gap(r.row.label, float(own.mean()), float(other.mean()), difference))
    return gaps


def timing_rows(summary: Summary, row: RowSummary) -> list[Measure]:
    """The row's human timing; jitter relative to the real listeners where the ground truth is a row."""
    return row.timing.rows(summary.reference)
