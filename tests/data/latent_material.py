"""Episodes to encode, and what of a cache is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from tiny_world import episode

from selfflow_robotics.data.episode import Episode


class Material:
    """Episodes that count how often they are read."""

    name = "data/material:train"

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self.episodes, self.reads = episodes, 0
        self.image_size = episodes[0].images.shape[1:3]
        self.identity = {
            "images": blake2b(b"".join(e.images.tobytes() for e in episodes)).hexdigest(),
            "marks": [
                None if e.demonstrated is None else e.demonstrated.tolist() for e in episodes
            ],
        }

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, i: int, /) -> Episode:
        self.reads += 1
        return self.episodes[i]


def material(seed: int = 0) -> Material:
    return Material([episode(4 + i, seed + i) for i in range(7)])


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def only(cache: Path) -> Path:
    (folder,) = cache.iterdir()
    return folder
