"""Where a conversion reads from: a folder of TFRecord shards, local or in object storage."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tensorflow_datasets as tfds

from selfflow_robotics.data.rlds.metadata import (
    FEATURES_FILE,
    INFO_FILE,
    DatasetInfo,
    read_features,
    shards_of,
)
from selfflow_robotics.data.rlds.shard_conversion import Shard
from selfflow_robotics.storage.remote_folder import RemoteFolder


@dataclass(frozen=True)
class ConversionSource:
    """A data set that TFDS wrote as TFRecord."""

    url: str
    metadata: dict[str, bytes]  # every small file beside the shards, by name
    info: DatasetInfo
    names: tuple[str, ...]  # of all files

    @classmethod
    def open(cls, url: str) -> ConversionSource:
        """Read what a folder holds, without its shards; it may be any URL of fsspec.

        Raises:
            FileNotFoundError: no such folder, or it lacks its metadata.
            ValueError: the metadata is damaged, or the data set is no TFRecord one.
        """
        url = url if url.endswith("://") else url.rstrip("/")
        folder = RemoteFolder(url)
        names = folder.names()
        for name in (FEATURES_FILE, INFO_FILE):
            if name not in names:
                versions = [n for n in names if FEATURES_FILE in folder.names(n)]
                hint = f"; did you mean {url}/{versions[-1]}?" if versions else ""
                raise FileNotFoundError(f"{url} is no data set: it lacks {name}{hint}")
        small = [name for name in names if name.endswith((".json", ".txt"))]
        metadata = {name: folder.read(name) for name in small}
        text = metadata[INFO_FILE].decode(errors="replace")
        info = DatasetInfo.parse(text, f"{url}/{INFO_FILE}")
        if info.file_format != "tfrecord":
            raise ValueError(
                f"{url} is stored as {info.file_format}; only tfrecord needs converting"
            )
        return cls(url, metadata, info, names)

    @property
    def digest(self) -> str:
        """Tells this data set from others."""
        content = hashlib.sha256("\n".join(self.names).encode())
        for name, value in sorted(self.metadata.items()):
            content.update(name.encode() + value)
        return content.hexdigest()

    def features(self) -> tfds.features.FeaturesDict:
        """What features.json declares.

        Raises:
            ValueError: it is damaged.
        """
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.metadata.items():
                (Path(folder) / name).write_bytes(content)
            try:
                return read_features(Path(folder))
            except ValueError as error:
                raise ValueError(str(error).replace(folder, self.url)) from error

    def shards(self, out: Path) -> list[Shard]:
        """All shards, and which file of the folder `out` each becomes.

        Raises:
            FileNotFoundError: a shard lacks.
        """
        found = []
        for split in self.info.splits:
            names = shards_of(self.names, split, "tfrecord", self.url)
            for i, name in enumerate(names):
                number = f"{i:05}-of-{len(names):05}"
                target = f"{self.info.name}-{split.name}.array_record-{number}"
                found.append(Shard(split.name, self.url, name, out, target))
        return found
