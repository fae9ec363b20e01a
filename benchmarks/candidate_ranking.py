"""What loses the ranking of candidates: the imagined frames, or what judges them?

    python benchmarks/candidate_ranking.py [--horizon 3] [--std 0.1] [--states 16] [--json]

Candidates around the policy prior's guess, in states on the expert's way, are imagined and carried
out. Every objective scores the imagined frames and the true frames of the same actions; both scores
are compared, by rank, with the steps that an expert still needs from where a candidate ends.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import selfflow_robotics.envs  # registers the tasks
import torch
from goal_order import rank_correlation
from numpy.typing import NDArray
from selfflow_robotics.envs.scene import COKE_CAN
from selfflow_robotics.policies.experts import make_expert
from torch import Tensor

from selfflow_robotics.planning import GoalImage, Objective, Progress, Readout
from selfflow_robotics.training.probe import clean_features
from selfflow_robotics.world_model.probe import StateProbe, load_probe
from selfflow_robotics.world_model.values import Context, Rollout
from selfflow_robotics.world_model.world_model import WorldModel

PLAYED = ("selfflow/PickCokeCan-v0", "selfflow/OpenDrawer-v0", "selfflow/MoveNear-v0")
CANDIDATES, LONGEST, BEYOND = 12, 30, 5  # BEYOND: what an expert that does not finish counts extra
LAST = 1e6  # a discount that counts the last frame alone


@dataclass(frozen=True)
class Start:
    """A state on the expert's way, and what to score towards."""

    seen: list[dict[str, Any]]
    past_SA: NDArray[np.float32]
    state: Any
    thing: NDArray[np.float64]  # position of what the gripper has to reach
    later: dict[str, Any]  # the expert's observation some steps later


def find_start(env: Any, model: WorldModel, seed: int, steps: int, ahead: int) -> Start | None:
    """Play the expert; None where it is done before."""
    seen, past, expert = [env.reset(seed=seed)[0]], [], make_expert(env)
    for _ in range(steps):
        past.append(expert.act())
        observation, _, done, _, _ = env.step(past[-1])
        seen.append(observation)
        if done:
            return None
    seen = seen[-model.history_len :]
    state, goal = env.get_state(), env.episode.goal
    if isinstance(goal, str):
        thing = env.handle_position(goal)
    else:
        thing = env.thing_position(getattr(goal, "source", COKE_CAN))
    for _ in range(ahead):
        observation, _, done, _, _ = env.step(expert.act())
        if done:
            break
    kept = np.asarray(past[len(past) - len(seen) + 1 :], np.float32)
    return Start(seen, kept.reshape(len(seen) - 1, -1), state, thing, observation)


def carry_out(
    env: Any, start: Start, actions_HA: NDArray[np.float32]
) -> tuple[list[dict[str, Any]], float]:
    """Observations after each action, and the steps an expert needs from there."""
    env.set_state(start.state)
    seen: list[dict[str, Any]] = []
    for step, action in enumerate(actions_HA):
        observation, _, done, _, _ = env.step(action)
        seen.append(observation)
        if done:
            rest = len(actions_HA) - step - 1
            return seen + [observation] * rest, float(-rest)
    expert = make_expert(env)
    for step in range(LONGEST):
        if env.step(expert.act())[2]:
            return seen, step + 1.0
    return seen, float(LONGEST + BEYOND)


def truth(
    model: WorldModel, start: Start, actions_KHA: Tensor, seen: list[list[dict[str, Any]]]
) -> Rollout:
    """What truly followed, as if it had been imagined."""
    rows = [[*start.seen, *future] for future in seen]
    images = np.stack([[one["image"] for one in row] for row in rows])
    states = np.stack([[one["proprioception"] for one in row] for row in rows])
    latents = model.tokenizer.encode(torch.from_numpy(images))
    past = torch.from_numpy(start.past_SA).expand(len(rows), -1, -1)
    led_to = model.action_spec.normalize(torch.cat((past, actions_KHA), dim=1))
    led_to = torch.cat((torch.zeros_like(led_to[:, :1]), led_to), dim=1)
    assert model.state_spec is not None
    state = model.state_spec.normalize(torch.from_numpy(states))
    features = clean_features(model, latents, led_to, state)
    future = slice(len(start.seen), None)
    return Rollout(
        latents_BKHCHW=latents[None, :, future],
        features_BKHMD=features[None, :, future],
        states_BKHP=state[None, :, future],
        actions_BKHA=actions_KHA[None],
        last_BCHW=latents[:1, len(start.seen) - 1],
        passes=0,
    )


def objectives(model: WorldModel, probe: StateProbe, start: Start) -> dict[str, Objective]:
    """What candidates are scored by."""
    image, state = start.later["image"], start.later["proprioception"]
    thing = {name: float(value) for name, value in zip("xyz", start.thing, strict=True)}
    return {
        "progress, mean": Progress(model),
        "progress, last frame": Progress(model, LAST),
        "progress, discount 0.6": Progress(model, 0.6),
        "steps to the expert's later frame": GoalImage(model, image, discount=LAST, state=state),
        "gripper to thing, by probe": Readout(probe, thing, discount=LAST),
    }


def measure_start(
    model: WorldModel, probe: StateProbe, env: Any, start: Start, horizon: int, std: float
) -> dict[str, tuple[float, float, float]]:
    """Rank correlations: imagined with steps left, true frames with steps left, both scores."""
    context: Context = model.observe(
        np.stack([one["image"] for one in start.seen])[None],
        start.past_SA[None],
        start.seen[-1]["instruction"],
        np.stack([one["proprioception"] for one in start.seen])[None],
    )
    spec = model.action_spec
    guess = spec.normalize(model.guess(context, CANDIDATES, horizon))
    noise = torch.randn(guess.shape, generator=torch.Generator().manual_seed(0))
    noise[:, 0] = 0
    actions = spec.denormalize((guess + std * noise).clamp(-1, 1))
    actions = actions.clamp(actions.new_tensor(spec.low), actions.new_tensor(spec.high))
    carried = [carry_out(env, start, one.numpy()) for one in actions[0]]
    left = np.array([steps for _, steps in carried])
    true = truth(model, start, actions[0], [seen for seen, _ in carried])
    imagined = model.rollout(context, actions)
    found = {}
    for name, objective in objectives(model, probe, start).items():
        scores = [objective(context, r)[0].double().numpy() for r in (imagined, true)]
        found[name] = (
            rank_correlation(scores[0], left),
            rank_correlation(scores[1], left),
            rank_correlation(scores[0], scores[1]),
        )
    return found


@torch.no_grad()
def main() -> None:
    """Measure the shipped model and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--horizon", type=int, default=3)
    parser.add_argument("--std", type=float, default=0.1)
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    model = WorldModel.from_pretrained("tabletop-small")
    probe = load_probe(model, "state", "tabletop-small")
    random, rows = np.random.default_rng(0), []
    for task in sorted(set(PLAYED) & set(selfflow_robotics.envs.TASKS)):
        env: Any = gymnasium.make(task, image_size=model.image_size).unwrapped
        for seed in range(70_000, 70_000 + asked.states):
            steps = int(random.integers(1, 14))
            start = find_start(env, model, seed, steps, asked.horizon + 3)
            if start is not None:
                rows.append(measure_start(model, probe, env, start, asked.horizon, asked.std))
        env.close()
    found = {name: np.nanmean([row[name] for row in rows], axis=0).tolist() for name in rows[0]}
    if asked.json:
        print(json.dumps({"states": len(rows), "correlations": found}))
        return
    print(f"{len(rows)} states; with steps left: imagined, true frames; imagined with true frames")
    for name, values in found.items():
        print(f"{name:36}" + "  ".join(f"{value:+.2f}" for value in values))


if __name__ == "__main__":
    main()
