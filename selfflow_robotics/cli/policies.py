"""Policies and tasks by the names that users type."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from selfflow_robotics.cli.config import nearest

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from selfflow_robotics.planning.protocol import Objective, Propose
    from selfflow_robotics.planning.search import Search
    from selfflow_robotics.policies.base import Policy
    from selfflow_robotics.world_model.world_model import WorldModel

POLICIES = ("planner", "prior", "joint", "expert", "oracle", "random", "zero")
"""What :func:`make_policy` can make."""

NEED_WORLD_MODEL = frozenset({"planner", "prior", "joint"})

SolverName: TypeAlias = Literal["cem", "icem", "mppi", "predictive", "adam", "policy-guided"]


@dataclass(frozen=True)
class PlannerConfig:
    """How the planner searches, and how far ahead the joint policy acts."""

    solver: SolverName = field(
        default="cem",
        metadata={"help": "how it searches; adam descends the model's gradient"},
    )
    candidates: int = field(
        default=8, metadata={"from": 1, "help": "action sequences in an iteration"}
    )
    iterations: int = field(default=1, metadata={"from": 1, "help": "at most so many"})
    horizon: int = field(default=3, metadata={"from": 1, "help": "steps imagined"})
    topk: int = field(default=3, metadata={"from": 1, "help": "elites of an iteration"})
    receding_horizon: int = field(
        default=1, metadata={"from": 1, "help": "steps carried out of each plan"}
    )
    warm_start: bool = field(default=False, metadata={"help": "start from the plan before"})
    start: Literal["prior", "joint"] = field(
        default="prior",
        metadata={"help": "search around the policy prior's guess, or from the joint use's draws"},
    )
    proposals: int | None = field(
        default=None, metadata={"help": "draws among the candidates; all but the start when null"}
    )
    samples: int = field(default=1, metadata={"from": 1, "help": "imagined futures a candidate"})
    pessimism: float = field(
        default=0.0,
        metadata={"help": "deviations of a candidate's imagined costs added to their mean"},
    )
    steps: int = field(default=1, metadata={"from": 1, "help": "denoising steps an imagined frame"})
    max_seconds: float | None = field(
        default=None, metadata={"above": 0, "help": "limit of a search"}
    )
    max_passes: int | None = field(
        default=None,
        metadata={"from": 1, "help": "network passes a search may imagine with, a row"},
    )
    initial_std: float = field(
        default=0.1, metadata={"above": 0, "help": "of the first samples, normalised"}
    )
    min_std: float = field(default=0.02, metadata={"help": "floor of the elites' deviation"})
    min_gain: float = field(
        default=0.05, metadata={"help": "imagined cost a search must save to be followed"}
    )
    discount: float = field(
        default=1.0,
        metadata={"above": 0, "help": "weight of an imagined frame to the one before it"},
    )
    gripper_threshold: float | None = field(
        default=None,
        metadata={"to": 1, "help": "weaker gripper commands keep it, others open or close"},
    )
    joint_horizon: int = field(
        default=2, metadata={"from": 1, "help": "steps the joint policy draws"}
    )
    joint_receding_horizon: int = field(
        default=1, metadata={"from": 1, "help": "of these, carried out"}
    )


def make_solver(
    world_model: WorldModel, config: PlannerConfig, objective: Objective | None = None
) -> Search:
    """A solver in the world model, towards progress of the instruction or another objective.

    Raises:
        ValueError: a setting outside its range, or changed though the solver has none of the kind.
    """
    from selfflow_robotics.planning.denoising import Denoising
    from selfflow_robotics.planning.objectives import Progress
    from selfflow_robotics.planning.solvers.policy_guided import PolicyGuided

    solver = _solver(config.solver)
    imagines = Denoising(world_model, config.steps) if config.steps != 1 else world_model
    objective = objective or Progress(world_model, config.discount)
    settings = _settings(solver, config)
    if solver is PolicyGuided:
        return PolicyGuided(
            imagines,
            objective,
            propose=world_model.propose,
            refine=world_model.refine,
            proposals=config.proposals,
            **settings,
        )
    propose: Propose = world_model.propose
    proposals = config.proposals
    if config.start == "prior" and world_model.prior is not None:
        propose, proposals = world_model.guess, 1
    elif proposals is None:
        proposals = config.candidates
    return solver(
        imagines,
        objective,
        propose=propose if proposals else None,
        proposals=proposals,
        **settings,
    )


def _solver(name: SolverName) -> type[Search]:
    from selfflow_robotics import planning

    solvers: dict[SolverName, type[Search]] = {
        "cem": planning.CEM,
        "icem": planning.ICEM,
        "mppi": planning.MPPI,
        "predictive": planning.PredictiveSampling,
        "adam": planning.Adam,
        "policy-guided": planning.PolicyGuided,
    }
    return solvers[name]


_SETTINGS = (
    *("candidates", "iterations", "horizon", "topk", "initial_std", "min_std", "min_gain"),
    *("samples", "pessimism", "max_seconds", "max_passes"),
)


def _settings(solver: type[Search], config: PlannerConfig) -> dict[str, Any]:
    """Those of the configuration's settings that the solver has."""
    known = {setting.name for setting in fields(solver)}
    defaults = PlannerConfig()
    for key in _SETTINGS:
        if key not in known and getattr(config, key) != getattr(defaults, key):
            raise ValueError(
                f"planner.{key}={getattr(config, key)} means nothing to "
                f"planner.solver={config.solver}; leave it out, or choose another solver"
            )
    return {key: getattr(config, key) for key in _SETTINGS if key in known}


def make_policy(
    name: str,
    world_model: WorldModel | None,
    vector_env: VectorEnv[Any, Any, Any],
    config: PlannerConfig | None = None,
) -> Policy:
    """A policy by its name.

    Args:
        name: one of :data:`POLICIES`.
        world_model: for the planner, the prior and the joint policy.
        vector_env: what it will act in; expert and oracle look into it.
        config: of the planner and the joint policy.

    Raises:
        ValueError: no such policy, or a policy that needs a world model did not get one.
    """
    from selfflow_robotics import policies
    from selfflow_robotics.data.action_spec import RT1_ACTIONS

    config = config or PlannerConfig()
    check_policies((name,))
    if name == "expert":
        from selfflow_robotics.policies.expert_policy import ExpertPolicy

        return ExpertPolicy(vector_env)
    if name == "oracle":
        from selfflow_robotics.policies.oracle import tabletop_oracle
        from selfflow_robotics.policies.within_reach import within_reach

        return tabletop_oracle(within_reach(vector_env, "planners with the true dynamics"))
    spec = RT1_ACTIONS if world_model is None else world_model.step_spec
    if name == "random":
        return policies.RandomPolicy(spec)
    if name == "zero":
        return policies.ZeroPolicy(spec)
    if world_model is None:
        raise ValueError(f"policy {name} needs a world model; add world_model=NAME_OR_FOLDER")
    return imagining_policy(name, world_model, config)


def imagining_policy(name: str, world_model: WorldModel, config: PlannerConfig) -> Policy:
    """Planner, prior or joint policy, which need no environment to be made.

    Raises:
        ValueError: a setting outside its range, or the model has no policy prior.
    """
    from selfflow_robotics import policies

    if name == "prior":
        if world_model.prior is None:
            raise ValueError("this world model has no policy prior; leave prior out of policies")
        return policies.PriorPolicy(world_model, 1, config.gripper_threshold)
    if name == "joint":
        return policies.JointPolicy(
            world_model,
            config.joint_horizon,
            config.joint_receding_horizon,
            config.gripper_threshold,
        )
    if config.receding_horizon > config.horizon:
        raise ValueError(
            f"planner.receding_horizon={config.receding_horizon} carries out more steps than "
            f"planner.horizon={config.horizon} imagines; lower it or raise the horizon"
        )
    return policies.PlannerPolicy(
        world_model,
        make_solver(world_model, config),
        config.receding_horizon,
        config.warm_start,
        config.gripper_threshold,
    )


def check_policies(names: tuple[str, ...], tasks: tuple[str, ...] = ()) -> None:
    """Refuse a name that is no policy, and a policy that knows only some of the tasks.

    Args:
        names: of policies.
        tasks: registered ids they are to act in.

    Raises:
        ValueError: names the policy, and those that there are or the task.
    """
    for name in names:
        if name not in POLICIES:
            hint = nearest(name, POLICIES)
            raise ValueError(
                f'there is no policy "{name}"{hint or ";"} choose from {", ".join(POLICIES)}'
            )

    for name in {"expert", "oracle"} & set(names):
        strange = [task for task in tasks if not _knows(name, task)]
        if strange:
            others = ",".join(other for other in names if other != name)
            raise ValueError(
                f"policy {name} does not know the task {', '.join(strange)}; leave the task out, "
                f"or the policy: policies=[{others}]"
            )


def _knows(policy: str, task: str) -> bool:
    """Whether expert or oracle, made for kinds of tasks, can act in this one; true if in doubt."""
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    from selfflow_robotics.envs.shortfall import MEASURED
    from selfflow_robotics.policies.experts import MASTERED

    entry = gymnasium.spec(task).entry_point
    kind = load_env_creator(entry) if isinstance(entry, str) else entry
    return not isinstance(kind, type) or issubclass(
        kind, MASTERED if policy == "expert" else MEASURED
    )


def own_task(name: str) -> str:
    """The id of a task of this project.

    Raises:
        ValueError: there is none of that name.
    """
    from selfflow_robotics.envs import TASKS

    task = _short_names().get(name, name)
    if task not in TASKS:
        hint = nearest(name, [*_short_names(), *TASKS])
        raise ValueError(
            f'this command plays the tasks of this project, and "{name}" is none of them'
            f"{hint or ';'} choose from {', '.join(_short_names())}; other people's tasks are "
            'played by "selfflow evaluate"'
        )
    return task


def _short_names() -> dict[str, str]:
    """The id of each task of this project, by what it is called on the command line."""
    from selfflow_robotics.envs import TASKS

    return {task.rpartition("/")[2].rpartition("-v")[0]: task for task in TASKS}


def task_ids(names: tuple[str, ...]) -> tuple[str, ...]:
    """Gymnasium ids of tasks: `PickCokeCan` stands for `selfflow/PickCokeCan-v0`.

    Args:
        names: short names or any registered id; all tasks of this project when empty.

    Raises:
        ValueError: a task that is not registered.
    """
    import gymnasium

    from selfflow_robotics.envs import TASKS

    short = _short_names()
    found = []
    for name in names or TASKS:
        task = short.get(name, name)
        if task not in gymnasium.registry:
            hint = nearest(name, [*short, *gymnasium.registry])
            raise ValueError(
                f'there is no task "{name}"{hint or ";"} choose from {", ".join(short)}, or import '
                "the package that registers it: imports=PACKAGE"
            )
        found.append(task)
    return tuple(dict.fromkeys(found))
