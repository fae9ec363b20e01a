"""A module made as a model's folder says, with the weights that lie there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from .model_folder import CONFIG, UNSTORED, WEIGHTS

_Module = TypeVar("_Module", bound=nn.Module)


def build_loaded(
    build: Callable[[], _Module], state: Mapping[str, Tensor], source: Path
) -> _Module:
    """A module, made as the folder's configuration says, with weights that must fit exactly.

    Shapes are compared before anything of their size is allocated. Fixed positions are not stored.

    Raises:
        ValueError: names the file and the first entry that does not fit.
    """
    try:
        with torch.device("meta"):
            own = _stored(build())
        _require_fit(own, state, source)
        module = build()
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise _wrong(source, error) from None
    except ValueError as error:
        raise (error if str(source) in str(error) else _wrong(source, error)) from None
    with torch.no_grad():
        for key, value in _stored(module).items():
            value.copy_(state[key])
    return module


def _stored(module: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in module.state_dict().items() if not k.endswith(UNSTORED)}


def _require_fit(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path) -> None:
    for key in sorted(own.keys() | state.keys()):
        expected = tuple(own[key].shape) if key in own else "absent"
        found = tuple(state[key].shape) if key in state else "absent"
        if expected != found:
            raise ValueError(
                f"{source / WEIGHTS} does not fit its {CONFIG}: {key} is {found}, expected "
                f"{expected}; copy both files of one model, or, where another version wrote "
                "them, train it anew with this one"
            )


def _wrong(folder: Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(
        f"{folder / CONFIG} lacks or has a wrong entry ({reason}); copy the model again"
    )
