"""Imports bags of two people as sessions of a recorded corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from react_ros.bags.audio_format import AudioFormat
from react_ros.bags.errors import BagError
from react_ros.bags.person_topics import PersonTopics, audio_info_topic, topics_of
from react_ros.bags.reader import Bag
from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import SOUND_LAG_MAX_NS, ClockConfig, ClockFrame
from react_ros.corpus.clips import CLIP_FRAMES
from react_ros.corpus.recorded import LEAST_FACE, DyadRecording, PersonTrack, RecordedCorpus, SessionRecord
from react_ros.face import FRAME_NS
from react_ros.messages.namespace import namespace_of
from react_ros.messages.types import AUDIO_TYPES, FEATURES_TYPE, IMAGE_TYPES
from react_ros.replay.source_stamps import SourceStamps
from react_ros.replay.speaker_frames import Progress, UnusableData, bag_frames, run_front_end


@dataclass(frozen=True, slots=True)
class RecordedPerson:
    """One person in a bag: name and topics."""

    name: str
    face: PersonTopics
    """Recorded features, or a camera and its microphone."""
    audio: str
    info: str = ""
    """Topic with the format of a third-party audio topic; may be empty."""


def find_people(
    bag: Bag,
    given: Sequence[dict[str, str]] = ({}, {}),
    *,
    perceive: bool = False,
    audio_format: AudioFormat | None = None,
) -> tuple[RecordedPerson, RecordedPerson]:
    """The two people of a bag: those of the given topics, else the two namespaces with a face and a microphone each.

    given: for each person any of the topics "features", "image" and "audio". perceive: prefer images to recorded
    features. audio_format: of ros-drivers' audio without an AudioInfo. Raises BagError, in one
    sentence, where there are not exactly two people.
    """
    if any(given):
        people = tuple(_from_topics(bag, g, perceive) for g in given)
    else:
        spaces: dict[str, dict[str, list[str]]] = {}
        for what, kinds in (("features", (FEATURES_TYPE,)), ("image", IMAGE_TYPES), ("audio", AUDIO_TYPES)):
            for topic in topics_of(bag, *kinds):
                if "avatar/image" not in topic:
                    spaces.setdefault(_space(topic), {}).setdefault(what, []).append(topic)
        whole = {s: t for s, t in spaces.items() if "audio" in t and ("image" in t or "features" in t)}
        if len(whole) != 2 or any(len(names) > 1 for t in whole.values() for names in t.values()):
            found = ", ".join(f"{s or '/'} ({', '.join(sorted(t))})" for s, t in sorted(spaces.items())) or "none"
            raise BagError(
                f"bag {bag.path} does not identify the two people: two namespaces with one microphone "
                f"and one camera (or features) each are expected, not {found}; name the topics (--image-a, …)"
            )
        people = tuple(_from_topics(bag, {w: n[0] for w, n in whole[s].items()}, perceive) for s in sorted(whole))
    if people[0].name == people[1].name:
        people = (replace(people[0], name="A"), replace(people[1], name="B"))
    if audio_format is not None:
        people = tuple(replace(p, face=replace(p.face, format=audio_format)) for p in people)
    return people[0], people[1]


def _space(topic: str) -> str:
    return namespace_of(topic)


def _from_topics(bag: Bag, given: dict[str, str], perceive: bool) -> RecordedPerson:
    for topic in given.values():
        if topic not in bag.topics:
            raise BagError(f"bag {bag.path} has no topic {topic}: it has {', '.join(bag.topics)}")
    image, audio, features = (given.get(what, "") for what in ("image", "audio", "features"))
    if not audio:
        raise BagError(
            f"bag {bag.path}: a person needs a microphone, because a corpus holds audio (were only features recorded?)"
        )
    if not image and not features:
        raise BagError(f"bag {bag.path}: a person needs a camera (--image-a, --image-b) or recorded features")
    info = audio_info_topic(bag, audio)
    face = (
        PersonTopics(features=features)
        if features and not (perceive and image)
        else PersonTopics("", image, audio, info)
    )
    return RecordedPerson(_space(audio).rpartition("/")[2] or "A", face, audio, info)


def from_bag(
    path: Path,
    corpus: RecordedCorpus,
    session: DyadRecording,
    given: Sequence[dict[str, str]] = ({}, {}),
    *,
    perceive: bool = False,
    audio_format: AudioFormat | None = None,
    least_face: float = LEAST_FACE,
    clip_frames: int = CLIP_FRAMES,
    progress: Progress = lambda done, total: None,
) -> SessionRecord:
    """Write a bag's clips into a corpus; call `corpus.finish` afterwards. given, perceive: see `find_people`.

    The persons of `session` are replaced by the bag's namespaces. Frame k of both people is at the same time. progress:
    called with (done, in all), in arbitrary units. Raises BagError or CorpusError, in one sentence.
    """
    corpus.expect_new(session.name)
    with Bag(path) as bag:
        people = find_people(bag, given, perceive=perceive, audio_format=audio_format)
        start = max(_begin(bag, person) for person in people)
        tracks, notes = [], list(bag.notices)
        for i, person in enumerate(people):

            def report(done: int, total: int, i: int = i) -> None:
                progress(i * total + done, 2 * total)

            losses = UnusableData()
            tracks.append(_track(bag, person, start, losses, report))
            if losses.lost:
                raise BagError(f"bag {path}: {person.name}: {'; '.join([*losses.lost, *losses.sentences()])}")
            notes += [f"{person.name}: {sentence}" for sentence in losses.sentences()]
    named = replace(session, persons=(people[0].name, people[1].name))
    return corpus.write(named, (tracks[0], tracks[1]), least_face=least_face, clip_frames=clip_frames, notes=notes)


def _begin(bag: Bag, person: RecordedPerson) -> int:
    """Time of a person's first face message, ns. Raises BagError where there is none."""
    topic = person.face.features or person.face.image
    first = next(iter(bag.messages([topic])), None)
    if first is None:
        raise BagError(f"bag {bag.path}: {topic} has no message")
    stamp = SourceStamps().captured(topic, first.message, first.time_ns)  # on the clock of `bag_frames`
    return first.time_ns if stamp is None else stamp


def _track(bag: Bag, person: RecordedPerson, start: int, losses: UnusableData, progress: Progress) -> PersonTrack:
    """One person on the grid that begins at `start`, ns."""
    track = PersonTrack(start)

    def add_sound(frame: ClockFrame) -> None:
        track.add_sound(frame.stamp_ns - frame.sound_lag_ns - FRAME_NS, frame.sound, frame.sound_valid)

    watch = add_sound if person.face.raw else None
    for heard in bag_frames(bag, person.face, losses, progress, watch=watch):
        track.add_face(heard.frame)
    if not person.face.raw:
        sound = PersonTopics(audio=person.audio, info=person.info, format=person.face.format)
        clock = FrameClock(ClockConfig(sound_lag_max_ns=SOUND_LAG_MAX_NS))
        for _ in run_front_end(bag, sound, losses, None, clock, add_sound):
            pass
    return track
