"""How well a cost orders candidates, and what is gained by the one that it chooses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.world_model.rank_correlation import rank_correlation

Values = NDArray[np.float64]

_MOST = 8.0  # a gain beyond it counts as it


@dataclass(frozen=True)
class Bank:
    """K candidates of one state, each entry lower is better.

    `nothing` is the true cost of doing nothing instead.
    """

    truth_K: Values
    again_K: Values | None
    true_frames_K: Values | None
    imagined_K: Values
    nothing: float
    holds_success: bool


def scored(banks: list[Bank], rng: np.random.Generator) -> dict[str, float | None]:
    """Means over the banks of one spread; None where nothing can be said.

    `true_frames`, `imagined`, `noise` and `shuffled` are rank correlations with the truth: of the
    world model's cost on true and on imagined frames, of the truth measured again, and of costs
    dealt out anew. `gain_*` is what the chosen candidate saves on the mean one, `regret_*` what the
    best one would have saved on it, in the truth's unit, each bank's at most 8; `success_share` are
    the banks in which some candidate succeeds.
    """
    truth = [bank.truth_K for bank in banks]
    columns: dict[str, list[Values | None]] = {
        "true_frames": [bank.true_frames_K for bank in banks],
        "imagined": [bank.imagined_K for bank in banks],
        "noise": [bank.again_K for bank in banks],
        "shuffled": [np.asarray(rng.permutation(bank.imagined_K)) for bank in banks],
    }
    found: dict[str, float | None] = {"banks": float(len(banks))}
    for name, costs in columns.items():
        pairs = [(c, t) for c, t in zip(costs, truth, strict=True) if c is not None]
        found[name] = _mean([rank_correlation(c, t) for c, t in pairs])
        chosen = [float(t[int(np.argmin(c))]) for c, t in pairs]
        saved = [_gain(t, got) for got, (_, t) in zip(chosen, pairs, strict=True)]
        found[f"gain_{name}"] = _mean(saved)
        lost = [_gain(t, t.min()) - gain for gain, (_, t) in zip(saved, pairs, strict=True)]
        found[f"regret_{name}"] = _mean(lost)
    found["gain_best"] = _mean([_gain(t, t.min()) for t in truth])
    found["gain_nothing"] = _mean([_gain(bank.truth_K, bank.nothing) for bank in banks])
    found["success_share"] = _mean([float(bank.holds_success) for bank in banks])
    return found


def _gain(truth_K: Values, cost: float) -> float:
    """What a cost saves on the bank's mean; a lost candidate must not decide for all banks."""
    return float(np.clip(truth_K.mean() - cost, -_MOST, _MOST))


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def verdict(spread: str, found: dict[str, float | None], unit: str) -> str:
    """Which part loses, in one sentence."""
    best, true, imagined = (
        found[key] for key in ("gain_best", "gain_true_frames", "gain_imagined")
    )
    if best is None or imagined is None or best <= 0:
        return f"At spread {spread} all candidates are worth the same, so there is nothing to find."
    told = f"At spread {spread} the best candidate saves {best:.2f} ({unit}) on the mean one, "
    if true is None:
        return told + (
            f"the one chosen on imagined frames {imagined:.2f}; the world model cannot be shown "
            "true frames, so cost and imagination are not told apart."
        )
    cost, imagination = best - true, true - imagined
    loser = "the cost loses most" if cost >= imagination else "imagination loses most"
    if max(cost, imagination) < 0.005:
        loser = "neither loses anything"
    return told + (
        f"the one chosen on true frames {true:.2f}, on imagined ones {imagined:.2f}: the cost "
        f"loses {cost:.2f}, imagination {imagination:.2f}, so {loser}."
    )
