"""Training has exactly the inputs of the live robot, in crops determined by the seed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_corpus import write_mars, write_react2024

from react_ros.corpus.clips import CorpusError
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.face import ATTRIBUTES, FACE_MODEL
from react_ros.generators.speaker_inputs import FACE_PRESENT, INPUTS, SOUND_PRESENT, InputScheme, speaker_inputs
from react_ros.training import dataset_cache
from react_ros.training.data import CropOrder, load_clips, windows


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def small(root: Path, **options: object) -> Path:
    given = {"sessions": 2, "splits": ("train",), "frames": 31, "modalities": ("attributes", "face_model")} | options
    return write_react2024(root, **given)  # type: ignore[arg-type]


def test_clips_hold_the_live_speaker_inputs_and_the_human_listeners_reactions(tmp_path: Path) -> None:
    root = small(tmp_path / "c", modalities=("attributes", "face_model", "audio"), settings={"role_swap": True})
    corpus = open_corpus(root, CorpusConfig(frames=30))
    clips = load_clips([corpus], "train", 30, jobs=1)
    dyads = corpus.dyads("train")
    assert len(clips) == len(dyads) == 4 and clips.names == [d.name for d in dyads]
    for i, dyad in enumerate(dyads):
        np.testing.assert_array_equal(clips.speaker(i), speaker_inputs(corpus.frames(dyad.speaker)))
        np.testing.assert_array_equal(clips.speaker_attributes(i), corpus.attributes(dyad.speaker))
        np.testing.assert_array_equal(clips.face_model(i), corpus.face_model(dyad.listener))
        np.testing.assert_array_equal(clips.attributes(i), corpus.attributes(dyad.listener))
    assert clips.speaker(0)[5:, SOUND_PRESENT].all()


def test_a_batch_holds_its_crops_and_says_where_a_clip_has_ended(tmp_path: Path) -> None:
    clips = load_clips([small(tmp_path / "c")], "train", 30, jobs=1)
    batch = clips.batch(np.array([1, 0]), np.array([4, 25]), 10)
    shapes = [tuple(t.shape) for t in (batch.speaker, batch.face_model, batch.attributes, batch.valid)]
    assert shapes == [(2, 10, INPUTS), (2, 10, FACE_MODEL), (2, 10, ATTRIBUTES), (2, 10)]
    np.testing.assert_array_equal(batch.speaker[0], clips.speaker(1)[4:14])
    np.testing.assert_array_equal(batch.speaker_attributes[0], clips.speaker_attributes(1)[4:14])
    np.testing.assert_array_equal(batch.attributes[1, :5], np.asarray(clips.attributes(0))[25:])
    assert batch.valid.tolist() == [[True] * 10, [True] * 5 + [False] * 5]
    assert not batch.attributes[1, 5:].any() and not batch.speaker[1, 5:].any()
    assert batch.clip.tolist() == [1, 0] and batch.start.tolist() == [4, 25]
    assert batch.to(torch.device("cpu")).clip.dtype == torch.int64


def test_clips_of_any_length_are_padded(tmp_path: Path) -> None:
    root = write_mars(tmp_path / "c", splits=("train",), frames=40, modalities=("attributes", "face_model"))
    clips = load_clips([root], "train", 36, jobs=1)
    lengths = set(clips.lengths.tolist())
    assert len(lengths) == 2 and max(lengths) <= 36, "30 fps become 25, and clips differ"
    batch = clips.batch(np.arange(len(clips)), np.zeros(len(clips), np.int64), 36)
    assert batch.valid.sum(1).tolist() == clips.lengths.tolist()


def test_a_second_load_maps_the_cached_arrays_and_reads_no_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small(tmp_path / "c")
    first = load_clips([root], "train", 30, jobs=1)
    whole = np.array(first.speaker(0))

    def never(*_: object) -> None:
        raise AssertionError("a clip is read again")

    monkeypatch.setattr(InputScheme, "rows", never)
    monkeypatch.setattr(dataset_cache, "_digest", never)
    again = load_clips([root], "train", 30, jobs=1)
    np.testing.assert_array_equal(again.speaker(0), whole)
    assert isinstance(again.speaker(0).base, np.memmap) and again.digest == first.digest


def test_the_cache_is_keyed_by_content_and_not_by_path(tmp_path: Path) -> None:
    root = small(tmp_path / "c")
    first = load_clips([root], "train", 30, jobs=1)
    moved = shutil.copytree(root, tmp_path / "moved")
    assert load_clips([moved], "train", 30, jobs=1).digest == first.digest
    kept = list((tmp_path / "cache/react_ros/features/clips").iterdir())
    assert len(kept) == 1
    file = next((root / "train/Emotion").rglob("Novice_video/1.csv"))
    file.write_text(file.read_text().replace("\n0,", "\n1,", 3))
    changed = load_clips([root], "train", 30, jobs=1)
    assert changed.digest != first.digest
    assert not np.array_equal(np.asarray(changed.attributes(0)), np.asarray(first.attributes(0)))


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    root = small(tmp_path / "c")
    whole = np.array(load_clips([root], "train", 30, jobs=1).speaker(0))
    (pack,) = (tmp_path / "cache/react_ros/features/clips").iterdir()
    (pack / "speaker.npy").write_bytes(b"x")
    np.testing.assert_array_equal(load_clips([root], "train", 30, jobs=1).speaker(0), whole)


def test_two_processes_make_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small(tmp_path / "c")
    one = np.array(load_clips([root], "train", 30, jobs=1).speaker(1))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    told: list[tuple[int, int]] = []
    two = load_clips([root], "train", 30, jobs=2, progress=lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(two.speaker(1), one)
    assert told[-1] == (8, 8)


def test_a_clip_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    root = small(tmp_path / "c", sessions=4)
    (root / "train/Emotion/NoXI/chat_1/Novice_video/2.csv").unlink()
    np.save(root / "train/3D_FV_files/NoXI/chat_2/Expert_video/3.npy", np.zeros((31, 57)))
    clips = load_clips([open_corpus(root, CorpusConfig(frames=30, role_swap=False))], "train", 30, jobs=1)
    assert clips.names == ["NoXI/chat_0/Expert_video/1", "NoXI/chat_3/Expert_video/4"]
    assert len(clips.left_out) == 2
    assert re.match(r"NoXI/chat_2/Expert_video/3: the shape of its face model", clips.left_out[0])
    assert re.match(r"NoXI/chat_1/Novice_video/2: its attributes are missing", clips.left_out[1])
    assert clips.batch(np.array([1]), np.array([0]), 30).valid.all()


def test_a_modality_that_is_not_needed_may_be_absent_and_the_batch_marks_it(tmp_path: Path) -> None:
    clips = load_clips([small(tmp_path / "c", modalities=("attributes",))], "train", 30, jobs=1)
    batch = clips.batch(np.array([0]), np.array([0]), 30)
    assert batch.has_attributes.tolist() == [True] and batch.has_face_model.tolist() == [False]
    assert clips.face_model(0) is None and not batch.face_model.any()
    assert batch.speaker[..., FACE_PRESENT].all() and not batch.speaker[..., SOUND_PRESENT].any()


@pytest.mark.parametrize(
    ("modalities", "needs", "says"),
    [
        (("attributes", "face_model"), {"audio"}, "c has no audio, without which stage x of y cannot be trained"),
        (("attributes", "audio"), {"face_model"}, "c has no face models, without which stage x of y"),
        (("audio",), (), "c has neither attributes nor face models: there is nothing to learn"),
    ],
)
def test_an_absent_modality_that_is_needed_is_refused_in_one_sentence(
    tmp_path: Path, modalities: tuple[str, ...], needs: set[str], says: str
) -> None:
    root = small(tmp_path / "c", modalities=modalities)
    with pytest.raises(CorpusError, match=says):
        load_clips([root], "train", 30, needs=needs, who="stage x of y", jobs=1)


def test_a_missing_or_empty_split_is_refused_in_one_sentence(tmp_path: Path) -> None:
    root = small(tmp_path / "c")
    with pytest.raises(CorpusError, match=r"c: there is no val split"):
        load_clips([root], "val", 30, jobs=1)
    with pytest.raises(CorpusError, match=r"no usable clips in its train split, e\.g\. .*31 frames.* 99 are wanted"):
        load_clips([root], "train", 99, jobs=1)


def test_corpora_are_joined_and_listeners_are_appropriate_within_their_corpus(tmp_path: Path) -> None:
    settings = {"role_swap": False}
    one = small(tmp_path / "one", sessions=3, settings=settings)
    two = small(tmp_path / "two", seed=1, settings=settings)
    np.save(one / "neighbour_emotion_train.npy", np.kron(np.eye(2), np.ones((3, 3))))
    np.save(two / "neighbour_emotion_train.npy", np.eye(4))
    (one / "train/Emotion/NoXI/chat_1/Novice_video/2.csv").unlink()
    clips = load_clips([one, two], "train", 30, jobs=1)
    assert len(clips) == 4
    expected = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(clips.appropriate(jobs=1), expected)
    arkit = small(tmp_path / "arkit", arkit=True, settings={"scheme": "arkit52"})
    with pytest.raises(CorpusError, match=r"arkit has faces of scheme arkit52, but .*one of faceverse"):
        load_clips([one, arkit], "train", 30, jobs=1)


def test_an_epoch_has_one_random_crop_of_every_clip() -> None:
    lengths = np.array([100, 40, 10, 64, 33])
    order = CropOrder(lengths, batch=5, crop=32, crops=3, seed=1)
    assert order.steps == 3
    for epoch in range(4):
        steps = [order.at(epoch * 3 + i) for i in range(3)]
        clips, starts = (np.concatenate(part) for part in zip(*steps, strict=True))
        assert np.bincount(clips).tolist() == [3] * 5
        assert (starts >= 0).all() and (starts <= np.maximum(lengths[clips] - 32, 0)).all()


def test_the_order_is_a_function_of_seed_and_step_alone() -> None:
    lengths = np.full(20, 200)

    def order(seed: int) -> CropOrder:
        return CropOrder(lengths, batch=4, crop=50, crops=1, seed=seed)

    forwards, backwards = order(5), order(5)
    seen = [forwards.at(step) for step in range(15)]
    for step in reversed(range(15)):
        for one, other in zip(backwards.at(step), seen[step], strict=True):
            np.testing.assert_array_equal(one, other)
    crops = [dict(zip(*map(np.concatenate, zip(*seen[i : i + 5], strict=True)), strict=True)) for i in (0, 5)]
    assert crops[0].keys() == crops[1].keys() and crops[0] != crops[1], "another epoch, other crops"
    assert any((seen[0][0] != order(6).at(0)[0]).tolist()), "another seed, another order"
    assert any((seen[0][0] != seen[5][0]).tolist()), "another epoch, another order"


def test_a_corpus_smaller_than_a_batch_is_one_batch() -> None:
    order = CropOrder(np.array([50, 60]), batch=32, crop=20, crops=1, seed=0)
    assert (order.batch, order.steps) == (2, 1) and sorted(order.at(0)[0]) == [0, 1]


def test_validation_sees_every_frame_once() -> None:
    lengths = np.array([7, 20, 1])
    seen = [np.zeros(n, int) for n in lengths]
    batches = windows(lengths, 6, 2)
    for clips, starts in batches:
        assert len(clips) <= 2
        for clip, start in zip(clips, starts, strict=True):
            seen[clip][start : start + 6] += 1
    assert all((s == 1).all() for s in seen)
