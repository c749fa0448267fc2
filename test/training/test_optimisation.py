"""Learning-rate schedules, AdamW's parameter groups and the moving average."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from react_ros.training.config import OptimizerConfig
from react_ros.training.optimisation import MovingAverage, adamw, rate_at


@pytest.mark.parametrize("steps", [10, 37, 400])
def test_one_cycle_is_torchs(steps: int) -> None:
    config = OptimizerConfig(lr=0.01, schedule="one_cycle", warm_up=0.3)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.01)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.01, total_steps=steps, pct_start=0.3, cycle_momentum=False
    )
    for step in range(steps):
        assert rate_at(config, step, steps) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-15)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_cosine_and_constant_rise_linearly_and_fall_or_stay() -> None:
    rates = {
        s: [rate_at(OptimizerConfig(lr=1.0, schedule=s, warm_up=0.1), k, 100) for k in range(100)]
        for s in ("cosine", "constant")
    }
    for rate in rates.values():
        assert rate[:11] == pytest.approx([(k + 1) / 11 for k in range(10)] + [1.0])
    assert rates["constant"][10:] == [1.0] * 90
    assert rates["cosine"][10:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 90)) for k in range(90)])


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_have_a_rate(schedule: str, steps: int) -> None:
    for warm_up in (0.0, 0.1, 0.9):
        config = OptimizerConfig(lr=1.0, schedule=schedule, warm_up=warm_up)  # type: ignore[arg-type]
        assert all(0.0 <= rate_at(config, k, steps) <= 1.0 for k in range(steps))
        assert rate_at(config, 0, steps) > 0.0


def test_only_matrices_decay() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    module[0].requires_grad_(True)
    groups = adamw(module, OptimizerConfig(weight_decay=0.1)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.1), (3, 0.0)]


def test_the_moving_average_is_the_recursion_and_is_set_only_while_it_is_applied() -> None:
    module = nn.Linear(2, 1)
    mean = MovingAverage(module, 0.9)
    expected = module.weight.detach().clone()
    for step in range(200):
        with torch.no_grad():
            module.weight += 1.0
        mean.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    own = module.weight.detach().clone()
    with mean.applied():
        torch.testing.assert_close(module.weight.detach(), expected)
    assert torch.equal(module.weight, own)


def test_a_decay_of_0_is_the_weights_themselves() -> None:
    module = nn.Linear(2, 1)
    mean = MovingAverage(module, 0.0)
    with torch.no_grad():
        module.weight += 1.0
    own = module.weight.detach().clone()
    mean.update(0)
    with mean.applied():
        assert torch.equal(module.weight, own)
