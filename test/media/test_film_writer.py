"""Films contain the pictures and sound written to them, in step, also after a crash of the writer."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.error import FFmpegError

from react_ros.media.film_writer import FilmError, FilmWriter, side_by_side


def grey(level: int) -> np.ndarray:
    return np.full((96, 128, 3), level, np.uint8)


def make(path: Path, seconds: int, rate: int | None) -> np.ndarray:
    """A film with a click and a white picture at once, 1.2 s in. Returns its sound."""
    sound = np.zeros(seconds * (rate or 0), np.int16)
    if rate:
        tone = np.sin(2 * np.pi * 440 * np.arange(rate // 10) / rate)
        at = int(1.2 * rate)
        sound[at : at + len(tone)] = (20000 * tone).astype(np.int16)
    with FilmWriter(path, size=(128, 96), sample_rate=rate) as film:
        for k in range(25 * seconds):
            film.add_image(grey(255 if k == 30 else 40))
            if rate:
                film.add_sound(sound[k * rate // 25 : (k + 1) * rate // 25])
    return sound


def pictures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times in s and mean brightness of the pictures of a film."""
    with av.open(str(path)) as film:
        got = [(float(f.time or 0.0), f.to_ndarray(format="gray").mean()) for f in film.decode(video=0)]
    return np.array([g[0] for g in got]), np.array([g[1] for g in got])


def sound_of(path: Path, rate: int) -> np.ndarray:
    """The film's sound on its own time axis, from 0 s."""
    out = np.zeros(rate * 10, np.float32)
    end = 0
    with av.open(str(path)) as film:
        for frame in film.decode(audio=0):
            samples = frame.to_ndarray()[0]
            start = round(float(frame.time or 0.0) * rate)
            drop = max(0, -start)
            out[start + drop : start + len(samples)] = samples[drop:]
            end = start + len(samples)
    return out[:end]


@pytest.mark.parametrize("rate", [16000, 48000])
def test_pictures_and_sound_come_back_in_number_length_and_step(tmp_path, rate):
    sound = make(tmp_path / "a.mp4", 3, rate)
    times, levels = pictures(tmp_path / "a.mp4")
    assert len(times) == 75
    assert np.allclose(times, np.arange(75) / 25, atol=1e-3)
    flash = times[np.argmax(levels)]
    assert flash == pytest.approx(1.2, abs=1e-3)

    heard = sound_of(tmp_path / "a.mp4", rate)
    assert len(heard) / rate == pytest.approx(3.0, abs=0.1)
    n = min(len(heard), len(sound))
    given, got = sound[:n] / 32768.0, heard[:n]
    spectrum = np.fft.rfft(got, 2 * n) * np.conj(np.fft.rfft(given, 2 * n))
    correlation = np.fft.irfft(spectrum)
    lag = int(np.argmax(correlation))
    lag = lag - 2 * n if lag > n else lag
    assert abs(lag) / rate < 0.040
    assert correlation.max() / (np.linalg.norm(got) * np.linalg.norm(given)) > 0.9


def test_a_film_without_sound_has_none(tmp_path):
    make(tmp_path / "a.mp4", 2, None)
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert not film.streams.audio and film.streams.video[0].codec_context.name == "h264"
    assert len(pictures(tmp_path / "a.mp4")[0]) == 50


def test_a_film_whose_writer_was_killed_opens_and_shows_all_but_its_last_seconds(tmp_path):
    path, copy = tmp_path / "a.mp4", tmp_path / "dead.mp4"
    film = FilmWriter(path, size=(128, 96), sample_rate=16000)
    for k in range(25 * 6):
        film.add_image(grey(k % 200))
        film.add_sound(np.zeros(640, np.int16))
    # What is on disk now is all that a killed process would leave.
    copy.write_bytes(path.read_bytes())
    film.close()
    times, _ = pictures(copy)
    assert len(times) >= 25 * 4


def test_a_film_cut_anywhere_opens(tmp_path):
    make(tmp_path / "a.mp4", 6, 16000)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(0.75 * len(data))])
    with av.open(str(tmp_path / "cut.mp4")) as film:
        shown = 0
        try:
            for _ in film.decode(video=0):
                shown += 1
        except FFmpegError:
            pass  # the cut runs through a packet
    assert shown >= 50


def test_invalid_films_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(FilmError, match="127x96 px cannot be encoded: width and height must be even"):
        FilmWriter(tmp_path / "a.mp4", size=(127, 96))
    with pytest.raises(FilmError, match=r"the folder .* does not exist"):
        FilmWriter(tmp_path / "no" / "a.mp4")
    with pytest.raises(FilmError, match=r"cannot write .*folder.mp4"):
        (tmp_path / "folder.mp4").mkdir()
        FilmWriter(tmp_path / "folder.mp4")
    with pytest.raises(FilmError, match="11025 Hz cannot be encoded"):
        FilmWriter(tmp_path / "a.mp4", sample_rate=11025)
    with FilmWriter(tmp_path / "a.mp4", size=(128, 96)) as film:
        with pytest.raises(FilmError, match=r"takes \(96, 128, 3\) uint8"):
            film.add_image(np.zeros((96, 96, 3), np.uint8))
        with pytest.raises(FilmError, match="opened without sound"):
            film.add_sound(np.zeros(640, np.int16))


def test_side_by_side_keeps_proportions_and_leaves_its_inputs_alone():
    left, right = np.full((480, 640, 3), 90, np.uint8), np.full((256, 256, 3), 200, np.uint8)
    both = side_by_side(left, right, 256, ("human", "avatar"))
    assert both.shape == (256, 342 + 256, 3) or both.shape == (256, 340 + 256, 3)
    assert (both[10, 10] == 90).all() and (both[10, -10] == 200).all()
    assert (left == 90).all() and (right == 200).all()
    assert (both[-60:, :100] != 90).any(), "the caption is there"
    assert not (side_by_side(left, right, 256, ("", ""))[-60:, :100] != 90).any()
