"""Claims that hold for every registered system: the streaming contract, once, over the registry."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import psutil
import pytest
from rehearsal import Speaker, simulated_speaker

from react_ros.face import (
    ARKIT_INDEX,
    AU,
    EXPRESSIONS,
    FPS,
    FRAME_NS,
    VA,
    Face,
    FaceState,
    Reaction,
    Sound,
    SpeakerFrame,
)
from react_ros.generators import registry
from react_ros.generators.contract import Generator, Stream

FURTHER: dict[str, tuple[dict[str, Any], ...]] = {
    "attentive": ({"expressiveness": 0.5, "mimicry_delay_ms": 600},),
    "belfusion": ({"schedule": "window", "weights": "belfusion-k1"},),
    "fsq": ({"forgetting": 0.0, "guidance": 1.0},),
    "mime": ({"delay_frames": 12},),
    "reactdiff": ({"schedule": "window", "eta": 0.5, "steps": 5, "style": "lively"},),
    "vqdiff": ({"schedule": "window", "codebook": False},),
}
"""By system, parameters beside the defaults with which it keeps the contract's numbers too."""
BASELINES = {"mean_frame", "mean_sequence", "mime", "random"}
"""Their expression probabilities are somebody else's, or noise, and need not sum to 1."""

Frames = Sequence[SpeakerFrame]
Case = tuple[str, tuple[tuple[str, Any], ...]]

_CASES: list[Case] = [
    (name, tuple(given.items())) for name in registry.names() for given in ({}, *FURTHER.get(name, ()))
]
every_case = pytest.mark.parametrize("case", _CASES, ids=lambda c: ",".join([c[0], *(f"{k}={v}" for k, v in c[1])]))
"""Every system, with its defaults and with each of its further sets of parameters."""
every_system = pytest.mark.parametrize("name", registry.names())


def group_of(parameters: dict[str, Any]) -> str:
    """The system that a test is about, for `test/conftest.py`."""
    return parameters["case"][0] if "case" in parameters else str(parameters.get("name", ""))


LEFT_LID = ARKIT_INDEX["eyeBlinkLeft"]


@cache
def built(case: Case) -> Generator:
    return registry.create(case[0], **dict(case[1]))


def system(name: str) -> Generator:
    """With its defaults, but for how finely a plan is drawn: that is no part of what a system owes to its input."""
    steps = {"belfusion": 3, "reactdiff": 4, "vqdiff": 3}.get(name)
    return built((name, (("steps", steps),) if steps else ()))


@cache
def clip(seed: int, frames: int = 750, gaps: bool = True) -> tuple[SpeakerFrame, ...]:
    return tuple(simulated_speaker(seed, frames, Speaker(gaps=gaps)))


def enough(name: str, frames: int) -> int:
    """Of frames: a third for a system whose plans take tens of milliseconds, which is dozens of plans still."""
    return frames // 3 if name == "reactdiff" else frames


def empty_room(frames: int, state: FaceState = FaceState.NOBODY) -> list[SpeakerFrame]:
    return [SpeakerFrame(k, k * FRAME_NS, Face(state), Sound()) for k in range(frames)]


def play(generator: Generator, frames: Frames, samples: int = 1, seed: int = 0) -> list[Reaction]:
    stream = generator.start(samples=samples, seed=seed)
    return [stream.step(frame) for frame in frames]


def run(name: str, frames: Frames, samples: int = 1, seed: int = 0) -> list[Reaction]:
    return play(system(name), frames, samples, seed)


def table(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 84): the face model, the attributes, and whether somebody is there."""
    return np.stack(
        [np.concatenate([r.face_model, r.attributes, np.full((r.samples, 1), r.live)], axis=1) for r in reactions]
    )


NONE: Mapping[str, float] = {}


def with_values(
    frame: SpeakerFrame, face: Mapping[str, float] = NONE, sound: Mapping[str, float] = NONE
) -> SpeakerFrame:
    """The frame with these fields of its face and its sound full of these values."""

    def filled(whole: Any, values: Mapping[str, float]) -> Any:
        fields = {name: getattr(whole, name) for name in values}
        return replace(
            whole,
            **{n: np.full_like(a, values[n]) if isinstance(a, np.ndarray) else values[n] for n, a in fields.items()},
        )

    return replace(frame, face=filled(frame.face, face), sound=filled(frame.sound, sound))


FACE_FIELDS = ("blendshapes", "rotation", "translation", "attributes")
SOUND_FIELDS = ("mfcc", "mfcc_delta", "log_energy", "f0", "voicing", "speech_probability", "embedding")


def every(fields: Sequence[str], value: float) -> dict[str, float]:
    return dict.fromkeys(fields, value)


def with_embedding(frames: Frames) -> list[SpeakerFrame]:
    return [replace(f, sound=replace(f.sound, embedding=np.zeros(768, np.float32))) for f in frames]


def assert_a_face_in_bounds(reactions: Sequence[Reaction], sums_to_1: bool = False) -> None:
    samples = reactions[0].samples
    for r in reactions:
        for array, width in ((r.blendshapes, 52), (r.rotation, 3), (r.translation, 3), (r.attributes, 25)):
            assert array.dtype == np.float32 and array.shape == (samples, width)
        assert isinstance(r.live, bool)
    everything = table(reactions)
    assert np.isfinite(everything).all()
    blendshapes, rotation, translation = everything[..., :52], everything[..., 52:55], everything[..., 55:58]
    attributes = everything[..., 58:83]
    assert blendshapes.min() >= 0.0 and blendshapes.max() <= 1.0
    assert np.abs(rotation).max() <= 0.6
    assert np.abs(translation).max() <= 0.3
    for part in (AU, EXPRESSIONS):
        assert attributes[..., part].min() >= 0.0 and attributes[..., part].max() <= 1.0
    assert np.abs(attributes[..., VA]).max() <= 1.0
    if sums_to_1:
        np.testing.assert_allclose(attributes[..., EXPRESSIONS].sum(axis=-1), 1.0, atol=1e-5, rtol=0)


def assert_calm(reactions: Sequence[Reaction]) -> None:
    """Bounded, small motion, apart from eyelids and gaze."""
    assert_a_face_in_bounds(reactions)
    everything = table(reactions)
    assert np.abs(np.diff(everything[..., 52:55], axis=0)).max() < 0.01  # rad a frame
    still = [i for shape, i in ARKIT_INDEX.items() if not shape.startswith("eye")]
    assert np.abs(np.diff(everything[..., still], axis=0)).max() < 0.12


# The numbers --------------------------------------------------------------------------------------------------------


@every_case
@pytest.mark.parametrize(("seed", "samples"), [(0, 1), (1, 3), (7, 10)])
def test_a_stream_answers_like_the_batch_path(case: Case, seed: int, samples: int) -> None:
    frames = clip(seed, enough(case[0], 750))
    batch = built(case).generate(frames, samples=samples, seed=seed)
    stepped = play(built(case), frames, samples, seed)
    assert [r.index for r in stepped] == [r.index for r in batch] == [f.index for f in frames]
    assert [r.stamp_ns for r in stepped] == [r.stamp_ns for r in batch] == [f.stamp_ns for f in frames]
    assert stepped[0].samples == samples
    np.testing.assert_allclose(table(stepped), table(batch), atol=1e-5, rtol=0)


@every_case
def test_values_have_their_types_shapes_and_ranges(case: Case) -> None:
    for seed in range(3):
        reactions = play(built(case), clip(seed, 300), samples=4, seed=seed)
        assert_a_face_in_bounds(reactions, sums_to_1=case[0] not in BASELINES)


@every_case
def test_another_future_leaves_the_past_as_it_was(case: Case) -> None:
    rng = np.random.default_rng(0)
    frames, other = clip(0, 300), clip(1, 300)
    broken = every(FACE_FIELDS, np.nan), {"mfcc": np.nan, "f0": np.inf}
    futures: list[Callable[[int], SpeakerFrame]] = [
        lambda k: other[k],
        lambda k: SpeakerFrame(k, k * FRAME_NS, other[k].face, Sound()),
        lambda k: SpeakerFrame(k, k * FRAME_NS, Face(), other[k].sound),
        lambda k: with_values(frames[k], *broken),
        lambda k: futures[int(rng.integers(4))](k),
    ]
    before = table(play(built(case), frames, samples=2))
    for future, now in zip(futures, rng.integers(1, len(frames) - 20, len(futures)), strict=True):
        changed = [*frames[:now], *(future(k) for k in range(now, min(now + 60, len(frames))))]
        np.testing.assert_array_equal(table(play(built(case), changed, samples=2))[:now], before[:now])


@every_case
def test_the_same_seed_gives_the_same_bits(case: Case) -> None:
    frames = clip(0, 300)
    first = table(play(built(case), frames, 3, seed=5))
    np.testing.assert_array_equal(table(play(built(case), frames, 3, seed=5)), first)


@every_case
def test_a_former_stream_leaves_nothing_behind_and_streams_do_not_mix(case: Case) -> None:
    fresh = registry.create(case[0], **dict(case[1]))
    alone = table(play(fresh, clip(0, 300), samples=2, seed=1))
    disturber = fresh.start(samples=3, seed=9)
    stream = fresh.start(samples=2, seed=1)
    mixed = []
    for mine, other in zip(clip(0, 300), clip(1, 300), strict=True):
        disturber.step(other)
        mixed.append(stream.step(mine))
    np.testing.assert_array_equal(table(mixed), alone)


@every_system
def test_a_system_built_anew_gives_the_same_bits(name: str) -> None:
    first = table(play(registry.create(name), clip(5, 120), samples=2, seed=4))
    np.testing.assert_array_equal(table(play(registry.create(name), clip(5, 120), samples=2, seed=4)), first)


@every_system
def test_seeds_and_samples_differ_where_the_system_is_stochastic_and_only_there(name: str) -> None:
    # Somebody is there all the time: idle life may differ between samples of any system.
    frames = clip(0, enough(name, 750), gaps=False)
    a, b = table(run(name, frames, samples=2, seed=1)), table(run(name, frames, samples=2, seed=2))
    differ = np.abs(a - b).max() > 0.05 and np.abs(a[:, 0] - a[:, 1]).max() > 0.05
    assert differ == system(name).info.stochastic


@every_system
def test_a_listener_does_not_depend_on_how_many_others_there_are(name: str) -> None:
    frames = clip(2, 300)
    few, many = table(run(name, frames, samples=2, seed=3)), table(run(name, frames, samples=7, seed=3))
    # Larger matrices are summed in another order.
    np.testing.assert_allclose(few, many[:, :2], atol=1e-4 if system(name).info.learned else 0.0, rtol=0)


@every_system
def test_a_reaction_belongs_to_the_caller(name: str) -> None:
    frames = clip(0)[:60]
    expected = table(run(name, frames, samples=2))
    reactions = run(name, frames, samples=2)
    np.testing.assert_array_equal(table(reactions), expected)  # no later step has changed an earlier reaction
    stream = system(name).start(samples=2)
    out = []
    for frame in frames:
        reaction = stream.step(frame)
        out.append(table([reaction])[0])
        for array in (reaction.blendshapes, reaction.rotation, reaction.translation, reaction.attributes):
            array[:] = 99.0
    np.testing.assert_array_equal(np.stack(out), expected)


@every_system
@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (-1, 0), (1, -1)])
def test_impossible_streams_are_refused_with_a_sentence(name: str, samples: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"samples is|seed is"):
        system(name).start(samples=samples, seed=seed)


# Input that is missing, old or broken -------------------------------------------------------------------------------


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
    frames = [replace(f, **{lost: blank}) for f in clip(0, 300, gaps=False)]
    assert_a_face_in_bounds(run(name, frames, samples=2))


@every_system
@pytest.mark.parametrize("state", [FaceState.LOST, FaceState.HELD])
def test_a_face_whose_last_values_are_held_is_still_listened_to(name: str, state: FaceState) -> None:
    """Perception repeats the last values for a second: nothing may jump, in that second or after it."""
    frames = list(clip(6, 300, gaps=False))
    for k in range(150, 175):
        frames[k] = replace(frames[k], face=replace(frames[149].face, state=state))
    reactions = run(name, frames)
    assert_a_face_in_bounds(reactions)
    assert all(r.live for r in reactions)


@every_system
def test_nan_or_infinity_in_any_one_field_is_heard_as_that_sense_missing(name: str) -> None:
    frames = with_embedding(clip(3, 300, gaps=False))
    broken, as_missing = list(frames), list(frames)
    k = 60
    for i, field in enumerate((*FACE_FIELDS, *SOUND_FIELDS)):
        for value in (np.nan, np.inf, -np.inf):
            for at in (k, k + 1):
                if i < len(FACE_FIELDS):
                    broken[at] = with_values(frames[at], {field: value})
                    as_missing[at] = replace(frames[at], face=Face())
                else:
                    broken[at] = with_values(frames[at], sound={field: value})
                    as_missing[at] = replace(frames[at], sound=Sound())
            k += 6
    answered = run(name, broken)
    assert_a_face_in_bounds(answered)
    np.testing.assert_array_equal(table(answered), table(run(name, as_missing)))


@every_system
def test_landmarks_that_are_not_finite_harm_nobody(name: str) -> None:
    landmarks = np.full((478, 3), np.nan, np.float32)
    frames = clip(3, 60, gaps=False)
    broken = [replace(f, face=replace(f.face, landmarks=landmarks)) for f in frames]
    np.testing.assert_array_equal(table(run(name, broken)), table(run(name, frames)))


@every_system
def test_wild_but_finite_values_keep_the_face_in_bounds(name: str) -> None:
    rng = np.random.default_rng(4)
    frames = []
    for frame in with_embedding(clip(4, 300, gaps=False)):
        wild = 10.0 ** rng.uniform(0.0, 30.0) * rng.choice([-1.0, 1.0])
        frames.append(with_values(frame, every(FACE_FIELDS, wild), every(SOUND_FIELDS, wild)))
    assert_a_face_in_bounds(run(name, frames, samples=2))


RECOVERY = 10 * FPS
"""Frames after which nothing of a disturbance may be seen any more."""


@every_system
@pytest.mark.parametrize("size", [np.nan, 1e30], ids=["nan", "1e30"])
def test_a_second_of_nonsense_is_forgotten_within_ten(name: str, size: float) -> None:
    """The face's mean, and how much it moves, are those of a listener who never heard the nonsense."""
    frames = with_embedding(clip(8, 750, gaps=False))
    nonsense = every(FACE_FIELDS, size), every(SOUND_FIELDS, size)
    disturbed = [with_values(f, *nonsense) if 100 <= f.index < 125 else f for f in frames]
    after, clean = (table(run(name, fs, samples=6))[125 + RECOVERY :, :, :83] for fs in (disturbed, frames))
    assert np.isfinite(after).all()
    head = slice(52, 58)
    for part, far in ((slice(0, 52), 0.15), (head, 0.03), (slice(58, 83), 0.25)):
        moved = np.abs(after[..., part].mean(axis=(0, 1)) - clean[..., part].mean(axis=(0, 1)))
        assert moved.max() < far, f"channel {moved.argmax()} of {part} is {moved.max():.2f} from where it was"
        energy, before = (np.abs(np.diff(t[..., part], axis=0)).mean() for t in (after, clean))
        assert before / 2.0 <= energy + 1e-6 and energy <= 2.0 * before + 1e-6


# An hour ------------------------------------------------------------------------------------------------------------

HOUR = 90_000
"""Frames."""


def steps_within(stream: Stream, frames: Frames, seconds: float, least: int) -> int:
    """As many of an hour's steps as take so long on this machine, or the least; all with REACT_ROS_FULL=1."""
    began = time.process_time()
    for frame in frames[:200]:
        stream.step(frame)
    cost = (time.process_time() - began) / 200
    return HOUR if os.environ.get("REACT_ROS_FULL") == "1" else int(np.clip(seconds / cost, least, HOUR))


def endless(stream: Stream, frames: Frames, steps: int) -> None:
    for k in range(steps):
        stream.step(frames[k % len(frames)])


@every_system
@pytest.mark.slow
def test_an_old_stream_costs_what_a_young_one_costs_in_memory_and_in_time(name: str) -> None:
    """An hour of steps where six seconds suffice for it (or REACT_ROS_FULL=1 asks for it), else as many as they hold.

    The process's own memory counts, since a learned system's tensors are no Python memory. An old and a young stream
    are timed in turns, so that what else the machine does meets both.
    """
    frames = clip(0)
    old = system(name).start(samples=2)
    steps = steps_within(old, frames, seconds=6.0, least=enough(name, 3000))
    endless(old, frames, steps // 5)
    gc.collect()
    early = psutil.Process().memory_info().rss
    endless(old, frames, steps - steps // 5)
    gc.collect()
    late = psutil.Process().memory_info().rss
    assert late - early < 4 * 2**20, f"{steps} steps took {late - early} bytes"

    tracemalloc.start()
    endless(old, frames, 500)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    endless(old, frames, 2000)  # a multiple of every plan's hop: as many plans are alive as before
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000, f"2000 steps keep {grown} bytes of Python's memory"

    young = system(name).start(samples=2)
    endless(young, frames, enough(name, 300))
    costs: dict[bool, list[int]] = {True: [], False: []}
    for k in range(enough(name, 1000)):
        frame = frames[k % len(frames)]
        for stream in (old, young) if k % 2 else (young, old):
            began = time.process_time_ns()
            stream.step(frame)
            costs[stream is old].append(time.process_time_ns() - began)
    assert np.median(costs[True]) < 1.5 * np.median(costs[False]), f"after {steps} steps"
