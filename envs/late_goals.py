"""Tasks whose goal is known only when an episode begins, beside the instruction or in its place.

Nothing is trained on them. The scene of a seed is that of the plain task, unless it leaves no room
for the goal. Positions are the tool point's in the frame of base_link, m.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.base import EpisodeState, TabletopEnv, Vector
from selfflow_robotics.envs.close_drawer import CloseDrawer
from selfflow_robotics.envs.move_near import Goal, MoveNear
from selfflow_robotics.envs.open_drawer import OpenDrawer
from selfflow_robotics.envs.pick_coke_can import PickCokeCan
from selfflow_robotics.envs.scene import COKE_CAN, Thing

_STARTS = 100  # that are tried for one which leaves room for a goal
_ABOVE = 0.02  # m over the handle, where a drawer can still be pushed
_APART = 0.28  # m from the tool to what it is to go to, at least, so that a box fits between
_STEP, _STEPS = 0.06, 12  # m a step, and steps, in which the tool gets to what a picture shows
_FROM_START, _FROM_WAY = 0.18, 0.12  # m at least from what is to be reached
_CARRIED = 0.12, 0.16  # m at least and at most that a thing is moved, not towards the target
_BESIDE = 0.15  # m from the other things, at least
_OVER = 1.06  # m, height at which the gripper passes over all things
_WITHIN = 0.03  # m from there counts as reached


@dataclass(frozen=True)
class KeepOut:
    """The instruction has to be carried out, and the tool point must never be in a box."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    lost: bool = False  # it was

    def judged(self, env: TabletopEnv, solved: bool) -> tuple[KeepOut, bool]:
        """This with what has just happened, and whether the goal is reached."""
        tool = env.tool_position
        inside = bool((tool > self.low).all() and (tool < self.high).all())
        found = replace(self, lost=self.lost or inside)
        return found, solved and not found.lost


@dataclass(frozen=True, eq=False)
class Picture:
    """What was seen and felt once has to be reached, whatever the instruction says.

    A thing tells whether it is, or the tool.
    """

    image: NDArray[np.uint8]  # (height, width, 3)
    proprioception: NDArray[np.float32]  # (8,)
    thing: Thing | None = None
    place: tuple[float, ...] = ()  # of it
    lost: ClassVar[bool] = False

    def judged(self, env: TabletopEnv, solved: bool) -> tuple[Picture, bool]:
        """As :meth:`KeepOut.judged`."""
        return self, self.away(env) < _WITHIN

    def away(self, env: TabletopEnv) -> float:
        """What is left, m."""
        return float(np.linalg.norm(self.now(env) - self.place))

    def now(self, env: TabletopEnv) -> Vector:
        """Where it is now."""
        return env.tool_position if self.thing is None else env.thing_position(self.thing)


class LateGoal(TabletopEnv):
    """A task with a goal of each episode's own, ``episode.late``, by which success is judged.

    An episode ends as well when its goal cannot be reached any more.
    """

    asks: ClassVar[type[KeepOut] | type[Picture]]  # what `_ask` gives

    @abstractmethod
    def _ask(self, rng: np.random.Generator) -> KeepOut | Picture | None:
        """The goal of the episode that has just begun; None where there is no room for one."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """See :meth:`TabletopEnv.reset`."""
        for _ in range(_STARTS):
            begun = super().reset(seed=seed, options=options)
            late = self._ask(self.np_random)
            if late is not None:
                self._episode = replace(self.episode, late=late)
                return begun
            seed = None  # the next start, of the same stream
        raise RuntimeError(f"none of {_STARTS} starts of {type(self).__name__} has room for a goal")

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """See :meth:`TabletopEnv.step`."""
        seen, reward, over, cut, info = super().step(action)
        return seen, reward, over or self.episode.late.lost, cut, info

    def _judge(self, episode: EpisodeState) -> tuple[EpisodeState, bool]:
        episode, solved = super()._judge(episode)  # type: ignore[safe-super]  # the task's
        late, reached = episode.late.judged(self, solved)
        return replace(episode, late=late), reached


class _Around(LateGoal):
    """The usual way leads through a box."""

    asks = KeepOut
    half: ClassVar[tuple[float, ...]] = (0.06, 0.06, 0.06)  # m from its middle to its sides

    @abstractmethod
    def _sought(self) -> Vector:
        """Where the tool has to go."""

    def _ask(self, rng: np.random.Generator) -> KeepOut | None:
        tool, sought = self.tool_position, self._sought()
        if np.linalg.norm(sought - tool) < _APART:
            return None
        middle = (tool + sought) / 2
        return KeepOut(tuple(middle - self.half), tuple(middle + self.half))


class OpenDrawerAround(_Around, OpenDrawer):
    """:class:`OpenDrawer` around a box halfway to the handle."""

    def _sought(self) -> Vector:
        return self.handle_position(self.episode.goal)


class CloseDrawerAround(_Around, CloseDrawer):
    """:class:`CloseDrawer` around a box halfway to the handle."""

    def _sought(self) -> Vector:
        return self.handle_position(self.episode.goal)


class PickCokeCanAround(_Around, PickCokeCan):
    """:class:`PickCokeCan` around a box between the tool and the can, or over it."""

    half = (0.06, 0.06, 0.12)

    def _sought(self) -> Vector:
        return self.thing_position(COKE_CAN)


class CloseDrawerAbove(LateGoal, CloseDrawer):
    """:class:`CloseDrawer`, the tool never lower than 0.02 m over the handle that it pushes."""

    asks = KeepOut

    def _ask(self, rng: np.random.Generator) -> KeepOut:
        height = float(self.handle_position(self.episode.goal)[2]) + _ABOVE
        return KeepOut((-np.inf,) * 3, (np.inf, np.inf, height))


class _Pictured(LateGoal):
    """What is to be reached is shown as it was seen once, in this very scene."""

    asks = Picture

    def _picture(self, *ways: tuple[Vector, float], thing: Thing | None = None) -> Picture:
        """What is seen and felt after these ways.

        Args:
            ways: where the tool goes, and how far closed the gripper is, 0..1.
            thing: tells whether what is shown was reached; the tool when None.
        """
        before = self.get_state()
        for place, closed in ways:
            for _ in range(_STEPS):
                way = place - self.tool_position
                far = float(np.linalg.norm(way))
                self._move(way * min(1.0, _STEP / far), np.zeros(3), closed)
                if far < _STEP:
                    break
        found = Picture(self._image().copy(), self._proprioception(), thing)
        found = replace(found, place=tuple(found.now(self).tolist()))
        self.set_state(before)
        return found


class PickCokeCanReach(_Pictured, PickCokeCan):
    """A picture of the same table, the tool elsewhere over it, away from the way to the can."""

    low, high = (0.45, -0.2, 0.92), (0.7, 0.2, 1.0)  # where the tool may be in it

    def _ask(self, rng: np.random.Generator) -> Picture | None:
        start, can = self.tool_position, self.thing_position(COKE_CAN)
        place = rng.uniform(self.low, self.high)
        along = np.clip((place - start) @ (can - start) / ((can - start) @ (can - start)), 0, 1)
        beside = place - start - along * (can - start)
        if np.linalg.norm(place - start) < _FROM_START or np.hypot(*beside[:2]) < _FROM_WAY:
            return None
        return self._picture((place, 0.0))


class MoveNearPlace(_Pictured, MoveNear):
    """A picture of the same table, the thing that the instruction names held at another place."""

    low, high = (0.42, -0.22), (0.72, 0.22)  # where it may be in it

    def _ask(self, rng: np.random.Generator) -> Picture | None:
        goal: Goal = self.episode.goal
        source, height = self.thing_position(goal.source), goal.source.height
        others = [self.thing_position(thing) for thing in goal.things if thing != goal.source]
        towards = self.thing_position(goal.target) - source
        angle = np.arctan2(towards[1], towards[0]) + rng.uniform(0.5, 1.5) * np.pi
        way = rng.uniform(*_CARRIED) * np.array([np.cos(angle), np.sin(angle), 0.0])
        place = source + way
        if not ((place[:2] > self.low) & (place[:2] < self.high)).all():
            return None
        if min(float(np.linalg.norm((place - other)[:2])) for other in others) < _BESIDE:
            return None
        grip = source + np.array([0.0, 0.0, max(0.0, height / 2 - 0.075, 0.03 - height / 2)])
        over, up = np.array([*grip[:2], _OVER]), np.array([0.0, 0.0, 0.03])
        there = (over, 0.0), (grip, 0.0), (grip, 1.0), (grip + up, 1.0), (grip + up + way, 1.0)
        picture = self._picture(*there, (grip + way, 1.0), thing=goal.source)
        return picture if np.linalg.norm(picture.place - place) < _WITHIN else None
