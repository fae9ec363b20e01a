"""The shipped model and its probe bring the gripper to a position, in the simulator."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
import selfflow_robotics.envs
from numpy.typing import NDArray

from selfflow_robotics.planning import CEM, ActionMagnitude, Objective, Readout, WeightedSum
from selfflow_robotics.world_model.probe import load_probe
from selfflow_robotics.world_model.world_model import WorldModel

STEPS, STARTS = 2, 4
Decide = Callable[[list[dict[str, NDArray[np.float32]]], list[NDArray[np.float32]]], np.ndarray]


def left_over(seed: int, decide_towards: Callable[[NDArray[np.float64]], Decide]) -> float:
    """Distance (m) to a position 5 to 10 cm away, after so many actions."""
    env = gymnasium.make("selfflow/PickCokeCan-v0", image_size=(64, 80)).unwrapped
    try:
        random = np.random.default_rng(seed)
        seen, actions = [env.reset(seed=seed)[0]], []
        way = random.normal(size=3)
        goal = env.tool_position + way * random.uniform(0.05, 0.10) / np.linalg.norm(way)
        decide = decide_towards(goal)
        for _ in range(STEPS):
            actions.append(decide(seen, actions))
            seen.append(env.step(actions[-1])[0])
        return float(np.linalg.norm(env.tool_position - goal))
    finally:
        env.close()


@pytest.mark.slow
def test_a_read_out_target_is_reached_better_than_by_rest_or_chance() -> None:
    assert selfflow_robotics.envs.TASKS
    model = WorldModel.from_pretrained("tabletop-small").requires_grad_(False)
    probe = load_probe(model, "state", "tabletop-small")
    spec = model.action_spec

    def planned(goal: NDArray[np.float64]) -> Decide:
        target = dict(zip("xyz", map(float, goal), strict=True))
        terms: list[tuple[float, Objective]] = [
            (1.0, Readout(probe, target)),
            (0.1, ActionMagnitude(spec)),
        ]
        cem = CEM(model, WeightedSum(terms), 24, 3, horizon=1, topk=5, initial_std=0.4)

        def decide(seen: list[dict[str, NDArray]], actions: list[NDArray]) -> np.ndarray:
            seen = seen[-model.history_len :]
            past = np.asarray(actions[len(actions) - len(seen) + 1 :], np.float32)
            context = model.observe(
                np.stack([one["image"] for one in seen])[None],
                past.reshape(1, len(seen) - 1, spec.size),
                states=np.stack([one["proprioception"] for one in seen])[None],
            )
            return cem.plan(context).actions_BHA[0, 0].numpy()

        return decide

    def resting(goal: NDArray[np.float64]) -> Decide:
        return lambda seen, actions: np.zeros(spec.size, np.float32)

    def chance(goal: NDArray[np.float64]) -> Decide:
        random = np.random.default_rng(0)
        return lambda seen, actions: random.uniform(spec.q01, spec.q99).astype(np.float32)

    reached, rested, strayed = (
        np.mean([left_over(90_000 + i, decide) for i in range(STARTS)])
        for decide in (planned, resting, chance)
    )
    assert reached < 0.6 * rested < 0.6 * strayed
