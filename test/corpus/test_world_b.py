"""World B: people made by other means than those of world A."""

from __future__ import annotations

import numpy as np
import pytest

from react_ros.corpus.simulation.statistics import real_people
from react_ros.corpus.simulation.world_b.faces import draw_face, show
from react_ros.corpus.simulation.world_b.session import Session, draw_story, render_session
from react_ros.face import ARKIT_INDEX

SMILE = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    return [render_session(i, 4, 1) for i in range(12)]


def test_pooled_faces_have_the_measured_percentiles():
    rng = np.random.default_rng(0)
    still = np.zeros(751), np.zeros((751, 52))
    pooled = np.concatenate([show(draw_face(rng), *still, rng)[0] for _ in range(40)])
    for name in ("browInnerUp", "browOuterUpLeft", "eyeSquintLeft", "eyeLookDownRight"):
        i = ARKIT_INDEX[name]
        median, high = np.percentile(pooled[:, i], [50, 95])
        assert median == pytest.approx(real_people().pooled[i, 3], abs=0.12), name
        assert high == pytest.approx(real_people().pooled[i, 5], abs=0.15), name


def test_a_smile_is_shown_as_wide_as_it_is_felt():
    rng = np.random.default_rng(1)
    smile = np.repeat([0.0, 0.4, 0.8], [251, 250, 250])
    shown = np.mean([show(draw_face(rng), smile, np.zeros((751, 52)), rng)[0][:, SMILE].mean(1) for _ in range(10)], 0)
    assert shown[:251].mean() < 0.08
    assert shown[251:501].mean() == pytest.approx(0.4, abs=0.12) and shown[501:].mean() == pytest.approx(0.8, abs=0.12)


def test_stories_differ_and_sessions_of_one_share_it(sessions):
    assert draw_story(0, 4) == draw_story(0, 4) and draw_story(0, 4).episodes != draw_story(1, 4).episodes
    two = [render_session(i, 4, 2) for i in (0, 1)]
    assert two[0].number == two[1].number and not np.array_equal(two[0].speaker.face_model, two[1].speaker.face_model)


def test_what_is_rendered_is_finite_and_in_range(sessions):
    for session in sessions:
        for person in (session.speaker, session.listener):
            assert np.isfinite(person.face_model).all() and np.isfinite(person.sound).all()
            assert person.face_model[:, :52].min() >= 0.0 and person.face_model[:, :52].max() <= 1.0
        assert np.abs(np.diff(session.performance.rotation[:, 0])).mean() < 0.02, "heads do not tremble"


def test_many_stories_render_whenever_their_laughs_begin():
    begun = [n for n in range(200) if any(e.kind == "laughter" and e.onset < 0.5 for e in draw_story(n, 77).episodes)]
    assert begun
    for number in begun[:2]:
        assert np.isfinite(render_session(number, 77, 1).speaker.sound).all()
