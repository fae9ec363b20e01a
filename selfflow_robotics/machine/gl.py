"""Which OpenGL library MuJoCo draws with; the only place that touches ``MUJOCO_GL``.

MuJoCo reads ``MUJOCO_GL`` once, while it is being imported. So call :func:`choose_gl` before the
first ``import mujoco`` of a process. Imports nothing of ours and neither MuJoCo nor torch.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

_OFF = ("disable", "disabled", "off", "false", "0")
_KNOWN = ("egl", "osmesa", "glfw", "glx", "cgl", "wgl", "enable", "enabled", "on", "true", "1")
_INSTALL = (
    'install one with "sudo apt-get install -y libegl1 libgl1-mesa-dri libosmesa6" '
    "(Debian, Ubuntu) and run again"
)


def choose_gl() -> str:
    """Sets ``MUJOCO_GL`` to a library that loads on this machine, before MuJoCo is imported.

    A value that the user has set stays. Otherwise, on Linux, EGL is tried first (it uses a GPU
    where there is one and Mesa's software renderer where there is none), then OSMesa, then GLFW
    when there is a display. On other systems MuJoCo's own choice works without a display.

    Returns:
        The name of the back end, as in ``MUJOCO_GL``: "egl", "osmesa", "glfw", "cgl", "wgl", ….

    Raises:
        RuntimeError: No library loads, drawing has been turned off by the user's ``MUJOCO_GL``, or
            MuJoCo was imported too early to choose; the message says what to do.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen in _OFF:
        raise RuntimeError(
            f"MUJOCO_GL={chosen} turns drawing off, but images are needed; unset MUJOCO_GL"
        )
    if chosen and chosen not in _KNOWN:
        raise RuntimeError(
            f'there is no back end MUJOCO_GL={chosen}; choose "egl", "osmesa" or "glfw", '
            "or unset MUJOCO_GL"
        )
    if chosen:
        return chosen
    system = platform.system()
    if system != "Linux":
        return {"Darwin": "cgl", "Windows": "wgl"}.get(system, "glfw")
    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if "mujoco" in sys.modules:
        if display:
            return "glfw"
        raise RuntimeError(
            "mujoco was imported before an OpenGL library was chosen and there is no display; "
            "import selfflow_robotics.envs before mujoco, or set MUJOCO_GL=egl"
        )
    if _egl_works():
        chosen = "egl"
    elif _load("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        chosen = "osmesa"
    elif display:
        chosen = "glfw"
    else:
        raise RuntimeError(f"no OpenGL library for drawing without a display loads; {_INSTALL}")
    os.environ["MUJOCO_GL"] = chosen
    return chosen


def _load(*names: str) -> ctypes.CDLL | None:
    for name in names:
        try:
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    return None


def _egl_works() -> bool:
    """Whether EGL loads and a device of it, a GPU or Mesa's software one, can be initialised."""
    egl = _load("libEGL.so.1", "libEGL.so")
    # EGL drivers without desktop OpenGL load too, but MuJoCo needs desktop OpenGL.
    if egl is None or not _load("libOpenGL.so.0", "libGL.so.1", "libGL.so"):
        return False
    pointer = ctypes.c_void_p
    egl.eglGetProcAddress.restype = pointer
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    query_address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_address = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query_address or not display_address:
        return False
    query_devices = ctypes.CFUNCTYPE(
        ctypes.c_uint, ctypes.c_int, ctypes.POINTER(pointer), ctypes.POINTER(ctypes.c_int)
    )(query_address)
    platform_display = ctypes.CFUNCTYPE(pointer, ctypes.c_uint, pointer, pointer)(display_address)
    devices = (pointer * 16)()
    count = ctypes.c_int(0)
    if not query_devices(len(devices), devices, ctypes.byref(count)):
        return False
    egl.eglInitialize.argtypes = [pointer, pointer, pointer]
    egl.eglInitialize.restype = ctypes.c_uint
    egl_platform_device_ext = 0x313F
    for device in devices[: count.value]:
        display = platform_display(egl_platform_device_ext, device, None)
        if display and egl.eglInitialize(display, None, None):
            return True
    return False
