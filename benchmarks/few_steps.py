"""What rollouts in 1, 2 and 4 steps lose against 8, on held-out episodes.

    python benchmarks/few_steps.py MODEL ... --data FOLDER [--clips 128] [--seed 0] [--json]

The same clips for every model; frames are imagined one after another, 1 to 4 ahead.

`gain` is the PSNR over keeping the last frame, in dB: pooled (of the mean squared error over all
clips) and the mean over clips, which still clips dominate. `kept` is the pooled gain over that in 8
steps, with the 95% interval of clips drawn again.

An error is least for the mean of what may happen, and that is what one step along any flow gives,
so it says little about few steps. The others say more, all of the first frame:

- `spread`: how far samples from two noises are apart, over the same in 8 steps; 0: always the mean.
- `from_8`: how far a sample is from that in 8 steps of the same noise, over the spread in 8 steps.
- `frechet`: Fréchet distance of latent tokens from the truth's, where the truth moved most.
- `detail`: energy of the Laplacian of decoded frames over that of the truth, decoded as well.
- `shuffled`: error of latents with another clip's actions over that with the true ones.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.split import OneSide
from selfflow_robotics.evaluation.video.psnr import mean_squared_error, psnr
from selfflow_robotics.model.tokens import patchify
from selfflow_robotics.streams import RowStreams
from selfflow_robotics.world_model.world_model import WorldModel

STEPS, HORIZON, BATCH = (1, 2, 4, 8), 4, 32
Array = NDArray[np.float64]


class HeldOutClips:
    """Clips of `history` frames and HORIZON that follow, as a data set has them."""

    def __init__(self, folder: Path, history: int, image_size: tuple[int, int], clips: int) -> None:
        source = open_dataset(folder, "rt1", "train")
        kept = OneSide(source, "held-out").index
        random, length = np.random.default_rng(0), history + HORIZON
        images: list[NDArray[np.uint8]] = []
        actions: list[NDArray[np.float32]] = []
        states: list[NDArray[np.float32]] = []
        for i in random.permutation(kept):
            episode = source[int(i)]
            if len(images) == clips or len(episode) < length:
                continue
            first = random.integers(len(episode) - length + 1)
            cut = slice(first, first + length)
            assert episode.actions is not None and episode.states is not None
            images.append(episode.images[cut])
            actions.append(episode.actions[cut])
            states.append(episode.states[cut])
        self.history = history
        self.images, self.actions, self.states = (
            np.stack(images),
            np.stack(actions),
            np.stack(states),
        )
        assert self.images.shape[2:4] == image_size

    def __len__(self) -> int:
        return len(self.images)


def laplacian(images: NDArray[np.uint8]) -> Array:
    """Energy of the Laplacian of each image, (...,)."""
    x = images.astype(np.float64)
    inner = x[..., 1:-1, 1:-1, :]
    around = x[..., :-2, 1:-1, :] + x[..., 2:, 1:-1, :] + x[..., 1:-1, :-2, :] + x[..., 1:-1, 2:, :]
    return np.asarray(np.square(4 * inner - around).mean(axis=(-3, -2, -1)))


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two sets of vectors (S, D), taken as Gaussians."""
    a, b = a.double(), b.double()
    one, other = torch.cov(a.T), torch.cov(b.T)
    # The trace of the root of a product of covariances is the sum of the roots of its eigenvalues.
    cross = torch.linalg.eigvals(one @ other).real.clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + one.trace() + other.trace() - 2 * cross)


def rms(difference: Tensor) -> float:
    """Root of the mean square."""
    return float(difference.square().mean().sqrt())


@torch.no_grad()
def imagine(model: WorldModel, clips: HeldOutClips, steps: int, seed: int) -> dict[str, Any]:
    """Everything imagined in so many steps: decoded frames and latents, clip by clip."""
    found: dict[str, list[Any]] = {"frames": [], "latents": [], "again": [], "shuffled": []}
    began = time.process_time()
    for first in range(0, len(clips), BATCH):
        rows = np.arange(first, min(first + BATCH, len(clips)))
        h = clips.history
        context = model.observe(
            clips.images[rows, :h], clips.actions[rows, : h - 1], states=clips.states[rows, :h]
        )
        # The action of frame f leads to frame f + 1.
        future = torch.from_numpy(clips.actions[:, h - 1 : h - 1 + HORIZON])
        other = future.roll(BATCH // 2 + 1, dims=0)
        noise, second = (RowStreams(seed, rows.tolist(), purpose) for purpose in (0, 1))
        made = model.rollout(context, future[rows, None], steps, generator=noise)
        both = torch.stack((future[rows, :1], other[rows, :1]), dim=1)
        again = model.rollout(context, both, steps, generator=second).latents_BKHCHW
        found["latents"].append(made.latents_BKHCHW[:, 0])
        found["frames"].append(model.decode(made)[:, 0])
        found["again"].append(again[:, 0, 0])
        found["shuffled"].append(again[:, 1, 0])
    seconds = time.process_time() - began
    frames = np.concatenate(found.pop("frames"))
    return {k: torch.cat(v) for k, v in found.items()} | {"frames": frames, "seconds": seconds}


def interval(error: Array, most: Array, copy: Array, seed: int = 0) -> list[float]:
    """95% of the share of the gain that is kept, over clips drawn again; errors (clips, H)."""
    random = np.random.default_rng(seed)
    kept = []
    for _ in range(2000):
        rows = random.integers(len(error), size=len(error))
        one, other, still = (psnr(part[rows].mean(axis=0)).mean() for part in (error, most, copy))
        kept.append((one - still) / (other - still))
    return [float(value) for value in np.percentile(kept, (2.5, 97.5))]


def measure(model: WorldModel, clips: HeldOutClips, seed: int) -> dict[str, Any]:
    """All measures of a model, by number of steps."""
    h = clips.history
    made = {steps: imagine(model, clips, steps, seed) for steps in STEPS}
    true = model.tokenizer.encode(torch.from_numpy(clips.images))
    first, last = true[:, h], true[:, h - 1]
    truth, decoded = clips.images[:, h:], model.decode(true[:, h])
    copy = mean_squared_error(clips.images[:, h - 1 : h], truth)
    tokens, before = (patchify(part, model.config.patch) for part in (first, last))
    change = (tokens - before).square().mean(dim=-1)
    moved = change >= change.flatten().quantile(0.75)
    eight = made[8]
    spread = rms(eight["latents"][:, 0] - eight["again"])
    best = mean_squared_error(eight["frames"], truth)
    found: dict[str, Any] = {"copy": {"psnr": psnr(copy.mean(axis=0)).tolist()}}
    for steps, parts in made.items():
        latents, error = parts["latents"][:, 0], mean_squared_error(parts["frames"], truth)
        pooled = psnr(error.mean(axis=0)) - psnr(copy.mean(axis=0))
        whole = psnr(best.mean(axis=0)) - psnr(copy.mean(axis=0))
        sample = patchify(latents, model.config.patch)[moved]
        found[str(steps)] = {
            "gain": pooled.tolist(),
            "gain_mean_over_clips": (psnr(error) - psnr(copy)).mean(axis=0).tolist(),
            "kept": float(pooled.mean() / whole.mean()),
            "kept_interval": interval(error, best, copy),
            "spread": rms(latents - parts["again"]) / spread,
            "from_8": rms(latents - eight["latents"][:, 0]) / spread,
            "frechet": frechet(sample, tokens[moved]),
            "detail": float((laplacian(parts["frames"][:, 0]) / laplacian(decoded)).mean()),
            "shuffled": float(
                (parts["shuffled"] - first).square().mean()
                / (parts["again"] - first).square().mean()
            ),
            "seconds": parts["seconds"],
        }
    found["spread_in_8_over_error"] = spread / rms(eight["latents"][:, 0] - first)
    return found


def main() -> None:
    """Measure every model and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = {}
    for name in given.models:
        model = WorldModel.from_pretrained(name)
        clips = HeldOutClips(given.data, model.history_len, model.image_size, given.clips)
        found[name] = {"clips": len(clips), **measure(model, clips, given.seed)}
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for name, values in found.items():
        print(f"{name}, {values['clips']} clips")
        for steps in map(str, STEPS):
            row = values[steps]
            gain = " ".join(f"{value:5.2f}" for value in row["gain"])
            low, high = row["kept_interval"]
            print(
                f"  {steps} steps: gain {gain} dB, kept {row['kept']:.1%} "
                f"({low:.1%} to {high:.1%}), "
                f"spread {row['spread']:.2f}, from 8 {row['from_8']:.2f}, "
                f"frechet {row['frechet']:.3f}, detail {row['detail']:.2f}, "
                f"shuffled {row['shuffled']:.2f}"
            )


if __name__ == "__main__":
    main()
