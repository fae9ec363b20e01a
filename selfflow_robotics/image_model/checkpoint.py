"""The published Self-Flow ImageNet checkpoint, in and out.

Everything in which the released code (black-forest-labs/Self-Flow, Apache-2.0) differs from this
project is met here and nowhere else:

* inside, its network runs on 1 - t (1 is data) and predicts data - noise; callers see t = 1 as
  noise and get noise - data;
* the last linear layer orders a token's values (row, column, channel), callers get (channel, row,
  column); with `learn_sigma` it also predicts as many values again, which are dropped;
* names of parameters.

Axes: B batch, N tokens of the image, C values of a token (channels * patch * patch), D width.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..model.dit import Conditions, DiT, DiTConfig
from ..model.tokens import Frames
from ..storage.whole_file import whole_file

HOME = "https://huggingface.co/Hila/Self-Flow (selfflow_imagenet256.pt)"

_NAMES = (
    ("pos_embed", "dit.tokens_in.positions"),
    ("x_embedder.proj", "dit.tokens_in.video"),
    ("t_embedder.mlp", "dit.conditioning.timestep.mlp"),
    ("y_embedder.embedding_table", "dit.conditioning.label"),
    ("blocks.#.attn", "dit.blocks.#.attention"),
    ("blocks.#.mlp.fc1", "dit.blocks.#.mlp.0"),
    ("blocks.#.mlp.fc2", "dit.blocks.#.mlp.2"),
    ("blocks.#.adaLN_modulation.1", "dit.blocks.#.modulation"),
    ("final_layer.adaLN_modulation.1", "dit.final_modulation"),
    ("final_layer.linear", "dit.tokens_out.video"),
    ("projector.linear1", "projector.0"),
    ("projector.linear2", "projector.2"),
)


@dataclass(frozen=True)
class ReleasedConfig:
    """Sizes of a released image model; the published values by default.

    `input_size` is the side of the latent image and `patch_size` that of a token; `num_classes`
    counts the null class, which is the last one.
    """

    input_size: int = 32
    patch_size: int = 2
    in_channels: int = 4
    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_classes: int = 1001
    learn_sigma: bool = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "learn_sigma":
                valid, wanted = isinstance(value, bool), "True or False"
            else:
                kinds = (int, float) if name == "mlp_ratio" else int
                valid, wanted = isinstance(value, kinds) and value > 0, "a number above 0"
            if not valid:
                raise ValueError(f"{name} is {value!r}; it must be {wanted}")
        if self.input_size % self.patch_size:
            raise ValueError(
                f"input_size {self.input_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.hidden_size % 4:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of 4")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        side = self.input_size // self.patch_size
        return side, side

    @property
    def token_dim(self) -> int:
        """C, the values of a token."""
        return self.in_channels * self.patch_size**2

    def network(self) -> DiTConfig:
        """The same sizes as a configuration of our network."""
        return DiTConfig(
            token_dim=self.token_dim,
            grid=self.grid,
            width=self.hidden_size,
            depth=self.depth,
            heads=self.num_heads,
            mlp_ratio=self.mlp_ratio,
            out_dim=self.token_dim * (2 if self.learn_sigma else 1),
            num_classes=self.num_classes,
            anchor=False,
        )


class ReleasedModel(nn.Module):
    """The released image model behind the released interface, around our network.

    `config` gives the sizes; `projector` adds the head that maps student features to the teacher's.
    """

    def __init__(self, config: ReleasedConfig, *, projector: bool = False) -> None:
        super().__init__()
        self.config = config
        self.dit = DiT(config.network())
        width = config.hidden_size
        self.projector = (
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
            if projector
            else None
        )

    def forward(
        self,
        tokens: Tensor,
        timesteps: Tensor,
        labels: Tensor,
        *,
        return_features: int | None = None,
        return_raw_features: int | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Velocity noise - data, shaped as `tokens`.

        Args:
            tokens: (B, N, C), row by row, each token channel first (`modalities.patchify`).
            timesteps: (B,), or (B, N) with one a token; 0 is data and 1 is noise.
            labels: (B,) class numbers, the last class is null.
            return_features: also return the projected output of this block, counted from 1: the
                answer is then `(velocity, features)` as in the released code, features (B, N, D).
            return_raw_features: the same for the raw output of this block. Give one of the two.
        """
        config = self.config
        count = config.grid[0] * config.grid[1]
        if tokens.ndim != 3 or tokens.shape[1:] != (count, config.token_dim):
            raise ValueError(
                f"tokens have the shape {tuple(tokens.shape)}; this model takes "
                f"(batch, {count}, {config.token_dim})"
            )
        batch = tokens.shape[0]
        if timesteps.shape not in ((batch,), (batch, count)):
            raise ValueError(
                f"timesteps have the shape {tuple(timesteps.shape)}; "
                f"give ({batch},) or ({batch}, {count})"
            )
        if return_features is not None and return_raw_features is not None:
            raise ValueError("return_features and return_raw_features exclude each other")
        layer = return_features if return_features is not None else return_raw_features
        if layer is not None and not 1 <= layer <= config.depth:
            raise ValueError(f"there is no layer {layer}; blocks are counted 1 to {config.depth}")
        if return_features is not None and self.projector is None:
            raise ValueError(
                "return_features needs the projector, which this model was built without; "
                "load a checkpoint that has it, build(projector=True), or use return_raw_features"
            )

        out = self.dit(
            Frames(tokens.unsqueeze(1)),
            Conditions((1 - timesteps).reshape(batch, 1, -1), labels_B=labels),
            feature_layers=() if layer is None else (layer,),
        )
        velocity: Tensor = -rearrange(
            out.video_BTNC[:, 0],
            "b n (p q c) -> b n (c p q)",
            p=config.patch_size,
            q=config.patch_size,
        )[..., : config.token_dim]
        if layer is None:
            return velocity
        features: Tensor = out.features[layer][:, 0]
        if return_features is not None and self.projector is not None:
            features = self.projector(features)
        return velocity, features


def build(projector: bool = False, **config: Any) -> ReleasedModel:
    """A released model with random weights; on the meta device under `torch.device("meta")`.

    Args:
        projector: add the projection head (5,311,872 parameters at the published sizes).
        config: fields of `ReleasedConfig` that differ from the published values.

    Example:
        >>> with torch.device("meta"):
        ...     model = build()
        >>> sum(tensor.numel() for tensor in model.state_dict().values())
        675129632
    """
    return ReleasedModel(_configuration(config), projector=projector)


def load(source: str | os.PathLike[str] | Mapping[str, Any], **config: Any) -> ReleasedModel:
    """The released model with the weights of a checkpoint, in float32 on the CPU, in eval mode.

    It has the projector if the checkpoint has one. Nothing in the file is executed.

    Args:
        source: a `.pt` or `.safetensors` file, or a state dict. The weights may be bare or under
            "model" or "state_dict", their names may start with "module.".
        config: fields of `ReleasedConfig` that differ from the published values.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or foreign, or a tensor is missing, unexpected or of the
            wrong shape, or not finite.
    """
    sizes = _configuration(config)
    shared = isinstance(source, Mapping)
    name = "the given state dict" if shared else str(source)
    weights = _unwrap(source if isinstance(source, Mapping) else _read(Path(source)), name)
    with torch.device("meta"):
        model = ReleasedModel(sizes, projector=any(k.startswith("projector.") for k in weights))
    expected = {_released_name(own): own for own in model.state_dict()}
    shapes = {key: tensor.shape for key, tensor in export(model).items()}
    _require_same_shapes({k: t.shape for k, t in weights.items()}, shapes, name)
    bad = [key for key, tensor in weights.items() if not tensor.isfinite().all()]
    if bad:
        raise ValueError(
            f"{name} holds numbers that are not finite in {_first(bad)}; download it again from "
            f"{HOME}"
        )
    own = {
        expected[key]: tensor.detach().to("cpu", torch.float32, copy=shared)
        for key, tensor in weights.items()
    }
    model.load_state_dict(own, strict=True, assign=True)
    return model.eval()


def export(model: ReleasedModel) -> dict[str, Tensor]:
    """The weights under their released names, bit for bit; `load` reads them back."""
    return {_released_name(own): tensor for own, tensor in model.state_dict().items()}


def save(model: ReleasedModel, path: str | os.PathLike[str]) -> None:
    """Write `export(model)` to a `.pt` or `.safetensors` file; nothing half-written stays behind.

    The released code reads the `.pt` form.
    """
    target = Path(path)
    weights = {key: tensor.detach().contiguous().cpu() for key, tensor in export(model).items()}
    if target.suffix not in (".pt", ".safetensors"):
        raise ValueError(f"{target} must end in .pt or .safetensors")
    with whole_file(target) as partial:
        if target.suffix == ".pt":
            with partial.open("wb") as file:  # by its name, the file would hold that
                torch.save(weights, file)
        else:
            sizes = {k: str(v) for k, v in asdict(model.config).items()}
            save_file(weights, partial, metadata=sizes)


def inflate(
    model: ReleasedModel,
    *,
    grid: tuple[int, int] | None = None,
    action_dim: int = 0,
    state_dim: int = 0,
    vocabulary: int = 0,
    keep_labels: bool = True,
) -> DiT:
    """The image model as the start of a video model, in this project's conventions.

    A one-frame video, and the first frame of a longer one, gets the image model's velocity: time
    flip, sign, value order and the dropped half are folded into the weights. Anchors, known actions
    and instructions start without effect. Action and proprioception *tokens* are new tokens that
    others attend to, so giving them changes the answer from the start; their own velocities start
    as zeros.

    Args:
        grid: rows and columns of tokens a frame, the image model's without; positions are fixed
            sinusoids and exist for any.
        action_dim, state_dim, vocabulary: sizes of the new modalities, 0 for none.
        keep_labels: keep the class embedding; otherwise every frame gets the null class, for which
            the network is trained to answer without a class.
    """
    config = model.config
    dit = DiT(
        DiTConfig(
            token_dim=config.token_dim,
            grid=grid or config.grid,
            width=config.hidden_size,
            depth=config.depth,
            heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
            action_dim=action_dim,
            state_dim=state_dim,
            num_classes=config.num_classes if keep_labels else 0,
            vocabulary=vocabulary,
        )
    ).to(next(model.parameters()).device)
    old = model.dit.state_dict()
    old["conditioning.timestep.mlp.0.weight"] = _flip_time(
        old["conditioning.timestep.mlp.0.weight"]
    )
    for key in ("tokens_out.video.weight", "tokens_out.video.bias"):
        ordered = rearrange(
            old[key], "(p q c) ... -> (c p q) ...", p=config.patch_size, q=config.patch_size
        )
        old[key] = -ordered[: config.token_dim]
    if not keep_labels:
        null = old.pop("conditioning.label.weight")[-1]
        old["conditioning.timestep.mlp.2.bias"] = old["conditioning.timestep.mlp.2.bias"] + null
    if dit.config.grid != config.grid:
        old["tokens_in.positions"] = dit.tokens_in.positions
    dit.load_state_dict({**dit.state_dict(), **old})
    return dit.train(model.training)


def _flip_time(weight: Tensor) -> Tensor:
    """First timestep layer (D, F) on the sinusoids of 1 - t -> the same on those of t.

    cos(w - wt) = cos w cos wt + sin w sin wt and sin(w - wt) = sin w cos wt - cos w sin wt.
    """
    half = weight.shape[1] // 2
    exponent = torch.arange(half, dtype=torch.float32, device=weight.device) / half
    w = torch.exp(-math.log(10000.0) * exponent).double()
    on_cos, on_sin = weight.double().chunk(2, dim=1)
    flipped = (on_cos * w.cos() + on_sin * w.sin(), on_cos * w.sin() - on_sin * w.cos())
    return torch.cat(flipped, dim=1).to(weight.dtype)


def _configuration(config: dict[str, Any]) -> ReleasedConfig:
    known = [field.name for field in fields(ReleasedConfig)]
    unknown = [key for key in config if key not in known]
    if unknown:
        raise ValueError(
            f"a released model has no setting {', '.join(unknown)}; it has {', '.join(known)}"
        )
    return ReleasedConfig(**config)


def _released_name(own: str) -> str:
    for theirs, ours in _NAMES:
        match = re.fullmatch(ours.replace(".", r"\.").replace("#", r"(\d+)") + r"(\..*)?", own)
        if match:
            *number, rest = match.groups()
            return (theirs.replace("#", number[0]) if number else theirs) + (rest or "")
    raise KeyError(own)


def _read(path: Path) -> object:
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; the published one is at {HOME}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint of tensors: it is truncated, of another format "
            f"or holds more than tensors (such content is never executed); download it again from "
            f"{HOME}"
        ) from error


def _unwrap(content: object, name: str) -> dict[str, Tensor]:
    for key in ("model", "state_dict"):
        inner = content.get(key) if isinstance(content, Mapping) else None
        content = inner if isinstance(inner, Mapping) else content
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{name} holds no state dict; the published checkpoint is at {HOME}")
    reals = {k: v for k, v in content.items() if isinstance(v, Tensor) and v.is_floating_point()}
    strange = [str(key) for key in content if key not in reals]
    if strange:
        raise ValueError(
            f"{name} is not a Self-Flow checkpoint: {_first(strange)} is no tensor of reals; "
            f"the published checkpoint is at {HOME}"
        )
    return {str(key).removeprefix("module."): value for key, value in reals.items()}


def _require_same_shapes(
    given: Mapping[str, torch.Size], wanted: Mapping[str, torch.Size], name: str
) -> None:
    found = {
        "lacks": [key for key in wanted if key not in given],
        "has the unknown": [key for key in given if key not in wanted],
        "has": [
            f"{key} {tuple(given[key])} instead of {tuple(shape)}"
            for key, shape in wanted.items()
            if key in given and given[key] != shape
        ],
    }
    faults = [f"{fault} {_first(keys)}" for fault, keys in found.items() if keys]
    if faults:
        raise ValueError(
            f"{name} does not fit this configuration of Self-Flow: it {', '.join(faults)}; give "
            f"the sizes it was trained with (load(..., hidden_size=..., depth=...)) or use the "
            f"published checkpoint, {HOME}"
        )


def _first(items: list[str]) -> str:
    shown = ", ".join(items[:3])
    return shown if len(items) <= 3 else f"{shown} and {len(items) - 3} more"
