"""Large steps by training for them: shortcut models (arXiv 2410.12557) on top of any objective.

The network is told how far a step goes, and learns that a step leads where two of half its size do:
a share of the clips takes the teacher's two half steps as its target, the rest learn as ever. Sizes
and starts are those of a sampler's `schedule`, whose halves count for the time that they cover. The
halves of the smallest step follow the velocity itself. (MeanFlow, arXiv 2505.13447, would need
forward-mode derivatives, which fused attention has not.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..model.dit import DiT, Output
from .noising import ROW_UNKNOWN, NoisedClips, View
from .objectives import Counts, FlowMatching, Losses, seen
from .timesteps import STEP_SIZES, shift_time


class Shortcut(FlowMatching):
    """An objective that teaches its noising's share `shortcut` of the clips to take large steps.

    Args:
        base: what all clips learn from, those with a step as well, whose velocity is the step's.
    """

    def __init__(self, base: FlowMatching) -> None:
        super().__init__(base.noising, base.patch, base.weights)
        self.base = base

    def projector(self, width: int) -> nn.Module:
        """That of the base."""
        return self.base.projector(width)

    def counts(self, noised: NoisedClips) -> dict[str, Tensor]:
        """Those of the base."""
        return self.base.counts(noised)

    def __call__(
        self,
        student: DiT,
        teacher: DiT,
        projector: nn.Module,
        noised: NoisedClips,
        counts: Counts | None = None,
    ) -> Losses:
        """Losses of the base, with the teacher's half steps for the velocity of clips that step."""
        aimed = with_half_steps(teacher, noised, self.noising.distribution.shift)
        return self.base(student, teacher, projector, aimed, counts)


@torch.no_grad()
def with_half_steps(teacher: DiT, noised: NoisedClips, shift: float) -> NoisedClips:
    """The clips, those that take a step with the mean velocity of two of half its size.

    Two passes of the teacher, in any case: where its weights are spread over ranks, all of them
    must take part.

    Args:
        shift: of the schedule that the steps lie on.
    """
    rows = [row for row, step in enumerate(noised.steps) if step] or [0]
    part: NoisedClips = _rows(noised, rows)
    view = part.student
    now, step = view.conditions.timesteps_BTR, view.conditions.step_BT
    if step is None:
        raise ValueError("clips without steps cannot be halved; set the noising's shortcut above 0")
    half = step / 2
    told = torch.where(half >= min(STEP_SIZES), half, 0.0)
    unknown = torch.arange(now.shape[-1], device=now.device) == ROW_UNKNOWN
    moves = (now > 0) & (step > 0)[..., None] & ~unknown
    start = shift_time(now, 1 / shift)

    def later(by_BT: Tensor) -> Tensor:
        there = shift_time((start - by_BT[..., None]).clamp(min=0), shift)
        return torch.where(moves, there, now)

    middle, end = later(half), later(step)
    view = replace(view, conditions=replace(view.conditions, step_BT=told))
    first = seen(teacher, part, view, ())
    moved = {
        name: value + change * _velocity(first, name)
        for name, value, change in _by_modality(view, middle - now)
    }
    there = replace(view.conditions, timesteps_BTR=middle)
    second = seen(teacher, part, View(view.frames.with_values(moved), there), ())
    if not any(noised.steps):
        return noised
    # What covers more of the time counts for more; the schedule's halves are not equally long.
    share = torch.where(moves, (middle - now) / (end - now), 0.0)
    index = torch.tensor(rows, device=now.device)
    aims = {
        name: noised.velocity[name].index_copy(
            0, index, torch.lerp(_velocity(second, name), _velocity(first, name), weight)
        )
        for name, _, weight in _by_modality(view, share)
    }
    return replace(noised, velocity={**noised.velocity, **aims})


def _velocity(out: Output, name: str) -> Tensor:
    """The velocity of a modality that the network was shown, in fp32."""
    found = out.of(name)
    assert found is not None
    return found.float()


def _by_modality(view: View, rows_BTR: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each modality's name, its values, and what a frame's rows say of them, (B, T, ..., 1)."""
    assert view.conditions.row_BTM is not None
    value_BTM, first = rows_BTR.gather(2, view.conditions.row_BTM), 0
    for name, value in view.frames.values():
        count = value.shape[2] if value.dim() == 4 else 1
        said = value_BTM[:, :, first : first + count, None]
        yield name, value, said if value.dim() == 4 else said[:, :, 0]
        first += count


def _rows(value: Any, rows: list[int]) -> Any:
    """These rows of a batch: of a tensor, or of every tensor in a dataclass or a mapping."""
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, Mapping):
        return {key: _rows(part, rows) for key, part in value.items()}
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{f.name: _rows(getattr(value, f.name), rows) for f in fields(value)})
