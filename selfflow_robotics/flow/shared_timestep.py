"""What frames of one timestep are told: clean history, and futures on their way from noise."""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor

from ..model.dit import Conditions, DiTConfig
from .noising import ROW_ACTION, ROW_T, ROW_UNKNOWN


def conditions_at(
    network: DiTConfig,
    action_BTA: Tensor,
    known_BT: Tensor,
    time: float,
    *,
    action_time: float = 0.0,
    state_known: bool = True,
    instruction_BD: Tensor | None = None,
    step: float = 0.0,
) -> Conditions:
    """Conditions of frames at `time`; actions modulate where they are known.

    Args:
        action_BTA: normalised; those that led to the frames.
        known_BT: whether an action is known; where not, its token counts as unknown, or as noised
            if `action_time` is above 0.
        time: of video and proprioception, 0 clean to 1 noise.
        action_time: of the actions' tokens.
        state_known: whether proprioception is.
        instruction_BD: what all frames are told, from `DiT.encode_instruction`.
        step: size of the step they take, as a `Step` has it; told to networks that learned it.
    """
    batch, count = known_BT.shape
    device = known_BT.device
    times = torch.tensor([time, time, action_time, 1.0], device=device)
    tokens = network.grid[0] * network.grid[1]
    rows = [torch.full((batch, count, tokens), ROW_T, device=device)]
    as_action = known_BT if action_time == 0 else torch.ones_like(known_BT)
    rows.append(torch.where(as_action, ROW_ACTION, ROW_UNKNOWN)[..., None])
    if network.state_dim:
        row = ROW_T if state_known else ROW_UNKNOWN
        rows.append(torch.full((batch, count, 1), row, device=device))
    told = None if instruction_BD is None else repeat(instruction_BD, "b d -> b t d", t=count)
    return Conditions(
        times.expand(batch, count, 4),
        torch.cat(rows, dim=-1),
        action_BTA=action_BTA,
        action_known_BT=known_BT.to(action_BTA.dtype),
        instruction_BTD=told,
        step_BT=torch.full((1, 1), step, device=device) if network.step_sizes and step else None,
    )
