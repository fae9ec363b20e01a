"""Run by an interpreter that has LeRobot: reads a data set with it, or writes one.

usage: with_lerobot.py read FOLDER FILE.npz           what LeRobotDataset gives, step by step
       with_lerobot.py write FOLDER FILE.npz          a small data set, and what was put in
       with_lerobot.py write_images FOLDER FILE.npz   the same, its frames as images in the rows
       with_lerobot.py delete FOLDER TARGET           a copy of it without episode 1
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

IMAGE = "observation.images.image"
LENGTHS = (5, 9, 1, 7)
MOTORS = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]


def read(folder: Path, target: Path) -> None:
    dataset = LeRobotDataset("local/data", root=folder, video_backend="pyav")
    items = [dataset[i] for i in range(len(dataset))]
    np.savez(
        target,
        actions=np.stack([item["action"].numpy() for item in items]),
        states=np.stack([item["observation.state"].numpy() for item in items]),
        images=np.stack([item[IMAGE].numpy().transpose(1, 2, 0) for item in items]),
        tasks=np.array([item["task"] for item in items]),
        episodes=np.array([int(item["episode_index"]) for item in items]),
        demonstrated=np.array([bool(item.get("demonstrated", False)) for item in items]),
        fps=dataset.fps,
        action_q99=dataset.meta.stats["action"].get("q99", np.zeros(0)),
        image_mean=dataset.meta.stats[IMAGE]["mean"],
    )


def write_images(folder: Path, target: Path) -> None:
    write(folder, target, "image")


def delete(folder: Path, target: Path) -> None:
    from lerobot.datasets.dataset_tools import delete_episodes

    dataset = LeRobotDataset("local/data", root=folder, video_backend="pyav")
    delete_episodes(dataset, [1], output_dir=target, repo_id="local/fewer")


def write(folder: Path, target: Path, kind: str = "video") -> None:
    features = {
        IMAGE: {"dtype": kind, "shape": (64, 80, 3), "names": ["height", "width", "rgb"]},
        "observation.state": {"dtype": "float32", "shape": (8,), "names": None},
        "action": {"dtype": "float32", "shape": (7,), "names": {"motors": MOTORS}},
    }
    dataset = LeRobotDataset.create(
        "local/data", fps=3, root=folder, features=features, use_videos=kind == "video"
    )
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:64, :80]
    truth = {}
    for number, steps in enumerate(LENGTHS):
        actions = rng.uniform(-0.2, 0.2, (steps, 7)).astype(np.float32)
        states = rng.standard_normal((steps, 8)).astype(np.float32)
        phase = column / 12 + row / 9 + rng.uniform(0, 6)
        waves = [[127 + 100 * np.sin(phase + 0.8 * i + c) for c in range(3)] for i in range(steps)]
        images = np.moveaxis(np.array(waves), 1, -1).astype(np.uint8)
        for i in range(steps):
            frame = {IMAGE: images[i], "observation.state": states[i], "action": actions[i]}
            task = "pick apple" if number % 2 else "pick can"
            try:
                dataset.add_frame({**frame, "task": task})
            except (TypeError, ValueError):  # releases that write v2.1
                dataset.add_frame(frame, task=task)
        dataset.save_episode()
        truth |= {f"actions{number}": actions, f"states{number}": states, f"images{number}": images}
    if hasattr(dataset, "finalize"):
        dataset.finalize()
    np.savez(target, **truth)


if __name__ == "__main__":
    modes = {"read": read, "write": write, "write_images": write_images, "delete": delete}
    modes[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
