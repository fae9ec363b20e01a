"""Writes episodes as a LeRobot data set, version 3.0, all of it or nothing.

Example:
    >>> steps = export_lerobot(source, Path("out"))
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.episode import Episode, EpisodeSource
from selfflow_robotics.data.lerobot.info import features, info, tasks_table
from selfflow_robotics.data.lerobot.mappings import ACTION, EXPORTED_IMAGE, STATE
from selfflow_robotics.data.lerobot.meta import DEMONSTRATED, SOURCE, SUCCESS
from selfflow_robotics.data.lerobot.part import Limits, Part
from selfflow_robotics.data.lerobot.statistics import levels, of_levels, of_numbers
from selfflow_robotics.data.mapped_source import ACTION_SPEC_FILE, STATE_SPEC_FILE
from selfflow_robotics.storage.notice import Notice
from selfflow_robotics.storage.whole_file import told_of_full_disk
from selfflow_robotics.storage.whole_folder import WholeFolder

_LIMITS = Limits()


def export_lerobot(source: EpisodeSource, out: Path) -> int:
    """Write all episodes of a source; returns their steps.

    Raises:
        FileExistsError: the folder exists.
        ValueError: the source has no actions, or an episode is faulty.
    """
    if source.action_spec is None:
        raise ValueError(
            f"{source.name} has no actions, and only episodes with actions are exported"
        )
    steps = 0
    with LeRobotExport(out, source.action_spec, source.state_spec) as export:
        for index in tqdm(range(len(source)), desc=f"export {source.name}", unit="episode"):
            episode = source[index]
            export.add(episode)
            steps += len(episode)
    return steps


class LeRobotExport(WholeFolder):
    """Collects episodes in a hidden sibling folder and renames it when the `with` block succeeds.

    Actions, states and tasks are kept as they are, images as H.264. Whether an episode succeeded
    and who acted are columns of `meta/episodes`; which actions are to be imitated is a feature
    "demonstrated", where the first episode tells. `meta/action_spec.json` and
    `meta/state_spec.json` say what the numbers mean.

    Args:
        actions: meaning of the actions; its rate is that of the data set.
        states: meaning of the states; None leaves them out.
        limits: sizes at which a new file begins.

    Raises:
        FileExistsError: path exists.
    """

    def __init__(
        self,
        path: str | Path,
        actions: ActionSpec,
        states: StateSpec | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        super().__init__(path)
        self._actions, self._states, self._limits = actions, states, limits
        self._part: Part | None = None
        self._parts = 0
        self._tasks: dict[str, int] = {}
        self._size: tuple[int, int] = (0, 0)
        self._marked = False
        self._episodes = self._steps = 0
        self._numbers: dict[str, list[NDArray[Any]]] = {}
        self._levels = np.zeros((3, 256), np.int64)

    def _abandon(self) -> None:
        if self._part is not None:
            self._part.abandon()

    def add(self, episode: Episode) -> None:
        """Append an episode.

        Raises:
            ValueError: it lacks actions or states of the declared size, its images have another
                size than the first's or an odd one, or it tells what is demonstrated where the
                first does not, or the other way round.
        """
        if self._episodes == 0:
            self._size = (episode.images.shape[1], episode.images.shape[2])
            self._marked = episode.demonstrated is not None
            if episode.steps_left is not None:
                warnings.warn(
                    "steps_left stay behind: LeRobot data sets have no place for them; fit a "
                    "critic to the data set that was exported",
                    Notice,
                    stacklevel=2,
                )
        self._require_fit(episode)
        numbers = self._numbers_of(episode)
        with told_of_full_disk(self._path):
            self._append(episode, numbers)

    def _append(self, episode: Episode, numbers: dict[str, NDArray[Any]]) -> None:
        if self._part is None or self._part.full:
            if self._part is not None:
                self._part.close()
            self._part = Part(
                self._folder, self._parts, self._size, self._actions.rate_hz, self._limits
            )
            self._parts += 1
        counts = levels(episode.images)
        statistics = {key: of_numbers(values) for key, values in numbers.items()}
        statistics[EXPORTED_IMAGE] = of_levels(counts, len(episode))
        self._part.add(
            pa.table({key: _cells(values) for key, values in numbers.items()}),
            episode.images,
            {
                "episode_index": self._episodes,
                "tasks": sorted(set(episode.instructions)) or [""],
                "length": len(episode),
                "dataset_from_index": self._steps,
                "dataset_to_index": self._steps + len(episode),
                SUCCESS: episode.success,
                SOURCE: episode.source,
            },
            statistics,
        )
        for key, values in numbers.items():
            self._numbers.setdefault(key, []).append(values)
        self._levels += counts
        self._episodes += 1
        self._steps += len(episode)

    def _require_fit(self, episode: Episode) -> None:
        where = f"episode {episode.id} for {self._path}"
        size = (episode.images.shape[1], episode.images.shape[2])
        if size[0] % 2 or size[1] % 2:
            raise ValueError(
                f"{where} has images of {size} pixels; H.264 needs an even height and width: "
                "resize the images first"
            )
        if size != self._size:
            raise ValueError(
                f"{where} has images of {size} pixels after those of {self._size}; "
                "export episodes of one size"
            )
        for what, values, spec in (
            ("actions", episode.actions, self._actions),
            ("states", episode.states, self._states),
        ):
            if spec is not None and (values is None or values.shape[1] != spec.size):
                shape = None if values is None else values.shape
                raise ValueError(
                    f"{where} has {what} of shape {shape} where the data set declares "
                    f"{spec.size} entries {spec.names}"
                )
        if (episode.demonstrated is not None) != self._marked:
            raise ValueError(
                f"{where} {'lacks' if self._marked else 'has'} marks of what is demonstrated, "
                "unlike the first episode; export episodes of one kind"
            )

    def _numbers_of(self, episode: Episode) -> dict[str, NDArray[Any]]:
        """Every feature but the images, (S, entries)."""
        steps = np.arange(len(episode))
        texts = episode.instructions or ("",) * len(episode)
        found: dict[str, NDArray[Any]] = {}
        if self._states is not None and episode.states is not None:
            found[STATE] = episode.states.astype(np.float32)
        assert episode.actions is not None
        found[ACTION] = episode.actions.astype(np.float32)
        if episode.demonstrated is not None:
            found[DEMONSTRATED] = episode.demonstrated[:, None]
        counted = {
            "frame_index": steps,
            "episode_index": np.full(len(episode), self._episodes),
            "index": self._steps + steps,
            "task_index": np.array([self._tasks.setdefault(t, len(self._tasks)) for t in texts]),
        }
        found["timestamp"] = (steps / self._actions.rate_hz).astype(np.float32)[:, None]
        return found | {key: values.astype(np.int64)[:, None] for key, values in counted.items()}

    def _finish(self) -> None:
        if self._part is None:
            raise ValueError(f"no episode was given for {self._path}; nothing is written")
        self._part.close()
        meta = self._folder / "meta"
        pq.write_table(tasks_table(self._tasks), meta / "tasks.parquet", write_page_checksum=True)
        statistics = {
            key: of_numbers(np.concatenate(values)) for key, values in self._numbers.items()
        }
        statistics[EXPORTED_IMAGE] = of_levels(self._levels, self._steps)
        files: dict[str, Any] = {
            "stats.json": {
                key: {name: values.tolist() for name, values in found.items()}
                for key, found in statistics.items()
            },
            ACTION_SPEC_FILE: self._actions.to_json(),
            "info.json": info(
                features(self._size, self._actions, self._states, self._marked),
                self._actions.rate_hz,
                self._limits,
                episodes=self._episodes,
                steps=self._steps,
                tasks=len(self._tasks),
            ),
        }
        if self._states is not None:
            files[STATE_SPEC_FILE] = self._states.to_json()
        for name, content in files.items():
            (meta / name).write_text(json.dumps(content, indent=1) + "\n")


def _cells(values: NDArray[Any]) -> pa.Array:
    """A column of (S, entries): numbers where there is one entry, else lists of that size."""
    flat = pa.array(values.ravel())
    if values.shape[1] == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
