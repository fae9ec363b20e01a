"""A part of a world model that is fitted after its network, once, and kept beside the run."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..storage.archives import require_intact
from ..storage.whole_file import write_whole


def keep_fitted(part: nn.Module, path: Path, made_with: Mapping[str, str]) -> None:
    """Write the weights, with what they depend on by what to call it."""
    kept = {"made_with": dict(made_with), "weights": part.state_dict()}
    write_whole(path, partial(torch.save, kept))


def take_fitted(
    name: str, part: nn.Module, path: Path, made_with: Mapping[str, str] | None = None
) -> bool:
    """Whether what :func:`keep_fitted` kept was made with just this; its weights are taken then.

    Args:
        made_with: None takes it whatever it was made with.

    Raises:
        ValueError: it is damaged.
    """
    if not path.exists():
        return False
    own = part.state_dict()
    try:
        require_intact(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
        then = found.get("made_with")
        if made_with is not None and then != made_with:
            known = then if isinstance(then, dict) else {}
            keys = sorted(known.keys() | made_with.keys())
            other = [key for key in keys if known.get(key) != made_with.get(key)]
            why = f"was made with other {', '.join(other)}" if known else "is an older version's"
            print(f"{path} {why}; the {name} is fitted anew", file=sys.stderr)
            return False
        state = found["weights"]
        for name, value in own.items():
            if state[name].shape != value.shape:
                there, here = tuple(state[name].shape), tuple(value.shape)
                raise ValueError(f"{name} is {there} there and {here} here")
            if not state[name].isfinite().all():
                raise ValueError(f"{name} holds numbers that are not finite")
        part.load_state_dict(state)
    except (
        *(AttributeError, EOFError, KeyError, TypeError, ValueError, RuntimeError),
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} cannot be gone on with ({reason}); remove it and run again, the {name} alone "
            "is fitted anew"
        ) from None
    return True


def digest_of(values: Sequence[object]) -> str:
    """16 hexadecimal digits of arrays and other values."""
    digest = blake2b(digest_size=8)
    for value in values:
        array = isinstance(value, np.ndarray)
        digest.update(np.ascontiguousarray(value).tobytes() if array else repr(value).encode())
    return digest.hexdigest()
