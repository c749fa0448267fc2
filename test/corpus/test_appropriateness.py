"""Appropriateness matrices: the challenge's files, and the computed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_corpus
import yaml
from tslearn.metrics import dtw as oracle_dtw

from react_ros.corpus import appropriateness as rule
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.reader import Corpus, CorpusConfig, open_corpus


def opened(root: Path, **options) -> Corpus:
    return open_corpus(root, CorpusConfig(**{"frames": 30, "cache": root / "cache"} | options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_corpus.write_react2024(tmp_path, sessions=3, frames=31, modalities=("attributes",))


def matrix(n: int, seed: int = 0) -> np.ndarray:
    ones = np.random.default_rng(seed).random((n, n)) < 0.3
    return (ones | ones.T | np.eye(n, dtype=bool)).astype(np.float64)


def frdist(a: np.ndarray, b: np.ndarray) -> float:
    parts = ((slice(0, 15), 1 / 15), (slice(15, 17), 1.0), (slice(17, 25), 1 / 8))
    return sum(weight * float(oracle_dtw(a[:, part], b[:, part])) for part, weight in parts)


# The rule ---------------------------------------------------------------------------------------------------------


def test_neighbours_are_speakers_within_the_percentile_of_all_distances() -> None:
    rng = np.random.default_rng(0)
    speakers = np.stack([tiny_corpus.attributes(rng, 20) for _ in range(9)])
    got = rule.appropriateness(speakers, quantile=0.25, jobs=1)
    expected = np.array([[frdist(a, b) for b in speakers] for a in speakers])
    np.testing.assert_allclose(got.distances, expected, rtol=1e-5, atol=1e-6)
    assert got.threshold == pytest.approx(np.quantile(expected[np.triu_indices(9, 1)], 0.25), rel=1e-6)
    np.testing.assert_array_equal(got.matrix, (expected <= got.threshold * (1 + 1e-9)) | np.eye(9, dtype=bool))
    assert (got.matrix == got.matrix.T).all() and got.matrix.diagonal().all()
    assert got.matrix.sum() == 9 + 2 * 9  # a quarter of 36 pairs


def test_a_given_threshold_replaces_the_percentile() -> None:
    rng = np.random.default_rng(0)
    speakers = np.stack([tiny_corpus.attributes(rng, 20) for _ in range(5)])
    assert rule.appropriateness(speakers, threshold=1e9, jobs=1).matrix.all()
    assert (rule.appropriateness(speakers, threshold=1e-9, jobs=1).matrix == np.eye(5)).all()


def test_results_do_not_depend_on_processes_and_blocks() -> None:
    rng = np.random.default_rng(1)
    speakers = np.stack([tiny_corpus.attributes(rng, 8) for _ in range(41)])
    told: list[tuple[int, int]] = []
    one = rule.appropriateness(speakers, jobs=1, progress=lambda *t: told.append(t))
    np.testing.assert_array_equal(one.distances, rule.appropriateness(speakers, jobs=2).distances)
    np.testing.assert_array_equal(one.distances[7, 33], rule.appropriateness(speakers[[7, 33]], jobs=1).distances[0, 1])
    assert told[0][0] == 1 and told[-1] == (6, 6)


def test_one_speaker_is_appropriate_for_themselves() -> None:
    assert rule.appropriateness(np.zeros((1, 5, 25), np.float32), jobs=1).matrix.tolist() == [[True]]


def test_in_mars_every_listener_of_the_session_is_appropriate(tmp_path: Path) -> None:
    corpus = opened(tiny_corpus.write_mars(tmp_path, sessions=(0, 1), clips=2, frames=31))
    one = np.kron(np.eye(2), np.ones((2, 2)))
    np.testing.assert_array_equal(corpus.appropriate("test"), np.kron(np.eye(2), one).astype(bool))
    np.testing.assert_array_equal(opened(tmp_path, role_swap=False).appropriate("test"), one.astype(bool))


# The challenge's files --------------------------------------------------------------------------------------------


def test_the_splits_own_file_is_read_as_it_is(root: Path) -> None:
    given = matrix(6)
    np.save(root / "neighbour_emotion_test.npy", given)
    np.testing.assert_array_equal(opened(root).appropriate("test"), given.astype(bool))
    np.testing.assert_array_equal(opened(root, role_swap=False).appropriate("test"), given[:3, :3].astype(bool))
    np.save(root / "neighbour_emotion_test.npy", given[:3, :3].astype(np.int64))
    np.testing.assert_array_equal(opened(root, role_swap=False).appropriate("test"), given[:3, :3].astype(bool))


@pytest.mark.parametrize("name", rule.WHOLE_FILES)
def test_a_split_is_cut_out_of_the_whole_corpus_matrix(root: Path, name: str) -> None:
    whole = matrix(2 * 7, seed=4)
    np.save(root / name, whole)
    at = [4, 0, 6]  # where the split's three sessions are among seven
    rows = [f"RECOLA,group_{i},{i}" for i in range(7)]
    for session, place in enumerate(at):
        rows[place] = f"NoXI,chat_{session},{session + 1}"
    (root / "data_indices.csv").write_text("site,chat,clip\n" + "\n".join(rows) + "\n")
    wanted = [*at, *(i + 7 for i in at)]
    np.testing.assert_array_equal(opened(root).appropriate("test"), whole[np.ix_(wanted, wanted)].astype(bool))
    (root / "data_indices.csv").write_text("site,chat,clip\n" + "\n".join(rows[1:]) + "\nNoXI,chat_9,1\n")
    with pytest.raises(CorpusError, match="does not name NOXI/chat_1/2"):
        opened(root).appropriate("test")
    (root / "data_indices.csv").write_text("site,chat,clip\n" + "\n".join(rows[1:]) + "\n")
    with pytest.raises(CorpusError, match=r"\(14, 14\), but data_indices\.csv names 6 sessions"):
        opened(root).appropriate("test")
    (root / "data_indices.csv").unlink()
    with pytest.raises(CorpusError, match=r"needs .*data_indices\.csv"):
        opened(root).appropriate("test")


def with_entry(value: float) -> np.ndarray:
    array = matrix(6)
    array[2, 3] = value
    return array


def without_row(row: int) -> np.ndarray:
    array = matrix(6)
    array[row] = 0
    return array


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (matrix(8), r"shape \(8, 8\), but \(6, 6\) is right: the split's table has 3 clips"),
        (matrix(3), r"shape \(3, 3\), but \(6, 6\)"),
        (matrix(6)[:, :5], r"shape \(6, 5\)"),
        (with_entry(0.5), "0.5 in row 2, column 3"),
        (with_entry(np.nan), "nan in row 2, column 3"),
        (without_row(4), "row 4 has no appropriate listener, not even that of NoXI/chat_1/Expert_video/2"),
        (np.full((6, 6), "a"), "must hold 0 and 1"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused_in_one_sentence(root: Path, array: np.ndarray, words: str) -> None:
    np.save(root / "neighbour_emotion_test.npy", array)
    with pytest.raises(CorpusError, match=words) as error:
        opened(root).appropriate("test")
    assert "neighbour_emotion_test.npy" in str(error.value)


def test_a_file_that_is_no_matrix_is_refused_in_one_sentence(root: Path) -> None:
    (root / "neighbour_emotion_test.npy").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"neighbour_emotion_test\.npy cannot be read as npy"):
        opened(root).appropriate("test")


# Computed where there is no file ----------------------------------------------------------------------------------


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []
    real = rule.appropriateness
    monkeypatch.setattr(rule, "appropriateness", lambda s, **o: counted.append(len(s)) or real(s, **o))
    return counted


def test_without_a_file_it_is_computed_once_and_kept_in_the_challenges_format(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = counting(monkeypatch)
    got = opened(root).appropriate("test", jobs=1)
    written = np.load(root / "neighbour_emotion_test.npy")
    assert written.shape == (6, 6) and written.dtype == np.float64 and set(np.unique(written)) == {0.0, 1.0}
    np.testing.assert_array_equal(written.astype(bool), got)
    notes = yaml.safe_load((root / "neighbour_emotion_test.yaml").read_text())
    assert notes["computed_by"] == "react_ros" and "inferred" in notes["how"]
    assert (notes["quantile"], notes["frames"], notes["dyads"], notes["left_out"]) == (0.01, 31, 6, [])
    corpus = opened(root)
    speakers = np.stack([corpus.attributes(d.speaker, 31) for d in corpus.dyads("test")])
    expected = rule.appropriateness(speakers, jobs=1)
    assert notes["threshold"] == expected.threshold
    np.testing.assert_array_equal(got, expected.matrix)
    assert counted == [6, 6]
    np.testing.assert_array_equal(opened(root, frames=20).appropriate("test"), got)
    assert counted == [6, 6], "however many frames an evaluation takes, the matrix stays"


def test_it_is_computed_again_when_the_clips_or_the_rule_have_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = counting(monkeypatch)
    opened(root).appropriate("test", jobs=1)
    csv = root / "test/Emotion/NoXI/chat_1/Expert_video/2.csv"
    tiny_corpus.write_csv(csv, tiny_corpus.attributes(np.random.default_rng(99), 31))
    opened(root).appropriate("test", jobs=1)
    (root / "corpus.yaml").write_text("appropriateness: {threshold: 1000.0}")
    assert opened(root).appropriate("test", jobs=1).all()
    assert len(counted) == 3
    assert yaml.safe_load((root / "neighbour_emotion_test.yaml").read_text())["threshold_from"] == "corpus.yaml"


def test_a_third_party_matrix_beside_our_notes_is_read_and_never_overwritten(root: Path) -> None:
    opened(root).appropriate("test", jobs=1)
    given = matrix(6, seed=8)
    np.save(root / "neighbour_emotion_test.npy", given)
    (root / "corpus.yaml").write_text("appropriateness: {threshold: 1000.0}")
    np.testing.assert_array_equal(opened(root).appropriate("test"), given.astype(bool))
    np.testing.assert_array_equal(np.load(root / "neighbour_emotion_test.npy"), given)


def test_our_matrix_has_the_swapped_half_but_compares_it_only_where_roles_are_swapped(root: Path) -> None:
    (root / "corpus.yaml").write_text("role_swap: false\nappropriateness: {quantile: 0.4}")
    got = opened(root).appropriate("test", jobs=1)
    written = np.load(root / "neighbour_emotion_test.npy")
    assert got.shape == (3, 3) and written.shape == (6, 6)
    np.testing.assert_array_equal(written[:3, :3].astype(bool), got)
    np.testing.assert_array_equal(written[3:], np.eye(6)[3:])
    corpus = opened(root)
    speakers = np.stack([corpus.attributes(d.speaker, 31) for d in corpus.dyads("test")])
    np.testing.assert_array_equal(got, rule.appropriateness(speakers, quantile=0.4, jobs=1).matrix)
    both = opened(root, role_swap=True).appropriate("test", jobs=1)
    np.testing.assert_array_equal(both[:3, :3], got)
    assert both[3:].sum() > 3
    # Without swapped roles its first quarter is used.
    np.testing.assert_array_equal(opened(root).appropriate("test", jobs=1), got)
    np.testing.assert_array_equal(np.load(root / "neighbour_emotion_test.npy"), both)


def test_a_clip_that_cannot_be_used_is_appropriate_for_itself_only(root: Path) -> None:
    (root / "test/Emotion/NoXI/chat_1/Expert_video/2.csv").unlink()
    (root / "test/Emotion/NoXI/chat_2/Novice_video/3.csv").write_text("nonsense")
    (root / "corpus.yaml").write_text("appropriateness: {threshold: 1000.0}")
    got = opened(root).appropriate("test", jobs=1)
    expected = np.ones((6, 6), bool)
    for i in (1, 5):
        expected[i], expected[:, i], expected[i, i] = False, False, True
    np.testing.assert_array_equal(got, expected)
    notes = yaml.safe_load((root / "neighbour_emotion_test.yaml").read_text())
    assert notes["left_out"] == ["NoXI/chat_1/Expert_video/2", "NoXI/chat_2/Novice_video/3"]


def test_the_matrix_of_a_read_only_corpus_is_stored_in_the_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "neighbour_emotion_test.yaml").mkdir()  # takes the place of the notes: nothing can be written there
    counted = counting(monkeypatch)
    got = opened(root).appropriate("test", jobs=1)
    np.testing.assert_array_equal(opened(root).appropriate("test", jobs=1), got)
    assert len(counted) == 1 and not (root / "neighbour_emotion_test.npy").exists()
    assert len(list((root / "cache").rglob("neighbour_emotion_test.npy"))) == 1


def test_without_a_file_and_without_attributes_an_error_explains_it(tmp_path: Path) -> None:
    root = tiny_corpus.write_react2024(tmp_path, sessions=1, frames=31, modalities=("audio",))
    with pytest.raises(CorpusError, match="without attributes it cannot be computed"):
        opened(root).appropriate("test")
