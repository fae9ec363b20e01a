"""Seeds that do not decide the starts are noticed, said, and kept in the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from counting import LIMIT, TASK, Counting, Forward

from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.evaluation.report import write_report
from selfflow_robotics.evaluation.results import Results, Settings, read_results, write_results
from selfflow_robotics.evaluation.starts import digest


class OfItsOwn(Counting):
    """Draws its starts from a generator that no seed reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=int(self.rng.integers(1000)))
        return self._see(), {"success": False}


class Same(Counting):
    """Starts at the same place whatever the seed."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=3)


for name, kind in (("OfItsOwn", OfItsOwn), ("Same", Same)):
    gymnasium.register(f"selfflow-tests/{name}-v0", entry_point=kind, max_episode_steps=LIMIT)


@pytest.mark.parametrize(
    ("name", "decided", "different", "said"),
    [
        ("OfItsOwn", False, 2, "does not decide the start"),
        ("Same", True, 1, "4 seeds gave 1 different starts"),
        ("Counting", True, 4, None),
    ],
)
def test_seeds_that_decide_nothing_are_said(
    name: str, decided: bool, different: int, said: str | None, tmp_path: Path
) -> None:
    task = TASK.replace("Counting", name)
    found = evaluate(task, lambda envs: Forward(), [1, 2, 3, 4], num_envs=2)
    assert found.starts is not None
    assert (found.starts.decided_by_seed, found.starts.different) == (decided, different)
    if said is None:
        assert found.doubt is None
    else:
        assert found.doubt is not None and said in found.doubt and task in found.doubt
    settings = Settings("", (task,), ("forward",), (1, 2, 3, 4), 2, (8, 10))
    results = Results(settings, (found,))
    write_results(tmp_path / "results.json", results)
    assert read_results(tmp_path / "results.json").tasks == (found,)
    page = write_report(tmp_path / "report.html", results, ()).read_text()
    assert (said is None) == ("different starts" not in page)


def test_equal_observations_have_equal_digests_and_others_have_not() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    one = {"image": image, "text": "go", "state": (1.0, np.float32(2))}
    assert digest(one) == digest(
        {"state": (1.0, np.float32(2)), "text": "go", "image": image.copy()}
    )
    for other in (
        {**one, "text": "no"},
        {**one, "image": image[::-1]},
        {**one, "image": image.reshape(4, 2, 3)},
        {**one, "state": (1.0, np.float32(3))},
    ):
        assert digest(one) != digest(other)
    assert digest(image[:, ::-1]) == digest(image[:, ::-1].copy())
    assert digest({"thing": object()}) == digest({"thing": object()})
