"""Bags of other robots: stamps of other clocks and none, sound of unknown format, types without definitions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from recordings import FEATURES, START_NS, Message, features, person, photographs, write
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from third_party_messages import MGONZS13, ROS_DRIVERS, send_to
from typer.testing import CliRunner

from react_ros import assets
from react_ros.bags.audio_format import AudioFormat, third_party_audio
from react_ros.bags.errors import UnknownAudioFormat
from react_ros.bags.person_topics import PersonTopics, find_person
from react_ros.bags.reader import Bag, read_bag
from react_ros.bags.types import FACTORY, new_message, serialise
from react_ros.bags.writer import STORAGES, BagWriter, Storage
from react_ros.cli.main import app
from react_ros.clock.frame_clock import FrameClock
from react_ros.clock.types import ClockFrame
from react_ros.face import FRAME_NS, SoundState
from react_ros.messages.features import frame_from_message
from react_ros.messages.types import IMAGE_TYPE, OUR_AUDIO
from react_ros.replay.speaker_frames import UnusableData, run_front_end

CAMERA, MICROPHONE, INFO = "/cam/image_raw", "/mic/audio", "/mic/audio_info"
S = 1_000_000_000


def run(bag: Path, out: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of `react-ros replay`; an uncaught exception fails the test."""
    result = CliRunner().invoke(app, ["replay", str(bag), "--out", str(out), *words], catch_exceptions=False)
    return result.exit_code, result.output


def shown(bag: Path, topics: PersonTopics) -> tuple[list[ClockFrame], UnusableData, list[str]]:
    """The frame clock's frames of a bag, before they are perceived; what was lost; the bag's notices."""
    frames: list[ClockFrame] = []
    losses = UnusableData()
    with Bag(bag) as opened:
        for _ in run_front_end(opened, topics, losses, None, FrameClock(), frames.append):
            pass
        return frames, losses, opened.notices


# Stamps --------------------------------------------------------------------------------------------------------------

PIXELS = np.zeros(16 * 16 * 3, np.uint8)


def camera(
    count: int, stamp_of: Callable[[int, int], int], received: Callable[[int], int] = lambda k: 0
) -> Iterator[Message]:
    """A small image 25 times a second, received 20 ms later. stamp_of: (k, usual stamp) to the stamp of image k.

    received: of k, ns by which the recorder's clock is set when it receives image k.
    """
    for k in range(count):
        usual = START_NS + k * FRAME_NS
        header = FACTORY.header(FACTORY.time(stamp_of(k, usual)))
        message = new_message(IMAGE_TYPE, header=header, height=16, width=16, encoding="rgb8", step=48, data=PIXELS)
        yield CAMERA, IMAGE_TYPE, usual + 20_000_000 + received(k), serialise(message)


@pytest.mark.parametrize(
    ("stamp_of", "says"),
    [
        (lambda k, usual: 0, "100 of 100 messages of /cam/image_raw have no stamp"),
        (lambda k, usual: usual if k else 0, "1 of 100 messages of /cam/image_raw have no stamp"),
        (lambda k, usual: usual if k % 2 else 0, "50 of 100 messages of /cam/image_raw have no stamp"),
        (lambda k, usual: START_NS - 77, "have no stamp of their own"),  # never changes
        (lambda k, usual: usual - START_NS + 5 * S, "are of another clock"),  # since the machine was started
        (lambda k, usual: usual - 3 * S, "are of another clock"),
        (lambda k, usual: usual + 3600 * S, "are of another clock"),
        (lambda k, usual: usual if k < 50 else usual - 3 * S, "was set once, by up to 3.0 s"),
        (lambda k, usual: usual if k < 50 else usual + 3 * S, "was set once, by up to 3.0 s"),
        (lambda k, usual: usual - 3600 * S if k < 10 else usual, "was set once, by up to 3600.0 s"),
        (lambda k, usual: usual - 2 * S if 30 <= k < 60 else usual, "was set 2 times, by up to 2.0 s"),
        (lambda k, usual: usual + 10**6 * S if k == 50 else usual, "was set 2 times"),  # one wrong stamp
        (lambda k, usual: usual, ""),
    ],
)
def test_no_image_is_lost_because_of_its_stamp(stamp_of: Any, says: str, tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", camera(100, stamp_of))
    frames, losses, _ = shown(bag, PersonTopics(image=CAMERA))
    assert sum(f.image_new for f in frames) >= 97
    assert all(abs(f.stamp_ns - START_NS - f.index * FRAME_NS) < 0.2 * S for f in frames), "on the recorder's clock"
    assert losses.lost == []
    assert says in " ".join(losses.stamps) and bool(says) == bool(losses.stamps)


@pytest.mark.parametrize(
    "stamp_of",
    [
        lambda k, usual: 0, lambda k, usual: usual if k else 0, lambda k, usual: START_NS,
        lambda k, usual: usual - 3 * S if k > 100 else usual, lambda k, usual: usual + 3600 * S,
    ],
)  # fmt: skip
def test_no_sound_is_lost_because_of_its_stamp(stamp_of: Any, tmp_path: Path) -> None:
    tone = (8000 * np.sin(np.arange(320) / 3)).astype(np.int16)

    def chunks() -> Iterator[Message]:
        for k in range(200):
            usual = START_NS + k * 20_000_000
            header = FACTORY.header(FACTORY.time(stamp_of(k, usual)))
            message = new_message(
                OUR_AUDIO, header=header, sample_rate=16_000, channels=1, first_sample=320 * k, pcm=tone
            )
            yield MICROPHONE, OUR_AUDIO, usual + 25_000_000, serialise(message)

    frames, losses, _ = shown(write(tmp_path / "bag", chunks()), PersonTopics(audio=MICROPHONE))
    assert len(frames) > 95 and losses.lost == [] and losses.stamps
    assert np.mean([f.sound_valid for f in frames[3:96]]) > 0.98


def test_a_recorder_that_stalled_is_no_other_clock(tmp_path: Path) -> None:
    late = [max(0, (60 - k) * FRAME_NS) if 30 <= k < 60 else 0 for k in range(100)]
    bag = write(tmp_path / "bag", camera(100, lambda k, usual: usual, lambda k: late[k]))
    frames, losses, _ = shown(bag, PersonTopics(image=CAMERA))
    assert losses.stamps == [] and sum(f.image_new for f in frames) > 60


@pytest.mark.parametrize("storage", STORAGES)
def test_a_recorders_clock_that_is_set_back_loses_nothing(storage: Storage, tmp_path: Path) -> None:
    """Stamps and times of receipt step back together, as when NTP corrects the machine: sorted, they would mix."""

    def set_back(k: int) -> int:
        return 0 if k < 60 else -3 * S

    writer = BagWriter(tmp_path / "bag", storage)
    for k, message in enumerate(camera(120, lambda k, usual: usual + set_back(k), set_back)):
        writer.write(*message)
        if k % 40 == 39:
            writer.flush()
    writer.close()
    frames, losses, notices = shown(tmp_path / "bag", PersonTopics(image=CAMERA))
    assert sum(f.image_new for f in frames) >= 117 and losses.lost == []
    stamps = [f.image_stamp_ns or 0 for f in frames if f.image_new]
    assert sum(b < a for a, b in pairwise(stamps)) == 1, "the images of two moments mix"
    assert "clock was set back while it recorded" in " ".join(notices)


def test_losing_most_of_a_sensor_is_no_success(tmp_path: Path) -> None:
    empty = new_message(IMAGE_TYPE)
    broken = [(CAMERA, IMAGE_TYPE, START_NS + k * FRAME_NS, serialise(empty)) for k in range(90)]
    good = list(photographs("jpeg", "/cam/image_raw/compressed", 5))
    assert good
    bag = write(tmp_path / "bag", broken, list(camera(100, lambda k, usual: usual))[90:])
    code, text = run(bag, tmp_path / "out")
    assert code == 1 and "only 10 of 100 messages of /cam/image_raw could be used" in text
    invalid = new_message("react_ros/msg/SpeakerFeatures")
    wrong = [(FEATURES, "react_ros/msg/SpeakerFeatures", START_NS + k, serialise(invalid)) for k in range(50)]
    code, text = run(write(tmp_path / "features", features(person(20)), wrong), tmp_path / "third")
    assert code == 1 and "only 20 of 70 messages of /robot/speaker/features could be used" in text
    code, text = run(write(tmp_path / "whole", features(person(20)), wrong[:10]), tmp_path / "fourth")
    assert code == 0 and "10 messages were dropped" in text


# Sound ---------------------------------------------------------------------------------------------------------------


def store_of(definitions: dict[str, str]) -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in definitions.items():
        store.register(get_types_from_msg(text, f"audio_common_msgs/msg/{name}"))
    return store


def driver(
    path: Path, *, rate: int = 16_000, channels: int = 1, info_at: int | None = 0, stamped: bool = False,
    storage: Storage = "mcap", second: int = 0, definitions: dict[str, str] = ROS_DRIVERS,
) -> Path:  # fmt: skip
    """Three seconds of speech as ros-drivers' or mgonzs13's audio, of any rate and number of channels.

    info_at: block before which the AudioInfo is published; None: never. second: channel that holds the speech.
    """
    speech, original = soundfile.read(assets.resolve("demo-voice-1"), dtype="int16")
    at = np.arange(3 * rate) * original // rate
    sound = np.zeros((3 * rate, channels), np.int16)
    sound[:, second] = speech[at]
    store, size = store_of(definitions), rate // 20
    t = store.types
    with Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        send = partial(send_to, writer, store)
        for k in range(60):
            stamp = START_NS + k * 50_000_000
            if k == info_at:
                send(INFO, stamp + 49_000_000, t["audio_common_msgs/msg/AudioInfo"](channels, rate, "S16LE", 0, "wave"))
            block = sound[k * size : (k + 1) * size]
            header = t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](*divmod(stamp, S)), "")
            if definitions is MGONZS13:
                none = {f"{n}_data": np.zeros(0, n) for n in ("float32", "int32", "int16", "int8", "uint8")}
                data = t["audio_common_msgs/msg/AudioData"](**{**none, "int16_data": block.ravel()})
                about = t["audio_common_msgs/msg/AudioInfo"](8, channels, rate, size)
                audio = t["audio_common_msgs/msg/AudioStamped"](header, t["audio_common_msgs/msg/Audio"](data, about))
            else:
                audio = t["audio_common_msgs/msg/AudioData"](
                    np.ascontiguousarray(block).astype("<i2").view(np.uint8).ravel()
                )
                if stamped:
                    audio = t["audio_common_msgs/msg/AudioDataStamped"](header, audio)
            send(MICROPHONE, stamp + 50_000_000, audio)
    return path


def without_definitions(path: Path) -> Path:
    """The bag as ROS 2 Humble's sqlite3 storage writes it."""
    (path / "metadata.yaml").unlink()
    (file,) = path.glob("*.db3")
    with sqlite3.connect(file) as db:
        db.execute("DELETE FROM message_definitions")
    return path


def speech_frames(replayed: Path) -> int:
    frames = [frame_from_message(m.message) for m in read_bag(replayed, "/speaker/features")]
    return sum(f.sound.state == SoundState.SPEECH for f in frames)


@pytest.mark.parametrize(
    ("rate", "channels", "info_at"), [(48_000, 2, 59), (16_000, 6, 40), (44_100, 1, 20), (16_000, 1, 0)]
)
def test_sound_has_the_format_of_an_info_that_comes_late(
    rate: int, channels: int, info_at: int, tmp_path: Path
) -> None:
    bag = driver(tmp_path / "bag", rate=rate, channels=channels, info_at=info_at)
    frames, losses, _ = shown(bag, PersonTopics(audio=MICROPHONE, info=INFO))
    loud = np.abs(np.concatenate([f.sound for f in frames])) > 0.02
    assert losses.lost == [] and 70 <= len(frames) <= 80 and loud.mean() * channels > 0.05
    assert np.mean([f.sound_valid for f in frames]) > 0.9


@pytest.mark.parametrize(
    ("rate", "channels", "fits"),
    [(16_000, 2, "16000 Hz with 2 channels"), (48_000, 1, "48000 Hz with 1 channel"),
     (44_100, 2, "44100 Hz with 2 channels"),
     (16_000, 6, "16000 Hz with 6 channels")],
)  # fmt: skip
def test_sound_of_unknown_format_is_not_guessed(rate: int, channels: int, fits: str, tmp_path: Path) -> None:
    bag = driver(tmp_path / "bag", rate=rate, channels=channels, info_at=None)
    code, text = run(bag, tmp_path / "out")
    assert code == 2 and fits in text and "--audio-rate" in text and len(text.strip().splitlines()) == 1
    with Bag(bag) as opened:
        for named in (AudioFormat(rate, channels), AudioFormat(rate), AudioFormat(0, channels)):
            found = third_party_audio(opened, MICROPHONE, "", named)
            assert (found.rate, found.channels) == (rate, channels)
        with pytest.raises(UnknownAudioFormat):
            third_party_audio(opened, MICROPHONE, "", AudioFormat())


def test_a_named_format_makes_it_heard_and_wins_over_the_info(tmp_path: Path) -> None:
    bag = driver(tmp_path / "bag", channels=2, info_at=None)
    code, _ = run(bag, tmp_path / "out", "--audio-rate", "16000", "--audio-channels", "2")
    assert code == 0 and speech_frames(tmp_path / "out") > 20
    code, text = run(bag, tmp_path / "third", "--audio-rate", "16")
    assert code == 2 and "the audio's rate is 16 Hz: it must be between" in text
    wrong = driver(tmp_path / "wrong", channels=1, info_at=0)
    with Bag(wrong) as opened:
        found = third_party_audio(opened, MICROPHONE, INFO, AudioFormat(8_000, 2))
    assert (found.rate, found.channels) == (8_000, 2)


def test_sixteen_kilohertz_mono_needs_no_info(tmp_path: Path) -> None:
    code, text = run(driver(tmp_path / "bag", info_at=None, stamped=True), tmp_path / "out")
    assert code == 0 and "no AudioInfo" in text and speech_frames(tmp_path / "out") > 20


# Types ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stamped", "definitions"), [(False, ROS_DRIVERS), (True, ROS_DRIVERS), (True, MGONZS13)])
def test_sound_of_a_bag_without_definitions_is_heard(stamped: bool, definitions: Any, tmp_path: Path) -> None:
    info_at = 0 if definitions is ROS_DRIVERS else None
    bag = driver(tmp_path / "bag", storage="sqlite3", stamped=stamped, info_at=info_at, definitions=definitions)
    code, text = run(without_definitions(bag), tmp_path / "out")
    assert code == 0, text
    assert "the bag does not define audio_common_msgs/msg/Audio" in text and speech_frames(tmp_path / "out") > 20


def test_a_definition_that_is_installed_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ros/share/heat_msgs/msg"
    folder.mkdir(parents=True)
    (folder / "Heat.msg").write_text("float64 kelvin\n")
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("float64 kelvin\n", "heat_msgs/msg/Heat"))
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/heat", "heat_msgs/msg/Heat", typestore=store)
        message = store.types["heat_msgs/msg/Heat"](300.0)
        writer.write(connection, 1, store.serialize_cdr(message, "heat_msgs/msg/Heat"))
    without_definitions(tmp_path / "bag")
    with Bag(tmp_path / "bag") as bag:
        assert not bag.topics["/heat"].known
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "ros"))
    with Bag(tmp_path / "bag") as bag:
        assert [m.message.kelvin for m in bag.messages(["/heat"])] == [300.0]


def test_a_microphone_of_an_unknown_type_is_named_and_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("react_ros.bags.types.known_definitions", lambda kinds: ("nobody", {}))
    bag = without_definitions(driver(tmp_path / "bag", storage="sqlite3"))
    with sqlite3.connect(next(bag.glob("*.db3"))) as db:
        number = db.execute("SELECT max(id) + 1 FROM topics").fetchone()[0]
        db.execute(
            "INSERT INTO topics SELECT ?, ?, ?, serialization_format, '', '' FROM topics LIMIT 1",
            (number, CAMERA, IMAGE_TYPE),
        )
        rows = [(number, time_ns, data) for _, _, time_ns, data in camera(30, lambda k, usual: usual)]
        db.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
    code, text = run(bag, tmp_path / "out")
    assert code == 1 and "/mic/audio cannot be heard: audio_common_msgs/msg/AudioData is defined neither in" in text


def test_the_persons_topics_keep_the_named_format(tmp_path: Path) -> None:
    bag = driver(tmp_path / "bag")
    with Bag(bag) as opened:
        found = find_person(opened, audio_format=AudioFormat(8_000, 1))
        assert found == replace(PersonTopics(audio=MICROPHONE, info=INFO), format=AudioFormat(8_000, 1))
