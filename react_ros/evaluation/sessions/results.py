"""Options and results of an evaluation of sessions, and their JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from react_ros.evaluation.corpora.plan import Plan
from react_ros.evaluation.corpora.summary import RowSummary, Summary, write_figures
from react_ros.evaluation.sessions.health import Health
from react_ros.replay.recorded_session import RecordedSession

VERSION = 2
"""Version of the JSON: 2 renamed "asked" to "options" and the metric mode "sound" to "corrected"."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Options of an evaluation of sessions. Raises ValueError, in one sentence, for an impossible value."""

    samples: int = 10
    seed: int = 0
    frames: int = 750
    """Length of a clip."""
    binarize: bool = False

    def __post_init__(self) -> None:
        if not 50 <= self.frames <= 100_000:
            raise ValueError(f"frames is {self.frames}: it must be 50 to 100000 per clip")
        self.plan()

    def plan(self) -> Plan:
        """The same options as those of a corpus evaluation."""
        return Plan(Path("bags"), samples=self.samples, seed=self.seed, frames=self.frames, binarize=self.binarize)


@dataclass(slots=True)
class BagResult:
    """The results of one bag."""

    session: RecordedSession
    health: Health
    clips: list[tuple[float, float]]
    """(begin, end) s on the speaker's timeline."""
    left_over: float
    """Seconds at the ends of stretches that are too short for a clip."""
    listener_seen: float | None
    """Share of the clips' frames in which the human listener is seen; None without one."""
    summary: Summary
    films: dict[str, str] = field(default_factory=dict)
    """By row label, the film's path relative to the page, or "none: " and the reason."""


@dataclass(slots=True)
class SessionEvaluation:
    """The results of all bags and rows."""

    options: SessionOptions
    summary: Summary
    """All bags together."""
    bags: list[BagResult]
    left_out: list[str]
    """A sentence per bag that could not be evaluated."""
    notices: list[str]
    """Notices of the generators, e.g. on simulated training data."""

    @property
    def rows(self) -> list[RowSummary]:
        """The rows over all bags."""
        return self.summary.rows

    @property
    def with_listener(self) -> bool:
        """Whether any clip has a human listener to compare with."""
        return any(r.official["FRCorr"] is not None for r in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for JSON."""
        return {
            "version": VERSION,
            "options": {
                "samples": self.options.samples, "seed": self.options.seed, "frames": self.options.frames,
                "binarize": self.options.binarize,
            },
            "left_out": self.left_out,
            "notices": self.notices,
            **_figures(self.summary),
            "bags": [_bag(b) for b in self.bags],
        }  # fmt: skip


def _figures(summary: Summary) -> dict[str, Any]:
    values = summary.to_dict()
    return {name: values[name] for name in ("clips", "rows", "listens")}


def _bag(b: BagResult) -> dict[str, Any]:
    s = b.session
    listener = s.listener_inputs
    return {
        "bag": str(s.path), "seconds": s.seconds, "notices": s.notices,
        "speaker": {
            "topics": [t for t in (s.inputs.features, s.inputs.image, s.inputs.audio) if t],
            "frames": len(s.speaker), "seen": float(s.speaker.seen.mean()), "heard": float(s.speaker.heard.mean()),
        },
        "listener": None if listener is None else {
            "topics": [t for t in (listener.features, listener.image, listener.audio) if t], "seen": b.listener_seen,
        },
        "recorded": None if s.reactions is None else {
            "topic": s.reactions.topic, "reactions": len(s.reactions.frames), "samples": s.reactions.faces.shape[1],
            "streams": [{"generator": x.generator, "seed": x.seed, "delay": x.delay, "first_frame": x.first_frame,
                         "weights": x.weights} for x in s.reactions.streams],
        },
        "cut": b.clips, "left_over_s": b.left_over, "films": b.films, "health": b.health.to_dict(),
        **_figures(b.summary),
    }  # fmt: skip


def write_results(evaluation: SessionEvaluation, path: Path) -> None:
    """Write the results as JSON; values that are not finite become null. Same bags and options: same bytes."""
    write_figures(evaluation.to_dict(), path)
