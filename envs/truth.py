"""The truth as a world model: futures are played in copies of the environments themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.simulation import copy_of, simulation_of

from selfflow_robotics.data.action_spec import ActionSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TrueContext:
    """The present states of B environments."""

    states: tuple[Any, ...]  # B, as Simulation.save gives them

    @property
    def batch(self) -> int:
        """B, the number of environments."""
        return len(self.states)


@dataclass(frozen=True)
class TrueRollout:
    """What happens to B environments under K action sequences of H actions.

    After the episode's end the state stays, rewards are 0 and the shortfall keeps its last value.
    """

    actions_BKHA: Tensor  # float32, environment units, as asked for
    states_BKHS: Tensor  # float64, physical state after each action
    rewards_BKH: Tensor  # float64
    success_BKH: Tensor  # bool, solved by then
    shortfall_BKH: Tensor  # float64, what is left to do after each action; 0 without a measure
    passes: int  # control steps simulated


class TrueDynamics:
    """Stands where a learned world model stands, and is never wrong: a planner's upper bound.

    Unlike a learned model it looks into the environments, not at what they show. They are not
    disturbed: futures are played in copies, each from the saved state, so that no candidate
    depends on another. What limits an episode from outside (a TimeLimit wrapper) is not known here.

    Args:
        envs: B environments made alike by ``gymnasium.make``, of a kind that
            :func:`simulation_of` knows.
        action_spec: what ``rollout`` takes; its q01 and q99 are the range that solvers search.
        shortfall: what is left to do in an unwrapped environment, 0 or more; called after each
            action while the task is unsolved.
        repeat: environment steps that each action is held.

    Example::

        dynamics = TrueDynamics(envs, RT1_ACTIONS, shortfall)
        plan = CEM(dynamics, summed_shortfall).plan(dynamics.observe())
    """

    def __init__(
        self,
        envs: Sequence[gymnasium.Env[Any, Any]],
        action_spec: ActionSpec,
        shortfall: Callable[[Any], float] | None = None,
        repeat: int = 1,
    ) -> None:
        if not envs or repeat < 1:
            raise ValueError(
                f"TrueDynamics got {len(envs)} environments and repeat={repeat}; "
                "each must be 1 or more"
            )
        self.action_spec, self.shortfall, self.repeat = action_spec, shortfall, repeat
        self._originals = [simulation_of(env) for env in envs]
        for row, env in enumerate(envs):
            if (made := _made(env)) != _made(envs[0]):
                raise ValueError(
                    f"environment {row} was made as {made}, environment 0 as {_made(envs[0])}, but "
                    "one copy plays for all; give environments made alike"
                )
        self._copy = copy_of(envs[0])

    def observe(
        self,
        frames: NDArray[np.uint8] | None = None,
        past_actions: NDArray[np.float32] | None = None,
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
        *,
        rows: Sequence[int] | None = None,
    ) -> TrueContext:
        """Save the environments' present states; what a learned model would read is ignored.

        Args:
            rows: which environments; all when not given.
        """
        chosen = range(len(self._originals)) if rows is None else rows
        return TrueContext(tuple(self._originals[row].save() for row in chosen))

    def rollout(
        self, context: TrueContext, actions_BKHA: Tensor, /, *, generator: Any = None
    ) -> TrueRollout:
        """Play all candidates; nothing is random, so the generator is ignored.

        Args:
            context: from ``observe``.
            actions_BKHA: environment units, inside the bounds; float32 on CPU.

        Raises:
            ValueError: actions of another shape, or that are not finite.
        """
        import torch

        shape, size = tuple(actions_BKHA.shape), self.action_spec.size
        if len(shape) != 4 or shape[0] != context.batch or shape[3] != size:
            raise ValueError(
                f"rollout got actions of shape {shape} for {context.batch} environments and "
                f"actions of {size} entries; they must be (B, K, H, A)"
            )
        actions = actions_BKHA.detach().cpu().numpy()
        if not np.isfinite(actions).all():
            raise ValueError("rollout got actions that are not finite; nobody can play them")
        played = [
            self._play(state, sequence)
            for state, row in zip(context.states, actions, strict=True)
            for sequence in row
        ]

        def gathered(name: str) -> Tensor:
            values = np.stack([getattr(future, name) for future in played])
            return torch.from_numpy(values.reshape(*shape[:3], *values.shape[2:]))

        return TrueRollout(
            actions_BKHA=actions_BKHA,
            states_BKHS=gathered("states_HS"),
            rewards_BKH=gathered("rewards_H"),
            success_BKH=gathered("success_H"),
            shortfall_BKH=gathered("shortfall_H"),
            passes=sum(future.steps for future in played),
        )

    def _play(self, state: Any, actions_HA: NDArray[np.float32]) -> _Future:
        simulation = self._copy
        simulation.restore(state)
        horizon, steps = len(actions_HA), 0
        states: list[NDArray[np.float64]] = []
        rewards, shortfall = np.zeros(horizon), np.zeros(horizon)
        success = np.zeros(horizon, np.bool_)
        solved = over = False
        for h, action in enumerate(actions_HA):
            for _ in range(0 if over else self.repeat):
                reward, solved, over = simulation.play(action)
                rewards[h] += reward
                steps += 1
                if over:
                    break
            states.append(simulation.physics())
            success[h] = solved
            if self.shortfall is not None and not solved:
                shortfall[h] = self.shortfall(simulation.env)
        return _Future(np.stack(states), rewards, success, shortfall, steps)


@dataclass(frozen=True)
class _Future:
    """One candidate's."""

    states_HS: NDArray[np.float64]
    rewards_H: NDArray[np.float64]
    success_H: NDArray[np.bool_]
    shortfall_H: NDArray[np.float64]
    steps: int


def _made(env: gymnasium.Env[Any, Any]) -> str:
    """What decides the physics of an environment: its id, and how it was made save for drawing."""
    spec = env.unwrapped.spec
    if spec is None:
        return "nobody knows what"
    drawing = ("render_mode", "image_size")
    how = {key: value for key, value in sorted(spec.kwargs.items()) if key not in drawing}
    return f"{spec.id} {how}" if how else spec.id


def negative_return(context: Any, rollout: TrueRollout) -> Tensor:
    """Costs (B, K): the rewards' negative sum."""
    return -rollout.rewards_BKH.sum(dim=-1)


def summed_shortfall(context: Any, rollout: TrueRollout) -> Tensor:
    """Costs (B, K): what was left to do, summed over the future, so that sooner is better."""
    return rollout.shortfall_BKH.sum(dim=-1)


def box_actions(space: gymnasium.spaces.Box, rate_hz: float) -> ActionSpec:
    """The specification of an environment's Box of which nothing is known but its bounds.

    Solvers search all of it: q01 and q99 are the bounds.

    Args:
        space: one-dimensional and bounded.
        rate_hz: control steps a second.

    Raises:
        ValueError: an unbounded Box, or one of another shape.
    """
    box = isinstance(space, gymnasium.spaces.Box)
    if not box or len(space.shape) != 1 or not space.is_bounded():
        raise ValueError(f"{space} has no finite bounds in one dimension to search between")
    low, high = (tuple(float(v) for v in bound) for bound in (space.low, space.high))
    size = len(low)
    return ActionSpec(
        names=tuple(f"action {i}" for i in range(size)),
        units=("1",) * size,
        frame="the environment's own",
        rotation="none",
        gripper="none",
        rate_hz=rate_hz,
        low=low,
        high=high,
        q01=low,
        q99=high,
    )
