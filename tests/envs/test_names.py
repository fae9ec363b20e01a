"""Tasks by their short names."""

from __future__ import annotations

import pytest
from selfflow_robotics.envs.names import own_task


def test_commands_that_play_the_tasks_here_alone_do_not_offer_to_import_others() -> None:
    assert own_task("MoveNear") == own_task("selfflow/MoveNear-v0") == "selfflow/MoveNear-v0"
    for name in ("my/Push-v0", "CartPole-v1"):
        with pytest.raises(ValueError, match=r"none of them.* PickCokeCan, .*evaluate") as caught:
            own_task(name)
        assert "imports" not in str(caught.value)
