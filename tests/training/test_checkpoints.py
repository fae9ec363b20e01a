from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata

from selfflow_robotics.training.checkpoints import Checkpoints
from selfflow_robotics.training.ranks import Ranks


def tensors(value: float = 1.0) -> dict[str, Tensor]:
    return {
        "step": torch.tensor(3),
        "weight": torch.full((5, 4), value),
        "half": torch.full((2,), value, dtype=torch.bfloat16),
        "empty": torch.zeros(0),
        "known": torch.tensor([True, False]),
    }


def zeros(names: set[str]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(value) for name, value in tensors().items()}


def written(folder: Path, *steps: int, **settings: int) -> Checkpoints:
    made = Checkpoints(folder, Ranks(), **settings)
    for step in steps:
        made.save(step, tensors(float(step)))
    made.wait()
    return made


def test_what_was_written_is_read(tmp_path: Path) -> None:
    made = written(tmp_path, 3, 7)
    assert made.latest() == 7
    for step in (3, 7):
        found = made.read(step, zeros)
        for name, value in tensors(float(step)).items():
            assert torch.equal(found[name], value), name
            assert found[name].dtype == value.dtype


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(tmp_path: Path) -> None:
    made, given = Checkpoints(tmp_path, Ranks()), tensors(1.0)
    given["weight"] = torch.ones(1000, 1000)
    made.save(1, given)
    given["weight"].fill_(2.0)  # training goes on while it is written
    made.wait()
    found = made.read(1, lambda _: {**zeros(set()), "weight": torch.zeros(1000, 1000)})
    assert (found["weight"] == 1).all()


def test_the_last_ones_and_every_so_manyth_stay(tmp_path: Path) -> None:
    made = written(tmp_path, *range(5, 45, 5), keep=2, keep_every=15)
    assert made.steps() == [15, 30, 35, 40]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:08}" for step in (15, 30, 35, 40)
    ]


def test_one_saved_on_being_stopped_goes_once_the_next_is_there(tmp_path: Path) -> None:
    made = written(tmp_path, 10, 20, 30, 34, save_every=10)
    assert made.steps() == [30, 34]
    again = written(tmp_path, 40, save_every=10)
    assert again.steps() == [30, 40], "as of a run that nothing stopped"
    assert written(tmp_path, 45, save_every=10).steps() == [40, 45], "the last step of all"


def test_a_checkpoint_that_was_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    made = written(tmp_path, 3, 7)
    (made.path(7) / ".metadata").unlink()  # written last
    assert made.latest() == 3
    assert made.path(7).exists()
    again = written(tmp_path, 9)
    assert not made.path(7).exists()
    assert again.steps() == [3, 9]


@pytest.mark.parametrize("setting", [{"keep": 0}, {"keep_every": -1}])
def test_keeping_none_is_a_sentence(tmp_path: Path, setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"trainer\.keep=.*keep at least 1"):
        Checkpoints(tmp_path, Ranks(), **setting)


@pytest.mark.parametrize("damage", ["truncated data", "no data", "truncated", "empty", "text"])
def test_damage_is_a_sentence(tmp_path: Path, damage: str) -> None:
    made = written(tmp_path, 3)
    (data,) = made.path(3).glob("*.distcp")
    metadata = made.path(3) / ".metadata"
    if damage == "no data":
        data.unlink()
    else:
        path = data if damage == "truncated data" else metadata
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "text": b"hello"}.get(damage, whole[: len(whole) // 2]))
    with pytest.raises(ValueError, match=r"step-00000003 cannot be resumed .*remove it to go on"):
        made.read(3, zeros)


def test_a_byte_that_changed_is_a_sentence(tmp_path: Path) -> None:
    """Of every byte of a checkpoint: told, or of no consequence."""
    made = written(tmp_path, 3)
    sound = tensors(3.0)
    for path in made.path(3).iterdir():
        whole = path.read_bytes()
        for place in range(0, len(whole), 13):
            changed = bytearray(whole)
            changed[place] ^= 0x40
            path.write_bytes(changed)
            try:
                found = made.read(3, zeros)
            except ValueError as error:
                assert "step-00000003 cannot be resumed" in str(error)
            else:
                assert path.suffix == ".distcp", place
                for name, value in sound.items():
                    assert torch.equal(found[name], value), (place, name)
        path.write_bytes(whole)
    assert torch.equal(made.read(3, zeros)["weight"], sound["weight"])


def test_numbers_that_are_not_finite_are_named(tmp_path: Path) -> None:
    made = written(tmp_path)
    made.save(3, {**tensors(), "half": torch.tensor([1.0, torch.nan], dtype=torch.bfloat16)})
    with pytest.raises(ValueError, match="half holds numbers that are not finite"):
        made.read(3, zeros)


def test_a_checkpoint_without_checksum_is_read_and_told_of(tmp_path: Path) -> None:
    made = written(tmp_path, 3)
    path = made.path(3) / ".metadata"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes())))
    with pytest.warns(UserWarning, match=r"\.metadata has no checksum"):
        assert torch.equal(made.read(3, zeros)["weight"], tensors(3.0)["weight"])


def test_saving_takes_no_copy_of_what_is_in_memory(tmp_path: Path) -> None:
    given = {f"weight{i}": torch.ones(2**20) for i in range(64)}  # 4 MiB each
    made = Checkpoints(tmp_path, Ranks())
    made.save(1, {"weight": torch.ones(2**20)})  # whatever is there for good
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made.save(2, given)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize("other", ["shape", "missing", "more"])
def test_another_model_is_a_sentence(tmp_path: Path, other: str) -> None:
    made, room = written(tmp_path, 3), zeros(set())
    if other == "shape":
        room["weight"] = torch.zeros(5, 3)
    elif other == "missing":
        room["bias"] = torch.zeros(2)
    else:
        del room["weight"]
    with pytest.raises(ValueError, match=r"cannot be resumed .*or give the configuration it was"):
        made.read(3, lambda _: room)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_metadata_that_would_run_code_is_refused(tmp_path: Path) -> None:
    made, target = written(tmp_path, 3), tmp_path / "owned"
    (made.path(3) / ".metadata").write_bytes(pickle.dumps(Malicious(target)))
    with pytest.raises(ValueError, match=r"its metadata would run (posix|nt)\.mkdir"):
        made.read(3, zeros)
    assert not target.exists()


def test_metadata_that_hides_code_among_tensors_is_refused(tmp_path: Path) -> None:
    made, target = written(tmp_path, 3), tmp_path / "owned"
    path = made.path(3) / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    metadata.planner_data = {"weight": Malicious(target)}
    path.write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match="its metadata would run"):
        made.read(3, zeros)
    assert not target.exists()


def test_a_pickle_instead_of_a_tensor_is_refused(tmp_path: Path) -> None:
    """Torch's reader unpickles whatever the metadata declares to be bytes."""
    made, target = written(tmp_path, 3), tmp_path / "owned"
    (data,) = made.path(3).glob("*.distcp")
    path = made.path(3) / ".metadata"
    metadata: Metadata = pickle.loads(path.read_bytes())
    metadata.state_dict_metadata["weight"] = BytesStorageMetadata()
    path.write_bytes(pickle.dumps(metadata))
    torch.save(Malicious(target), data)
    with pytest.raises(ValueError, match=r"would run .*BytesStorageMetadata"):
        made.read(3, zeros)
    assert not target.exists()


def test_tensor_data_that_would_run_code_is_refused(tmp_path: Path) -> None:
    made, target = written(tmp_path, 3), tmp_path / "owned"
    (data,) = made.path(3).glob("*.distcp")
    path = made.path(3) / ".metadata"
    torch.save(Malicious(target), data)
    metadata: Metadata = pickle.loads(path.read_bytes())
    assert isinstance(metadata.storage_data, dict)
    for stored in metadata.storage_data.values():
        stored.offset, stored.length = 0, data.stat().st_size
    path.write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match="cannot be resumed"):
        made.read(3, zeros)
    assert not target.exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    made = written(tmp_path, 3)
    (made.path(4) / ".metadata.tmp").mkdir(parents=True)  # writing there fails

    def keep_it(*_: object) -> None: ...

    made._remove_cut_short = keep_it  # type: ignore[method-assign]
    with pytest.raises(OSError, match=r"step-00000004 could not be written .*free some space"):
        made.save(4, tensors())
    assert made.latest() == 3
