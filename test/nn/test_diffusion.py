"""Diffusion: oracles are the diffusers library's DDIMScheduler, and Gaussians in closed form."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn

from react_ros.nn.diffusion import Diffusion, DiffusionConfig, alpha_bars

EVERY = [(schedule, prediction) for schedule in ("cosine", "linear") for prediction in ("x0", "epsilon")]
every_process = pytest.mark.parametrize(("schedule", "prediction"), EVERY)


def process(steps: int, schedule: str, prediction: str) -> Diffusion:
    return Diffusion(DiffusionConfig(steps, schedule, prediction))  # type: ignore[arg-type]


def theirs(steps: int, schedule: str, prediction: str, **options: Any) -> DDIMScheduler:
    """diffusers' scheduler of the same process; the linear one always has Ho et al.'s 1000 levels."""
    given: dict[str, Any] = {
        "num_train_timesteps": steps if schedule == "cosine" else 1000,
        "beta_schedule": {"cosine": "squaredcos_cap_v2", "linear": "linear"}[schedule],
        "beta_start": 1e-4, "beta_end": 0.02,
        "prediction_type": {"x0": "sample", "epsilon": "epsilon"}[prediction],
        "timestep_spacing": "trailing", "set_alpha_to_one": True, "clip_sample": False,
    }  # fmt: skip
    return DDIMScheduler(**{**given, **options})


class Denoiser(nn.Module):
    """A smooth, nonlinear function of x_t and the level; our levels and diffusers' timesteps are equal."""

    def __init__(self, levels_a_step: int = 1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(6, 6, generator=generator) / 3.0
        self.levels_a_step = levels_a_step

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        mine = (level + 1) / self.levels_a_step - 1
        return torch.tanh(x @ self.weight + 0.1 * mine[:, None, None])


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def their_sample(
    scheduler: DDIMScheduler, network: Any, noise: Tensor, steps: int, eta: float, fresh: Tensor | None, **options: Any
) -> Tensor:
    scheduler.set_timesteps(steps)
    x = noise
    for i, t in enumerate(scheduler.timesteps):
        level = torch.full((len(x),), int(t))
        options["variance_noise"] = None if fresh is None else fresh[i]
        x = scheduler.step(network(x, level), int(t), x, eta=eta, return_dict=False, **options)[0]
    return x


@every_process
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("levels", "steps"), [(10, 10), (10, 1), (10, 2), (20, 20), (20, 5), (1000, 25)])
def test_samples_equal_those_of_diffusers_ddim(
    schedule: str, prediction: str, eta: float, levels: int, steps: int
) -> None:
    # Their spacing "trailing", where steps divide levels: elsewhere they step to other levels than they go on from.
    noise, fresh = normal(5, 4, 6), normal(steps, 5, 4, 6, seed=2) if eta else None
    scheduler = theirs(levels, schedule, prediction)
    ratio = scheduler.config["num_train_timesteps"] // levels
    expected = their_sample(scheduler, Denoiser(ratio), noise, steps, eta, fresh)
    got = process(levels, schedule, prediction).sample(Denoiser(), noise, steps=steps, eta=eta, fresh=fresh)
    scale = expected.abs().max().item()  # with epsilon the last level's noise is divided by a hundredth and less
    torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=2e-5)


@every_process
def test_clipped_samples_equal_those_of_diffusers(schedule: str, prediction: str) -> None:
    noise = normal(5, 4, 6)
    scheduler = theirs(20, schedule, prediction, clip_sample=True, clip_sample_range=0.5)
    ratio = scheduler.config["num_train_timesteps"] // 20
    expected = their_sample(scheduler, Denoiser(ratio), noise, 20, 0.0, None, use_clipped_model_output=True)
    got = process(20, schedule, prediction).sample(Denoiser(), noise, clip=0.5)
    assert got.abs().max() <= 0.5
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


@every_process
def test_noise_is_added_as_in_diffusers_and_removed_exactly(schedule: str, prediction: str) -> None:
    scheduler = theirs(10, schedule, prediction)
    x0, noise, level = normal(10, 4, 6), normal(10, 4, 6, seed=2), torch.arange(10)
    diffusion = process(10, schedule, prediction)
    x_t = diffusion.noisy(x0, noise, level)
    ratio = scheduler.config["num_train_timesteps"] // 10
    their = scheduler.add_noise(x0, noise, ((level + 1) * ratio - 1).to(torch.int32))  # type: ignore[arg-type]
    torch.testing.assert_close(x_t, their, rtol=0, atol=1e-5)
    recovered = diffusion.clean(x_t, diffusion.target(x0, noise), level)
    torch.testing.assert_close(recovered, x0, rtol=0, atol=2e-4)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [1, 2, 7, 10, 20, 1000])
def test_levels_fall_from_data_to_noise(schedule: str, steps: int) -> None:
    a = np.array(alpha_bars(steps, schedule))
    assert len(a) == steps and a[-1] > 0.0 and (np.diff(a) < 0.0).all()
    assert a[-1] < 1.1e-3 and a[0] < 1.0


@every_process
def test_guidance_1_is_the_conditional_prediction_and_more_extrapolates(schedule: str, prediction: str) -> None:
    diffusion, noise = process(10, schedule, prediction), normal(3, 4, 6)
    with_condition, without = Denoiser(), lambda x, level: 0.5 * Denoiser()(x, level)

    def doubled(x: Tensor, level: Tensor) -> Tensor:
        assert len(x) == len(level) == 6
        return torch.cat([with_condition(x[:3], level[:3]), without(x[3:], level[3:])])

    def by_hand(x: Tensor, level: Tensor) -> Tensor:  # Ho and Salimans 2021, w = 1.5: (1 + w) conditional - w not
        return 2.5 * with_condition(x, level) - 1.5 * without(x, level)

    guided = diffusion.sample(doubled, noise, guidance=2.5)
    expected = diffusion.sample(by_hand, noise)
    torch.testing.assert_close(guided, expected, rtol=1e-4, atol=1e-4)
    alone = diffusion.sample(with_condition, noise)
    torch.testing.assert_close(diffusion.sample(doubled, noise, guidance=1.0 + 1e-12), alone, rtol=1e-3, atol=1e-3)
    assert (guided - alone).abs().max() > 0.01


@every_process
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_exact_denoiser_of_gaussian_data_samples_its_mean_and_variance(
    schedule: str, prediction: str, eta: float
) -> None:
    """For x_0 ~ N(m, v) the optimal denoiser is linear, and many small steps sample N(m, v)."""
    mean, variance, steps = 0.7, 0.25, 1000
    diffusion = process(steps, schedule, prediction)

    def best(x: Tensor, level: Tensor) -> Tensor:
        a = diffusion.alpha_bar[level][:, None].double()
        spread = a * variance + 1.0 - a
        x0 = mean + a.sqrt() * variance / spread * (x - a.sqrt() * mean)
        return x0 if prediction == "x0" else (x - a.sqrt() * x0) / (1.0 - a).sqrt()

    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 20_000, generator=generator, dtype=torch.float64)
    if not eta:
        x = diffusion.sample(best, noise)
        # The map is affine, so the noise's own mean and deviation are known to have gone through it.
        assert x.std().item() / noise.std().item() == pytest.approx(variance**0.5, rel=5e-3)
        assert x.mean().item() == pytest.approx(mean + noise.mean().item() * variance**0.5, abs=5e-3)
        return
    fresh = torch.randn(steps, 1, 20_000, generator=generator, dtype=torch.float64)
    x = diffusion.sample(best, noise, eta=eta, fresh=fresh)
    assert x.std().item() == pytest.approx(variance**0.5, rel=0.02)
    assert x.mean().item() == pytest.approx(mean, abs=0.015)


@every_process
@pytest.mark.parametrize(("levels", "steps"), [(10, 3), (10, 7), (20, 9)])
def test_steps_that_do_not_divide_the_levels_use_the_levels_of_diffusers(
    schedule: str, prediction: str, levels: int, steps: int
) -> None:
    """For x_0 ~ N(0, v) each exact DDIM step is a multiplication by a known factor."""
    scheduler = theirs(levels, "cosine", prediction)
    scheduler.set_timesteps(steps)
    chosen = [int(t) for t in scheduler.timesteps]
    a = [*np.array(alpha_bars(levels, schedule))[chosen], 1.0]
    variance, expected = 0.25, 1.0
    for now, after in itertools.pairwise(a):
        x0 = now**0.5 * variance / (now * variance + 1.0 - now)
        noise = (1.0 - now**0.5 * x0) / (1.0 - now) ** 0.5
        expected *= after**0.5 * x0 + (1.0 - after) ** 0.5 * noise
    diffusion = process(levels, schedule, prediction)

    def best(x: Tensor, level: Tensor) -> Tensor:
        at = torch.tensor(alpha_bars(levels, schedule), dtype=torch.float64)[level][:, None]
        x0 = at.sqrt() * variance / (at * variance + 1.0 - at) * x
        return x0 if prediction == "x0" else (x - at.sqrt() * x0) / (1.0 - at).sqrt()

    x = diffusion.sample(best, torch.ones(1, 1, dtype=torch.float64), steps=steps)
    assert x.item() == pytest.approx(expected, rel=1e-9)


def test_more_steps_approach_the_spread_of_the_data() -> None:
    errors = []
    for steps in (5, 20, 100, 500):
        diffusion = process(steps, "cosine", "x0")

        def best(x: Tensor, level: Tensor, diffusion: Diffusion = diffusion) -> Tensor:
            a = diffusion.alpha_bar[level][:, None].double()
            return a.sqrt() * 0.25 / (a * 0.25 + 1.0 - a) * x

        x = diffusion.sample(best, torch.ones(1, 1, dtype=torch.float64))
        errors.append(abs(x.item() - 0.5))
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.005


def test_sampling_uses_no_random_numbers_of_its_own() -> None:
    diffusion, noise = process(10, "cosine", "x0"), normal(2, 4, 6)
    before = torch.random.get_rng_state()
    first = diffusion.sample(Denoiser(), noise, eta=0.5, fresh=normal(10, 2, 4, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(diffusion.sample(Denoiser(), noise, eta=0.5, fresh=normal(10, 2, 4, 6)), first)


def test_impossible_values_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="steps is 0: it must be a whole number from 1 to 1000"):
        DiffusionConfig(steps=0)
    with pytest.raises(ValueError, match="schedule is 'cosinus': it must be cosine or linear"):
        DiffusionConfig(schedule="cosinus")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prediction is 'v': it must be x0 or epsilon"):
        DiffusionConfig(prediction="v")  # type: ignore[arg-type]
    diffusion = process(10, "cosine", "x0")
    with pytest.raises(ValueError, match="steps is 11: it must be a whole number from 1 to 10"):
        diffusion.sample(Denoiser(), normal(2, 4, 6), steps=11)
    with pytest.raises(ValueError, match=r"fresh noise has the shape None: eta > 0 needs \(10, 2, 4, 6\)"):
        diffusion.sample(Denoiser(), normal(2, 4, 6), eta=0.5)
    assert not diffusion.state_dict(), "weights would carry the schedule, which the config says"
