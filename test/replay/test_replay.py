"""A replay of a recorded session gives the same bytes each time, and the recorded reactions to the bit."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from recordings import (
    FEATURES,
    KINDS,
    REACTION,
    START_NS,
    STREAM,
    Message,
    answered,
    everything,
    features,
    person,
    photographs,
    reactions,
    write,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from third_party_messages import MGONZS13, ROS_DRIVERS, send_to
from typer.testing import CliRunner

from react_ros import assets
from react_ros.bags import manifest
from react_ros.bags.errors import BagError
from react_ros.bags.reader import Bag, read_bag
from react_ros.bags.types import FACTORY, new_message, serialise, typestore
from react_ros.bags.writer import STORAGES, Storage
from react_ros.cli.main import app
from react_ros.face import FaceState, SoundState
from react_ros.generators import registry
from react_ros.messages.features import frame_from_message
from react_ros.messages.listener_stream import parse_parameters
from react_ros.messages.types import OUR_AUDIO
from react_ros.replay.listeners import ReplayRequest
from react_ros.replay.replay import ReplayReport, replay
from react_ros.replay.speaker_frames import perception_parameters
from react_ros.systems.attentive import generator as attentive

ATTENTIVE = registry.create("attentive")


def again(bag: Path, request: ReplayRequest | None = None, **options: Any) -> ReplayReport:
    """Replay a bag into the folder BAG-again."""
    return replay(bag, bag.parent / f"{bag.name}-again", request, **options)


def heard(bag: Path) -> list[int]:
    """Indices of the frames that a replay's reactions answer."""
    return [m.lineage.frame for m in reactions(bag.parent / f"{bag.name}-again")]


def run(bag: Path, out: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of `react-ros replay`; an uncaught exception fails the test."""
    result = CliRunner().invoke(app, ["replay", str(bag), "--out", str(out), *words], catch_exceptions=False)
    return result.exit_code, result.output


def reproduced(report: ReplayReport) -> bool:
    return report.comparison.same == report.comparison.compared > 0


# Reproducing the recorded reactions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_the_same_bag_gives_the_same_folder(storage: Storage, tmp_path: Path) -> None:
    frames = person(50)
    bag = write(tmp_path / "bag", features(frames), answered(ATTENTIVE, frames), storage=storage)
    for out in ("one", "another"):
        replay(bag, tmp_path / out, storage=storage)
    one = everything(tmp_path / "one")
    assert one == everything(tmp_path / "another")
    assert len(one) == 3 and "manifest.yaml" in one
    entries = manifest.read_manifest(tmp_path / "one")
    assert entries["recorded"] == "replay" and entries["of"] == str(bag) and entries["source"] == "features"
    assert entries["streams"][0]["generator"] == "attentive" and entries["machine"] and entries["code"]
    # A replay can be replayed.
    assert reproduced(replay(tmp_path / "one", tmp_path / "third"))


@pytest.mark.parametrize("delay", [0, 7])
@pytest.mark.parametrize("name", ["attentive", "fsq"])
def test_the_recorded_reactions_are_reproduced_to_the_bit(name: str, delay: int, tmp_path: Path) -> None:
    frames, generator = person(80, first=1000), registry.create(name)
    bag = write(tmp_path / "bag", features(frames), answered(generator, frames, seed=5, samples=2, delay=delay))
    report = again(bag)
    assert reproduced(report) and report.comparison.compared == 80 - delay
    assert report.notices == []
    replayed, recorded = reactions(tmp_path / "bag-again"), reactions(bag)
    assert [m.lineage.frame for m in replayed] == [1000] * delay + [1000 + k for k in range(80 - delay)]
    for a, b in zip(replayed, recorded, strict=True):
        assert a.header == b.header and a.delay == b.delay and a.action_chunk == b.action_chunk
        assert np.array_equal(a.blendshapes, b.blendshapes)
    assert reproduced(replay(tmp_path / "bag-again", tmp_path / "third"))


def test_a_listener_that_another_version_has_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule has no weights by which a replay could tell."""
    frames = person(60)
    with monkeypatch.context() as former:
        former.setattr(attentive, "HEAD_POLE", 0.1)
        bag = write(tmp_path / "bag", features(frames), answered(ATTENTIVE, frames))
    report = again(bag)
    assert report.comparison.same < report.comparison.compared == 60
    assert [n for n in report.notices if "recorded by react_ros an unknown version, and this is" in n]


def test_frames_that_never_reached_the_recorded_listener_are_left_out(tmp_path: Path) -> None:
    frames = person(80)
    deaf = {0, 1, 2, 30, 31, 55}
    bag = write(tmp_path / "bag", features(frames), answered(ATTENTIVE, frames, deaf=lambda f: f.index in deaf))
    report = again(bag)
    assert reproduced(report) and report.comparison.compared == 74
    assert heard(bag) == [k for k in range(80) if k not in deaf]


@pytest.mark.parametrize("name", ["attentive", "fsq"])
def test_a_delayed_stream_is_reproduced_across_a_restart_of_perception(name: str, tmp_path: Path) -> None:
    """The reactions that the gap cut off were never published; the frames that they answer were heard."""
    before, after = person(50), person(90)[50:]
    after = [replace(f, index=k, stamp_ns=f.stamp_ns + 2_000_000_000) for k, f in enumerate(after)]
    frames = [*before, *after]
    bag = write(tmp_path / "bag", features(frames), answered(registry.create(name), frames, seed=5, delay=6))
    report = again(bag)
    assert reproduced(report) and report.comparison.compared == 90 - 2 * 6
    assert heard(bag) == [0] * 6 + list(range(44)) + [0] * 6 + list(range(34))


def test_announcements_received_early_or_late_change_nothing(tmp_path: Path) -> None:
    """DDS preserves the order within a topic, not between topics."""
    frames = person(90)
    one, two = list(answered(ATTENTIVE, frames[:45])), list(answered(registry.create("fsq"), frames[45:]))

    def at(message: Message, ms: int) -> Message:
        return (*message[:2], message[2] + ms * 1_000_000, message[3])

    for shift in (-200, 130):
        moved = [at(one[0], abs(shift)), *one[1:], at(two[0], shift), *two[1:]]
        bag = write(tmp_path / f"bag{shift}", features(frames), moved)
        report = again(bag)
        assert reproduced(report) and report.comparison.compared == 90
        assert [s["first_frame"] for s in manifest.read_manifest(bag.parent / f"{bag.name}-again")["streams"]] == [
            0,
            45,
        ]


def test_each_stream_of_a_recording_is_reproduced(tmp_path: Path) -> None:
    """The generator, its seed and its delay change during the session."""
    frames = person(200)
    fsq, calm = registry.create("fsq"), registry.create("attentive", liveliness=0.5)
    bag = write(
        tmp_path / "bag", features(frames), answered(ATTENTIVE, frames[:60], seed=1),
        answered(calm, frames[60:90], seed=2), answered(fsq, frames[90:150], delay=5), answered(fsq, frames[150:]),
    )  # fmt: skip
    report = again(bag)
    assert reproduced(report) and report.comparison.compared == 195
    streams = [m.message for m in read_bag(tmp_path / "bag-again", "/listener/stream")]
    assert [(m.first_frame, m.generator, m.seed, m.delay) for m in streams] == [
        (0, "attentive", 1, 0), (60, "attentive", 2, 0), (90, "fsq", 0, 5), (150, "fsq", 0, 0)
    ]  # fmt: skip
    entries = manifest.read_manifest(tmp_path / "bag-again")["streams"]
    assert [s["first_frame"] for s in entries] == [0, 60, 90, 150]
    assert [parse_parameters(s["parameters"])["liveliness"] for s in entries] == [1.0, 0.5, 1.0, 1.0]


def test_a_robot_that_was_restarted_during_the_recording_is_reproduced(tmp_path: Path) -> None:
    """Frame indices start again at 0: first only perception is restarted, then all nodes."""
    one, two = person(60, 1), person(60, 2, start_ns=START_NS + 5 * 10**9)
    three = person(60, 3, start_ns=START_NS + 10 * 10**9)
    bag = write(
        tmp_path / "bag", features([*one, *two, *three]), answered(ATTENTIVE, [*one, *two]), answered(ATTENTIVE, three)
    )
    report = again(bag)
    assert reproduced(report) and report.comparison.compared == 180
    assert [m.message.first_frame for m in read_bag(tmp_path / "bag-again", "/listener/stream")] == [0, 0]


@pytest.fixture
def planning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers a system that makes action chunks."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "nodes"))
    monkeypatch.setitem(registry._registered, "planning", import_module("chunked_system").SYSTEM)


def action_chunks(bag: Path) -> set[int]:
    return {m.action_chunk for m in reactions(bag)}


def test_late_action_chunks_take_effect_as_late_again(planning: None, tmp_path: Path) -> None:
    frames = person(150)

    def live() -> Iterator[Message]:
        for message in answered(registry.create("planning", seconds=0.03), frames, asynchronous=True):
            time.sleep(0.002)  # 20 times real time
            yield message

    bag = write(tmp_path / "bag", features(frames), live())
    shown = [m.action_chunk for m in reactions(bag)]
    punctual = [(k - 2) // 5 * 5 - 1 if k >= 2 else -1 for k in range(150)]
    assert shown != punctual and len(set(shown)) > 3, "no action chunk was late: the test shows nothing"
    report = again(bag)
    assert reproduced(report) and report.comparison.compared == 150
    assert [m.action_chunk for m in reactions(tmp_path / "bag-again")] == shown


def test_action_chunks_are_made_where_a_recording_begins_late_or_has_gaps(planning: None, tmp_path: Path) -> None:
    frames, generator = person(150), registry.create("planning")
    messages = list(answered(generator, frames))
    stream, later = messages[0], messages[1 + 33 :]
    bag = write(tmp_path / "late", features(frames[33:]), [(*stream[:2], later[0][2], stream[3])], later)
    report = again(bag)
    assert "the recording begins 33 frames (1.3 s) after its listener's stream" in report.notices[0]
    assert max(action_chunks(tmp_path / "late-again")) > 130, "no action chunk was made"
    lost = {*range(40, 47), 80}
    bag = write(tmp_path / "holes", features(f for f in frames if f.index not in lost), messages)
    report = again(bag)
    assert max(action_chunks(tmp_path / "holes-again")) > 130
    assert report.notices[0].startswith("8 frames that were answered are not in the recording")
    assert re.search(r"1 gaps in the frames, the longest of 0\.3 s at 1\.6 s", " ".join(report.notices))
    assert report.comparison.compared == 142


# Another listener ----------------------------------------------------------------------------------------------------


def test_another_generator_or_seed_answers_the_same_speaker(tmp_path: Path) -> None:
    frames = person(60)
    bag = write(
        tmp_path / "bag", features(frames), answered(ATTENTIVE, frames[:30], seed=1, delay=3),
        answered(ATTENTIVE, frames[30:], seed=2),
    )  # fmt: skip
    first = again(bag, ReplayRequest("mime"))
    assert first.reactions == 60 and first.comparison.compared == 0
    streams = [m.message for m in read_bag(tmp_path / "bag-again", "/listener/stream")]
    assert [(m.generator, m.seed, m.delay) for m in streams] == [("mime", 1, 3)]
    replay(bag, tmp_path / "seed", ReplayRequest(seed=9, samples=4))
    streams = [m.message for m in read_bag(tmp_path / "seed", "/listener/stream")]
    assert [(m.first_frame, m.generator, m.seed, m.samples, m.delay) for m in streams] == [
        (0, "attentive", 9, 4, 3), (30, "attentive", 9, 4, 0)
    ]  # fmt: skip
    for words, sentence in (
        (("--generator", "nobody"), "nobody"), (("--samples", "-3"), "samples must be between 1 and 1000, not -3"),
        (("--generator", "mime,nothing=1"), "nothing"), (("--generator", "fsq", "--device", "abacus"), "abacus"),
        (("--source", "dreams"), "source must be auto, features or raw"), (("--storage", "csv"), "storage must be"),
        (("--features", "/nowhere"), "has no topic /nowhere: it has /robot/listener/reaction"),
        (("--source", "raw"), "has neither speaker features nor a camera's images"),
    ):  # fmt: skip
        code, text = run(bag, tmp_path / "no", *words)
        assert code == 2 and sentence in text and len(text.strip().splitlines()) == 1, text
        assert not (tmp_path / "no").exists()
    assert run(bag, tmp_path / "cpu", "--device", "cpu")[0] == 0
    assert run(bag, tmp_path / "cpu")[0] == 2, "a folder was overwritten"


def test_of_two_robots_in_one_bag_the_named_one_is_replayed(tmp_path: Path) -> None:
    """Also where one's name begins with the other's, and where both are below one parent."""
    frames = person(40)

    def of(robot: str, messages: Iterator[Message]) -> Iterator[Message]:
        return ((topic.replace("/robot/", f"/{robot}/"), *rest) for topic, *rest in messages)  # type: ignore[misc]

    bag = write(
        tmp_path / "bag", of("robot", features(frames)), of("robot", answered(ATTENTIVE, frames)),
        of("robot2", features(frames)), of("robot2", answered(ATTENTIVE, frames, seed=3)),
        of("lab/ann", features(frames)), of("lab/ann", answered(ATTENTIVE, frames, seed=4)),
        of("lab/bob", features(frames)), of("lab/bob", answered(ATTENTIVE, frames, seed=5)),
    )  # fmt: skip
    with pytest.raises(BagError, match="has 4 speaker features: say which with --features"):
        again(bag)
    for robot, seed in (("robot", 0), ("robot2", 3), ("lab/ann", 4), ("lab/bob", 5)):
        report = replay(bag, tmp_path / robot, features=f"/{robot}/speaker/features")
        assert reproduced(report)
        (stream,) = read_bag(tmp_path / robot, "/listener/stream")
        assert (stream.topic, stream.message.seed) == (f"/{robot}/listener/stream", seed)


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path: Path) -> None:
    frames = person(2000)
    bag = write(tmp_path / "bag", features(frames), answered(ATTENTIVE, frames))
    del frames
    process, sizes = psutil.Process(), []
    again(bag, progress=lambda done, total: sizes.append(process.memory_info().rss))
    grown = (sizes[-1] - sizes[len(sizes) // 3]) / 1e6
    assert grown < 8, f"{grown:.1f} MB more after 50 s"


# Bad bags ------------------------------------------------------------------------------------------------------------


def content(message: str, **fields: Any) -> bytes:
    """CDR bytes of a message."""
    return serialise(new_message(message, **fields))


def test_invalid_streams_and_reactions_are_ignored(tmp_path: Path) -> None:
    frames = person(30)
    at = START_NS - 10**9
    nonsense = [
        (STREAM, KINDS[STREAM], at, content(KINDS[STREAM], generator="attentive", samples=2**32 - 1)),
        (STREAM, KINDS[STREAM], at, content(KINDS[STREAM], generator="attentive", samples=1, delay=2**32 - 1)),
        (STREAM, KINDS[STREAM], at, content(KINDS[STREAM], generator="attentive", samples=1, seed=-1)),
        (STREAM, KINDS[STREAM], at, content(KINDS[STREAM], generator="attentive", samples=1, parameters="[")),
        (REACTION, KINDS[REACTION], at, content(KINDS[REACTION])),
    ]
    bag = write(tmp_path / "bag", nonsense, features(frames), answered(ATTENTIVE, frames))
    assert reproduced(again(bag))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"generator": "nobody"}, "nobody"),
        ({"generator": "attentive", "parameters": "{expressiveness: much}"}, "expressiveness"),
        ({"generator": "attentive", "parameters": "{nothing: 1}"}, "nothing"),
        ({"generator": "fsq", "parameters": "{weights: /nowhere.safetensors}"}, "/nowhere.safetensors"),
    ],
)
def test_a_listener_that_cannot_be_made_is_one_sentence(
    settings: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    stream = (STREAM, KINDS[STREAM], START_NS, content(KINDS[STREAM], samples=1, **settings))
    bag = write(tmp_path / "bag", [stream], features(person(5)))
    code, text = run(bag, tmp_path / "out")
    assert code == 2 and sentence in text and len(text.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_invalid_features_are_counted_and_jumps_of_the_clock_reported(tmp_path: Path) -> None:
    frames = [*person(20), *person(20, 1, 20, START_NS + 10**12), *person(20, 2, 40, START_NS - 10**15)]
    good = list(features(frames))
    empty = content(KINDS[FEATURES])
    bad = [(FEATURES, KINDS[FEATURES], START_NS + k, data) for k, data in enumerate([empty, b"\0\1\0\0", b"", empty])]
    report = again(write(tmp_path / "bag", good, bad))
    assert (report.frames, report.reactions) == (60, 60)
    notices = " ".join(report.notices)
    assert (
        "2 messages were dropped: /robot/speaker/features: scheme '' is not" in notices or "2 messages were" in notices
    )
    assert "2 gaps in the frames" in notices
    many = [(FEATURES, KINDS[FEATURES], START_NS + k, content(KINDS[FEATURES], face_state=k)) for k in range(10, 40)]
    report = replay(write(tmp_path / "many", good, many), tmp_path / "third")
    assert sum(int(n.split()[0]) for n in report.notices if "dropped" in n) == 30
    assert len(report.notices) < 10


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "has neither speaker features nor a camera's images"),
        ([("/chat", "std_msgs/msg/String", 1, content("std_msgs/msg/String", data="hello"))], "it has /chat"),
        (
            [(FEATURES, KINDS[FEATURES], 1, content(KINDS[FEATURES]))],
            "has no frame to listen to: 1 messages were dropped",
        ),
        ([("/cam", "sensor_msgs/msg/Image", 1, content("sensor_msgs/msg/Image"))], "has no frame to listen to"),
    ],
)
def test_a_bag_without_a_speaker_is_one_sentence(messages: Any, sentence: str, tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", messages)
    code, text = run(bag, tmp_path / "out")
    assert code == 2 and sentence in text and len(text.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


# Raw sensors ---------------------------------------------------------------------------------------------------------

PICTURES = 12


def frames_of(bag: Path) -> list[Any]:
    return [frame_from_message(m.message) for m in read_bag(bag, "/speaker/features")]


@pytest.mark.slow
def test_images_of_every_encoding_give_the_same_face(tmp_path: Path) -> None:
    faces = {}
    for encoding in ("rgb8", "bgr8", "rgba8", "png", "jpeg", "yuv422_yuy2", "mono8"):
        bag = write(tmp_path / encoding, photographs(encoding, "/cam/image_raw", PICTURES))
        report = again(bag)
        frames = frames_of(tmp_path / f"{encoding}-again")
        assert report.frames == len(frames) >= PICTURES and report.perceiving > 0
        assert sum(f.face.state == FaceState.TRACKED for f in frames) >= PICTURES - 4
        assert {m.topic for m in read_bag(tmp_path / f"{encoding}-again", "/speaker/features")} == {
            "/cam/speaker/features"
        }
        faces[encoding] = np.array([f.face_model for f in frames])
    for encoding in ("bgr8", "rgba8", "png"):
        assert np.array_equal(faces[encoding], faces["rgb8"]), encoding
    for encoding in ("jpeg", "yuv422_yuy2", "mono8"):
        assert np.abs(faces[encoding] - faces["rgb8"])[:, :52].mean() < 0.05, encoding


def recorded_sound(path: Path, driver: str, storage: Storage) -> Path:
    """Write three seconds of speech as a driver's messages, in a bag with their definitions."""
    samples, rate = soundfile.read(assets.resolve("demo-voice-1"), dtype="int16")
    size = rate // 20
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in (MGONZS13 if driver == "mgonzs13" else ROS_DRIVERS).items():
        store.register(get_types_from_msg(text, f"audio_common_msgs/msg/{name}"))
    t = store.types
    with Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        send = partial(send_to, writer, store)
        if driver in ("AudioData", "AudioDataStamped"):
            info = t["audio_common_msgs/msg/AudioInfo"](1, rate, "S16LE", 0, "wave")
            send("/mic/audio_info", START_NS, info)
        for k in range(60):
            block = samples[k * size : (k + 1) * size]
            stamp = START_NS + k * 50_000_000
            header = t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9)), "")
            data = t.get("audio_common_msgs/msg/AudioData")
            if driver == "mgonzs13":
                none = {f"{n}_data": np.zeros(0, n) for n in ("float32", "int32", "int16", "int8", "uint8")}
                audio = t["audio_common_msgs/msg/Audio"](
                    data(**{**none, "int16_data": block}),  # type: ignore[misc]
                    t["audio_common_msgs/msg/AudioInfo"](8, 1, rate, size),
                )
                message = t["audio_common_msgs/msg/AudioStamped"](header, audio)
            else:
                assert data
                message = data(block.astype("<i2").view(np.uint8))
                if driver == "AudioDataStamped":
                    message = t["audio_common_msgs/msg/AudioDataStamped"](header, message)
            send("/mic/audio", stamp + 50_000_000, message)
    return path


@pytest.mark.parametrize(
    ("driver", "storage"),
    [("AudioData", "mcap"), ("AudioDataStamped", "sqlite3"), ("mgonzs13", "mcap"), ("mgonzs13", "sqlite3")],
)
def test_audio_of_either_audio_common_msgs_is_read_by_the_bags_own_definition(
    driver: str, storage: Storage, tmp_path: Path
) -> None:
    bag = recorded_sound(tmp_path / "bag", driver, storage)
    report = again(bag)
    speech = [f.sound for f in frames_of(tmp_path / "bag-again") if f.sound.state == SoundState.SPEECH]
    assert report.frames >= 70 and len(speech) > 30
    assert 80 < np.median([s.f0 for s in speech if s.f0 > 0]) < 350
    assert -10 < np.median([s.log_energy for s in speech]) < -2
    replay(bag, tmp_path / "third")
    assert everything(tmp_path / "bag-again") == everything(tmp_path / "third")


def test_stamps_of_another_clock_are_shifted_and_long_silences_skipped(tmp_path: Path) -> None:
    sound = list(read_bag(recorded_sound(tmp_path / "source", "AudioDataStamped", "mcap"), "/audio"))
    kind = "react_ros/msg/AudioChunk"

    def chunks() -> Iterator[Message]:
        for part, pause in enumerate((0, 3 * 10**16)):  # the recorder's clock was corrected by a year
            for k, m in enumerate(sound):
                samples = np.frombuffer(bytes(m.message.audio.data), "<i2").astype(np.int16)
                number = part * len(sound) + k
                header = FACTORY.header(FACTORY.time(number * 50_000_000))  # counted from the driver's start
                yield "/mic/audio", kind, m.time_ns + pause, content(
                    kind, header=header, sample_rate=len(samples) * 20, channels=1,
                    first_sample=number * len(samples), pcm=samples,
                )  # fmt: skip

    report = again(write(tmp_path / "bag", chunks()))
    assert any("are of another clock" in n for n in report.notices)
    assert 60 < report.frames < 1000, "the year was not skipped"
    frames = frames_of(tmp_path / "bag-again")
    assert [b.index - a.index for a, b in pairwise(frames)] == [1] * (len(frames) - 1)
    assert abs(frames[0].stamp_ns - START_NS) < 10**9, "frames are of the recorder's time"


def test_perception_has_the_parameters_of_the_speakers_robot(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", features(person(2)))
    nodes = {"/lab/ann/perception": {"sound_lag": 0.1}, "/lab/bob/perception": {"sound_lag": 0.2, "max_faces": "many"}}
    manifest.write_manifest(bag, {"parameters": nodes})
    with Bag(bag) as opened:
        lags = [perception_parameters(opened, f"/lab/{who}/image_raw")["sound_lag"] for who in ("ann", "bob")]
        assert lags == [0.1, 0.2]
        bobs = perception_parameters(opened, "/lab/bob/audio")
        assert bobs["max_faces"] == 4
        assert bobs["sound_lag_max"] == 0.0, "a bag of a version whose lag was fixed"


AUDIO_CHUNK_0_1 = """
std_msgs/Header header
uint32 sample_rate
uint8 channels
uint64 first_sample
int16[] samples
"""


def test_audio_of_version_0_1_is_heard(tmp_path: Path) -> None:
    """Its AudioChunk has the field samples, as the bag defines."""
    pcm, rate = soundfile.read(assets.resolve("demo-voice-1"), dtype="int16")
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(AUDIO_CHUNK_0_1, OUR_AUDIO))
    frames: dict[str, list[Any]] = {}
    for field in ("samples", "pcm"):
        with Writer(tmp_path / field, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            types = store if field == "samples" else typestore()
            connection = writer.add_connection("/robot/audio", OUR_AUDIO, typestore=types)
            for k in range(100):
                stamp, size = START_NS + k * 20_000_000, rate // 50
                values: dict[str, Any] = {field: pcm[k * size : (k + 1) * size]}
                message = types.types[OUR_AUDIO](
                    header=FACTORY.header(FACTORY.time(stamp)),
                    sample_rate=rate,
                    channels=1,
                    first_sample=k * size,
                    **values,
                )
                writer.write(connection, stamp + 20_000_000, types.serialize_cdr(message, OUR_AUDIO))
        report = again(tmp_path / field)
        assert any("another definition" in n for n in report.notices) == (field == "samples")
        frames[field] = frames_of(tmp_path / f"{field}-again")
    assert len([f for f in frames["samples"] if f.sound.state == SoundState.SPEECH]) > 15
    assert [repr(f.sound) for f in frames["samples"]] == [repr(f.sound) for f in frames["pcm"]]
