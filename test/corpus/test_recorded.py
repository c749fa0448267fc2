"""Corpora of recorded sessions: one grid, clips, gaps, rest, growing tables, no partial sessions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from films import seen

from react_ros.corpus.clips import CorpusError
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.corpus.recorded import HOLD_FRAMES, LEAST_SOUND, DyadRecording, PersonTrack, RecordedCorpus
from react_ros.face import FRAME_NS, Face, FaceState, SpeakerFrame
from react_ros.generators.speaker_inputs import speaker_inputs

CLIP = 50
START = 7_000_000_123


def brightness(k: np.ndarray | int) -> np.ndarray:
    return 0.5 + 0.4 * np.sin(np.asarray(k) / 9.0)


def track(
    frames: int, *, shift_ns: int = 0, absent: range = range(0), sound: float = 1e9, blue: float = 0.0
) -> PersonTrack:
    """A person with the coefficient `brightness`, frames `shift_ns` off the grid, and no face in `absent`."""
    out = PersonTrack(START)
    rng = np.random.default_rng(1)
    for k in range(frames):
        face = Face(FaceState.LOST) if k in absent else seen(float(brightness(k)) + blue)
        out.add_face(SpeakerFrame(k, START + shift_ns + k * FRAME_NS, face))
        if k < sound:
            out.add_sound(START + k * FRAME_NS, rng.uniform(-0.5, 0.5, 640).astype(np.float32))
    return out


def written(folder: Path, *tracks: PersonTrack, **options):
    corpus = RecordedCorpus(folder)
    record = corpus.write(
        options.pop("session", DyadRecording("talk")), (tracks[0], tracks[-1]), clip_frames=CLIP, **options
    )
    corpus.finish()
    return record


def opened(folder: Path):
    return open_corpus(folder, CorpusConfig(frames=CLIP, cache=folder.parent / "cache"))


def test_clips_are_the_frames_of_the_grid_and_both_people_have_the_same(tmp_path: Path) -> None:
    # The second person's frames are 15 ms after the grid's.
    record = written(tmp_path / "c", track(170), track(163, shift_ns=15_000_000))
    assert [clip.number for clip in record.written] == [1, 2, 3] and record.rest_s == pytest.approx(13 / 25)
    corpus = opened(tmp_path / "c")
    assert corpus.splits == ["train"] and len(corpus.dyads("train")) == 6, "each is speaker and listener"
    for i, dyad in enumerate(corpus.dyads("train")[:3]):
        wanted = brightness(np.arange(i * CLIP, (i + 1) * CLIP))
        for person in (dyad.speaker, dyad.listener):
            np.testing.assert_allclose(corpus.face_model(person)[:, 0], wanted, atol=1e-6)
            np.testing.assert_allclose(corpus.attributes(person)[:, 3], wanted, atol=1e-5)


def test_sound_is_in_the_clip_of_its_own_time(tmp_path: Path) -> None:
    one = PersonTrack(START)
    for k in range(2 * CLIP):
        one.add_face(SpeakerFrame(k, START + k * FRAME_NS, seen(0.5)))
    whole = np.random.default_rng(2).uniform(-0.9, 0.9, 2 * CLIP * 640).astype(np.float32)
    # Audio blocks that begin before the grid and are not aligned with it.
    one.add_sound(START - 1_000_000_000, np.ones(16_000, np.float32))
    for at in range(0, len(whole), 700):
        one.add_sound(START + round(at * 1e9 / 16_000), whole[at : at + 700])
    written(tmp_path / "c", one)
    folder = tmp_path / "c" / "train" / "Audio_files" / "recorded" / "talk"
    for i in range(2):
        sound, rate = soundfile.read(folder / "P1" / f"{i + 1}.wav", dtype="int16")
        assert rate == 16_000
        assert np.array_equal(sound, np.rint(whole[i * CLIP * 640 : (i + 1) * CLIP * 640] * 32768).astype(np.int16))


def test_a_lost_face_holds_its_last_values(tmp_path: Path) -> None:
    record = written(tmp_path / "c", track(CLIP, absent=range(20, 26)), track(CLIP, absent=range(4)))
    assert record.clips[0].face == (pytest.approx(44 / 50), pytest.approx(46 / 50))
    corpus = opened(tmp_path / "c")
    held, late = (corpus.face_model(p)[:, 0] for p in corpus.persons("train"))
    np.testing.assert_allclose(held[19:26], brightness(19), atol=1e-6)
    np.testing.assert_allclose(late[:5], brightness(4), atol=1e-6, err_msg="before the first, the first")


@pytest.mark.parametrize(
    ("absent", "frames", "says"),
    [
        (range(10, 25), 100, "the face of the second person is there in 70% of it only"),
        (range(0, 500), 500, "the second person has no face in it"),
        (range(CLIP, 2 * CLIP), 150, "the second person has no face in it"),
    ],
)
def test_a_clip_with_too_little_of_a_face_is_left_out(tmp_path: Path, absent: range, frames: int, says: str) -> None:
    record = written(tmp_path / "c", track(frames), track(frames, absent=absent))
    out = [clip for clip in record.clips if clip.left_out]
    assert {clip.left_out for clip in out} == {says}
    names = {d.speaker.name for d in opened(tmp_path / "c").dyads("train")} if record.written else set()
    assert not any(name.endswith(f"/{clip.number}") for clip in out for name in names), "in no table"
    with (tmp_path / "c" / "left_out.csv").open() as file:
        assert [[row["session"], int(row["clip"]), row["why"]] for row in csv.DictReader(file)] == [
            ["talk", clip.number, says] for clip in out
        ]


def test_a_long_gap_leaves_a_clip_out_even_with_a_low_threshold(tmp_path: Path) -> None:
    def gap(frames: int) -> str:
        absent = range(5, 5 + frames)
        return written(tmp_path / str(frames), track(100, absent=absent), least_face=0.1).clips[0].left_out

    assert not gap(HOLD_FRAMES)
    assert "is away for longer than 1.52 s at once" in gap(HOLD_FRAMES + 1)


def test_a_clip_without_sound_is_left_out(tmp_path: Path) -> None:
    enough = int(np.ceil(LEAST_SOUND * CLIP))
    record = written(tmp_path / "c", track(2 * CLIP), track(2 * CLIP, sound=CLIP + enough - 1))
    assert [clip.left_out for clip in record.clips] == ["", "there is sound of the second person for 78% of it only"]
    assert not written(tmp_path / "d", track(CLIP), track(CLIP, sound=enough)).clips[0].left_out


def test_pose_is_relative_to_rest_and_generator_inputs_stay_the_same(tmp_path: Path) -> None:
    live = [SpeakerFrame(k, START + k * FRAME_NS, seen(float(brightness(k)))) for k in range(CLIP)]
    record = written(tmp_path / "c", track(CLIP))
    corpus = opened(tmp_path / "c")
    person = corpus.persons("train")[0]
    model = corpus.face_model(person)
    np.testing.assert_allclose(np.median(model[:, 52:], axis=0), 0.0, atol=1e-6)
    rest = np.array(record.clips[0].rest[0])
    np.testing.assert_allclose(model[:, 52] + rest[0], brightness(np.arange(CLIP)), atol=1e-5)
    assert rest[5] == pytest.approx(-0.5), "what the camera saw is not lost"
    told, wanted = speaker_inputs(corpus.frames(person)), speaker_inputs(live)
    np.testing.assert_allclose(told[:, :110], wanted[:, :110], atol=1e-5)


def test_rest_follows_a_person_who_moves_on_their_chair(tmp_path: Path) -> None:
    moved = PersonTrack(START)
    for k in range(10 * CLIP):
        face = seen(0.5)
        face.translation = np.array([0.0 if k < 5 * CLIP else 0.2, 0.0, -0.5], np.float32)
        moved.add_face(SpeakerFrame(k, START + k * FRAME_NS, face))
        moved.add_sound(START + k * FRAME_NS, np.zeros(640, np.float32))
    rests = [clip.rest[0][3] for clip in written(tmp_path / "c", moved).clips]
    assert rests[:3] == [0.0] * 3 and rests[-3:] == [pytest.approx(0.2)] * 3


def test_the_corpus_does_not_depend_on_the_order_of_its_sessions(tmp_path: Path) -> None:
    sessions = [
        DyadRecording("b"),
        DyadRecording("a"),
        DyadRecording("c", split="test", site="lab", persons=("Ann", "Bob")),
    ]
    for folder, order in (("one", sessions), ("other", sessions[::-1])):
        for session in order:
            written(tmp_path / folder, track(CLIP), track(CLIP, blue=0.01), session=session)
    tables = [(tmp_path / f / "train.csv").read_text() for f in ("one", "other")]
    assert tables[0] == tables[1]
    assert tables[0].splitlines() == [
        ",speaker_path,listener_path", "0,recorded/a/P1/1,recorded/a/P2/1", "1,recorded/b/P1/1,recorded/b/P2/1",
    ]  # fmt: skip
    assert "0,lab/c/Ann/1,lab/c/Bob/1" in (tmp_path / "one" / "test.csv").read_text()
    assert opened(tmp_path / "one").appropriate("train", jobs=1).shape == (4, 4)


def test_a_session_of_the_same_name_is_refused_in_every_split(tmp_path: Path) -> None:
    written(tmp_path / "c", track(CLIP))
    with pytest.raises(CorpusError, match=r"has a session talk already: give another --session"):
        written(tmp_path / "c", track(CLIP), session=DyadRecording("talk", split="val"))


def test_a_removed_session_is_in_no_table_and_can_be_written_again(tmp_path: Path) -> None:
    written(tmp_path / "c", track(CLIP), session=DyadRecording("a"))
    written(tmp_path / "c", track(CLIP), session=DyadRecording("b", split="val"))
    corpus = RecordedCorpus(tmp_path / "c")
    corpus.remove(DyadRecording("b", split="val"))
    assert [r.session.name for r in corpus.finish()] == ["a"]
    assert opened(tmp_path / "c").splits == ["train"] and not list((tmp_path / "c" / "val").rglob("*.csv"))
    written(tmp_path / "c", track(CLIP), session=DyadRecording("b"))


def test_a_killed_write_leaves_no_clip_in_a_table_and_can_be_repeated(tmp_path: Path) -> None:
    written(tmp_path / "c", track(3 * CLIP))
    (tmp_path / "c" / "recordings" / "talk.json").unlink()  # which comes last
    left = tmp_path / "c" / "train" / "Emotion" / "recorded" / "talk" / "P1" / "3.csv"
    assert left.is_file()
    corpus = RecordedCorpus(tmp_path / "c")
    assert not corpus.has("talk") and corpus.finish() == []
    written(tmp_path / "c", track(2 * CLIP))
    assert not left.exists(), "nothing of the first time is left"


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    record = written(tmp_path / "c", track(170), track(163, absent=range(60, 90)), notes=["a note."])
    (read,) = RecordedCorpus(tmp_path / "c").records()
    assert json.dumps(read.session.persons) == json.dumps(record.session.persons)
    assert [c.left_out for c in read.clips] == [c.left_out for c in record.clips] and read.notes == ["a note."]
    (tmp_path / "c" / "recordings" / "talk.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"talk\.json cannot be read as the record of a session"):
        RecordedCorpus(tmp_path / "c").finish()


def test_corpus_yaml_describes_the_recordings(tmp_path: Path) -> None:
    written(tmp_path / "c", track(CLIP), session=DyadRecording("talk", source="From a lab.", made_by="somebody"))
    corpus = opened(tmp_path / "c")
    assert corpus.scheme == "arkit52" and not corpus.simulated and corpus.role_swap
    assert corpus.notice.startswith("Real people, recorded") and corpus.notice.endswith("From a lab.")
    assert corpus.settings["made_by"] == "somebody"


def test_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"both people are there for 1\.96 s only, but a clip takes 2\.00 s"):
        written(tmp_path / "c", track(CLIP), track(CLIP - 1))
    assert not (tmp_path / "c").exists()
    for name in ("", "a/b", "..", "-x", "a b"):
        with pytest.raises(ValueError, match="must be letters, digits"):
            DyadRecording(name)
    with pytest.raises(ValueError, match="there is no split 'dev'"):
        DyadRecording("talk", split="dev")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="both people of talk are called P1"):
        DyadRecording("talk", persons=("P1", "P1"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "train.csv").write_text("somebody's")
    with pytest.raises(CorpusError, match="holds something else than a corpus of recordings"):
        RecordedCorpus(tmp_path / "full")
    with pytest.raises(ValueError, match="least_face is 2"):
        written(tmp_path / "c", track(CLIP), least_face=2.0)
