"""Classifiers tell people apart where their channels differ, and cannot where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from react_ros.evaluation.behaviour.telling_apart import tell_apart
from react_ros.face import ARKIT_INDEX, Face, FaceState, Sound, SoundState, SpeakerFrame


def people(count: int, seed: int, *, jaw: float = 1.0, heard: bool = False) -> list[list[SpeakerFrame]]:
    """Clips of 6 s of as many people; `jaw` scales how much the jaw moves."""
    clips = []
    for person in range(count):
        rng = np.random.default_rng((seed, person))
        walk = np.abs(np.cumsum(rng.normal(0.0, 0.02, (150, 52)), axis=0) + rng.uniform(0.0, 0.2, 52)).clip(0.0, 1.0)
        walk[:, ARKIT_INDEX["jawOpen"]] *= jaw
        sound = Sound(SoundState.SPEECH, speech_probability=1.0) if heard else Sound()
        clips.append(
            [
                SpeakerFrame(
                    k,
                    k * 40_000_000,
                    Face(FaceState.TRACKED, walk[k].astype(np.float32), attributes=rng.random(25).astype(np.float32)),
                    replace(sound, mfcc=rng.normal(0.0, 1.0, 26).astype(np.float32)),
                )
                for k in range(150)
            ]
        )
    return clips


def test_people_of_one_kind_are_not_told_apart() -> None:
    views = tell_apart(people(16, 1), people(16, 2))
    assert [v.view for v in views] == ["face", "face without means", "attributes"]
    assert all(0.2 < v.accuracy < 0.72 for v in views)


def test_a_jaw_that_moves_more_is_found_and_named() -> None:
    face = tell_apart(people(12, 1), people(12, 2, jaw=6.0))[0]
    assert face.auc > 0.75 and face.trees > 0.9
    assert face.telling[0][0].endswith("jawOpen") and face.telling[0][1] > 0.0


def test_voices_are_compared_where_both_speak() -> None:
    views = tell_apart(people(6, 1, heard=True), people(6, 2, heard=True))
    assert views[-1].view == "voice" and views[-1].windows == (30, 30)


def test_windows_of_one_person_are_in_one_fold() -> None:
    """Each person stands out by a level of their own; a classifier that saw them in training would know them."""
    first, second = people(6, 1), people(6, 1)
    names = [f"person {k % 6}" for k in range(12)]
    apart = tell_apart(first + first, second + second, people=(names, names))[0]
    assert apart.accuracy < 0.75


def test_too_few_people_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match="at least 5 people"):
        tell_apart(people(3, 1), people(8, 2))
