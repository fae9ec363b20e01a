from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from selfflow_robotics.image_model import checkpoint as released
from selfflow_robotics.image_model.sampler import sample_released

FIXTURE = Path(__file__).parents[3] / "shared/fixtures/selfflow_reference_small.safetensors"


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
