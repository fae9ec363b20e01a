"""Steps whose numbers are not finite are skipped, up to a limit."""

from __future__ import annotations

from collections.abc import Sequence

from .ranks import Ranks


def require_few_skipped(
    skipped: int, limit: int, step: int, episodes: Sequence[str], ranks: Ranks
) -> None:
    """Stop a run that skipped more steps than it may; every rank must call it.

    Args:
        skipped: steps skipped so far, `step` being the last of them.
        episodes: of this rank's clips at `step`.

    Raises:
        RuntimeError: names the episodes of all ranks' clips.
    """
    if skipped <= limit:
        return
    named = sorted({name for part in ranks.gather(tuple(episodes)) for name in part})
    raise RuntimeError(
        f"the loss or its gradient is not finite at step {step}, the {skipped}. step to be "
        f"skipped, and trainer.max_skipped={limit}; look at the episodes of its clips: "
        f"{', '.join(named)}; or lower trainer.learning_rate"
    )
