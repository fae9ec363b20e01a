"""Makes tokenizers of frames of data sets and videos, and says how well those come back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..data.episode import EpisodeSource
from ..data.frames import sample_frames
from ..storage.model_folder import require_model_folder
from ..tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from ..tokenizers.patches import Patches
from ..tokenizers.stable_diffusion import StableDiffusion
from ..tokenizers.stored import save
from ..tokenizers.tokenizer import Tokenizer
from ..tokenizers.train import Loss, measure, train_autoencoder
from ..tokenizers.wan import Wan

Sampled = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""(S, h, w, 3) to train on, and held-out ones."""


def train_tokenizer(
    out: Path,
    sources: Sequence[EpisodeSource],
    image_size: tuple[int, int] = (64, 80),
    max_frames: int = 40000,
    *,
    start: str | None = None,
    sizes: AutoencoderConfig | None = None,
    loss: Loss | None = None,
    steps: int = 6000,
    batch_size: int = 16,
    lr: float = 3e-3,
    seed: int = 0,
    device: str = "cpu",
) -> Autoencoder:
    """Train the autoencoder on frames of all sources, write it and measure it.

    Args:
        out: folder to write.
        image_size: (height, width) of the frames.
        max_frames: kept in memory of each source.
        start: folder of an autoencoder to continue from, with its sizes.

    Raises:
        ValueError: no source, or frames that do not divide.
        OSError: `out` cannot be written; the message says where it was written then.
    """
    require_model_folder(out)
    _require_some(sources)
    # Faults that need no data are told before minutes go into reading it.
    begun = Autoencoder.from_pretrained(start) if start else None
    (begun or Autoencoder(sizes)).latent_size(image_size)
    gathered = [sample_frames(source, image_size, max_frames, seed) for source in sources]
    autoencoder = train_autoencoder(
        np.concatenate([train for train, _ in gathered]),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        device=device,
        config=sizes,
        loss=loss,
        start=begun,
    )
    _keep(autoencoder, out)
    _report(autoencoder, sources, gathered)
    print(f"wrote {out}")
    return autoencoder


def scale_patches(
    out: Path,
    sources: Sequence[EpisodeSource],
    image_size: tuple[int, int] = (64, 80),
    max_frames: int = 40000,
    *,
    factor: int = 8,
    seed: int = 0,
) -> Patches:
    """Patches of `factor` pixels, scaled by mean and deviation of the frames, written to `out`.

    Raises:
        ValueError: no source, or frames that do not divide.
    """
    require_model_folder(out)
    _require_some(sources)
    Patches(factor).latent_size(image_size)
    frames = [sample_frames(source, image_size, max_frames, seed)[0] for source in sources]
    pixels = np.concatenate(frames) / 127.5 - 1.0
    patches = Patches(factor, float(pixels.mean()), float(pixels.std()))
    save(patches, out)
    print(f"wrote {out}")
    return patches


def take_over(
    out: Path,
    kind: Literal["sd-vae", "wan"],
    start: str | None,
    sources: Sequence[EpisodeSource] = (),
    image_size: tuple[int, int] = (64, 80),
    max_frames: int = 40000,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> Tokenizer:
    """Write an autoencoder of diffusers in this project's form, measured where there are sources.

    Args:
        start: its folder, or repository of the Hub.

    Raises:
        ValueError: there is no start.
    """
    require_model_folder(out)
    if start is None:
        raise ValueError(
            f"kind={kind} takes weights that are there: add start=FOLDER, or start=ORG/NAME "
            "of the Hub"
        )
    tokenizer = (StableDiffusion if kind == "sd-vae" else Wan).from_pretrained(start).to(device)
    gathered = [sample_frames(source, image_size, max_frames, seed) for source in sources]
    _report(tokenizer, sources, gathered)
    save(tokenizer, out)
    print(f"wrote {out}")
    return tokenizer


def _require_some(sources: Sequence[EpisodeSource]) -> None:
    if not sources:
        raise ValueError(
            "there are no frames to train on: add data=FOLDER, videos=FOLDER or "
            "physics_episodes=1000"
        )


def _report(
    tokenizer: Tokenizer, sources: Iterable[EpisodeSource], gathered: Iterable[Sampled]
) -> None:
    for source, (part, held_out) in zip(sources, gathered, strict=True):
        frames, which = (held_out, "held-out") if len(held_out) else (part[:1000], "training")
        print(f"{source.name}, {which}: {measure(tokenizer, frames)}")


def _keep(trained: Tokenizer, out: Path) -> None:
    """Write what took long to make, if need be elsewhere.

    Raises:
        OSError: it could not be written where it was to be; the message says where it is.
    """
    try:
        save(trained, out)
    except OSError as error:
        elsewhere = tempfile.mkdtemp(prefix="selfflow-tokenizer-")
        try:
            save(trained, elsewhere)
        except OSError:
            os.rmdir(elsewhere)
            raise error from None
        raise OSError(
            f"{error}. What was trained is kept in {elsewhere}: move it to {out}"
        ) from error
