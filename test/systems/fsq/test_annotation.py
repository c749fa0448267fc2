"""Annotation noise: hysteresis, slow and white noise, and their recovery from annotated faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from react_ros.face import AU, EXPRESSIONS, VA
from react_ros.generators.contract import sample_rngs
from react_ros.systems.fsq.annotation import AFFECT as CHANNELS
from react_ros.systems.fsq.annotation import Annotation, _lacking, fit

UNITS, DOUBTED = 15, 10
CERTAIN: dict[str, Any] = {
    "margin": 1.0, "slow": 0.0, "persistence": 0.95, "flicker": 0.0, "circumplex": 0.0, "beyond": 1.0,
}  # fmt: skip
CIRCUMPLEX_8 = np.array([[0.0, 0.8, -0.6, 0.4, -0.6, -0.5, -0.5, -0.1], [0.1, 0.5, -0.3, 0.7, 0.6, 0.8, 0.6, -0.5]]).T
"""(8, 2) valence and arousal of expressions."""


def parameters(**given: Any) -> dict[str, np.ndarray]:
    """Parameters with one value for all channels, or one each; no noise by default."""
    said = CERTAIN | given
    return {name: np.broadcast_to(np.asarray(v, float), (Annotation.PARAMETERS[name],)) for name, v in said.items()}


def annotated(emotion: np.ndarray, how: dict[str, np.ndarray], seed: int = 1) -> np.ndarray:
    """(S, T, 25) of D_emotion to attributes, as in a stream of S listeners."""
    annotation = Annotation(how, sample_rngs(seed, len(emotion), purpose=5))
    return np.stack([annotation.step(emotion[:, t]) for t in range(emotion.shape[1])], axis=1)


def calm(listeners: int, frames: int) -> np.ndarray:
    """(S, T, 25) of a constant D_emotion with all expressions equally likely."""
    return np.zeros((listeners, frames, 25), np.float32)


def decoded(
    listeners: int = 60, frames: int = 750, seed: int = 0, circumplex: np.ndarray | None = None, strong: float = 0.2
) -> np.ndarray:
    """(S, T, 25) plausible outputs of D_emotion: affect varies as much as the noise, units' log odds faster.

    With a circumplex (8, 2) valence and arousal wander about those of the expressions, else about 0. strong: how far
    the logits of expressions wander.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / 25.0

    def waves(channels: int, low: float, high: float, size: float) -> np.ndarray:
        shape = (listeners, 1, channels)
        parts = (
            rng.normal(size=shape) * np.sin(2 * np.pi * rng.uniform(low, high, shape) * t + rng.uniform(0, 6.3, shape))
            for _ in range(3)
        )
        return size * sum(parts)  # type: ignore[return-value]

    units = waves(UNITS, 0.05, 1.5, 1.0) + 0.3 * rng.standard_normal((listeners, frames, UNITS))
    affect, expressions = waves(2, 0.02, 0.2, 0.1), waves(8, 0.02, 0.2, strong)
    if circumplex is not None:
        affect = affect + softmax(expressions, axis=-1) @ circumplex
    return np.concatenate([units, affect, expressions], axis=-1).astype(np.float32)


def followed(x: np.ndarray) -> np.ndarray:
    """(S, T, channels): of each change the share that is followed grows with its square, from 0.15 to all of it."""
    out = x.astype(float)
    for t in range(1, x.shape[1]):
        for place in np.ndindex(x.shape[0], x.shape[2]):
            before = out[place[0], t - 1, place[1]]
            change = float(x[place[0], t, place[1]]) - before
            out[place[0], t, place[1]] = before + min(0.15 + 4.0 * change * change, 1.0) * change
    return out


def test_a_unit_changes_only_when_the_odds_against_it_pass_its_margin() -> None:
    odds = [0.5, -0.5, -0.99, -1.01, -0.1, 0.99, 1.01, 0.0, -1.2]
    emotion = calm(1, len(odds))
    emotion[0, :, 0] = odds
    emotion[0, :, 1] = np.negative(odds)
    there = annotated(emotion, parameters(margin=1.0))[0]
    assert there[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 0]
    assert there[:, 1].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1]


def test_without_a_margin_a_unit_occurs_where_it_is_more_likely_than_not() -> None:
    emotion = decoded(5, 200)
    np.testing.assert_array_equal(annotated(emotion, parameters(margin=0.0))[..., AU], emotion[..., AU] > 0.0)


def test_each_unit_has_a_margin_of_its_own() -> None:
    margin = np.linspace(0.0, 2.8, UNITS)
    emotion = calm(1, 2)
    emotion[0, 0, AU], emotion[0, 1, AU] = 5.0, -1.5
    assert annotated(emotion, parameters(margin=margin))[0, 1, AU].tolist() == (margin >= 1.5).tolist()


def test_without_noise_a_steady_face_keeps_its_likelihoods() -> None:
    emotion = 2.0 * decoded(3, 100, circumplex=CIRCUMPLEX_8)
    emotion += 0.1 * np.random.default_rng(1).standard_normal(emotion.shape).astype(np.float32)
    out = annotated(emotion, parameters(circumplex=CIRCUMPLEX_8.ravel()))
    steady = followed(emotion[..., CHANNELS])
    np.testing.assert_allclose(out[..., EXPRESSIONS], softmax(steady[..., 2:], axis=-1), atol=1e-6)
    np.testing.assert_allclose(out[..., VA], steady[..., :2].clip(-1, 1), atol=1e-6)


def test_jitter_at_rest_is_smoothed_and_large_changes_are_followed_at_once() -> None:
    emotion = calm(1, 150)
    trembling = 0.05 * (-1.0) ** np.arange(100)
    emotion[0, :100, VA] = trembling[:, None]
    emotion[0, 100:, VA] = 0.6
    out = annotated(emotion, parameters())[0][..., VA]
    assert np.abs(out[40:100]).max() < 0.006, "a tenth of it"
    np.testing.assert_allclose(out[100:], 0.6, atol=1e-6, err_msg="on the very frame")


def test_a_small_lasting_change_is_followed() -> None:
    emotion = calm(1, 60)
    emotion[0, 10:, VA] = 0.1
    out = annotated(emotion, parameters())[0][:, VA.start]
    assert not out[:10].any() and 0.015 < out[10] < 0.025
    assert (np.diff(out[9:]) >= 0.0).all() and out[-1] == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("doubt", [0.0, 0.4])
def test_valence_and_arousal_follow_from_the_noisy_expressions(doubt: float) -> None:
    """With and without noise; the part beyond the expressions has its own weight for each."""
    each = np.repeat([0.0, doubt], [2, 8])
    emotion = decoded(4, 60, circumplex=CIRCUMPLEX_8)
    beyond = followed(emotion[..., CHANNELS])
    beyond = beyond[..., :2] - softmax(beyond[..., 2:], axis=-1) @ CIRCUMPLEX_8
    for believed in ([0.0, 0.0], [0.3, 0.8]):
        how = parameters(circumplex=CIRCUMPLEX_8.ravel(), beyond=believed, slow=each, flicker=each / 2)
        out = annotated(emotion, how).astype(float)
        expected = out[..., EXPRESSIONS] @ CIRCUMPLEX_8 + believed * beyond
        np.testing.assert_allclose(out[..., VA], expected.clip(-1.0, 1.0), atol=1e-5)
    assert np.abs(beyond).std() > 0.02, "there is something beyond"


def correlation(pole: float, lag: int) -> float:
    """Autocorrelation of a second-order process with a double pole (Box and Jenkins 1970, by its recursion)."""
    now, later = 1.0, 2.0 * pole / (1.0 + pole**2)
    for _ in range(lag):
        now, later = later, 2.0 * pole * later - pole**2 * now
    return now


@pytest.mark.parametrize("keep", [0.9, 0.95, 0.97])
def test_slow_noise_is_stationary_from_the_first_frame_on(keep: float) -> None:
    slow, flicker = 0.15, 0.06
    out = annotated(calm(3000, 90), parameters(slow=slow, persistence=keep, flicker=flicker))[..., VA].astype(float)
    assert abs(out.mean()) < 0.005
    for t in (0, 1, 10, 20, 30, 45, 89):
        assert out[:, t].std() == pytest.approx(np.hypot(slow, flicker), rel=0.04), f"frame {t}"
    for lag in (1, 10, 25, 50):
        shared = np.mean(out[:, lag:] * out[:, :-lag])
        assert shared == pytest.approx(slow**2 * correlation(keep, lag), abs=0.04 * slow**2), f"lag {lag}"
    assert abs(np.corrcoef(out[:, -1].T)[0, 1]) < 0.06, "noise of valence and arousal is independent"


@pytest.mark.parametrize("keep", [0.9, 0.97])
def test_slow_noise_is_smooth(keep: float) -> None:
    """Its differences are those of a second-order process."""
    out = annotated(calm(3000, 60), parameters(slow=0.15, persistence=keep))[..., VA].astype(float)
    for t in (0, 10, 50):
        change = (out[:, t + 1] - out[:, t]).std()
        assert change == pytest.approx(0.15 * np.sqrt(2.0 * (1.0 - correlation(keep, 1))), rel=0.04), f"frame {t}"


def test_noise_differs_between_listeners_and_seeds() -> None:
    how = parameters(slow=0.1, flicker=0.05)
    few, many = annotated(calm(2, 50), how, seed=4), annotated(calm(6, 50), how, seed=4)
    np.testing.assert_array_equal(few, many[:2])
    assert not np.array_equal(many[0], many[1])
    assert not np.array_equal(few, annotated(calm(2, 50), how, seed=5))


@pytest.mark.parametrize("size", [0.0, 1.0, 50.0, 1e4])
def test_attributes_are_in_their_ranges_for_any_decoded_values(size: float) -> None:
    rng = np.random.default_rng(2)
    emotion = (size * rng.standard_normal((4, 100, 25))).astype(np.float32)
    out = annotated(emotion, parameters(margin=0.5, slow=0.5, flicker=0.3, circumplex=CIRCUMPLEX_8.ravel(), beyond=0.5))
    assert out.dtype == np.float32 and np.isfinite(out).all()
    assert np.isin(out[..., AU], (0.0, 1.0)).all()
    assert np.abs(out[..., VA]).max() <= 1.0
    assert out[..., EXPRESSIONS].min() >= 0.0
    np.testing.assert_allclose(out[..., EXPRESSIONS].sum(-1), 1.0, atol=1e-6)


# Measuring it -------------------------------------------------------------------------------------------------------


def test_margins_are_recovered_exactly() -> None:
    margin = np.tile([0.0, 0.25, 0.5, 1.0, 1.75], 3)
    emotion = decoded()
    found = fit(emotion, annotated(emotion, parameters(margin=margin)))
    np.testing.assert_array_equal(found["margin"], margin)


@pytest.mark.parametrize("believed", [(0.0, 0.0), (0.3, 0.8), (1.0, 1.0)])
def test_the_circumplex_and_the_weight_beyond_it_are_recovered(
    believed: tuple[float, float],
) -> None:
    emotion = decoded(circumplex=CIRCUMPLEX_8, strong=1.0)
    truth = parameters(
        circumplex=CIRCUMPLEX_8.ravel(), beyond=believed, slow=np.repeat([0.02, 0.2], [2, 8]), flicker=0.01
    )
    found = fit(emotion, annotated(emotion, truth))
    np.testing.assert_allclose(found["circumplex"].reshape(8, 2), CIRCUMPLEX_8, atol=0.1)
    np.testing.assert_allclose(found["beyond"], believed, atol=0.1)


def test_without_anything_beyond_the_circumplex_is_recovered_exactly() -> None:
    emotion = decoded(20, 300)
    truth = parameters(circumplex=CIRCUMPLEX_8.ravel(), beyond=0.0, slow=np.repeat([0.0, 0.2], [2, 8]))
    found = fit(emotion, annotated(emotion, truth))
    np.testing.assert_allclose(found["circumplex"].reshape(8, 2), CIRCUMPLEX_8, atol=1e-4)


@pytest.mark.parametrize(("slow", "persistence", "flicker"), [(0.2, 0.97, 0.05), (0.3, 0.95, 0.1), (0.2, 0.93, 0.1)])
def test_noise_is_recovered_from_faces_that_were_annotated_with_it(
    slow: float, persistence: float, flicker: float
) -> None:
    """From 90 minutes. White noise is found well, slow noise roughly, since decoded faces change slowly as well."""
    emotion = decoded(180, circumplex=CIRCUMPLEX_8)
    size = np.array([0.5] * 2 + [1.0] * 8)
    truth = parameters(slow=slow * size, persistence=persistence, flicker=flicker * size,
                       circumplex=CIRCUMPLEX_8.ravel())  # fmt: skip
    found = fit(emotion, annotated(emotion, truth))
    assert {name: len(x) for name, x in found.items()} == dict(Annotation.PARAMETERS)
    np.testing.assert_allclose(found["flicker"], truth["flicker"], rtol=0.05)
    np.testing.assert_allclose(found["slow"], truth["slow"], rtol=0.25)
    assert np.median(found["slow"] / truth["slow"]) == pytest.approx(1.0, abs=0.15)
    assert np.median(found["persistence"]) == pytest.approx(persistence, abs=0.01)
    np.testing.assert_allclose(found["persistence"], persistence, atol=0.015)


def test_a_face_without_noise_is_found_to_have_almost_none() -> None:
    emotion = decoded()
    found = fit(emotion, annotated(emotion, parameters()))
    assert found["flicker"].max() < 1e-3 and found["slow"].max() < 0.03


def test_a_decoded_face_with_more_jitter_than_real_ones_gets_no_white_noise() -> None:
    """Noise that decoded faces already have is not added again."""
    real, rough = decoded(), decoded()
    rough += 0.3 * np.random.default_rng(3).standard_normal(rough.shape).astype(np.float32)
    once = parameters(flicker=0.1)
    found = fit(rough, annotated(real, once))
    assert found["flicker"][2:].max() == 0.0
    assert (found["beyond"] < 0.3).all(), "so rough an affect is hardly believed, and flickers on its own"
    again, was = (np.diff(x[..., VA], n=3, axis=1).std() for x in (annotated(rough, found), annotated(real, once)))
    assert again == pytest.approx(was, rel=0.15)


def test_annotating_with_the_recovered_parameters_gives_the_same_statistics() -> None:
    emotion = decoded()
    truth = parameters(margin=0.5, slow=0.2, persistence=0.97, flicker=0.05)
    once = annotated(emotion, truth)
    again = annotated(emotion, fit(emotion, once), seed=9)
    for lag, tolerance in ((1, 0.2), (25, 0.15), (50, 0.15)):
        for part in (VA, EXPRESSIONS):
            was, now = (np.std(x[:, lag:, part] - x[:, :-lag, part]) for x in (once, again))
            assert now == pytest.approx(was, rel=tolerance), f"over {lag} frames"
    switches = [(np.diff(x[..., AU], axis=1) != 0.0).sum() for x in (once, again)]
    assert switches[0] == switches[1]


def test_white_noise_is_separated_from_fast_slow_noise() -> None:
    emotion = decoded()
    for persistence in (0.9, 0.95, 0.97):
        truth = parameters(slow=0.2, persistence=persistence, flicker=0.05)
        found = fit(emotion, annotated(emotion, truth))
        assert np.median(found["flicker"]) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("deviation", [0.0, 0.03, 0.1, 0.5])
def test_noise_is_found_among_rare_large_changes(deviation: float) -> None:
    rng = np.random.default_rng(0)
    had = rng.standard_normal(20_000) * np.where(rng.random(20_000) < 0.2, 1.0, 0.01)
    wanted = had + deviation * rng.standard_normal(20_000)
    assert np.sqrt(_lacking(had, wanted)) == pytest.approx(deviation, rel=0.05, abs=0.004)


def test_a_wider_distribution_needs_no_noise() -> None:
    rng = np.random.default_rng(0)
    assert _lacking(0.2 * rng.standard_normal(5000), 0.1 * rng.standard_normal(5000)) == pytest.approx(0.0, abs=1e-12)


def test_clips_too_short_for_slow_noise_give_none() -> None:
    for frames in (4, 26, 50):
        emotion = decoded(5, frames)
        found = fit(emotion, annotated(emotion, parameters(slow=0.2, flicker=0.05)))
        assert all(np.isfinite(values).all() for values in found.values())
        assert not found["slow"].any()


def test_an_expression_with_probability_0_is_accepted() -> None:
    emotion = decoded(20, 200)
    emotion[..., -1] = -20.0
    found = fit(emotion, annotated(emotion, parameters(slow=0.1, flicker=0.05)))
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["flicker"][2] == pytest.approx(0.05, rel=0.3), "the others are measured as ever"
