"""`react-ros evaluate --bag`: figures equal the metric functions on time-aligned arrays of the bag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from rehearsal import simulated_speaker
from typer.testing import CliRunner

from react_ros.bags.errors import BagError
from react_ros.bags.participants import TopicChoice
from react_ros.bags.person_topics import PersonTopics
from react_ros.bags.reader import Bag
from react_ros.bags.timeline import timeline_of
from react_ros.bags.types import FACTORY, new_message, serialise
from react_ros.bags.writer import BagWriter, Storage
from react_ros.cli.main import app
from react_ros.evaluation.corpora.plan import Row
from react_ros.evaluation.corpora.summary import RowSummary
from react_ros.evaluation.metrics.challenge import Mode, evaluate_arrays, frvar
from react_ros.evaluation.report.sessions_page import write_sessions_report
from react_ros.evaluation.sessions.evaluate import evaluate_sessions
from react_ros.evaluation.sessions.results import SessionEvaluation, SessionOptions, write_results
from react_ros.evaluation.sessions.sources import parse_session_row
from react_ros.face import FRAME_NS, FaceState, Reaction, SpeakerFrame
from react_ros.generators import registry
from react_ros.messages.features import frame_from_message
from react_ros.replay.recorded_session import read_person, read_session
from react_ros.replay.speaker_frames import UnusableData

T0 = 1_700_000_000_000_000_000
SPEAKER, LISTENER = "/robot/speaker/features", "/other/speaker/features"
FEATURES = "react_ros/msg/SpeakerFeatures"
OPTIONS = SessionOptions(samples=2, frames=150)


def person(seed: int, frames: int) -> list[SpeakerFrame]:
    return [replace(f, stamp_ns=T0 + f.stamp_ns) for f in simulated_speaker(seed, frames)]


def answered(frames: Sequence[SpeakerFrame], name: str = "attentive", samples: int = 2) -> list[Reaction]:
    return registry.create(name).generate(frames, samples=samples, seed=0)


def write_bag(
    path: Path,
    speaker: Sequence[SpeakerFrame],
    listener: Sequence[SpeakerFrame] = (),
    reactions: Sequence[Reaction] = (),
    *,
    delay: int = 0,
    source: int = 30_000_000,
    more: Sequence[tuple[str, int, Any]] = (),
    storage: Storage = "mcap",
) -> Path:
    """source: delay of a frame's image after the frame's stamp, ns."""
    messages: list[tuple[str, int, Any]] = list(more)
    messages += [(SPEAKER, f.stamp_ns + 50_000_000, FACTORY.speaker(f, {}, f.stamp_ns + source)) for f in speaker]
    messages += [(LISTENER, f.stamp_ns + 50_000_000, FACTORY.speaker(f, {}, f.stamp_ns)) for f in listener]
    if reactions:
        stream = new_message("react_ros/msg/ListenerStream", generator="attentive", samples=2, delay=delay)
        messages.append(("/robot/listener/stream", reactions[0].stamp_ns, stream))
    for r in reactions:
        lineage = new_message("react_ros/msg/Lineage", frame=r.index, source_stamp=FACTORY.time(r.stamp_ns + source))
        messages.append(("/robot/listener/reaction", r.stamp_ns + 60_000_000, FACTORY.reaction(r, lineage, delay)))
    writer = BagWriter(path, storage)
    for k, (topic, time_ns, message) in enumerate(sorted(messages, key=lambda m: m[1])):
        writer.write(topic, message.__msgtype__, time_ns, serialise(message))
        if k % 100 == 0:  # the recorder does so every second
            writer.flush()
    writer.close()
    return path


def oracle(
    reactions: Sequence[Reaction], speaker: Sequence[SpeakerFrame], listener: Sequence[SpeakerFrame], mode: Mode
) -> Any:
    """The official functions, on two clips of 150 frames; the listener's frames are taken one by one."""
    wire = [np.stack([f.face.attributes for f in person]).astype(np.float32) for person in (speaker, listener)]
    made = np.stack([r.attributes for r in reactions], axis=1)[:, :300]
    speakers, listeners = (x[:300].reshape(2, 150, 25) for x in wire)
    predictions = made.reshape(len(made), 2, 150, 25).transpose(1, 0, 2, 3)
    return evaluate_arrays(predictions, speakers, listeners, np.eye(2, dtype=bool), mode)


def row_of(result: SessionEvaluation, label: str) -> RowSummary:
    return next(r for r in result.rows if r.row.label == label)


def expect(row: RowSummary, speaker: Any, listener: Any, reactions: Sequence[Reaction]) -> None:
    modes: tuple[Mode, Mode] = ("official", "corrected")
    for mode, values in zip(modes, (row.official, row.corrected), strict=True):
        theirs = oracle(reactions, speaker, listener, mode)
        for name in ("FRCorr", "FRDist", "FRDiv", "FRVar", "FRDvs", "FRSyn"):
            value = values[name]
            assert value is not None and value.mean == pytest.approx(getattr(theirs, name.lower()), rel=1e-5), name


@pytest.fixture(scope="module")
def people() -> tuple[list[SpeakerFrame], list[SpeakerFrame], list[Reaction]]:
    """A speaker and a listener of 14.8 s: two clips of 150 frames, 70 frames left over."""
    speaker = person(1, 370)
    return speaker, person(2, 370), answered(speaker)


@pytest.fixture(scope="module")
def bag(people: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("evaluate_sessions") / "bag", *people)


# The figures


def test_figures_are_the_official_functions_on_the_same_arrays(bag: Path, people: Any) -> None:
    speaker, listener, reactions = people
    result = evaluate_sessions(
        [bag], [Row("recorded"), parse_session_row("attentive"), Row("ground_truth")], options=OPTIONS
    )
    assert result.left_out == [] and result.bags[0].left_over == pytest.approx(2.8)
    assert result.bags[0].clips == [(0.0, 6.0), (6.0, 12.0)] and result.bags[0].listener_seen == 1.0
    expect(row_of(result, "recorded"), speaker, listener, reactions)
    truth = row_of(result, "ground_truth")
    assert truth.corrected["FRCorr"] is not None and truth.corrected["FRCorr"].mean == pytest.approx(10.0)
    assert truth.official["FRDist"] is not None and truth.official["FRDist"].mean == pytest.approx(0.0, abs=1e-6)
    assert len(truth.timing.clips) == 2, "a face that is repeated is timed once"
    # The same generator with the same seed hears the same frames: a live session comes again to the bit.
    recorded, again = ({**r, "row": ""} for r in result.to_dict()["rows"][:2])
    assert recorded == again


def test_people_are_aligned_by_stamps_not_by_frame_indices(people: Any, tmp_path: Path) -> None:
    """A listener who begins a second later, with other frame indices and stamps between the speaker's."""
    speaker, listener, reactions = people
    late = [replace(f, index=f.index + 7000, stamp_ns=f.stamp_ns + 1_000_000_000 - 13_000_000) for f in listener[:-25]]
    bag = write_bag(tmp_path / "late", speaker, late, reactions)
    result = evaluate_sessions([bag], [Row("recorded")], options=OPTIONS)
    expect(row_of(result, "recorded"), speaker, [listener[0]] * 25 + listener[:-25], reactions)
    assert result.bags[0].listener_seen == pytest.approx(1 - 25 / 300)


def test_a_deliberate_delay_is_part_of_what_was_shown(people: Any, tmp_path: Path) -> None:
    speaker, listener, reactions = people
    bag = write_bag(tmp_path / "delayed", speaker, listener, reactions, delay=10)
    delayed = [reactions[0]] * 10 + list(reactions)
    expect(row_of(evaluate_sessions([bag], [Row("recorded")], options=OPTIONS), "recorded"), speaker, listener, delayed)


def test_single_missing_frames_are_bridged_and_a_long_pause_ends_a_stretch(tmp_path: Path) -> None:
    speaker = person(3, 400)
    bag = write_bag(tmp_path / "gaps", [f for f in speaker if f.index not in (40, 41) and not 200 <= f.index < 240])
    session = read_session(bag, TopicChoice(), samples=1)
    assert session.timeline.stretches == ((0, 200), (200, 360))
    assert session.timeline.rows[38:44].tolist() == [38, 39, 39, 39, 40, 41]
    assert np.diff(session.timeline.times)[199] == 41 * FRAME_NS
    assert len(session.losses.gaps) == 1, "of more than three frames"
    result = evaluate_sessions([bag], [Row("attentive")], options=OPTIONS)
    assert result.bags[0].clips == [(0.0, 6.0), (8.0, 14.0)]
    stream = registry.create("attentive").start(samples=2, seed=0)
    heard = [stream.step(session.speaker.frame(k)) for k in range(358)]
    shown = [heard[k] for k in session.timeline.rows]
    both = [*shown[:150], *shown[200:350]]
    clips = [np.stack([r.attributes for r in clip], axis=1) for clip in (both[:150], both[150:])]
    expected = np.mean([frvar(clip) for clip in clips])
    value = row_of(result, "attentive").official["FRVar"]
    assert value is not None and value.mean == pytest.approx(expected, rel=1e-5)


def test_without_a_human_listener_the_other_metrics_are_computed(people: Any, tmp_path: Path) -> None:
    speaker, _, reactions = people
    bag = write_bag(tmp_path / "alone", speaker, (), reactions)
    result = evaluate_sessions([bag], [], options=OPTIONS)
    (row,) = result.rows
    assert row.row == Row("recorded") and not result.with_listener and not row.failed
    assert [name for name, value in row.official.items() if value is None] == ["FRCorr", "FRDist"]
    assert row.motion is None and row.attributes_test is None and len(row.timing.clips) == 4
    assert "in no bag" in write_sessions_report(result)
    with pytest.raises(ValueError, match="ground_truth: no bag holds a human listener"):
        evaluate_sessions([bag], [Row("ground_truth")], options=OPTIONS)
    with pytest.raises(ValueError, match="name a second bag"):
        evaluate_sessions([bag], [parse_session_row("mime:shuffled_speaker")], options=OPTIONS)


def test_clips_with_a_rarely_seen_listener_are_not_compared(people: Any, tmp_path: Path) -> None:
    speaker, listener, reactions = people
    gone = [replace(f, face=replace(f.face, state=FaceState.NOBODY)) if f.index < 60 else f for f in listener]
    result = evaluate_sessions(
        [write_bag(tmp_path / "seldom", speaker, gone, reactions)], [Row("ground_truth")], options=OPTIONS
    )
    (row,) = result.rows
    assert row.clips == 1 and "listener is seen in 60 % of it" in row.failed[0]


def test_without_reactions_the_default_generator_listens(people: Any, tmp_path: Path) -> None:
    result = evaluate_sessions(
        [write_bag(tmp_path / "bare", people[0])], [], options=SessionOptions(samples=1, frames=370)
    )
    assert [r.row.name for r in result.rows] == [registry.DEFAULT]
    with pytest.raises(ValueError, match="no bag holds reactions"):
        evaluate_sessions([tmp_path / "bare"], [Row("recorded")], options=OPTIONS)


# Several bags


def test_two_bags_and_two_generators_make_one_table(bag: Path, tmp_path: Path) -> None:
    speaker = person(5, 320)
    other = write_bag(tmp_path / "other", speaker, person(6, 320))
    rows = [parse_session_row(text) for text in ("mime", "attentive", "attentive:shuffled_speaker", "recorded")]
    result = evaluate_sessions(
        [bag, other, tmp_path / "nothing"], rows, TopicChoice(listener_features=LISTENER), OPTIONS
    )
    assert len(result.left_out) == 1 and "nothing cannot be read: it does not exist" in result.left_out[0]
    assert [r.clips for r in result.rows] == [4, 4, 4, 2]
    assert len(row_of(result, "recorded").failed) == 2, "the other bag has no reactions"
    for k in range(3):
        parts = [b.summary.rows[k].official["FRCorr"] for b in result.bags]
        whole = result.rows[k].official["FRCorr"]
        assert whole is not None and whole.mean == pytest.approx(np.mean([p.mean for p in parts if p]))
    # The attentive listener in the other bag, alone, is the one in the table.
    alone = evaluate_sessions(
        [other], [parse_session_row("attentive")], TopicChoice(listener_features=LISTENER), OPTIONS
    )
    assert alone.rows[0].official["FRDist"] == result.bags[1].summary.rows[1].official["FRDist"]
    assert [g.label for g in result.summary.gaps] == ["attentive"]
    assert row_of(result, "mime").attributes_test is not None, "two bags are two groups"
    page = write_sessions_report(result)
    assert page.count("Message rates") == 2 and "Does it listen?" in page and "<svg" in page


def test_a_truncated_bag_is_read_as_far_as_it_goes(bag: Path, tmp_path: Path) -> None:
    file = next(bag.glob("*.mcap"))
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / file.name).write_bytes(file.read_bytes()[: int(0.8 * file.stat().st_size)])
    result = evaluate_sessions([torn], [Row("recorded")], options=OPTIONS)
    assert any("was not closed" in n for n in result.bags[0].session.notices)
    whole = evaluate_sessions([bag], [Row("recorded")], options=OPTIONS)
    assert result.bags[0].clips == [(0.0, 6.0)] and 6.0 < len(result.bags[0].session.timeline) / 25 < 12.0
    assert result.rows[0].frcorr[0] == whole.rows[0].frcorr[0], "the first clip is whole"


def test_bad_bags_are_one_sentence(people: Any, tmp_path: Path) -> None:
    short = write_bag(tmp_path / "short", people[0][:100])
    with pytest.raises(BagError, match=r"holds 4\.0 s of a speaker: 6 s without a pause are needed"):
        evaluate_sessions([short], [Row("mime")], options=OPTIONS)
    with pytest.raises(BagError, match="does not exist"):
        evaluate_sessions([tmp_path / "nothing"], [], options=OPTIONS)
    with pytest.raises(BagError, match="has no topic /nobody"):
        evaluate_sessions([short], [], TopicChoice(listener_features="/nobody"), OPTIONS)
    for text, sentence in (("recorded,x=1", "neither parameters"), ("another_listener", "needs a corpus"),
                           ("predictions=x.npy", "needs a corpus"), ("nobody", "there is no row")):  # fmt: skip
        with pytest.raises(ValueError, match=sentence):
            parse_session_row(text)
    with pytest.raises(ValueError, match="name one or the other"):
        TopicChoice(listener_features="/a", listener_image="/b")


# What is in the arrays


def test_the_arrays_of_a_person_give_the_same_frames_again(bag: Path) -> None:
    with Bag(bag) as opened:
        track = read_person(opened, PersonTopics(features=SPEAKER), UnusableData())
        frames = [frame_from_message(m.message) for m in opened.messages([SPEAKER])]
    assert len(track) == 370
    for k in (0, 123, 369):
        assert repr(track.frame(k)) == repr(frames[k])


def test_a_clock_that_is_set_back_begins_a_new_stretch() -> None:
    line = timeline_of(np.array([0, 1, 2, 3, -50, -49, -47]) * FRAME_NS + T0)
    assert line.stretches == ((0, 4), (4, 8)) and line.slots.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert line.rows.tolist() == [0, 1, 2, 3, 4, 5, 5, 6]


def test_the_listener_is_found_where_it_is_unambiguous(people: Any, bag: Path, tmp_path: Path) -> None:
    assert read_session(bag, TopicChoice(), samples=1).listener_inputs == PersonTopics(features=LISTENER)
    swapped = read_session(bag, TopicChoice(listener_features=SPEAKER), samples=1)
    assert swapped.inputs == PersonTopics(features=LISTENER) and swapped.listener_inputs == PersonTopics(
        features=SPEAKER
    )
    doubt = write_bag(tmp_path / "doubt", people[0], people[1])
    with pytest.raises(BagError, match="2 speaker features: say which with --features"):
        read_session(doubt, TopicChoice(), samples=1)
    assert read_session(doubt, TopicChoice(features=SPEAKER), samples=1).listener is not None


def test_a_listener_before_a_second_camera_goes_through_the_robots_perception(people: Any, tmp_path: Path) -> None:
    from footage import images

    more = []
    for k, (_, image) in enumerate(islice(images("demo-face"), 120)):
        data = np.frombuffer(cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes(), np.uint8)
        header = FACTORY.header(FACTORY.time(T0 + k * FRAME_NS))
        image = new_message("sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=data)
        more.append(("/desk/camera/image_raw/compressed", T0 + k * FRAME_NS + 3_000_000, image))
    bag = write_bag(tmp_path / "desk", people[0][:110], (), people[2][:110], more=more)
    choice = TopicChoice(listener_image="/desk/camera/image_raw/compressed")
    result = evaluate_sessions([bag], [Row("recorded"), Row("ground_truth")], choice, SessionOptions(2, frames=100))
    assert result.bags[0].session.listener_inputs == PersonTopics(image="/desk/camera/image_raw/compressed")
    assert (result.bags[0].listener_seen or 0.0) > 0.9
    truth = row_of(result, "ground_truth").corrected["FRCorr"]
    recorded = row_of(result, "recorded").corrected["FRCorr"]
    assert truth is not None and truth.mean == pytest.approx(10.0) and recorded is not None and recorded.mean < 5.0


# What was lost


@pytest.mark.parametrize("counter", ["late chunks", "late plans"])
def test_losses_are_counted_also_in_bags_of_older_versions(people: Any, tmp_path: Path, counter: str) -> None:
    speaker, _, reactions = people
    more = []
    for k, (late, outputs) in enumerate([(1, 20), (3, 60), (2, 10)]):  # the node restarted before its third message
        values = [new_message("diagnostic_msgs/msg/KeyValue", key=n, value=str(v))
                  for n, v in ((counter, late), ("outputs", outputs), ("generator", "fsq"))]  # fmt: skip
        status = new_message("diagnostic_msgs/msg/DiagnosticStatus", name="/robot/listener", values=values)
        message = new_message("diagnostic_msgs/msg/DiagnosticArray", status=[status])
        more.append(("/diagnostics", T0 + k * 1_000_000_000, message))
    for f in speaker:
        lineage = FACTORY.speaker(f, {"image": (f.stamp_ns, 0.004)}, f.stamp_ns).lineage
        status = new_message("react_ros/msg/Status", state=0, latency=0.075, lineage=lineage)
        more.append(("/robot/avatar/status", f.stamp_ns + 75_000_000, status))
    bag = write_bag(tmp_path / "lossy", speaker, (), [r for r in reactions if not 50 <= r.index < 55], more=more)
    health = evaluate_sessions([bag], [Row("recorded")], options=OPTIONS).bags[0].health
    assert health.answers is not None
    assert (health.answers.frames, health.answers.unanswered, health.answers.longest) == (370, 5, 5)
    assert health.late_chunks == 5 and health.counted == {"/robot/listener": {counter: 5}}
    assert health.latency is not None and health.latency.total is not None
    assert health.latency.total.p50 == pytest.approx(75.0) and health.states == {"live": 370}
    rate = next(r for r in health.rates if r.topic == SPEAKER)
    assert (rate.messages, rate.hertz, rate.longest_pause) == (370, pytest.approx(25.0), pytest.approx(0.04))


# Films


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_films_show_the_human_beside_the_face_with_the_sound(people: Any, tmp_path: Path, storage: Storage) -> None:
    speaker, more = people[0][:60], []
    rng = np.random.default_rng(0)
    for k, f in enumerate(speaker):
        picture = np.full((48, 64, 3), (250, 20, 20) if k < 30 else (20, 20, 250), np.uint8)
        data = np.frombuffer(cv2.imencode(".jpg", picture[:, :, ::-1])[1].tobytes(), np.uint8)
        header = FACTORY.header(FACTORY.time(f.stamp_ns))
        image = new_message("sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=data)
        sound = new_message("react_ros/msg/AudioChunk", header=header, sample_rate=16_000, channels=1,
                            first_sample=k * 640, pcm=rng.integers(-9000, 9000, 640).astype(np.int16))  # fmt: skip
        more += [("/robot/image_raw/compressed", f.stamp_ns + 1, image), ("/robot/audio", f.stamp_ns + 2, sound)]
    bag = write_bag(tmp_path / "seen", speaker, (), answered(speaker), more=more, storage=storage)
    result = evaluate_sessions(
        [bag],
        [Row("recorded"), parse_session_row("mime")],
        options=SessionOptions(2, frames=60),
        films=tmp_path / "films",
    )
    assert list(result.bags[0].films) == ["recorded", "mime"]
    for film in result.bags[0].films.values():
        with av.open(str(tmp_path / film)) as file:
            pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        with av.open(str(tmp_path / film)) as file:
            heard = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
        assert len(pictures) == 60 and len(heard) == pytest.approx(60 * 640, abs=1024)
        assert heard.std() > 0.05
        human = np.stack([p[100:300, 100:500].mean((0, 1)) for p in pictures])
        assert (human[:29, 0] > 200).all() and (human[31:, 2] > 200).all(), "each picture at its time"
        face = np.stack(pictures)[:, :, -400:].astype(float)
        assert np.abs(np.diff(face, axis=0)).max() > 20, "the face moves"
    assert write_sessions_report(result).count("<video") == 2


# The command


def said(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=False)
    return result.exit_code, result.output


def test_the_same_command_writes_the_same_figures(bag: Path, tmp_path: Path) -> None:
    words = ("--bag", bag, "--bag", tmp_path / "nothing", "recorded", "mime", "--samples", "2", "--frames", "150")
    for name in ("a", "b"):
        code, text = said(*words, "--out", tmp_path / name)
        assert code == 0 and "left out: bag" in text and "14.8 s, 2 clips, 2.8 s left over" in text
        assert "recorded" in text and "mime" in text and "0 of 370 frames unanswered" in text
    assert (tmp_path / "a/results.json").read_bytes() == (tmp_path / "b/results.json").read_bytes()
    told = json.loads((tmp_path / "a/results.json").read_text())
    assert [r["row"] for r in told["rows"]] == ["recorded", "mime"] and len(told["bags"]) == 1
    assert told["bags"][0]["rows"][0]["official"]["FRCorr"]["mean"] is not None
    assert (tmp_path / "a/report.html").read_text().startswith("<!doctype html>")


def test_an_impossible_request_is_one_sentence_and_exit_code_2(bag: Path, tmp_path: Path) -> None:
    for words, sentence in (
        (("--bag", tmp_path / "nothing"), "does not exist."),
        (("--bag", bag, "--corpus", "x"), "--corpus applies to corpora: it cannot be given with --bag."),
        (("--films",), "--films applies to recorded sessions: it needs --bag."),
        (("--bag", bag, "--listener-audio", "/x"), "name the listener's image as well."),
        (("--bag", bag, "--frames", "5"), "it must be 50 to 100000 per clip."),
    ):
        code, text = said(*words, "--out", tmp_path / "out")
        assert code == 2 and text.strip().endswith(sentence) and len(text.strip().splitlines()) == 1, text


def test_results_are_plain_json(bag: Path, tmp_path: Path) -> None:
    write_results(evaluate_sessions([bag], [Row("recorded")], options=OPTIONS), tmp_path / "results.json")
    assert "NaN" not in (tmp_path / "results.json").read_text()
