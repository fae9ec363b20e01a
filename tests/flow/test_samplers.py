from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from selfflow_robotics.flow.path import velocity
from selfflow_robotics.flow.samplers import euler, heun, sample_released, schedule, steps_along
from selfflow_robotics.model import released

FIXTURE = Path(__file__).parents[3] / "shared/fixtures/selfflow_reference_small.safetensors"
X = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)).double()


def growth(x: Tensor, t: Tensor) -> Tensor:
    """dx/dt = (1 + t) x, so that x(0) = x(1) exp(-3/2)."""
    return (1 + t.view(-1, 1, 1)) * x


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
def test_error_falls_with_the_order_of_the_solver(
    solver: Callable[..., Tensor], order: int
) -> None:
    exact = X * math.exp(-1.5)
    errors = [
        (solver(growth, X, torch.linspace(1, 0, n + 1).double()) - exact).abs().max().item()
        for n in (32, 64)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_steps_follow_the_schedule_or_one_that_starts_lower() -> None:
    steps = steps_along(3, 5.0)
    assert [step.now for step in steps] + [steps[-1].then] == schedule(3, 5.0).tolist()
    assert sum(step.size for step in steps) == pytest.approx(1)
    lower = steps_along(2, 5.0, start=0.5)
    assert [step.now for step in lower] == [0.5 * time for time in schedule(2, 5.0)[:-1].tolist()]
    # 0.5 is a sixth of the way from data to noise where half the time is above 5/6.
    assert sum(step.size for step in lower) == pytest.approx(1 / 6)


@pytest.mark.parametrize("solver", [euler, heun])
@pytest.mark.parametrize("num_steps", [1, 2, 4])
@pytest.mark.parametrize("shift", [1.0, 6.93])
def test_straight_path_is_walked_exactly_in_few_steps(
    solver: Callable[..., Tensor], num_steps: int, shift: float
) -> None:
    clean = X.flip(0)
    out = solver(lambda x, t: velocity(clean, X), X, num_steps=num_steps, shift=shift)
    torch.testing.assert_close(out, clean, atol=1e-6, rtol=0)


def test_solvers_see_every_time_once_a_step() -> None:
    seen: list[Tensor] = []

    def watch(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t)
        return torch.zeros_like(x)

    euler(watch, X, num_steps=4)
    assert [t[0].item() for t in seen] == [1.0, 0.75, 0.5, 0.25]
    assert all(t.shape == (4,) for t in seen)
    seen.clear()
    heun(watch, X, torch.tensor([1.0, 0.5, 0.25]))
    assert [t[0].item() for t in seen] == [1.0, 0.5, 0.5, 0.25]


def test_schedule_falls_from_noise_to_data() -> None:
    times = schedule(5, shift=6.93)
    assert times[0] == 1
    assert times[-1] == 0
    assert (times.diff() < 0).all()
    torch.testing.assert_close(schedule(4), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    with pytest.raises(ValueError, match="1 to 10000 steps"):
        schedule(0)


@pytest.mark.parametrize("times", [[1.0], [0.0, 1.0], [1.0, 0.5, 0.5], [[1.0, 0.0]]])
def test_times_that_do_not_fall_are_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="one falling row"):
        euler(growth, X, torch.tensor(times))


@pytest.mark.parametrize("guided", [False, True])
def test_sde_sample_equals_the_released_code(guided: bool) -> None:
    if not FIXTURE.is_file():
        pytest.skip(f"the released code's answers are not here ({FIXTURE})")
    with safe_open(FIXTURE, "pt") as file:
        asked = file.metadata()
    tensors = load_file(FIXTURE)
    model = released.load(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")},
        input_size=8,
        hidden_size=48,
        depth=4,
        num_heads=4,
        num_classes=11,
    )
    torch.manual_seed(int(asked["sde_seed"]))
    sample = sample_released(
        model,
        tensors["sde.noise"],
        tensors["in.y"],
        num_steps=int(asked["num_steps"]),
        cfg_scale=float(asked["cfg_scale"]) if guided else 1.0,
        guidance_interval=(float(asked["guidance_low"]), float(asked["guidance_high"])),
    )
    # With guidance the released code returns 2B rows, of which the last B are the answer.
    answer = tensors["sde.sample_cfg" if guided else "sde.sample"][-len(sample) :]
    torch.testing.assert_close(sample, answer, atol=1e-4, rtol=0)


def small_model() -> released.ReleasedModel:
    torch.manual_seed(0)
    model = released.build(input_size=4, hidden_size=16, depth=1, num_heads=2, num_classes=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_a_generator_replaces_the_global_stream() -> None:
    model, noise, labels = small_model(), torch.randn(2, 4, 16), torch.tensor([0, 1])
    torch.manual_seed(5)
    expected = sample_released(model, noise, labels, num_steps=4)
    torch.manual_seed(6)
    given = torch.Generator().manual_seed(5)
    assert torch.equal(
        sample_released(model, noise, labels, num_steps=4, generator=given), expected
    )


def test_guidance_outside_its_interval_is_none_but_for_the_random_numbers() -> None:
    model, noise, labels = small_model(), torch.randn(2, 4, 16), torch.tensor([0, 1])
    torch.manual_seed(5)
    a = sample_released(
        model, noise, labels, num_steps=4, cfg_scale=3.0, guidance_interval=(2.0, 3.0)
    )
    torch.manual_seed(5)
    b = sample_released(model, noise.repeat(2, 1, 1), labels.repeat(2), num_steps=4)
    torch.testing.assert_close(a, b[2:])


def test_a_single_step_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        sample_released(small_model(), torch.randn(2, 4, 16), torch.tensor([0, 1]), num_steps=1)
