"""Invalid messages on any topic are dropped, counted and named; the next valid one is answered."""

from __future__ import annotations

import os
import signal
import time
from array import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from react_ros import assets
from react_ros.face import ARKIT, Face, FaceState, Reaction, Sound, SoundState, SpeakerFrame, join_attributes
from react_ros.media.sound_reader import read_sound
from react_ros.messages.audio import chunk_from_message
from react_ros.messages.features import frame_from_message, reaction_from_message
from react_ros.messages.images import image_from_message
from react_ros.messages.stamps import StampLimits, nanoseconds
from react_ros.msg import AudioChunk, Lineage, SpeakerFeatures, Stage, Status
from react_ros.msg import Reaction as ReactionMessage
from react_ros.nodes.messages import FACTORY, audio_message, image_message
from react_ros.sensors.camera import CameraConfig, open_camera

NAN = float("nan")
HOUR_NS = 3600 * 10**9
NAMES: list[str] = list(ARKIT)


# Good messages, stamped now


def features() -> SpeakerFeatures:
    return FACTORY.speaker(SpeakerFrame(index=7, stamp_ns=time.time_ns()), {"face": (1, 0.01)}, time.time_ns())


def reaction(samples: int = 1, frame: int = 7) -> ReactionMessage:
    shapes, rotation, translation, attributes = (np.zeros((samples, n), np.float32) for n in (52, 3, 3, 25))
    lineage = Lineage(frame=frame, source_stamp=FACTORY.time(time.time_ns()), generator="mime")
    return FACTORY.reaction(Reaction(frame, time.time_ns(), shapes, rotation, translation, attributes), lineage)


def image(rgb: np.ndarray | None = None) -> Image:
    rgb = np.zeros((48, 64, 3), np.uint8) if rgb is None else rgb
    return image_message(rgb, FACTORY.time(time.time_ns()), "camera")


def jpeg(rgb: np.ndarray | None = None, name: str = ".jpg") -> CompressedImage:
    coded = cv2.imencode(name, np.zeros((48, 64, 3), np.uint8) if rgb is None else rgb[:, :, ::-1])[1]
    return compressed(coded.tobytes())


def compressed(data: bytes) -> CompressedImage:
    message = CompressedImage(format="jpeg", data=array("B", data))
    message.header.stamp = FACTORY.time(time.time_ns())
    return message


def sound(channels: int = 1) -> AudioChunk:
    return audio_message(time.time_ns() - 20_000_000, 16_000, 0, np.zeros((320, channels), np.int16))


# Bad ones: field by field, each with what its reason must name


def changed(good: Callable[[], Any], **fields: Any) -> Callable[[], Any]:
    def build() -> Any:
        message = good()
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    return build


def stamped(good: Callable[[], Any], offset_ns: int) -> Callable[[], Any]:
    def build() -> Any:
        message = good()
        message.header.stamp = FACTORY.time(time.time_ns() + offset_ns)
        return message

    return build


def listed(value: float, length: int, at: int = 3) -> array:
    out = array("f", [0.0] * length)
    out[at] = value
    return out


def fixed(value: float, length: int) -> np.ndarray:
    return np.array([0.0] * (length - 1) + [value], np.float32)


def stages(*durations: float) -> Lineage:
    return Lineage(frame=7, stages=[Stage(name="odd", duration=d) for d in durations])


def claims(picture: bytes, width: int, height: int) -> bytes:
    """A PNG or JPEG with another size in its header."""
    out = bytearray(picture)
    if picture[:4] == b"\x89PNG":
        out[16:24] = width.to_bytes(4) + height.to_bytes(4)
    else:
        at = picture.index(b"\xff\xc0")
        out[at + 5 : at + 9] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(out)


PNG, JPEG = (bytes(jpeg(name=n).data) for n in (".png", ".jpg"))
BIG = image(np.zeros((1080, 1920, 3), np.uint8))
BIG.data = BIG.data[:-1]  # 6 MB

Bad = dict[str, tuple[Callable[[], Any], str]]


def stamps(good: Callable[[], Any]) -> Bad:
    return {
        "from the future": (stamped(good, 60 * 10**9), "s in the future; at most 0.5 s is accepted"),
        "an hour old": (stamped(good, -HOUR_NS), "its stamp is 3600.0 s old; at most"),
        "never stamped": (stamped(good, -time.time_ns()), "s old; at most"),
    }


BAD: dict[str, Bad] = {
    "image_raw": {
        "unknown encoding": (changed(image, encoding="rgb16"), "encoding 'rgb16' is not one of rgb8, bgr8"),
        "no encoding": (changed(image, encoding=""), "encoding ''"),
        "depth": (changed(image, encoding="32FC1"), "encoding '32FC1'"),
        "no data": (changed(image, data=array("B")), "48 rows of 192 bytes are 9216 bytes, not 0"),
        "a byte too few": (changed(image, data=array("B", bytes(9215))), "9216 bytes, not 9215"),
        "a byte too many": (changed(image, data=array("B", bytes(9217))), "9216 bytes, not 9217"),
        "short rows": (changed(image, step=191), "a row of 64 pixels in rgb8 takes 192 bytes, not 191"),
        "no width": (changed(image, width=0), "0 x 48 pixels is not a size"),
        "no height": (changed(image, height=0), "64 x 0 pixels is not a size"),
        "claims 100 MB of pixels": (changed(image, width=8000, height=4200, step=24_000), "8000 x 4200 pixels"),
        "claims 100 MB of rows": (changed(image, width=4096, height=4096, step=25_000), "102400000 bytes, not 9216"),
        "claims all there is": (changed(image, width=2**32 - 1, height=2**32 - 1, step=2**32 - 1), "not a size"),
        "half a pair": (changed(image, encoding="yuv422_yuy2", width=65, step=192), "which come in pairs"),
        "no chroma": (changed(image, encoding="nv12", width=64, step=64), "in nv12 are 4608 bytes, not 9216"),
        "half a square": (changed(image, encoding="nv21", width=63, step=128), "which come in squares of 2 x 2"),
        "6 MB and a byte too few": (lambda: changed_stamp(BIG), "6220800 bytes, not 6220799"),
        **stamps(image),
    },
    "image_raw/compressed": {
        "empty": (lambda: compressed(b""), "the compressed image is empty"),
        "noise": (lambda: compressed(bytes(range(256)) * 40), "cannot be decoded: JPEG or PNG is"),
        "a head alone": (lambda: compressed(PNG[:26]), "cannot be decoded"),
        "JPEG's head alone": (lambda: compressed(JPEG[:4]), "cannot be decoded"),
        "another format": (lambda: jpeg(name=".bmp"), "cannot be decoded: JPEG or PNG is"),
        "a PNG that claims 1.2 GB": (lambda: compressed(claims(PNG, 20_000, 20_000)), "20000 x 20000 pixels"),
        "a JPEG that claims 12 GB": (lambda: compressed(claims(JPEG, 65_000, 65_000)), "65000 x 65000 pixels"),
        "too small": (lambda: jpeg(np.zeros((1, 1, 3), np.uint8), ".png"), "1 x 1 pixels is not a size"),
        **stamps(jpeg),
    },
    "audio": {
        "rate 0": (changed(sound, sample_rate=0), "a sample rate of 0 Hz is not between 6000 and 192000"),
        "rate too low": (changed(sound, sample_rate=5_999), "5999 Hz is not between"),
        "rate too high": (changed(sound, sample_rate=2**32 - 1), "4294967295 Hz"),
        "no channel": (changed(sound, channels=0), "0 channels: sound has 1 to 64"),
        "65 channels": (changed(sound, channels=65), "65 channels: sound has 1 to 64"),
        "no sound": (changed(sound, pcm=array("h")), "the chunk is empty"),
        "half a pair": (changed(sound, channels=2, pcm=array("h", [0] * 321)), "do not divide into 2"),
        "4 MB in a chunk": (changed(sound, pcm=array("h", [0]) * 2_000_000), "125.0 s of sound in one chunk"),
        **stamps(sound),
    },
    "speaker/features": {
        "blendshape NaN": (changed(features, blendshapes=listed(NAN, 52)), "blendshapes holds a value that is not fin"),
        "blendshape 1.5": (changed(features, blendshapes=listed(1.5, 52)), "blendshapes holds a value outside 0 to 1"),
        "blendshape inf": (changed(features, blendshapes=listed(float("inf"), 52)), "not finite"),
        "51 blendshapes": (changed(features, blendshapes=array("f", [0.0] * 51)), "blendshapes has 51 values, not 52"),
        "no blendshapes": (changed(features, blendshapes=array("f")), "blendshapes has 0 values, not 52"),
        "51 names": (changed(features, names=NAMES[:51]), "blendshapes has 52 values, not 51"),
        "no names": (changed(features, names=[], blendshapes=array("f")), "no blendshape is named"),
        "unknown name": (changed(features, names=[*NAMES[:51], "smile"]), "unknown blendshape 'smile'"),
        "name twice": (changed(features, names=[*NAMES[:51], NAMES[0]]), "blendshape 'eyeBlinkLeft' is named twice"),
        "another scheme": (changed(features, scheme="faceverse"), "scheme 'faceverse' is not 'arkit52'"),
        "no scheme": (changed(features, scheme=""), "scheme '' is not 'arkit52'"),
        "rotation NaN": (changed(features, rotation=fixed(NAN, 3)), "rotation holds a value that is not finite"),
        "rotation in degrees": (changed(features, rotation=fixed(30.0, 3)), "rotation holds a value outside -3.2 to 3"),
        "translation NaN": (changed(features, translation=fixed(NAN, 3)), "translation holds"),
        "translation in mm": (changed(features, translation=fixed(-600.0, 3)), "translation holds a value outside"),
        "AU NaN": (changed(features, action_units=fixed(NAN, 15)), "action_units holds a value that is not finite"),
        "AU from 0 to 5": (changed(features, action_units=fixed(3.0, 15)), "action_units holds a value outside 0 to 1"),
        "valence NaN": (changed(features, valence=NAN), "valence is nan"),
        "arousal 2": (changed(features, arousal=2.0), "arousal is 2.0, not between"),
        "expression NaN": (changed(features, expressions=fixed(NAN, 8)), "expressions holds a value that is not"),
        "13 MFCC": (changed(features, mfcc=array("f", [0.0] * 13)), "mfcc has 13 values, not 26"),
        "MFCC NaN": (changed(features, mfcc=listed(NAN, 26)), "mfcc holds a value that is not finite"),
        "no MFCC delta": (changed(features, mfcc_delta=array("f")), "mfcc_delta has 0 values, not 26"),
        "energy NaN": (changed(features, log_energy=NAN), "log_energy is nan"),
        "f0 negative": (changed(features, f0=-1.0), "f0 is -1.0"),
        "voicing 2": (changed(features, voicing=2.0), "voicing is 2.0"),
        "speech NaN": (changed(features, speech_probability=NAN), "speech_probability is nan"),
        "embedding NaN": (changed(features, speech_embedding=listed(NAN, 768)), "speech_embedding holds"),
        "landmarks torn": (changed(features, landmarks=array("f", [0.0] * 4)), "landmarks has 4 values, not x, y, z"),
        "1 MB of landmarks": (changed(features, landmarks=array("f", [0.0]) * 300_000), "at most 1000 points"),
        "landmarks NaN": (changed(features, landmarks=listed(NAN, 6)), "landmarks holds"),
        "face_state 9": (changed(features, face_state=9), "face_state 9 is not one of 0 to 4"),
        "sound_state 9": (changed(features, sound_state=9), "sound_state 9 is not one of 0 to 2"),
        "endless lineage": (changed(features, lineage=stages(*[0.0] * 65)), "lineage has 65 stages; at most 64"),
        "stage NaN": (changed(features, lineage=stages(NAN)), "the duration of stage 'odd' is nan"),
        **stamps(features),
    },
    "listener/reaction": {
        "no sample": (changed(reaction, samples=0), "0 samples: a reaction has 1 to 1000"),
        "all samples": (changed(reaction, samples=2**32 - 1), "4294967295 samples"),
        "claims 100 MB": (changed(reaction, samples=1000), "has 25 values, not 25000"),
        "action_chunk -2": (changed(reaction, action_chunk=-2), "action_chunk -2 is not the number of a frame, or -1"),
        "asleep": (changed(reaction, state="asleep"), "state 'asleep' is not live or idle"),
        "another scheme": (changed(reaction, scheme="faceverse"), "scheme 'faceverse' is not 'arkit52'"),
        "unknown name": (changed(reaction, names=["smile", *NAMES[1:]]), "unknown blendshape 'smile'"),
        "name twice": (changed(reaction, names=[NAMES[1], *NAMES[1:]]), "is named twice"),
        "no names": (changed(reaction, names=[], blendshapes=array("f")), "no blendshape is named"),
        "blendshape NaN": (changed(reaction, blendshapes=listed(NAN, 52)), "blendshapes holds a value that is not fin"),
        "blendshape -1": (changed(reaction, blendshapes=listed(-1.0, 52)), "blendshapes holds a value outside 0 to 1"),
        "51 blendshapes": (changed(reaction, blendshapes=array("f", [0.0] * 51)), "blendshapes has 51 values, not 52"),
        "rotation NaN": (changed(reaction, rotation=listed(NAN, 3, 0)), "rotation holds"),
        "two rotations": (changed(reaction, rotation=array("f", [0.0] * 6)), "rotation has 6 values, not 3"),
        "translation in mm": (changed(reaction, translation=listed(20.0, 3, 0)), "translation holds a value outside"),
        "58 attributes": (changed(reaction, attributes=array("f", [0.0] * 58)), "attributes has 58 values, not 25"),
        "AU negative": (changed(reaction, attributes=listed(-0.5, 25)), "attributes (action units) holds a value out"),
        "valence 2": (changed(reaction, attributes=listed(2.0, 25, 15)), "attributes holds a value outside -1 to 1"),
        "attribute NaN": (changed(reaction, attributes=listed(NAN, 25)), "attributes holds a value that is not finite"),
        "stage NaN": (changed(reaction, lineage=stages(NAN)), "the duration of stage 'odd' is nan"),
        **stamps(reaction),
    },
}  # fmt: skip


def changed_stamp(message: Any) -> Any:
    message.header.stamp = FACTORY.time(time.time_ns())
    return message


READERS: dict[str, tuple[Callable[[Any], Any], StampLimits, type]] = {
    "image_raw": (image_from_message, StampLimits(), Image),
    "image_raw/compressed": (image_from_message, StampLimits(), CompressedImage),
    "audio": (chunk_from_message, StampLimits(), AudioChunk),
    "speaker/features": (frame_from_message, StampLimits(), SpeakerFeatures),
    "listener/reaction": (reaction_from_message, StampLimits(past=30.0), ReactionMessage),
}


@pytest.mark.parametrize(("topic", "case"), [(topic, case) for topic, bad in BAD.items() for case in bad])
def test_a_bad_message_is_refused_with_a_sentence_that_names_what_is_wrong(topic: str, case: str):
    build, expected = BAD[topic][case]
    read, limits, kind = READERS[topic]
    message = deserialize_message(serialize_message(build()), kind)
    with pytest.raises(ValueError) as refused:
        limits.check(nanoseconds(message.header.stamp), time.time_ns())
        read(message)
    assert expected in str(refused.value)
    assert len(str(refused.value)) < 200 and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("topic", "good"),
    [
        ("image_raw", image), ("image_raw/compressed", jpeg), ("audio", sound), ("speaker/features", features),
        ("listener/reaction", reaction), ("listener/reaction", lambda: reaction(100)),
        ("audio", lambda: sound(2)), ("audio", changed(sound, first_sample=2**64 - 1)),
    ],
)  # fmt: skip
def test_valid_messages_are_accepted(topic: str, good: Callable[[], Any]):
    read, limits, kind = READERS[topic]
    message = deserialize_message(serialize_message(good()), kind)
    limits.check(nanoseconds(message.header.stamp), time.time_ns())
    read(message)


# Through the wire and back

UNIT = st.floats(0, 1, width=32)
SIGNED = st.floats(-1, 1, width=32)
PLAIN = st.floats(-100, 100, width=32)


def vector(length: int, elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, (length,), elements=elements)


ATTRIBUTES = st.builds(join_attributes, vector(15, UNIT), vector(2, SIGNED), vector(8, UNIT))
FRAMES = st.builds(
    SpeakerFrame,
    index=st.integers(0, 2**63),
    stamp_ns=st.integers(0, 2**31 * 10**9 - 1),
    face=st.builds(
        Face,
        state=st.sampled_from(FaceState),
        blendshapes=vector(52, UNIT),
        rotation=vector(3, SIGNED),
        translation=vector(3, PLAIN),
        attributes=ATTRIBUTES,
        landmarks=st.none() | arrays(np.float32, (478, 3), elements=UNIT, fill=UNIT),
        count=st.integers(0, 16),
    ),
    sound=st.builds(
        Sound,
        state=st.sampled_from(SoundState),
        mfcc=vector(26, PLAIN),
        mfcc_delta=vector(26, PLAIN),
        log_energy=st.floats(-16, 0, width=32),
        f0=st.floats(0, 1000, width=32),
        voicing=UNIT,
        speech_probability=UNIT,
        embedding=st.none() | arrays(np.float32, (768,), elements=PLAIN, fill=PLAIN),
    ),
)


def assert_same(a: Any, b: Any) -> None:
    for name in a.__slots__:
        x, y = getattr(a, name), getattr(b, name)
        if hasattr(x, "__slots__"):
            assert_same(x, y)
        elif isinstance(x, np.ndarray):
            assert y.dtype == np.float32
            np.testing.assert_array_equal(x, y, err_msg=name)
        else:
            assert x == y, name


@settings(max_examples=60, deadline=None)
@given(FRAMES)
def test_a_speaker_frame_arrives_as_it_was_sent(frame: SpeakerFrame):
    message = FACTORY.speaker(frame, {"face": (5, 0.25)}, 10**9, landmarks=True)
    received = deserialize_message(serialize_message(message), SpeakerFeatures)
    assert_same(frame, frame_from_message(received))
    assert [(s.name, s.duration) for s in received.lineage.stages] == [("face", 0.25)]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 10), st.booleans())
def test_a_reaction_arrives_as_it_was_sent(data: st.DataObject, samples: int, live: bool):
    sent = Reaction(
        index=data.draw(st.integers(0, 2**63)),
        stamp_ns=data.draw(st.integers(0, 2**31 * 10**9 - 1)),
        blendshapes=data.draw(arrays(np.float32, (samples, 52), elements=UNIT)),
        rotation=data.draw(arrays(np.float32, (samples, 3), elements=SIGNED)),
        translation=data.draw(arrays(np.float32, (samples, 3), elements=SIGNED)),
        attributes=np.stack([data.draw(ATTRIBUTES) for _ in range(samples)]),
        live=live,
        action_chunk=data.draw(st.integers(-1, 2**63 - 1)),
    )
    lineage = Lineage(frame=sent.index, source_stamp=FACTORY.time(sent.stamp_ns), generator="mime", seed=3)
    received = deserialize_message(serialize_message(FACTORY.reaction(sent, lineage)), ReactionMessage)
    assert_same(sent, reaction_from_message(received))
    assert received.lineage == lineage


@given(st.permutations(NAMES), st.integers(1, 52))
@settings(max_examples=30, deadline=None)
def test_named_weights_come_in_any_order_and_missing_ones_are_0(names: list[str], kept: int):
    message = features()
    message.names = names[:kept]
    message.blendshapes = array("f", [(NAMES.index(name) + 1) / 64 for name in names[:kept]])
    read = frame_from_message(message).face.blendshapes
    assert read.tolist() == [(i + 1) / 64 if name in names[:kept] else 0.0 for i, name in enumerate(NAMES)]


def as_yuyv(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) RGB to (H, W, 2) YUY2: ITU-R BT.601, studio range, one chroma a pair."""
    r, g, b = np.moveaxis(rgb.astype(np.float64), 2, 0)
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    chroma = np.empty_like(y)
    chroma[:, 0::2] = (u[:, 0::2] + u[:, 1::2]) / 2
    chroma[:, 1::2] = (v[:, 0::2] + v[:, 1::2]) / 2
    return np.stack([y, chroma], 2).round().clip(0, 255).astype(np.uint8)


def as_bayer(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """(H, W, 3) RGB to an (H, W, 1) Bayer mosaic; pattern: the four colours of a 2x2 block, row by row."""
    mosaic = np.empty((*rgb.shape[:2], 1), np.uint8)
    for i, letter in enumerate(pattern):
        mosaic[i // 2 :: 2, i % 2 :: 2, 0] = rgb[i // 2 :: 2, i % 2 :: 2, "rgb".index(letter)]
    return mosaic


FLAT = np.broadcast_to(np.array([200, 120, 30], np.uint8), (20, 32, 3))
GREY = np.repeat(np.random.default_rng(1).integers(0, 256, (20, 32, 1), np.uint8), 3, 2)
COLOURS = np.random.default_rng(0).integers(0, 256, (20, 32, 3), np.uint8)
PAIRS = np.repeat(COLOURS[:, ::2], 2, 1)  # chroma is shared by two pixels
ALPHA = np.full((20, 32, 1), 9, np.uint8)


def as_planes(rgb: np.ndarray, chroma: str) -> np.ndarray:
    """(H, W, 3) RGB to (H * 3 / 2, W), one chroma for 2 x 2 pixels. chroma: "uv" (NV12) or "vu" (NV21)."""
    packed = as_yuyv(rgb)
    u, v = packed[::2, 0::2, 1], packed[::2, 1::2, 1]
    return np.concatenate([packed[:, :, 0], np.stack([u, v] if chroma == "uv" else [v, u], 2).reshape(len(u), -1)])


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("counted", [False, True], ids=["rows of pixels", "all rows"])
@pytest.mark.parametrize(("encoding", "chroma"), [("nv12", "uv"), ("nv21", "vu"), ("NV12", "uv")])
def test_an_image_of_planes_is_read_whatever_its_height_counts(encoding: str, chroma: str, counted: bool, padding: int):
    squares = np.repeat(np.repeat(COLOURS[::2, ::2], 2, 0), 2, 1)[:18]
    planes = as_planes(squares, chroma)
    rows = np.concatenate([planes, np.full((len(planes), padding), 200, np.uint8)], 1)
    message = Image(height=27 if counted else 18, width=32, encoding=encoding, step=32 + padding)
    message.data = array("B", rows.tobytes())
    read = image_from_message(deserialize_message(serialize_message(message), Image))
    assert read.shape == squares.shape
    assert np.abs(read.astype(int) - squares).max() <= 4


@pytest.mark.parametrize("big", [False, True], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("white", [65_535, 1023], ids=["16 bits", "10 bits"])
def test_16_bit_values_of_any_range_are_seen(white: int, big: bool):
    shown = np.random.default_rng(3).permutation(np.linspace(0, 255, 64 * 64)).reshape(64, 64)
    values = (shown / 255 * white).astype(">u2" if big else "<u2")
    message = Image(height=64, width=64, encoding="16UC1", step=128, is_bigendian=big)
    message.data = array("B", values.tobytes())
    read = image_from_message(deserialize_message(serialize_message(message), Image))
    assert read.shape == (64, 64, 3) and read.dtype == np.uint8
    assert np.abs(read[:, :, 1].astype(float) - shown).max() < 8, "its brightest hundredth is white"


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize(
    ("encoding", "shown", "coded", "tolerance"),
    [
        ("rgb8", COLOURS, COLOURS, 0),
        ("bgr8", COLOURS, COLOURS[:, :, ::-1], 0),
        ("rgba8", COLOURS, np.concatenate([COLOURS, ALPHA], 2), 0),
        ("bgra8", COLOURS, np.concatenate([COLOURS[:, :, ::-1], ALPHA], 2), 0),
        ("mono8", GREY, GREY[:, :, :1], 0),
        ("yuv422_yuy2", PAIRS, as_yuyv(PAIRS), 4),
        ("yuv422", PAIRS, as_yuyv(PAIRS)[:, :, ::-1], 4),
        ("uyvy", PAIRS, as_yuyv(PAIRS)[:, :, ::-1], 4),
        ("mono16", GREY, np.concatenate([GREY[:, ::-1, :1], GREY[:, :, :1]], 2), 0),
        *((f"bayer_{pattern}8", FLAT, as_bayer(FLAT, pattern), 0) for pattern in ("rggb", "bggr", "gbrg", "grbg")),
    ],
)
def test_an_image_of_any_encoding_is_read_row_by_row(encoding: str, shown, coded, tolerance: int, padding: int):
    h, w, channels = coded.shape
    rows = np.concatenate([coded.reshape(h, -1), np.full((h, padding), 200, np.uint8)], 1)
    message = Image(height=h, width=w, encoding=encoding, step=w * channels + padding)
    message.data = array("B", rows.tobytes())
    read = image_from_message(deserialize_message(serialize_message(message), Image))
    assert read.shape == shown.shape and read.dtype == np.uint8
    assert np.abs(read.astype(int) - shown).max() <= tolerance


# The robot


@pytest.mark.ros
@pytest.mark.slow
def test_running_nodes_drop_count_and_name_every_bad_message_and_answer_the_next_good_one(start_robot):
    robot = start_robot(only=["perception", "listener", "avatar"], watch_hangs=False)
    probe = robot.probe
    shot = next(iter(open_camera(CameraConfig(str(assets.resolve("demo-face"))))))
    voice = read_sound(assets.resolve("demo-voice-1"))[0]
    node = {"image_raw": "perception", "image_raw/compressed": "perception", "audio": "perception",
            "speaker/features": "listener", "listener/reaction": "avatar"}  # fmt: skip
    outputs = ("speaker/features", "listener/reaction", "avatar/status")

    def facts(topic: str) -> dict[str, str]:
        return probe.facts(f"/robot/{node[topic]}")

    def frames(count: int) -> None:
        """Let every node of the chain come around, so that a topic that keeps one message only loses none."""
        seen = {topic: len(probe.messages[topic]) for topic in outputs}
        robot.wait(lambda: all(len(probe.messages[t]) >= n + count for t, n in seen.items()), 10, "the chain")

    # Compressed images first: perception looks for them only where nobody publishes raw ones.
    publishers: dict[str, Any] = {}
    for topic in ("image_raw/compressed", "image_raw", "audio", "speaker/features", "listener/reaction"):
        readers = 2 if topic in outputs else 1  # the probe reads them, too
        publishers[topic] = probe.publisher(topic, READERS[topic][2], readers, 20)

    def tracked(topic: str, good: Callable[[np.ndarray], Any]) -> None:
        probe.clear()
        robot.wait(
            lambda: publishers[topic].publish(good(shot.image))
            or any(f.face_state == FaceState.TRACKED for f in probe["speaker/features"]),
            10, f"a face on {topic}",
        )  # fmt: skip

    tracked("image_raw", image)
    # The first stamp of a topic decides whether its stamps are this machine's clock: then a single odd one is refused.
    publishers["image_raw/compressed"].publish(jpeg(shot.image))
    publishers["audio"].publish(sound())
    frames(3)
    pids = {name: robot.pid(name) for name in robot.runner.children}

    for i in range(max(map(len, BAD.values()))):
        for topic, bad in BAD.items():
            if i < len(bad):
                publishers[topic].publish(list(bad.values())[i][0]())
        frames(5)
    for topic, bad in BAD.items():
        expected = str(len(bad))
        robot.wait(lambda t=topic, w=expected: facts(t).get(f"rejected {t}") == w, 5,
                   f"{expected} messages rejected on {topic}, not {facts(topic).get(f'rejected {topic}')}")  # fmt: skip
        assert list(bad.values())[-1][1] in facts(topic)[f"last rejected {topic}"]
    assert probe["avatar/status"][-1].rejected == len(BAD["listener/reaction"])

    # Odd, but no more than that.
    publishers["image_raw"].publish(image(np.zeros((16, 8192, 3), np.uint8)))
    publishers["speaker/features"].publish(changed(features, names=NAMES[:1], blendshapes=array("f", [1.0]))())
    publishers["listener/reaction"].publish(reaction(1000))
    publishers["audio"].publish(changed(sound, first_sample=2**64 - 1)())
    frames(2)

    # And now good ones.
    publishers["image_raw/compressed"].publish(jpeg(shot.image))
    tracked("image_raw/compressed", jpeg)
    tracked("image_raw", image)
    probe.clear()
    for k in range(25):
        chunk = audio_message(time.time_ns() - 20_000_000, 16_000, 320 * k, voice[320 * k : 320 * (k + 1)])
        publishers["audio"].publish(chunk)
        frames(1)
    assert any(f.sound_state != SoundState.MISSING for f in probe["speaker/features"])
    good = features()
    good.lineage.frame = 4_000_000
    publishers["speaker/features"].publish(good)
    robot.wait(lambda: any(r.lineage.frame == 4_000_000 for r in probe["listener/reaction"]), 5, "an answer")
    os.kill(pids["listener"], signal.SIGSTOP)  # so that the face has no other reaction to show
    publishers["listener/reaction"].publish(reaction(2, 5_000_000))
    robot.wait(
        lambda: any(s.lineage.frame == 5_000_000 and s.state == Status.LIVE for s in probe["avatar/status"]),
        5, "the face to show it",
    )  # fmt: skip
    os.kill(pids["listener"], signal.SIGCONT)
    assert {name: robot.pid(name) for name in robot.runner.children} == pids and not robot.lines
    for topic, bad in BAD.items():
        assert facts(topic)[f"rejected {topic}"] == str(len(bad)), facts(topic)
