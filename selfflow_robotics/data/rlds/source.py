"""Episodes of any RLDS data set as TFDS wrote it, ArrayRecord or TFRecord, without TensorFlow.

Example:
    >>> episodes = open_rlds("data/train", mapping="rt1")
    >>> episodes[3].images.shape, episodes[3].actions.shape
    ((6, 16, 24, 3), (6, 7))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.episode import Episode, require_steps_left
from selfflow_robotics.data.mapped_source import MappedSource, Numbers, read_json_file
from selfflow_robotics.data.rlds.array_record import ArrayRecords
from selfflow_robotics.data.rlds.mapping_fit import require_fit
from selfflow_robotics.data.rlds.mappings import RldsMapping, mapping_named
from selfflow_robotics.data.rlds.metadata import (
    DatasetInfo,
    flatten,
    read_features,
    require_folder,
    shards_of,
)
from selfflow_robotics.data.rlds.record import RecordParser, columns, texts
from selfflow_robotics.data.rlds.tfrecord import TFRecords
from selfflow_robotics.images.decoding import decode_image
from selfflow_robotics.images.eight_bit import eight_bit
from selfflow_robotics.storage.digests import files_digest, text_digest

DEMONSTRATED_FILE = "demonstrated.json"
STEPS_LEFT_FILE = "steps_left.json"
LABELS_END = {"until": "instruction"}
"""Said in that file: its numbers end where a frame's own instruction is carried out."""

_ENOUGH = 100  # labels, to tell by how many are whole whether whole steps were counted


def open_rlds(
    path: str | Path, mapping: str | RldsMapping = "rt1", split: str = "train"
) -> RldsSource:
    """Open an RLDS data set for random access to its episodes.

    Statistics that neither mapping nor folder tells are measured on all steps of the split, with a
    notice; "selfflow data convert rlds" measures them once and for all.

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
    return RldsSource(Path(path), mapping_named(mapping), split).measured()


class RldsSource(MappedSource[RldsMapping]):
    """Episodes of one split of an RLDS data set; see :func:`open_rlds`."""

    def __init__(self, path: Path, mapping: RldsMapping, split: str) -> None:
        super().__init__(path, mapping, split)
        features = read_features(require_folder(path))
        self._features = features
        self.image_size = require_fit(mapping, flatten(features), str(path))
        keys = [f"steps/{key}" for key in mapping.step_keys] + list(mapping.episode_keys)
        self._parse = RecordParser(features, keys)
        self._read_specs(path)
        self._shards, self._records = _records(path, split)
        self._demonstrated = _beside(path / DEMONSTRATED_FILE, split, len(self._records), "marks")
        self._steps_left = self._labels(path / STEPS_LEFT_FILE)

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :attr:`EpisodeSource.identity`; marks count: edited ones are another data set."""
        labels = {"steps_left": text_digest(*self._steps_left)} if self._steps_left else {}
        return {
            **labels,
            "mapping": text_digest(repr(self.mapping)),
            "shards": files_digest(self._shards),
            "marks": text_digest(*self._demonstrated) if self._demonstrated else None,
        }

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
        where = self._where(index)
        found = self._parse(self._records[index], where)
        mapping = self.mapping
        encoded = found[f"steps/{mapping.image}"]
        if len(encoded) == 0:
            raise ValueError(f"{where} has no steps; leave it out of the data set")
        instructions: tuple[str, ...] = ()
        if mapping.instruction is not None:
            instructions = texts(found[f"steps/{mapping.instruction}"], where)
        known = mapping.success_known is None or bool(found[mapping.success_known])
        rated = mapping.success is not None and known
        marks = self._marks(index, where)
        if marks is not None and len(marks) != len(encoded):
            raise ValueError(
                f"{where} has {len(encoded)} frames but {DEMONSTRATED_FILE} has {len(marks)} marks "
                "for it; copy the data set again"
            )
        actions, states = self._actions_and_states(found, where)
        return Episode(
            images=self._images(encoded, where),
            actions=actions,
            states=states,
            instructions=instructions,
            success=bool(found[mapping.success]) if rated and mapping.success else None,
            source=found[mapping.source].decode() if mapping.source else "demonstration",
            id=f"{self.split}/{index}",
            demonstrated=marks,
            steps_left=self._left(index, len(encoded), where),
        )

    def numbers(self) -> Callable[[int], Numbers]:
        mapping = self.mapping
        keys = [f"steps/{key}" for key in (*mapping.actions, *mapping.states)]
        parse = RecordParser(self._features, keys)

        def read(index: int) -> Numbers:
            where = self._where(index)
            return self._actions_and_states(parse(self._records[index], where), where)

        return read

    def _actions_and_states(self, found: Mapping[str, Any], where: str) -> Numbers:
        mapping = self.mapping
        return (
            columns(found, mapping.actions, where) if mapping.actions else None,
            columns(found, mapping.states, where) if mapping.states else None,
        )

    def _where(self, index: int) -> str:
        shard = self._records.file_of(index).name
        return f"episode {self.split}/{index} of {self.path} ({shard})"

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

    def _labels(self, file: Path) -> list[str] | None:
        """Steps left, a text an episode; None where there are none.

        Those that do not say where they end are of an older form. Few are whole where shorter
        steps count less, and of a single instruction the task's end is its own.
        """
        found = _beside(file, self.split, len(self), "numbers")
        if found is None or LABELS_END.items() <= read_json_file(file).items():
            return found
        numbers = [number for text in found for number in text.split() if number not in ("0", "1")]
        whole, parts = sum(map(str.isdigit, numbers)), sum("." in number for number in numbers)
        if whole + parts >= _ENOUGH and whole > parts:
            wrong = "count every step whole, however short"
        elif self._told_anew([index for index, text in enumerate(found) if text]):
            wrong = "count to the end of the task, not of a frame's own instruction"
        else:
            return found
        raise ValueError(
            f"the labels in {file} are of an older form and {wrong}; collect the data again, or "
            "take the file away to train without its labels"
        )

    def _told_anew(self, episodes: Sequence[int]) -> bool:
        """Whether the instruction changes in one of these."""
        if self.mapping.instruction is None:
            return False
        key = f"steps/{self.mapping.instruction}"
        parse = RecordParser(self._features, [key])
        for index in episodes:
            where = self._where(index)
            if len(set(texts(parse(self._records[index], where)[key], where))) > 1:
                return True
        return False

    def _left(self, index: int, steps: int, where: str) -> NDArray[np.float32] | None:
        if self._steps_left is None or not self._steps_left[index]:
            return None
        try:
            left = np.array(self._steps_left[index].split(), np.float32)
        except ValueError as error:
            raise ValueError(
                f"{where} has what is no number in {STEPS_LEFT_FILE} ({error}); copy the data set "
                "again"
            ) from None
        require_steps_left(left, steps, f"{where}, by {STEPS_LEFT_FILE},")
        return left

    def _images(self, encoded: NDArray[Any], where: str) -> NDArray[np.uint8]:
        if encoded.dtype != object:
            return eight_bit(encoded, f"{where}: {self.mapping.image}")
        images: NDArray[np.uint8] | None = None
        if self.image_size is not None:
            images = np.empty((len(encoded), *self.image_size, 3), np.uint8)
        for step, stored in enumerate(encoded):
            try:
                image = decode_image(stored, None if images is None else images[step])
            except ValueError as error:
                raise ValueError(
                    f"{where} has a corrupt {self.mapping.image} at step {step} ({error}); "
                    "leave the episode out or write it again"
                ) from error
            if images is None:
                images = np.empty((len(encoded), *image.shape), np.uint8)
            if image.shape != images[step].shape:
                raise ValueError(
                    f"{where} has a {self.mapping.image} of {image.shape[:2]} pixels at step "
                    f"{step} where {images.shape[1:3]} were declared; write the data set again"
                )
            if not np.may_share_memory(image, images):
                images[step] = image
        assert images is not None
        return images


def _records(path: Path, split: str) -> tuple[list[Path], ArrayRecords | TFRecords]:
    """The shards of a split, and the records in them."""
    info = DatasetInfo.read(path)
    declared = {one.name: one for one in info.splits}
    if split not in declared:
        raise ValueError(f'{path} has no split "{split}"; it has {sorted(declared)}')
    if info.file_format not in ("array_record", "tfrecord"):
        raise ValueError(
            f"{path} is stored as {info.file_format}; this reads array_record and tfrecord"
        )
    names = [entry.name for entry in path.iterdir()]
    found = shards_of(names, declared[split], info.file_format, str(path))
    shards = [path / name for name in found]
    is_array = info.file_format == "array_record"
    records: ArrayRecords | TFRecords = ArrayRecords(shards) if is_array else TFRecords(shards)
    promised = declared[split].episodes
    if promised is not None and len(records) != promised:
        raise ValueError(
            f"the shards of {path} hold {len(records)} episodes of split {split} where "
            f"dataset_info.json promises {promised}; copy or download the data set again"
        )
    return shards, records


def _beside(path: Path, split: str, episodes: int, what: str) -> list[str] | None:
    """A text an episode, kept in a file beside the records; None where there is none."""
    found = read_json_file(path).get(split) if path.is_file() else None
    if found is None:
        return None
    are_texts = isinstance(found, list) and all(isinstance(text, str) for text in found)
    if not are_texts or len(found) != episodes:
        raise ValueError(
            f"{path} does not hold a text of {what} for each of the {episodes} "
            f"episodes of split {split}; copy the data set again"
        )
    return list(found)
