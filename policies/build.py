"""Policies by the names that users type: those here, or `module:Class` of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from selfflow_robotics.policies.base import Policy
from selfflow_robotics.policies.joint import JointPolicy
from selfflow_robotics.policies.planner import PlannerPolicy
from selfflow_robotics.policies.prior import PriorPolicy
from selfflow_robotics.policies.random import RandomPolicy
from selfflow_robotics.policies.zero import ZeroPolicy

from selfflow_robotics.data.action_spec import RT1_ACTIONS, ActionSpec
from selfflow_robotics.planning.chance import ByChance, DealtOut
from selfflow_robotics.planning.config import PlannerConfig, make_solver, suited
from selfflow_robotics.planning.judge import Judge
from selfflow_robotics.registry import named
from selfflow_robotics.storage.typed_yaml import ConfigError, nearest

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from selfflow_robotics.world_model.world_model import WorldModel

_GIVEN = ("vector_env", "world_model")


def make_policy(
    name: str,
    world_model: WorldModel | None,
    vector_env: VectorEnv[Any, Any, Any] | None,
    config: PlannerConfig | None = None,
) -> Policy:
    """A policy by its name.

    Args:
        name: one of :data:`POLICIES`, or `module:Class` of a :class:`Policy`, whose constructor is
            given `vector_env` and `world_model` where it has parameters of these names.
        world_model: for those that imagine, the planner among them.
        vector_env: what it will act in; expert and oracle look into it.
        config: of the planner and the joint policy.

    Raises:
        ValueError: no such policy, one that needs a world model did not get one, or a setting that
            makes no sense.
    """
    check_policies((name,))
    if world_model is None and needs_world_model((name,)):
        raise ValueError(f"policy {name} needs a world model; add world_model=NAME_OR_FOLDER")
    if ":" in name:
        kind, given = own_policy(name), {"vector_env": vector_env, "world_model": world_model}
        try:
            policy: Policy = kind(**{key: given[key] for key in _parameters(kind) if key in given})
        except Exception as error:  # whatever the user's own code raises
            raise ConfigError(
                f"policies={name} fails when it is made: {type(error).__name__}: {error}"
            ) from error
        return policy
    config = config or PlannerConfig()
    if world_model is not None:
        config = suited(config, world_model)
    return POLICIES[name].make(world_model, vector_env, config)


def _planner(
    world_model: WorldModel,
    vector_env: VectorEnv[Any, Any, Any] | None,
    config: PlannerConfig,
    judging: type[Judge] | None = None,
) -> PlannerPolicy:
    from selfflow_robotics.policies.late_goals import late_goals

    if (config.receding_horizon or 1) > (config.horizon or 1):
        raise ValueError(
            f"planner.receding_horizon={config.receding_horizon} carries out more steps than "
            f"planner.horizon={config.horizon} imagines; lower it or raise the horizon"
        )
    goals = late_goals(world_model, config, vector_env)
    solver = make_solver(world_model, config, goals, judging)
    return PlannerPolicy(world_model, solver, goals=goals, **_acting(config))


def _acting(config: PlannerConfig) -> dict[str, Any]:
    """How plans are carried out."""
    names = ("receding_horizon", "warm_start", "gripper_threshold")
    return {name: getattr(config, name) for name in names}


def _shuffled(world_model: WorldModel, vector_env: Any, config: PlannerConfig) -> Policy:
    policy = _planner(world_model, vector_env, config, DealtOut)
    policy.name = "shuffled"
    return policy


def _random_choice(world_model: WorldModel, vector_env: Any, config: PlannerConfig) -> Policy:
    once = replace(config, iterations=1, min_gain=0.0)
    policy = _planner(world_model, vector_env, once, ByChance)
    policy.name = "random-choice"
    return policy


def _true_frames(
    world_model: WorldModel, vector_env: VectorEnv[Any, Any, Any] | None, config: PlannerConfig
) -> Policy:
    from selfflow_robotics.policies.true_frames import TrueFramesPolicy
    from selfflow_robotics.policies.within_reach import within_reach

    # A search limited by the clock would measure how fast pictures are drawn.
    planner = _planner(world_model, vector_env, replace(config, max_seconds=None))
    envs = within_reach(vector_env, "planners with true frames") if vector_env else ()
    solver: Any = planner.solver
    return TrueFramesPolicy(world_model, solver, envs, goals=planner.goals, **_acting(config))


def _prior(world_model: WorldModel, _: Any, config: PlannerConfig) -> Policy:
    if world_model.prior is None:
        raise ValueError("this world model has no policy prior; leave prior out of policies")
    return PriorPolicy(world_model, 1, config.gripper_threshold)


def _joint(world_model: WorldModel, _: Any, config: PlannerConfig) -> Policy:
    if not world_model.config.network.acts:
        raise ValueError("this world model only imagines, and has no joint policy; leave joint out")
    steps, executed = config.joint_horizon, config.joint_receding_horizon
    return JointPolicy(world_model, steps, executed, config.gripper_threshold)


def _expert(_: Any, vector_env: VectorEnv[Any, Any, Any], __: Any) -> Policy:
    from selfflow_robotics.policies.expert_policy import ExpertPolicy

    return ExpertPolicy(vector_env)


def _oracle(_: Any, vector_env: VectorEnv[Any, Any, Any], __: Any) -> Policy:
    from selfflow_robotics.policies.oracle import tabletop_oracle
    from selfflow_robotics.policies.within_reach import within_reach

    return tabletop_oracle(within_reach(vector_env, "planners with the true dynamics"))


def _spec(world_model: WorldModel | None) -> ActionSpec:
    return RT1_ACTIONS if world_model is None else world_model.step_spec


@dataclass(frozen=True)
class Kind:
    """How a policy is made, and what it needs."""

    make: Callable[[Any, Any, PlannerConfig], Policy]  # of world model, environments, settings
    imagines: bool = False  # in a world model
    tasks: str = ""  # kinds that it was made for, as `module:NAME`; all when empty


POLICIES: Mapping[str, Kind] = {
    "planner": Kind(_planner, imagines=True),
    "prior": Kind(_prior, imagines=True),
    "random-choice": Kind(_random_choice, imagines=True),
    "shuffled": Kind(_shuffled, imagines=True),
    "true-frames": Kind(
        _true_frames, imagines=True, tasks="selfflow_robotics.envs.base:TabletopEnv"
    ),
    "joint": Kind(_joint, imagines=True),
    "expert": Kind(_expert, tasks="selfflow_robotics.policies.experts:MASTERED"),
    "oracle": Kind(_oracle, tasks="selfflow_robotics.envs.shortfall:MEASURED"),
    "random": Kind(lambda world_model, *_: RandomPolicy(_spec(world_model))),
    "zero": Kind(lambda world_model, *_: ZeroPolicy(_spec(world_model))),
}
"""What :func:`make_policy` can make, beside users' own."""


def own_policy(name: str) -> type[Any]:
    """The class of a user's own policy.

    Raises:
        ConfigError: no such module or class, one that is no :class:`Policy`, or one whose
            constructor asks for what nobody gives.
    """
    kind: type[Any] = named(name, {}, "policies")
    lacking = [key for key in ("reset", "act") if not callable(getattr(kind, key, None))]
    lacking += [] if isinstance(getattr(kind, "name", None), str) else ["name of type str"]
    if lacking:
        raise ConfigError(
            f"policies={name} is no policy: it has no {' and no '.join(lacking)}; see "
            "selfflow_robotics.policies.Policy"
        )
    for key, parameter in _parameters(kind).items():
        several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not several and key not in _GIVEN:
            raise ConfigError(
                f"policies={name} asks for {key} when it is made, but is given "
                f"{' and '.join(_GIVEN)} alone; give {key} a default"
            )
    return kind


def _parameters(kind: type[Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(kind).parameters)


def needs_world_model(names: Sequence[str]) -> bool:
    """Whether one of these policies imagines, or is a user's own that asks for a world model."""
    return any(
        "world_model" in _parameters(own_policy(name)) if ":" in name else POLICIES[name].imagines
        for name in names
    )


def check_policies(names: Sequence[str], tasks: Sequence[str] = ()) -> None:
    """Refuse a name that is no policy, and a policy that knows only some of the tasks.

    Args:
        names: of policies, different from each other.
        tasks: registered ids they are to act in.

    Raises:
        ValueError: names the policy, and those that there are or the task.
    """
    called: dict[str, str] = {}
    for name in names:
        if ":" not in name and name not in POLICIES:
            raise ValueError(
                f'there is no policy "{name}"{nearest(name, POLICIES) or ";"} choose from '
                f"{', '.join(POLICIES)}, or name your own, module:Class"
            )
        known = own_policy(name).name if ":" in name else name
        if called.setdefault(known, name) != name:
            raise ValueError(
                f"policies {called[known]} and {name} are both called {known}; "
                "give your own another name"
            )

    for name in [name for name in names if ":" not in name and POLICIES[name].tasks]:
        strange = [task for task in tasks if not _knows(POLICIES[name].tasks, task)]
        if strange:
            others = ",".join(other for other in names if other != name)
            raise ValueError(
                f"policy {name} does not know the task {', '.join(strange)}; leave the task out"
                + (f", or the policy: policies=[{others}]" if others else "")
            )


def _knows(kinds: str, task: str) -> bool:
    """Whether a task is of these kinds, `module:NAME`; true if in doubt."""
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    entry, known = gymnasium.spec(task).entry_point, load_env_creator(kinds)
    kind = load_env_creator(entry) if isinstance(entry, str) else entry
    return not isinstance(kind, type) or issubclass(kind, known)
