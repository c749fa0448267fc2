"""The claims that every system must fulfil, and what runs them: the streaming contract of `generators/contract.py`.

A claim is a function of a `Subject` that raises AssertionError where the system breaks it. What a claim needs to know
of a system comes from the system's declaration (`System.contract`) and from its `GeneratorInfo`.
"""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import psutil

from react_ros.face import (
    ARKIT_INDEX,
    ATTRIBUTE_INDEX,
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
from react_ros.generators.contract import ROTATION_LIMIT, TRANSLATION_LIMIT, Generator, Stream
from react_ros.generators.liveliness import LivelinessDial, motion_energy
from react_ros.generators.system import ContractCases
from react_ros.testing.speaker import SimulatedParts, simulated_speaker

Frames = Sequence[SpeakerFrame]
Parameters = Mapping[str, Any]

FACE_FIELDS: tuple[str, ...] = ("blendshapes", "rotation", "translation", "attributes")
SOUND_FIELDS: tuple[str, ...] = ("mfcc", "mfcc_delta", "log_energy", "f0", "voicing", "speech_probability", "embedding")
RECOVERY = 10 * FPS
"""Frames after which no effect of a disturbance may be left."""
HOUR = 3600 * FPS
"""Frames."""
FULL_VARIABLE = "REACT_ROS_FULL"
"""Environment variable: with the value 1, the claim about long streams takes a whole hour of steps."""


@dataclass
class Subject:
    """A system under test. Generators are built once for each set of parameters."""

    name: str
    _built: dict[tuple[tuple[str, Any], ...], Generator] = field(default_factory=dict)

    @property
    def cases(self) -> ContractCases:
        """The test cases of its declaration."""
        return registry.system(self.name).contract

    def create(self, parameters: Parameters) -> Generator:
        """A new generator."""
        return registry.create(self.name, **parameters)

    def generator(self, parameters: Parameters | None = None) -> Generator:
        """The generator with these parameters; None: the defaults, with those that make its steps fast."""
        parameters = self.cases.fast if parameters is None else parameters
        key = tuple(sorted(parameters.items()))
        if key not in self._built:
            self._built[key] = self.create(parameters)
        return self._built[key]

    def react(
        self, frames: Frames, parameters: Parameters | None = None, *, samples: int = 1, seed: int = 0
    ) -> list[Reaction]:
        """The reactions of a new stream to these frames."""
        return _react(self.generator(parameters), frames, samples, seed)

    def shortened(self, frames: int) -> int:
        """The number of frames to test instead of `frames`, by the system's `ContractCases.share`."""
        return round(frames * self.cases.share)


@dataclass(frozen=True)
class Claim:
    """One claim of the contract about one system, with one set of arguments."""

    text: str
    """In words, e.g. "a stream answers like the batch path"."""
    case: str
    """The arguments, for people; empty where there are none."""
    check: Callable[[Subject], None] = field(repr=False)
    slow: bool = False

    @property
    def name(self) -> str:
        return f"{self.text} ({self.case})" if self.case else self.text


_Function = Callable[..., None]
_claims: list[tuple[_Function, Sequence[Mapping[str, Any]], bool, bool]] = []


def _claim(
    *arguments: Mapping[str, Any], every_case: bool = False, slow: bool = False
) -> Callable[[_Function], _Function]:
    """Adds a function to the claims; its name is the claim.

    arguments: the claim is checked with each of them. every_case: it takes the system's parameters too, and is
    checked with the defaults and with each of `ContractCases.parameters`.
    """

    def add(function: _Function) -> _Function:
        _claims.append((function, arguments or ({},), every_case, slow))
        return function

    return add


def claims(name: str) -> list[Claim]:
    """All claims about a system; a single failing one where its declaration cannot be imported."""
    try:
        cases = registry.system(name).contract
    except ValueError as error:
        return [Claim("the declaration can be imported", "", _failing(str(error)))]
    out = []
    for function, argument_sets, every_case, slow in _claims:
        for parameters in ({}, *cases.parameters) if every_case else (None,):
            for arguments in argument_sets:
                given = dict(arguments) if parameters is None else {"parameters": parameters, **arguments}
                shown = [f"{k}={v}" for k, v in {**(parameters or {}), **arguments}.items()]
                out.append(Claim(function.__name__.replace("_", " "), ", ".join(shown), _bound(function, given), slow))
    return out


def _bound(function: _Function, arguments: Mapping[str, Any]) -> Callable[[Subject], None]:
    return lambda subject: function(subject, **arguments)


def _failing(reason: str) -> Callable[[Subject], None]:
    def fail(subject: Subject) -> None:
        raise AssertionError(reason)

    return fail


def check_contract(name: str, *, slow: bool = True) -> None:
    """Check every claim of the contract for one system, installed or registered.

    slow: also the claim that time and memory per step are constant, which takes some 10 s. Raises AssertionError,
    which names the claim, at the first one that the system breaks.
    """
    subject = Subject(name)
    for claim in claims(name):
        if claim.slow and not slow:
            continue
        try:
            claim.check(subject)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise AssertionError(f"{name} breaks the contract: {claim.name}: {reason}") from error


# Frames and reactions ------------------------------------------------------------------------------------------------


def _react(generator: Generator, frames: Frames, samples: int = 1, seed: int = 0) -> list[Reaction]:
    stream = generator.start(samples=samples, seed=seed)
    return [stream.step(frame) for frame in frames]


@cache
def _clip(seed: int, frames: int = 750, gaps: bool = True) -> tuple[SpeakerFrame, ...]:
    return tuple(simulated_speaker(seed, frames, SimulatedParts(gaps=gaps)))


def _empty_room(frames: int, state: FaceState) -> list[SpeakerFrame]:
    return [SpeakerFrame(k, k * FRAME_NS, Face(state), Sound()) for k in range(frames)]


def _table(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 84): the face model, the attributes, and whether somebody is present."""
    return np.stack(
        [np.concatenate([r.face_model, r.attributes, np.full((r.samples, 1), r.live)], axis=1) for r in reactions]
    )


def _with_values(
    frame: SpeakerFrame, face: Mapping[str, float] | None = None, sound: Mapping[str, float] | None = None
) -> SpeakerFrame:
    """The frame with these fields of its face and its sound filled with these values."""

    def filled(part: Any, values: Mapping[str, float]) -> Any:
        fields = {name: getattr(part, name) for name in values}
        return replace(
            part,
            **{n: np.full_like(a, values[n]) if isinstance(a, np.ndarray) else values[n] for n, a in fields.items()},
        )

    return replace(frame, face=filled(frame.face, face or {}), sound=filled(frame.sound, sound or {}))


def _with_embedding(frames: Frames) -> list[SpeakerFrame]:
    return [replace(f, sound=replace(f.sound, embedding=np.zeros(768, np.float32))) for f in frames]


def _expect_bounds(reactions: Sequence[Reaction], expressions_sum_to_1: bool = False) -> None:
    """Types, shapes, finite values and ranges of every reaction."""
    samples = reactions[0].samples
    for r in reactions:
        for name, width in (("blendshapes", 52), ("rotation", 3), ("translation", 3), ("attributes", 25)):
            array = getattr(r, name)
            assert array.dtype == np.float32, f"{name} is {array.dtype}: it must be float32"
            assert array.shape == (samples, width), f"{name} has shape {array.shape}: it must be {(samples, width)}"
        assert isinstance(r.live, bool), f"live is {r.live!r}: it must be a bool"
    values = _table(reactions)
    assert np.isfinite(values).all(), "a reaction has values that are not finite"
    blendshapes, rotation, translation = values[..., :52], values[..., 52:55], values[..., 55:58]
    attributes = values[..., 58:83]
    assert blendshapes.min() >= 0.0 and blendshapes.max() <= 1.0, "blendshapes must be from 0 to 1"
    assert (far := np.abs(rotation).max()) <= ROTATION_LIMIT, f"rotation is {far:.2f} rad: at most {ROTATION_LIMIT}"
    assert (far := np.abs(translation).max()) <= TRANSLATION_LIMIT, (
        f"translation is {far:.2f} m: at most {TRANSLATION_LIMIT}"
    )
    for part, name in ((AU, "action units"), (EXPRESSIONS, "expressions")):
        low, high = attributes[..., part].min(), attributes[..., part].max()
        assert low >= 0.0 and high <= 1.0, f"{name} are from {low:.2f} to {high:.2f}: they must be from 0 to 1"
    assert np.abs(attributes[..., VA]).max() <= 1.0, "valence and arousal must be from -1 to 1"
    if expressions_sum_to_1:
        sums = attributes[..., EXPRESSIONS].sum(axis=-1)
        assert np.abs(sums - 1.0).max() <= 1e-5, "the expression probabilities must sum to 1"


def _expect_calm(reactions: Sequence[Reaction]) -> None:
    """Small motion from frame to frame, apart from eyelids and gaze."""
    _expect_bounds(reactions)
    values = _table(reactions)
    assert np.abs(np.diff(values[..., 52:55], axis=0)).max() < 0.01, "the head moves by more than 0.01 rad in a frame"
    still = [i for shape, i in ARKIT_INDEX.items() if not shape.startswith("eye")]
    assert np.abs(np.diff(values[..., still], axis=0)).max() < 0.12, "a blendshape changes by more than 0.12 in a frame"


def _expect_equal(found: np.ndarray, expected: np.ndarray, what: str, tolerance: float = 0.0) -> None:
    assert found.shape == expected.shape, f"{what}: shape {found.shape} instead of {expected.shape}"
    difference = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0))
    assert difference <= tolerance, f"{what}: values differ by up to {difference:.3g}, allowed {tolerance:g}"


# The numbers ---------------------------------------------------------------------------------------------------------


@_claim({"seed": 0, "samples": 1}, {"seed": 1, "samples": 3}, {"seed": 7, "samples": 10}, every_case=True)
def a_stream_answers_like_the_batch_path(subject: Subject, parameters: Parameters, seed: int, samples: int) -> None:
    frames = _clip(seed, subject.shortened(750))
    batch = subject.generator(parameters).generate(frames, samples=samples, seed=seed)
    stepped = subject.react(frames, parameters, samples=samples, seed=seed)
    for name in ("index", "stamp_ns"):
        expected = [getattr(f, name) for f in frames]
        for path, reactions in (("step", stepped), ("generate", batch)):
            assert [getattr(r, name) for r in reactions] == expected, f"{path}: {name} is not that of the frames"
    assert stepped[0].samples == samples
    _expect_equal(_table(stepped), _table(batch), "step and generate", tolerance=1e-5)


@_claim(every_case=True)
def values_have_their_types_shapes_and_ranges(subject: Subject, parameters: Parameters) -> None:
    for seed in range(3):
        reactions = subject.react(_clip(seed, 300), parameters, samples=4, seed=seed)
        _expect_bounds(reactions, expressions_sum_to_1=subject.cases.expressions_sum_to_1)


@_claim(every_case=True)
def another_future_does_not_change_the_past(subject: Subject, parameters: Parameters) -> None:
    rng = np.random.default_rng(0)
    frames, other = _clip(0, 300), _clip(1, 300)
    broken = dict.fromkeys(FACE_FIELDS, np.nan), {"mfcc": np.nan, "f0": np.inf}
    futures: list[Callable[[int], SpeakerFrame]] = [
        lambda k: other[k],
        lambda k: SpeakerFrame(k, k * FRAME_NS, other[k].face, Sound()),
        lambda k: SpeakerFrame(k, k * FRAME_NS, Face(), other[k].sound),
        lambda k: _with_values(frames[k], *broken),
        lambda k: futures[int(rng.integers(4))](k),
    ]
    before = _table(subject.react(frames, parameters, samples=2))
    for future, now in zip(futures, rng.integers(1, len(frames) - 20, len(futures)), strict=True):
        changed = [*frames[:now], *(future(k) for k in range(now, min(now + 60, len(frames))))]
        after = _table(subject.react(changed, parameters, samples=2))
        _expect_equal(after[:now], before[:now], f"reactions before frame {now}, from which on the speaker differs")


@_claim(every_case=True)
def the_same_seed_gives_the_same_bits(subject: Subject, parameters: Parameters) -> None:
    first, second = (_table(subject.react(_clip(0, 300), parameters, samples=3, seed=5)) for _ in range(2))
    _expect_equal(second, first, "two streams of one seed")


@_claim(every_case=True)
def streams_of_one_generator_do_not_influence_each_other(subject: Subject, parameters: Parameters) -> None:
    generator = subject.create(parameters)
    alone = _table(_react(generator, _clip(0, 300), samples=2, seed=1))
    disturbing, stream = generator.start(samples=3, seed=9), generator.start(samples=2, seed=1)
    mixed = []
    for own, other in zip(_clip(0, 300), _clip(1, 300), strict=True):
        disturbing.step(other)
        mixed.append(stream.step(own))
    _expect_equal(_table(mixed), alone, "a stream beside another one, after a former one")


@_claim()
def a_generator_built_anew_gives_the_same_bits(subject: Subject) -> None:
    first, second = (_table(_react(subject.create({}), _clip(5, 120), samples=2, seed=4)) for _ in range(2))
    _expect_equal(second, first, "two generators")


@_claim()
def seeds_and_samples_differ_exactly_where_the_system_is_stochastic(subject: Subject) -> None:
    # Somebody is present in every frame: idle life may differ between samples of any system.
    frames = _clip(0, subject.shortened(750), gaps=False)
    a, b = (_table(subject.react(frames, samples=2, seed=seed)) for seed in (1, 2))
    differ = np.abs(a - b).max() > 0.05 and np.abs(a[:, 0] - a[:, 1]).max() > 0.05
    stochastic = subject.generator().info.stochastic
    found = "differ" if differ else "agree"
    assert differ == stochastic, f"info.stochastic is {stochastic}, but seeds and samples {found}"


@_claim()
def a_listener_does_not_depend_on_how_many_others_there_are(subject: Subject) -> None:
    few, many = (_table(subject.react(_clip(2, 300), samples=samples, seed=3)) for samples in (2, 7))
    # Matrix products of other sizes are summed in another order.
    tolerance = 1e-4 if subject.generator().info.learned else 0.0
    _expect_equal(few, many[:, :2], "2 samples and the first 2 of 7", tolerance)


@_claim()
def a_reaction_belongs_to_the_caller(subject: Subject) -> None:
    frames = _clip(0)[:60]
    reactions = subject.react(frames, samples=2)
    expected = _table(subject.react(frames, samples=2))
    _expect_equal(_table(reactions), expected, "reactions after later steps")
    stream, out = subject.generator().start(samples=2), []
    for frame in frames:
        reaction = stream.step(frame)
        out.append(_table([reaction])[0])
        for array in (reaction.blendshapes, reaction.rotation, reaction.translation, reaction.attributes):
            array[:] = 99.0
    _expect_equal(np.stack(out), expected, "reactions after the caller has overwritten earlier ones")


@_claim({"samples": 0, "seed": 0}, {"samples": -1, "seed": 0}, {"samples": 1, "seed": -1})
def impossible_streams_are_refused_with_a_sentence(subject: Subject, samples: int, seed: int) -> None:
    try:
        subject.generator().start(samples=samples, seed=seed)
    except ValueError as error:
        assert "samples is" in str(error) or "seed is" in str(error), f"the error does not name the value: {error}"
    else:
        raise AssertionError("start must raise ValueError")


@_claim()
def the_declaration_and_the_generator_agree(subject: Subject) -> None:
    declared, info = registry.system(subject.name), subject.generator({}).info
    assert info.name == subject.name, f"info.name is {info.name!r}"
    assert info.summary and "\n" not in info.summary, "info.summary must be one line"
    assert info.learned == (declared.kind == "learned"), f"info.learned is {info.learned}, but kind is {declared.kind}"
    given = subject.create(declared.parameters).info
    assert given == info, "the default parameters, given by name, make another generator"


# The dial ------------------------------------------------------------------------------------------------------------


def _dialled(subject: Subject, reactions: Sequence[Reaction], liveliness: float) -> list[Reaction]:
    """Reactions of a stream with seed 3, passed through the dial."""
    idles = subject.generator().info.idles
    dial = LivelinessDial(liveliness, 3, reactions[0].samples, idles=idles)
    return [dial.step(reaction) for reaction in reactions]


@_claim()
def liveliness_is_monotone_in_motion_from_a_still_face_over_the_system_itself(subject: Subject) -> None:
    reactions = subject.react(_clip(0, subject.shortened(150), gaps=False), samples=2, seed=3)
    scale = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    dialled = {liveliness: _dialled(subject, reactions, liveliness) for liveliness in scale}
    for faces in dialled.values():
        _expect_bounds(faces, expressions_sum_to_1=subject.cases.expressions_sum_to_1)
    own, still = _table(reactions), _table(dialled[0.0])
    _expect_equal(_table(dialled[1.0]), own, "liveliness 1 and the system itself")
    energies = [motion_energy(faces) for faces in dialled.values()]
    if energies[4] > 1e-4:  # the system moves at all
        assert (np.diff(energies) > 0.0).all(), f"energies of motion from liveliness 0 to 2 do not rise: {energies}"
    else:
        assert max(energies) <= 2.0 * energies[4] + 1e-6, f"a face that does not move is moved: {energies}"
    eyes = [i for shape, i in ARKIT_INDEX.items() if shape.startswith(("eyeBlink", "eyeLook"))]
    assert np.delete(still[..., :52], eyes, axis=-1).max() == 0.0, "at 0 the face has an expression"
    assert np.abs(still[..., 52:55]).max() < 0.03, "at 0 the head moves by more than breathing and sway: 0.03 rad"
    neutral = 58 + ATTRIBUTE_INDEX["neutral"]
    others = [i for i in range(58, 83) if i != neutral]
    assert (still[..., neutral] == 1.0).all() and not still[..., others].any(), "at 0 the attributes are not neutral"
    lids = [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]
    for liveliness in (0.0, 2.0):
        _expect_equal(_table(dialled[liveliness])[..., lids], own[..., lids], "blinks with and without the dial")


@_claim()
def another_liveliness_is_the_same_stream_through_the_dial(subject: Subject) -> None:
    frames = _clip(0, subject.shortened(150), gaps=False)[:60]
    reactions = subject.react(frames, samples=2, seed=3)
    slow, lively = (subject.create({**subject.cases.fast, "liveliness": value}) for value in (0.5, 2.0))
    assert (slow.liveliness, lively.liveliness) == (0.5, 2.0)
    stepped, batch = _react(slow, frames, samples=2, seed=3), lively.generate(frames, samples=2, seed=3)
    _expect_equal(_table(stepped), _table(_dialled(subject, reactions, 0.5)), "a stream, and its dial")
    _expect_equal(_table(batch), _table(_dialled(subject, reactions, 2.0)), "the batch path, and its dial", 1e-5)


# Input that is missing, stale or invalid -----------------------------------------------------------------------------


@_claim({"state": FaceState.MISSING}, {"state": FaceState.NOBODY})
def an_empty_room_gets_a_calm_idling_face(subject: Subject, state: FaceState) -> None:
    reactions = subject.react(_empty_room(1500, state), samples=3)
    _expect_calm(reactions)
    assert not any(r.live for r in reactions), "live must be False where nobody is present"
    values = _table(reactions)
    lids = values[..., ARKIT_INDEX["eyeBlinkLeft"]]
    blinks = ((lids[1:] > 0.5) & (lids[:-1] <= 0.5)).sum(axis=0)  # in a minute
    if subject.generator().info.idles:
        assert (blinks >= 5).all() and (blinks <= 40).all(), f"{blinks} blinks in a minute: 5 to 40 are expected"
        assert values[..., 52:55].std(axis=0).min() > 1e-4, "the head does not move at all"
    else:
        assert (blinks <= 1).all(), "info.idles is False, but the face blinks"


@_claim({"missing": "face"}, {"missing": "sound"})
def a_missing_face_or_sound_keeps_reactions_in_bounds(subject: Subject, missing: str) -> None:
    blank = {"face": Face(), "sound": Sound()}[missing]
    frames = [replace(f, **{missing: blank}) for f in _clip(0, 300, gaps=False)]
    _expect_bounds(subject.react(frames, samples=2))


@_claim({"state": FaceState.LOST}, {"state": FaceState.HELD})
def a_face_whose_last_values_are_held_is_still_listened_to(subject: Subject, state: FaceState) -> None:
    """Perception repeats the last values for a second."""
    frames = list(_clip(6, 300, gaps=False))
    for k in range(150, 175):
        frames[k] = replace(frames[k], face=replace(frames[149].face, state=state))
    reactions = subject.react(frames)
    _expect_bounds(reactions)
    assert all(r.live for r in reactions), "live must stay True"


@_claim()
def nan_or_infinity_in_any_one_field_counts_as_a_missing_face_or_sound(subject: Subject) -> None:
    frames = _with_embedding(_clip(3, 300, gaps=False))
    broken, as_missing = list(frames), list(frames)
    k = 60
    for i, name in enumerate((*FACE_FIELDS, *SOUND_FIELDS)):
        for value in (np.nan, np.inf, -np.inf):
            for at in (k, k + 1):
                if i < len(FACE_FIELDS):
                    broken[at] = _with_values(frames[at], {name: value})
                    as_missing[at] = replace(frames[at], face=Face())
                else:
                    broken[at] = _with_values(frames[at], sound={name: value})
                    as_missing[at] = replace(frames[at], sound=Sound())
            k += 6
    reactions = subject.react(broken)
    _expect_bounds(reactions)
    _expect_equal(_table(reactions), _table(subject.react(as_missing)), "invalid values and missing ones")


@_claim()
def landmarks_that_are_not_finite_change_nothing(subject: Subject) -> None:
    landmarks = np.full((478, 3), np.nan, np.float32)
    frames = _clip(3, 60, gaps=False)
    broken = [replace(f, face=replace(f.face, landmarks=landmarks)) for f in frames]
    _expect_equal(_table(subject.react(broken)), _table(subject.react(frames)), "with NaN landmarks and without")


@_claim()
def wild_but_finite_values_keep_reactions_in_bounds(subject: Subject) -> None:
    rng = np.random.default_rng(4)
    frames = []
    for frame in _with_embedding(_clip(4, 300, gaps=False)):
        wild = float(10.0 ** rng.uniform(0.0, 30.0) * rng.choice([-1.0, 1.0]))
        frames.append(_with_values(frame, dict.fromkeys(FACE_FIELDS, wild), dict.fromkeys(SOUND_FIELDS, wild)))
    _expect_bounds(subject.react(frames, samples=2))


@_claim({"value": np.nan}, {"value": 1e30})
def a_second_of_invalid_values_is_forgotten_within_ten(subject: Subject, value: float) -> None:
    """The mean face, and how much it moves, become those of a stream that never got the invalid values."""
    frames = _with_embedding(_clip(8, 750, gaps=False))
    invalid = dict.fromkeys(FACE_FIELDS, value), dict.fromkeys(SOUND_FIELDS, value)
    disturbed = [_with_values(f, *invalid) if 100 <= f.index < 125 else f for f in frames]
    after, clean = (_table(subject.react(given, samples=6))[125 + RECOVERY :, :, :83] for given in (disturbed, frames))
    assert np.isfinite(after).all(), "reactions are not finite after the disturbance"
    for part, far in ((slice(0, 52), 0.15), (slice(52, 58), 0.03), (slice(58, 83), 0.25)):
        moved = np.abs(after[..., part].mean(axis=(0, 1)) - clean[..., part].mean(axis=(0, 1)))
        assert moved.max() < far, f"the mean of column {part.start + moved.argmax()} is off by {moved.max():.2f}"
        energy, before = (np.abs(np.diff(t[..., part], axis=0)).mean() for t in (after, clean))
        assert before / 2.0 <= energy + 1e-6 and energy <= 2.0 * before + 1e-6, (
            f"columns {part.start} to {part.stop - 1} move by {energy:.2g} a frame, undisturbed by {before:.2g}"
        )


# A long stream -------------------------------------------------------------------------------------------------------


def _steps_within(stream: Stream, frames: Frames, seconds: float, least: int) -> int:
    """How many steps fit into `seconds` of this machine's time, from `least` to an hour of frames."""
    began = time.process_time()
    for frame in frames[:200]:
        stream.step(frame)
    cost = (time.process_time() - began) / 200
    return HOUR if os.environ.get(FULL_VARIABLE) == "1" else int(np.clip(seconds / cost, least, HOUR))


def _repeat(stream: Stream, frames: Frames, steps: int) -> None:
    for k in range(steps):
        stream.step(frames[k % len(frames)])


@_claim(slow=True)
def time_and_memory_per_step_are_constant(subject: Subject) -> None:
    """An hour of frames where six seconds suffice for it, else as many as fit into six seconds.

    Resident memory counts, because a learned system's tensors are not Python's memory. An old and a young stream are
    timed in turns, so that other load on the machine slows both.
    """
    frames = _clip(0)
    old = subject.generator().start(samples=2)
    steps = _steps_within(old, frames, seconds=6.0, least=subject.shortened(3000))
    _repeat(old, frames, steps // 5)
    gc.collect()
    early = psutil.Process().memory_info().rss
    _repeat(old, frames, steps - steps // 5)
    gc.collect()
    late = psutil.Process().memory_info().rss
    assert late - early < 4 * 2**20, f"{steps} steps take {late - early} bytes"

    tracemalloc.start()
    _repeat(old, frames, 500)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    _repeat(old, frames, 2000)  # a multiple of the usual hops: as many action chunks are alive as before
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000, f"2000 steps keep {grown} bytes of Python's memory"

    young = subject.generator().start(samples=2)
    _repeat(young, frames, subject.shortened(300))
    old_times: list[int] = []
    young_times: list[int] = []
    for k in range(subject.shortened(1000)):
        frame = frames[k % len(frames)]
        for stream in (old, young) if k % 2 else (young, old):
            began = time.process_time_ns()
            stream.step(frame)
            (old_times if stream is old else young_times).append(time.process_time_ns() - began)
    ratio = float(np.median(old_times) / np.median(young_times))
    assert ratio < 1.5, f"after {steps} steps, one takes {ratio:.2f} times as long as at the beginning"
