"""Claims about what every learned listener shows beside its answer: presence, idle life, bounds."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.face import ARKIT_INDEX, ATTRIBUTES, FACE_MODEL, FPS, FRAME_NS, Face, FaceState, Sound, SpeakerFrame
from react_ros.generators.idle_blending import FADE, MAX_ANGLE, IdleBlending

LEFT_LID = ARKIT_INDEX["eyeBlinkLeft"]
SAMPLES = 3


def frame(k: int, state: FaceState = FaceState.TRACKED) -> SpeakerFrame:
    return SpeakerFrame(k, k * FRAME_NS, Face(state), Sound())


def answer(value: float = 0.2) -> np.ndarray:
    return np.full((SAMPLES, FACE_MODEL + ATTRIBUTES), value, np.float32)


def test_whoever_is_listened_to_sees_the_answer_to_the_bit() -> None:
    living = IdleBlending(0, SAMPLES)
    for k in range(3 * FPS):
        reaction = living.step(frame(k), answer(), action_chunk=7)
        assert (reaction.blendshapes == np.float32(0.2)).all() and (reaction.attributes == np.float32(0.2)).all()
        assert reaction.live and reaction.action_chunk == 7


def test_a_face_is_kept_within_bounds() -> None:
    reaction = IdleBlending(0, SAMPLES).step(frame(0), answer(5.0))
    assert (reaction.blendshapes == 1.0).all()
    np.testing.assert_allclose(reaction.rotation, MAX_ANGLE, rtol=1e-6)


def test_when_nobody_is_there_any_more_the_answer_fades_and_the_face_goes_on_blinking() -> None:
    living = IdleBlending(0, SAMPLES)
    living.step(frame(0), answer())
    reactions = [living.step(frame(k, FaceState.NOBODY), answer()) for k in range(1, 60 * FPS)]
    assert not reactions[-1].live
    jaw = np.array([r.blendshapes[:, ARKIT_INDEX["jawOpen"]] for r in reactions])
    begin = int((jaw[:, 0] < 0.2).argmax())
    np.testing.assert_allclose(jaw[begin : begin + 20, 0], 0.2 * (1.0 - FADE) ** np.arange(1, 21), rtol=1e-4)
    lids = np.array([r.blendshapes[:, LEFT_LID] for r in reactions])[5 * FPS :]
    assert (lids.max(axis=0) > 0.9).all()


def test_an_answer_that_only_stands_in_fades_too_while_somebody_is_there() -> None:
    living = IdleBlending(0, SAMPLES)
    living.step(frame(0), answer())
    shown = [living.step(frame(k), answer(), answered=False) for k in range(1, 3 * FPS)][-1]
    assert shown.live and (shown.blendshapes[:, ARKIT_INDEX["jawOpen"]] < 0.002).all()


@pytest.mark.parametrize("idle_eyes_and_head", [False, True])
def test_who_knows_neither_of_eyes_nor_head_is_lent_those_of_idle_life(idle_eyes_and_head: bool) -> None:
    living, calm = IdleBlending(0, SAMPLES, idle_eyes_and_head=idle_eyes_and_head), answer(0.0)
    reactions = [living.step(frame(k), calm) for k in range(60 * FPS)]
    lids = np.array([r.blendshapes[:, LEFT_LID] for r in reactions])
    blinks = ((lids[1:] > 0.5) & (lids[:-1] <= 0.5)).sum(axis=0)
    turned = np.degrees(np.abs([r.rotation for r in reactions])).max()
    assert (calm == 0.0).all(), "the answer is the caller's"
    if idle_eyes_and_head:
        assert ((blinks >= 8) & (blinks <= 35)).all(), blinks
        assert 0.1 < turned < 3.0
    else:
        assert blinks.sum() == 0 and turned == 0.0
    assert all(
        (r.attributes == 0.0).all() and (r.blendshapes[:, ARKIT_INDEX["jawOpen"]] == 0.0).all() for r in reactions
    )
