"""Idle blending: presence, the fade between listening and idle life, bounds."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.face import ARKIT_INDEX, ATTRIBUTES, FACE_MODEL, FPS, FRAME_NS, Face, FaceState, Sound, SpeakerFrame
from react_ros.generators.idle_blending import FADE, MAX_ANGLE, IdleBlending

LEFT_LID = ARKIT_INDEX["eyeBlinkLeft"]
SAMPLES = 3


def frame(k: int, state: FaceState = FaceState.TRACKED) -> SpeakerFrame:
    return SpeakerFrame(k, k * FRAME_NS, Face(state), Sound())


def reaction_row(value: float = 0.2) -> np.ndarray:
    return np.full((SAMPLES, FACE_MODEL + ATTRIBUTES), value, np.float32)


def test_a_present_speaker_gets_the_reaction_to_the_bit() -> None:
    blending = IdleBlending(0, SAMPLES)
    for k in range(3 * FPS):
        reaction = blending.step(frame(k), reaction_row(), action_chunk=7)
        assert (reaction.blendshapes == np.float32(0.2)).all() and (reaction.attributes == np.float32(0.2)).all()
        assert reaction.live and reaction.action_chunk == 7


def test_a_face_is_kept_within_bounds() -> None:
    reaction = IdleBlending(0, SAMPLES).step(frame(0), reaction_row(5.0))
    assert (reaction.blendshapes == 1.0).all()
    np.testing.assert_allclose(reaction.rotation, MAX_ANGLE, rtol=1e-6)


def test_when_the_speaker_leaves_the_reaction_fades_and_the_face_blinks() -> None:
    blending = IdleBlending(0, SAMPLES)
    blending.step(frame(0), reaction_row())
    reactions = [blending.step(frame(k, FaceState.NOBODY), reaction_row()) for k in range(1, 60 * FPS)]
    assert not reactions[-1].live
    jaw = np.array([r.blendshapes[:, ARKIT_INDEX["jawOpen"]] for r in reactions])
    begin = int((jaw[:, 0] < 0.2).argmax())
    np.testing.assert_allclose(jaw[begin : begin + 20, 0], 0.2 * (1.0 - FADE) ** np.arange(1, 21), rtol=1e-4)
    lids = np.array([r.blendshapes[:, LEFT_LID] for r in reactions])[5 * FPS :]
    assert (lids.max(axis=0) > 0.9).all()


def test_a_stale_reaction_fades_while_the_speaker_is_present() -> None:
    blending = IdleBlending(0, SAMPLES)
    blending.step(frame(0), reaction_row())
    shown = [blending.step(frame(k), reaction_row(), current=False) for k in range(1, 3 * FPS)][-1]
    assert shown.live and (shown.blendshapes[:, ARKIT_INDEX["jawOpen"]] < 0.002).all()


@pytest.mark.parametrize("idle_eyes_and_head", [False, True])
def test_idle_eyes_and_head_are_added_where_the_generator_has_none(idle_eyes_and_head: bool) -> None:
    blending, calm = IdleBlending(0, SAMPLES, idle_eyes_and_head=idle_eyes_and_head), reaction_row(0.0)
    reactions = [blending.step(frame(k), calm) for k in range(60 * FPS)]
    lids = np.array([r.blendshapes[:, LEFT_LID] for r in reactions])
    blinks = ((lids[1:] > 0.5) & (lids[:-1] <= 0.5)).sum(axis=0)
    turned = np.degrees(np.abs([r.rotation for r in reactions])).max()
    assert (calm == 0.0).all(), "the caller's array must not change"
    if idle_eyes_and_head:
        assert ((blinks >= 8) & (blinks <= 35)).all(), blinks
        assert 0.1 < turned < 3.0
    else:
        assert blinks.sum() == 0 and turned == 0.0
    assert all(
        (r.attributes == 0.0).all() and (r.blendshapes[:, ARKIT_INDEX["jawOpen"]] == 0.0).all() for r in reactions
    )
