"""Selection of the speaker among the faces in view."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from footage import first_image, images
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from react_ros import assets
from react_ros.face import ARKIT_INDEX, FaceState
from react_ros.perception.landmarks import DetectedFace, FaceLandmarker
from react_ros.perception.speaker import SpeakerConfig, SpeakerTracker, salience

MS = 1_000_000
STEP = 40 * MS
ASPECT = 0.75


def face(
    x: float,
    size: float = 0.2,
    y: float = 0.5,
    yaw: float = 0.0,
    *,
    tall: float = 1.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    aspect: float = ASPECT,
    jaw: float = 0.0,
) -> DetectedFace:
    """A face with its middle at (x, y) of the image (fractions of its width and height).

    size: square root of its area, in widths of the image. tall: its height over its width.
    """
    width, height = size / math.sqrt(tall), size * math.sqrt(tall) / aspect
    box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], np.float32)
    shapes = np.zeros(52, np.float32)
    shapes[ARKIT_INDEX["jawOpen"]] = jaw
    turned = np.array([pitch, yaw, roll], np.float32)
    return DetectedFace(shapes, turned, np.zeros(3, np.float32), np.zeros((478, 3), np.float32), box, aspect)


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


@pytest.mark.parametrize("aspect", [0.5625, 0.75, 1.3333])
@pytest.mark.parametrize(
    ("parts", "share"),
    [
        ({}, 1.0),
        ({"size": 0.1}, 0.5),
        ({"tall": 1.44}, 1.0),
        ({"tall": 0.6}, 1.0),
        ({"x": 0.25}, 1 - 0.25 / math.sqrt(2)),
        ({"x": 0.75}, 1 - 0.25 / math.sqrt(2)),
        ({"y": 0.25}, 1 - 0.25 / math.sqrt(2)),
        ({"y": 0.75}, 1 - 0.25 / math.sqrt(2)),
        ({"x": 0.2, "y": 0.9}, 1 - 0.25 * math.sqrt(2)),
        ({"x": 0.0, "y": 0.0}, 0.5),
        ({"x": 1.3, "y": 1.2}, 0.5),
        ({"yaw": 0.8}, 0.5 + 0.5 * math.cos(0.8)),
        ({"yaw": -0.8}, 0.5 + 0.5 * math.cos(0.8)),
        ({"pitch": 0.6}, 0.5 + 0.5 * math.cos(0.6)),
        ({"pitch": -0.6, "yaw": 0.8}, 0.5 + 0.5 * math.cos(0.6) * math.cos(0.8)),
        ({"yaw": 2.0}, 0.5),
        ({"roll": 1.0}, 1.0),
    ],
)
def test_salience_is_size_times_centrality_times_facing(parts, share, aspect):
    middle = salience(face(0.5, aspect=aspect))
    assert middle == pytest.approx(0.2, rel=1e-4)
    assert salience(face(**{"x": 0.5, "aspect": aspect, **parts})) == pytest.approx(share * middle, rel=1e-4)


people = st.lists(
    st.builds(
        face, st.floats(0.05, 0.95), st.floats(0.05, 0.4), st.floats(0.05, 0.95), st.floats(-1.2, 1.2),
        tall=st.floats(0.7, 1.6), pitch=st.floats(-0.6, 0.6), roll=st.floats(-0.6, 0.6),
    ),
    min_size=2, max_size=5,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(people)
def test_the_choice_is_the_same_in_a_mirror_and_upside_down(faces):
    def flipped(one: DetectedFace, across: bool, down: bool) -> DetectedFace:
        left, top, right, bottom = one.box
        x = (1 - right, 1 - left) if across else (left, right)
        y = (1 - bottom, 1 - top) if down else (top, bottom)
        turned = one.rotation * np.array([-1 if down else 1, -1 if across else 1, 1], np.float32)
        return dataclasses.replace(one, box=np.array([x[0], y[0], x[1], y[1]], np.float32), rotation=turned)

    saliences = sorted(map(salience, faces))
    assume(saliences[-1] > 1.001 * saliences[-2])

    def chosen(shown: Sequence[DetectedFace]) -> int:
        face = Scene().show(*shown, s=0.4).face
        return [one is face for one in shown].index(True)

    expected = int(np.argmax([salience(one) for one in faces]))
    for across, down in itertools.product([False, True], repeat=2):
        assert chosen([flipped(one, across, down) for one in faces]) == expected


STEPS = pytest.mark.parametrize("direction", [(1, 0), (-1, 0), (0, 1), (0, -1), (0.6, 0.8), (-0.6, 0.8)])


def is_same_person(before: DetectedFace, after: DetectedFace, hidden_s: float = 0.0) -> bool:
    """Whether a lone speaker who was at `before` is taken for the same person at `after`."""
    scene = Scene()
    scene.show(before, s=1)
    if hidden_s:
        scene.show(s=hidden_s)
    return scene.show(after).state == FaceState.TRACKED


@STEPS
@pytest.mark.parametrize("aspect", [0.75, 1.3333])
def test_a_head_may_jump_by_four_fifths_of_its_size_in_any_direction_and_no_further(direction, aspect):
    x, y = direction
    for size, tall in itertools.product([0.08, 0.2], [0.6, 1.6]):
        start = {"size": size, "tall": tall, "aspect": aspect}
        for jump, same in ((0.75, True), (0.9, False)):
            end = face(0.5 + jump * size * x, y=0.5 + jump * size * y / aspect, **start)
            assert is_same_person(face(0.5, **start), end) == same


@STEPS
@pytest.mark.parametrize(("hidden_s", "reach"), [(0.44, 1.088), (0.96, 1.4), (1.4, 1.4)])
def test_the_longer_a_head_was_hidden_the_further_it_may_have_moved_up_to_a_second(direction, hidden_s, reach):
    x, y = direction
    for jump, same in ((reach - 0.04, True), (reach + 0.04, False)):
        end = face(0.5 + 0.2 * jump * x, y=0.5 + 0.2 * jump * y / ASPECT)
        assert is_same_person(face(0.5), end, hidden_s) == same


@pytest.mark.parametrize(
    ("growth", "jump", "same"),
    [
        (0.75, 0.0, True), (-0.75, 0.0, True), (0.9, 0.0, False), (-0.9, 0.0, False),
        (0.4, 0.38, True), (-0.4, 0.38, True), (0.4, 0.46, False), (-0.4, 0.46, False),
        (0.69, 0.12, True), (0.69, 0.15, False), (-0.69, 0.12, True), (-0.69, 0.15, False),
    ],
)  # fmt: skip
def test_a_head_may_come_nearer_and_go_away_as_well_as_move_aside(growth, jump, same):
    """growth: logarithm of the ratio of the sizes. jump: in sizes of the head, the mean of before and after."""
    before, after = 0.15, 0.15 * math.exp(growth)
    end = face(0.5 + jump * (before + after) / 2, after)
    assert is_same_person(face(0.5, before), end) == same


@pytest.mark.parametrize("jump", [0.065, -0.065])
@pytest.mark.parametrize("backwards", [False, True])
def test_people_side_by_side_who_all_move_at_once_keep_their_identities(jump, backwards):
    """They are 0.15 of the image apart, and the place of a neighbour is within each one's reach."""
    places, scene = [0.25, 0.4, 0.55, 0.7], Scene()
    first = scene.show(*map(face, places), s=1)
    assert first.face is not None
    speaker = int(np.argmin([abs(np.mean(first.face.box[[0, 2]]) - x) for x in places]))
    moved = [face(x + jump) for x in places]
    view = scene.show(*(moved[::-1] if backwards else moved))
    assert view.face is moved[speaker] and view.person == 1


@pytest.mark.parametrize("passer", [0.3, 0.22, 0.14], ids=["nearer", "beside", "behind"])
@pytest.mark.parametrize("way", ["right", "left", "down", "up"])
@pytest.mark.parametrize("hides", [False, True], ids=["seen", "hidden"])
def test_somebody_who_walks_across_the_speaker_does_not_become_the_speaker(passer, way, hides):
    scene, speaker = Scene(), face(0.5)
    scene.show(speaker, s=1)
    for t in np.linspace(0.0, 1.0, 50):
        along = 0.05 + 0.9 * (t if way in ("right", "down") else 1.0 - t)
        walker = face(along, passer) if way in ("right", "left") else face(0.5, passer, along)
        covered = hides and abs(along - 0.5) < 0.1
        view = scene.show(*([walker] if covered else [walker, speaker]))
        assert view.person == 1
        assert view.face is speaker and view.state == (FaceState.LOST if covered else FaceState.TRACKED)


def test_of_a_crowd_that_fidgets_and_drops_out_now_and_then_one_person_is_kept_for_a_minute():
    rng, scene = np.random.default_rng(5), Scene()
    crowd = [(0.2, 0.16, 0.4), (0.4, 0.2, 0.55), (0.6, 0.19, 0.5), (0.8, 0.21, 0.6), (0.5, 0.08, 0.15)]
    people, kept = set(), 0
    for _ in range(1500):
        shown = [
            (k, face(x + 0.008 * rng.standard_normal(), size * math.exp(0.06 * rng.standard_normal()), y, yaw))
            for k, (x, size, y) in enumerate(crowd)
            if rng.random() > 0.1
            for yaw in [0.4 * rng.standard_normal()]
        ]
        view = scene.show(*[one for _, one in shown])
        if view.state == FaceState.TRACKED:
            people |= {k for k, one in shown if one is view.face}
            kept += 1
    assert len(people) == 1 and view.person == 1 and kept > 1200


def test_a_talking_mouth_does_not_draw_attention():
    """Lips move in smiles, chewing and talk to others as well; one microphone does not tell whose voice it is."""
    still, talking = Scene(), Scene()
    for k in range(300):
        here, there = face(0.4, 0.22), face(0.65, 0.2)
        chatter = face(0.65, 0.2, jaw=0.3 + 0.3 * math.sin(0.8 * k))
        a, b = still.show(here, there), talking.show(here, chatter)
        assert (a.person, a.state) == (b.person, b.state) and (a.face is here) == (b.face is here)


def test_a_speaker_who_walks_off_and_returns_after_a_while_is_listened_to_again():
    scene = Scene()
    scene.show(face(0.5), face(0.85, 0.1), s=2)
    for x in np.arange(0.5, 1.0, 0.02):
        assert scene.show(face(x), face(0.85, 0.1, 0.3)).person == 1
    gone = [scene.show(face(0.85, 0.1, 0.3)) for _ in range(100)]
    assert [v.state for v in gone[:37]] == [FaceState.LOST] * 37 and gone[-1].person == 2
    back = [scene.show(face(0.45, 0.25), face(0.85, 0.1, 0.3)) for _ in range(150)]
    assert {v.person for v in back[:95]} == {2} and back[-1].person == 3
    assert back[-1].face is not None and back[-1].face.box[0] == pytest.approx(0.325)


@pytest.mark.parametrize(("nearer", "taken"), [(1.9, False), (2.1, True)])
@pytest.mark.parametrize(("s", "long_enough"), [(4.0, False), (4.3, True)])
def test_attention_passes_to_somebody_twice_as_salient_for_four_seconds_and_not_before(nearer, taken, s, long_enough):
    scene, speaker = Scene(), face(0.3, 0.1)
    scene.show(speaker, s=1)
    view = scene.show(speaker, face(0.7, 0.1 * nearer), s=s)
    assert view.person == (2 if taken and long_enough else 1)


def test_the_four_seconds_begin_anew_when_the_other_was_less_salient_or_out_of_sight_in_between():
    for between in ([], [face(0.7, 0.15)]):
        scene, speaker, other = Scene(), face(0.3, 0.1), face(0.7, 0.3)
        scene.show(speaker, s=1)
        scene.show(speaker, other, s=3)
        scene.show(speaker, *between, s=0.2)
        assert scene.show(speaker, other, s=3.9).person == 1
        assert scene.show(speaker, other, s=0.4).person == 2


@pytest.mark.parametrize("later", [1, 2])
def test_of_faces_that_appear_almost_together_the_most_salient_is_chosen(later):
    scene, small, large = Scene(), face(0.3, 0.15), face(0.6, 0.25)
    scene.show(small, s=0.04 * later)
    view = scene.show(small, large, s=0.3)
    assert view.face is large and view.person == 1


def test_false_detections_beside_somebody_new_delay_their_choice_by_a_tenth_of_a_second_at_most():
    scene, corners = Scene(), itertools.cycle(itertools.product([0.15, 0.85], [0.2, 0.8]))
    views = [scene.show(face(0.5, 0.15), face(x, 0.35, y)) for x, y in itertools.islice(corners, 8)]
    assert [v.state for v in views] == [FaceState.NOBODY] * 5 + [FaceState.TRACKED] * 3
    last = views[-1]
    assert last.face is not None and last.face.box[0] == pytest.approx(0.425) and last.person == 1


def test_a_false_detection_that_has_gone_is_not_waited_for():
    scene, small = Scene(), face(0.3, 0.15)
    scene.show(small)
    scene.show(small, face(0.6, 0.3))
    assert [scene.show(small).state for _ in range(2)] == [FaceState.NOBODY, FaceState.TRACKED]


def test_false_detections_now_and_then_at_the_same_place_are_no_person():
    scene = Scene()
    for _ in range(10):
        assert scene.show(face(0.5)).state == FaceState.NOBODY
        assert scene.show(s=0.6).state == FaceState.NOBODY


def test_only_somebody_in_sight_follows_a_speaker_who_left():
    scene, second, third = Scene(), face(0.75, 0.2), face(0.2, 0.1)
    scene.show(face(0.5, 0.3), second, third, s=1)
    scene.show(second, third, s=1.3)
    view = scene.show(third, s=0.4)
    assert view.person == 2 and view.face is third and view.state == FaceState.TRACKED


def test_attention_does_not_pass_on_while_the_speaker_is_hidden_for_a_moment():
    scene, speaker, other = Scene(), face(0.3, 0.1), face(0.7, 0.3)
    scene.show(speaker, s=1)
    scene.show(speaker, other, s=3.9)
    assert scene.show(other, s=0.6).person == 1
    assert scene.show(speaker, other).person == 2


def test_for_a_new_speaker_the_four_seconds_begin_anew():
    scene, second, large = Scene(), face(0.5, 0.1), face(0.7, 0.3)
    scene.show(face(0.3, 0.12), s=1)
    scene.show(face(0.3, 0.12), second, large, s=3.5)
    scene.show(second, large, s=1)
    scene.show(s=0.6)
    assert scene.show(second).person == 2
    assert scene.show(second, large, s=3.9).person == 2
    assert scene.show(second, large, s=0.4).person == 3


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
