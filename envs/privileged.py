"""What decides how a task goes on, as numbers of one length: for teachers that may look into it.

Privileged as :mod:`.shortfall` is: no camera shows it so exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.base import TabletopEnv, Vector
from selfflow_robotics.envs.close_drawer import CloseDrawer
from selfflow_robotics.envs.move_near import MoveNear
from selfflow_robotics.envs.open_drawer import OpenDrawer
from selfflow_robotics.envs.open_drawer_and_place import (
    DRAWER,
    FORCED_STEP,
    OpenDrawerAndPlace,
)
from selfflow_robotics.envs.pick_coke_can import PickCokeCan
from selfflow_robotics.envs.scene import APPLE, COKE_CAN, DRAWERS, Thing

Numbers = Iterator[Any]  # numbers and arrays of them


def privileged_of(env: gymnasium.Env[Any, Any]) -> Callable[[Any], NDArray[np.float32]]:
    """What is read of an environment's task, (F,); it takes the environment unwrapped.

    Poses are in the frame of base_link and, where a thing is to be held, in the tool's (m).

    Raises:
        ValueError: a task of which nothing is known.
    """
    task = env.unwrapped
    for kind, look in _TASKS.items():
        if isinstance(task, kind):
            return lambda env: np.hstack([*_robot(env), *look(env)]).astype(np.float32)
    raise ValueError(
        f"it is not known what decides how {type(task).__name__} goes on; it is of each of "
        f"{', '.join(kind.__name__ for kind in _TASKS)}"
    )


def _robot(env: TabletopEnv) -> Numbers:
    world = env.world
    yield env.tool_position
    yield env.tool_rotation.ravel()
    yield world.data.qpos[world.arm_qpos]
    yield world.data.mocap_pos[0, :2]  # where it stands before the cabinet
    yield env.episode.closedness
    yield env.gripper_closed


def _way(env: TabletopEnv, position: Vector) -> Numbers:
    """From the tool to where something is; lengths, for steps are counted along them."""
    way = position - env.tool_position
    from_tool = env.tool_rotation.T @ way
    yield from_tool
    yield np.linalg.norm(way), np.hypot(*way[:2]), np.hypot(*from_tool[:2])


def _thing(env: TabletopEnv, thing: Thing) -> Numbers:
    data = env.world.data
    body = data.body(thing.body)
    base = data.xmat[env.world.base].reshape(3, 3)
    position = env.thing_position(thing)
    yield position
    yield from _way(env, position)
    yield (base.T @ body.xmat.reshape(3, 3)).ravel()
    yield data.joint(thing.body).qvel[:3]
    yield env.grasped(thing.body)
    yield thing.height, thing.half_diagonal


def _drawer(env: TabletopEnv, drawer: str) -> Numbers:
    handle = env.handle_position(drawer)
    yield env.drawer_opening(drawer)
    yield handle
    yield from _way(env, handle)
    yield env.grasped(f"{drawer}_handle")


def _one_drawer(env: OpenDrawer | CloseDrawer) -> Numbers:
    goal = env.episode.goal
    yield [drawer == goal for drawer in DRAWERS]
    yield from _drawer(env, goal)
    yield [env.drawer_opening(drawer) for drawer in DRAWERS]


def _pick_coke_can(env: PickCokeCan) -> Numbers:
    goal = env.episode.goal
    yield from _thing(env, COKE_CAN)
    yield env.world.data.body(COKE_CAN.body).xpos[2] - goal.height
    yield goal.lifted_steps


def _move_near(env: MoveNear) -> Numbers:
    """The thing to be moved first, then the one it goes to, then the one that is to stay."""
    goal = env.episode.goal
    third = [thing for thing in goal.things if thing not in (goal.source, goal.target)]
    rested = dict(zip(goal.things, goal.rested, strict=True))
    now = {thing: env.thing_position(thing) for thing in goal.things}
    for thing in (goal.source, goal.target, *third):
        yield from _thing(env, thing)
        yield thing.kind == "cylinder", thing.kind == "sphere"
        yield now[thing] - env.to_base(np.asarray(rested[thing]))
        yield np.hypot(*(now[thing] - now[goal.source])[:2])


def _open_drawer_and_place(env: OpenDrawerAndPlace) -> Numbers:
    episode = env.episode
    yield from _thing(env, APPLE)
    yield from _drawer(env, DRAWER)
    yield episode.subtask, bool(episode.goal)
    yield min(episode.steps / FORCED_STEP, 1.0)


_TASKS: dict[type[TabletopEnv], Callable[[Any], Numbers]] = {
    OpenDrawer: _one_drawer,
    CloseDrawer: _one_drawer,
    PickCokeCan: _pick_coke_can,
    MoveNear: _move_near,
    OpenDrawerAndPlace: _open_drawer_and_place,
}
