"""One plan and one rollout, from Python, with a tiny world model of random weights."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from selfflow_robotics import WorldModel
from selfflow_robotics.evaluation.one_plan import plan_and_carry_out
from selfflow_robotics.evaluation.one_rollout import imagine_one
from selfflow_robotics.planning.config import PlannerConfig


@pytest.fixture(scope="module")
def world_model(model: Path) -> WorldModel:
    return WorldModel.from_pretrained(str(model))


def test_a_plan_is_as_long_as_asked_and_stands_in_units(world_model: WorldModel) -> None:
    planner = PlannerConfig(candidates=2, topk=1, horizon=2)
    found = plan_and_carry_out(world_model, "CloseDrawer", seed=3, planner=planner)
    assert found.actions_HA.shape == (2, 7) and len(found.imagined) == 2
    lines = str(found).splitlines()
    assert lines[0] == "selfflow/CloseDrawer-v0, seed 3, step 0: close top drawer"
    assert "x m" in lines[1] and lines[2].startswith("   1  ")


def test_a_rollout_shows_all_frames_but_the_first(world_model: WorldModel, tmp_path: Path) -> None:
    found = imagine_one(world_model, task="CloseDrawer", other="zero", horizon=2)
    labels = [label for label, _ in found.columns]
    assert labels == ["happened", "imagined: true actions", "imagined: zero actions"]
    assert {len(frames) for _, frames in found.columns} == {len(found.episode) - 1}
    with av.open(str(found.save(tmp_path / "a.mp4"))) as video:
        assert video.streams.video[0].average_rate == 2 * world_model.step_spec.rate_hz
