"""Our solvers against those of stable-worldmodel: final costs, speed, and budgets kept.

    pip install --no-deps stable-worldmodel==0.1.1 loguru   # into an environment that has ours
    python benchmarks/planning.py [--json] [--only costs|speed|budget]

Both sides get the same model, samples, iterations, horizon, elites and first deviation; of their
package the solvers alone are loaded, unchanged.

`costs`: a fixed set of problems, eight instances each, of which theirs returns one plan each and so
do ours. A problem's figure is the mean cost, by the problem itself, of the actions returned, put
inside the bounds as an environment would; how many action entries lay outside is counted. Once with
as many samples and iterations as planning in a world model allows, once with their defaults.

`speed`: processor time of a plan for one and for eight environments, theirs over ours; their solver
goes through environments in batches: of one (its default), or of all eight. In the point mass a
model costs next to nothing, so the solver's own time shows; in the shipped network the model's, and
a processor computes eight environments at once hardly faster than one after another. There either
side's history is encoded before; `theirs with history` gives them the network as their own models
roll out (LeWM, PLDM, PreJEPA: frames are encoded once, but every step of every candidate takes the
frames of history through the predictor again). `own_share` is our solver's share of the time of a
plan in that network.

`budget`: of 100 plans with 0.3 s each in the shipped network, how many took at most a tenth longer.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.util
import io
import itertools
import json
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from planning_problems import INSTANCES, PROBLEMS, PointMass, Problem
from rollout import Straightforward

from selfflow_robotics import WorldModel
from selfflow_robotics.model.tokens import unpatchify
from selfflow_robotics.planning import CEM, ICEM, MPPI, Plan, PredictiveSampling, Progress
from selfflow_robotics.planning.search import Search
from selfflow_robotics.world_model.values import Context, Rollout

TURNS, NETWORK_TURNS, SEEDS, PLANS, SECONDS = 15, 1, 4, 100, 0.3
TOLERANCE = 1e-6  # of the cost of doing nothing: costs as near as this are equal


@dataclass(frozen=True)
class Effort:
    """How long a search may be, and how many elites it has."""

    samples: int
    iterations: int
    elites: int


QUICK, LONG, SHORT = Effort(64, 5, 8), Effort(300, 30, 30), Effort(16, 2, 4)
NETWORK = {1: QUICK, INSTANCES: SHORT}  # by environments
STD = 1.0  # of the first samples: their default


def _ours(solver: type[Search], **settings: Any) -> Callable[..., Search]:
    """Makes one of our solvers; theirs have no floor of the deviation, so ours get none."""

    def make(model: Any, cost: Any, effort: Effort, horizon: int) -> Search:
        elites = {} if solver is PredictiveSampling else {"topk": effort.elites, "min_std": 0.0}
        iterations = 1 if solver is PredictiveSampling else effort.iterations
        given = {**elites, **settings, "initial_std": STD}
        return solver(model, cost, effort.samples, iterations, horizon, **given)

    return make


OURS = {
    "CEM": _ours(CEM),
    "ICEM": _ours(ICEM, decay=1.0),  # as many samples in every iteration
    "MPPI": _ours(MPPI),
    "PredictiveSampling": _ours(PredictiveSampling),
}


@functools.cache
def their_solvers() -> Any:
    """Their module of solvers, without the parts of the package that read data and videos."""
    found = importlib.util.find_spec("stable_worldmodel")
    if found is None or found.submodule_search_locations is None:
        raise SystemExit("stable-worldmodel is not installed here; see --help for how to")
    package = types.ModuleType("stable_worldmodel")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["stable_worldmodel"] = package
    return importlib.import_module("stable_worldmodel.solver")


class Costs:
    """A model and an objective as their solvers ask for costs: by the environments' numbers.

    Contexts are made before: of all N environments under N, of environment i alone under -i.
    """

    def __init__(self, model: Any, contexts: dict[int, Any], objective: Any) -> None:
        self.model, self.contexts = model, contexts
        self.objectives = {
            key: objective(range(key) if key > 0 else [-key])
            if isinstance(objective, Problem)
            else objective
            for key in contexts
        }

    def get_cost(self, info: dict[str, Any], candidates: torch.Tensor) -> torch.Tensor:
        """(batch, samples)."""
        rows = info["row"][:, 0]
        key = len(rows) if len(rows) > 1 else -int(rows[0])
        context = self.contexts[key]
        cost: torch.Tensor = self.objectives[key](context, self.model.rollout(context, candidates))
        return cost


def theirs(
    name: str, costs: Costs, effort: Effort, horizon: int, size: int, envs: int, batch: int
) -> Callable[[int], torch.Tensor]:
    """A function from a seed to their solver's actions (envs, H, A)."""
    module = their_solvers()
    bounds = gymnasium.spaces.Box(-1, 1, (envs, size), np.float32)
    config = types.SimpleNamespace(horizon=horizon, action_block=1)

    def solve(seed: int) -> torch.Tensor:
        settings: dict[str, Any] = {"n_steps": effort.iterations, "topk": effort.elites}
        solver = getattr(module, f"{name}Solver")(
            costs,
            batch_size=batch,
            num_samples=effort.samples,
            seed=seed,
            **({} if name == "PredictiveSampling" else settings),
        )
        solver.configure(action_space=bounds, n_envs=envs, config=config)
        with contextlib.redirect_stdout(io.StringIO()):
            actions: torch.Tensor = solver.solve({"row": torch.arange(envs)})["actions"]
        return actions

    return solve


def compare_costs(effort: Effort) -> dict[str, Any]:
    """Final costs of every solver on every problem, and actions outside the bounds."""
    found: dict[str, Any] = {}
    for name, ours in OURS.items():
        rows, outside = {}, {"ours": 0, "theirs": 0}
        for problem in PROBLEMS:
            costs: dict[str, list[torch.Tensor]] = {side: [] for side in outside}
            for side, actions in _solved(problem, name, ours, effort):
                outside[side] += int((actions.abs() > 1).sum())
                costs[side].append(PointMass(problem).cost(actions.clamp(-1, 1)))
            nothing = PointMass(problem).cost(torch.zeros_like(actions)).mean()
            final = {side: float(torch.cat(cost).mean()) for side, cost in costs.items()}
            equal = TOLERANCE * float(nothing)
            rows[problem.name] = {
                **final,
                "nothing": float(nothing),
                "lower_or_equal": final["ours"] <= final["theirs"] + equal,
            }
        found[name] = {
            "lower_or_equal": sum(row["lower_or_equal"] for row in rows.values()),
            "of": len(PROBLEMS),
            "entries_outside_bounds": outside,
            "problems": rows,
        }
    return found


def _solved(
    problem: Problem, name: str, ours: Callable[..., Search], effort: Effort
) -> Iterator[tuple[str, torch.Tensor]]:
    """Actions (instances, H, A) of either side, several times with other random numbers."""
    model = PointMass(problem)
    solver = ours(model, problem(range(INSTANCES)), effort, problem.horizon)
    contexts = {-row: model.start(1) for row in range(INSTANCES)}
    costs = Costs(model, contexts, problem)
    solve = theirs(name, costs, effort, problem.horizon, problem.size, INSTANCES, batch=1)
    for seed in range(SEEDS):
        seeds = range(seed * INSTANCES, (seed + 1) * INSTANCES)
        yield "ours", solver.plan(model.start(INSTANCES), seeds=seeds).actions_BHA
        yield "theirs", solve(seed)


def processor_time(act: Callable[[], Any]) -> float:
    """Seconds of this process."""
    began = time.process_time()
    act()
    return time.process_time() - began


def compare_speed(
    name: str,
    costs: dict[str, Costs],
    effort: Effort,
    envs: int,
    turns: int,
) -> dict[str, float]:
    """Our median time of a plan, and theirs over ours; ours plans with the first of the costs."""
    first = next(iter(costs.values()))
    solver = OURS[name](first.model, first.objectives[envs if envs > 1 else 0], effort, 4)
    given, size = first.contexts[envs if envs > 1 else 0], first.model.action_spec.size
    acts: dict[str, Callable[[], Any]] = {
        "ours": functools.partial(solver.plan, given, seeds=range(envs))
    }
    for kind, batch in itertools.product(costs, {1, envs}):
        if kind == "theirs" or batch == 1:
            solve = theirs(name, costs[kind], effort, 4, size, envs, batch)
            acts[f"{kind} in batches of {batch}"] = functools.partial(solve, 0)
    times: dict[str, list[float]] = {side: [] for side in acts}
    for turn, (side, act) in itertools.product(range(turns + 1), acts.items()):
        took = processor_time(act)
        if turn:  # the first warms up
            times[side].append(took)
    medians = {side: statistics.median(taken) for side, taken in times.items()}
    ours = medians.pop("ours")
    return {
        "ours_seconds": ours,
        **{f"{side}, over ours": taken / ours for side, taken in medians.items()},
    }


def speed_point_mass() -> dict[str, Any]:
    """Of every solver."""
    point = PointMass(PROBLEMS[0])
    contexts = {-row: point.start(1) for row in range(INSTANCES)}
    costs = Costs(point, contexts | {INSTANCES: point.start(INSTANCES)}, PROBLEMS[0])
    return {
        f"{name}, {envs} environments": compare_speed(name, {"theirs": costs}, QUICK, envs, TURNS)
        for name, envs in itertools.product(OURS, (1, INSTANCES))
    }


class Network:
    """The shipped model, and what it is told of the eight environments' histories."""

    def __init__(self) -> None:
        self.model = WorldModel.from_pretrained("tabletop-small")
        draw, network = torch.Generator().manual_seed(0), self.model.config.network
        count = (INSTANCES, self.model.history_len)
        size = (network.token_dim // 4, 2 * network.grid[0], 2 * network.grid[1])
        self.latents = torch.randn(*count, *size, generator=draw)
        self.led_to = torch.rand(*count, network.action_dim, generator=draw) * 2 - 1
        self.states = torch.randn(*count, network.state_dim, generator=draw)

    def context(self, rows: slice) -> Context:
        """Encoded history."""
        given = (self.latents[rows], self.led_to[rows], self.states[rows])
        return self.model.observe_latents(*given, "pick coke can")

    def costs(self, kind: type[Costs]) -> Costs:
        """By predicted progress."""
        contexts = {-row: self.context(slice(row, row + 1)) for row in range(INSTANCES)}
        contexts[INSTANCES] = self.context(slice(None))
        return kind(self.model, contexts, Progress(self.model))


def speed_network() -> dict[str, Any]:
    """Of every solver."""
    network = Network()

    class WithHistory(Costs):
        """The network as their models roll out."""

        def get_cost(self, info: dict[str, Any], candidates: torch.Tensor) -> torch.Tensor:
            (row,) = info["row"][:, 0].tolist()
            given = (network.latents, network.led_to, network.states)
            plain = Straightforward(network.model, *(part[row : row + 1] for part in given))
            video, features = plain.rollout(candidates, 1, False)
            latents = unpatchify(video, 2, network.model.config.network.grid)
            last = network.latents[row : row + 1, -1]
            rollout = Rollout(latents[None], features[None], None, candidates, last, 0)
            cost: torch.Tensor = self.objectives[-row](self.contexts[-row], rollout)
            return cost

    costs = {"theirs": network.costs(Costs), "theirs with history": network.costs(WithHistory)}
    return {
        f"{name}, {envs} environments": compare_speed(name, costs, effort, envs, NETWORK_TURNS)
        for name, (envs, effort) in itertools.product(OURS, NETWORK.items())
    }


def keep_budget() -> dict[str, Any]:
    """Plans of 64 candidates and 10 iterations, were there time, in the shipped network."""
    network = Network()
    model, given = network.model, network.context(slice(0, 1))
    solver = CEM(model, Progress(model), 64, 10, 4, max_seconds=SECONDS)
    taken, plans = [], []
    for seed in range(PLANS):
        began = time.perf_counter()
        plans.append(solver.plan(given, seeds=[seed]))
        taken.append(time.perf_counter() - began)
    lower = sum(bool(plan.cost_B < plan.initial_cost_B) for plan in plans)
    return {
        "kept": sum(seconds <= 1.1 * SECONDS for seconds in taken),
        "of": PLANS,
        "seconds": {"least": min(taken), "median": statistics.median(taken), "most": max(taken)},
        "better_than_start": lower,
        "median_passes": statistics.median(plan.passes for plan in plans),
    }


def own_share() -> dict[str, float]:
    """Our solvers' share of the time of a plan in the shipped network."""
    network = Network()
    model, given, shares = network.model, network.context(slice(0, 1)), {}
    for name, ours in OURS.items():
        plans: list[Plan] = [
            ours(model, Progress(model), SHORT, 4).plan(given, seeds=[seed]) for seed in range(3)
        ]
        shares[name] = statistics.median(plan.solver_seconds / plan.seconds for plan in plans)
    return shares


def measure(only: str | None) -> dict[str, Any]:
    """What was asked for, or everything."""
    found: dict[str, Any] = {"machine": f"{platform.machine()}, one thread"}
    if only in (None, "costs"):
        found["costs_64x5"] = compare_costs(QUICK)
        found["costs_300x30"] = compare_costs(LONG)
    if only in (None, "speed"):
        found["speed_point_mass"] = speed_point_mass()
        found["speed_network"] = speed_network()
        found["own_share"] = own_share()
    if only in (None, "budget"):
        found["budget"] = keep_budget()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=("costs", "speed", "budget"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(options.only)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for key, values in found.items():
        print(key)
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, dict):
                value = {key: shown for key, shown in value.items() if key != "problems"}
            print(f"    {name:40} {value}")


if __name__ == "__main__":
    main()
