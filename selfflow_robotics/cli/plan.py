"""`selfflow plan`: one plan, looked at closely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from selfflow_robotics.cli.costs import CostConfig
from selfflow_robotics.cli.policies import PlannerConfig
from selfflow_robotics.machine.precision import Precision, computing, use_threads
from selfflow_robotics.storage.whole_file import require_writable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = """Make one plan in one task, and show it beside what it leads to.

Reads a world model. Plays the task from its seed for "after" steps (by its expert), plans once,
prints the plan, its cost and its time, carries it out, and writes a video of what was imagined
beside what happened to "out". The goal is the task's instruction, a picture (goal), or values of
the robot's state that a probe reads (cost.probe, cost.target: see "selfflow probe").
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow plan`."""

    world_model: str = field(
        default="tabletop-small", metadata={"help": "shipped name, folder, or org/name of the Hub"}
    )
    task: str = field(default="PickCokeCan", metadata={"help": "to plan in"})
    seed: int = field(default=30_000, metadata={"help": "of the episode"})
    goal: Path | None = field(
        default=None, metadata={"help": "picture of what to reach; the instruction when null"}
    )
    after: int = field(default=0, metadata={"help": "steps that the expert plays before"})
    robot: Literal["primitive", "menagerie"] = field(
        default="primitive", metadata={"help": "body of the robot"}
    )
    out: Path = field(default=Path("outputs/plan.mp4"), metadata={"help": "video to write"})
    device: str = field(default="cpu", metadata={"help": "of the world model: cpu, cuda"})
    threads: int | None = field(
        default=None,
        metadata={"from": 1, "help": "of the processor, for the world model; all when null"},
    )
    precision: Precision = field(
        default="auto", metadata={"help": "numbers to compute with; auto: bf16 where it is faster"}
    )
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    cost: CostConfig = field(default_factory=CostConfig)


def run(config: Config) -> int:
    """Plan, print and write; returns 0.

    Raises:
        FileNotFoundError: no such model.
        ValueError: an unknown task, or one that ends before the plan starts.
    """
    import gymnasium
    import numpy as np

    from selfflow_robotics.cli.costs import make_objective
    from selfflow_robotics.cli.policies import make_solver, own_task
    from selfflow_robotics.data.action_spec import RT1_ACTIONS
    from selfflow_robotics.evaluation.video.writing import side_by_side, write_video
    from selfflow_robotics.world_model.world_model import WorldModel

    use_threads(config.threads)
    task = own_task(config.task)
    require_writable(config.out)
    world_model = WorldModel.from_pretrained(config.world_model, config.device)
    world_model.step_spec.require_match(RT1_ACTIONS, config.world_model, task)
    with computing(config.precision, config.device):
        objective = make_objective(
            world_model, config.world_model, config.cost, config.goal, config.planner.discount
        )
        solver = make_solver(world_model, config.planner, objective)
    env = gymnasium.make(task, image_size=world_model.camera_size, robot=config.robot)
    try:
        seen, actions = _play(env, config)
        seen = seen[-world_model.history_len :]
        past = np.asarray(actions[len(actions) - len(seen) + 1 :], np.float32)
        reads_states = world_model.state_spec is not None
        context = world_model.observe(
            np.stack([observation["image"] for observation in seen])[None],
            past.reshape(1, len(seen) - 1, world_model.step_spec.size),
            seen[-1]["instruction"],
            np.stack([o["proprioception"] for o in seen])[None] if reads_states else None,
        )
        with computing(config.precision, config.device):
            plan = solver.plan(context, seeds=[config.seed])
        imagined = world_model.decode(world_model.rollout(context, plan.actions_BHA[:, None]))[0, 0]
        spec = world_model.step_spec
        actions_HA = plan.actions_BHA[0].reshape(-1, spec.size)
        happened, success = _carry_out(env, actions_HA.numpy())
    finally:
        env.close()

    print(f"{task}, seed {config.seed}, step {config.after}: {seen[-1]['instruction']}")
    entries = [n if u == "1" else f"{n} {u}" for n, u in zip(spec.names, spec.units, strict=True)]
    print("step  " + "".join(f"{entry:>10}" for entry in entries))
    for step, action in enumerate(actions_HA.tolist(), start=1):
        print(f"{step:4}  " + "".join(f"{value:10.4f}" for value in action))
    print(
        f"cost {float(plan.cost_B[0]):.4f}, {float(plan.initial_cost_B[0]):.4f} before the search; "
        f"{plan.iterations} iterations, {plan.passes} frames computed, {plan.seconds:.2f} s"
    )
    print("carried out, it " + ("succeeds" if success else "does not succeed yet"))
    video = side_by_side([("happened", happened), ("imagined", imagined)])
    path = write_video(config.out, video, fps=spec.rate_hz)
    print(f"video: {path}")
    return 0


def _play(env: Any, config: Config) -> tuple[list[dict[str, Any]], list[NDArray[np.float32]]]:
    """Observations and actions of the expert's first steps."""
    from selfflow_robotics.policies.experts import make_expert

    observation, _ = env.reset(seed=config.seed)
    seen, actions = [observation], []
    expert = make_expert(env) if config.after else None
    for step in range(config.after):
        assert expert is not None
        action = expert.act()
        observation, _, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        actions.append(action)
        if terminated or truncated:
            raise ValueError(
                f"the episode of seed {config.seed} ends after {step + 1} steps, before the plan; "
                f"give after below {step + 1}"
            )
    return seen, actions


def _carry_out(env: Any, actions_HA: NDArray[np.float32]) -> tuple[NDArray[np.uint8], bool]:
    """Frames after each action, until success."""
    import numpy as np

    frames, success = [], False
    for action in actions_HA:
        observation, _, _, truncated, info = env.step(action)
        frames.append(observation["image"])
        success = success or bool(info["success"])
        if success or truncated:
            break
    return np.stack(frames), success
