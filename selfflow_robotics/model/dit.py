"""The Self-Flow transformer: tokens and their timesteps in, velocity and features out.

A diffusion transformer (DiT, arXiv 2212.09748) whose tokens carry a timestep each (Self-Flow, arXiv
2603.06507), over video: attention is causal over frames. t=0 is data and t=1 is noise; the velocity
is noise - data. What is noised decides what the network does: world model, policy, inverse dynamics
or video prediction.

Axes: B batch, T frames, N video tokens a frame, M all tokens a frame, C token values, D width,
R distinct timesteps a frame, A action, P proprioception, E values of a text encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import (
    Cache,
    FrameCausalAttention,
    KeysValues,
    frame_causal_mask,
    rotary_time,
)
from .cells import Cells, Local
from .conditioning import Conditioning, InstructionEncoder, select_rows, start_at_zero
from .conditioning import Conditions as Conditions
from .kinematics import Kinematics
from .modality import ACTION, PROPRIOCEPTION, VIDEO, ByModality, Modality
from .tokens import Frames, TokensIn, TokensOut

MAX_WORDS = 16


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of a network. A modality whose size is 0 is absent.

    Without `anchor` the network has no projections of the last clean frame (an image model); with
    `step_sizes` it can be told how far the step goes that its velocity is for. Instructions have up
    to `max_words` words. Modalities beyond video, actions and proprioception stand in `more`.

    With `cells`, so many channels of convolutions mix latent cells around the tokens, each of
    `patch` * `patch` of them, and `depth` may be 0. With `markov`, frames do not attend to one
    another: what came before is known by the anchor alone. With `kinematics`, the network holds
    where actions take the arm. With `acting`, tokens other than video's read cells place by place,
    and a network whose frames do not attend to one another says actions too: see `acts`.
    """

    token_dim: int
    grid: tuple[int, int]
    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0
    out_dim: int = 0
    action_dim: int = 0
    state_dim: int = 0
    num_classes: int = 0
    vocabulary: int = 0
    anchor: bool = True
    step_sizes: bool = False
    text_dim: int = 0
    max_words: int = MAX_WORDS
    more: tuple[Modality, ...] = ()
    cells: int = 0
    patch: int = 1
    markov: bool = False
    kinematics: bool = False
    acting: bool = False

    def __post_init__(self) -> None:
        if self.depth < 1 and not (self.cells and self.markov):
            raise ValueError(
                f"a network of depth {self.depth} attends to nothing; give it 1 block or more, or "
                "cells, and frames that do not attend to one another (markov)"
            )
        if self.cells and self.token_dim % self.patch**2:
            raise ValueError(f"tokens of {self.token_dim} values are no patches of {self.patch}")
        if self.kinematics and not (self.action_dim and self.state_dim):
            raise ValueError("kinematics need actions and proprioception")
        if self.acting and not (self.cells and self.action_dim):
            raise ValueError("a network whose actions read cells needs both: actions, and cells")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What a frame is made of, in the order of its tokens."""
        own = (
            Modality(VIDEO, self.token_dim, self.grid[0] * self.grid[1]),
            *([Modality(ACTION, self.action_dim)] if self.action_dim else []),
            *([Modality(PROPRIOCEPTION, self.state_dim)] if self.state_dim else []),
        )
        return (*own, *self.more)

    @property
    def acts(self) -> bool:
        """Whether actions are denoised together with frames; else it only imagines."""
        return self.acting or not self.markov

    @property
    def tokens(self) -> int:
        """Tokens of a frame, of all modalities."""
        return sum(one.tokens for one in self.modalities)

    def layer(self, share: float) -> int:
        """The block, counted from 1, after which `share` of the depth is done (0.3 -> 8 of 28)."""
        return min(max(round(share * self.depth), 1), self.depth)


@dataclass(frozen=True)
class Output(ByModality):
    """Velocities of each modality (None past a stop), features (B, T, M, D) by block, new cache."""

    video_BTNC: Tensor | None
    action_BTA: Tensor | None
    state_BTP: Tensor | None
    features: dict[int, Tensor]
    cache: Cache


class Block(nn.Module):
    """Attention and MLP, each modulated by the row of its token (adaLN-Zero)."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = FrameCausalAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width)
        )
        self.modulation = nn.Linear(width, 6 * width)

    def forward(
        self,
        x_BTMD: Tensor,
        rows_BTRD: Tensor,
        row_BTM: Tensor | None,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor | None,
        shared: KeysValues | None,
        own: KeysValues | None,
    ) -> tuple[Tensor, KeysValues]:
        modulation = select_rows(self.modulation(rows_BTRD), row_BTM)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.chunk(6, dim=-1)
        h = self.norm(x_BTMD) * (1 + scale_a) + shift_a
        h, new = self.attention(h, rotation, mask, shared, own)
        x_BTMD = x_BTMD + gate_a * h
        h = self.norm(x_BTMD) * (1 + scale_m) + shift_m
        return x_BTMD + gate_m * self.mlp(h), new


class DiT(nn.Module):
    """The network of `config`, with random weights.

    Example:
        >>> model = DiT(DiTConfig(token_dim=16, grid=(4, 4), width=64, depth=4, heads=2))
        >>> frames = Frames(torch.randn(2, 3, 16, 16))
        >>> model(frames, Conditions(torch.rand(2, 3, 1))).video_BTNC.shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        out_dim = config.out_dim or config.token_dim
        modalities, anchor = config.modalities, config.anchor
        self.cells = _cells(config)
        self.kinematics = (
            Kinematics(config.state_dim, config.action_dim) if config.kinematics else None
        )
        if self.cells is not None:
            out_dim, anchor = config.cells * config.patch**2, False  # the anchor is told to cells
            modalities = (replace(modalities[0], size=out_dim), *modalities[1:])
        self.tokens_in = TokensIn(config.width, modalities, config.grid, anchor)
        self.conditioning = Conditioning(
            config.width,
            num_classes=config.num_classes,
            action_dim=config.action_dim,
            vocabulary=config.vocabulary,
            step_sizes=config.step_sizes,
            text_dim=config.text_dim,
        )
        self.instruction = (
            InstructionEncoder(config.vocabulary, config.width, config.max_words)
            if config.vocabulary
            else None
        )
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.final_norm = nn.LayerNorm(config.width, elementwise_affine=False, eps=1e-6)
        self.final_modulation = nn.Linear(config.width, 2 * config.width)
        self.tokens_out = TokensOut(config.width, modalities, out_dim, anchor)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for embedder in (self.conditioning.timestep, self.conditioning.step):
            for part in embedder.mlp if embedder else ():
                if isinstance(part, nn.Linear):
                    nn.init.normal_(part.weight, std=0.02)
        start_at_zero(self.final_modulation)
        start_at_zero(self.tokens_in.anchor)
        start_at_zero(self.tokens_out)
        for module in self.modules():
            if isinstance(module, Block):
                start_at_zero(module.modulation)
        self.conditioning.start_as_zero()
        if self.instruction is not None:
            nn.init.normal_(self.instruction.word.weight)
            nn.init.normal_(self.instruction.position.weight)
        if self.cells is not None:
            self.cells.start_from_anchor()
        if self.kinematics is not None:
            self.kinematics.start_as_linear()

    def start_from_anchor(self) -> None:
        """Begin by predicting "the frame stays as the anchor" at t=1: velocity = x_t - anchor.

        For networks trained from random weights; one that starts from an image keeps its zeros.
        """
        if self.cells is not None:
            return  # they always do
        size = self.config.token_dim
        skip = self.tokens_out.skip
        if skip is None or self.config.out_dim not in (0, size):
            raise ValueError("start_from_anchor needs anchor=True and out_dim equal to token_dim")
        identity = torch.eye(size)
        with torch.no_grad():
            skip.weight.copy_(torch.cat((identity, -identity), dim=1))

    def compile_blocks(self) -> None:
        """Compile each block; all share one compiled code for each kind of pass."""
        # Observing, imagining and proposing, first frames and later ones: more kinds than the
        # eight after which torch gives up compiling.
        from torch._dynamo import config  # takes a second to import

        config.recompile_limit = max(config.recompile_limit, 64)
        for block in self.blocks:
            block.forward = torch.compile(block.forward)

    def encode_instruction(self, words_BL: Tensor) -> Tensor:
        """Word indices (B, L), 0 pads, L at most `max_words` -> (B, D)."""
        if self.instruction is None:
            raise ValueError("this model was built without instructions (vocabulary=0)")
        return self.instruction(words_BL)  # type: ignore[no-any-return]

    def next_state(self, state: Tensor, action: Tensor) -> Tensor:
        """Proprioception (..., P) that an action (..., A) leads to, both normalised."""
        if self.kinematics is None:
            raise ValueError("this model was built without kinematics (kinematics=False)")
        return self.kinematics(state, action)  # type: ignore[no-any-return]

    def forward(
        self,
        frames: Frames,
        conditions: Conditions,
        *,
        cache: Cache | None = None,
        feature_layers: tuple[int, ...] = (),
        stop_after: int | None = None,
        keep_cache: bool = True,
    ) -> Output:
        """Velocity of the frames, which follow those in `cache`.

        Args:
            cache: of as many rows as the frames, or of a K-th of them: K in a row share one.
            feature_layers: blocks, counted from 1, whose raw output is returned.
            stop_after: leave after this block; velocities are None and the cache is cut there.
            keep_cache: False leaves the new cache empty, which saves the memory of its keys and
                values where nothing follows these frames.
        """
        rows = F.silu(self.conditioning(conditions))
        local = None
        if self.cells is None:
            x = self.tokens_in(frames)
        else:
            local = self._local(frames, conditions, rows)
            video = self.cells.tokens(local, len(frames.video_BTNC))
            x = self.tokens_in(replace(frames, video_BTNC=video, anchor_BTNC=None))
            x = self.cells.read(local, x)
        _, count, tokens, width = x.shape
        markov = self.config.markov
        if markov:
            cache, keep_cache = None, False
        first = cache.frames if cache else 0
        past = cache.own[0][0].shape[1] if cache and cache.own else 0
        rotation = rotary_time(count, tokens, width // self.config.heads, first, x.device)
        mask = frame_causal_mask(count, tokens, past, x.device, alone=markov)
        features: dict[int, Tensor] = {}
        new_layers = []
        for number, block in enumerate(self.blocks, start=1):
            shared = cache.layers[number - 1] if cache else None
            own = cache.own[number - 1] if cache and cache.own else None
            x, new = block(x, rows, conditions.row_BTM, rotation, mask, shared, own)
            if keep_cache:
                # Copies, since views would keep the queries too.
                new_layers.append((new[0].contiguous(), new[1].contiguous()))
            if number in feature_layers:
                features[number] = x
            if number == stop_after:
                return Output(None, None, None, features, Cache(tuple(new_layers), count))
        shift, scale = select_rows(self.final_modulation(rows), conditions.row_BTM).chunk(2, dim=-1)
        x = self.final_norm(x) * (1 + scale) + shift
        found = Output(None, None, None, features, Cache(tuple(new_layers), count))
        velocity = self.tokens_out(
            x, frames if local is None else replace(frames, anchor_BTNC=None)
        )
        if self.cells is not None and local is not None:
            velocity = self.cells.velocities(local, velocity, frames)
        return found.with_values(velocity)

    def _local(self, frames: Frames, conditions: Conditions, rows_BTRD: Tensor) -> Local:
        """Cells of the frames before they are tokens."""
        assert self.cells is not None
        count = frames.video_BTNC.shape[2]
        tokens = count + sum(v.shape[2] if v.dim() == 4 else 1 for _, v in frames.values(VIDEO))
        times = select_rows(conditions.timesteps_BTR[..., None], conditions.row_BTM)[..., 0]
        told = select_rows(rows_BTRD, conditions.row_BTM)[:, :, :count].mean(dim=2)
        return self.cells(frames, times.expand(-1, -1, tokens), told)  # type: ignore[no-any-return]


def _cells(config: DiTConfig) -> Cells | None:
    if not config.cells:
        return None
    return Cells(
        config.token_dim // config.patch**2,
        config.cells,
        config.grid,
        config.patch,
        config.width,
        config.state_dim,
        config.action_dim,
        config.acting,
    )
