"""Episodes of a LeRobot data set, versions 2.0, 2.1 and 3.0, without LeRobot.

Example:
    >>> episodes = open_lerobot("data/lerobot", mapping="rt1")
    >>> episodes[3].images.shape, episodes[3].actions.shape
    ((6, 16, 24, 3), (6, 7))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.lerobot.frames import EpisodeFrames
from selfflow_robotics.data.lerobot.mappings import (
    LEROBOT_MAPPINGS,
    LeRobotMapping,
    lerobot_mapping_named,
)
from selfflow_robotics.data.lerobot.meta import (
    DEMONSTRATED,
    SOURCE,
    SUCCESS,
    Feature,
    LeRobotMeta,
)
from selfflow_robotics.data.lerobot.rows import LeRobotRows, Rows
from selfflow_robotics.data.mapped_source import ACTION_SPEC_FILE, MappedSource, Numbers
from selfflow_robotics.data.mapping_fit import require_entries, require_keys
from selfflow_robotics.data.rlds.mappings import RldsMapping
from selfflow_robotics.storage.digests import files_below, files_digest, text_digest


def open_lerobot(
    path: str | Path,
    mapping: str | RldsMapping | LeRobotMapping = "rt1",
    split: str = "train",
) -> LeRobotSource:
    """Open a LeRobot data set for random access to its episodes.

    Statistics that neither mapping nor folder tells are measured on all steps of the split, with a
    notice. Those in `meta/stats.json` are not taken: LeRobot's quantiles are means of episodes'.

    Args:
        mapping: which features are read: the name of a declared mapping or of a YAML file that
            declares one, or a mapping. An RLDS mapping stands for what was exported with it.

    Raises:
        FileNotFoundError: no such folder, or it lacks a file of `meta/`.
        ValueError: no such mapping or split, an unknown version, a damaged file of `meta/`, a
            feature that the mapping reads is absent or has another size, or the stored action
            specification or rate differs from the mapping's.
    """
    folder = Path(path)
    return LeRobotSource(folder, mapping_for(folder, mapping), split).measured()


def mapping_for(path: Path, mapping: str | RldsMapping | LeRobotMapping) -> LeRobotMapping:
    """How a folder is to be read; see :func:`lerobot_mapping_named`."""
    exported = (path / "meta" / ACTION_SPEC_FILE).is_file()
    return lerobot_mapping_named(mapping, exported=exported)


class LeRobotSource(MappedSource[LeRobotMapping]):
    """Episodes of one split of a LeRobot data set; see :func:`open_lerobot`."""

    def __init__(self, path: Path, mapping: LeRobotMapping, split: str) -> None:
        super().__init__(path, mapping, split)
        self._meta = LeRobotMeta(path, (mapping.image,))
        self._numbers = self._meta.split(split)
        self.image_size = self._require_fit()
        said = path / "meta" / ACTION_SPEC_FILE
        if mapping.self_described and not said.is_file():
            raise ValueError(
                f"{path} lacks meta/{said.name}, with which an export says that its actions are "
                f'those of the mapping "{mapping.name}"; name its writer\'s mapping, one of '
                f"{sorted(LEROBOT_MAPPINGS)} or your own, or copy meta/{said.name} from the export"
            )
        self._read_specs(path / "meta")
        self._rows = LeRobotRows(self._meta, self._columns())
        self._frames = EpisodeFrames(self._meta, mapping.image, self.image_size)

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :attr:`EpisodeSource.identity`."""
        return {
            "mapping": text_digest(repr(self.mapping)),
            "split": self.split,
            "files": files_digest(files_below(self.path)),
        }

    def __len__(self) -> int:
        """Number of episodes of the split."""
        return len(self._numbers)

    def __getitem__(self, index: int) -> Episode:
        """Read episode number index of the split.

        Raises:
            IndexError: no such episode.
            FileNotFoundError: its rows' or its video's file is not there.
            ValueError: the stored episode is faulty; the message names it.
        """
        number, where = self._named(index)
        rows = self._rows.read(number, where)
        actions, states = self._actions_and_states(rows)
        mapping = self.mapping
        if self._is_video:
            images = self._frames.read(number, rows.times, where)
        else:
            images = rows.images(mapping.image, self.image_size)
        return Episode(
            images=images,
            actions=actions,
            states=states,
            instructions=rows.instructions(),
            success=self._success(number, rows),
            source=str(self._meta.value(number, SOURCE) or "demonstration"),
            id=f"{self.split}/{index}",
            demonstrated=rows.flags(DEMONSTRATED) if self._has_marks else None,
        )

    def numbers(self) -> Callable[[int], Numbers]:
        rows = LeRobotRows(self._meta, (*self.mapping.actions, *self.mapping.states))
        return lambda index: self._actions_and_states(rows.read(*self._named(index)))

    def _named(self, index: int) -> tuple[int, str]:
        """The number of an episode in the data set, and what it is called in messages."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has episodes 0..{len(self) - 1}, not {index}")
        number = self._numbers[index]
        called = "" if number == index else f" (episode_index {number})"
        return number, f"episode {self.split}/{index}{called} of {self.path}"

    def _actions_and_states(self, rows: Rows) -> Numbers:
        mapping = self.mapping
        return (
            rows.numbers(mapping.actions, mapping.action_entries),
            rows.numbers(mapping.states, mapping.state_entries),
        )

    @property
    def _is_video(self) -> bool:
        return self._meta.feature(self.mapping.image).dtype == "video"

    @property
    def _has_marks(self) -> bool:
        return DEMONSTRATED in self._meta.feature_names

    def _columns(self) -> tuple[str, ...]:
        mapping = self.mapping
        keys = [*mapping.actions, *mapping.states]
        keys += [] if self._is_video else [mapping.image]
        keys += [DEMONSTRATED] if self._has_marks else []
        keys += [] if mapping.success is None else [mapping.success]
        return tuple(keys)

    def _success(self, number: int, rows: Rows) -> bool | None:
        if self.mapping.success is not None:
            return bool(rows.flags(self.mapping.success).any())
        found = self._meta.value(number, SUCCESS)
        if found not in (None, False, True):
            raise ValueError(
                f"meta/ of {self.path} says {SUCCESS} = {str(found)[:40]!r} of episode {number}; "
                "write true or false there"
            )
        return None if found is None else bool(found)

    def _require_fit(self) -> tuple[int, int]:
        """Refuse a mapping that reads what is not there; height and width of the images."""
        mapping, meta = self.mapping, self._meta
        wanted = [mapping.image, *mapping.actions, *mapping.states]
        wanted += [] if mapping.success is None else [mapping.success]
        where, name = str(self.path), mapping.name
        require_keys(where, name, wanted, mapping.actions, meta.feature_names)
        if mapping.actions:
            sizes = {key: meta.feature(key).size for key in mapping.actions}
            chosen = mapping.action_entries
            require_entries(where, name, "actions", sizes, mapping.action_spec, chosen)
        sizes = {key: meta.feature(key).size for key in mapping.states}
        require_entries(where, name, "states", sizes, mapping.state_spec, mapping.state_entries)
        if mapping.action_spec.rate_hz != meta.rate_hz:
            raise ValueError(
                f"{self.path} has {meta.rate_hz:g} steps a second, but the mapping "
                f'"{mapping.name}" describes {mapping.action_spec.rate_hz:g}; '
                "choose or declare another mapping"
            )
        return _image_size(meta.feature(mapping.image), mapping.image, self.path)


def _image_size(feature: Feature, key: str, path: Path) -> tuple[int, int]:
    """(height, width). Some writers put channels first, and some name the axes wrongly."""
    shape = feature.shape
    if feature.dtype not in ("video", "image") or len(shape) != 3 or 3 not in shape:
        raise ValueError(
            f"{path} has {key} of type {feature.dtype} and shape {shape}, no RGB image; "
            "choose or declare another mapping"
        )
    height, width = shape[1:] if shape[0] == 3 and shape[2] != 3 else shape[:2]
    return height, width
