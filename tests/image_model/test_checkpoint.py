from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from selfflow_robotics.image_model import checkpoint as released
from selfflow_robotics.model.dit import Conditions
from selfflow_robotics.model.tokens import Frames, sincos_positions

FIXTURE = Path(__file__).parents[3] / "shared/fixtures/selfflow_reference_small.safetensors"
SMALL: dict[str, Any] = {
    "input_size": 8,
    "hidden_size": 32,
    "depth": 3,
    "num_heads": 2,
    "num_classes": 5,
}
TIMES = ["one a sample", "one a token"]


@dataclass(frozen=True)
class Reference:
    """What the released code answers for a small model with random weights.

    Weights and configuration for `released.load`, inputs and answers, and what was asked.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    asked: dict[str, str]

    def model(self) -> released.ReleasedModel:
        return released.load(self.weights, **self.config)


@pytest.fixture(scope="module")
def reference() -> Reference:
    if not FIXTURE.is_file():
        pytest.skip(f"the released code's answers are not here ({FIXTURE})")
    with safe_open(FIXTURE, "pt") as file:
        asked = dict(file.metadata())
    tensors = load_file(FIXTURE)
    config: dict[str, Any] = {}
    for field in fields(released.ReleasedConfig):
        text = asked[field.name]
        config[field.name] = text == "True" if field.name == "learn_sigma" else float(text)
        if field.name not in ("learn_sigma", "mlp_ratio"):
            config[field.name] = int(text)
    weights = {k[len("model.") :]: v for k, v in tensors.items() if k.startswith("model.")}
    return Reference(config, weights, tensors, asked)


@pytest.fixture
def small() -> released.ReleasedModel:
    """Random weights everywhere, zeros nowhere."""
    torch.manual_seed(0)
    model = released.build(projector=True, **SMALL)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval().requires_grad_(False)


def inputs(times: str, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (3,) if times == "one a sample" else (3, 16)
    return (
        torch.randn(3, 16, 16, generator=generator),
        torch.rand(shape, generator=generator),
        torch.tensor([0, 4, 2]),
    )


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


# What the released code answers.


def test_velocity_equals_the_released_code(reference: Reference) -> None:
    model, given = reference.model(), reference.tensors
    with torch.no_grad():
        close(model(given["in.x"], given["in.t"], given["in.y"]), given["out.velocity"])
        close(
            model(given["in.x"], given["in.t_per_token"], given["in.y"]),
            given["out.velocity_per_token"],
        )


def test_features_equal_the_released_code(reference: Reference) -> None:
    model, given = reference.model(), reference.tensors
    x, t, y = given["in.x"], given["in.t_per_token"], given["in.y"]
    student, teacher = int(reference.asked["student_layer"]), int(reference.asked["teacher_layer"])
    with torch.no_grad():
        velocity, features = model(x, t, y, return_features=student)
        close(features, given["out.projected_features"])
        close(velocity, given["out.velocity_per_token"])
        velocity, features = model(x, t, y, return_raw_features=teacher)
        close(features, given["out.raw_features"])
        close(velocity, given["out.velocity_per_token"])


def test_positions_equal_the_released_code(reference: Reference) -> None:
    positions = reference.weights["pos_embed"]
    close(sincos_positions(positions.shape[-1], (4, 4)), positions)


def test_released_names_come_back_bit_for_bit(reference: Reference) -> None:
    out = released.export(reference.model())
    assert out.keys() == reference.weights.keys()
    for key, tensor in reference.weights.items():
        assert torch.equal(out[key], tensor), key


# Sizes.


@pytest.mark.parametrize(("projector", "count"), [(False, 675_129_632), (True, 680_441_504)])
def test_published_configuration_has_the_published_size(projector: bool, count: int) -> None:
    with torch.device("meta"):
        model = released.build(projector=projector)
    tensors = [*model.parameters(), *model.buffers()]
    assert sum(tensor.numel() for tensor in tensors) == count
    assert sum(tensor.numel() for tensor in released.export(model).values()) == count
    assert all(tensor.is_meta for tensor in tensors)
    assert sum(p.numel() for p in model.parameters()) == count - 294_912


def test_defaults_are_the_published_configuration() -> None:
    assert asdict(released.ReleasedConfig()) == {
        "input_size": 32,
        "patch_size": 2,
        "in_channels": 4,
        "hidden_size": 1152,
        "depth": 28,
        "num_heads": 16,
        "mlp_ratio": 4.0,
        "num_classes": 1001,
        "learn_sigma": True,
    }


# As the start of a video model.


def first_frame(model: nn.Module, frames: Frames, conditions: Conditions) -> Tensor:
    velocity = model(frames, conditions).video_BTNC
    assert isinstance(velocity, Tensor)
    return velocity[:, 0]


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("learn_sigma", [True, False])
@pytest.mark.parametrize("frames", [1, 3])
def test_first_frame_of_a_video_equals_the_image_model(
    times: str, learn_sigma: bool, frames: int
) -> None:
    torch.manual_seed(1)
    image = released.build(**SMALL, learn_sigma=learn_sigma).requires_grad_(False)
    for parameter in image.parameters():
        nn.init.normal_(parameter, std=0.2)
    video = released.inflate(image, action_dim=7, state_dim=8, vocabulary=12)
    x, t, y = inputs(times)
    rows = t.reshape(3, 1, -1).expand(-1, frames, -1)
    out = video(Frames(x[:, None].expand(-1, frames, -1, -1)), Conditions(rows, labels_B=y))
    close(out.video_BTNC[:, 0], image(x, t, y))
    if frames > 1:
        assert (out.video_BTNC[:, 1] - out.video_BTNC[:, 0]).abs().max() > 1e-3


def test_first_frame_equals_the_released_code(reference: Reference) -> None:
    video, given = released.inflate(reference.model()), reference.tensors
    frames = Frames(given["in.x"][:, None])
    with torch.no_grad():
        for t, answer in (("in.t", "out.velocity"), ("in.t_per_token", "out.velocity_per_token")):
            rows = given[t].reshape(2, 1, -1)
            close(
                first_frame(video, frames, Conditions(rows, labels_B=given["in.y"])), given[answer]
            )


def test_new_conditions_have_no_effect_yet(small: released.ReleasedModel) -> None:
    video = released.inflate(small, action_dim=7, vocabulary=12).requires_grad_(False)
    x, t, y = inputs("one a sample")
    conditions = Conditions(
        t[:, None, None],
        labels_B=y,
        action_BTA=torch.randn(3, 1, 7),
        instruction_BTD=video.encode_instruction(torch.ones(3, 2, dtype=torch.long))[:, None],
    )
    frames = Frames(x[:, None], anchor_BTNC=torch.randn(3, 1, 16, 16))
    close(first_frame(video, frames, conditions), small(x, t, y))


def test_without_labels_every_frame_gets_the_null_class(small: released.ReleasedModel) -> None:
    video = released.inflate(small, keep_labels=False)
    x, t, y = inputs("one a token")
    null = torch.full_like(y, SMALL["num_classes"] - 1)
    assert video.config.num_classes == 0
    close(first_frame(video, Frames(x[:, None]), Conditions(t[:, None])), small(x, t, null))


def test_another_grid_keeps_everything_but_the_positions(small: released.ReleasedModel) -> None:
    wide, same = released.inflate(small, grid=(4, 6)), released.inflate(small)
    assert torch.equal(wide.tokens_in.positions, sincos_positions(32, (4, 6)))
    for name, parameter in wide.named_parameters():
        assert torch.equal(parameter, same.get_parameter(name)), name


def test_inflating_leaves_the_image_model_alone(small: released.ReleasedModel) -> None:
    before = {key: tensor.clone() for key, tensor in small.state_dict().items()}
    video = released.inflate(small)
    for parameter in video.parameters():
        parameter.data.zero_()
    for key, tensor in small.state_dict().items():
        assert torch.equal(tensor, before[key]), key


# Files.


def bare(weights: dict[str, Tensor]) -> object:
    return weights


def wrapped(weights: dict[str, Tensor]) -> object:
    return {"model": weights, "step": 3}


def parallel(weights: dict[str, Tensor]) -> object:
    return {"state_dict": {f"module.{key}": tensor for key, tensor in weights.items()}}


@pytest.mark.parametrize("packing", [bare, wrapped, parallel])
@pytest.mark.parametrize("as_file", [True, False])
def test_weights_load_however_they_are_packed(
    small: released.ReleasedModel,
    tmp_path: Path,
    packing: Callable[[dict[str, Tensor]], Any],
    as_file: bool,
) -> None:
    content = packing(released.export(small))
    if as_file:
        torch.save(content, tmp_path / "weights.pt")
    loaded = released.load(tmp_path / "weights.pt" if as_file else content, **SMALL)
    assert not loaded.training
    assert loaded.projector is not None
    for key, tensor in small.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)
    assert all(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_saved_weights_come_back_bit_for_bit(
    small: released.ReleasedModel, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    released.save(small, path)
    again = released.export(released.load(path, **SMALL))
    assert again.keys() == released.export(small).keys()
    for key, tensor in released.export(small).items():
        assert torch.equal(again[key], tensor)
    assert os.listdir(tmp_path) == [path.name]


def test_a_failed_save_leaves_nothing_behind(small: released.ReleasedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.pt or \.safetensors"):
        released.save(small, tmp_path / "weights.bin")
    assert not os.listdir(tmp_path)


def test_weights_without_a_projector_load_without_one(small: released.ReleasedModel) -> None:
    weights = {k: v for k, v in released.export(small).items() if not k.startswith("projector.")}
    model = released.load(weights, **SMALL)
    x, t, y = inputs("one a sample")
    assert model.projector is None
    assert torch.equal(model(x, t, y), small(x, t, y))
    with pytest.raises(ValueError, match="return_features needs the projector"):
        model(x, t, y, return_features=1)


def test_training_a_loaded_model_leaves_the_given_weights_alone(
    small: released.ReleasedModel,
) -> None:
    weights = released.export(small)
    before = weights["x_embedder.proj.bias"].clone()
    for parameter in released.load(weights, **SMALL).parameters():
        parameter.data.zero_()
    assert torch.equal(weights["x_embedder.proj.bias"], before)


# Bad files.


def refusal(source: Any, **config: Any) -> str:
    with pytest.raises(ValueError) as caught:
        released.load(source, **config)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_and_unknown_and_misshapen_tensors_are_named(
    small: released.ReleasedModel, tmp_path: Path
) -> None:
    weights = released.export(small)
    del weights["blocks.1.attn.qkv.weight"]
    weights["blocks.7.attn.qkv.weight"] = torch.zeros(96, 32)
    weights["x_embedder.proj.bias"] = torch.zeros(31)
    path = tmp_path / "weights.pt"
    torch.save(weights, path)
    message = refusal(path, **SMALL)
    assert str(path) in message
    assert "lacks blocks.1.attn.qkv.weight" in message
    assert "has the unknown blocks.7.attn.qkv.weight" in message
    assert "x_embedder.proj.bias (31,) instead of (32,)" in message
    assert "load(..., hidden_size=..., depth=...)" in message


def test_weights_of_another_size_are_refused(small: released.ReleasedModel) -> None:
    message = refusal(released.export(small))
    assert "the given state dict" in message
    assert "instead of (1, 256, 1152)" in message
    assert "lacks blocks.3.attn.qkv.weight" in message


def test_numbers_that_are_not_finite_are_refused(small: released.ReleasedModel) -> None:
    weights = {key: value.clone() for key, value in released.export(small).items()}
    weights["x_embedder.proj.bias"][0] = float("nan")
    with pytest.raises(ValueError, match=r"not finite in x_embedder\.proj\.bias"):
        released.load(weights, **SMALL)


def test_half_a_projector_is_refused(small: released.ReleasedModel) -> None:
    weights = released.export(small)
    del weights["projector.linear2.bias"]
    assert "lacks projector.linear2.bias" in refusal(weights, **SMALL)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_file_is_refused(
    small: released.ReleasedModel, tmp_path: Path, suffix: str, share: float
) -> None:
    path = tmp_path / f"weights{suffix}"
    released.save(small, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    message = refusal(path, **SMALL)
    assert str(path) in message
    assert "truncated" in message
    assert "download it again" in message


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {},
        {"model": {"epoch": 3}},
        {"conv.weight": torch.zeros(2)},
        {"pos_embed": torch.zeros(1, 16, 32, dtype=torch.long)},
    ],
)
def test_foreign_file_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    message = refusal(path, **SMALL)
    assert str(path) in message
    assert released.HOME in message


def test_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"conv.weight": torch.zeros(2)}, path)
    assert "has the unknown conv.weight" in refusal(path, **SMALL)


class Intruder:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("torch_format", [True, False])
def test_code_in_a_file_is_not_executed(tmp_path: Path, torch_format: bool) -> None:
    mark, path = tmp_path / "executed", tmp_path / "weights.pt"
    content = {"model": Intruder(mark)}
    if torch_format:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    message = refusal(path, **SMALL)
    assert "never executed" in message
    assert not mark.exists()
    pickle.loads(pickle.dumps(content))
    assert mark.exists()


def test_absent_file_names_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*Hila/Self-Flow"):
        released.load(tmp_path / "selfflow_imagenet256.pt")


# Bad arguments.


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hiden_size": 8}, "no setting hiden_size; it has input_size"),
        ({"depth": 0}, "depth is 0"),
        ({"depth": "4"}, "depth is '4'"),
        ({"learn_sigma": "True"}, "must be True or False"),
        ({"input_size": 9}, "not a multiple of patch_size"),
        ({"hidden_size": 30, "num_heads": 15}, "not a multiple of 4"),
        ({"num_heads": 5}, "must be a multiple of 5 heads"),
    ],
)
def test_bad_configuration_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        released.build(**{**SMALL, **config})


def test_bad_inputs_are_refused(small: released.ReleasedModel) -> None:
    x, t, y = inputs("one a sample")
    with pytest.raises(ValueError, match=r"takes \(batch, 16, 16\)"):
        small(x[:, :5], t, y)
    with pytest.raises(ValueError, match=r"give \(3,\) or \(3, 16\)"):
        small(x, t[:2], y)
    with pytest.raises(ValueError, match="counted 1 to 3"):
        small(x, t, y, return_raw_features=4)
    with pytest.raises(ValueError, match="counted 1 to 3"):
        small(x, t, y, return_features=0)
    with pytest.raises(ValueError, match="exclude each other"):
        small(x, t, y, return_features=1, return_raw_features=2)
