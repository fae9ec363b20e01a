"""The frames of LeRobot episodes, which share the files of their videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.lerobot.meta import LeRobotMeta
from selfflow_robotics.data.video.part import count_frames, read_frames

_SAME = 0.1  # frames by which times may miss the frame they mean, where nothing else tells it
_JUMP = 2.0  # frames from one episode to the next by which times may drift off


class EpisodeFrames:
    """Frames, of this height and width, of the camera of that key."""

    def __init__(self, meta: LeRobotMeta, key: str, size: tuple[int, int]) -> None:
        self._meta, self._key, self._size = meta, key, size
        self._firsts: dict[int, int | str] = {}

    def read(self, episode: int, times: NDArray[np.float64], where: str) -> NDArray[np.uint8]:
        """(S, height, width, 3): the frames of an episode.

        Args:
            episode: its number in the data set.
            times: (S,) of its rows, in seconds since it began.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: it cannot be read, or is at odds with the rows or with `meta/`.
        """
        file, steps = self._meta.video(episode, self._key).file, len(times)
        alone = self._meta.version != "v3.0"
        try:
            first = 0 if alone else self._first(episode, file)
            found = read_frames(file, first, steps, self._size, count_left=alone)
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{where}: {error}") from error
        shown = len(found.images) + found.left
        if shown != steps:
            raise ValueError(
                f"{where} has {steps} rows, but its video {file} shows {shown} "
                "frames in its time; copy the data set again, or leave the episode out"
            )
        if found.times is not None:
            late = np.abs(found.times - times) >= 0.5 / self._meta.rate_hz
            if late.any():
                step = int(np.flatnonzero(late)[0])
                raise ValueError(
                    f"{where} has step {step} at {times[step]:.3f} s, but its video {file} shows "
                    f"frame {step} at {found.times[step]:.3f} s; leave the episode out"
                )
        return np.stack(found.images)

    def _first(self, episode: int, file: Path) -> int:
        """The number of an episode's first frame in a file that several share."""
        if episode not in self._firsts:
            sharing = self._meta.sharing(episode, self._key)
            places = [self._meta.video(one, self._key) for one in sharing]
            lengths = np.array([self._meta.length(one) for one in sharing])
            starts = np.array([place.start for place in places]) * self._meta.rate_hz
            ends = np.array([np.inf if p.end is None else p.end for p in places])
            ends *= self._meta.rate_hz
            found = first_frames(starts, ends, lengths, count_frames(file))
            self._firsts |= dict(zip(sharing, found, strict=True))
        first = self._firsts[episode]
        if isinstance(first, str):
            raise ValueError(
                f"meta/episodes is at odds with the video file {file}: {first}; mend "
                f"from_timestamp and to_timestamp of {self._key} there, or leave the episode out"
            )
        return first


def first_frames(
    starts: NDArray[np.float64], ends: NDArray[np.float64], lengths: NDArray[np.int64], frames: int
) -> list[int | str]:
    """The number of each episode's first frame in the file that E episodes share.

    Times are sums that drift off the frames, in some data sets by more than one. Where the episodes
    fill the file, each begins where those before it end, whatever its time says. Where they do not,
    as frames of removed episodes were left in it, times must hit a frame.

    Args:
        starts: (E,) time at which each episode begins, in frames.
        ends: (E,) time at which each ends, in frames.
        lengths: (E,) steps of each.
        frames: how many the file holds.

    Returns:
        E numbers, or what is wrong instead.
    """
    order = np.argsort(starts, kind="stable")
    before = np.cumsum(lengths[order]) - lengths[order]
    drift = starts[order] - before
    filled = lengths.sum() == frames and (np.abs(np.diff(drift, prepend=0.0)) < _JUMP).all()
    gaps = np.round(drift)
    on_frames = (np.abs(drift - gaps) < _SAME).all() or (np.abs(drift) < 0.5).all()
    found: list[int | str] = [0] * len(starts)
    free = 0  # the first frame that no episode has taken
    for place, row in enumerate(order):
        first = int(before[place] + (0 if filled else gaps[place]))
        if abs(ends[row] - starts[row] - lengths[row]) >= 1:
            found[row] = (
                f"it says that the episode takes {ends[row] - starts[row]:.1f} frames, "
                f"but it has {lengths[row]} rows"
            )
        elif filled or (on_frames and first >= free):
            found[row] = first
        elif on_frames:
            found[row] = found[order[place - 1]] = (
                f"an episode is said to begin at frame {first}, where another still runs"
            )
        else:
            found[row] = (
                f"the episode is said to begin {drift[place]:+.2f} frames from where those before "
                f"it end, and the {lengths.sum()} rows of all do not fill its {frames} frames"
            )
        free = first + int(lengths[row])
    return found
