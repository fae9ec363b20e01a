"""What a run shows of itself: TensorBoard's curves and a progress bar."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

_T = TypeVar("_T")
_IN_BAR = ("loss", "video", "action", "cosine", "data_wait", "skipped")


class Curves:
    """Curves in `folder` and a bar from `step` to `steps`; neither where not `shown`.

    Points after `step`, of a run that was killed and now goes on from there, are hidden.
    """

    def __init__(self, folder: Path, step: int, steps: int, *, shown: bool = True) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1) if shown else None
        self._bar = tqdm(total=steps, initial=step, desc="training", unit="step", disable=not shown)
        self._began, self._waited = time.monotonic(), 0.0

    def wait_for(self, batches: Iterator[_T]) -> _T:
        """The next batch; the wait for it becomes the curve `data_wait`, a share of all time."""
        asked = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - asked
        self._bar.update()
        return batch

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Points of training."""
        wait = self._waited / (time.monotonic() - self._began)
        values = {**values, "data_wait": wait}
        self._bar.set_postfix({k: f"{values[k]:.3g}" for k in _IN_BAR if values.get(k)})
        self._write("train", values, step)

    def add_held_out(self, values: Mapping[str, float], step: int) -> None:
        """Points of held-out figures, which are printed as well."""
        tqdm.write(f"step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items()))
        self._write("held-out", values, step)

    def _write(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._writer is not None:
            for key, value in values.items():
                self._writer.add_scalar(f"{group}/{key}", value, step)

    def flush(self) -> None:
        """Points so far survive a kill."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Nothing follows."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()
