"""Draws what the robot's camera sees, without a display, shadows or reflections."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from numbers import Integral

import mujoco
import numpy as np
from numpy.typing import NDArray

_SHARED = threading.local()
_SIDES = (8, 4096)  # pixels; OpenGL in software draws no more than a few thousand


def checked_size(image_size: Sequence[int]) -> tuple[int, int]:
    """The height and width of images that can be drawn.

    Raises:
        ValueError: not two whole numbers, or numbers out of range.
    """
    sides = tuple(image_size) if isinstance(image_size, Iterable) else ()
    whole = all(isinstance(side, Integral) and _SIDES[0] <= side <= _SIDES[1] for side in sides)
    if len(sides) != 2 or not whole:
        raise ValueError(
            f"image_size={image_size} cannot be drawn; give (height, width), whole numbers of "
            f"pixels from {_SIDES[0]} to {_SIDES[1]}"
        )
    return int(sides[0]), int(sides[1])


def _make_current() -> None:
    """Makes the thread's one OpenGL context current.

    It is shared and never freed: were there several, Python's collector would free the objects of
    one while another is current, and so destroy the other's objects of the same number.
    """
    if not hasattr(_SHARED, "context"):
        _SHARED.context = mujoco.GLContext(640, 480)
    _SHARED.context.make_current()


class Drawing:
    """A camera's image, of height by width pixels, of any model of one environment.

    Models drawn by one instance must share their meshes and textures, which are those of the first
    model and are uploaded once.
    """

    def __init__(self, model: mujoco.MjModel, height: int, width: int, camera: str) -> None:
        _make_current()
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        model.vis.quality.offsamples = 4
        model.vis.quality.shadowsize = 0  # a map of 64 MB for each instance, and nothing casts any
        self._mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.zeros((height, width, 3), np.uint8)
        self._name = camera
        self._option = mujoco.MjvOption()
        self._option.geomgroup[3:5] = 0  # contact shapes; what is never in view
        self._option.sitegroup[:] = 0
        self._perturb = mujoco.MjvPerturb()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._scenes: dict[int, mujoco.MjvScene] = {}

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData) -> NDArray[np.uint8]:
        """The camera's image, (height, width, 3), a new array."""
        scene = self._scenes.get(id(model))
        if scene is None:
            scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 16)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                scene.flags[flag] = 0
            scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = 0
            scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = 0
            self._scenes[id(model)] = scene
        self._camera.fixedcamid = model.camera(self._name).id
        _make_current()
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._mjr)
        mujoco.mjv_updateScene(
            model,
            data,
            self._option,
            self._perturb,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            scene,
        )
        mujoco.mjr_render(self._viewport, scene, self._mjr)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._mjr)
        return self._pixels[::-1].copy()

    def close(self) -> None:
        """Frees what was uploaded to draw."""
        _make_current()
        self._mjr.free()
