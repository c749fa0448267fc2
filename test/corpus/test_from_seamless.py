"""Import of the Seamless Interaction data set: pairs by name, bad files named, killed runs resumed."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from seamless_run import CLIP_FRAMES

from react_ros import assets
from react_ros.corpus.clips import CorpusError
from react_ros.corpus.from_seamless import find_interactions, from_seamless
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.corpus.recorded import RecordedCorpus

Names = dict[str, list[str]]


def touched(root: Path, *names: str) -> Path:
    """Empty files: only their names matter."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pair(folder: str, interaction: str, *participants: str) -> list[str]:
    return [f"{folder}/{interaction}_P{p}.{kind}" for p in participants for kind in ("mp4", "wav", "npz", "json")]


def problems(folder: Path) -> dict[str, str]:
    return {i.name: i.problem for i in find_interactions(folder)}


# Names --------------------------------------------------------------------------------------------------------------

BATCH = "improvised/dev/0000/0012"


def test_two_people_of_one_interaction_are_a_session_of_their_split(tmp_path: Path) -> None:
    root = touched(
        tmp_path,
        *pair(BATCH, "V00_S0039_I00000582", "0061", "0054"),
        *pair("naturalistic/train/0001/0002", "V00_S0039_I00000583", "0061", "1212A"),
        *pair("naturalistic/test/0001/0003", "V01_S0039_I00000582", "0001", "0002"),
    )
    found = find_interactions(root)
    assert [(i.name, i.session and i.session.split, i.session and i.session.persons) for i in found] == [
        ("V00_S0039_I00000583", "train", ("P0061", "P1212A")),
        ("V00_S0039_I00000582", "val", ("P0054", "P0061")),
        ("V01_S0039_I00000582", "test", ("P0001", "P0002")),
    ]
    assert found[1].footage is not None and found[1].footage[0].sound == root / BATCH / "V00_S0039_I00000582_P0054.wav"


@pytest.mark.parametrize("depth", range(5))
def test_the_import_may_begin_at_any_folder(tmp_path: Path, depth: int) -> None:
    touched(tmp_path, *pair(BATCH, "V00_S0039_I00000582", "0061", "0054"))
    folder = tmp_path.joinpath(*BATCH.split("/")[:depth])
    (found,) = find_interactions(folder)
    assert found.session is not None and found.session.split == "val"


def test_a_folder_that_names_no_split_needs_one(tmp_path: Path) -> None:
    folder = touched(tmp_path / "some", *pair("0012", "V00_S0039_I00000582", "0061", "0054"))
    assert "is called train, dev or test: give --split" in problems(folder)["V00_S0039_I00000582"]
    (found,) = find_interactions(folder, "test")
    assert found.session is not None and found.session.split == "test"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (pair(BATCH, "V0_S1_I2", "3"), "it has 1 participants (3), but"),
        (pair(BATCH, "V0_S1_I2", "3", "4", "5"), "it has 3 participants (3, 4, 5), but"),
        ([n for n in pair(BATCH, "V0_S1_I2", "3", "4") if n[-6:] != "P4.wav"[-6:]], "the wav of participant 4 is"),
        ([n for n in pair(BATCH, "V0_S1_I2", "3", "4") if n[-6:] != "P3.mp4"[-6:]], "the mp4 of participant 3 is"),
        (pair(BATCH, "V0_S1_I2", "3") + pair("improvised/train/0/0", "V0_S1_I2", "4"), "in more than one split"),
        (pair(BATCH, "V0_S1_I2", "3", "4") + pair("improvised/dev/1/0", "V0_S1_I2", "4"), "is there twice"),
    ],
)
def test_unusable_pairs_are_named_with_the_reason(tmp_path: Path, names: list[str], says: str) -> None:
    assert says in problems(touched(tmp_path, *names))["V0_S1_I2"]


def test_another_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    touched(tmp_path, "talk.mp4", "V1_S2.mp4", "V1_S2_I3_P4.txt")
    with pytest.raises(CorpusError, match="has no files of the Seamless Interaction data set"):
        find_interactions(tmp_path)
    with pytest.raises(CorpusError, match="there is no folder"):
        find_interactions(tmp_path / "nowhere")


# Footage ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seamless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real faces, 2.4 s each: four interactions of the same two films, and four that cannot be used.

    The films are the same face in all, and the voices are somebody else's: what is tested is the bookkeeping.
    """
    root = tmp_path_factory.mktemp("seamless") / "data"
    voice, rate = soundfile.read(assets.resolve("demo-voice-1"), dtype="int16")
    face, nobody = (assets.resolve(f"footage-{name}") for name in ("single-face-video", "no-face"))

    def person(folder: str, name: str, film: Path, start: int) -> None:
        path = root / folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film, path)
        soundfile.write(path.with_suffix(".wav"), voice[start * rate :][: 3 * rate], rate)

    for i, folder in enumerate(("improvised/train/0/0", "improvised/train/0/1", BATCH, "naturalistic/test/0/0")):
        for p in range(2):
            person(folder, f"V00_S0001_I{i:04}_P{p}", face, p)
    person(BATCH, "V00_S0002_I0000_P0", face, 0)  # alone
    for p, film in enumerate((face, nobody)):
        person(BATCH, f"V00_S0003_I0000_P{p}", film, 0)
        person(BATCH, f"V00_S0004_I0000_P{p}", face, 0)
        person(BATCH, f"V00_S0005_I0000_P{p}", face, 0)
    (root / BATCH / "V00_S0004_I0000_P1.mp4").write_bytes(face.read_bytes()[:5000])
    soundfile.write(root / BATCH / "V00_S0005_I0000_P1.wav", voice[:100], 5000)
    return root


GOOD = [f"V00_S0001_I{i:04}" for i in range(4)]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def unusable(folder: Path) -> dict[str, str]:
    with (folder / "unusable.csv").open(newline="") as file:
        return {row["interaction"]: row["why"] for row in csv.DictReader(file)}


def start(folder: Path, out: Path, **environment: str) -> subprocess.Popen[str]:
    test = Path(__file__).parents[1]
    env = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join([str(test.parent), str(test)])}
    command = [sys.executable, str(test / "seamless_run.py"), str(folder), str(out)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)


def lines(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return [line.strip() for line in process.stdout]


@pytest.fixture(scope="module")
def unbroken(seamless: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of an uninterrupted run."""
    out = tmp_path_factory.mktemp("unbroken") / "corpus"
    process = start(seamless, out)
    said = lines(process)
    assert process.wait() == 0 and said[0] == "0 of 7" and said[-2] == "7 of 7"
    return out


def test_every_good_interaction_is_in_its_split(unbroken: Path) -> None:
    corpus = open_corpus(unbroken, CorpusConfig(frames=CLIP_FRAMES, cache=unbroken.parent / "cache"))
    assert {split: len(corpus.dyads(split)) for split in corpus.splits} == {"train": 8, "val": 4, "test": 4}
    assert "CC-BY-NC 4.0" in corpus.notice
    assert corpus.dyads("val")[0].speaker.name == "seamless/V00_S0001_I0002/P0/1"
    for person in corpus.persons("train"):
        smile = corpus.face_model(person)[:, 23]
        assert smile.max() > 0.01 and corpus.sound(person).mfcc[3:].any(), "a real face, a real voice"


def test_every_bad_one_is_named_with_its_reason(unbroken: Path) -> None:
    said = unusable(unbroken)
    assert set(said) == {f"V00_S000{i}_I0000" for i in range(2, 6)}
    assert "1 participants" in said["V00_S0002_I0000"]
    assert said["V00_S0003_I0000"] == "no clip can be used: the second person has no face in it"
    assert "P1.mp4" in said["V00_S0004_I0000"]
    assert "5000 Hz" in said["V00_S0005_I0000"]


def test_a_killed_import_resumes_and_writes_the_same_bytes(seamless: Path, unbroken: Path, tmp_path: Path) -> None:
    process = start(seamless, tmp_path / "c")
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("2 of"))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "c" / "recordings").glob("[!.]*.json")}
    assert 0 < len(finished) < 5
    again = start(seamless, tmp_path / "c")
    said = lines(again)
    assert again.wait() == 0 and said[-1] == f"{len(finished)} before"
    assert all(p.stat().st_mtime_ns == t for p, t in finished.items()), "nothing is done twice"
    assert everything(tmp_path / "c") == everything(unbroken)


def test_a_file_that_crashes_its_process_does_not_stop_the_others(
    seamless: Path, unbroken: Path, tmp_path: Path
) -> None:
    process = start(seamless, tmp_path / "c", KILLS=GOOD[1])
    lines(process)
    assert process.wait() == 0
    assert unusable(tmp_path / "c") == {
        **unusable(unbroken), GOOD[1]: "perceiving it crashed the process, also when it ran alone",
    }  # fmt: skip
    assert {r.session.name for r in RecordedCorpus(tmp_path / "c").records() if r.written} == set(GOOD) - {GOOD[1]}


def test_a_limit_takes_the_first_interactions_of_each_split(seamless: Path, tmp_path: Path) -> None:
    outcome = from_seamless(seamless / "improvised" / "train", tmp_path / "c", clip_frames=CLIP_FRAMES, limit=1, jobs=1)
    assert outcome.found == 1 and not outcome.unusable
    assert [r.session.name for r in RecordedCorpus(tmp_path / "c").records()] == GOOD[:1]
