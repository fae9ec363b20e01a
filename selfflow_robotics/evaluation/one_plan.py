"""One plan in one task, beside what it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import RT1_ACTIONS, ActionSpec
from selfflow_robotics.envs.names import own_task
from selfflow_robotics.evaluation.video.writing import side_by_side, write_video
from selfflow_robotics.machine.precision import Precision, computing
from selfflow_robotics.planning.config import PlannerConfig, make_solver
from selfflow_robotics.planning.cost import CostConfig, make_objective
from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.policies.experts import make_expert
from selfflow_robotics.world_model.world_model import WorldModel


@dataclass(frozen=True, eq=False)
class OnePlan:
    """A plan, what was imagined of it and what it led to."""

    title: str  # task, seed, step and instruction
    spec: ActionSpec  # of single steps
    plan: Plan
    actions_HA: NDArray[np.float32]  # of single steps, environment units
    imagined: NDArray[np.uint8]  # (H, height, width, 3)
    happened: NDArray[np.uint8]  # the same of what was carried out, until success
    success: bool

    def save(self, path: Path) -> Path:
        """Write what was imagined beside what happened, as :func:`write_video` does."""
        columns = [("happened", self.happened), ("imagined", self.imagined)]
        return write_video(path, side_by_side(columns), fps=self.spec.rate_hz)

    def __str__(self) -> str:
        """Actions, costs and time."""
        plan = self.plan
        named = zip(self.spec.names, self.spec.units, strict=True)
        entries = [name if unit == "1" else f"{name} {unit}" for name, unit in named]
        rows = [self.title, "step  " + "".join(f"{entry:>10}" for entry in entries)]
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
    task: str = "PickCokeCan",
    seed: int = 30_000,
    after: int = 0,
    *,
    goal: Path | None = None,
    cost: CostConfig = CostConfig(),
    planner: PlannerConfig = PlannerConfig(),
    robot: str = "primitive",
    precision: Precision = "auto",
    name: str = "the world model",
) -> OnePlan:
    """Play a task of this project, plan once, and carry the plan out.

    Args:
        task: its name, as PickCokeCan.
        seed: of the episode and the plan.
        after: steps that the expert plays before.
        goal: picture of what to reach; the instruction when None.
        name: of the world model, in messages; its folder, where `cost` names a probe beside it.

    Raises:
        ValueError: an unknown task, another robot's model, a setting that makes no sense, or the
            episode ends before the plan starts.
    """
    task = own_task(task)
    spec = world_model.step_spec
    spec.require_match(RT1_ACTIONS, name, task)
    with computing(precision, world_model.device):
        objective = make_objective(world_model, name, cost, goal, planner)
        solver = make_solver(world_model, planner, objective)
    env = gymnasium.make(task, image_size=world_model.camera_size, robot=robot)
    try:
        seen, actions = _play(env, seed, after)
        seen = seen[-world_model.history_len :]
        past = np.asarray(actions[len(actions) - len(seen) + 1 :], np.float32)
        reads_states = world_model.state_spec is not None
        context = world_model.observe(
            np.stack([observation["image"] for observation in seen])[None],
            past.reshape(1, len(seen) - 1, spec.size),
            seen[-1]["instruction"],
            np.stack([o["proprioception"] for o in seen])[None] if reads_states else None,
        )
        with computing(precision, world_model.device):
            plan = solver.plan(context, seeds=[seed])
        imagined = world_model.decode(world_model.rollout(context, plan.actions_BHA[:, None]))[0, 0]
        actions_HA = plan.actions_BHA[0].reshape(-1, spec.size).numpy()
        happened, success = _carry_out(env, actions_HA)
    finally:
        env.close()
    title = f"{task}, seed {seed}, step {after}: {seen[-1]['instruction']}"
    return OnePlan(title, spec, plan, actions_HA, imagined, happened, success)


def _play(
    env: Any, seed: int, after: int
) -> tuple[list[dict[str, Any]], list[NDArray[np.float32]]]:
    """Observations and actions of the expert's first steps."""
    observation, _ = env.reset(seed=seed)
    seen, actions = [observation], []
    for step in range(after):
        action = make_expert(env).act()
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
