from __future__ import annotations

import pytest
import torch

from selfflow_robotics.flow.samplers import schedule, steps_along


def test_steps_follow_the_schedule_or_one_that_starts_lower() -> None:
    steps = steps_along(3, 5.0)
    assert [step.now for step in steps] + [steps[-1].then] == schedule(3, 5.0).tolist()
    assert sum(step.size for step in steps) == pytest.approx(1)
    lower = steps_along(2, 5.0, start=0.5)
    assert [step.now for step in lower] == [0.5 * time for time in schedule(2, 5.0)[:-1].tolist()]
    # 0.5 is a sixth of the way from data to noise where half the time is above 5/6.
    assert sum(step.size for step in lower) == pytest.approx(1 / 6)


def test_schedule_falls_from_noise_to_data() -> None:
    times = schedule(5, shift=6.93)
    assert times[0] == 1
    assert times[-1] == 0
    assert (times.diff() < 0).all()
    torch.testing.assert_close(schedule(4), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    with pytest.raises(ValueError, match="1 to 10000 steps"):
        schedule(0)
