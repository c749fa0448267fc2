"""Bags survive the end of their writer and a full disk, and are read in whatever state they are."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import psutil
import pytest
import yaml
from backports import zstd
from recordings import FEATURES, answered, features, person
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from typer.testing import CliRunner

from react_ros.bags import manifest, rosbags_internals
from react_ros.bags.errors import BagError, BagFull
from react_ros.bags.reader import Bag, read_bag
from react_ros.bags.types import new_message, serialise, typestore
from react_ros.bags.writer import STORAGES, BagWriter, Storage
from react_ros.cli.main import app
from react_ros.face import ARKIT
from react_ros.generators import registry
from react_ros.replay.replay import replay

SHAPES, KIND = "/robot/avatar/blendshapes", "react_ros/msg/Blendshapes"
CHUNK = 20
"""Number of messages between two flushes of the bags below."""


def shapes(frame: int) -> bytes:
    """CDR bytes of a message of about 1 kB with its number."""
    lineage = new_message("react_ros/msg/Lineage", frame=frame)
    weights = np.full(52, frame / 1000, np.float32)
    return serialise(new_message(KIND, scheme="arkit52", names=list(ARKIT), weights=weights, lineage=lineage))


def fill(writer: BagWriter, count: int, first: int = 0) -> None:
    """Write numbered messages, 1 ms apart, with a flush after every CHUNK."""
    for k in range(first, first + count):
        writer.write(SHAPES, KIND, 1_000_000_000 + k * 1_000_000, shapes(k))
        if (k + 1) % CHUNK == 0:
            writer.flush()


def numbers(path: Path) -> list[int]:
    return [m.message.lineage.frame for m in read_bag(path)]


@pytest.mark.parametrize("storage", STORAGES)
def test_written_messages_are_read_by_this_package_and_by_rosbags(storage: Storage, tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", storage)
    fill(writer, 50)
    writer.close()
    writer.close()
    back = list(read_bag(tmp_path / "bag", "/avatar/blendshapes"))
    assert [(m.time_ns, m.message.lineage.frame) for m in back] == [(10**9 + k * 10**6, k) for k in range(50)]
    assert tuple(back[0].message.names) == ARKIT and back[30].message.weights[0] == pytest.approx(0.03)
    assert list(read_bag(tmp_path / "bag", "/other")) == []
    with Reader(tmp_path / "bag") as reader:
        assert [bytes(data) for _, _, data in reader.messages()] == [shapes(k) for k in range(50)]
        assert (reader.message_count, reader.connections[0].msgtype) == (50, KIND)


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    BagWriter(tmp_path / "bag").close()
    with pytest.raises(BagError, match="cannot be written"):
        BagWriter(tmp_path / "bag")


# Killed writers, full disks ------------------------------------------------------------------------------------------

CHILD = """
import sys
sys.path[:0] = [{test!r}, {session!r}]
from test_bag import BagWriter, Path, fill
writer = BagWriter(Path(sys.argv[1]), sys.argv[2])
for k in range(0, 10**6, 20):
    fill(writer, 20, k)
    print(k + 20, flush=True)
"""


@pytest.mark.parametrize("storage", STORAGES)
def test_flushed_messages_survive_a_writer_that_is_killed_at_any_moment(storage: Storage, tmp_path: Path) -> None:
    here = Path(__file__).parent
    code = CHILD.format(test=str(here.parent), session=str(here))
    for moment in range(4):
        path = tmp_path / f"bag{moment}"
        child = subprocess.Popen([sys.executable, "-c", code, path, storage], stdout=subprocess.PIPE, text=True)
        assert child.stdout
        flushed = 0
        for _ in range(2 + 7 * moment):
            flushed = int(child.stdout.readline())
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        found = numbers(path)
        assert found == list(range(len(found))) and len(found) >= flushed
        with Bag(path) as bag:
            assert "metadata.yaml is missing" in bag.notices[0]
            assert bag.topics[SHAPES].count == bag.messages_count == len(found)


def fill_the_disk(path: Path, storage: Storage) -> tuple[int, BagFull]:
    """Write until the disk is full. Returns the number of messages before the last flush, and the error."""
    writer = BagWriter(path, storage)
    safe = 0
    try:
        for k in range(0, 10**5, CHUNK):
            fill(writer, CHUNK, k)
            safe = k + CHUNK
    except BagFull as error:
        with pytest.raises(BagError, match="is closed"):
            writer.write(SHAPES, KIND, 1, shapes(1))
        writer.close()
        assert writer.counts[SHAPES] == safe
        return safe, error
    raise AssertionError("the disk is never full")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_that_cannot_grow_closes_the_bag_with_one_sentence_and_all_flushed_messages(
    storage: Storage, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        safe, error = fill_the_disk(tmp_path / "bag", storage)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "all but its last second can be read" in str(error) and "\n" not in str(error)
    assert safe >= 100 and numbers(tmp_path / "bag") == list(range(safe))
    with Bag(tmp_path / "bag") as bag:
        assert bag.notices == [], "the bag was not closed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The mount point of a file system of 300 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_full_disk_leaves_a_readable_bag(storage: Storage, small_disk: Path) -> None:
    safe, _ = fill_the_disk(small_disk / "bag", storage)
    assert safe >= 100 and numbers(small_disk / "bag") == list(range(safe))
    assert not [f.name for f in (small_disk / "bag").iterdir() if f.name.endswith((".tmp", ".new"))]


# Damage --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Storage to a bag of a person and a listener with a manifest, flushed after every ten frames."""
    out = {}
    frames = person(30)
    messages = sorted([*features(frames), *answered(registry.create("attentive"), frames)], key=lambda m: m[2])
    for storage in STORAGES:
        out[storage] = tmp_path_factory.mktemp("bags") / storage
        writer = BagWriter(out[storage], storage)
        for k, (topic, kind, time_ns, data) in enumerate(messages):
            writer.write(topic, kind, time_ns, data)
            if k % 20 == 19:
                writer.flush()
        writer.close()
        entries = manifest.begin(parameters={"/robot/perception": {"sound_lag": 0.04, "max_faces": 4}})
        manifest.write_manifest(out[storage], entries)
    return out


def attempt(bag: Path, out: Path) -> int:
    """Replay a bag. Returns its number of frames; 0 where it was refused with one sentence."""
    shutil.rmtree(out, ignore_errors=True)
    try:
        report = replay(bag, out)
    except BagError as error:
        assert "\n" not in str(error) and len(str(error)) < 700
        return 0
    assert not [n for n in report.notices if "\n" in n]
    assert report.frames > 0
    return report.frames


def test_a_file_cut_anywhere_is_read_up_to_the_cut(bags: dict[str, Path], tmp_path: Path) -> None:
    whole = (bags["mcap"] / "recording.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    heard = []
    for at in [0, 1, 7, 8, 9, 40, *sorted(random.Random(1).sample(range(len(whole)), 30)), len(whole) - 1]:
        cut.write_bytes(whole[:at])
        heard.append(attempt(cut, tmp_path / "out"))
    assert heard == sorted(heard) and heard[0] == 0 and heard[-1] == 30
    assert {0, 10, 20, 30} <= set(heard), "a complete chunk is not read"


@pytest.mark.slow
@pytest.mark.parametrize("file", ["recording.mcap", "its end", "recording.db3", "metadata.yaml", "manifest.yaml"])
def test_a_file_with_a_damaged_byte_is_read_or_refused_with_one_sentence(
    file: str, bags: dict[str, Path], tmp_path: Path
) -> None:
    source = bags["sqlite3" if file == "recording.db3" else "mcap"]
    bag, out = tmp_path / "bag", tmp_path / "out"
    shutil.copytree(source, bag)
    damaged = bag / ("recording.mcap" if file == "its end" else file)
    whole = damaged.read_bytes()
    survived = 0
    for seed in range(50 if file.startswith("recording") else 20):
        rng = random.Random(seed)
        data = bytearray(whole)
        data[rng.randrange(len(data) - 5000 if file == "its end" else 0, len(data))] ^= 1 << rng.randrange(8)
        if seed % 10 == 7:
            del data[rng.randrange(len(data)) :]
        damaged.write_bytes(data)
        survived += attempt(bag, out) > 0
    assert survived >= 5


def wrong(entries: dict[str, Any]) -> Any:
    """A change of metadata.yaml."""

    def change(metadata: dict[str, Any]) -> Any:
        metadata["rosbag2_bagfile_information"] |= entries
        return metadata

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: None, lambda metadata: [1, 2], lambda metadata: "rosbag2", wrong({"version": 99}),
        wrong({"relative_file_paths": ["elsewhere.mcap"]}), wrong({"relative_file_paths": ["../../../etc/passwd"]}),
        wrong({"relative_file_paths": 5}), wrong({"storage_identifier": "sqlite3"}),
        wrong({"storage_identifier": None}),
        wrong({"message_count": -3, "duration": "long", "starting_time": {}}), wrong({"topics_with_message_count": {}}),
        wrong({"compression_mode": "file", "compression_format": "zstd"}), wrong({"compression_mode": 7}),
        wrong({"compression_mode": "message", "compression_format": "zstd"}), wrong({"files": None}),
    ],
)  # fmt: skip
def test_wrong_metadata_changes_nothing_that_is_read(change: Any, bags: dict[str, Path], tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    shutil.copytree(bags["mcap"], bag)
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    (bag / "metadata.yaml").write_text(yaml.safe_dump(change(metadata)))
    assert attempt(bag, tmp_path / "out") == 30
    (bag / "metadata.yaml").unlink()
    assert attempt(bag, tmp_path / "out") == 30


@pytest.mark.parametrize(
    "parameters",
    [
        5,
        [1],
        {5: {}},
        {"/robot/perception": 7},
        {"/robot/perception": {"sound_lag": "long", "max_faces": [], "wav2vec2": 3}},
    ],
)
def test_a_wrong_manifest_does_not_stop_a_replay(parameters: Any, bags: dict[str, Path], tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    shutil.copytree(bags["mcap"], bag)
    manifest.write_manifest(bag, {"parameters": parameters})
    assert attempt(bag, tmp_path / "out") == 30


def test_paths_that_are_not_bags_are_named(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="does not exist"):
        Bag(tmp_path / "nothing")
    (tmp_path / "film.mp4").write_bytes(b"film")
    with pytest.raises(BagError, match=r"must be a folder, or a file \.mcap or \.db3"):
        Bag(tmp_path / "film.mp4")
    with pytest.raises(BagError, match=r"metadata\.yaml is missing, and no \.mcap or \.db3 file is in it"):
        Bag(tmp_path)
    (tmp_path / "metadata.yaml").write_text("no: bag")
    with pytest.raises(BagError, match=r"its metadata\.yaml does not help"):
        Bag(tmp_path)
    for name in ("empty.mcap", "empty.db3"):
        (tmp_path / name).touch()
        with pytest.raises(BagError, match="cannot be read"):
            Bag(tmp_path / name)
    BagWriter(tmp_path / "no_message").close()
    with Bag(tmp_path / "no_message") as bag:
        assert bag.notices == [f"bag {tmp_path / 'no_message'} holds no message"] and not bag.topics


# Third-party bags ----------------------------------------------------------------------------------------------------


def record_third_party(path: Path, storage: Storage, mode: CompressionMode, first: int = 0, count: int = 60) -> None:
    """Write a bag as `ros2 bag record` does with these options."""
    writer = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(SHAPES, KIND, typestore=typestore())
        for k in range(first, first + count):
            writer.write(connection, 1_000_000_000 + k * 1_000_000, shapes(k))


@pytest.mark.parametrize(
    ("storage", "mode"),
    [(s, m) for s in STORAGES for m in CompressionMode if (s, m) != ("sqlite3", CompressionMode.STORAGE)],
)
def test_compressed_bags_are_read(storage: Storage, mode: CompressionMode, tmp_path: Path) -> None:
    record_third_party(tmp_path / "bag", storage, mode)
    assert numbers(tmp_path / "bag") == list(range(60))
    (tmp_path / "bag" / "metadata.yaml").unlink()
    if mode == CompressionMode.FILE:
        with pytest.raises(BagError, match=r"unpack its files first \(zstd -d bag\.(mcap|db3)\.zstd\)"):
            Bag(tmp_path / "bag")
    else:
        assert numbers(tmp_path / "bag") == list(range(60))
        assert numbers(next((tmp_path / "bag").iterdir())) == list(range(60))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_of_several_files_is_read_as_one(storage: Storage, tmp_path: Path) -> None:
    """Twelve files: in alphabetical order, the tenth would come before the second."""
    split = tmp_path / "split"
    split.mkdir()
    names = []
    for part in range(12):
        record_third_party(tmp_path / f"{part}", storage, CompressionMode.NONE, 5 * part, 5)
        file = next(f for f in (tmp_path / f"{part}").iterdir() if f.suffix != ".yaml")
        names.append(f"split_{part}{file.suffix}")
        file.rename(split / names[-1])
    assert numbers(split) == list(range(60))
    metadata = yaml.safe_load((tmp_path / "0" / "metadata.yaml").read_text())
    metadata["rosbag2_bagfile_information"]["relative_file_paths"] = names
    (split / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert numbers(split) == list(range(60))
    with Bag(split) as bag:
        assert bag.notices == [] and bag.topics[SHAPES].count == 60 and bag.seconds == pytest.approx(0.059)
    broken = split / names[3]
    broken.write_bytes(b"")
    with Bag(split) as bag:
        assert any(names[3] in notice for notice in bag.notices)
    assert numbers(split) == [k for k in range(60) if k // 5 != 3]


def test_types_are_read_as_the_bag_defines_them(tmp_path: Path) -> None:
    """An unknown type, another definition of a known type, and definitions that cannot be read."""
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        definitions = {
            "/heat": ("lab_msgs/msg/Heat", "float64 kelvin\nstring where\n"),
            "/status": ("react_ros/msg/Stage", "uint8 number\nstring name\n"),
            "/broken": ("lab_msgs/msg/Broken", "float64 99 {{\n"),
            "/half": ("lab_msgs/msg/Half", "other_msgs/Unknown it\n"),
        }
        for topic, (kind, text) in definitions.items():
            connection = writer.add_connection(topic, kind, msgdef=text, rihs01="RIHS01_0")
            types = get_types_from_msg(text, kind) if topic in ("/heat", "/status") else {}
            fields = {"/heat": (300.0, "here"), "/status": (7, "camera")}.get(topic, ())
            own = get_typestore(Stores.EMPTY)
            own.register(types)
            data = own.serialize_cdr(own.types[kind](*fields), kind) if types else b"\0\1\0\0\0\0\0\0"
            writer.write(connection, 1, data)
        plain = writer.add_connection(SHAPES, KIND, typestore=typestore())
        writer.write(plain, 2, shapes(2))
    with Bag(tmp_path / "bag") as bag:
        found = {t.name: t.known for t in bag.topics.values()}
        assert found == {"/heat": True, "/status": True, "/broken": False, "/half": False, SHAPES: True}
        (heat,), (status,) = ([m.message for m in bag.messages([topic])] for topic in ("/heat", "/status"))
        assert (heat.kelvin, heat.where, status.number, status.name) == (300.0, "here", 7, "camera")
        assert "react_ros/msg/Stage was recorded with another definition of react_ros/msg/Stage than today's" in (
            bag.notices
        )
        assert len([m for m in bag.messages([SHAPES])]) == 1
        with pytest.raises(BagError, match=r"its type lab_msgs/msg/Half is unknown$"):
            list(bag.messages(["/half"]))


def test_a_topic_that_changes_its_type_is_read_with_its_first_type(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        first = writer.add_connection(SHAPES, KIND, typestore=typestore())
        other = writer.add_connection(SHAPES, "std_msgs/msg/String", typestore=typestore())
        writer.write(first, 1, shapes(1))
        writer.write(other, 2, serialise(new_message("std_msgs/msg/String", data="x")))
        writer.write(first, 3, shapes(3))
    assert numbers(tmp_path / "bag") == [1, 3]


def test_messages_out_of_order_are_read_in_order(tmp_path: Path) -> None:
    frames = person(20)
    messages = [*features(frames[10:]), *features(frames[:10])]
    bag = BagWriter(tmp_path / "bag")
    for topic, kind, time_ns, data in messages:
        bag.write(topic, kind, time_ns, data)
    bag.close()
    with Bag(tmp_path / "bag") as read:
        assert [m.message.lineage.frame for m in read.messages([FEATURES])] == list(range(20))
    assert replay(tmp_path / "bag", tmp_path / "out").reactions == 20


# Bombs ---------------------------------------------------------------------------------------------------------------

CLAIMED = 400_000_000


def bomb(size: int) -> bytes:
    """Bytes of some kB that hold `size` zeros."""
    coder = zstd.ZstdCompressor(level=1)
    zeros = bytes(1 << 22)
    return b"".join([coder.compress(zeros) for _ in range(size >> 22)]) + coder.flush()


def replace_chunk(file: Path, data: bytes, compression: bytes, claims: int) -> None:
    """Replace the one chunk of an mcap file; the file then has no index."""
    whole = file.read_bytes()
    at = whole.index(b"\x06", whole.index(b"ros2") + 4)
    while struct.unpack_from("<Q", whole, at + 1)[0] > len(whole):
        at = whole.index(b"\x06", at + 1)
    head = whole[at + 9 : at + 25] + struct.pack("<QI", claims, 0)
    record = head + struct.pack("<I", len(compression)) + compression + struct.pack("<Q", len(data)) + data
    file.write_bytes(whole[:at] + b"\x06" + struct.pack("<Q", len(record)) + record)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most 600 MB more than now: a bomb that goes off ends in a MemoryError, which no sentence names."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 600_000_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_message_that_expands_to_gigabytes_is_refused(storage: Storage, little_memory: None, tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", storage)
    writer.write(SHAPES, KIND, 1, shapes(1))
    writer.write(SHAPES, KIND, 2, bomb(2_000_000_000))
    writer.close()
    read = []
    with Bag(tmp_path / "bag") as bag, pytest.raises(BagError, match="hold more than 256000000") as error:
        read += list(bag.messages([SHAPES]))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("claims", [100, CLAIMED, 2**63])
@pytest.mark.parametrize("compression", [b"zstd", b"lz4"])
def test_a_chunk_that_holds_more_than_it_claims_or_claims_too_much_is_refused(
    compression: bytes, claims: int, little_memory: None, tmp_path: Path
) -> None:
    fill(writer := BagWriter(tmp_path / "bag"), 5)
    writer.close()
    data = bomb(CLAIMED) if compression == b"zstd" else lz4.frame.compress(bytes(50_000_000))
    replace_chunk(tmp_path / "bag/recording.mcap", data, compression, claims)
    with pytest.raises(BagError) as error, Bag(tmp_path / "bag") as bag:
        list(bag.messages([SHAPES]))
    assert "MemoryError" not in str(error.value) and len(str(error.value)) < 400


def test_a_file_that_expands_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rosbags_internals, "MAX_MESSAGE_BYTES", 10_000_000)
    record_third_party(tmp_path / "bag", "mcap", CompressionMode.FILE)
    (file,) = (tmp_path / "bag").glob("*.zstd")
    file.write_bytes(bomb(200_000_000))
    with pytest.raises(BagError, match="a compressed file holds more than"):
        Bag(tmp_path / "bag")


def test_errors_quote_a_bounded_excerpt(tmp_path: Path) -> None:
    long = "x" * 100_000
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(f"/{long}", f"lab_msgs/msg/{long}", msgdef="float64 x\n" + long, rihs01="R")
        writer.write(connection, 1, b"x" * 100)
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "bag"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and len(result.output) < 2000 and result.output.count("\n") == 1


# The manifest --------------------------------------------------------------------------------------------------------


def test_sessions_with_the_same_configuration_have_the_same_hash() -> None:
    stream = {"generator": "fsq", "parameters": "{}", "weights": "a", "seed": 0, "samples": 1, "delay": 0}
    one = {"parameters": {"/robot/camera": {"start_at": 1.0, "rate": 25.0}, "/robot/recorder": {"path": "a"}},
           "streams": [{**stream, "first_frame": 3}]}  # fmt: skip
    other = {"parameters": {"/robot/camera": {"rate": 25.0, "start_at": 9.5}, "/robot/recorder": {"path": "b"}},
             "streams": [{**stream, "first_frame": 0}]}  # fmt: skip
    assert manifest.config_hash(one) == manifest.config_hash(other)
    for changed in (
        {**one, "streams": [{**stream, "weights": "b"}]},
        {**one, "streams": [{**stream, "seed": 1}]},
        {**one, "parameters": {"/robot/camera": {"rate": 30.0}}},
    ):
        assert manifest.config_hash(changed) != manifest.config_hash(one)
