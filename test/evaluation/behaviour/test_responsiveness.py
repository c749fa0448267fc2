"""Figures of responsiveness of hand-made listeners before hand-made speakers, each known in closed form."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from made_speakers import delayed, faces, nodding, smile_of, speaker

from react_ros.evaluation.behaviour.responsiveness import (
    CUE_FRAMES,
    FIGURES,
    FROWN,
    TARGETS,
    ClipFigures,
    ListenerTracks,
    Responsiveness,
    SpeakerTrack,
    Target,
    clip_figures,
    find_distress,
    find_moments,
    find_turns,
)
from react_ros.face import ARKIT_INDEX, ATTRIBUTE_INDEX, NEUTRAL_ATTRIBUTES

T = 500
SMILES = ((100, 200), (300, 420))
TALK = ((20, 60), (210, 260), (430, 460))
FRAMES = speaker(T, SMILES, TALK)
TRACK = SpeakerTrack.of(FRAMES)
Y = smile_of(FRAMES)


def listeners(smile: np.ndarray, pitch: np.ndarray | None = None, samples: int = 3) -> ListenerTracks:
    rotation = np.zeros((len(smile), samples, 3))
    if pitch is not None:
        rotation[..., 0] = pitch[:, None]
    return ListenerTracks(faces(smile, samples), rotation)


def test_what_is_to_be_answered_is_found_in_the_speaker() -> None:
    assert TRACK.smiles == list(SMILES) and TRACK.long_smiles == list(SMILES)
    assert TRACK.onsets == [100, 300]
    assert TRACK.pauses == [60, 260, 460]
    assert SpeakerTrack.of(speaker(300, ((0, 80), (120, 126), (275, 300)))).onsets == [], (
        "a smile that is there at frame 0, one of less than 0.4 s, and one that the clip's end cuts off"
    )
    short, broken, late = (
        speaker(200, (), ((10, 30),)),
        speaker(200, (), ((10, 60), (62, 90))),
        speaker(90, (), ((5, 60),)),
    )
    assert [SpeakerTrack.of(f).pauses for f in (short, broken, late)] == [[], [90], []]


def test_a_delayed_mirror_has_its_gain_its_delay_and_answers_all() -> None:
    found = clip_figures("clip", TRACK, listeners(0.7 * delayed(Y, 10)))
    assert found.value("smile gain") == pytest.approx(0.7, abs=1e-6)
    assert found.value("smile correlation") == pytest.approx(1.0)
    assert found.value("smile lag") == 0.4 and found.value("onset delay") == pytest.approx(0.4)
    assert found.value("onsets answered") == 1.0 and found.value("smiles held") == 1.0
    assert found.value("frown at smiles") == 0.0
    assert found.value("mean smile") == pytest.approx(0.7 * 0.8 * 220 / T)
    assert found.totals["onsets answered"] == (6.0, 6.0), "two onsets, three samples"
    # 4 changes of both weights by 0.56 within a frame each.
    assert found.value("motion energy") == pytest.approx(4 * 2 * (0.56 * 25) ** 2 / (T - 1), rel=1e-5)


def test_an_answer_after_more_than_1_4_s_is_none_and_a_faint_one_neither() -> None:
    assert clip_figures("clip", TRACK, listeners(0.7 * delayed(Y, 35))).value("onsets answered") == 0.0
    assert clip_figures("clip", TRACK, listeners(0.7 * delayed(Y, 34))).value("onsets answered") == 1.0
    assert clip_figures("clip", TRACK, listeners(0.18 * Y)).value("onsets answered") == 0.0


def test_a_statue_answers_nothing() -> None:
    found = clip_figures("clip", TRACK, listeners(np.zeros(T)))
    for figure in ("smile gain", "smile correlation", "onsets answered", "smiles held", "pauses answered",
                   "pauses by chance", "nods a minute", "blinks a minute", "motion energy"):  # fmt: skip
        assert found.value(figure) == 0.0, figure
    assert found.value("smile lag") is None and found.value("onset delay") is None


def test_an_anti_smiler_frowns_at_smiles_and_smiles_at_none() -> None:
    shapes = faces(0.6 * (1.0 - Y / 0.8))
    shapes[Y > 0.0] = 0.0
    shapes[:, :, FROWN] = 0.5 * (Y > 0.0)[:, None, None]
    found = clip_figures("clip", TRACK, ListenerTracks(shapes, np.zeros((T, 3, 3))))
    gain, r = found.value("smile gain"), found.value("smile correlation")
    assert gain is not None and r is not None and gain < 0.0 and r < 0.0
    assert found.value("onsets answered") == 0.0 and found.value("smiles held") == 0.0
    assert found.value("frown at smiles") == 0.5


def test_a_smile_given_up_halfway_is_held_for_that_share() -> None:
    smile = 0.7 * Y
    smile[150:200] = 0.0  # of 75 frames from the second second on, 25 are held; of the second smile all 95
    assert clip_figures("clip", TRACK, listeners(smile)).value("smiles held") == pytest.approx((25 / 75 + 1.0) / 2)


def test_nods_have_one_turning_point_each_and_sway_has_none() -> None:
    assert find_turns(nodding(300, (50, 100, 180))) == [50, 100, 180]
    sway = np.deg2rad(3.0) * np.sin(2 * np.pi * 0.2 * np.arange(300) / 25)
    assert find_turns(sway) == []
    assert find_turns(nodding(300, (50,), degrees=0.8)) == []


def test_nods_right_after_pauses_answer_all_and_chance_is_the_share_of_frames_before_nods() -> None:
    found = clip_figures("clip", TRACK, listeners(Y * 0.0, nodding(T, (75, 275, 475))))
    assert found.value("pauses answered") == 1.0 and found.value("pauses answered, nods") == 1.0
    assert found.value("pause delay") == pytest.approx(0.6)
    # Frames from which a nod is at most 32 frames away, of those whose window is in the clip.
    near = sum((k - CUE_FRAMES <= np.arange(T - CUE_FRAMES)) & (np.arange(T - CUE_FRAMES) <= k) for k in (75, 275, 475))
    assert found.value("pauses by chance, nods") == pytest.approx(np.count_nonzero(near) / (T - CUE_FRAMES))
    assert found.value("nods a minute") == pytest.approx(3 / (T / 1500))
    # Talk with pauses of up to 2 s: 20 to 60, 210 to 260, 430 to 460, and 40 frames of silence at the clip's end.
    assert found.value("nods a minute, talking") == pytest.approx(1 / (160 / 1500))


def test_a_brow_flash_answers_a_pause_as_a_nod_does_and_a_mimicked_one_does_not() -> None:
    raised = [ARKIT_INDEX[n] for n in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
    flash = np.exp(-0.5 * ((np.arange(T) - 278) / 4.0) ** 2).astype(np.float32)
    shapes = faces(np.zeros(T))
    shapes[:, :, raised] = 0.6 * flash[:, None, None]
    still = np.zeros((T, 3, 3))
    found = clip_figures("clip", TRACK, ListenerTracks(shapes, still))
    assert found.value("pauses answered") == pytest.approx(1 / 3) and found.value("pauses answered, nods") == 0.0
    frames = speaker(T, SMILES, TALK)
    for k, frame in enumerate(frames):
        frame.face.blendshapes[raised] = 0.6 * flash[min(k + 10, T - 1)]
    found = clip_figures("clip", SpeakerTrack.of(frames), ListenerTracks(shapes, still))
    assert found.value("pauses answered") == 0.0, "the speaker raised the brows 0.4 s before"


def test_the_pauses_that_a_random_nodder_answers_are_those_of_chance() -> None:
    rng = np.random.default_rng(7)
    length, clips = 1000, []
    for n in range(24):
        talk = [(a, a + 40) for a in range(10, length - 80, int(rng.integers(60, 90)))]
        gaps = rng.exponential(60.0, 40) + 20.0
        at = [int(k) for k in np.cumsum(gaps) if k < length - 20]
        talker, nodder = SpeakerTrack.of(speaker(length, (), talk)), listeners(np.zeros(length), nodding(length, at), 1)
        clips.append(clip_figures(f"clip-{n}", talker, nodder))
    result = Responsiveness(tuple(clips), 1)
    for figure in ("pauses above chance", "pauses above chance, nods", "pauses above chance, same clips"):
        above = result.figure(figure)
        assert above is not None and above.low is not None and above.high is not None
        assert above.low < 0.0 < above.high and above.high - above.low < 0.2, figure
    answered = result.figure("pauses answered")
    assert answered is not None and 0.2 < answered.mean < 0.6, "a test in which nothing is answered shows nothing"


def test_distress_is_found_in_the_attributes_or_labelled_and_a_wide_mouth_in_it_is_no_smile() -> None:
    unit = np.repeat(NEUTRAL_ATTRIBUTES[None], 100, axis=0)
    unit[10:40, ATTRIBUTE_INDEX["sad"]] = 0.6
    unit[50:58, ATTRIBUTE_INDEX["sad"]] = 0.6
    unit[70:90, [ATTRIBUTE_INDEX[n] for n in ("AU4", "AU15")]] = 0.7
    unit[20:25, ATTRIBUTE_INDEX["AU12"]] = 0.5
    found = find_distress(unit, np.ones(100, bool))
    assert np.flatnonzero(np.diff(found.astype(int))).tolist() == [9, 19, 24, 39, 69, 89]
    assert not find_distress(unit, np.zeros(100, bool)).any()

    crying = SpeakerTrack.of(FRAMES, distress=((4.0, 8.0),))
    assert crying.onsets == [300] and crying.long_smiles == [(300, 420)] and crying.distressed == [(115, 200)]
    grin = clip_figures("clip", crying, listeners(0.7 * Y))
    assert grin.value("smile at distress") == pytest.approx(0.56)
    kind = clip_figures("clip", crying, listeners(0.7 * Y * (np.arange(T) >= 300)))
    assert kind.value("smile at distress") == 0.0 and kind.value("smile gain") == pytest.approx(0.7, abs=1e-6)
    assert SpeakerTrack.of(FRAMES, distress=((0.0, 2.0),)).distressed == [(0, 50)], "there from the beginning"
    worried = faces(np.zeros(T))
    worried[:, :, ARKIT_INDEX["browInnerUp"]] = 0.4
    found = clip_figures("clip", crying, ListenerTracks(worried, np.zeros((T, 3, 3))))
    assert found.value("concern at distress") == pytest.approx(0.4)


def test_clips_samples_and_seeds_pool_to_their_sums_and_intervals_are_over_people() -> None:
    smiles = [0.2, 0.4, 0.6, 0.8, 0.9, 0.5]
    clips = [
        clip_figures(f"clip-{i}", TRACK, listeners(gain * Y, samples=2), group=f"person-{i // people}", seed=seed)
        for i, gain in enumerate(smiles)
        for seed in (1, 2)
        for people in (1,)
    ]
    result = Responsiveness(tuple(clips), 2)
    gain = result.figure("smile gain")
    assert gain is not None and gain.mean == pytest.approx(np.mean(smiles), abs=1e-6) == result.mean("smile gain")
    assert gain.low is not None and 0.2 < gain.low < gain.mean
    again = [ClipFigures.from_dict(json.loads(json.dumps(c.to_dict()))) for c in clips]
    assert tuple(again) == result.clips
    one_person = Responsiveness(tuple(ClipFigures(c.name, "ann", c.seconds, c.totals) for c in clips), 2)
    value = one_person.figure("smile gain")
    assert value is not None and value.low is None, "clips of one person are not independent"
    assert result.of_seed(1).mean("smile gain") == pytest.approx(gain.mean)
    assert result.events["clips"] == 6 and result.events["onsets"] == 12 and result.events["pauses"] == 18
    told = json.loads(json.dumps(result.to_dict()))
    assert set(told["figures"]["own"]) <= set(FIGURES) and set(told["by_seed"]) == {"1", "2"}


def test_targets_are_met_at_their_limits_and_the_score_is_the_mean_share_reached() -> None:
    gain, frown = Target("smile gain", low=0.6), Target("frown at smiles", high=0.02)
    nods, still = Target("nods a minute, talking", 4.0, 15.0), Target("nods a minute", high=1.0, strict=True)
    assert gain.met(0.6) and not gain.met(0.599) and frown.met(0.02) and not still.met(1.0) and nods.met(4.0)
    assert [gain.reached(v) for v in (0.3, 0.7, -0.1)] == [0.5, 1.0, 0.0]
    assert [frown.reached(v) for v in (0.0, 0.02, 0.03, 0.05)] == pytest.approx([1.0, 1.0, 0.5, 0.0])
    assert nods.reached(2.0) == 0.5 and nods.reached(22.5) == 0.5
    assert (gain.text, frown.text, nods.text, still.text) == ("at least 0.6", "at most 0.02", "4 to 15", "under 1")
    statue = Responsiveness((clip_figures("clip", TRACK, listeners(np.zeros(T))),), 3)
    met = {v.name: v.met for v in statue.verdicts()}
    assert met == {
        "smile gain": False, "smile correlation": False, "onsets answered": False, "smiles held": False,
        "frown at smiles": True, "smile at distress": None, "pauses above chance": False,
        "pauses above chance, nods": False, "nods a minute, talking": False, "blinks a minute": False,
    }  # fmt: skip
    assert statue.score == pytest.approx(1 / 9)
    assert all(t.figure in FIGURES for t in TARGETS)
    assert math.isnan(Responsiveness((), 1).mean("smile gain"))


def test_moments_say_what_was_answered_and_how_late() -> None:
    track = SpeakerTrack.of(FRAMES, distress=((0.0, 0.6),))
    smile = 0.7 * delayed(Y, 10)
    smile[300:430] = 0.0
    moments = find_moments(track, listeners(smile, nodding(T, (75, 475))))
    assert [(m.time, m.speaker, m.listener, m.delay) for m in moments] == [
        (0.0, "distress, 0.6 s", "smile 0.00, concern 0.00", None),
        (2.4, "pauses", "nods", pytest.approx(0.6)),
        (4.0, "smiles", "smiles back (0.56)", pytest.approx(0.4)),
        (10.4, "pauses", "", None),
        (12.0, "smiles", "", None),
        (18.4, "pauses", "nods", pytest.approx(0.6)),
    ]


def test_speaker_and_listeners_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="clip: the speaker has 500 frames but the listeners have 400"):
        clip_figures("clip", TRACK, listeners(np.zeros(400)))
    with pytest.raises(ValueError, match="at least one frame"):
        SpeakerTrack.of([])
