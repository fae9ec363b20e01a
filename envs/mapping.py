"""What a policy is shown of an environment, and how other people's are read and written."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.images.eight_bit import eight_bit
from selfflow_robotics.storage.keys import key


@dataclass(frozen=True)
class Observations:
    """What B environments show now."""

    image: NDArray[np.uint8]  # (B, height, width, 3)
    instruction: tuple[str, ...]  # B texts; empty where there is none
    proprioception: NDArray[np.float32] | None  # (B, P)


@dataclass(frozen=True)
class EnvMapping:
    """Where an environment keeps what a policy reads, and what its action entries mean.

    The defaults describe the tasks of this project. Entry i of the environment's action is
    ``scale[i] * action[take[i]] + offset[i]``, clipped to its Box.

    Example:
        >>> mapping = EnvMapping(image=None, text="reach", take=(0, 1, 6), scale=(4.0, 4.0, -1.0))
        >>> mapping.to_environment(np.ones((1, 7)), gymnasium.spaces.Box(-9, 9, (3,)))
        array([[ 4.,  4., -1.]], dtype=float32)
    """

    image: str | None = key(
        "key of a task's observations; null: they are the image itself", "image"
    )
    instruction: str | None = key("key of the instruction; null: it is mapping.text", "instruction")
    text: str = key("the instruction; where given, mapping.instruction is not read", "")
    proprioception: str | None = key(
        "key of the robot's state; null: there is none", "proprioception"
    )
    take: tuple[int | None, ...] | None = key(
        "the policy's entry for each of the task's; in it, null: offset alone", None
    )
    scale: tuple[float, ...] | None = key(
        "factor of each entry of the task's action; null: 1", None, least=None
    )
    offset: tuple[float, ...] | None = key(
        "added to each entry of the task's action; null: 0", None, least=None
    )

    def check(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        action_size: int,
    ) -> None:
        """Refuse an environment this mapping does not fit, before anything runs in it.

        Args:
            observation_space, action_space: of a single environment.
            action_size: A, entries of the policy's actions.

        Raises:
            ValueError: names what is lacking and what there is.
        """
        none = ", or give null (None in Python) for none"
        told = ", give the instruction itself as mapping.text" + none
        instead = {"image": "", "instruction": told, "proprioception": none}
        for role, name in (
            ("image", self.image),
            ("instruction", None if self.text else self.instruction),
            ("proprioception", self.proprioception),
        ):
            if name is None:
                continue
            if not isinstance(observation_space, gymnasium.spaces.Dict):
                raise ValueError(
                    f"the mapping takes the {role} from the key {name!r}, but observations are no "
                    f"dictionary: {observation_space}; give mapping.{role}=null (None in Python)"
                )
            if name not in observation_space.spaces:
                raise ValueError(
                    f"the mapping takes the {role} from the key {name!r}, which observations lack; "
                    f"they have {sorted(observation_space.spaces)}: name one in mapping.{role}"
                    + instead[role]
                )
        self._action_plan(action_space, action_size)

    def to_environment(
        self, actions: NDArray[np.float32], action_space: gymnasium.Space[Any]
    ) -> NDArray[Any]:
        """Actions of a policy as those of the environment.

        Args:
            actions: (B, A), the policy's units.
            action_space: of a single environment.

        Returns:
            (B, entries of the Box), of its type, inside its bounds.

        Raises:
            ValueError: an action space that is no one-dimensional Box, or a mapping that does not
                fit it.
        """
        box, take, scale, offset = self._action_plan(action_space, actions.shape[-1])
        taken = [np.zeros(len(actions)) if i is None else actions[:, i] for i in take]
        mapped = np.stack(taken, axis=-1) * np.asarray(scale) + np.asarray(offset)
        inside: NDArray[Any] = np.clip(mapped.astype(box.dtype), box.low, box.high)
        return inside

    def from_environment(self, actions: NDArray[Any], action_size: int) -> NDArray[np.float32]:
        """Actions (B, entries of the Box) as those (B, action_size) of a policy.

        Inverse of :meth:`to_environment` within the Box; entries that the environment does not take
        are 0.
        """
        count = actions.shape[-1]
        take = range(count) if self.take is None else self.take
        scale, offset = self.scale or (1.0,) * count, self.offset or (0.0,) * count
        found = np.zeros((len(actions), action_size), np.float32)
        for i, entry in enumerate(take):
            if entry is not None and scale[i]:
                found[:, entry] = (actions[:, i] - offset[i]) / scale[i]
        return found

    def _action_plan(
        self, action_space: gymnasium.Space[Any], action_size: int
    ) -> tuple[gymnasium.spaces.Box, tuple[int | None, ...], tuple[float, ...], tuple[float, ...]]:
        if not isinstance(action_space, gymnasium.spaces.Box) or len(action_space.shape) != 1:
            raise ValueError(
                f"the action space {action_space} is not supported: policies give vectors of real "
                "numbers; wrap the environment so that it takes a one-dimensional Box"
            )
        take = tuple(range(action_size)) if self.take is None else self.take
        size = action_space.shape[0]
        scale = (1.0,) * size if self.scale is None else self.scale
        offset = (0.0,) * size if self.offset is None else self.offset
        for name, given in (("take", take), ("scale", scale), ("offset", offset)):
            if len(given) != size:
                raise ValueError(
                    f"mapping.{name} covers {len(given)} action entries, the environment has "
                    f"{size}: {action_space}; give one each (the policy's actions have "
                    f"{action_size})"
                )
        for name, given in (("scale", scale), ("offset", offset)):
            if not np.isfinite(given).all():
                raise ValueError(f"mapping.{name} is {given}; give finite numbers")
        wrong = [i for i in take if i is not None and not 0 <= i < action_size]
        if wrong:
            raise ValueError(
                f"mapping.take names the action entry {wrong[0]}; the policy's actions have "
                f"the entries 0 to {action_size - 1}"
            )
        return action_space, take, scale, offset


def observe_env(observation: Any, mapping: EnvMapping, *, vectorized: bool = True) -> Observations:
    """What a Gymnasium environment returned, as policies read it.

    Images keep their size: a policy fits them to what its model sees. With its default shared
    memory, Gymnasium's AsyncVectorEnv never updates texts: make it with ``shared_memory=False``
    where the environment gives the instruction.

    Args:
        observation: of a vector environment, or of a single one.
        mapping: where things are in it.
        vectorized: whether the observation has the axis of a vector environment.

    Raises:
        ValueError: a key is missing, or the image is none.
    """
    image = np.asarray(_entry(observation, mapping.image, "image"))
    image = image if vectorized else image[None]
    called = "the image" if mapping.image is None else f"the image {mapping.image!r}"
    try:
        if image.ndim != 4:
            raise ValueError(f"{called} has shape {image.shape[1:]}; give (height, width, 3)")
        image = eight_bit(image, called)
    except ValueError as error:
        raise ValueError(
            f"{error}, choose another key in mapping.image, or wrap the environment"
        ) from None
    instruction = (mapping.text,) * len(image)
    if mapping.instruction is not None and not mapping.text:
        texts = _entry(observation, mapping.instruction, "instruction")
        listed = texts if vectorized else [texts]
        instruction = tuple(_text(text, mapping.instruction) for text in listed)
    proprioception = None
    if mapping.proprioception is not None:
        told = _entry(observation, mapping.proprioception, "proprioception")
        try:
            proprioception = np.asarray(told, dtype=np.float32).reshape(len(image), -1)
        except (TypeError, ValueError):
            raise ValueError(
                f"the proprioception {mapping.proprioception!r} is no array of numbers but "
                f"{type(told).__name__}; name another key in mapping.proprioception, or wrap the "
                "environment"
            ) from None
    return Observations(image, instruction, proprioception)


def _text(value: Any, key: str) -> str:
    """An instruction, alone or in an array of one entry, perhaps as bytes in UTF-8."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    with suppress(UnicodeDecodeError):
        value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise ValueError(
            f"the instruction {key!r} is no text but {value!r:.60}; name another key in "
            "mapping.instruction, or null (None in Python) and give mapping.text"
        )
    return value


def _entry(observation: Any, key: str | None, role: str) -> Any:
    if key is None:
        return observation
    try:
        return observation[key]
    except (KeyError, IndexError, TypeError):
        there = sorted(observation) if isinstance(observation, dict) else type(observation).__name__
        raise ValueError(
            f"the observation lacks the {role} {key!r}; it has {there}: "
            f"name the right key in mapping.{role}"
        ) from None
