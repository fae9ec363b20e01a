from __future__ import annotations

from collections import Counter

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
