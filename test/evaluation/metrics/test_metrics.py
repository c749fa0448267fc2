"""The challenge's metrics against closed forms, libraries, and a literal implementation of the official procedure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from official import literal_ccc, literal_correlations, literal_dtw, literal_official
from scipy.signal import lfilter
from scipy.spatial.distance import cdist
from scipy.stats import pearsonr
from torchmetrics.functional.regression import concordance_corrcoef

from react_ros.evaluation.metrics.appropriateness import concordance
from react_ros.evaluation.metrics.challenge import (
    DvsSums,
    Metrics,
    binarize,
    evaluate_arrays,
    evaluate_face_models,
    frcorr,
    frdist,
    frdiv,
    frsyn,
    frsyn_offsets,
    frvar,
)
from react_ros.evaluation.metrics.synchrony import lagged_correlations
from react_ros.face import AU

LENGTHS = (2, 3, 10, 50, 99, 100, 101, 300, 750, 751)


def reactions(seed: int, *shape: int, smooth: bool = True, binary: bool = False, channels: int = 25) -> np.ndarray:
    """(…, T, D) float32: slow noise between 0 and 1, or white; binary rounds the action units."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((*shape, channels))
    if smooth:
        noise = lfilter([0.25], [1, -0.9], noise, axis=-2) + rng.standard_normal((*shape[:-1], 1, channels))
    values = 1 / (1 + np.exp(-noise))
    if binary:
        values[..., AU] = np.round(values[..., AU])
    return values.astype(np.float32)


def groups_of(n: int, size: int) -> np.ndarray:
    """(n, n) appropriateness: clips in groups of `size` are appropriate for each other."""
    return np.arange(n)[:, None] // size == np.arange(n)[None, :] // size


def six(metrics: Metrics) -> dict[str, float | None]:
    return {name: getattr(metrics, name) for name in ("frcorr", "frdist", "frdiv", "frvar", "frdvs", "frsyn")}


@pytest.mark.parametrize("kind", ["living channels", "binary listeners", "constant channels"])
def test_the_six_official_numbers_are_those_of_the_official_procedure(kind: str) -> None:
    predictions, speakers = reactions(1, 4, 3, 120), reactions(2, 4, 120)
    listeners = reactions(3, 4, 120, binary=kind != "living channels")
    if kind == "constant channels":
        predictions[:2, :, :, 4] = 0.1
        speakers[2, 3:, 7] = 1.0  # constant for lags from 3 frames on, the other way round
        listeners[:, :, :5] = 0.0
    appropriate = groups_of(4, 2)
    expected = literal_official(predictions, speakers, listeners, appropriate)
    assert six(evaluate_arrays(predictions, speakers, listeners, appropriate)) == pytest.approx(expected, rel=1e-6)


# --- FRCorr


def torch_ccc(x: np.ndarray, y: np.ndarray) -> float:
    """Torchmetrics' CCC divides variances by n - 1, not n; scaling the difference of means compensates."""
    stretched = y + (y.mean(axis=0) - x.mean(axis=0)) * (np.sqrt(len(x) / (len(x) - 1)) - 1)
    return float(concordance_corrcoef(torch.tensor(x), torch.tensor(stretched)).mean())


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_concordance_agrees_with_torchmetrics_and_with_the_official_code(length: int, smooth: bool) -> None:
    a, b = reactions(length, 2, length, smooth=smooth), reactions(length + 1, 3, length, smooth=smooth)
    by_torch = [[torch_ccc(x.astype(np.float64), y.astype(np.float64)) for y in b] for x in a]
    np.testing.assert_allclose(concordance(a, b, "corrected"), by_torch, rtol=1e-6, atol=1e-9)
    literal = [[literal_ccc(y.astype(float), x.astype(float)) for y in b] for x in a]
    np.testing.assert_allclose(concordance(a, b, "official"), literal, rtol=1e-6, atol=1e-9)


def test_constant_channels_score_0_officially_and_are_left_out_of_the_corrected_frcorr() -> None:
    truth = reactions(4, 1, 300)
    truth[:, :, :5] = 0.0
    ten = np.repeat(truth, 10, axis=0)
    assert frcorr(ten, truth) == pytest.approx(10 * 20 / 25, rel=1e-5)
    assert frcorr(ten, truth, "corrected") == pytest.approx(10, abs=1e-12)
    # A constant at another value than the listener's is wrong in both: only equal constants are left out.
    ten[:, :, 0] = 1.0
    assert frcorr(ten, truth, "corrected") == pytest.approx(10 * 20 / 21, abs=1e-12)


def test_the_corrected_frcorr_and_frdist_do_not_depend_on_the_number_of_samples() -> None:
    listeners, one = reactions(5, 3, 60, binary=True), reactions(6, 1, 60)
    three = np.repeat(one, 3, axis=0)
    for score in (frcorr, frdist):
        assert score(three, listeners, "corrected") == pytest.approx(score(one, listeners, "corrected"))
        assert score(three, listeners) == pytest.approx(3 * score(one, listeners))
        assert score(np.repeat(one, 10, axis=0), listeners) == pytest.approx(score(one, listeners, "corrected"))


def test_many_listeners_score_as_the_best_of_them() -> None:
    predictions, listeners = reactions(7, 2, 30), reactions(8, 300, 30)
    best = concordance(predictions, listeners, "official").max(axis=1)
    assert frcorr(predictions, listeners) == pytest.approx(best.sum(), rel=1e-12)


def test_listeners_of_other_lengths_are_compared_with_crop() -> None:
    predictions, short, long = reactions(9, 2, 60), reactions(10, 40), reactions(11, 90)
    expected = np.maximum(
        concordance(predictions[:, :40], short[None], "official"), concordance(predictions, long[None, :60], "official")
    )
    assert frcorr(predictions, [long, short], crop=True) == pytest.approx(expected.sum(), rel=1e-12)
    nearest = sum(min(literal_dtw(x, y) for y in (short, long)) for x in predictions)
    assert frdist(predictions, [long, short]) == pytest.approx(nearest, rel=1e-6)
    with pytest.raises(ValueError, match="predictions have 60 frames and a listener 40: set crop"):
        frcorr(predictions, [long, short])


# --- FRSyn


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_lagged_correlations_agree_with_numpy_and_scipy(length: int, smooth: bool) -> None:
    longest = min(49, length - 2)
    x = reactions(length, 2, length, smooth=smooth, channels=4).astype(np.float64)
    y = reactions(length + 1, length, smooth=smooth, channels=4).astype(np.float64)
    ours = lagged_correlations(x, y)
    assert ours.shape == (2, 2 * longest + 1, 4)
    for p in range(2):
        np.testing.assert_allclose(ours[p], literal_correlations(x[p], y, longest), rtol=1e-6, atol=1e-6)
    if length > 2:
        assert ours[0, longest + 1, 2] == pytest.approx(pearsonr(x[0, 1:, 2], y[:-1, 2])[0], abs=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-4])
def test_correlations_of_nearly_constant_segments_are_exact(offset: float, size: float) -> None:
    rng = np.random.default_rng(12)
    y = (offset + size * rng.standard_normal((150, 3))).astype(np.float32)
    y[:60] += 1e4 * rng.standard_normal((60, 3)).astype(np.float32)  # what a running sum would not forget
    x = (offset + size * rng.standard_normal((1, 150, 3))).astype(np.float32)
    literal = literal_correlations(x[0].astype(float), y.astype(float), 49)
    np.testing.assert_allclose(lagged_correlations(x, y)[0], literal, rtol=1e-6, atol=1e-6)
    swapped = literal_correlations(y.astype(float), x[0].astype(float), 49)
    np.testing.assert_allclose(lagged_correlations(y[None], x[0])[0], swapped, rtol=1e-6, atol=1e-6)


def test_a_segment_is_constant_exactly_where_numpy_finds_no_correlation() -> None:
    x, y = reactions(13, 1, 130, channels=6), reactions(14, 130, channels=6)
    x[0, 20:, 0] = 0.1
    x[0, :100, 1] = 1 / 3
    y[7:, 2] = 0.7
    y[:81, 3] = 0.0
    x[0, :, 4] = 0.9
    x[0, :, 5] = 1e-7
    ours, literal = lagged_correlations(x, y)[0], literal_correlations(x[0], y, 49)
    assert (np.isnan(ours) == np.isnan(literal)).all()
    assert np.isnan(ours).any(axis=0).tolist() == [True, True, True, True, True, True]
    assert not np.isnan(ours[:, :4]).all(axis=0).any()


@pytest.mark.parametrize("mode", ["official", "corrected"])
def test_a_delayed_copy_of_the_speaker_has_its_delay_as_offset(mode) -> None:
    speaker = reactions(15, 800)
    for frames in (0, 1, 12, 49):
        echo = speaker[None, 49 - frames : 799 - frames]
        assert frsyn_offsets(echo, speaker[49:799], mode).tolist() == [-frames]
    early = speaker[None, 12:762]
    assert frsyn_offsets(early, speaker[:750], mode).tolist() == [12]


def test_one_constant_channel_decides_the_official_offset_and_is_left_out_of_the_corrected_one() -> None:
    speaker = reactions(16, 762)
    echo, speaker = speaker[None, :750].copy(), speaker[12:]
    echo[0, :, 3] = 0.25
    # An echo that comes early: the official answer would be the same for any reaction.
    assert frsyn_offsets(np.roll(echo, 5, axis=1), speaker).tolist() == [49]
    assert frsyn_offsets(echo, speaker, "corrected").tolist() == [-12]


def test_a_channel_that_becomes_constant_decides_the_official_lag() -> None:
    speaker, prediction = reactions(17, 750), reactions(18, 1, 750)
    prediction[0, 3:, 8] = 0.0
    assert frsyn_offsets(prediction, speaker).tolist() == [-3]
    literal = literal_correlations(prediction[0], speaker, 49).mean(axis=1)
    assert int(np.argmax(literal)) - 49 == 3


def test_a_reaction_without_any_motion_has_no_corrected_offset() -> None:
    predictions = np.stack([np.full((100, 25), 0.5, np.float32), reactions(19, 100)])
    offsets = frsyn_offsets(predictions, predictions[1], "corrected")
    assert np.isnan(offsets[0]) and offsets[1] == 0
    assert frsyn(offsets, "corrected") == 0.0
    assert frsyn(offsets[:1], "corrected") is None
    assert frsyn(frsyn_offsets(predictions, predictions[1])) == 49.0


def test_of_equally_good_lags_the_one_nearest_to_0_is_the_corrected_one() -> None:
    wave = np.sin(2 * np.pi * np.arange(750) / 25)[:, None].astype(np.float32)  # alike every 25 frames
    assert frsyn_offsets(wave[None], wave, "corrected").tolist() == [0]


# --- diversity


def test_diversity_is_the_pairwise_formula_to_1e_9() -> None:
    clips = reactions(20, 6, 4, 50)
    flat = clips.reshape(6, 4, -1).astype(np.float64)
    across = [cdist(flat[:, p], flat[:, p], "sqeuclidean").sum() / (6 * 5) for p in range(4)]
    sums = DvsSums()
    for clip, x in zip(clips, flat, strict=True):
        sums.add(clip)
        assert frdiv(clip) == pytest.approx(cdist(x, x, "sqeuclidean").sum() / (4 * 3 * 50 * 25), rel=1e-9)
        assert frvar(clip) == pytest.approx(float(torch.var(torch.tensor(clip).double(), dim=1).mean()), rel=1e-9)
    assert sums.value() == pytest.approx(np.mean(across) / (50 * 25), rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_merged_sums_are_those_of_all_clips_and_the_same_blocks_give_the_same_bits(offset: float) -> None:
    clips = reactions(21, 23, 3, 20) + np.float32(offset)
    blocks = []
    for k in range(0, 23, 5):
        block = DvsSums()
        for clip in clips[k : k + 5]:
            block.add(clip)
        blocks.append(block)
    whole = DvsSums()
    for clip in clips:
        whole.add(clip)
    stored = [
        DvsSums.from_arrays(b.to_arrays()) for b in reversed([DvsSums.from_arrays(b.to_arrays()) for b in blocks])
    ]
    merged, again = DvsSums.merge([DvsSums(), *blocks]).value(), DvsSums.merge(reversed(stored)).value()
    assert merged == again
    assert merged == pytest.approx(whole.value(), rel=1e-9)
    flat = clips.reshape(23, 3, -1).astype(np.float64)
    pairwise = np.mean([cdist(flat[:, p], flat[:, p], "sqeuclidean").sum() for p in range(3)]) / (23 * 22 * 20 * 25)
    assert merged == pytest.approx(pairwise, rel=1e-9)


def test_a_single_sample_has_no_diversity_and_a_single_clip_no_frdvs() -> None:
    clip = reactions(22, 1, 30)
    sums = DvsSums()
    assert sums.value() is None
    sums.add(clip)
    assert frdiv(clip) == 0.0
    assert sums.value() is None
    with pytest.raises(ValueError, match=r"\(1, 29, 25\) and \(1, 30, 25\)"):
        sums.add(clip[:, :29])


# --- what every evaluation must give


def test_uniform_noise_scores_the_closed_forms() -> None:
    rng = np.random.default_rng(23)
    n, p, t = 12, 10, 750
    predictions = rng.random((n, p, t, 25), dtype=np.float32)
    speakers = rng.random((n, t, 25), dtype=np.float32)
    scores = evaluate_arrays(predictions, speakers, speakers, np.eye(n, dtype=bool))
    assert scores.frvar == pytest.approx(1 / 12, rel=2e-3)
    assert scores.frdiv == pytest.approx(1 / 6, rel=2e-3)
    assert scores.frdvs == pytest.approx(1 / 6, rel=2e-3)


def test_uniform_noise_scores_the_frcorr_that_chance_gives() -> None:
    rng = np.random.default_rng(24)
    predictions, listeners = rng.random((2000, 100, 25)), rng.random((2000, 2, 100, 25))
    scores = [10 * frcorr(p[None], k) for p, k in zip(predictions, listeners, strict=True)]
    # The greater of two means of 25 correlations, each normal about 0 with variance 1/100: 1/sqrt(pi) of a deviation.
    assert np.mean(scores) == pytest.approx(10 / np.sqrt(np.pi * 25 * 100), rel=0.08)


def test_the_ground_truth_is_perfect_but_for_the_official_constant_channels() -> None:
    listeners, speakers = reactions(25, 3, 200), reactions(26, 3, 200)
    truth = np.repeat(listeners[:, None], 10, axis=1)
    scores = evaluate_arrays(truth, speakers, listeners, groups_of(3, 3))
    assert (scores.frdist, scores.frdiv) == (0.0, 0.0)
    assert scores.frcorr == pytest.approx(10, abs=1e-4)  # the official denominator's 1e-8
    listeners[:, :, :3] = 0.0
    truth[:, :, :, :3] = 0.0
    assert evaluate_arrays(truth, speakers, listeners, groups_of(3, 3)).frcorr == pytest.approx(8.8, abs=1e-4)
    assert evaluate_arrays(truth, speakers, listeners, groups_of(3, 3), "corrected").frcorr == pytest.approx(
        10, abs=1e-12
    )


def test_a_face_that_never_moves_scores_0_and_an_official_frsyn_of_49() -> None:
    listeners, speakers = reactions(27, 3, 200), reactions(28, 3, 200)
    still = np.broadcast_to(listeners.mean(axis=(0, 1)), (3, 10, 200, 25)).astype(np.float32)
    official = evaluate_arrays(still, speakers, listeners, groups_of(3, 3))
    assert (official.frcorr, official.frsyn) == (0.0, 49.0)
    assert (official.frdiv, official.frvar, official.frdvs) == (0.0, 0.0, 0.0)
    corrected = evaluate_arrays(still, speakers, listeners, groups_of(3, 3), "corrected")
    assert corrected.frsyn is None and corrected.without_offset == 30


def test_a_mime_is_in_step_with_its_speaker_and_binarized_it_is_49_officially() -> None:
    speakers, listeners = reactions(29, 3, 300), reactions(30, 3, 300)
    speakers[:, :, 0] *= 0.4  # never reaches a half: a constant once rounded
    mime = np.repeat(speakers[:, None], 2, axis=1)
    assert evaluate_arrays(mime, speakers, listeners, np.eye(3, dtype=bool)).frsyn == 0.0
    rounded = evaluate_arrays(mime, speakers, listeners, np.eye(3, dtype=bool), binarize_units=True)
    assert rounded.frsyn == 49.0
    corrected = evaluate_arrays(mime, speakers, listeners, np.eye(3, dtype=bool), "corrected", binarize_units=True)
    assert corrected.frsyn == 0.0


def test_binarizing_rounds_the_action_units_half_to_even_and_nothing_else() -> None:
    values = np.linspace(-0.5, 2.5, 25).astype(np.float32)[None]
    values[0, 3] = 0.5
    out = binarize(values)
    np.testing.assert_array_equal(out[:, AU], torch.round(torch.tensor(values[:, AU])).numpy())
    np.testing.assert_array_equal(out[:, 15:], values[:, 15:])
    assert values[0, 3] == 0.5


def test_reactface_scores_the_same_formulas_on_58_coefficients() -> None:
    predictions, speakers = 3 * reactions(31, 4, 3, 120, channels=58), reactions(32, 4, 120, channels=58)
    scores = evaluate_face_models(predictions, speakers)
    flat = predictions.reshape(4, 3, -1).astype(np.float64)
    across = np.mean([cdist(flat[:, p], flat[:, p], "sqeuclidean").sum() for p in range(3)]) / (4 * 3 * 120 * 58)
    within = np.mean([cdist(x, x, "sqeuclidean").sum() for x in flat]) / (3 * 2 * 120 * 58)
    assert (scores.divc, scores.smse) == pytest.approx((across, within), rel=1e-9)
    assert scores.divf == pytest.approx(float(torch.var(torch.tensor(predictions).double(), dim=2).mean()), rel=1e-9)
    lags = [
        np.argmax(literal_correlations(x[0], y, 49).mean(axis=1)) - 49
        for x, y in zip(predictions, speakers, strict=True)
    ]
    assert scores.tlcc == pytest.approx(np.abs(lags).mean())


def test_the_old_name_of_the_corrected_mode_is_understood_with_a_notice(caplog: pytest.LogCaptureFixture) -> None:
    old: Any = "sound"
    assert evaluate_arrays(**a_set(), mode=old).mode == "corrected"
    assert "the metric mode sound is called corrected now" in caplog.text
    unknown: Any = "best"
    with pytest.raises(ValueError, match="mode is 'best': it must be official or corrected"):
        evaluate_arrays(**a_set(), mode=unknown)


def a_set() -> dict[str, Any]:
    return {
        "predictions": reactions(33, 3, 2, 20), "speakers": reactions(34, 3, 20), "listeners": reactions(35, 3, 20),
        "appropriate": np.eye(3, dtype=bool),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("array", "place", "value", "said"),
    [
        ("predictions", (1, 1, 7, 11), np.nan, r"clip 1 \(b\), prediction 1: AU23 is nan in frame 7"),
        ("speakers", (2, 3, 15), np.inf, r"clip 2 \(c\), speaker: valence is inf in frame 3"),
        ("listeners", (0, 0, 24), np.nan, r"clip 0 \(a\), listener: contempt is nan in frame 0"),
        ("appropriate", (1, 1), False, r"clip 1 \(b\) has no appropriate listener: its row of the matrix is empty"),
    ],
)
def test_values_that_are_not_finite_and_empty_rows_are_named(array: str, place: tuple, value: float, said: str) -> None:
    arrays = a_set()
    arrays[array][place] = value
    with pytest.raises(ValueError, match=said):
        evaluate_arrays(**arrays, names=["a", "b", "c"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {"appropriate": np.eye(4, dtype=bool)}, r"matrix is \(4, 4\) for 3 clips: it must be \(3, 3\)"),
        (lambda s: {"speakers": s["speakers"][:2]}, "predictions for 3 clips but 2 speakers"),
        (lambda s: {"speakers": s["speakers"][:, :19]}, "predictions have 20 frames but speakers 19"),
        (lambda s: {"listeners": s["listeners"][:, :19]}, r"listeners must be \(N, T, 25\).*not \(3, 19, 25\)"),
        (lambda s: {"predictions": s["predictions"][..., :24]}, r"predictions must be \(N, P, T, 25\).*24\)"),
        (lambda s: {"predictions": s["predictions"][:, 0]}, r"predictions must be \(N, P, T, 25\)"),
        (lambda s: {k: s[k][..., :1, :] for k in ("predictions", "speakers")}, "at least 2 frames"),
        (lambda s: {"names": ["a"]}, "1 names for 3 clips"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused_in_one_sentence(change, said: str) -> None:
    arrays = a_set()
    with pytest.raises(ValueError, match=said) as error:
        evaluate_arrays(**(arrays | change(arrays)))
    assert "\n" not in str(error.value)
