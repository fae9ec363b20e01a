"""What a frame is made of, as declarations: the network and all around it loop over these.

A new modality is one `Modality` in `DiTConfig.more` and a column of that name in its clips; what
turns its signal into tokens is a tokenizer's business. Video, actions and proprioception have
fields of their own, since others name them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from torch import Tensor

ByModalityT = TypeVar("ByModalityT", bound="ByModality")


@dataclass(frozen=True)
class Times:
    """p(t), how noisy training shows a modality: t=0 is data and t=1 is noise.

    Args:
        kind: "uniform" over [0, 1], or "logit-normal": the logistic function of a standard normal.
        shift: alpha of s(alpha, t) = alpha t / (1 + (alpha - 1) t), above 0, applied to either.
        high_noise_share: share of draws that come from U[0.95, 1] instead, in [0, 1].
    """

    kind: Literal["uniform", "logit-normal"] = "uniform"
    shift: float = 1.0
    high_noise_share: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("uniform", "logit-normal"):
            raise ValueError(
                f'no timestep distribution "{self.kind}"; choose "uniform" or "logit-normal"'
            )
        if not self.shift > 0:
            raise ValueError(f"the timestep shift is {self.shift}; it must be above 0")
        if not 0 <= self.high_noise_share <= 1:
            raise ValueError(f"high_noise_share is {self.high_noise_share}; it must be in [0, 1]")


@dataclass(frozen=True)
class Modality:
    """A kind of token.

    Args:
        name: of its column in clips, its loss, and (but for proprioception) its weights.
        size: values a token.
        tokens: of a frame.
        mask_ratio: share of its tokens that Self-Flow shows at the second noise level, in [0, 0.5].
        weight: of its velocity's loss.
        times: p(t) it was published with.

    Example:
        >>> Modality("sound", size=64, tokens=2, mask_ratio=0.5, weight=0.3)
        Modality(name='sound', size=64, tokens=2, ...)
    """

    name: str
    size: int
    tokens: int = 1
    mask_ratio: float = 0.0
    weight: float = 1.0
    times: Times = Times()

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or min(self.size, self.tokens) < 1:
            raise ValueError(
                f'modality "{self.name}" with {self.tokens} tokens of {self.size} values: give it '
                "a name of letters, and at least one of either"
            )
        if not 0 <= self.mask_ratio <= 0.5:
            raise ValueError(
                f"the mask ratio of {self.name} is {self.mask_ratio}; it must be in [0, 0.5]"
            )

    @property
    def part(self) -> str:
        """What its projections are called in a network's weights."""
        return "state" if self.name == PROPRIOCEPTION else self.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame's values: (tokens, size), or (size,) of what is one token by its nature."""
        whole = self.name in (ACTION, PROPRIOCEPTION)
        return (self.size,) if whole else (self.tokens, self.size)


VIDEO, ACTION, PROPRIOCEPTION = "video", "action", "proprioception"

PUBLISHED: Mapping[str, Modality] = {
    one.name: one
    for one in (
        Modality("image", 1, mask_ratio=0.25),
        Modality("video", 1, mask_ratio=0.1, times=Times("logit-normal", shift=2.95)),
        Modality("audio", 1, mask_ratio=0.5, times=Times("logit-normal")),
    )
}
"""How modalities were published: Self-Flow (arXiv 2603.06507), section 3.3 and A.3; sizes aside."""

_FIELDS = {VIDEO: "video_BTNC", ACTION: "action_BTA", PROPRIOCEPTION: "state_BTP"}


@dataclass(frozen=True)
class ByModality:
    """Tensors (B, T, tokens, size) by the name of their modality, or (B, T, size) of one token."""

    more: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)

    def of(self, name: str) -> Tensor | None:
        """The values of a modality; None where there are none."""
        own = _FIELDS.get(name)
        found: Tensor | None = self.more.get(name) if own is None else getattr(self, own)
        return found

    def values(self, *without: str) -> Iterator[tuple[str, Tensor]]:
        """Names and values of all modalities that are there, in the order of their tokens."""
        for name in (*_FIELDS, *self.more):
            value = self.of(name)
            if value is not None and name not in without:
                yield name, value

    def with_values(self: ByModalityT, values: Mapping[str, Tensor]) -> ByModalityT:
        """The same with other values of these modalities."""
        own: dict[str, Any] = {_FIELDS[k]: v for k, v in values.items() if k in _FIELDS}
        more = {k: v for k, v in values.items() if k not in _FIELDS}
        return replace(self, **own, more={**self.more, **more} if more else self.more)
