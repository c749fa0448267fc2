"""The responsiveness of a robot in one recorded session, as the person before it saw it: with its latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from react_ros.bags.timeline import Numbers, timeline_of
from react_ros.evaluation.behaviour.responsiveness import (
    Intervals,
    ListenerTracks,
    Moment,
    Responsiveness,
    clip_figures,
    find_moments,
)
from react_ros.evaluation.responsiveness.clips import LEAST_FRAMES, SpeakerClip
from react_ros.face import FRAME_NS, SpeakerFrame


def recorded_responsiveness(
    frames: Sequence[SpeakerFrame],
    shown: Numbers,
    blendshapes: npt.NDArray[np.floating],
    rotation: npt.NDArray[np.floating],
    *,
    distress: Intervals | None = None,
) -> tuple[Responsiveness, list[Moment]] | None:
    """Figures and moments of one session; None for one of less than 2 s.

    frames: of the speaker, with the stamps of their images, in order. shown: (n,) ns, ascending, when each face of the
    listener was shown, on the same clock; blendshapes (n, 52), rotation (n, 3) rad. At the time of a speaker's frame
    the listener's face is the last one shown by then. distress: (from, to) in s from the first frame, see
    `SpeakerTrack`.
    """
    if not frames or not len(shown):
        return None
    timeline = timeline_of(np.array([f.stamp_ns for f in frames], np.int64))
    if len(timeline) < LEAST_FRAMES:
        return None
    rows = timeline.rows
    watched = [replace(frames[int(r)], index=k, stamp_ns=k * FRAME_NS) for k, r in enumerate(rows)]
    at = np.searchsorted(shown, timeline.times, side="right") - 1
    visible = (at >= 0)[:, None]
    at = np.maximum(at, 0)
    listener = ListenerTracks((blendshapes[at] * visible)[:, None], (rotation[at] * visible)[:, None])
    track = SpeakerClip("session", watched, distress=distress).track
    result = Responsiveness((clip_figures("session", track, listener, seed=0),), 1)
    return result, find_moments(track, listener)
