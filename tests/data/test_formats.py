from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tiny_dataset import write_dataset

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.storage.typed_yaml import ConfigError

OWN = '''
from dataclasses import replace
from selfflow_robotics.data.formats import open_dataset

class Backwards:
    """A data set whose frames come last to first; it knows no mapping."""

    def __init__(self, path, mapping, split):
        self.inner, self.split = open_dataset(path / "stored", "rt1", split), split
        self.name, self.image_size = f"backwards {split}", self.inner.image_size
        self.action_spec, self.state_spec = self.inner.action_spec, self.inner.state_spec
        self.identity = {**self.inner.identity, "backwards": True}

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        if index == 2:
            raise ValueError("episode train/2 is unreadable; copy it again")
        episode = self.inner[index]
        return replace(episode, images=episode.images[::-1].copy())
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a class in the working folder, which reads the folder "data"."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"my_format_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    write_dataset(tmp_path / "data" / "stored", 3)
    return f"{name}:Backwards"


def test_a_class_of_ones_own_reads_a_folder(own: str) -> None:
    found, stored = open_dataset("data", own), open_dataset("data/stored")
    assert (found[1].images == stored[1].images[::-1]).all() and found.split == "train"
    with pytest.raises(ConfigError, match=r"data\.mapping=.*:Sideways: the module .* has no class"):
        open_dataset("data", own.replace("Backwards", "Sideways"))


def test_its_episodes_are_checked(own: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "data=data", f"data.mapping={own}"]) == 1
    said = capfd.readouterr()
    assert re.search(r"train +2 episodes +12 steps .* 1 faults", said.out)
    assert "episode train/2 is unreadable; copy it again" in said.err
