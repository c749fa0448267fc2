"""Import of two videos: events of both people are in the corpus at their times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import Seer, gray, seen, write_film

from react_ros.clock.frame_clock import FrameClock
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.from_video import START_NS, Footage, film_frames, from_video, perceive
from react_ros.corpus.reader import Corpus, CorpusConfig, open_corpus
from react_ros.corpus.recorded import DyadRecording, PersonTrack, RecordedCorpus
from react_ros.face import FRAME_NS
from react_ros.media.film_reader import Shot
from react_ros.media.sound_reader import AudioBlock, read_sound
from react_ros.sensors.camera import CameraConfig, open_camera

CLIP = 50


def brightness(t: Any) -> Any:
    """Rises by 0.1 a second, so that it encodes the time."""
    return 0.1 + 0.1 * np.asarray(t)


def pictures(seconds: float, fps: float = 25.0, start: float = 0.0, shift: float = 0.0) -> Iterator[tuple[float, Any]]:
    """shift: of the event that is filmed against the film's time."""
    for i in range(round(seconds * fps)):
        t = start + i / fps
        yield t, gray(float(brightness(t + shift)))


def clicks(seconds: float, at: Sequence[float], rate: int) -> np.ndarray:
    """Low noise, and bursts of 10 ms that begin at these times."""
    out = np.random.default_rng(0).integers(-30, 30, round(seconds * rate))
    for t in at:
        tone = 15_000 * np.cos(2 * np.pi * 1000 * np.arange(round(0.01 * rate)) / rate)
        out[round(t * rate) :][: len(tone)] = tone
    return out.astype(np.int16)


def onsets(sound: np.ndarray) -> np.ndarray:
    """Start times of bursts, s, in audio at 16 kHz."""
    loud = np.flatnonzero(np.abs(sound.astype(int)) > 5000)
    return loud[np.flatnonzero(np.diff(loud, prepend=-1000) > 500)] / 16_000


def made(folder: Path, a: Footage, b: Footage, **options: Any) -> tuple[Any, Corpus]:
    corpus = RecordedCorpus(folder)
    options.setdefault("clip_frames", CLIP)
    record = from_video((a, b), corpus, DyadRecording("talk"), perceptions=[Seer(), Seer()], **options)
    corpus.finish()
    opened = open_corpus(folder, CorpusConfig(frames=options["clip_frames"], cache=folder.parent / "cache"))
    return record, opened


def instants(corpus: Corpus, person: int, clip: int = 0) -> np.ndarray:
    """(T,) time of the filmed event, s, that each frame of a clip shows."""
    dyad = corpus.dyads("train")[clip]
    return (corpus.face_model((dyad.speaker, dyad.listener)[person])[:, 0] - 0.1) / 0.1


def heard(folder: Path, person: int, clip: int = 1) -> np.ndarray:
    import soundfile

    path = folder / "train" / "Audio_files" / "recorded" / "talk" / f"P{person + 1}" / f"{clip}.wav"
    return onsets(soundfile.read(path, dtype="int16")[0])


def film(
    folder: Path, name: str, seconds: float = 4.4, fps: float = 25.0, *, begun: float = 0.0, **options: Any
) -> Path:
    """A film begun at `begun` s of the event; bursts at 0.5, 1.0, … s of it."""
    rate = options.pop("rate", 16_000)
    first, late = options.pop("first", 0.0), options.pop("sound_from", 0.0)
    bursts = [t - begun - late for t in np.arange(0.5, 60.0, 0.5) if 0.0 <= t - begun - late < seconds - late - 0.02]
    sound = clicks(seconds - late, bursts, rate)
    return write_film(
        folder / name, pictures(seconds - first, fps, first, begun), sound, rate=rate, sound_from=late, **options
    )


@pytest.mark.parametrize(
    "one",
    [
        pytest.param({"fps": 25.0}, id="25"),
        pytest.param({"fps": 30.0}, id="30"),
        pytest.param({"fps": 30000 / 1001, "rate": 44_100}, id="29.97"),
        pytest.param({"fps": 60.0, "rate": 48_000}, id="60"),
        pytest.param({"fps": 15.0}, id="15"),
        pytest.param({"first": 0.32}, id="picture late"),
        pytest.param({"sound_from": 0.4}, id="sound late"),
        pytest.param({"name": "a.mp4", "codec": "aac", "rate": 48_000}, id="mp4 with AAC"),
    ],
)
def test_events_of_both_people_are_in_the_corpus_at_their_times(tmp_path: Path, one: dict[str, Any]) -> None:
    first = one.get("first", 0.0)
    a = film(tmp_path, **{"name": "a.mkv", **one})
    b = film(tmp_path, "b.mkv")
    _, corpus = made(tmp_path / "c", Footage(a), Footage(b))
    # At most one picture off, as it is live: the clock shows one camera's pictures in step, not the nearest one each.
    period = max(1.0 / one.get("fps", 25.0), 0.04)
    for person in range(2):
        for clip in range(2):
            wanted = first + (np.arange(CLIP) + clip * CLIP) / 25.0
            off = instants(corpus, person, clip) - wanted
            assert np.abs(off).max() < period + 0.003 and abs(off.mean()) < 0.025, (person, clip)
        late = one.get("sound_from", 0.0) if person == 0 else 0.0
        bursts = np.array([t - first for t in (0.5, 1.0, 1.5, 2.0) if t >= late])
        np.testing.assert_allclose(heard(tmp_path / "c", person), bursts[bursts < 1.99], atol=0.003)


@pytest.mark.parametrize("offset", [0.8, -0.8, 0.333])
def test_a_film_begun_later_is_moved_by_the_offset(tmp_path: Path, offset: float) -> None:
    later = (max(-offset, 0.0), max(offset, 0.0))
    films = [film(tmp_path, f"{i}.mkv", 4.6, begun=later[i]) for i in range(2)]
    footage = [Footage(f, later_ns=round(s * 1e9)) for f, s in zip(films, later, strict=True)]
    record, corpus = made(tmp_path / "c", footage[0], footage[1])
    start = abs(offset)
    assert record.frames == pytest.approx((4.6 - start) * 25, abs=1.5), "the common stretch, whoever ends first"
    for person in range(2):
        off = instants(corpus, person) - (start + np.arange(CLIP) / 25.0)
        assert np.abs(off).max() < 0.06, person
        bursts = np.arange(0.5, 10.0, 0.5) - start
        wanted = bursts[(bursts > 0.0) & (bursts < 1.99)]
        np.testing.assert_allclose(heard(tmp_path / "c", person), wanted, atol=0.003)


def test_pictures_at_irregular_times_keep_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(0.02, 0.06, 120)) - 0.02
    a = write_film(
        tmp_path / "a.mkv", [(float(t), gray(float(brightness(t)))) for t in times], clicks(4.5, [1.0], 16_000)
    )
    _, corpus = made(tmp_path / "c", Footage(a), Footage(film(tmp_path, "b.mkv")), clip_frames=100)
    off = instants(corpus, 0) - np.arange(100) / 25.0 - times[0]
    assert np.abs(off).max() < 0.085 and abs(off.mean()) < 0.03


def test_a_sound_file_beside_begins_with_the_film(tmp_path: Path) -> None:
    import soundfile

    silent = write_film(tmp_path / "a.mp4", pictures(3.0, 30.0))
    soundfile.write(tmp_path / "a.wav", np.stack([clicks(3.0, [0.7, 1.6], 48_000)] * 2, 1), 48_000)
    made(tmp_path / "c", Footage(silent, tmp_path / "a.wav"), Footage(film(tmp_path, "b.mkv")))
    np.testing.assert_allclose(heard(tmp_path / "c", 0), [0.7, 1.6], atol=0.002)


def test_the_sound_of_a_clip_goes_on_in_the_next(tmp_path: Path) -> None:
    """Every audio sample once: the clock does not resample a 16 kHz source."""
    import soundfile

    a = film(tmp_path, "a.mkv")
    made(tmp_path / "c", Footage(a), Footage(film(tmp_path, "b.mkv")))
    folder = tmp_path / "c" / "train" / "Audio_files" / "recorded" / "talk" / "P1"
    clips = np.concatenate([soundfile.read(folder / f"{i}.wav", dtype="int16")[0] for i in (1, 2)])
    bursts = [t for t in np.arange(0.5, 4.4, 0.5) if t < 4.38]
    assert np.array_equal(clips, clicks(4.4, bursts, 16_000)[: len(clips)])


def test_the_frames_are_those_of_a_live_robot(tmp_path: Path) -> None:
    """The same events, pushed into the clock as nodes do, one by one as they arrive."""
    rng = np.random.default_rng(5)
    images = [Shot(START_NS + round(i * 1e9 / 30), gray(float(rng.uniform(0.1, 1.0)))) for i in range(90)]
    blocks = [
        AudioBlock(START_NS + i * 20_000_000, i * 320, rng.integers(-9000, 9000, (320, 1)).astype(np.int16))
        for i in range(160)
    ]
    track = PersonTrack(START_NS)
    perceive(Seer(), images, blocks, 16_000, track)
    clock, live = FrameClock(), []
    events: list[tuple[int, int, Any]] = [(s.time_ns, 0, s) for s in images]
    events += [(b.time_ns + 20_000_000, 1, b) for b in blocks]
    events.sort(key=lambda e: e[:2])
    for now, kind, event in events:
        if kind == 0:
            live += clock.push_image(event.time_ns, event.image, now)
        else:
            live += clock.push_sound(event.time_ns, event.pcm, 16_000, event.first_sample, now)
    seer = Seer()
    frames = [seer.process(f)[0] for f in live][: track.frames - 1]
    assert len(frames) > 70 and all(f.stamp_ns == START_NS + f.index * FRAME_NS for f in frames)
    np.testing.assert_array_equal(track.face_model()[: len(frames)], np.stack([f.face_model for f in frames]))
    for f in live[2 : len(frames)]:
        sound = np.rint(f.sound * 32768).astype(np.int16)
        np.testing.assert_array_equal(track.sound(f.index - 2, f.index - 1), sound)


def test_a_camera_that_stops_for_seconds_keeps_the_grid(tmp_path: Path) -> None:
    times = [t for t in np.arange(0, 8, 0.04) if not 2.0 < t < 5.0]
    a = write_film(
        tmp_path / "a.mkv", [(float(t), gray(float(brightness(t)))) for t in times], clicks(3, [1.0], 16_000)
    )
    record, corpus = made(tmp_path / "c", Footage(a), Footage(film(tmp_path, "b.mkv", 8.2)))
    assert [bool(clip.left_out) for clip in record.clips] == [False, True, True, True], "and 3 s of sound are not 8"
    assert record.clips[2].face[0] < 0.6 and record.clips[3].face[0] == 1.0
    off = instants(corpus, 0) - np.arange(CLIP) / 25.0
    assert np.abs(off).max() < 0.06


def test_nobody_in_the_picture_leaves_the_clip_out(tmp_path: Path) -> None:
    black = write_film(
        tmp_path / "a.mkv", [(i / 25, gray(0.0 if i < 55 else 0.5)) for i in range(101)], clicks(4.1, [1.0], 16_000)
    )
    record, _ = made(tmp_path / "c", Footage(black), Footage(film(tmp_path, "b.mkv")))
    assert [clip.left_out for clip in record.clips] == ["the first person has no face in it", ""]
    assert [clip.face[0] for clip in record.clips] == [0.0, pytest.approx(45 / 50, abs=0.03)]


def test_films_of_the_clips_are_written_where_asked_for(tmp_path: Path) -> None:
    import av

    a, b = film(tmp_path, "a.mkv", fps=30.0), film(tmp_path, "b.mkv")
    _, corpus = made(tmp_path / "c", Footage(a), Footage(b), video=True)
    for person in corpus.persons("train"):
        assert person.video is not None
        with av.open(str(person.video)) as opened:
            shown = [frame.to_ndarray(format="rgb24").mean() / 255.0 for frame in opened.decode(video=0)]
        assert len(shown) == CLIP
        np.testing.assert_allclose(shown, corpus.face_model(person)[:, 0], atol=0.02)
    assert not list((tmp_path / "c").glob(".films-*"))


def test_nobody_is_perceived_after_the_other_has_left(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    a, b = film(tmp_path, "a.mkv", 12.0), film(tmp_path, "b.mkv", 2.2)
    record, _ = made(tmp_path / "c", Footage(a), Footage(b), progress=lambda *done: told.append(done))
    assert record.frames == pytest.approx(55, abs=1) and told[-1][1] == 110
    assert not record.notes, "it did not break off: it was not needed"


def test_one_perception_is_reset_between_the_two(tmp_path: Path) -> None:
    seer, told = Seer(), []
    a, b = film(tmp_path, "a.mkv"), film(tmp_path, "b.mkv")
    from_video(
        (Footage(a), Footage(b)), RecordedCorpus(tmp_path / "c"), DyadRecording("talk"), clip_frames=CLIP,
        perceptions=[seer], progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert seer.resets == 2 and told[-1][0] == pytest.approx(told[-1][1], abs=12)


@pytest.mark.parametrize(
    ("a", "says"),
    [
        ("missing.mp4", r"missing\.mp4 cannot be read as a film: no such file"),
        ("bad.mp4", r"bad\.mp4 cannot be read as a film"),
        ("sound.wav", r"sound\.wav has no picture in it"),
        ("silent.mp4", r"silent\.mp4 has no sound in it: give a sound file"),
        ("short.mkv", r"show both people for 1\.00 s only, but a clip takes 2\.00 s"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_leaves_nothing(tmp_path: Path, a: str, says: str) -> None:
    import soundfile

    (tmp_path / "bad.mp4").write_bytes(b"nothing" * 99)
    soundfile.write(tmp_path / "sound.wav", clicks(3.0, [1.0], 16_000), 16_000)
    write_film(tmp_path / "silent.mp4", pictures(3.0))
    film(tmp_path, "short.mkv", 1.0)
    with pytest.raises(CorpusError, match=says):
        made(tmp_path / "c", Footage(tmp_path / a), Footage(film(tmp_path, "b.mkv")))
    assert not (tmp_path / "c").exists()


def test_a_truncated_film_keeps_its_clips_and_is_noted(tmp_path: Path) -> None:
    whole = film(tmp_path, "a.mp4", 6.0, codec="aac")
    # The index at the end, or at the beginning where it survives the cut.
    import av

    fast = tmp_path / "fast.mp4"
    with av.open(str(whole)) as source, av.open(str(fast), "w", options={"movflags": "faststart"}) as out:
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    data = fast.read_bytes()
    fast.write_bytes(data[: int(len(data) * 0.7)])
    record, _ = made(tmp_path / "c", Footage(fast), Footage(film(tmp_path, "b.mkv", 6.0)))
    assert record.written and re.search(r"fast\.mp4 ends \d\.\d s earlier than its header states", record.notes[0])


def test_a_film_that_changes_its_size_keeps_every_frame_also_in_the_clips_films(tmp_path: Path) -> None:
    import soundfile

    parts = [write_film(tmp_path / f"{k}.ts", ((i / 25, gray(0.5, size)) for i in range(60))).read_bytes()
             for k, size in enumerate([(64, 48), (96, 48)])]  # fmt: skip
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    soundfile.write(tmp_path / "sound.wav", clicks(5.0, [1.0], 16_000) / 32768, 16_000, "FLOAT")
    both = Footage(tmp_path / "both.ts", tmp_path / "sound.wav")
    record, corpus = made(tmp_path / "c", both, Footage(film(tmp_path, "b.mkv", 5.0)), video=True)
    assert len(record.written) == 2
    audio = corpus.dyads("train")[0].speaker.audio
    assert audio is not None and onsets(read_sound(audio)[0][:, 0]) == pytest.approx([1.0], abs=0.002)
    shapes = []
    for person in (d.speaker for d in corpus.dyads("train")):
        camera = open_camera(CameraConfig(str(person.video), 0, 0))
        shapes.append({shot.image.shape for shot in camera})
        camera.close()
    assert shapes and all(shape == {(480, 640, 3)} for shape in shapes)


def test_the_fake_perception_of_these_tests_distinguishes_black_from_gray() -> None:
    assert not seen(0.0).state.present and seen(0.5).state.present


@pytest.mark.parametrize("silent", [True, False])
def test_one_film_gives_the_frames_of_a_live_robot_from_its_first_image_on(tmp_path: Path, silent: bool) -> None:
    sound = None if silent else clicks(3.0, (), 16_000)
    path = write_film(tmp_path / "one.mkv", pictures(3.0, start=0.4), sound)
    frames = film_frames(path, Seer())
    assert 74 <= len(frames) <= 76
    assert [f.index for f in frames[:3]] == [0, 1, 2] and frames[2].stamp_ns == 2 * FRAME_NS
    seen_at = np.array([f.face.blendshapes[0] for f in frames[:74]])
    np.testing.assert_allclose(seen_at, brightness(np.arange(74) / 25 + 0.4), atol=0.011)
