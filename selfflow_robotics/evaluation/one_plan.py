"""One plan in one task, beside what it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.machine.precision import Precision, computing
from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.planning.protocol import Solver
from selfflow_robotics.policies.experts import make_expert
from selfflow_robotics.world_model.world_model import WorldModel


@dataclass(frozen=True, eq=False)
class OnePlan:
    """A plan, what was imagined of it and what it led to."""

    plan: Plan
    instruction: str
    actions_HA: NDArray[np.float32]  # of single steps, environment units
    imagined: NDArray[np.uint8]  # (H, height, width, 3)
    happened: NDArray[np.uint8]  # the same of what was carried out, until success
    success: bool

    def table(self, spec: ActionSpec) -> str:
        """Actions, costs and time, as text."""
        plan = self.plan
        named = zip(spec.names, spec.units, strict=True)
        entries = [name if unit == "1" else f"{name} {unit}" for name, unit in named]
        rows = ["step  " + "".join(f"{entry:>10}" for entry in entries)]
        for step, action in enumerate(self.actions_HA.tolist(), start=1):
            rows.append(f"{step:4}  " + "".join(f"{value:10.4f}" for value in action))
        rows.append(
            f"cost {float(plan.cost_B[0]):.4f}, {float(plan.initial_cost_B[0]):.4f} before the "
            f"search; {plan.iterations} iterations, {plan.passes} frames computed, "
            f"{plan.seconds:.2f} s"
        )
        rows.append("carried out, it " + ("succeeds" if self.success else "does not succeed yet"))
        return "\n".join(rows)


def plan_and_carry_out(
    world_model: WorldModel,
    solver: Solver,
    task: str,
    seed: int,
    after: int = 0,
    robot: str = "primitive",
    precision: Precision = "auto",
) -> OnePlan:
    """Play a task of this project, plan once, and carry the plan out.

    Args:
        world_model: sees and imagines.
        solver: plans in it.
        task: Gymnasium id.
        seed: of the episode and the plan.
        after: steps that the expert plays before.
        robot: its body.
        precision: that is planned with.

    Raises:
        ValueError: the episode ends before the plan starts.
    """
    env = gymnasium.make(task, image_size=world_model.camera_size, robot=robot)
    try:
        seen, actions = _play(env, seed, after)
        seen = seen[-world_model.history_len :]
        past = np.asarray(actions[len(actions) - len(seen) + 1 :], np.float32)
        reads_states = world_model.state_spec is not None
        size = world_model.step_spec.size
        context = world_model.observe(
            np.stack([observation["image"] for observation in seen])[None],
            past.reshape(1, len(seen) - 1, size),
            seen[-1]["instruction"],
            np.stack([o["proprioception"] for o in seen])[None] if reads_states else None,
        )
        with computing(precision, str(world_model.device)):
            plan = solver.plan(context, seeds=[seed])
        imagined = world_model.decode(world_model.rollout(context, plan.actions_BHA[:, None]))[0, 0]
        actions_HA = plan.actions_BHA[0].reshape(-1, size).numpy()
        happened, success = _carry_out(env, actions_HA)
    finally:
        env.close()
    return OnePlan(plan, seen[-1]["instruction"], actions_HA, imagined, happened, success)


def _play(
    env: Any, seed: int, after: int
) -> tuple[list[dict[str, Any]], list[NDArray[np.float32]]]:
    """Observations and actions of the expert's first steps."""
    observation, _ = env.reset(seed=seed)
    seen, actions = [observation], []
    expert = make_expert(env) if after else None
    for step in range(after):
        assert expert is not None
        action = expert.act()
        observation, _, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        actions.append(action)
        if terminated or truncated:
            raise ValueError(
                f"the episode of seed {seed} ends after {step + 1} steps, before the plan; "
                f"give after below {step + 1}"
            )
    return seen, actions


def _carry_out(env: Any, actions_HA: NDArray[np.float32]) -> tuple[NDArray[np.uint8], bool]:
    """Frames after each action, until success."""
    frames, success = [], False
    for action in actions_HA:
        observation, _, _, truncated, info = env.step(action)
        frames.append(observation["image"])
        success = success or bool(info["success"])
        if success or truncated:
            break
    return np.stack(frames), success
