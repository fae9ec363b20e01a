"""One way to save, restore and play on any environment whose whole state is within reach."""

from __future__ import annotations

import copy
import pickle
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from numpy.typing import NDArray
from selfflow_robotics.envs.base import TabletopEnv

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.random.Generator)


class Simulation(ABC):
    """An environment, unwrapped, that can be put into a state and played on, without drawing."""

    def __init__(self, env: Any) -> None:
        self.env = env

    @abstractmethod
    def save(self) -> Any:
        """Everything that decides how the episode goes on."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Return to what ``save`` gave, here or in another copy of the environment."""

    def play(self, action: NDArray[np.float32]) -> tuple[float, bool, bool]:
        """One step: its reward, whether the task is solved, whether the episode ends."""
        _, reward, terminated, _, info = self.env.step(action)
        return float(reward), bool(info.get("success", False)), bool(terminated)

    @abstractmethod
    def physics(self) -> NDArray[np.float64]:
        """(S,) the physical state, for those who read it."""


class Tabletop(Simulation):
    """A task of this project."""

    env: TabletopEnv

    def save(self) -> Any:
        return self.env.get_state()

    def restore(self, state: Any) -> None:
        self.env.set_state(state)

    def play(self, action: NDArray[np.float32]) -> tuple[float, bool, bool]:
        success = self.env.advance(action)
        return float(success), success, success

    def physics(self) -> NDArray[np.float64]:
        return self.env.get_state().physics


@dataclass(frozen=True)
class Moment:
    """A moment of one of Gymnasium's MuJoCo environments."""

    data: mujoco.MjData  # all of it: derived positions are read by rewards before a step
    plain: bytes  # what the environment remembers in Python: :func:`plain_state`, pickled


class Gymnasium(Simulation):
    """One of Gymnasium's own MuJoCo environments, such as Reacher-v5, or one built alike.

    Saved are all of MuJoCo's data, sleeping bodies and mocap poses with them, and what the
    environment itself holds in plain Python values, such as counters, a goal or its random
    generator. Not saved are objects of other classes, and changes to the model: copies play with
    the model that the environment was made with.
    """

    def save(self) -> Moment:
        return Moment(copy.copy(self.env.data), pickle.dumps(plain_state(self.env)))

    def restore(self, state: Moment) -> None:
        mujoco.mj_copyData(self.env.data, self.env.model, state.data)
        vars(self.env).update(pickle.loads(state.plain))

    def physics(self) -> NDArray[np.float64]:
        state = np.zeros(mujoco.mj_stateSize(self.env.model, _STATE))
        mujoco.mj_getState(self.env.model, self.env.data, state, _STATE)
        return state


def plain_state(env: Any) -> dict[str, Any]:
    """The attributes of an environment that are plain values, save how it draws.

    Arrays that look into somebody else's memory, as MuJoCo's do, are none.
    """
    return {
        name: value
        for name, value in vars(env).items()
        if name != "render_mode" and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        owner = value
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return owner.base is None and not value.dtype.hasobject
    if isinstance(value, dict):
        return type(value) is dict and _is_plain([*value, *value.values()])
    if type(value) in (list, tuple, set, frozenset, deque):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, _PLAIN)


class Pendulum(Simulation):
    """Gymnasium's Pendulum-v1, two numbers: angle and speed."""

    def save(self) -> NDArray[np.float64]:
        return self.physics()

    def restore(self, state: Any) -> None:
        self.env.state = state.copy()

    def physics(self) -> NDArray[np.float64]:
        if getattr(self.env, "state", None) is None:
            raise RuntimeError("the environment has no state yet; call reset() first")
        return np.array(self.env.state, np.float64)


def simulation_of(env: gymnasium.Env[Any, Any]) -> Simulation:
    """The environment as a simulation.

    Raises:
        ValueError: its state is not within reach, or a wrapper changes its actions.
    """
    inner: Any = env.unwrapped
    if env.action_space != inner.action_space:
        raise ValueError(
            f"a wrapper gives {type(inner).__name__} another action space, but its future is "
            "played without wrappers; give the environment without it, and its own actions"
        )
    if isinstance(inner, TabletopEnv):
        return Tabletop(inner)
    if isinstance(getattr(inner, "data", None), mujoco.MjData):  # its class needs an extra package
        return Gymnasium(inner)
    if isinstance(inner, PendulumEnv):
        return Pendulum(inner)
    raise ValueError(
        f"the state of {type(inner).__name__} cannot be saved and restored; this works for the "
        "tasks of selfflow_robotics.envs, Gymnasium's MuJoCo environments and Pendulum"
    )


def copy_of(env: gymnasium.Env[Any, Any]) -> Simulation:
    """A second environment made like this one, which never draws.

    Raises:
        ValueError: it was not made by ``gymnasium.make``, or its state is not within reach.
    """
    spec = env.unwrapped.spec
    if spec is None:
        raise ValueError(
            f"{type(env.unwrapped).__name__} was not made by gymnasium.make, so nobody knows how "
            "to make another one; make it by its id"
        )
    return simulation_of(gymnasium.make(spec, render_mode=None, disable_env_checker=True))
