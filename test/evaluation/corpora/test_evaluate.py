"""`react-ros evaluate` on a corpus: rows, resuming, and shards that merge to the same figures."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from official import literal_official
from tiny_corpus import write_mars, write_react2024

from react_ros.corpus.clips import CorpusError
from react_ros.corpus.mean_listener import write_mean_listener
from react_ros.corpus.reader import CorpusConfig, open_corpus
from react_ros.evaluation.corpora.plan import Plan, Row, Shard, parse_row, parse_shard
from react_ros.evaluation.corpora.run import prepare, run
from react_ros.evaluation.corpora.sources import open_source, other_speaker
from react_ros.evaluation.corpora.summary import Summary, summarise, write_results
from react_ros.evaluation.report.corpora_page import write_report
from react_ros.face import Reaction, SpeakerFrame
from react_ros.systems.mean.generator import load
from react_ros.systems.mime.generator import Mime

CLIPS = 10
FRAMES = 200


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten dyads, of which 0 to 4 are appropriate for each other, and so are 5 to 9."""
    root = tmp_path_factory.mktemp("corpus") / "react"
    write_react2024(
        root, sessions=CLIPS, splits=("train", "test"), frames=FRAMES, seed=3, arkit=True,
        settings={"scheme": "arkit52", "simulated": True, "role_swap": False, "notice": "Made for a test."},
    )  # fmt: skip
    matrix = np.kron(np.eye(4), np.ones((CLIPS // 2, CLIPS // 2)))  # (2n, 2n)
    for split in ("train", "test"):
        np.save(root / f"neighbour_emotion_{split}.npy", matrix)
    return root


def a_plan(corpus: Path, **given: object) -> Plan:
    return Plan(corpus, **{"frames": FRAMES, "samples": 3, **given})  # type: ignore[arg-type]


def evaluated(corpus: Path, out: Path, *rows: str, **given: object) -> Summary:
    prepared = prepare(a_plan(corpus, **given))
    return summarise(prepared, run(prepared, [parse_row(r) for r in rows], out, jobs=1))


def official(summary: Summary, row: str, metric: str) -> float:
    value = next(r for r in summary.rows if r.row.label == row).official[metric]
    assert value is not None
    return value.mean


@pytest.fixture(scope="module")
def baselines(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    rows = ("ground_truth", "another_listener", "random", "random:shuffled_speaker", "mime", "mime:shuffled_speaker",
            "mean_frame", "mean_sequence")  # fmt: skip
    return evaluated(corpus, tmp_path_factory.mktemp("out") / "all", *rows)


def test_the_real_listener_is_at_no_distance_from_the_real_listener(baselines: Summary) -> None:
    assert official(baselines, "ground_truth", "FRDist") == 0.0
    assert official(baselines, "ground_truth", "FRDiv") == 0.0
    corrected = baselines.rows[0].corrected["FRCorr"]
    assert corrected is not None and corrected.mean == pytest.approx(10.0)
    assert baselines.rows[0].motion == pytest.approx(0.0, abs=0.01)


def test_the_six_official_figures_of_a_file_are_those_of_the_official_procedure(tmp_path: Path) -> None:
    root = write_react2024(tmp_path / "corpus", sessions=4, frames=121, seed=5, modalities=("attributes",))
    rng = np.random.default_rng(6)
    # Neither symmetric nor block-symmetric, so that exchanged rows, columns or halves change the score.
    appropriate = rng.random((8, 8)) < 0.3
    appropriate[np.arange(8), (np.arange(8) * 3 + 1) % 8] = True
    np.save(root / "neighbour_emotion_test.npy", appropriate.astype(np.float64))
    predictions = np.cumsum(rng.normal(0.0, 0.1, (8, 3, 120, 25)), axis=2).astype(np.float32)
    np.save(tmp_path / "mine.npy", predictions)
    summary = evaluated(root, tmp_path / "out", f"predictions={tmp_path / 'mine.npy'}", frames=120)
    write_results(summary, tmp_path / "results.json")
    told = json.loads((tmp_path / "results.json").read_text())["rows"][0]["official"]

    def of(person: str) -> np.ndarray:
        files = [root / f"test/Emotion/NoXI/chat_{i}/{person}/{i + 1}.csv" for i in range(4)]
        return np.stack([np.loadtxt(f, delimiter=",", skiprows=1, dtype=np.float32)[:120] for f in files])

    experts, novices = of("Expert_video"), of("Novice_video")
    speakers, listeners = np.concatenate([experts, novices]), np.concatenate([novices, experts])
    expected = literal_official(predictions, speakers, listeners, appropriate)
    assert {name.lower(): value["mean"] for name, value in told.items()} == pytest.approx(expected, rel=1e-6)


def test_another_listener_is_never_compared_with_itself(baselines: Summary) -> None:
    assert official(baselines, "another_listener", "FRDist") > 1.0
    assert 0.0 < official(baselines, "another_listener", "FRCorr") < official(baselines, "ground_truth", "FRCorr")


def test_another_listener_takes_appropriate_listeners_only_and_all_of_them(corpus: Path) -> None:
    prepared = prepare(a_plan(corpus, samples=5))
    source = open_source(Row("another_listener"), prepared.corpus, prepared.plan, prepared.dyads, prepared.appropriate)
    assert sorted(source.react(prepared.dyads[7]).left_out) == [5, 6, 7, 8, 9]  # type: ignore[type-var]


def test_a_shuffled_generator_never_sees_an_appropriate_listener(tmp_path: Path) -> None:
    root = write_react2024(tmp_path / "corpus", sessions=6, frames=61, modalities=("attributes",))
    np.save(root / "neighbour_emotion_test.npy", np.kron(np.eye(6), np.ones((2, 2))))
    prepared = prepare(a_plan(root, frames=60))
    for dyad in prepared.dyads:
        right = {d.listener for d in prepared.dyads if prepared.appropriate[dyad.index, d.index]} | {dyad.listener}
        for seed in range(10):
            other = other_speaker(dyad, prepared.dyads, prepared.appropriate, seed)
            # With swapped roles the listener of this dyad speaks in another: to mime that is no shuffling.
            assert not prepared.appropriate[dyad.index, other.index] and other.speaker not in right


def test_uniform_noise_scores_as_published(baselines: Summary) -> None:
    assert official(baselines, "random", "FRVar") == pytest.approx(1 / 12, rel=0.02)
    assert official(baselines, "random", "FRDiv") == pytest.approx(1 / 6, rel=0.02)
    assert official(baselines, "random", "FRDvs") == pytest.approx(1 / 6, rel=0.02)


def test_the_mean_frame_is_constant_and_scores_an_official_frsyn_of_49(baselines: Summary) -> None:
    assert official(baselines, "mean_frame", "FRSyn") == 49.0
    assert official(baselines, "mean_frame", "FRVar") == 0.0
    assert official(baselines, "mean_frame", "FRCorr") == pytest.approx(0.0, abs=1e-9)


def test_the_mean_sequence_is_the_mean_of_the_training_listeners(corpus: Path, tmp_path: Path) -> None:

    opened = open_corpus(corpus, CorpusConfig(frames=FRAMES))
    write_mean_listener(opened, tmp_path / "mean.safetensors")
    listeners = np.stack([opened.attributes(d.listener) for d in opened.dyads("train")])
    assert load(tmp_path / "mean.safetensors").attributes == pytest.approx(listeners.mean(axis=0), abs=2e-3)


def test_a_generator_that_ignores_its_input_has_no_gap(baselines: Summary) -> None:
    gap = next(g for g in baselines.gaps if g.label == "random")
    assert gap.difference.mean == 0.0


def test_mime_is_in_time_with_its_own_speaker_only(baselines: Summary) -> None:
    own, other = (next(r for r in baselines.rows if r.row == Row("mime", shuffled=s)) for s in (False, True))
    assert (own.offsets == 0.0).mean() > 0.9
    assert np.abs(other.offsets).mean() > 5.0


def test_shards_of_other_machines_merge_to_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    rows = [parse_row(r) for r in ("ground_truth", "attentive", "random")]
    prepared = prepare(a_plan(corpus))
    whole = run(prepared, rows, tmp_path / "whole", jobs=1)
    # The corpus lies elsewhere on the other machine.
    elsewhere = shutil.copytree(corpus, tmp_path / "elsewhere")
    for i in (1, 2):
        there = prepare(a_plan(elsewhere))
        assert not run(there, rows, tmp_path / f"shard{i}", shard=Shard(i, 3), jobs=1)
    merged = run(prepared, rows, tmp_path / "merged", merge=[tmp_path / "shard1", tmp_path / "shard2"], jobs=1)
    for name, results in (("whole", whole), ("merged", merged)):
        write_results(summarise(prepared, results), tmp_path / f"{name}.json")
    assert (tmp_path / "merged.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert json.loads((tmp_path / "whole.json").read_text())["rows"][1]["official"]["FRDvs"]["mean"] > 0.0


def test_a_resumed_run_computes_missing_blocks_only(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(a_plan(corpus))
    rows, out = [parse_row("random")], tmp_path / "out"
    first = summarise(prepared, run(prepared, rows, out, jobs=1)).to_dict()
    blocks = sorted(out.glob("rows/*/block-*.npz"))
    before = {path: path.stat().st_mtime_ns for path in blocks}
    blocks[1].unlink()
    told: list[tuple[int, int]] = []
    again = summarise(prepared, run(prepared, rows, out, jobs=1, progress=lambda *t: told.append(t))).to_dict()
    assert told[0] == (len(prepared.dyads) - len(prepared.blocks[1]), len(prepared.dyads))
    assert json.dumps(again) == json.dumps(first)
    assert [p for p in blocks if p.stat().st_mtime_ns != before[p]] == [blocks[1]]


@pytest.mark.slow
def test_a_killed_evaluation_is_finished_by_the_same_command(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "react_ros", "evaluate", "attentive", "random", "--corpus", str(corpus),
               "--frames", str(FRAMES), "--samples", "3", "--out", str(out), "--jobs", "2"]  # fmt: skip
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 60
    while not list(out.glob("rows/*/block-*.npz")) and killed.poll() is None:
        assert time.monotonic() < until, "no block within a minute"
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (out / "results.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole = evaluated(corpus, tmp_path / "whole", "attentive", "random")
    write_results(whole, tmp_path / "whole.json")
    assert json.loads((out / "results.json").read_text()) == json.loads((tmp_path / "whole.json").read_text())


def test_a_folder_of_another_evaluation_is_refused_by_name(corpus: Path, tmp_path: Path) -> None:
    evaluated(corpus, tmp_path / "out", "random")
    with pytest.raises(ValueError, match=r"holds an evaluation with samples 3, not 2"):
        evaluated(corpus, tmp_path / "out", "random", samples=2)
    changed = shutil.copytree(corpus, tmp_path / "changed")
    path = next((changed / "test" / "Emotion").rglob("*.csv"))
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(ValueError, match="of other data or by other code"):
        evaluated(changed, tmp_path / "out", "random")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    with pytest.raises(ValueError, match="holds no evaluation"):
        evaluated(corpus, tmp_path / "mine", "random")


def test_a_bad_clip_is_named_and_left_out_unless_strict(corpus: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(corpus, tmp_path / "broken")
    path = broken / "test/Emotion/NoXI/chat_2/Novice_video/3.csv"
    lines = path.read_text().splitlines()
    lines[8] = ",".join(["nan", *lines[8].split(",")[1:]])
    path.write_text("\n".join(lines))
    summary = evaluated(broken, tmp_path / "out", "ground_truth")
    assert summary.clips == CLIPS - 1
    assert len(summary.problems) == 1
    assert re.search(r"chat_2/Novice_video/3.*AU1", summary.problems[0])
    with pytest.raises(CorpusError, match=r"chat_2/Novice_video/3.*AU1"):
        prepare(a_plan(broken), strict=True)


def test_predictions_from_a_file_score_as_their_generator(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(a_plan(corpus))
    row = parse_row("attentive")
    blocks = run(prepared, [row], tmp_path / "out", jobs=1, save_predictions=True)
    kept: dict[str, np.ndarray] = {}
    for path in sorted((tmp_path / "out").glob("rows/attentive-*/reactions-*.npz")):
        with np.load(path) as file:
            kept |= dict(file)
    np.save(tmp_path / "mine.npy", np.stack([kept[str(i)] for i in range(CLIPS)]))
    mine = parse_row(f"predictions={tmp_path / 'mine.npy'}")
    theirs = summarise(prepared, blocks).rows[0]
    scored = summarise(prepared, run(prepared, [mine], tmp_path / "out", jobs=1)).rows[0]
    assert scored.official == theirs.official
    assert scored.motion == theirs.motion


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((CLIPS - 1, 3, FRAMES, 25), np.float32), r"have shape \(9, 3, 200, 25\).*need \(10, 3, 200, 25"),
        (np.zeros((CLIPS, 3, FRAMES, 24), np.float32), "24 channels"),
        (np.zeros((CLIPS, 3, FRAMES, 25), np.int32), "int32"),
        (np.zeros((CLIPS, 25), np.float32), "have shape"),
    ],
)
def test_predictions_that_do_not_fit_are_one_sentence(
    corpus: Path, tmp_path: Path, array: np.ndarray, says: str
) -> None:
    np.save(tmp_path / "mine.npy", array)
    with pytest.raises(ValueError, match=says):
        evaluated(corpus, tmp_path / "out", f"predictions={tmp_path / 'mine.npy'}")


def test_a_prediction_that_is_not_finite_names_clip_sample_column_and_frame(corpus: Path, tmp_path: Path) -> None:
    array = np.full((CLIPS, 3, FRAMES, 25), 0.5, np.float32)
    array[4, 2, 17, 15] = np.nan
    np.save(tmp_path / "mine.npy", array)
    summary = evaluated(corpus, tmp_path / "out", f"predictions={tmp_path / 'mine.npy'}")
    (sentence,) = summary.rows[0].failed
    assert re.search(r"chat_4/Expert_video/5: sample 2 .* valence in frame 17", sentence)
    assert summary.rows[0].clips == CLIPS - 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("atentive", "no row 'atentive'"),
        ("attentive,noding=1", "no parameter 'noding'"),
        ("attentive,nodding", "is not parameter=value"),
        ("attentive,nodding=9", "from 0 to 2"),
        ("ground_truth:shuffled_speaker", "neither parameters nor a variant"),
        ("mime:reversed", "after a colon only shuffled_speaker"),
        ("attentive,nodding=[1", r"'\[1' is not a value for nodding"),
        ("predictions=", r"name the file, predictions=FILE\.npy"),
    ],
)
def test_an_impossible_row_is_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_row(text)


def test_a_row_without_any_clip_has_a_reason_and_the_others_are_scored(tmp_path: Path) -> None:
    root = write_react2024(tmp_path / "corpus", sessions=5, frames=61, settings={"role_swap": False})
    np.save(root / "neighbour_emotion_test.npy", np.eye(10))
    summary = evaluated(root, tmp_path / "out", "another_listener", "random", frames=60)
    alone, random = summary.rows
    assert (alone.clips, len(alone.failed), random.clips) == (0, 5, 5)
    assert "needs two" in alone.failed[0] and set(alone.official.values()) == {None}
    assert "another_listener" in write_report(summary)


def test_a_block_of_bad_clips_leaves_the_figures_of_the_others(corpus: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(1).random((CLIPS, 3, FRAMES, 25), dtype=np.float32)
    array[:4] = np.nan  # the whole first block
    np.save(tmp_path / "mine.npy", array)
    summary = evaluated(corpus, tmp_path / "out", f"predictions={tmp_path / 'mine.npy'}")
    row = summary.rows[0]
    assert (row.clips, len(row.failed)) == (CLIPS - 4, 4)
    variance = row.official["FRVar"]
    assert variance is not None and variance.mean == pytest.approx(1 / 12, rel=0.02)


def test_modalities_that_a_corpus_lacks_entirely_are_no_error(corpus: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(corpus, tmp_path / "bare")
    for split in ("train", "test"):
        shutil.rmtree(bare / split / "3D_FV_files")
        shutil.rmtree(bare / split / "Audio_files")
    summary = evaluated(bare, tmp_path / "out", "attentive", "mean_frame")
    assert [(r.clips, r.failed) for r in summary.rows] == [(CLIPS, [])] * 2


def test_the_mean_listener_leaves_out_unreadable_listeners(corpus: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(corpus, tmp_path / "broken")
    (broken / "train/Emotion/NoXI/chat_2/Novice_video/3.csv").unlink()
    opened = open_corpus(broken, CorpusConfig(frames=FRAMES))
    (sentence,) = write_mean_listener(opened, tmp_path / "mean.safetensors")
    assert "chat_2/Novice_video/3: its attributes are missing" in sentence
    kept = [opened.attributes(d.listener) for d in opened.dyads("train") if d.index != 2]
    assert load(tmp_path / "mean.safetensors").attributes == pytest.approx(np.mean(kept, axis=0), abs=2e-3)


def test_a_damaged_block_is_one_sentence_that_names_it(corpus: Path, tmp_path: Path) -> None:
    evaluated(corpus, tmp_path / "out", "ground_truth")
    block = next((tmp_path / "out").glob("rows/*/block-0001.npz"))
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"block-0001\.npz is not a block of an evaluation \(delete it"):
        evaluated(corpus, tmp_path / "out", "ground_truth")


def test_reactions_requested_later_are_stored_too(corpus: Path, tmp_path: Path) -> None:
    prepared, rows = prepare(a_plan(corpus)), [parse_row("random")]
    run(prepared, rows, tmp_path / "out", jobs=1)
    run(prepared, rows, tmp_path / "out", jobs=1, save_predictions=True)
    assert len(list((tmp_path / "out").glob("rows/*/reactions-*.npz"))) == len(prepared.blocks)


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "a/b", "-1/2"])
def test_an_impossible_shard_is_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="shard is"):
        parse_shard(text)


def test_a_rows_label_parses_to_the_same_row() -> None:
    row = parse_row("attentive,nodding=0.5,mimicry=2:shuffled_speaker")
    assert parse_row(row.label) == row
    assert row.shuffled and dict(row.parameters) == {"mimicry": 2, "nodding": 0.5}


def test_binarized_units_are_rounded_before_all_metrics(corpus: Path, tmp_path: Path) -> None:
    plain = evaluated(corpus, tmp_path / "plain", "random")
    rounded = evaluated(corpus, tmp_path / "rounded", "random", binarize=True)
    # 15 of 25 channels of variance 1/4 instead of 1/12.
    assert official(rounded, "random", "FRVar") == pytest.approx((15 / 4 + 10 / 12) / 25, rel=0.03)
    assert official(plain, "random", "FRVar") == pytest.approx(1 / 12, rel=0.02)


def test_offline_a_generator_is_given_the_whole_clip_and_online_it_is_not(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks_ahead(self: Mime, frames: Sequence[SpeakerFrame], *, samples: int = 1, seed: int = 0) -> list[Reaction]:
        """The speaker's face 12 frames ahead, which needs the whole clip."""
        late = self.generate(frames, samples=samples, seed=seed)
        return [late[min(k + 12, len(late) - 1)] for k in range(len(late))]

    monkeypatch.setattr(Mime, "generate_offline", looks_ahead)
    online = evaluated(corpus, tmp_path / "online", "mime").rows[0]
    offline = evaluated(corpus, tmp_path / "offline", "mime", protocol="offline").rows[0]
    assert np.median(online.offsets) == 0.0
    assert np.median(offline.offsets) == 12.0


def test_a_generator_without_look_ahead_scores_the_same_in_both_protocols(corpus: Path, tmp_path: Path) -> None:
    online = evaluated(corpus, tmp_path / "online", "attentive").rows[0]
    offline = evaluated(corpus, tmp_path / "offline", "attentive", protocol="offline").rows[0]
    assert offline.official == online.official


def test_mars_clips_of_different_lengths_are_scored(tmp_path: Path) -> None:
    root = write_mars(tmp_path / "mars", sessions=(0, 1), clips=3, frames=300, splits=("train", "test"))
    summary = evaluated(root, tmp_path / "out", "ground_truth", "another_listener", "mime", frames=750)
    assert summary.clips == 12
    assert [r.failed for r in summary.rows] == [[], [], []]
    assert official(summary, "ground_truth", "FRDist") == 0.0


def test_the_page_shows_every_row_and_references_no_other_file(baselines: Summary) -> None:
    page = write_report(baselines, "a test machine")
    for row in baselines.rows:
        assert row.row.label in page
    assert "Made for a test." in page and "say nothing about real people" in page
    assert "FSQ transformer" in page.split("Printed in papers")[1]
    assert page.count("<svg") == 4
    links = re.findall(r"""(?:src|href)=["'](?!#)([^"']+)""", page)
    assert not [link for link in links if not link.startswith("#")]


def test_results_are_json_that_others_can_read(baselines: Summary, tmp_path: Path) -> None:
    write_results(baselines, tmp_path / "results.json")
    told = json.loads((tmp_path / "results.json").read_text(), parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert {r["row"] for r in told["rows"]} == {r.row.label for r in baselines.rows}
    assert told["plan"]["samples"] == 3
    assert all(set(r["official"]) == {"FRCorr", "FRDist", "FRDiv", "FRVar", "FRDvs", "FRSyn"} for r in told["rows"])
