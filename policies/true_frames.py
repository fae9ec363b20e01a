"""The planner that need not imagine: what its cost and its search are worth with true frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import EnvMapping, observe_env
from selfflow_robotics.envs.simulation import copy_of, simulation_of
from torch import Tensor

from selfflow_robotics.planning.search import Search
from selfflow_robotics.world_model.values import Rollout
from selfflow_robotics.world_model.world_model import WorldModel

from .history import Window
from .planner import PlannerPolicy


class TrueFrames:
    """Stands where a world model stands: futures are carried out in a copy, drawn and encoded.

    Args:
        world_model: encodes what is drawn, as its cost reads it.
        envs: tasks of this project made alike, one a row. They are not disturbed.

    Raises:
        ValueError: environments that cannot be copied.
    """

    def __init__(self, world_model: WorldModel, envs: Sequence[gymnasium.Env[Any, Any]]) -> None:
        self.world_model, self.action_spec = world_model, world_model.action_spec
        self.observe = world_model.observe
        self._originals = [simulation_of(env) for env in envs]
        self._copy = copy_of(envs[0]) if envs else None
        self._now: list[tuple[Any, Window]] = []

    def stand_at(self, rows: Sequence[int], windows: Sequence[Window]) -> None:
        """Let the next rollouts begin where these rows are, which have seen these windows."""
        saved = [self._originals[row].save() for row in rows]
        self._now = list(zip(saved, windows, strict=True))

    def rollout(self, context: Any, actions_BKHA: Tensor, /, *, generator: Any = None) -> Rollout:
        """The rollout of what truly happens; after success all stays as it is."""
        rows = [
            self._seen(saved, window, actions_KHA)
            for (saved, window), actions_KHA in zip(self._now, actions_BKHA, strict=True)
        ]
        features = [row.features_BKHMD for row in rows if row.features_BKHMD is not None]
        states = [row.states_BKHP for row in rows if row.states_BKHP is not None]
        return Rollout(
            latents_BKHCHW=torch.cat([row.latents_BKHCHW for row in rows]),
            features_BKHMD=torch.cat(features) if features else None,
            states_BKHP=torch.cat(states) if states else None,
            actions_BKHA=actions_BKHA,
            last_BCHW=torch.cat([row.last_BCHW for row in rows]),
            passes=0,
        )

    def _seen(self, saved: Any, window: Window, actions_KHA: Tensor) -> Rollout:
        """One row's."""
        model = self.world_model
        steps_KSA = actions_KHA.reshape(len(actions_KHA), -1, model.step_spec.size)
        futures = [self._carry_out(saved, steps_SA) for steps_SA in steps_KSA.numpy()]
        return seen_after(model, window, steps_KSA, futures)

    def _carry_out(
        self, saved: Any, steps_SA: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Images (S, height, width, 3) and proprioception (S, P) after each step."""
        assert self._copy is not None
        self._copy.restore(saved)
        images, states, over = [], [], False
        for action in steps_SA:
            if not over:
                _, _, over = self._copy.play(action)
                shown = observe_env(self._copy.env.observe(), EnvMapping(), vectorized=False)
            assert shown.proprioception is not None
            images.append(shown.image[0])
            states.append(shown.proprioception[0])
        return np.stack(images), np.stack(states)


def seen_after(
    world_model: Any,
    window: Window,
    steps_KSA: Tensor,
    futures: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32] | None]],
) -> Rollout:
    """A rollout of K futures that happened, each of S steps after what one row has seen.

    Args:
        world_model: has a method ``seen``, as :class:`WorldModel`'s.
        window: of one row.
        steps_KSA: what was done, in the environment's units.
        futures: of each, images (S, height, width, 3) and proprioception (S, P), if there is any.
    """
    fit, reads_states = world_model.image_fit, world_model.state_spec is not None
    frames = [np.concatenate([window.frames[0], fit(images)]) for images, _ in futures]
    states = None
    if window.states is not None and reads_states:
        felt = [told for _, told in futures if told is not None]
        states = np.stack([np.concatenate([window.states[0], told]) for told in felt])
    past_KSA = torch.from_numpy(window.past_actions).expand(len(futures), -1, -1)
    done_KSA = torch.cat((past_KSA, steps_KSA), dim=1)
    found: Rollout = world_model.seen(np.stack(frames), done_KSA, states, window.frames.shape[1])
    return found


class TrueFramesPolicy(PlannerPolicy):
    """Plans as the planner does, by frames that are drawn in copies of the environments.

    Args:
        solver: of the planner; it searches in the copies instead.
        envs: that it acts in, one a row.
        settings: of :class:`PlannerPolicy`.
    """

    name = "true-frames"

    def __init__(
        self,
        world_model: WorldModel,
        solver: Search,
        envs: Sequence[gymnasium.Env[Any, Any]],
        **settings: Any,
    ) -> None:
        self.truth = TrueFrames(world_model, envs)
        super().__init__(world_model, replace(solver, world_model=self.truth), **settings)

    def decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        self.truth.stand_at(rows, [self.history.window([row]) for row in rows])
        return super().decide(context, rows, seeds)
