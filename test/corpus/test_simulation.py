"""Simulated dyads: human timing, answers that depend on their cause, stories, files."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from scipy.signal import butter, find_peaks, sosfiltfilt

from react_ros.corpus.clips import CLIP_FRAMES, SPLITS
from react_ros.corpus.dtw import frdist_matrix
from react_ros.corpus.simulation import SimulatedSession, dyads, simulate, simulate_session
from react_ros.corpus.simulation.expressions import CEASES, OCCURS, occurrence
from react_ros.corpus.simulation.motion import SECONDS, TIMES, swing
from react_ros.corpus.simulation.story import _STORIES, stories
from react_ros.corpus.simulation.unfinished import UnfinishedCorpus
from react_ros.face import ARKIT_INDEX, ATTRIBUTE_NAMES, AU, EXPRESSIONS, FPS, VA

SESSIONS = 40


@pytest.fixture(scope="module")
def sessions() -> list[SimulatedSession]:
    """Eight stories told by five people each."""
    return [simulate_session(i, seed=3) for i in range(SESSIONS)]


def listeners(sessions: list[SimulatedSession]) -> np.ndarray:
    return np.stack([s.listener.attributes for s in sessions]).astype(np.float64)


def concordance(series: np.ndarray) -> np.ndarray:
    """(N, N) mean over the 25 dimensions of the CCC (0 where one is constant), from its definition."""
    mean, variance = series.mean(1), series.var(1)
    covariance = np.einsum("itd,jtd->ijd", series - mean[:, None], series - mean[:, None]) / series.shape[1]
    spread = variance[:, None] + variance[None] + (mean[:, None] - mean[None]) ** 2
    return (2.0 * covariance / (spread + 1e-8)).mean(axis=2)


def same_story(sessions: list[SimulatedSession]) -> np.ndarray:
    story = np.array([s.story for s in sessions])
    return story[:, None] == story[None]


def blinks(session: SimulatedSession) -> np.ndarray:
    """Frames at which the listener's lids are closed most."""
    lids = session.listener.face_model[:, ARKIT_INDEX["eyeBlinkLeft"]]
    return find_peaks(lids, height=0.5, distance=3)[0]


# Human timing, measured on the faces wherever the face shows it -----------------------------------------------------


def test_every_listener_blinks_as_often_as_people_in_conversation(sessions):
    rates = np.array([len(blinks(s)) / SECONDS * 60.0 for s in sessions])
    assert ((rates >= 10.5) & (rates <= 32.5)).all()
    assert rates.std() > 2.0


def test_blinks_last_as_short_and_as_long_ones_do(sessions):
    lengths = np.array([b.seconds for s in sessions for b in s.response.blinks])
    short, long = lengths[lengths < 0.4], lengths[lengths >= 0.4]
    assert np.median(short) == pytest.approx(0.208, abs=0.02)
    assert np.median(long) == pytest.approx(0.607, abs=0.06)
    assert 0.05 < len(long) / len(lengths) < 0.3


def test_nods_swing_at_human_frequencies_and_decline(sessions):
    measured = []
    for s in sessions:
        pitch = s.listener.face_model[:, 52].astype(np.float64)
        for nod in s.response.nods:
            if nod.cycles < 2:
                continue
            inside = np.abs(TIMES - 0.5 * (nod.start + nod.end)) <= 0.5 * (nod.end - nod.start) + 0.04
            peaks = find_peaks(pitch[inside], prominence=0.015)[0]
            if len(peaks) >= 2:
                measured.append(FPS * (len(peaks) - 1) / (peaks[-1] - peaks[0]))
    assert len(measured) > 40
    hertz = np.array(measured)
    assert np.mean((hertz >= 2.6) & (hertz <= 6.5)) > 0.97
    heights = swing(np.arange(0, 1, 1e-3), 0.0, 4.0, 4, 0.1, 0.35)
    tops = heights[find_peaks(heights)[0]]
    assert len(tops) == 4 and (np.diff(tops) < 0).all()


def test_longer_nods_begin_larger(sessions):
    nods = [n for s in sessions for n in s.response.nods]
    # Faster nods are smaller: compared at one frequency.
    scaled = {longer: np.mean([n.size * n.hz for n in nods if (n.cycles >= 3) == longer]) for longer in (True, False)}
    assert scaled[True] > 1.15 * scaled[False]


def test_emotions_are_answered_after_300_to_400_ms(sessions):
    kinds = {"joy", "surprise", "sadness", "worry", "disgust", "indignation", "irony", "laughter"}
    delays = np.array([a.time - a.cause_time for s in sessions for a in s.response.answers if a.cause in kinds])
    assert len(delays) > 100
    assert 0.3 <= np.median(delays) <= 0.4
    assert delays.min() >= 0.19 and delays.std() > 0.03


def test_smiles_meet_within_a_second(sessions):
    """Measured on the two faces: where each crosses a third of its smile."""
    lags = []
    for s in sessions:
        told = s.speaker.face_model[:, ARKIT_INDEX["mouthSmileLeft"]]
        heard = s.listener.face_model[:, ARKIT_INDEX["mouthSmileLeft"]]
        for e in s.performance.story.episodes:
            near = np.abs(TIMES - e.onset - 0.9) <= 1.1
            if e.kind not in ("joy", "laughter") or heard[near].max() < 0.3:
                continue
            if heard[near][0] > 0.15:
                continue  # still smiling at something before
            crossing = [int(np.argmax(x[near] > 0.33 * x[near].max())) / FPS for x in (told, heard)]
            lags.append(crossing[1] - crossing[0])
    assert len(lags) >= 20
    assert np.mean(np.abs(lags) < 1.0) > 0.9
    assert np.median(lags) > 0.1


def test_backchannels_come_about_700_ms_after_their_cue(sessions):
    delays = np.array(
        [a.time - a.cause_time for s in sessions for a in s.response.answers if a.kind in ("nod", "assent")]
    )
    assert len(delays) > 100
    assert np.median(delays) == pytest.approx(0.7, abs=0.06)
    assert delays.std() > 0.05


def test_words_follow_the_turn_after_about_200_ms(sessions):
    words = [(s, a) for s in sessions for a in s.response.answers if a.kind == "word"]
    assert len(words) > 20
    assert np.median([a.time - a.cause_time for _, a in words]) == pytest.approx(0.2, abs=0.06)
    for s, a in words:
        sound = s.listener.sound
        said = sound[int((a.time + 0.05) * 16_000) : int((a.time + 0.2) * 16_000)]
        before = sound[int((a.time - 0.15) * 16_000) : int((a.time - 0.05) * 16_000)]
        assert said.std() > 3.0 * before.std()


def test_the_head_follows_the_speakers_after_about_600_ms(sessions):
    """Measured: the lag of the highest correlation of slow yaw and roll, mirrored (0.2 to 1.1 Hz, Hale 2020)."""
    slow = butter(2, (0.2, 1.1), "bandpass", fs=FPS, output="sos")
    correlation = np.zeros(38)
    for s in sessions:
        told, heard = (sosfiltfilt(slow, p.face_model[:, 53:55], axis=0) for p in (s.speaker, s.listener))
        for lag in range(38):
            a, b = told[: CLIP_FRAMES - lag], heard[lag:]
            correlation[lag] -= (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert correlation.argmax() / FPS == pytest.approx(0.6, abs=0.12)
    assert correlation.max() / len(sessions) > 0.2


# What listeners do depends on what speakers do ----------------------------------------------------------------------


def test_listeners_of_one_story_agree_and_others_do_not(sessions):
    """The ceiling of FRCorr is about 4 to 6 of 10: the speaker determines more than style and randomness."""
    c, same = concordance(listeners(sessions)), same_story(sessions)
    others = same & ~np.eye(len(sessions), dtype=bool)
    nearest = np.where(others, c, -1.0).max(axis=1)
    assert 0.35 <= nearest.mean() <= 0.62
    assert -0.05 <= c[~same].mean() <= 0.1


def test_all_action_units_and_expressions_occur(sessions):
    heard, told = listeners(sessions), np.stack([s.speaker.attributes for s in sessions])
    for attributes in (heard, told):
        assert (attributes[..., AU].max(axis=(0, 1)) == 1.0).all()
    # Listeners answer disgust and anger with dismay and sympathy, not with the like.
    for attributes, names in ((heard, ("happy", "sad", "surprise")), (told, ("disgust", "anger"))):
        for name in names:
            assert attributes[..., ATTRIBUTE_NAMES.index(name)].max() > 0.8, name


def test_neutral_talk_leaves_action_units_constant(sessions):
    quiet = [s for s in sessions if stories(3, 8)[s.story].neutral]
    assert 0.2 < len(quiet) / len(sessions) < 0.5
    constant = np.ptp(listeners(quiet)[..., AU], axis=1) == 0.0
    assert 0.1 < constant.mean() < 0.6
    face = listeners(sessions)[..., ATTRIBUTE_NAMES.index("neutral")].mean(axis=1)
    chosen = np.array([s in quiet for s in sessions])
    assert face[chosen].mean() > face[~chosen].mean() + 0.1


def test_the_end_of_a_phrase_decides_whether_it_is_answered(sessions):
    """Falling and level phrase ends differ in the voice only, not in the face."""
    answered: Counter[str] = Counter()
    phrases: Counter[str] = Counter()
    for s in sessions:
        for p, following in zip(s.performance.story.phrases, s.performance.story.phrases[1:], strict=False):
            if p.laughed or p.yields or following.start - p.end > 0.8:
                continue
            phrases[p.ending] += 1
            answered[p.ending] += any(
                a.kind == "assent" and p.end - 0.4 < a.cause_time < p.end + 0.1 for a in s.response.answers
            )
    share = {ending: answered[ending] / phrases[ending] for ending in ("fall", "level")}
    assert share["fall"] > share["level"] + 0.15


def test_listeners_are_different_people(sessions):
    rest = np.array([s.response.style.pleasantness for s in sessions])
    nods = np.array([len(s.response.nods) for s in sessions])
    assert rest.std() > 0.02 and nods.std() > 1.0
    assert len({s.response.style for s in sessions}) == len(sessions)


def test_faces_are_finite_and_in_range(sessions):
    for s in sessions:
        for p in (s.speaker, s.listener):
            assert p.attributes.shape == (CLIP_FRAMES, 25) and p.face_model.shape == (CLIP_FRAMES, 58)
            assert p.attributes.dtype == p.face_model.dtype == p.sound.dtype == np.float32
            assert np.isfinite(p.attributes).all() and np.isfinite(p.face_model).all() and np.isfinite(p.sound).all()
            assert set(np.unique(p.attributes[:, AU])) <= {0.0, 1.0}
            assert np.abs(p.attributes[:, VA]).max() <= 1.0
            assert np.allclose(p.attributes[:, EXPRESSIONS].sum(axis=1), 1.0, atol=1e-5)
            assert p.face_model[:, :52].min() >= 0.0 and p.face_model[:, :52].max() <= 1.0
            assert np.abs(p.face_model[:, 52:55]).max() < 0.6
            assert len(p.sound) == CLIP_FRAMES * 640 and np.abs(p.sound).max() < 1.0


def test_speakers_are_tracked_as_mediapipe_tracks(sessions):
    face = np.stack([s.speaker.face_model[:, :52] for s in sessions])
    squint = face[..., ARKIT_INDEX["eyeSquintLeft"]]
    assert 0.18 < np.quantile(squint, 0.2) < 0.4
    assert np.quantile(face[..., ARKIT_INDEX["cheekSquintLeft"]], 0.99) < 0.06
    assert (face[..., ARKIT_INDEX["tongueOut"]] == 0.0).all()
    steps = np.diff(squint, axis=1)
    assert 0.008 < np.median(np.abs(steps)) / 0.6745 / np.sqrt(2.0) < 0.022


def test_an_action_unit_that_hovers_at_its_threshold_does_not_flicker():
    hovering = np.tile(OCCURS * 0.9, (6, 1))
    hovering[1], hovering[4] = OCCURS * 1.1, OCCURS * CEASES * 0.9
    assert occurrence(hovering)[:, 0].tolist() == [0, 1, 1, 1, 0, 0]


# Stories --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "count"), [(3, SESSIONS), (5, SESSIONS), pytest.param(7, 50, marks=pytest.mark.slow)])
def test_speakers_are_similar_exactly_if_they_tell_the_same_story(seed, count, sessions):
    made = sessions if seed == 3 else [simulate_session(i, seed) for i in range(count)]
    attributes = np.stack([s.speaker.attributes[:750] for s in made])
    distance, same = frdist_matrix(attributes, attributes), same_story(made)
    # Across all splits: no test story is close to a training story.
    assert len({s.split for s in made}) == 3
    assert ((distance <= dyads.THRESHOLD) == same).all()
    assert distance[same].max() < 0.95 * dyads.THRESHOLD
    assert distance[~same].min() > 1.05 * dyads.THRESHOLD


def test_speakers_of_a_story_stay_close_in_time(sessions):
    ends = [[e.onset for e in s.performance.story.episodes] for s in sessions[:5]]
    spread = np.ptp(np.array(ends), axis=0)
    assert 0.0 < spread.max() <= 0.5
    assert len({tuple(e) for e in ends}) == 5


def test_no_story_is_in_two_splits_and_every_split_has_some(sessions):
    splits = {s.story: s.split for s in sessions}
    assert all(splits[s.story] == s.split for s in sessions)
    assert set(splits.values()) == set(SPLITS)
    told = Counter(s.split for s in stories(3, 40))
    assert told["train"] == 24 and told["val"] == told["test"] == 8


def test_more_stories_begin_with_the_same_ones():
    few = stories(99, 3)
    _STORIES.pop(99)
    assert stories(99, 12)[:3] == few


# The corpus on disk ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "corpus"
    told: list[tuple[int, int]] = []
    settings = {"world": "early", "sessions": 14, "seed": 3, "tellers": 4, "jobs": 1}
    simulate(out, **settings, progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 14) for i in range(14)]
    return out


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_same_seed_writes_the_same_bytes_in_any_number_of_processes(corpus, tmp_path):
    simulate(tmp_path / "again", world="early", sessions=14, seed=3, tellers=4, jobs=2)
    again = contents(tmp_path / "again")
    assert again.keys() == contents(corpus).keys()
    for name, data in contents(corpus).items():
        # The matrix's own notes may hold the time at which it was computed.
        assert data == again[name] or name.startswith("neighbour_emotion"), name


def test_another_seed_writes_other_people(corpus):
    assert not np.array_equal(simulate_session(0, 3).speaker.attributes, simulate_session(0, 4).speaker.attributes)


def test_the_corpus_has_the_layout_of_react_2024(corpus):
    for split in SPLITS:
        with (corpus / f"{split}.csv").open(newline="") as file:
            header, *rows = list(csv.reader(file))
        assert header == ["", "speaker_path", "listener_path"] and rows
        for i, (index, *persons) in enumerate(rows):
            assert index == str(i)
            for name in persons:
                table = np.loadtxt(corpus / split / "Emotion" / f"{name}.csv", delimiter=",", skiprows=1)
                assert table.shape == (CLIP_FRAMES, 25)
                face = np.load(corpus / split / "3D_FV_files" / f"{name}.npy", allow_pickle=False)
                assert face.shape == (CLIP_FRAMES, 1, 58) and face.dtype == np.float32
                sound = soundfile.info(corpus / split / "Audio_files" / f"{name}.wav")
                assert (sound.samplerate, sound.channels, sound.subtype) == (16_000, 1, "PCM_16")
                assert sound.frames == CLIP_FRAMES * 640
        matrix = np.load(corpus / f"neighbour_emotion_{split}.npy", allow_pickle=False)
        with (corpus / "simulation.csv").open(newline="") as file:
            story = np.array([row["story"] for row in csv.DictReader(file) if row["split"] == split])
        # The file has rows for swapped roles as well, which this corpus does not use.
        assert np.array_equal(matrix[: len(story), : len(story)] == 1, story[:, None] == story[None])
    assert not list(corpus.rglob("Video_files"))


def test_what_is_on_disk_is_what_was_simulated(corpus):
    session = simulate_session(1, 3, tellers=4)
    name = f"NoXI/{session.chat}/Novice_video/1"
    folder = corpus / session.split
    table = np.loadtxt(folder / "Emotion" / f"{name}.csv", delimiter=",", skiprows=1)
    assert np.allclose(table, session.listener.attributes, atol=1e-5)
    assert np.array_equal(np.load(folder / "3D_FV_files" / f"{name}.npy")[:, 0], session.listener.face_model)
    sound, _ = soundfile.read(folder / "Audio_files" / f"{name}.wav", dtype="float32")
    assert np.abs(sound - session.listener.sound).max() <= 1.0 / 32768


def test_every_file_marks_the_corpus_as_simulated(corpus):
    settings = yaml.safe_load((corpus / "corpus.yaml").read_text())
    assert settings["simulated"] is True and settings["role_swap"] is False and "nobody" in settings["notice"]
    assert settings["scheme"] == "arkit52" and settings["fps"] == 25 and settings["seed"] == 3
    assert "--sessions 14" in settings["made_by"] and settings["appropriateness"] == {"threshold": dyads.THRESHOLD}
    assert "Simulated" in (corpus / "README.txt").read_text()
    assert all("/simulated-" in line for line in (corpus / "simulation.csv").read_text().splitlines()[1:])


def test_another_audio_rate_is_the_same_sound():
    fine, coarse = (simulate_session(0, 3, audio_rate=rate).speaker.sound for rate in (48_000, 16_000))
    assert len(fine) == 3 * len(coarse)
    assert np.corrcoef(fine[::3], coarse)[0, 1] > 0.98


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sessions": 10}, "sessions is 10: it must be from 11"),
        ({"tellers": 3}, "tellers is 3: a story is told by 4 to 6"),
        ({"seed": -1}, "seed is -1"),
        ({"audio_rate": 100}, "audio_rate is 100"),
        ({"jobs": 0}, "jobs is 0"),
        ({"world": "erly"}, "there is no world 'erly' .did you mean 'early'"),
    ],
)
def test_impossible_numbers_are_refused_in_one_sentence(wrong, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        simulate(tmp_path / "out", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="name a folder that is new or empty"):
        simulate(tmp_path, world="early", sessions=14, seed=3)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_what_was_interrupted_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    options = {"world": "early", "sessions": 9, "seed": 3, "tellers": 4, "jobs": 1}
    simulate(tmp_path / "whole", **options)
    written: list[int] = []
    write = dyads._write_session

    def interrupted(*given: Any) -> Any:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(given[-1])
        return write(*given)

    with monkeypatch.context() as once:
        once.setattr(dyads, "_write_session", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    again: list[int] = []
    monkeypatch.setattr(dyads, "_write_session", lambda *given: (again.append(given[-1]), write(*given))[1])
    seen: list[tuple[int, int]] = []
    simulate(tmp_path / "out", **options, progress=lambda done, total: seen.append((done, total)))
    assert written == [0, 1, 2, 3, 4] and again == [5, 6, 7, 8] and seen[0] == (6, 9) and seen[-1] == (9, 9)

    def content(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]


def test_what_was_begun_otherwise_is_removed_and_one_process_writes(tmp_path):
    begun = UnfinishedCorpus(tmp_path / "out", {"seed": 1})
    with begun.begun():
        begun.finish(0, {"clip": "x"})
        with pytest.raises(FileExistsError, match="is being written by another process"), begun.begun():
            pass
    with begun.begun():
        assert begun.finished() == {0: {"clip": "x"}}
    other = UnfinishedCorpus(tmp_path / "out", {"seed": 2})
    with other.begun():
        assert other.finished() == {}
