"""Selection of the speaker among the faces in view."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from footage import first_image, images
from hypothesis import given, settings
from hypothesis import strategies as st

from react_ros import assets
from react_ros.face import FaceState
from react_ros.perception.landmarks import DetectedFace, FaceLandmarker
from react_ros.perception.speaker import SpeakerConfig, SpeakerTracker, salience

MS = 1_000_000
STEP = 40 * MS
ASPECT = 0.75


def face(x: float, size: float = 0.2, y: float = 0.5, yaw: float = 0.0) -> DetectedFace:
    """A face at (x, y) of the image, `size` of its width wide and high."""
    box = np.array([x - size / 2, y - size / 2 / ASPECT, x + size / 2, y + size / 2 / ASPECT], np.float32)
    zeros = np.zeros(3, np.float32)
    turned = np.array([0, yaw, 0], np.float32)
    return DetectedFace(np.zeros(52, np.float32), turned, zeros, np.zeros((478, 3), np.float32), box, ASPECT)


class Scene:
    """A tracker with a simulated clock of 25 images a second."""

    def __init__(self, **times: float) -> None:
        self.tracker = SpeakerTracker(SpeakerConfig(**times))
        self.now = 10**18

    def show(self, *faces: DetectedFace, s: float = 0.04):
        for _ in range(round(s * 25)):
            self.view = self.tracker.step(faces, self.now)
            self.now += STEP
        return self.view


def test_a_face_that_stays_becomes_the_speaker_within_a_tenth_of_a_second_or_so():
    scene = Scene()
    states = [scene.show(face(0.5)).state for _ in range(6)]
    assert states == [FaceState.NOBODY] * 3 + [FaceState.TRACKED] * 3


def test_a_face_in_a_single_image_is_no_person():
    scene = Scene()
    scene.show(s=1)
    assert scene.show(face(0.5)).state == FaceState.NOBODY
    assert scene.show(s=1).state == FaceState.NOBODY


@pytest.mark.parametrize(
    ("better", "worse"),
    [(face(0.6, 0.3), face(0.4, 0.2)), (face(0.5), face(0.1)), (face(0.6), face(0.4, yaw=1.2))],
    ids=["larger", "more central", "facing"],
)
def test_the_larger_more_central_more_facing_person_is_chosen(better, worse):
    for faces in ((better, worse), (worse, better)):
        assert Scene().show(*faces, s=1).face is better


def test_a_passer_by_who_is_briefly_larger_does_not_steal_the_robots_attention():
    scene, speaker = Scene(), face(0.4)
    scene.show(speaker, s=2)
    view = scene.show(speaker, face(0.75, 0.5), s=3)
    assert view.face is speaker and view.person == 1 and view.count == 2
    assert scene.show(speaker, s=1).person == 1


def test_somebody_who_stays_much_more_salient_gets_the_robots_attention():
    scene, speaker, other = Scene(), face(0.2, 0.1), face(0.7, 0.4)
    scene.show(speaker, s=2)
    view = scene.show(speaker, other, s=4.3)
    assert view.face is other and view.person == 2


def test_two_alike_do_not_make_the_robot_look_from_one_to_the_other():
    scene, rng = Scene(), np.random.default_rng(1)
    first = scene.show(face(0.3), face(0.7), s=1)
    for _ in range(500):
        view = scene.show(face(0.3, 0.2 + 0.08 * rng.random()), face(0.7, 0.2 + 0.08 * rng.random()))
        assert view.person == first.person == 1


def test_the_order_in_which_faces_are_detected_does_not_matter():
    a, b, rng = Scene(), Scene(), np.random.default_rng(2)
    for k in range(200):
        faces = [face(0.3 + 0.001 * k), face(0.8 - 0.001 * k, 0.22), face(0.5, 0.1, 0.2)]
        shuffled = [faces[i] for i in rng.permutation(3)]
        assert a.show(*faces) == b.show(*shuffled)


def test_a_speaker_out_of_sight_is_lost_with_the_last_face_and_then_nobody():
    scene, speaker = Scene(lost_s=1.0), face(0.5)
    scene.show(speaker, s=1)
    states = []
    for _ in range(30):
        view = scene.show()
        states.append(view.state)
        assert view.face is (speaker if view.state == FaceState.LOST else None)
    assert states == [FaceState.LOST] * 25 + [FaceState.NOBODY] * 5


def test_a_speaker_who_comes_back_in_time_is_the_same_person_and_later_a_new_one():
    scene = Scene(lost_s=1.5)
    scene.show(face(0.5), s=1)
    scene.show(s=1)
    assert scene.show(face(0.6)).state == FaceState.TRACKED
    assert scene.view.person == 1
    scene.show(s=2)
    assert scene.show(face(0.6), s=1).person == 2


def test_while_the_speaker_is_lost_nobody_else_is_taken_until_the_time_is_up():
    scene = Scene(lost_s=1.5)
    scene.show(face(0.2), face(0.8, 0.15), s=2)
    assert {scene.show(face(0.8, 0.15)).person for _ in range(36)} == {1}
    view = scene.show(face(0.8, 0.15), s=0.2)
    assert (view.person, view.state) == (2, FaceState.TRACKED)


def test_times_are_those_of_the_stream_whatever_the_cameras_rate():
    for rate in (10, 15, 60):
        tracker = SpeakerTracker(SpeakerConfig(lost_s=1.0))
        stamps = [round(k * 1e9 / rate) for k in range(rate * 4)]
        states = [tracker.step([face(0.5)] if t < 1e9 else [], t).state for t in stamps]
        lost = [t / 1e9 for t, s in zip(stamps, states, strict=True) if s == FaceState.LOST]
        assert lost[0] == pytest.approx(1.0, abs=0.11) and lost[-1] == pytest.approx(1.9, abs=0.11)


def test_a_stream_that_starts_anew_in_the_past_starts_with_nobody():
    scene = Scene()
    scene.show(face(0.5), s=2)
    scene.now -= 10**10
    assert scene.show(face(0.5)).state == FaceState.NOBODY


def test_reset_begins_again_with_the_same_outcome():
    tracker = SpeakerTracker()
    runs = []
    for _ in range(2):
        tracker.reset()
        runs.append([tracker.step([face(0.5)] if k % 50 < 30 else [], k * STEP).state for k in range(200)])
    assert runs[0] == runs[1]


faces_in_an_image = st.lists(
    st.builds(face, st.floats(0, 1), st.floats(0.02, 0.9), st.floats(0, 1), st.floats(-1.5, 1.5)), max_size=5
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(faces_in_an_image, st.integers(0, 3_000)), max_size=60))
def test_for_any_detections_the_view_is_consistent_and_memory_bounded(film):
    tracker, now, person = SpeakerTracker(), 0, 0
    for faces, gap_ms in film:
        now += gap_ms * MS
        view = tracker.step(faces, now)
        assert view.count == len(faces)
        assert view.person in (person, person + 1)
        person = view.person
        if view.state == FaceState.TRACKED:
            assert any(view.face is f for f in faces)
        else:
            assert view.state in (FaceState.LOST, FaceState.NOBODY)
            assert (view.face is None) == (view.state == FaceState.NOBODY)
    tracker.step([], now + 10**11)
    assert tracker._people == []


@settings(max_examples=60, deadline=None)
@given(st.floats(0.15, 0.85), st.floats(0.1, 0.4), st.lists(st.floats(-0.2, 0.2), min_size=10, max_size=80))
def test_a_head_that_moves_by_less_than_a_fifth_of_its_size_per_image_is_never_lost(x, size, moves):
    scene = Scene()
    scene.show(face(x, size), s=0.2)
    for move in itertools.accumulate(moves):
        view = scene.show(face(x + move * size, size))
        assert (view.state, view.person) == (FaceState.TRACKED, 1)


@pytest.mark.parametrize("wrong", [{"lost_s": -1.0}, {"confirm_s": float("nan")}, {"switch_ratio": 0.5}])
def test_a_configuration_that_makes_no_sense_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpeakerConfig(**wrong)


@pytest.fixture(scope="module")
def landmarker():
    landmarker = FaceLandmarker(assets.resolve("face-landmarker"))
    yield landmarker
    landmarker.close()


def _states(landmarker: FaceLandmarker, name: str) -> list[FaceState]:
    landmarker.reset()
    tracker = SpeakerTracker()
    every_second = itertools.islice(images(name), 0, None, 2)
    return [tracker.step(landmarker.detect(image, t), t).state for t, image in every_second]


def test_on_film_a_face_that_leaves_goes_from_tracked_to_lost_to_nobody(landmarker):
    states = _states(landmarker, "footage-face-leaves")
    assert [s for s, _ in itertools.groupby(states)] == [
        FaceState.NOBODY, FaceState.TRACKED, FaceState.LOST, FaceState.NOBODY,
    ]  # fmt: skip
    assert states.count(FaceState.LOST) == pytest.approx(1.5 * 26.4 / 2, abs=2)


def test_on_film_a_face_that_enters_is_found_and_an_earlier_false_detection_ignored(landmarker):
    states = _states(landmarker, "footage-face-comes")
    assert states[:45] == [FaceState.NOBODY] * 45
    assert states[55:80] == [FaceState.TRACKED] * 25


def test_on_film_an_empty_place_is_nobody_throughout(landmarker):
    assert set(_states(landmarker, "footage-no-face")) == {FaceState.NOBODY}


def test_of_several_people_in_a_photograph_one_is_chosen_and_kept(landmarker):
    landmarker.reset()
    tracker, photograph = SpeakerTracker(), first_image("footage-several-faces")
    views, faces = [], []
    for k in range(12):
        faces = landmarker.detect(photograph, k * STEP)
        views.append(tracker.step(faces, k * STEP))
    assert views[-1].count >= 2
    assert views[-1].face is max(faces, key=salience)
    assert {v.person for v in views[4:]} == {1}
