"""Whether a change of the code changes a number: what training, imagining and planning come to.

    python benchmarks/golden.py --save FILE
    python benchmarks/golden.py --compare FILE

On one thread of one machine, with the torch of before, numbers are the same to the bit: save them
at the commit before, compare at the commit after. For a `tiny` network with random weights and for
the shipped model: the losses of three steps of every training objective and the weights that the
trainer makes in three, a rollout, features of a goal, a plan of every solver, a proposal, a guess,
what the policies do in every task, and the network of the published image checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from selfflow_robotics.envs import TASKS
from selfflow_robotics.policies.build import make_policy
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.clips import NEVER, LatentEpisodes
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.image_model import checkpoint as released
from selfflow_robotics.planning.config import PlannerConfig, make_solver
from selfflow_robotics.streams import RowStreams
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.recipe import build_objective, build_world_model
from selfflow_robotics.training.trainer import Trainer
from selfflow_robotics.world_model.world_model import WorldModel

STEPS, BATCH, FRAMES, LENGTH, EPISODES = 3, 4, 4, 12, 4
OBJECTIVES = {
    "flow_matching": ObjectiveConfig("flow_matching"),
    "diffusion_forcing": ObjectiveConfig("diffusion_forcing"),
    "sra": ObjectiveConfig("sra"),
    "self_flow": ObjectiveConfig("self_flow"),
    "shortcut": ObjectiveConfig("self_flow", shortcut=0.25),
}
SOLVERS = ("cem", "icem", "mppi", "predictive", "adam", "policy-guided")
POLICIES = ("planner", "prior", "joint")
INSTRUCTION = "open top drawer"


def shipped() -> WorldModel:
    """The shipped model."""
    return WorldModel.from_pretrained("tabletop-small")


def tiny(step_sizes: bool = False) -> WorldModel:
    """A small network in which every weight matters."""
    like = shipped()
    torch.manual_seed(0)
    made = build_world_model(
        ModelConfig("tiny"),
        like.tokenizer,
        like.image_size,
        RT1_ACTIONS,
        RT1_STATE,
        Vocabulary.of([INSTRUCTION]),
        step_sizes=step_sizes,
    )
    for weight in made.network.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.05)
    return made


def episodes(model: WorldModel) -> LatentEpisodes:
    """Latents, actions and proprioception drawn at random, half of the episodes successes."""
    random = np.random.default_rng(0)
    count = EPISODES * LENGTH
    size = model.tokenizer.channels, *model.tokenizer.latent_size(model.image_size)
    left = np.tile(np.arange(LENGTH, 0, -1), EPISODES).astype(np.float32)
    left[count // 2 :] = NEVER
    return LatentEpisodes(
        JoinedRows([random.standard_normal((count, *size)).astype(np.float16)]),
        random.uniform(-1, 1, (count, RT1_ACTIONS.size)).astype(np.float32),
        random.uniform(-1, 1, (count, RT1_STATE.size)).astype(np.float32),
        np.ones(count, np.bool_),
        np.array([INSTRUCTION]),
        np.zeros(count, np.int32),
        left,
        np.arange(0, count + 1, LENGTH),
        np.array([str(i) for i in range(EPISODES)]),
    ).with_words(model.config.vocabulary)


def digest(values: Mapping[str, Tensor]) -> str:
    """Of names and bytes."""
    found = hashlib.sha256()
    for name, value in sorted(values.items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def told(value: Tensor) -> str:
    """A tensor's shape, mean and digest."""
    return f"{tuple(value.shape)} {float(value.float().mean()):.6g} {digest({'': value})}"


def trained(name: str, config: ObjectiveConfig, fresh: Any) -> dict[str, Any]:
    """Losses of three steps by hand, and the weights of three by the trainer."""
    model = fresh()
    given = episodes(model)
    objective = build_objective(config, model.config.patch, 1, model.tokenizer)
    teacher = fresh().network.requires_grad_(False)
    torch.manual_seed(0)
    head = objective.projector(model.config.network.width)
    optimizer = torch.optim.SGD([*model.network.parameters(), *head.parameters()], lr=1e-3)
    losses = []
    for step in range(STEPS):
        starts = given.starts(FRAMES)[step * BATCH :][:BATCH]
        clips = given.clips(starts, FRAMES, starts + 2)
        noised = objective.noise(clips, RowStreams(0, range(BATCH), step))
        found = objective(model.network, teacher, head, noised)
        optimizer.zero_grad()
        found.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append({key: float(value.detach()).hex() for key, value in found.parts.items()})
    settings = TrainerConfig(
        steps=STEPS, batch_size=BATCH, frames=FRAMES, warmup=1, precision="fp32", seed=0
    )
    with tempfile.TemporaryDirectory() as folder:
        end = Trainer(fresh(), objective, given, settings, Path(folder)).fit()
    assert end is not None
    return {"losses": losses, "weights": digest(end.state_dict())}


@torch.no_grad()
def imagined(model: WorldModel) -> dict[str, Any]:
    """Rollouts, heads, proposals and plans after the same history."""
    random = np.random.default_rng(1)
    frames = random.integers(0, 256, (2, 2, *model.image_size, 3), np.uint8)
    past = random.uniform(-0.1, 0.1, (2, 1, RT1_ACTIONS.size)).astype(np.float32)
    states = random.uniform(-0.5, 0.5, (2, 2, RT1_STATE.size)).astype(np.float32)
    context = model.observe(frames, past, INSTRUCTION, states)
    actions = torch.from_numpy(random.uniform(-0.1, 0.1, (2, 3, 2, 7)).astype(np.float32))
    goal = model.encode_goal(frames[:, 0], states[:, 0])
    found: dict[str, Any] = {"goal": told(goal)}
    for together in (False, True):
        future = model.rollout(context, actions, 2, together)
        assert future.features_BKHMD is not None
        found[f"rollout together={together}"] = {
            "latents": told(future.latents_BKHCHW),
            "features": told(future.features_BKHMD),
            "progress": told(model.progress(context, future)),
            "steps": told(model.steps_to_goal(future, goal)),
            "video": told(torch.from_numpy(model.decode(future))),
        }
    proposal = model.propose(context, 3, 2, 2)
    found["proposal"] = told(proposal)
    found["refined"] = told(model.refine(context, proposal, 0.5))
    if model.prior is not None:
        found["guess"] = told(model.guess(context, 2, 4))
    for solver in SOLVERS:
        config = PlannerConfig(solver, iterations=2)
        search = make_solver(model, config)
        plan = search.plan(context, seeds=(0, 1))
        found[f"plan {solver}"] = [told(plan.actions_BHA), float(plan.cost_B[0]).hex()]
    return found


def played(task: str, policy: str) -> list[str]:
    """The actions of a few steps that a policy of the shipped model plays."""
    model = shipped()
    result = evaluate(
        task, lambda envs: make_policy(policy, model, envs), [1], 1, max_steps=4, record=1
    )
    return [told(torch.from_numpy(one.episode.actions)) for one in result.recorded]


def published() -> list[str]:
    """What the image network, small and with random weights, answers."""
    torch.manual_seed(0)
    model = released.build(input_size=8, hidden_size=32, depth=3, num_heads=2, num_classes=5)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    with torch.no_grad():
        answer = model.eval()(torch.randn(3, 16, 16), torch.rand(3, 16), torch.tensor([0, 4, 2]))
    return [told(answer), digest(released.export(model))]


def measure() -> dict[str, Any]:
    """All numbers."""
    found: dict[str, Any] = {"torch": torch.__version__}
    for name, config in OBJECTIVES.items():
        found[f"tiny {name}"] = trained(name, config, lambda c=config: tiny(c.shortcut > 0))
        if not config.shortcut:
            found[f"shipped {name}"] = trained(name, config, shipped)
    found["tiny imagines"], found["shipped imagines"] = imagined(tiny().eval()), imagined(shipped())
    for task, policy in itertools.product(TASKS, POLICIES):
        found[f"{policy} plays {task}"] = played(task, policy)
    found["released"] = published()
    return found


def main() -> int:
    """Save the numbers, or compare and name those that differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--save", type=Path)
    parser.add_argument("--compare", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = measure()
    if asked.save:
        asked.save.write_text(json.dumps(found, indent=1) + "\n")
        print(f"saved the numbers of {len(found) - 1} uses in {asked.save}")
    if asked.compare is None:
        return 0
    before = json.loads(asked.compare.read_text())
    differing = [key for key in sorted({*before, *found}) if before.get(key) != found.get(key)]
    print("\n".join(f"{key} differs" for key in differing) or "all numbers are those of before")
    return bool(differing)


if __name__ == "__main__":
    raise SystemExit(main())
