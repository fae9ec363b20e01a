"""A model's folder: believed where its files agree, changed whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

import pytest
import torch
from tiny_world import world_model

from selfflow_robotics.storage.notice import Notice
from selfflow_robotics.world_model.world_model import WorldModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    world_model().save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


def forget_checksum(folder: Path) -> None:
    """As older models are."""
    entries = json.loads((folder / "config.json").read_text())
    del entries["weights_sha256"]
    (folder / "config.json").write_text(json.dumps(entries))


@pytest.mark.filterwarnings("ignore:.*has no checksum")
def test_truncated_weights_without_a_checksum_are_a_sentence(folder: Path) -> None:
    forget_checksum(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated.*copy it again"):
        WorldModel.from_pretrained(str(folder))


def test_a_changed_byte_is_a_sentence_and_a_model_without_checksum_is_told_of(
    folder: Path,
) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"model\.safetensors is .*damaged"):
        WorldModel.from_pretrained(str(folder))
    weights.write_bytes(whole)
    forget_checksum(folder)
    with pytest.warns(Notice, match=r"config\.json has no checksum of its weights"):
        WorldModel.from_pretrained(str(folder))


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    broken = world_model()
    with torch.no_grad():
        broken.network.blocks[1].mlp[0].weight[0, 0] = torch.nan  # type: ignore[index,union-attr]
    broken.save_pretrained(str(tmp_path / "broken"))
    with pytest.raises(ValueError, match=r"not finite, in network\.blocks\.1\.mlp\.0\.weight"):
        WorldModel.from_pretrained(str(tmp_path / "broken"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", 2 * 10**5),
        ("depth", 10**9),
        ("heads", 0),
        ("heads", "2"),
        ("mlp_ratio", 1e12),
        ("grid", [10**6, 10**6]),
        ("grid", [2, -3]),
        ("vocabulary", 10**12),
        ("action_dim", 2**62),
        ("token_dim", None),
        ("width", True),
    ],
)
def test_sizes_of_a_configuration_are_those_of_its_weights(
    folder: Path, key: str, value: object
) -> None:
    """Each would take more memory or time than there is, were it believed."""
    entries = json.loads((folder / "config.json").read_text())
    entries["network"][key] = value
    (folder / "config.json").write_text(json.dumps(entries))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"config\.json"):
        WorldModel.from_pretrained(str(folder))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def save_until(model: WorldModel, folder: Path, step: int) -> bool:
    """Save in a process that ends, without a word, before its step on the disk of that number.

    Returns:
        Whether it ended before it was done.
    """
    child = os.fork()
    if child == 0:
        left = step

        def watch(event: str, given: tuple[object, ...]) -> None:
            nonlocal left
            if event in ("open", "os.rename", "os.chmod", "os.remove", "os.mkdir", "os.rmdir"):
                left -= str(folder) in str(given[0])
                if left < 0:
                    os._exit(9)

        sys.addaudithook(watch)
        model.save_pretrained(str(folder))
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def test_a_model_is_the_old_one_or_the_new_one_wherever_its_writer_is_killed(
    tmp_path: Path,
) -> None:
    old, new = world_model(0), world_model(1)
    expected = {}
    for name, model in (("old", old), ("new", new)):
        model.save_pretrained(str(tmp_path / name))
        expected[name] = WorldModel.from_pretrained(str(tmp_path / name)).state_dict()
    seen, step, killed = [], 0, True
    while killed:
        folder = tmp_path / f"killed-{step}"
        old.save_pretrained(str(folder))
        (folder / "training").mkdir()
        (folder / "README.md").write_text("mine")
        killed = save_until(new, folder, step)
        found = WorldModel.from_pretrained(str(folder)).state_dict()
        same = [
            name
            for name, state in expected.items()
            if all(torch.equal(found[key], value) for key, value in state.items())
        ]
        assert len(same) == 1, step
        seen += same
        assert save_until(new, folder, 1)  # again
        WorldModel.from_pretrained(str(folder))
        new.save_pretrained(str(folder))  # leaves nothing of those before
        names = {"config.json", "model.safetensors", "README.md", "training"}
        assert {path.name for path in folder.iterdir()} == names
        step += 1
    assert seen == ["old"] * seen.count("old") + ["new"] * seen.count("new")
    assert seen.count("old") > 4 and seen.count("new") > 1


def test_a_new_model_that_is_cut_short_is_no_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert save_until(world_model(), folder, 3)
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        WorldModel.from_pretrained(str(folder))
    world_model().save_pretrained(str(folder))
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_words_are_as_many_as_the_network_knows(folder: Path) -> None:
    entries = json.loads((folder / "config.json").read_text())
    entries["vocabulary"].pop()
    (folder / "config.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=r"config\.json .* vocabulary has \d+ entries"):
        WorldModel.from_pretrained(str(folder))


def test_what_a_killed_writer_left_does_not_make_it_another_folder(folder: Path) -> None:
    (folder / ".config.json-x7a_1b2c-partial").write_text("{")
    world_model().save_pretrained(str(folder))
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
