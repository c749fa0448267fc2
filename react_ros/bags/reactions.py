"""The recorded reactions of a bag as arrays."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from react_ros.bags.participants import ListenerTopics
from react_ros.bags.person_frames import PersonFrames
from react_ros.bags.reader import Bag
from react_ros.bags.streams import UnreadMessages, announced_streams, paired_reactions
from react_ros.bags.timeline import LONGEST_PAUSE_NS, Numbers
from react_ros.face import FRAME_NS, Floats
from react_ros.messages.listener_stream import ListenerSettings


@dataclass(frozen=True, slots=True)
class RecordedReactions:
    """The reactions of one recorded listener, in the order they were received."""

    topic: str
    frames: Numbers
    """(n,) indices of the speaker frames that they answer."""
    stamps: Numbers
    """(n,) source stamps, ns since the epoch."""
    delays: Numbers
    """(n,) deliberate delays, frames."""
    faces: Floats
    """(n, P, 83): 58 face model coefficients, then 25 attributes, of P sampled listeners."""
    streams: tuple[ListenerSettings, ...]
    notices: tuple[str, ...]
    """Caveats about the generators for viewers."""
    dropped: int
    """Messages that failed validation."""
    ended: str
    """Why reading ended before the end of the bag; empty if it did not."""

    def moments(self, received: PersonFrames | None) -> Numbers:
        """(n,) ns since the epoch: the stamp of the answered frame, plus the deliberate delay.

        received: the recorded frames that the listener received, whose own stamps are used. Without them, the source
        stamp is used, which may differ from the frame's by a frame's length.
        """
        out = np.array(self.stamps)
        if received is None:
            return out + self.delays * FRAME_NS
        rows_of_index: dict[int, list[int]] = {}
        for row, index in enumerate(received.indices.tolist()):
            rows_of_index.setdefault(index, []).append(row)
        stamps = received.stamps
        for k, (frame, stamp) in enumerate(zip(self.frames.tolist(), self.stamps.tolist(), strict=True)):
            rows = rows_of_index.get(frame)
            if rows:
                nearest = min(rows, key=lambda row: abs(int(stamps[row]) - stamp))
                if abs(int(stamps[nearest]) - stamp) <= LONGEST_PAUSE_NS:
                    out[k] = stamps[nearest]
        return out + self.delays * FRAME_NS


def read_reactions(bag: Bag, topics: ListenerTopics, most: int) -> RecordedReactions | None:
    """The reactions on a listener's topics; None where there are none. most: how many sampled listeners are kept.

    A reaction received before any stream began has no deliberate delay.
    """
    unread = UnreadMessages()
    streams = announced_streams(bag, topics, unread)
    frames, stamps, delays, faces = array("q"), array("q"), array("q"), []
    notices: dict[str, None] = {}
    for paired in paired_reactions(bag, topics, unread):
        r = paired.reaction
        faces.append(np.concatenate([r.face_model, r.attributes], axis=1)[:most])
        notices |= {paired.notice: None} if paired.notice else {}
        frames.append(r.index)
        stamps.append(r.stamp_ns)
        delays.append(streams[paired.stream].delay if paired.stream >= 0 else 0)
    if not faces:
        return None
    samples = min(len(f) for f in faces)
    return RecordedReactions(
        topics.reactions[0], np.array(frames, np.int64), np.array(stamps, np.int64), np.array(delays, np.int64),
        np.stack([f[:samples] for f in faces]), tuple(streams), tuple(notices), unread.invalid, unread.ended,
    )  # fmt: skip
