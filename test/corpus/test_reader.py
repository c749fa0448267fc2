"""Corpora are read unchanged, at the robot's frame rate; faults are reported in one sentence."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_corpus
from scipy.optimize import lsq_linear

from react_ros.corpus import arrays, faceverse
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.reader import Corpus, CorpusConfig, open_corpus
from react_ros.face import ATTRIBUTE_NAMES, AU, EXPRESSIONS, FaceState, SoundState
from react_ros.generators import registry
from react_ros.generators.attributes import attributes_of


def opened(root: Path, **options) -> Corpus:
    return open_corpus(root, CorpusConfig(**{"frames": 60, "cache": root / "cache"} | options))


@pytest.fixture
def react(tmp_path: Path) -> Path:
    return tiny_corpus.write_react2024(tmp_path, sessions=2, frames=61)


@pytest.fixture
def mars(tmp_path: Path) -> Path:
    return tiny_corpus.write_mars(tmp_path, sessions=(0, 10, 2), frames=91)


def csv_of(root: Path, session: int = 0) -> Path:
    return root / f"test/Emotion/NoXI/chat_{session}/Expert_video/{session + 1}.csv"


# Layouts ----------------------------------------------------------------------------------------------------------


def test_all_dyads_of_the_table_come_first_and_then_all_with_the_roles_swapped(react: Path) -> None:
    corpus = opened(react)
    dyads = corpus.dyads("test")
    assert (corpus.layout, corpus.scheme, corpus.fps, corpus.simulated) == ("react2024", "faceverse", 25.0, False)
    assert [d.index for d in dyads] == [0, 1, 2, 3]
    assert [d.swapped for d in dyads] == [False, False, True, True]
    assert dyads[1].speaker.name == "NoXI/chat_1/Expert_video/2" == dyads[3].listener.name
    assert dyads[1].listener == dyads[3].speaker
    assert len(opened(react, role_swap=False).dyads("test")) == 2
    assert len(corpus.persons("test")) == 4


def test_site_names_are_case_insensitive_and_slashes_may_be_backslashes(react: Path) -> None:
    table = react / "test.csv"
    table.write_text(table.read_text().replace("NoXI/", "NOXI\\").replace("/", "\\"))
    person = opened(react).dyads("test")[1].speaker
    assert person.name == "NOXI/chat_1/Expert_video/2"
    assert person.attributes == csv_of(react, 1)
    assert opened(react).attributes(person).shape == (60, 25)


def test_a_person_may_have_another_folder_in_one_modality(react: Path) -> None:
    for chat in (react / "test/Emotion/NoXI").iterdir():
        (chat / "Expert_video").rename(chat / "P1")
    corpus = opened(react, persons={"attributes": {"Expert_video": "P1"}})
    speaker = corpus.dyads("test")[0].speaker
    assert corpus.attributes(speaker).shape == (60, 25)
    assert corpus.face_model(speaker).shape == (60, 58)


def test_clip_names_with_dots_and_films_or_folders_of_images_are_found(react: Path) -> None:
    folder = react / "test/Video_files/NoXI/chat_0/Expert_video"
    folder.mkdir(parents=True)
    (folder / "1.avi").touch()
    speaker, other = opened(react).dyads("test")[0].speaker, opened(react).dyads("test")[1].speaker
    assert speaker.video == folder / "1.avi"
    assert other.video is not None and not other.video.exists()
    (folder / "1").mkdir()
    assert opened(react).dyads("test")[0].speaker.video == folder / "1"
    csv_of(react).rename(csv_of(react).with_name("1.b.csv"))
    (react / "test.csv").write_text("i,s,l\n0,NoXI/chat_0/Expert_video/1.b,NoXI/chat_0/Novice_video/1\n")
    corpus = opened(react)
    assert len(corpus.attributes(corpus.dyads("test")[0].speaker)) == 60


def test_mars_pairs_the_same_file_under_speaker_and_listener_session_by_session(mars: Path) -> None:
    corpus = opened(mars)
    dyads = corpus.dyads("test")
    assert (corpus.layout, corpus.fps, corpus.source_fps) == ("mars", 25.0, 30.0)
    assert [d.session for d in dyads[:6]] == ["session0"] * 2 + ["session2"] * 2 + ["session10"] * 2
    assert dyads[0].speaker.name == "speaker/session0/Camera-0"
    assert dyads[0].listener.name == "listener/session0/Camera-0"
    assert len(dyads) == 12 and dyads[6].speaker == dyads[0].listener


def test_clips_of_mars_keep_their_lengths_up_to_the_configured_frames(mars: Path) -> None:
    corpus = opened(mars, frames=None)
    short, long = (corpus.dyads("test")[i].speaker for i in (0, 1))
    assert (len(corpus.attributes(short)), len(corpus.attributes(long))) == (76, 81)
    assert (len(corpus.frames(short)), len(corpus.frames(short, 50))) == (76, 50)
    assert len(opened(mars, frames=78).attributes(short)) == 76
    assert len(opened(mars, frames=78).attributes(long)) == 78


def test_30_fps_become_25_by_linear_interpolation_and_units_stay_occurrences(mars: Path) -> None:
    corpus = opened(mars, frames=None)
    person = corpus.dyads("test")[0].speaker
    raw = np.load(person.attributes or "")
    read = corpus.attributes(person)
    seconds = np.arange(len(read)) / 25.0
    assert set(np.unique(read[:, AU])) <= {0.0, 1.0}
    nearest = raw[np.floor(seconds * 30 + 0.5 + 1e-9).astype(int).clip(0, 90), AU]
    np.testing.assert_array_equal(read[:, AU], nearest)
    for column in range(15, 25):
        line = np.interp(seconds, np.arange(91) / 30.0, raw[:, column])
        np.testing.assert_allclose(read[:, column], line, atol=1e-6)
    np.testing.assert_allclose(read[:, EXPRESSIONS].sum(1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(opened(mars, frames=None, native_rate=True).attributes(person), raw)


@pytest.mark.parametrize(("rate", "wanted", "count"), [(30, 25, 90), (25, 25, 751), (29.97, 25, 300), (50, 25, 7)])
def test_resampling_ends_with_the_last_frame_that_lies_within_the_clip(rate: float, wanted: float, count: int) -> None:
    ramp = np.arange(count, dtype=np.float32)[:, None]
    out = arrays.resample(ramp, rate, wanted)
    np.testing.assert_allclose(out[:, 0], np.arange(len(out)) * rate / wanted, rtol=1e-5)
    assert (len(out) - 1) * rate / wanted <= count - 1 + 1e-6 < len(out) * rate / wanted + 1e-6


# What is read -----------------------------------------------------------------------------------------------------


def test_attributes_and_face_models_are_read_as_they_are(react: Path) -> None:
    corpus = opened(react)
    speaker = corpus.dyads("test")[0].speaker
    np.testing.assert_array_equal(
        corpus.attributes(speaker), np.loadtxt(csv_of(react), delimiter=",", skiprows=1, dtype=np.float32)[:60]
    )
    np.testing.assert_array_equal(corpus.face_model(speaker), np.load(speaker.face_model or "").squeeze()[:60])
    assert corpus.attributes(speaker, 10).shape == (10, 25)
    assert corpus.attributes(speaker).dtype == corpus.face_model(speaker).dtype == np.float32


def test_a_csv_is_parsed_once_and_again_when_its_content_changes(react: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    real = arrays.read_attributes_csv
    monkeypatch.setattr("react_ros.corpus.reader.read_attributes_csv", lambda *a: parsed.append(a) or real(*a))
    person = opened(react).dyads("test")[0].speaker
    first = opened(react).attributes(person)
    np.testing.assert_array_equal(opened(react).attributes(person), first)
    assert len(parsed) == 1
    array = first.copy()
    array[0, 15] = 0.5
    tiny_corpus.write_csv(csv_of(react), array)
    assert opened(react).attributes(person)[0, 15] == np.float32(0.5)
    assert len(parsed) == 2


def test_a_damaged_cache_file_is_computed_anew(react: Path) -> None:
    person = opened(react).dyads("test")[0].speaker
    good = opened(react).attributes(person)
    (kept,) = (react / "cache").rglob("attributes-*/*/*.npy")
    for damage in (kept.read_bytes()[:200], b"", b"nonsense", b"\x93NUMPY\x01\x00"):
        kept.write_bytes(damage)
        np.testing.assert_array_equal(opened(react).attributes(person), good)
        np.testing.assert_array_equal(np.load(kept)[:60], good)
    assert not [p for p in kept.parent.iterdir() if p.name.startswith(".")]


def test_without_a_writable_cache_everything_is_still_read(react: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    corpus = opened(react, cache=tmp_path / "file" / "cache")
    speaker = corpus.dyads("test")[0].speaker
    assert corpus.attributes(speaker).shape == (60, 25)
    assert len(corpus.sound(speaker)) == 60


def test_named_columns_may_come_in_any_order_and_case(react: Path) -> None:
    corpus = opened(react)
    speaker = corpus.dyads("test")[0].speaker
    wanted = corpus.attributes(speaker)
    order = np.random.default_rng(0).permutation(25)
    tiny_corpus.write_csv(csv_of(react), wanted[:, order], [ATTRIBUTE_NAMES[i].title() for i in order])
    np.testing.assert_array_equal(opened(react).attributes(speaker), wanted)
    tiny_corpus.write_csv(csv_of(react), wanted, [f"c{i}" for i in range(25)])
    np.testing.assert_array_equal(opened(react).attributes(speaker), wanted)


def test_an_open_corpus_can_be_pickled(react: Path) -> None:
    corpus = opened(react)
    speaker = corpus.dyads("test")[0].speaker
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(corpus)).attributes(speaker), corpus.attributes(speaker))


# Speaker frames ---------------------------------------------------------------------------------------------------


def test_an_arkit_corpus_gives_its_own_blendshapes_and_pose(tmp_path: Path) -> None:
    settings = {"scheme": "arkit52", "simulated": True, "role_swap": False, "notice": "Nobody."}
    root = tiny_corpus.write_react2024(tmp_path, sessions=1, frames=61, arkit=True, settings=settings)
    corpus = opened(root)
    assert (corpus.scheme, corpus.simulated, corpus.notice, len(corpus.dyads("test"))) == (
        "arkit52",
        True,
        "Nobody.",
        1,
    )
    speaker = corpus.dyads("test")[0].speaker
    frames, model = corpus.frames(speaker), corpus.face_model(speaker)
    assert [f.index for f in frames] == list(range(60)) and frames[7].stamp_ns == 280_000_000
    assert all(f.face.state == FaceState.TRACKED and f.face.count == 1 for f in frames)
    np.testing.assert_array_equal(np.stack([f.face_model for f in frames]), np.clip(model, *_limits()))
    np.testing.assert_array_equal(np.stack([f.face.attributes for f in frames]), corpus.attributes(speaker))
    assert {f.sound.state for f in frames[2:]} <= {SoundState.SILENCE, SoundState.SPEECH}


def _limits() -> tuple[np.ndarray, np.ndarray]:
    return np.array([0.0] * 52 + [-10.0] * 6, np.float32), np.array([1.0] * 52 + [10.0] * 6, np.float32)


def test_a_faceverse_corpus_gives_a_head_around_rest_and_a_face_that_shows_the_same_units(react: Path) -> None:
    corpus = opened(react)
    speaker = corpus.dyads("test")[0].speaker
    frames = corpus.frames(speaker)
    rotation = np.stack([f.face.rotation for f in frames])
    np.testing.assert_allclose(rotation, (corpus.face_model(speaker) - faceverse.MEAN)[:, 52:55], atol=1e-5)
    assert np.abs(rotation).max() < 0.3
    shown = attributes_of(np.stack([f.face.blendshapes for f in frames]))[:, AU]
    wanted = corpus.attributes(speaker)[:, AU]
    free = [i for i, name in enumerate(ATTRIBUTE_NAMES[:15]) if name not in ("AU10", "AU23", "AU24", "AU25", "AU26")]
    np.testing.assert_allclose(shown[:, free], wanted[:, free], atol=0.01)


def test_a_pitch_that_wraps_around_stays_near_rest(react: Path) -> None:
    corpus = opened(react)
    speaker = corpus.dyads("test")[0].speaker
    model = np.tile(faceverse.MEAN, (61, 1))
    model[30:, 52] -= np.float32(2 * np.pi)
    assert speaker.face_model is not None
    np.save(speaker.face_model, model)
    assert max(abs(float(f.face.rotation[0])) for f in corpus.frames(speaker)) < 1e-5


def test_blendshapes_of_units_are_the_bounded_least_squares_inverse_of_the_table() -> None:
    rng = np.random.default_rng(1)
    units = np.concatenate([rng.integers(0, 2, (10, 15)), rng.uniform(0, 1, (5, 15))]).astype(np.float32)
    derived = faceverse.blendshapes_of_units(units)
    assert derived.min() >= 0.0 and derived.max() <= 1.0
    # The table, by finite differences of `attributes_of` around a face where nothing is clipped.
    base, h = np.full(52, 0.3, np.float32), np.float32(0.1)
    probe = attributes_of(base + h * np.eye(52, dtype=np.float32))[:, AU] - attributes_of(base[None])[:, AU]
    table = np.asarray(probe / h, np.float64)
    for row, face in zip(units, derived, strict=True):
        best = lsq_linear(table.T, row, bounds=(0, 1), tol=1e-12).cost * 2
        assert ((table.T @ face - row) ** 2).sum() <= best + 2e-3


def test_what_a_corpus_does_not_have_is_missing_as_it_is_live(tmp_path: Path) -> None:
    silent = opened(tiny_corpus.write_react2024(tmp_path / "a", sessions=1, frames=60, modalities=("attributes",)))
    frames = silent.frames(silent.dyads("test")[0].speaker)
    assert {f.sound.state for f in frames} == {SoundState.MISSING} and frames[0].face.state == FaceState.TRACKED
    faceless = opened(tiny_corpus.write_react2024(tmp_path / "b", sessions=1, frames=60, modalities=("audio",)))
    frames = faceless.frames(faceless.dyads("test")[0].speaker)
    assert len(frames) == 60 and {f.face.state for f in frames} == {FaceState.MISSING}
    with pytest.raises(CorpusError, match="no attributes"):
        faceless.attributes(faceless.dyads("test")[0].speaker)


def test_a_generator_runs_on_the_frames_of_a_corpus(react: Path) -> None:
    corpus = opened(react)
    reactions = registry.create("attentive").generate(corpus.frames(corpus.dyads("test")[0].speaker), seed=1)
    assert len(reactions) == 60 and all(np.isfinite(r.face_model).all() for r in reactions)


def test_normalisation_is_that_of_the_baselines_and_goes_both_ways() -> None:
    x = np.random.default_rng(0).normal(size=(4, 7, 58)).astype(np.float32)
    np.testing.assert_array_equal(faceverse.normalise(faceverse.MEAN), np.zeros(58))
    np.testing.assert_allclose(faceverse.normalise(faceverse.MEAN + 2 * faceverse.STD, "standard"), 2.0, rtol=1e-2)
    for mode in ("mean", "standard"):
        np.testing.assert_allclose(faceverse.denormalise(faceverse.normalise(x, mode), mode), x, atol=1e-5)
    np.testing.assert_allclose(faceverse.MEAN[52:], [3.1908, 0.0454, 0.0016, -0.0056, -0.018, 1.8379], rtol=1e-6)
    with pytest.raises(ValueError, match="58"):
        faceverse.normalise(x[..., :57])


# Faults -----------------------------------------------------------------------------------------------------------


def damaged(array: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    array = array.copy()
    array[row, column] = value
    return array


ARRAY = tiny_corpus.attributes(np.random.default_rng(0), 61)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda p: p.unlink(), "missing"),
        (lambda p: tiny_corpus.write_csv(p, ARRAY[:59]), "59 frames of its .*, but 60"),
        (lambda p: tiny_corpus.write_csv(p, ARRAY[:, :24], ATTRIBUTE_NAMES[:24]), "24 columns.*contempt missing"),
        (lambda p: tiny_corpus.write_csv(p, ARRAY[:, 1:], ATTRIBUTE_NAMES[1:]), "AU1 missing"),
        (lambda p: tiny_corpus.write_csv(p, ARRAY[:, :24], [f"c{i}" for i in range(24)]), "24 columns"),
        (lambda p: tiny_corpus.write_csv(p, ARRAY[:, :24]), "has 24 columns, but the 25"),
        (lambda p: tiny_corpus.write_csv(p, damaged(ARRAY, 17, 15, np.nan)), "valence is nan in frame 17"),
        (lambda p: tiny_corpus.write_csv(p, damaged(ARRAY, 3, 0, -np.inf)), "AU1 is -inf in frame 3"),
        (lambda p: p.write_text(p.read_text().replace("\n", "\n1,", 3)), "has 26 columns"),
        (lambda p: p.write_text(p.read_text() + "0,1\n"), "frame 61 has 2 columns, not 25"),
        (lambda p: p.write_text(p.read_text() + "0," * 24 + "x\n"), "contempt is 'x' in frame 61"),
        (lambda p: p.write_text(p.read_text() + "0," * 24 + "\n"), "contempt is '' in frame 61"),
        (lambda p: p.write_text(",".join(ATTRIBUTE_NAMES)), "no frames"),
        (lambda p: p.write_text(p.read_text().split("\n", 1)[1]), "begins with numbers"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00" * 100), "cannot be read"),
    ],
)
def test_a_bad_csv_is_one_sentence_that_names_the_clip(react: Path, write, words: str) -> None:
    write(csv_of(react))
    corpus = opened(react)
    with pytest.raises(CorpusError, match=words) as error:
        corpus.attributes(corpus.dyads("test")[0].speaker)
    assert "NoXI/chat_0/Expert_video/1" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((61, 57)), r"is \(61, 57\), but \(frames, 58\)"),
        (np.zeros((2, 61, 58)), r"is \(2, 61, 58\)"),
        (np.zeros((59, 58)), "59 frames of its .*, but 60"),
        (damaged(np.zeros((61, 58)), 5, 54, np.nan), "roll is nan in frame 5"),
        (damaged(np.zeros((61, 58)), 5, 7, np.inf), "coefficient 7 is inf in frame 5"),
        (np.array(["a"]), "holds <U1, but numbers"),
        (np.array([{}]), "cannot be read"),
    ],
)
def test_a_bad_face_model_is_one_sentence_that_names_the_clip(react: Path, array: np.ndarray, words: str) -> None:
    corpus = opened(react)
    speaker = corpus.dyads("test")[0].speaker
    assert speaker.face_model is not None
    np.save(speaker.face_model, array, allow_pickle=True)
    with pytest.raises(CorpusError, match=words) as error:
        corpus.face_model(speaker)
    assert speaker.name in str(error.value)


def test_faults_after_the_configured_frames_do_not_matter(react: Path) -> None:
    tiny_corpus.write_csv(csv_of(react), damaged(ARRAY, 60, 15, np.nan))
    corpus = opened(react)
    assert corpus.attributes(corpus.dyads("test")[0].speaker).shape == (60, 25)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layout: voc", "layout is 'voc'"),
        ("scheme: flame", "scheme is 'flame'"),
        ("fps: fast", "fps is 'fast'"),
        ("fps: 0", "fps is 0"),
        ("fps: true", "fps is True"),
        ("simulated: 1", "simulated is 1"),
        ("role_swap: 'yes'", "role_swap is 'yes'"),
        ("notice: [a]", "notice is"),
        ("appropriateness: {quantile: 2}", "quantile of appropriateness is 2"),
        ("appropriateness: {threshold: -1}", "threshold of appropriateness is -1"),
        ("appropriateness: {limit: 1}", "appropriateness is"),
        ("- a", "names and values"),
        ("a: [", "cannot be read as YAML"),
        ("persons: 3", "persons is 3"),
        ("persons: {emotion: {A: B}}", "persons names 'emotion'"),
        ("persons: {attributes: 3}", "persons of attributes is 3"),
        ("persons: {attributes: {A: ../x}}", "'A' must be one folder"),
        ("layuot: mars", r"there is no 'layuot' \(did you mean 'layout'\?\)"),
    ],
)
def test_an_impossible_corpus_yaml_is_one_sentence(react: Path, text: str, words: str) -> None:
    (react / "corpus.yaml").write_text(text)
    with pytest.raises(CorpusError, match=words) as error:
        open_corpus(react)
    assert "corpus.yaml" in str(error.value) and "\n" not in str(error.value)


def test_the_error_for_another_folder_names_the_expected_files(react: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus folder"):
        open_corpus(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"is no corpus: expected train\.csv"):
        open_corpus(tmp_path / "empty")
    with pytest.raises(CorpusError, match=r"train\.csv is missing"):
        opened(react).dyads("train")
    shutil.move(react / "test.csv", react / "list.csv")
    with pytest.raises(CorpusError, match=r"test\.csv is missing"):
        open_corpus(react)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0,only_one", "line 2"),
        ("0,a/b/c/d", "line 2"),
        ("0,a/b/c,d/e/f/g", "'a/b/c' is no clip"),
        ("0,../../a/b,a/b/c/d", "no clip"),
    ],
)
def test_a_bad_row_of_the_table_is_named(react: Path, row: str, words: str) -> None:
    (react / "test.csv").write_text(f"idx,s,l\n{row}\n")
    with pytest.raises(CorpusError, match=words):
        opened(react).dyads("test")


def test_a_table_without_a_header_would_lose_a_clip(react: Path) -> None:
    table = react / "test.csv"
    table.write_text(table.read_text().split("\n", 1)[1])
    with pytest.raises(CorpusError, match="line 1 names a clip, but a header"):
        opened(react).dyads("test")


def test_corpus_yaml_maps_persons_to_folders(react: Path) -> None:
    emotion = react / "test" / "Emotion"
    for person, folder in (("Expert_video", "P1"), ("Novice_video", "P2")):
        for path in sorted(emotion.rglob(person)):
            path.rename(path.with_name(folder))
    with pytest.raises(CorpusError, match=r"chat_0 has folders P1, P2 instead: map this person .* in corpus\.yaml"):
        opened(react).attributes(opened(react).dyads("test")[0].speaker)
    (react / "corpus.yaml").write_text("persons: {attributes: {Expert_video: P1, Novice_video: P2}}\n")
    corpus = opened(react)
    dyad = corpus.dyads("test")[0]
    assert [p.attributes.parent.name for p in (dyad.speaker, dyad.listener) if p.attributes] == ["P1", "P2"]
    assert len(corpus.attributes(dyad.speaker)) == 60


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"persons": {"Emotion": {}}}, "persons names 'Emotion'"),
        ({"persons": {"audio": {"a": "../b"}}}, "must be one folder"),
    ],
)
def test_an_impossible_configuration_is_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CorpusConfig(**options)
