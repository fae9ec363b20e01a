from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from counting import LIMIT, TASK, Counting, Drunk, Forward
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.policies.random import RandomPolicy

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.evaluation.evaluate import evaluate


def test_every_seed_is_one_episode_of_known_length() -> None:
    seeds = [3, 9, 0, 7, 12]
    result = evaluate(TASK, lambda envs: Forward(), seeds, num_envs=2)
    assert [episode.seed for episode in result.episodes] == seeds
    assert [episode.steps for episode in result.episodes] == [7, 1, 10, 3, 8]
    assert result.successes == 5
    assert result.steps_to_success == pytest.approx(29 / 5)


@pytest.mark.parametrize("num_envs", [2, 3, 16])
def test_results_do_not_depend_on_the_number_of_environments(num_envs: int) -> None:
    seeds = list(range(11))
    one = evaluate(TASK, lambda envs: Drunk(), seeds, num_envs=1)
    many = evaluate(TASK, lambda envs: Drunk(), seeds, num_envs=num_envs)
    rows = [(e.seed, e.success, e.steps, e.subtask) for e in one.episodes]
    assert rows == [(e.seed, e.success, e.steps, e.subtask) for e in many.episodes]
    assert len({row[1] for row in rows}) == 2, "the task should tell successes from failures"


def test_rows_without_a_seed_left_cost_nothing() -> None:
    made: list[Counting] = []
    policy = Drunk()

    def factory(envs: Any) -> Drunk:
        made.extend(env.unwrapped for env in envs.envs)
        return policy

    result = evaluate(TASK, factory, [0, 9, 9 + 10], num_envs=3)
    steps = sum(episode.steps for episode in result.episodes)
    assert sum(env.stepped for env in made) == steps == sum(policy.acted)
    assert result.planning.decisions == steps
    assert result.planning.calls == len(policy.acted) < steps
    assert sorted(seed for env in made for seed in env.started) == [0, 9, 19]
    assert sorted(seed for _, seed in policy.resets) == [0, 9, 19]


def test_failing_episodes_end_at_the_limit() -> None:
    class Still(Forward):
        def act(self, observations: Any, rows: Any) -> Any:
            return np.zeros((len(rows), 2), np.float32)

    result = evaluate(TASK, lambda envs: Still(), [1, 6], num_envs=2)
    assert [(e.success, e.steps, e.subtask) for e in result.episodes] == [
        (False, LIMIT, 0),
        (False, LIMIT, 1),
    ]
    assert result.steps_to_success is None
    short = evaluate(TASK, lambda envs: Still(), [1], max_steps=3)
    assert short.episodes[0].steps == 3


def test_success_comes_from_info_alone() -> None:
    """A reward, a termination and a later failure all count for nothing."""

    class Tempting(Counting):
        def step(self, action: Any) -> Any:
            seen, _, _, _, _ = super().step(action)
            return seen, 1.0, self.at > 12, False, {"success": self.seed == 1 and self.at == 8.0}

    gymnasium.register("selfflow-tests/Tempting-v0", entry_point=Tempting, max_episode_steps=99)
    result = evaluate("selfflow-tests/Tempting-v0", lambda envs: Forward(), [1, 2], num_envs=2)
    assert [(e.success, e.steps) for e in result.episodes] == [(True, 7), (False, 11)]


def test_solved_starts_are_left_out_and_listed() -> None:
    result = evaluate(
        TASK, lambda envs: Forward(), [5, 4, 3], num_envs=1, env_options={"solved": True}
    )
    assert [episode.seed for episode in result.episodes] == [4, 3]
    assert result.solved_at_start == (5,)


def test_recording_holds_what_was_seen_and_done() -> None:
    result = evaluate(TASK, lambda envs: Forward(), [7, 9, 4], num_envs=3, record=1)
    (recording,) = result.recorded
    episode = recording.episode
    assert recording.seed == 7
    assert episode.images[:, 0, 0, 0].tolist() == [140, 160, 180, 200]
    assert episode.states is not None and episode.states[:, 0].tolist() == [7, 8, 9, 10]
    assert episode.actions is not None and episode.actions[:, 0].tolist() == [1, 1, 1, 0]
    assert episode.success and episode.instructions == ("reach ten from 7",) * 4
    assert recording.planned_actions(2) is None


def test_image_size_reaches_the_task() -> None:
    result = evaluate(TASK, lambda envs: Forward(), [9], image_size=(4, 6), record=1)
    assert result.recorded[0].episode.images.shape == (2, 4, 6, 3)


def test_foreign_environment_through_a_mapping() -> None:
    mapping = EnvMapping(instruction=None, text="go", proprioception=None, take=(0, None))
    result = evaluate(
        TASK, lambda envs: RandomPolicy(RT1_ACTIONS), [9], mapping=mapping, record=1, max_steps=2
    )
    episode = result.recorded[0].episode
    assert episode.instructions[0] == "go" and episode.states is None
    assert episode.actions is not None and episode.actions.shape[1] == 7


def test_callbacks_count_steps_and_episodes() -> None:
    steps: list[int] = []
    ended: list[int] = []
    evaluate(
        TASK,
        lambda envs: Forward(),
        [8, 5],
        num_envs=2,
        on_decision=steps.append,
        on_episode=lambda episode: ended.append(episode.seed),
    )
    assert steps == [2, 2, 1, 1, 1]
    assert ended == [8, 5]


class TestRefusals:
    def test_repeated_seeds(self) -> None:
        with pytest.raises(ValueError, match="each once"):
            evaluate(TASK, lambda envs: Forward(), [1, 1])

    def test_actions_of_another_size(self) -> None:
        with pytest.raises(ValueError, match="actions of 7 entries"):
            evaluate(TASK, lambda envs: RandomPolicy(RT1_ACTIONS), [1])

    def test_a_policy_of_ones_own_that_fails(self) -> None:
        class Tired(Forward):
            name = "tired"

            def act(self, observations: Any, rows: Any) -> Any:
                if self.acted == 2:
                    return {}["rest"]
                self.acted += 1
                return super().act(observations, rows)

            acted = 0

        said = r'policy "tired" failed in .* at step 3 of the episode with seed 3: KeyError: .rest.'
        with pytest.raises(RuntimeError, match=said) as failure:
            evaluate(TASK, lambda envs: Tired(), [3], num_envs=1)
        assert isinstance(failure.value.__cause__, KeyError)
        with pytest.raises(RuntimeError, match=r"step 3 of .* seed 0 and 1 others beside it"):
            evaluate(TASK, lambda envs: Tired(), [0, 3], num_envs=2)

    def test_task_without_a_limit(self) -> None:
        gymnasium.register("selfflow-tests/Endless-v0", entry_point=Counting)
        with pytest.raises(ValueError, match="no step limit"):
            evaluate("selfflow-tests/Endless-v0", lambda envs: Forward(), [1])

    def test_task_without_success(self) -> None:
        class Silent(Counting):
            def step(self, action: Any) -> Any:
                return (*super().step(action)[:4], {})

        gymnasium.register("selfflow-tests/Silent-v0", entry_point=Silent, max_episode_steps=9)
        with pytest.raises(ValueError, match=r'info\["success"\]'):
            evaluate("selfflow-tests/Silent-v0", lambda envs: Forward(), [1])
