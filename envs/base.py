"""What the five tasks share: control, observation, drawing, and the state of an episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from selfflow_robotics.envs import scene
from selfflow_robotics.envs.drawing import Drawing, checked_size
from selfflow_robotics.envs.reach import Reach
from selfflow_robotics.envs.robot import (
    ARM,
    BODIES,
    CAMERA,
    FINGER_CLOSED,
    FINGER_OPEN,
    FINGER_SQUEEZE,
    FINGERS,
    PREFIX,
    TIMESTEP,
    TOOL,
)
from selfflow_robotics.envs.rt1_fields import rt1_fields

from selfflow_robotics.data.action_spec import RT1_ACTIONS

Vector = NDArray[np.float64]

_SUBSTEPS = round(1.0 / RT1_ACTIONS.rate_hz / TIMESTEP)
_CHUNK = 4  # simulation steps for each new set-point
_MOVING = 0.85  # share of a control step in which the set-points move; then the arm settles
_GRIPPER_KEEPS = 1e-2
_LEAST_SHIFT = 1 / 3  # of the most that places are shifted by
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_TEXT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789 ")


@dataclass(frozen=True)
class EpisodeState:
    """What an episode remembers beside the physics.

    Attributes:
        instruction: what to do now.
        steps: control steps so far.
        subtask: index of the sub-task in progress.
        steps_to_success: steps at the first success, -1 before.
        closedness: commanded, 0 open .. 1 closed.
        start_quaternion: (4,) wxyz, the tool's at the start, in base axes.
        goal: what the task needs to know, set when the episode begins or by progress.
        late: what is asked for beside the instruction, or in its place; see ``late_goals``.
    """

    instruction: str
    steps: int
    subtask: int
    steps_to_success: int
    closedness: float
    start_quaternion: tuple[float, ...]
    goal: Any
    late: Any = None


@dataclass(frozen=True)
class EnvState:
    """Everything that decides how an episode goes on; see :meth:`TabletopEnv.get_state`."""

    world: Hashable
    physics: NDArray[np.float64]
    episode: EpisodeState


class World:
    """A compiled scene and where its parts are in MuJoCo's arrays."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        names = [PREFIX + joint.name for joint in (*ARM, *FINGERS)]
        addresses = np.array([model.joint(name).qposadr[0] for name in names])
        self.arm_qpos, self.finger_qpos = addresses[: len(ARM)], addresses[len(ARM) :]
        actuators = np.array([model.actuator(name).id for name in names])
        self.arm_ctrl, self.finger_ctrl = actuators[: len(ARM)], actuators[len(ARM) :]
        self.base = model.body(PREFIX + "base_link").id
        self.tool = model.site(PREFIX + TOOL).id


class TabletopEnv(gymnasium.Env[dict[str, Any], NDArray[np.float32]], ABC):
    """A Google-Robot-like arm before a cabinet, controlled at 3 Hz with RT-1's actions.

    Observation: ``image`` (height, width, 3) uint8; ``instruction``, text; ``proprioception``
    (8,) float32: tool point x y z (m) and quaternion xyzw in the frame of base_link, and how far
    the gripper is closed, 0..1. Action (7,) float32, see ``RT1_ACTIONS``: displacement of the tool
    in base axes (m), its rotation as an axis-angle vector in base axes (rad), and the change of
    the gripper (+1 closes it, -1 opens it, less than 0.01 keeps it). The target is the tool's
    present pose moved by that. Reward 1 on success, which ends the episode, else 0. ``info`` has
    ``success``, ``subtask`` and ``steps_to_success`` (-1 until then).

    Args:
        image_size: (height, width) of the image in pixels, each 8 to 4096.
        robot: "primitive", drawn with this project's shapes, or "menagerie", with meshes.
        render_mode: "rgb_array" lets ``render()`` return the image; None turns that off.
        places: "usual", where demonstrations start, or "shifted", where none does.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 3}  # noqa: RUF012

    def __init__(
        self,
        image_size: tuple[int, int] = (256, 320),
        robot: str = "primitive",
        render_mode: str | None = None,
        places: str = "usual",
    ) -> None:
        height, width = checked_size(image_size)
        if places not in ("usual", "shifted"):
            raise ValueError(f"places={places!r} is unknown; choose usual or shifted")
        if robot not in BODIES:
            raise ValueError(f"robot={robot!r} is unknown; choose one of {', '.join(BODIES)}")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r} is unknown; choose rgb_array or None")
        self.render_mode = render_mode
        self.robot, self.places = robot, places
        self.image_size = (height, width)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (height, width, 3), np.uint8),
                "instruction": spaces.Text(64, charset=_TEXT),
                "proprioception": spaces.Box(-np.inf, np.inf, (8,), np.float32),
            }
        )
        self.action_space = spaces.Box(
            np.asarray(RT1_ACTIONS.low, np.float32), np.asarray(RT1_ACTIONS.high, np.float32)
        )
        self._reach = Reach()
        self._worlds: dict[Hashable, World] = {}
        self._drawing: Drawing | None = None
        self._key: Hashable = None
        self._episode: EpisodeState | None = None

    # What a task defines.

    @abstractmethod
    def _build(self, key: Hashable) -> mujoco.MjModel:
        """Compiles the scene that ``key`` names."""

    def _choose(self, rng: np.random.Generator) -> Hashable:
        """Draws which scene the next episode plays in, where a task has several."""
        return None

    @abstractmethod
    def _arrange(self, rng: np.random.Generator) -> tuple[str, Any]:
        """Places robot, drawers and things; returns the instruction and the episode's goal."""

    @abstractmethod
    def _judge(self, episode: EpisodeState) -> tuple[EpisodeState, bool]:
        """The episode with progress noted, and whether it has just been completed."""

    def _settled_goal(self, goal: Any) -> Any:
        """The goal once things have come to rest after ``_arrange``."""
        return goal

    # Gymnasium's interface.

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode; the same seed gives the same one, bit for bit."""
        super().reset(seed=seed)
        self._use(self._choose(self.np_random))
        data = self.world.data
        mujoco.mj_resetData(self.world.model, data)
        data.qpos[self.world.arm_qpos] = [joint.start for joint in ARM]
        data.qpos[self.world.finger_qpos] = FINGER_OPEN
        data.ctrl[self.world.arm_ctrl] = [joint.start for joint in ARM]
        data.ctrl[self.world.finger_ctrl] = FINGER_OPEN
        instruction, goal = self._arrange(self.np_random)
        mujoco.mj_step(self.world.model, data, nstep=_SUBSTEPS)
        mujoco.mj_forward(self.world.model, data)
        quaternion = self._tool_quaternion()
        self._episode = EpisodeState(
            instruction, 0, 0, -1, 0.0, tuple(quaternion.tolist()), self._settled_goal(goal)
        )
        return self.observe(), self._info(False)

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Plays one action for a third of a second.

        Raises:
            ValueError: the action has a wrong shape, is not finite, or leaves the action space.
        """
        success = self.advance(action)
        return self.observe(), float(success), success, False, self._info(success)

    def advance(self, action: NDArray[np.float32]) -> bool:
        """Plays one action without drawing; returns whether it completed the task.

        Raises:
            ValueError: as :meth:`step`.
        """
        command = np.asarray(action, np.float64)
        if command.shape != (RT1_ACTIONS.size,):
            raise ValueError(
                f"step: an action of shape {command.shape} was given; it must be "
                f"({RT1_ACTIONS.size},): {', '.join(RT1_ACTIONS.names)}"
            )
        RT1_ACTIONS.check(command, "step")
        episode = self.episode
        closedness = episode.closedness
        if abs(command[6]) >= _GRIPPER_KEEPS:
            closedness = float(np.clip(closedness + command[6], 0.0, 1.0))
        self._move(command[:3], command[3:6], closedness)
        episode = replace(episode, steps=episode.steps + 1, closedness=closedness)
        episode, success = self._judge(episode)
        if success and episode.steps_to_success < 0:
            episode = replace(episode, steps_to_success=episode.steps)
        self._episode = episode
        return success

    def render(self) -> NDArray[np.uint8] | None:
        """The camera's image, or None without ``render_mode="rgb_array"``."""
        return self._image() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Frees the drawing context."""
        if self._drawing is not None:
            self._drawing.close()
            self._drawing = None

    # What planners, experts and recorders may ask.

    def get_state(self) -> EnvState:
        """Everything that decides how the episode goes on, to be given to :meth:`set_state`."""
        model, data = self.world.model, self.world.data
        physics = np.zeros(mujoco.mj_stateSize(model, _STATE))
        mujoco.mj_getState(model, data, physics, _STATE)
        return EnvState(self._key, physics, self.episode)

    def set_state(self, state: EnvState) -> None:
        """Returns to a state of this environment, or of another one of the same task.

        Raises:
            ValueError: a state of another task.
        """
        key = self._key
        self._use(state.world)
        model, data = self.world.model, self.world.data
        if state.physics.size != mujoco.mj_stateSize(model, _STATE):
            self._key = key
            raise ValueError(f"the state is of another task than {type(self).__name__}")
        mujoco.mj_setState(model, data, state.physics, _STATE)
        mujoco.mj_forward(model, data)
        # mj_forward solves for forces and so changes the solver's starting point.
        mujoco.mj_setState(model, data, state.physics, _STATE)
        self._episode = state.episode

    def observe(self) -> dict[str, Any]:
        """The present observation, drawn again."""
        return {
            "image": self._image(),
            "instruction": self.episode.instruction,
            "proprioception": self._proprioception(),
        }

    @property
    def world(self) -> World:
        """The scene in play; a RuntimeError before the first reset."""
        if self._key not in self._worlds:
            raise RuntimeError("the environment has no scene yet; call reset() first")
        return self._worlds[self._key]

    @property
    def episode(self) -> EpisodeState:
        """What the episode remembers.

        Raises:
            RuntimeError: before the first reset.
        """
        if self._episode is None:
            raise RuntimeError("the environment has no episode yet; call reset() first")
        return self._episode

    @property
    def instruction(self) -> str:
        """What to do now."""
        return self.episode.instruction

    @property
    def tool_position(self) -> Vector:
        """(3,) tool point in the frame of base_link, m."""
        return self.to_base(self.world.data.site_xpos[self.world.tool])

    @property
    def tool_rotation(self) -> Vector:
        """(3, 3) tool orientation in the frame of base_link; the third column points ahead."""
        world = self.world
        base = world.data.xmat[world.base].reshape(3, 3)
        return np.asarray(base.T @ world.data.site_xmat[world.tool].reshape(3, 3))

    @property
    def gripper_closed(self) -> float:
        """How far the fingers are closed, 0..1, as measured."""
        angle = self.world.data.qpos[self.world.finger_qpos].mean()
        return float(np.clip((angle - FINGER_OPEN) / (FINGER_CLOSED - FINGER_OPEN), 0.0, 1.0))

    def to_base(self, point: Vector) -> Vector:
        """A point (3,) of the world in the frame of base_link."""
        data, base = self.world.data, self.world.base
        return np.asarray(data.xmat[base].reshape(3, 3).T @ (point - data.xpos[base]))

    def thing_position(self, thing: scene.Thing) -> Vector:
        """(3,) centre of a thing in the frame of base_link, m."""
        return self.to_base(self.world.data.body(thing.body).xpos)

    def drawer_opening(self, drawer: str) -> float:
        """How far a drawer is open, m."""
        return float(self.world.data.joint(f"{drawer}_drawer").qpos[0])

    def handle_position(self, drawer: str) -> Vector:
        """(3,) middle of a drawer's handle in the frame of base_link, m."""
        return self.to_base(self.world.data.geom(f"{drawer}_handle").xpos)

    def contacts(self, geom: str) -> set[str]:
        """Names of the geoms (and of those without a name, of their bodies) that press on one."""
        model, data = self.world.model, self.world.data
        mine = model.geom(geom).id
        found = set()
        force = np.zeros(6)
        pairs = data.contact.geom
        for i in np.flatnonzero((pairs == mine).any(axis=1)).tolist():
            mujoco.mj_contactForce(model, data, i, force)
            if force[0] <= 1e-6:
                continue
            other = int(pairs[i, 0] if pairs[i, 1] == mine else pairs[i, 1])
            found.add(model.geom(other).name or model.body(model.geom_bodyid[other]).name)
        return found

    def grasped(self, geom: str) -> bool:
        """Whether both fingers press on a geom."""
        touching = self.contacts(geom)
        return all(
            any(PREFIX + part + side in touching for part in ("pad_", "finger_"))
            for side in ("right", "left")
        )

    def rt1_observation(self) -> dict[str, NDArray[np.float32]]:
        """RT-1's observation fields of this moment, save image and language; all float32."""
        episode = self.episode
        return rt1_fields(self._proprioception(), episode.closedness, episode.start_quaternion)

    # For the tasks.

    def _drawn(
        self, rng: np.random.Generator, low: float, high: float, below: float, above: float
    ) -> float:
        """A coordinate (m) within low..high; where places are shifted, up to so far beyond it."""
        if self.places == "usual":
            return float(rng.uniform(low, high))
        least, past = _LEAST_SHIFT, float(rng.uniform(-below, above))
        if past < 0:
            return low - least * below + (1 - least) * past
        return high + least * above + (1 - least) * past

    def _place_robot(self, x: float, y: float) -> None:
        data = self.world.data
        data.mocap_pos[0] = (x, y, scene.MOUNT_Z)
        data.mocap_quat[0] = (0.0, 0.0, 0.0, 1.0)

    def _place_thing(
        self,
        thing: scene.Thing,
        position: tuple[float, float, float],
        quaternion: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0),
    ) -> None:
        self.world.data.joint(thing.body).qpos[:] = (*position, *quaternion)

    # Inside.

    def _use(self, key: Hashable) -> None:
        if key not in self._worlds:
            self._worlds[key] = World(self._build(key))
        self._key = key

    def _move(self, displacement: Vector, rotation: Vector, closedness: float) -> None:
        world = self.world
        data = world.data
        position = self.tool_position + displacement
        turned = _rotation(rotation) @ self.tool_rotation
        start = data.qpos[world.arm_qpos].copy()
        change = self._reach.solve(start, position, turned) - start
        fingers = data.ctrl[world.finger_ctrl].copy()
        squeeze = FINGER_OPEN + closedness * (FINGER_SQUEEZE - FINGER_OPEN) - fingers
        for done in range(0, _SUBSTEPS, _CHUNK):
            share = min((done + _CHUNK / 2) / (_MOVING * _SUBSTEPS), 1.0)
            smooth = 0.5 - 0.5 * np.cos(np.pi * share)
            speed = 0.5 * np.pi * np.sin(np.pi * share) / (_MOVING * _SUBSTEPS * TIMESTEP)
            data.ctrl[world.arm_ctrl] = start + change * (smooth + speed * _LAG)
            data.ctrl[world.finger_ctrl] = fingers + squeeze * share
            mujoco.mj_step(world.model, data, nstep=min(_CHUNK, _SUBSTEPS - done))
        mujoco.mj_forward(world.model, data)

    def _tool_quaternion(self) -> Vector:
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(self.tool_rotation).ravel())
        return np.asarray(quaternion * np.sign(quaternion @ _START_QUATERNION))

    def _proprioception(self) -> NDArray[np.float32]:
        quaternion = self._tool_quaternion()
        pose = (*self.tool_position, *quaternion[1:], quaternion[0], self.gripper_closed)
        return np.array(pose, np.float32)

    def _image(self) -> NDArray[np.uint8]:
        world = self.world
        if self._drawing is None:
            self._drawing = Drawing(world.model, *self.image_size, PREFIX + CAMERA)
        return self._drawing.draw(world.model, world.data)

    def _info(self, success: bool) -> dict[str, Any]:
        episode = self.episode
        return {
            "success": success,
            "subtask": episode.subtask,
            "steps_to_success": episode.steps_to_success,
        }


_LAG = np.array([joint.damping / joint.stiffness for joint in ARM])
# The real first step's orientation (wxyz): quaternions are given the sign that is nearer to it.
_START_QUATERNION = np.array([0.15885639, -0.60332626, 0.7807583, -0.03433013])


def _rotation(axis_angle: Vector) -> Vector:
    angle = float(np.linalg.norm(axis_angle))
    if angle < 1e-9:
        return np.eye(3)
    quaternion, matrix = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, axis_angle / angle, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
