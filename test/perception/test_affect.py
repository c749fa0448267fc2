"""Attributes derived from blendshapes and landmarks."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from footage import images
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from react_ros import assets
from react_ros.face import ARKIT_INDEX, ATTRIBUTE_INDEX, ATTRIBUTE_NAMES, AU, EXPRESSIONS, VA, Floats
from react_ros.perception.affect import AffectEstimator
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
