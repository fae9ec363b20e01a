"""What a world model says of frames, true or imagined: progress, steps to a goal, steps left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..images.fit import ImageFit, fitted_frames
from ..model.critic import Critic
from ..model.dit import DiT
from ..model.heads import ProgressHead, StepsHead
from ..model.tokens import patchify
from .clean_frames import clean_pass
from .imagination.futures import gradients_of
from .translation import Translation
from .values import Context, Rollout, WorldModelConfig

Goal: TypeAlias = tuple[Tensor, Tensor | None]
"""Frames to reach, one a row: latents (B, C, h, w), normalised proprioception (B, P) or None."""


class Judging(nn.Module):
    """The heads of a world model and its critic."""

    config: WorldModelConfig
    network: DiT
    translation: Translation
    progress_head: ProgressHead | None
    steps_head: StepsHead | None
    critic: Critic | None
    feature_layer: int

    def _require_features(self, use: str) -> None:
        if self.config.network.markov:
            raise ValueError(
                f"this model cannot {use}: its frames see the last one alone, and it only imagines "
                "what actions lead to; use a model trained without model.markov"
            )

    def _require_actions(self, use: str) -> None:
        if not self.config.network.acts:
            raise ValueError(
                f"this model cannot {use}: it only imagines what actions lead to; use a model "
                "trained without model.markov, or with model.acting"
            )

    def progress(self, context: Context, rollout: Rollout) -> Tensor:
        """gamma ** (steps left to success) of every imagined frame, (B, K, H) in [0, 1]."""
        self._require_features("tell progress")
        assert self.progress_head is not None and rollout.features_BKHMD is not None
        if context.instruction_BD is None:
            raise ValueError("progress needs an instruction; give one to observe()")
        instruction = context.instruction_BD[:, None, None]
        with gradients_of(rollout.features_BKHMD):
            return self.progress_head(rollout.features_BKHMD, instruction).sigmoid()  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_goal(
        self,
        images: NDArray[np.uint8] | Tensor,
        states: NDArray[np.float32] | Tensor | None = None,
    ) -> Tensor:
        """Features (B, M, D) of goal images (B, height, width, 3) uint8."""
        return self.goal_features(*self.goal_frame(images, states))

    @torch.no_grad()
    def goal_frame(
        self,
        images: NDArray[np.uint8] | Tensor,
        states: NDArray[np.float32] | Tensor | None = None,
    ) -> Goal:
        """Latents (B, C, h, w) of goal images, and normalised proprioception; None: unknown."""
        goal = fitted_frames(
            images[:, None], ImageFit(self.config.image_size, self.config.image_fit), 1
        )
        given = None if states is None else torch.as_tensor(states)[:, None]
        tokens = self.translation.states(given, len(goal), 1)
        known = None if states is None or tokens is None else tokens[:, 0]
        return self.translation.latents(goal)[:, 0], known

    def goal_features(self, latents_BCHW: Tensor, state_BP: Tensor | None) -> Tensor:
        """Features (B, M, D) of frames as latents; `state_BP` is normalised, None where unknown."""
        self._require_features("compare with a goal")
        video = patchify(latents_BCHW, self.config.patch)[:, None]
        unknown = video.new_zeros(len(video), 1, self.config.known_actions.size)
        state, layer = None if state_BP is None else state_BP[:, None], self.feature_layer
        out = clean_pass(self.network, video, unknown, state, layer, features_alone=True)
        return out.features[layer][:, 0]

    def steps_to_goal(self, rollout: Rollout, goal_features: Tensor) -> Tensor:
        """Predicted environment steps from every imagined frame to the goal, (B, K, H) >= 0."""
        self._require_features("compare with a goal")
        assert self.steps_head is not None and rollout.features_BKHMD is not None
        goal = goal_features[:, None, None]
        with gradients_of(rollout.features_BKHMD):
            return self.steps_head(rollout.features_BKHMD, goal).expm1()  # type: ignore[no-any-return]

    def steps_left(self, context: Context, rollout: Rollout, goal: Goal | None = None) -> Tensor:
        """Environment steps still needed from every imagined frame, (B, K, H, heads).

        Args:
            goal: what is to be reached, from :meth:`goal_frame`; None: what the instruction says.

        Raises:
            ValueError: the model has no critic, or there is neither a goal nor an instruction.
        """
        words_BL, (latents, state) = context.words_BL, (rollout.latents_BKHCHW, rollout.states_BKHP)
        with gradients_of(latents):
            return self.translation.tokenizer.temporal * _steps_left(
                self.critic, latents, state, words_BL, goal, rollout.last_BCHW
            )

    @torch.no_grad()
    def steps_left_of(
        self,
        latents_BCHW: Tensor,
        states_BP: Tensor | None,
        instruction: str | Sequence[str] | None,
        goal: Goal | None = None,
    ) -> Tensor:
        """`steps_left` of frames as latents, (B, heads); `states_BP` is normalised."""
        words_BL, _, _ = self.translation.instruction(instruction, len(latents_BCHW))
        found = _steps_left(self.critic, latents_BCHW, states_BP, words_BL, goal)
        return self.translation.tokenizer.temporal * found


def _steps_left(
    critic: Critic | None,
    latents: Tensor,
    states: Tensor | None,
    words_BL: Tensor | None,
    goal: Goal | None,
    before_BCHW: Tensor | None = None,
) -> Tensor:
    """Frames still needed, (B, ..., heads), from latents (B, ..., C, h, w) and states (B, ..., P).

    A goal is asked for where there is one, what is told otherwise; `before_BCHW` is the last frame
    that was seen.

    Raises:
        ValueError: no critic, or nothing to ask it for.
    """
    if critic is None:
        raise ValueError(
            "this model has no critic to say how many steps are left; fit one to it: selfflow "
            "finetune trainer.steps=0 critic.steps=4000 start=FOLDER data=FOLDER"
        )
    if goal is None and words_BL is None:
        raise ValueError("a critic needs an instruction or a goal; give one to observe()")
    frames = latents.shape[:-3]

    def each(rows: Tensor | None) -> Tensor | None:
        """What is given once a row, for every frame of the row."""
        return None if rows is None else rows.repeat_interleave(frames[1:].numel(), dim=0)

    asked = (each(words_BL), None, None) if goal is None else (None, *map(each, goal))
    state = None if states is None else states.flatten(0, -2)
    logits = critic(latents.flatten(0, -4), state, *asked, before_BCHW)
    return critic.steps(logits).reshape(*frames, -1)
