"""Which part of a planner loses, on toys whose answer is known and on a task of this project."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import selfflow_robotics.envs
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.envs.truth import box_actions
from selfflow_robotics.policies import experts
from selfflow_robotics.policies.experts import Expert, make_expert
from selfflow_robotics.policies.history import History
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.evaluation.audit.audit import audit
from selfflow_robotics.evaluation.audit.excitation import _unexplained, excitation
from selfflow_robotics.evaluation.audit.of_model import audit_model
from selfflow_robotics.evaluation.audit.playing import Playing
from selfflow_robotics.evaluation.audit.scores import Bank, rank_correlation, scored, verdict
from selfflow_robotics.images.fit import ImageFit
from selfflow_robotics.planning.config import PlannerConfig


def test_rank_correlation_shares_ranks() -> None:
    # scipy 1.16.2: spearmanr([1, 2, 2, 4], [1, 3, 2, 4]) = 0.9486832980505138
    one, other = np.array([1.0, 2, 2, 4]), np.array([1.0, 3, 2, 4])
    assert rank_correlation(one, other) == pytest.approx(0.9486832980505138)
    assert math.isnan(rank_correlation(np.ones(3), np.arange(3.0)))


def test_the_verdict_names_the_part_that_loses() -> None:
    truth = np.array([9.0, 5.0, 7.0, 7.0])
    right, wrong = truth - 3, np.array([0.0, 3.0, 2.0, 1.0])
    rng = np.random.default_rng(0)

    def found(true: Any, imagined: Any) -> dict[str, float | None]:
        return scored([Bank(truth, None, true, imagined, 8.0, False)], rng)

    dreamt = found(right, wrong)
    assert (dreamt["true_frames"], dreamt["gain_true_frames"]) == (pytest.approx(1.0), 2.0)
    assert (dreamt["gain_best"], dreamt["gain_imagined"]) == (2.0, -2.0)
    assert (dreamt["regret_imagined"], dreamt["gain_nothing"]) == (4.0, -1.0)
    assert dreamt["noise"] is None
    assert "so imagination loses most" in verdict("0.3", dreamt, "steps")
    assert "so the cost loses most" in verdict("0.3", found(wrong, wrong), "steps")
    assert "so neither loses anything" in verdict("0.3", found(right, right), "steps")
    assert "not told apart" in verdict("0.3", found(None, wrong), "steps")


class Point(gymnasium.Env[Any, Any]):
    """A point on a line, shown as how bright the picture is; it should come to 0.5."""

    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = spaces.Box(-0.1, 0.1, (1,), np.float32)

    def __init__(self, unrest: bool = False) -> None:
        self.noise = np.random.default_rng() if unrest else None

    def _shown(self) -> Any:
        return np.full((8, 8, 3), round(255 * self.place), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform())
        return self._shown(), {}

    def step(self, action: Any) -> Any:
        self.place = float(np.clip(self.place + action[0], 0, 1))
        if self.noise is not None:
            self.place = float(self.noise.uniform())
        return self._shown(), -abs(self.place - 0.5), False, False, {"success": False}


@dataclass
class Seen:
    batch: int
    place_B: Tensor


class Exact:
    """Imagines the point as it moves, but for the clipping of its colours."""

    def __init__(self) -> None:
        self.action_spec = self.step_spec = box_actions(Point.action_space, 3.0)
        self.history_len, self.action_block, self.state_spec = 1, 1, None
        self.image_fit = ImageFit((8, 8), "crop")

    def observe(self, frames: Any, past: Any, instruction: Any = None, states: Any = None) -> Seen:
        return Seen(len(frames), torch.from_numpy(frames[:, -1, 0, 0, 0] / 255.0))

    def rollout(self, context: Seen, actions_BKHA: Tensor, *, generator: Any = None) -> Tensor:
        place = context.place_B[:, None, None] + actions_BKHA[..., 0].cumsum(-1)
        return place.clamp(0, 1)

    def decode(self, rollout: Any) -> Any:
        raise NotImplementedError


def away(context: Any, place_BKH: Tensor) -> Tensor:
    return (place_BKH - 0.5).abs().sum(-1)


PICTURES = EnvMapping(image=None, instruction=None, proprioception=None)


@pytest.fixture
def points() -> Any:
    for name, options in (("Point-v0", {}), ("Unrest-v0", {"unrest": True})):
        gymnasium.register(f"audit/{name}", Point, kwargs=options, max_episode_steps=30)
    yield
    for name in ("Point-v0", "Unrest-v0"):
        del gymnasium.registry[f"audit/{name}"]


@pytest.mark.usefixtures("points")
def test_other_peoples_tasks_are_reached_by_the_same_actions_again() -> None:
    found = audit(Exact(), away, ["audit/Point-v0"], states=4, candidates=6, mapping=PICTURES)
    for spread in ("0.3", "0.6", "uniform"):
        values = found.spreads[spread]
        # All but what eight bits of brightness hide.
        assert values["imagined"] == pytest.approx(1.0, abs=0.1)
        assert values["gain_imagined"] == pytest.approx(values["gain_best"], abs=0.02)
        assert values["true_frames"] is None and values["noise"] is None
    assert found.truth == "negative return"
    worst = audit(
        Exact(), lambda *seen: -away(*seen), ["audit/Point-v0"], states=4, mapping=PICTURES
    )
    assert worst.spreads["0.6"]["imagined"] == pytest.approx(-1.0, abs=0.1)


@pytest.mark.usefixtures("points")
def test_what_cannot_be_reached_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"audit/Unrest-v0 can be neither copied nor brought"):
        audit(Exact(), away, ["audit/Unrest-v0"], mapping=PICTURES)
    with pytest.raises(ValueError, match="2 candidates to choose from"):
        audit(Exact(), away, ["audit/Point-v0"], candidates=1, mapping=PICTURES)


def test_the_truth_is_what_the_expert_needs_in_all() -> None:
    task = "selfflow/CloseDrawer-v0"
    playing = Playing(task, {"image_size": (32, 40)}, EnvMapping(), _history())
    start = playing.start(5, np.random.default_rng(1), most=2)
    assert start is not None
    env = gymnasium.make(task, image_size=(32, 40)).unwrapped
    env.reset(seed=5)
    for action in start.actions:
        env.step(action)
    expert, shown, done = make_expert(env), [], False
    while not done:
        shown.append(expert.act())
        done = env.step(shown[-1])[2]
    carried = playing.carry_out(start, np.stack(shown[:2]).astype(np.float32))
    assert carried.cost == len(shown) and not carried.success
    whole = playing.carry_out(start, np.stack([*shown, *shown[:2]]).astype(np.float32))
    assert whole.success and whole.cost == len(shown)
    assert (whole.images[-1] == whole.images[len(shown) - 1]).all()
    again = playing.carry_out(start, np.stack(shown[:2]).astype(np.float32))
    assert (again.images == carried.images).all() and again.cost == carried.cost
    still = playing.carry_out(start, np.zeros((2, 7), np.float32))
    assert still.cost == len(shown) + 2  # two steps of nothing
    playing.close()


def _history() -> History:
    return History(1, ImageFit((32, 40), "crop"), RT1_ACTIONS.size)


def test_a_model_is_audited_and_the_same_seed_says_the_same(model: Path, tmp_path: Path) -> None:
    def once() -> Any:
        planner = PlannerConfig(horizon=2)
        return audit_model(str(model), ["CloseDrawer"], planner=planner, states=1, candidates=3)

    found = once()
    found.write(tmp_path / "audit")
    told = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert set(told) >= {"0.3", "0.6", "uniform", "verdicts", "truth"}
    assert set(told["0.3"]) >= {"true_frames", "imagined", "noise", "shuffled", "success_share"}
    assert "<svg" in (tmp_path / "audit" / "audit.svg").read_text()
    assert replace(found, verdicts=()) == replace(once(), verdicts=())
    assert "imagined" in found.table()


def test_a_goal_that_the_instruction_does_not_say_is_not_audited(model: Path) -> None:
    with pytest.raises(ValueError, match=r"PickCokeCanReach-v0 asks for more .* leave it out"):
        audit_model(str(model), ["CloseDrawer", "PickCokeCanReach"])


class Idle(Expert):
    """Does nothing."""

    def act(self) -> NDArray[np.float32]:
        return np.zeros(7, np.float32)


def test_an_expert_that_fails_is_named_before_any_task_is_scored(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_tasks: list[str] = []
    monkeypatch.setattr(Playing, "start", lambda self, *_: scored_tasks.append(self.task))
    for kind in experts.MASTERED:
        if kind.__name__ == "MoveNear":
            monkeypatch.setitem(experts._EXPERTS, kind, Idle)
    with pytest.raises(ValueError, match=r"expert of MoveNear solved none of 3 .* no candidate"):
        audit_model(str(model), ["CloseDrawer", "MoveNear"], states=1, candidates=2)
    assert scored_tasks == []


@pytest.mark.usefixtures("points")
def test_a_cost_that_is_not_finite_is_never_the_least() -> None:
    def some(context: Any, place_BKH: Tensor) -> Tensor:
        cost_BK = away(context, place_BKH)
        cost_BK[:, 0] = torch.nan
        return cost_BK

    several = {"states": 3, "candidates": 4, "mapping": PICTURES}
    found = audit(Exact(), some, ["audit/Point-v0"], **several)  # type: ignore[arg-type]
    chosen, best = (found.spreads["0.6"][key] for key in ("gain_imagined", "gain_best"))
    assert chosen is not None and best is not None and chosen > best / 2
    with pytest.raises(ValueError, match=r"none of 4 .* finite cost of imagined frames in audit/"):
        audit(Exact(), lambda *seen: away(*seen) * torch.nan, ["audit/Point-v0"], **several)  # type: ignore[arg-type]


def test_excitation_is_what_the_state_does_not_say() -> None:
    rng = np.random.default_rng(0)
    states = rng.standard_normal((4000, 2))
    noise = rng.standard_normal((4000, 2)) * [0.5, 0.1]
    rest = _unexplained(states @ np.array([[1.0, 2.0], [0.5, -1.0]]) + noise, states)
    assert rest is not None
    assert np.linalg.eigvalsh(np.cov(rest.T))[0] == pytest.approx(0.01, rel=0.1)


def test_excitation_of_a_data_set_is_told_in_the_models_units() -> None:
    rng = np.random.default_rng(0)
    box = box_actions(spaces.Box(-4, 4, (2,), np.float32), 3.0)  # 4 are 1 when normalised

    def episode(i: int) -> Episode:
        states = rng.standard_normal((100, 2)).astype(np.float32)
        played = states + rng.standard_normal((100, 2)) * [0.4, 0.2]
        pictures = np.zeros((100, 8, 8, 3), np.uint8)
        told = (f"task {i % 2}",) * 100
        actions = played.astype(np.float32)
        return Episode(pictures, actions, states, told, None, "random", f"train/{i}")

    source: Any = [episode(i) for i in range(20)]
    assert excitation(source, box) == pytest.approx((0.2 / 4) ** 2, rel=0.15)
    still: Any = [replace(one, actions=None) for one in source]
    with pytest.raises(ValueError, match="train/0 has no actions"):
        excitation(still, box)


def test_a_mapping_says_what_a_policy_would_have_done() -> None:
    mapping = EnvMapping(take=(2, None, 0), scale=(2.0, 1.0, -1.0), offset=(0.5, 0.3, 0.0))
    acted = np.array([[0.1, 0.0, -0.2]], np.float32)
    own = mapping.to_environment(acted, spaces.Box(-1, 1, (3,)))
    np.testing.assert_allclose(mapping.from_environment(own, 3), acted, atol=1e-7)


assert selfflow_robotics.envs.TASKS  # registers the tasks
