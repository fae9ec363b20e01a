"""Memory of a training run on a CPU until it saves a checkpoint, with it, and as estimated.

    python benchmarks/saving.py [model=XL] [--json]

Two steps of a preset on 2 clips of 3 frames of 64x80, then a checkpoint and the model's folder, as
`selfflow pretrain` writes them. `trained` is the most memory that the process had before it saved,
which is that of a run that does not; `saved` the most with the checkpoint, `written` with the
model as well. XL takes about 16 GB.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.machine.allocator import keep_memory
from selfflow_robotics.machine.precision import resident_bytes
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.estimate import Task, estimate
from selfflow_robotics.training.trainer import Trainer

IMAGE, FACTOR, BATCH, FRAMES = (64, 80), 8, 2, 3
PATCHES = Patches(FACTOR)


def episodes() -> LatentEpisodes:
    """Two of random latents."""
    length, count = 20, 2
    size = (PATCHES.channels, *PATCHES.latent_size(IMAGE))
    values = np.random.default_rng(0).standard_normal((count * length, *size), np.float32)
    return LatentEpisodes(
        latents=JoinedRows([values.astype(np.float16)]),
        actions=None,
        states=None,
        demonstrated=np.zeros(count * length, np.bool_),
        texts=np.array([""]),
        told=np.zeros(count * length, np.int32),
        steps_to_success=np.zeros(count * length, np.float32),
        offsets=np.arange(count + 1) * length,
        ids=np.array(["a", "b"]),
    )


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """Measure and print."""
    keep_memory()
    torch.set_num_threads(1)
    given = [word.removeprefix("model=") for word in sys.argv[1:] if word.startswith("model=")]
    name = given[0] if given else "B"
    objective = ObjectiveConfig()
    task = Task(ModelConfig(name), objective, IMAGE, FACTOR, PATCHES.channels, FRAMES)
    predicted = estimate(task, BATCH, 1, 1, bf16=False, on_cpu=True).memory.peak + resident_bytes()
    config = TrainerConfig(steps=2, batch_size=BATCH, frames=FRAMES, precision="fp32")
    with tempfile.TemporaryDirectory() as folder:
        model = task.build()
        model.tokenizer = PATCHES
        trainer = Trainer(model, task.build_objective(), episodes(), config, Path(folder))
        found: dict[str, float] = {}
        save = trainer.checkpoints.save

        def measured(step: int, tensors: dict[str, torch.Tensor]) -> None:
            found["trained"] = peak_bytes()
            save(step, tensors)
            found["saved"] = peak_bytes()

        trainer.checkpoints.save = measured  # type: ignore[method-assign]
        trained = trainer.fit()
        assert trained is not None
        trained.save_pretrained(str(Path(folder) / "model"))
    found["written"] = peak_bytes()
    found["estimated"] = predicted
    found["saved_vs_trained"] = found["saved"] / found["trained"]
    found["written_vs_trained"] = found["written"] / found["trained"]
    found["estimated_vs_saved"] = predicted / found["saved"]
    if "--json" in sys.argv:
        print(json.dumps({"model": name, "torch": torch.__version__, **found}))
        return
    for key, value in found.items():
        print(f"{key:20} {value:8.3f}" if "_vs_" in key else f"{key:20} {value / 2**30:8.2f} GiB")


if __name__ == "__main__":
    main()
