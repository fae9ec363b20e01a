"""Where a search starts: what the previous plan left, else likely actions, else rest."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from selfflow_robotics.planning.bounds import Bounds
from selfflow_robotics.planning.plan import Plan


def first_mean(
    bounds: Bounds,
    previous: Sequence[Plan | None],
    executed: int,
    horizon: int,
    proposals_BKHA: Tensor,
) -> Tensor:
    """(B, H, A), normalised: each row's previous mean without the steps executed since.

    What a previous plan does not reach is filled from the proposals' mean, or from rest where there
    are none.

    Raises:
        ValueError: a previous plan of other actions.
    """
    rows = len(previous)
    mean_BHA = bounds.rest.expand(rows, horizon, -1).clone()
    if proposals_BKHA.shape[1]:
        mean_BHA = proposals_BKHA.mean(dim=1)
    size = mean_BHA.shape[-1]
    for row, plan in enumerate(previous):
        if plan is None:
            continue
        if plan.mean_BHA.shape[-1] != size:
            raise ValueError(
                f"the previous plan of row {row} has {plan.mean_BHA.shape[-1]} action "
                f"entries, the world model {size}; plan afresh after a change of model"
            )
        left = plan.mean_BHA[0, executed:][:horizon]
        mean_BHA[row, : len(left)] = left
    return bounds.clamp(mean_BHA)


def shifted_elites(previous: Sequence[Plan | None], executed: int, fill_BKHA: Tensor) -> Tensor:
    """The previous plans' elites without the steps executed since.

    Args:
        previous: a plan of one row for each row, None where it has none.
        executed: steps carried out since.
        fill_BKHA: at most K elites are taken; their last steps, and the places of those that lack,
            come from here. Normalised.

    Returns:
        (B, K, H, A), normalised.
    """
    shifted_BKHA = fill_BKHA.clone()
    for row, plan in enumerate(previous):
        if plan is not None:
            left = plan.elites_BKHA[0, : fill_BKHA.shape[1], executed:][:, : fill_BKHA.shape[2]]
            shifted_BKHA[row, : left.shape[0], : left.shape[1]] = left
    return shifted_BKHA


def rows_of(
    previous: Plan | Sequence[Plan | None] | None, batch: int, executed: int
) -> list[Plan | None]:
    """One plan of a single row for each row, None where it has none.

    Raises:
        ValueError: plans for another number of rows, plans that are not finite, or a negative
            number of steps executed.
    """
    if isinstance(previous, Plan):
        previous = [previous.row(i) for i in range(len(previous.actions_BHA))]
    plans: list[Plan | None] = [None] * batch if previous is None else list(previous)
    if len(plans) != batch or executed < 0:
        raise ValueError(
            f"a previous plan of {len(plans)} rows with {executed} steps executed was given "
            f"for {batch} rows; give one a row, and 0 steps or more"
        )
    for row, plan in enumerate(plans):
        if plan and not (plan.mean_BHA.isfinite().all() and plan.elites_BKHA.isfinite().all()):
            raise ValueError(f"the previous plan of row {row} is not finite; plan afresh")
    return plans
