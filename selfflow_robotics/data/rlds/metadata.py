"""What an RLDS data set says it holds: its files of metadata, as TFDS writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

FEATURES_FILE = "features.json"
INFO_FILE = "dataset_info.json"

_CLASSES = frozenset(
    f"tensorflow_datasets.core.features.{name}"
    for name in (
        "audio_feature.Audio",
        "bounding_boxes.BBoxFeature",
        "class_label_feature.ClassLabel",
        "dataset_feature.Dataset",
        "feature.Tensor",
        "features_dict.FeaturesDict",
        "image_feature.Image",
        "labeled_image.LabeledImage",
        "scalar.Scalar",
        "sequence_feature.Sequence",
        "tensor_feature.Tensor",
        "text_feature.Text",
        "video_feature.Video",
    )
)
"""What features.json may name. TFDS would import the module of any other class it finds there."""


def flatten(features: Any) -> dict[str, Any]:
    """The features of an example by path, as "steps/observation/image"."""
    flat: dict[str, Any] = {}
    for key, value in features.items():
        inner = value.feature if isinstance(value, tfds.features.Dataset) else value
        if hasattr(inner, "items"):
            flat.update({f"{key}/{name}": v for name, v in flatten(inner).items()})
        else:
            flat[key] = inner
    return flat


def require_folder(path: Path) -> Path:
    """The folder, if it is that of a data set.

    Raises:
        FileNotFoundError: it does not exist, or lacks its metadata.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"there is no data set at {path}: the folder does not exist")
    for name in (FEATURES_FILE, INFO_FILE):
        if not (path / name).is_file():
            versions = sorted(str(p.parent) for p in path.glob("*/features.json"))
            hint = f"did you mean {versions[0]}?" if versions else "give the folder TFDS wrote"
            raise FileNotFoundError(f"{path} is no data set: it lacks {name}; {hint}")
    return path


def read_features(folder: Path) -> tfds.features.FeaturesDict:
    """The features that a folder's features.json declares.

    Raises:
        ValueError: the file is unreadable, or names a class that is none of TFDS's features.
    """
    try:
        _require_known(json.loads((folder / FEATURES_FILE).read_bytes()))
        features = tfds.features.FeaturesDict.from_config(str(folder))
        if not isinstance(features, tfds.features.FeaturesDict):
            raise ValueError(f"it declares a {type(features).__name__}, no example with keys")
        return features
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{folder / FEATURES_FILE} is unreadable ({reason}); copy or download it again"
        ) from error


def _require_known(tree: Any) -> None:
    """Refuse classes of others, which reading the file would import."""
    waiting = [tree]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            for key in ("pythonClassName", "python_class_name", "type"):
                named = entry.get(key)
                if isinstance(named, str) and "." in named and named not in _CLASSES:
                    raise ValueError(
                        f"it names the class {named[:80]}, and nothing is imported because a data "
                        "set says so"
                    )
        if isinstance(entry, (dict, list)):
            waiting += entry.values() if isinstance(entry, dict) else entry


@dataclass(frozen=True)
class DeclaredSplit:
    """What dataset_info.json says of a split."""

    name: str
    episodes: int | None  # None where it does not say


@dataclass(frozen=True)
class DatasetInfo:
    """dataset_info.json, as far as anything here depends on it.

    Who wrote it (`moduleName`) and how episodes are spread over shards does not matter.
    """

    name: str
    file_format: str
    splits: tuple[DeclaredSplit, ...]
    content: dict[str, Any]  # the whole file

    @classmethod
    def read(cls, folder: Path) -> DatasetInfo:
        """That of a folder; see :meth:`parse`."""
        file = folder / INFO_FILE
        return cls.parse(file.read_text(errors="replace"), str(file))

    @classmethod
    def parse(cls, text: str, where: str) -> DatasetInfo:
        """Read the file's text.

        Raises:
            ValueError: it is damaged; the message names it.
        """
        try:
            content = json.loads(text)
            splits = tuple(
                DeclaredSplit(
                    _file_name(split["name"]),
                    sum(map(int, split.get("shardLengths", ()))) or None,
                )
                for split in content["splits"]
            )
            file_format = _file_name(content.get("fileFormat", "tfrecord"))
            return cls(_file_name(content["name"]), file_format, splits, content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise ValueError(f"{where} is damaged ({reason}); copy or download it again") from error

    def as_array_record(self, shards: dict[str, tuple[list[int], int]]) -> str:
        """The file's text for the same data set as ArrayRecord.

        Args:
            shards: of every split, the number of episodes of each shard, and the bytes of all.
        """
        splits = [
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": name,
                "numBytes": str(size),
                "shardLengths": [str(length) for length in lengths],
            }
            for name, (lengths, size) in shards.items()
        ]
        content = {**self.content, "fileFormat": "array_record", "splits": splits}
        content.pop("alternativeFileFormats", None)
        return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _file_name(name: Any) -> str:
    """A name of which files are made, which may lead nowhere else."""
    if not isinstance(name, str) or not re.fullmatch(r"[^/\\\0:]+", name) or name.startswith("."):
        raise ValueError(f"{name!r} is no part of a file's name")
    return name


def shards_of(
    names: Iterable[str], split: DeclaredSplit, file_format: str, folder: str
) -> list[str]:
    """The names of a split's files, in order, among those of all files of a folder.

    Raises:
        FileNotFoundError: a file lacks, or all do.
        ValueError: files of more than one writing of the split are mixed.
    """
    pattern = re.compile(rf"(.+)-{re.escape(split.name)}\.{file_format}-(\d+)-of-(\d+)$")
    found = {
        (stem, int(count), int(number)): match.string
        for match in map(pattern.match, names)
        if match
        for stem, number, count in [match.groups()]
    }
    writings = sorted({(stem, count) for stem, count, _ in found})
    if not writings:
        raise FileNotFoundError(
            f"{folder} has no {file_format} files of its split {split.name}; "
            "copy or download the data set again"
        )
    if len(writings) > 1:
        mixed = ", ".join(f"{stem} in {count} shards" for stem, count in writings)
        raise ValueError(
            f"{folder} mixes files of several writings of split {split.name} ({mixed}); "
            "remove those that do not belong"
        )
    ((stem, count),) = writings
    lacking = [i for i in range(count) if (stem, count, i) not in found]
    if lacking:
        name = f"{stem}-{split.name}.{file_format}-{lacking[0]:05}-of-{count:05}"
        raise FileNotFoundError(
            f"{folder} lacks {len(lacking)} of the {count} shards of split {split.name}, the first "
            f"is {name}; copy or download them"
        )
    return [found[stem, count, i] for i in range(count)]
