"""World A: simulated people with the statistics of real ones, and listeners who answer as long as it lasts."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from react_ros.corpus.reader import open_corpus
from react_ros.corpus.simulation import simulate
from react_ros.corpus.simulation.motion import TIMES
from react_ros.corpus.simulation.statistics import positive_quantile, real_people
from react_ros.corpus.simulation.world_a.faces import draw_face
from react_ros.corpus.simulation.world_a.feelings import DISTRESSED, HOSTILE, JOYFUL, draw_story, sum_of
from react_ros.corpus.simulation.world_a.session import Session, render_session
from react_ros.face import ARKIT, ARKIT_INDEX, FPS

SMILE = [ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]
SULK = [ARKIT_INDEX[n] for n in ("mouthFrownLeft", "mouthFrownRight", "browDownLeft", "browDownRight")]


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    """Twenty people, each with a story of their own."""
    return [render_session(i, 8, 1) for i in range(20)]


def speaking_smile(session: Session) -> np.ndarray:
    """(751,) joyful smile of the speaker, as felt."""
    return sum_of(session.performance.story.feelings, JOYFUL)


def smile_of(session: Session) -> np.ndarray:
    """(751,) of the listener."""
    return session.response.blendshapes[:, SMILE].mean(axis=1)


def test_people_at_rest_and_their_spread_have_the_measured_percentiles():
    rng = np.random.default_rng(0)
    faces = [draw_face(rng) for _ in range(300)]
    people = real_people()
    rest = np.percentile([f.rest for f in faces], [5, 50, 95], axis=0).T
    for name in ("browInnerUp", "browOuterUpLeft", "eyeSquintLeft", "eyeLookDownLeft", "mouthSmileLeft"):
        i = ARKIT_INDEX[name]
        assert rest[i, 1] == pytest.approx(people.rest[i, 1], rel=0.35, abs=0.003), name
        assert rest[i, 2] == pytest.approx(people.rest[i, 2], rel=0.35), name


def test_quantiles_pass_through_the_given_percentiles():
    table = np.array([[0.01, 0.1, 0.6]])
    for z, value in ((-1.645, 0.01), (0.0, 0.1), (1.645, 0.6)):
        assert positive_quantile(np.array([z]), table)[0] == pytest.approx(value, rel=1e-3)


def test_speakers_move_as_much_as_real_ones(sessions):
    """Median over people of the standard deviation within a person, per channel, within a factor of two and a half."""
    within = np.median([s.performance.blendshapes.std(axis=0) for s in sessions], axis=0)
    for name in (
        "eyeLookDownLeft",
        "eyeSquintRight",
        "browInnerUp",
        "browOuterUpLeft",
        "jawOpen",
        "mouthLowerDownLeft",
    ):
        i = ARKIT_INDEX[name]
        assert 0.4 < within[i] / real_people().spread[i, 1] < 2.5, name


def test_dead_channels_of_the_tracker_are_dead(sessions):
    dead = [i for i, name in enumerate(ARKIT) if name.startswith(("cheekSquint", "noseSneer", "tongue"))]
    assert max(s.performance.blendshapes[:, dead].max() for s in sessions) < 1e-3


def test_some_feelings_are_there_in_the_first_frame_and_lengths_vary_from_tenths_to_tens_of_seconds():
    stories = [draw_story(i, 1) for i in range(300)]
    begun = [any(f.onset < 0.0 and f.envelope()[0] > 0.05 for f in s.feelings) for s in stories]
    assert 0.2 < np.mean(begun) < 0.4
    lengths = [f.end - f.onset for s in stories for f in s.feelings]
    assert np.percentile(lengths, 5) < 0.9 and np.percentile(lengths, 98) > 9.0
    assert {f.kind for s in stories for f in s.feelings} >= {"joy", "crying", "anger", "surprise", "contempt"}


def untroubled(session: Session) -> np.ndarray:
    """(751,) whether the speaker has shown nothing unpleasant for three seconds: concern outlasts its cause."""
    trouble = sum_of(session.performance.story.feelings, (*DISTRESSED, *HOSTILE)) > 0.02
    return np.convolve(trouble, np.ones(3 * FPS), "full")[: len(trouble)] < 0.5


def test_smiles_come_back_as_strong_and_as_long(sessions):
    correlations, gains = [], []
    for session in sessions:
        calm = untroubled(session)
        late, shown = np.interp(TIMES - 0.6, TIMES, speaking_smile(session))[calm], smile_of(session)[calm]
        if late.std() > 0.15:
            correlations.append(np.corrcoef(late, shown)[0, 1])
            gains.append(np.polyfit(late, shown, 1)[0])
    assert len(gains) > 5 and np.median(correlations) > 0.9 and 0.7 < np.median(gains) < 1.2


def test_a_held_smile_is_answered_to_its_end(sessions):
    held = []
    for session in sessions:
        told, shown, calm = speaking_smile(session), smile_of(session), untroubled(session)
        long = [k for k in range(FPS, len(told)) if calm[k] and told[k - FPS : k].min() > 0.5]
        held += shown[long].tolist()
    assert len(held) > 100 and np.mean(np.array(held) > 0.25) > 0.95


def test_nobody_frowns_at_smiles_nor_smiles_at_distress(sessions):
    sulks, grins = [], []
    for session in sessions:
        face = session.response.blendshapes
        sulks += face[smile_of(session) > 0.5][:, SULK].mean(axis=1).tolist()
        distress = sum_of(session.performance.story.feelings, DISTRESSED)
        long = np.array([k > FPS and distress[k - FPS : k + 1].min() > 0.6 for k in range(len(distress))])
        grins += smile_of(session)[long].tolist()
    assert np.mean(sulks) < 0.02
    assert len(grins) > 50 and np.mean(grins) < 0.1


def test_pauses_after_speech_are_answered_and_silent_speakers_get_no_nods(sessions):
    answered, chances, silent = [], [], []
    for session in sessions:
        nods = np.array([n.start + 0.5 / n.hz for n in session.response.nods if n.size > 0.0])
        phrases = [p for p in session.performance.speech.phrases if not p.laughed]
        if not phrases:
            silent.append(len(nods))
        for p, after in zip(phrases, [*phrases[1:], None], strict=True) if phrases else ():
            if p.end - p.start > 1.0 and (after.start if after else 30.0) - p.end > 0.25 and p.end < 28.0:
                answered.append(np.any((nods > p.end) & (nods < p.end + 1.3)))
        chances.append(np.mean([np.any((nods > t) & (nods < t + 1.3)) for t in np.arange(0.0, 28.0, 0.1)]))
    assert np.mean(answered) > np.mean(chances) + 0.3
    assert not silent or max(silent) == 0


def test_the_same_seed_is_the_same_session_and_another_is_not(sessions):
    again, other = render_session(3, 8, 1), render_session(3, 9, 1)
    for name in ("attributes", "face_model", "sound"):
        assert np.array_equal(getattr(again.speaker, name), getattr(sessions[3].speaker, name))
        assert np.array_equal(getattr(again.listener, name), getattr(sessions[3].listener, name))
    assert not np.array_equal(other.speaker.face_model, again.speaker.face_model)


def test_a_corpus_has_degrees_for_speakers_occurrences_for_listeners_and_neighbours_by_story(tmp_path):
    simulate(tmp_path / "a", sessions=9, seed=3, tellers=4, jobs=1)
    corpus = open_corpus(tmp_path / "a")
    dyad = corpus.dyads("train")[0]
    speaker, listener = corpus.attributes(dyad.speaker), corpus.attributes(dyad.listener)
    assert len(np.unique(speaker[:, :15])) > 50 and set(np.unique(listener[:, :15])) <= {0.0, 1.0}
    assert corpus.appropriate("train").all()
    settings = yaml.safe_load((tmp_path / "a/corpus.yaml").read_text())
    assert settings["world"] == "a" and "--world a" in settings["made_by"] and settings["simulated"] is True
    assert "by story" in (tmp_path / "a/README.txt").read_text()
