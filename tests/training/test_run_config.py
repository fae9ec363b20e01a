from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from selfflow_robotics.training.config import ObjectiveConfig, PriorTraining, TrainerConfig
from selfflow_robotics.training.run_config import RunSettings


@dataclass(frozen=True)
class Config:
    out: Path
    start: Path | None = None
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    prior: PriorTraining = field(default_factory=PriorTraining)


def begun(folder: Path) -> Config:
    """A run that has a checkpoint."""
    config = Config(folder)
    RunSettings.of(folder, vars(config), {"data.identity": ["a", 3]}).write()
    (folder / "checkpoints" / "step-00000005").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000005" / ".metadata").write_bytes(b"")
    return config


def test_the_same_run_goes_on_longer_elsewhere_and_with_another_prior(tmp_path: Path) -> None:
    config = begun(tmp_path)
    longer = replace(
        config,
        out=tmp_path / "moved",
        trainer=replace(config.trainer, steps=9000, save_every=7, keep=3, accumulate=2),
        prior=PriorTraining(steps=0),
    )
    RunSettings.of(tmp_path, vars(longer), {"data.identity": ["a", 3]}).require_same()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("objective", "name", "sra"),
        ("objective", "distribution", "logit-normal"),
        ("objective", "shift", 1.0),
        ("trainer", "batch_size", 8),
        ("trainer", "learning_rate", 1e-4),
        ("trainer", "seed", 5),
        ("trainer", "frames", 7),
    ],
)
def test_another_run_is_refused_with_what_differs(
    tmp_path: Path, section: str, key: str, value: object
) -> None:
    config = begun(tmp_path)
    other = replace(config, **{section: replace(getattr(config, section), **{key: value})})
    with pytest.raises(ValueError, match=rf"of another run: {section}\.{key} was .* and is "):
        RunSettings.of(tmp_path, vars(other), {"data.identity": ["a", 3]}).require_same()


def test_other_data_are_another_run_and_nothing_begun_is_none(tmp_path: Path) -> None:
    config = begun(tmp_path / "begun")
    with pytest.raises(ValueError, match=r'data\.identity was \["a", 3\] and is \["b", 3\]'):
        RunSettings.of(tmp_path / "begun", vars(config), {"data.identity": ["b", 3]}).require_same()
    RunSettings.of(tmp_path / "new", vars(config), {}).require_same()


def test_damaged_settings_are_a_sentence(tmp_path: Path) -> None:
    config = begun(tmp_path)
    for content in ("{", "[]", ""):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config\.json is damaged"):
            RunSettings.of(tmp_path, vars(config), {}).require_same()


def test_a_run_begun_as_a_job_with_its_settings_among_the_others_goes_on(tmp_path: Path) -> None:
    config = begun(tmp_path)
    before = {**vars(config), "slurm.hours": 24.0, "slurm.nodes": 2}
    RunSettings.of(tmp_path, before, {"data.identity": ["a", 3]}).write()
    RunSettings.of(tmp_path, vars(config), {"data.identity": ["a", 3]}).require_same()
