"""The normalised box that actions are searched in."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec

_NEAREST = 64  # floats to where an end is inside; where both ends are one, none is


class Bounds:
    """Where q01..q99 and low..high of an :class:`ActionSpec` overlap, normalised: within [-1, 1].

    An entry that can only take one value (q01 = q99, or low = high) has equal bounds, so that no
    solver can move it.

    Args:
        spec: with statistics.

    Raises:
        ValueError: the specification has no statistics, or a range that single precision cannot
            hold.
    """

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        low_A, high_A = torch.tensor(spec.low), torch.tensor(spec.high)
        self._middle_A, self._half_A = map(torch.tensor, spec.middle_and_half())
        _require_ranges(spec, self._middle_A, self._half_A)
        self.low_A, self.high_A = spec.normalize(low_A), spec.normalize(high_A)
        # An end that rounding puts outside would be cut, and have no gradient: some floats inwards.
        for _ in range(_NEAREST):
            below_A, above_A = (
                self._in_units(self.low_A) < low_A,
                self._in_units(self.high_A) > high_A,
            )
            if not (below_A | above_A).any():
                break
            up_A, down_A = self.low_A.nextafter(self.high_A), self.high_A.nextafter(self.low_A)
            self.low_A = torch.where(below_A, up_A, self.low_A)
            self.high_A = torch.where(above_A, down_A, self.high_A)
        ends = (self.low_A, self.high_A)
        self._units_A = [self._in_units(end).clamp(low_A, high_A) for end in ends]

    @cached_property
    def rest(self) -> Tensor:
        """Doing nothing, or the middle of what is ever done where zero lies outside it."""
        rest = self.spec.normalize(torch.zeros(self.spec.size))
        return self.clamp(torch.where(rest.abs() < 1, rest, 0.0))

    def clamp(self, normalised: Tensor) -> Tensor:
        """Normalised actions (..., A), each entry moved into its bounds."""
        return normalised.clamp(self.low_A, self.high_A)

    def to_environment(self, normalised: Tensor) -> Tensor:
        """Actions (..., A) in the environment's units, put inside the bounds; differentiable."""
        return self._in_units(normalised).clamp(*self._units_A)

    def _in_units(self, normalised: Tensor) -> Tensor:
        return normalised * self._half_A + self._middle_A  # as `spec.denormalize`

    def from_environment(self, actions: Tensor) -> Tensor:
        """Inverse of :meth:`to_environment`, float32 on CPU, inside the bounds."""
        return self.clamp(self.spec.normalize(actions.float().cpu()))


def _require_ranges(spec: ActionSpec, middle_A: Tensor, half_A: Tensor) -> None:
    scale_A = torch.where(half_A > 0, 1 / half_A, 0.0)
    lost_A = ~(middle_A.isfinite() & half_A.isfinite() & scale_A.isfinite())
    for index in lost_A.nonzero()[:, 0].tolist():
        raise ValueError(
            f"the action entry {spec.names[index]} ranges over q01={spec.q01[index]} to "
            f"q99={spec.q99[index]}, which single precision cannot hold; measure them again"
        )
