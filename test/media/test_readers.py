"""Films and sound files of any make: what they hold is what is read, at its time; errors are one sentence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from films import gray, write_film

from react_ros.media.errors import MediaError
from react_ros.media.film_reader import film_times
from react_ros.media.picture_shape import fit, framed
from react_ros.media.sound_reader import read_sound, sound_blocks, sound_rate
from react_ros.sensors.camera import CameraConfig, open_camera
from react_ros.sensors.microphone import MicrophoneConfig, open_microphone


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


# Pictures


def encoded(
    path: Path, size: tuple[int, int] = (64, 48), *, frames: int = 20, aspect: tuple[int, int] = (1, 1),
    matrix: list[int] | None = None, options: dict[str, str] | None = None, image: np.ndarray | None = None,
) -> Path:  # fmt: skip
    """A film of 25 pictures a second whose k-th is `image`, or of brightness 10 k modulo 250."""
    container: Any = av.open(str(path), "w")
    video: Any = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast", **(options or {})})
    video.width, video.height = size
    video.pix_fmt, video.codec_context.sample_aspect_ratio = "yuv420p", Fraction(*aspect)
    if matrix:
        video.set_display_matrix(matrix)
    for k in range(frames):
        picture = np.full((size[1], size[0], 3), 10 * k % 250, np.uint8) if image is None else image
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = k, Fraction(1, 25)
        container.mux(video.encode(frame))
    container.mux(video.encode(None))
    container.close()
    return path


def shots(path: Path, width: int = 0, height: int = 0) -> list[Any]:
    camera = open_camera(CameraConfig(str(path), width, height))
    out = list(camera)
    camera.close()
    return out


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("raw.h264", {"bf": "0"}),  # no times at all
        ("raw.h264", {"bf": "2"}),
        ("b.avi", {"bf": "3"}),  # times of decoding only
        ("b.mkv", {"bf": "3"}),
        ("b.mp4", {"bf": "3"}),
        ("b.ts", {"bf": "3"}),
    ],
)
def test_pictures_are_40_ms_apart_and_in_order_in_every_container(tmp_path: Path, name: str, options: dict) -> None:
    seen = shots(encoded(tmp_path / name, options=options))
    assert [round(s.time_ns / 1e6) for s in seen] == [40 * k for k in range(20)]
    assert (np.diff([s.image.mean() for s in seen]) > 5).all()
    assert film_times(tmp_path / name).pictures_ns == 0


def test_times_never_go_back_where_recordings_were_joined(tmp_path: Path) -> None:
    one = encoded(tmp_path / "a.ts").read_bytes()
    (tmp_path / "two.ts").write_bytes(one + one)
    times = np.array([s.time_ns for s in shots(tmp_path / "two.ts")]) / 1e6
    assert len(times) == 40 and np.abs(np.diff(times) - 40).max() < 1


CORNER = np.zeros((48, 64, 3), np.uint8)
CORNER[:16, :16] = 255  # white above on the left


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), CORNER),
        ((-1, 0, 0, 1), CORNER[:, ::-1]),  # a front camera
        ((1, 0, 0, -1), CORNER[::-1]),
        ((-1, 0, 0, -1), CORNER[::-1, ::-1]),
        ((0, 1, -1, 0), np.rot90(CORNER, -1)),
        ((0, -1, 1, 0), np.rot90(CORNER, 1)),
        ((0, 1, 1, 0), np.swapaxes(CORNER, 0, 1)),
        ((0, -1, -1, 0), np.rot90(np.swapaxes(CORNER, 0, 1), 2)),
    ],
)
def test_a_film_is_turned_and_mirrored_as_its_display_matrix_says(tmp_path: Path, matrix: tuple, shown: Any) -> None:
    a, b, c, d = (65536 * n for n in matrix)
    path = encoded(tmp_path / "a.mp4", frames=2, image=CORNER, matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30])
    image = shots(path)[0].image
    assert image.shape == shown.shape and np.abs(image.astype(int) - shown).mean() < 4


@pytest.mark.parametrize(("aspect", "size"), [((1, 1), (64, 48)), ((4, 3), (85, 48)), ((3, 4), (64, 64))])
def test_pixels_become_square(tmp_path: Path, aspect: tuple[int, int], size: tuple[int, int]) -> None:
    path = encoded(tmp_path / "a.mp4", frames=2, aspect=aspect)
    assert shots(path)[0].image.shape[1::-1] == size
    assert shots(path, 32, 32)[0].image.shape[1::-1] == tuple(round(32 * n / max(size)) for n in size)
    turned = encoded(tmp_path / "b.mp4", frames=2, aspect=aspect, matrix=[0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30])
    assert shots(turned)[0].image.shape[:2] == size


def test_a_film_may_change_its_size(tmp_path: Path) -> None:
    one, two = (encoded(tmp_path / f"{w}.ts", (w, 48)).read_bytes() for w in (64, 96))
    (tmp_path / "both.ts").write_bytes(one + two)
    assert {s.image.shape for s in shots(tmp_path / "both.ts")} == {(48, 64, 3), (48, 96, 3)}
    assert framed(np.full((48, 96, 3), 255, np.uint8), 64, 48).mean(axis=(1, 2)).astype(bool).sum() == 32


def test_a_damaged_place_costs_its_pictures_and_not_the_rest(tmp_path: Path) -> None:
    data = bytearray(encoded(tmp_path / "a.mkv", frames=60, options={"g": "10"}).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    (tmp_path / "b.mkv").write_bytes(data)
    times = [s.time_ns for s in shots(tmp_path / "b.mkv")]
    assert len(times) > 40 and times == sorted(set(times)) and times[-1] == pytest.approx(59 * 40e6, abs=2e6)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_cut_mp4_says_that_it_is_cut(tmp_path: Path, share: float) -> None:
    whole = encoded(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: round(len(whole) * share)])
    for read in (film_times, shots, read_sound):
        with pytest.raises(MediaError, match=r"cut\.mp4 is cut off: .*; copy or record it again"):
            read(tmp_path / "cut.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(MediaError, match=r"empty\.mp4 is empty"):
        shots(tmp_path / "empty.mp4")


def test_fit_squares_and_scales_in_one_step() -> None:
    assert fit(np.zeros((576, 720, 3), np.uint8), 640, 480, 64 / 45).shape == (360, 640, 3)
    assert fit(np.zeros((480, 640, 3), np.uint8), 640, 480).shape == (480, 640, 3)


# Camera and microphone of one film


@pytest.mark.parametrize(("video", "audio"), [(0.0, 0.3), (0.32, 0.0)])
def test_a_film_as_camera_and_microphone_keeps_its_offset_also_when_it_is_looped(
    tmp_path: Path, video: float, audio: float
) -> None:
    path = write_film(tmp_path / "a.mkv", pictures(video, 1.0, 25.0), noise(1.0), sound_from=audio)
    camera = open_camera(CameraConfig(str(path), 0, 0, loop=True))
    microphone = open_microphone(MicrophoneConfig(str(path), loop=True))
    seen = [shot.time_ns / 1e9 for shot, _ in zip(camera, range(75), strict=False)]
    heard = [(b.time_ns / 1e9, b.first_sample) for b, _ in zip(microphone, range(150), strict=False)]
    camera.close()
    length = 1.0 + max(video, audio)
    for turn in range(3):
        assert seen[25 * turn] == pytest.approx(turn * length + video, abs=0.02)
        assert heard[50 * turn][0] - seen[25 * turn] == pytest.approx(audio - video, abs=0.003), "they drift apart"
    for time, sample in heard:
        assert time == pytest.approx(audio + sample / 16_000, abs=0.003), "a gap is a gap in the index, too"


# Sound

FLOATS = [("wav", "FLOAT"), ("wav", "DOUBLE"), ("caf", "FLOAT"), ("caf", "DOUBLE"), ("aiff", "FLOAT"),
          ("aiff", "DOUBLE"), ("w64", "FLOAT"), ("w64", "DOUBLE"), ("au", "FLOAT")]  # fmt: skip
WHOLE = [("wav", "PCM_24"), ("wav", "PCM_32"), ("flac", "PCM_24"), ("caf", "PCM_32"), ("wav", "PCM_16")]
COARSE = [("wav", "PCM_U8"), ("aiff", "PCM_S8"), ("wav", "ULAW")]


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(("suffix", "subtype"), [*FLOATS, *WHOLE, *COARSE])
def test_sound_is_the_same_in_every_sample_format(tmp_path: Path, suffix: str, subtype: str, channels: int) -> None:
    pcm = noise(0.1)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.repeat(pcm[:, None] / 32768, channels, 1), 16_000, subtype)
    read, rate = read_sound(path)
    assert rate == 16_000 and read.shape == (len(pcm), min(channels, 2) if channels < 3 else 1)
    coarse = (suffix, subtype) in COARSE
    assert np.abs(read - pcm[:, None]).max() <= (260 if coarse else 0)
    if channels < 3:
        blocks = list(sound_blocks(path))
        assert np.array_equal(np.concatenate([b.pcm for b in blocks]), read), "live it is the same"


@pytest.mark.parametrize("only", [2, 0, 4])
def test_of_many_channels_those_with_sound_are_heard_at_full_level(tmp_path: Path, only: int) -> None:
    """A voice in the centre of 5.1, or in one channel of a microphone array."""
    pcm, six = noise(0.2), np.zeros((3200, 6), np.int16)
    six[:, only] = pcm
    soundfile.write(tmp_path / "array.wav", six, 16_000)
    with av.open(str(tmp_path / "film.mkv"), "w") as film:
        stream = film.add_stream("pcm_s16le", rate=16_000, layout="5.1")
        frame = av.AudioFrame.from_ndarray(six.reshape(1, -1), "s16", "5.1")
        frame.sample_rate = 16_000
        film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    for path in (tmp_path / "array.wav", tmp_path / "film.mkv"):
        read, _ = read_sound(path)
        assert read.shape == (3200, 1) and np.abs(read[:, 0].astype(int) - pcm).max() <= 1


def test_channels_of_an_array_are_averaged(tmp_path: Path) -> None:
    four = np.random.default_rng(0).integers(-9000, 9000, (1600, 4)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", four, 16_000)
    assert np.abs(read_sound(tmp_path / "a.wav")[0][:, 0] - four.mean(1)).max() <= 0.5


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.full(1600, np.nan), "has values that are not finite"),
        (np.linspace(-9000, 9000, 1600), "goes to 9000, but floats have to be within -1 and 1"),
    ],
)
def test_floats_that_are_no_sound_are_refused_in_one_sentence(tmp_path: Path, values: Any, says: str) -> None:
    soundfile.write(tmp_path / "a.wav", values, 16_000, "FLOAT")
    with pytest.raises(MediaError, match=says):
        read_sound(tmp_path / "a.wav")


def test_loud_floats_are_clipped_and_do_not_wrap(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([1.7, -1.7, 1.0, -1.0] * 400), 16_000, "FLOAT")
    assert read_sound(tmp_path / "a.wav")[0][:4, 0].tolist() == [32767, -32768, 32767, -32768]


@pytest.mark.parametrize("rate", [6_000, 11_025, 96_000, 192_000])
def test_rates_from_6_to_192_khz_are_read(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0.1, rate), rate)
    assert sound_rate(tmp_path / "a.wav") == rate == open_microphone(MicrophoneConfig(str(tmp_path / "a.wav"))).rate


@pytest.mark.parametrize("rate", [4_000, 384_000])
def test_other_rates_are_refused_wherever_sound_is_read(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0.1, rate), rate)
    for read in (sound_rate, read_sound, lambda p: open_microphone(MicrophoneConfig(str(p)))):
        with pytest.raises(MediaError, match=f"has {rate} Hz, but it must have 6000 to 192000 Hz"):
            read(tmp_path / "a.wav")
