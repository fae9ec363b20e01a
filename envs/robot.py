"""The robot: one kinematic chain, two bodies, one set of gains and contact shapes.

The chain is the Google robot's: seven arm joints and two mirrored fingers. ``primitive`` is drawn
with this project's own shapes, ``menagerie`` with the meshes of MuJoCo Menagerie. Masses, contact
shapes, gains, tool site and camera are added here to either, so that both move alike.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from mujoco import MjSpec
from numpy.typing import NDArray

from selfflow_robotics.machine.extras import require

BODIES = ("primitive", "menagerie")


@dataclass(frozen=True)
class Joint:
    """One actuated joint: its range and start (rad), and its servo (N m/rad, N m s/rad, N m)."""

    name: str
    low: float
    high: float
    start: float
    stiffness: float
    damping: float
    force: float


# Start angles: where SIMPLER starts an episode, and real RT-1 episodes with it.
ARM = (
    Joint("joint_torso", -4.49, 1.35, -0.26394575, 3000.0, 200.0, 300.0),
    Joint("joint_shoulder", -2.66, 3.18, 0.08319134, 3000.0, 200.0, 300.0),
    Joint("joint_bicep", -2.13, 3.71, 0.50176115, 2000.0, 100.0, 150.0),
    Joint("joint_elbow", -2.05, 3.79, 1.15685903, 2000.0, 100.0, 150.0),
    Joint("joint_forearm", -2.92, 2.92, 0.02858367, 800.0, 35.0, 80.0),
    Joint("joint_wrist", -1.79, 1.79, 1.5925982, 800.0, 35.0, 80.0),
    Joint("joint_gripper", -4.49, 1.35, -1.08065296, 400.0, 16.0, 40.0),
)
FINGER_OPEN, FINGER_CLOSED = 0.01, 1.0
"""Finger angle (rad) at closedness 0, and where the pads meet: closedness 1."""
FINGER_SQUEEZE = 1.3
"""Commanded finger angle (rad) at closedness 1: beyond meeting, so that thin things are held."""
FINGERS = (
    Joint("joint_finger_right", 0.01, 1.3, FINGER_OPEN, 15.0, 0.5, 4.0),
    Joint("joint_finger_left", 0.01, 1.3, FINGER_OPEN, 15.0, 0.5, 4.0),
)

TOOL_OFFSET = 0.150
"""Metres from link_gripper to the tool point, along the gripper's axis (measured on real RT-1)."""
CAMERA_POSITION = (0.1460, 0.0, 1.2134)
CAMERA_AXES = (0.0, -1.0, 0.0, 0.707, 0.0, 0.707)
CAMERA_FOVY = 62.1

TIMESTEP = 1.0 / 180.0
CAMERA, TOOL = "overhead", "tool"
PREFIX = "robot/"
"""What the names of the robot's parts begin with once it stands in a scene."""
PAD_FRICTION = (2.0, 0.02, 0.001)

# Contact bits: (type, affinity). Robot parts touch things but not each other.
ROBOT_BITS, OBJECT_BITS, FURNITURE_BITS = (1, 6), (2, 6), (4, 0)


def touching(bits: tuple[int, int]) -> dict[str, int]:
    """What gives a geom these contact bits."""
    return {"contype": bits[0], "conaffinity": bits[1]}


_MASS = {
    "link_torso": 2.5,
    "link_shoulder": 2.1,
    "link_bicep": 1.4,
    "link_elbow": 0.8,
    "link_forearm": 0.8,
    "link_wrist": 0.5,
    "link_gripper": 0.4,
    "link_finger_right": 0.07,
    "link_finger_tip_right": 0.03,
    "link_finger_left": 0.07,
    "link_finger_tip_left": 0.03,
}
_DARK = (0.16, 0.17, 0.22, 1.0)
_PAD = (0.05, 0.85, 0.75, 1.0)


def robot_spec(body: str) -> MjSpec:
    """The robot alone, standing at the origin and facing +x, not compiled.

    Args:
        body: "primitive" or "menagerie".

    Raises:
        ValueError: unknown body.
        FileNotFoundError, MissingExtraError: the meshes of "menagerie" are not to be found.
    """
    if body == "primitive":
        spec = MjSpec.from_file(str(Path(__file__).parent / "assets" / "robot.xml"))
    elif body == "menagerie":
        spec = _menagerie_spec()
    else:
        raise ValueError(f"robot={body!r} is unknown; choose one of {', '.join(BODIES)}")
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for joint in (*ARM, *FINGERS):
        part = spec.joint(joint.name)
        part.damping = part.damping * 0.0
        part.frictionloss = 0.0
        part.armature = 0.1 if joint in ARM else 0.004
    for name, mass in _MASS.items():
        link = spec.body(name)
        link.explicitinertial = True
        link.mass, link.gravcomp = mass, 1.0
        link.ipos, link.iquat = (0.0, 0.0, 0.05), (1.0, 0.0, 0.0, 0.0)
        link.inertia = (0.004 * mass, 0.004 * mass, 0.002 * mass)
    base = spec.body("base_link")
    base.explicitinertial = True
    base.mass, base.ipos, base.inertia = 100.0, (0.0, 0.0, 0.2), (5.0, 5.0, 5.0)
    base.add_camera(name=CAMERA, pos=CAMERA_POSITION, quat=_camera_quaternion(), fovy=CAMERA_FOVY)
    spec.body("link_gripper").add_site(name=TOOL, pos=(0.0, 0.0, TOOL_OFFSET), group=5)
    _add_contact_shapes(spec, drawn=body == "primitive")
    for joint in (*ARM, *FINGERS):
        spec.add_actuator(
            name=joint.name,
            target=joint.name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_FIXED,
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
            gainprm=[joint.stiffness] + [0.0] * 9,
            biasprm=[0.0, -joint.stiffness, -joint.damping] + [0.0] * 7,
            forcelimited=True,
            forcerange=(-joint.force, joint.force),
        )
    return spec


def menagerie_folder() -> Path:
    """The folder of Menagerie's google_robot: under MENAGERIE_ROOT, or as mujoco-menagerie has it.

    Raises:
        FileNotFoundError: MENAGERIE_ROOT does not hold it.
        MissingExtraError: mujoco-menagerie is not installed.
    """
    root = os.environ.get("MENAGERIE_ROOT")
    if root:
        folder = Path(root) / "google_robot"
        if not (folder / "robot.xml").is_file():
            raise FileNotFoundError(
                f"MENAGERIE_ROOT={root} has no google_robot/robot.xml; point it at a checkout of "
                "mujoco_menagerie"
            )
        return folder
    found = Path(str(require("mujoco_menagerie", "menagerie").get("google_robot")))
    return found if found.is_dir() else found.parent


def _menagerie_spec() -> MjSpec:
    spec = MjSpec.from_file(str(menagerie_folder() / "robot.xml"))
    for actuator in list(spec.actuators):
        spec.delete(actuator)
    for light in list(spec.lights):
        spec.delete(light)
    for geom in list(spec.geoms):
        if geom.contype or geom.conaffinity:
            spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        # Older MuJoCos name a mesh after its file only when they compile it.
        if (mesh.name or Path(mesh.file).stem) not in used:
            spec.delete(mesh)
    return spec


def _camera_quaternion() -> NDArray[np.float64]:
    x, y = np.asarray(CAMERA_AXES).reshape(2, 3)
    y = y / np.linalg.norm(y)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.stack([x, y, np.cross(x, y)], axis=1).ravel())
    return quaternion


def _add_contact_shapes(spec: MjSpec, drawn: bool) -> None:
    """What touches the world, the same for every body of the robot; visible only if it is drawn.

    These are palm and fingers alone: the links above pass through things.
    """
    shared = {"type": mujoco.mjtGeom.mjGEOM_BOX, "group": 2 if drawn else 3}
    shared |= touching(ROBOT_BITS)

    def add(body: str, name: str, **shape: Any) -> None:
        spec.body(body).add_geom(name=name, **shared, **shape)

    add("link_gripper", "palm", size=(0.04, 0.055, 0.035), pos=(0, 0, 0.025), rgba=_DARK)
    for side in ("right", "left"):
        add(
            f"link_finger_{side}",
            f"finger_{side}",
            size=(0.014, 0.009, 0.034),
            pos=(0, -0.003, 0.034),
            rgba=_DARK,
            friction=PAD_FRICTION,
        )
        add(
            f"link_finger_tip_{side}",
            f"pad_{side}",
            size=(0.015, 0.008, 0.023),
            pos=(0, 0, 0.019),
            rgba=_PAD,
            friction=PAD_FRICTION,
            condim=4,
        )
    spec.add_pair(geomname1="pad_right", geomname2="pad_left")
