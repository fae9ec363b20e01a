"""The state is read out of features as well as a line can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import latent_episodes, world_model

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.training.probe import fit_probe, probe_rows

MODEL = world_model()
SPEC = MODEL.config.state_spec
assert SPEC is not None
TRAIN, HELD_OUT = latent_episodes((12,) * 60), latent_episodes((12,) * 12, seed=500)


def stating(episodes: LatentEpisodes, states: np.ndarray) -> LatentEpisodes:
    return replace(episodes, states=states.astype(np.float32))


def test_a_state_that_features_hold_is_read_in_its_own_units() -> None:
    probe = fit_probe(MODEL, TRAIN, HELD_OUT)
    assert probe.names == SPEC.names
    assert all(explained is not None and explained > 0.8 for explained in probe.held_out_r2)
    seen_SF, state_SP = probe_rows(MODEL, HELD_OUT)
    read_SP = seen_SF.float() @ probe.weight_FP + probe.bias_P
    left = (read_SP - SPEC.denormalize(state_SP.float())).square().mean(0)
    spread = SPEC.denormalize(state_SP.float()).var(0)
    explained = (1 - left / spread).numpy()
    np.testing.assert_allclose(explained, np.array(probe.held_out_r2, float), atol=0.02)


def test_it_is_the_least_squares_solution_with_ridge_rows_added() -> None:
    probe = fit_probe(MODEL, TRAIN, HELD_OUT, ridge=0.1)
    (seen, state), (tested, _) = (probe_rows(MODEL, side) for side in (TRAIN, HELD_OUT))
    seen, state, tested = seen.numpy(), state.numpy(), tested.numpy()
    mean, std, middle = seen.mean(0), seen.std(0, ddof=1), state.mean(0)
    pull = np.sqrt(0.1 * len(seen)) * np.eye(seen.shape[1])
    rows = np.concatenate([(seen - mean) / std, pull])
    values = np.concatenate([state - middle, np.zeros((len(pull), state.shape[1]))])
    solution, *_ = np.linalg.lstsq(rows, values, rcond=None)
    expected = SPEC.denormalize(((tested - mean) / std) @ solution + middle)
    ours = torch.from_numpy(tested).float() @ probe.weight_FP + probe.bias_P
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_an_entry_that_never_varies_explains_nothing() -> None:
    assert TRAIN.states is not None and HELD_OUT.states is not None
    still = TRAIN.states.copy(), HELD_OUT.states.copy()
    for states in still:
        states[:, 0] = 0.5
    probe = fit_probe(MODEL, stating(TRAIN, still[0]), stating(HELD_OUT, still[1]))
    assert probe.held_out_r2[0] is None
    assert probe.bias_P.isfinite().all()


def test_episodes_that_do_not_serve_are_errors() -> None:
    with pytest.raises(ValueError, match="actions and proprioception"):
        fit_probe(MODEL, replace(TRAIN, states=None), HELD_OUT)
    with pytest.raises(ValueError, match="no episode has the 7 frames"):
        fit_probe(MODEL, latent_episodes((5,)), HELD_OUT)
    with pytest.raises(ValueError, match="knows no proprioception"):
        fit_probe(world_model(states=False), TRAIN, HELD_OUT)
