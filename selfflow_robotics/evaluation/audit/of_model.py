"""An audit of a stored world model with its planner's cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from selfflow_robotics.data.episode import Dataset
from selfflow_robotics.envs import LATE_GOALS, TASKS
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.envs.names import task_ids
from selfflow_robotics.machine.precision import Precision, computing
from selfflow_robotics.planning.config import PlannerConfig, objective_of, suited
from selfflow_robotics.world_model.world_model import WorldModel

from .audit import Audit, audit
from .excitation import excitation


def audit_model(
    name: str,
    tasks: Sequence[str],
    *,
    planner: PlannerConfig | None = None,
    states: int = 14,
    candidates: int = 12,
    seed: int = 70_000,
    mapping: EnvMapping | None = None,
    source: Dataset | None = None,
    device: str = "cpu",
    precision: Precision = "auto",
) -> Audit:
    """See :func:`audit`; `source` is a data set whose excitation is measured as well.

    Raises:
        ValueError, FileNotFoundError: no such model, task or action, before anything is played.
    """
    ids = task_ids(tuple(tasks))
    for task in LATE_GOALS:
        if task in ids:
            raise ValueError(
                f"task {task} asks for more than its instruction says, which is all that an audit "
                "asks the model for; leave it out, and evaluate in it"
            )
    world_model = WorldModel.from_pretrained(name, device)
    config = suited(planner or PlannerConfig(), world_model)
    varied = None if source is None else excitation(source, world_model.step_spec)
    own = set(ids) <= set(TASKS)
    with computing(precision, device):
        found = audit(
            world_model,
            objective_of(world_model, config),
            ids,
            name=name,
            horizon=config.horizon or 1,
            candidates=candidates,
            states=states,
            seed=seed,
            options={"image_size": world_model.camera_size} if own else None,
            mapping=mapping,
        )
    return replace(found, excitation=varied)
