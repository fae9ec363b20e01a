"""The most bytes that tensors take at a time, on any device: what an allocator is asked for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts the storages that operations give while the mode is on, until they are freed.

    Scratch inside a kernel goes unseen; so do the copies that checkpoints stage, which are host
    memory where the tensors are a GPU's.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._live: dict[int, weakref.ref[Any]] = {}
        for tensor in held:
            self._hold(tensor, tensor.untyped_storage().nbytes())

    def _hold(self, tensor: Tensor, size: int) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live and self._live[key]() is not None:
            return

        def freed(_: object) -> None:
            self._live.pop(key, None)
            self.now -= size

        self._live[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        staged = func is torch.ops.aten.set_.source_Storage
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._hold(tensor, 0 if staged else tensor.untyped_storage().nbytes())
        return out
