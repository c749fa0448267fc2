"""The perception pipeline: frames of the clock in, speaker frames out."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import soundfile
from footage import Image, first_image, images

from react_ros import assets
from react_ros.cli.bench_perception import bench_perception
from react_ros.clock.types import ClockFrame
from react_ros.face import ATTRIBUTE_INDEX, FRAME_NS, FaceState, SoundState, SpeakerFrame
from react_ros.perception.pipeline import Perception, PerceptionConfig


@pytest.fixture(scope="module")
def perception():
    perception = Perception(PerceptionConfig(landmarks=True))
    yield perception
    perception.close()


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    samples, rate = soundfile.read(assets.resolve("demo-voice-1"), dtype="float32")
    assert rate == 16_000
    return samples[: len(samples) // 640 * 640].reshape(-1, 640)


def clock_frame(k: int, image: Image | None, new: bool = True, sound=None, stale: bool = False) -> ClockFrame:
    stamp = 10**18 + k * FRAME_NS
    heard = 0.0 if sound is None else 1.0
    sound = np.zeros(640, np.float32) if sound is None else sound
    return ClockFrame(k, stamp, image, None if image is None else stamp, new, sound, heard, stale, False)


def film(voice: np.ndarray, name: str = "footage-single-face-video", count: int = 40) -> list[ClockFrame]:
    pictures = itertools.islice(images(name), count)
    return [clock_frame(k, image, sound=voice[k]) for k, (_, image) in enumerate(pictures)]


def same_bits(a: SpeakerFrame, b: SpeakerFrame) -> bool:
    def parts(frame: SpeakerFrame) -> list[Any]:
        return [getattr(part, f.name) for part in (frame.face, frame.sound) for f in dataclasses.fields(part)]

    return all(x is y or np.array_equal(x, y) for x, y in zip(parts(a), parts(b), strict=True))


def test_a_talking_face_gives_frames_with_a_tracked_face_and_speech(perception, voice):
    perception.reset()
    frames = [perception.process(f)[0] for f in film(voice)]
    assert [f.index for f in frames] == list(range(40))
    assert frames[0].face.state == FaceState.NOBODY and frames[-1].face.state == FaceState.TRACKED
    assert frames[-1].face.attributes[ATTRIBUTE_INDEX["happy"]] > 0.5
    assert frames[-1].face.landmarks is not None and frames[-1].face.landmarks.shape == (478, 3)
    assert any(f.sound.state == SoundState.SPEECH for f in frames)
    assert all(f.sound.embedding is None for f in frames)


def test_the_same_frames_give_the_same_bits(perception, voice):
    runs = []
    for _ in range(2):
        perception.reset()
        runs.append([perception.process(f)[0] for f in film(voice, count=20)])
    assert all(same_bits(a, b) for a, b in zip(*runs, strict=True))


def test_a_frame_without_a_new_image_holds_the_last_values_and_does_not_look_again(perception, voice):
    perception.reset()
    image = first_image("footage-single-face-photo")
    for k in range(5):
        seen, stages = perception.process(clock_frame(k, image))
    assert seen.face.state == FaceState.TRACKED and {"face", "affect"} <= set(stages)
    held, stages = perception.process(clock_frame(5, image, new=False))
    assert held.face.state == FaceState.HELD
    assert not {"face", "affect"} & set(stages)
    assert np.array_equal(held.face.blendshapes, seen.face.blendshapes)
    assert seen.face.state == FaceState.TRACKED, "a frame that was given away does not change"
    assert perception.process(clock_frame(6, image))[0].face.state == FaceState.TRACKED


def test_no_image_or_a_stale_one_is_missing_and_at_rest(perception):
    perception.reset()
    image = first_image("footage-single-face-photo")
    assert perception.process(clock_frame(0, None, new=False))[0].face.state == FaceState.MISSING
    for k in range(1, 6):
        perception.process(clock_frame(k, image))
    missing = perception.process(clock_frame(6, image, new=False, stale=True))[0].face
    assert missing.state == FaceState.MISSING and not missing.state.present
    assert not missing.blendshapes.any() and missing.attributes[ATTRIBUTE_INDEX["neutral"]] == 1


def test_a_speaker_who_leaves_is_lost_with_the_last_values_and_then_nobody_at_rest(perception):
    perception.reset()
    image, empty = first_image("footage-single-face-photo"), np.zeros((480, 640, 3), np.uint8)
    for k in range(6):
        last = perception.process(clock_frame(k, image))[0].face
    lost = perception.process(clock_frame(6, empty))[0].face
    assert lost.state == FaceState.LOST and np.array_equal(lost.blendshapes, last.blendshapes) and lost.count == 0
    assert perception.process(clock_frame(7, empty, new=False))[0].face.state == FaceState.LOST
    gone = [perception.process(clock_frame(k, empty))[0].face for k in range(8, 50)][-1]
    assert gone.state == FaceState.NOBODY and not gone.blendshapes.any()


def test_sound_that_is_not_there_is_missing_whatever_the_face_does(perception):
    perception.reset()
    frame = perception.process(clock_frame(0, None, new=False))[0]
    assert frame.sound.state == SoundState.MISSING


def test_each_stage_has_its_start_and_duration(perception, voice):
    perception.reset()
    stages = [perception.process(f)[1] for f in film(voice, count=6)][-1]
    assert set(stages) == {"face", "affect", "speech", "acoustics"}
    starts = [stages[name][0] for name in ("face", "affect", "speech", "acoustics")]
    assert starts == sorted(starts)
    assert all(0 < duration < 1 for _, duration in stages.values())


def test_an_image_of_another_kind_is_refused_and_the_next_one_is_seen(perception):
    perception.reset()
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        perception.process(clock_frame(0, np.zeros((480, 640), np.uint8)))
    image = first_image("footage-single-face-photo")
    assert [perception.process(clock_frame(k, image))[0].face.state for k in range(1, 7)][-1] == FaceState.TRACKED


def test_the_benchmark_times_every_part_of_every_frame():
    figures = bench_perception(seconds=1)
    assert set(figures) == {"face", "affect", "speech", "acoustics", "total"}
    assert all(0 < f["p50"] <= f["p95"] <= f["p99"] for f in figures.values())
    assert {f["n"] for f in figures.values()} == {25}
    with pytest.raises(ValueError, match="too short"):
        bench_perception(seconds=0.1)


def test_a_configuration_that_makes_no_sense_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="max_faces is 0"):
        PerceptionConfig(max_faces=0)
    with pytest.raises(assets.MissingAsset, match=r"no\.task, does not exist"):
        Perception(PerceptionConfig(model=tmp_path / "no.task"))
    with pytest.raises(FileNotFoundError, match=r"no\.safetensors"):
        Perception(PerceptionConfig(wav2vec2=tmp_path / "no.safetensors"))
