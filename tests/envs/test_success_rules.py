"""SIMPLER's success rules, on states set by hand."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from selfflow_robotics.envs.scene import APPLE, COKE_CAN, TABLE_TOP

STILL = np.zeros(7, np.float32)


def make(task: str) -> Any:
    return gymnasium.make(f"selfflow/{task}-v0", image_size=(8, 8)).unwrapped


def shift(env: Any, thing: Any, x: float, y: float) -> None:
    """Puts a thing at a place of the table (world coordinates, m), otherwise as it was."""
    env.world.data.joint(thing.body).qpos[:2] = (x, y)
    env.world.data.joint(thing.body).qvel[:] = 0.0


@pytest.mark.parametrize(("opening", "success"), [(0.145, False), (0.151, True)])
def test_open_drawer_needs_fifteen_centimetres(opening: float, success: bool) -> None:
    env = make("OpenDrawer")
    env.reset(seed=0)
    env.world.data.joint(f"{env.episode.goal}_drawer").qpos[0] = opening
    _, reward, terminated, _, info = env.step(STILL)
    assert terminated is success and reward == float(success)
    assert info == {
        "success": success,
        "subtask": 0,
        "steps_to_success": 1 if success else -1,
    }


def test_another_drawer_does_not_count() -> None:
    env = make("OpenDrawer")
    env.reset(seed=0)
    for drawer in ("top", "middle", "bottom"):
        if drawer != env.episode.goal:
            env.world.data.joint(f"{drawer}_drawer").qpos[0] = 0.3
    assert not env.step(STILL)[2]


@pytest.mark.parametrize(("opening", "success"), [(0.055, False), (0.049, True)])
def test_close_drawer_allows_five_centimetres(opening: float, success: bool) -> None:
    env = make("CloseDrawer")
    env.reset(seed=0)
    assert env.drawer_opening(env.episode.goal) == pytest.approx(0.2, abs=1e-3)
    env.world.data.joint(f"{env.episode.goal}_drawer").qpos[0] = opening
    assert env.step(STILL)[2] is success


def test_a_lifted_can_counts_only_after_five_steps_unless_grasped() -> None:
    env = make("PickCokeCan")
    env.reset(seed=0)
    done = []
    for _ in range(5):
        data = env.world.data
        data.joint(COKE_CAN.body).qpos[2] = TABLE_TOP + 1.5
        data.joint(COKE_CAN.body).qvel[:] = 0.0
        done.append(env.step(STILL)[2])
    assert done == [False, False, False, False, True]


def near(env: Any, distance: float) -> bool:
    """Puts the source so far (m) from the target, on its own side, and asks for success."""
    goal = env.episode.goal
    source, target = (
        np.array(goal.rested[goal.things.index(thing)][:2]) for thing in (goal.source, goal.target)
    )
    x, y = target + (source - target) / np.linalg.norm(source - target) * distance
    shift(env, goal.source, float(x), float(y))
    return bool(env.step(STILL)[2])


def test_move_near_needs_nearness_of_the_named_pair() -> None:
    env = make("MoveNear")
    env.reset(seed=1)
    goal = env.episode.goal
    reach = goal.source.half_diagonal + goal.target.half_diagonal + 0.10
    assert env.instruction == f"move {goal.source.name} near {goal.target.name}"
    assert not near(env, reach + 0.01)
    assert near(env, reach - 0.01)


def test_move_near_fails_when_another_object_moved_more() -> None:
    env = make("MoveNear")
    env.reset(seed=1)
    goal = env.episode.goal
    other = next(t for t in goal.things if t not in (goal.source, goal.target))
    shift(env, other, -0.5, 0.45)
    reach = goal.source.half_diagonal + goal.target.half_diagonal + 0.10
    target = env.world.data.body(goal.target.body).xpos.copy()
    moved = np.hypot(*(np.array([-0.5, 0.45]) - goal.rested[goal.things.index(other)][:2]))
    shift(env, goal.source, float(target[0]), float(target[1]) + reach - 0.01)
    source = env.world.data.joint(goal.source.body).qpos[:2]
    own = np.hypot(*(source - goal.rested[goal.things.index(goal.source)][:2]))
    assert env.step(STILL)[2] is bool(own > moved)


def test_place_advances_when_open_and_ends_with_the_apple_inside() -> None:
    env = make("OpenDrawerAndPlace")
    env.reset(seed=0)
    assert env.instruction == "open top drawer"
    env.world.data.joint("top_drawer").qpos[0] = 0.2
    *_, info = env.step(STILL)
    assert (info["subtask"], info["success"]) == (1, False)
    assert env.instruction == "place apple into top drawer"
    drawer = env.world.data.geom("top_tray").xpos
    env.world.data.joint(APPLE.body).qpos[:3] = (0.1, drawer[1], drawer[2] + 0.05)
    env.world.data.joint(APPLE.body).qvel[:] = 0.0
    *_, info = env.step(STILL)
    assert info == {"success": True, "subtask": 1, "steps_to_success": 2}


def test_place_goes_on_to_the_second_instruction_at_step_100() -> None:
    env = make("OpenDrawerAndPlace")
    env.reset(seed=0)
    subtasks = [env.step(STILL)[4]["subtask"] for _ in range(100)]
    assert subtasks == [0] * 99 + [1]
    assert not env.step(STILL)[2]
