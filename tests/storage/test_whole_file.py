"""Files and folders appear whole, and what killed writers left goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from selfflow_robotics.storage.whole_file import beside, require_writable, write_whole
from selfflow_robotics.storage.whole_folder import whole_folder

HOLD = """
import sys
from pathlib import Path
from selfflow_robotics.storage.whole_file import beside
from selfflow_robotics.storage.whole_folder import whole_folder
with beside(Path(sys.argv[1]), folder=sys.argv[2] == "folder") as partial:
    (partial / "half" if partial.is_dir() else partial).write_text("half")
    print(flush=True)
    sys.stdin.read()
"""


def writer(path: Path, kind: str) -> subprocess.Popen[str]:
    """Another process in the middle of writing."""
    command = [sys.executable, "-c", HOLD, str(path), kind]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    return process


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_and_that_of_one_that_goes_on_stays(
    tmp_path: Path, kind: str
) -> None:
    path, other = tmp_path / "new [1]", tmp_path / "new"
    for name in (path, other):
        killed = writer(name, kind)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    running = writer(path, kind)
    with beside(path, folder=kind == "folder") as partial:
        names = {entry.name for entry in tmp_path.iterdir()}
        assert len(names) == 3 and partial.name in names  # ours, that of the running one, other's
    running.communicate("")
    with beside(other, folder=kind == "folder"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    for content in ("text", b"bytes", lambda path: path.write_text("called")):
        write_whole(tmp_path / "deep" / "whole", content)
    assert (tmp_path / "deep" / "whole").read_text() == "called"
    assert os.stat(tmp_path / "deep" / "whole").st_mode == os.stat(tmp_path / "plain").st_mode
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["whole"]


def test_a_full_disk_is_a_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")

    def fill(partial: Path) -> None:
        partial.write_text("half")
        with open("/dev/full", "w") as full:
            full.write("half")

    with pytest.raises(OSError, match=r"kept could not be written .*make room on its disk"):
        write_whole(path, fill)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_file_in_place_of_a_folder_above_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(NotADirectoryError, match=r"notes is a file, no folder$"):
        require_writable(tmp_path / "notes" / "deep" / "video.mp4")


def test_a_folder_appears_when_its_block_succeeds_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "set"
    with pytest.raises(KeyError), whole_folder(path) as partial:
        (partial / "half").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(path) as partial:
        (partial / "whole").touch()
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["whole"]
    with pytest.raises(FileExistsError, match="set exists already"), whole_folder(path):
        pass
