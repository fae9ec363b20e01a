"""Latents on disk, encoded once: a folder a data set, in parts, with what they were made with.

A cache holds a folder for each data set, named after it; in that, `cache.json` with the key and a
folder for each part (see :mod:`.latent_parts`). Parts appear whole or not at all, so encoding goes
on where it was stopped. Latents are memory-mapped: a cache may be larger than memory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ...storage.digests import text_digest
from ...storage.one_writer import only_writer
from ...storage.whole_file import write_whole
from ...tokenizers.tokenizer import Tokenizer
from ..action_spec import ActionSpec, StateSpec
from ..clips import LatentEpisodes
from ..episode import Encodable, Episode
from ..video.source import BrokenVideo, VideoClips
from .encoding import encode_each
from .joined_rows import JoinedRows
from .parts import Part, part_folder, read_part, write_part
from .reading_ahead import read_episodes

FORMAT = "selfflow_robotics/latents/2"
PART_EPISODES = 256
KEY_FILE = "cache.json"


@dataclass(frozen=True)
class Encoding:
    """A data set and how it is encoded."""

    episodes: Encodable
    tokenizer: Tokenizer
    actions: ActionSpec | None = None
    states: StateSpec | None = None
    part_episodes: int = PART_EPISODES

    def key(self) -> dict[str, Any]:
        """What latents depend on, as JSON."""
        return {
            "format": FORMAT,
            "tokenizer": {**self.tokenizer.config, "weights": weights_digest(self.tokenizer)},
            "image_size": self.episodes.image_size,
            "data": {"episodes": len(self.episodes), **self.episodes.identity},
            "actions": self.actions.to_json() if self.actions else None,
            "states": self.states.to_json() if self.states else None,
            "part_episodes": self.part_episodes,
        }

    def folder(self, cache: Path) -> Path:
        """Where it is kept: a name for people and a digest of what the data set is."""
        name = re.sub(r"[^A-Za-z0-9.]+", "-", os.path.basename(self.episodes.name)).strip("-.")
        identity = json.dumps(_json(self.episodes.identity), sort_keys=True)
        return cache / f"{name[:60]}-{text_digest(identity, str(len(self.episodes)))[:8]}"

    def part(self, number: int) -> range:
        """The episodes of a part."""
        first = number * self.part_episodes
        return range(first, min(first + self.part_episodes, len(self.episodes)))

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-len(self.episodes) // self.part_episodes)


Spread = Callable[[Encoding, Path, Sequence[int]], Iterator[int]]
"""Has the parts of these numbers written elsewhere, and yields each number when it is."""


def latents_of(
    episodes: Encodable,
    tokenizer: Tokenizer,
    cache: Path | None,
    actions: ActionSpec | None = None,
    states: StateSpec | None = None,
    *,
    part_episodes: int = PART_EPISODES,
    workers: int = 0,
    spread: Spread | None = None,
) -> LatentEpisodes:
    """Encode episodes, or open what was encoded before in `cache`; what lacks is encoded.

    Args:
        cache: folder of caches; None keeps latents in memory.
        part_episodes: episodes a part, where the cache is new.
        workers: processes that read and decode; 0 does it in this one.
        spread: encodes parts elsewhere; None does it here.

    Raises:
        ValueError: the cache is stale (the message says what differs), another process writes it,
            a part or an episode is damaged, or too many videos cannot be read.
        OSError: a part cannot be written.
    """
    encoding = Encoding(episodes, tokenizer, actions, states, part_episodes)
    if not len(episodes):
        raise ValueError(f"{episodes.name} has no episodes; there is nothing to encode")
    if cache is None:
        made = _encoded(encoding, range(encoding.parts), workers)
        return LatentEpisodes.join([part.latents for part in made])
    folder = encoding.folder(cache)
    encoding = _agreed(encoding, folder)
    missing = [i for i in range(encoding.parts) if not part_folder(folder, i).is_dir()]
    if missing:
        with only_writer(folder):
            if not (folder / KEY_FILE).exists():
                write_whole(folder / KEY_FILE, json.dumps(encoding.key(), indent=2) + "\n")
            for i in set(range(encoding.parts)) - set(missing):
                _count_broken(episodes, read_part(folder, i))
            written = (spread or partial(encode_parts, workers=workers))(encoding, folder, missing)
            for number in written:
                _count_broken(episodes, read_part(folder, number))
    return LatentEpisodes.join([read_part(folder, i).latents for i in range(encoding.parts)])


def encode_parts(
    encoding: Encoding, folder: Path, numbers: Sequence[int], workers: int = 0, quiet: bool = False
) -> Iterator[int]:
    """Encode and write these parts; yields each number when it is done."""
    for number, part in zip(numbers, _encoded(encoding, numbers, workers, quiet), strict=True):
        write_part(folder, number, part)
        yield number


def bar_of(encoding: Encoding, missing: Sequence[int]) -> Any:
    """A progress bar over the episodes, of which all but those of the missing parts are done."""
    done = len(encoding.episodes) - sum(len(encoding.part(number)) for number in missing)
    title = f"encoding {encoding.episodes.name}"
    return tqdm(total=len(encoding.episodes), initial=done, desc=title, unit="episode")


def _encoded(
    encoding: Encoding, numbers: Sequence[int], workers: int, quiet: bool = False
) -> Iterator[Part]:
    """The parts of these numbers, one after another."""
    wanted = [i for number in numbers for i in encoding.part(number)]
    with (
        closing(read_episodes(encoding.episodes, wanted, workers)) as read,
        nullcontext() if quiet else bar_of(encoding, numbers) as bar,
    ):
        for number in numbers:
            broken: dict[str, BrokenVideo] = {}
            these = _readable(islice(read, len(encoding.part(number))), broken, bar)
            made = list(encode_each(these, encoding.tokenizer, encoding.actions, encoding.states))
            latents = LatentEpisodes.join(made) if made else _nothing(encoding)
            yield Part(latents, tuple(broken.values()))


def _readable(
    read: Iterator[Episode | BrokenVideo], broken: dict[str, BrokenVideo], bar: Any
) -> Iterator[Episode]:
    for one in read:
        if bar is not None:
            bar.update()
        if isinstance(one, BrokenVideo):
            broken[one.path] = one
        else:
            yield one


def _count_broken(episodes: Encodable, part: Part) -> None:
    """Where many processes read videos, each knows of few broken ones: all are counted here."""
    if isinstance(episodes, VideoClips):
        for video in part.broken:
            episodes.set_aside(video)


def _nothing(encoding: Encoding) -> LatentEpisodes:
    """The latents of a part none of which can be read."""
    size = encoding.tokenizer.latent_size(encoding.episodes.image_size or (0, 0))
    return LatentEpisodes(
        latents=JoinedRows([np.zeros((0, encoding.tokenizer.channels, *size), np.float16)]),
        actions=None,
        states=None,
        demonstrated=np.zeros(0, np.bool_),
        texts=np.zeros(0, np.str_),
        told=np.zeros(0, np.int32),
        steps_to_success=np.zeros(0, np.float32),
        offsets=np.zeros(1, np.int64),
        ids=np.zeros(0, np.str_),
    )


def _agreed(encoding: Encoding, folder: Path) -> Encoding:
    """The encoding with the size of parts of what is there.

    Raises:
        ValueError: what is there was made otherwise.
    """
    path = folder / KEY_FILE
    if not path.exists():
        return encoding
    try:
        stored = json.loads(path.read_text())
        encoding = replace(encoding, part_episodes=int(stored["part_episodes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove {folder} to encode anew") from None
    there, here = dict(_leaves(stored)), dict(_leaves(_json(encoding.key())))
    differing = [
        f"{name} (there {_short(there.get(name))}, here {_short(here.get(name))})"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differing:
        raise ValueError(
            f"{folder} is stale, it was encoded with another {', '.join(differing)}; use what it "
            "was encoded with, give another cache folder, or remove this one to encode anew"
        )
    return encoding


def weights_digest(tokenizer: Tokenizer) -> str:
    """16 hexadecimal digits of its state, to the bit."""
    digest = blake2b(digest_size=8)
    for name, value in sorted(tokenizer.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _json(value: Any) -> Any:
    """The value as it comes back from JSON: tuples as lists."""
    return json.loads(json.dumps(value))


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{name}.{key}".removeprefix("."))
    else:
        yield name, tree


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
