"""End to end by the command line: videos of people, corpus, check, training, evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from films import Image, gray, write_film
from footage import images
from typer.testing import CliRunner

from react_ros import assets
from react_ros.cli.main import app
from react_ros.corpus.from_video import START_NS, perceive
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.corpus.recorded import PersonTrack
from react_ros.face import FaceState
from react_ros.media.film_reader import Shot, fit
from react_ros.media.sound_reader import AudioBlock
from react_ros.perception.pipeline import Perception, PerceptionConfig

SECONDS = 31.0
RATE = 16_000


def face(start: float, seconds: float) -> Iterator[tuple[float, Image]]:
    """The demo's face from `start` s on, then from its beginning: one person plays both."""
    shown = list(images("demo-face"))
    first = next(i for i, (t, _) in enumerate(shown) if t >= start * 1e9)
    for i in range(round(seconds * 24)):
        yield i / 24.0, shown[(first + i) % len(shown)][1]


def voice(names: list[int], seconds: float) -> np.ndarray:
    """Another person's voice, repeated: audio and video are independent."""
    parts = [soundfile.read(assets.resolve(f"demo-voice-{n}"), dtype="int16")[0] for n in names]
    return np.resize(np.concatenate(parts), round(seconds * RATE))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two films of 31 s with sound, made of the demo's footage: other stretches, other voices, another container."""
    folder = tmp_path_factory.mktemp("films")
    return (
        write_film(folder / "ann.mp4", face(0.0, SECONDS), voice([1, 2], SECONDS), rate=RATE, codec="aac"),
        write_film(folder / "bob.mkv", face(9.0, SECONDS), voice([3, 4], SECONDS), rate=RATE),
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own for features; the footage stays where it is."""
    monkeypatch.setenv("REACT_ROS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    for asset in (ASSETS / a.file_name for a in assets.ASSETS.values()):
        if asset.is_file():
            (tmp_path / "cache" / asset.name).symlink_to(asset)


ASSETS = assets.cache_dir()


def said(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 2
    return result.output


def test_the_same_pictures_and_sound_give_the_same_bits_in_any_split_of_time() -> None:
    """Perception of a real face: a clip holds the features that the live robot would have received at that time."""
    shots = [Shot(START_NS + round(t * 1e9), fit(image, 640, 480)) for t, image in face(2.0, 2.0)]
    sound = voice([1], 2.0)
    blocks = [AudioBlock(START_NS + i * 20_000_000, i * 320, sound[i * 320 : (i + 1) * 320, None]) for i in range(100)]
    perception = Perception(PerceptionConfig(deterministic=True))
    tracks = []
    for _ in range(2):
        perception.reset()
        tracks.append(PersonTrack(START_NS))
        perceive(perception, shots, blocks, RATE, tracks[-1])
    perception.close()
    assert np.array_equal(tracks[0].face_model(), tracks[1].face_model())
    assert np.array_equal(tracks[0].sound(0, 48), sound[: 48 * 640])
    states = tracks[0].states()
    assert (states[5:] >= FaceState.HELD).all() and len(states) == 49
    assert tracks[0].face_model()[10, 57] < -0.2, "in front of the camera"


def test_films_without_a_usable_clip_leave_no_session_behind(tmp_path: Path) -> None:
    films = [write_film(tmp_path / f"{n}.mkv", ((i / 5, gray(0.5)) for i in range(155)), voice([1], SECONDS), rate=RATE)
             for n in "ab"]  # fmt: skip
    for _ in range(2):
        out = refused("corpus", "from-video", *films, "--out", tmp_path / "c")
        assert "clip 1 (0.00 s): faces seen in 0% and 0% of it; LEFT OUT" in out and "a_b: no clip can be used" in out


@pytest.mark.slow
def test_from_films_to_weights_that_are_evaluated(films: tuple[Path, Path], tmp_path: Path) -> None:
    ann, bob = films
    corpus = tmp_path / "people"
    out = said("corpus", "from-video", ann, bob, "--out", corpus, "--session", "first", "--site", "lab")
    assert "clip 1 (0.00 s): faces seen in 100% and 100% of it; written" in out
    assert "first: 1 of 1 clips of 30.04 s; the last 0.9" in out
    out = said("corpus", "from-video", bob, ann, "--out", corpus, "--split", "test", "--offset", "0.5", "--video")
    assert "bob_ann: 1 of 1 clips" in out
    assert "has a session first already" in refused("corpus", "from-video", ann, bob, "--out", corpus,
                                                    "--session", "first")  # fmt: skip

    out = said("corpus", "check", corpus, "--jobs", "1")
    assert "0 unusable, 0 odd" in out and "arkit52" in out and "Real people, recorded" in out
    opened = open_corpus(corpus, CorpusConfig())
    (person, _) = opened.persons("train")
    assert person.name == "lab/first/P1/1"
    assert opened.appropriate("test", jobs=1).shape == (2, 2)
    # Bob's film begins with what Ann's shows after 9 s.
    ann_smiles, bob_smiles = (opened.face_model(p)[:, 23] for p in opened.persons("train"))
    lags = [float(np.corrcoef(ann_smiles[lag:][:200], bob_smiles[:200])[0, 1]) for lag in range(400)]
    assert abs(int(np.argmax(lags)) - 9 * 25) <= 1 and max(lags) > 0.95
    # In the test split both begin half a second into Bob's film, where Ann's was begun.
    bob_again, ann_again = (opened.face_model(p)[:, 23] for p in opened.persons("test"))
    np.testing.assert_allclose(ann_again[:700], ann_smiles[:700], atol=0.15)
    late = [float(np.corrcoef(bob_smiles[lag:][:600], bob_again[:600])[0, 1]) for lag in range(30)]
    assert int(np.argmax(late)) in (12, 13) and max(late) > 0.95

    model = "{width: 8, layers: 1, heads: 2, feedforward: 16, self_window: 10, cross_window: 10, encoder_layers: 1}"
    small = [
        "stages.tokenizer.stage.model={width: 8, dilations: [1, 2], quantizer: {groups: 2}}",
        f"stages.encoder.stage.model={model}", f"stages.predictor.stage.model={model}",
        *(f"stages.{stage}.{key}" for stage in ("tokenizer", "encoder", "predictor") for key in ("batch=2", "crop=50")),
    ]  # fmt: skip
    run = tmp_path / "run"
    said("train", "fsq", "--corpus", corpus, "--out", run, "--steps-limit", "2", "--jobs", "1", "--device", "cpu",
         *(word for change in small for word in ("--set", change)))  # fmt: skip
    card = (run / "fsq.md").read_text()
    assert "recorded people" in card and "Real people, recorded" in card and "simulated" not in card

    row = f"fsq,weights={run / 'fsq'}"
    said("evaluate", row, "mime", "--corpus", corpus, "--out", tmp_path / "scores", "--samples", "2", "--jobs", "1")
    results = json.loads((tmp_path / "scores" / "results.json").read_text())
    assert "Real people, recorded" in json.dumps(results)
    assert "fsq" in json.dumps(results["rows"]) and np.isfinite(results["rows"][0]["official"]["FRCorr"]["mean"])


def test_what_is_wrong_with_the_words_is_one_sentence(films: tuple[Path, Path], tmp_path: Path) -> None:
    ann, bob = films
    command = ["corpus", "from-video", ann, bob, "--out", tmp_path / "c"]
    for words, says in (
        (["--session", "a/b"], "the session 'a/b' must be letters"),
        (["--split", "dev"], "there is no split 'dev'"),
        (["--offset", "nan"], "--offset nan"),
        (["--offset", "30"], "show both people for 0.99 s only"),
        (["--audio-a", tmp_path / "none.wav"], "none.wav cannot be read as sound"),
        (["--least-face", "3"], "least_face is 3"),
    ):
        assert says in " ".join(refused(*command, *words).split()), words
    assert not (tmp_path / "c").exists()
    assert "there is no folder" in refused("corpus", "from-seamless", tmp_path / "none", "--out", tmp_path / "c")
