"""Claims that hold for every registered system: the streaming contract, once, over the registry."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from rehearsal import Speaker, simulated_speaker

from react_ros.face import ARKIT_INDEX, AU, EXPRESSIONS, VA, Face, FaceState, Reaction, Sound, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator

every_system = pytest.mark.parametrize("name", registry.names())
LEFT_LID = ARKIT_INDEX["eyeBlinkLeft"]


@cache
def system(name: str) -> Generator:
    return registry.create(name)


@cache
def clip(seed: int, frames: int = 750, gaps: bool = True) -> tuple[SpeakerFrame, ...]:
    return tuple(simulated_speaker(seed, frames, Speaker(gaps=gaps)))


def empty_room(frames: int, state: FaceState = FaceState.NOBODY) -> list[SpeakerFrame]:
    return [SpeakerFrame(k, k * 40_000_000, Face(state), Sound()) for k in range(frames)]


def run(name: str, frames: Sequence[SpeakerFrame], samples: int = 1, seed: int = 0) -> list[Reaction]:
    stream = system(name).start(samples=samples, seed=seed)
    return [stream.step(frame) for frame in frames]


def table(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 83)"""
    return np.stack([np.concatenate([r.face_model, r.attributes], axis=1) for r in reactions])


def assert_a_face_in_bounds(reactions: Sequence[Reaction]) -> None:
    for r in reactions:
        assert all(a.dtype == np.float32 for a in (r.blendshapes, r.rotation, r.translation, r.attributes))
    everything = table(reactions)
    assert np.isfinite(everything).all()
    blendshapes, rotation, translation = everything[..., :52], everything[..., 52:55], everything[..., 55:58]
    attributes = everything[..., 58:]
    assert blendshapes.min() >= 0.0 and blendshapes.max() <= 1.0
    assert np.abs(rotation).max() <= 0.6
    assert np.abs(translation).max() <= 0.3
    for part in (AU, EXPRESSIONS):
        assert attributes[..., part].min() >= 0.0 and attributes[..., part].max() <= 1.0
    assert np.abs(attributes[..., VA]).max() <= 1.0


def assert_calm(reactions: Sequence[Reaction]) -> None:
    """Bounded, small motion, apart from eyelids and gaze."""
    assert_a_face_in_bounds(reactions)
    everything = table(reactions)
    assert np.abs(np.diff(everything[..., 52:55], axis=0)).max() < 0.01  # rad a frame
    still = [i for shape, i in ARKIT_INDEX.items() if not shape.startswith("eye")]
    assert np.abs(np.diff(everything[..., still], axis=0)).max() < 0.12


@every_system
@pytest.mark.parametrize(("seed", "samples"), [(0, 1), (1, 3), (7, 10)])
def test_a_stream_answers_like_the_batch_path(name: str, seed: int, samples: int) -> None:
    frames = clip(seed)
    batch = system(name).generate(frames, samples=samples, seed=seed)
    stepped = run(name, frames, samples, seed)
    assert [r.index for r in stepped] == [f.index for f in frames]
    assert [r.stamp_ns for r in stepped] == [f.stamp_ns for f in frames]
    assert [r.live for r in batch] == [r.live for r in stepped]
    assert stepped[0].samples == samples
    np.testing.assert_allclose(table(stepped), table(batch), atol=1e-5, rtol=0)


@every_system
def test_values_stay_in_their_ranges(name: str) -> None:
    for seed in range(3):
        assert_a_face_in_bounds(run(name, clip(seed), samples=4, seed=seed))


@every_system
def test_another_future_leaves_the_past_as_it_was(name: str) -> None:
    rng = np.random.default_rng(0)
    frames, other = clip(0), clip(1)
    before = table(run(name, frames, samples=2))
    for now in rng.integers(1, len(frames), 3):
        after = table(run(name, [*frames[:now], *other[now:]], samples=2))
        np.testing.assert_array_equal(after[:now], before[:now])


@every_system
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    np.testing.assert_array_equal(table(run(name, clip(0), 3, seed=5)), table(run(name, clip(0), 3, seed=5)))


@every_system
def test_seeds_and_samples_differ_where_the_system_is_stochastic_and_only_there(name: str) -> None:
    # Somebody is there all the time: idle life may differ between samples of any system.
    frames = clip(0, gaps=False)
    a, b = table(run(name, frames, samples=2, seed=1)), table(run(name, frames, samples=2, seed=2))
    differ = np.abs(a - b).max() > 0.05 and np.abs(a[:, 0] - a[:, 1]).max() > 0.05
    assert differ == system(name).info.stochastic


@every_system
def test_a_listener_does_not_depend_on_how_many_others_there_are(name: str) -> None:
    few, many = table(run(name, clip(2), samples=2, seed=3)), table(run(name, clip(2), samples=7, seed=3))
    np.testing.assert_allclose(few, many[:, :2], atol=1e-5, rtol=0)


@every_system
def test_a_stream_leaves_nothing_behind_and_streams_do_not_mix(name: str) -> None:
    fresh = registry.create(name)
    alone = table(fresh.generate(clip(0), samples=2, seed=1))
    disturber = fresh.start(samples=3, seed=9)
    stream = fresh.start(samples=2, seed=1)
    mixed = []
    for mine, other in zip(clip(0), clip(1), strict=True):
        disturber.step(other)
        mixed.append(stream.step(mine))
    np.testing.assert_array_equal(table(mixed), alone)


@every_system
def test_a_reaction_belongs_to_the_caller(name: str) -> None:
    frames = clip(0)[:60]
    kept = table(run(name, frames, samples=2))
    stream = system(name).start(samples=2)
    out = []
    for frame in frames:
        reaction = stream.step(frame)
        out.append(table([reaction])[0])
        for array in (reaction.blendshapes, reaction.rotation, reaction.translation, reaction.attributes):
            array[:] = 99.0
    np.testing.assert_array_equal(np.stack(out), kept)


@every_system
@pytest.mark.parametrize("state", [FaceState.MISSING, FaceState.NOBODY])
def test_an_empty_room_gets_a_calm_face_that_lives(name: str, state: FaceState) -> None:
    reactions = run(name, empty_room(1500, state), samples=3)
    assert_calm(reactions)
    assert not any(r.live for r in reactions)
    lids = table(reactions)[..., LEFT_LID]
    blinks = ((lids[1:] > 0.5) & (lids[:-1] <= 0.5)).sum(axis=0)  # in a minute
    if system(name).info.living:
        assert (blinks >= 5).all() and (blinks <= 40).all()
        assert table(reactions)[..., 52:55].std(axis=0).min() > 1e-4
    else:
        assert (blinks <= 1).all()


@every_system
@pytest.mark.parametrize("lost", ["face", "sound"])
def test_a_missing_sense_is_borne(name: str, lost: str) -> None:
    blank = {"face": Face(), "sound": Sound()}[lost]
    frames = [replace(f, **{lost: blank}) for f in clip(0, gaps=False)]
    assert_a_face_in_bounds(run(name, frames, samples=2))


@every_system
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_in_a_frame_is_heard_as_missing_and_soon_forgotten(name: str, value: float) -> None:
    frames = list(clip(3, gaps=False))
    clean = table(run(name, frames))
    for k in range(100, 103):
        bad_face, bad_sound = replace(frames[k].face), replace(frames[k].sound)
        for field in ("blendshapes", "rotation", "translation", "attributes"):
            setattr(bad_face, field, np.full_like(getattr(bad_face, field), value))
        bad_sound.f0 = bad_sound.log_energy = float(value)
        bad_sound.mfcc = np.full(26, value, np.float32)
        frames[k] = replace(frames[k], face=bad_face, sound=bad_sound)
    broken = run(name, frames)
    as_missing = run(name, [replace(f, face=Face(), sound=Sound()) if 100 <= f.index < 103 else f for f in frames])
    assert_a_face_in_bounds(broken)
    np.testing.assert_array_equal(table(broken), table(as_missing))
    np.testing.assert_array_equal(table(broken)[:100], clean[:100])


@every_system
def test_wild_but_finite_values_keep_the_face_in_bounds(name: str) -> None:
    rng = np.random.default_rng(4)
    frames = []
    for frame in clip(4, gaps=False):
        face, sound = replace(frame.face), replace(frame.sound)
        for field in ("blendshapes", "rotation", "translation", "attributes"):
            setattr(face, field, rng.normal(0.0, 1e6, len(getattr(face, field))).astype(np.float32))
        sound.f0 = float(rng.normal(0.0, 1e6))
        frames.append(replace(frame, face=face, sound=sound))
    assert_a_face_in_bounds(run(name, frames, samples=2))


@every_system
@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (-1, 0), (1, -1)])
def test_impossible_streams_are_refused_with_a_sentence(name: str, samples: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"samples is|seed is"):
        system(name).start(samples=samples, seed=seed)


@every_system
@pytest.mark.slow
def test_memory_and_time_a_step_stay_flat(name: str) -> None:
    frames = [frame for seed in range(2) for frame in clip(seed)]
    stream = system(name).start(samples=2)
    costs = []
    tracemalloc.start()
    for block in range(13):
        began = time.process_time()
        for frame in frames:
            stream.step(frame)
        costs.append(time.process_time() - began)
        if block == 1:
            early = tracemalloc.get_traced_memory()[0]
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert late - early < 50_000  # bytes, over 16,500 steps
    assert np.median(costs[-4:]) < 1.5 * np.median(costs[1:5])
