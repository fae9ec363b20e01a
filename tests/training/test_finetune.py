"""Training by a call, as a notebook does it; the commands' tests have the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_dataset import write_dataset

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, PriorTraining, TrainerConfig
from selfflow_robotics.training.finetune import finetune
from selfflow_robotics.world_model.world_model import WorldModel


def test_a_run_begun_by_a_call_is_that_of_the_command(tmp_path: Path) -> None:
    data, out = write_dataset(tmp_path / "data", 4), tmp_path / "world"
    stored.save(Patches(4), tmp_path / "tokenizer")
    given = {
        "tokenizer": Patches(4),
        "model": ModelConfig("tiny"),
        "trainer": TrainerConfig(steps=2, batch_size=2, frames=3, save_every=1),
        "prior": PriorTraining(steps=2),
    }
    trained = finetune(out, [open_dataset(data)], **given)  # type: ignore[arg-type]
    assert trained is not None and trained.prior is not None
    loaded = WorldModel.from_pretrained(str(out)).state_dict()
    for name, weight in trained.state_dict().items():
        torch.testing.assert_close(loaded[name], weight, atol=1e-2, rtol=1e-2, msg=name)
    words = [f"out={out}", f"data={data}", f"tokenizer={tmp_path / 'tokenizer'}", "prior.steps=2"]
    words += ["model=tiny", "trainer.steps=3", "trainer.batch_size=2", "trainer.frames=3"]
    assert main(["finetune", *words]) == 0
    assert (out / "training" / "checkpoints" / "step-00000003" / ".metadata").exists()
    kept = json.loads((out / "training" / "config.json").read_text())
    assert kept["trainer.steps"] == 3 and kept["data.path"] == [str(data)]


def test_no_source_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no episodes: add data=FOLDER"):
        finetune(tmp_path / "world", [])
    assert not list(tmp_path.iterdir())
