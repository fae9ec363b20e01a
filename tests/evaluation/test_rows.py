"""What other people's tasks report is understood, or refused with task, key and remedy."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from counting import LIMIT, TASK, Counting, Forward
from selfflow_robotics.envs.mapping import EnvMapping

from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.evaluation.rows import subtask, success
from selfflow_robotics.evaluation.trial import try_task


@pytest.mark.parametrize(
    ("told", "done"),
    [
        (True, True),
        (0, False),
        (1.0, True),
        (np.True_, True),
        (np.int64(0), False),
        (np.array(True), True),
        (np.array([0.0]), False),
        (np.array([[1]]), True),
        (torch.tensor(True), True),
        (torch.tensor([0]), False),
        ([False], False),
        ({"task": True}, True),
        ({"task": np.array([False]), "grasp": True}, False),
    ],
)
def test_success_in_the_forms_there_are(told: Any, done: bool) -> None:
    assert success(told, "a/B-v0") is done


@pytest.mark.parametrize(
    "told",
    [
        "False",
        "",
        b"True",
        None,
        float("nan"),
        2,
        0.7,
        -1,
        [],
        np.array([True, False]),
        torch.zeros(2),
        {"grasp": True},
        {"task": "done"},
        {},
        [[1], [2, 3]],
        np.array([None]),
        object(),
    ],
)
def test_success_that_means_nothing_certain_is_refused(told: Any) -> None:
    with pytest.raises(ValueError, match=r'task a/B-v0 reports info\["success"\] as .*wrap it'):
        success(told, "a/B-v0")


def test_subtasks_are_whole_numbers() -> None:
    for told in (2, 2.0, np.int8(2), np.array([2]), torch.tensor(2)):
        assert subtask(told, "a/B-v0") == 2
    assert subtask(None, "a/B-v0") == 0
    for told in ("reach", 1.5, float("nan"), float("inf"), [1, 2], {"id": 1}):
        with pytest.raises(ValueError, match=r'task a/B-v0 reports info\["subtask"\] as .*wrap it'):
            subtask(told, "a/B-v0")


class Reports(Counting):
    """Tells success in another form in each row, and things that cannot be stacked."""

    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        done = info["success"]
        told = {"task": done} if self.seed == 3 else np.array([done])
        return *rest, {"success": told, "trace": np.zeros(int(self.at)), "name": self}


class Fails(Counting):
    def step(self, action: Any) -> Any:
        raise KeyError("gripper")


class Text(Counting):
    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], {"success": "False"}


for kind in (Reports, Fails, Text):
    gymnasium.register(
        f"selfflow-tests/{kind.__name__}-v0", entry_point=kind, max_episode_steps=LIMIT
    )


def test_rows_may_report_differently() -> None:
    found = evaluate("selfflow-tests/Reports-v0", lambda envs: Forward(), [3, 9, 4], num_envs=3)
    assert [(e.success, e.steps) for e in found.episodes] == [(True, 7), (True, 1), (True, 6)]


class TestTrial:
    def test_a_task_that_fits(self) -> None:
        try_task(TASK, EnvMapping(), 2)
        try_task(TASK, EnvMapping(), 2, state_size=1)
        try_task(TASK, EnvMapping(proprioception=None, instruction=None), 2, state_size=7)
        try_task(TASK, EnvMapping(instruction="absent", text="go"), 2)

    def test_a_state_of_another_size(self) -> None:
        with pytest.raises(ValueError, match=r"'proprioception' has 1 entries, .* reads 7"):
            try_task(TASK, EnvMapping(), 2, state_size=7)

    @pytest.mark.parametrize(
        ("mapping", "said"),
        [
            (EnvMapping(image="camera"), r"'camera'.*name one in mapping.image$"),
            (EnvMapping(instruction="task"), "'task'.*mapping.instruction, .*mapping.text, .*null"),
            (EnvMapping(image="proprioception"), r"image 'proprioception' has shape \(1,\)"),
            (EnvMapping(take=(0, 1, 2)), "mapping.take covers 3 action entries"),
            (EnvMapping(scale=(1.0, float("nan"))), "mapping.scale is .*finite"),
            (EnvMapping(proprioception="instruction"), "is no array of numbers"),
            (EnvMapping(instruction="image"), "is no text"),
        ],
    )
    def test_a_mapping_that_does_not_fit(self, mapping: EnvMapping, said: str) -> None:
        with pytest.raises(ValueError, match=rf"(?s)task {TASK}: .*{said}"):
            try_task(TASK, mapping, 2)

    def test_tasks_that_fail_are_named(self) -> None:
        with pytest.raises(RuntimeError, match=r"Fails-v0 fails in a step: KeyError: 'gripper'"):
            try_task("selfflow-tests/Fails-v0", EnvMapping(), 2)
        with pytest.raises(ValueError, match=r'Text-v0 reports info\["success"\] as \'False\''):
            try_task("selfflow-tests/Text-v0", EnvMapping(), 2)
        gymnasium.register("selfflow-tests/Nowhere-v0", entry_point="no_such_module:Env")
        with pytest.raises(RuntimeError, match=r"Nowhere-v0 cannot be made: .*no_such_module"):
            try_task("selfflow-tests/Nowhere-v0", EnvMapping(), 2)
