"""What a frame's features say about the task: progress of an instruction, steps to a goal image."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """Student features to the teacher's: D -> 2D -> D. Used in training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear2(F.silu(self.linear1(features)))  # type: ignore[no-any-return]


class Pool(nn.Module):
    """Tokens (..., M, D) to (..., heads * inner) by attention of a query per head."""

    def __init__(self, width: int, inner: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.query = nn.Parameter(torch.randn(heads, inner // heads))

    def forward(self, tokens: Tensor, query: Tensor | None = None) -> Tensor:
        tokens = self.norm(tokens)
        keys = rearrange(self.key(tokens), "... (h d) -> ... h d", h=self.heads)
        values = rearrange(self.value(tokens), "... (h d) -> ... h d", h=self.heads)
        asked: Tensor = self.query
        if query is not None:
            asked = asked + rearrange(query, "... (h d) -> ... h d", h=self.heads)
        score = (keys * asked.unsqueeze(-3)).sum(-1) / keys.shape[-1] ** 0.5
        pooled: Tensor = (score.softmax(dim=-2).unsqueeze(-1) * values).sum(dim=-3)
        return pooled.flatten(-2)


class ProgressHead(nn.Module):
    """Features (..., M, D) of a frame and an instruction (..., D) to progress logits (...).

    Progress is gamma ** (steps left to success): 1 at success, near 0 when far or when it never
    comes.
    """

    gamma = 0.95

    def __init__(self, width: int, inner: int = 96) -> None:
        super().__init__()
        self.ask = nn.Linear(width, inner)
        self.pool = Pool(width, inner)
        self.mlp = nn.Sequential(nn.Linear(2 * inner, inner), nn.SiLU(), nn.Linear(inner, 1))

    def forward(self, features: Tensor, instruction: Tensor) -> Tensor:
        asked = self.ask(instruction)
        seen = self.pool(features, asked)
        return self.mlp(torch.cat((seen, asked.expand_as(seen)), dim=-1)).squeeze(-1)  # type: ignore[no-any-return]


class StepsHead(nn.Module):
    """Features (..., M, D) of a frame and of a goal frame to log(1 + steps between them), (...)."""

    def __init__(self, width: int, inner: int = 96) -> None:
        super().__init__()
        self.pool = Pool(width, inner)
        self.mlp = nn.Sequential(nn.Linear(3 * inner, inner), nn.SiLU(), nn.Linear(inner, 1))

    def forward(self, features: Tensor, goal_features: Tensor) -> Tensor:
        now, goal = self.pool(features), self.pool(goal_features)
        goal = goal.expand_as(now)
        pair = torch.cat((now, goal, now - goal), dim=-1)
        return F.softplus(self.mlp(pair)).squeeze(-1)
