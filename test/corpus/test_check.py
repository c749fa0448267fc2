"""A check lists all faults of a corpus at once; a run continues without the unusable clips."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import tiny_corpus

from react_ros.corpus.check import CheckReport, check, usable_dyads
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.pool import Progress
from react_ros.corpus.reader import Corpus, CorpusConfig, open_corpus


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_corpus.write_react2024(tmp_path, sessions=4, frames=61)


def opened(root: Path) -> Corpus:
    return open_corpus(root, CorpusConfig(frames=60, cache=root / "cache"))


def checked(root: Path, jobs: int = 1, progress: Progress | None = None) -> CheckReport:
    return check(opened(root), ["test"], jobs=jobs, progress=progress)


def file(root: Path, modality: str, session: int, person: str = "Expert_video", suffix: str = "") -> Path:
    return root / f"test/{modality}/NoXI/chat_{session}/{person}/{session + 1}{suffix}"


def film(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        for _ in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        out.mux(stream.encode())


def test_a_good_corpus_has_no_problems(root: Path) -> None:
    told: list[tuple[int, int]] = []
    report = checked(root, progress=lambda *t: told.append(t))
    assert report.problems == [] and report.dyads == {"test": 8}
    assert {m: (t.clips, t.good) for m, t in report.totals.items()} == {
        "attributes": (8, 8), "face_model": (8, 8), "audio": (8, 8)
    }  # fmt: skip
    assert told[-1] == (8, 8)


def test_every_missing_short_unreadable_and_non_finite_file_is_found_in_one_go(root: Path) -> None:
    array = tiny_corpus.attributes(np.random.default_rng(0), 61)
    file(root, "Emotion", 0, suffix=".csv").unlink()
    tiny_corpus.write_csv(file(root, "Emotion", 1, suffix=".csv"), array[:50])
    array[5, 16] = np.nan
    tiny_corpus.write_csv(file(root, "Emotion", 2, "Novice_video", ".csv"), array)
    np.save(file(root, "3D_FV_files", 2, suffix=".npy"), np.full((61, 58), np.inf, np.float32))
    file(root, "Audio_files", 3, suffix=".wav").write_bytes(b"RIFF")
    report = checked(root)
    assert [(p.clip.removeprefix("NoXI/"), p.modality) for p in report.errors] == [
        ("chat_0/Expert_video/1", "attributes"),
        ("chat_1/Expert_video/2", "attributes"),
        ("chat_2/Expert_video/3", "face_model"),
        ("chat_2/Novice_video/3", "attributes"),
        ("chat_3/Expert_video/4", "audio"),
    ]
    sentences = [str(p) for p in report.errors]
    for sentence, words in zip(
        sentences,
        ("are missing", "50 frames", "coefficient 0 is inf", "arousal is nan in frame 5", "4.wav"),
        strict=True,
    ):
        assert words in sentence and "\n" not in sentence
    totals = report.totals
    assert (totals["attributes"].missing, totals["attributes"].bad, totals["attributes"].good) == (1, 2, 5)
    assert (totals["face_model"].bad, totals["audio"].bad) == (1, 1)


def test_odd_values_are_warnings(root: Path) -> None:
    array = tiny_corpus.attributes(np.random.default_rng(0), 61)
    units, affect, sums = array.copy(), array.copy(), array.copy()
    units[7, 2], affect[9, 15], sums[11, 20] = 0.5, -1.5, 2.0
    for session, odd in enumerate((units, affect, sums)):
        tiny_corpus.write_csv(file(root, "Emotion", session, suffix=".csv"), odd)
    report = checked(root)
    assert report.errors == []
    assert [w.sentence.split(": ")[1].split(" in frame")[0] for w in report.warnings] == [
        "AU4 is 0.5",
        "valence or arousal leaves -1 to 1",
        f"the 8 expression probabilities sum to {sums[11, 17:].sum():.3f}, not 1,",
    ]
    assert len(usable_dyads(opened(root), "test")[0]) == 8


def test_action_units_of_an_arkit_corpus_may_be_intensities(tmp_path: Path) -> None:
    root = tiny_corpus.write_react2024(tmp_path, sessions=1, frames=61, arkit=True, settings={"scheme": "arkit52"})
    array = tiny_corpus.attributes(np.random.default_rng(0), 61)
    array[:, 2] = 0.5
    tiny_corpus.write_csv(file(root, "Emotion", 0, suffix=".csv"), array)
    assert checked(root).problems == []


def test_lengths_that_do_not_agree_are_warnings(root: Path) -> None:
    rng = np.random.default_rng(0)
    tiny_corpus.write_csv(file(root, "Emotion", 0, suffix=".csv"), tiny_corpus.attributes(rng, 70))
    tiny_corpus.write_wav(file(root, "Audio_files", 1, suffix=".wav"), tiny_corpus.voice(rng, 1.0, 16_000), 16_000)
    tiny_corpus.write_wav(file(root, "Audio_files", 2, suffix=".wav"), np.zeros(48_000, np.int16), 16_000)
    report = checked(root)
    assert report.errors == []
    assert [(w.modality, w.sentence.split(": ")[1]) for w in report.warnings] == [
        ("face_model", "its face model has 61 frames, but its attributes 70"),
        ("audio", "its audio lasts 2.44 s, but its 70 frames 2.80 s"),
        ("dyad", "the speaker has 70 frames, but NoXI/chat_0/Novice_video/1 has 61"),
        ("audio", "its audio lasts 1.00 s, but its 61 frames 2.44 s"),
        ("audio", "its audio is silent throughout"),
    ]


def test_check_and_evaluation_agree_on_which_sound_can_be_used(root: Path) -> None:
    """Floats are no silence, 6 kHz is good; 4 kHz is an error for both."""
    rng = np.random.default_rng(0)
    soundfile.write(file(root, "Audio_files", 0, suffix=".wav"), tiny_corpus.voice(rng, 2.5, 16_000) / 32768, 16_000,
                    "FLOAT")  # fmt: skip
    soundfile.write(file(root, "Audio_files", 1, suffix=".wav"), tiny_corpus.voice(rng, 2.5, 6_000), 6_000)
    soundfile.write(file(root, "Audio_files", 2, suffix=".wav"), tiny_corpus.voice(rng, 2.5, 4_000), 4_000)
    report = checked(root)
    assert report.warnings == []
    assert [e.modality for e in report.errors] == ["audio"] and "has 4000 Hz" in report.errors[0].sentence
    dyads, problems = usable_dyads(opened(root), "test")
    assert [str(p) for p in problems] == [report.errors[0].sentence]
    heard = [opened(root).sound(d.speaker).speech_probability.max() for d in dyads]
    assert heard and min(heard) > 0


def test_films_are_counted_whether_a_file_or_a_folder_of_images(root: Path) -> None:
    film(file(root, "Video_files", 0, suffix=".mp4"), 61)
    film(file(root, "Video_files", 1, suffix=".mp4"), 20)
    file(root, "Video_files", 2).mkdir(parents=True)
    for i in range(61):
        (file(root, "Video_files", 2) / f"{i + 1}.png").touch()
    file(root, "Video_files", 3).mkdir(parents=True)
    file(root, "Video_files", 3, "Novice_video").parent.mkdir(parents=True, exist_ok=True)
    file(root, "Video_files", 3, "Novice_video", ".mp4").write_bytes(b"no film")
    report = checked(root)
    video = report.totals["video"]
    assert (video.good, video.missing, video.bad) == (4, 3, 1)
    assert "20 frames, but its attributes 61" in report.warnings[0].sentence
    assert "0 images" in report.warnings[1].sentence
    assert len(report.warnings) == 2 and "cannot be read as a film" in report.errors[0].sentence
    assert len(usable_dyads(opened(root), "test")[0]) == 8, "nothing that runs needs the films"


def test_a_bad_clip_does_not_stop_a_run_unless_asked(root: Path) -> None:
    file(root, "Emotion", 1, suffix=".csv").write_text("AU1\n1\n")
    file(root, "Audio_files", 2, suffix=".wav").unlink()
    dyads, problems = usable_dyads(opened(root), "test")
    # Chat 1 is unusable in both roles; chat 2's expert as a speaker only.
    assert [d.index for d in dyads] == [0, 3, 4, 6, 7]
    assert [p.clip for p in problems] == ["NoXI/chat_1/Expert_video/2", "NoXI/chat_2/Expert_video/3"]
    with pytest.raises(CorpusError, match="chat_1/Expert_video/2"):
        usable_dyads(opened(root), "test", strict=True)


def test_a_check_reads_each_file_once_and_does_not_depend_on_processes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    real = Corpus.face_model
    monkeypatch.setattr(Corpus, "face_model", lambda self, person: parsed.append(person.name) or real(self, person))
    file(root, "Emotion", 0, suffix=".csv").unlink()
    here = checked(root)
    assert sorted(parsed) == sorted(p.name for p in opened(root).persons("test"))
    assert checked(root, jobs=2) == here


def test_mars_is_checked_at_the_rate_at_which_it_is_read(tmp_path: Path) -> None:
    root = tiny_corpus.write_mars(tmp_path, frames=91)
    assert check(opened(root), jobs=1).problems == []
    (root / "test/facial-attributes/listener/session1/Camera-1.npy").unlink()
    (root / "test/audio/speaker/session0/Camera-0.wav").unlink()
    report = check(opened(root), jobs=1)
    assert [(p.clip, p.modality) for p in report.errors] == [
        ("listener/session1/Camera-1", "attributes"),
        ("speaker/session0/Camera-0", "audio"),
    ]
