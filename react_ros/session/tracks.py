"""A recorded session as arrays on one 25 Hz timeline: the speaker, the human who listened, and the reactions."""

from __future__ import annotations

from array import array
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from react_ros.face import (
    ATTRIBUTES,
    FACE_MODEL,
    FRAME_NS,
    ROTATION_58,
    TRANSLATION_58,
    Face,
    FaceState,
    Floats,
    Sound,
    SoundState,
    SpeakerFrame,
)
from react_ros.session.bag import Bag, BagError
from react_ros.session.messages import reaction_from_message
from react_ros.session.replay import (
    FEATURES_TYPE,
    REACTION_TYPE,
    STREAM_TYPE,
    Inputs,
    Listening,
    Losses,
    Progress,
    find_inputs,
    heard_frames,
    topics_of,
)
from react_ros.session.senses import AUDIO_TYPES, IMAGE_TYPES

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

LONGEST_PAUSE_NS = 1_000_000_000
"""A pause of the speaker's frames up to here is bridged with the last one; a longer one ends a stretch."""
LONGEST_HOLD_NS = 500_000_000
"""How long a listener's last frame, or a last reaction, stands for those that did not come."""
OTHER_CLOCK_NS = 5_000_000_000
"""Two people's stamps that differ so much more than their messages' arrivals are of different clocks."""

_PARTS = {"model": FACE_MODEL, "attributes": ATTRIBUTES, "mfcc": 26, "mfcc_delta": 26, "rest": 4}
_WIDTH = sum(_PARTS.values())


# One person -------------------------------------------------------------------------------------------------------


class PersonFrames:
    """One person's frames as they came, packed: 0.6 kB a frame, so that an hour fits into 55 MB.

    `frame(k)` gives the very frame k that was added, but for its landmarks.
    """

    def __init__(self) -> None:
        self._packed = array("f")
        self._numbers = array("q")
        self._embeddings: dict[int, Floats] = {}
        self._views: tuple[Floats, Numbers] | None = None

    def add(self, frame: SpeakerFrame, time_ns: int) -> None:
        """The next frame, and when it was there, ns since the epoch."""
        f, s = frame.face, frame.sound
        if s.embedding is not None:
            self._embeddings[len(self)] = s.embedding
        rest = np.array([s.log_energy, s.f0, s.voicing, s.speech_probability], np.float32)
        row = np.concatenate([frame.face_model, f.attributes, s.mfcc, s.mfcc_delta, rest], dtype=np.float32)
        self._views = None  # while one lives, an array cannot grow
        self._packed.frombytes(row.tobytes())
        self._numbers.extend((frame.index, frame.stamp_ns, time_ns, int(f.state), int(s.state), f.count))

    def __len__(self) -> int:
        return len(self._numbers) // 6

    @property
    def stamps(self) -> Numbers:
        """(n,) ns since the epoch."""
        return self._columns()[1][:, 1]

    @property
    def arrivals(self) -> Numbers:
        """(n,) ns since the epoch: when the recorder had them."""
        return self._columns()[1][:, 2]

    @property
    def indices(self) -> Numbers:
        """(n,) the numbers that the frames bear."""
        return self._columns()[1][:, 0]

    @property
    def seen(self) -> Flags:
        """(n,) whether somebody's face is (or a moment ago was) there."""
        return self._columns()[1][:, 3] >= FaceState.LOST

    @property
    def heard(self) -> Flags:
        """(n,) whether there is sound."""
        return self._columns()[1][:, 4] > SoundState.MISSING

    @property
    def face_model(self) -> Floats:
        """(n, 58)."""
        return self._part("model")

    @property
    def attributes(self) -> Floats:
        """(n, 25)."""
        return self._part("attributes")

    def frame(self, k: int) -> SpeakerFrame:
        """Frame k, its arrays the caller's to keep."""
        numbers = self._columns()[1]
        index, stamp, _, face, sound, count = (int(x) for x in numbers[k])
        model, attributes, mfcc, delta, rest = (self._part(name)[k].copy() for name in _PARTS)
        energy, f0, voicing, speech = (float(x) for x in rest)
        return SpeakerFrame(
            index, stamp,
            Face(FaceState(face), model[:52], model[ROTATION_58], model[TRANSLATION_58], attributes, count=count),
            Sound(SoundState(sound), mfcc, delta, energy, f0, voicing, speech, self._embeddings.get(k)),
        )  # fmt: skip

    def _columns(self) -> tuple[Floats, Numbers]:
        if self._views is None:
            packed = np.frombuffer(self._packed, np.float32).reshape(-1, _WIDTH)
            self._views = packed, np.frombuffer(self._numbers, np.int64).reshape(-1, 6)
        return self._views

    def _part(self, name: str) -> Floats:
        start = 0
        for part, width in _PARTS.items():
            if part == name:
                return self._columns()[0][:, start : start + width]
            start += width
        raise KeyError(name)


def read_person(
    bag: Bag, inputs: Inputs, losses: Losses, progress: Progress = lambda done, total: None
) -> PersonFrames:
    """A person's frames, from recorded features or perceived from camera and microphone."""
    track = PersonFrames()
    for heard in heard_frames(bag, inputs, losses, progress):
        track.add(heard.frame, heard.time_ns)
    return track


# The timeline -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timeline:
    """The moments of a session, 40 ms apart within a stretch: T slots. Built from the speaker's stamps."""

    times: Numbers
    """(T,) ns since the epoch."""
    slots: Numbers
    """(n,) the slot of each of the speaker's frames; it never falls."""
    stretches: tuple[tuple[int, int], ...]
    """[begin, end) slots between which the speaker's frames came without a long pause."""

    def __len__(self) -> int:
        return len(self.times)

    @property
    def rows(self) -> Numbers:
        """(T,) at each slot the speaker's newest frame."""
        return np.searchsorted(self.slots, np.arange(len(self)), side="right") - 1

    def newest(self, stamps: Numbers) -> tuple[Numbers, Flags]:
        """At each slot the newest of some moments (n,), in order, to the nearest slot: (T,) which, and whether it is
        there, at most 0.5 s old; before the first, the first stands."""
        at = np.searchsorted(stamps, self.times + FRAME_NS // 2, side="right") - 1
        there = at >= 0
        at = np.maximum(at, 0)
        return at, there & (self.times - stamps[at] <= LONGEST_HOLD_NS)


def timeline_of(stamps: Numbers) -> Timeline:
    """The timeline of a speaker's frames, n > 0 stamps in the order they came.

    A stretch ends where the next stamp lies more than 1 s later, or earlier.
    """
    pauses = np.diff(stamps)
    cuts = np.flatnonzero((pauses > LONGEST_PAUSE_NS) | (pauses < 0)) + 1
    times, slots, stretches = [], [], []
    begin = 0
    for part in np.split(stamps, cuts):
        at = np.rint((part - part[0]) / FRAME_NS).astype(np.int64)
        end = begin + int(at[-1]) + 1
        times.append(part[0] + np.arange(end - begin) * FRAME_NS)
        slots.append(begin + at)
        stretches.append((begin, end))
        begin = end
    return Timeline(np.concatenate(times), np.concatenate(slots), tuple(stretches))


# The reactions ----------------------------------------------------------------------------------------------------


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
    streams: tuple[Listening, ...]
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
    streams: list[Listening] = []
    frames, stamps, delays, faces = array("q"), array("q"), array("q"), []
    notices: dict[str, None] = {}
    dropped, ended = 0, ""
    try:
        for m in bag.messages(topics):
            try:
                if bag.topics[m.topic].kind == STREAM_TYPE:
                    streams.append(Listening().of_message(m.message))
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


# Who is in the bag ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """Which topics hold whom; empty: found, where there is no choice."""

    features: str = ""
    image: str = ""
    audio: str = ""
    listener_features: str = ""
    listener_image: str = ""
    listener_audio: str = ""

    def __post_init__(self) -> None:
        if self.listener_features and (self.listener_image or self.listener_audio):
            raise ValueError("the human listener has recorded features, or an image and sound: name one or the other")
        if self.listener_audio and not self.listener_image:
            raise ValueError("a listener's sound alone shows no reaction: name the listener's image as well")


def find_speaker_and_listener(bag: Bag, choice: Choice, notices: list[str]) -> tuple[Inputs, Inputs | None]:
    """The topics of the speaker, and of the human listener where there is one. Raises BagError, in one sentence.

    Of exactly two topics of features, or two cameras, the listener's is the one that is called so, else the one
    outside of the robot's namespace.
    """
    for name in (choice.listener_features, choice.listener_image, choice.listener_audio):
        if name and name not in bag.topics:
            there = ", ".join(sorted(bag.topics)[:12])
            raise BagError(f"bag {bag.path} has no topic {name}: it has {there}")
    features = topics_of(bag, FEATURES_TYPE)
    cameras = _cameras(bag)
    spaces = [t.rsplit("/", 2)[0] for t in topics_of(bag, REACTION_TYPE)]
    listener = Inputs(features=choice.listener_features, image=choice.listener_image, audio=choice.listener_audio)
    if listener == Inputs():
        if len(features) == 2:
            listener = Inputs(features=_listener_of(features, choice.features, spaces))
        elif len(cameras) == 2:
            listener = Inputs(image=_listener_of(cameras, choice.image, spaces))
            if not listener.image:
                both = " and ".join(cameras)
                notices.append(f"{both} are two cameras, and neither is taken for a human listener's: name it")
    speaker = Inputs(choice.features, choice.image, choice.audio)
    if speaker == Inputs():
        if listener.features and len(features) == 2:
            speaker = Inputs(features=next(n for n in features if n != listener.features))
        elif listener.image and not features and len(cameras) == 2:
            speaker = Inputs(image=next(n for n in cameras if n != listener.image))
    inputs = find_inputs(bag, features=speaker.features, image=speaker.image, audio=speaker.audio)
    return inputs, None if listener == Inputs() else listener


def _cameras(bag: Bag) -> list[str]:
    """Topics of people's images, one a camera: a compressed one that lies beside the raw one is left out."""
    names = [t for t in topics_of(bag, *IMAGE_TYPES) if "avatar/image" not in t]
    return [n for n in names if n.removesuffix("/compressed") not in names or not n.endswith("/compressed")]


def _listener_of(names: list[str], speaker: str, spaces: list[str]) -> str:
    if speaker in names:
        return next(n for n in names if n != speaker)
    called = [n for n in names if "listener" in n]
    if len(called) == 1:
        return called[0]
    outside = [n for n in names if not any(n.startswith(f"{space}/") for space in spaces if space)]
    return outside[0] if len(outside) == 1 else ""


def camera_of(bag: Bag, inputs: Inputs, listener: Inputs | None) -> str:
    """The topic of the speaker's pictures, for films; empty without any."""
    return inputs.image or _near([c for c in _cameras(bag) if listener is None or c != listener.image], inputs)


def microphone_of(bag: Bag, inputs: Inputs, listener: Inputs | None) -> str:
    """The topic of the speaker's sound, for films; empty without any."""
    names = topics_of(bag, *AUDIO_TYPES)
    return inputs.audio or _near([n for n in names if listener is None or n != listener.audio], inputs)


def _near(names: list[str], inputs: Inputs) -> str:
    """The only one of some topics, or the only one in the speaker's namespace."""
    space = (inputs.features or inputs.image or inputs.audio).rsplit("/", 2)[0]
    inside = [n for n in names if space and n.startswith(f"{space}/")]
    return names[0] if len(names) == 1 else inside[0] if len(inside) == 1 else ""


# The whole --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Session:
    """A bag, read: everybody in it on the speaker's timeline."""

    path: Path
    inputs: Inputs
    speaker: PersonFrames
    timeline: Timeline
    losses: Losses
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


def read_session(path: Path, choice: Choice, *, samples: int, progress: Progress = lambda done, total: None) -> Session:
    """Read a bag. samples: how many of the recorded listeners are kept. Raises BagError, in one sentence."""
    with Bag(path) as bag:
        notices: list[str] = []
        inputs, other = find_speaker_and_listener(bag, choice, notices)
        losses = Losses()
        speaker = read_person(bag, inputs, losses, progress)
        if not len(speaker):
            why = losses.sentences()
            raise BagError(f"bag {path} holds no frame of a speaker" + (f": {why[0]}" if why else ""))
        session = Session(
            path, inputs, speaker, timeline_of(speaker.stamps), losses, seconds=bag.seconds,
            camera=camera_of(bag, inputs, other), microphone=microphone_of(bag, inputs, other),
        )  # fmt: skip
        if other is not None:
            theirs = Losses()
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
