"""Move one of three objects near another."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from selfflow_robotics.envs.base import EpisodeState, TabletopEnv, Vector
from selfflow_robotics.envs.scene import (
    APPLE,
    BLUE_BOTTLE,
    COKE_CAN,
    ORANGE,
    PEPSI_CAN,
    REDBULL_CAN,
    SEVEN_UP_CAN,
    SPONGE,
    TABLE_TOP,
    Thing,
    build,
)

TRIPLETS = (
    (BLUE_BOTTLE, PEPSI_CAN, ORANGE),
    (SEVEN_UP_CAN, APPLE, SPONGE),
    (COKE_CAN, REDBULL_CAN, APPLE),
    (SPONGE, BLUE_BOTTLE, SEVEN_UP_CAN),
    (ORANGE, PEPSI_CAN, REDBULL_CAN),
)
LAYOUTS = (
    ((-0.33, 0.04), (-0.33, 0.34), (-0.13, 0.19)),
    ((-0.13, 0.04), (-0.33, 0.19), (-0.13, 0.34)),
)
_PAIRS = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
_JITTER = 0.02
_BEYOND = 0.04  # further at most, where places are shifted
_CABINET_Y = 0.21


@dataclass(frozen=True)
class Goal:
    """Which thing goes near which, and where all three rested, (3, 3) metres in the world."""

    source: Thing
    target: Thing
    things: tuple[Thing, ...]
    rested: tuple[tuple[float, ...], ...]


class MoveNear(TabletopEnv):
    """ "move {source} near {target}": SIMPLER's 5 triplets, 6 ordered pairs and 2 layouts, each
    place varied by up to 0.02 m. Success, judged after every step: no other object fell by more
    than 0.02 m, source and target by no more than 0.15 m; the source moved by more than 0.03 m and
    more than any other; it is nearer to the target than half their diagonals and 0.10 m; and no
    other object is nearer to it by more than 0.01 m.
    """

    def _choose(self, rng: np.random.Generator) -> Hashable:
        return int(rng.integers(len(TRIPLETS)))

    def _build(self, key: Hashable) -> mujoco.MjModel:
        assert isinstance(key, int)
        return build(self.robot, TRIPLETS[key], _CABINET_Y, slide=None)

    def _arrange(self, rng: np.random.Generator) -> tuple[str, Any]:
        self._place_robot(0.35, 0.21)
        assert isinstance(self._key, int)
        things = TRIPLETS[self._key]
        source, target = (things[i] for i in _PAIRS[int(rng.integers(len(_PAIRS)))])
        layout = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
        for thing, (x, y) in zip(things, layout, strict=True):
            dx, dy = (self._drawn(rng, -_JITTER, _JITTER, _BEYOND, _BEYOND) for _ in "xy")
            self._place_thing(thing, (x + dx, y + dy, TABLE_TOP + thing.height / 2))
        return f"move {source.name} near {target.name}", Goal(source, target, things, ())

    def _settled_goal(self, goal: Any) -> Any:
        rested = tuple(tuple(self._at(thing).tolist()) for thing in goal.things)
        return replace(goal, rested=rested)

    def _judge(self, episode: EpisodeState) -> tuple[EpisodeState, bool]:
        goal: Goal = episode.goal
        now = {thing: self._at(thing) for thing in goal.things}
        moved, fell = {}, {}
        for thing, rested in zip(goal.things, goal.rested, strict=True):
            change = now[thing] - np.asarray(rested)
            moved[thing], fell[thing] = float(np.hypot(*change[:2])), -float(change[2])
        distance = {
            thing: float(np.hypot(*(now[thing] - now[goal.source])[:2])) for thing in goal.things
        }
        others = [thing for thing in goal.things if thing not in (goal.source, goal.target)]
        kept = all(fell[thing] < 0.02 for thing in others) and all(
            fell[thing] < 0.15 for thing in (goal.source, goal.target)
        )
        moved_source = moved[goal.source] > 0.03 and all(
            moved[thing] < moved[goal.source] for thing in goal.things if thing != goal.source
        )
        reach = goal.source.half_diagonal + goal.target.half_diagonal + 0.10
        near = distance[goal.target] < reach
        closest = all(distance[goal.target] < distance[thing] + 0.01 for thing in others)
        return episode, kept and moved_source and near and closest

    def _at(self, thing: Thing) -> Vector:
        return np.array(self.world.data.body(thing.body).xpos)
