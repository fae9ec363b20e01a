"""What the numbers of an action (and of a proprioceptive state) mean.

An :class:`ActionSpec` travels with every data set and with every checkpoint. Two specifications
that disagree in meaning (units, frame, rotation, gripper sense, rate) are an error; their
statistics may differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.storage.notice import Notice

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[Any], "Tensor")
_Spec = TypeVar("_Spec", bound="_Entries")

_MEANING = ("names", "units", "frame", "rotation", "gripper", "rate_hz")
_BOUND_SLACK = 1e-5
_GREATEST = 1e30  # beyond it, differences overflow float32
_FIELD_KINDS = {
    "str": "text",
    "float": "finite number",
    "tuple[str, ...]": "list of texts",
    "tuple[float, ...]": "list of finite numbers",
}
_MEASURE = (
    'convert the data set ("selfflow data convert rlds"), which measures them, or give them in '
    "the mapping"
)


def _as(like: Array, values: Sequence[float]) -> Array:
    if isinstance(like, np.ndarray):
        return np.asarray(values, like.dtype)
    return like.new_tensor(values)


def _fits(value: Any, kind: str) -> bool:
    """Whether a value of JSON is of a field's type; numbers must be finite, also as float32."""
    if kind.startswith("tuple"):
        inner = "str" if "str" in kind else "float"
        return isinstance(value, list | tuple) and all(_fits(item, inner) for item in value)
    if kind == "str":
        return isinstance(value, str)
    return type(value) in (int, float) and abs(value) < _GREATEST


@dataclass(frozen=True)
class _Entries:
    """What both specifications share."""

    names: tuple[str, ...]  # of the entries: A of an action, P of a state

    @property
    def size(self) -> int:
        """The number of entries."""
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        """The specification as a dictionary that JSON can hold."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls: type[_Spec], values: Mapping[str, Any]) -> _Spec:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: a field lacks, is unknown or holds something else.
        """
        known = {field.name for field in fields(cls)}
        given = set(values)
        if given != known:
            lacking, surplus = sorted(known - given), sorted(given - known)
            raise ValueError(
                f"a stored {cls.__name__} lacks the fields {lacking} and has the unknown fields "
                f"{surplus}; it was written by another version: write the data set or checkpoint "
                "again"
            )
        for field in fields(cls):
            if not _fits(values[field.name], str(field.type)):
                raise ValueError(
                    f"a stored {cls.__name__} has {field.name} = "
                    f"{str(values[field.name])[:100]}, no {_FIELD_KINDS[str(field.type)]}; write "
                    "the data set or checkpoint again"
                )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class ActionSpec(_Entries):
    """Meaning, bounds and statistics of an action vector of A entries.

    Raises:
        ValueError: the tuples differ in length, a value is not finite, or a lower value exceeds
            its upper one.

    Example:
        >>> meaning = (("x",), ("m",), "world, displacement", "none", "none", 3.0)
        >>> spec = ActionSpec(*meaning, low=(-1.0,), high=(1.0,), q01=(-0.2,), q99=(0.2,))
        >>> spec.normalize(np.array([0.1]))
        array([0.5])
    """

    units: tuple[str, ...]  # A entries
    frame: str
    rotation: str
    gripper: str
    rate_hz: float
    low: tuple[float, ...]  # A hard lower bounds, in units
    high: tuple[float, ...]  # A hard upper bounds, in units
    q01: tuple[float, ...] = ()  # A values that normalise to -1; () where nobody measured them
    q99: tuple[float, ...] = ()  # A values that normalise to +1

    def __post_init__(self) -> None:
        for key in ("units", "low", "high", "q01", "q99"):
            entries = getattr(self, key)
            if key.startswith("q") and not self.q01 and not self.q99:
                continue
            if len(entries) != len(self.names):
                raise ValueError(
                    f"ActionSpec.{key} has {len(entries)} entries for {len(self.names)} names "
                    f"{self.names}; give one each"
                )
        if not 0 < self.rate_hz < _GREATEST:
            raise ValueError(f"ActionSpec.rate_hz is {self.rate_hz}; give steps a second, above 0")
        for lower, upper in (("low", "high"), ("q01", "q99")):
            for name, a, b in zip(
                self.names, getattr(self, lower), getattr(self, upper), strict=False
            ):
                if not (abs(a) < _GREATEST and abs(b) < _GREATEST):
                    raise ValueError(
                        f"ActionSpec.{lower} and {upper} of {name} are {a} and {b}; give finite "
                        "numbers"
                    )
                if a > b:
                    raise ValueError(
                        f"ActionSpec.{lower} of {name} is {a}, above its {upper} {b}; exchange them"
                    )

    def normalize(self, actions: Array) -> Array:
        """Map q01..q99 of actions (..., A) to -1..1 and clip; an entry with q01 = q99 becomes 0.

        Raises:
            ValueError: the specification has no statistics.
        """
        middle, half = self.middle_and_half()
        scale = [1.0 / h if h > 0 else 0.0 for h in half]
        normalized: Array = ((actions - _as(actions, middle)) * _as(actions, scale)).clip(-1.0, 1.0)
        return normalized

    def denormalize(self, actions: Array) -> Array:
        """Inverse of :meth:`normalize` inside q01..q99, also (..., A); does not clip."""
        middle, half = self.middle_and_half()
        restored: Array = actions * _as(actions, half) + _as(actions, middle)
        return restored

    def check(self, actions: NDArray[Any], where: str) -> None:
        """Refuse actions (..., A), in its units, which the environment cannot execute.

        Raises:
            ValueError: wrong last axis, a value that is not finite, or one outside low..high.
        """
        if actions.ndim == 0 or actions.shape[-1] != self.size:
            raise ValueError(
                f"{where}: an action of shape {actions.shape} was given; "
                f"the last axis must hold {self.size} entries {self.names}"
            )
        rows = actions.reshape(-1, self.size)
        for i, name in enumerate(self.names):
            column = rows[:, i]
            if not np.isfinite(column).all():
                raise ValueError(
                    f"{where}: the action entry {name} is {column[~np.isfinite(column)][0]}; "
                    "give finite numbers"
                )
            outside = (column < self.low[i] - _BOUND_SLACK) | (column > self.high[i] + _BOUND_SLACK)
            if outside.any():
                raise ValueError(
                    f"{where}: the action entry {name} is {column[outside][0]:.4g} "
                    f"{self.units[i]}, outside {self.low[i]:.4g}..{self.high[i]:.4g}; "
                    "clip it or mend its units"
                )

    def require_match(self, other: ActionSpec, ours: str, theirs: str) -> None:
        """Refuse another specification whose numbers mean something else; its bounds may differ.

        Raises:
            ValueError: names both sides and every field in which they differ.
        """
        differing = [
            f"{key} {getattr(self, key)!r} and {getattr(other, key)!r}"
            for key in _MEANING
            if getattr(self, key) != getattr(other, key)
        ]
        if differing:
            raise ValueError(
                f"the actions of {ours} and {theirs} mean different things: "
                f"{'; '.join(differing)}; use data, tasks and weights of one kind, or correct the "
                "mapping that says it"
            )

    def left_by(self, other: ActionSpec) -> tuple[str, ...]:
        """Entries whose q01 or q99 in another specification is outside ours by a tenth of it."""
        _, half = self.middle_and_half()
        return tuple(
            name
            for name, size, low, high, least, most in zip(
                self.names, half, self.q01, self.q99, other.q01, other.q99, strict=True
            )
            if least < low - 0.2 * size or most > high + 0.2 * size
        )

    def with_statistics(self, actions: NDArray[np.float32]) -> ActionSpec:
        """The same meaning with q01 and q99 measured on actions (n, A).

        The gripper keeps its full range, as its values are commands of -1, 0 and 1. An entry that
        moves so rarely that both quantiles are the same has its least and greatest value instead.
        One whose values differ by rounding alone, by less than 1e-5 of their size or a millionth of
        the bounds' distance, holds still: both are its median. Both kinds are named in a notice.
        """
        q01 = np.quantile(actions, 0.01, axis=0)
        q99 = np.quantile(actions, 0.99, axis=0)
        still, rare = [], []
        for i, name in enumerate(self.names):
            least, most = float(actions[:, i].min()), float(actions[:, i].max())
            size = max(abs(least), abs(most))
            rounding = max(1e-5 * size, 1e-6 * (self.high[i] - self.low[i]))
            if name == "gripper":
                q01[i], q99[i] = self.low[i], self.high[i]
            elif most - least <= rounding:
                q01[i] = q99[i] = np.median(actions[:, i])
                still.append(name)
            elif q99[i] - q01[i] <= rounding:
                q01[i], q99[i] = least, most
                rare.append(name)
        if still:
            warnings.warn(f"{', '.join(still)} of the actions hold still", Notice, 2)
        if rare:
            told = f"{', '.join(rare)} of the actions move in under 2% of the steps"
            warnings.warn(f"{told}: their range is that of all values", Notice, 2)
        return replace(self, q01=tuple(q01.tolist()), q99=tuple(q99.tolist()))

    @property
    def relative_grippers(self) -> tuple[int, ...]:
        """Entries that close (+1), keep (0) or open (-1) the gripper; one a step of a block."""
        relative = self.gripper.startswith("relative, +1 closes")
        grippers = (i for i, name in enumerate(self.names) if name.split("+")[0] == "gripper")
        return tuple(grippers) if relative else ()

    def block(self, steps: int) -> ActionSpec:
        """What `steps` successive actions mean as one: entries x, y, ..., then x+1, y+1, ..."""
        later = tuple(f"{name}+{i}" for i in range(1, steps) for name in self.names)
        tiled = {key: getattr(self, key) * steps for key in ("units", "low", "high", "q01", "q99")}
        return replace(self, names=self.names + later, rate_hz=self.rate_hz / steps, **tiled)

    def step(self, steps: int) -> ActionSpec:
        """The inverse of :meth:`block`: what each of the `steps` actions means."""
        size = self.size // steps
        keys = ("names", "units", "low", "high", "q01", "q99")
        first = {key: getattr(self, key)[:size] for key in keys}
        return replace(self, rate_hz=self.rate_hz * steps, **first)

    def middle_and_half(self) -> tuple[list[float], list[float]]:
        """Of q01..q99, A entries each: what 0 stands for, and the distance from 0 to 1.

        Raises:
            ValueError: the specification has no statistics.
        """
        if not self.q01:
            raise ValueError(f"the actions {self.names} have no q01 and q99; {_MEASURE}")
        pairs = list(zip(self.q01, self.q99, strict=True))
        return [(a + b) / 2 for a, b in pairs], [(b - a) / 2 for a, b in pairs]


@dataclass(frozen=True)
class StateSpec(_Entries):
    """Names and statistics of a proprioceptive state of P entries."""

    mean: tuple[float, ...] = ()  # P entries; () where nobody measured them
    std: tuple[float, ...] = ()  # P entries, above 0

    def __post_init__(self) -> None:
        if not self.mean and not self.std:
            return
        if not len(self.names) == len(self.mean) == len(self.std):
            raise ValueError(
                f"StateSpec has {len(self.names)} names, {len(self.mean)} means and "
                f"{len(self.std)} standard deviations; give one each"
            )
        if any(not 0 < value < _GREATEST for value in self.std):
            raise ValueError(
                f"StateSpec.std is {self.std}; every entry must be above 0, and finite"
            )
        if any(not abs(value) < _GREATEST for value in self.mean):
            raise ValueError(f"StateSpec.mean is {self.mean}; give finite numbers")

    def normalize(self, states: Array) -> Array:
        """(states - mean) / std, for states (..., P) of either type.

        Raises:
            ValueError: the specification has no statistics.
        """
        self._require_statistics()
        normalized: Array = (states - _as(states, self.mean)) / _as(states, self.std)
        return normalized

    def denormalize(self, states: Array) -> Array:
        """Inverse of :meth:`normalize`."""
        self._require_statistics()
        restored: Array = states * _as(states, self.std) + _as(states, self.mean)
        return restored

    def require_match(self, other: StateSpec, ours: str, theirs: str) -> None:
        """Refuse another specification with other entries.

        Raises:
            ValueError: names both sides.
        """
        if self.names != other.names:
            raise ValueError(
                f"the proprioception of {ours} holds {self.names} but that of {theirs} "
                f"holds {other.names}; use data and weights of one kind"
            )

    def with_statistics(self, states: NDArray[np.float32]) -> StateSpec:
        """The same names with mean and standard deviation measured on states (n, P).

        An entry that hardly varies keeps a deviation of 1e-3, so that normalising it stays tame.
        """
        std = np.maximum(states.std(axis=0, dtype=np.float64), 1e-3)
        mean = states.mean(axis=0, dtype=np.float64)
        return replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def _require_statistics(self) -> None:
        if not self.mean:
            raise ValueError(f"the states {self.names} have no mean and std; {_MEASURE}")


_QUARTER_PI = float(np.pi / 4)

RT1_ACTIONS = ActionSpec(
    names=("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
    units=("m", "m", "m", "rad", "rad", "rad", "1"),
    frame="robot base axes, displacement of the tool",
    rotation="axis-angle",
    gripper="relative, +1 closes, -1 opens, 0 keeps",
    rate_hz=3.0,
    low=(-0.25, -0.25, -0.25, -_QUARTER_PI, -_QUARTER_PI, -_QUARTER_PI, -1.0),
    high=(0.25, 0.25, 0.25, _QUARTER_PI, _QUARTER_PI, _QUARTER_PI, 1.0),
    q01=(-0.2245353, -0.1482001, -0.2315897, -0.3517995, -0.4193011, -0.4364346, -1.0),
    q99=(0.1782469, 0.1493838, 0.2184235, 0.5892666, 0.3527266, 0.4479668, 1.0),
)
"""RT-1's 7-D action; quantiles of fractal20220817_data (87,212 episodes), gripper -1..1."""

RT1_STATE = StateSpec(
    names=("x", "y", "z", "qx", "qy", "qz", "qw", "gripper_closed"),
    mean=(
        0.55990207,
        -0.08333853,
        0.77709264,
        -0.24803676,
        0.49517107,
        0.09266143,
        0.20975487,
        0.42613456,
    ),
    std=(
        0.12432781,
        0.11558882,
        0.24595776,
        0.51269829,
        0.52181011,
        0.16630392,
        0.27548411,
        0.45544860,
    ),
)
"""RT-1's base_pose_tool_reached and gripper_closed; statistics of fractal20220817_data."""
