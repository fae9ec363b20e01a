"""What `fuzz.py` spoils: small sound inputs of every kind that is read, and how they are read."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.latents.cache import latents_of
from selfflow_robotics.data.rt1.features import OBSERVATIONS, Rt1Episode
from selfflow_robotics.data.rt1.writer import Rt1Writer
from selfflow_robotics.data.split import OneSide
from selfflow_robotics.data.video.source import VideoClips
from selfflow_robotics.evaluation.results import read_results
from selfflow_robotics.image_model import checkpoint as released
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.training.checkpoints import Checkpoints
from selfflow_robotics.training.fitted_part import take_fitted
from selfflow_robotics.training.ranks import Ranks
from selfflow_robotics.world_model.probe import load_probe
from selfflow_robotics.world_model.world_model import WorldModel

SIZE = (32, 48)
IMAGE_MODEL: dict[str, Any] = {
    "input_size": 8,
    "hidden_size": 16,
    "depth": 1,
    "num_heads": 2,
    "num_classes": 3,
}
MAPPING = """name: mine
image: observation/image
actions: [action/world_vector, action/rotation_delta, action/gripper_closedness_action]
action_spec:
  names: [x, y, z, roll, pitch, yaw, gripper]
  units: [m, m, m, rad, rad, rad, "1"]
  frame: base
  rotation: roll, pitch, yaw
  gripper: absolute, 1 open, 0 closed
  rate_hz: 3
  low: [-1, -1, -1, -2, -2, -2, -1]
  high: [1, 1, 1, 2, 2, 2, 1]
  q01: [-0.2, -0.2, -0.2, -0.2, -0.2, -0.2, -0.2]
  q99: [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
instruction: observation/natural_language_instruction
"""


@dataclass(frozen=True)
class Reader:
    """One kind of input."""

    folder: str  # of the sound input
    spoilt: tuple[str, ...]  # globs of the files of it that are spoilt
    read: Callable[[Path], Iterator[Any]]  # gives all that is read
    kept: bool = False  # whether what is read, if anything, must be what was written
    records: bool = False  # whether records of TFRecord are spoilt, under right checksums


def make_inputs(folder: Path) -> None:
    """Write a sound input of every kind below `folder`."""
    for name, container in (("array_record", "array_record"), ("tfrecord", "tfrecord")):
        with Rt1Writer(folder / name, SIZE, container) as writer:  # type: ignore[arg-type]
            for seed in range(24):
                writer.add(_episode(seed))
    data = f"data={folder / 'array_record'}"
    _run("data", "export", "lerobot", data, f"out={folder / 'lerobot'}")
    tokenizer = f"tokenizer={folder / 'tokenizer'}"
    _run("tokenizer", f"out={folder / 'tokenizer'}", data, "image_size=[32,48]", "steps=2")
    _run("data", "encode", f"out={folder / 'latents'}", data, tokenizer, "part=8", "workers=0")
    trainer = ("trainer.steps=2", "trainer.batch_size=2", "trainer.frames=3", "prior.steps=2")
    _run("finetune", f"out={folder / 'model'}", data, tokenizer, "model=tiny", *trainer)
    probe = f"out={folder / 'probe'}"
    _run("probe", f"world_model={folder / 'model'}", data, probe)
    _run(
        "evaluate",
        f"out={folder / 'evaluation'}",
        "tasks=CloseDrawer",
        "policies=zero",
        "episodes=1",
    )
    image_model = released.build(**IMAGE_MODEL)
    (folder / "image_model").mkdir()
    for suffix in ("pt", "safetensors"):
        released.save(image_model, folder / "image_model" / f"weights.{suffix}")
    for kind, codec in (
        ("mp4", "libx264"),
        ("mkv", "libx264"),
        ("avi", "mpeg4"),
        ("webm", "libvpx"),
    ):
        _video(folder / f"video-{kind}" / f"clip.{kind}", codec)
    (folder / "shard").mkdir()
    with tarfile.open(folder / "shard" / "clips.tar", "w") as shard:
        for name in ("a", "b"):
            shard.add(folder / "video-mp4" / "clip.mp4", f"{name}.mp4")
            _add(shard, f"{name}.json", json.dumps({"caption": "push"}).encode())
    shutil.copytree(folder / "array_record", folder / "mapping")
    for name in ("action_spec.json", "state_spec.json"):
        (folder / "mapping" / name).unlink()  # the mapping says what they mean
    (folder / "mapping" / "mine.yaml").write_text(MAPPING)
    (checkpoint,) = (folder / "model" / "training" / "checkpoints").iterdir()
    held = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    room = {
        name: torch.zeros(entry.size, dtype=entry.properties.dtype)
        for name, entry in held.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    torch.save(room, folder / "room.pt")


def _run(*words: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(words)
    if status:
        raise RuntimeError(f"selfflow {' '.join(words)} failed: {said.getvalue()[-500:]}")


def _episode(seed: int, steps: int = 7) -> Rt1Episode:
    random = np.random.default_rng(seed)
    return Rt1Episode(
        images=random.integers(0, 256, (steps, *SIZE, 3), dtype=np.uint8),
        observations={
            key: random.standard_normal((steps, *shape)).astype(np.float32)
            for key, shape in OBSERVATIONS.items()
        },
        actions=random.uniform(-0.2, 0.2, (steps, 7)).astype(np.float32),
        instructions=("pick apple",) * steps,
        success=True,
        source="expert",
        task="fuzz",
    )


def _video(path: Path, codec: str) -> None:
    path.parent.mkdir()
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=5)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for _ in range(12):
            picture = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


def _dataset(folder: Path, mapping: str = "rt1") -> Iterator[Any]:
    source = open_dataset(folder, mapping)
    yield from (source.action_spec, source.state_spec)
    for index in range(len(source)):
        episode = source[index]
        yield from _arrays(episode)
        if source.action_spec is not None and episode.actions is not None:
            yield source.action_spec.normalize(episode.actions)


def _arrays(episode: Episode) -> Iterator[Any]:
    yield from (episode.images, episode.actions, episode.states, episode.instructions)


def _videos(folder: Path) -> Iterator[Any]:
    source = VideoClips(folder, SIZE, 8, 5.0, 0.0)
    for index in range(len(source)):
        yield from _arrays(source[index])


def _latents(folder: Path) -> Iterator[Any]:
    source = open_dataset(folder.parent / "array_record")
    tokenizer = stored.load(folder.parent / "tokenizer").requires_grad_(False)
    for which in ("train", "held-out"):
        side = OneSide(source, which)
        if len(side):
            found = latents_of(side, tokenizer, folder, source.action_spec, source.state_spec)
            frames = np.arange(len(found.latents))
            yield from (found.latents_at(frames), found.actions, found.states, found.texts)


def _tokenizer(folder: Path) -> Iterator[Any]:
    yield from stored.load(folder).state_dict().values()


def _model(folder: Path) -> Iterator[Any]:
    yield from WorldModel.from_pretrained(str(folder)).state_dict().values()


def _checkpoint(folder: Path) -> Iterator[Any]:
    checkpoints = Checkpoints(folder / "training" / "checkpoints", Ranks())
    step = checkpoints.latest()
    if step is None:
        raise ValueError(f"{folder} has no complete checkpoint")
    sound = torch.load(folder.parent / "room.pt", weights_only=True)
    yield from checkpoints.read(
        step, lambda names: {name: torch.zeros_like(value) for name, value in sound.items()}
    ).values()


def _prior(folder: Path) -> Iterator[Any]:
    prior = WorldModel.from_pretrained(str(folder)).prior
    assert prior is not None
    take_fitted("policy prior", prior, folder / "training" / "prior.pt")
    yield from prior.state_dict().values()


def _probe(folder: Path) -> Iterator[Any]:
    world_model = WorldModel.from_pretrained(str(folder.parent / "model"))
    yield load_probe(world_model, str(folder)).weight_FP


def _image_model(folder: Path) -> Iterator[Any]:
    for suffix in ("pt", "safetensors"):
        model = released.load(folder / f"weights.{suffix}", **IMAGE_MODEL)
        yield from model.state_dict().values()


def _results(folder: Path) -> Iterator[Any]:
    found = read_results(folder / "results.json")
    yield from (len(found.tasks), found.settings)


READERS = {
    "RLDS, ArrayRecord": Reader("array_record", ("*.array_record*",), _dataset),
    "RLDS, TFRecord": Reader("tfrecord", ("*.tfrecord*",), _dataset),
    "RLDS, records": Reader("tfrecord", ("*.tfrecord*",), _dataset, records=True),
    "RLDS, JSON": Reader("array_record", ("*.json",), _dataset),
    "LeRobot, Parquet": Reader("lerobot", ("**/*.parquet",), _dataset),
    "LeRobot, video": Reader("lerobot", ("**/*.mp4",), _dataset),
    "LeRobot, JSON": Reader("lerobot", ("meta/*.json",), _dataset),
    "mapping, YAML": Reader("mapping", ("mine.yaml",), lambda f: _dataset(f, str(f / "mine.yaml"))),
    **{
        f"video, {kind}": Reader(f"video-{kind}", (f"*.{kind}",), _videos)
        for kind in ("mp4", "mkv", "avi", "webm")
    },
    "WebDataset shard": Reader("shard", ("*.tar",), _videos),
    "latents": Reader("latents", ("**/*.*",), _latents, kept=True),
    "tokenizer": Reader("tokenizer", ("config.json", "*.safetensors"), _tokenizer, kept=True),
    "world model": Reader("model", ("config.json", "*.safetensors"), _model, kept=True),
    "probe": Reader("probe", ("config.json", "*.safetensors"), _probe, kept=True),
    "image model": Reader("image_model", ("weights.*",), _image_model),
    "training checkpoint": Reader("model", ("training/checkpoints/*/*",), _checkpoint, kept=True),
    "policy prior": Reader("model", ("training/prior.pt",), _prior, kept=True),
    "results.json": Reader("evaluation", ("results.json",), _results),
}
