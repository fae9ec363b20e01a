"""Episodes of any RLDS data set as TFDS wrote it, ArrayRecord or TFRecord, without TensorFlow.

Example:
    >>> episodes = open_dataset("data/train")                      # RT-1's features
    >>> bridge = open_dataset("bridge_dataset/1.0.0", mapping="bridge", split="val")
    >>> episodes[3].images.shape, episodes[3].actions.shape        # doctest: +SKIP
    ((41, 64, 80, 3), (41, 7))
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image
from tensorflow_datasets.core.example_parser import ExampleParserNp
from tensorflow_datasets.core.file_adapters import FileFormat

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.array_record import ArrayRecords
from selfflow_robotics.data.content import files_digest, text_digest
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.held_out import split_of
from selfflow_robotics.data.mappings import RldsMapping, mapping_named
from selfflow_robotics.data.tfrecord import TFRecords

__all__ = ["RldsSource", "open_dataset", "split_of"]

ACTION_SPEC_FILE = "action_spec.json"
STATE_SPEC_FILE = "state_spec.json"
DEMONSTRATED_FILE = "demonstrated.json"

_Spec = TypeVar("_Spec", ActionSpec, StateSpec)


def open_dataset(
    path: str | Path, mapping: str | RldsMapping = "rt1", split: str = "train"
) -> RldsSource:
    """Open a data set for random access to its episodes.

    Args:
        path: folder with `features.json`, `dataset_info.json` and the shards.
        mapping: where the data set keeps what is read: the name of a declared mapping, or one.
        split: a split that TFDS wrote, as "train" or "val".

    Raises:
        FileNotFoundError: no such folder, or it lacks a file.
        ValueError: no such mapping or split, a feature that the mapping reads is absent or has
            another size, a shard is truncated, or the stored action specification differs in
            meaning from the mapping's.
    """
    return RldsSource(Path(path), mapping_named(mapping), split)


class RldsSource:
    """Episodes of one split of an RLDS data set; see :func:`open_dataset`.

    It can be sent to another process, where it opens its files anew.
    """

    def __init__(self, path: Path, mapping: RldsMapping, split: str) -> None:
        self.path, self.mapping, self.split = path, mapping, split
        builder = _builder(path)
        features = _flatten(builder.info.features)
        self._require_keys(features)
        infos = _flatten(builder.info.features.get_serialized_info())
        keys = [f"steps/{key}" for key in mapping.step_keys] + list(mapping.episode_keys)
        self._parser = ExampleParserNp({key: infos[key] for key in keys})
        self.image_size = self._require_sizes(features)
        self.action_spec = _stored(path / ACTION_SPEC_FILE, mapping.action_spec, mapping.name)
        self.state_spec = None
        if mapping.state_spec is not None:
            self.state_spec = _stored(path / STATE_SPEC_FILE, mapping.state_spec, mapping.name)
        self._records = _records(path, builder, split)
        self._shards = [Path(shard) for shard in builder.info.splits[split].filepaths]
        self._demonstrated = _demonstrated(path, split, len(self._records))

    @property
    def name(self) -> str:
        """The folder and the split."""
        return f"{self.path}:{self.split}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :attr:`EpisodeSource.identity`; marks count: edited ones are another data set."""
        return {
            "mapping": text_digest(repr(self.mapping)),
            "shards": files_digest(self._shards),
            "marks": text_digest(*self._demonstrated) if self._demonstrated else None,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Files are opened anew where the source is unpickled."""
        return RldsSource, (self.path, self.mapping, self.split)

    def __len__(self) -> int:
        """Number of episodes found in the shards."""
        return len(self._records)

    def __getitem__(self, index: int) -> Episode:
        """Read episode number index.

        Raises:
            IndexError: no such episode.
            ValueError: the stored episode is faulty; the message names it.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has episodes 0..{len(self) - 1}, not {index}")
        where = f"episode {self.split}/{index} of {self.path}"
        found = self._parse(self._records[index], where)
        mapping = self.mapping
        encoded = found[f"steps/{mapping.image}"]
        if len(encoded) == 0:
            raise ValueError(f"{where} has no steps; leave it out of the data set")
        instructions: tuple[str, ...] = ()
        if mapping.instruction is not None:
            texts = found[f"steps/{mapping.instruction}"]
            instructions = tuple(text.decode(errors="replace") for text in texts)
        known = mapping.success_known is None or bool(found[mapping.success_known])
        rated = mapping.success is not None and known
        return Episode(
            images=self._images(encoded, where),
            actions=_columns(found, mapping.actions, where),
            states=_columns(found, mapping.states, where) if mapping.states else None,
            instructions=instructions,
            success=bool(found[mapping.success]) if rated and mapping.success else None,
            source=found[mapping.source].decode() if mapping.source else "demonstration",
            id=f"{self.split}/{index}",
            demonstrated=self._marks(index, where),
        )

    def _parse(self, record: bytes, where: str) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._parser.parse_example(record)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{where} does not hold what features.json promises ({reason}); "
                "write the data set again, or leave the episode out"
            ) from error
        lacking = [key for key, value in found.items() if value is None]
        if lacking:
            raise ValueError(
                f"{where} lacks {', '.join(lacking)}, which features.json promises; "
                "write the data set again, or leave the episode out"
            )
        return found

    def _marks(self, index: int, where: str) -> NDArray[np.bool_] | None:
        if self._demonstrated is None:
            return None
        marks = self._demonstrated[index]
        if set(marks) - {"0", "1"}:
            raise ValueError(
                f'{where} has the marks "{marks[:20]}" in {DEMONSTRATED_FILE} where each must be '
                "0 or 1; copy the data set again"
            )
        return np.array([mark == "1" for mark in marks])

    def _images(self, encoded: NDArray[Any], where: str) -> NDArray[np.uint8]:
        if encoded.dtype != object:
            return encoded.astype(np.uint8, copy=False)
        images: list[NDArray[np.uint8]] = []
        for step, data in enumerate(encoded):
            try:
                with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                    images.append(np.asarray(image.convert("RGB")))
            except (OSError, SyntaxError, ValueError) as error:
                raise ValueError(
                    f"{where} has a corrupt {self.mapping.image} at step {step}; "
                    "leave the episode out or write it again"
                ) from error
            size = images[-1].shape[:2]
            if size != (self.image_size or images[0].shape[:2]):
                raise ValueError(
                    f"{where} has a {self.mapping.image} of {size} pixels at step {step} where "
                    f"{self.image_size or images[0].shape[:2]} were declared; "
                    "write the data set again"
                )
        return np.stack(images)

    def _require_keys(self, features: Mapping[str, Any]) -> None:
        wanted = [f"steps/{key}" for key in self.mapping.step_keys]
        lacking = [key for key in [*wanted, *self.mapping.episode_keys] if key not in features]
        if lacking:
            raise ValueError(
                f"{self.path} lacks {', '.join(lacking)}, which the mapping "
                f'"{self.mapping.name}" reads; it has {", ".join(sorted(features))}: '
                "choose or declare another mapping"
            )

    def _require_sizes(self, features: Mapping[str, Any]) -> tuple[int, int] | None:
        mapping = self.mapping
        for what, keys, spec in (
            ("actions", mapping.actions, mapping.action_spec),
            ("states", mapping.states, mapping.state_spec),
        ):
            sizes = {key: int(np.prod(features[f"steps/{key}"].shape)) for key in keys}
            if spec is not None and sum(sizes.values()) != spec.size:
                raise ValueError(
                    f'{self.path} has {what} of {sizes}, but the mapping "{mapping.name}" '
                    f"describes {spec.size} entries {spec.names}; choose or declare another mapping"
                )
        shape = features[f"steps/{mapping.image}"].shape
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(
                f"{self.path} has {mapping.image} of shape {shape}, no RGB image; "
                "choose or declare another mapping"
            )
        return None if None in shape else (shape[0], shape[1])


def _builder(path: Path) -> Any:
    if not path.is_dir():
        raise FileNotFoundError(f"there is no data set at {path}: the folder does not exist")
    for name in ("features.json", "dataset_info.json"):
        if not (path / name).is_file():
            versions = sorted(str(p.parent) for p in path.glob("*/features.json"))
            hint = f"did you mean {versions[0]}?" if versions else "give the folder TFDS wrote"
            raise FileNotFoundError(f"{path} is no data set: it lacks {name}; {hint}")
    try:
        return tfds.builder_from_directory(path)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} has an unreadable features.json or dataset_info.json ({reason}); "
            "copy or download them again"
        ) from error


def _flatten(features: Any) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in features.items():
        inner = value.feature if isinstance(value, tfds.features.Dataset) else value
        if hasattr(inner, "items"):
            flat.update({f"{key}/{name}": v for name, v in _flatten(inner).items()})
        else:
            flat[key] = inner
    return flat


def _records(path: Path, builder: Any, split: str) -> ArrayRecords | TFRecords:
    splits = builder.info.splits
    if split not in splits:
        raise ValueError(f'{path} has no split "{split}"; it has {sorted(splits)}')
    shards = [Path(shard) for shard in splits[split].filepaths]
    for shard in shards:
        if not shard.is_file():
            raise FileNotFoundError(
                f"{path} lacks its shard {shard.name}; copy or download the data set again"
            )
    kind = builder.info.file_format
    records: ArrayRecords | TFRecords
    if kind is FileFormat.ARRAY_RECORD:
        records = ArrayRecords(shards)
    elif kind is FileFormat.TFRECORD:
        records = TFRecords(shards)
    else:
        raise ValueError(f"{path} is stored as {kind}; this reads array_record and tfrecord")
    promised = splits[split].num_examples
    if len(records) != promised:
        raise ValueError(
            f"the shards of {path} hold {len(records)} episodes of split {split} where "
            f"dataset_info.json promises {promised}; copy or download the data set again"
        )
    return records


def _stored(path: Path, declared: _Spec, mapping: str) -> _Spec:
    if not path.is_file():
        return declared
    stored = type(declared).from_json(_json(path))
    stored.require_match(declared, ours=str(path), theirs=f'the mapping "{mapping}"')
    return stored


def _demonstrated(path: Path, split: str, episodes: int) -> list[str] | None:
    """A mark a step, 1 where its action shows how the task is done; None where none are stored."""
    if not (path / DEMONSTRATED_FILE).is_file():
        return None
    stored = _json(path / DEMONSTRATED_FILE)
    marks = stored.get(split)
    if marks is None:
        return None
    if not isinstance(marks, list) or len(marks) != episodes:
        raise ValueError(
            f"{path / DEMONSTRATED_FILE} does not hold a text of marks for each of the {episodes} "
            f"episodes of split {split}; copy the data set again"
        )
    return [str(text) for text in marks]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
        reason = f"it holds a {type(found).__name__}"
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{path} is damaged ({reason}); copy the data set again")


def _columns(found: Mapping[str, Any], keys: tuple[str, ...], where: str) -> NDArray[np.float32]:
    columns: list[NDArray[np.float32]] = []
    for key in keys:
        values = np.asarray(found[f"steps/{key}"], np.float32)
        values = values.reshape(len(values), -1)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            step = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"{where} has {key} = {values[step].tolist()} at step {step}; "
                "leave the episode out or write it again with finite numbers"
            )
        columns.append(values)
    if len({len(values) for values in columns}) > 1:
        lengths = {key: len(values) for key, values in zip(keys, columns, strict=True)}
        raise ValueError(
            f"{where} has features of different lengths {lengths}; "
            "leave the episode out or write it again"
        )
    return np.concatenate(columns, axis=1)
