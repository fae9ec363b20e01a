"""What stands around the robot: a cabinet with three drawers, and objects made of primitives.

Sizes and places are SIMPLER's, in its world frame (metres; x towards the robot, z up). Colours are
this project's: saturated, so that things can be told apart in a picture of 64x80. The handles are
9 mm thicker than the original's 5 mm, which is less than a third of a pixel there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
from mujoco import MjSpec
from selfflow_robotics.envs.robot import (
    FURNITURE_BITS,
    OBJECT_BITS,
    PREFIX,
    TIMESTEP,
    robot_spec,
    touching,
)

Color = tuple[float, float, float, float]

CABINET_X, CABINET_Z = -0.295, 0.017
TABLE_TOP = CABINET_Z + 0.865
"""Height of the cabinet's top, on which objects stand."""
DRAWERS = ("top", "middle", "bottom")
DRAWER_Z = {"top": 0.668, "middle": 0.423, "bottom": 0.178}
"""Height of a drawer's centre above the cabinet's frame."""
DRAWER_TRAVEL = 0.5
FRONT_X, HANDLE_X = 0.305, 0.3425
"""Where a closed drawer's front and handle are, along x in the cabinet's frame."""
HANDLE_RADIUS = 0.007
MOUNT = "robot_mount"
MOUNT_Z = 0.017

_FURNITURE = touching(FURNITURE_BITS)
_UNSEEN = 4  # geoms the camera never sees; they are not drawn
_BODY: Color = (0.55, 0.46, 0.36, 1.0)
_TOP: Color = (0.78, 0.74, 0.66, 1.0)
_FRONT: Color = (0.72, 0.62, 0.48, 1.0)
_TRAY: Color = (0.25, 0.2, 0.5, 1.0)
_HANDLE: Color = (0.75, 0.05, 0.35, 1.0)
_FLOOR: Color = (0.38, 0.4, 0.42, 1.0)


@dataclass(frozen=True)
class Thing:
    """An object that can be moved.

    Attributes:
        name: as the instruction says it.
        kind: "cylinder", "sphere" or "box".
        size: cylinder (radius, height), sphere (radius,), box (length x, y, z), in metres.
        density: kg/m^3.
        color: red, green, blue, alpha in 0..1.
    """

    name: str
    kind: str
    size: tuple[float, ...]
    density: float
    color: Color

    @property
    def height(self) -> float:
        """Metres from the bottom to the top of the standing object."""
        return 2 * self.size[0] if self.kind == "sphere" else self.size[-1]

    @property
    def half_diagonal(self) -> float:
        """Half the diagonal (m) of the standing object's bounding box, seen from above."""
        if self.kind == "box":
            return 0.5 * float((self.size[0] ** 2 + self.size[1] ** 2) ** 0.5)
        return self.size[0] * float(2**0.5)

    @property
    def body(self) -> str:
        """Name of its body in the model."""
        return self.name.replace(" ", "_")


COKE_CAN = Thing("coke can", "cylinder", (0.033, 0.123), 50, (0.9, 0.03, 0.05, 1))
PEPSI_CAN = Thing("pepsi can", "cylinder", (0.033, 0.123), 50, (0.05, 0.1, 0.55, 1))
SEVEN_UP_CAN = Thing("7up can", "cylinder", (0.033, 0.123), 50, (0.05, 0.6, 0.15, 1))
REDBULL_CAN = Thing("redbull can", "cylinder", (0.029, 0.172), 50, (0.55, 0.1, 0.75, 1))
BLUE_BOTTLE = Thing("blue plastic bottle", "cylinder", (0.03, 0.203), 50, (0.05, 0.45, 1.0, 1))
APPLE = Thing("apple", "sphere", (0.04,), 200, (0.6, 0.95, 0.1, 1))
ORANGE = Thing("orange", "sphere", (0.035,), 200, (1.0, 0.5, 0.0, 1))
SPONGE = Thing("sponge", "box", (0.07, 0.10, 0.036), 150, (1.0, 0.95, 0.1, 1))

_KINDS = {
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
}


@dataclass(frozen=True)
class Slide:
    """How hard a drawer is to move: friction in N, damping in N s/m."""

    friction: float = 4.0
    damping: float = 20.0


def build(
    robot: str,
    things: Sequence[Thing],
    cabinet_y: float,
    slide: Slide | None,
) -> mujoco.MjModel:
    """Compiles the robot, the cabinet and the objects.

    The robot hangs on the mocap body ``robot_mount``, so that it can be placed at every reset.

    Args:
        robot: "primitive" or "menagerie".
        things: the objects; each has a free joint.
        cabinet_y: where the cabinet stands, sideways (m).
        slide: how the drawers slide (joints ``top_drawer`` ...); None fixes them to the cabinet.
    """
    spec = MjSpec()
    option = spec.option
    option.timestep = TIMESTEP
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    multiccd = getattr(mujoco.mjtEnableBit, "mjENBL_MULTICCD", None)
    if multiccd is not None:
        option.enableflags |= int(multiccd)
    spec.visual.quality.numslices, spec.visual.quality.numstacks = 16, 8
    spec.visual.quality.numquads = 2
    spec.stat.center, spec.stat.extent = (0.0, 0.0, 0.8), 1.5
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = (0.45,) * 3, (0.3,) * 3, (0.0,) * 3
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 5.0
    world = spec.worldbody
    world.add_light(
        pos=(0.5, 0.5, 3.0), dir=(-0.3, -0.25, -1.0), diffuse=(0.45,) * 3, castshadow=False
    )
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    world.add_geom(name="floor", type=plane, size=(3.0, 3.0, 0.1), rgba=_FLOOR, **_FURNITURE)
    mount = world.add_body(name=MOUNT, mocap=True, pos=(0.35, 0.2, MOUNT_Z), quat=(0, 0, 0, 1))
    spec.attach(robot_spec(robot), prefix=PREFIX, frame=mount.add_frame())
    _add_cabinet(spec, cabinet_y, slide)
    for i, thing in enumerate(things):
        _add_thing(spec, thing, (-0.2, -0.2 + 0.15 * i, TABLE_TOP + thing.height / 2))
    return spec.compile()


def _furniture(
    body: Any,
    size: Sequence[float],
    pos: Sequence[float],
    color: Color,
    group: int = 0,
    **more: Any,
) -> None:
    box, half = mujoco.mjtGeom.mjGEOM_BOX, [length / 2 for length in size]
    body.add_geom(
        type=box, size=half, pos=pos, rgba=color, mass=0.0, group=group, **_FURNITURE, **more
    )


def _add_cabinet(spec: MjSpec, y: float, slide: Slide | None) -> None:
    cabinet = spec.worldbody.add_body(name="cabinet", pos=(CABINET_X, y, CABINET_Z))
    _furniture(cabinet, (0.63, 0.615, 0.02), (0, 0, 0.855), _TOP)
    _furniture(cabinet, (0.55, 0.015, 0.845), (0, 0.30, 0.4225), _BODY)
    _furniture(cabinet, (0.55, 0.015, 0.845), (0, -0.30, 0.4225), _BODY)
    _furniture(cabinet, (0.015, 0.615, 0.845), (-0.3, 0, 0.4225), _BODY, _UNSEEN)
    for z in (0.79, 0.545, 0.30, 0.055):
        hidden = slide is None and z < 0.6
        _furniture(cabinet, (0.02, 0.6, 0.10), (0.27, 0, z), _BODY, _UNSEEN if hidden else 0)
    for name in DRAWERS:
        part = cabinet
        at = (0.0, 0.0, DRAWER_Z[name])
        if slide is not None:
            part = cabinet.add_body(name=f"{name}_drawer", pos=at)
            joint = part.add_joint(
                name=f"{name}_drawer",
                type=mujoco.mjtJoint.mjJNT_SLIDE,
                axis=(1, 0, 0),
                range=(0.0, DRAWER_TRAVEL),
                limited=True,
            )
            joint.damping = joint.damping * 0.0 + slide.damping
            joint.frictionloss = slide.friction
            part.explicitinertial = True
            part.mass, part.inertia = 1.5, (0.05, 0.05, 0.05)
            at = (0.0, 0.0, 0.0)
        hidden = slide is None and name == "bottom"
        _add_drawer(part, at, name, _UNSEEN if hidden else 0)


def _add_drawer(body: Any, at: tuple[float, float, float], name: str, group: int) -> None:
    def shifted(x: float, y: float, z: float) -> tuple[float, float, float]:
        return (at[0] + x, at[1] + y, at[2] + z)

    _furniture(body, (0.015, 0.615, 0.14), shifted(FRONT_X, 0, 0), _FRONT, group)
    under = shifted(0.025, 0, -0.055)
    _furniture(body, (0.55, 0.515, 0.008), under, _TRAY, group, name=f"{name}_tray")
    for side in (-0.2575, 0.2575):
        _furniture(body, (0.55, 0.01, 0.09), shifted(0.025, side, -0.015), _TRAY, group)
    body.add_geom(
        name=f"{name}_handle",
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        size=(HANDLE_RADIUS, 0, 0),
        fromto=(*shifted(HANDLE_X, -0.05, 0), *shifted(HANDLE_X, 0.05, 0)),
        rgba=_HANDLE,
        group=group,
        **_FURNITURE,
        friction=(1.5, 0.02, 0.001),
        condim=4,
        mass=0.0,
    )
    for side in (-0.05, 0.05):
        at_side = shifted((HANDLE_X + FRONT_X) / 2, side, 0)
        _furniture(body, (HANDLE_X - FRONT_X, 0.01, 0.01), at_side, _HANDLE, group)


def _add_thing(spec: MjSpec, thing: Thing, pos: tuple[float, float, float]) -> None:
    body = spec.worldbody.add_body(name=thing.body, pos=pos)
    body.add_freejoint(name=thing.body)
    halved = [length / 2 for length in thing.size]
    sizes = {"sphere": [thing.size[0], 0.0, 0.0], "cylinder": [thing.size[0], halved[-1], 0.0]}
    body.add_geom(
        name=thing.body,
        type=_KINDS[thing.kind],
        size=sizes.get(thing.kind, halved),
        density=thing.density,
        rgba=thing.color,
        **touching(OBJECT_BITS),
        condim=6 if thing.kind != "box" else 4,
        friction=(0.8, 0.01, 0.003),
    )
