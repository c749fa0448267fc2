"""The timing report finds exactly the events that were put into a face."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from rehearsal import simulated_speaker

from react_ros.evaluation.behaviour.events import (
    MotionSeries,
    answers,
    find_backchannels,
    find_blinks,
    find_cues,
    find_lag,
    find_nods,
    find_rises,
    time_answers,
)
from react_ros.evaluation.behaviour.timing import ClipTiming, Measure, TimingReport, table, time_clip, timing_report
from react_ros.face import ARKIT, ARKIT_INDEX, ATTRIBUTE_INDEX, FPS, SoundState
from react_ros.generators import registry
from react_ros.generators.idle import blink_shape

SEEDS = range(12)
FRAMES = 60 * FPS
FRAME = 1.0 / FPS


class Canvas:
    """A minute of a face with the events of a test, tracking noise and a drifting head."""

    def __init__(self, seed: int, frames: int = FRAMES) -> None:
        self.rng = np.random.default_rng(seed)
        self.t = np.arange(frames) / FPS
        self.faces = np.zeros((frames, 52))
        phase = self.rng.uniform(0, 6, 3)
        self.head = np.stack([0.05 * np.sin(2 * np.pi * 0.08 * self.t + p) for p in phase], axis=1)

    def wear(self, name: str, weights: np.ndarray) -> None:
        for side in ("Left", "Right") if name not in ARKIT_INDEX else ("",):
            self.faces[:, ARKIT_INDEX[name + side]] += weights

    def motion(self) -> MotionSeries:
        noisy = self.faces + self.rng.normal(0, 0.01, self.faces.shape)
        return MotionSeries.of_arkit(np.clip(noisy, 0, 1), self.head + self.rng.normal(0, 0.0012, self.head.shape))

    def places(self, least: float, most: float) -> list[float]:
        """Random times over the minute with gaps of `least` to `most` s."""
        out, t = [], 2.0
        while t < self.t[-1] - 3.0:
            out.append(t)
            t += self.rng.uniform(least, most)
        return out


def ramp(t: np.ndarray, start: float, rise: float, hold: float, fall: float = 0.5) -> np.ndarray:
    """Up, hold, down: 0 to 1."""
    return np.interp(t, [start, start + rise, start + rise + hold, start + rise + hold + fall], [0, 1, 1, 0])


# --- blinks


@pytest.mark.parametrize("seed", SEEDS)
def test_every_blink_is_found_and_timed_to_a_frame(seed: int) -> None:
    canvas = Canvas(seed)
    starts = canvas.places(1.0, 5.0)
    lengths = canvas.rng.choice([0.2, 0.3, 0.5], len(starts))
    lids = np.sum([blink_shape((canvas.t - s) / n) for s, n in zip(starts, lengths, strict=True)], axis=0)
    canvas.wear("eyeBlink", canvas.rng.uniform(0.6, 1.0) * lids)
    found = find_blinks(canvas.motion())
    assert len(found) == len(starts)
    fine = np.linspace(0, 1, 20001)
    above = fine[blink_shape(fine) > 0.25]
    for blink, start, length in zip(found, starts, lengths, strict=True):
        assert abs(blink.start - (start + above[0] * length)) < 2 * FRAME
        assert abs(blink.seconds - (above[-1] - above[0]) * length) < 2 * FRAME


@pytest.mark.parametrize("seed", SEEDS)
def test_squints_smiles_and_looks_down_are_not_blinks(seed: int) -> None:
    """Lids that follow the gaze or a cheek by up to half of their range, and eyes closed for 2 s."""
    canvas = Canvas(seed)
    starts = canvas.places(4.0, 6.0)
    lids = np.sum([blink_shape((canvas.t - s) / 0.25) for s in starts], axis=0)
    for k, start in enumerate(starts):
        later = start + 1.2
        if k % 3 == 0:
            canvas.wear("eyeLookDown", 0.8 * ramp(canvas.t, later, 0.08, 0.3, 0.08))
            lids = lids + 0.55 * ramp(canvas.t, later, 0.08, 0.3, 0.08)
        elif k % 3 == 1:
            lids = lids + 0.45 * ramp(canvas.t, later, 0.3, 1.5)
        else:
            lids = lids + 0.9 * ramp(canvas.t, later, 0.2, 2.0)
    canvas.wear("eyeBlink", 0.9 * lids)
    found = find_blinks(canvas.motion())
    assert np.allclose([b.start for b in found], starts, atol=2 * FRAME)


def test_a_face_with_open_eyes_does_not_blink() -> None:
    assert find_blinks(Canvas(0).motion()) == []


# --- nods


def nod(t: np.ndarray, start: float, hertz: float, cycles: int, size: float, decline: float = 0.0) -> np.ndarray:
    """Rad: raised cosines, each smaller than the last by `decline` a cycle."""
    phase = (t - start) * hertz
    on = (phase > 0) & (phase < cycles)
    return np.where(on, size * np.exp(-decline * phase) * (0.5 - 0.5 * np.cos(2 * np.pi * phase)), 0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_nod_is_found_with_its_time_cycles_frequency_and_size(seed: int) -> None:
    canvas = Canvas(seed)
    starts = canvas.places(2.5, 5.0)
    hertz = canvas.rng.uniform(2.0, 5.0, len(starts))
    cycles = canvas.rng.integers(1, 5, len(starts))
    size = canvas.rng.uniform(0.05, 0.12, len(starts))
    for s, f, c, a in zip(starts, hertz, cycles, size, strict=True):
        canvas.head[:, 0] += nod(canvas.t, s, f, int(c), a)
    found = find_nods(canvas.motion())
    assert len(found) == len(starts)
    assert [n.cycles for n in found] == cycles.tolist()
    for n, s, f, a in zip(found, starts, hertz, size, strict=True):
        assert abs(n.start - s) < 2.5 * FRAME
        assert n.hertz == pytest.approx(f, rel=0.25)
        assert n.degrees == pytest.approx(np.rad2deg(a), rel=0.3)


def test_a_declining_nod_is_seen_to_decline_and_a_lower_head_to_be_lower() -> None:
    canvas = Canvas(3)
    canvas.head[:] = 0.0
    for s in range(3, 55, 5):
        canvas.head[:, 0] += nod(canvas.t, s, 3.0, 3, 0.1, decline=0.35)
        canvas.head[:, 0] += np.deg2rad(1.5) * ramp(canvas.t, s + 0.3, 0.5, 1.5, 1.5)
    found = find_nods(canvas.motion())
    assert len(found) == 11
    assert np.median([n.last_to_first for n in found]) == pytest.approx(np.exp(-0.7), abs=0.15)
    assert np.median([n.lower for n in found]) == pytest.approx(1.5, abs=0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_that_sways_and_turns_does_not_nod(seed: int) -> None:
    canvas = Canvas(seed)
    for s in canvas.places(4.0, 6.0):
        canvas.head[:, 0] += 0.08 * ramp(canvas.t, s, 0.8, 1.0, 0.9)
        canvas.head[:, 1] += nod(canvas.t, s, 3.0, 3, 0.1)
    assert find_nods(canvas.motion()) == []


# --- smiles and lags


@pytest.mark.parametrize("seed", SEEDS)
def test_every_smile_is_found_and_its_latency_is_true_to_a_frame_and_a_half(seed: int) -> None:
    speaker, listener = Canvas(seed), Canvas(seed + 100)
    starts = speaker.places(5.0, 9.0)
    delays = listener.rng.uniform(-0.2, 1.5, len(starts))
    for s, d in zip(starts, delays, strict=True):
        rise = speaker.rng.uniform(0.2, 0.5)
        speaker.wear("mouthSmile", speaker.rng.uniform(0.3, 0.9) * ramp(speaker.t, s, rise, 1.5))
        listener.wear("mouthSmile", listener.rng.uniform(0.2, 0.8) * ramp(listener.t, s + d, rise, 1.5))
    prompts = [r.start for r in find_rises(speaker.motion().smile, FPS)]
    smiles = [r.start for r in find_rises(listener.motion().smile, FPS)]
    assert len(prompts) == len(smiles) == len(starts)
    assert np.allclose(prompts, starts, atol=2 * FRAME)
    found = answers(smiles, prompts, (-0.5, 2.5))
    assert np.allclose([f for f in found if f is not None], delays, atol=1.5 * FRAME)


def test_a_mood_that_takes_ten_seconds_is_no_smile() -> None:
    canvas = Canvas(1)
    canvas.wear("mouthSmile", 0.6 * ramp(canvas.t, 10, 10, 10, 10))
    assert find_rises(canvas.motion().smile, FPS) == []


@pytest.mark.parametrize("frames", [-12, 0, 9, 15, 31])
def test_the_lag_between_two_motions_is_found_to_a_tenth_of_a_frame(frames: int) -> None:
    rng = np.random.default_rng(frames + 50)
    slow = np.convolve(rng.standard_normal(900), np.hanning(25), "same")
    lag = find_lag(np.roll(slow, frames), slow, FPS)
    assert lag is not None and lag.clear
    assert lag.seconds == pytest.approx(frames / FPS, abs=0.1 * FRAME)
    assert lag.height == pytest.approx(1.0, abs=0.01)
    mirror = find_lag(-np.roll(slow, frames), slow, FPS, mirrored=True)
    assert mirror is not None and mirror.seconds == pytest.approx(frames / FPS, abs=0.1 * FRAME)


def test_strangers_rarely_have_a_clear_lag() -> None:
    rng = np.random.default_rng(5)
    clear = 0
    for _ in range(100):
        a, b = (np.convolve(x, np.hanning(13), "same") for x in rng.standard_normal((2, 750)))
        lag = find_lag(a, b, FPS)
        clear += lag is not None and lag.clear
    assert clear < 35  # the near window is a sixth of all lags
    assert find_lag(np.zeros(750), np.ones(750), FPS) is None


# --- cues


def test_cues_are_pauses_and_low_pitch_after_talk() -> None:
    speech = np.zeros(500, bool)
    speech[25:100] = True  # 3 s, then a pause
    speech[120:130] = True  # 0.4 s: too short to be answered
    speech[200:260] = speech[263:300] = True  # a gap of 120 ms is no pause
    f0 = np.where(speech, 150.0, 0.0)
    f0[230:236] = 100.0  # the lowest: after 1.2 s of talk
    f0[203:207] = 100.0  # after 0.2 s of talk: too early
    assert find_cues(speech, None) == [100 / FPS, 300 / FPS]
    assert find_cues(speech, f0) == [100 / FPS, 233 / FPS, 300 / FPS]


def test_a_low_pitch_right_before_a_pause_is_one_cue_with_it() -> None:
    speech = np.zeros(300, bool)
    speech[25:125] = True
    f0 = np.where(speech, 150.0, 0.0)
    f0[115:125] = 90.0
    assert find_cues(speech, f0) == [118 / FPS]


def listeners_at_cues(seed: int, answering: bool, clips: int = 20) -> tuple[float, float, float]:
    """(answered, by chance, standard deviations beyond) over clips of nods."""
    rng = np.random.default_rng(seed)
    answered = chance = variance = 0.0
    for _ in range(clips):
        cues = np.cumsum(rng.uniform(1.5, 6.0, 8)).tolist()
        own = rng.uniform(0, 30, 5) if not answering else rng.choice(cues, 5, replace=False) + rng.normal(0.7, 0.1, 5)
        timing = time_answers(sorted(own.tolist()), cues, 750, FPS)
        answered += len(timing.latencies)
        chance += timing.by_chance
        variance += timing.variance
    return answered, chance, (answered - chance) / np.sqrt(variance)


def test_nods_at_random_times_score_chance() -> None:
    scores = np.array([listeners_at_cues(seed, answering=False)[2] for seed in range(60)])
    assert abs(scores.mean()) < 3 / np.sqrt(60)
    assert 0.6 < scores.std() < 1.4
    assert np.mean(scores > 1.645) < 0.15


def test_nods_that_answer_cues_score_far_above_chance() -> None:
    for seed in SEEDS:
        answered, chance, beyond = listeners_at_cues(seed, answering=True)
        assert beyond > 5.0 and answered > 1.5 * chance


def test_backchannels_are_nods_flashes_and_short_smiles_but_not_mimicry() -> None:
    speaker, listener = Canvas(0), Canvas(1)
    listener.head[:, 0] += nod(listener.t, 5.0, 3.0, 2, 0.1) + nod(listener.t, 40.0, 3.0, 1, 0.1)
    listener.wear("browInnerUp", 0.5 * ramp(listener.t, 5.1, 0.2, 0.3))  # part of the nod
    for name in ("browInnerUp", "browOuterUp"):
        listener.wear(name, 0.5 * ramp(listener.t, 12.0, 0.2, 0.3))
    listener.wear("mouthSmile", 0.4 * ramp(listener.t, 20.0, 0.2, 0.4))
    listener.wear("mouthSmile", 0.4 * ramp(listener.t, 30.5, 0.2, 0.4))  # answers a smile
    listener.wear("mouthSmile", 0.4 * ramp(listener.t, 48.0, 0.3, 4.0))  # long
    speaker.wear("mouthSmile", 0.6 * ramp(speaker.t, 30.0, 0.3, 1.5))
    found = find_backchannels(listener.motion(), speaker.motion())
    assert np.allclose(found, [5.0, 12.0, 20.0, 40.0], atol=3 * FRAME)


# --- the report


@cache
def rehearsed(name: str, mismatched: bool = False) -> TimingReport:
    """Eight clips of a minute with two samples each; mismatched: generated for another clip's speaker."""
    clips = []
    for seed in range(8):
        frames = simulated_speaker(seed, FRAMES)
        heard = simulated_speaker(seed + 50, FRAMES) if mismatched else frames
        reactions = registry.create(name).generate(heard, samples=2, seed=seed)
        speaker = MotionSeries.of_arkit(
            np.stack([f.face.blendshapes for f in frames]), np.stack([f.face.rotation for f in frames])
        )
        speech = np.array([f.sound.state == SoundState.SPEECH for f in frames])
        f0 = np.array([f.sound.f0 for f in frames])
        for s in range(2):
            motion = MotionSeries.of_arkit(
                np.stack([r.blendshapes[s] for r in reactions]), np.stack([r.rotation[s] for r in reactions])
            )
            clips.append(time_clip(f"clip {seed:02}", motion, speaker, speech, f0, sample=s))
    return timing_report(clips)


def by_name(rows: list[Measure]) -> dict[str, Measure]:
    return {m.name: m for m in rows}


def test_the_attentive_listener_lands_in_every_band_it_claims() -> None:
    rows = by_name(rehearsed("attentive").rows())
    for name in (
        "blink rate", "blink duration", "nod frequency", "nod decline", "first cycle of longer nods", "smile latency",
        "facial mimicry lag", "head pitch lag", "head yaw lag", "head roll lag", "backchannel latency",
        "answers beyond chance", "lower after a nod",
    ):  # fmt: skip
        assert rows[name].verdict == "yes", rows[name]
    assert (rows["smiles answered"].value or 0) > 0.8
    answered, chance = rows["cues answered"].value, rows["cues answered by chance"].value
    assert answered is not None and chance is not None and answered > 1.4 * chance


def test_the_random_baseline_does_not() -> None:
    rows = by_name(rehearsed("random").rows(reference=rehearsed("attentive")))
    assert rows["blink rate"].verdict == "no"
    assert rows["answers beyond chance"].verdict != "yes"
    assert rows["facial mimicry lag"].verdict != "yes"
    assert rows["smile latency"].verdict != "yes"
    for group in ("head", "mouth", "brows", "eyes"):
        ratio = rows[f"jitter of {group} against real"]
        assert ratio.verdict == "no" and (ratio.value or 0) > 5.0


@pytest.mark.slow
def test_an_attentive_listener_of_somebody_else_answers_at_chance() -> None:
    """The same generator, without a relation to the speaker."""
    rows = by_name(rehearsed("attentive", mismatched=True).rows())
    assert rows["blink rate"].verdict == rows["nod frequency"].verdict == "yes"
    assert abs(rows["answers beyond chance"].value or 0) < 3.0
    assert (rows["smiles answered"].value or 0) < 0.5
    mine = by_name(rehearsed("attentive").rows())["answers beyond chance"]
    assert (mine.value or 0) > 5.0


def test_shards_merge_to_the_very_report_of_one_run_also_through_json() -> None:
    whole = rehearsed("attentive")
    clips = [ClipTiming.from_dict(json.loads(json.dumps(c.to_dict()))) for c in whole.clips]
    merged = timing_report(clips[1::2]).merge(timing_report(reversed(clips[::2])))
    assert merged == whole
    assert json.dumps(merged.to_dict(whole)) == json.dumps(whole.to_dict(whole))
    with pytest.raises(ValueError, match="clip 00 is given twice"):
        whole.merge(whole)


def test_a_motion_against_itself_has_the_jitter_of_its_reference() -> None:
    report = rehearsed("attentive")
    rows = by_name(report.rows(report))
    assert rows["jitter of head against real"].value == 1.0


def test_jitter_is_the_mean_third_difference_a_second_cubed() -> None:
    rng = np.random.default_rng(0)
    rotation = rng.normal(0, 0.01, (200, 3))
    rows = by_name(timing_report([time_clip("c", MotionSeries.of_arkit(np.zeros((200, 52)), rotation))]).rows())
    assert rows["jitter of head"].value == pytest.approx(np.abs(np.diff(rotation, 3, axis=0)).mean() * 25**3)
    assert rows["jitter of mouth"].value == 0.0


def test_too_little_is_called_not_measurable() -> None:
    rows = by_name(timing_report([time_clip("c", Canvas(0, 500).motion())]).rows())
    assert rows["blink rate"].verdict == "not measurable: 0.3 min are too short (at least 2)"
    assert rows["nod frequency"].verdict == "not measurable: 0 events are too few (at least 5)"
    assert rows["smile latency"].verdict == "not measurable: the speaker's face is not known"
    assert all(len(row) == 6 for row in table(rows.values()))


def test_attributes_alone_give_smiles_and_brows_but_no_blinks() -> None:
    t = np.arange(FRAMES * 3) / FPS
    speaker, listener = np.zeros((2, len(t), 25))
    for s in range(3, 170, 12):
        speaker[(t >= s) & (t < s + 3), ATTRIBUTE_INDEX["AU12"]] = 1.0
        listener[(t >= s + 0.6) & (t < s + 4), ATTRIBUTE_INDEX["AU12"]] = 1.0
    clip = time_clip("c", MotionSeries.of_attributes(listener), MotionSeries.of_attributes(speaker))
    rows = by_name(timing_report([clip]).rows())
    assert rows["smile latency"].value == pytest.approx(600.0, abs=1.0)
    assert rows["smiles answered"].value == 1.0
    assert rows["blink rate"].verdict.startswith("not measurable: attributes have no eyelids")
    assert rows["nod rate"].verdict == "not measurable: the head's rotation is not known"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MotionSeries.of_arkit(np.zeros((9, 51)), None),
            r"blendshapes of shape \(9, 51\): \(frames, 52\) is needed",
        ),
        (
            lambda: MotionSeries.of_arkit(np.zeros((9, 52)), np.zeros((8, 3))),
            "the head has 8 frames but the face has 9",
        ),
        (lambda: MotionSeries.of_attributes(np.full((9, 25), np.nan)), "not finite in column 0"),
        (
            lambda: time_clip("NoXI/1", Canvas(0).motion(), Canvas(0, 100).motion()),
            "NoXI/1: the listener has 1500 frames but the speaker 100",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_order_of_the_channels_is_arkits() -> None:
    faces = np.zeros((50, len(ARKIT)))
    faces[:, [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]] = 0.5
    motion = MotionSeries.of_arkit(faces, None)
    assert motion.smile.max() == 0.5 and motion.brow.max() == 0.0
    assert sum(w.shape[1] for w in motion.weights.values()) == len(ARKIT)
