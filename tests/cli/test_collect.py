"""What `selfflow collect` promises: shares, repeatability, RT-1's features, clear refusals."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from selfflow_robotics.cli.collect import Config, run
from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.planning.config import PlannerConfig

SMALL = Config(
    tasks=("PickCokeCan", "CloseDrawer"), episodes=3, image_size=(16, 24), random_steps=5, seed=7
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("PickCan",)}, r'no task "PickCan"; choose from PickCokeCan'),
        ({"episodes_of": {"PickCan": 3}}, 'no task "PickCan"'),
        ({"players": {"perturbed": 0.8, "random": 0.4}}, "sum of at most 1"),
        ({"players": {"random": -0.1}}, "shares from 0"),
        ({"players": {"wander": 0.9, "shut": 0.2}}, "wander=0.9, shut=0.2 must be shares"),
        ({"players": {"plannner": 0.5}}, "nobody plays as plannner; give shares of perturbed"),
        ({"players": {"planner": 0.5}}, r"planner to play need a policy .* world_model="),
        ({"players": {"intervened": 0.5}}, r"intervened to play need .* world_model="),
        (
            {
                "players": {"planner": 0.5},
                "planner": PlannerConfig(topk=9),
                "world_model": "tabletop-small",
            },
            "topk=9",
        ),
        ({"episodes": 0}, "0 for selfflow/PickCokeCan-v0 makes no data"),
    ],
)
def test_senseless_wishes_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(replace(SMALL, out=tmp_path / "set", **change))
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already; name another folder"):
        run(replace(SMALL, out=tmp_path))


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With all played out, as of so few episodes, there would be no teacher.
    monkeypatch.setattr("selfflow_robotics.collecting.collect.share_asked", lambda episodes: 0.3)
    for name, workers in (("none", 0), ("one", 1), ("two", 2)):
        assert run(replace(SMALL, out=tmp_path / name, workers=workers, labels="teacher")) == 0
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        same = {(tmp_path / folder / name).read_bytes() for folder in ("none", "one", "two")}
        assert len(same) == 1, name

    source = open_dataset(tmp_path / "one")
    episodes = [source[i] for i in range(len(source))]
    assert len(episodes) == 6
    assert Counter(e.source for e in episodes) == {"expert": 2, "perturbed": 2, "random": 2}
    for episode in episodes:
        assert episode.actions is not None and episode.states is not None
        RT1_ACTIONS.check(episode.actions, episode.id)
        assert not episode.actions[-1].any()
        assert episode.images.shape[1:] == (16, 24, 3)
        quaternions = episode.states[:, 3:7]
        np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1.0, atol=1e-5)
        assert episode.instructions[0].split()[0] in ("pick", "close")
        assert episode.demonstrated is not None
        assert episode.steps_left is not None and not np.isnan(episode.steps_left).any()
        if episode.source == "random":
            assert len(episode) <= 6
            assert not episode.demonstrated.any()
        elif episode.source == "expert":
            assert episode.demonstrated[:-1].all() and not episode.demonstrated[-1]
            np.testing.assert_array_equal(episode.steps_left, np.arange(len(episode))[::-1])
    theirs = tfds.builder_from_directory(tmp_path / "one").as_data_source("train")
    step = next(iter(theirs[0]["steps"]))
    assert step["observation"]["base_pose_tool_reached"].shape == (7,)
    assert np.isinf(step["observation"]["orientation_box"]).all()


def test_an_expert_takes_over_from_a_world_models_prior(tmp_path: Path) -> None:
    config = replace(
        SMALL,
        out=tmp_path / "set",
        tasks=("CloseDrawer",),
        episodes=1,
        image_size=(64, 80),
        players={"intervened": 1.0},
        world_model="tabletop-small",
        workers=1,
    )
    assert run(config) == 0
    (episode,) = list(open_dataset(tmp_path / "set"))
    assert episode.source == "intervened"
    assert episode.actions is not None and episode.demonstrated is not None
    assert not episode.demonstrated[0] and episode.demonstrated.any()  # the novice begins
    RT1_ACTIONS.check(episode.actions, episode.id)


@pytest.mark.slow
def test_a_planner_acts_and_each_of_its_frames_is_labelled(tmp_path: Path) -> None:
    config = replace(
        SMALL,
        out=tmp_path / "set",
        tasks=("CloseDrawer",),
        episodes=2,
        image_size=(64, 80),
        players={"planner": 1.0},
        planner=PlannerConfig(candidates=4, topk=2),
        world_model="tabletop-small",
        labels="expert",
        workers=0,
    )
    assert run(config) == 0
    for episode in open_dataset(tmp_path / "set"):
        assert episode.source == "planner" and len(episode) > 5
        assert episode.demonstrated is not None and not episode.demonstrated[:-1].all()
        assert episode.steps_left is not None and not np.isnan(episode.steps_left).any()


def test_labels_of_a_failing_expert_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfflow_robotics.policies.steps_left.LONGEST", 2)
    with pytest.raises(ValueError, match=r"the expert of PickCokeCan solved none of 3 starts"):
        run(replace(SMALL, out=tmp_path / "set", labels="expert"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_actions_stand_beside_the_frame_they_follow(tmp_path: Path) -> None:
    """Displacements explain the next change of the reached pose better than later ones."""
    config = replace(SMALL, out=tmp_path / "set", players={"perturbed": 1.0}, episodes=2, workers=1)
    run(config)
    source = open_dataset(tmp_path / "set")
    wanted, moved, moved_later = [], [], []
    for i in range(len(source)):
        episode = source[i]
        assert episode.actions is not None and episode.states is not None
        change = np.diff(episode.states[:, :3], axis=0)
        wanted.append(episode.actions[:-2, :3])
        moved.append(change[:-1])
        moved_later.append(change[1:])
    actions = np.concatenate(wanted).ravel()
    now = np.corrcoef(actions, np.concatenate(moved).ravel())[0, 1]
    later = np.corrcoef(actions, np.concatenate(moved_later).ravel())[0, 1]
    assert now > 0.7
    assert now > later + 0.1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
def test_killed_it_leaves_no_workers_and_the_next_run_none_of_its_files(tmp_path: Path) -> None:
    words = [f"out={tmp_path / 'data'}", "tasks=CloseDrawer", "image_size=[16,24]", "workers=2"]
    command = [sys.executable, "-m", "selfflow_robotics.cli.main", "collect", *words]
    running = subprocess.Popen([*command, "episodes=1000"], start_new_session=True)

    def alive() -> list[str]:
        """Processes of its session but itself that have not ended."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
                if int(session) == running.pid != int(path.parent.name) and state != "Z":
                    found.append(path.parent.name)
        return found

    try:
        wait_until(lambda: len(alive()) >= 3)  # two workers and what multiprocessing needs
    finally:
        running.kill()
        running.wait()
    wait_until(lambda: not alive())
    assert any(path.name.endswith("-partial") for path in tmp_path.iterdir())
    subprocess.run([*command, "episodes=1"], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    """Look every so often."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
