"""Action chunks: fixed frames, crossfades without jumps, no look-ahead, and steps that never wait for a chunk."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from rehearsal import Speaker, simulated_speaker

from react_ros.face import ACTION_UNITS, FACE_MODEL, FRAME_NS, Face, FaceState, Floats, Reaction, SpeakerFrame
from react_ros.generators.action_chunks import ChunkedStream
from react_ros.generators.chunk_batch import generate, generate_offline
from react_ros.generators.chunk_model import REACTION_WIDTH, ChunkModel, make_chunks
from react_ros.generators.chunk_schedule import WINDOWS, ChunkSchedule
from react_ros.generators.contract import recorded_starts
from react_ros.generators.idle_blending import MAX_SHIFT
from react_ros.generators.noise import FieldNoise, LatentNoise, Noise, SegmentNoise
from react_ros.generators.speaker_inputs import INPUTS, SpeakerInputs, speaker_inputs

LIVE = ChunkSchedule(50, 5, 2, 4)
SCHEDULES = (
    WINDOWS,
    LIVE,
    ChunkSchedule(50, 7, 3, 11),
    ChunkSchedule(20, 3, 8, 6),
    ChunkSchedule(1, 1, 0, 0),
    ChunkSchedule(50, 25, 0, 9),
)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
JAW = 17  # any blendshape


@cache
def clip(seed: int, frames: int = 300) -> tuple[SpeakerFrame, ...]:
    return tuple(simulated_speaker(seed, frames, Speaker(gaps=True)))


def present_speaker(frames: int) -> list[SpeakerFrame]:
    """A speaker who is present in every frame, so that idle life never shows."""
    return [SpeakerFrame(k, k * FRAME_NS, Face(FaceState.TRACKED)) for k in range(frames)]


class Smooth(ChunkModel):
    """A small network: every reaction depends on the whole window, its order, and the noise."""

    width = INPUTS

    def __init__(self, window: int = 50, field: bool = False) -> None:
        rng = torch.Generator().manual_seed(0)
        self._in = torch.randn(window * INPUTS, 16, generator=rng) / 200.0
        self._noise_in = torch.randn(4, 16, generator=rng)
        self._out = torch.randn(16, window * REACTION_WIDTH, generator=rng) / 4.0
        self._field = field

    def inputs(self) -> SpeakerInputs:
        return SpeakerInputs()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        return (FieldNoise if self._field else LatentNoise)(rngs, window, (4,))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        assert torch.is_inference_mode_enabled() and torch.get_num_threads() == 1
        chunks, frames = len(windows), windows.shape[1]
        chance = torch.from_numpy(noise).reshape(chunks, noise.shape[1], -1, 4).mean(2)
        heard = torch.from_numpy(windows).reshape(chunks, 1, -1) @ self._in
        said = torch.tanh(heard + chance @ self._noise_in) @ self._out
        answers = torch.sigmoid(said.reshape(chunks, -1, frames, REACTION_WIDTH))
        answers[..., 52:58] = 0.1 * answers[..., 52:58]
        return answers.numpy()


class Scripted(ChunkModel):
    """One blendshape is a function of (first frame of the chunk, frame); keeps which chunks it computed."""

    width = 1

    def __init__(self, window: int, value: Callable[[int, int], float]) -> None:
        self._window, self.value = window, value
        self.windows: list[Floats] = []
        self.made: list[int] = []

    def inputs(self) -> Counting:
        return Counting()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        return LatentNoise(rngs, window, (1,))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        out = np.zeros((len(windows), noise.shape[1], self._window, REACTION_WIDTH), np.float32)
        for window, chunk in zip(windows, out, strict=True):
            begin = int(window[-1, 0])  # the newest row counts the frames so far; an empty window is 0
            self.made.append(begin)
            self.windows.append(window[:, 0])
            chunk[:, :, JAW] = [self.value(begin, k) for k in range(begin, begin + self._window)]
        return out


class Counting:
    """Rows that hold the number of frames so far."""

    def __init__(self) -> None:
        self._frames = 0

    def step(self, frame: SpeakerFrame) -> Floats:
        self._frames += 1
        return np.array([self._frames], np.float32)


class Gate(Scripted):
    """Computes chunks only while `open` is set; raises with the text `broken`."""

    def __init__(self, window: int) -> None:
        super().__init__(window, lambda begin, k: (begin % 40) / 40.0 + k % 3 / 100.0)
        self.open, self.broken = threading.Event(), ""
        self.open.set()
        self.begun = threading.Event()
        self.threads: set[int] = set()

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        self.begun.set()
        assert self.open.wait(30.0)
        self.threads.add(threading.get_ident())
        if self.broken:
            raise RuntimeError(self.broken)
        return super().chunk(windows, noise)


def settle(stream: ChunkedStream) -> None:
    """Wait until the background thread has finished."""
    wait([pending.future for pending in stream._worker._pending], 30.0)  # type: ignore[union-attr]


def play(stream: ChunkedStream, frames: Sequence[SpeakerFrame]) -> list[Reaction]:
    return [stream.step(frame) for frame in frames]


def table(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 83)."""
    return np.stack([np.concatenate([r.face_model, r.attributes], axis=1) for r in reactions])


def jaw(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T,) of the first listener."""
    return np.array([r.blendshapes[0, JAW] for r in reactions])


# Synchronous --------------------------------------------------------------------------------------------------------


@every_schedule
@pytest.mark.parametrize(("samples", "field"), [(1, False), (3, True)])
def test_a_stream_answers_like_the_batch_path(schedule: ChunkSchedule, samples: int, field: bool) -> None:
    chunk_model = Smooth(schedule.window, field)
    stepped = play(ChunkedStream(chunk_model, schedule, samples, seed=3), clip(0))
    batch = generate(chunk_model, schedule, clip(0), samples=samples, seed=3)
    assert [(r.index, r.action_chunk, r.live) for r in stepped] == [(r.index, r.action_chunk, r.live) for r in batch]
    np.testing.assert_allclose(table(stepped), table(batch), atol=1e-5, rtol=0)
    moved = np.abs(np.diff(table(stepped), axis=0)).max(axis=(1, 2))
    assert (moved > 1e-4).mean() > 0.9, "the face does not move: the test shows nothing"


def test_the_batch_path_is_the_same_however_long_the_clip_is() -> None:
    chunk_model = Smooth()
    whole = table(generate(chunk_model, LIVE, clip(0, 750), samples=60, seed=0))
    part = table(generate(chunk_model, LIVE, clip(0, 750)[:203], samples=60, seed=0))
    np.testing.assert_allclose(whole[:203], part, atol=1e-5, rtol=0)
    assert generate(chunk_model, LIVE, [], samples=1, seed=0) == []


@every_schedule
def test_another_future_does_not_change_the_past(schedule: ChunkSchedule) -> None:
    frames, now = clip(0), 153
    chunk_model = Smooth(schedule.window)
    before = table(play(ChunkedStream(chunk_model, schedule, 2, 0), frames))
    after = table(play(ChunkedStream(chunk_model, schedule, 2, 0), [*frames[:now], *clip(1)[now:]]))
    np.testing.assert_array_equal(after[:now], before[:now])
    assert (after[now:] != before[now:]).any()


@every_schedule
def test_chunks_begin_and_take_effect_at_fixed_frames_and_each_reaction_names_its_chunk(
    schedule: ChunkSchedule,
) -> None:
    chunk_model = Scripted(schedule.window, lambda begin, k: begin / 1000.0)
    reactions = play(ChunkedStream(chunk_model, schedule, 1, 0), present_speaker(200))
    for k, reaction in enumerate(reactions):
        begun = (k - schedule.inference_delay) // schedule.hop * schedule.hop if k >= schedule.inference_delay else 0
        assert reaction.action_chunk == begun - 1
        assert recorded_starts(reactions)[begun - 1] == (begun + schedule.inference_delay if begun else 0)


def test_in_the_papers_schedule_the_last_50_frames_give_the_next_50_and_the_first_window_is_zeros() -> None:
    chunk_model = Scripted(50, lambda begin, k: k / 1000.0)
    reactions = play(ChunkedStream(chunk_model, WINDOWS, 1, 0), present_speaker(160))
    assert chunk_model.made == [0, 50, 100, 150]
    np.testing.assert_array_equal(chunk_model.windows[0], np.zeros(50))
    np.testing.assert_array_equal(chunk_model.windows[1], np.arange(1, 51))
    np.testing.assert_array_equal(chunk_model.windows[2], np.arange(51, 101))
    np.testing.assert_allclose(jaw(reactions), np.arange(160) / 1000.0, atol=1e-6)


def test_a_window_that_is_not_full_begins_with_zeros() -> None:
    chunk_model = Scripted(20, lambda begin, k: 0.0)
    play(ChunkedStream(chunk_model, ChunkSchedule(20, 3, 0, 0), 1, 0), present_speaker(31))
    np.testing.assert_array_equal(chunk_model.windows[2], [*[0.0] * 14, *range(1, 7)])
    np.testing.assert_array_equal(chunk_model.windows[10], np.arange(11, 31))


def test_frames_of_a_chunk_before_it_takes_effect_are_skipped() -> None:
    chunk_model = Scripted(50, lambda begin, k: k / 1000.0)
    reactions = play(ChunkedStream(chunk_model, ChunkSchedule(50, 5, 3, 4), 1, 0), present_speaker(200))
    np.testing.assert_allclose(jaw(reactions), np.arange(200) / 1000.0, atol=1e-6)  # all agree on the frame's number


def test_a_crossfade_has_equal_steps() -> None:
    chunk_model = Scripted(50, lambda begin, k: 0.8 if begin % 20 else 0.2)
    shown = jaw(play(ChunkedStream(chunk_model, ChunkSchedule(50, 10, 2, 4), 1, 0), present_speaker(40)))
    step = 0.6 / 5
    up, down = 0.2 + step * np.arange(1, 6), 0.8 - step * np.arange(1, 6)
    expected = [*[0.2] * 12, *up, *[0.8] * 5, *down, *[0.2] * 5, *up, *[0.8] * 3]
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_overlapping_crossfades_make_no_jump() -> None:
    schedule = ChunkSchedule(40, 3, 0, 8)
    heights = np.random.default_rng(0).uniform(0.0, 1.0, 300)
    chunk_model = Scripted(40, lambda begin, k: heights[begin])
    shown = jaw(play(ChunkedStream(chunk_model, schedule, 1, 0), present_speaker(120)))
    expected = []
    for k in range(120):  # each chunk is crossfaded into what those before it show
        value = heights[0]
        for begin in range(3, k + 1, 3):
            value += min(1.0, (k - begin + 1) / 9.0) * (heights[begin] - value)
        expected.append(value)
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    # At most three crossfades overlap, and each moves the face by at most a ninth of the way in a frame.
    assert np.abs(np.diff(shown)).max() < 3 / 9.0


PITCH = 52


class Nodding(Scripted):
    """A head that is at rest but for one nod of 10 frames; two chunks in a row disagree by 5 frames on when it is."""

    inertial = True

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        out = super().chunk(windows, noise)
        out[..., PITCH] = out[..., JAW]
        return out

    @staticmethod
    def nod(begin: int, k: int) -> float:
        at = k - (30 if begin % 10 else 25)
        return 0.1 * float(np.sin(np.pi * at / 10) ** 2) if 0 <= at < 10 else 0.0


def pitch(reactions: Sequence[Reaction]) -> np.ndarray:
    return np.array([r.rotation[0, 0] for r in reactions])


@pytest.mark.parametrize("inertial", [False, True])
def test_a_crossfade_averages_two_nods_and_an_inertial_transition_finishes_one(inertial: bool) -> None:
    chunk_model = Nodding(50, Nodding.nod)
    chunk_model.inertial = inertial
    shown = pitch(play(ChunkedStream(chunk_model, ChunkSchedule(50, 5, 1, 10), 1, 0), present_speaker(60)))
    assert (shown.max() > 0.095) == inertial
    if inertial:
        assert min(np.abs(shown - [Nodding.nod(begin, k) for k in range(60)]).max() for begin in (0, 5)) < 0.02


def test_an_inertial_transition_makes_no_jump_and_ends_at_the_newest_chunk() -> None:
    poses = np.random.default_rng(0).uniform(-0.2, 0.2, 500)
    chunk_model = Nodding(50, lambda begin, k: float(poses[begin]))
    shown = pitch(play(ChunkedStream(chunk_model, ChunkSchedule(50, 25, 1, 10), 1, 0), present_speaker(100)))
    assert np.abs(np.diff(shown)).max() < 1.6 * 0.4 / 11  # the steepest step of a fade over 11 frames
    np.testing.assert_allclose(shown[[20, 45, 70, 99]], poses[[0, 25, 50, 75]], atol=1e-6)


def test_a_head_that_always_moves_passes_to_the_next_chunk_before_its_own_ends() -> None:
    chunk_model = Nodding(50, lambda begin, k: 0.02 * float(np.sin(k)) + begin / 1000.0)
    shown = pitch(play(ChunkedStream(chunk_model, ChunkSchedule(50, 5, 1, 10), 1, 0), present_speaker(140)))
    assert shown[-20:].mean() > 0.08, "it follows a chunk of the last second"


def test_inertial_transitions_are_the_same_in_the_stream_and_in_the_batch_path() -> None:
    chunk_model = Smooth()
    chunk_model.inertial = True
    stepped = play(ChunkedStream(chunk_model, LIVE, 3, seed=3), clip(0))
    np.testing.assert_allclose(
        table(stepped), table(generate(chunk_model, LIVE, clip(0), samples=3, seed=3)), atol=1e-5, rtol=0
    )


def test_crossfaded_chunks_are_finished_once() -> None:
    class Binary(Scripted):
        def finish(self, shown: Floats) -> Floats:
            return np.concatenate([shown[..., :FACE_MODEL], shown[..., FACE_MODEL:] > 0.5], axis=-1, dtype=np.float32)

        def chunk(self, windows: Floats, noise: Floats) -> Floats:
            out = super().chunk(windows, noise)
            out[..., FACE_MODEL : FACE_MODEL + len(ACTION_UNITS)] = out[..., JAW, None]
            return out

    chunk_model = Binary(50, lambda begin, k: 0.9 if begin % 20 else 0.2)
    schedule = ChunkSchedule(50, 10, 0, 6)
    for reactions in (
        play(ChunkedStream(chunk_model, schedule, 1, 0), present_speaker(60)),
        generate(chunk_model, schedule, present_speaker(60), samples=1, seed=0),
    ):
        units = table(reactions)[:, 0, FACE_MODEL : FACE_MODEL + len(ACTION_UNITS)]
        assert set(np.unique(units)) == {0.0, 1.0}
        np.testing.assert_array_equal(units[:, 0], jaw(reactions) > 0.5)


def test_the_same_seed_gives_the_same_bits_and_streams_are_independent() -> None:
    chunk_model = Smooth()
    alone = table(play(ChunkedStream(chunk_model, LIVE, 2, 4), clip(0)))
    disturber, stream = ChunkedStream(chunk_model, LIVE, 3, 9), ChunkedStream(chunk_model, LIVE, 2, 4)
    mixed = []
    for mine, other in zip(clip(0), clip(1), strict=True):
        disturber.step(other)
        mixed.append(stream.step(mine))
    np.testing.assert_array_equal(table(mixed), alone)
    assert np.abs(table(play(ChunkedStream(chunk_model, LIVE, 2, 5), clip(0))) - alone).max() > 0.05


def test_a_listener_does_not_depend_on_how_many_others_there_are() -> None:
    few, many = (table(play(ChunkedStream(Smooth(), LIVE, n, 4), clip(0))) for n in (2, 5))
    np.testing.assert_allclose(few, many[:, :2], atol=1e-5, rtol=0)


def test_a_reaction_belongs_to_the_caller() -> None:
    expected = table(play(ChunkedStream(Smooth(), WINDOWS, 2, 0), clip(0)))
    stream = ChunkedStream(Smooth(), WINDOWS, 2, 0)
    out = []
    for frame in clip(0):
        reaction = stream.step(frame)
        out.append(table([reaction])[0])
        for array in (reaction.blendshapes, reaction.rotation, reaction.translation, reaction.attributes):
            array[:] = 99.0
    np.testing.assert_array_equal(np.stack(out), expected)


def test_offline_each_window_of_the_speaker_gives_the_window_of_the_same_time_and_the_last_is_padded() -> None:
    frames = [replace(f, face=replace(f.face, state=FaceState.TRACKED)) for f in clip(0)[:130]]
    chunk_model = Smooth()
    reactions = table(generate_offline(chunk_model, 50, frames, samples=2, seed=1))
    rows = np.concatenate([speaker_inputs(frames), np.zeros((20, INPUTS), np.float32)])
    rngs = [np.random.default_rng(np.random.SeedSequence(1, spawn_key=(6, i))) for i in range(2)]
    chance = np.stack([rng.standard_normal((3, 4), np.float32) for rng in rngs], axis=1)  # new in every window
    answers = make_chunks(chunk_model, rows.reshape(3, 50, INPUTS), chance)  # (3, 2, 50, 83)
    direct = answers.swapaxes(1, 2).reshape(150, 2, REACTION_WIDTH)[:130]
    direct[..., 55:58] = direct[..., 55:58].clip(-MAX_SHIFT, MAX_SHIFT)
    np.testing.assert_allclose(reactions, direct, atol=1e-6)
    assert generate_offline(chunk_model, 50, [], samples=1, seed=0) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"hop": 0}, "hop is 0"),
        ({"hop": 51}, "hop is 51: it must be a whole number from 1 to 50 frames"),
        ({"hop": 10, "inference_delay": -1}, "inference_delay is -1"),
        ({"hop": 25, "inference_delay": 20, "crossfade": 6}, "longer together than an action chunk of 50 frames"),
    ],
)
def test_a_schedule_that_leaves_a_gap_is_refused_with_a_sentence(given: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        ChunkSchedule(**given)
    for samples, seed in ((0, 0), (1, -1)):
        with pytest.raises(ValueError, match=r"samples is|seed is"):
            ChunkedStream(Smooth(), WINDOWS, samples, seed)


def test_a_schedule_gives_its_delay() -> None:
    """The mean, over speaker frames, of the time until half of what is shown depends on the frame."""
    for schedule in SCHEDULES:
        halves = []
        for heard in range(schedule.hop):
            effect = next(b for b in range(1, 200) if b % schedule.hop == 0 and b > heard) + schedule.inference_delay
            halves.append(effect - heard + schedule.crossfade / 2)
        assert schedule.delay == pytest.approx(np.mean(halves))


# Noise --------------------------------------------------------------------------------------------------------------


def rngs(samples: int = 1) -> list[np.random.Generator]:
    return [np.random.default_rng((7, i)) for i in range(samples)]


def test_overlapping_chunks_have_the_same_noise_at_the_same_frame() -> None:
    noise = FieldNoise(rngs(2), 50, (3,))
    first, second, third = noise.at(0), noise.at(7), noise.at(57)
    np.testing.assert_array_equal(second[:, :43], first[:, 7:])
    assert first.shape == (2, 50, 3) and first.dtype == np.float32
    assert not np.isin(third, second).any()
    whole = FieldNoise(rngs(2), 100, (3,)).at(0)
    np.testing.assert_array_equal(np.concatenate([first, second[:, 43:]], axis=1), whole[:, :57])


def test_a_field_of_noise_is_white() -> None:
    noise = FieldNoise(rngs(), 50, (200,))
    field = np.concatenate([noise.at(k)[0, -10:] for k in range(0, 1000, 10)])
    assert field.mean() == pytest.approx(0.0, abs=0.01) and field.std() == pytest.approx(1.0, abs=0.01)
    assert np.mean(field[1:] * field[:-1]) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("hop", [8, 50])
def test_lasting_noise_is_white_in_each_chunk_and_keeps_its_mean(hop: int) -> None:
    noise = FieldNoise(rngs(), 50, (2000,), lasting=True)
    drawn = np.stack([noise.at(k)[0] for k in range(0, 20 * hop, hop)])  # (20, 50, 2000)
    means = drawn.mean(axis=1)
    np.testing.assert_allclose(means, np.broadcast_to(means[0], means.shape), atol=1e-5)
    for chunk in drawn:
        within = chunk @ chunk.T / 2000  # over the frames of one chunk: the identity
        assert np.abs(within - np.eye(50)).max() < 0.15
        assert within.mean() == pytest.approx(1 / 50, abs=0.005) and np.trace(within) / 50 == pytest.approx(1, abs=0.02)
    apart = hop < 50
    assert (
        (np.mean(drawn[1:, : 50 - hop] * drawn[:-1, hop:]) > 0.9)
        if apart
        else (np.mean(drawn[1:] * drawn[:-1]) == pytest.approx(1 / 50, abs=0.005))
    )


@pytest.mark.parametrize("hop", [1, 5, 25, 50])
def test_latent_noise_is_stationary_and_decorrelates_over_a_window(hop: int) -> None:
    noise = LatentNoise(rngs(), 50, (20_000,))
    drawn = np.stack([noise.at(k)[0] for k in range(0, 20 * hop, hop)])
    np.testing.assert_allclose(drawn.var(axis=1), 1.0, atol=0.06)
    for apart in (1, 3, 10):
        kept = np.exp(-hop / 50) ** apart if hop < 50 else 0.0
        assert np.mean(drawn[apart:] * drawn[:-apart]) == pytest.approx(kept, abs=0.03)


def test_segments_that_two_chunks_share_have_the_same_noise() -> None:
    noise = SegmentNoise(rngs(2), 50, 10, 1, 40)
    first, second = (noise.at(position).reshape(2, 10, 4) for position in (0, 15))
    first, second = (part - part.mean(1, keepdims=True) for part in (first, second))  # the mean lasts
    shared, again = first[:, 3:], second[:, :7]
    np.testing.assert_allclose(shared - shared[:, :1], again - again[:, :1], atol=1e-5)
    whole = SegmentNoise(rngs(), 50, 10, 2, 4000).at(0)
    assert whole.shape == (1, 2, 4000) and abs(float(whole.std()) - 1.0) < 0.05


@pytest.mark.parametrize("kind", [FieldNoise, LatentNoise])
def test_a_listener_s_noise_does_not_depend_on_the_others(kind: type[FieldNoise] | type[LatentNoise]) -> None:
    few, many = kind(rngs(2), 50, (3,)), kind(rngs(9), 50, (3,))
    for k in range(0, 200, 5):
        np.testing.assert_array_equal(few.at(k), many.at(k)[:2])


# In the background ---------------------------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[Gate]:
    chunk_model = Gate(20)
    yield chunk_model
    chunk_model.open.set()


BACKGROUND = ChunkSchedule(20, 5, 2, 3)


def test_background_chunks_in_time_give_the_synchronous_bits(gate: Gate) -> None:
    frames = clip(0, 200)
    synchronous = table(play(ChunkedStream(gate, BACKGROUND, 2, 1), frames))
    gate.threads.clear()
    stream = ChunkedStream(gate, BACKGROUND, 2, 1)
    stream.run_asynchronously()
    reactions = []
    for frame in frames:
        reactions.append(stream.step(frame))
        settle(stream)
    np.testing.assert_array_equal(table(reactions), synchronous)
    assert stream.late_chunks == 0 and stream.warning == ""
    assert len(gate.threads - {threading.get_ident()}) == 1


def test_a_late_chunk_delays_no_frame_is_counted_and_takes_effect_when_it_is_ready(gate: Gate) -> None:
    frames = present_speaker(60)
    stream = ChunkedStream(gate, BACKGROUND, 1, 0)
    stream.run_asynchronously()
    reactions = play(stream, frames[:5])
    settle(stream)  # the chunk begun after frame 4 is computed, and due at 7
    gate.open.clear()
    gate.begun.clear()
    reactions += play(stream, frames[5:12])
    assert stream.late_chunks == 0 and gate.begun.wait(30.0)
    reactions += play(
        stream, frames[12:15]
    )  # the one begun after 9 was due at 12; a step that waits for it would never return
    assert stream.late_chunks == 1 and reactions[-1].action_chunk == 4
    gate.open.set()
    settle(stream)
    reactions.append(stream.step(frames[15]))
    assert (reactions[-1].index, reactions[-1].action_chunk) == (15, 9)
    for frame in frames[16:]:
        settle(stream)
        reactions.append(stream.step(frame))
    assert stream.late_chunks == 1
    starts = recorded_starts(reactions)
    assert starts[4] == 7 and starts[9] == 15 and starts[14] == 17
    replayed = ChunkedStream(gate, BACKGROUND, 1, 0)
    replayed.follow(starts)
    again = play(replayed, frames)
    np.testing.assert_array_equal(table(again), table(reactions))
    assert [r.action_chunk for r in again] == [r.action_chunk for r in reactions]
    synchronous = play(ChunkedStream(gate, BACKGROUND, 1, 0), frames)
    assert (table(synchronous) != table(reactions)).any(), "lateness made no difference: the replay shows nothing"


def test_of_several_waiting_chunks_the_newest_is_computed_and_the_others_are_counted_as_late(gate: Gate) -> None:
    frames = present_speaker(80)
    stream = ChunkedStream(gate, BACKGROUND, 1, 0)
    stream.run_asynchronously()
    gate.open.clear()
    gate.begun.clear()
    reactions = play(stream, frames[:5])
    assert gate.begun.wait(30.0)
    reactions += play(stream, frames[5:28])  # chunks were begun after 4, 9, 14, 19, 24
    assert stream.late_chunks == 5 and {r.action_chunk for r in reactions} == {-1}
    gate.open.set()
    settle(stream)
    reactions += play(stream, frames[28:29])
    assert gate.made == [0, 5, 25], "chunks in between must not be computed"
    assert reactions[-1].action_chunk == 24
    for frame in frames[29:]:
        settle(stream)
        reactions.append(stream.step(frame))
    assert stream.late_chunks == 5
    replayed = ChunkedStream(gate, BACKGROUND, 1, 0)
    replayed.follow(recorded_starts(reactions))
    np.testing.assert_array_equal(table(play(replayed, frames)), table(reactions))


def test_after_the_end_of_a_chunk_the_face_fades_into_idle_life_until_the_next_chunk(gate: Gate) -> None:
    frames = present_speaker(200)
    gate.value = lambda begin, k: 0.9
    stream = ChunkedStream(gate, BACKGROUND, 1, 0)
    stream.run_asynchronously()
    gate.open.clear()
    reactions = play(stream, frames[:120])
    open_jaw = jaw(reactions)
    np.testing.assert_allclose(open_jaw[:20], 0.9, atol=1e-6)
    assert np.abs(np.diff(open_jaw)).max() < 0.12 and open_jaw[80:].max() < 0.001
    assert all(r.live for r in reactions), "somebody is present"
    assert (np.abs(np.diff(table(reactions)[80:, 0, 52:55], axis=0)).max(axis=1) > 0).all(), "it does not breathe"
    gate.open.set()
    for frame in frames[120:]:
        settle(stream)
        reactions.append(stream.step(frame))
    assert np.abs(np.diff(jaw(reactions))).max() < 0.12 and jaw(reactions)[-1] == pytest.approx(0.9, abs=1e-3)


def test_a_failing_model_is_logged_once_and_tried_again(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    frames = present_speaker(160)
    stream = ChunkedStream(gate, BACKGROUND, 1, 0)
    stream.run_asynchronously()
    gate.broken = "a kernel\nis missing"
    reactions = []

    def on(until: int) -> None:
        for frame in frames[len(reactions) : until]:
            reactions.append(stream.step(frame))
            settle(stream)

    with caplog.at_level(logging.WARNING):
        on(100)
    assert stream.warning == "action chunks fail: a kernel is missing"
    assert [r.getMessage() for r in caplog.records] == [
        "an action chunk failed; idle life takes over, and the next chunks are tried"
    ]
    assert stream.late_chunks == 19  # begun after 4, 9, … 94; the one begun after 99 is not due yet
    assert len(reactions) == 100 and {r.action_chunk for r in reactions} == {-1}
    gate.broken = ""
    on(160)
    assert stream.warning == "" and stream.late_chunks == 20 and reactions[-1].action_chunk == 154


def test_a_synchronous_stream_raises_the_failure(gate: Gate) -> None:
    stream = ChunkedStream(gate, BACKGROUND, 1, 0)
    gate.broken = "a kernel is missing"
    with pytest.raises(RuntimeError, match="a kernel is missing"):
        play(stream, present_speaker(20))


def chunk_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("chunks")]


def test_the_thread_ends_when_the_stream_is_dropped(gate: Gate) -> None:
    before = set(chunk_threads())
    stream = ChunkedStream(gate, BACKGROUND, 1, 0)
    stream.run_asynchronously()
    play(stream, present_speaker(30))
    threads = set(chunk_threads()) - before
    assert len(threads) == 1
    del stream
    gc.collect()
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()


def test_a_stream_dropped_during_a_chunk_ends_its_thread_after_it(gate: Gate) -> None:
    before = set(chunk_threads())
    stream = ChunkedStream(gate, BACKGROUND, 1, 0)
    stream.run_asynchronously()
    gate.open.clear()
    play(stream, present_speaker(30))
    (thread,) = set(chunk_threads()) - before
    del stream
    gc.collect()
    assert thread.is_alive()
    gate.open.set()
    thread.join(10.0)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_process_ends_while_chunks_are_computed() -> None:
    """The thread is not a daemon: one inside torch while the interpreter shuts down would abort the process."""
    code = (
        "import test_action_chunks as t, time, threading\n"
        "gate = t.Gate(20)\n"
        "gate.value = lambda begin, k: time.sleep(0.01) or 0.5\n"
        "stream = t.ChunkedStream(gate, t.BACKGROUND, 1, 0)\n"
        "stream.run_asynchronously()\n"
        "t.play(stream, t.present_speaker(30))\n"
        "assert t.chunk_threads() and not any(x.daemon for x in t.chunk_threads())\n"
        "print('done')\n"
    )
    path = ":".join(p for p in (*sys.path, str(__file__).rsplit("/", 1)[0]) if p)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("background", [False, True])
def test_an_old_stream_costs_what_a_young_one_costs_in_memory_and_in_time(background: bool) -> None:
    frames = clip(0)

    def begun(steps: int) -> ChunkedStream:
        stream = ChunkedStream(chunk_model, LIVE, 2, 0)
        if background:
            stream.run_asynchronously()
        return endless(stream, steps)

    def endless(stream: ChunkedStream, steps: int) -> ChunkedStream:
        for k in range(steps):
            stream.step(frames[k % len(frames)])
            if background and k % 5 == 4:
                settle(stream)
        return stream

    chunk_model = Smooth()
    old = begun(600)
    tracemalloc.start()
    endless(old, 300)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    endless(old, 1500)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000, f"1500 steps keep {grown} bytes"
    young = begun(100)
    costs: dict[bool, list[int]] = {True: [], False: []}
    for k in range(500):
        for stream in (old, young) if k % 2 else (young, old):
            began = time.thread_time_ns()
            stream.step(frames[k % len(frames)])
            costs[stream is old].append(time.thread_time_ns() - began)
            if background:
                settle(stream)
    assert np.median(costs[True]) < 1.5 * np.median(costs[False])
