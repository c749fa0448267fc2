"""Bags of two people become sessions of a corpus: on one time base, each with their own face and audio."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from footage import images
from typer.testing import CliRunner

from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag
from react_ros.bags.types import FACTORY, new_message, serialise
from react_ros.bags.writer import BagWriter
from react_ros.cli.main import app
from react_ros.corpus.from_bags import find_people, from_bag
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.corpus.recorded import DyadRecording, RecordedCorpus
from react_ros.face import ARKIT_INDEX, FRAME_NS, Face, FaceState, Sound, SpeakerFrame

T0 = 1_800_000_000_000_000_000
RATE = 16_000
BLOCK = 320
JAW = ARKIT_INDEX["jawOpen"]


def jaw(time_ns: int) -> float:
    """The jaw's opening at a time: a sawtooth from 0 to 1 in ten seconds."""
    return (time_ns - T0) / 1e9 % 10.0 / 10.0


def clicks(seconds: float) -> np.ndarray:
    """PCM with a click of 1 ms at each whole second."""
    sound = np.zeros(round(seconds * RATE), np.int16)
    for at in range(0, len(sound), RATE):
        sound[at : at + 16] = 20_000
    return sound


def write_face(bag: BagWriter, topic: str, start: int, seconds: float) -> None:
    for k in range(round(seconds * 25)):
        stamp = start + k * FRAME_NS
        face = Face(FaceState.TRACKED, count=1)
        face.blendshapes[JAW] = jaw(stamp)
        frame = SpeakerFrame(k, stamp, face, Sound())
        bag.write(
            topic, "react_ros/msg/SpeakerFeatures", stamp + 30_000_000, serialise(FACTORY.speaker(frame, {}, stamp))
        )


def write_sound(bag: BagWriter, topic: str, start: int, sound: np.ndarray) -> None:
    for n in range(0, len(sound) - BLOCK + 1, BLOCK):
        stamp = start + n * 1_000_000_000 // RATE
        chunk = new_message(
            "react_ros/msg/AudioChunk", header=FACTORY.header(FACTORY.time(stamp)), sample_rate=RATE, channels=1,
            first_sample=n, pcm=sound[n : n + BLOCK],
        )  # fmt: skip
        bag.write(topic, "react_ros/msg/AudioChunk", stamp + 25_000_000, serialise(chunk))


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Ann from 0 s, Bob from 0.6 s with frames between hers, audio of both from -1 s; 9 s."""
    bag = BagWriter(tmp_path / "monday")
    write_face(bag, "/ann/speaker/features", T0, 9.0)
    write_face(bag, "/bob/speaker/features", T0 + 617_000_000, 8.4)
    for who in ("ann", "bob"):
        write_sound(bag, f"/{who}/audio", T0 - 1_000_000_000, clicks(10.5))
    bag.close()
    return bag.path


def test_two_namespaces_are_two_people_on_one_time_base(features: Path, tmp_path: Path):
    corpus = RecordedCorpus(tmp_path / "people")
    record = from_bag(features, corpus, DyadRecording("monday"), clip_frames=100)
    corpus.finish()
    assert [clip.left_out for clip in record.clips] == ["", ""], record.clips
    assert record.session.persons == ("ann", "bob")
    opened = open_corpus(tmp_path / "people", CorpusConfig(frames=100))
    start = T0 + 617_000_000  # when both are there
    for person in opened.persons("train"):
        number = int(person.name.rsplit("/", 1)[1])
        times = start + (np.arange(100) + 100 * (number - 1)) * FRAME_NS
        shown = opened.face_model(person)[:, JAW]
        wanted = np.array([jaw(int(t)) for t in times])
        near = np.abs(shown - wanted) < 0.0021  # half a frame, where the own frames lie between
        assert near.mean() > 0.97, person.name
        assert person.audio is not None
        sound, rate = soundfile.read(person.audio, dtype="int16")
        heard = (np.flatnonzero(np.diff((np.abs(sound) > 8000).astype(int)) > 0) + 1) / rate
        begins = (start - T0) / 1e9 + (number - 1) * 4.0
        assert np.abs((heard + begins + 0.5) % 1.0 - 0.5).max() < 0.002, "each click at its whole second"
        assert len(heard) == 4


def test_people_may_be_named_by_their_topics(features: Path):
    given = ({"features": "/bob/speaker/features", "audio": "/ann/audio"},
             {"features": "/ann/speaker/features", "audio": "/bob/audio"})  # fmt: skip
    with Bag(features) as bag:
        people = find_people(bag, given)
        assert [p.face.features for p in people] == ["/bob/speaker/features", "/ann/speaker/features"]
        with pytest.raises(BagError, match=r"has no topic /eve/audio: it has /ann/audio"):
            find_people(bag, ({**given[0], "audio": "/eve/audio"}, given[1]))
        with pytest.raises(BagError, match="a person needs a microphone"):
            find_people(bag, ({"features": "/bob/speaker/features"}, given[1]))


def test_a_bag_of_one_person_or_of_three_is_refused_in_one_sentence(tmp_path: Path):
    for who in (["ann"], ["ann", "bob", "eve"]):
        bag = BagWriter(tmp_path / "_".join(who))
        for name in who:
            write_face(bag, f"/{name}/speaker/features", T0, 0.2)
            write_sound(bag, f"/{name}/audio", T0, clicks(0.2))
        bag.close()
        with Bag(bag.path) as opened, pytest.raises(BagError, match=r"the two people.*ann") as caught:
            find_people(opened)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_cameras_and_microphones_become_clips_by_the_command_line(tmp_path: Path):
    shown = [rgb for _, rgb in images("demo-face")][:110]
    bag = BagWriter(tmp_path / "cameras")
    for who, first in (("cam_a", 0), ("cam_b", 5)):
        for k in range(105):
            stamp = T0 + k * FRAME_NS
            ok, coded = cv2.imencode(".jpg", shown[first + k][:, :, ::-1])
            assert ok
            image = new_message(
                "sensor_msgs/msg/CompressedImage", header=FACTORY.header(FACTORY.time(stamp)), format="jpeg",
                data=coded.ravel(),
            )  # fmt: skip
            topic, kind = f"/{who}/image_raw/compressed", "sensor_msgs/msg/CompressedImage"
            bag.write(topic, kind, stamp + 9_000_000, serialise(image))
        write_sound(bag, f"/{who}/audio", T0, clicks(4.4))
    bag.close()
    corpus = RecordedCorpus(tmp_path / "people")
    record = from_bag(bag.path, corpus, DyadRecording("cameras"), clip_frames=100)
    assert len(record.written) == 1 and min(record.clips[0].face) > 0.95, record
    # The clips that the command line makes are longer than this bag.
    result = CliRunner().invoke(app, ["corpus", "from-bags", str(bag.path), "--out", str(tmp_path / "other")])
    assert result.exit_code == 2 and "both people are there for 4." in result.output, result.output
    assert "Traceback" not in result.output
