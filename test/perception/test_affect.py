"""Attributes derived from blendshapes and landmarks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from footage import first_image, images
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from react_ros import assets
from react_ros.face import (
    ACTION_UNITS,
    ARKIT_INDEX,
    ATTRIBUTE_INDEX,
    ATTRIBUTE_NAMES,
    AU,
    EXPRESSIONS,
    VA,
    Floats,
)
from react_ros.perception.affect import (
    MEASURE_EFFECTS,
    MEASURE_REST,
    MEASURE_SPREAD,
    MEASURES,
    AffectEstimator,
    geometry,
    simulated_measures,
    simulated_rest,
)
from react_ros.perception.landmarks import DetectedFace, FaceLandmarker


def shapes(**weights: float) -> Floats:
    """Blendshapes by name; a name without side sets both."""
    out = np.zeros(52, np.float32)
    for name, weight in weights.items():
        for side in (name, f"{name}Left", f"{name}Right"):
            if side in ARKIT_INDEX:
                out[ARKIT_INDEX[side]] = weight
    return out


def read(attributes: Floats, name: str) -> float:
    return float(attributes[ATTRIBUTE_INDEX[name]])


def expression(attributes: Floats) -> str:
    return ATTRIBUTE_NAMES[EXPRESSIONS.start + int(np.argmax(attributes[EXPRESSIONS]))]


def assert_in_range(attributes: Floats) -> None:
    assert attributes.shape == (25,) and attributes.dtype == np.float32
    assert np.isfinite(attributes).all()
    assert attributes[AU].min() >= 0 and attributes[AU].max() <= 1
    assert np.abs(attributes[VA]).max() <= 1
    assert attributes[EXPRESSIONS].min() >= 0
    assert attributes[EXPRESSIONS].sum() == pytest.approx(1, abs=1e-5)


any_float = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=80, deadline=None)
@given(st.lists(arrays(np.float32, 52, elements=any_float), min_size=1, max_size=6), st.integers(0, 2**32 - 1),
       st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e4, 1e30, 3e38]), st.floats(0.1, 10))  # fmt: skip
def test_for_any_input_the_attributes_are_in_their_ranges(film, seed, magnitude, aspect):
    estimator, rng = AffectEstimator(), np.random.default_rng(seed)
    for blendshapes in film:
        landmarks = (rng.uniform(-1, 1, (478, 3)) * magnitude).astype(np.float32)
        assert_in_range(estimator.step(blendshapes, landmarks, aspect))
        assert_in_range(estimator.step(blendshapes))


def test_nan_counts_as_0():
    broken = np.full(52, np.nan, np.float32)
    assert_in_range(AffectEstimator().step(broken, np.full((478, 3), np.nan, np.float32)))
    assert np.array_equal(AffectEstimator().step(broken), AffectEstimator().step(shapes()))


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("neutral", {}),
        ("happy", {"mouthSmile": 0.8, "eyeSquint": 0.6}),
        ("sad", {"browInnerUp": 0.8, "browDown": 0.3, "mouthFrown": 0.6}),
        ("surprise", {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.5, "jawOpen": 0.6}),
        ("fear", {"browInnerUp": 0.9, "browDown": 0.4, "eyeWide": 0.8, "mouthStretch": 0.8, "eyeSquint": 0.5}),
        ("disgust", {"noseSneer": 0.7, "mouthUpperUp": 0.6, "mouthFrown": 0.3, "mouthShrugLower": 0.3}),
        ("anger", {"browDown": 0.5, "eyeSquint": 0.6, "mouthPress": 0.5, "mouthRollLower": 0.5}),
        ("contempt", {"mouthSmileLeft": 0.6, "mouthDimpleLeft": 0.3}),
    ],
)
def test_each_prototype_is_read_as_its_expression(name, weights):
    assert expression(AffectEstimator().step(shapes(**weights))) == name


def test_a_talking_mouth_alone_is_no_expression():
    estimator = AffectEstimator()
    for k in range(200):
        opening = 0.3 + 0.3 * np.sin(k)
        talking = estimator.step(shapes(jawOpen=opening, mouthLowerDown=0.3, mouthFunnel=opening))
        assert expression(talking) == "neutral" and abs(read(talking, "valence")) < 0.2


def test_the_future_does_not_change_the_past_and_the_same_frames_give_the_same_bits():
    rng = np.random.default_rng(3)
    film = rng.random((300, 52)).astype(np.float32)
    other = film.copy()
    other[200:] = rng.random((100, 52))
    a, b = AffectEstimator(), AffectEstimator()
    first, second = [a.step(f) for f in film], [b.step(f) for f in other]
    assert np.array_equal(first[:200], second[:200])
    a.reset()
    assert np.array_equal(first, [a.step(f) for f in film])


def test_permanently_raised_brows_become_the_baseline():
    estimator, high = AffectEstimator(), shapes(browInnerUp=0.5, browOuterUp=0.5)
    at_first = estimator.step(high)
    for _ in range(250):
        later = estimator.step(high)
    assert read(at_first, "AU1") > 0.5 and read(later, "AU1") < 0.05


def test_somebody_who_smiles_for_two_minutes_is_still_smiling():
    estimator, smile = AffectEstimator(), shapes(mouthSmile=0.8, eyeSquint=0.5)
    for _ in range(3000):
        attributes = estimator.step(smile)
    assert read(attributes, "AU12") > 0.6 and expression(attributes) == "happy"


def test_a_channel_that_hardly_moves_is_not_amplified():
    estimator, rng = AffectEstimator(), np.random.default_rng(4)
    highest = max(read(estimator.step(shapes(mouthFrown=0.02 * rng.random())), "AU15") for _ in range(1000))
    assert highest < 0.1


def test_a_new_person_gets_a_new_baseline():
    estimator, fresh = AffectEstimator(), AffectEstimator()
    for _ in range(500):
        estimator.step(shapes(browInnerUp=0.6, eyeSquint=0.5))
    estimator.reset()
    assert np.array_equal(estimator.step(shapes(browInnerUp=0.4)), fresh.step(shapes(browInnerUp=0.4)))


def measures(**deviations: float) -> npt.NDArray[np.float64]:
    """`MEASURE_REST` with deviations of some ("brow_gap" is "brow gap")."""
    out = np.array(MEASURE_REST)
    for name, deviation in deviations.items():
        out[MEASURES.index(name.replace("_", " "))] += deviation
    return out


WEEPING = {"mouthSmile": 0.8, "eyeSquint": 0.4, "eyeBlink": 0.8, "eyeLookDown": 0.8, "browInnerUp": 0.45}
KNITTED = {"brow_height": 0.04, "brow_gap": -0.015}


def test_the_stretched_mouth_of_crying_is_sadness_at_the_first_frame_and_five_seconds_later():
    estimator = AffectEstimator()
    film = [estimator.step(shapes(**WEEPING), measures=measures(**KNITTED)) for _ in range(125)]
    for attributes in (film[0], film[-1]):
        assert expression(attributes) == "sad" and read(attributes, "happy") < 0.05
        assert read(attributes, "AU12") < 0.4 and read(attributes, "valence") < -0.4
    assert read(film[0], "AU1") > 0.4 and read(film[0], "AU4") > 0.4


@pytest.mark.parametrize(
    ("what", "weights", "deviations"),
    [
        ("eyes cast down", {"mouthSmile": 0.8, "eyeSquint": 0.4, "eyeBlink": 0.6, "eyeLookDown": 0.8}, {}),
        (
            "low brows",
            {"mouthSmile": 0.8, "eyeSquint": 0.6, "browDown": 0.7},
            {"brow_height": -0.03, "brow_gap": -0.03},
        ),
        ("raised brows", {"mouthSmile": 0.8, "eyeSquint": 0.4, "browInnerUp": 0.8}, {"brow_height": 0.05}),
        (
            "laughter with knitted brows and closed eyes",
            {**WEEPING, "mouthUpperUp": 0.5, "jawOpen": 0.3, "mouthLowerDown": 0.4},
            {**KNITTED, "corner": -0.07, "upper_corner": -0.03},
        ),
    ],
)
def test_honest_smiles_stay_joy(what, weights, deviations):
    estimator = AffectEstimator()
    film = [estimator.step(shapes(**weights), measures=measures(**deviations)) for _ in range(125)]
    assert min(read(a, "happy") for a in film) > 0.7, what
    assert max(read(a, "sad") for a in film) < 0.1, what


def test_a_shout_is_no_joy_and_an_open_smile_is():
    wide = {"mouthSmile": 0.8, "jawOpen": 0.5, "mouthUpperUp": 0.6, "eyeSquint": 0.5}
    shout = AffectEstimator().step(shapes(**wide, browDown=0.4), measures=measures(upper_corner=0.08))
    smile = AffectEstimator().step(shapes(**wide), measures=measures(corner=-0.06, upper_corner=-0.02))
    assert read(shout, "happy") < 0.05 and read(shout, "AU12") < 0.1
    assert read(smile, "happy") > 0.9


def test_a_pout_is_sad_and_the_same_corners_of_a_talking_mouth_are_not():
    pout, talk = AffectEstimator(), AffectEstimator()
    for _ in range(100):
        for estimator in (pout, talk):
            estimator.step(shapes(), measures=measures())
    lowered = measures(corner=0.03)
    for _ in range(50):
        sad = pout.step(shapes(mouthShrugLower=0.3), measures=lowered)
        talking = talk.step(shapes(jawOpen=0.3, mouthLowerDown=0.2), measures=lowered)
    assert read(sad, "AU15") > 0.7 and expression(sad) == "sad"
    assert read(talking, "AU15") < 0.1 and expression(talking) == "neutral"


def test_a_brow_that_is_always_low_is_no_frown_for_long_and_never_a_full_one():
    estimator, rng = AffectEstimator(), np.random.default_rng(6)
    old = [estimator.step(shapes(browDown=0.65 + 0.1 * rng.random()), measures=measures()) for _ in range(400)]
    frowning = [read(a, "AU4") for a in old]
    assert max(frowning) < 0.8 and max(frowning[150:]) < 0.25


def test_a_blink_draws_no_brows_together():
    estimator = AffectEstimator()
    for _ in range(100):
        estimator.step(shapes(), measures=measures())
    pulled = [estimator.step(shapes(eyeBlink=0.9), measures=measures(brow_gap=-0.015)) for _ in range(4)]
    assert max(read(a, "AU4") for a in pulled) < 0.4


def test_measures_stand_for_landmarks_and_only_for_whole_ones(landmarker):
    landmarker.reset()
    face = landmarker.detect(first_image("footage-single-face-photo"), 0)[0]
    measured = geometry(face.landmarks, face.aspect)
    assert measured is not None and measured.shape == (len(MEASURES),)
    seen = AffectEstimator().step(face.blendshapes, face.landmarks, face.aspect)
    assert np.array_equal(seen, AffectEstimator().step(face.blendshapes, measures=measured))
    blind = AffectEstimator().step(face.blendshapes)
    assert np.array_equal(blind, AffectEstimator().step(face.blendshapes, measures=np.full(7, np.nan)))
    assert expression(seen) == "happy" and expression(blind) == "happy"
    with pytest.raises(ValueError, match="both landmarks and measures"):
        AffectEstimator().step(face.blendshapes, face.landmarks, face.aspect, measured)
    with pytest.raises(ValueError, match=r"expected \(7,\)"):
        AffectEstimator().step(face.blendshapes, measures=np.zeros(3))


def test_the_geometry_does_not_depend_on_place_size_roll_or_shape_of_the_image(landmarker):
    landmarker.reset()
    face = landmarker.detect(first_image("footage-single-face-photo"), 0)[0]
    expected = geometry(face.landmarks, face.aspect)
    assert expected is not None and np.abs(expected - MEASURE_REST).max() < 0.12
    square = face.landmarks.astype(np.float64) * [1.0, face.aspect, 1.0]
    turn = np.array([[math.cos(0.5), -math.sin(0.5), 0.0], [math.sin(0.5), math.cos(0.5), 0.0], [0.0, 0.0, 1.0]])
    moved = 0.4 * square @ turn.T + [0.3, -0.2, 0.1]
    for aspect in (0.5, 1.0, 1.8):
        assert geometry(moved / [1.0, aspect, 1.0], aspect) == pytest.approx(expected, abs=1e-6)
    assert geometry(np.zeros((478, 3)), 1.0) is None and geometry(np.full((478, 3), np.nan), 1.0) is None


def test_simulated_people_at_rest_are_as_various_as_real_ones_and_read_as_neutral():
    rng = np.random.default_rng(7)
    rests = np.array([simulated_rest(rng) for _ in range(2000)])
    assert rests.mean(axis=0) == pytest.approx(MEASURE_REST, abs=0.002)
    assert rests.std(axis=0) == pytest.approx(MEASURE_SPREAD, rel=0.1)
    still, units = np.tile(shapes(), (150, 1)), np.zeros((150, 15))
    film = []
    for rest in rests[:20]:
        estimator, drawn = AffectEstimator(), simulated_measures(rest, units, still, rng)
        film.append([estimator.step(s, measures=m) for s, m in zip(still, drawn, strict=True)])
    attributes = np.array(film)
    assert attributes[..., ATTRIBUTE_INDEX["neutral"]].mean() > 0.8
    assert attributes[:, 100:, AU].mean() < 0.05


@pytest.mark.parametrize("unit", [1, 4, 6, 9, 15])
def test_a_simulated_action_unit_is_read_from_its_measures_alone(unit):
    """AU6 only together with a smile."""
    rng, strength = np.random.default_rng(unit), np.zeros((200, 15))
    strength[100:, ACTION_UNITS.index(unit)] = 1.0
    look = np.tile(shapes(mouthSmile=0.6) if unit == 6 else shapes(), (200, 1))
    before, after = [], []
    for _ in range(10):
        estimator = AffectEstimator()
        drawn = simulated_measures(simulated_rest(rng), strength, look, rng)
        film = [read(estimator.step(s, measures=m), f"AU{unit}") for s, m in zip(look, drawn, strict=True)]
        before.append(np.mean(film[80:100]))
        after.append(np.mean(film[102:122]))
    assert np.mean(before) < (0.25 if unit == 6 else 0.1) and np.mean(after) > np.mean(before) + 0.35
    assert set(MEASURE_EFFECTS) <= set(ACTION_UNITS)


@pytest.fixture(scope="module")
def landmarker():
    landmarker = FaceLandmarker(assets.resolve("face-landmarker"))
    yield landmarker
    landmarker.close()


def _faces(landmarker: FaceLandmarker, name: str, every: int) -> list[DetectedFace]:
    landmarker.reset()
    return [landmarker.detect(i, t)[0] for k, (t, i) in enumerate(images(name)) if k % every == 0]


def _smile(face: DetectedFace) -> float:
    return float(face.blendshapes[[ARKIT_INDEX["mouthSmileLeft"], ARKIT_INDEX["mouthSmileRight"]]].mean())


def test_on_film_a_face_at_rest_is_about_neutral_and_its_smile_is_happy(landmarker):
    estimator = AffectEstimator()
    faces = _faces(landmarker, "footage-single-face-video", 1)
    film = [estimator.step(f.blendshapes, f.landmarks, f.aspect) for f in faces]
    rest, smile = np.mean(film[:12], axis=0), np.mean(film[-24:], axis=0)
    assert read(rest, "neutral") > 0.7 and abs(read(rest, "valence")) < 0.15 and read(rest, "AU12") < 0.1
    assert read(smile, "happy") > 0.8 and read(smile, "valence") > 0.5 and read(smile, "AU12") > 0.7
    assert read(smile, "AU6") > 0.5 and read(smile, "arousal") > read(rest, "arousal")


@pytest.fixture(scope="module")
def crying_woman(landmarker) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Times (T,) in s and attributes (T, 25) of the first 13 s of the demo's film."""
    landmarker.reset()
    estimator, times, film = AffectEstimator(), [], []
    for stamp, image in itertools.takewhile(lambda each: each[0] < 13e9, images("demo-face")):
        face = landmarker.detect(image, stamp)[0]
        times.append(stamp / 1e9)
        film.append(estimator.step(face.blendshapes, face.landmarks, face.aspect))
    return np.array(times), np.array(film)


# What a woman shows in the demo's film, judged by eye: (from, to) in s. Without the first images: the pipeline sees
# nobody before a face has been there for a tenth of a second.
SAD, CRYING, WORRIED, CALM, SMILING = (0.15, 0.5), (0.5, 5.7), (6.2, 8.0), (8.7, 9.2), (9.8, 11.2)


def _mean(film: tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]], span: tuple[float, float], name: str) -> float:
    times, attributes = film
    return float(attributes[(times >= span[0]) & (times < span[1]), ATTRIBUTE_INDEX[name]].mean())


def test_on_film_crying_is_sadness_from_the_beginning_on_and_never_joy(crying_woman):
    assert _mean(crying_woman, SAD, "sad") > 2 * _mean(crying_woman, SAD, "happy")
    assert _mean(crying_woman, SAD, "valence") < -0.1 and _mean(crying_woman, SAD, "AU1") > 0.4
    assert _mean(crying_woman, CRYING, "sad") > 0.8 and _mean(crying_woman, CRYING, "valence") < -0.4
    assert _mean(crying_woman, CRYING, "happy") < 0.05 and _mean(crying_woman, CRYING, "AU12") < 0.2
    assert _mean(crying_woman, (0.5, 1.5), "AU4") > 0.6


def test_on_film_worry_raises_the_inner_brows_and_is_no_joy(crying_woman):
    assert _mean(crying_woman, WORRIED, "AU1") > 0.6
    assert _mean(crying_woman, WORRIED, "happy") < 0.05 and _mean(crying_woman, WORRIED, "valence") < 0


def test_on_film_calm_after_crying_is_neutral_and_a_smile_then_joy(crying_woman):
    assert _mean(crying_woman, CALM, "neutral") > 0.7 and _mean(crying_woman, CALM, "AU4") < 0.1
    assert _mean(crying_woman, SMILING, "happy") > 0.8 and _mean(crying_woman, SMILING, "AU12") > 0.6
    assert _mean(crying_woman, SMILING, "valence") > 0.6 and _mean(crying_woman, SMILING, "sad") < 0.05


def test_on_film_the_geometry_gives_no_false_disgust_in_a_smile(landmarker):
    estimator = AffectEstimator()
    for face in _faces(landmarker, "footage-single-face-video", 3):
        attributes = estimator.step(face.blendshapes, face.landmarks, face.aspect)
        assert read(attributes, "disgust") < 0.3
