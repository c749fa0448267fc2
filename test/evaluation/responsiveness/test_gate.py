"""Clips from files, conditions, and a generator's score before them."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from made_speakers import SMILE, Mirror, smile_of, speaker
from recordings import START_NS, features, person, write

from react_ros.evaluation.behaviour.responsiveness import CONDITIONS
from react_ros.evaluation.responsiveness.clips import (
    SpeakerClip,
    clips_digest,
    condition_frames,
    read_clip,
    read_clips,
    write_clip,
)
from react_ros.evaluation.responsiveness.recorded import recorded_responsiveness
from react_ros.evaluation.responsiveness.score import responsiveness
from react_ros.face import FaceState, SoundState

SMILES, TALK = ((60, 130),), ((150, 190),)


def clip(name: str = "ann", shift: int = 0, **options: bool) -> SpeakerClip:
    moved = [[(a + shift, b + shift) for a, b in part] for part in (SMILES, TALK)]
    return SpeakerClip(name, speaker(300, *moved, **options))


def test_a_clip_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = clip()
    written.frames[7].face.attributes[:] = 0.3
    written.frames[7].sound.f0 = 123.456789
    write_clip(tmp_path / "ann.npz", written.frames)
    read = read_clip(tmp_path / "ann.npz")
    for before, after in zip(written.frames, read, strict=True):
        for part in ("face", "sound"):
            for key, value in asdict(getattr(before, part)).items():
                np.testing.assert_array_equal(value, getattr(getattr(after, part), key), err_msg=key)
    assert SpeakerClip("ann", read).digest == written.digest
    assert clips_digest([clip()]) != clips_digest([written]) != clips_digest([SpeakerClip("bob", read)])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attributes": np.zeros((300, 24))}, r"attributes has shape \(300, 24\), but \(300, 25\) numbers are needed"),
        ({"f0": np.full(300, np.nan)}, "f0 holds a value that is not finite"),
        ({"state": np.full(300, 9)}, "9 is not a valid FaceState"),
        ({"mfcc": None}, "is no clip of a speaker: it has no array 'mfcc'"),
    ],
)
def test_a_bad_clip_is_one_sentence(tmp_path: Path, change: dict, says: str) -> None:
    path = tmp_path / "bad.npz"
    write_clip(path, clip().frames)
    with np.load(path) as file:
        arrays = {k: v for k, v in {**{n: file[n] for n in file.files}, **change}.items() if v is not None}
    np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(ValueError, match=says):
        read_clip(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"bad\.npz cannot be read as a clip: "):
        read_clip(path)


def test_a_folder_gives_its_clips_with_their_labels_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("bob", "ann"):
        write_clip(tmp_path / f"{name}.npz", clip().frames)
    write_clip(tmp_path / "short.npz", clip().frames[:20])
    (tmp_path / "bad.npz").write_bytes(b"")
    labels = tmp_path / "clips.yaml"
    labels.write_text("ann: {person: 7, distress: [[0, 1.5]]}\nbob: {distress: []}\n")
    clips, problems = read_clips(tmp_path)
    assert [c.name for c in clips] == ["ann", "bob"] and [c.group for c in clips] == ["7", "bob"]
    assert clips[0].distress == ((0.0, 1.5),) and clips[0].track.distress[:38].sum() == 38
    assert clips[1].distress == ()
    assert re.search("bad", problems[0]) and problems[1] == "short has 20 frames, fewer than 50"
    assert [c.name for c in read_clips(tmp_path / "bob.npz")[0]] == ["bob"]
    for text, says in (("ann: {distres: []}", "ann must hold person and distress"), ("ann: {distress: [1]}", "pairs")):
        labels.write_text(text)
        with pytest.raises(ValueError, match=says):
            read_clips(tmp_path)
    with pytest.raises(ValueError, match="nowhere does not exist: give a folder of clips"):
        read_clips(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds neither clips"):
        read_clips(tmp_path / "empty")


def test_a_corpus_gives_its_speakers(corpus_folder: Path) -> None:
    clips, problems = read_clips(corpus_folder, split="val")
    assert len(clips) == 3 and not problems and len({c.group for c in clips}) == 3
    assert len(read_clips(corpus_folder, split="train", limit=2)[0]) == 2


def test_in_each_condition_the_listener_has_that_before_it(tmp_path: Path) -> None:
    own, other = clip(), clip("bob", shift=30)
    own.frames[0].face.state = FaceState.NOBODY
    own.frames[1].face.blendshapes[3] = 0.25

    def given(condition: str) -> list:
        frames = condition_frames(own, condition, [own, other])
        assert not isinstance(frames, str) and [f.index for f in frames] == list(range(300))
        return frames

    still = given("still")
    assert all(f.face.blendshapes[3] == 0.25 for f in still), "the first tracked face"
    assert {f.sound.state for f in still} == {SoundState.SILENCE} and still[0].sound.log_energy == -16.0
    assert {f.sound.state for f in given("face only")} == {SoundState.MISSING}
    assert {f.face.state for f in given("sound only")} == {FaceState.MISSING}
    assert given("sound only")[160].sound.state == SoundState.SPEECH
    assert given("other")[100].face is other.frames[100].face
    assert condition_frames(own, "other", [own]) == "ann: there is no clip of another person"
    deaf = clip("deaf", sound=False)
    assert condition_frames(deaf, "face only", [deaf]) == "deaf has no sound to leave out"
    with pytest.raises(ValueError, match="there is no condition 'alone'"):
        condition_frames(own, "alone", [own])


def test_a_mirror_falls_to_nothing_where_the_face_is_not_the_speakers() -> None:
    clips = [clip(f"{n}", shift=60 * n) for n in range(3)]
    result = responsiveness(Mirror(0.7), clips, 2, (1, 5), conditions=tuple(CONDITIONS))
    assert result.conditions == list(CONDITIONS) and result.seeds == [1, 5]
    for condition, gain in (("own", 0.7), ("face only", 0.7), ("still", 0.0), ("sound only", 0.0)):
        assert result.mean("smile gain", condition) == pytest.approx(gain, abs=1e-6), condition
    assert result.mean("onsets answered") == 1.0 and result.mean("onsets answered", "other") < 0.5
    drop = result.drop("smile gain", "still")
    assert drop is not None and drop.mean == pytest.approx(0.7, abs=1e-6)
    same = result.drop("smile gain", "face only")
    assert same is not None and same.mean == 0.0
    assert result.mean("nods a minute", "still") == 0.0
    with pytest.raises(ValueError, match="at least one clip"):
        responsiveness(Mirror(), [])


def test_a_bag_gives_its_speaker_in_clips_of_30_s(tmp_path: Path) -> None:
    written = person(1020)
    write(tmp_path / "talk", features(written))
    clips, _ = read_clips(tmp_path / "talk")
    assert [(c.name, len(c.frames), c.group) for c in clips] == [
        ("talk-1", 750, "talk"), ("talk-2", 270, "talk")
    ]  # fmt: skip
    assert clips[1].frames[3].index == 3
    np.testing.assert_array_equal(clips[1].frames[3].face.blendshapes, written[753].face.blendshapes)


def test_a_session_is_scored_by_the_faces_that_were_shown_when_they_were_shown() -> None:
    frames = [replace(f, stamp_ns=START_NS + f.stamp_ns) for f in clip().frames]
    shapes = np.zeros((300, 52), np.float32)
    shapes[:, SMILE] = 0.7 * smile_of(frames)[:, None]
    late = np.array([f.stamp_ns + 120_000_000 for f in frames])  # shown 120 ms after the image that it answers
    found = recorded_responsiveness(frames, late, shapes, np.zeros((300, 3)), distress=((0.0, 1.0),))
    assert found is not None
    result, moments = found
    assert result.mean("smile gain") == pytest.approx(0.7, abs=1e-6) and result.mean("smile lag") == pytest.approx(0.12)
    assert [(m.time, m.speaker, m.delay) for m in moments] == [
        (0.0, "distress, 1.0 s", None), (2.4, "smiles", pytest.approx(0.12)), (7.6, "pauses", None)
    ]  # fmt: skip
    assert recorded_responsiveness(frames[:40], late, shapes, np.zeros((300, 3))) is None
    assert recorded_responsiveness(frames, late[:0], shapes[:0], np.zeros((0, 3))) is None
