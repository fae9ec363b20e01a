"""The robot's kinematics, against a number nobody here wrote: the real RT-1 first step."""

from __future__ import annotations

import json
from pathlib import Path

import mujoco
import numpy as np
import pytest
from selfflow_robotics.envs.robot import ARM, BODIES, TOOL, menagerie_folder, robot_spec

from selfflow_robotics.machine.extras import MissingExtraError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
FIRST_STEP = SHARED / "rt1_episode" / "first_step.json"


@pytest.fixture
def menagerie(monkeypatch: pytest.MonkeyPatch) -> None:
    root = SHARED / "mujoco_menagerie"
    if not root.is_dir():
        pytest.skip(f"the meshes are absent: {root}")
    monkeypatch.setenv("MENAGERIE_ROOT", str(root))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.usefixtures("menagerie")
def test_start_angles_put_the_tool_where_the_real_first_step_has_it(body: str) -> None:
    if not FIRST_STEP.is_file():
        pytest.skip(f"the real first step is absent: {FIRST_STEP}")
    real = np.array(json.loads(FIRST_STEP.read_text())["base_pose_tool_reached"]["value"])
    model = robot_spec(body).compile()
    data = mujoco.MjData(model)
    for joint in ARM:
        data.joint(joint.name).qpos = joint.start
    mujoco.mj_kinematics(model, data)
    base = data.body("base_link")
    position = base.xmat.reshape(3, 3).T @ (data.site(TOOL).xpos - base.xpos)
    assert np.linalg.norm(position - real[:3]) < 1e-3
    rotation = np.zeros(4)
    mujoco.mju_mat2Quat(rotation, data.site(TOOL).xmat)
    real_rotation = real[[6, 3, 4, 5]] / np.linalg.norm(real[3:])
    angle = 2 * np.arccos(min(1.0, abs(float(rotation @ real_rotation))))
    assert np.degrees(angle) < 0.01


@pytest.mark.usefixtures("menagerie")
def test_both_bodies_are_the_same_mechanism() -> None:
    models = [robot_spec(body).compile() for body in BODIES]
    for of in (
        lambda m: m.jnt_range,
        lambda m: m.actuator_gainprm[:, 0],
        lambda m: m.body_mass,
        lambda m: m.dof_armature,
    ):
        np.testing.assert_allclose(of(models[0]), of(models[1]), atol=1e-9)
    touching = [sorted(m.geom(i).name for i in range(m.ngeom) if m.geom_contype[i]) for m in models]
    assert touching[0] == touching[1]


def test_missing_meshes_say_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="google_robot"):
        menagerie_folder()
    monkeypatch.delenv("MENAGERIE_ROOT")
    monkeypatch.setitem(__import__("sys").modules, "mujoco_menagerie", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'selfflow_robotics\[menagerie\]'"):
        menagerie_folder()


def test_unknown_body_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="primitive, menagerie"):
        robot_spec("cardboard")
