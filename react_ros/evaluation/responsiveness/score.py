"""Scores a generator before clips of speakers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from react_ros.evaluation.behaviour.responsiveness import (
    OWN,
    ClipFigures,
    ListenerTracks,
    Responsiveness,
    clip_figures,
)
from react_ros.evaluation.responsiveness.clips import SpeakerClip, condition_frames
from react_ros.generators.contract import Generator


def responsiveness(
    generator: Generator,
    clips: Sequence[SpeakerClip],
    samples: int = 4,
    seeds: Sequence[int] = (1,),
    *,
    conditions: Sequence[str] = (OWN,),
    progress: Callable[[int, int], None] | None = None,
) -> Responsiveness:
    """A generator's responsiveness, by its batch path.

    samples: listeners for each clip and seed. conditions: see `CONDITIONS`; figures of others than "own" are scored
    against the clip's own speaker. progress: called with (clips done, in all), over seeds and conditions. Raises
    ValueError for no clips, samples < 1, a negative seed, or an unknown condition.
    """
    if not clips:
        raise ValueError("responsiveness needs at least one clip of a speaker")
    work = [(seed, condition, clip) for seed in seeds for condition in conditions for clip in clips]
    figures: list[ClipFigures] = []
    notes: list[str] = []
    for done, (seed, condition, clip) in enumerate(work):
        if progress is not None:
            progress(done, len(work))
        found = score_clip(generator, clip, clips, samples, seed, condition)
        if isinstance(found, str):
            notes.append(found)
        else:
            figures.append(found[0])
    if progress is not None:
        progress(len(work), len(work))
    return Responsiveness(tuple(figures), samples, tuple(dict.fromkeys(notes)))


def score_clip(
    generator: Generator, clip: SpeakerClip, clips: Sequence[SpeakerClip], samples: int, seed: int, condition: str
) -> tuple[ClipFigures, ListenerTracks] | str:
    """One clip in one condition with one seed: its figures and the listeners; or why the clip has no such condition."""
    frames = condition_frames(clip, condition, clips)
    if isinstance(frames, str):
        return frames
    listeners = ListenerTracks.of(generator.generate(frames, samples=samples, seed=seed))
    figures = clip_figures(clip.name, clip.track, listeners, group=clip.group, condition=condition, seed=seed)
    return figures, listeners
