"""A recorded session as arrays on one 25 Hz timeline: the speaker, the human listener, and the reactions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from react_ros.bags.errors import BagError
from react_ros.bags.participants import (
    ListenerTopics,
    TopicChoice,
    camera_of,
    find_robot_listener,
    find_speaker_and_listener,
    microphone_of,
)
from react_ros.bags.person_frames import PersonFrames
from react_ros.bags.person_topics import PersonTopics, listed
from react_ros.bags.reactions import RecordedReactions, read_reactions
from react_ros.bags.reader import Bag
from react_ros.bags.timeline import Flags, Numbers, Timeline, timeline_of
from react_ros.face import ROTATION_58, TRANSLATION_58, Floats, SpeakerFrame
from react_ros.replay.speaker_frames import Progress, UnusableData, bag_frames

OTHER_CLOCK_NS = 5_000_000_000
"""Two people's clocks are different if their delays from stamp to receipt differ by more than this."""


def read_person(
    bag: Bag, topics: PersonTopics, losses: UnusableData, progress: Progress = lambda done, total: None
) -> PersonFrames:
    """A person's frames, from recorded features or perceived from camera and microphone."""
    frames = PersonFrames()
    for bag_frame in bag_frames(bag, topics, losses, progress):
        frames.add(bag_frame.frame, bag_frame.time_ns)
    return frames


@dataclass(slots=True)
class RecordedSession:
    """The people and the reactions in a bag, on the speaker's timeline."""

    path: Path
    inputs: PersonTopics
    """Topics of the speaker."""
    speaker: PersonFrames
    timeline: Timeline
    losses: UnusableData
    """What of the speaker could not be used."""
    listener_inputs: PersonTopics | None = None
    """Topics of the human listener."""
    listener: PersonFrames | None = None
    """The human listener, on the speaker's clock."""
    reactions: RecordedReactions | None = None
    """Of the robot's listener."""
    camera: str = ""
    """Topic of the speaker's images; empty where there is none."""
    microphone: str = ""
    """Topic of the speaker's audio; empty where there is none."""
    seconds: float = 0.0
    """Length of the bag, from its first message to its last."""
    notices: list[str] = field(default_factory=list)
    """To be shown beside any result, one sentence each."""
    lost: list[str] = field(default_factory=list)
    """Sensors of which most could not be used, one sentence each; figures are then no success."""

    def frames(self, begin: int, end: int) -> list[SpeakerFrame]:
        """The speaker's frames at slots [begin, end), with the slots' numbers and times as index and stamp."""
        rows, times = self.timeline.rows, self.timeline.times
        return [replace(self.speaker.frame(int(rows[t])), index=t, stamp_ns=int(times[t])) for t in range(begin, end)]

    def listened(self) -> tuple[Floats, Floats, Flags]:
        """The human listener at every slot: (T, 25) attributes, (T, 58) face model, (T,) whether the face was seen.

        Head rotation and translation are relative to their medians, as a generated face's are to its rest. There must
        be a human listener.
        """
        assert self.listener is not None
        at, present = self.timeline.newest(self.listener.stamps)
        model = self.listener.face_model.copy()
        seen = self.listener.seen
        if seen.any():
            head = slice(ROTATION_58.start, TRANSLATION_58.stop)
            model[:, head] -= np.median(model[seen, head], axis=0)
        return self.listener.attributes[at], model[at], present & seen[at]

    def answers(self) -> tuple[Numbers, Flags]:
        """The recorded reaction at every slot: (T,) its number, (T,) whether there is one. There must be reactions."""
        assert self.reactions is not None
        moments = self.reactions.moments(None if self.inputs.raw else self.speaker)
        order = np.argsort(moments, kind="stable")
        at, present = self.timeline.newest(moments[order])
        return order[at], present


def read_session(
    path: Path, choice: TopicChoice, *, samples: int, progress: Progress = lambda done, total: None
) -> RecordedSession:
    """Read a bag. samples: how many of the sampled listeners are kept. Raises BagError."""
    with Bag(path) as bag:
        notices: list[str] = []
        inputs, other = find_speaker_and_listener(bag, choice, notices)
        losses = UnusableData()
        speaker = read_person(bag, inputs, losses, progress)
        if not len(speaker):
            reasons = losses.sentences() or losses.lost
            raise BagError(f"bag {path} holds no frame of a speaker" + (f": {reasons[0]}" if reasons else ""))
        session = RecordedSession(
            path, inputs, speaker, timeline_of(speaker.stamps), losses, seconds=bag.seconds,
            camera=camera_of(bag, inputs, other), microphone=microphone_of(bag, inputs, other), lost=list(losses.lost),
        )  # fmt: skip
        if other is not None:
            listener_losses = UnusableData()
            listener = read_person(bag, other, listener_losses, progress)
            notices += [f"the human listener: {s}" for s in listener_losses.sentences()]
            session.lost += [f"the human listener: {s}" for s in listener_losses.lost if s not in bag.lost]
            if len(listener):
                session.listener, session.listener_inputs = _on_one_clock(speaker, listener, notices), other
            else:
                notices.append(f"no frame of a human listener is on {other.features or other.image}")
        with suppress(BagError):
            session.reactions = read_reactions(bag, _one_listener(bag, inputs, notices), samples)
        session.notices = [*bag.notices, *notices, *losses.sentences()]
        return session


def _one_listener(bag: Bag, speaker: PersonTopics, notices: list[str]) -> ListenerTopics:
    """The topics of the speaker's robot listener; where there are several, the first of each kind, which is noted."""
    found = find_robot_listener(bag, speaker.first)
    for topics in (found.streams, found.reactions):
        if len(topics) > 1:
            kind = bag.topics[topics[0]].kind
            notices.append(f"there are several topics of {kind} ({listed(list(topics))}): {topics[0]} is read")
    return ListenerTopics(found.streams[:1], found.reactions[:1])


def _on_one_clock(speaker: PersonFrames, listener: PersonFrames, notices: list[str]) -> PersonFrames:
    """The listener's frames ordered by stamp, on the speaker's clock."""
    delays = [int(np.median(person.arrivals - person.stamps)) for person in (speaker, listener)]
    shift = delays[1] - delays[0] if abs(delays[1] - delays[0]) > OTHER_CLOCK_NS else 0
    if shift:
        notices.append(f"the human listener's stamps are of another clock: they are moved by {shift / 1e9:.1f} s")
    order = np.argsort(listener.stamps, kind="stable")
    if not shift and (np.diff(order) > 0).all():
        return listener
    out = PersonFrames()
    for k in order.tolist():
        frame = listener.frame(k)
        out.add(replace(frame, stamp_ns=frame.stamp_ns + shift), int(listener.arrivals[k]))
    return out
