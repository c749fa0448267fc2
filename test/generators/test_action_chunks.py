"""Claims about schedule: fixed frames, no jump, no look-ahead, and a clock that no chunk ever holds up."""

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
from react_ros.generators.chunk_model import ANSWER, ChunkModel, make_chunks
from react_ros.generators.chunk_schedule import WINDOWS, ChunkSchedule
from react_ros.generators.contract import recorded_starts
from react_ros.generators.idle_blending import MAX_SHIFT
from react_ros.generators.noise import FieldNoise, LatentNoise, Noise
from react_ros.generators.speaker_inputs import INPUTS, SpeakerInputs, speaker_inputs

LIVE = ChunkSchedule(50, 5, 2, 4)
PLANNINGS = (
    WINDOWS,
    LIVE,
    ChunkSchedule(50, 7, 3, 11),
    ChunkSchedule(20, 3, 8, 6),
    ChunkSchedule(1, 1, 0, 0),
    ChunkSchedule(50, 25, 0, 9),
)
every_planning = pytest.mark.parametrize("schedule", PLANNINGS, ids=str)
JAW = 17  # any blendshape


@cache
def clip(seed: int, frames: int = 300) -> tuple[SpeakerFrame, ...]:
    return tuple(simulated_speaker(seed, frames, Speaker(gaps=True)))


def watched(frames: int) -> list[SpeakerFrame]:
    """Somebody is there all the time, so that nothing but the chunks is seen."""
    return [SpeakerFrame(k, k * FRAME_NS, Face(FaceState.TRACKED)) for k in range(frames)]


class Smooth(ChunkModel):
    """A small network: every answer depends on the whole window, its order, and the noise."""

    width = INPUTS

    def __init__(self, window: int = 50, field: bool = False) -> None:
        draw = torch.Generator().manual_seed(0)
        self._heard = torch.randn(window * INPUTS, 16, generator=draw) / 200.0
        self._chance = torch.randn(4, 16, generator=draw)
        self._said = torch.randn(16, window * ANSWER, generator=draw) / 4.0
        self._field = field

    def inputs(self) -> SpeakerInputs:
        return SpeakerInputs()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        return (FieldNoise if self._field else LatentNoise)(rngs, window, (4,))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        assert torch.is_inference_mode_enabled() and torch.get_num_threads() == 1
        chunks, frames = len(windows), windows.shape[1]
        chance = torch.from_numpy(noise).reshape(chunks, noise.shape[1], -1, 4).mean(2)
        heard = torch.from_numpy(windows).reshape(chunks, 1, -1) @ self._heard
        said = torch.tanh(heard + chance @ self._chance) @ self._said
        answers = torch.sigmoid(said.reshape(chunks, -1, frames, ANSWER))
        answers[..., 52:58] = 0.1 * answers[..., 52:58]
        return answers.numpy()


class Told(ChunkModel):
    """Says what a function of (chunk's first frame, frame) says, in one blendshape; knows which chunk it makes."""

    width = 1

    def __init__(self, window: int, says: Callable[[int, int], float]) -> None:
        self._window, self.says = window, says
        self.windows: list[Floats] = []
        self.made: list[int] = []

    def inputs(self) -> Counting:
        return Counting()

    def noise(self, rngs: Sequence[np.random.Generator], window: int) -> Noise:
        return LatentNoise(rngs, window, (1,))

    def chunk(self, windows: Floats, noise: Floats) -> Floats:
        out = np.zeros((len(windows), noise.shape[1], self._window, ANSWER), np.float32)
        for window, chunk in zip(windows, out, strict=True):
            begin = int(window[-1, 0])  # the newest row counts the frames so far; an empty window is 0
            self.made.append(begin)
            self.windows.append(window[:, 0])
            chunk[:, :, JAW] = [self.says(begin, k) for k in range(begin, begin + self._window)]
        return out


class Counting:
    """Rows that say how many frames there have been."""

    def __init__(self) -> None:
        self._frames = 0

    def step(self, frame: SpeakerFrame) -> Floats:
        self._frames += 1
        return np.array([self._frames], np.float32)


class Gate(Told):
    """Makes chunks only as the test lets it; raises where it is told to."""

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
    """Wait until the other thread has nothing left to do."""
    wait([asked.future for asked in stream._source._asked], 30.0)  # type: ignore[union-attr]


def play(stream: ChunkedStream, frames: Sequence[SpeakerFrame]) -> list[Reaction]:
    return [stream.step(frame) for frame in frames]


def table(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 83)."""
    return np.stack([np.concatenate([r.face_model, r.attributes], axis=1) for r in reactions])


def jaw(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T,) of the first listener."""
    return np.array([r.blendshapes[0, JAW] for r in reactions])


# Punctual -----------------------------------------------------------------------------------------------------------


@every_planning
@pytest.mark.parametrize(("samples", "field"), [(1, False), (3, True)])
def test_a_stream_answers_like_the_batch_path(schedule: ChunkSchedule, samples: int, field: bool) -> None:
    chunk_model = Smooth(schedule.window, field)
    stepped = play(ChunkedStream(chunk_model, schedule, samples, seed=3), clip(0))
    batch = generate(chunk_model, schedule, clip(0), samples=samples, seed=3)
    assert [(r.index, r.action_chunk, r.live) for r in stepped] == [(r.index, r.action_chunk, r.live) for r in batch]
    np.testing.assert_allclose(table(stepped), table(batch), atol=1e-5, rtol=0)
    moved = np.abs(np.diff(table(stepped), axis=0)).max(axis=(1, 2))
    assert (moved > 1e-4).mean() > 0.9, "nothing happens: the test shows nothing"


def test_the_batch_path_is_the_same_however_long_the_clip_is() -> None:
    chunk_model = Smooth()
    whole = table(generate(chunk_model, LIVE, clip(0, 750), samples=60, seed=0))
    part = table(generate(chunk_model, LIVE, clip(0, 750)[:203], samples=60, seed=0))
    np.testing.assert_allclose(whole[:203], part, atol=1e-5, rtol=0)
    assert generate(chunk_model, LIVE, [], samples=1, seed=0) == []


@every_planning
def test_another_future_leaves_the_past_as_it_was(schedule: ChunkSchedule) -> None:
    frames, now = clip(0), 153
    chunk_model = Smooth(schedule.window)
    before = table(play(ChunkedStream(chunk_model, schedule, 2, 0), frames))
    after = table(play(ChunkedStream(chunk_model, schedule, 2, 0), [*frames[:now], *clip(1)[now:]]))
    np.testing.assert_array_equal(after[:now], before[:now])
    assert (after[now:] != before[now:]).any()


@every_planning
def test_plans_begin_and_take_effect_at_fixed_frames_and_each_reaction_names_its_plan(schedule: ChunkSchedule) -> None:
    chunk_model = Told(schedule.window, lambda begin, k: begin / 1000.0)
    reactions = play(ChunkedStream(chunk_model, schedule, 1, 0), watched(200))
    for k, reaction in enumerate(reactions):
        begun = (k - schedule.inference_delay) // schedule.hop * schedule.hop if k >= schedule.inference_delay else 0
        assert reaction.action_chunk == begun - 1
        assert recorded_starts(reactions)[begun - 1] == (begun + schedule.inference_delay if begun else 0)


def test_in_the_papers_protocol_the_last_fifty_frames_give_the_next_fifty_and_the_first_window_is_zeros() -> None:
    chunk_model = Told(50, lambda begin, k: k / 1000.0)
    reactions = play(ChunkedStream(chunk_model, WINDOWS, 1, 0), watched(160))
    assert chunk_model.made == [0, 50, 100, 150]
    np.testing.assert_array_equal(chunk_model.windows[0], np.zeros(50))
    np.testing.assert_array_equal(chunk_model.windows[1], np.arange(1, 51))
    np.testing.assert_array_equal(chunk_model.windows[2], np.arange(51, 101))
    np.testing.assert_allclose(jaw(reactions), np.arange(160) / 1000.0, atol=1e-6)


def test_a_window_that_is_not_full_begins_with_zeros() -> None:
    chunk_model = Told(20, lambda begin, k: 0.0)
    play(ChunkedStream(chunk_model, ChunkSchedule(20, 3, 0, 0), 1, 0), watched(31))
    np.testing.assert_array_equal(chunk_model.windows[2], [*[0.0] * 14, *range(1, 7)])
    np.testing.assert_array_equal(chunk_model.windows[10], np.arange(11, 31))


def test_a_plan_says_nothing_of_the_frames_that_went_by_before_it_took_effect() -> None:
    chunk_model = Told(50, lambda begin, k: k / 1000.0)
    reactions = play(ChunkedStream(chunk_model, ChunkSchedule(50, 5, 3, 4), 1, 0), watched(200))
    np.testing.assert_allclose(jaw(reactions), np.arange(200) / 1000.0, atol=1e-6)  # all agree on the frame's number


def test_a_new_plan_replaces_the_former_in_equal_steps() -> None:
    chunk_model = Told(50, lambda begin, k: 0.8 if begin % 20 else 0.2)
    shown = jaw(play(ChunkedStream(chunk_model, ChunkSchedule(50, 10, 2, 4), 1, 0), watched(40)))
    step = 0.6 / 5
    up, down = 0.2 + step * np.arange(1, 6), 0.8 - step * np.arange(1, 6)
    expected = [*[0.2] * 12, *up, *[0.8] * 5, *down, *[0.2] * 5, *up, *[0.8] * 3]
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_a_plan_that_comes_while_another_is_still_taking_over_makes_no_jump() -> None:
    schedule = ChunkSchedule(40, 3, 0, 8)
    heights = np.random.default_rng(0).uniform(0.0, 1.0, 300)
    chunk_model = Told(40, lambda begin, k: heights[begin])
    shown = jaw(play(ChunkedStream(chunk_model, schedule, 1, 0), watched(120)))
    expected = []
    for k in range(120):  # each chunk draws what those before it show towards itself, by its own share
        value = heights[0]
        for begin in range(3, k + 1, 3):
            value += min(1.0, (k - begin + 1) / 9.0) * (heights[begin] - value)
        expected.append(value)
    np.testing.assert_allclose(shown, expected, atol=1e-5)
    # Three chunks at most are under way at once, and none moves the face by more than its ninth of the way.
    assert np.abs(np.diff(shown)).max() < 3 / 9.0


def test_blended_plans_are_finished_once_for_what_is_shown() -> None:
    class Binary(Told):
        def finish(self, shown: Floats) -> Floats:
            return np.concatenate([shown[..., :FACE_MODEL], shown[..., FACE_MODEL:] > 0.5], axis=-1, dtype=np.float32)

        def chunk(self, windows: Floats, noise: Floats) -> Floats:
            out = super().chunk(windows, noise)
            out[..., FACE_MODEL : FACE_MODEL + len(ACTION_UNITS)] = out[..., JAW, None]
            return out

    chunk_model = Binary(50, lambda begin, k: 0.9 if begin % 20 else 0.2)
    schedule = ChunkSchedule(50, 10, 0, 6)
    for reactions in (
        play(ChunkedStream(chunk_model, schedule, 1, 0), watched(60)),
        generate(chunk_model, schedule, watched(60), samples=1, seed=0),
    ):
        units = table(reactions)[:, 0, FACE_MODEL : FACE_MODEL + len(ACTION_UNITS)]
        assert set(np.unique(units)) == {0.0, 1.0}
        np.testing.assert_array_equal(units[:, 0], jaw(reactions) > 0.5)


def test_the_same_seed_gives_the_same_bits_and_streams_do_not_mix() -> None:
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


def test_offline_each_window_of_the_speaker_gives_the_same_window_and_the_last_is_filled_with_zeros() -> None:
    frames = [replace(f, face=replace(f.face, state=FaceState.TRACKED)) for f in clip(0)[:130]]
    chunk_model = Smooth()
    reactions = table(generate_offline(chunk_model, 50, frames, samples=2, seed=1))
    rows = np.concatenate([speaker_inputs(frames), np.zeros((20, INPUTS), np.float32)])
    rngs = [np.random.default_rng(np.random.SeedSequence(1, spawn_key=(6, i))) for i in range(2)]
    chance = np.stack([rng.standard_normal((3, 4), np.float32) for rng in rngs], axis=1)  # new in every window
    answers = make_chunks(chunk_model, rows.reshape(3, 50, INPUTS), chance)  # (3, 2, 50, 83)
    direct = answers.swapaxes(1, 2).reshape(150, 2, ANSWER)[:130]
    direct[..., 55:58] = direct[..., 55:58].clip(-MAX_SHIFT, MAX_SHIFT)
    np.testing.assert_allclose(reactions, direct, atol=1e-6)
    assert generate_offline(chunk_model, 50, [], samples=1, seed=0) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"hop": 0}, "hop is 0"),
        ({"hop": 51}, "hop is 51: it must be a whole number from 1 to 50 frames"),
        ({"hop": 10, "inference_delay": -1}, "inference_delay is -1"),
        ({"hop": 25, "inference_delay": 20, "crossfade": 6}, "longer together than a chunk of 50 frames"),
    ],
)
def test_a_planning_that_leaves_a_gap_is_refused_with_a_sentence(given: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ChunkSchedule(**given)
    for samples, seed in ((0, 0), (1, -1)):
        with pytest.raises(ValueError, match=r"samples is|seed is"):
            ChunkedStream(Smooth(), WINDOWS, samples, seed)


def test_a_planning_says_its_delay() -> None:
    """The mean, over the frame at which something is heard, of the time until half of what is shown knows of it."""
    for schedule in PLANNINGS:
        halves = []
        for heard in range(schedule.hop):
            effect = next(b for b in range(1, 200) if b % schedule.hop == 0 and b > heard) + schedule.inference_delay
            halves.append(effect - heard + schedule.crossfade / 2)
        assert schedule.delay == pytest.approx(np.mean(halves))


# Noise --------------------------------------------------------------------------------------------------------------


def rngs(samples: int = 1) -> list[np.random.Generator]:
    return [np.random.default_rng((7, i)) for i in range(samples)]


def test_plans_that_overlap_have_the_same_noise_at_the_same_frame() -> None:
    noise = FieldNoise(rngs(2), 50, (3,))
    first, second, third = noise.draw(0), noise.draw(7), noise.draw(57)
    np.testing.assert_array_equal(second[:, :43], first[:, 7:])
    assert first.shape == (2, 50, 3) and first.dtype == np.float32
    assert not np.isin(third, second).any()
    whole = FieldNoise(rngs(2), 100, (3,)).draw(0)
    np.testing.assert_array_equal(np.concatenate([first, second[:, 43:]], axis=1), whole[:, :57])


def test_a_field_of_noise_is_white() -> None:
    noise = FieldNoise(rngs(), 50, (200,))
    field = np.concatenate([noise.draw(k)[0, -10:] for k in range(0, 1000, 10)])
    assert field.mean() == pytest.approx(0.0, abs=0.01) and field.std() == pytest.approx(1.0, abs=0.01)
    assert np.mean(field[1:] * field[:-1]) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("hop", [8, 50])
def test_a_listener_whose_chance_lasts_is_drawn_from_white_noise_and_keeps_its_mean(hop: int) -> None:
    noise = FieldNoise(rngs(), 50, (2000,), lasting=True)
    drawn = np.stack([noise.draw(k)[0] for k in range(0, 20 * hop, hop)])  # (20, 50, 2000)
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
def test_latent_noise_is_stationary_and_forgets_over_a_window(hop: int) -> None:
    noise = LatentNoise(rngs(), 50, (20_000,))
    drawn = np.stack([noise.draw(k)[0] for k in range(0, 20 * hop, hop)])
    np.testing.assert_allclose(drawn.var(axis=1), 1.0, atol=0.06)
    for apart in (1, 3, 10):
        kept = np.exp(-hop / 50) ** apart if hop < 50 else 0.0
        assert np.mean(drawn[apart:] * drawn[:-apart]) == pytest.approx(kept, abs=0.03)


@pytest.mark.parametrize("kind", [FieldNoise, LatentNoise])
def test_a_listener_s_noise_does_not_depend_on_the_others(kind: type[FieldNoise] | type[LatentNoise]) -> None:
    few, many = kind(rngs(2), 50, (3,)), kind(rngs(9), 50, (3,))
    for k in range(0, 200, 5):
        np.testing.assert_array_equal(few.draw(k), many.draw(k)[:2])


# Beside the clock ---------------------------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[Gate]:
    chunk_model = Gate(20)
    yield chunk_model
    chunk_model.open.set()


BESIDE = ChunkSchedule(20, 5, 2, 3)


def test_plans_in_time_beside_the_clock_give_the_punctual_bits(gate: Gate) -> None:
    frames = clip(0, 200)
    punctual = table(play(ChunkedStream(gate, BESIDE, 2, 1), frames))
    gate.threads.clear()
    stream = ChunkedStream(gate, BESIDE, 2, 1)
    stream.run_asynchronously()
    reactions = []
    for frame in frames:
        reactions.append(stream.step(frame))
        settle(stream)
    np.testing.assert_array_equal(table(reactions), punctual)
    assert stream.late_chunks == 0 and stream.trouble == ""
    assert len(gate.threads - {threading.get_ident()}) == 1


def test_a_late_plan_holds_up_no_frame_is_counted_and_takes_effect_when_it_is_there(gate: Gate) -> None:
    frames = watched(60)
    stream = ChunkedStream(gate, BESIDE, 1, 0)
    stream.run_asynchronously()
    reactions = play(stream, frames[:5])
    settle(stream)  # the chunk begun after frame 4 is made, and due at 7
    gate.open.clear()
    gate.begun.clear()
    reactions += play(stream, frames[5:12])
    assert stream.late_chunks == 0 and gate.begun.wait(30.0)
    reactions += play(stream, frames[12:15])  # that begun after 9 was due at 12; nobody waits, or this never ends
    assert stream.late_chunks == 1 and reactions[-1].action_chunk == 4
    gate.open.set()
    settle(stream)
    reactions.append(stream.step(frames[15]))
    assert (reactions[-1].index, reactions[-1].action_chunk) == (15, 9)
    for frame in frames[16:]:
        settle(stream)
        reactions.append(stream.step(frame))
    assert stream.late_chunks == 1
    effects = recorded_starts(reactions)
    assert effects[4] == 7 and effects[9] == 15 and effects[14] == 17
    replayed = ChunkedStream(gate, BESIDE, 1, 0)
    replayed.follow(effects)
    again = play(replayed, frames)
    np.testing.assert_array_equal(table(again), table(reactions))
    assert [r.action_chunk for r in again] == [r.action_chunk for r in reactions]
    punctual = play(ChunkedStream(gate, BESIDE, 1, 0), frames)
    assert (table(punctual) != table(reactions)).any(), "to be late made no difference: the replay shows nothing"


def test_where_several_plans_wait_the_newest_is_made_and_the_others_are_counted(gate: Gate) -> None:
    frames = watched(80)
    stream = ChunkedStream(gate, BESIDE, 1, 0)
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
    assert gate.made == [0, 5, 25], "those in between are of no use any more"
    assert reactions[-1].action_chunk == 24
    for frame in frames[29:]:
        settle(stream)
        reactions.append(stream.step(frame))
    assert stream.late_chunks == 5
    replayed = ChunkedStream(gate, BESIDE, 1, 0)
    replayed.follow(recorded_starts(reactions))
    np.testing.assert_array_equal(table(play(replayed, frames)), table(reactions))


def test_a_face_whose_plan_has_ended_fades_into_idle_life_and_listens_again_when_a_plan_comes(gate: Gate) -> None:
    frames = watched(200)
    gate.says = lambda begin, k: 0.9
    stream = ChunkedStream(gate, BESIDE, 1, 0)
    stream.run_asynchronously()
    gate.open.clear()
    reactions = play(stream, frames[:120])
    open_jaw = jaw(reactions)
    np.testing.assert_allclose(open_jaw[:20], 0.9, atol=1e-6)
    assert np.abs(np.diff(open_jaw)).max() < 0.12 and open_jaw[80:].max() < 0.001
    assert all(r.live for r in reactions), "somebody is there"
    assert (np.abs(np.diff(table(reactions)[80:, 0, 52:55], axis=0)).max(axis=1) > 0).all(), "it does not breathe"
    gate.open.set()
    for frame in frames[120:]:
        settle(stream)
        reactions.append(stream.step(frame))
    assert np.abs(np.diff(jaw(reactions))).max() < 0.12 and jaw(reactions)[-1] == pytest.approx(0.9, abs=1e-3)


def test_a_planner_that_fails_is_told_once_and_tried_again(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    frames = watched(160)
    stream = ChunkedStream(gate, BESIDE, 1, 0)
    stream.run_asynchronously()
    gate.broken = "a kernel\nis missing"
    reactions = []

    def on(until: int) -> None:
        for frame in frames[len(reactions) : until]:
            reactions.append(stream.step(frame))
            settle(stream)

    with caplog.at_level(logging.WARNING):
        on(100)
    assert stream.trouble == "chunks fail: a kernel is missing"
    assert [r.getMessage() for r in caplog.records] == [
        "a chunk failed; the face lives on, and the next chunks are tried"
    ]
    assert stream.late_chunks == 19  # begun after 4, 9, … 94; that begun after 99 is not due yet
    assert len(reactions) == 100 and {r.action_chunk for r in reactions} == {-1}
    gate.broken = ""
    on(160)
    assert stream.trouble == "" and stream.late_chunks == 20 and reactions[-1].action_chunk == 154


def test_a_punctual_stream_lets_the_failure_through(gate: Gate) -> None:
    stream = ChunkedStream(gate, BESIDE, 1, 0)
    gate.broken = "a kernel is missing"
    with pytest.raises(RuntimeError, match="a kernel is missing"):
        play(stream, watched(20))


def planning_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("chunks")]


def test_no_thread_is_left_behind_once_the_stream_is_dropped(gate: Gate) -> None:
    before = set(planning_threads())
    stream = ChunkedStream(gate, BESIDE, 1, 0)
    stream.run_asynchronously()
    play(stream, watched(30))
    threads = set(planning_threads()) - before
    assert len(threads) == 1
    del stream
    gc.collect()
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()


def test_a_stream_dropped_while_a_plan_is_made_ends_its_thread_after_it(gate: Gate) -> None:
    before = set(planning_threads())
    stream = ChunkedStream(gate, BESIDE, 1, 0)
    stream.run_asynchronously()
    gate.open.clear()
    play(stream, watched(30))
    (thread,) = set(planning_threads()) - before
    del stream
    gc.collect()
    assert thread.is_alive()
    gate.open.set()
    thread.join(10.0)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_process_ends_though_plans_are_being_made() -> None:
    """Its thread is no daemon: one inside torch while the interpreter goes away would abort the process."""
    code = (
        "import test_chunks as t, time, threading\n"
        "gate = t.Gate(20)\n"
        "gate.says = lambda begin, k: time.sleep(0.01) or 0.5\n"
        "stream = t.ChunkedStream(gate, t.BESIDE, 1, 0)\n"
        "stream.run_asynchronously()\n"
        "t.play(stream, t.watched(30))\n"
        "assert t.planning_threads() and not any(x.daemon for x in t.planning_threads())\n"
        "print('done')\n"
    )
    path = ":".join(p for p in (*sys.path, str(__file__).rsplit("/", 1)[0]) if p)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True])
def test_an_old_stream_costs_what_a_young_one_costs_in_memory_and_in_time(beside: bool) -> None:
    frames = clip(0)

    def begun(steps: int) -> ChunkedStream:
        stream = ChunkedStream(chunk_model, LIVE, 2, 0)
        if beside:
            stream.run_asynchronously()
        return endless(stream, steps)

    def endless(stream: ChunkedStream, steps: int) -> ChunkedStream:
        for k in range(steps):
            stream.step(frames[k % len(frames)])
            if beside and k % 5 == 4:
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
            if beside:
                settle(stream)
    assert np.median(costs[True]) < 1.5 * np.median(costs[False])
