"""The avatar's face stays within its limits of motion for any targets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from react_ros.avatar.motion import FaceMotion, MotionConfig, OneEuro, Pose
from react_ros.face import ARKIT_INDEX, FPS

DT = 1.0 / FPS
CONFIG = MotionConfig()
BLINK = ARKIT_INDEX["eyeBlinkLeft"]
SMILE = ARKIT_INDEX["mouthSmileLeft"]


def at(rotation=(0.0, 0.0, 0.0), translation=(0.0, 0.0, 0.0), **weights: float) -> Pose:
    blendshapes = np.zeros(52, np.float32)
    for name, weight in weights.items():
        blendshapes[ARKIT_INDEX[name]] = weight
    return Pose(blendshapes, np.array(rotation, np.float32), np.array(translation, np.float32))


def joined(pose: Pose) -> np.ndarray:
    return np.concatenate([pose.blendshapes, pose.rotation, pose.translation]).astype(float)


def settled(target: Pose = at(), seconds: float = 3.0) -> FaceMotion:  # noqa: B008
    motion = FaceMotion(seed=1)
    for _ in range(int(seconds * FPS)):
        motion.step(target, DT)
    return motion


NASTY = st.one_of(
    st.none(),
    st.builds(
        lambda seed, scale, poison: _nasty(seed, scale, poison),
        st.integers(0, 2**32 - 1),
        st.sampled_from([0.1, 1.0, 3.0, 1e6]),
        st.sampled_from([None, None, None, np.nan, np.inf, -np.inf]),
    ),
)


def _nasty(seed: int, scale: float, poison: float | None) -> Pose:
    rng = np.random.default_rng(seed)
    values = rng.uniform(-scale, scale, 58)
    if poison is not None:
        values[rng.integers(58)] = poison
    v = values.astype(np.float32)
    return Pose(v[:52], v[52:55], v[55:])


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.lists(st.tuples(NASTY, st.integers(1, 6)), min_size=1, max_size=12),
    st.sampled_from([0.01, DT, 0.1]),
    st.integers(0, 9),
)
def test_any_input_leaves_the_face_finite_in_range_and_within_its_speeds(inputs, dt, seed):
    motion = FaceMotion(seed=seed)
    limit = np.array([CONFIG.pitch_limit, CONFIG.yaw_limit, CONFIG.roll_limit] + [CONFIG.translation_limit] * 3)
    top = np.array([CONFIG.head_speed] * 3 + [CONFIG.translation_speed] * 3)
    hardest = np.array([CONFIG.head_acceleration] * 3 + [CONFIG.translation_acceleration] * 3)
    before, speed = np.zeros(58), np.zeros(6)
    for target, times in inputs:
        for _ in range(times):
            now = joined(motion.step(target, dt))
            assert np.isfinite(now).all()
            assert now[:52].min() >= 0.0 and now[:52].max() <= 1.0
            assert (np.abs(now[52:]) <= limit + 1e-6).all()
            step = np.abs(now - before)
            assert step[:52].max() <= CONFIG.eye_speed * dt + 1e-5
            assert step[SMILE] <= CONFIG.shape_speed * dt + 1e-5
            assert (step[52:] <= top * dt + 1e-5).all()
            new_speed = (now - before)[52:] / dt
            assert (np.abs(new_speed - speed) <= hardest * dt + 1e-3).all()
            before, speed = now, new_speed


@settings(max_examples=25, deadline=None, database=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_a_constant_target_is_reached_and_kept(seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 1, 52).astype(np.float32)
    for pair in (("jawLeft", "jawRight"), ("mouthLeft", "mouthRight"), ("eyeLookInLeft", "eyeLookOutLeft"),
                 ("eyeLookInRight", "eyeLookOutRight"), ("eyeLookUpLeft", "eyeLookDownLeft"),
                 ("eyeLookUpRight", "eyeLookDownRight")):  # fmt: skip
        weights[ARKIT_INDEX[pair[0]]] = 0.0
    for side in ("Left", "Right"):
        weights[ARKIT_INDEX["eyeWide" + side]] = 0.0
    weights[ARKIT_INDEX["mouthClose"]] = 0.0
    limit = np.array([CONFIG.pitch_limit, CONFIG.yaw_limit, CONFIG.roll_limit])
    rotation = (rng.uniform(-1, 1, 3) * limit).astype(np.float32)
    target = Pose(weights, rotation, rng.uniform(-0.06, 0.06, 3).astype(np.float32))
    motion = settled(target, 4.0)
    for _ in range(5):
        assert np.abs(joined(motion.step(target, DT)) - joined(target)).max() < 1e-3


def test_a_blink_of_three_frames_closes_at_least_four_fifths():
    motion = settled()
    peak = 0.0
    for closure in (0.6, 1.0, 0.6, 0.0, 0.0):
        peak = max(peak, motion.step(at(eyeBlinkLeft=closure, eyeBlinkRight=closure), DT).blendshapes[BLINK])
    assert peak >= 0.8
    assert motion.step(at(), DT).blendshapes[BLINK] < 0.05


def test_a_smile_at_1_hz_lags_less_than_60_ms():
    motion = settled()
    t = np.arange(0, 6, DT)
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * t)
    out = np.array([motion.step(at(mouthSmileLeft=float(w)), DT).blendshapes[SMILE] for w in wave])
    steady = t >= 2.0
    phase = [np.angle(np.sum(x[steady] * np.exp(-2j * np.pi * t[steady]))) for x in (wave, out)]
    lag_ms = (phase[0] - phase[1]) % (2 * np.pi) / (2 * np.pi) * 1000
    assert 0.0 < lag_ms < 60.0
    assert np.ptp(out[steady]) > 0.85


def test_noise_at_rest_is_smoothed_to_less_than_two_thirds():
    motion, rng = settled(at(mouthSmileLeft=0.5)), np.random.default_rng(3)
    noise = 0.02 * rng.standard_normal(400)
    out = [motion.step(at(mouthSmileLeft=0.5 + float(n)), DT).blendshapes[SMILE] for n in noise]
    assert np.std(out) < 0.66 * np.std(noise)


def test_the_cutoff_of_the_filter_rises_with_speed_as_in_casiez_2012():
    one = np.ones(1, np.float32)
    euro = OneEuro(one, 2.0 * one)
    euro.step(0.0 * one, DT)
    assert euro.cutoff()[0] == pytest.approx(1.0)
    x, filtered, speed = 0.0, 0.0, 0.0
    for k in range(50):
        x = k * DT * 3.0  # a ramp of 3 a second
        out = float(euro.step(np.array([x], np.float32), DT)[0])
        r = 2 * np.pi * 1.0 * DT
        speed += r / (r + 1) * ((x - filtered) / DT - speed)
        r = 2 * np.pi * (1.0 + 2.0 * abs(speed)) * DT
        filtered += r / (r + 1) * (x - filtered)
        assert out == pytest.approx(filtered, abs=1e-4)
    assert euro.cutoff()[0] > 5.0


def test_without_targets_the_face_holds_then_returns_to_rest_and_idles():
    motion = settled(at(mouthSmileLeft=0.8, rotation=(0.2, 0.3, 0.1)))
    held = [motion.step(None, DT) for _ in range(9)]
    assert min(p.blendshapes[SMILE] for p in held) > 0.79
    later = [motion.step(None, DT) for _ in range(20 * FPS)]
    rest = later[3 * FPS :]
    assert motion.presence == 0.0
    assert max(p.blendshapes[SMILE] for p in rest) < 0.02
    assert max(abs(p.rotation[1]) for p in rest) < 0.05
    assert max(p.blendshapes[BLINK] for p in rest) > 0.8, "it blinks"
    assert np.std([p.translation[1] for p in rest]) > 1e-5, "it breathes"


def test_when_targets_come_back_the_face_cross_fades_without_a_jump():
    motion = settled()
    for _ in range(4 * FPS):
        before = motion.step(None, DT)
    smile = [motion.step(at(mouthSmileLeft=1.0, rotation=(0.0, 0.4, 0.0)), DT) for _ in range(2 * FPS)]
    steps = np.diff([before.blendshapes[SMILE]] + [p.blendshapes[SMILE] for p in smile])
    turns = np.diff([before.rotation[1]] + [p.rotation[1] for p in smile])
    assert steps.max() < 0.2 and turns.max() < 0.08
    assert smile[-1].blendshapes[SMILE] > 0.98 and smile[-1].rotation[1] == pytest.approx(0.4, abs=0.01)


def test_a_broken_target_counts_as_none():
    broken = at(mouthSmileLeft=1.0)
    broken.rotation[1] = np.nan
    one, other = settled(), settled()
    for _ in range(60):
        assert np.array_equal(joined(one.step(broken, DT)), joined(other.step(None, DT)))


def test_opposing_blendshapes_are_resolved():
    motion = settled(at(jawLeft=0.9, jawRight=0.3, mouthClose=0.8, jawOpen=0.3, eyeBlinkLeft=1.0, eyeWideLeft=1.0))
    face = motion.step(
        at(jawLeft=0.9, jawRight=0.3, mouthClose=0.8, jawOpen=0.3, eyeBlinkLeft=1.0, eyeWideLeft=1.0), DT
    )
    of = {name: float(face.blendshapes[i]) for name, i in ARKIT_INDEX.items()}
    assert of["jawLeft"] == pytest.approx(0.6, abs=0.01) and of["jawRight"] == pytest.approx(0.0, abs=0.01)
    assert of["mouthClose"] <= of["jawOpen"] + 1e-6
    assert of["eyeWideLeft"] == pytest.approx(0.0, abs=0.01)


def test_the_same_seed_and_steps_give_the_same_bits_and_another_seed_another_life():
    runs = [
        [joined(m.step(None, DT)) for _ in range(200)]
        for m in (FaceMotion(seed=4), FaceMotion(seed=4), FaceMotion(seed=5))
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_invalid_arguments_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match="head_speed is -1"):
        MotionConfig(head_speed=-1)
    with pytest.raises(ValueError, match="dt is 0"):
        FaceMotion().step(None, 0.0)
    with pytest.raises(ValueError, match=r"not \(\(51,\)"):
        FaceMotion().step(Pose(np.zeros(51, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)), DT)
