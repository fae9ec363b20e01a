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
from selfflow_robotics.envs.open_drawer import OpenDrawer
from selfflow_robotics.envs.pick_coke_can import PickCokeCan
from selfflow_robotics.envs.scene import COKE_CAN

_STARTS = 100  # that are tried for one which leaves room for a goal
_ABOVE = 0.02  # m over the handle, where a drawer can still be pushed
_APART = 0.28  # m from the tool to what it is to go to, at least, so that a box fits between
_STEP, _STEPS = 0.06, 12  # m a step, and steps, in which the tool gets to what a picture shows
_FROM_START, _FROM_WAY = 0.18, 0.12  # m at least from what is to be reached
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


@dataclass(frozen=True)
class Picture:
    """A picture has to be reached, whatever the instruction says; the tool shows whether it is."""

    image: NDArray[np.uint8]  # (height, width, 3)
    tool: tuple[float, ...]
    lost: ClassVar[bool] = False

    def judged(self, env: TabletopEnv, solved: bool) -> tuple[Picture, bool]:
        """As :meth:`KeepOut.judged`."""
        return self, float(np.linalg.norm(env.tool_position - self.tool)) < _WITHIN


class LateGoal(TabletopEnv):
    """A task with a goal of each episode's own, ``episode.late``, by which success is judged.

    An episode ends as well when its goal cannot be reached any more.
    """

    asks: ClassVar[type[KeepOut] | type[Picture]]

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


class PickCokeCanReach(LateGoal, PickCokeCan):
    """A picture of the same table, the tool elsewhere over it, away from the way to the can."""

    asks = Picture
    low, high = (0.45, -0.2, 0.92), (0.7, 0.2, 1.0)  # where the tool may be in it

    def _ask(self, rng: np.random.Generator) -> Picture | None:
        start, can = self.tool_position, self.thing_position(COKE_CAN)
        place = rng.uniform(self.low, self.high)
        along = np.clip((place - start) @ (can - start) / ((can - start) @ (can - start)), 0, 1)
        beside = place - start - along * (can - start)
        if np.linalg.norm(place - start) < _FROM_START or np.hypot(*beside[:2]) < _FROM_WAY:
            return None
        return self._picture(place)

    def _picture(self, place: Vector) -> Picture:
        """What the camera shows once the tool has gone there."""
        before = self.get_state()
        for _ in range(_STEPS):
            way = place - self.tool_position
            self._move(way * min(1.0, _STEP / float(np.linalg.norm(way))), np.zeros(3), 0.0)
        shown = Picture(self._image().copy(), tuple(self.tool_position.tolist()))
        self.set_state(before)
        return shown
