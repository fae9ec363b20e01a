"""Linear probes: a state read out of a world model's features, kept beside the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from ..storage.model_folder import find_model, read_model, write_model
from ..storage.typed_yaml import build
from .world_model import WorldModel

FORMAT = "selfflow_robotics/probe/1"
PROBES = "probes"


@dataclass(frozen=True)
class StateProbe:
    """Reads P entries of proprioception out of a frame's features, by one matrix.

    It sees the mean of the image's tokens and each other token by itself (:func:`seen_by_probe`).
    """

    names: tuple[str, ...]  # P entries, such as x, y, z and gripper_closed
    image_tokens: int  # N, the first of a frame's M tokens
    weight_FP: Tensor  # to the entries' own units, float32
    bias_P: Tensor
    network: str  # digest of the network it was fitted to
    held_out_r2: tuple[float | None, ...]  # explained variance an entry; None where it never varies

    def __call__(self, features: Tensor) -> Tensor:
        """Features (..., M, D) to states (..., P), float32, in the entries' own units."""
        weight = self.weight_FP.to(features.device)
        with torch.autocast(features.device.type, enabled=False):  # bfloat16 would lose millimetres
            seen = seen_by_probe(features.float(), self.image_tokens)
            return seen @ weight + self.bias_P.to(features.device)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`, atomically."""
        config = {
            "format": FORMAT,
            "names": list(self.names),
            "image_tokens": self.image_tokens,
            "network": self.network,
            "held_out_r2": list(self.held_out_r2),
        }
        write_model(folder, config, {"weight": self.weight_FP, "bias": self.bias_P})


def seen_by_probe(features: Tensor, image_tokens: int) -> Tensor:
    """(..., M, D) to (..., D * (1 + M - N)): the mean of the N image tokens, then all others.

    On held-out episodes this reads better than the mean of all tokens, where the few about action
    and proprioception drown, and than all tokens by themselves, which is too much to fit.
    """
    image = features[..., :image_tokens, :].mean(dim=-2)
    return torch.cat((image, features[..., image_tokens:, :].flatten(-2)), dim=-1)


def load_probe(world_model: WorldModel, name: str, beside: str = "") -> StateProbe:
    """Read a probe of this world model.

    Args:
        name: a folder, or the name of a probe that lies beside the model.
        beside: the model's folder, shipped name or `org/name`; for probes by their name.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or was fitted to another model.
    """
    folder = Path(name)
    if not folder.is_dir() and beside:
        folder = find_model(beside) / PROBES / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f'there is no probe {name}, neither a folder nor beside the model; "selfflow probe" '
            "fits one"
        )
    config, state = read_model(folder)
    if config.get("format") != FORMAT:
        raise ValueError(
            f"{folder} holds {config.get('format')!r}, not {FORMAT!r}; give a probe's folder"
        )
    try:
        probe = StateProbe(
            build(config["names"], tuple[str, ...], "names", "it"),
            build(config["image_tokens"], int, "image_tokens", "it"),
            state["weight"],
            state["bias"],
            build(config["network"], str, "network", "it"),
            build(config["held_out_r2"], tuple[float | None, ...], "held_out_r2", "it"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} lacks or has a wrong entry ({error}); fit it again") from None
    shape, entries = tuple(probe.weight_FP.shape), len(probe.names)
    if shape[1:] != (entries,) or tuple(probe.bias_P.shape) != (entries,) or not shape[0]:
        raise ValueError(
            f"{folder} has weights of shape {shape} for {entries} entries, which do not fit; "
            "fit it again"
        )
    rows, columns = world_model.config.network.grid
    if probe.image_tokens != rows * columns or len(probe.held_out_r2) != entries:
        raise ValueError(
            f"{folder} reads {probe.image_tokens} image tokens and says how well {entries} entries "
            f"were read by {len(probe.held_out_r2)} numbers; the model has {rows * columns} tokens "
            "a frame; fit it again"
        )
    if probe.network != network_digest(world_model):
        raise ValueError(
            f"the probe {folder} was fitted to another model, whose features mean something else; "
            'fit one to this model: "selfflow probe"'
        )
    return probe


def network_digest(world_model: WorldModel) -> str:
    """16 hexadecimal digits of the network's weights, as they are stored (bfloat16)."""
    digest = blake2b(digest_size=8)
    for name, value in sorted(world_model.network.state_dict().items()):
        if name.endswith("positions"):
            continue
        digest.update(name.encode())
        stored = value.detach().to("cpu", torch.bfloat16).contiguous()
        digest.update(stored.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
