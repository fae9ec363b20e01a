"""How much of a task is left to do, from the true state: for planners that may look into it.

Privileged: poses, joints and contacts that no camera shows. Each is 0 or more, roughly in tenths of
metres: what is left of the task itself weighs most, then whether the thing is held, then how far
the tool is from where it would be held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from selfflow_robotics.envs.base import TabletopEnv, Vector
from selfflow_robotics.envs.close_drawer import CLOSED, CloseDrawer
from selfflow_robotics.envs.late_goals import LateGoal, Picture
from selfflow_robotics.envs.move_near import MoveNear
from selfflow_robotics.envs.open_drawer import OPEN, OpenDrawer
from selfflow_robotics.envs.pick_coke_can import PickCokeCan
from selfflow_robotics.envs.scene import COKE_CAN, Thing

_TASK = 10.0  # for each metre of the task itself that is left
_NOT_HELD = 0.3
_NEAR = 0.2
_TURN = 0.15  # for each radian that the tool is turned away, or for a finger axis wholly wrong
_UPRIGHT = 0.4  # rad from straight down that grasping from above allows
_EARLY = 0.3  # for a gripper closed far from what it is to hold
_PALM = 0.07  # the palm is further than this from the tool point, along the gripper
_STRAYED = 3.0  # for each metre that a thing has moved which is to stay
_LOST = 100.0
_BEFORE = 0.06  # where the tool stands before a handle that it is to push


def shortfall_of(env: gymnasium.Env[Any, Any]) -> Callable[[Any], float]:
    """The measure of an environment's task; it takes the environment unwrapped.

    Raises:
        ValueError: a task of which nothing is known.
    """
    task = env.unwrapped
    for kind, measure in _TASKS.items():
        if isinstance(task, kind):
            return _towards_late(measure) if isinstance(task, LateGoal) else measure
    raise ValueError(
        f"no shortfall is known of {type(task).__name__}; there is one for each of "
        f"{', '.join(kind.__name__ for kind in _TASKS)}"
    )


def _towards_late(measure: Callable[[Any], float]) -> Callable[[Any], float]:
    """What is left to do of a goal that the episode has beside the task, or in its place."""

    def left(env: LateGoal) -> float:
        late = env.episode.late
        if isinstance(late, Picture):
            thing, away = late.thing, _TASK * late.away(env)
            return away if thing is None or _held(env, thing) else away + _apart(env, thing)
        return _LOST if late.lost else measure(env)

    return left


def _open_drawer(env: OpenDrawer) -> float:
    drawer = env.episode.goal
    left = max(OPEN - env.drawer_opening(drawer), 0.0)
    if env.grasped(f"{drawer}_handle"):
        return _TASK * left
    away = float(np.linalg.norm(env.handle_position(drawer) - env.tool_position))
    # Pointing ahead, the fingers are above and below the handle and the palm is clear of the front.
    turned = float(np.arccos(np.clip(env.tool_rotation[0, 2], -1.0, 1.0)))
    aslant = abs(float(env.tool_rotation[1, 1]))
    near = _NEAR * min(away / 0.05, 1.0)  # a handle is thin: the last centimetres count
    pose = away + near + _TURN * (turned + aslant)
    return _TASK * left + _NOT_HELD + pose + _early(env, away - 0.01)


def _close_drawer(env: CloseDrawer) -> float:
    drawer = env.episode.goal
    left = max(env.drawer_opening(drawer) - CLOSED, 0.0)
    before = env.handle_position(drawer) - np.array([_BEFORE, 0.0, 0.0])
    return _TASK * left + float(np.linalg.norm(before - env.tool_position))


def _pick_coke_can(env: PickCokeCan) -> float:
    body = env.world.data.body(COKE_CAN.body)
    gain = float(body.xpos[2]) - env.episode.goal.height
    left: float = _TASK * max(0.03 - gain, 0.0)
    if _held(env, COKE_CAN):
        return left
    base = env.world.data.xmat[env.world.base].reshape(3, 3)
    axis = base.T @ body.xmat.reshape(3, 3)[:, 2]
    aslant = float(np.hypot(*axis[:2])) * abs(float(env.tool_rotation[:, 1] @ axis))
    return left + _apart(env, COKE_CAN) + 2 * _TURN * aslant


def _move_near(env: MoveNear) -> float:
    goal = env.episode.goal
    now = {thing: env.thing_position(thing) for thing in goal.things}
    way = float(np.linalg.norm((now[goal.target] - now[goal.source])[:2]))
    reach = goal.source.half_diagonal + goal.target.half_diagonal + 0.10
    strayed = 0.0
    for thing, rested in zip(goal.things, goal.rested, strict=True):
        if thing != goal.source:
            strayed += float(np.linalg.norm(now[thing] - env.to_base(np.asarray(rested))))
    left: float = _TASK / 2 * max(way - reach + 0.01, 0.0) + _STRAYED * strayed
    return left if _held(env, goal.source) else left + _apart(env, goal.source)


def _held(env: TabletopEnv, thing: Thing) -> bool:
    return env.grasped(thing.body) and _away(env, thing) < 0.05


def _apart(env: TabletopEnv, thing: Thing) -> float:
    """What is left until a thing is held from above."""
    away = _away(env, thing)
    tilt = float(np.arccos(np.clip(-env.tool_rotation[2, 2], -1.0, 1.0)))
    return _NOT_HELD + away + _TURN * max(tilt - _UPRIGHT, 0.0) + _early(env, away)


def _early(env: TabletopEnv, away: float) -> float:
    return _EARLY * env.gripper_closed * min(max(away - 0.02, 0.0) / 0.05, 1.0)


def _away(env: TabletopEnv, thing: Thing) -> float:
    """Metres from the tool point to where a thing is held from above: its middle, or below its top
    as far as the palm lets the fingers reach.
    """
    at: Vector = env.thing_position(thing)
    half = thing.height / 2
    if thing.kind == "cylinder":
        upright = abs(float(env.world.data.body(thing.body).xmat[8]))
        half = upright * half + (1 - upright) * thing.size[0]
    at = at + np.array([0.0, 0.0, max(half - _PALM, 0.0)])
    return float(np.linalg.norm(at - env.tool_position))


_TASKS: dict[type[TabletopEnv], Callable[[Any], float]] = {
    OpenDrawer: _open_drawer,
    CloseDrawer: _close_drawer,
    PickCokeCan: _pick_coke_can,
    MoveNear: _move_near,
}
MEASURED = tuple(_TASKS)
"""Classes of the tasks of which a shortfall is known."""
