"""Data sets encoded ahead of training, just as it will ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...images.fit import How
from ...tokenizers.tokenizer import Tokenizer
from ..action_spec import ActionSpec, StateSpec
from ..episode import Dataset, Encodable
from ..fitted import common_fit, fitted
from ..split import SIDES, sides
from ..video.source import VideoClips
from .cache import PART_EPISODES, Spread, latents_of


def encode_for_training(
    cache: Path,
    tokenizer: Tokenizer,
    data: Sequence[Dataset],
    videos: Sequence[Encodable] = (),
    *,
    image_size: tuple[int, int] | None = None,
    image_fit: How = "crop",
    patch: int = 2,
    part_episodes: int = PART_EPISODES,
    workers: int = 0,
    spread: Spread | None = None,
) -> None:
    """Encode both sides of the split of each data set, and the videos, where they are not yet.

    Args:
        data: trained on together: the first one's statistics normalise.
        image_size: (height, width) of the pictures of data; None: theirs, made to fit.
        image_fit: what becomes of data's pictures of other proportions.
        patch: latent cells along a token's side, which what fits divides into.
        part_episodes, workers, spread: see :func:`latents_of`.

    Raises:
        ValueError: nothing is given, what lies there was encoded otherwise, or data are faulty.
    """
    if not data and not videos:
        raise ValueError("there is nothing to encode: add data=FOLDER or videos=FOLDER")
    found: list[tuple[Encodable, ActionSpec | None, StateSpec | None]] = []
    if data:
        fit = common_fit(data, image_size, image_fit, tokenizer.factor * patch)
        for side in (side for one in data for which in SIDES for side in sides([one], which)):
            found.append((fitted(side, fit), data[0].action_spec, data[0].state_spec))
    found += [(one, None, None) for one in videos]
    for episodes, actions, states in found:
        made = latents_of(
            episodes,
            tokenizer,
            cache,
            actions,
            states,
            part_episodes=part_episodes,
            workers=workers,
            spread=spread,
        )
        print(
            f"{episodes.name}: {len(made.ids)} episodes, {len(made.latents)} latent frames of "
            f"{made.latents.shape[1:]}"
        )
        for video in episodes.broken if isinstance(episodes, VideoClips) else ():
            print(video)
