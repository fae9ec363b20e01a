"""What all five tasks promise: seeds, spaces, errors, states, stability."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from selfflow_robotics.envs import TASKS
from selfflow_robotics.envs.base import TabletopEnv
from selfflow_robotics.envs.move_near import LAYOUTS
from selfflow_robotics.envs.scene import COKE_CAN
from selfflow_robotics.policies.experts import make_expert

from selfflow_robotics.data.action_spec import RT1_ACTIONS

SMALL = (64, 80)


@pytest.fixture(params=TASKS)
def env(request: pytest.FixtureRequest) -> Any:
    made = gymnasium.make(request.param, image_size=SMALL)
    yield made
    made.close()


def play(env: Any, seed: int, steps: int) -> list[dict[str, Any]]:
    """Observations of an episode under seeded random actions."""
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    seen = [observation]
    for _ in range(steps):
        seen.append(env.step(env.action_space.sample())[0])
    return seen


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return (
        a["instruction"] == b["instruction"]
        and np.array_equal(a["image"], b["image"])
        and np.array_equal(a["proprioception"], b["proprioception"])
    )


def test_gymnasium_accepts_it(env: Any) -> None:
    check_env(env.unwrapped, skip_render_check=True)


def test_same_seed_same_episode_bit_for_bit(env: Any) -> None:
    first = play(env, 3, 4)
    play(env, 4, 2)
    again = play(env, 3, 4)
    fresh = gymnasium.make(env.spec.id, image_size=SMALL)
    elsewhere = play(fresh, 3, 4)
    for a, b, c in zip(first, again, elsewhere, strict=True):
        assert same(a, b) and same(a, c)
    other = play(env, 4, 1)
    assert not same(first[0], other[0])


def test_image_has_the_asked_size_and_shows_something(env: Any) -> None:
    image = env.reset(seed=0)[0]["image"]
    assert image.shape == (*SMALL, 3) and image.dtype == np.uint8
    assert image.std() > 20


def test_start_is_unsolved_and_info_says_so(env: Any) -> None:
    for seed in range(5):
        _, info = env.reset(seed=seed)
        assert info == {"success": False, "subtask": 0, "steps_to_success": -1}
        _, reward, terminated, _, info = env.step(np.zeros(7, np.float32))
        assert not terminated and reward == 0.0 and info["steps_to_success"] == -1


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(6), "must be"),
        (np.full(7, np.nan), "give finite numbers"),
        (np.array([0.3, 0, 0, 0, 0, 0, 0]), "outside"),
        (np.array([0, 0, 0, 0, 0, 0, 1.5]), "gripper"),
    ],
)
def test_bad_action_is_a_sentence(action: np.ndarray[Any, Any], message: str) -> None:
    env = gymnasium.make("selfflow/OpenDrawer-v0", image_size=SMALL).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_zero_action_keeps_the_tool_and_others_move_it() -> None:
    env: Any = gymnasium.make("selfflow/PickCokeCan-v0", image_size=SMALL).unwrapped
    env.reset(seed=0)
    start = env.tool_position
    env.step(np.zeros(7))
    np.testing.assert_allclose(env.tool_position, start, atol=5e-4)
    for shift in ((0.04, 0.0, -0.03), (0.0, 0.05, 0.0), (0.0, 0.0, -0.05)):
        start = env.tool_position
        env.step(np.array([*shift, 0, 0, 0, 0]))
        np.testing.assert_allclose(env.tool_position - start, shift, atol=3e-3)


def test_gripper_is_relative_and_plus_one_closes() -> None:
    env: Any = gymnasium.make("selfflow/PickCokeCan-v0", image_size=SMALL).unwrapped
    env.reset(seed=0)
    seen = []
    for change in (1.0, 0.0, 0.005, -0.5, -1.0):
        env.step(np.array([0, 0, 0, 0, 0, 0, change]))
        seen.append(float(env.rt1_observation()["gripper_closedness_commanded"][0]))
    assert seen == [1.0, 1.0, 1.0, 0.5, 0.0]
    assert env.gripper_closed < 0.05


def test_state_comes_back_exactly(env: Any) -> None:
    bare = env.unwrapped
    env.reset(seed=1)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(6)]
    for action in actions[:3]:
        env.step(action)
    state = bare.get_state()
    ahead = [bare.step(action)[0] for action in actions[3:]]
    env.reset(seed=2)
    bare.set_state(state)
    for action, expected in zip(actions[3:], ahead, strict=True):
        assert same(bare.step(action)[0], expected)


def test_rt1_observation_has_every_field_of_rt1() -> None:
    env: Any = gymnasium.make("selfflow/OpenDrawer-v0", image_size=SMALL).unwrapped
    observation, _ = env.reset(seed=0)
    fields = env.rt1_observation()
    assert {name: value.shape for name, value in fields.items()} == {
        "base_pose_tool_reached": (7,),
        "gripper_closed": (1,),
        "gripper_closedness_commanded": (1,),
        "height_to_bottom": (1,),
        "orientation_start": (4,),
        "orientation_box": (2, 3),
        "robot_orientation_positions_box": (3, 3),
        "rotation_delta_to_go": (3,),
        "src_rotation": (4,),
        "vector_to_go": (3,),
        "workspace_bounds": (3, 3),
    }
    assert all(value.dtype == np.float32 for value in fields.values())
    pose = fields["base_pose_tool_reached"]
    np.testing.assert_array_equal(pose, observation["proprioception"][:7])
    np.testing.assert_allclose(fields["orientation_start"], pose[[6, 3, 4, 5]], atol=1e-6)
    assert fields["height_to_bottom"][0] == pose[2]


def test_step_limits_are_simplers() -> None:
    limits = [gymnasium.spec(task).max_episode_steps for task in TASKS]
    assert limits == [80, 80, 113, 113, 200]


@pytest.mark.parametrize("size", [(7, 80), (8, 20000), (64.5, 80), (64,), (64, 80, 3), 64, "64"])
def test_sizes_that_cannot_be_drawn_are_a_sentence(size: Any) -> None:
    with pytest.raises(ValueError, match=r"give \(height, width\), whole numbers"):
        gymnasium.make(TASKS[0], image_size=size)


def test_a_state_of_another_task_is_refused_and_changes_nothing() -> None:
    drawer: Any = gymnasium.make("selfflow/OpenDrawer-v0", image_size=SMALL).unwrapped
    near: Any = gymnasium.make("selfflow/MoveNear-v0", image_size=SMALL).unwrapped
    drawer.reset(seed=0)
    near.reset(seed=0)
    before = drawer.observe()
    with pytest.raises(ValueError, match="another task than OpenDrawer"):
        drawer.set_state(near.get_state())
    assert same(drawer.observe(), before)


def test_step_before_reset_is_a_sentence() -> None:
    env: Any = gymnasium.make("selfflow/OpenDrawer-v0", image_size=SMALL).unwrapped
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(7))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_two_thousand_random_steps_stay_finite(task: str) -> None:
    env: Any = gymnasium.make(task, image_size=(8, 8))
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(2000):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        data = env.unwrapped.world.data
        assert np.isfinite(data.qpos).all() and np.abs(data.qvel).max() < 200.0
        if terminated or truncated:
            env.reset()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_random_play_hardly_ever_succeeds(task: str) -> None:
    env: Any = gymnasium.make(task, image_size=(8, 8))
    successes = 0
    for seed in range(100):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        terminated = truncated = False
        while not (terminated or truncated):
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
        successes += terminated
    assert successes < 5


def test_action_space_is_rt1s() -> None:
    space: Any = gymnasium.make(TASKS[0], image_size=SMALL).action_space
    np.testing.assert_allclose(space.low, RT1_ACTIONS.low)
    np.testing.assert_allclose(space.high, RT1_ACTIONS.high)


@pytest.mark.parametrize("task", TASKS)
def test_shifted_places_are_beyond_the_usual_ones_and_the_expert_succeeds_there(
    task: str,
) -> None:
    usual, shifted = (
        gymnasium.make(task, image_size=SMALL, places=places).unwrapped
        for places in ("usual", "shifted")
    )
    assert isinstance(usual, TabletopEnv) and isinstance(shifted, TabletopEnv)

    def placed(env: TabletopEnv, seed: int) -> list[float]:
        env.reset(seed=seed)
        if task == "selfflow/PickCokeCan-v0":
            return [float(env.world.data.body(COKE_CAN.body).xpos[0])]
        if task == "selfflow/MoveNear-v0":  # every thing by itself, from the middle of its places
            rested = np.array(env.episode.goal.rested)[:, :2]
            ways = [np.abs(rested - np.array(layout)).max(axis=1) for layout in LAYOUTS]
            return [float(v) for v in min(ways, key=lambda way: float(way.sum()))]
        return [float(env.world.data.mocap_pos[0, 1])]

    known = [place for seed in range(40) for place in placed(usual, seed)]
    for seed in range(4):
        for place in placed(shifted, seed):
            assert place < min(known) - 0.005 or place > max(known) + 0.005
        expert = make_expert(shifted)
        assert any(shifted.advance(expert.act()) for _ in range(80))
    with pytest.raises(ValueError, match="places='far' is unknown; choose usual or shifted"):
        gymnasium.make(task, places="far")
