"""How well a world model imagines: latents, the tool's place, what rests, and pictures.

    python benchmarks/imagination.py MODEL --data FOLDER [FOLDER ...] [--clips 500] [--ahead 4]

Of clips of held-out episodes of each data set, 1 to `ahead` steps from the last seen frame, with
the true actions: the mean squared error of latents and that of keeping the last frame; how far off
the tool is, millimetres; over pixels that do not change at all in a clip, the root mean squared
error of imagined frames beside that of the tokenizer on the true ones, levels of 255; and PSNR, of
clips averaged and of the pooled error, beside keeping the last frame.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.episode import Dataset
from selfflow_robotics.data.fitted import fitted
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.latents.cache import latents_of
from selfflow_robotics.data.split import OneSide
from selfflow_robotics.evaluation.video.psnr import mean_squared_error, psnr
from selfflow_robotics.world_model.world_model import WorldModel

ROWS = 50  # clips imagined at once


def measure(model: WorldModel, source: Dataset, clips: int, ahead: int) -> dict[str, Any]:
    """Means over the clips, by step ahead."""
    side = OneSide(source, "held-out")
    seen = latents_of(
        fitted(side, model.image_fit), model.tokenizer, None, model.action_spec, model.state_spec
    ).with_words(model.config.vocabulary)
    images = np.concatenate([model.image_fit(side[i].images) for i in range(len(side))])
    starts = seen.starts(ahead + 1)
    starts = starts[np.linspace(0, len(starts) - 1, min(clips, len(starts))).astype(np.int64)]
    parts = [
        _of_rows(model, seen, images, rows, ahead)
        for rows in np.array_split(starts, -(-len(starts) // ROWS))
    ]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    still = found.pop("resting pixels")
    told = {name: values.mean(axis=0).round(4).tolist() for name, values in found.items()}
    for name in ("imagined", "copied"):
        told[f"PSNR of clips, {name}"] = (
            psnr(found[f"error, {name}"]).mean(axis=0).round(2).tolist()
        )
        pooled = psnr(found[f"error, {name}"].mean(axis=0))
        told[f"PSNR pooled, {name}"] = pooled.round(2).tolist()
    for name in ("resting, imagined", "resting, tokenizer"):
        told[name] = np.sqrt(found[name].sum(axis=0) / still.sum(axis=0)).round(3).tolist()
    return {"episodes": len(side), "clips": len(starts), **told}


@torch.no_grad()
def _of_rows(
    model: WorldModel, seen: LatentEpisodes, images: Any, rows: Any, ahead: int
) -> dict[str, Any]:
    assert seen.actions is not None and seen.states is not None and model.state_spec is not None
    future = rows[:, None] + 1 + np.arange(ahead)
    context = model.observe_latents(
        seen.latents_at(rows)[:, None],
        torch.zeros(len(rows), 1, seen.actions.shape[1]),
        torch.from_numpy(seen.states[rows])[:, None],
        seen.instructions_at(rows) if seen.words is not None else None,
    )
    actions = model.action_spec.denormalize(torch.from_numpy(seen.actions[future]))
    rollout = model.rollout(context, actions[:, None])
    true, last = seen.latents_at(future), seen.latents_at(rows)[:, None]
    states = rollout.states_BKHP
    assert states is not None
    off = (states[:, 0] - torch.from_numpy(seen.states[future])).numpy()[..., :3]
    drawn = model.decode(rollout)[:, 0]
    kept = model.decode(true)
    truth, before = images[future], images[rows][:, None]
    rests = (truth == before).all(axis=(1, -1))[:, None, :, :, None]

    def over_rest(frames: Any) -> Any:
        return (np.square(frames.astype(np.float32) - truth) * rests).sum(axis=(-3, -2, -1))

    return {
        "latents": (rollout.latents_BKHCHW[:, 0] - true).square().mean(dim=(2, 3, 4)).numpy(),
        "latents, copied": (last - true).square().mean(dim=(2, 3, 4)).numpy(),
        "tool off, mm": 1000 * np.linalg.norm(off * np.asarray(model.state_spec.std)[:3], axis=-1),
        "error, imagined": mean_squared_error(drawn, truth),
        "error, copied": mean_squared_error(np.broadcast_to(before, truth.shape), truth),
        "resting pixels": 3.0 * np.broadcast_to(rests.sum(axis=(-3, -2, -1)), truth.shape[:2]),
        "resting, imagined": over_rest(drawn),
        "resting, tokenizer": over_rest(kept),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--ahead", type=int, default=4)
    given = parser.parse_args()
    model = WorldModel.from_pretrained(given.model)
    for folder in given.data:
        print(f"{folder}:")
        for name, value in measure(model, open_dataset(folder), given.clips, given.ahead).items():
            print(f"  {name:24} {json.dumps(value)}")


if __name__ == "__main__":
    main()
