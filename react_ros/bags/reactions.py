"""The recorded reactions of a bag as arrays."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from react_ros.bags.errors import BagError
from react_ros.bags.person_frames import PersonFrames
from react_ros.bags.reader import Bag
from react_ros.bags.streams import ListenerSettings
from react_ros.bags.timeline import LONGEST_PAUSE_NS, Numbers
from react_ros.face import (
    FRAME_NS,
    Floats,
)
from react_ros.messages.features import reaction_from_message
from react_ros.messages.types import REACTION_TYPE, STREAM_TYPE


@dataclass(frozen=True, slots=True)
class RecordedReactions:
    """What the recorded listener answered, in the order it came."""

    topic: str
    frames: Numbers
    """(n,) the numbers of the speaker's frames that they answer."""
    stamps: Numbers
    """(n,) ns since the epoch: the source's."""
    delays: Numbers
    """(n,) deliberate, frames."""
    faces: Floats
    """(n, P, 83): 58 of the face model, then 25 attributes."""
    streams: tuple[ListenerSettings, ...]
    notices: tuple[str, ...]
    """What a viewer must know of the generators."""
    dropped: int
    """How many messages failed validation."""
    ended: str
    """Why reading ended before the bag did; empty where it did not."""

    def moments(self, heard: PersonFrames | None) -> Numbers:
        """(n,) ns since the epoch: of the frame that is answered, and the deliberate delay later.

        heard: the recorded frames that the listener heard, whose own stamps are taken: a source's stamp, which stands
        for them otherwise, may lie a frame beside it.
        """
        out = np.array(self.stamps)
        if heard is None:
            return out + self.delays * FRAME_NS
        of_index: dict[int, list[int]] = {}
        for row, index in enumerate(heard.indices.tolist()):
            of_index.setdefault(index, []).append(row)
        stamps = heard.stamps
        for k, (frame, stamp) in enumerate(zip(self.frames.tolist(), self.stamps.tolist(), strict=True)):
            rows = of_index.get(frame)
            if rows:
                nearest = min(rows, key=lambda row: abs(int(stamps[row]) - stamp))
                if abs(int(stamps[nearest]) - stamp) <= LONGEST_PAUSE_NS:
                    out[k] = stamps[nearest]
        return out + self.delays * FRAME_NS


def read_reactions(bag: Bag, topics: list[str], most: int) -> RecordedReactions | None:
    """The reactions on a listener's topics; None without any. most: how many of the samples are kept."""
    names = [t for t in topics if bag.topics[t].kind == REACTION_TYPE]
    if not names:
        return None
    streams: list[ListenerSettings] = []
    frames, stamps, delays, faces = array("q"), array("q"), array("q"), []
    notices: dict[str, None] = {}
    dropped, ended = 0, ""
    try:
        for m in bag.messages(topics):
            try:
                if bag.topics[m.topic].kind == STREAM_TYPE:
                    streams.append(ListenerSettings().of_message(m.message))
                    continue
                r = reaction_from_message(m.message)
            except (ValueError, AttributeError):
                dropped += 1
                continue
            faces.append(np.concatenate([r.face_model, r.attributes], axis=1)[:most])
            notices |= {m.message.notice: None} if m.message.notice else {}
            frames.append(r.index)
            stamps.append(r.stamp_ns)
            delays.append(streams[-1].delay if streams else 0)
    except BagError as error:
        ended = str(error)
    if not faces:
        return None
    samples = min(len(f) for f in faces)
    return RecordedReactions(
        names[0], np.array(frames, np.int64), np.array(stamps, np.int64), np.array(delays, np.int64),
        np.stack([f[:samples] for f in faces]), tuple(streams), tuple(notices), dropped, ended,
    )  # fmt: skip
