"""Episodes whose pictures are made the size that a network reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..images.fit import ImageFit
from .episode import Episode
from .latents.cache import Encodable


class Fitted:
    """The episodes of a source, their pictures made one size."""

    def __init__(self, source: Encodable, fit: ImageFit) -> None:
        self.source, self.fit = source, fit
        self.name, self.image_size = source.name, fit.size

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :attr:`EpisodeSource.identity`; pictures that are fitted otherwise are others."""
        fit = {"size": list(self.fit.size), "how": self.fit.how}
        return {**self.source.identity, "image_fit": fit}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> Episode:
        episode = self.source[i]
        return replace(episode, images=self.fit(episode.images))


def fitted(source: Encodable, fit: ImageFit) -> Encodable:
    """The source with its pictures made to fit; as it is where they have that size already."""
    return source if source.image_size == fit.size else Fitted(source, fit)
