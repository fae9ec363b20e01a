"""Random physics scenes as video, so that pretraining needs no data set and no network.

Each scene is a floor or a table with solids of random kind, size, colour and friction that fall,
roll, collide and are struck or pushed by a jointed arm, seen by a random camera under random light.
Drawn without shadows and reflections, which in software GL are 60 times the rest of the work.
The same seed gives the same bytes on the same machine and MuJoCo version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.machine.gl import choose_gl

_TIMESTEP = 0.01  # s
_KINDS = ("box", "sphere", "cylinder", "capsule", "ellipsoid")
_MAX_SOLIDS = 7
_UNTOUCHED = {"contype": 0, "conaffinity": 0}


class PhysicsVideo:
    """An endless-looking source of physics episodes: episode i is made when it is asked for.

    Example:
        ``PhysicsVideo(episodes=1000, frames=32, image_size=(64, 80), seed=0)[17].images``

    An instance draws in the process and thread that first asks it for an episode; it may be
    pickled to worker processes.
    """

    action_spec: ActionSpec | None = None
    state_spec: StateSpec | None = None

    def __init__(
        self,
        episodes: int,
        frames: int = 32,
        image_size: tuple[int, int] = (64, 80),
        seed: int = 0,
        rate_hz: float = 5.0,
        supersample: int = 2,
    ) -> None:
        """Describes the source; nothing is drawn yet.

        Args:
            episodes: Number of episodes, at least 1.
            frames: Frames an episode, at least 1.
            image_size: (height, width) in pixels, each 8 to 1024.
            seed: Episode i depends on (seed, i) only.
            rate_hz: Frames a second of simulated time, above 0 and at most 100.
            supersample: Each pixel is the mean of a square of this many a side, 1 to 4, against
                jagged edges; 1 draws twice as fast as 2.

        Raises:
            ValueError: A value is out of its range.
        """
        height, width = image_size
        for name, value, low, high in (
            ("episodes", episodes, 1, None),
            ("frames", frames, 1, None),
            ("image height", height, 8, 1024),
            ("image width", width, 8, 1024),
            ("seed", seed, 0, None),
            ("rate_hz", rate_hz, 1e-3, 1 / _TIMESTEP),
            ("supersample", supersample, 1, 4),
        ):
            if value < low or (high is not None and value > high):
                limits = f"at least {low}" if high is None else f"between {low} and {high}"
                raise ValueError(f"{name} of a physics video is {value}; it must be {limits}")
        self.name = f"physics-{seed}"
        self._episodes = episodes
        self._frames = frames
        self.image_size = (height, width)
        self._seed = seed
        self._rate_hz = rate_hz
        self._supersample = supersample
        self._gl_context: Any = None
        self.identity: dict[str, Any] = {"seed": seed, "frames": frames, "rate_hz": rate_hz}
        self.identity |= {"supersample": supersample}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_gl_context": None}

    def __len__(self) -> int:
        """Number of episodes."""
        return self._episodes

    def __getitem__(self, index: int) -> Episode:
        """Simulates and draws episode ``index``.

        Raises:
            IndexError: ``index`` is outside 0..len-1.
            RuntimeError: No OpenGL library loads here.
        """
        if not 0 <= index < self._episodes:
            raise IndexError(f"{self.name} has {self._episodes} episodes, not a number {index}")
        rng = np.random.default_rng((self._seed, index))
        return Episode(
            images=self._draw(rng),
            actions=None,
            states=None,
            instructions=(),
            success=None,
            source="video",
            id=f"{self.name}/{index}",
        )

    def _draw(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        choose_gl()
        import mujoco

        height, width = (side * self._supersample for side in self.image_size)
        model: Any = mujoco.MjModel.from_xml_string(_scene(rng, height, width))
        data: Any = mujoco.MjData(model)
        _throw(rng, model, data)
        targets = _arm_targets(rng, model.nu, self._frames, self._rate_hz)

        if self._gl_context is None:
            self._gl_context = mujoco.GLContext(width, height)
        self._gl_context.make_current()
        context: Any = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        try:
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
            scene: Any = mujoco.MjvScene(model, maxgeom=100)
            scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
            camera: Any = mujoco.MjvCamera()
            camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            camera.fixedcamid = 0
            option, perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
            view = mujoco.MjrRect(0, 0, width, height)
            category = mujoco.mjtCatBit.mjCAT_ALL.value
            images = np.empty((self._frames, height, width, 3), np.uint8)
            steps = max(1, round(1 / (self._rate_hz * _TIMESTEP)))
            mujoco.mj_forward(model, data)
            for frame in range(self._frames):
                mujoco.mjv_updateScene(model, data, option, perturb, camera, category, scene)
                mujoco.mjr_render(view, scene, context)
                mujoco.mjr_readPixels(images[frame], None, view, context)
                data.ctrl[:] = targets[frame]
                _strike(rng, model, data, self._rate_hz)
                mujoco.mj_step(model, data, steps)
        finally:
            context.free()
        # OpenGL counts rows from the bottom.
        return np.stack([_shrink(image, self._supersample)[::-1] for image in images])


def _shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Means over squares of ``side`` pixels; sums of whole numbers, so that bytes are the same."""
    if side == 1:
        return image
    total = np.zeros((image.shape[0] // side, image.shape[1] // side, 3), np.uint16)
    for row in range(side):
        for column in range(side):
            total += image[row::side, column::side]
    return ((total + side * side // 2) // (side * side)).astype(np.uint8)


_Value = str | float | Sequence[float] | NDArray[np.float64]


def _text(value: _Value) -> str:
    return value if isinstance(value, str) else " ".join(f"{v:.6g}" for v in np.ravel(value))


def _add(parent: ElementTree.Element, tag: str, **said: _Value) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {key: _text(value) for key, value in said.items()})


def _colour(rng: np.random.Generator) -> tuple[float, ...]:
    """Random colour; half of them greyish, as most things in a room are."""
    colour = rng.uniform(0.05, 0.95, 3)
    if rng.random() < 0.5:
        colour = colour.mean() + 0.25 * (colour - colour.mean())
    return tuple(colour)


def _opaque(rng: np.random.Generator) -> tuple[float, ...]:
    return (*_colour(rng), 1.0)


def _scene(rng: np.random.Generator, height: int, width: int) -> str:
    """MJCF of a random scene: ground, static things, solids, perhaps an arm, camera and light.

    Metres; the top that things stand on is at z = 0 and about 1 m across.
    """
    root = ElementTree.Element("mujoco")
    _add(root, "option", timestep=_TIMESTEP, integrator="implicitfast")
    visual = _add(root, "visual")
    _add(visual, "global", offwidth=width, offheight=height)
    _add(visual, "quality", offsamples=0, shadowsize=0)
    ambient, diffuse = rng.uniform(0.1, 0.45), rng.uniform(0.1, 0.5)
    _add(visual, "headlight", ambient=[ambient] * 3, diffuse=[diffuse] * 3, specular=(0, 0, 0))
    asset = _add(root, "asset")
    drawn: dict[str, _Value] = {"width": 64, "height": 64}
    sky = np.array(_colour(rng))
    _add(asset, "texture", type="skybox", builtin="gradient", **drawn, rgb1=sky, rgb2=0.6 * sky)
    for name in ("floor", "top"):
        first = np.array(_colour(rng))
        second = np.clip(first + rng.normal(0, 0.12, 3), 0, 1)
        kind = str(rng.choice(["checker", "gradient", "flat"]))
        colours = {"rgb1": first, "rgb2": second}
        _add(asset, "texture", name=name, type="2d", builtin=kind, **drawn, **colours)
        repeat = [rng.uniform(1, 6)] * 2
        _add(asset, "material", name=name, texture=name, texrepeat=repeat, texuniform="true")

    world = _add(root, "worldbody")
    azimuth, elevation = rng.uniform(0, 2 * math.pi), rng.uniform(0.35, 1.25)
    distance = rng.uniform(0.9, 1.7)
    ahead = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    towards_eye = math.cos(elevation) * ahead + (0.0, 0.0, math.sin(elevation))
    eye = distance * towards_eye + np.append(rng.uniform(-0.1, 0.1, 2), 0.0)
    right = (-math.sin(azimuth), math.cos(azimuth), 0.0)
    up = -math.sin(elevation) * ahead + (0.0, 0.0, math.cos(elevation))
    _add(world, "camera", pos=eye, xyaxes=(*right, *up), fovy=rng.uniform(35, 60))
    _add(
        world,
        "light",
        type="directional",
        pos=(0, 0, 3),
        dir=np.append(rng.uniform(-0.7, 0.7, 2), -1.0),
        diffuse=rng.uniform(0.3, 0.8) * (1 + rng.uniform(-0.1, 0.1, 3)),
        specular=[rng.uniform(0, 0.4)] * 3,
        castshadow="false",
    )

    on_table = rng.random() < 0.6
    half = rng.uniform(0.3, 0.5, 2)
    floor = -rng.uniform(0.4, 0.9) if on_table else 0.0
    _add(world, "geom", type="plane", size=(4, 4, 0.1), pos=(0, 0, floor), material="floor")
    if on_table:
        thick = rng.uniform(0.02, 0.3) / 2
        _add(world, "geom", type="box", size=(*half, thick), pos=(0, 0, -thick), material="top")
    for _ in range(rng.integers(0, 4)):
        size = rng.uniform(0.03, 0.25, 3)
        angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 0.6)
        place = (radius * math.cos(angle), radius * math.sin(angle), floor + size[2])
        turned = (0, 0, rng.uniform(0, 90))
        colour = _opaque(rng)
        _add(world, "geom", type="box", size=size, pos=place, euler=turned, rgba=colour)
    for _ in range(rng.integers(2, _MAX_SOLIDS + 1)):
        _add_solid(rng, world)
    if rng.random() < 0.75:
        _add_arm(rng, root, world, floor)
    return ElementTree.tostring(root, encoding="unicode")


def _add_solid(rng: np.random.Generator, world: ElementTree.Element) -> None:
    """One that stands or lies about, or falls."""
    kind = str(rng.choice(_KINDS))
    size = rng.uniform(0.02, 0.07) * rng.uniform(0.6, 1.5, 3)
    falls = rng.random() < 0.5
    place = (*rng.uniform(-0.28, 0.28, 2), rng.uniform(0.15, 0.7) if falls else size.max())
    upright = not falls and rng.random() < 0.7
    quaternion = np.array([1.0, 0, 0, 0]) if upright else rng.normal(size=4)
    body = _add(world, "body", pos=place, quat=quaternion)
    _add(body, "freejoint")
    solid = _add(
        body,
        "geom",
        type=kind,
        size=size,
        rgba=_opaque(rng),
        density=rng.uniform(200, 1500),
        friction=(rng.uniform(0.2, 1.2), 0.005, 0.0005),
        condim=6,
    )
    if kind in ("cylinder", "capsule") and rng.random() < 0.4:
        # A band of another colour shows how the solid turns.
        band = (size[0] * 1.02, size[1] * 0.3)
        colour = _opaque(rng)
        _add(body, "geom", type="cylinder", size=band, rgba=colour, **_UNTOUCHED, mass=0.001)
        solid.set("type", "cylinder")


def _add_arm(
    rng: np.random.Generator, root: ElementTree.Element, world: ElementTree.Element, floor: float
) -> None:
    """A turning base and two or three links that bend up and down, ending in two fingers."""
    actuators = _add(root, "actuator")
    angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 0.6)
    place = (radius * math.cos(angle), radius * math.sin(angle), rng.uniform(0.0, 0.2))
    colours = [_opaque(rng) for _ in range(3)]
    thick = rng.uniform(0.02, 0.045)
    body = _add(world, "body", pos=place, euler=(0, 0, math.degrees(angle) + 180))
    post: dict[str, _Value] = {
        "fromto": (0, 0, floor - place[2], 0, 0, 0),
        "size": 1.5 * thick,
        "rgba": colours[0],
    }
    _add(body, "geom", type="cylinder", **post, **_UNTOUCHED)
    links = int(rng.integers(2, 4))
    length = rng.uniform(0.5, 0.8) / links
    joints = 0
    for link in range(links):
        body = _add(body, "body", pos=(length if link else 0, 0, 0))
        for axis in [(0, 1, 0)] if link else [(0, 0, 1), (0, 1, 0)]:
            name, joints = f"joint{joints}", joints + 1
            _add(body, "joint", name=name, axis=axis, damping=2, armature=0.05)
            _add(actuators, "position", joint=name, kp=40, kv=4, forcerange=(-30, 30))
        along, colour = (0, 0, 0, length, 0, 0), colours[(link + 1) % 3]
        _add(body, "geom", type="capsule", fromto=along, size=thick, rgba=colour, density=300)
        body.set("gravcomp", "1")
    for side in (-1, 1):
        place = (length + 0.05, side * rng.uniform(0.02, 0.04), 0)
        size = (0.05, 0.01, 0.015)
        _add(body, "geom", type="box", pos=place, size=size, rgba=colours[0], density=300)


def _throw(rng: np.random.Generator, model: Any, data: Any) -> None:
    """Gives some of the solids a speed to start with."""
    for joint in range(model.njnt):
        if model.jnt_type[joint] == 0 and rng.random() < 0.5:  # 0: free
            start = model.jnt_dofadr[joint]
            data.qvel[start : start + 3] = rng.normal(0, 0.6, 3) * (1, 1, 0.3)
            data.qvel[start + 3 : start + 6] = rng.normal(0, 3, 3)


def _strike(rng: np.random.Generator, model: Any, data: Any, rate_hz: float) -> None:
    """Now and then, about once in two seconds, strikes a solid sideways."""
    if rng.random() > 0.5 / rate_hz:
        return
    joint = int(rng.integers(model.njnt))
    if model.jnt_type[joint] == 0:
        start = model.jnt_dofadr[joint]
        data.qvel[start : start + 3] += rng.normal(0, 0.7, 3) * (1, 1, 0.4)


def _arm_targets(
    rng: np.random.Generator, joints: int, frames: int, rate_hz: float
) -> NDArray[np.float64]:
    """Smooth joint targets (frames, joints), rad: a sum of two slow sines, around reaching down."""
    seconds = np.arange(frames)[:, None] / rate_hz
    targets = np.zeros((frames, joints))
    if joints == 0:
        return targets
    for _ in range(2):
        hertz = rng.uniform(0.05, 0.5, joints)
        phase = rng.uniform(0, 2 * math.pi, joints)
        targets += rng.uniform(0.1, 0.5, joints) * np.sin(2 * math.pi * hertz * seconds + phase)
    targets += 0.35
    targets[:, 0] -= 0.35
    targets[:, 1] += rng.uniform(-1.05, -0.35)
    return targets
