"""Checkpoints on disk: complete or not there, of any number of ranks, with checksums.

A checkpoint is a folder `step-00000500` that torch.distributed.checkpoint writes: a file a rank,
then `.metadata`, by renaming. A folder without `.metadata` was cut short and counts for nothing.
Each tensor is a zip archive, whose checksums torch writes and does not read; `.metadata` ends in a
digest of itself. What is on a GPU is written in the background, from a copy; what is in a CPU's
memory is written while training waits, for the copy would be as large as all that training holds.
"""

from __future__ import annotations

import io
import pickle
import shutil
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import (
    FileSystemReader,
    FileSystemWriter,
    _StorageInfo,
)
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save

from ..storage.archives import require_intact
from .parallelize import local
from .ranks import Ranks

# A process that is alone is told so at each checkpoint.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable")

_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    (_StorageInfo.__module__, "_StorageInfo"): _StorageInfo,
    ("pathlib", "PosixPath"): PurePosixPath,
    ("pathlib._local", "PosixPath"): PurePosixPath,
    **{
        (dcp_metadata.__name__, name): getattr(dcp_metadata, name)
        for name in (
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    },
}


class _MetadataUnpickler(pickle.Unpickler):
    """Reads `.metadata`, a pickle, and refuses everything but the metadata of tensors in it."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"its metadata would run {module}.{name}")


class _Reader(FileSystemReader):
    """Reads tensors alone: torch's own reader would run code that a checkpoint's metadata names."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        path = Path(self.path) / ".metadata"
        content = path.read_bytes()
        file = io.BytesIO(content)
        found = _MetadataUnpickler(file).load()
        said = content[file.tell() :]
        if not said:
            warnings.warn(f"{path} has no checksum; damage to it may go unnoticed", stacklevel=2)
        elif said != _digest(content[: file.tell()]):
            raise pickle.UnpicklingError("its metadata is not what was written")
        if not isinstance(found, Metadata):
            raise pickle.UnpicklingError(f"its metadata is {type(found).__name__}")
        for name, entry in found.state_dict_metadata.items():
            if not isinstance(entry, dcp_metadata.TensorStorageMetadata):
                raise pickle.UnpicklingError(f"{name} is not a tensor")
        return found

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> torch.futures.Future[None]:
        for item in plan.items:
            stored: _StorageInfo = self.storage_data[item.storage_index]
            if PurePosixPath(stored.relative_path).name != stored.relative_path:
                raise ValueError(f"its metadata names {stored.relative_path}, outside of it")
            path, name = Path(self.path) / stored.relative_path, item.storage_index.fqn
            with path.open("rb") as file:
                file.seek(stored.offset)
                content = io.BytesIO(file.read(stored.length))
            try:
                require_intact(content)
            except ValueError as error:
                raise ValueError(f"{name} in {path.name}: {error}") from None
        return super().read_data(plan, planner)


class _Writer(FileSystemWriter):
    """Writes `.metadata` with its digest, which those who know of none pass over."""

    def finish(self, *args: Any, **kwargs: Any) -> None:
        super().finish(*args, **kwargs)
        path = Path(self.path) / ".metadata"
        digest = _digest(path.read_bytes())
        with path.open("ab") as file:
            file.write(digest)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


class _Planner(DefaultLoadPlanner):
    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        raise pickle.UnpicklingError(f"{read_item.dest_index.fqn} is not a tensor")


class Checkpoints:
    """The checkpoints of a run in one folder.

    Args:
        keep: how many of the last ones stay.
        keep_every: those of every so many steps stay as well; 0 for none.
        save_every: after how many steps they come. One in between, saved because training was asked
            to stop, goes once the next is there, so that a run leaves what it would have anyway.
    """

    def __init__(
        self,
        folder: Path,
        ranks: Ranks,
        keep: int = 2,
        keep_every: int = 0,
        save_every: int = 1,
    ) -> None:
        if keep < 1 or keep_every < 0:
            raise ValueError(
                f"trainer.keep={keep} and trainer.keep_every={keep_every}: keep at least 1, and "
                "every 0 (none) or more steps"
            )
        self.folder, self.ranks = folder, ranks
        self.keep, self.keep_every, self.save_every = keep, keep_every, save_every
        # Writing goes on beside training, so it must not share a group with it.
        self._group = dist.new_group(backend="gloo") if ranks.count > 1 else None
        self._writing: Future[Any] | None = None
        self._written: int | None = None

    def path(self, step: int) -> Path:
        """The folder of the checkpoint after that many steps."""
        return self.folder / f"step-{step:08}"

    def steps(self) -> list[int]:
        """Of which steps there are complete checkpoints, in order."""
        found = self.folder.glob("step-*/.metadata")
        return sorted(int(path.parent.name.removeprefix("step-")) for path in found)

    def latest(self) -> int | None:
        """The step of the last complete checkpoint, the same on every rank."""
        return self.ranks.gather(max(self.steps(), default=None))[0]

    def read(self, step: int, room: Callable[[set[str]], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Read a checkpoint into tensors, each rank its part.

        Args:
            room: gives the tensors to read into, for the names that the checkpoint holds.

        Raises:
            ValueError: it is damaged, of another model, or holds more than finite tensors.
        """
        path = self.path(step)
        try:
            reader = _Reader(str(path))
            names = set(reader.read_metadata().state_dict_metadata)
            tensors = room(names)
            if other := names ^ set(tensors):
                raise ValueError(f"{min(other)} is not in both, it and this model")
            load(
                tensors,
                storage_reader=reader,
                planner=_Planner(),
                process_group=self._group,
                no_dist=self.ranks.count == 1,
            )
            for name, value in tensors.items():
                if not local(value).isfinite().all():
                    raise ValueError(f"{name} holds numbers that are not finite")
        except (Exception, CheckpointException) as error:
            raise ValueError(
                f"{path} cannot be resumed ({_reason(error)}); remove it to go on from the one "
                "before it, or give the configuration it was made with"
            ) from None
        return tensors

    def save(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Write a checkpoint of the tensors as they are now, or begin to.

        Raises:
            OSError: it, or the one before, could not be written.
        """
        self.wait()
        path = self.path(step)
        if self.ranks.first:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_cut_short()
        self.ranks.wait()
        how: dict[str, Any] = {
            "storage_writer": _Writer(str(path)),
            "process_group": self._group,
            "no_dist": self.ranks.count == 1,
        }
        self._written = step
        if any(local(value).device.type != "cpu" for value in tensors.values()):
            self._writing = cast(Future[Any], async_save(tensors, **how))
            return
        self._writing = Future()
        try:
            self._writing.set_result(save(tensors, **how))
        except (Exception, CheckpointException) as error:
            self._writing.set_exception(error)
        self.wait()

    def wait(self) -> None:
        """Until the checkpoint that is being written is complete; those too many are removed."""
        if self._writing is None or self._written is None:
            return
        path = self.path(self._written)
        try:
            self._writing.result()
        except (Exception, CheckpointException) as error:
            raise OSError(
                f"{path} could not be written ({_reason(error)}); free some space or mend the "
                "disk and run again, it goes on from the checkpoint before"
            ) from None
        finally:
            self._writing = self._written = None
        if self.ranks.first:
            steps = self.steps()
            between = [step for step in steps[:-1] if step % self.save_every]
            old = [step for step in steps if step not in between][: -self.keep]
            for step in between + old:
                if not self.keep_every or step % self.keep_every:
                    # From here on it counts for nothing.
                    (self.path(step) / ".metadata").unlink()
                    shutil.rmtree(self.path(step))

    def _remove_cut_short(self) -> None:
        for path in set(self.folder.glob("step-*")) - {self.path(step) for step in self.steps()}:
            shutil.rmtree(path)


def _reason(error: BaseException) -> str:
    """The first line that says something, of an error that may wrap those of several ranks."""
    failures = getattr(error, "failures", None)
    if failures:
        wrapped = next(iter(failures.values()))
        error = wrapped[0] if isinstance(wrapped, tuple) else wrapped
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
