"""Between ROS messages and the project's own types, with every check that a message from outside must pass.

Messages are whatever has their fields: rclpy's classes on the wire, rosbags' in a bag; nothing here needs ROS.
Each `*_from_*` function raises ValueError with one sentence that says what is wrong and what would be right.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from react_ros import face
from react_ros.face import ARKIT, ARKIT_SCHEME, Face, FaceState, Floats, Reaction, Sound, SoundState, SpeakerFrame

MAX_PIXELS = 4096 * 4096
MAX_CHUNK_SECONDS = 2.0
MAX_STAGES = 64
MAX_SAMPLES = 1000
NAMES = list(ARKIT)

Stages = dict[str, tuple[int, float]]
"""Stage name to (start in ns since the epoch, duration in s), in order."""


# Time


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in ns since the epoch."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


@dataclass(frozen=True, slots=True)
class StampLimits:
    """How far a stamp may lie from now, s."""

    past: float = 5.0
    future: float = 0.5

    def check(self, stamp_ns: int, now_ns: int) -> None:
        ahead = (stamp_ns - now_ns) / 1e9
        if ahead > self.future:
            raise ValueError(f"its stamp is {ahead:.1f} s in the future; at most {self.future:g} s is accepted")
        if -ahead > self.past:
            raise ValueError(f"its stamp is {-ahead:.1f} s old; at most {self.past:g} s is accepted")


# Images

_CHANNELS = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "8UC1": 1,
    "8UC3": 3,
    "mono16": 2,
    "yuv422_yuy2": 2,
    "yuyv": 2,
    "yuv422": 2,
    "uyvy": 2,
    "bayer_rggb8": 1,
    "bayer_bggr8": 1,
    "bayer_gbrg8": 1,
    "bayer_grbg8": 1,
}
"""Bytes of a pixel by sensor_msgs' names; "yuv422" is what ROS called UYVY first."""
_PAIRED = ("yuv422_yuy2", "yuyv", "yuv422", "uyvy")


def image_from_message(message: Any) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB uint8 of a sensor_msgs/Image or CompressedImage."""
    if hasattr(message, "format"):
        return _decompress(message)
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise ValueError(f"encoding {message.encoding[:40]!r} is not one of {', '.join(_CHANNELS)}")
    h, w, step = message.height, message.width, message.step
    _check_size(w, h)
    if step < w * channels:
        raise ValueError(f"a row of {w} pixels in {message.encoding} takes {w * channels} bytes, not {step}")
    if len(message.data) != step * h:
        raise ValueError(f"{h} rows of {step} bytes are {step * h} bytes, not {len(message.data)}")
    if message.encoding in _PAIRED and w % 2:
        raise ValueError(f"{w} pixels in a row of {message.encoding}, which come in pairs")
    rows = np.frombuffer(message.data, np.uint8).reshape(h, step)[:, : w * channels].reshape(h, w, channels)
    if message.encoding == "rgb8":
        return np.ascontiguousarray(rows)
    if message.encoding == "mono16":
        return np.repeat(rows[:, :, 0 if message.is_bigendian else 1, None], 3, axis=2)
    import cv2

    code = {
        "bgr8": cv2.COLOR_BGR2RGB, "8UC3": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_RGBA2RGB, "bgra8": cv2.COLOR_BGRA2RGB,
        "mono8": cv2.COLOR_GRAY2RGB, "8UC1": cv2.COLOR_GRAY2RGB,
        "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2, "yuyv": cv2.COLOR_YUV2RGB_YUY2,
        "yuv422": cv2.COLOR_YUV2RGB_UYVY, "uyvy": cv2.COLOR_YUV2RGB_UYVY,
        # OpenCV names a pattern by its second row and column.
        "bayer_rggb8": cv2.COLOR_BayerBG2RGB, "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
        "bayer_gbrg8": cv2.COLOR_BayerGR2RGB, "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
    }[message.encoding]  # fmt: skip
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows), code), np.uint8)


def _check_size(w: int, h: int) -> None:
    if not 16 <= h <= 8192 or not 16 <= w <= 8192 or h * w > MAX_PIXELS:
        raise ValueError(f"{w} x {h} pixels is not a size between 16 x 16 and 4096 x 4096")


def _coded_size(head: bytes) -> tuple[int, int] | None:
    """(width, height) that a PNG or JPEG claims in its first bytes; None for anything else."""
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    at = 2 if head[:2] == b"\xff\xd8" else len(head)
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            return int.from_bytes(head[at + 7 : at + 9]), int.from_bytes(head[at + 5 : at + 7])
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return None


def _decompress(message: Any) -> npt.NDArray[np.uint8]:
    import cv2

    if not len(message.data):
        raise ValueError("the compressed image is empty")
    if len(message.data) > 64_000_000:
        raise ValueError(f"a compressed image of {len(message.data) / 1e6:.0f} MB is over the limit of 64 MB")
    size = _coded_size(bytes(memoryview(message.data)[:65536]))
    if size is not None:
        _check_size(*size)  # before decoding: a few kB may claim a picture of GBs
    try:
        bgr = None if size is None else cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ValueError(f"the compressed image (format {message.format[:40]!r}) cannot be decoded: JPEG or PNG is")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


# Sound


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of sound as the frame clock takes it."""

    samples: npt.NDArray[np.int16]
    """(n, channels)."""
    rate: int
    first_sample: int


def chunk_from_message(message: Any) -> Chunk:
    return _chunk(np.frombuffer(message.samples, np.int16), message.sample_rate, message.channels, message.first_sample)


def _chunk(samples: npt.NDArray[np.int16], rate: int, channels: int, first_sample: int) -> Chunk:
    if not 8000 <= rate <= 192_000:
        raise ValueError(f"a sample rate of {rate} Hz is not between 8000 and 192000")
    if channels not in (1, 2):
        raise ValueError(f"{channels} channels: sound has 1 or 2")
    if not len(samples):
        raise ValueError("the chunk is empty")
    if len(samples) % channels:
        raise ValueError(f"{len(samples)} samples do not divide into {channels} channels")
    if len(samples) > MAX_CHUNK_SECONDS * rate * channels:
        raise ValueError(
            f"{len(samples) / rate / channels:.1f} s of sound in one chunk; at most {MAX_CHUNK_SECONDS:g} s"
        )
    return Chunk(samples.reshape(-1, channels), rate, first_sample)


class ForeignAudio:
    """Chunks from either package that is called audio_common_msgs (told apart by their fields, not their name).

    ros-drivers: AudioDataStamped {header, audio{data uint8[]}} with rate, channels and format told apart in AudioInfo.
    mgonzs13: AudioStamped {header, audio{audio_data{int16_data, …}, info{format, channels, rate, chunk}}}.
    """

    def __init__(self, rate: int = 16_000, channels: int = 1) -> None:
        self.rate = rate
        self.channels = channels
        self._refused = ""
        self._heard = 0

    def info(self, message: Any) -> None:
        """AudioInfo of ros-drivers. Raises ValueError for coded sound (mp3), which cannot be cut into frames."""
        self._refused = ""
        if message.coding_format and message.coding_format.lower() not in ("wave", "raw", "pcm"):
            self._refused = f"coding format {message.coding_format!r}: start the audio node with format:=wave"
        elif message.sample_format and message.sample_format.upper() != "S16LE":
            self._refused = f"sample format {message.sample_format!r}: only S16LE is understood"
        if self._refused:
            raise ValueError(self._refused)
        self.rate, self.channels = message.sample_rate or self.rate, message.channels or self.channels

    def chunk(self, message: Any) -> Chunk:
        data = message.audio
        if hasattr(data, "audio_data"):
            info, data = data.info, data.audio_data
            self.rate, self.channels = int(info.rate), int(info.channels)
            if len(data.int16_data):
                samples = np.asarray(data.int16_data, np.int16)
            elif len(data.float32_data):
                floats = np.asarray(data.float32_data, np.float32)
                if not np.isfinite(floats).all():
                    raise ValueError("its samples are not finite")
                samples = np.round(np.clip(floats, -1, 1) * 32767).astype(np.int16)
            elif len(data.int32_data):
                samples = (np.asarray(data.int32_data, np.int32) >> 16).astype(np.int16)
            elif len(data.uint8_data):
                samples = ((np.asarray(data.uint8_data, np.int16) - 128) << 8).astype(np.int16)
            else:
                raise ValueError("the chunk is empty or holds 8-bit sound with a sign, which is not understood")
        else:
            if self._refused:
                raise ValueError(self._refused)
            raw = bytes(data.data)
            if len(raw) % 2:
                raise ValueError(f"{len(raw)} bytes are not whole 16-bit samples")
            samples = np.frombuffer(raw, "<i2").astype(np.int16)
        chunk = _chunk(samples, self.rate, self.channels, self._heard)
        self._heard += len(chunk.samples)
        return chunk


# Features and reactions


def _array(values: Any, name: str, length: int) -> Floats:
    out = np.asarray(values, np.float32)
    if len(out) != length:
        raise ValueError(f"{name} has {len(out)} values, not {length}")
    if not np.isfinite(out).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return out


def _check_lineage(lineage: Any) -> None:
    if len(lineage.stages) > MAX_STAGES:
        raise ValueError(f"its lineage has {len(lineage.stages)} stages; at most {MAX_STAGES} are accepted")
    for stage in lineage.stages:
        if not math.isfinite(stage.duration):
            raise ValueError(f"the duration of stage {stage.name[:40]!r} is {stage.duration}")


def _within(out: Floats, name: str, low: float, high: float) -> Floats:
    if out.size and not (out.min() >= low - 1e-4 and out.max() <= high + 1e-4):
        raise ValueError(f"{name} holds a value outside {low:g} to {high:g}")
    return out


def _number(value: float, name: str, low: float, high: float) -> float:
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{name} is {value}, not between {low:g} and {high:g}")
    return value


def _weights(scheme: str, names: Any, values: Any, rows: int, name: str) -> Floats:
    """(rows, 52) in ARKit's order of rows x names weights."""
    if scheme != ARKIT_SCHEME:
        raise ValueError(f"scheme {scheme[:40]!r} is not {ARKIT_SCHEME!r}")
    out = _within(_array(values, name, rows * len(names)), name, 0.0, 1.0).reshape(rows, len(names))
    if names == NAMES:
        return out.copy()
    if not names:
        raise ValueError("no blendshape is named")
    return np.stack([face.arkit_from_names(names, row) for row in out])


def frame_from_message(message: Any) -> SpeakerFrame:
    """The speaker frame in a message from the wire, checked."""
    _check_lineage(message.lineage)
    if message.face_state > max(FaceState):
        raise ValueError(f"face_state {message.face_state} is not one of 0 to {int(max(FaceState))}")
    if message.sound_state > max(SoundState):
        raise ValueError(f"sound_state {message.sound_state} is not one of 0 to {int(max(SoundState))}")
    affect = [_number(message.valence, "valence", -1.01, 1.01), _number(message.arousal, "arousal", -1.01, 1.01)]
    units = _within(_array(message.action_units, "action_units", 15), "action_units", 0.0, 1.0)
    expressions = _within(_array(message.expressions, "expressions", 8), "expressions", 0.0, 1.0)
    embedding = message.speech_embedding
    points = len(message.landmarks)
    if points % 3 or points > 3 * 1000:
        raise ValueError(f"landmarks has {points} values, not x, y, z for at most 1000 points")
    return SpeakerFrame(
        index=message.lineage.frame,
        stamp_ns=nanoseconds(message.header.stamp),
        face=Face(
            state=FaceState(message.face_state),
            blendshapes=_weights(message.scheme, message.names, message.blendshapes, 1, "blendshapes")[0],
            rotation=_within(_array(message.rotation, "rotation", 3), "rotation", -3.2, 3.2),
            translation=_within(_array(message.translation, "translation", 3), "translation", -100.0, 100.0),
            attributes=face.join_attributes(units, np.array(affect, np.float32), expressions),
            landmarks=_array(message.landmarks, "landmarks", points).reshape(-1, 3) if points else None,
            count=message.faces,
        ),
        sound=Sound(
            state=SoundState(message.sound_state),
            mfcc=_array(message.mfcc, "mfcc", 26),
            mfcc_delta=_array(message.mfcc_delta, "mfcc_delta", 26),
            log_energy=_number(message.log_energy, "log_energy", -17.0, 1.0),
            f0=_number(message.f0, "f0", 0.0, 2000.0),
            voicing=_number(message.voicing, "voicing", 0.0, 1.0),
            speech_probability=_number(message.speech_probability, "speech_probability", 0.0, 1.0),
            embedding=_array(embedding, "speech_embedding", len(embedding)) if len(embedding) else None,
        ),
    )


def reaction_from_message(message: Any) -> Reaction:
    """The reaction in a message from the wire, checked."""
    _check_lineage(message.lineage)
    n = message.samples
    if not 1 <= n <= MAX_SAMPLES:
        raise ValueError(f"{n} samples: a reaction has 1 to {MAX_SAMPLES}")
    if message.state not in ("live", "idle"):
        raise ValueError(f"state {message.state[:40]!r} is not live or idle")
    if message.plan < -1:
        raise ValueError(f"plan {message.plan} is not the number of a frame, or -1 for none")
    attributes = _array(message.attributes, "attributes", n * face.ATTRIBUTES).reshape(n, -1)
    _within(attributes[:, face.AU], "attributes (action units)", 0.0, 1.0)
    _within(attributes[:, face.EXPRESSIONS], "attributes (expressions)", 0.0, 1.0)
    return Reaction(
        index=message.lineage.frame,
        stamp_ns=nanoseconds(message.header.stamp),
        blendshapes=_weights(message.scheme, message.names, message.blendshapes, n, "blendshapes"),
        rotation=_within(_array(message.rotation, "rotation", n * 3), "rotation", -3.2, 3.2).reshape(n, 3),
        translation=_within(_array(message.translation, "translation", n * 3), "translation", -10, 10).reshape(n, 3),
        attributes=_within(attributes, "attributes", -1.0, 1.0),
        live=message.state == "live",
        plan=message.plan,
    )


class Wire:
    """Builds the project's messages, in the classes of whoever sends or writes them.

    new: makes a message of a type ("react_ros/msg/Stage") from its fields, the others empty.
    floats: makes what a float32[] field holds of an array, copied.
    """

    def __init__(self, new: Callable[..., Any], floats: Callable[[Floats], Any]) -> None:
        self._new = new
        self._floats = floats

    def time(self, ns: int) -> Any:
        """builtin_interfaces/Time of ns since the epoch."""
        sec, nanosec = divmod(int(ns), 1_000_000_000)
        return self._new("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)

    def header(self, stamp: Any, frame_id: str = "") -> Any:
        """std_msgs/Header with a Time."""
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def stages(self, stages: Stages) -> list[Any]:
        """A lineage's stages."""
        return [
            self._new("react_ros/msg/Stage", name=name, start=self.time(start), duration=float(duration))
            for name, (start, duration) in stages.items()
        ]

    def speaker(self, frame: SpeakerFrame, stages: Stages, source_ns: int, landmarks: bool = False) -> Any:
        """SpeakerFeatures of a speaker frame; source_ns: when the sensor saw or heard it."""
        f, s, floats = frame.face, frame.sound, self._floats
        lineage = self._new(
            "react_ros/msg/Lineage",
            frame=frame.index,
            source_stamp=self.time(source_ns),
            stages=self.stages(stages),
        )
        more = {}
        if landmarks and f.landmarks is not None:
            more["landmarks"] = floats(f.landmarks.ravel())
        if s.embedding is not None:
            more["speech_embedding"] = floats(s.embedding)
        valence, arousal = (float(v) for v in f.attributes[face.VA])
        return self._new(
            "react_ros/msg/SpeakerFeatures",
            header=self.header(self.time(frame.stamp_ns)),
            lineage=lineage,
            face_state=int(f.state),
            faces=f.count,
            scheme=ARKIT_SCHEME,
            names=NAMES,
            blendshapes=floats(f.blendshapes),
            rotation=f.rotation,
            translation=f.translation,
            action_units=f.attributes[face.AU],
            valence=valence,
            arousal=arousal,
            expressions=f.attributes[face.EXPRESSIONS],
            sound_state=int(s.state),
            mfcc=floats(s.mfcc),
            mfcc_delta=floats(s.mfcc_delta),
            log_energy=float(s.log_energy),
            f0=float(s.f0),
            voicing=float(s.voicing),
            speech_probability=float(s.speech_probability),
            **more,
        )

    def continued(self, lineage: Any, stages: Stages, generator: str = "", seed: int = 0) -> Any:
        """A lineage with further stages, and with the generator where it passes the listener."""
        return self._new(
            "react_ros/msg/Lineage",
            frame=lineage.frame,
            source_stamp=lineage.source_stamp,
            stages=[*lineage.stages, *self.stages(stages)],
            generator=generator or lineage.generator,
            seed=seed if generator else lineage.seed,
        )

    def reaction(self, reaction: Reaction, lineage: Any, delay: int = 0, notice: str = "") -> Any:
        """The Reaction message. delay: frames; notice: what a viewer must know of the generator."""
        floats = self._floats
        return self._new(
            "react_ros/msg/Reaction",
            header=self.header(lineage.source_stamp),
            lineage=lineage,
            samples=reaction.samples,
            delay=delay,
            notice=notice,
            plan=reaction.plan,
            state="live" if reaction.live else "idle",
            scheme=ARKIT_SCHEME,
            names=NAMES,
            blendshapes=floats(reaction.blendshapes.ravel()),
            rotation=floats(reaction.rotation.ravel()),
            translation=floats(reaction.translation.ravel()),
            attributes=floats(reaction.attributes.ravel()),
        )

    def face(
        self, blendshapes: Floats, rotation: Floats, translation: Floats, attributes: Floats, lineage: Any
    ) -> tuple[Any, Any, Any]:
        """Blendshapes, FaceModel and Affect of a face: (52,), (3,) rad, (3,) m and (25,)."""
        shared = {"header": self.header(lineage.source_stamp), "lineage": lineage}
        valence, arousal = (float(v) for v in attributes[face.VA])
        return (
            self._new(
                "react_ros/msg/Blendshapes",
                scheme=ARKIT_SCHEME,
                names=NAMES,
                weights=self._floats(blendshapes),
                **shared,
            ),
            self._new(
                "react_ros/msg/FaceModel",
                scheme=ARKIT_SCHEME,
                expression=blendshapes,
                rotation=rotation,
                translation=translation,
                **shared,
            ),
            self._new(
                "react_ros/msg/Affect",
                action_unit_names=list(face.ACTION_UNIT_NAMES),
                action_units=attributes[face.AU],
                valence=valence,
                arousal=arousal,
                expression_names=list(face.EXPRESSION_NAMES),
                expressions=attributes[face.EXPRESSIONS],
                **shared,
            ),
        )


class Stopwatch:
    """Times one stage for the lineage."""

    def __init__(self) -> None:
        self.start_ns = time.time_ns()
        self._start = time.perf_counter()

    def read(self) -> tuple[int, float]:
        """(start in ns since the epoch, duration so far in s)."""
        return self.start_ns, time.perf_counter() - self._start
