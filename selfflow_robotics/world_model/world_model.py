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
from torch import Tensor

from ..data.action_spec import ActionSpec, StateSpec
from ..images.fit import ImageFit, fitted_frames
from ..machine.precision import usable
from ..model.attention import Cache
from ..model.critic import Critic
from ..model.dit import DiT
from ..model.heads import ProgressHead, StepsHead
from ..model.modality import PROPRIOCEPTION, VIDEO
from ..model.prior import PolicyPrior
from ..model.tokens import patchify, unpatchify
from ..streams import streams_of_rows
from ..tokenizers.tokenizer import Tokenizer
from .clean_frames import clean_pass
from .folder import load_world_model, save_world_model
from .imagination.futures import Imagination, gradients_of
from .inverse_dynamics import actions_between
from .judging import Judging
from .seen import seen
from .translation import Translation
from .values import Context, Rollout, WorldModelConfig


class WorldModel(Judging):
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
        self.critic = Critic(config.critic) if config.critic else None
        # Heads read features of clean frames, which frames that see none but themselves have not.
        reads = not config.network.markov
        self.progress_head = ProgressHead(config.network.width) if reads else None
        self.steps_head = StepsHead(config.network.width) if reads else None
        self.feature_layer = config.network.layer(0.7)
        self.translation = Translation(config, tokenizer, self.network)
        self.imagination = Imagination(self.network, self.feature_layer, config.time_shift)

    @property
    def action_spec(self) -> ActionSpec:
        """What its actions mean; an error in a model of video, which knows none."""
        return self.config.known_actions

    @property
    def action_block(self) -> int:
        """Steps of the environment that an action of `rollout` and an imagined frame span."""
        return self.tokenizer.temporal

    @property
    def step_spec(self) -> ActionSpec:
        """What one step's action means; the same as `action_spec` where a block is a step."""
        return self.action_spec.step(self.action_block)

    @property
    def state_spec(self) -> StateSpec | None:
        """What its proprioception means; None where it has none."""
        return self.config.state_spec

    @property
    def history_len(self) -> int:
        """Frames that `observe` looks at, at most; see `Tokenizer.frames_of`."""
        return self.tokenizer.frames_of(self.config.history_len)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images it reads and draws; see `image_fit`."""
        return self.config.image_size

    @property
    def image_fit(self) -> ImageFit:
        """How images of another size are made `image_size`, as in training."""
        return ImageFit(self.config.image_size, self.config.image_fit)

    @property
    def camera_size(self) -> tuple[int, int]:
        """(height, width) that its images of training had before: what a simulator should draw."""
        return self.config.camera_size or self.config.image_size

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.translation.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's weights."""
        return self.translation.dtype

    @classmethod
    def from_pretrained(cls, name_or_path: str, device: torch.device | str = "cpu") -> WorldModel:
        """Load a shipped model by name, a folder, or an `org/name` repository of the Hub."""
        there = usable(device)
        return load_world_model(name_or_path, cls).to(there).eval()

    def save_pretrained(self, folder: str) -> None:
        """Write `config.json` and `model.safetensors` (bfloat16) into a folder, atomically."""
        save_world_model(folder, self.config, self.tokenizer, self.state_dict())

    @torch.no_grad()
    def observe(
        self,
        frames: NDArray[np.uint8] | Tensor,
        past_actions: NDArray[np.float32] | Tensor,
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | Tensor | None = None,
    ) -> Context:
        """Encode history once.

        All rows have equally many frames. An environment that was reset has fewer than others:
        observe and plan for it apart, as the policies here do.

        Args:
            frames: (B, S, height, width, 3) uint8, oldest first, S from 1 to `history_len`; those
                of another size than `image_size` are made it as `image_fit` says. Where a latent
                frame spans several, the oldest that do not fill one are left out.
            past_actions: (B, S - 1, A) in the environment's units, as `step_spec` says; row i led
                from frame i to i + 1.
            instruction: one for all, one a row, or None.
            states: (B, S, P) proprioception, or None where it is not known.

        Raises:
            ValueError: a shape that does not fit, or a word the model does not know.
        """
        images = fitted_frames(frames, self.image_fit, self.history_len)
        batch, count = images.shape[:2]
        actions = torch.as_tensor(past_actions, dtype=torch.float32, device=self.device)
        spec, block = self.step_spec, self.action_block
        if actions.shape != (batch, count - 1, spec.size):
            raise ValueError(
                f"past_actions has shape {tuple(actions.shape)}; {count} frames need "
                f"{(batch, count - 1, spec.size)}"
            )
        spare = (count - 1) % block  # of the oldest, which fill no block
        led_to = rearrange(spec.normalize(actions[:, spare:]), "b (s n) a -> b s (n a)", n=block)
        led_to = torch.cat((led_to.new_zeros(batch, 1, led_to.shape[-1]), led_to), dim=1)
        state = None if states is None else self.translation.states(states, batch, count)
        newest = slice(-self.config.history_len, None)
        context = self.observe_latents(
            self.translation.latents(images[:, spare:])[:, newest],
            led_to[:, newest],
            None if state is None else state[:, spare::block][:, newest],
            instruction,
        )
        last = actions[:, -block:].flatten(1) if count > block else None
        return replace(context, last_action_BA=last)

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
        cache = Cache((), 0)
        if not self.config.network.markov:
            layer = self.feature_layer
            cache = clean_pass(self.network, video, led_to_BSA, states_BSP, layer).cache
        last = None if states_BSP is None else states_BSP[:, -1]
        told = self.translation.instruction(instruction, len(video))
        return Context(len(video), cache, video[:, -1], last, *told)

    def rollout(
        self,
        context: Context,
        actions_BKHA: Tensor,
        steps: int = 1,
        together: bool = False,
        generator: Sequence[torch.Generator] | None = None,
    ) -> Rollout:
        """Imagine the frames that candidate actions lead to.

        All candidates of a row start from the same noise, so they differ by their actions alone.
        As many are imagined at once as fit in memory. Differentiable in the actions where they
        require gradients; then all candidates are imagined at once.

        Args:
            actions_BKHA: in the environment's units.
            steps: Euler steps from noise to a frame; 1 gives its conditional mean.
            together: all frames of a future in the same passes, rather than one after another.
            generator: a random stream a row, so that no row depends on the others; None fixes them.

        Raises:
            ValueError: actions of another shape, or another number of streams than rows.
            MemoryError: there is no memory for a single candidate.
        """
        actions_BKHA = self.translation.actions(context, actions_BKHA)
        streams = streams_of_rows(generator, context.batch)
        with gradients_of(actions_BKHA):
            normalised = self.action_spec.normalize(actions_BKHA)
            features, shown = self.imagination.rollout(
                context, normalised, steps, together, streams
            )
        return Rollout(
            unpatchify(shown.pop(VIDEO), self.config.patch, self.config.network.grid),
            features,
            shown.pop(PROPRIOCEPTION, None),
            actions_BKHA,
            unpatchify(context.anchor_BNC, self.config.patch, self.config.network.grid),
            passes=actions_BKHA.shape[:3].numel() * (steps + (features is not None)),
            more=shown,
        )

    def seen(
        self,
        frames: NDArray[np.uint8],
        actions_KSA: Tensor,
        states: NDArray[np.float32] | None,
        history: int,
    ) -> Rollout:
        """See :func:`~selfflow_robotics.world_model.seen.seen`."""
        return seen(self.translation, self.feature_layer, frames, actions_KSA, states, history)

    def compile_rollout(self) -> None:
        """Let `torch.compile` fuse what the network's blocks do, for rollouts and all other uses.

        The first rollouts take up to minutes, and later ones with other numbers of frames may; then
        it pays on a GPU. Values change by rounding alone.
        """
        self.network.compile_blocks()

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
        self._require_actions("propose or refine actions")
        if min(candidates, horizon) < 1:
            raise ValueError(f"{candidates} candidates of {horizon} steps; ask for 1 or more")
        streams = streams_of_rows(generator, context.batch)
        return self.translation.in_units(
            self.imagination.propose(context, candidates, horizon, steps, streams)
        )

    @torch.no_grad()
    def refine(
        self,
        context: Context,
        actions_BKHA: Tensor,
        time: float,
        steps: int = 2,
        generator: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Given actions made more like those the policy use proposes.

        The frames that the actions lead to are imagined in one pass, noised to `time` together with
        the actions, and both are denoised as in :meth:`propose`.

        Args:
            actions_BKHA: in the environment's units.
            time: 0 keeps the actions, 1 forgets them.
            steps: Euler steps from `time` to 0.
            generator: a random stream a row; None fixes them.

        Returns:
            Actions (B, K, H, A) in the environment's units.
        """
        self._require_actions("propose or refine actions")
        actions_BKHA = self.translation.actions(context, actions_BKHA)
        if not 0 <= time <= 1:
            raise ValueError(f"time is {time}; give 0 (keep the actions) to 1 (forget them)")
        given = self.action_spec.normalize(actions_BKHA)
        streams = streams_of_rows(generator, context.batch)
        return self.translation.in_units(
            self.imagination.refine(context, given, time, steps, streams)
        )

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
        if self.action_block > 1:
            raise ValueError("react sees one frame, and this model's span several; use guess")
        images = fitted_frames(frames[:, None], self.image_fit, 1)
        given = None if states is None else torch.as_tensor(states)[:, None]
        state = self.translation.states(given, len(images), 1)
        words, _, _ = self.translation.instruction(instruction, len(images))
        known = None if states is None or state is None else state[:, 0]
        return self._guess(self.translation.latents(images)[:, 0], known, words)[:, 0]

    def _guess(
        self, latents_BCHW: Tensor, state_BP: Tensor | None, words_BL: Tensor | None
    ) -> Tensor:
        if self.prior is None or words_BL is None:
            raise ValueError("a guess needs a model with a policy prior, and an instruction")
        return self.translation.in_units(self.prior(latents_BCHW, state_BP, words_BL))

    @torch.no_grad()
    def infer_actions(
        self,
        frames: NDArray[np.uint8] | Tensor,
        states: NDArray[np.float32] | Tensor | None = None,
        steps: int = 4,
        generator: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """The actions that led from each frame to the next, one inferred after another.

        `steps` passes of the network an action, and one for the history.

        Args:
            frames: (B, S, height, width, 3) uint8, S from 2 on; where a latent frame spans several
                steps, one frame and whole blocks of so many.
            states: (B, S, P) proprioception, or None where it is not known.
            steps: Euler steps from noise.
            generator: a random stream a row; None fixes them.

        Returns:
            (B, S - 1, A) in the environment's units.

        Raises:
            ValueError: too few frames, a shape that does not fit, or actions that are not finite.
        """
        self._require_features("infer actions")
        block = self.action_block
        images = fitted_frames(frames, self.image_fit, most=10**6)
        batch, count = images.shape[:2]
        if count < 1 + block or (count - 1) % block:
            raise ValueError(
                f"{count} frames; give at least {1 + block}, and {block} for each more"
            )
        video = patchify(self.translation.latents(images), self.config.patch)
        told = None if states is None else self.translation.states(states, batch, count)
        given = None if told is None else told[:, ::block]
        streams = streams_of_rows(generator, batch)
        found = self.translation.in_units(
            actions_between(self.network, self.config, video, given, steps, streams)
        )
        return rearrange(found, "b s (n a) -> b (s n) a", n=block)

    @torch.no_grad()
    def decode(self, rollout: Rollout | Tensor) -> NDArray[np.uint8]:
        """Imagined frames, or latents (..., C, h, w), as images (..., height, width, 3) uint8.

        Of a rollout whose frames span blocks of steps, one image a step: (B, K, H * block, ...).
        """
        if isinstance(rollout, Tensor):
            images = self.tokenizer.decode(rollout)
        else:
            images = self.tokenizer.decode_after(rollout.last_BCHW, rollout.latents_BKHCHW)
        return np.asarray(images.cpu().numpy())
