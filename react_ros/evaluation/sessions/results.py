"""What an evaluation of sessions finds, and how it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from react_ros.evaluation.corpora.plan import Plan
from react_ros.evaluation.corpora.summary import RowSummary, Summary, write_figures
from react_ros.evaluation.sessions.health import Health
from react_ros.replay.recorded_session import RecordedSession

VERSION = 1


@dataclass(frozen=True, slots=True)
class SessionsPlan:
    """What is asked for."""

    samples: int = 10
    seed: int = 0
    frames: int = 750
    """Of a clip."""
    binarize: bool = False

    def __post_init__(self) -> None:
        if not 50 <= self.frames <= 100_000:
            raise ValueError(f"frames is {self.frames}: a bag is cut into clips of 50 to 100000")
        self.plan()

    def plan(self) -> Plan:
        """As evaluation takes it. Raises ValueError, in one sentence, for an impossible value."""
        return Plan(Path("bags"), samples=self.samples, seed=self.seed, frames=self.frames, binarize=self.binarize)


@dataclass(slots=True)
class BagResult:
    """One bag's share."""

    session: RecordedSession
    health: Health
    clips: list[tuple[float, float]]
    """(begin, end) s on the speaker's timeline."""
    left_over: float
    """s at the end of stretches that are too short for a clip."""
    listener_seen: float | None
    """Share of the clips in which the human listener is seen; None without one."""
    summary: Summary
    films: dict[str, str] = field(default_factory=dict)
    """By row, the file beside the page."""


@dataclass(slots=True)
class SessionsEvaluation:
    """Several bags, several generators."""

    asked: SessionsPlan
    summary: Summary
    """All bags together."""
    bags: list[BagResult]
    left_out: list[str]
    """A sentence for each bag that could not be evaluated."""
    notices: list[str]
    """What a reader must know of the generators."""

    @property
    def rows(self) -> list[RowSummary]:
        """The rows over all bags."""
        return self.summary.rows

    @property
    def with_listener(self) -> bool:
        """Whether any clip has a human listener to be held against."""
        return any(r.official["FRCorr"] is not None for r in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for JSON."""
        return {
            "version": VERSION,
            "asked": {
                "samples": self.asked.samples, "seed": self.asked.seed, "frames": self.asked.frames,
                "binarize": self.asked.binarize,
            },
            "left_out": self.left_out,
            "notices": self.notices,
            **_figures(self.summary),
            "bags": [_of_bag(b) for b in self.bags],
        }  # fmt: skip


def _figures(summary: Summary) -> dict[str, Any]:
    told = summary.to_dict()
    return {name: told[name] for name in ("clips", "rows", "listens")}


def _of_bag(b: BagResult) -> dict[str, Any]:
    s = b.session
    theirs = s.listener_inputs
    return {
        "bag": str(s.path), "seconds": s.seconds, "notices": s.notices,
        "speaker": {
            "topics": [t for t in (s.inputs.features, s.inputs.image, s.inputs.audio) if t],
            "frames": len(s.speaker), "seen": float(s.speaker.seen.mean()), "heard": float(s.speaker.heard.mean()),
        },
        "listener": None if theirs is None else {
            "topics": [t for t in (theirs.features, theirs.image, theirs.audio) if t], "seen": b.listener_seen,
        },
        "recorded": None if s.reactions is None else {
            "topic": s.reactions.topic, "reactions": len(s.reactions.frames), "samples": s.reactions.faces.shape[1],
            "streams": [{"generator": x.generator, "seed": x.seed, "delay": x.delay, "first_frame": x.first_frame,
                         "weights": x.weights} for x in s.reactions.streams],
        },
        "cut": b.clips, "left_over_s": b.left_over, "films": b.films, "health": b.health.to_dict(),
        **_figures(b.summary),
    }  # fmt: skip


def write_results(assessment: SessionsEvaluation, path: Path) -> None:
    """The figures as JSON; what is not a number becomes null. The same bags and options give the same bytes."""
    write_figures(assessment.to_dict(), path)
