"""The commands evaluate, demo, rollout and plan, with a tiny world model of random weights."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from counting import TASK
from PIL import Image
from selfflow_robotics.policies.build import POLICIES, make_policy

from selfflow_robotics import WorldModel
from selfflow_robotics.cli.main import main
from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.evaluation.demo import success_table
from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.evaluation.results import (
    EpisodeResult,
    PlanningTime,
    TaskResult,
    read_results,
)
from selfflow_robotics.evaluation.video.other_actions import mirrored, shuffled, zero
from selfflow_robotics.planning.config import PlannerConfig

CHEAP = (
    "threads=1",
    "planner.candidates=2",
    "planner.iterations=1",
    "planner.topk=1",
    "planner.horizon=4",
    "planner.receding_horizon=4",
    "planner.joint_horizon=4",
    "planner.joint_receding_horizon=4",
)


def test_evaluate_writes_results_and_report(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        [
            "evaluate",
            f"world_model={model}",
            "tasks=CloseDrawer",
            "policies=random,expert,joint,prior,planner,zero",
            "episodes=2",
            f"out={tmp_path}",
            *CHEAP,
        ]
    )
    out = capsys.readouterr()
    assert status == 0, out.err
    results = read_results(tmp_path / "results.json")
    assert [task.policy for task in results.tasks] == [
        "random",
        "expert",
        "joint",
        "prior",
        "planner",
        "zero",
    ]
    assert all([e.seed for e in task.episodes] == [10_000, 10_001] for task in results.tasks)
    assert results.imagination is not None and results.imagination.horizon == 4
    options = results.settings.options
    assert options["planner.candidates"] == "2" and options["planner.max_seconds"] == "null"
    assert options["horizon"] == "4" and options["mapping.image"] == "image"
    assert options["imports"] == options["data.path"] == "[]" and options["device"] == "cpu"
    weights = (model / "model.safetensors").read_bytes()
    assert results.computing["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert results.computing["precision"] in ("bf16", "fp32")
    assert (results.computing["device"], results.computing["threads"]) == ("cpu", "1")
    assert all(task.rate_hz == 3.0 for task in results.tasks)
    assert results.computing["weights_sha256"] in (tmp_path / "report.html").read_text()
    assert (tmp_path / "report.html").read_text().count("data:video/mp4;base64,") == 6
    assert "CloseDrawer  " in out.out and "report.html" in out.out


def test_evaluate_needs_no_weights_without_a_planner(tmp_path: Path) -> None:
    arguments = ["tasks=CloseDrawer", "policies=zero", "episodes=1", "threads=1"]
    assert main(["evaluate", *arguments, f"out={tmp_path}", "world_model=/nowhere/at/all"]) == 0


def test_demo_writes_the_table_it_prints(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "deep" / "table.json"
    status = main(
        [
            "demo",
            f"world_model={model}",
            "tasks=PickCokeCan",
            "episodes=1",
            f"out={tmp_path / 'out'}",
            "--json",
            str(table),
            *CHEAP,
        ]
    )
    out = capsys.readouterr()
    assert status == 0, out.err
    found = json.loads(table.read_text())
    assert list(found) == ["tasks"]
    assert list(found["tasks"]) == ["selfflow/PickCokeCan-v0"]
    for row in found["tasks"].values():
        assert list(row) == ["random", "expert", "joint", "prior", "planner"]
        assert all(set(cell) == {"success", "episodes"} for cell in row.values())
        assert all(cell["episodes"] == 1 for cell in row.values())
    assert str(tmp_path / "out" / "report.html") in out.out


def test_demo_without_weights_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["demo", "world_model=no-such-model", f"out={tmp_path / 'out'}"]) == 1
    error = capsys.readouterr().err
    assert "the weights of the demo are missing" in error and "no-such-model" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "policies=planer"], 'no policy "planer"; did you mean "planner"?'),
        (["evaluate", "policies=zero", "tasks=PickCokeCans"], 'did you mean "PickCokeCan"?'),
        (["evaluate", "policies=zero", "episodes=0"], "episodes=0"),
        (["evaluate", "policies=zero", "mapping.take=[0]"], "leave it out"),
        (["evaluate", "policies=zero", "bench=no_priors"], "no_prior"),
        (["evaluate", "policies=zero", "tasks=Pendulum-v1", "places=shifted"], "tasks alone"),
        (["evaluate", "polices=zero"], 'did you mean "policies"?'),
        (["plan", "after=-1"], "after=-1"),
        (["rollout", "horizon=0"], "horizon=0"),
        (["plan", "task=CartPole-v1"], '"CartPole-v1" is none of them; choose from'),
        (["rollout", "task=CartPole-v1"], '"CartPole-v1" is none of them'),
    ],
)
def test_mistakes_are_answered_with_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) != 0
    assert said in capsys.readouterr().err


def test_foreign_task_through_a_mapping(tmp_path: Path) -> None:
    status = main(
        [
            "evaluate",
            "imports=counting",
            "tasks=selfflow-tests/Counting-v0",
            "policies=random",
            "episodes=3",
            "mapping.take=[0,1]",
            "threads=1",
            f"out={tmp_path}",
        ]
    )
    assert status == 0
    (task,) = read_results(tmp_path / "results.json").tasks
    assert len(task.episodes) == 3


@pytest.mark.parametrize("command", ["evaluate", "rollout", "plan", "demo"])
def test_what_cannot_be_written_is_said_before_the_work(
    command: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    words = ["policies=random", "tasks=CloseDrawer"] if command == "evaluate" else []
    out = tmp_path / "file" / ("a.mp4" if command in ("rollout", "plan") else "deep")
    assert main([command, f"world_model={model}", f"out={out}", *words]) == 1
    said = capsys.readouterr().err
    assert f"error: {tmp_path / 'file'}" in said and "episode" not in said


def test_words_that_the_model_does_not_know_are_said_before_any_episode(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["imports=counting", f"tasks={TASK}", "policies=random,prior", "mapping.take=[0,1]"]
    words += ["mapping.text=juggle", "mapping.proprioception=null", f"out={tmp_path / 'out'}"]
    assert main(["evaluate", f"world_model={model}", *words]) == 1
    assert f'task {TASK}: the model was not trained on the word "juggle"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rollout_of_a_fresh_episode(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.mp4"
    status = main(
        ["rollout", f"world_model={model}", "task=CloseDrawer", "other=mirrored", f"out={out}"]
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "copy of last frame" in said.out
    with av.open(str(out)) as container:
        assert container.streams.video[0].width == 3 * 240 + 8


def test_plan_prints_itself_and_writes_a_video(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.mp4"
    status = main(
        ["plan", f"world_model={model}", "task=PickCokeCan", "after=3", f"out={out}", *CHEAP]
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "pick coke can" in said.out and "x m" in said.out and "cost" in said.out
    assert out.is_file()


def test_plan_towards_a_picture(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = tmp_path / "goal.png"
    Image.fromarray(np.full((128, 200, 3), 90, np.uint8)).save(goal)
    words = [f"world_model={model}", f"goal={goal}", f"out={tmp_path / 'plan.mp4'}", *CHEAP]
    assert main(["plan", *words]) == 0
    assert (tmp_path / "plan.mp4").is_file()
    priced = ["cost.goal_as=latents", "cost.smoothness=0.1", "cost.magnitude=0.01"]
    assert main(["plan", *words, *priced]) == 0
    goal.write_bytes(b"no picture")
    assert main(["plan", *words]) == 1
    assert f"goal={goal} is no picture" in capsys.readouterr().err


def test_policies_are_made_by_name() -> None:
    assert {make_policy(name, None, None).name for name in ("random", "zero")} == {  # type: ignore[arg-type]
        "random",
        "zero",
    }
    with pytest.raises(ValueError, match="needs a world model"):
        make_policy("joint", None, None)  # type: ignore[arg-type]
    plans = {"planner", "random-choice", "shuffled", "true-frames", "oracle"}
    assert set(POLICIES) == plans | {"prior", "joint", "expert", "random", "zero"}


def test_success_table_counts() -> None:
    rows = tuple(EpisodeResult(seed, seed < 2, 5, 0, 0.0) for seed in range(3))
    task = TaskResult("selfflow/PickCokeCan-v0", "planner", rows, PlanningTime(1, 1, 0, 0, 0))
    assert success_table([task]) == {
        "tasks": {"selfflow/PickCokeCan-v0": {"planner": {"success": 2, "episodes": 3}}}
    }


class TestOtherActions:
    @staticmethod
    def episode(steps: int, value: float) -> Episode:
        actions = np.full((steps, 7), value, np.float32)
        return Episode(np.zeros((steps, 2, 2, 3), np.uint8), actions, None, (), None, "x", "x")

    def test_mirrored_twice_is_the_same(self) -> None:
        shown = self.episode(4, 0.1)
        once = mirrored(shown, [], RT1_ACTIONS)
        np.testing.assert_allclose(once[0], [0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1], rtol=1e-6)

    def test_shuffled_takes_another_episode_of_any_length(self) -> None:
        shown = self.episode(6, 0.1)
        for steps in (3, 9):
            other = shuffled(shown, [self.episode(steps, 0.2)], RT1_ACTIONS)
            assert other.shape == (6, 7) and (other == np.float32(0.2)).all()

    def test_zero_keeps_still(self) -> None:
        assert not zero(self.episode(3, 0.1), [], RT1_ACTIONS).any()


@pytest.mark.parametrize("name", ["random-choice", "shuffled", "true-frames"])
def test_a_row_of_the_planner_plays_a_seed_alike_alone_and_in_company(
    model: Path, name: str
) -> None:
    world_model = WorldModel.from_pretrained(str(model))
    config = PlannerConfig(candidates=3, iterations=2, horizon=2, topk=1, start="joint")

    def played(seeds: list[int]) -> Episode:
        factory = partial(make_policy, name, world_model, config=config)
        size, task = (64, 80), "selfflow/CloseDrawer-v0"
        found = evaluate(task, factory, seeds, 2, size, max_steps=3, record=2)
        assert found.policy == name
        return found.recorded[-1].episode

    alone, together = played([7]), played([6, 7])
    np.testing.assert_array_equal(alone.images, together.images)
    assert alone.actions is not None and together.actions is not None
    np.testing.assert_allclose(alone.actions, together.actions, atol=1e-5)
