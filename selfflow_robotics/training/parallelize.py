"""How a world model is spread over ranks, checkpointed and compiled; the model knows none of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from ..model.dit import DiT
from ..world_model.world_model import WorldModel
from .ranks import Ranks


def shard(module: WorldModel | nn.Module, ranks: Ranks, bf16: bool) -> None:
    """Spread weights over the ranks (FSDP2), in place; every rank must hold the same.

    Each block of a network, the rest of it and each head are gathered when they compute. Weights
    and gradients stay fp32; with `bf16` they are gathered as bfloat16. What training leaves alone
    (tokenizer, policy prior) is not spread.
    """
    if ranks.count == 1:
        return
    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.count,))
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if bf16 else MixedPrecisionPolicy()
    spread: Any = partial(fully_shard, mesh=mesh, mp_policy=policy)
    if not isinstance(module, WorldModel):
        spread(module)
        return
    for block in module.network.blocks:
        spread(block)
    for part in (module.network, module.progress_head, module.steps_head):
        if part is not None:
            spread(part)
    for method in ("encode_instruction", "next_state"):
        register_fsdp_forward_method(module.network, method)


def keep_fewer_activations(network: DiT, every: int) -> None:
    """Compute each `every`-th block's activations again in the backward pass; 0 keeps all."""
    if every:
        for block in list(network.blocks)[::every]:
            block.forward = partial(
                checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
            )


def local(value: Tensor) -> Tensor:
    """The part of a tensor that this rank holds."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """The tensor that the ranks hold together; all must call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered(module: WorldModel, ranks: Ranks) -> WorldModel:
    """A world model with whole weights, on every rank; the same one where there is one rank."""
    if ranks.count == 1:
        return module
    state = {name: whole(value) for name, value in module.state_dict().items()}
    copy = WorldModel(module.config, module.tokenizer).to(ranks.device)
    copy.load_state_dict(state)
    return copy.requires_grad_(False).eval()
