"""A probe is kept beside its model, and belongs to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_world import randn, world_model

from selfflow_robotics.world_model.probe import (
    StateProbe,
    load_probe,
    network_digest,
    seen_by_probe,
)

MODEL = world_model()
PROBE = StateProbe(
    ("x", "y"), 6, randn(3 * 32, 2, seed=1), randn(2, seed=2), network_digest(MODEL), (0.5, None)
)


def test_it_reads_the_mean_of_the_image_and_every_other_token() -> None:
    features = randn(4, 3, 8, 32, seed=3)
    seen = torch.cat((features[:, :, :6].mean(2), features[:, :, 6], features[:, :, 7]), dim=-1)
    torch.testing.assert_close(seen_by_probe(features, 6), seen)
    torch.testing.assert_close(PROBE(features), seen @ PROBE.weight_FP + PROBE.bias_P)


def test_bfloat16_around_it_changes_nothing() -> None:
    features = randn(2, 8, 32, seed=3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = PROBE(features)
    torch.testing.assert_close(inside, PROBE(features), rtol=0, atol=0)


def test_it_comes_back_by_folder_and_by_its_name_beside_the_model(tmp_path: Path) -> None:
    MODEL.save_pretrained(str(tmp_path / "model"))
    stored = world_model().from_pretrained(str(tmp_path / "model"))
    PROBE.save(tmp_path / "model" / "probes" / "state")
    stored.save_pretrained(str(tmp_path / "model"))  # the model may be written again
    by_name = load_probe(stored, "state", str(tmp_path / "model"))
    by_folder = load_probe(stored, str(tmp_path / "model" / "probes" / "state"))
    for found in (by_name, by_folder):
        assert (found.names, found.held_out_r2) == (PROBE.names, PROBE.held_out_r2)
        torch.testing.assert_close(found.weight_FP, PROBE.weight_FP, rtol=0, atol=0)
        torch.testing.assert_close(found.bias_P, PROBE.bias_P, rtol=0, atol=0)


def test_another_models_probe_is_refused(tmp_path: Path) -> None:
    PROBE.save(tmp_path / "probe")
    with pytest.raises(ValueError, match="fitted to another model"):
        load_probe(world_model(seed=1), str(tmp_path / "probe"))


def test_a_model_is_not_its_own_probe_and_what_lacks_is_named(tmp_path: Path) -> None:
    MODEL.save_pretrained(str(tmp_path / "model"))
    with pytest.raises(ValueError, match="give a probe's folder"):
        load_probe(MODEL, str(tmp_path / "model"))
    with pytest.raises(FileNotFoundError, match="no probe hand"):
        load_probe(MODEL, "hand", str(tmp_path / "model"))


def test_a_damaged_probe_is_an_error_that_names_it(tmp_path: Path) -> None:
    replace(PROBE, weight_FP=torch.zeros(0, 2)).save(tmp_path / "probe")
    with pytest.raises(ValueError, match="do not fit"):
        load_probe(MODEL, str(tmp_path / "probe"))
    config = tmp_path / "probe" / "config.json"
    config.write_text(config.read_text().replace('"names"', '"nams"'))
    with pytest.raises(ValueError, match="wrong entry"):
        load_probe(MODEL, str(tmp_path / "probe"))
