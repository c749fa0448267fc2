"""A recorded session as arrays on one 25 Hz timeline: the speaker, the human listener, and the reactions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from react_ros.bags.errors import BagError
from react_ros.bags.inputs import Inputs, topics_of
from react_ros.bags.participants import Choice, camera_of, find_speaker_and_listener, microphone_of
from react_ros.bags.person_frames import PersonFrames
from react_ros.bags.reactions import RecordedReactions, read_reactions
from react_ros.bags.reader import Bag
from react_ros.bags.timeline import Flags, Numbers, Timeline, timeline_of
from react_ros.face import (
    ROTATION_58,
    TRANSLATION_58,
    Floats,
    SpeakerFrame,
)
from react_ros.messages.types import REACTION_TYPE, STREAM_TYPE
from react_ros.replay.speaker_frames import Progress, UnusableData, heard_frames

OTHER_CLOCK_NS = 5_000_000_000
"""Two people's stamps that differ so much more than their messages' arrivals are of different clocks."""


def read_person(
    bag: Bag, inputs: Inputs, losses: UnusableData, progress: Progress = lambda done, total: None
) -> PersonFrames:
    """A person's frames, from recorded features or perceived from camera and microphone."""
    track = PersonFrames()
    for heard in heard_frames(bag, inputs, losses, progress):
        track.add(heard.frame, heard.time_ns)
    return track


@dataclass(slots=True)
class RecordedSession:
    """A bag, read: everybody in it on the speaker's timeline."""

    path: Path
    inputs: Inputs
    speaker: PersonFrames
    timeline: Timeline
    losses: UnusableData
    listener_inputs: Inputs | None = None
    listener: PersonFrames | None = None
    """The human who listened."""
    reactions: RecordedReactions | None = None
    camera: str = ""
    """The topic of the speaker's pictures; empty without any."""
    microphone: str = ""
    """The topic of the speaker's sound; empty without any."""
    seconds: float = 0.0
    """Of the bag, from its first message to its last."""
    notices: list[str] = field(default_factory=list)
    """What a reader of any result must know."""

    def frames(self, begin: int, end: int) -> list[SpeakerFrame]:
        """The speaker at slots begin to end, each with the slot's number and time."""
        rows, times = self.timeline.rows, self.timeline.times
        return [replace(self.speaker.frame(int(rows[t])), index=t, stamp_ns=int(times[t])) for t in range(begin, end)]

    def listened(self) -> tuple[Floats, Floats, Flags]:
        """The human listener at every slot: (T, 25) attributes, (T, 58) face model, (T,) whether they were seen.

        The head is around its own rest, the median of all that was seen, as a generated face is. Needs a listener.
        """
        assert self.listener is not None
        at, there = self.timeline.newest(self.listener.stamps)
        seen = there & self.listener.seen[at]
        model = self.listener.face_model.copy()
        shown = self.listener.seen
        if shown.any():
            head = slice(ROTATION_58.start, TRANSLATION_58.stop)
            model[:, head] -= np.median(model[shown, head], axis=0)
        return self.listener.attributes[at], model[at], seen

    def answers(self) -> tuple[Numbers, Flags]:
        """At every slot the recorded reaction: (T,) which, and whether it is there. Needs reactions."""
        assert self.reactions is not None
        moments = self.reactions.moments(None if self.inputs.raw else self.speaker)
        order = np.argsort(moments, kind="stable")
        at, there = self.timeline.newest(moments[order])
        return order[at], there


def read_session(
    path: Path, choice: Choice, *, samples: int, progress: Progress = lambda done, total: None
) -> RecordedSession:
    """Read a bag. samples: how many of the recorded listeners are kept. Raises BagError, in one sentence."""
    with Bag(path) as bag:
        notices: list[str] = []
        inputs, other = find_speaker_and_listener(bag, choice, notices)
        losses = UnusableData()
        speaker = read_person(bag, inputs, losses, progress)
        if not len(speaker):
            why = losses.sentences()
            raise BagError(f"bag {path} holds no frame of a speaker" + (f": {why[0]}" if why else ""))
        session = RecordedSession(
            path, inputs, speaker, timeline_of(speaker.stamps), losses, seconds=bag.seconds,
            camera=camera_of(bag, inputs, other), microphone=microphone_of(bag, inputs, other),
        )  # fmt: skip
        if other is not None:
            theirs = UnusableData()
            listener = read_person(bag, other, theirs, progress)
            notices += [f"the human listener: {s}" for s in theirs.sentences()]
            if len(listener):
                session.listener, session.listener_inputs = _on_one_clock(speaker, listener, notices), other
            else:
                notices.append(f"no frame of a human listener is on {other.features or other.image}")
        with suppress(BagError):
            session.reactions = read_reactions(bag, _listener_topics(bag, inputs, notices), samples)
        session.notices = [*bag.notices, *notices, *losses.sentences()]
        return session


def _listener_topics(bag: Bag, inputs: Inputs, notices: list[str]) -> list[str]:
    """The topics of the robot's listener; where there are several robots, of the speaker's."""
    space = (inputs.features or inputs.image or inputs.audio).rsplit("/", 2)[0]
    kinds = (STREAM_TYPE, REACTION_TYPE)
    chosen = []
    for kind in kinds:
        names = topics_of(bag, kind)
        inside = [n for n in names if space and n.startswith(f"{space}/")]
        names = inside or names
        if len(names) > 1:
            notices.append(f"there are several of {kind} ({', '.join(names)}): {names[0]} is read")
        chosen += names[:1]
    return chosen


def _on_one_clock(speaker: PersonFrames, listener: PersonFrames, notices: list[str]) -> PersonFrames:
    """The listener's frames in order, on the speaker's clock."""
    late = [int(np.median(track.arrivals - track.stamps)) for track in (speaker, listener)]
    move = late[1] - late[0] if abs(late[1] - late[0]) > OTHER_CLOCK_NS else 0
    if move:
        notices.append(f"the human listener's stamps are of another clock: they are moved by {move / 1e9:.1f} s")
    order = np.argsort(listener.stamps, kind="stable")
    if not move and (np.diff(order) > 0).all():
        return listener
    out = PersonFrames()
    for k in order.tolist():
        frame = listener.frame(k)
        out.add(replace(frame, stamp_ns=frame.stamp_ns + move), int(listener.arrivals[k]))
    return out
