from __future__ import annotations

from collections import Counter

import pytest

from selfflow_robotics.collecting.assignments import assign


def test_every_task_gets_its_share_of_every_kind() -> None:
    assignments = assign((), 20, {"MoveNear": 40}, perturbed=0.5, random=0.2)
    count = Counter((a.task, a.source) for a in assignments)
    assert len(count) == 15 and len(assignments) == 120
    assert count["selfflow/PickCokeCan-v0", "expert"] == 6
    assert count["selfflow/PickCokeCan-v0", "perturbed"] == 10
    assert count["selfflow/MoveNear-v0", "random"] == 8
    assert [a.index for a in assignments] == list(range(120))
    assert len(assign((), 3, perturbed=0.5, random=0.5)) == 15  # though both round up
    assert {a.task for a in assignments[:6]} == {a.task for a in assignments}


def test_every_player_has_its_share() -> None:
    shares = {"wander": 0.3, "shut": 0.2, "planner": 0.1, "perturbed": 0.1}
    count = Counter(a.source for a in assign(("MoveNear",), 20, random=0.0, **shares))
    assert count == {"wander": 6, "shut": 4, "planner": 2, "perturbed": 2, "expert": 6}
    with pytest.raises(ValueError, match=r"nobody plays as wandering; give shares of perturbed,"):
        assign(wandering=0.5)
