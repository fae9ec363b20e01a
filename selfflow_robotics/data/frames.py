"""Single frames of a source's episodes, as many as fit into memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..images.resize import resize
from .episode import EpisodeSource
from .split import Side, split_of
from .video.source import UnreadableVideoError, VideoClips

_HELD_OUT = 2000  # frames, enough to measure with


def sample_frames(
    source: EpisodeSource, size: tuple[int, int], most: int = 40000, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Frames to train on, spread evenly, and some held-out ones; videos left out are named.

    Args:
        size: (height, width) of the frames.
        most: frames to train on, at most.

    Returns:
        Both (S, height, width, 3).
    """
    for video in source.broken if isinstance(source, VideoClips) else ():
        print(video)
    rng = np.random.default_rng(seed)
    none = np.zeros((0, *size, 3), np.uint8)
    found: dict[Side, list[NDArray[np.uint8]]] = {"train": [none], "held-out": [none]}
    # An even share of each episode, so that memory is bounded before lengths are known.
    share = max(1, most // len(source))
    order = rng.permutation(len(source))[:most]
    for index in tqdm(order, desc=f"frames of {source.name}", unit="episode"):
        try:
            episode = source[int(index)]
        except UnreadableVideoError as error:
            tqdm.write(str(error))
            continue
        side = split_of(episode.id)
        if side == "held-out" and sum(map(len, found[side])) >= _HELD_OUT:
            continue
        wanted = share if side == "train" else max(share, 20)
        chosen = np.sort(rng.permutation(len(episode.images))[:wanted])
        found[side].append(resize(episode.images[chosen], size))
    return np.concatenate(found["train"]), np.concatenate(found["held-out"])
