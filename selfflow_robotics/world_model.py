"""A world model: observe -> rollout -> decode, and the actions its policy use proposes.

History is encoded once, as clean frames whose keys and values every candidate future shares. The
same network imagines (actions clean, frames noised), proposes actions (both noised) and judges
(heads on the features of clean frames).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from einops import rearrange, repeat
from numpy.typing import NDArray
from torch import Tensor, nn

from .data.action_spec import ActionSpec, StateSpec
from .flow.samplers import steps_along
from .flow.shared_timestep import conditions_at
from .model.attention import Cache
from .model.dit import DiT, Frames, Output
from .model.heads import ProgressHead, StepsHead
from .model.modalities import patchify, unpatchify
from .model.prior import PolicyPrior
from .tokenizers.tokenizer import Tokenizer
from .values import Context, Rollout, WorldModelConfig


class WorldModel(nn.Module):
    """A tokenizer, a network and its heads, with the meaning of its actions.

    Example:
        >>> world_model = WorldModel.from_pretrained("tabletop-small")
        >>> context = world_model.observe(frames, past_actions, instruction="pick coke can")
        >>> future = world_model.rollout(context, actions_BKHA)
        >>> video = world_model.decode(future)
    """

    def __init__(self, config: WorldModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.network = DiT(config.network)
        self.prior = PolicyPrior(config.prior) if config.prior else None
        self.progress_head = ProgressHead(config.network.width)
        self.steps_head = StepsHead(config.network.width)
        self.feature_layer = config.network.layer(0.7)

    @property
    def action_spec(self) -> ActionSpec:
        """What its actions mean."""
        return self.config.action_spec

    @property
    def state_spec(self) -> StateSpec | None:
        """What its proprioception means; None where it has none."""
        return self.config.state_spec

    @property
    def history_len(self) -> int:
        """Frames of history it was trained with."""
        return self.config.history_len

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images it reads and draws."""
        return self.config.image_size

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.network.tokens_in.positions.device

    @classmethod
    def from_pretrained(cls, name_or_path: str, device: torch.device | str = "cpu") -> WorldModel:
        """Load a shipped model by name, a folder, or an `org/name` repository of the Hub."""
        from .pretrained import load_world_model

        return load_world_model(name_or_path).to(device).eval()

    def save_pretrained(self, folder: str) -> None:
        """Write `config.json` and `model.safetensors` (bfloat16) into a folder, atomically."""
        from .pretrained import save_world_model

        save_world_model(self, folder)

    # -- observe ---------------------------------------------------------------------------------

    @torch.no_grad()
    def observe(
        self,
        frames: NDArray[np.uint8] | Tensor,
        past_actions: NDArray[np.float32] | Tensor,
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | Tensor | None = None,
    ) -> Context:
        """Encode history once.

        Args:
            frames: (B, S, height, width, 3) uint8, oldest first, S from 1 to `history_len`.
            past_actions: (B, S - 1, A) in the environment's units; row i led from frame i to i + 1.
            instruction: one for all, one a row, or None.
            states: (B, S, P) proprioception, or None where it is not known.

        Raises:
            ValueError: a shape that does not fit, or a word the model does not know.
        """
        images = torch.as_tensor(frames)
        self._check_frames(images)
        batch, count = images.shape[:2]
        actions = torch.as_tensor(past_actions, dtype=torch.float32, device=self.device)
        if actions.shape != (batch, count - 1, self.action_spec.size):
            raise ValueError(
                f"past_actions has shape {tuple(actions.shape)}; {count} frames need "
                f"{(batch, count - 1, self.action_spec.size)}"
            )
        led_to = self.action_spec.normalize(actions)
        led_to = torch.cat((led_to.new_zeros(batch, 1, led_to.shape[-1]), led_to), dim=1)
        state = None if states is None else self._state_tokens(states, batch, count)
        return self.observe_latents(self._encode(images), led_to, state, instruction)

    @torch.no_grad()
    def observe_latents(
        self,
        latents_BSCHW: Tensor,
        led_to_BSA: Tensor,
        states_BSP: Tensor | None = None,
        instruction: str | Sequence[str] | None = None,
    ) -> Context:
        """`observe` for history that is encoded and normalised already.

        `led_to_BSA[:, f]` is the action that led to frame f; that of the first frame is not used.
        """
        video = patchify(latents_BSCHW, self.config.patch)
        batch, count = video.shape[:2]
        anchor = torch.cat((torch.zeros_like(video[:, :1]), video[:, :-1]), dim=1)
        known = torch.ones(batch, count, dtype=torch.bool, device=self.device)
        known[:, 0] = False
        action = led_to_BSA * known[..., None]
        state = states_BSP if states_BSP is not None else self._state_tokens(None, batch, count)
        out = self.network(
            Frames(video, anchor, action, state),
            conditions_at(
                self.config.network, action, known, time=0.0, state_known=states_BSP is not None
            ),
            feature_layers=(self.feature_layer,),
        )
        last = None if states_BSP is None else states_BSP[:, -1]
        return Context(batch, out.cache, video[:, -1], last, *self._instruct(instruction, batch))

    def _check_frames(self, images: Tensor) -> None:
        expected = (*self.image_size, 3)
        if images.dim() != 5 or tuple(images.shape[2:]) != expected or images.dtype != torch.uint8:
            raise ValueError(
                f"frames have shape {tuple(images.shape)} and type {images.dtype}; give "
                f"(B, S, {expected[0]}, {expected[1]}, 3) uint8"
            )
        if not 1 <= images.shape[1] <= self.history_len:
            raise ValueError(
                f"{images.shape[1]} frames of history; give 1 to {self.history_len}, newest last"
            )

    def _encode(self, images: Tensor) -> Tensor:
        return self.tokenizer.encode(images.to(self.device)).to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's weights."""
        return self.network.final_modulation.weight.dtype

    def _state_tokens(
        self, states: NDArray[np.float32] | Tensor | None, batch: int, count: int
    ) -> Tensor | None:
        if self.state_spec is None:
            return None
        if states is None:
            return torch.zeros(batch, count, self.state_spec.size, device=self.device)
        values = torch.as_tensor(states, dtype=torch.float32, device=self.device)
        if values.shape != (batch, count, self.state_spec.size):
            raise ValueError(
                f"states have shape {tuple(values.shape)}; give "
                f"{(batch, count, self.state_spec.size)}: {self.state_spec.names}"
            )
        return self.state_spec.normalize(values)

    def _instruct(
        self, instruction: str | Sequence[str] | None, batch: int
    ) -> tuple[Tensor | None, tuple[str, ...] | None, Tensor | None]:
        if instruction is None:
            return None, None, None
        texts = (instruction,) * batch if isinstance(instruction, str) else tuple(instruction)
        if len(texts) != batch:
            raise ValueError(f"{len(texts)} instructions for {batch} rows; give one a row")
        words = torch.from_numpy(self.config.vocabulary.encode(texts)).to(self.device)
        return words, texts, self.network.encode_instruction(words)

    # -- imagine ---------------------------------------------------------------------------------

    @torch.no_grad()
    def rollout(
        self,
        context: Context,
        actions_BKHA: Tensor,
        steps: int = 1,
        generator: Sequence[torch.Generator] | None = None,
    ) -> Rollout:
        """Imagine the frames that candidate actions lead to, one frame after another.

        All candidates of a row start from the same noise, so they differ by their actions alone.

        Args:
            actions_BKHA: in the environment's units.
            steps: Euler steps from noise to a frame; 1 gives its conditional mean.
            generator: a random stream a row, so that no row depends on the others; None fixes them.
        """
        shape, size = actions_BKHA.shape, self.action_spec.size
        if len(shape) != 4 or shape[0] != context.batch or shape[3] != size or 0 in shape:
            raise ValueError(
                f"actions have shape {tuple(shape)}; give ({context.batch}, K, H, {size})"
            )
        batch, candidates, horizon, _ = shape
        actions = self.action_spec.normalize(actions_BKHA.to(self.device, torch.float32))
        actions = rearrange(actions, "b k h a -> (b k) h a")
        cache = context.cache.expand(candidates)
        anchor = repeat(context.anchor_BNC, "b n c -> (b k) 1 n c", k=candidates)
        streams = _streams(generator, batch)
        frames, features, states = [], [], []
        for f in range(horizon):
            action = actions[:, f : f + 1]
            made = self._denoise(self._noise(anchor, streams, action), cache, steps)
            frames.append(made.video_BTNC)
            last = f == horizon - 1
            out = self.network(
                made,
                conditions_at(
                    self.config.network, action, torch.ones_like(action[..., 0]) > 0, time=0.0
                ),
                cache=cache,
                feature_layers=(self.feature_layer,),
                stop_after=self.feature_layer if last else None,
            )
            features.append(out.features[self.feature_layer])
            if made.state_BTP is not None:
                states.append(made.state_BTP)
            anchor = made.video_BTNC
            if not last:
                cache = cache.append(out.cache)

        def by_row(parts: list[Tensor]) -> Tensor:
            return rearrange(torch.cat(parts, dim=1), "(b k) ... -> b k ...", b=batch)

        return Rollout(
            unpatchify(by_row(frames), self.config.patch, self.config.network.grid),
            by_row(features),
            by_row(states) if states else None,
            passes=horizon * (steps + 1) * len(actions),
        )

    @torch.no_grad()
    def propose(
        self,
        context: Context,
        candidates: int,
        horizon: int,
        steps: int = 4,
        generator: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Actions (B, K, H, A) in the environment's units, denoised together with their frames."""
        if context.instruction_BD is None:
            raise ValueError("proposing actions needs an instruction; give one to observe()")
        cache = context.cache.expand(candidates)
        anchor = repeat(context.anchor_BNC, "b n c -> (b k) h n c", k=candidates, h=horizon)
        noised = self._noise(anchor, _streams(generator, context.batch))
        instruction = repeat(context.instruction_BD, "b d -> (b k) d", k=candidates)
        made = self._denoise(noised, cache, steps, act=True, instruction_BD=instruction)
        assert made.action_BTA is not None
        return rearrange(self._in_units(made.action_BTA), "(b k) h a -> b k h a", k=candidates)

    @torch.no_grad()
    def guess(
        self,
        context: Context,
        candidates: int,
        horizon: int,
        generator: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """The policy prior's actions (B, K, H, A) in the environment's units, K times the same.

        Past the prior's own horizon its last action is kept. `generator` is not used.
        """
        latents = unpatchify(context.anchor_BNC, self.config.patch, self.config.network.grid)
        guess = self._guess(latents, context.state_BP, context.words_BL)
        steps = torch.arange(horizon, device=guess.device).clamp(max=guess.shape[1] - 1)
        return repeat(guess[:, steps], "b h a -> b k h a", k=candidates)

    @torch.no_grad()
    def react(
        self,
        frames: NDArray[np.uint8] | Tensor,
        instruction: str | Sequence[str],
        states: NDArray[np.float32] | Tensor | None = None,
    ) -> Tensor:
        """`guess` from the last frames alone, without the cost of observing: actions (B, A).

        Args:
            frames: (B, height, width, 3) uint8.
            instruction: one for all, or one a row.
            states: (B, P) proprioception, or None where it is not known.
        """
        images = torch.as_tensor(frames)[:, None]
        self._check_frames(images)
        given = None if states is None else torch.as_tensor(states)[:, None]
        state = self._state_tokens(given, len(images), 1)
        words, _, _ = self._instruct(instruction, len(images))
        known = None if states is None or state is None else state[:, 0]
        return self._guess(self._encode(images)[:, 0], known, words)[:, 0]

    def _guess(
        self, latents_BCHW: Tensor, state_BP: Tensor | None, words_BL: Tensor | None
    ) -> Tensor:
        if self.prior is None or words_BL is None:
            raise ValueError("a guess needs a model with a policy prior, and an instruction")
        return self._in_units(self.prior(latents_BCHW, state_BP, words_BL))

    def _in_units(self, normalised: Tensor) -> Tensor:
        spec = self.action_spec
        actions = spec.denormalize(normalised.float().clamp(-1, 1))
        low, high = (actions.new_tensor(bound) for bound in (spec.low, spec.high))
        return actions.clamp(low, high)

    def _noise(
        self, anchor: Tensor, streams: Sequence[torch.Generator], action: Tensor | None = None
    ) -> Frames:
        """Noise for frames (B * K, T, N, C), a stream a row.

        Given actions stay, and all candidates of a row share their noise; else each has its own.
        """
        frames, candidates = anchor.shape[1], len(anchor) // len(streams)
        distinct = candidates if action is None else 1

        def draw(*size: int) -> Tensor:
            rows = [torch.randn(distinct, frames, *size, generator=stream) for stream in streams]
            noise = torch.stack(rows).to(self.device, self.dtype)
            return repeat(noise, "b k ... -> (b r k) ...", r=candidates // distinct)

        video = draw(*anchor.shape[2:])
        state = draw(self.state_spec.size) if self.state_spec else None
        return Frames(
            video, anchor, draw(self.action_spec.size) if action is None else action, state
        )

    def _denoise(
        self,
        x: Frames,
        cache: Cache,
        steps: int,
        *,
        act: bool = False,
        instruction_BD: Tensor | None = None,
    ) -> Frames:
        """Euler steps from t=1 to 0; with `act` of the actions too, else they are known."""
        for now, then, size in steps_along(steps, self.config.time_shift):
            assert x.action_BTA is not None
            conditions = conditions_at(
                self.config.network,
                x.action_BTA,
                torch.full(x.action_BTA.shape[:2], not act, device=self.device),
                now,
                action_time=now if act else 0.0,
                instruction_BD=instruction_BD,
                step=size,
            )
            out = self.network(x, conditions, cache=cache)
            step = then - now
            x = replace(x, video_BTNC=x.video_BTNC + step * out.video_BTNC)
            if x.state_BTP is not None:
                x = replace(x, state_BTP=x.state_BTP + step * out.state_BTP)
            if act:
                x = replace(x, action_BTA=x.action_BTA + step * out.action_BTA)
        return x

    @torch.no_grad()
    def decode(self, rollout: Rollout | Tensor) -> NDArray[np.uint8]:
        """Imagined frames, or latents (..., C, h, w), as images (..., height, width, 3) uint8."""
        latents = rollout if isinstance(rollout, Tensor) else rollout.latents_BKHCHW
        return np.asarray(self.tokenizer.decode(latents).cpu().numpy())

    # -- judge -----------------------------------------------------------------------------------

    @torch.no_grad()
    def progress(self, context: Context, rollout: Rollout) -> Tensor:
        """gamma ** (steps left to success) of every imagined frame, (B, K, H) in [0, 1]."""
        if context.instruction_BD is None:
            raise ValueError("progress needs an instruction; give one to observe()")
        instruction = context.instruction_BD[:, None, None]
        return self.progress_head(rollout.features_BKHMD, instruction).sigmoid()  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_goal(
        self,
        images: NDArray[np.uint8] | Tensor,
        states: NDArray[np.float32] | Tensor | None = None,
    ) -> Tensor:
        """Features (B, M, D) of goal images (B, height, width, 3) uint8."""
        goal = torch.as_tensor(images)[:, None]
        self._check_frames(goal)
        given = None if states is None else torch.as_tensor(states)[:, None]
        tokens = self._state_tokens(given, len(goal), 1)
        known = None if states is None or tokens is None else tokens[:, 0]
        return self.goal_features(self._encode(goal)[:, 0], known)

    def goal_features(self, latents_BCHW: Tensor, state_BP: Tensor | None) -> Tensor:
        """Features (B, M, D) of frames as latents; `state_BP` is normalised, None where unknown."""
        video = patchify(latents_BCHW, self.config.patch)[:, None]
        batch = len(video)
        action = torch.zeros(batch, 1, self.action_spec.size, device=self.device)
        known = torch.zeros(batch, 1, dtype=torch.bool, device=self.device)
        state = self._state_tokens(None, batch, 1) if state_BP is None else state_BP[:, None]
        out: Output = self.network(
            Frames(video, torch.zeros_like(video), action, state),
            conditions_at(
                self.config.network, action, known, time=0.0, state_known=state_BP is not None
            ),
            feature_layers=(self.feature_layer,),
            stop_after=self.feature_layer,
        )
        return out.features[self.feature_layer][:, 0]

    @torch.no_grad()
    def steps_to_goal(self, rollout: Rollout, goal_features: Tensor) -> Tensor:
        """Predicted environment steps from every imagined frame to the goal, (B, K, H) >= 0."""
        goal = goal_features[:, None, None]
        return self.steps_head(rollout.features_BKHMD, goal).expm1()  # type: ignore[no-any-return]


def _streams(given: Sequence[torch.Generator] | None, batch: int) -> Sequence[torch.Generator]:
    """A random stream a row, the same for all where none is given."""
    streams = given or [torch.Generator().manual_seed(0) for _ in range(batch)]
    if len(streams) != batch:
        raise ValueError(f"{len(streams)} random streams for {batch} rows; give one each")
    return streams
