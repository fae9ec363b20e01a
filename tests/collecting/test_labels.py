"""Labels are what playing it out says, whoever played and however many played it out."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray
from selfflow_robotics.policies import experts
from selfflow_robotics.policies.experts import Expert
from selfflow_robotics.policies.steps_left import ExpertSteps

from selfflow_robotics.collecting.labels import (
    Labeller,
    Labels,
    check_labels,
    counted,
    share_asked,
)
from selfflow_robotics.collecting.recording import record
from selfflow_robotics.data.rt1.features import Rt1Episode


def made(task: str) -> Any:
    return gymnasium.make(f"selfflow/{task}-v0", image_size=(16, 24), disable_env_checker=True)


def labelled(
    task: str, source: str, share: float, number: int = 0, teacher: bool = False
) -> tuple[Rt1Episode, Labels, list[Any], Any]:
    env = made(task)
    states: list[Any] = []
    labeller = Labeller(env, teacher)

    def watch() -> None:
        states.append(env.unwrapped.get_state())
        labeller.watch()

    seed = np.random.SeedSequence(5, spawn_key=(number,))

    episode = record(env, source, seed, task, 12, watch=watch)
    assert episode.demonstrated is not None
    found = labeller.labels(episode.demonstrated, episode.success, share, seed)
    return episode, found, states, env


@pytest.mark.parametrize("source", ["wander", "shut", "perturbed", "random"])
def test_each_label_is_what_an_expert_takes_from_there(source: str) -> None:
    episode, labels, states, env = labelled("PickCokeCan", source, 1.0, number=2)
    exact = ExpertSteps(env)
    assert labels.left.shape == (len(episode.images),)
    done = len(states) - int(episode.success)
    taken = [exact.way(state)[0][0] for state in states[:done]]
    np.testing.assert_allclose(labels.left[:done], taken, rtol=1e-5)
    if episode.success:
        assert labels.left[-1] == 0.0
    assert labels.asked.any() and labels.asked.sum() < len(states) + (source == "random")


def test_labels_count_to_the_end_of_a_frames_own_instruction() -> None:
    episode, labels, states, env = labelled("OpenDrawerAndPlace", "expert", 0.0)
    opening, place = (
        episode.instructions.count(told) for told in dict.fromkeys(episode.instructions)
    )
    assert episode.success and opening > 5 and place > 5
    fewer = -np.diff(labels.left)
    own = np.delete(fewer, opening - 1)  # save where the instruction is new
    assert (own > 0.09).all() and (own < 1.01).all() and fewer[opening - 1] < 0
    assert labels.left[opening - 1] == 1.0 and labels.left[-1] == 0.0
    way, _ = ExpertSteps(env).way(states[2])
    np.testing.assert_allclose(way, labels.left[2:-1], rtol=1e-4)
    _, played_out, _, _ = labelled("OpenDrawerAndPlace", "perturbed", 1.0, teacher=True)
    assert np.nanmax(played_out.branches_left) < 40


def test_an_undisturbed_expert_is_labelled_by_hindsight_alone() -> None:
    episode, labels, _, _ = labelled("CloseDrawer", "expert", 0.0)
    steps = len(episode.images)
    fewer = -np.diff(labels.left)
    assert (fewer >= 0.1).all() and fewer[-1] == 1.0 and labels.left[-1] == 0.0
    assert (fewer <= 1.001).all() and labels.left[0] > steps / 3
    assert not labels.asked.any()


def test_only_a_share_is_played_out_and_the_rest_is_not_guessed() -> None:
    _, some, _, _ = labelled("CloseDrawer", "random", 0.4, teacher=True)
    _, every, _, _ = labelled("CloseDrawer", "random", 1.0, teacher=True)
    known = ~np.isnan(some.left)
    assert 0 < known.sum() < len(known) and every.asked.all()
    np.testing.assert_array_equal(some.left[known], every.left[known])
    np.testing.assert_array_equal(some.asked, known)
    _, shown, _, _ = labelled("CloseDrawer", "expert", 1.0)
    steps, asked = len(shown.left), int(some.asked.sum())
    assert counted([some, shown]) == (
        f"{13 + steps} frames labelled: {steps} in hindsight, {asked} played out, {13 - asked} by "
        "a teacher"
    )


def test_what_a_teacher_learns_on_the_way_is_right() -> None:
    _, labels, _, _ = labelled("CloseDrawer", "random", 1.0, teacher=True)
    assert labels.seen.shape == (13, 40 + 7)
    assert labels.branches.shape == (len(labels.branches_left), 47)
    # Each branch goes down to one step before the end.
    assert labels.branches_left.min() == 1.0
    assert len(labels.branches) >= (labels.left[np.isfinite(labels.left)] - 1).sum()


def test_few_episodes_are_played_out_whole_of_many_a_quarter() -> None:
    assert share_asked(10) == 1.0 and share_asked(10_000) == 0.25
    assert 0.25 < share_asked(200) < 1.0


class Idle(Expert):
    """Does nothing."""

    def act(self) -> NDArray[np.float32]:
        return np.zeros(7, np.float32)


def test_labels_that_nobody_can_give_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check = partial(check_labels, labelling="teacher", seed=0)
    check([made("CloseDrawer")])
    with pytest.raises(ValueError, match=r"state of CartPoleEnv cannot be saved and restored"):
        check([gymnasium.make("CartPole-v1")])
    with pytest.raises(ValueError, match=r"no expert knows PendulumEnv"):
        check([gymnasium.make("Pendulum-v1")])
    for kind in experts.MASTERED:
        monkeypatch.setitem(experts._EXPERTS, kind, Idle)
    with pytest.raises(ValueError, match=r"expert of CloseDrawer solved none of 3 starts"):
        check([made("CloseDrawer")])
