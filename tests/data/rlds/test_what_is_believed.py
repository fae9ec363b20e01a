"""What a data set's own files say is taken for what it is: names stay names, sizes are checked."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rt1_material import sound_record, write_records

from selfflow_robotics.data.rlds.conversion import convert
from selfflow_robotics.data.rlds.metadata import DatasetInfo
from selfflow_robotics.data.rlds.record import texts
from selfflow_robotics.data.rlds.source import open_rlds
from selfflow_robotics.data.rlds.tfrecord import TFRecordWriter, _masked_crc, read_in_order


def changed(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/b", "..", "", 3, None, "c:\\d"])
def test_names_of_data_sets_and_splits_lead_nowhere(tmp_path: Path, name: object) -> None:
    path = write_records(tmp_path / "set", [sound_record()])
    content = json.loads((path / "dataset_info.json").read_text())
    for holder in (content, content["splits"][0]):
        kept, holder["name"] = holder["name"], name
        with pytest.raises(ValueError, match=r"here is damaged .* no part of a file's name"):
            DatasetInfo.parse(json.dumps(content), "here")
        holder["name"] = kept


def test_shards_of_another_folder_are_not_read(tmp_path: Path) -> None:
    here, there = (write_records(tmp_path / name, [sound_record()]) for name in ("a", "b"))
    for shard in here.glob("*array_record*"):
        shard.unlink()

    def lead_away(content: Any) -> None:
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        content["splits"][0]["filepathTemplate"] = f"../{there.name}/{template}"

    changed(here / "dataset_info.json", lead_away)
    with pytest.raises(FileNotFoundError, match="no array_record files of its split train"):
        open_rlds(here)


def test_nothing_is_imported_because_features_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harmless_module.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write_records(tmp_path / "set", [sound_record()])
    changed(
        path / "features.json",
        lambda content: content.update(pythonClassName="harmless_module.Feature"),
    )
    changed(
        path / "dataset_info.json", lambda content: content.update(moduleName="harmless_module")
    )
    for read in (lambda: open_rlds(path), lambda: convert(str(path), tmp_path / "out")):
        with pytest.raises(ValueError, match=r"set"):
            read()
    with pytest.raises(ValueError, match=r"features\.json .* class harmless_module\.Feature"):
        open_rlds(path)
    assert "harmless_module" not in sys.modules


@pytest.mark.parametrize("length", [2**40, 2**62, 2**63])
def test_lengths_in_a_file_make_no_room_for_themselves(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.tfrecord"
    writer = TFRecordWriter(path)
    writer.write(b"sound")
    writer.close()
    head = struct.pack("<Q", length)
    path.write_bytes(head + struct.pack("<I", _masked_crc(head)) + path.read_bytes()[12:])
    with path.open("rb") as file, pytest.raises(ValueError, match=r"a\.tfrecord is truncated"):
        list(read_in_order(file, path.name))


def test_instructions_as_arrays_of_one_text() -> None:
    assert texts(np.array([[b"push"], [b"pull"]], object), "here") == ("push", "pull")
    with pytest.raises(ValueError, match=r"here has instructions of shape \(1, 2\)"):
        texts(np.array([[b"push", b"pull"]], object), "here")
