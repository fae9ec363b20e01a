"""What can be chosen about rounds of improvement. Imports nothing heavy: help is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.storage.keys import key
from selfflow_robotics.training.config import (
    CriticTraining,
    ObjectiveConfig,
    PriorTraining,
    TrainerConfig,
)


def _players() -> dict[str, float]:
    shares = {"planner": 0.5, "alone": 0.1, "wander": 0.1, "shut": 0.1, "fumble": 0.1}
    return shares | {"perturbed": 0.1}


@dataclass(frozen=True)
class Improvement:
    """Rounds of acting, labelling and fitting."""

    rounds: int = key("of acting, labelling and fitting; may be raised later", 3, least=1)
    tasks: tuple[str, ...] = key("which tasks, as PickCokeCan; all when empty", ())
    episodes: int = key("episodes a task and round", 100, least=1)
    players: dict[str, float] = key(
        "share of episodes in which one plays, as players.planner=0.5: planner, alone, wander, "
        "shut, fumble, perturbed, random, intervened; experts do the rest",
        _players,
        most=1,
    )
    labels: Literal["teacher", "expert"] = key(
        "steps an expert still needs from each frame: expert plays all out, teacher learns from "
        "some",
        "teacher",
    )
    judged: int = key(
        "episodes a task that each round's planner plays to the end, never trained on", 10, least=1
    )
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)  # of each round
    prior: PriorTraining = field(default_factory=lambda: PriorTraining(steps=0))  # of the last
    critic: CriticTraining = field(default_factory=lambda: CriticTraining(4000, imagined=0.5))
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    seed: int = key("decides who plays what, and every start", 0)
    workers: int | None = key("processes that play; one a CPU when null", None, least=1, most=1024)
