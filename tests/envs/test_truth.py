"""The truth as a world model: exact, undisturbing, row by row, and good enough to plan in."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from selfflow_robotics.envs import TASKS
from selfflow_robotics.envs.simulation import simulation_of
from selfflow_robotics.envs.truth import TrueDynamics, box_actions, negative_return

from selfflow_robotics.data.action_spec import RT1_ACTIONS, ActionSpec
from selfflow_robotics.planning import CEM

GYMNASIUM = ("Pendulum-v1", "Reacher-v5", "Pusher-v5")
MUJOCO = (
    *("Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v5", "HumanoidStandup-v5"),
    *("InvertedDoublePendulum-v5", "InvertedPendulum-v5", "Pusher-v5", "Reacher-v5"),
    *("Swimmer-v5", "Walker2d-v5"),
)


def make(task: str) -> gymnasium.Env[Any, Any]:
    if not task.startswith("selfflow/"):
        pytest.importorskip("imageio", reason="Gymnasium's MuJoCo environments import it")
        return gymnasium.make(task)
    return gymnasium.make(task, image_size=(8, 8))


def actions_of(env: gymnasium.Env[Any, Any]) -> ActionSpec:
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    return RT1_ACTIONS if space.shape == (7,) and space.high[0] == 0.25 else box_actions(space, 1.0)


def drawn(env: gymnasium.Env[Any, Any], *shape: int) -> torch.Tensor:
    """Random actions (*shape, A), as rough as the environment allows."""
    spec = actions_of(env)
    low, high = torch.tensor(spec.low), torch.tensor(spec.high)
    return low + (high - low) * torch.rand((*shape, spec.size), generator=torch.manual_seed(0))


@pytest.mark.parametrize("task", [*TASKS, *GYMNASIUM])
def test_futures_are_those_of_the_environment_bit_for_bit(task: str) -> None:
    env = make(task)
    env.reset(seed=1)
    actions = drawn(env, 5)
    for action in actions[:2]:
        env.step(action.numpy())
    dynamics = TrueDynamics([env], actions_of(env))
    ahead = dynamics.rollout(
        dynamics.observe(), torch.stack([drawn(env, 3) * 0.5, actions[2:]])[None]
    )
    assert ahead.passes == 6
    assert torch.equal(ahead.actions_BKHA[0, 1], actions[2:])
    for h, action in enumerate(actions[2:]):
        _, reward, *_ = env.step(action.numpy())
        assert np.array_equal(ahead.states_BKHS[0, 1, h].numpy(), simulation_of(env).physics())
        assert float(ahead.rewards_BKH[0, 1, h]) == reward


class Asleep(gymnasium.Env[Any, Any]):
    """A block that sleeps until a mocap body is steered into it; rewards count steps and waver."""

    SCENE = """
    <mujoco><option timestep="0.01"><flag sleep="enable"/></option><worldbody>
      <geom type="plane" size="5 5 .1"/>
      <body name="block" pos="0 0 .1"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
      <body name="hand" mocap="true" pos="-.4 0 .1"><geom type="sphere" size=".1"/></body>
    </worldbody></mujoco>"""

    def __init__(self, render_mode: str | None = None) -> None:
        import mujoco

        self.render_mode = render_mode
        self.model = mujoco.MjModel.from_xml_string(self.SCENE)
        self.data = mujoco.MjData(self.model)
        self.height = self.data.qpos[2:3]  # MuJoCo's own memory, which stays this one's
        self.action_space = gymnasium.spaces.Box(-0.1, 0.1, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        import mujoco

        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_step(self.model, self.data, nstep=200)
        self.steps, self.path = 0, [np.zeros(2)]
        return self.data.qpos[:3].copy(), {}

    def step(self, action: Any) -> Any:
        import mujoco

        was = self.data.body("block").xpos.copy()
        self.data.mocap_pos[0, :2] += action
        self.path.append(self.data.mocap_pos[0, :2].copy())
        mujoco.mj_step(self.model, self.data, nstep=5)
        self.steps += 1
        moved = np.abs(self.data.body("block").xpos - was).sum() + float(self.height[0])
        wavers = self.np_random.normal() + self.steps * np.ptp(self.path)
        return self.data.qpos[:3].copy(), float(moved + wavers), False, False, {}


@pytest.mark.parametrize("task", [*MUJOCO, "Asleep-v0"])
def test_returns_are_those_of_fresh_environments_in_any_order(task: str) -> None:
    if task not in gymnasium.registry:
        gymnasium.register(task, Asleep, disable_env_checker=True)
    env = make(task)
    candidates, before = drawn(env, 16, 6), drawn(env, 3) * 0.1
    candidates[5] = 0.0  # one that wakes nobody

    def start(env: Any) -> None:
        env.reset(seed=4)
        for action in before:
            env.step(action.numpy())

    expected = np.zeros(candidates.shape[:2])
    for k, candidate in enumerate(candidates):
        fresh = make(task)
        start(fresh)
        for h, action in enumerate(candidate):
            _, expected[k, h], over, *_ = fresh.step(action.numpy())
            if over:
                break
    start(env)
    dynamics = TrueDynamics([env], actions_of(env))
    context = dynamics.observe()
    for order in (torch.arange(16), torch.randperm(16, generator=torch.manual_seed(1))):
        ahead = dynamics.rollout(context, candidates[order][None])
        assert np.array_equal(ahead.rewards_BKH[0].numpy(), expected[order.numpy()])


@pytest.mark.parametrize("task", ["selfflow/MoveNear-v0", *GYMNASIUM])
def test_looking_ahead_does_not_disturb_the_environment(task: str) -> None:
    looked, left = make(task), make(task)
    actions = drawn(looked, 4)
    looked.reset(seed=3)
    left.reset(seed=3)
    dynamics = TrueDynamics([looked], actions_of(looked))
    for action in actions:
        dynamics.rollout(dynamics.observe(), drawn(looked, 1, 2, 2))
        looked.step(action.numpy())
        left.step(action.numpy())
        assert np.array_equal(simulation_of(looked).physics(), simulation_of(left).physics())


@pytest.mark.parametrize("task", ["selfflow/MoveNear-v0", "Pusher-v5"])
def test_rows_and_candidates_do_not_depend_on_each_other(task: str) -> None:
    envs = [make(task) for _ in range(2)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    actions = drawn(envs[0], 2, 3, 2)
    together = TrueDynamics(envs, actions_of(envs[0]))
    both = together.rollout(together.observe(), actions)
    for row in range(2):
        context = together.observe(rows=[row])
        for k in (2, 0):
            alone = together.rollout(context, actions[row : row + 1, k : k + 1])
            assert torch.equal(alone.states_BKHS[0, 0], both.states_BKHS[row, k])


def test_an_action_is_held_as_long_as_asked() -> None:
    env = make("Pusher-v5")
    env.reset(seed=0)
    actions = drawn(env, 1, 1, 2)
    held = TrueDynamics([env], actions_of(env), repeat=3)
    plain = TrueDynamics([env], actions_of(env))
    blocks = held.rollout(held.observe(), actions)
    steps = plain.rollout(plain.observe(), actions.repeat_interleave(3, dim=2))
    assert torch.equal(blocks.states_BKHS, steps.states_BKHS[:, :, 2::3])
    torch.testing.assert_close(
        blocks.rewards_BKH, steps.rewards_BKH.unflatten(2, (2, 3)).sum(-1), rtol=1e-12, atol=0
    )


def test_after_success_nothing_happens_any_more() -> None:
    env: Any = make("selfflow/CloseDrawer-v0")
    env.reset(seed=0)
    env.unwrapped.world.data.joint(f"{env.unwrapped.episode.goal}_drawer").qpos[0] = 0.049
    dynamics = TrueDynamics([env], RT1_ACTIONS, shortfall=lambda _: 1.0)
    ahead = dynamics.rollout(dynamics.observe(), torch.zeros(1, 2, 3, 7))
    assert ahead.success_BKH.all() and ahead.passes == 2
    assert ahead.rewards_BKH.tolist() == [[[1.0, 0.0, 0.0]] * 2]
    assert (ahead.shortfall_BKH == 0).all()
    assert torch.equal(ahead.states_BKHS[:, :, 0], ahead.states_BKHS[:, :, 2])


def test_cem_in_the_truth_swings_the_pendulum_up() -> None:
    env = gymnasium.make("Pendulum-v1")
    env.reset(seed=0, options={"x_init": 3.0, "y_init": 0.1})
    env.unwrapped.state = np.array([np.pi, 0.0])  # type: ignore[attr-defined]
    dynamics = TrueDynamics([env], actions_of(env), repeat=4)
    solver = CEM(dynamics, negative_return, candidates=48, iterations=3, horizon=8)
    plan = None
    for _ in range(20):
        plan = solver.plan(dynamics.observe(), plan)
        for _ in range(4):
            observation, *_ = env.step(plan.actions_BHA[0, 0].numpy())
    assert observation[0] > 0.98


def test_faults_are_sentences() -> None:
    env = make("Pusher-v5")
    env.reset(seed=0)
    dynamics = TrueDynamics([env], actions_of(env))
    with pytest.raises(ValueError, match=r"must be \(B, K, H, A\)"):
        dynamics.rollout(dynamics.observe(), torch.zeros(2, 1, 1, 7))
    with pytest.raises(ValueError, match="actions of 7 entries"):
        dynamics.rollout(dynamics.observe(), torch.zeros(1, 1, 1, 6))
    with pytest.raises(ValueError, match="not finite"):
        dynamics.rollout(dynamics.observe(), torch.full((1, 1, 1, 7), torch.nan))
    other = make("selfflow/MoveNear-v0")
    with pytest.raises(ValueError, match=r"environment 1 was made as selfflow/MoveNear-v0"):
        TrueDynamics([make(TASKS[0]), other], RT1_ACTIONS)
    for unstarted in (other, gymnasium.make("Pendulum-v1")):
        with pytest.raises(RuntimeError, match="call reset"):
            TrueDynamics([unstarted], RT1_ACTIONS).observe()
    for space in (
        gymnasium.spaces.Discrete(3),
        gymnasium.spaces.MultiDiscrete([2, 3]),
        gymnasium.spaces.Dict({}),
        gymnasium.spaces.Box(-1, 1, (1, 7)),
        gymnasium.spaces.Box(-np.inf, 1, (7,)),
    ):
        with pytest.raises(ValueError, match="no finite bounds in one dimension"):
            box_actions(space, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be saved"):
        TrueDynamics([gymnasium.make("CartPole-v1")], actions_of(env))
    with pytest.raises(ValueError, match="not made by"):
        TrueDynamics([type(env.unwrapped)()], actions_of(env))
    scaled = gymnasium.wrappers.RescaleAction(env, np.float32(-9), np.float32(9))
    with pytest.raises(ValueError, match="without wrappers"):
        TrueDynamics([scaled], actions_of(env))
    with pytest.raises(ValueError, match="repeat=0"):
        TrueDynamics([env], actions_of(env), repeat=0)
