"""Streams of the token listener with the shipped weights: against a whole clip, and with missing input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
import torch
from rehearsal import simulated_speaker
from torch import Tensor

from react_ros.face import EXPRESSIONS, FPS, FRAME_NS, Face, FaceState, Reaction, Sound, SoundState, SpeakerFrame
from react_ros.generators import registry
from react_ros.generators.contract import Generator, sample_rngs
from react_ros.generators.idle_blending import MAX_ANGLE, MAX_SHIFT
from react_ros.systems.fsq.model import Decoded, Predictor, Sampling, Tokenizer
from react_ros.systems.fsq.streaming import Loaded

Frames = Sequence[SpeakerFrame]


@cache
def clip(seed: int = 1, frames: int = 250) -> tuple[SpeakerFrame, ...]:
    return tuple(simulated_speaker(seed, frames))


@cache
def listener(temperature: float = 1.0, forgetting: float | None = None, guidance: float | None = None) -> Generator:
    return registry.create("fsq", device="cpu", temperature=temperature, forgetting=forgetting, guidance=guidance)


def play(generator: Generator, frames: Frames, samples: int = 1, seed: int = 0) -> list[Reaction]:
    stream = generator.start(samples=samples, seed=seed)
    return [stream.step(frame) for frame in frames]


def faces(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 58)"""
    return np.stack([r.face_model for r in reactions])


def everything(reactions: Sequence[Reaction]) -> np.ndarray:
    """(T, S, 84)"""
    live = [np.full((r.samples, 1), r.live) for r in reactions]
    return np.stack([np.hstack([r.face_model, r.attributes, x]) for r, x in zip(reactions, live, strict=True)])


def bounded(face: np.ndarray) -> np.ndarray:
    """(…, 58) clipped as in a reaction."""
    out = face.copy()
    out[..., :52] = out[..., :52].clip(0.0, 1.0)
    out[..., 52:55] = out[..., 52:55].clip(-MAX_ANGLE, MAX_ANGLE)
    out[..., 55:] = out[..., 55:].clip(-MAX_SHIFT, MAX_SHIFT)
    return out


@dataclass
class Seen:
    """Inputs and outputs of the networks, one for each frame."""

    x: list[Tensor] = field(default_factory=list)
    nobody: list[Tensor] = field(default_factory=list)
    chance: list[Tensor] = field(default_factory=list)
    tokens: list[Tensor] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Filled while streams run."""
    told = Seen()
    sample, step = Predictor.sample, Tokenizer.step

    def watched_sample(self: Predictor, x: Tensor, nobody: Tensor, chance: Tensor, how: Sampling) -> Tensor:
        told.x.append(x.clone())
        told.nobody.append(nobody.clone())
        told.chance.append(chance.clone())
        told.tokens.append(sample(self, x, nobody, chance, how))
        return told.tokens[-1]

    def watched_step(self: Tokenizer, *given: object) -> Decoded:
        told.decoded.append(Decoded(*(part.clone() for part in step(self, *given))))  # type: ignore[arg-type]
        return told.decoded[-1]

    monkeypatch.setattr(Predictor, "sample", watched_sample)
    monkeypatch.setattr(Tokenizer, "step", watched_step)
    return told


# What it says -------------------------------------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize(
    ("forgetting", "guidance"), [(None, None), (0.0, 0.0), (0.5, 1.0), (1.0, 0.0)],
    ids=["as shipped", "plain", "half forgetting, guided", "forgetting"],
)  # fmt: skip
def test_a_stream_equals_the_parallel_networks_over_the_clip(
    seen: Seen, shipped: Loaded, forgetting: float | None, guidance: float | None
) -> None:
    """The parallel networks get the stream's own past; with the same uniform numbers they must choose its tokens.

    A uniform number within rounding of the boundary between two codes may fall to either side.
    """
    samples, seed, frames = 3, 4, clip(frames=750)
    shown = faces(play(listener(forgetting=forgetting, guidance=guidance), frames, samples, seed))
    said = torch.stack(seen.tokens, dim=1)  # (S, T, groups)

    predictor, tokenizer = shipped.networks.predictor, shipped.networks.tokenizer
    decoded = tokenizer.decode(tokenizer.quantizer.decode(said))
    np.testing.assert_allclose(shown, bounded(decoded.face.numpy()).swapaxes(0, 1), atol=1e-5, rtol=0)

    past = torch.cat([torch.full_like(said[:, :1], predictor.size), said[:, :-1]], dim=1)
    unknown = torch.full_like(past, predictor.size)
    rows = torch.from_numpy(shipped.inputs.rows(frames))[None]
    memory = predictor.told(predictor.encoder(rows)).expand(samples, -1, -1)
    nobody = predictor.nobody.expand_as(memory)
    told, forgot, unheard = (
        predictor(p, m, said).double().log_softmax(-1)
        for p, m in ((past, memory), (unknown, memory), (unknown, nobody))
    )
    how = shipped.sampling
    forgetting = how.forgetting if forgetting is None else forgetting
    guidance = how.guidance if guidance is None else guidance
    likely = (1.0 - forgetting) * told + forgetting * forgot + guidance * (forgot - unheard)
    temperature, top_p = how.temperature, how.top_p
    probability, order = (likely / temperature).softmax(-1).sort(dim=-1, descending=True)
    probability = probability * (probability.cumsum(-1) - probability < top_p)
    reached = (probability / probability.sum(-1, keepdim=True)).cumsum(-1).numpy()
    chance = np.stack([[r.random(predictor.groups, np.float32) for _ in frames] for r in sample_rngs(seed, samples, 4)])
    place = (reached < chance[..., None]).sum(-1).clip(max=predictor.size - 1)
    expected = np.take_along_axis(order.numpy(), place[..., None], axis=-1)[..., 0]
    other = expected != said.numpy()
    near = np.abs(reached - chance[..., None]).min(-1) < 1e-4
    assert not (other & ~near).any(), f"{int((other & ~near).sum())} of {other.size} tokens are not those of the clip"
    assert other.mean() < 0.01 and len(np.unique(said)) > 1


def test_the_first_frame_shows_the_listener_without_a_fade(seen: Seen) -> None:
    first = play(listener(), clip()[:1], samples=2)[0]
    np.testing.assert_allclose(first.face_model, bounded(seen.decoded[0].face.numpy()), atol=1e-6, rtol=0)


def test_ten_listeners_of_one_speaker_differ_from_each_other() -> None:
    shown = faces(play(listener(), clip(), samples=10))
    for i in range(10):
        for j in range(i):
            assert np.abs(shown[:, i] - shown[:, j]).mean() > 1e-4, f"listeners {i} and {j} are alike"


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_listener() -> None:
    one, again, other = (everything(play(listener(), clip()[:120], samples=2, seed=seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.01


def test_the_row_of_the_masked_past_does_not_depend_on_the_seed(seen: Seen) -> None:
    frames = clip()[:100]
    for seed in (1, 2):
        play(listener(forgetting=0.0), frames, samples=3, seed=seed)
    first, second = torch.stack(seen.x[:100]), torch.stack(seen.x[100:])
    assert first.shape[1] == 4
    assert torch.equal(first[:, -1], second[:, -1])
    assert ((first[10:, :-1] - second[10:, :-1]).abs().amax(-1) > 1e-3).float().mean() > 0.9
    assert len(torch.cat(seen.nobody).unique(dim=0)) == 1, "who hears nobody says the same in every frame"


def test_forgetting_and_guidance_change_reactions() -> None:
    plain = everything(play(listener(forgetting=0.0, guidance=0.0), clip(), samples=2))
    for how in ({"forgetting": 1.0, "guidance": 0.0}, {"forgetting": 0.0, "guidance": 1.0}):
        assert np.abs(everything(play(listener(**how), clip(), samples=2)) - plain).max() > 0.01


def test_at_temperature_0_every_token_is_the_most_likely_for_any_seed(seen: Seen, shipped: Loaded) -> None:
    """Up to the first frame in which two codes are all but equally likely; annotation and idle life are drawn."""
    runs = []
    for seed in (0, 1):
        seen.x.clear()
        plain = listener(temperature=0.0, forgetting=0.0, guidance=0.0)
        runs.append(faces(play(plain, clip(), seed=seed))[:, 0])
    sure = len(runs[0])
    predictor = shipped.networks.predictor
    for t, rows in enumerate(seen.x):
        x, token = rows[:1], seen.tokens[len(seen.x) + t]
        for group in range(predictor.groups):
            best, second = predictor._logits(x, group)[0].sort(descending=True)[0][:2]
            if best - second < 0.01:  # ten times the temperature that stands for 0
                sure = min(sure, t)
            if t < sure:
                assert predictor._logits(x, group).argmax() == token[0, group]
            if group < predictor.groups - 1:
                x = x + predictor.said[group](token[:, group])
    assert sure > 0
    np.testing.assert_array_equal(runs[0][:sure], runs[1][:sure])


def test_random_numbers_of_a_listener_do_not_depend_on_the_number_of_listeners(seen: Seen) -> None:
    play(listener(), clip()[:20], samples=2, seed=8)
    play(listener(), clip()[:20], samples=5, seed=8)
    few, many = torch.stack(seen.chance[:20]), torch.stack(seen.chance[20:])
    assert torch.equal(few, many[:, :2])
    assert few.unique().numel() == few.numel() and float(few.min()) >= 0.0 and float(few.max()) < 1.0


# Who is there -------------------------------------------------------------------------------------------------------


@cache
def attended() -> np.ndarray:
    """(T, 4, 58) of listeners to the whole clip, seen and heard."""
    return faces(play(listener(), clip(), samples=4))


def without(frames: Frames, face: Face | None, sound: Sound | None, part: range | None = None) -> list[SpeakerFrame]:
    """The frames with this face and this sound instead of their own, in a part of them."""
    part = part or range(len(frames))
    return [
        replace(f, face=face or f.face, sound=sound or f.sound) if f.index in part else f for f in frames
    ]  # fmt: skip


SILENCE = Sound(SoundState.SILENCE, log_energy=-10.0, speech_probability=0.02)


@pytest.mark.parametrize(
    ("face", "sound"),
    [(Face(), None), (Face(FaceState.NOBODY), None), (None, Sound()), (None, SILENCE), (Face(), Sound()),
     (Face(), SILENCE)],
    ids=["no camera", "nobody seen", "no microphone", "silence", "neither", "no camera and silence"],
)  # fmt: skip
def test_a_lost_sense_leaves_a_listener_who_moves_as_listeners_do(face: Face | None, sound: Sound | None) -> None:
    less = play(listener(), without(clip(), face, sound), samples=4)
    values = everything(less)
    assert np.isfinite(values).all()
    assert values[..., :52].min() >= 0.0 and values[..., :52].max() <= 1.0
    assert np.abs(values[..., 52:55]).max() <= MAX_ANGLE and np.abs(values[..., 55:58]).max() <= MAX_SHIFT
    np.testing.assert_allclose(values[..., 58:83][..., EXPRESSIONS].sum(-1), 1.0, atol=1e-5)
    # Idle life, which takes over from a listener with nobody to listen to, moves as the rule listener does.
    rule = faces(play(registry.create("attentive"), clip(), samples=4))
    moves, own, usual = (np.abs(np.diff(x, axis=0))[FPS:].mean() for x in (faces(less), attended(), rule))
    assert moves < 3.0 * max(own, usual)


def test_a_sense_that_is_lost_halfway_changes_nothing_before_and_nothing_jumps() -> None:
    frames, now = clip(), 125
    before = attended()
    usual = np.abs(np.diff(before, axis=0)).max()
    for face, sound in ((Face(), None), (None, Sound()), (Face(), Sound())):
        after = faces(play(listener(), without(frames, face, sound, range(now, 200)), samples=4))
        np.testing.assert_array_equal(after[:now], before[:now])
        assert np.abs(np.diff(after, axis=0)).max() < 2.0 * usual


def nobody(frames: Frames, part: range) -> list[SpeakerFrame]:
    return without(frames, Face(FaceState.NOBODY), Sound(), part)


def test_idle_life_takes_over_within_a_second_when_the_speaker_leaves(seen: Seen) -> None:
    """Idle life is drawn from the seed alone: the face becomes that of a listener who never saw anybody."""
    frames, left = clip(), 100
    alone = faces(play(listener(), nobody(frames, range(250)), samples=3))
    shown = play(listener(), nobody(frames, range(left, 250)), samples=3)
    assert [r.live for r in shown] == [k < left for k in range(250)]
    away = np.abs(faces(shown) - alone).max(axis=(1, 2))
    assert away[left - 1] > 0.05, "somebody was listened to"
    widest = max(1.0, float(torch.stack([d.face for d in seen.decoded]).abs().max()))
    assert away[left + FPS :].max() < 0.05 * widest
    assert away[left + 4 * FPS :].max() < 1e-4


def test_listening_resumes_within_a_second_when_the_speaker_returns(seen: Seen) -> None:
    frames, back = clip(), 100
    shown = faces(play(listener(), nobody(frames, range(back)), samples=3))
    meant = bounded(torch.stack([d.face for d in seen.decoded]).numpy())
    away = np.abs(shown - meant).max(axis=(1, 2))
    assert away[:back].max() > 0.05, "idle life was shown"
    assert away[back + FPS :].max() < 0.05
    np.testing.assert_allclose(shown[back + 2 * FPS :], meant[back + 2 * FPS :], atol=1e-5)


def test_coming_and_going_moves_the_face_no_faster_than_blinks_and_listening_do() -> None:
    frames = list(clip())
    for left in (50, 100, 150, 200):
        frames = nobody(frames, range(left, left + 25))
    shown = faces(play(listener(), frames, samples=4))
    alone = faces(play(listener(), nobody(clip(), range(250)), samples=4))
    fastest = max(np.abs(np.diff(usual, axis=0)).max() for usual in (attended(), alone))
    assert np.abs(np.diff(shown, axis=0)).max() < 1.5 * fastest


def _nan_face(name: str) -> Callable[[SpeakerFrame], SpeakerFrame]:
    def spoil(frame: SpeakerFrame) -> SpeakerFrame:
        broken = getattr(frame.face, name).copy()
        broken[0] = np.nan
        return replace(frame, face=replace(frame.face, **{name: broken}))

    return spoil


def _nan_sound(name: str) -> Callable[[SpeakerFrame], SpeakerFrame]:
    def spoil(frame: SpeakerFrame) -> SpeakerFrame:
        value = getattr(frame.sound, name)
        broken = np.full_like(value, np.nan) if isinstance(value, np.ndarray) else np.nan
        return replace(frame, sound=replace(frame.sound, **{name: broken}))

    return spoil


@pytest.mark.parametrize("name", ["blendshapes", "rotation", "translation", "mfcc", "f0", "speech_probability"])
def test_a_nan_is_heard_as_its_sense_missing_bit_for_bit(name: str) -> None:
    frames, part = clip()[:120], range(40, 80)
    of_face = hasattr(frames[0].face, name)
    spoil = _nan_face(name) if of_face else _nan_sound(name)
    broken = [spoil(f) if f.index in part else f for f in frames]
    missing = without(frames, Face() if of_face else None, None if of_face else Sound(), part)
    one, other = (everything(play(listener(), fs, samples=2)) for fs in (broken, missing))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, everything(play(listener(), frames, samples=2)))


def test_a_voice_without_a_camera_is_listened_to_and_five_seconds_of_silence_end_it() -> None:
    heard = without(clip(), Face(), None)[:125]
    speaking = [replace(f, sound=replace(f.sound, state=SoundState.SPEECH)) for f in heard]
    then = [SpeakerFrame(k, k * FRAME_NS, Face(), SILENCE) for k in range(125, 325)]
    live = [r.live for r in play(listener(), [*speaking, *then])]
    assert live == [k < 124 + 5 * FPS for k in range(325)]
