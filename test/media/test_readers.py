"""Times of pictures and sound read from films: offsets and gaps are kept; errors are one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from films import gray, write_film

from react_ros.media.errors import MediaError
from react_ros.media.film_reader import film_times
from react_ros.media.sound_reader import sound_blocks, sound_rate
from react_ros.sensors.camera import CameraConfig, open_camera


def noise(seconds: float, rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(0).integers(-9000, 9000, round(seconds * rate)).astype(np.int16)


def pictures(start: float, seconds: float = 1.0, fps: float = 30.0):
    return [(start + i / fps, gray(0.5)) for i in range(round(seconds * fps))]


def test_blocks_are_the_sound_sample_by_sample(tmp_path: Path) -> None:
    sound = noise(1.01)
    path = write_film(tmp_path / "a.mkv", pictures(0.0), sound)
    blocks = list(sound_blocks(path))
    assert np.array_equal(np.concatenate([b.pcm for b in blocks])[:, 0], sound)
    assert {len(b.pcm) for b in blocks[:-1]} == {320} and sound_rate(path) == 16_000
    for block in blocks:
        assert block.time_ns == pytest.approx(block.first_sample * 1e9 / 16_000, abs=1e6)


@pytest.mark.parametrize(("video", "audio"), [(0.0, 0.3), (0.25, 0.0), (1.5, 1.5), (2.0, 1.0)])
def test_an_offset_between_picture_and_sound_is_kept(tmp_path: Path, video: float, audio: float) -> None:
    path = write_film(tmp_path / "a.mkv", pictures(video), noise(1.0), sound_from=audio)
    apart = next(iter(sound_blocks(path))).time_ns - film_times(path).pictures_ns
    assert apart / 1e9 == pytest.approx(audio - video, abs=0.002)


def test_a_film_without_a_length_says_so_and_one_with_it_too(tmp_path: Path) -> None:
    times = film_times(write_film(tmp_path / "a.mp4", pictures(0.0, 2.0), None))
    assert not times.sound and times.stop_ns is not None and times.stop_ns / 1e9 == pytest.approx(2.0, abs=0.05)


def test_a_gap_in_the_timestamps_is_a_gap_in_the_sample_index(tmp_path: Path) -> None:
    sound = noise(1.0)
    path = tmp_path / "a.mkv"
    import av

    container = av.open(str(path), "w")
    stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
    for at in (0, 4000, 12_000):  # 4000 samples each: half a second is missing
        frame = av.AudioFrame.from_ndarray(sound[None, at : at + 4000], "s16", "mono")
        frame.sample_rate, frame.pts = 16_000, at
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    container.close()
    blocks = list(sound_blocks(path))
    for block in blocks:
        at = block.first_sample
        assert np.array_equal(block.pcm[:, 0], sound[at : at + len(block.pcm)])
        assert block.time_ns == pytest.approx(at * 1e9 / 16_000, abs=1e6)
    assert sum(len(b.pcm) for b in blocks) == 12_000


@pytest.mark.parametrize("turned", [0, 90, 180, -90])
def test_a_phone_film_is_rotated_upright(tmp_path: Path, turned: int) -> None:
    upright = np.zeros((96, 64, 3), np.uint8)
    upright[:32] = 255  # white above
    lying = np.ascontiguousarray(np.rot90(upright, -turned // 90))
    path = write_film(tmp_path / "a.mp4", [(i / 25, lying) for i in range(3)], turned=turned)
    camera = open_camera(CameraConfig(str(path), 0, 0))
    image = next(iter(camera)).image
    camera.close()
    assert image.shape == upright.shape and np.abs(image.astype(int) - upright).mean() < 2


def test_a_file_that_is_no_film_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"nothing" * 100)
    with pytest.raises(MediaError, match=r"bad\.mp4 cannot be read as a film"):
        film_times(tmp_path / "bad.mp4")
    with pytest.raises(MediaError, match=r"bad\.mp4 cannot be read as sound"):
        list(sound_blocks(tmp_path / "bad.mp4"))
    silent = write_film(tmp_path / "a.mp4", pictures(0.0))
    for read in (sound_rate, lambda path: list(sound_blocks(path))):
        with pytest.raises(MediaError, match=r"a\.mp4 has no sound in it"):
            read(silent)
