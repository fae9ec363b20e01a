"""Where an action takes the arm: next proprioception from the last one, without a picture.

A linear map in closed form is good to about a centimetre, where a network that imagines
proprioception among pictures is off by several; a small network corrects it.
`training/kinematics.py` fits both.

Axes: P values of proprioception, A of actions; both normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Kinematics(nn.Module):
    """Next proprioception = the last + a linear map of (last, action, 1) + a correction.

    Without a fit it says that the arm stays.

    Example:
        >>> Kinematics(8, 7)(torch.zeros(2, 8), torch.zeros(2, 7)).shape
        torch.Size([2, 8])
    """

    def __init__(self, state_dim: int, action_dim: int, width: int = 128) -> None:
        super().__init__()
        # Of the change: near nothing, so that weights stored in half precision lose no millimetre.
        self.register_buffer("linear", torch.zeros(state_dim + action_dim + 1, state_dim))
        self.linear: Tensor
        self.correction = nn.Sequential(
            nn.Linear(2 * state_dim + action_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, state_dim),
        )

    def start_as_linear(self) -> None:
        """Begin without a correction."""
        last = self.correction[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """Proprioception (..., P) after an action (..., A) from proprioception (..., P)."""
        # In full precision: bfloat16 loses millimetres. Tensors without values know no autocast.
        exact = torch.autocast("cpu" if state.is_meta else state.device.type, enabled=False)
        with exact:
            state, action = state.float(), action.float()
            one = torch.ones_like(action[..., :1])
            reached = state + torch.cat((state, action, one), dim=-1) @ self.linear
            told = torch.cat((state, action, reached), dim=-1)
            return reached + self.correction(told)  # type: ignore[no-any-return]
