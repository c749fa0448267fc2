"""The dial beside the contract tests: its formula, attributes, gaze, and what text and declarations say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from rehearsal import simulated_speaker

from react_ros.face import ARKIT_INDEX, ATTRIBUTE_INDEX, NEUTRAL_ATTRIBUTES, Reaction
from react_ros.generators import registry
from react_ros.generators.liveliness import LivelinessDial, LivelyGenerator, with_liveliness
from react_ros.generators.stream_settings import parameters_text
from react_ros.generators.system import System
from react_ros.messages.listener_stream import parse_parameters

SMILE = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]


def face(smile: float, pitch: float = 0.0, happy: float = 0.0) -> Reaction:
    blendshapes, attributes = np.zeros((1, 52), np.float32), NEUTRAL_ATTRIBUTES[None].copy()
    blendshapes[0, SMILE] = smile
    attributes[0, ATTRIBUTE_INDEX["AU12"]] = smile
    attributes[0, ATTRIBUTE_INDEX["neutral"]], attributes[0, ATTRIBUTE_INDEX["happy"]] = 1.0 - happy, happy
    rotation = np.array([[pitch, 0.0, 0.0]], np.float32)
    return Reaction(0, 0, blendshapes, rotation, np.zeros((1, 3), np.float32), attributes)


def dialled(liveliness: float, reaction: Reaction) -> Reaction:
    return LivelinessDial(liveliness, 0, 1).step(reaction)


@pytest.mark.parametrize(
    ("liveliness", "smile", "expected"),
    [(0.5, 0.8, 0.4), (0.0, 1.0, 0.0), (2.0, 0.01, 0.02), (2.0, 1.0, 1.0), (2.0, 0.5, 1.0 / np.sqrt(1.75))],
)
def test_a_smile_is_scaled_and_saturates_at_1(liveliness: float, smile: float, expected: float) -> None:
    shown = dialled(liveliness, face(smile))
    assert shown.blendshapes[0, SMILE] == pytest.approx([expected] * 2, abs=1e-4)
    assert shown.attributes[0, ATTRIBUTE_INDEX["AU12"]] == pytest.approx(expected, abs=1e-4)


def test_what_is_not_neutral_is_scaled_as_a_whole() -> None:
    shown = dialled(0.5, face(0.8, happy=0.6)).attributes[0]
    assert shown[ATTRIBUTE_INDEX["happy"]] == pytest.approx(0.3) and shown[17:].sum() == pytest.approx(1.0)
    assert 0.6 < dialled(2.0, face(0.8, happy=0.6)).attributes[0, ATTRIBUTE_INDEX["happy"]] < 1.0


def test_a_lively_head_leaves_the_gaze_where_it_was() -> None:
    """A chin that goes further down is made up for by eyes that go up by as much (0.6 rad at a weight of 1)."""
    shown = dialled(2.0, face(0.0, pitch=0.1))
    more = shown.rotation[0, 0] - 0.1
    assert 0.05 < more < 0.1
    up, down = (shown.blendshapes[0, ARKIT_INDEX[f"eyeLook{way}Left"]] for way in ("Up", "Down"))
    assert up * 0.6 == pytest.approx(more, abs=1e-4) and down == 0.0


def test_a_stream_changes_nothing_of_the_reaction_but_the_face() -> None:
    generator = registry.create("fsq", liveliness=1.5)
    frames = simulated_speaker(3, 30)
    shown, own = generator.generate(frames, seed=2), registry.create("fsq").generate(frames, seed=2)
    assert [(r.index, r.stamp_ns, r.live, r.action_chunk) for r in shown] == [
        (r.index, r.stamp_ns, r.live, r.action_chunk) for r in own
    ]
    assert generator.info == registry.create("fsq").info and generator.parameters > 0


def test_the_dial_is_among_the_parameters_that_a_stream_is_announced_with() -> None:
    generator = registry.create("mime", liveliness=0.25, delay_frames=3)
    assert parse_parameters(parameters_text(generator)) == {"delay_frames": 3, "liveliness": 0.25}
    again = registry.create("mime", **parse_parameters(parameters_text(generator)))
    assert parameters_text(again) == parameters_text(generator)
    assert parse_parameters(parameters_text(registry.create("mime")))["liveliness"] == 1.0


def test_a_dial_replaces_the_one_before() -> None:
    lively = with_liveliness(registry.create("mime"), 2.0)
    assert isinstance(lively, LivelyGenerator) and with_liveliness(lively, 1.0) is lively.inner
    calm = with_liveliness(lively, 0.5)
    assert isinstance(calm, LivelyGenerator) and calm.inner is lively.inner


def test_no_system_may_have_a_parameter_of_that_name() -> None:
    @dataclass(frozen=True)
    class Config:
        liveliness: float = 1.0

    with pytest.raises(ValueError, match="every system has the parameter 'liveliness'"):
        System("mine", Config, generator="mine:Mine")
