"""One way to save, restore and play on any environment whose whole state is within reach."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium
import mujoco
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from numpy.typing import NDArray
from selfflow_robotics.envs.base import TabletopEnv

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class Simulation(Protocol):
    """An environment that can be put into a state and played on, without drawing."""

    env: Any
    """The environment itself, unwrapped."""

    def save(self) -> Any:
        """Everything that decides how the episode goes on."""
        ...

    def restore(self, state: Any) -> None:
        """Return to what ``save`` gave, here or in another copy of the environment."""
        ...

    def play(self, action: NDArray[np.float32]) -> tuple[float, bool, bool]:
        """One step: its reward, whether the task is solved, whether the episode ends."""
        ...

    def physics(self) -> NDArray[np.float64]:
        """(S,) the physical state, for those who read it."""
        ...


class Tabletop:
    """A task of this project."""

    def __init__(self, env: TabletopEnv) -> None:
        self.env = env

    def save(self) -> Any:
        """See :meth:`Simulation.save`."""
        return self.env.get_state()

    def restore(self, state: Any) -> None:
        """See :meth:`Simulation.restore`."""
        self.env.set_state(state)

    def play(self, action: NDArray[np.float32]) -> tuple[float, bool, bool]:
        """See :meth:`Simulation.play`."""
        success = self.env.advance(action)
        return float(success), success, success

    def physics(self) -> NDArray[np.float64]:
        """See :meth:`Simulation.physics`."""
        return self.env.get_state().physics


class Gymnasium:
    """One of Gymnasium's own MuJoCo environments, such as Reacher-v5.

    What such an environment keeps outside MuJoCo's integration state (a model changed at reset,
    counters) is not saved; Reacher, Pusher and their like keep nothing there.
    """

    def __init__(self, env: Any) -> None:
        self.env = env

    def save(self) -> NDArray[np.float64]:
        """See :meth:`Simulation.save`."""
        return self.physics()

    def restore(self, state: Any) -> None:
        """See :meth:`Simulation.restore`."""
        mujoco.mj_setState(self.env.model, self.env.data, state, _STATE)

    def play(self, action: NDArray[np.float32]) -> tuple[float, bool, bool]:
        """See :meth:`Simulation.play`."""
        _, reward, terminated, _, info = self.env.step(action)
        return float(reward), bool(info.get("success", False)), bool(terminated)

    def physics(self) -> NDArray[np.float64]:
        """See :meth:`Simulation.physics`."""
        state = np.zeros(mujoco.mj_stateSize(self.env.model, _STATE))
        mujoco.mj_getState(self.env.model, self.env.data, state, _STATE)
        return state


class Pendulum:
    """Gymnasium's Pendulum-v1, two numbers: angle and speed."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def save(self) -> NDArray[np.float64]:
        """See :meth:`Simulation.save`."""
        return self.physics()

    def restore(self, state: Any) -> None:
        """See :meth:`Simulation.restore`."""
        self.env.state = state.copy()

    def play(self, action: NDArray[np.float32]) -> tuple[float, bool, bool]:
        """See :meth:`Simulation.play`."""
        _, reward, terminated, _, _ = self.env.step(action)
        return float(reward), False, bool(terminated)

    def physics(self) -> NDArray[np.float64]:
        """See :meth:`Simulation.physics`."""
        return np.array(self.env.state, np.float64)


def simulation_of(env: gymnasium.Env[Any, Any]) -> Simulation:
    """The environment as a simulation.

    Raises:
        ValueError: its state is not within reach.
    """
    inner: Any = env.unwrapped
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
