"""What frames of one timestep are told: clean history, and futures on their way from noise."""

from __future__ import annotations

from collections.abc import Collection

import torch
from einops import repeat
from torch import Tensor

from ..model.dit import Conditions, DiTConfig
from ..model.modality import ACTION


def conditions_at(
    network: DiTConfig,
    action_BTA: Tensor,
    known: Tensor | bool,
    time: float,
    *,
    action_time: float = 0.0,
    clean: Collection[str] = (),
    unknown: Collection[str] = (),
    instruction_BD: Tensor | None = None,
    step: float = 0.0,
) -> Conditions:
    """Conditions of frames at `time`; actions modulate where they are known.

    Only the distinct timesteps in use become modulation rows: two of an imagined frame on its way
    from noise, one of a clean one.

    Args:
        action_BTA: normalised; those that led to the frames.
        known: whether an action is known, (B, T) or of all; where not, its token counts as unknown,
            or as noised if `action_time` is above 0.
        time: of all but actions, 0 clean to 1 noise.
        action_time: of the actions' tokens.
        clean: modalities that are given without noise at any time.
        unknown: modalities of which zeros are given, for want of values.
        instruction_BD: what all frames are told, from `DiT.encode_instruction`.
        step: size of the step they take, as a `Step` has it; told to networks that learned it.
    """
    device = action_BTA.device
    times: list[float] = []

    def row(value: float) -> Tensor:
        if value not in times:
            times.append(value)
        return torch.full((1, 1, 1), times.index(value), device=device)

    rows = []
    for one in network.modalities:
        if one.name != ACTION:
            at = 1.0 if one.name in unknown else 0.0 if one.name in clean else time
            rows.append(row(at).expand(1, 1, one.tokens))
        elif action_time > 0 or known is True:
            rows.append(row(action_time))
        elif known is False:
            rows.append(row(1.0))
        else:
            rows.append(torch.where(known[..., None], row(action_time), row(1.0)))
    shape = known.shape if isinstance(known, Tensor) else (1, 1)
    row_BTM = torch.cat([part.expand(*shape, -1) for part in rows], dim=-1)
    told = action_known_BT = None
    if instruction_BD is not None:
        told = repeat(instruction_BD, "b d -> b t d", t=action_BTA.shape[1])
    if isinstance(known, Tensor):
        action_known_BT = known.to(action_BTA.dtype)
    return Conditions(
        torch.tensor(times, device=device).view(1, 1, -1),
        row_BTM if len(times) > 1 else None,
        action_BTA=None if known is False else action_BTA,
        action_known_BT=action_known_BT,
        instruction_BTD=told,
        step_BT=torch.full((1, 1), step, device=device) if network.step_sizes and step else None,
    )
