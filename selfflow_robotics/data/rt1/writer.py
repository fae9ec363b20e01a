"""Writes a TFDS data set with RT-1's features, all of it or nothing.

Example:
    >>> with Rt1Writer("data/new", image_size=(16, 24)) as writer:
    ...     for episode in rt1_episodes:
    ...         writer.add(episode)
    >>> len(tfds.builder_from_directory("data/new").as_data_source("train"))
    2
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from numpy.typing import NDArray
from tensorflow_datasets.core.dataset_info import DatasetIdentity
from tensorflow_datasets.core.file_adapters import FileFormat
from tensorflow_datasets.core.naming import ShardedFileTemplate

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.episode import require_steps_left
from selfflow_robotics.data.mapped_source import ACTION_SPEC_FILE, STATE_SPEC_FILE
from selfflow_robotics.data.rlds.source import DEMONSTRATED_FILE, LABELS_END, STEPS_LEFT_FILE
from selfflow_robotics.data.rlds.statistics import STATISTICS_FILE, published_form
from selfflow_robotics.data.rlds.tfrecord import TFRecordWriter
from selfflow_robotics.data.rt1.features import Rt1Episode, rt1_features, serialize
from selfflow_robotics.storage.whole_file import told_of_full_disk
from selfflow_robotics.storage.whole_folder import WholeFolder

Container = Literal["array_record", "tfrecord"]

EPISODES_PER_SHARD = 1000

_NAME = "selfflow_rt1"
_DESCRIPTION = (
    "Simulated table-top manipulation with the features of fractal20220817_data. "
    "attributes/collection_mode_name says who acted; rotation_delta is an axis-angle vector in "
    "robot base axes; natural_language_embedding is a hashed bag of words, not a sentence encoder."
)


class Rt1Writer(WholeFolder):
    """Collects records in a hidden sibling folder and renames it when the `with` block succeeds.

    Beside the shards it leaves `action_spec.json` and `state_spec.json` with the statistics of
    what was written, and `action_statistics.json`, as a conversion does (last steps left out).
    `demonstrated.json` says of every step of every episode whether its action is to be imitated (1)
    or not (0), `steps_left.json`, where any were given, how many steps an expert needs from each
    frame on until its instruction is carried out: RT-1 has no features for them.

    Args:
        image_size: height and width of every image.
        container: ArrayRecord, for random access, or TFRecord, for programs that read through
            tf.data.
        episodes_per_shard: a new shard starts after so many.

    Raises:
        FileExistsError: path exists.
    """

    def __init__(
        self,
        path: str | Path,
        image_size: tuple[int, int],
        container: Container = "array_record",
        episodes_per_shard: int = EPISODES_PER_SHARD,
    ) -> None:
        super().__init__(path)
        self._image_size = image_size
        self._per_shard = episodes_per_shard
        self._format = FileFormat(container)
        self._shard: ArrayRecordWriter | TFRecordWriter | None = None
        self._lengths: list[int] = []
        self._bytes = 0
        self._actions: list[NDArray[np.float32]] = []
        self._states: list[NDArray[np.float32]] = []
        self._demonstrated: list[str] = []
        self._steps_left: list[str] = []

    def _abandon(self) -> None:
        if self._shard is not None:
            self._shard.close()

    @property
    def num_bytes(self) -> int:
        """Bytes of all records so far."""
        return self._bytes

    def add(self, episode: Rt1Episode) -> None:
        """Append an episode.

        Raises:
            ValueError: an action is not finite or outside RT1_ACTIONS' bounds, or the images have
                another size.
        """
        where = f"episode {sum(self._lengths)} of {self._path}"
        RT1_ACTIONS.check(episode.actions, where)
        record = serialize(episode, self._image_size)
        self.add_record(record, episode.actions, episode.states, episode.demonstrated)
        if episode.steps_left is not None:
            self.label(len(self._demonstrated) - 1, episode.steps_left)

    def add_record(
        self,
        record: bytes,
        actions: NDArray[np.float32],
        states: NDArray[np.float32],
        demonstrated: NDArray[np.bool_] | None = None,
    ) -> None:
        """Append an episode serialised elsewhere.

        Args:
            record: what `serialize` returned.
            actions: (S, 7) its actions, for the statistics.
            states: (S, 8) its proprioception, for the statistics.
            demonstrated: (S,) which actions are to be imitated; None means all of them.
        """
        with told_of_full_disk(self._path):
            self._shard_with_room().write(record)
        self._lengths[-1] += 1
        self._bytes += len(record)
        self._actions.append(actions[:-1])
        self._states.append(states)
        marks = np.ones(len(actions), np.bool_) if demonstrated is None else demonstrated
        self._demonstrated.append("".join("1" if mark else "0" for mark in marks))
        self._steps_left.append("")

    def label(self, index: int, steps_left: NDArray[np.float32]) -> None:
        """Tell the steps left (S,) of episode number index, which was appended before.

        Raises:
            ValueError: as many as the episode has frames are wanted, each 0 or more or NaN.
        """
        where = f"episode {index} of {self._path}"
        require_steps_left(steps_left, len(self._demonstrated[index]), where)
        self._steps_left[index] = " ".join(f"{left:.4g}" for left in steps_left.tolist())

    def _shard_with_room(self) -> ArrayRecordWriter | TFRecordWriter:
        if self._shard is None or self._lengths[-1] == self._per_shard:
            if self._shard is not None:
                self._shard.close()
            shard = str(self._folder / f"{len(self._lengths)}.shard")
            if self._format is FileFormat.ARRAY_RECORD:
                self._shard = ArrayRecordWriter(shard, "group_size:1")
            else:
                self._shard = TFRecordWriter(shard)
            self._lengths.append(0)
        return self._shard

    def _finish(self) -> None:
        if not self._lengths:
            raise ValueError(f"no episode was given for {self._path}; nothing is written")
        if self._shard is not None:
            self._shard.close()
        self._write_metadata()
        self._write_statistics()

    def _write_metadata(self) -> None:
        template = ShardedFileTemplate(
            data_dir=self._folder,
            template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
            dataset_name=_NAME,
            split="train",
            filetype_suffix=self._format.file_suffix,
        )
        count = len(self._lengths)
        for i in range(count):
            target = template.sharded_filepath(shard_index=i, num_shards=count)
            (self._folder / f"{i}.shard").rename(target)
        info = tfds.core.DatasetInfo(
            builder=DatasetIdentity(
                name=_NAME,
                version=tfds.core.Version("1.0.0"),
                data_dir=str(self._folder),
                module_name=__name__,
                release_notes={"1.0.0": "RT-1's features."},
            ),
            description=_DESCRIPTION,
            features=rt1_features(self._image_size),
        )
        info.set_file_format(self._format)
        split = tfds.core.SplitInfo(
            name="train",
            shard_lengths=self._lengths,
            num_bytes=self._bytes,
            filename_template=template,
        )
        info.set_splits(tfds.core.SplitDict([split]))
        info.write_to_directory(self._folder)

    def _write_statistics(self) -> None:
        actions, states = np.concatenate(self._actions), np.concatenate(self._states)
        # A data set of one-step episodes holds no action that leads anywhere.
        spec = RT1_ACTIONS.with_statistics(actions) if len(actions) else RT1_ACTIONS
        files = {
            ACTION_SPEC_FILE: spec.to_json(),
            STATE_SPEC_FILE: RT1_STATE.with_statistics(states).to_json(),
            DEMONSTRATED_FILE: {"train": self._demonstrated},
        }
        if any(self._steps_left):
            files[STEPS_LEFT_FILE] = {**LABELS_END, "train": self._steps_left}
        if len(actions):
            lengths = [len(taken) for taken in self._actions if len(taken)]
            files[STATISTICS_FILE] = published_form(spec, actions, states, RT1_STATE, lengths)
        for name, content in files.items():
            (self._folder / name).write_text(json.dumps(content, indent=1) + "\n")
