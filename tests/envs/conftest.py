"""Imports the environments before any test imports MuJoCo, which reads MUJOCO_GL only once."""

import selfflow_robotics.envs  # noqa: F401
