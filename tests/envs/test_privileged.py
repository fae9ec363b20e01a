"""What a teacher may look into decides how a task goes on, and has one length a task."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from selfflow_robotics.envs import TASKS
from selfflow_robotics.envs.privileged import privileged_of


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_one_length_and_numbers_that_tell_states_apart(task: str) -> None:
    env: Any = gymnasium.make(task, image_size=(16, 24), disable_env_checker=True)
    look = privileged_of(env)
    seen = []
    for seed in (0, 1):
        env.reset(seed=seed)
        seen.append(look(env.unwrapped))
    env.step(np.array([0.05, 0, 0, 0, 0, 0, 1], np.float32))
    seen.append(look(env.unwrapped))
    rows = np.stack(seen)
    assert rows.dtype == np.float32 and np.isfinite(rows).all()
    assert (rows[0] != rows[1]).any() and (rows[1] != rows[2]).any()
    np.testing.assert_allclose(rows[:, :3][2], env.unwrapped.tool_position, rtol=1e-6)
    assert rows[2][21] == 1.0  # the gripper as commanded, then as measured
    assert 0.5 < rows[2][22] <= 1.0


def test_what_is_grasped_is_among_it() -> None:
    from selfflow_robotics.policies.experts import make_expert

    env: Any = gymnasium.make(
        "selfflow/OpenDrawer-v0", image_size=(16, 24), disable_env_checker=True
    )
    env.reset(seed=0)
    look, expert = privileged_of(env), make_expert(env)
    before = look(env.unwrapped)
    assert before[36] == 0.0 and before[26] == 0.0  # not grasped, not open
    over = False
    while not over:
        over = env.step(expert.act())[2]
    after = look(env.unwrapped)
    assert after[36] == 1.0 and after[26] >= 0.15
    assert after[33] == pytest.approx(np.linalg.norm(after[27:30] - after[:3]), rel=1e-5)
    drawer = env.unwrapped.episode.goal
    np.testing.assert_allclose(after[27:30], env.unwrapped.handle_position(drawer), rtol=1e-5)


def test_other_environments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"how PendulumEnv goes on; .* OpenDrawer"):
        privileged_of(gymnasium.make("Pendulum-v1"))
