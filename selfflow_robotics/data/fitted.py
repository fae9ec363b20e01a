"""Episodes whose pictures are made the size that a network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from ..images.fit import How, ImageFit, divisible
from .episode import Encodable, Episode


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


def common_fit(
    sources: Sequence[Encodable], asked: tuple[int, int] | None, how: How, unit: int
) -> ImageFit:
    """What the pictures of all these data sets are made, said in a line for each size it changes.

    Args:
        asked: (height, width) that they are to be; None leaves those of the first data set, but for
            what does not divide.
        unit: pixels along a token's side, of which both sides must be multiples.

    Raises:
        ValueError: the size asked for is no such multiple, or none was and pictures differ.
    """
    if asked is None:
        given = sources[0].image_size
        if given is None:
            raise ValueError(
                f"{sources[0].name} has pictures of no fixed size; say at which to train, as "
                "image_size=[64,80]"
            )
        asked = divisible(given, unit, how)
    elif divisible(asked, unit, "pad") != tuple(asked):
        near = " or ".join(str(list(divisible(asked, unit, way))) for way in get_args(How))
        raise ValueError(
            f"image_size={list(asked)} does not divide into tokens of {unit}x{unit} pixels; "
            f"give {near}"
        )
    fit = ImageFit((asked[0], asked[1]), how)
    for size in sorted({source.image_size for source in sources if source.image_size}):
        if size != fit.size:
            print(f"images: {fit.described(size)}")
    return fit
