"""Scripted experts: one a task, deciding from the present state alone.

They read the simulator's state, but only what the camera and the proprioception show as well, and
they remember nothing: pushed off their way, they go on from where they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.base import TabletopEnv, Vector
from selfflow_robotics.envs.close_drawer import CloseDrawer
from selfflow_robotics.envs.move_near import MoveNear
from selfflow_robotics.envs.open_drawer import OpenDrawer
from selfflow_robotics.envs.open_drawer_and_place import DRAWER, OpenDrawerAndPlace
from selfflow_robotics.envs.pick_coke_can import PickCokeCan
from selfflow_robotics.envs.scene import APPLE, COKE_CAN, MOUNT_Z, TABLE_TOP, Thing

STEP, TURN = 0.07, 0.3
"""Most that an expert moves (m) and turns (rad) the tool in a step."""
_TABLE = TABLE_TOP - MOUNT_Z - 0.06205  # height of the table in the frame of base_link
_FRONT_DEPTH = 0.045  # from a drawer's handle to the back of its front
_TOP_EDGE = 0.02  # how far the cabinet's top stands over a closed drawer's front
_BESIDE = 0.14  # the open gripper needs this much to either side
_FINGERTIP = 0.03  # the tool point stays this far above what the fingertips must not touch


def facing(tilt: float, across: bool = False) -> Vector:
    """Tool orientation (3, 3) in base axes: pointing down, tilted ahead by ``tilt`` rad.

    The fingers open along the base's x axis (and z, when tilted), or with ``across`` along y.
    """
    down = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    if across:
        down = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
    c, s = np.cos(-tilt), np.sin(-tilt)
    return np.asarray(np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) @ down)


# The start orientation is tilted by 0.3 rad as well; straight down the wrist meets its limit.
DOWN, DOWN_ACROSS = facing(0.3), facing(0.3, across=True)
REACHING, PUSHING = facing(1.4), facing(0.5)


def turn_towards(now: Vector, wanted: Vector) -> Vector:
    """Axis-angle vector (3,), rad, that turns one orientation (3, 3) into the other."""
    change = wanted @ now.T
    axis = np.array(
        [change[2, 1] - change[1, 2], change[0, 2] - change[2, 0], change[1, 0] - change[0, 1]]
    )
    sine = np.linalg.norm(axis) / 2.0
    angle = float(np.arctan2(sine, (np.trace(change) - 1.0) / 2.0))
    return np.asarray(axis / max(2.0 * sine, 1e-9) * angle)


def _shorten(vector: Vector, longest: float) -> Vector:
    return vector * min(1.0, longest / max(float(np.linalg.norm(vector)), 1e-9))


class Expert(ABC):
    """Acts in one environment, the task unwrapped."""

    def __init__(self, env: TabletopEnv) -> None:
        self.env = env

    @abstractmethod
    def act(self) -> NDArray[np.float32]:
        """The action (7,) for the environment's present state."""

    def _go(self, position: Vector, rotation: Vector, gripper: float) -> NDArray[np.float32]:
        shift = _shorten(position - self.env.tool_position, STEP)
        turn = _shorten(turn_towards(self.env.tool_rotation, rotation), TURN)
        return np.array([*shift, *turn, gripper], np.float32)

    def _fetch(self, thing: Thing, rotation: Vector) -> NDArray[np.float32]:
        """Opens the gripper, comes down over a thing, and closes the gripper when it is there."""
        env = self.env
        at = env.thing_position(thing)
        tool = env.tool_position
        top = self._top(thing)
        goal = np.array([at[0], at[1], max(at[2], top - 0.075, _TABLE + _FINGERTIP)])
        aside = float(np.hypot(*(goal - tool)[:2]))
        turned = float(np.linalg.norm(turn_towards(env.tool_rotation, rotation)))
        over = max(top + 0.05, self._tallest_beside(thing, goal) + 0.09)
        above = max(goal[2], over) - goal[2]
        wait = np.clip((max(aside, 0.15 * turned) - 0.02) / 0.05, 0.0, 1.0)
        there = aside < 0.025 and abs(goal[2] - tool[2]) < 0.025 and turned < 0.35
        if there and not self._shut():
            return self._go(goal, rotation, 1.0)
        wait = 1.0 if there else wait
        # What stands in the way is passed over: first up, then on.
        rise = float(np.clip((goal[2] + above * wait - tool[2] - 0.03) / 0.05, 0.0, 1.0))
        goal = goal + np.array([0.0, 0.0, above * wait])
        goal[:2] += rise * (tool - goal)[:2]
        return self._go(goal, rotation, -1.0)

    def _tallest_beside(self, thing: Thing, goal: Vector) -> float:
        """Top of the tallest other thing near the straight way from the tool to the goal."""
        env = self.env
        tool = env.tool_position[:2]
        way = goal[:2] - tool
        length = max(float(np.linalg.norm(way)), 1e-6)
        tallest = -np.inf
        for other in getattr(env.episode.goal, "things", ()):
            at = env.thing_position(other)[:2] - tool
            along = float(np.clip(at @ way / length, 0.0, length))
            if other != thing and np.linalg.norm(at - along * way / length) < _BESIDE:
                tallest = max(tallest, self._top(other))
        return tallest

    def _top(self, thing: Thing) -> float:
        """Height of a thing's highest point in the frame of base_link."""
        env = self.env
        at = env.thing_position(thing)
        if thing.kind == "cylinder":
            upright = abs(float(env.world.data.body(thing.body).xmat[8]))
            return float(at[2] + upright * thing.height / 2 + (1 - upright) * thing.size[0])
        return float(at[2] + thing.height / 2)

    def _across(self, thing: Thing) -> Vector:
        """Straight down, the fingers closing across the axis of what lies."""
        if thing.kind != "cylinder":
            return DOWN
        axis = self.env.world.data.body(thing.body).xmat.reshape(3, 3)[:, 2]
        if abs(axis[2]) > 0.7:
            return DOWN
        along_x = abs(axis[0]) > abs(axis[1])
        return DOWN_ACROSS if along_x else DOWN

    def _shut(self) -> bool:
        """Whether the gripper is shut, so that shutting it again would come to the same."""
        return self.env.gripper_closed > 0.9

    def _holds(self, thing: Thing) -> bool:
        """Whether the thing is between the fingers and both press on it."""
        apart = self.env.thing_position(thing) - self.env.tool_position
        return self.env.grasped(thing.body) and float(np.linalg.norm(apart)) < 0.12


class PickCokeCanExpert(Expert):
    """Comes down over the can with the fingers across it, closes them, lifts."""

    def act(self) -> NDArray[np.float32]:
        rotation = self._across(COKE_CAN)
        if self._holds(COKE_CAN):
            return self._go(self.env.tool_position + np.array([0.0, 0.0, STEP]), rotation, 1.0)
        return self._fetch(COKE_CAN, rotation)


class MoveNearExpert(Expert):
    """Grasps the source from above, lifts it a little and carries it towards the target."""

    def act(self) -> NDArray[np.float32]:
        env = self.env
        goal = env.episode.goal
        rotation = self._across(goal.source)
        if not self._holds(goal.source):
            return self._fetch(goal.source, rotation)
        source, target = env.thing_position(goal.source), env.thing_position(goal.target)
        way = target - source
        way[2] = 0.0
        way = _shorten(way, max(float(np.linalg.norm(way)) - 0.10, 0.0))
        lift = _TABLE + 0.03 - (2 * source[2] - self._top(goal.source))
        way = _shorten(way, 0.06)
        way[2] = np.clip(lift, -0.03, 0.03)
        return self._go(env.tool_position + way, rotation, 1.0)


class OpenDrawerExpert(Expert):
    """Takes the handle between the fingers, from above and ahead, and pulls."""

    def act(self) -> NDArray[np.float32]:
        return self._open(self.env.episode.goal)

    def _open(self, drawer: str) -> NDArray[np.float32]:
        env = self.env
        handle, tool = env.handle_position(drawer), env.tool_position
        if env.grasped(f"{drawer}_handle"):
            pull = np.array([-0.06, 0.0, handle[2] - tool[2]])
            return self._go(tool + pull, REACHING, 1.0)
        ahead = REACHING[:, 2]
        away = handle - tool
        aside = float(np.linalg.norm(away - (away @ ahead) * ahead))
        turned = float(np.linalg.norm(turn_towards(env.tool_rotation, REACHING)))
        there = aside < 0.02 and abs(float(away @ ahead)) < 0.02 and turned < 0.35
        if there and not self._shut():
            return self._go(handle, REACHING, 1.0)
        if there:
            return self._go(handle - 0.10 * ahead, REACHING, -1.0)
        wait = np.clip((max(aside, 0.15 * turned) - 0.02) / 0.05, 0.0, 1.0)
        return self._go(handle - 0.10 * wait * ahead, REACHING, -1.0)


class CloseDrawerExpert(Expert):
    """Closes the gripper, goes before the drawer and pushes it."""

    def act(self) -> NDArray[np.float32]:
        env = self.env
        drawer = env.episode.goal
        handle, tool = env.handle_position(drawer), env.tool_position
        beyond = handle - tool
        aside = max(abs(float(beyond[1])) - 0.02, abs(float(beyond[2])))
        near = np.clip((aside - 0.02) / 0.05, 0.0, 1.0)
        goal = handle + np.array([0.06, 0.0, 0.0]) - np.array([0.15, 0.0, 0.0]) * near
        return self._go(goal, PUSHING, 1.0)


class OpenDrawerAndPlaceExpert(OpenDrawerExpert):
    """Opens the drawer, lets go, fetches the apple and drops it behind the drawer's front."""

    def act(self) -> NDArray[np.float32]:
        env = self.env
        if env.episode.subtask == 0:
            return self._open(DRAWER)
        if self._holds(APPLE):
            return self._carry()
        tool, handle = env.tool_position, env.handle_position(DRAWER)
        if tool[2] < _TABLE + 0.03:
            if handle[0] - tool[0] < 0.06 and abs(handle[2] - tool[2]) < 0.12:
                back = np.array([handle[0] - 0.10, tool[1], tool[2]])
                return self._go(back, REACHING, -1.0)
            up = np.array([handle[0] - 0.08, tool[1], _TABLE + 0.10])
            return self._go(up, DOWN if tool[2] > handle[2] + 0.13 else REACHING, -1.0)
        return self._fetch(APPLE, DOWN)

    def _carry(self) -> NDArray[np.float32]:
        """Takes the held apple over the middle of the drawer's opening and lets it fall."""
        env = self.env
        tool = env.tool_position
        behind = _FRONT_DEPTH + 0.5 * (min(env.drawer_opening(DRAWER), 0.24) - _TOP_EDGE)
        gap = env.handle_position(DRAWER) + np.array([behind, 0.0, 0.0])
        aside = float(np.hypot(*(gap - tool)[:2]))
        low, high = _TABLE + 0.05, _TABLE + 0.12
        if aside < 0.03 and tool[2] < low + 0.03:
            return self._go(tool, DOWN, -1.0)
        if tool[2] < high - 0.04 and aside > 0.05:
            return self._go(np.array([*tool[:2], high]), DOWN, 1.0)
        wait = np.clip((aside - 0.02) / 0.05, 0.0, 1.0)
        return self._go(np.array([*gap[:2], low + wait * (high - low)]), DOWN, 1.0)


_EXPERTS: dict[type[TabletopEnv], type[Expert]] = {
    PickCokeCan: PickCokeCanExpert,
    MoveNear: MoveNearExpert,
    OpenDrawer: OpenDrawerExpert,
    CloseDrawer: CloseDrawerExpert,
    OpenDrawerAndPlace: OpenDrawerAndPlaceExpert,
}
MASTERED = tuple(_EXPERTS)
"""Classes of the tasks that an expert knows."""


def make_expert(env: gymnasium.Env[Any, Any]) -> Expert:
    """The expert of an environment's task.

    Raises:
        ValueError: no expert knows the task.
    """
    task = env.unwrapped
    for kind, expert in _EXPERTS.items():
        if isinstance(task, kind):
            return expert(task)
    raise ValueError(
        f"no expert knows {type(task).__name__}; there is one for each task of "
        "selfflow_robotics.envs.TASKS"
    )
